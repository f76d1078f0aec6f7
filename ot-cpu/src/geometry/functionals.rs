//! Sums over the plan P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon), or that of another regularizer in the place of
//! entropy: products, and what costs and derivatives sum.
//!
//! All of them walk over tiles of costs, rows of the side that gets values, and form the entries of the plan in
//! place. Exponents are kept below 80, so that the plan of any potentials is finite.

use std::{array, ops::Range, sync::Arc};

use ot_core::{
    Binding, Host, HostBackend, PlanView, RecordedRegularizer, RegularizerKind, Side,
    host::{HostVector, for_each_chunk},
    program::{BlockInput, Registers},
};

use super::CpuScalar;
use super::{
    guard::reachable,
    rows::{BLOCK, CostRows, Heights, TASKS, TILE, pieces, read_pairs, task_atoms, visit_block, visit_partners},
};
use crate::backend::{CpuBackend, VectorisedMath};

/// A cost at one epsilon and under one regularizer, as far as sums over its plan are concerned.
#[derive(Debug)]
pub(super) struct Functionals<T, R> {
    pub(super) backend: CpuBackend<T>,
    pub(super) cost: Arc<R>,
    pub(super) binding: Binding,
    /// Of a plan that is not entropic.
    pub(super) regularizer: Option<RecordedRegularizer>,
}

/// Values of an atom that are summed in one pass.
const CHANNELS: usize = 8;

/// A plan seen from one side, in one column of the batch.
pub(super) struct PlanColumn<'a, T> {
    pub(super) potential: &'a [T],
    pub(super) weights: &'a [T],
    pub(super) other_potential: &'a [T],
    pub(super) other_weights: &'a [T],
    pub(super) epsilon: f64,
    /// Of a plan that is not entropic.
    pub(super) regularizer: Option<&'a RecordedRegularizer>,
    /// Where pairs are left out: the heights of the other side, and what f_i + g_j - C_ij must exceed.
    heights: Heights,
    level: f64,
}

/// The density that pruning may take from an atom, over the unit roundoff.
const LEFT_OUT: f64 = 1.0 / 64.0;

/// Exponents are kept where products with weights stay finite: the part of the logarithm of the largest number.
pub(super) const LARGEST_EXPONENT: f64 = 0.9;

impl<T: CpuScalar> PlanColumn<'_, T> {
    /// Calls `visit(r, others, costs)` for the rows r of a block, tile by tile, with the costs of the pairs that matter.
    pub(super) fn visit_costs<R: CostRows<T>>(
        &self,
        cost: &R,
        side: Side,
        block: Range<usize>,
        tile: &mut [T; BLOCK * TILE],
        visit: impl FnMut(usize, Range<usize>, &mut [T]),
    ) {
        if !R::PRUNES {
            return visit_block(cost, side, block, tile, visit);
        }
        let mut partners = Vec::new();
        self.partners(cost, side, block.clone(), &mut partners);
        visit_partners(cost, side, block, &partners, tile, visit);
    }

    /// [`visit_costs`](Self::visit_costs) of source atoms, for costs that are only read.
    pub(super) fn read_costs<R: CostRows<T>>(
        &self,
        cost: &R,
        block: Range<usize>,
        tile: &mut [T; BLOCK * TILE],
        mut visit: impl FnMut(usize, Range<usize>, &[T]),
    ) {
        if !R::PRUNES {
            return read_pairs(cost, block, 0..cost.len(Side::Target), tile, visit);
        }
        self.visit_costs(cost, Side::Source, block, tile, |row, targets, costs| visit(row, targets, costs));
    }

    /// Ranges of the atoms of the other side, among them all that matter to the rows of a block.
    pub(super) fn partners<R: CostRows<T>>(
        &self,
        cost: &R,
        side: Side,
        block: Range<usize>,
        out: &mut Vec<Range<usize>>,
    ) {
        let top = cost.top(side, block.clone(), |i| reachable(self.potential[i]).to_f64());
        cost.partners(side, block, &top, &self.heights, self.level, out);
    }

    /// Calls `visit(r, others, costs, entries)` for the rows r of a block, tile by tile, with the entries of the plan
    /// over the own weight: b_j exp((f_i + g_j - C_ij) / epsilon) for entropy.
    pub(super) fn visit_block<R: CostRows<T>>(
        &self,
        cost: &R,
        side: Side,
        block: Range<usize>,
        buffers: &mut Buffers<T>,
        mut visit: impl FnMut(usize, Range<usize>, &mut [T], &mut [T]),
    ) {
        let inverse = T::from_f64(1.0 / self.epsilon);
        let limit = T::from_f64(LARGEST_EXPONENT * T::MAX.ln());
        let largest = T::from_f64(T::MAX);
        let Buffers { tile, row } = buffers;
        self.visit_costs(cost, side, block.clone(), tile, |r, others, costs| {
            let entries = &mut row[..costs.len()];
            entries.copy_from_slice(costs);
            let (f, g) = (self.potential[block.start + r], &self.other_potential[others.clone()]);
            match self.regularizer {
                Some(regularizer) => densities_in_place(regularizer, f, inverse, g, entries),
                None => T::gibbs(f, inverse, limit, g, entries),
            }
            for (entry, &weight) in entries.iter_mut().zip(&self.other_weights[others.clone()]) {
                let product = *entry * weight;
                *entry = if product < largest { product } else { largest };
            }
            visit(r, others, costs, entries);
        });
    }
}

/// Space for a tile of costs and a row of entries.
pub(super) struct Buffers<T> {
    pub(super) tile: [T; BLOCK * TILE],
    pub(super) row: [T; TILE],
}

impl<T: CpuScalar> Buffers<T> {
    pub(super) fn new() -> Self {
        Self { tile: [T::default(); BLOCK * TILE], row: [T::default(); TILE] }
    }
}

impl<T: CpuScalar, R: CostRows<T>> Functionals<T, R> {
    /// One column of the plan, seen from one side.
    pub(super) fn column<'a>(&'a self, side: Side, plan: PlanView<'a, Host<T>>, column: usize) -> PlanColumn<'a, T> {
        self.column_without(side, plan, column, LEFT_OUT * T::EPSILON)
    }

    /// One column of the plan without pairs whose density in it, all together, is at most `left_out` for any atom.
    pub(super) fn column_without<'a>(
        &'a self,
        side: Side,
        plan: PlanView<'a, Host<T>>,
        column: usize,
        left_out: f64,
    ) -> PlanColumn<'a, T> {
        let (own, other) = (plan.side(side), plan.side(side.opposite()));
        let (weights, other_weights) = (own.weights.column(column), other.weights.column(column));
        let epsilon = self.binding.epsilon();
        let (mut heights, mut level) = (Heights::default(), f64::NEG_INFINITY);
        if R::PRUNES {
            let potential = other.potential.column(column);
            heights = self.cost.heights(side.opposite(), |j| match other_weights[j] > T::default() {
                true => reachable(potential[j]).to_f64(),
                false => f64::NEG_INFINITY,
            });
            let mass = |weights: &[T]| weights.iter().map(|weight| weight.to_f64()).sum::<f64>();
            let heaviest = mass(weights).max(mass(other_weights)).max(f64::MIN_POSITIVE);
            level = epsilon * (left_out.ln() - heaviest.ln());
        }
        PlanColumn {
            potential: own.potential.column(column),
            weights,
            other_potential: other.potential.column(column),
            other_weights,
            epsilon,
            regularizer: self.regularizer.as_ref(),
            heights,
            level,
        }
    }

    /// out_i = sum_j P_ij values_j, in groups of channels that share the entries of the plan.
    pub(super) fn apply(
        &self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) {
        let cost = self.cost.as_ref();
        let (atoms, channels) = out.shape();
        let of_column = channels / self.binding.columns();
        let task = task_atoms(atoms, cost.len(side.opposite()));
        for (column, out) in out.values_mut().chunks_mut((atoms * of_column).max(1)).enumerate() {
            let plan = self.column(side, plan, column);
            for (group, out) in out.chunks_mut(atoms * CHANNELS).enumerate() {
                let first = column * of_column + group * CHANNELS;
                let count = out.len() / atoms;
                let mut channels = out.chunks_mut(atoms).map(|channel| channel.chunks_mut(task));
                let mut channels: [_; CHANNELS] = array::from_fn(|_| channels.next());
                let tasks = std::iter::from_fn(move || {
                    channels[0].as_ref()?.len().checked_sub(1)?;
                    Some(channels.each_mut().map(|channel| channel.as_mut().and_then(Iterator::next)))
                });
                for_each_chunk(
                    |tasks, job| self.backend.parallel(tasks, job),
                    atoms.div_ceil(task),
                    tasks,
                    |index, mut pieces_of_channels: [Option<&mut [T]>; CHANNELS]| {
                        let mut buffers = Buffers::new();
                        let start = index * task;
                        for block in pieces(start..atoms.min(start + task), BLOCK) {
                            let mut sums = [[0.0; CHANNELS]; BLOCK];
                            plan.visit_block(cost, side, block.clone(), &mut buffers, |r, others, _, entries| {
                                for (channel, total) in sums[r][..count].iter_mut().enumerate() {
                                    *total += T::dot(entries, &values.column(first + channel)[others.clone()]);
                                }
                            });
                            for (channel, out) in pieces_of_channels.iter_mut().flatten().enumerate() {
                                for (atom, sums) in block.clone().zip(&sums) {
                                    let weight = plan.weights[atom].to_f64();
                                    out[atom - start] = T::from_f64(weight * sums[channel]);
                                }
                            }
                        }
                    },
                );
            }
        }
    }

    /// The sum of `of_block` over all blocks of source atoms, in a fixed order.
    pub(super) fn sum_blocks(&self, of_block: impl Fn(Range<usize>, &mut Buffers<T>) -> f64 + Sync) -> f64 {
        self.sum_blocks_of(1, |block, buffers, totals| totals[0] += of_block(block, buffers))[0]
    }

    /// The sums of some numbers that `of_block` adds to, over all blocks of source atoms, in a fixed order.
    pub(super) fn sum_blocks_of(
        &self,
        numbers: usize,
        of_block: impl Fn(Range<usize>, &mut Buffers<T>, &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let (atoms, others) = (self.cost.len(Side::Source), self.cost.len(Side::Target));
        let task = task_atoms(atoms, others);
        let mut sums = vec![0.0; TASKS * numbers];
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            atoms.div_ceil(task),
            sums.chunks_mut(numbers),
            |index, sums| {
                let mut buffers = Buffers::new();
                let start = index * task;
                for block in pieces(start..atoms.min(start + task), BLOCK) {
                    of_block(block, &mut buffers, sums);
                }
            },
        );
        (0..numbers).map(|number| sums.iter().skip(number).step_by(numbers).sum()).collect()
    }
}

/// Replaces a tile of costs by densities h*'((f + g_j - C_j) / epsilon), zero for forbidden pairs.
fn densities_in_place<T: CpuScalar>(regularizer: &RecordedRegularizer, f: T, inverse: T, g: &[T], costs: &mut [T]) {
    if regularizer.kind() == RegularizerKind::SquaredL2 {
        for (cost, &g) in costs.iter_mut().zip(g) {
            let exponent = ((f + g) - *cost) * inverse;
            *cost = if exponent > T::default() { exponent } else { T::default() };
        }
        return;
    }
    let (mut exponents, mut slopes) = ([T::default(); TILE], [T::default(); TILE]);
    let (exponents, slopes) = (&mut exponents[..costs.len()], &mut slopes[..costs.len()]);
    for ((exponent, &cost), &g) in exponents.iter_mut().zip(costs.iter()).zip(g) {
        *exponent = if cost.is_finite() { ((f + g) - cost) * inverse } else { T::default() };
    }
    let is_forbidden: [bool; TILE] = array::from_fn(|j| j < costs.len() && !costs[j].is_finite());
    let inputs = [BlockInput::Lanes(&*exponents)];
    let run = regularizer.density_and_slope().run_block::<T, VectorisedMath>(
        &inputs,
        &mut Registers::new(),
        &mut [&mut *costs, slopes],
    );
    debug_assert!(run.is_ok(), "recorded with one input and two outputs");
    for (density, is_forbidden) in costs.iter_mut().zip(is_forbidden) {
        if is_forbidden {
            *density = T::default();
        }
    }
}
