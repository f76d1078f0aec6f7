//! Two point clouds and the cost between their points.

use std::{ops::Range, sync::Arc};

use ot_core::{BoundingBox, CostForm, Error, PointsView, Side, cost::GroundCost, host::try_zeros};

use crate::backend::CpuScalar;

/// The points of both sides, and the cost if it can be kept.
#[derive(Debug)]
pub(super) struct Clouds<T> {
    pub(super) source: Cloud<T>,
    pub(super) target: Cloud<T>,
    pub(super) dimension: usize,
    pub(super) cost: Option<Arc<dyn GroundCost>>,
}

/// Points in two layouts.
#[derive(Debug)]
pub(super) struct Cloud<T> {
    len: usize,
    /// Point after point.
    points: Box<[T]>,
    /// Coordinate after coordinate.
    axes: Box<[T]>,
}

impl<T: CpuScalar> Clouds<T> {
    /// Copies the points. Coordinates stay where they are: costs of differences are exact in any frame, and
    /// centring would round.
    pub(super) fn new(
        source: PointsView<'_, T>,
        target: PointsView<'_, T>,
        cost: Option<Arc<dyn GroundCost>>,
    ) -> Result<Self, Error> {
        Ok(Self { source: Cloud::new(source)?, target: Cloud::new(target)?, dimension: source.dimension(), cost })
    }

    /// The points of a side.
    pub(super) fn side(&self, side: Side) -> &Cloud<T> {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

impl<T: CpuScalar> Cloud<T> {
    fn new(view: PointsView<'_, T>) -> Result<Self, Error> {
        let mut points = try_zeros(view.coordinates().len(), "points")?;
        points.copy_from_slice(view.coordinates());
        let mut axes = try_zeros(points.len(), "points")?;
        for (index, point) in view.iter().enumerate() {
            for (axis, &coordinate) in point.iter().enumerate() {
                axes[axis * view.len() + index] = coordinate;
            }
        }
        Ok(Self { len: view.len(), points: points.into(), axes: axes.into() })
    }

    /// Number of points.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Coordinates of points, point after point.
    pub(super) fn points(&self, range: Range<usize>) -> &[T] {
        let dimension = self.points.len() / self.len;
        &self.points[range.start * dimension..range.end * dimension]
    }

    /// Coordinates from point `start` on: coordinate k of point `start + j` at `k * len + j`.
    pub(super) fn axes_from(&self, start: usize) -> &[T] {
        &self.axes[start..]
    }
}

/// A bound on the costs between two clouds, if the cost knows one.
pub(super) fn bound<T: CpuScalar>(
    source: PointsView<'_, T>,
    target: PointsView<'_, T>,
    cost: &dyn GroundCost,
) -> Option<f64> {
    cost.bound(&BoundingBox::of(source), &BoundingBox::of(target))
}

/// Is c(x, y) = c(y, x)?
pub(super) fn is_symmetric(cost: &dyn GroundCost) -> bool {
    matches!(cost.form(), CostForm::SqEuclidean { .. } | CostForm::PowerOfNorm { .. } | CostForm::Cosine)
}
