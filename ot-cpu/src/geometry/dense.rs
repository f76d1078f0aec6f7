//! A cost matrix in memory.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use ot_core::{
    Backend, CloudPair, CostBetween, CostStatistics, CostSummary, Error, Geometry, Host, HostBackend, KernelOp,
    PointsView, RecordedRegularizer, RegularizerKind, Side,
    cost::{Blur, GroundCost, MatrixView, SharedMatrix},
    host::for_each_chunk,
    measure::{Support, WeightsView},
};

use super::{
    CpuScalar,
    clouds::Clouds,
    general::GeneralKernel,
    kernel::EntropicKernel,
    memory::zeroed,
    rows::{CostRows, entries_of_tiles, task_atoms},
    statistics::cost_statistics,
};
use crate::{backend::CpuBackend, simd::GibbsTerms};

/// A cost between two supports, all n m entries of it in memory, row after row.
///
/// Its kernels keep the entries exp((f0 + g0 - C) / epsilon) around potentials (f0, g0) near those in use (absorption:
/// Schmitzer 2019), so that a sweep is one pass over them with one multiply-add per entry and side. Large kernels keep
/// them in `f32` ([`KeptEntries`](crate::KeptEntries)): 4 bytes an entry on top of the cost. Products then only
/// carry what has changed since the entries were made, when sums were taken in the element type (iterative
/// refinement), and entries are made anew when rounding would come near to what an iteration still moves: potentials
/// converge to the accuracy of the element type. A sweep on the way there may be as inexact as a thousandth of its own
/// movement; softmins, and what is certified by them, are taken from the costs. Cloning shares the matrix.
#[derive(Clone, Debug)]
pub struct DenseGeometry<T> {
    backend: CpuBackend<T>,
    cost: Arc<StoredCost<T>>,
    blur: Option<Blur>,
}

impl<T: CpuScalar> DenseGeometry<T> {
    /// The costs between two point clouds, each evaluated once. If the cost can be
    /// [shared](GroundCost::shared), its derivatives in the points are known to the kernels.
    ///
    /// # Errors
    /// Those of [`CostBetween::new`], [`CostBetween::bound`] and [`CostSummary::check`]; [`Error::OutOfMemory`].
    pub fn from_points(
        backend: &CpuBackend<T>,
        source: PointsView<'_, T>,
        target: PointsView<'_, T>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        let costs = CostBetween::new(Support::Points(source), Support::Points(target), cost)?;
        Self::between(backend, &costs, Blur::of(cost.form()))
    }

    /// The costs between two supports, each evaluated once.
    pub(super) fn between(
        backend: &CpuBackend<T>,
        costs: &CostBetween<'_, T>,
        blur: Option<Blur>,
    ) -> Result<Self, Error> {
        costs.bound()?;
        let ((rows, columns), cost) = (costs.shape(), costs.cost());
        let clouds = match costs.points() {
            Some([source, target]) => Some(Clouds::new(source, target, cost.form(), cost.shared())?),
            None => None,
        };
        let row = |i: usize, out: &mut [T]| {
            let has_loop =
                clouds.as_ref().is_some_and(|clouds| clouds.costs(Side::Source, i..i + 1, 0..columns, columns, out));
            if !has_loop {
                costs.row(i, out);
            }
        };
        let stored = StoredCost::evaluate(backend, rows, columns, row)?;
        Ok(Self::of(backend, StoredCost { clouds, ..stored }, blur))
    }

    /// The costs given as a matrix, which is copied and rounded to the element type.
    ///
    /// # Errors
    /// Those of [`CostSummary::check`]; [`Error::OutOfMemory`].
    pub fn from_matrix(backend: &CpuBackend<T>, matrix: MatrixView<'_>) -> Result<Self, Error> {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let stored = StoredCost::evaluate(backend, rows, columns, |i, out| matrix.copy_row(i, out))?;
        Ok(Self::of(backend, stored, None))
    }

    /// The costs given as a matrix that is kept: not copied if it has the element type of the backend.
    ///
    /// # Errors
    /// Those of [`from_matrix`](Self::from_matrix).
    pub fn from_shared(backend: &CpuBackend<T>, matrix: &SharedMatrix) -> Result<Self, Error> {
        let view = matrix.view();
        let Some(values) = matrix.entries().downcast::<T>() else { return Self::from_matrix(backend, view) };
        let (rows, columns, summary) = (view.rows(), view.columns(), matrix.summary());
        summary.check::<T>()?;
        Ok(Self::of(backend, StoredCost { values, rows, columns, summary, clouds: None }, None))
    }

    fn of(backend: &CpuBackend<T>, cost: StoredCost<T>, blur: Option<Blur>) -> Self {
        Self { backend: backend.clone(), cost: Arc::new(cost), blur }
    }

    /// The costs, row after row.
    #[must_use]
    pub fn costs(&self) -> &[T] {
        &self.cost.values
    }
}

impl<T: CpuScalar> Geometry<Host<T>> for DenseGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        self.cost.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        Ok(if self.backend.kept_entries().are_full(self.cost.rows * self.cost.columns) {
            Box::new(EntropicKernel::<T, _, T>::new(&self.backend, &self.cost, epsilon, columns)?)
        } else {
            Box::new(EntropicKernel::<T, _, f32>::new(&self.backend, &self.cost, epsilon, columns)?)
        })
    }

    fn bind(
        &self,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        match regularizer.kind() {
            RegularizerKind::Entropy => self.bind_entropic(epsilon, columns),
            _ => Ok(Box::new(GeneralKernel::new(&self.backend, &self.cost, regularizer, epsilon, columns)?)),
        }
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.blur.map(|blur| blur.epsilon(sigma))
    }

    fn may_forbid(&self) -> bool {
        self.cost.summary.forbids()
    }

    fn cost_bound(&self) -> Option<f64> {
        self.cost.bound()
    }

    fn clouds(&self) -> Option<CloudPair<'_, Host<T>>> {
        self.cost.clouds.as_ref()?.pair(&self.backend)
    }

    fn cost_statistics(&self, source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> Result<CostStatistics, Error> {
        cost_statistics(&self.backend, self.cost.as_ref(), source, target)
    }
}

/// The matrix, and what is known of it.
#[derive(Debug)]
pub(super) struct StoredCost<T> {
    values: Arc<Vec<T>>,
    rows: usize,
    columns: usize,
    summary: CostSummary,
    clouds: Option<Clouds<T>>,
}

impl<T: CpuScalar> StoredCost<T> {
    /// Evaluates and checks all rows, at least one and not empty, of clouds that are not known yet.
    fn evaluate(
        backend: &CpuBackend<T>,
        rows: usize,
        columns: usize,
        row: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<Self, Error> {
        let mut values = zeroed::<T>(rows.saturating_mul(columns), "a cost matrix")?;
        let task_rows = task_atoms(rows, columns);
        let summary = Mutex::new(CostSummary::default());
        for_each_chunk(
            |tasks, job| backend.parallel(tasks, job),
            rows.div_ceil(task_rows),
            values.chunks_mut(task_rows * columns),
            |task, chunk| {
                let mut found = CostSummary::default();
                for (offset, out) in chunk.chunks_mut(columns).enumerate() {
                    row(task * task_rows + offset, out);
                    found.look_at(task * task_rows + offset, 0, out);
                }
                summary.lock().unwrap_or_else(PoisonError::into_inner).join(found);
            },
        );
        let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.check::<T>()?;
        Ok(Self { values: Arc::new(values), rows, columns, summary, clouds: None })
    }

    /// Row i.
    pub(super) fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.columns..][..self.columns]
    }
}

impl<T: CpuScalar> CostRows<T> for StoredCost<T> {
    const STORED: bool = true;

    fn len(&self, side: Side) -> usize {
        match side {
            Side::Source => self.rows,
            Side::Target => self.columns,
        }
    }

    fn stored(&self, source: usize, targets: Range<usize>) -> Option<&[T]> {
        Some(&self.row(source)[targets])
    }

    fn tile(&self, side: Side, atoms: Range<usize>, others: Range<usize>, stride: usize, out: &mut [T]) {
        match side {
            Side::Source => {
                for (i, out) in atoms.zip(out.chunks_mut(stride)) {
                    out[..others.len()].copy_from_slice(&self.row(i)[others.clone()]);
                }
            }
            Side::Target => {
                for (offset, i) in others.enumerate() {
                    for (row, &cost) in self.row(i)[atoms.clone()].iter().enumerate() {
                        out[row * stride + offset] = cost;
                    }
                }
            }
        }
    }

    fn entries(
        &self,
        side: Side,
        atoms: Range<usize>,
        others: Range<usize>,
        terms: GibbsTerms<'_, T>,
        stride: usize,
        out: &mut [T],
        sums: &mut [f64],
    ) {
        if side == Side::Target {
            return entries_of_tiles(self, side, atoms, others, terms, stride, out, sums);
        }
        let rows = atoms.zip(out.chunks_mut(stride)).zip(sums);
        for (((i, out), sum), &f) in rows.zip(terms.f) {
            let (costs, out) = (&self.row(i)[others.clone()], &mut out[..others.len()]);
            *sum += T::gibbs_sum_into(f, terms.epsilon, terms.g, terms.weights, costs, out);
        }
    }

    fn clouds(&self) -> Option<&Clouds<T>> {
        self.clouds.as_ref()
    }

    fn bound(&self) -> Option<f64> {
        Some(self.summary.bound())
    }
}
