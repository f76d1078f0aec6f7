//! A cost matrix in memory.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use ot_core::{
    CostSurvey, Error, Geometry, HostBackend, KernelOp, PlanKind, PlanRegularizer, PointsView, Side,
    cost::{GroundCost, MatrixView, SharedMatrix},
    host::for_each_chunk,
    measure::WeightsView,
};

use super::{
    Blur, check_bound,
    clouds::Clouds,
    family::FamilyKernel,
    kernel::GibbsKernel,
    rows::{CostRows, TILE, entries_of_tiles, pieces, task_atoms},
    survey::survey,
};
use crate::{
    backend::{CpuBackend, CpuScalar},
    simd::GibbsTerms,
};

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
    blur: Blur,
}

impl<T: CpuScalar> DenseGeometry<T> {
    /// The costs between two point clouds, each evaluated once. If the cost can be
    /// [shared](GroundCost::shared), its derivatives in the points are known to the kernels.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::Coordinate`], [`Error::DimensionMismatch`], [`Error::Length`] for a
    /// dimension that the cost does not take, [`Error::CostOverflow`], [`Error::Cost`] for a cost that is NaN or
    /// minus infinity, [`Error::OutOfMemory`].
    pub fn from_points(
        backend: &CpuBackend<T>,
        source: PointsView<'_, T>,
        target: PointsView<'_, T>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        super::check_points(source, target, cost)?;
        let clouds = Clouds::new(source, target, cost.form(), cost.shared())?;
        let row = |i: usize, out: &mut [T]| {
            if !clouds.costs(Side::Source, i..i + 1, 0..target.len(), target.len(), out) {
                T::costs(cost, source.point(i), target.coordinates(), out);
            }
        };
        let stored = StoredCost::evaluate(backend, source.len(), target.len(), row)?;
        let stored = StoredCost { clouds: Some(clouds), ..stored };
        Ok(Self { backend: backend.clone(), cost: Arc::new(stored), blur: Blur::of(cost) })
    }

    /// The costs given as a matrix, which is copied and rounded to the element type.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`], [`Error::Cost`] for an entry that is NaN or minus infinity,
    /// [`Error::CostOverflow`], [`Error::OutOfMemory`].
    pub fn from_matrix(backend: &CpuBackend<T>, matrix: MatrixView<'_>) -> Result<Self, Error> {
        let (rows, columns) = (matrix.rows(), matrix.columns());
        let row = |i: usize, out: &mut [T]| {
            matrix.copy_row(i, out);
            for (j, entry) in out.iter_mut().enumerate() {
                // A finite cost that rounds to an infinite one must not forbid: it is told as an overflow.
                if !entry.is_finite() && matrix.get(i, j).is_finite() {
                    *entry = T::from_f64(T::MAX.copysign(matrix.get(i, j)));
                }
            }
        };
        let stored = StoredCost::evaluate(backend, rows, columns, row)?;
        Ok(Self { backend: backend.clone(), cost: Arc::new(stored), blur: Blur::Unknown })
    }

    /// The costs given as a matrix that is kept: not copied if it has the element type of the backend.
    ///
    /// # Errors
    /// Those of [`from_matrix`](Self::from_matrix).
    pub fn from_shared(backend: &CpuBackend<T>, matrix: &SharedMatrix) -> Result<Self, Error> {
        let view = matrix.view();
        let Some(values) = T::entries_of(matrix.entries()) else { return Self::from_matrix(backend, view) };
        let (rows, columns, bound, forbidden) = (view.rows(), view.columns(), matrix.bound(), matrix.forbids());
        check_bound::<T>(bound)?;
        let stored = StoredCost { values, rows, columns, bound, forbidden, clouds: None };
        Ok(Self { backend: backend.clone(), cost: Arc::new(stored), blur: Blur::Unknown })
    }

    /// The costs, row after row.
    #[must_use]
    pub fn costs(&self) -> &[T] {
        &self.cost.values
    }
}

impl<T: CpuScalar> Geometry<CpuBackend<T>> for DenseGeometry<T> {
    fn backend(&self) -> &CpuBackend<T> {
        &self.backend
    }

    fn len(&self, side: Side) -> usize {
        self.cost.len(side)
    }

    fn bind(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<CpuBackend<T>>>, Error> {
        Ok(if self.backend.kept_entries().are_full(self.cost.rows * self.cost.columns) {
            Box::new(GibbsKernel::<T, _, T>::new(&self.backend, &self.cost, epsilon, columns)?)
        } else {
            Box::new(GibbsKernel::<T, _, f32>::new(&self.backend, &self.cost, epsilon, columns)?)
        })
    }

    fn bind_family(
        &self,
        regularizer: &Arc<dyn PlanRegularizer>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<CpuBackend<T>>>, Error> {
        match regularizer.kind() {
            PlanKind::Entropy => self.bind(epsilon, columns),
            _ => Ok(Box::new(FamilyKernel::new(&self.backend, &self.cost, regularizer.as_ref(), epsilon, columns)?)),
        }
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.blur.epsilon(sigma)
    }

    fn may_forbid(&self) -> bool {
        self.cost.forbidden
    }

    fn cost_bound(&self) -> Option<f64> {
        self.cost.bound()
    }

    fn survey(&self, source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> Result<CostSurvey, Error> {
        survey(&self.backend, self.cost.as_ref(), source, target)
    }
}

/// The matrix, and what is known of it.
#[derive(Debug)]
pub(super) struct StoredCost<T> {
    values: Arc<Vec<T>>,
    rows: usize,
    columns: usize,
    /// The largest absolute value of a finite entry.
    bound: f64,
    /// Is any entry infinite?
    forbidden: bool,
    clouds: Option<Clouds<T>>,
}

impl<T: CpuScalar> StoredCost<T> {
    /// Evaluates and checks all rows, of clouds that are not known yet.
    fn evaluate(
        backend: &CpuBackend<T>,
        rows: usize,
        columns: usize,
        row: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<Self, Error> {
        if rows == 0 || columns == 0 {
            return Err(Error::EmptyMeasure);
        }
        let mut values = zeroed::<T>(rows.saturating_mul(columns), "a cost matrix")?;
        let task_rows = task_atoms(rows, columns);
        let summary = Mutex::new(Summary::default());
        for_each_chunk(
            |tasks, job| backend.parallel(tasks, job),
            rows.div_ceil(task_rows),
            values.chunks_mut(task_rows * columns),
            |task, chunk| {
                let mut found = Summary::default();
                for (offset, out) in chunk.chunks_mut(columns).enumerate() {
                    row(task * task_rows + offset, out);
                    found.look_at(task * task_rows + offset, out);
                }
                summary.lock().unwrap_or_else(PoisonError::into_inner).join(found);
            },
        );
        let Summary { bound, forbidden, invalid } = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some((source_index, target_index)) = invalid {
            let value = values[source_index * columns + target_index].to_f64();
            return Err(Error::Cost { source_index, target_index, value });
        }
        check_bound::<T>(bound)?;
        Ok(Self { values: Arc::new(values), rows, columns, bound, forbidden, clouds: None })
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
        Some(self.bound)
    }
}

/// What is known of some rows.
#[derive(Default)]
struct Summary {
    bound: f64,
    forbidden: bool,
    /// The first entry that is no cost.
    invalid: Option<(usize, usize)>,
}

impl Summary {
    fn look_at<T: CpuScalar>(&mut self, i: usize, row: &[T]) {
        for tile in pieces(0..row.len(), TILE) {
            let (largest, infinite) = largest_finite(&row[tile.clone()]);
            self.bound = self.bound.max(largest);
            if infinite {
                self.forbidden = true;
                let is_invalid = |cost: &T| cost.to_f64().is_nan() || cost.to_f64() == f64::NEG_INFINITY;
                let invalid = row[tile.clone()].iter().position(is_invalid).map(|offset| (i, tile.start + offset));
                self.invalid = self.invalid.or(invalid);
            }
        }
    }

    fn join(&mut self, other: Self) {
        self.bound = self.bound.max(other.bound);
        self.forbidden |= other.forbidden;
        self.invalid = [self.invalid, other.invalid].into_iter().flatten().min();
    }
}

/// The largest absolute value of a finite entry, and whether any is not finite.
fn largest_finite<T: CpuScalar>(entries: &[T]) -> (f64, bool) {
    const LANES: usize = 16;
    let (chunks, rest) = entries.as_chunks::<LANES>();
    let (mut largest, mut infinite) = ([0.0_f64; LANES], [false; LANES]);
    let mut look_at = |lane: usize, entry: T| {
        let size = entry.to_f64().abs();
        let is_finite = size < f64::INFINITY;
        infinite[lane] |= !is_finite;
        largest[lane] = if is_finite && size > largest[lane] { size } else { largest[lane] };
    };
    for chunk in chunks {
        for (lane, entry) in chunk.iter().enumerate() {
            look_at(lane, *entry);
        }
    }
    for (lane, entry) in rest.iter().enumerate() {
        look_at(lane, *entry);
    }
    (largest.into_iter().fold(0.0, f64::max), infinite.contains(&true))
}

/// Zeros of which no page is touched yet, so that the threads that fill them do, or a typed error.
pub(super) fn zeroed<T: CpuScalar>(len: usize, what: &'static str) -> Result<Vec<T>, Error> {
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    Vec::<T>::new().try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what, bytes })?;
    Ok(vec![T::default(); len])
}
