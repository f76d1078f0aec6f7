//! The Gibbs kernel of one solve over a cost given by its rows.

use std::{iter, slice, sync::Arc};

use ot_core::{
    ActiveColumns, Backend, Binding, CappedPlan, CostDerivative, Error, GibbsKernel, HardTransform, Host, HostBackend,
    PlanOperator, PlanProduct, PlanView, Potentials, Scalar, Side, SoftMin, Sweep, TransportCost, UNREACHABLE,
    host::{HostVector, for_each_chunk},
};

use super::{
    CpuScalar,
    absorbed::{Absorbed, Kept},
    anchors::{Anchors, FARTHEST},
    cut::GROUP,
    entries::Entries,
    functionals::Functionals,
    guard::centred_weights,
    memory::zeroed,
    plan_product::PlanProducts,
    rows::{BLOCK, CostRows, TILE, pieces, task_atoms},
    softmin::{Terms, exact_block, shifted_block},
    streamed::Streamed,
    sweep::{CappedRows, Keep, Operands, Pass, Scratch},
};
use crate::{backend::CpuBackend, simd::Stored};

/// Beyond this drift, in units of epsilon, the kept copy is made anew around a named centre.
const LARGEST_DRIFT: f64 = 10.0;

/// A kernel over stored or streamed costs. Entries are made in the type of the costs; X is the type of those kept.
///
/// Softmins are taken from the costs, with one exponential for each pair, and so are sweeps over streamed costs.
/// Sweeps over stored costs keep the entries of the second sweep, and go on by them until the potentials have moved so
/// far, or so little, that they should be made anew.
#[derive(Debug)]
pub(super) struct EntropicKernel<T, R, X> {
    pub(super) functionals: Functionals<T, R>,
    pub(super) products: PlanProducts<T>,
    stage: Stage,
    /// Sums redone since the copy was made.
    redone: usize,
    centre: Centre<T>,
    absorbed: Absorbed<T, X>,
    anchors: Option<Anchors>,
    scratch: Scratch<T>,
    operands: Operands<T>,
    kept_operands: Option<Operands<X>>,
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

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> EntropicKernel<T, R, X> {
    /// Binds a cost.
    pub(super) fn new(backend: &CpuBackend<T>, cost: &Arc<R>, epsilon: f64, columns: usize) -> Result<Self, Error> {
        let (rows, others) = (cost.len(Side::Source), cost.len(Side::Target));
        let binding = Binding::new([rows, others], columns, epsilon)?;
        let (shape, group, threads) =
            ((rows, others), if R::STORED { columns.min(GROUP) } else { 1 }, backend.threads());
        let is_rounded = R::STORED && <X as Scalar>::EPSILON > <T as Scalar>::EPSILON;
        Ok(Self {
            functionals: Functionals { backend: backend.clone(), cost: Arc::clone(cost), binding, regularizer: None },
            products: PlanProducts::default(),
            stage: Stage::Costs,
            redone: 0,
            centre: Centre { source: zeroed(rows, "a potential")?, target: zeroed(others, "a potential")? },
            absorbed: Absorbed::default(),
            anchors: if is_rounded { Some(Anchors::new(rows, others, columns)?) } else { None },
            scratch: Scratch::new(shape, group, threads, R::STORED)?,
            operands: Operands::new(shape, group, threads, Streamed::<T, R>::panel_rows_for(others, group))?,
            kept_operands: if R::STORED { Some(Operands::new(shape, group, threads, 0)?) } else { None },
        })
    }

    /// Softmins from the costs, column by column, shifted by the previous potential.
    fn shifted_softmin(&mut self, request: &SoftMin<'_, Host<T>>, out: &mut HostVector<T>) {
        let SoftMin { side, other, shift, active } = *request;
        let Self { functionals: Functionals { backend, cost, binding, .. }, scratch, .. } = self;
        let (atoms, others) = (cost.len(side), cost.len(side.opposite()));
        let (task, all) = (task_atoms(atoms, others), 0..others);
        for &column in active.indices() {
            let potential = other.potential.column(column);
            let log_weights = other.log_weights.column(column);
            let shift = shift.column(column);
            let weights = &mut scratch.weights_mut()[..others];
            let guard =
                centred_weights::<T, T>(log_weights, potential, potential, binding.epsilon(), f64::INFINITY, weights);
            let terms = Terms { potential, log_weights, weights, guard, epsilon: binding.epsilon() };
            for_each_chunk(
                |tasks, job| backend.parallel(tasks, job),
                atoms.div_ceil(task),
                out.column_mut(column).chunks_mut(task),
                |index, chunk| {
                    let mut tile = [T::default(); BLOCK * TILE];
                    let start = index * task;
                    let blocks = pieces(start..start + chunk.len(), BLOCK);
                    for (block, out) in blocks.zip(chunk.chunks_mut(BLOCK)) {
                        let shift = &shift[block.clone()];
                        let (cost, all) = (cost.as_ref(), slice::from_ref(&all));
                        let exact = |tile: &mut _| exact_block(cost, side, block.clone(), all, terms, tile);
                        shifted_block(cost, side, block.clone(), all, terms, shift, &mut tile, out, exact);
                    }
                },
            );
        }
    }

    /// Softmins of stored costs, row after row, with one exponential for all columns of a group.
    fn row_wise_softmin(&mut self, request: &SoftMin<'_, Host<T>>, out: &mut HostVector<T>) {
        let SoftMin { side, other, shift, active } = *request;
        let (potential, log_weights) = (other.potential, other.log_weights);
        let Self { functionals: Functionals { backend, cost, binding, .. }, scratch, operands, .. } = self;
        for group in active.indices().chunks(GROUP) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: binding.epsilon(), group };
            let (own, partner) = (shift.column(group[0]), potential.column(group[0]));
            let entries = |source, target| Streamed {
                cost: cost.as_ref(),
                source,
                target,
                epsilon: binding.epsilon(),
                movable: false,
            };
            match side {
                Side::Source => {
                    pass.source_softmins(&entries(own, partner), potential, log_weights, scratch, operands, out);
                }
                Side::Target => {
                    pass.target_softmins(&entries(partner, own), potential, log_weights, scratch, operands, out);
                }
            }
        }
    }

    /// The softmins of both sides in one pass, and those of the target with rows capped, if that is asked for.
    fn both_softmins(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        [source_out, target_out]: [&mut HostVector<T>; 2],
        mut capped: Option<CappedRows<'_, T>>,
    ) {
        let Self { functionals: Functionals { backend, cost, binding, .. }, scratch, operands, .. } = self;
        for group in active.indices().chunks(if R::STORED { GROUP } else { 1 }) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: binding.epsilon(), group };
            let (source, target) = (plan.source.potential.column(group[0]), plan.target.potential.column(group[0]));
            let entries = Streamed { cost: cost.as_ref(), source, target, epsilon: binding.epsilon(), movable: false };
            let out = [&mut *source_out, &mut *target_out];
            pass.both_softmins(&entries, plan, scratch, operands, out, capped.as_mut().map(CappedRows::reborrow));
        }
    }

    /// A sweep by temporary entries, around the potentials of the first column of each group.
    fn streamed_sweep(&mut self, sweep: &mut Sweep<'_, Host<T>>) {
        let active = sweep.active;
        let Self { functionals: Functionals { backend, cost, binding, .. }, scratch, operands, centre, .. } = self;
        for group in active.indices().chunks(if R::STORED { GROUP } else { 1 }) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: binding.epsilon(), group };
            centre.copy(cost.bound(), sweep.potentials, group[0]);
            let entries = centre.streamed(cost.as_ref(), binding.epsilon(), true);
            pass.sweep_rows::<_, X>(&entries, None, nothing(), sweep, scratch, operands);
            pass.finish_rows(&entries, sweep, scratch);
            pass.sweep_columns(&entries, None, sweep, scratch);
        }
    }

    /// The same sweep around the potentials of the first column, whose entries are kept, and whose sums become the
    /// anchors.
    fn keeping_sweep(&mut self, sweep: &mut Sweep<'_, Host<T>>) {
        let active = sweep.active;
        let Self {
            functionals: Functionals { backend, cost, binding, .. },
            scratch,
            operands,
            centre,
            absorbed,
            anchors,
            ..
        } = self;
        for (index, group) in active.indices().chunks(GROUP).enumerate() {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: binding.epsilon(), group };
            if index == 0 {
                centre.copy(cost.bound(), sweep.potentials, group[0]);
                absorbed.begin(&centre.target);
            } else {
                centre.source.copy_from_slice(absorbed.centre(Side::Source));
            }
            let entries = centre.streamed(cost.as_ref(), binding.epsilon(), index == 0);
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
    fn kept_sweep(&mut self, sweep: &mut Sweep<'_, Host<T>>) -> bool {
        let active = sweep.active;
        let Self {
            functionals: Functionals { backend, cost, binding, .. },
            scratch,
            absorbed,
            anchors,
            kept_operands,
            redone,
            ..
        } = self;
        let Some(operands) = kept_operands else { return false };
        let mut is_exact = true;
        for group in active.indices().chunks(GROUP) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: binding.epsilon(), group };
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

/// The potentials that temporary entries are centred at.
#[derive(Debug)]
struct Centre<T> {
    source: Vec<T>,
    target: Vec<T>,
}

impl<T: CpuScalar> Centre<T> {
    /// Copies the potentials of a column; atoms that nothing reaches get 0, which keeps the entries of the others in
    /// range.
    fn copy(&mut self, bound: Option<f64>, potentials: &Potentials<Host<T>>, column: usize) {
        let is_cost_small = bound.is_some_and(|bound| bound < 1e-3 * UNREACHABLE);
        let limit = if is_cost_small { UNREACHABLE / 2.0 } else { f64::INFINITY };
        let sides = [(&potentials.source, &mut self.source), (&potentials.target, &mut self.target)];
        for (potential, centre) in sides {
            for (centre, &potential) in centre.iter_mut().zip(potential.column(column)) {
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

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> PlanOperator<Host<T>> for EntropicKernel<T, R, X> {
    fn binding(&self) -> &Binding {
        &self.functionals.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.functionals.binding.rebind(epsilon)?;
        self.stage = Stage::Costs;
        Ok(())
    }

    fn recenter(&mut self, plan: PlanView<'_, Host<T>>) -> Result<(), Error> {
        if self.stage == Stage::Kept {
            let (f, g) = (plan.source.potential.column(0), plan.target.potential.column(0));
            if self.absorbed.drift(f, g) > LARGEST_DRIFT * self.epsilon() {
                self.stage = Stage::Costs;
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.functionals.apply(side, plan, values, out);
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Host<T>>> {
        Some(&mut self.functionals)
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Host<T>>> {
        Some(&mut self.functionals)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Host<T>>> {
        Some(&mut self.functionals)
    }

    fn plan_product(&mut self) -> Option<&mut dyn PlanProduct<Host<T>>> {
        Some(self)
    }
}

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> GibbsKernel<Host<T>> for EntropicKernel<T, R, X> {
    fn softmin(&mut self, request: SoftMin<'_, Host<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        if R::STORED {
            self.row_wise_softmin(&request, out);
        } else {
            self.shifted_softmin(&request, out);
        }
        Ok(())
    }

    fn softmins(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        out: [&mut HostVector<T>; 2],
    ) -> Result<(), Error> {
        self.both_softmins(plan, active, out, None);
        Ok(())
    }

    fn capped_softmins(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        plan: PlanView<'_, Host<T>>,
        highest: f64,
        active: &ActiveColumns,
        out: CappedPlan<'_, Host<T>>,
    ) -> Result<(), Error> {
        let CappedPlan { source, target, log_scaling, capped } = out;
        if highest == f64::INFINITY {
            self.both_softmins(plan, active, [source, &mut *target], None);
            backend.fill(0.0, log_scaling)?;
            return backend.copy(target, capped);
        }
        let capped = CappedRows { log_highest: highest.ln(), log_scaling, columns: capped };
        self.both_softmins(plan, active, [source, target], Some(capped));
        Ok(())
    }

    fn fused_sweep(&mut self, _: &dyn Backend<Host<T>>, mut sweep: Sweep<'_, Host<T>>) -> Result<(), Error> {
        if !R::STORED {
            self.streamed_sweep(&mut sweep);
            return Ok(());
        }
        if sweep.active.is_empty() {
            return Ok(());
        }
        self.stage = match self.stage {
            Stage::Costs => {
                self.absorbed
                    .reserve(self.functionals.cost.len(Side::Source), self.functionals.cost.len(Side::Target))?;
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
}
