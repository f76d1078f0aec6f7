//! k steps of implicit diffusion on a weighted graph, from logarithms to logarithms.
//!
//! ```text
//! K = [(M + (t / k) L)^-1 M]^k M^-1 = A^-1 (M A^-1)^(k - 1)        A = M + (t / k) L
//! ```
//!
//! Non-negative numbers stay accurate entry by entry ([`factor`](super::factor)), down to the smallest that `f64` holds. So
//! the exponents of the inputs are brought under a large number, [layer](super::layers) by layer, and what a layer gives is
//! exact as far as [`reach`](Diffusion::reach).
//!
//! Eight layers are right-hand sides side by side, or one if there is no other. Between two tops of the elimination tree a
//! part of the vertices sees nothing of the others: it ends a step and begins the next one in one task.

use ot_core::{Error, Graph, HostBackend, host::for_each_chunk, measure::Components};

use super::{
    Untold,
    factor::Factor,
    layers::{Layers, Told, WINDOW},
};
use crate::{
    backend::CpuBackend,
    geometry::CpuScalar,
    simd::{Level, SIDES, VectorMath},
};

/// Results below this may have lost digits to numbers that are not normal.
const FLOOR: f64 = 1e-280;
/// Vertices of one task where vertices have nothing to do with each other.
const CHUNK: usize = 2048;

/// The operator K of one graph, time and number of steps.
#[derive(Debug)]
pub(super) struct Diffusion {
    factor: Factor,
    /// Masses in units of their mean, slot by slot; zero where a slot is of another part's vertex.
    masses: Vec<f64>,
    /// The first vertices carry measure.
    carriers: usize,
    components: Components,
    steps: usize,
    /// The largest input, a power of two.
    scale: f64,
    /// t / k over the square of the mean mass.
    unit: f64,
    /// A bound of log K, in units of the mean mass.
    largest_entry: f64,
    /// log K = the logarithm of what is computed + this.
    offset: f64,
}

impl Diffusion {
    /// The first `carriers` vertices of the graph carry measure.
    pub(super) fn new(graph: &Graph, carriers: usize, time: f64, steps: usize) -> Result<Self, Error> {
        let mean = graph.masses().iter().sum::<f64>() / graph.len() as f64;
        let rate = time / steps as f64 / mean;
        let edges: Vec<_> = graph.edges().iter().map(|&(ends, weight)| (ends, weight * rate)).collect();
        let of_vertices: Vec<f64> = graph.masses().iter().map(|mass| mass / mean).collect();
        let factor = Factor::new(&of_vertices, &edges)?;
        let least = of_vertices.iter().copied().fold(f64::INFINITY, f64::min);
        // No number of a substitution exceeds the sum of the inputs over the least mass.
        let growth = graph.len() as f64 * (graph.len() as f64 / least);
        let exponent = 1000.0 - growth.log2().ceil();
        let mut masses = vec![0.0; factor.len()];
        factor.slots().iter().zip(of_vertices).for_each(|(&slot, mass)| masses[slot as usize] = mass);
        Ok(Self {
            masses,
            carriers,
            components: Components::of_edges(
                graph.len(),
                graph.edges().iter().filter(|(_, weight)| *weight > 0.0).map(|(ends, _)| *ends),
            ),
            steps,
            scale: exponent.max(1.0).exp2(),
            unit: rate / mean,
            largest_entry: -least.ln(),
            offset: -mean.ln(),
            factor,
        })
    }

    /// Entries of the factor below the diagonal.
    pub(super) fn nonzeros(&self) -> usize {
        self.factor.nonzeros()
    }

    /// The logarithm that an entry of K may lie below the input of its layer.
    pub(super) fn reach(&self) -> f64 {
        (self.scale / FLOOR).ln() - WINDOW
    }

    /// How many slots a right-hand side has.
    pub(super) fn slots(&self) -> usize {
        self.masses.len()
    }

    /// The slot of a vertex in right-hand sides.
    pub(super) fn slot(&self, vertex: u32) -> usize {
        self.factor.slots()[vertex as usize] as usize
    }

    /// A^-1 x, A^-1 M A^-1 x, ...: k states, slot by slot, in units of the mean mass.
    pub(super) fn trajectory(&self, x: Vec<f64>) -> Vec<Vec<f64>> {
        let mut states: Vec<Vec<f64>> = Vec::with_capacity(self.steps);
        for _ in 0..self.steps {
            let mut state = match states.last() {
                Some(last) => last.iter().zip(&self.masses).map(|(x, mass)| x * mass).collect(),
                None => x.clone(),
            };
            self.factor.solve(state.as_chunks_mut::<1>().0);
            states.push(state);
        }
        states
    }

    /// The change of the last of some states with A, where `moved(state, change)` adds dA state, less the unit below.
    pub(super) fn change(&self, states: &[Vec<f64>], moved: impl Fn(&[f64], &mut [f64])) -> Vec<f64> {
        let mut change = vec![0.0; self.masses.len()];
        for state in states {
            change.iter_mut().zip(&self.masses).for_each(|(change, mass)| *change *= mass);
            moved(state, &mut change);
            self.factor.solve(change.as_chunks_mut::<1>().0);
        }
        change
    }

    /// -dK / dA as computed from states in units of the mean mass, for a weight: t / k and those units.
    pub(super) fn derivative_unit(&self) -> f64 {
        self.unit
    }
}

/// What products with K work with: memory that grows to what is needed and stays.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    layers: Layers,
    /// Scaled inputs of some blocks of layers, vertex by vertex.
    inputs: Vec<f64>,
    /// Right-hand sides of these blocks, slot by slot.
    sides: Vec<f64>,
    /// The logarithms that each layer gives, layer after layer.
    results: Vec<f64>,
}

impl Diffusion {
    /// log (K exp(x)) of some requests in the place of x, request after request; what is at most `dark` is no input. Sums
    /// without a logarithm go to a list, in order.
    pub(super) fn log_products<T: CpuScalar>(
        &self,
        backend: &CpuBackend<T>,
        exponents: &mut [f64],
        dark: f64,
        workspace: &mut Workspace,
        untold: &mut Vec<Untold>,
    ) {
        if exponents.is_empty() {
            return;
        }
        let Workspace { layers, results, .. } = workspace;
        layers.cut(backend, exponents, self.carriers, dark, &self.components);
        let count = layers.len();
        results.resize(results.len().max(self.carriers * count), 0.0);
        // Each right-hand side is computed alike alone and beside others.
        match count {
            1 => self.solve_layers::<T, 1>(backend, exponents, workspace),
            _ => self.solve_layers::<T, SIDES>(backend, exponents, workspace),
        }
        let Workspace { layers, results, .. } = workspace;
        // The quotient is no number.
        let floor = FLOOR.ln() - self.scale.ln();
        let told = Told { floor, largest_entry: self.largest_entry, offset: self.offset };
        layers.sum(backend, exponents, results, &self.components, told, untold);
    }

    /// Solves all layers, W side by side, as many blocks at once as there are threads.
    fn solve_layers<T: CpuScalar, const W: usize>(
        &self,
        backend: &CpuBackend<T>,
        exponents: &[f64],
        workspace: &mut Workspace,
    ) {
        let (n, slots, parts) = (self.carriers, self.slots(), self.factor.parts());
        let Workspace { layers, inputs, sides, results } = workspace;
        let parallel = |tasks: usize, job: &(dyn Fn(usize) + Sync)| backend.parallel(tasks, job);
        let chunks = n.div_ceil(CHUNK);
        let wave = backend.threads();
        for (first, results) in (0..).step_by(wave).zip(results[..n * layers.len()].chunks_mut(wave * W * n)) {
            let blocks = results.len().div_ceil(W * n);
            inputs.resize(inputs.len().max(blocks * n * W), 0.0);
            sides.resize(sides.len().max(blocks * slots * W), 0.0);
            let inputs = inputs[..blocks * n * W].as_chunks_mut::<W>().0;
            let sides = sides[..blocks * slots * W].as_chunks_mut::<W>().0;

            let pieces = inputs.chunks_mut(n).flat_map(|block| block.chunks_mut(CHUNK));
            for_each_chunk(parallel, blocks * chunks, pieces, |index, inputs| {
                let (block, start) = (first + index / chunks, index % chunks * CHUNK);
                layers.enter(block * W, exponents, start, &self.components, inputs);
                let inputs = inputs.as_flattened_mut();
                f64::exp_in_place(inputs);
                f64::scale_at(Level::detected(), self.scale, inputs);
            });
            for step in 0..self.steps {
                let (inputs, tasks) = (&*inputs, sides.chunks_mut(slots).flat_map(|block| self.factor.split(block)));
                for_each_chunk(parallel, blocks * parts, tasks, |index, x| {
                    let (block, part) = (index / parts, index % parts);
                    match step {
                        0 => self.enter(part, &inputs[block * n..][..n], x),
                        _ => {
                            self.factor.backward(part, x);
                            self.weigh(part, x);
                        }
                    }
                    self.factor.forward(part, x);
                });
                for_each_chunk(parallel, blocks, sides.chunks_mut(slots), |_, block| self.factor.solve_top(block));
            }
            let tasks = sides.chunks_mut(slots).flat_map(|block| self.factor.split(block));
            for_each_chunk(parallel, blocks * parts, tasks, |index, x| self.factor.backward(index % parts, x));

            let sides = &*sides;
            let pieces = results.chunks_mut(W * n).flat_map(|block| {
                let mut lanes: Vec<_> = block.chunks_mut(n).map(|lane| lane.chunks_mut(CHUNK)).collect();
                (0..chunks).map(move |_| lanes.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>())
            });
            for_each_chunk(parallel, blocks * chunks, pieces, |index, mut lanes| {
                let (block, start) = (index / chunks, index % chunks * CHUNK);
                let block = &sides[block * slots..][..slots];
                let own = &self.factor.slots()[start..n.min(start + CHUNK)];
                for (at, &slot) in own.iter().enumerate() {
                    lanes.iter_mut().zip(block[slot as usize]).for_each(|(lane, value)| lane[at] = value);
                }
                lanes.into_iter().for_each(|lane| self.logarithms(lane));
            });
        }
    }

    /// Inputs at the slots of a part.
    fn enter<const W: usize>(&self, part: usize, inputs: &[[f64; W]], x: &mut [[f64; W]]) {
        for (x, &vertex) in x.iter_mut().zip(self.factor.vertices(part)) {
            *x = inputs.get(vertex as usize).copied().unwrap_or([0.0; W]);
        }
    }

    /// M x at the slots of a part.
    fn weigh<const W: usize>(&self, part: usize, x: &mut [[f64; W]]) {
        for (x, &vertex) in x.iter_mut().zip(self.factor.vertices(part)) {
            let mass = self.masses[self.slot(vertex)];
            *x = x.map(|x| x * mass);
        }
    }

    /// Logarithms of numbers over the scale, in their place: minus infinity below [`FLOOR`].
    fn logarithms(&self, values: &mut [f64]) {
        // The logarithm of a number near the scale would take digits from what is told; one far below it has no quotient.
        let (inverse, cut, shift) = (1.0 / self.scale, self.scale * f64::MIN_POSITIVE, -self.scale.ln());
        let mut logs = [0.0; 64];
        for values in values.chunks_mut(logs.len()) {
            let logs = &mut logs[..values.len()];
            for (log, &value) in logs.iter_mut().zip(&*values) {
                *log = if value >= cut { value * inverse } else { value };
            }
            f64::ln_in_place(logs);
            for (value, log) in values.iter_mut().zip(logs) {
                let log = if *value >= cut { *log } else { *log + shift };
                *value = if *value >= FLOOR { log } else { f64::NEG_INFINITY };
            }
        }
    }
}
