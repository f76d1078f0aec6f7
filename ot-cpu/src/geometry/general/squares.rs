//! The densities of both marginals under squared L2, for the ascent of the dual: costs are read where they are, once, and no entry is
//! written.

use std::{array, ops::Range};

use ot_core::{
    ActiveColumns, Host, HostBackend, PlanOperator, PlanView, RecordedRegularizer, RegularizerKind, Side,
    host::{HostReduced, HostVector, for_each_chunk},
};

use super::GeneralKernel;
use crate::{
    CpuScalar,
    geometry::rows::{BLOCK, CostRows, TASKS, TILE, pieces, task_atoms},
    simd::PositiveRows,
};

/// Epsilons, and weights of columns, whose products are in the range of either element type.
const MODERATE: Range<f64> = 1e-12..1e12;

/// Can the densities of a plan be summed without a change of units?
pub(super) fn is_moderate<T: CpuScalar>(
    regularizer: &RecordedRegularizer,
    epsilon: f64,
    plan: PlanView<'_, Host<T>>,
) -> bool {
    let largest = plan.target.weights.values().iter().fold(0.0, |largest: f64, weight| largest.max(weight.to_f64()));
    regularizer.kind() == RegularizerKind::SquaredL2 && MODERATE.contains(&epsilon) && MODERATE.contains(&largest)
}

impl<T: CpuScalar, R: CostRows<T>> GeneralKernel<T, R> {
    /// P_ij = a_i b_j t_ij / epsilon with t_ij = max(f_i + g_j - C_ij, 0): the densities of both sides, and
    /// sum_ij a_i b_j t_ij^2 / (2 epsilon^2).
    pub(super) fn square_densities(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        [source, target]: [&mut HostVector<T>; 2],
        conjugate: &mut HostReduced,
    ) {
        let (mut totals, mut sums) = ([0.0; TASKS], std::mem::take(&mut self.sums));
        let epsilon = self.epsilon();
        for &column in active.indices() {
            totals.fill(0.0);
            sums.fill(0.0);
            let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| vector.column(column));
            let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| vector.column(column));
            let (task, others) = (task_atoms(f.len(), g.len()), g.len());
            for_each_chunk(
                |tasks, job| self.functionals.backend.parallel(tasks, job),
                f.len().div_ceil(task),
                source.column_mut(column).chunks_mut(task).zip(totals.iter_mut()).zip(sums.chunks_exact_mut(others)),
                |index, ((out, total), sums)| {
                    let start = index * task;
                    for block in pieces(start..start + out.len(), BLOCK) {
                        let mut densities = [0.0; BLOCK];
                        let densities = &mut densities[..block.len()];
                        self.read_block(block.clone(), others, |tile, costs| {
                            let (f, a, g, b) =
                                (&f[block.clone()], &a[block.clone()], &g[tile.clone()], &b[tile.clone()]);
                            let rows = PositiveRows { f, a, g, b, costs };
                            *total += T::positive_marginals(rows, densities, &mut sums[tile]);
                        });
                        for (atom, density) in block.zip(densities) {
                            out[atom - start] = T::from_f64(*density / epsilon);
                        }
                    }
                },
            );
            for (j, out) in target.column_mut(column).iter_mut().enumerate() {
                *out = T::from_f64(sums.iter().skip(j).step_by(others).sum::<f64>() / epsilon);
            }
            conjugate.values_mut()[column] = 0.5 * (totals.iter().sum::<f64>() / epsilon) / epsilon;
        }
        self.sums = sums;
    }

    /// Calls `visit(tile, rows)` with the costs of a block of source atoms, tile by tile of the others.
    fn read_block(&self, block: Range<usize>, others: usize, mut visit: impl FnMut(Range<usize>, &[&[T]])) {
        let cost = self.functionals.cost.as_ref();
        let nothing: &[T] = &[];
        let mut workspace = self.workspaces.take();
        for tile in pieces(0..others, TILE) {
            let stored: [Option<&[T]>; BLOCK] = array::from_fn(|row| match block.start + row {
                atom if atom < block.end => cost.stored(atom, tile.clone()),
                _ => Some(nothing),
            });
            if stored.iter().all(Option::is_some) {
                visit(tile, &stored.map(Option::unwrap_or_default));
                continue;
            }
            cost.tile(Side::Source, block.clone(), tile.clone(), others, &mut workspace.rows);
            visit(
                tile,
                &array::from_fn::<_, BLOCK, _>(|row| match row < block.len() {
                    true => &workspace.rows[row * others..],
                    false => nothing,
                }),
            );
        }
        self.workspaces.put(workspace);
    }
}
