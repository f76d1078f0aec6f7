//! Hard c-transforms axis by axis, and the arcs below a threshold.
//!
//! ```text
//! min_j C_ij - g_j = min over y_1 of C_1(x_1, y_1) + ( min over y_2 of C_2(x_2, y_2) + ( ... - g(y_1, ..., y_d)))
//! ```
//!
//! Under squares each minimum along a line is the lower envelope of as many parabolas, found in linear time (Felzenszwalb,
//! Huttenlocher 2012); under another cost each pair of nodes of the axis is looked at. The partial minima also tell which
//! branches hold arcs below a threshold: a search from the first axis to the last meets nothing but these.

use ot_core::{
    ArcThreshold, Error, HardTransform, Host, HostBackend, LOG_ZERO, PricedArc, Side, UNREACHABLE,
    cost::{AxisCost, AxisPair},
    host::{HostVector, for_each_chunk, try_zeros},
};

use super::{
    axis::{places, spacing},
    kernel::GridKernel,
};
use crate::{
    backend::CpuBackend,
    geometry::{CpuScalar, rows::TASKS},
};

impl<T: CpuScalar> HardTransform<Host<T>> for GridKernel<T> {
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        out: &mut HostVector<T>,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let (rows, columns) = out.shape();
        let mut arguments = argument;
        if let Some(arguments) = arguments.as_deref_mut() {
            arguments.clear();
        }
        for column in 0..columns {
            let sides = potential.column(column).iter().zip(log_weights.column(column));
            let leaves = sides.map(|(potential, log_weight)| {
                let is_left_out = log_weight.to_f64() <= 0.5 * LOG_ZERO;
                if is_left_out { f64::INFINITY } else { -potential.to_f64() }
            });
            let minima = PartialMinima::new(&self.backend, self.grids.costs.axes(), side, leaves.collect())?;
            for (out, &value) in out.column_mut(column).iter_mut().zip(minima.values()) {
                *out = T::from_f64(if value == f64::INFINITY { UNREACHABLE } else { value });
            }
            if let Some(arguments) = arguments.as_deref_mut() {
                arguments.extend((0..rows).map(|node| minima.argument(node)));
            }
        }
        Ok(())
    }

    fn arcs_below(
        &mut self,
        source_potential: &HostVector<T>,
        target_potential: &HostVector<T>,
        column: usize,
        threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let (f, g) = (source_potential.column(column), target_potential.column(column));
        let of_target = |j: usize| threshold.atoms.map_or(0.0, |[_, target]| target[j]);
        let leaves = g.iter().enumerate().map(|(j, g)| -(g.to_f64() + of_target(j))).collect();
        let minima = PartialMinima::new(&self.backend, self.grids.costs.axes(), Side::Source, leaves)?;
        let largest = |values: &[T]| values.iter().fold(0.0_f64, |most, value| most.max(value.to_f64().abs()));
        let bound: f64 = self.grids.costs.bound();
        let of_targets =
            threshold.atoms.map_or(0.0, |[_, target]| target.iter().fold(0.0, |most: f64, t| most.max(t.abs())));
        let rounding = 16.0 * f64::EPSILON * (bound + largest(f) + largest(g) + of_targets);
        let mut found: [Vec<PricedArc>; TASKS] = std::array::from_fn(|_| Vec::new());
        let task = f.len().div_ceil(TASKS);
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            f.len().div_ceil(task),
            found.iter_mut(),
            |index, found| {
                for i in index * task..f.len().min((index + 1) * task) {
                    let of_source = threshold.base + threshold.atoms.map_or(0.0, |[source, _]| source[i]);
                    let highest = of_source + f[i].to_f64();
                    let of_highest = if highest.is_finite() { 4.0 * f64::EPSILON * highest.abs() } else { 0.0 };
                    // One arc over the limit is enough to tell that there are too many.
                    let most = limit.saturating_add(1);
                    minima.visit_below(i, highest + rounding + of_highest, |j, cost| {
                        let reduced_cost = cost - f[i].to_f64() - g[j].to_f64();
                        if reduced_cost <= of_source + of_target(j) && found.len() < most {
                            found.push(PricedArc { source: i as u32, target: j as u32, reduced_cost });
                        }
                        found.len() < most
                    });
                }
            },
        );
        let count: usize = found.iter().map(Vec::len).sum();
        if count > limit {
            let bytes = (count as u64).saturating_mul(size_of::<PricedArc>() as u64);
            return Err(Error::OutOfMemory { what: "arcs of small reduced cost", bytes });
        }
        Ok(found.into_iter().flatten().collect())
    }
}

/// Minima over the last axes of C - g: level 0 has none, level d all of them. Level l has the nodes of the opposite side
/// along the first d - l axes, and those of the side along the others.
struct PartialMinima<'a> {
    axes: &'a [AxisPair],
    side: Side,
    values: Vec<Vec<f64>>,
    /// The node of the axis that a level has got rid of, at which its minimum is.
    places: Vec<Vec<u32>>,
}

impl<'a> PartialMinima<'a> {
    fn new<T: CpuScalar>(
        backend: &CpuBackend<T>,
        axes: &'a [AxisPair],
        side: Side,
        leaves: Vec<f64>,
    ) -> Result<Self, Error> {
        let (mut values, mut places) = (vec![leaves], vec![Vec::new()]);
        let mut inner = 1;
        for axis in axes.iter().rev() {
            let (n, m) = (axis.len(side), axis.len(side.opposite()));
            let entering = &values[values.len() - 1];
            let outer = entering.len() / (m * inner);
            let mut leaving = try_zeros::<f64>(outer * n * inner, "minima of a grid")?;
            let mut place = vec![0_u32; outer * n * inner];
            let pieces = leaving.chunks_mut(n * inner).zip(place.chunks_mut(n * inner));
            for_each_chunk(
                |tasks, job| backend.parallel(tasks, job),
                outer,
                pieces,
                |index, (out, place)| {
                    let entering = &entering[index * m * inner..][..m * inner];
                    let mut envelope = Envelope::new(axis, side);
                    for line in 0..inner {
                        envelope.minimise(
                            |j| entering[j * inner + line],
                            |i, value, at| {
                                (out[i * inner + line], place[i * inner + line]) = (value, at);
                            },
                        );
                    }
                },
            );
            values.push(leaving);
            places.push(place);
            inner *= n;
        }
        Ok(Self { axes, side, values, places })
    }

    /// The minima over all axes.
    fn values(&self) -> &[f64] {
        &self.values[self.axes.len()]
    }

    /// The node of the opposite side at which the minimum of a node is; `u32::MAX` where there is none.
    fn argument(&self, node: usize) -> u32 {
        if self.values()[node] == f64::INFINITY {
            return u32::MAX;
        }
        let (mut index, mut rest, mut argument) = (node, self.values().len(), 0);
        for (k, axis) in self.axes.iter().enumerate() {
            let place = self.places[self.axes.len() - k][index] as usize;
            rest /= axis.len(self.side);
            argument = argument * axis.len(self.side.opposite()) + place;
            // The index at the level before: all places found so far, then the nodes of the other axes.
            index = argument * rest + node % rest;
        }
        argument as u32
    }

    /// Calls `visit(j, C_ij)` for the nodes j with C_ij plus its leaf at most `highest`, in order, until it says no.
    fn visit_below(&self, node: usize, highest: f64, mut visit: impl FnMut(usize, f64) -> bool) {
        let dimension = self.axes.len();
        if highest.is_nan() || self.values()[node] > highest {
            return;
        }
        let mut own = vec![0; dimension];
        let mut rests = vec![1; dimension];
        let mut rest = self.values().len();
        for (k, axis) in self.axes.iter().enumerate() {
            rest /= axis.len(self.side);
            (own[k], rests[k]) = (node / rest % axis.len(self.side), rest);
        }
        // Depth first: the next place of each axis that is open, and what the axes before it cost.
        let (mut next, mut costs, mut prefix) = (vec![0; dimension], vec![0.0; dimension + 1], vec![0; dimension + 1]);
        let mut k = 0;
        loop {
            let axis = &self.axes[k];
            let len = axis.len(self.side.opposite());
            if next[k] == len {
                if k == 0 {
                    return;
                }
                k -= 1;
                continue;
            }
            let place = next[k];
            next[k] += 1;
            let cost = costs[k] + axis.between(self.side, own[k], place);
            let argument = prefix[k] * len + place;
            let below = self.values[dimension - k - 1][argument * rests[k] + node % rests[k]];
            if cost + below > highest {
                continue;
            }
            if k + 1 == dimension {
                if !visit(argument, cost) {
                    return;
                }
            } else {
                (costs[k + 1], prefix[k + 1], next[k + 1]) = (cost, argument, 0);
                k += 1;
            }
        }
    }
}

/// Minima along the lines of one axis.
struct Envelope<'a> {
    axis: &'a AxisPair,
    side: Side,
    /// Nodes whose parabolas are on the envelope, and from where on.
    nodes: Vec<(usize, f64)>,
    line: Vec<f64>,
}

impl<'a> Envelope<'a> {
    fn new(axis: &'a AxisPair, side: Side) -> Self {
        Self { axis, side, nodes: Vec::with_capacity(axis.len(side.opposite())), line: Vec::new() }
    }

    /// Calls `found(i, value, place)` for the minimum over j of C_ij plus the input of j; infinite if all inputs are.
    fn minimise(&mut self, input: impl Fn(usize) -> f64, mut found: impl FnMut(usize, f64, u32)) {
        let (outputs, inputs) = (self.axis.len(self.side), self.axis.len(self.side.opposite()));
        self.line.clear();
        self.line.extend((0..inputs).map(input));
        let scale = match self.axis.cost() {
            AxisCost::Squares(scale) => scale * spacing(self.axis, self.side.opposite()).powi(2),
            AxisCost::Distances | AxisCost::Table(_) => {
                for i in 0..outputs {
                    let values = (0..inputs).map(|j| (self.axis.between(self.side, i, j) + self.line[j], j));
                    let least =
                        values.fold((f64::INFINITY, 0), |least, other| if other.0 < least.0 { other } else { least });
                    found(i, least.0, least.1 as u32);
                }
                return;
            }
        };
        self.raise(scale);
        let [start, step] = places(self.axis, self.side);
        let mut k = 0;
        for i in 0..outputs {
            let x = start + step * i as f64;
            while k + 1 < self.nodes.len() && self.nodes[k + 1].1 < x {
                k += 1;
            }
            // Where two meet, rounding decides: the neighbours are looked at, and the first of equals is taken.
            let mut least = (f64::INFINITY, 0);
            for &(j, _) in &self.nodes[k.saturating_sub(1)..self.nodes.len().min(k + 2)] {
                let value = self.axis.between(self.side, i, j) + self.line[j];
                if value < least.0 {
                    least = (value, j);
                }
            }
            found(i, least.0, least.1 as u32);
        }
    }

    /// The lower envelope of scale (x - j)^2 + line_j, in units of the spacing.
    fn raise(&mut self, scale: f64) {
        self.nodes.clear();
        for (j, &height) in self.line.iter().enumerate() {
            if height == f64::INFINITY {
                continue;
            }
            let mut from = f64::NEG_INFINITY;
            while let Some(&(last, since)) = self.nodes.last() {
                let steps = (j - last) as f64;
                from = 0.5 * (j + last) as f64 + (height - self.line[last]) / (2.0 * scale * steps);
                if from > since {
                    break;
                }
                self.nodes.pop();
                from = f64::NEG_INFINITY;
            }
            self.nodes.push((j, from));
        }
    }
}
