//! Two point clouds in memory, and costs computed as they are needed.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use ot_core::{
    Backend, CloudPair, CostBetween, CostStatistics, CostSummary, Error, Geometry, Host, HostBackend, KernelOp,
    PointsView, RecordedRegularizer, RegularizerKind, Side,
    cost::{Blur, GroundCost, check_bound},
    measure::{Support, WeightsView},
};

use super::{
    CpuScalar,
    clouds::Clouds,
    general::GeneralKernel,
    kernel::EntropicKernel,
    rows::{BLOCK, CostRows, TILE, entries_of_tiles, pieces, task_atoms, visit_block},
    statistics::cost_statistics,
};
use crate::{backend::CpuBackend, simd::GibbsTerms};

/// A cost between two point clouds that is recomputed from coordinates whenever it is needed: memory O(n + m).
///
/// Its kernels spend one exponential per pair on a softmin, and one on a full iteration: the entries of a few rows
/// serve the new potential of these rows and the sums of all columns. Powers of norms and cosines, as told by
/// the [form](GroundCost::form) of the cost, have vector loops; all others are evaluated by their rows. Cloning
/// shares the points.
#[derive(Clone, Debug)]
pub struct StreamingGeometry<T> {
    backend: CpuBackend<T>,
    cost: Arc<StreamedCost<T>>,
    blur: Option<Blur>,
}

impl<T: CpuScalar> StreamingGeometry<T> {
    /// The costs between two point clouds.
    ///
    /// A cost that tells no bound is evaluated once for all pairs, to refuse what is no cost.
    ///
    /// # Errors
    /// Those of [`CostBetween::new`], [`CostBetween::bound`] and [`CostSummary::check`]; [`Error::OutOfMemory`].
    pub fn new(
        backend: &CpuBackend<T>,
        source: PointsView<'_, T>,
        target: PointsView<'_, T>,
        cost: Arc<dyn GroundCost>,
    ) -> Result<Self, Error> {
        let bound = CostBetween::new(Support::Points(source), Support::Points(target), cost.as_ref())?.bound()?;
        let blur = Blur::of(cost.form());
        Self::between(backend, [source, target], cost, bound, blur)
    }

    /// The costs between points that have been found to fit, under this bound if the cost tells one.
    pub(super) fn between(
        backend: &CpuBackend<T>,
        [source, target]: [PointsView<'_, T>; 2],
        cost: Arc<dyn GroundCost>,
        bound: Option<f64>,
        blur: Option<Blur>,
    ) -> Result<Self, Error> {
        let streamed = StreamedCost::new(source, target, cost, bound)?;
        if bound.is_none() {
            streamed.check(backend)?;
        }
        Ok(Self { backend: backend.clone(), cost: Arc::new(streamed), blur })
    }
}

impl<T: CpuScalar> Geometry<Host<T>> for StreamingGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        self.cost.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        Ok(Box::new(EntropicKernel::<T, _, T>::new(&self.backend, &self.cost, epsilon, columns)?))
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
        self.cost.cost.may_forbid()
    }

    fn cost_bound(&self) -> Option<f64> {
        self.cost.bound
    }

    fn clouds(&self) -> Option<CloudPair<'_, Host<T>>> {
        self.cost.clouds.pair(&self.backend)
    }

    fn cost_statistics(&self, source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> Result<CostStatistics, Error> {
        cost_statistics(&self.backend, self.cost.as_ref(), source, target)
    }
}

/// The clouds and the cost.
#[derive(Debug)]
pub(super) struct StreamedCost<T> {
    clouds: Clouds<T>,
    cost: Arc<dyn GroundCost>,
    bound: Option<f64>,
}

impl<T: CpuScalar> StreamedCost<T> {
    pub(super) fn new(
        source: PointsView<'_, T>,
        target: PointsView<'_, T>,
        cost: Arc<dyn GroundCost>,
        bound: Option<f64>,
    ) -> Result<Self, Error> {
        let clouds = Clouds::new(source, target, cost.form(), Some(Arc::clone(&cost)))?;
        Ok(Self { clouds, cost, bound })
    }

    pub(super) fn cost(&self) -> &dyn GroundCost {
        self.cost.as_ref()
    }

    /// Coordinates of points of a side, point after point.
    pub(super) fn points(&self, side: Side, atoms: Range<usize>) -> &[T] {
        self.clouds.side(side).points(atoms)
    }

    pub(super) fn dimension(&self) -> usize {
        self.clouds.dimension
    }

    /// Evaluates all pairs, and refuses what is no cost or overflows.
    fn check(&self, backend: &CpuBackend<T>) -> Result<(), Error> {
        let (rows, columns) = (self.len(Side::Source), self.len(Side::Target));
        let task_rows = task_atoms(rows, columns);
        let summary = Mutex::new(CostSummary::default());
        backend.parallel(rows.div_ceil(task_rows), &|task| {
            let mut tile = [T::default(); BLOCK * TILE];
            let mut found = CostSummary::default();
            let start = task * task_rows;
            for block in pieces(start..rows.min(start + task_rows), BLOCK) {
                visit_block(self, Side::Source, block.clone(), &mut tile, |row, others, costs| {
                    found.look_at(block.start + row, others.start, costs);
                });
            }
            summary.lock().unwrap_or_else(PoisonError::into_inner).join(found);
        });
        let summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.check::<T>()?;
        if summary.forbids() && !self.cost.may_forbid() { check_bound::<T>(f64::INFINITY) } else { Ok(()) }
    }
}

impl<T: CpuScalar> CostRows<T> for StreamedCost<T> {
    const STORED: bool = false;

    fn len(&self, side: Side) -> usize {
        self.clouds.side(side).len()
    }

    fn tile(&self, side: Side, atoms: Range<usize>, others: Range<usize>, stride: usize, out: &mut [T]) {
        if self.clouds.costs(side, atoms.clone(), others.clone(), stride, out) {
            return;
        }
        let (own, other) = (self.clouds.side(side), self.clouds.side(side.opposite()));
        if side == Side::Source {
            for (atom, out) in atoms.zip(out.chunks_mut(stride)) {
                let (x, points) = (own.points(atom..atom + 1), other.points(others.clone()));
                self.cost.as_ref().costs(x, points, &mut out[..others.len()]);
            }
        } else {
            let mut column = [T::default(); BLOCK];
            for (offset, i) in others.enumerate() {
                let (x, points) = (other.points(i..i + 1), own.points(atoms.clone()));
                self.cost.as_ref().costs(x, points, &mut column[..atoms.len()]);
                for (row, &cost) in column[..atoms.len()].iter().enumerate() {
                    out[row * stride + offset] = cost;
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
        if !self.clouds.entries(side, atoms.clone(), others.start, terms, stride, out, sums) {
            entries_of_tiles(self, side, atoms, others, terms, stride, out, sums);
        }
    }

    fn clouds(&self) -> Option<&Clouds<T>> {
        Some(&self.clouds)
    }

    fn bound(&self) -> Option<f64> {
        self.bound
    }
}
