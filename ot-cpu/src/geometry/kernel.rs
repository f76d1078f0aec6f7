//! The Gibbs kernel of one solve over a cost given by its rows.

use std::{iter, sync::Arc};

use ot_core::{
    ActiveColumns, CostDerivative, Error, HardTransform, HostBackend, KernelOp, PairSum, PlanPrograms, PlanView,
    Potentials, Scalar, Side, SoftMin, Sweep, TransportCost, UNREACHABLE,
    host::{HostVector, for_each_chunk},
};

use super::{
    absorbed::{Absorbed, Kept},
    anchors::{Anchors, FARTHEST},
    dense::zeroed,
    entries::Entries,
    functionals,
    guard::centred_weights,
    rows::{BLOCK, CostRows, TILE, column_of, column_of_mut, pieces, task_atoms},
    softmin::{Terms, shifted_block},
    streamed::Streamed,
    sweep::{GROUP, Keep, Operands, Pass, Scratch},
};
use crate::{
    backend::{CpuBackend, CpuScalar},
    simd::Stored,
};

/// Beyond this drift, in units of epsilon, the kept copy is made anew around a named centre.
const LARGEST_DRIFT: f64 = 10.0;

/// A kernel over stored or streamed costs. Entries are made in the type of the costs; X is the type of those kept.
///
/// Softmins are taken from the costs, with one exponential for each pair, and so are sweeps over streamed costs.
/// Sweeps over stored costs keep the entries of the second sweep, and go on by them until the potentials have moved so
/// far, or so little, that they should be made anew.
#[derive(Debug)]
pub(super) struct GibbsKernel<T, R, X> {
    pub(super) backend: CpuBackend<T>,
    pub(super) cost: Arc<R>,
    pub(super) epsilon: f64,
    columns: usize,
    stage: Stage,
    /// Sums redone since the copy was made.
    redone: usize,
    centre: Centre<T>,
    absorbed: Absorbed<T, X>,
    anchors: Option<Anchors>,
    scratch: Scratch<T>,
    operands: Operands<T>,
    kept_operands: Option<Operands<X>>,
    /// What functionals of the plan read in the place of an exponential, where this is part of a kernel of another
    /// regularizer.
    pub(super) family: Option<PlanPrograms>,
}

/// What sweeps over a stored cost go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Costs: the potentials are those of another epsilon, or of none.
    Costs,
    /// Costs, and their entries are kept.
    Keeping,
    /// Kept entries.
    Kept,
}

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> GibbsKernel<T, R, X> {
    /// Binds a cost.
    pub(super) fn new(backend: &CpuBackend<T>, cost: &Arc<R>, epsilon: f64, columns: usize) -> Result<Self, Error> {
        let (rows, others) = (cost.len(Side::Source), cost.len(Side::Target));
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        let (shape, group, threads) =
            ((rows, others), if R::STORED { columns.min(GROUP) } else { 1 }, backend.threads());
        let is_rounded = R::STORED && <X as Scalar>::EPSILON > <T as Scalar>::EPSILON;
        Ok(Self {
            backend: backend.clone(),
            cost: Arc::clone(cost),
            epsilon: checked(epsilon)?,
            columns,
            stage: Stage::Costs,
            redone: 0,
            centre: Centre { source: zeroed(rows, "a potential")?, target: zeroed(others, "a potential")? },
            absorbed: Absorbed::default(),
            anchors: if is_rounded { Some(Anchors::new(rows, others, columns)?) } else { None },
            scratch: Scratch::new(shape, group, threads, R::STORED)?,
            operands: Operands::new(shape, group, threads, Streamed::<T, R>::panel_rows_for(others, group))?,
            kept_operands: if R::STORED { Some(Operands::new(shape, group, threads, 0)?) } else { None },
            family: None,
        })
    }

    /// Softmins from the costs, column by column, shifted by the previous potential.
    fn shifted_softmin(&mut self, request: &SoftMin<'_, CpuBackend<T>>, out: &mut HostVector<T>) {
        let SoftMin { side, .. } = *request;
        let Self { backend, cost, epsilon, scratch, .. } = self;
        let (atoms, others) = (cost.len(side), cost.len(side.opposite()));
        let task = task_atoms(atoms, others);
        for &column in request.active.indices() {
            let potential = column_of(request.potential, column);
            let log_weights = column_of(request.log_weights, column);
            let shift = column_of(request.shift, column);
            let weights = &mut scratch.weights_mut()[..others];
            let guard = centred_weights::<T, T>(log_weights, potential, potential, *epsilon, f64::INFINITY, weights);
            let terms = Terms { potential, log_weights, weights, guard, epsilon: *epsilon };
            for_each_chunk(
                |tasks, job| backend.parallel(tasks, job),
                atoms.div_ceil(task),
                column_of_mut(out, column).chunks_mut(task),
                |index, chunk| {
                    let mut tile = [T::default(); BLOCK * TILE];
                    let start = index * task;
                    let blocks = pieces(start..start + chunk.len(), BLOCK);
                    for (block, out) in blocks.zip(chunk.chunks_mut(BLOCK)) {
                        let shift = &shift[block.clone()];
                        shifted_block(cost.as_ref(), side, block, terms, shift, &mut tile, out);
                    }
                },
            );
        }
    }

    /// Softmins of stored costs, row after row, with one exponential for all columns of a group.
    fn row_wise_softmin(&mut self, request: &SoftMin<'_, CpuBackend<T>>, out: &mut HostVector<T>) {
        let SoftMin { side, potential, log_weights, shift, active } = *request;
        let Self { backend, cost, epsilon, scratch, operands, .. } = self;
        for group in active.indices().chunks(GROUP) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: *epsilon, group };
            let (own, other) = (column_of(shift, group[0]), column_of(potential, group[0]));
            let entries =
                |source, target| Streamed { cost: cost.as_ref(), source, target, epsilon: *epsilon, movable: false };
            match side {
                Side::Source => {
                    pass.source_softmins(&entries(own, other), potential, log_weights, scratch, operands, out);
                }
                Side::Target => {
                    pass.target_softmins(&entries(other, own), potential, log_weights, scratch, operands, out);
                }
            }
        }
    }

    /// A sweep by entries made for the occasion, around the potentials of the first column of each group.
    fn streamed_sweep(&mut self, sweep: &mut Sweep<'_, CpuBackend<T>>) {
        let active = sweep.active;
        let Self { backend, cost, epsilon, scratch, operands, centre, .. } = self;
        for group in active.indices().chunks(if R::STORED { GROUP } else { 1 }) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: *epsilon, group };
            centre.copy(cost.bound(), sweep.potentials, group[0]);
            let entries = centre.streamed(cost.as_ref(), *epsilon, true);
            pass.sweep_rows::<_, X>(&entries, None, nothing(), sweep, scratch, operands);
            pass.finish_rows(&entries, sweep, scratch);
            pass.sweep_columns(&entries, None, sweep, scratch);
        }
    }

    /// The same sweep around the potentials of the first column, whose entries are kept, and whose sums become the
    /// anchors.
    fn keeping_sweep(&mut self, sweep: &mut Sweep<'_, CpuBackend<T>>) {
        let active = sweep.active;
        let Self { backend, cost, epsilon, scratch, operands, centre, absorbed, anchors, .. } = self;
        for (index, group) in active.indices().chunks(GROUP).enumerate() {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: *epsilon, group };
            if index == 0 {
                centre.copy(cost.bound(), sweep.potentials, group[0]);
                absorbed.begin(&centre.target);
            } else {
                centre.source.copy_from_slice(absorbed.centre(Side::Source));
            }
            let entries = centre.streamed(cost.as_ref(), *epsilon, index == 0);
            if index == 0 {
                let pieces = Keep::Entries(absorbed.pieces(pass.task_rows(&entries)));
                let (_, largest) = pass.sweep_rows(&entries, None, pieces, sweep, scratch, operands);
                absorbed.finish(largest);
            } else {
                pass.sweep_rows::<_, X>(&entries, None, sums(), sweep, scratch, operands);
            }
            if let Some(anchors) = anchors {
                pass.anchor_rows(&entries, anchors, scratch);
            }
            pass.finish_rows(&entries, sweep, scratch);
            pass.sweep_columns(&entries, None, sweep, scratch);
            if let Some(anchors) = anchors {
                pass.anchor_columns(anchors, scratch);
            }
        }
        if let Some(anchors) = anchors {
            anchors.hold(active.indices());
        }
    }

    /// A sweep by the kept entries. Says whether they are still good for the next.
    fn kept_sweep(&mut self, sweep: &mut Sweep<'_, CpuBackend<T>>) -> bool {
        let active = sweep.active;
        let Self { backend, cost, epsilon, scratch, absorbed, anchors, kept_operands, redone, .. } = self;
        let Some(operands) = kept_operands else { return false };
        let mut is_exact = true;
        for group in active.indices().chunks(GROUP) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: *epsilon, group };
            let (rows, _) = pass.sweep_rows::<_, X>(&*absorbed, anchors.as_ref(), nothing(), sweep, scratch, operands);
            pass.finish_rows(&*absorbed, sweep, scratch);
            let columns = pass.sweep_columns(&*absorbed, anchors.as_ref(), sweep, scratch);
            *redone += rows + columns;
            if let Some(anchors) = anchors {
                for (drift, &column) in scratch.drifts.iter().zip(group) {
                    is_exact &= !drift.is_drowned(<X as Scalar>::EPSILON);
                    if drift.distance > FARTHEST {
                        anchors.release(column);
                    }
                }
            }
        }
        let sums = (cost.len(Side::Source) + cost.len(Side::Target)) * active.indices().len();
        is_exact && 4 * *redone <= sums
    }
}

/// The potentials that entries made for the occasion are centred at.
#[derive(Debug)]
struct Centre<T> {
    source: Vec<T>,
    target: Vec<T>,
}

impl<T: CpuScalar> Centre<T> {
    /// Copies the potentials of a column; atoms that nothing reaches get 0, which keeps the entries of the others in
    /// range.
    fn copy(&mut self, bound: Option<f64>, potentials: &Potentials<CpuBackend<T>>, column: usize) {
        let is_cost_small = bound.is_some_and(|bound| bound < 1e-3 * UNREACHABLE);
        let limit = if is_cost_small { UNREACHABLE / 2.0 } else { f64::INFINITY };
        let sides = [(&potentials.source, &mut self.source), (&potentials.target, &mut self.target)];
        for (potential, centre) in sides {
            for (centre, &potential) in centre.iter_mut().zip(column_of(potential, column)) {
                *centre = if potential.to_f64().abs() < limit { potential } else { T::default() };
            }
        }
    }

    fn streamed<'a, R>(&'a self, cost: &'a R, epsilon: f64, movable: bool) -> Streamed<'a, T, R> {
        Streamed { cost, source: &self.source, target: &self.target, epsilon, movable }
    }
}

/// Sums are kept, and no entries.
fn sums<'a, T: 'a, X: 'a>() -> Keep<iter::Empty<Kept<'a, T, X>>> {
    Keep::Sums
}

/// Nothing is kept.
fn nothing<'a, T: 'a, X: 'a>() -> Keep<iter::Empty<Kept<'a, T, X>>> {
    Keep::Nothing
}

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> KernelOp<CpuBackend<T>> for GibbsKernel<T, R, X> {
    fn len(&self, side: Side) -> usize {
        self.cost.len(side)
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn epsilon(&self) -> f64 {
        self.epsilon
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.epsilon = checked(epsilon)?;
        self.stage = Stage::Costs;
        Ok(())
    }

    fn recenter(&mut self, plan: PlanView<'_, CpuBackend<T>>) -> Result<(), Error> {
        if self.stage == Stage::Kept {
            let (f, g) = (column_of(plan.source.potential, 0), column_of(plan.target.potential, 0));
            if self.absorbed.drift(f, g) > LARGEST_DRIFT * self.epsilon {
                self.stage = Stage::Costs;
            }
        }
        Ok(())
    }

    fn softmin(&mut self, request: SoftMin<'_, CpuBackend<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        if R::STORED {
            self.row_wise_softmin(&request, out);
        } else {
            self.shifted_softmin(&request, out);
        }
        Ok(())
    }

    fn softmins(
        &mut self,
        plan: PlanView<'_, CpuBackend<T>>,
        active: &ActiveColumns,
        out: [&mut HostVector<T>; 2],
    ) -> Result<(), Error> {
        let Self { backend, cost, epsilon, scratch, operands, .. } = self;
        let [source_out, target_out] = out;
        for group in active.indices().chunks(if R::STORED { GROUP } else { 1 }) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: *epsilon, group };
            let (source, target) =
                (column_of(plan.source.potential, group[0]), column_of(plan.target.potential, group[0]));
            let entries = Streamed { cost: cost.as_ref(), source, target, epsilon: *epsilon, movable: false };
            pass.both_softmins(&entries, plan, scratch, operands, [&mut *source_out, &mut *target_out]);
        }
        Ok(())
    }

    fn sweep(&mut self, _: &CpuBackend<T>, mut sweep: Sweep<'_, CpuBackend<T>>) -> Result<(), Error> {
        if !R::STORED {
            self.streamed_sweep(&mut sweep);
            return Ok(());
        }
        if sweep.active.is_empty() {
            return Ok(());
        }
        self.stage = match self.stage {
            Stage::Costs => {
                self.absorbed.reserve(self.cost.len(Side::Source), self.cost.len(Side::Target))?;
                self.streamed_sweep(&mut sweep);
                Stage::Keeping
            }
            Stage::Keeping => {
                self.keeping_sweep(&mut sweep);
                self.redone = 0;
                Stage::Kept
            }
            Stage::Kept => {
                if self.kept_sweep(&mut sweep) {
                    Stage::Kept
                } else {
                    Stage::Keeping
                }
            }
        };
        Ok(())
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, CpuBackend<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        functionals::apply(self, side, plan, values, out);
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<CpuBackend<T>>> {
        Some(self)
    }

    fn pair_sum(&mut self) -> Option<&mut dyn PairSum<CpuBackend<T>>> {
        if self.cost.clouds().is_some() { Some(self) } else { None }
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<CpuBackend<T>>> {
        Some(self)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<CpuBackend<T>>> {
        Some(self)
    }
}

/// An epsilon that a kernel can be bound to.
fn checked(epsilon: f64) -> Result<f64, Error> {
    if epsilon.is_finite() && epsilon > 0.0 { Ok(epsilon) } else { Err(Error::Epsilon(epsilon)) }
}
