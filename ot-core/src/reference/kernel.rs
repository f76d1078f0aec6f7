//! The kernels of the reference geometry, entry by entry: a Gibbs kernel by two-pass log-sum-exp, and those of other
//! regularizers of the plan.

use std::{fmt, sync::Arc};

use super::table::{CostTable, pair};
use crate::{
    backend::{HostBackend, Side},
    capability::{CostDerivative, HardTransform, PairSum, TransportCost},
    error::Error,
    family::{PlanFamily, two_responses},
    host::for_each_chunk,
    kernel::{KernelOp, PlanView, SoftMin, Sweep, two_half_steps},
    plan_regularizer::{PlanKind, PlanPrograms, PlanRegularizer},
    regularizer::{Balanced, LawPrograms},
    scalar::{LOG_ZERO, Scalar, UNREACHABLE},
};

/// Rows of one parallel task.
const TASK_ROWS: usize = 16;

/// The largest exponent taken: beyond it, no sum of entries of a plan would be finite.
const LARGEST_EXPONENT: f64 = 700.0;

/// A stored cost at one epsilon.
pub(super) struct ReferenceKernel<B: HostBackend> {
    pub(super) backend: B,
    pub(super) table: Arc<CostTable<B::Elem>>,
    pub(super) epsilon: f64,
    columns: usize,
    /// The formulas of the plan, and the law of its softmin.
    pub(super) programs: PlanPrograms,
    pub(super) balanced: LawPrograms,
}

impl<B: HostBackend> ReferenceKernel<B> {
    pub(super) fn new(
        backend: B,
        table: Arc<CostTable<B::Elem>>,
        regularizer: &dyn PlanRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        let (programs, balanced) = (PlanPrograms::record(regularizer)?, LawPrograms::record(&Balanced)?);
        Ok(Self { backend, table, epsilon: checked(epsilon)?, columns, programs, balanced })
    }

    /// Is the plan that of entropy?
    fn is_gibbs(&self) -> bool {
        self.programs.kind() == PlanKind::Entropy
    }

    /// Column `column` of a vector; the only one, if all share it.
    pub(super) fn column<'a>(&self, vector: &'a B::Vector, column: usize) -> &'a [B::Elem] {
        let (rows, columns) = self.backend.shape(vector);
        &self.backend.slice(vector)[column.min(columns - 1) * rows..][..rows]
    }

    /// Column `column` of an output.
    pub(super) fn column_mut<'a>(&self, vector: &'a mut B::Vector, column: usize) -> &'a mut [B::Elem] {
        let (rows, columns) = self.backend.shape(vector);
        &mut self.backend.slice_mut(vector)[column.min(columns - 1) * rows..][..rows]
    }

    /// Column `column` of the plan.
    pub(super) fn plan<'a>(&'a self, plan: PlanView<'a, B>, column: usize) -> PlanColumn<'a, B::Elem> {
        PlanColumn {
            table: &self.table,
            epsilon: self.epsilon,
            programs: &self.programs,
            potentials: [Side::Source, Side::Target].map(|side| self.column(plan.side(side).potential, column)),
            weights: [Side::Source, Side::Target].map(|side| self.column(plan.side(side).weights, column)),
        }
    }

    /// out_i = value(i), rows in parallel.
    pub(super) fn fill(&self, out: &mut [B::Elem], value: impl Fn(usize) -> f64 + Sync) {
        let parallel = |tasks: usize, task: &(dyn Fn(usize) + Sync)| self.backend.parallel(tasks, task);
        let tasks = out.len().div_ceil(TASK_ROWS);
        for_each_chunk(parallel, tasks, out.chunks_mut(TASK_ROWS), |task, rows| {
            for (offset, out) in rows.iter_mut().enumerate() {
                *out = element(value(task * TASK_ROWS + offset));
            }
        });
    }

    /// -epsilon log sum_j exp((potential_j - C_ij) / epsilon + log_weights_j) for atom i of a side.
    fn softmin_at(&self, side: Side, i: usize, potential: &[B::Elem], log_weights: &[B::Elem]) -> f64 {
        let exponents = || {
            let atoms = potential.iter().zip(log_weights).enumerate();
            let exponents = atoms.filter(|(_, (_, log_weight))| has_mass(**log_weight)).map(|(j, (g, log_weight))| {
                (g.to_f64() - self.table.of(side, i, j)) / self.epsilon + log_weight.to_f64()
            });
            exponents.filter(|&exponent| exponent > f64::NEG_INFINITY)
        };
        match exponents().reduce(f64::max) {
            None => UNREACHABLE,
            Some(largest) => {
                let sum: f64 = exponents().map(|exponent| (exponent - largest).exp()).sum();
                let largest_cost = <B::Elem as Scalar>::LARGEST_COST;
                (-self.epsilon * (largest + sum.ln())).clamp(-largest_cost, largest_cost)
            }
        }
    }
}

impl<B: HostBackend> KernelOp<B> for ReferenceKernel<B> {
    fn len(&self, side: Side) -> usize {
        self.table.len(side)
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn epsilon(&self) -> f64 {
        self.epsilon
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.epsilon = checked(epsilon)?;
        Ok(())
    }

    /// Does nothing: there is no centre.
    fn recenter(&mut self, _plan: PlanView<'_, B>) -> Result<(), Error> {
        Ok(())
    }

    /// With an explicit maximum; the shift is not looked at. Of another regularizer, the balanced response.
    fn softmin(&mut self, request: SoftMin<'_, B>, out: &mut B::Vector) -> Result<(), Error> {
        let SoftMin { side, potential, log_weights, active, .. } = request;
        if !self.is_gibbs() {
            self.respond_all(&self.balanced, request, |log_weight| log_weight.exp(), out);
            return Ok(());
        }
        for &column in active.indices() {
            let (potential, log_weights) = (self.column(potential, column), self.column(log_weights, column));
            let out = self.column_mut(out, column);
            self.fill(out, |i| self.softmin_at(side, i, potential, log_weights));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, B>,
        values: &B::Vector,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        let (_, channels) = self.backend.shape(values);
        let per_column = channels / self.columns;
        for channel in 0..channels {
            let plan = self.plan(plan, channel / per_column);
            let values = self.column(values, channel);
            let out = self.column_mut(out, channel);
            self.fill(out, |i| values.iter().enumerate().map(|(j, v)| plan.of(side, i, j) * v.to_f64()).sum());
        }
        Ok(())
    }

    fn sweep(&mut self, backend: &B, sweep: Sweep<'_, B>) -> Result<(), Error> {
        let epsilon = self.epsilon;
        match self.is_gibbs() {
            true => two_half_steps(self, backend, sweep),
            false => two_responses(self, epsilon, backend, sweep),
        }
    }

    fn family(&mut self) -> Option<&mut dyn PlanFamily<B>> {
        if self.is_gibbs() { None } else { Some(self) }
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<B>> {
        Some(self)
    }

    fn pair_sum(&mut self) -> Option<&mut dyn PairSum<B>> {
        if self.table.origin().is_some() { Some(self) } else { None }
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<B>> {
        Some(self)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<B>> {
        Some(self)
    }
}

impl<B: HostBackend> fmt::Debug for ReferenceKernel<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ReferenceKernel")
            .field("table", &self.table)
            .field("epsilon", &self.epsilon)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// One column of the plan, entry by entry.
#[derive(Clone, Copy)]
pub(super) struct PlanColumn<'a, T> {
    table: &'a CostTable<T>,
    epsilon: f64,
    programs: &'a PlanPrograms,
    potentials: [&'a [T]; 2],
    weights: [&'a [T]; 2],
}

impl<T: Scalar> PlanColumn<'_, T> {
    /// P_ij = a_i b_j h*'((f_i + g_j - C_ij) / epsilon), exp for entropy; zero for a forbidden pair.
    pub(super) fn mass(&self, i: usize, j: usize) -> f64 {
        let ([f, g], [a, b], cost) = (self.potentials, self.weights, self.table.cost(i, j));
        let weight = a[i].to_f64() * b[j].to_f64();
        if weight == 0.0 || cost == f64::INFINITY {
            return 0.0;
        }
        let exponent = (f[i].to_f64() + g[j].to_f64() - cost) / self.epsilon;
        match self.programs.kind() {
            PlanKind::Entropy => weight * exponent.min(LARGEST_EXPONENT).exp(),
            _ => weight * self.programs.density_at(exponent),
        }
    }

    /// The entry of atom `own` of a side and atom `other` of the opposite one.
    pub(super) fn of(&self, side: Side, own: usize, other: usize) -> f64 {
        let (i, j) = pair(side, own, other);
        self.mass(i, j)
    }
}

/// Does an atom of this log-weight have mass?
pub(super) fn has_mass<T: Scalar>(log_weight: T) -> bool {
    log_weight.to_f64() > LOG_ZERO / 2.0
}

/// A number rounded to the element type, kept finite.
pub(super) fn element<T: Scalar>(value: f64) -> T {
    T::from_f64(value.clamp(-T::MAX, T::MAX))
}

/// An epsilon that a kernel can have.
fn checked(epsilon: f64) -> Result<f64, Error> {
    if epsilon.is_finite() && epsilon > 0.0 { Ok(epsilon) } else { Err(Error::Epsilon(epsilon)) }
}
