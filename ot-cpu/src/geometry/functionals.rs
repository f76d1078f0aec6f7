//! Sums over the plan P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon), or that of another regularizer in the place of
//! entropy: products, functions of pairs.
//!
//! All of them walk over tiles of costs, rows of the side that gets values, and form the entries of the plan in
//! place. Exponents are kept below 80, so that the plan of any potentials is finite.

use std::{array, ops::Range};

use ot_core::{
    Error, HostBackend, KernelOp, PairSum, PlanPrograms, PlanView, Program, Side,
    host::{HostVector, for_each_chunk},
    program::{BlockInput, Registers},
};

use super::{
    family::densities_in_place,
    kernel::GibbsKernel,
    rows::{BLOCK, CostRows, TASKS, TILE, column_of, pieces, task_atoms, visit_block},
};
use crate::{
    backend::{CpuBackend, CpuScalar, VectorisedMath},
    simd::Stored,
};

/// Values of an atom that are summed in one pass.
const CHANNELS: usize = 8;

/// A plan seen from one side, in one column of the batch.
#[derive(Clone, Copy)]
pub(super) struct PlanColumn<'a, T> {
    pub(super) potential: &'a [T],
    pub(super) weights: &'a [T],
    pub(super) other_potential: &'a [T],
    pub(super) other_weights: &'a [T],
    pub(super) epsilon: f64,
    /// Of a plan that is not entropic.
    pub(super) family: Option<&'a PlanPrograms>,
}

impl<'a, T: CpuScalar> PlanColumn<'a, T> {
    pub(super) fn new(side: Side, plan: PlanView<'a, CpuBackend<T>>, epsilon: f64, column: usize) -> Self {
        let (own, other) = (plan.side(side), plan.side(side.opposite()));
        Self {
            potential: column_of(own.potential, column),
            weights: column_of(own.weights, column),
            other_potential: column_of(other.potential, column),
            other_weights: column_of(other.weights, column),
            epsilon,
            family: None,
        }
    }

    /// The same column of a plan that may not be entropic.
    pub(super) fn of_family(self, family: Option<&'a PlanPrograms>) -> Self {
        Self { family, ..self }
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
        // Exponents are kept where products with weights stay finite.
        let limit = T::from_f64(0.9 * T::MAX.ln());
        let largest = T::from_f64(T::MAX);
        let Buffers { tile, row } = buffers;
        visit_block(cost, side, block.clone(), tile, |r, others, costs| {
            let entries = &mut row[..costs.len()];
            entries.copy_from_slice(costs);
            let (f, g) = (self.potential[block.start + r], &self.other_potential[others.clone()]);
            match self.family {
                Some(family) => densities_in_place(family, f, inverse, g, entries),
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

/// Room for a tile of costs and a row of entries.
pub(super) struct Buffers<T> {
    pub(super) tile: [T; BLOCK * TILE],
    pub(super) row: [T; TILE],
}

impl<T: CpuScalar> Buffers<T> {
    pub(super) fn new() -> Self {
        Self { tile: [T::default(); BLOCK * TILE], row: [T::default(); TILE] }
    }
}

/// out_i = sum_j P_ij values_j, in groups of channels that share the entries of the plan.
pub(super) fn apply<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar>(
    kernel: &GibbsKernel<T, R, X>,
    side: Side,
    plan: PlanView<'_, CpuBackend<T>>,
    values: &HostVector<T>,
    out: &mut HostVector<T>,
) {
    let sum = |_: &mut (), channel: usize, _: usize, others: Range<usize>, entries: &[T]| {
        T::dot(entries, &column_of(values, channel)[others])
    };
    sum_channels(kernel, side, plan, out, &|| (), &|_, _, _| {}, &sum);
}

/// From (state, channel, i, others, P_i over others) to a sum over the tile.
type TileSum<'a, T, S> = dyn Fn(&mut S, usize, usize, Range<usize>, &[T]) -> f64 + Sync + 'a;

/// For every channel of `out`, c of them for each column of the batch: out_i = sum over tiles of
/// `sum(state, channel, i, others, P_i over others)`. A task has a `state`, which is told of each tile by `prepare`
/// before its channels are summed.
fn sum_channels<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar, S>(
    kernel: &GibbsKernel<T, R, X>,
    side: Side,
    plan: PlanView<'_, CpuBackend<T>>,
    out: &mut HostVector<T>,
    state: &(dyn Fn() -> S + Sync),
    prepare: &(dyn Fn(&mut S, usize, Range<usize>) + Sync),
    sum: &TileSum<'_, T, S>,
) {
    let cost = kernel.cost.as_ref();
    let (atoms, channels) = out.shape();
    let of_column = channels / kernel.columns();
    let task = task_atoms(atoms, cost.len(side.opposite()));
    for (column, out) in out.values_mut().chunks_mut((atoms * of_column).max(1)).enumerate() {
        let plan = PlanColumn::new(side, plan, kernel.epsilon, column).of_family(kernel.family.as_ref());
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
                |tasks, job| kernel.backend.parallel(tasks, job),
                atoms.div_ceil(task),
                tasks,
                |index, mut pieces_of_channels: [Option<&mut [T]>; CHANNELS]| {
                    let (mut buffers, mut state) = (Buffers::new(), state());
                    let start = index * task;
                    for block in pieces(start..atoms.min(start + task), BLOCK) {
                        let mut sums = [[0.0; CHANNELS]; BLOCK];
                        plan.visit_block(cost, side, block.clone(), &mut buffers, |r, others, _, entries| {
                            let atom = block.start + r;
                            prepare(&mut state, atom, others.clone());
                            for (channel, total) in sums[r][..count].iter_mut().enumerate() {
                                *total += sum(&mut state, first + channel, atom, others.clone(), entries);
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

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> GibbsKernel<T, R, X> {
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

/// The working memory of one task of a pair sum.
struct PairState<T> {
    registers: Registers<T>,
    /// phi of each output over a tile.
    values: Vec<T>,
}

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> PairSum<CpuBackend<T>> for GibbsKernel<T, R, X> {
    fn pair_sum(
        &mut self,
        side: Side,
        plan: PlanView<'_, CpuBackend<T>>,
        phi: &Program,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let clouds = self.cost.clouds().ok_or(Error::MissingCapability("coordinates"))?;
        let (dimension, outputs) = (clouds.dimension, phi.outputs());
        if phi.inputs() != 2 * dimension {
            let what = "inputs of a function of two points";
            return Err(Error::Length { what, expected: 2 * dimension, found: phi.inputs() });
        }
        let (_, channels) = out.shape();
        if channels != outputs * self.columns() {
            let what = "columns of a pair sum";
            return Err(Error::Length { what, expected: outputs * self.columns(), found: channels });
        }
        let (own, other) = (clouds.side(side), clouds.side(side.opposite()));
        let state = || PairState { registers: Registers::new(), values: vec![T::default(); outputs * TILE] };
        let prepare = |state: &mut PairState<T>, atom: usize, others: Range<usize>| {
            let (point, axes) = (own.points(atom..atom + 1), other.axes_from(others.start));
            let fixed = |axis: usize| BlockInput::Uniform(point[axis]);
            let moving = |axis: usize| BlockInput::Lanes(&axes[axis * other.stride()..][..others.len()]);
            let inputs: Vec<_> = match side {
                Side::Source => (0..dimension).map(fixed).chain((0..dimension).map(moving)).collect(),
                Side::Target => (0..dimension).map(moving).chain((0..dimension).map(fixed)).collect(),
            };
            let mut values: Vec<_> = state.values.chunks_mut(TILE).map(|values| &mut values[..others.len()]).collect();
            let run = phi.run_block::<_, VectorisedMath>(&inputs, &mut state.registers, &mut values);
            debug_assert!(run.is_ok(), "the arity was checked");
        };
        let sum = |state: &mut PairState<T>, channel: usize, _: usize, _: Range<usize>, entries: &[T]| {
            T::dot(entries, &state.values[(channel % outputs) * TILE..][..entries.len()])
        };
        sum_channels(self, side, plan, out, &state, &prepare, &sum);
        Ok(())
    }
}
