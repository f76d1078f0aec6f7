//! k steps of implicit diffusion on a weighted graph, from logarithms to logarithms.
//!
//! ```text
//! K = [(M + (t / k) L)^-1 M]^k M^-1 = A^-1 (M A^-1)^(k - 1)        A = M + (t / k) L
//! ```
//!
//! Non-negative numbers stay accurate entry by entry ([`factor`](super::factor)), down to the smallest that `f64` holds. So
//! the exponents of the inputs are brought under a large number, and what falls far below the largest goes through again, as
//! a further right-hand side with a largest of its own: a *layer*. Each layer spans the exponents of [`WINDOW`], and what it
//! gives is exact as far as [`reach`](Diffusion::reach).

use std::{ops::Range, sync::Mutex};

use ot_core::{Error, Graph, HostBackend, host::for_each_chunk, measure::Components};

use super::factor::Factor;
use crate::{
    backend::CpuBackend,
    geometry::{CpuScalar, memory::Pool},
};

/// Logarithms of the inputs of one layer span this much.
const WINDOW: f64 = 512.0;
/// Results below this may have lost digits to numbers that are not normal.
const FLOOR: f64 = 1e-280;
/// The most right-hand sides that are solved side by side.
const WIDTH: usize = 8;
/// A term that is smaller by this factor, as a logarithm, counts nothing.
const NEGLIGIBLE: f64 = 40.0;
/// The most layers of one request.
const LAYERS: usize = 32;

/// The operator K of one graph, time and number of steps.
#[derive(Debug)]
pub(super) struct Diffusion {
    factor: Factor,
    /// Masses in units of their mean, in the order of the factor.
    masses: Vec<f64>,
    /// Row of the factor of each vertex that carries measure.
    rows: Vec<u32>,
    components: Components,
    steps: usize,
    /// The largest input.
    scale: f64,
    /// t / k over the square of the mean mass.
    unit: f64,
    /// A bound of log K, in units of the mean mass.
    largest_entry: f64,
    /// log K = the logarithm of what is computed + this.
    offset: f64,
}

/// A result: a logarithm, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LogSum {
    /// log (K exp(x))_i.
    Is(f64),
    /// No vertex with an input is in the component.
    Unreached,
    /// Lower than this, and too low to be told.
    Below(f64),
}

impl Diffusion {
    /// The first `carriers` vertices of the graph carry measure.
    pub(super) fn new(graph: &Graph, carriers: usize, time: f64, steps: usize) -> Result<Self, Error> {
        let mean = graph.masses().iter().sum::<f64>() / graph.len() as f64;
        let rate = time / steps as f64 / mean;
        let edges: Vec<_> = graph.edges().iter().map(|&(ends, weight)| (ends, weight * rate)).collect();
        let masses: Vec<f64> = graph.masses().iter().map(|mass| mass / mean).collect();
        let factor = Factor::new(&masses, &edges)?;
        let least = masses.iter().copied().fold(f64::INFINITY, f64::min);
        // No number of a substitution exceeds the sum of the inputs over the least mass.
        let growth = graph.len() as f64 * (graph.len() as f64 / least);
        let exponent = 1000.0 - growth.log2().ceil();
        let mut rows = vec![0; graph.len()];
        factor.order().iter().enumerate().for_each(|(row, &vertex)| rows[vertex as usize] = row as u32);
        rows.truncate(carriers);
        Ok(Self {
            masses: factor.order().iter().map(|&vertex| masses[vertex as usize]).collect(),
            rows,
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

    /// The number of vertices that carry measure.
    pub(super) fn carriers(&self) -> usize {
        self.rows.len()
    }

    /// Entries of the factor below the diagonal.
    pub(super) fn nonzeros(&self) -> usize {
        self.factor.nonzeros()
    }

    /// The logarithm that an entry of K may lie below the input of its layer.
    pub(super) fn reach(&self) -> f64 {
        (self.scale / FLOOR).ln() - WINDOW
    }

    /// The row of a vertex in the factor.
    pub(super) fn row(&self, vertex: u32) -> usize {
        self.rows[vertex as usize] as usize
    }

    /// A^-1 x, A^-1 M A^-1 x, ...: k states, rows in the order of the factor, in units of the mean mass.
    pub(super) fn trajectory(&self, x: Vec<f64>) -> Vec<Vec<f64>> {
        let mut states: Vec<Vec<f64>> = Vec::with_capacity(self.steps);
        for step in 0..self.steps {
            let entering = |(row, x): (usize, &f64)| [if step == 0 { *x } else { x * self.masses[row] }];
            let mut state: Vec<[f64; 1]> = states.last().unwrap_or(&x).iter().enumerate().map(entering).collect();
            self.factor.solve(&mut state);
            states.push(state.into_iter().map(|[x]| x).collect());
        }
        states
    }

    /// The change of the last of some states with A, where `moved(state, change)` adds dA state, less the unit below.
    pub(super) fn change(&self, states: &[Vec<f64>], moved: impl Fn(&[f64], &mut [f64])) -> Vec<f64> {
        let mut change = vec![0.0; self.masses.len()];
        for state in states {
            change.iter_mut().zip(&self.masses).for_each(|(change, mass)| *change *= mass);
            moved(state, &mut change);
            let mut rows: Vec<[f64; 1]> = change.iter().map(|x| [*x]).collect();
            self.factor.solve(&mut rows);
            change.iter_mut().zip(rows).for_each(|(change, [x])| *change = x);
        }
        change
    }

    /// -dK / dA as computed from states in units of the mean mass, for a weight: t / k and those units.
    pub(super) fn derivative_unit(&self) -> f64 {
        self.unit
    }

    /// K x of W right-hand sides, in the place of x.
    fn run<const W: usize>(&self, x: &mut [[f64; W]]) {
        for step in 0..self.steps {
            if step > 0 {
                x.iter_mut().zip(&self.masses).for_each(|(x, mass)| *x = x.map(|x| x * mass));
            }
            self.factor.solve(x);
        }
    }
}

/// What products with K work with: memory that grows to what is needed and stays.
#[derive(Debug)]
pub(super) struct Workspace {
    /// For each thread, right-hand sides over all vertices.
    blocks: Pool<Vec<f64>>,
    /// The request of each layer.
    requests: Vec<usize>,
    /// The largest logarithm of each layer in each component: minus infinity where it has no input.
    tops: Vec<f64>,
    /// The same of what is below the last layer, for each request.
    left: Vec<f64>,
    /// What each layer gives, layer after layer.
    results: Vec<f64>,
}

impl Workspace {
    pub(super) fn new(threads: usize) -> Self {
        let blocks = Pool(Mutex::new(vec![Vec::new(); threads]));
        Self { blocks, requests: Vec::new(), tops: Vec::new(), left: Vec::new(), results: Vec::new() }
    }
}

impl Diffusion {
    /// log (K exp(x)) of some requests. `exponents` holds x, request after request, with what is at most `dark` for no
    /// input. `finish(request, vertex, sum)` takes the results.
    pub(super) fn log_products<T: CpuScalar>(
        &self,
        backend: &CpuBackend<T>,
        exponents: &[f64],
        dark: f64,
        workspace: &mut Workspace,
        mut finish: impl FnMut(usize, usize, LogSum) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let n = self.carriers();
        self.make_layers(exponents, dark, workspace);
        let count = workspace.requests.len();
        workspace.results.resize(workspace.results.len().max(n * count), 0.0);
        // Each lane is computed alike in a block of any width: only the speed depends on the threads.
        match count.div_ceil(backend.threads()).next_power_of_two().min(WIDTH) {
            1 => self.solve_layers::<T, 1>(backend, exponents, workspace),
            2 => self.solve_layers::<T, 2>(backend, exponents, workspace),
            4 => self.solve_layers::<T, 4>(backend, exponents, workspace),
            _ => self.solve_layers::<T, WIDTH>(backend, exponents, workspace),
        }
        let mut first = 0;
        for request in 0..exponents.len() / n {
            let own = workspace.requests[first..].iter().take_while(|of| **of == request).count();
            for vertex in 0..n {
                finish(request, vertex, self.sum_layers(workspace, request, first..first + own, vertex))?;
            }
            first += own;
        }
        Ok(())
    }

    /// Cuts each request into layers, from the largest logarithm of each component down.
    fn make_layers(&self, exponents: &[f64], dark: f64, workspace: &mut Workspace) {
        let Workspace { requests, tops, left, .. } = workspace;
        requests.clear();
        tops.clear();
        left.clear();
        let components = self.components.count();
        for (request, exponents) in exponents.chunks_exact(self.carriers()).enumerate() {
            left.resize(left.len() + components, f64::NEG_INFINITY);
            for layer in 0..=LAYERS {
                let start = tops.len();
                tops.resize(start + components, f64::NEG_INFINITY);
                for (&x, &component) in exponents.iter().zip(self.components.of_vertices()) {
                    let ceiling = match layer {
                        0 => f64::INFINITY,
                        _ => tops[start - components + component as usize] - WINDOW,
                    };
                    let top = &mut tops[start + component as usize];
                    if x > dark && x <= ceiling && x > *top {
                        *top = x;
                    }
                }
                let is_last = tops[start..].iter().all(|top| *top == f64::NEG_INFINITY);
                if is_last || layer == LAYERS {
                    left[request * components..].copy_from_slice(&tops[start..]);
                    tops.truncate(start);
                    break;
                }
                requests.push(request);
            }
        }
    }

    /// Solves all layers, W at a time.
    fn solve_layers<T: CpuScalar, const W: usize>(
        &self,
        backend: &CpuBackend<T>,
        exponents: &[f64],
        workspace: &mut Workspace,
    ) {
        let (n, all) = (self.carriers(), self.masses.len());
        let Workspace { blocks, requests, tops, results, .. } = workspace;
        let results = &mut results[..n * requests.len()];
        let (blocks, components) = (&*blocks, self.components.count());
        for_each_chunk(
            |tasks, job| backend.parallel(tasks, job),
            requests.len().div_ceil(W),
            requests.chunks(W).zip(tops.chunks(W * components)).zip(results.chunks_mut(W * n)),
            |_, ((requests, tops), results)| {
                let mut block = blocks.take();
                block.clear();
                block.resize(W * all, 0.0);
                let (sides, _) = block.as_chunks_mut::<W>();
                for (lane, (request, tops)) in requests.iter().zip(tops.chunks_exact(components)).enumerate() {
                    let own = exponents[request * n..][..n].iter().zip(self.components.of_vertices());
                    for (&row, (&x, &component)) in self.rows.iter().zip(own) {
                        let log = x - tops[component as usize];
                        if (-WINDOW..=0.0).contains(&log) && log > -WINDOW {
                            sides[row as usize][lane] = self.scale * log.exp();
                        }
                    }
                }
                self.run(sides);
                for (lane, results) in results.chunks_exact_mut(n).enumerate() {
                    for (&row, result) in self.rows.iter().zip(results) {
                        *result = sides[row as usize][lane];
                    }
                }
                blocks.put(block);
            },
        );
    }

    /// The sum of the results of the layers of a request at a vertex.
    fn sum_layers(&self, workspace: &Workspace, request: usize, layers: Range<usize>, vertex: usize) -> LogSum {
        let (n, components) = (self.carriers(), self.components.count());
        let component = self.components.of_vertices()[vertex] as usize;
        // The logarithm of a number near the scale would take digits from what is told.
        let logarithm = |value: f64| match value / self.scale {
            unscaled if unscaled >= f64::MIN_POSITIVE => unscaled.ln(),
            _ => value.ln() - self.scale.ln(),
        };
        let of_layer =
            |layer: usize| (workspace.results[layer * n + vertex], workspace.tops[layer * components + component]);
        let met = || layers.clone().map(of_layer).filter(|(_, top)| *top != f64::NEG_INFINITY);
        let known = || met().filter(|(value, _)| *value >= FLOOR);
        let largest = known().map(|(value, top)| logarithm(value) + top).fold(f64::NEG_INFINITY, f64::max);
        // No entry of K exceeds the inverse of the least mass.
        let left = workspace.left[request * components + component] + self.largest_entry;
        let unknown =
            met().filter(|(value, _)| *value < FLOOR).map(|(_, top)| logarithm(FLOOR) + top).fold(left, f64::max);
        if largest == f64::NEG_INFINITY && unknown == f64::NEG_INFINITY {
            return LogSum::Unreached;
        }
        if unknown > largest - NEGLIGIBLE {
            return LogSum::Below(unknown.max(largest) + (2.0 * LAYERS as f64).ln() + self.offset);
        }
        if layers.len() == 1 {
            return LogSum::Is(largest + self.offset);
        }
        let sum: f64 = known().map(|(value, top)| (logarithm(value) + top - largest).exp()).sum();
        LogSum::Is(largest + sum.ln() + self.offset)
    }
}
