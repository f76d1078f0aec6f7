//! Two large point clouds, and the pairs between them that are near enough to matter.

mod cost;
mod kept;
mod kernel;
mod passes;
mod placed;
mod products;

use std::sync::Arc;

use ot_core::{
    Backend, CloudPair, CostStatistics, Error, Geometry, Host, KernelOp, PointsView, RecordedRegularizer,
    RegularizerKind, Scalar, Side, UNREACHABLE, cost::GroundCost, measure::WeightsView,
};

use self::{cost::BlockCost, kernel::BlockKernel};
use super::{CpuScalar, rows::CostRows, streaming::StreamingGeometry};
use crate::backend::CpuBackend;

/// A cost between two point clouds of which the pairs are left out that are too far apart to matter: memory O(n + m), and
/// time by the pairs that are kept.
///
/// Each cloud is ordered by a [tree of boxes](ot_core::BoxTree). Pairs of blocks stay where
///
/// ```text
/// max f + max g - (least cost between the boxes)  >  epsilon log(delta)
/// ```
///
/// which is found anew for the potentials of every call. The others carry a density of at most delta to any atom; a sum of
/// those kept that is not large against that is taken again around a better potential. So what is left out is a part of every
/// density that is [known](ot_core::PlanOperator::left_out), far below the unit roundoff, and certificates count it:
/// they speak of all pairs. A sweep may leave out a thousandth of what it moves.
///
/// It pays in few dimensions, where epsilon is small against the extent of the clouds: at an epsilon of (2 spacings)^2 about 600
/// pairs are kept for each atom in the plane, whatever n. Where nothing can be left out it costs a few percent more than
/// [`StreamingGeometry`], which is what other regularizers than entropy get, and statistics.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_core::{Geometry, PointsView, Side, SqEuclidean};
/// use ot_cpu::{BlockSparseGeometry, CpuBackend};
///
/// let line: Vec<f64> = (0..2000).map(|i| f64::from(i) / 2000.0).collect();
/// let points = PointsView::new(&line, 1)?;
/// let geometry = BlockSparseGeometry::new(&CpuBackend::new(1)?, points, points, Arc::new(SqEuclidean))?;
/// assert_eq!(geometry.len(Side::Source), 2000);
/// // With potentials of zero, atoms within sqrt(1e-4 log 1e9) of each other: a tenth of the pairs.
/// let kept = geometry.kept_pairs([&vec![0.0; 2000], &vec![0.0; 2000]], 1e-4, 1e-9);
/// assert!(kept < 2000 * 2000 / 8);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct BlockSparseGeometry<T> {
    backend: CpuBackend<T>,
    cost: Arc<BlockCost<T>>,
    /// The same cost with all pairs.
    streaming: StreamingGeometry<T>,
    left_out: f64,
}

/// What is left out of a density by default, over the unit roundoff of the element type.
const LEFT_OUT: f64 = 0.25;

impl<T: CpuScalar> BlockSparseGeometry<T> {
    /// The costs between two point clouds.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a cost without a [least value](GroundCost::least) or a [bound](GroundCost::bound) between
    /// boxes, for one that may forbid pairs, and for costs beyond 1e-3 [`UNREACHABLE`]; those of [`StreamingGeometry::new`].
    pub fn new(
        backend: &CpuBackend<T>,
        source: PointsView<'_, T>,
        target: PointsView<'_, T>,
        cost: Arc<dyn GroundCost>,
    ) -> Result<Self, Error> {
        let streaming = StreamingGeometry::new(backend, source, target, Arc::clone(&cost))?;
        Self::over(backend, [source, target], &cost, &streaming)?.ok_or(Error::MissingCapability(
            "block-sparse kernel: the cost tells no bounds between boxes, may forbid pairs, or is too large",
        ))
    }

    /// The blocks over costs that are streamed, if the cost has what they need.
    pub(super) fn over(
        backend: &CpuBackend<T>,
        points: [PointsView<'_, T>; 2],
        cost: &Arc<dyn GroundCost>,
        streaming: &StreamingGeometry<T>,
    ) -> Result<Option<Self>, Error> {
        let Some(bound) = streaming.cost_bound().filter(|&bound| bound < 1e-3 * UNREACHABLE) else { return Ok(None) };
        if cost.may_forbid() {
            return Ok(None);
        }
        let blocks = BlockCost::new(points, cost, bound)?;
        Ok(blocks.map(|blocks| Self {
            backend: backend.clone(),
            cost: Arc::new(blocks),
            streaming: streaming.clone(),
            left_out: LEFT_OUT * <T as Scalar>::EPSILON,
        }))
    }

    /// The same geometry whose c-transforms and densities may leave out as much as this part of every density: the more, the fewer
    /// pairs are kept, and certificates count it. The default is a quarter of the unit roundoff.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a part outside of [1e-30, 0.1].
    pub fn with_left_out(self, part: f64) -> Result<Self, Error> {
        if !(1e-30..=0.1).contains(&part) {
            let expected = "a number within [1e-30, 0.1]";
            return Err(Error::Parameter { name: "the part of a density that is left out", value: part, expected });
        }
        Ok(Self { left_out: part, ..self })
    }

    /// Do boxes tell what is near, so that leaving pairs out can pay? The median cost across a leaf is to be below a 50th of that
    /// across the cloud.
    #[must_use]
    pub fn pays(&self) -> bool {
        /// Above it, what a leaf reaches is most of the cloud at any epsilon that is solved for.
        const COARSEST: f64 = 0.02;

        self.cost.resolution().is_some_and(|resolution| resolution < COARSEST)
    }

    /// How many pairs a sum over the plan of potentials f and g keeps at an epsilon, if the others may carry a density of `delta`
    /// to weights of mass one.
    #[must_use]
    pub fn kept_pairs(&self, potentials: [&[T]; 2], epsilon: f64, delta: f64) -> u64 {
        passes::kept_pairs(self.cost.as_ref(), potentials, epsilon * delta.ln())
    }
}

impl<T: CpuScalar> Geometry<Host<T>> for BlockSparseGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        self.cost.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        Ok(Box::new(BlockKernel::new(&self.backend, &self.cost, self.left_out, epsilon, columns)?))
    }

    fn bind(
        &self,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        match regularizer.kind() {
            RegularizerKind::Entropy => self.bind_entropic(epsilon, columns),
            _ => self.streaming.bind(regularizer, epsilon, columns),
        }
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.streaming.epsilon_of_blur(sigma)
    }

    fn cost_bound(&self) -> Option<f64> {
        self.cost.bound()
    }

    fn clouds(&self) -> Option<CloudPair<'_, Host<T>>> {
        self.streaming.clouds()
    }

    fn cost_statistics(&self, source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> Result<CostStatistics, Error> {
        self.streaming.cost_statistics(source, target)
    }
}
