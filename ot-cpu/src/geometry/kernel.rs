//! The Gibbs kernel of one solve over a cost given by its rows.

use std::sync::Arc;

use ot_core::{
    CostDerivative, Error, HardTransform, HostBackend, KernelOp, PairSum, PlanView, Side, SoftMin, Sweep,
    TransportCost,
    host::{HostVector, for_each_chunk},
    two_half_steps,
};

use super::{
    absorbed::{Absorbed, Entries, Streamed},
    functionals,
    guard::centred_weights,
    rows::{BLOCK, CostRows, TILE, column_of, column_of_mut, pieces, task_atoms},
    softmin::{Terms, shifted_block},
    sweep::{GROUP, Pass, Scratch},
};
use crate::backend::{CpuBackend, CpuScalar};

/// Beyond this drift, in units of epsilon, a named centre is worth absorbing at.
const LARGEST_DRIFT: f64 = 10.0;

/// A kernel over stored or streamed costs.
///
/// Stored costs have an absorbed copy from the first softmin on; streamed ones are always centred at the
/// potentials in use.
#[derive(Debug)]
pub(super) struct GibbsKernel<T, R> {
    pub(super) backend: CpuBackend<T>,
    pub(super) cost: Arc<R>,
    pub(super) epsilon: f64,
    columns: usize,
    absorbed: Absorbed<T>,
    scratch: Scratch<T>,
}

impl<T: CpuScalar, R: CostRows<T>> GibbsKernel<T, R> {
    /// Binds a cost.
    pub(super) fn new(backend: &CpuBackend<T>, cost: &Arc<R>, epsilon: f64, columns: usize) -> Result<Self, Error> {
        let (rows, others) = (cost.len(Side::Source), cost.len(Side::Target));
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        let (group, buffer_rows) = if R::STORED { (columns.min(GROUP), 0) } else { (1, BLOCK) };
        Ok(Self {
            backend: backend.clone(),
            cost: Arc::clone(cost),
            epsilon: checked(epsilon)?,
            columns,
            absorbed: Absorbed::default(),
            scratch: Scratch::new(rows, others, group, backend.threads(), buffer_rows)?,
        })
    }

    /// Softmins by the absorbed copy. Says whether it should be made anew.
    fn absorbed_softmin(&mut self, request: &SoftMin<'_, CpuBackend<T>>, out: &mut HostVector<T>) -> bool {
        let mut first = None;
        let Self { backend, cost, epsilon, absorbed, scratch, .. } = self;
        for group in request.active.indices().chunks(GROUP) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: *epsilon, group };
            let (potential, log_weights) = (request.potential, request.log_weights);
            let redone = match request.side {
                Side::Source => pass.source_softmins(&*absorbed, potential, log_weights, scratch, out),
                Side::Target => pass.target_softmins(&*absorbed, potential, log_weights, scratch, out),
            };
            first.get_or_insert(redone);
        }
        is_worn_out(first.unwrap_or(0), cost.len(request.side))
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
            let guard = centred_weights(log_weights, potential, potential, *epsilon, f64::INFINITY, weights);
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

    /// A sweep by the absorbed copy, which is made anew if it has worn out.
    fn absorbed_sweep(&mut self, mut sweep: Sweep<'_, CpuBackend<T>>) -> Result<(), Error> {
        let active = sweep.active;
        let mut first = None;
        let Self { backend, cost, epsilon, absorbed, scratch, .. } = self;
        for group in active.indices().chunks(GROUP) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: *epsilon, group };
            let panel = absorbed.panel_rows();
            let rows = pass.sweep_rows(&*absorbed, &sweep, scratch);
            pass.finish_rows(panel, &mut sweep, scratch);
            let centre = Some(absorbed.centre(Side::Target));
            let columns = pass.sweep_columns(panel, centre, absorbed.largest(), &mut sweep, scratch);
            first.get_or_insert((rows, columns));
        }
        let (rows, columns) = first.unwrap_or_default();
        if is_worn_out(rows, cost.len(Side::Source)) || is_worn_out(columns, cost.len(Side::Target)) {
            let column = active.indices()[0];
            let (f, g) = (column_of(&sweep.potentials.source, column), column_of(&sweep.potentials.target, column));
            absorbed.absorb(backend, cost.as_ref(), *epsilon, f, g)?;
        }
        Ok(())
    }

    /// A sweep by entries around the potentials in use, column by column.
    fn streamed_sweep(&mut self, mut sweep: Sweep<'_, CpuBackend<T>>) {
        let active = sweep.active;
        let Self { backend, cost, epsilon, scratch, .. } = self;
        for group in active.indices().chunks(1) {
            let pass = Pass { backend, cost: cost.as_ref(), epsilon: *epsilon, group };
            let entries = Streamed {
                cost: cost.as_ref(),
                source: column_of(&sweep.potentials.source, group[0]),
                target: column_of(&sweep.potentials.target, group[0]),
                epsilon: *epsilon,
            };
            let (panel, largest) = (entries.panel_rows(), entries.largest());
            pass.sweep_rows(&entries, &sweep, scratch);
            pass.finish_rows(panel, &mut sweep, scratch);
            pass.sweep_columns(panel, None, largest, &mut sweep, scratch);
        }
    }
}

impl<T: CpuScalar, R: CostRows<T>> KernelOp<CpuBackend<T>> for GibbsKernel<T, R> {
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
        self.absorbed.invalidate();
        Ok(())
    }

    fn recenter(&mut self, plan: PlanView<'_, CpuBackend<T>>) -> Result<(), Error> {
        if self.absorbed.is_fresh() {
            let (f, g) = (column_of(plan.source.potential, 0), column_of(plan.target.potential, 0));
            let drift = self.absorbed.drift(f, g) / self.epsilon;
            if drift > LARGEST_DRIFT && drift.is_finite() {
                self.absorbed.absorb(&self.backend, self.cost.as_ref(), self.epsilon, f, g)?;
            }
        }
        Ok(())
    }

    fn softmin(&mut self, request: SoftMin<'_, CpuBackend<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        let Some(&column) = request.active.indices().first() else { return Ok(()) };
        let is_worn_out = if self.absorbed.is_fresh() {
            self.absorbed_softmin(&request, out)
        } else {
            self.shifted_softmin(&request, out);
            R::STORED
        };
        if is_worn_out {
            let (own, other) = (column_of(out, column), column_of(request.potential, column));
            let (f, g) = match request.side {
                Side::Source => (own, other),
                Side::Target => (other, own),
            };
            self.absorbed.absorb(&self.backend, self.cost.as_ref(), self.epsilon, f, g)?;
        }
        Ok(())
    }

    fn sweep(&mut self, backend: &CpuBackend<T>, sweep: Sweep<'_, CpuBackend<T>>) -> Result<(), Error> {
        if !R::STORED {
            self.streamed_sweep(sweep);
            Ok(())
        } else if self.absorbed.is_fresh() {
            self.absorbed_sweep(sweep)
        } else {
            two_half_steps(self, backend, sweep)
        }
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

/// Had so many sums to be redone that a new centre is worth its price?
fn is_worn_out(redone: usize, atoms: usize) -> bool {
    4 * redone > atoms
}
