//! The plan of the reference geometry at one epsilon, entry by entry.

use std::{fmt, sync::Arc};

use super::table::{CostTable, pair};
use crate::{
    error::Error,
    host::{Host, HostBackend, HostVector, for_each_chunk},
    kernel::{Binding, PlanView},
    regularizer::RecordedRegularizer,
    scalar::{LOG_ZERO, Scalar},
    side::Side,
};

/// Rows of one parallel task.
const TASK_ROWS: usize = 16;

/// A stored cost at one epsilon, under one regularizer.
pub(super) struct ReferencePlan<T: Scalar> {
    pub(super) backend: Arc<dyn HostBackend<T>>,
    pub(super) table: Arc<CostTable<T>>,
    pub(super) regularizer: RecordedRegularizer,
    pub(super) binding: Binding,
}

impl<T: Scalar> ReferencePlan<T> {
    pub(super) fn new(
        backend: &Arc<dyn HostBackend<T>>,
        table: &Arc<CostTable<T>>,
        regularizer: RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Self, Error> {
        let binding = Binding::new(Side::BOTH.map(|side| table.len(side)), columns, epsilon)?;
        Ok(Self { backend: Arc::clone(backend), table: Arc::clone(table), regularizer, binding })
    }

    /// One column of the plan.
    pub(super) fn column<'a>(&'a self, plan: PlanView<'a, Host<T>>, column: usize) -> PlanColumn<'a, T> {
        PlanColumn {
            table: &self.table,
            epsilon: self.binding.epsilon(),
            regularizer: &self.regularizer,
            potentials: Side::BOTH.map(|side| plan.side(side).potential.column(column)),
            weights: Side::BOTH.map(|side| plan.side(side).weights.column(column)),
        }
    }

    /// out_i = value(i), rows in parallel.
    pub(super) fn fill(&self, out: &mut [T], value: impl Fn(usize) -> f64 + Sync) {
        let parallel = |tasks: usize, task: &(dyn Fn(usize) + Sync)| self.backend.parallel(tasks, task);
        let tasks = out.len().div_ceil(TASK_ROWS);
        for_each_chunk(parallel, tasks, out.chunks_mut(TASK_ROWS), |task, rows| {
            for (offset, out) in rows.iter_mut().enumerate() {
                *out = element(value(task * TASK_ROWS + offset));
            }
        });
    }

    /// out_i = sum_j P_ij values_j.
    pub(super) fn apply(
        &self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) {
        let (_, channels) = values.shape();
        let per_column = channels / self.binding.columns();
        for channel in 0..channels {
            let (plan, values) = (self.column(plan, channel / per_column), values.column(channel));
            let sum = |i: usize| values.iter().enumerate().map(|(j, v)| plan.of(side, i, j) * v.to_f64()).sum();
            self.fill(out.column_mut(channel), sum);
        }
    }
}

impl<T: Scalar> fmt::Debug for ReferencePlan<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ReferencePlan")
            .field("table", &self.table)
            .field("binding", &self.binding)
            .finish_non_exhaustive()
    }
}

/// One column of the plan, entry by entry.
#[derive(Clone, Copy)]
pub(super) struct PlanColumn<'a, T> {
    table: &'a CostTable<T>,
    epsilon: f64,
    regularizer: &'a RecordedRegularizer,
    potentials: [&'a [T]; 2],
    weights: [&'a [T]; 2],
}

impl<T: Scalar> PlanColumn<'_, T> {
    /// z_ij = (f_i + g_j - C_ij) / epsilon; minus infinity for a forbidden pair.
    pub(super) fn exponent(&self, i: usize, j: usize) -> f64 {
        let [f, g] = self.potentials;
        (f[i].to_f64() + g[j].to_f64() - self.table.cost(i, j)) / self.epsilon
    }

    /// a_i b_j.
    pub(super) fn weight(&self, i: usize, j: usize) -> f64 {
        let [a, b] = self.weights;
        a[i].to_f64() * b[j].to_f64()
    }

    /// P_ij = a_i b_j h*'(z_ij); zero for a forbidden pair.
    pub(super) fn mass(&self, i: usize, j: usize) -> f64 {
        self.of_pair(i, j, |regularizer, exponent| regularizer.density_at(exponent))
    }

    /// a_i b_j h*''(z_ij); zero for a forbidden pair.
    pub(super) fn curvature(&self, i: usize, j: usize) -> f64 {
        self.of_pair(i, j, |regularizer, exponent| regularizer.density_and_slope_at(exponent)[1])
    }

    /// The entry of atom `own` of a side and atom `other` of the opposite one.
    pub(super) fn of(&self, side: Side, own: usize, other: usize) -> f64 {
        let (i, j) = pair(side, own, other);
        self.mass(i, j)
    }

    fn of_pair(&self, i: usize, j: usize, number: impl Fn(&RecordedRegularizer, f64) -> f64) -> f64 {
        let weight = self.weight(i, j);
        match self.exponent(i, j) {
            _ if weight == 0.0 => 0.0,
            f64::NEG_INFINITY => 0.0,
            exponent => weight * number(self.regularizer, exponent),
        }
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
