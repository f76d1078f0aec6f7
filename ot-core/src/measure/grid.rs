//! Supports that are never stored: the nodes of a grid.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use super::PointsView;
use crate::{error::Error, host::try_zeros, scalar::Scalar};

/// Evenly spaced nodes along one axis: origin, origin + spacing, ..., on a line or on a circle.
///
/// ```
/// use ot_core::Axis;
///
/// let axis = Axis::new(4, 0.5, 0.25)?;
/// assert_eq!(axis.coordinates().collect::<Vec<_>>(), [0.5, 0.75, 1.0, 1.25]);
/// assert_eq!(Axis::pixels(3)?.coordinate(2), 2.0);
/// assert_eq!(Axis::cells(4, 0.0, 1.0)?.coordinate(0), 0.125);
/// // Twelve hours: 11 and 1 are two apart.
/// assert_eq!(Axis::pixels(12)?.with_period(12.0)?.period(), Some(12.0));
/// assert!(Axis::new(4, 0.0, 0.0).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    len: usize,
    origin: f64,
    spacing: f64,
    period: Option<f64>,
}

impl Axis {
    /// `len` nodes from `origin` on, `spacing` apart.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] without nodes; [`Error::Parameter`] unless the origin is finite, the spacing finite and
    /// positive, and the last node finite and another one than the last but one.
    pub fn new(len: usize, origin: f64, spacing: f64) -> Result<Self, Error> {
        let refuse = |name, value, expected| Err(Error::Parameter { name, value, expected });
        if len == 0 {
            return Err(Error::EmptyMeasure);
        }
        if !origin.is_finite() {
            return refuse("the origin of an axis", origin, "a finite number");
        }
        if !(spacing > 0.0 && spacing.is_finite()) {
            return refuse("the spacing of an axis", spacing, "a finite number > 0");
        }
        let axis = Self { len, origin, spacing, period: None };
        let last = axis.coordinate(len - 1);
        let is_resolved = |a: usize, b: usize| axis.coordinate(a) < axis.coordinate(b);
        if !last.is_finite() || len > 1 && !(is_resolved(0, 1) && is_resolved(len - 2, len - 1)) {
            return refuse("the last node of an axis", last, "a finite number that differs from its neighbour");
        }
        Ok(axis)
    }

    /// Nodes 0, 1, ..., `len` - 1: pixels of width one.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`].
    pub fn pixels(len: usize) -> Result<Self, Error> {
        Self::new(len, 0.0, 1.0)
    }

    /// The centres of `len` equal cells of the interval from `low` to `high`.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub fn cells(len: usize, low: f64, high: f64) -> Result<Self, Error> {
        let spacing = (high - low) / len.max(1) as f64;
        Self::new(len, low + 0.5 * spacing, spacing)
    }

    /// The same nodes on a circle of this circumference.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the period is finite, and larger than the distance from the first node to the last.
    pub fn with_period(self, period: f64) -> Result<Self, Error> {
        let extent = (self.len - 1) as f64 * self.spacing;
        if !(period.is_finite() && period > extent) {
            let expected = "a finite number larger than the extent of the nodes";
            return Err(Error::Parameter { name: "the period of an axis", value: period, expected });
        }
        Ok(Self { period: Some(period), ..self })
    }

    /// The number of nodes, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an axis has at least one node")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first node.
    #[must_use]
    pub fn origin(&self) -> f64 {
        self.origin
    }

    /// The distance between neighbours.
    #[must_use]
    pub fn spacing(&self) -> f64 {
        self.spacing
    }

    /// The circumference of the circle that the nodes lie on; `None` on a line.
    #[must_use]
    pub fn period(&self) -> Option<f64> {
        self.period
    }

    /// The node of this index.
    #[must_use]
    pub fn coordinate(&self, index: usize) -> f64 {
        self.origin + index as f64 * self.spacing
    }

    /// All nodes in order.
    pub fn coordinates(&self) -> impl ExactSizeIterator<Item = f64> + use<> {
        let axis = *self;
        (0..axis.len).map(move |index| axis.coordinate(index))
    }
}

/// The nodes of a grid of any dimension, in row-major order: the index along the last axis runs fastest. Node
/// (k_1, ..., k_d) has index (..(k_1 n_2 + k_2) n_3 + ..) + k_d.
///
/// A backend that knows grids reads the axes; whoever needs points gets [`points`](Self::points), which are computed
/// when they are first asked for. Cloning shares them.
///
/// ```
/// use ot_core::{Axis, Grid};
///
/// let grid = Grid::<f64>::new([Axis::pixels(2)?, Axis::new(3, -1.0, 0.5)?])?;
/// assert_eq!((grid.len(), grid.dimension()), (6, 2));
/// assert_eq!(grid.points()?.point(4), [1.0, -0.5]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Grid<T> {
    axes: Arc<[Axis]>,
    len: usize,
    points: Arc<OnceLock<Vec<T>>>,
}

impl<T: Scalar> Grid<T> {
    /// The grid of some axes, at least one.
    ///
    /// # Errors
    /// [`Error::ZeroDimension`] without axes; [`Error::OutOfMemory`] for more nodes than can be counted.
    pub fn new(axes: impl IntoIterator<Item = Axis>) -> Result<Self, Error> {
        let axes: Arc<[Axis]> = axes.into_iter().collect();
        if axes.is_empty() {
            return Err(Error::ZeroDimension);
        }
        let len = axes.iter().try_fold(1_usize, |len, axis| len.checked_mul(axis.len()));
        let len = len.filter(|len| len.checked_mul(axes.len() * size_of::<T>()).is_some());
        let len = len.ok_or(Error::OutOfMemory { what: "the nodes of a grid", bytes: u64::MAX })?;
        Ok(Self { axes, len, points: Arc::default() })
    }

    /// An image, a volume: nodes 0, 1, ... along each axis of these lengths.
    ///
    /// # Errors
    /// Those of [`new`](Self::new) and [`Axis::pixels`].
    pub fn pixels(shape: &[usize]) -> Result<Self, Error> {
        Self::new(shape.iter().map(|&len| Axis::pixels(len)).collect::<Result<Vec<_>, _>>()?)
    }

    /// The axes, the slowest first.
    #[must_use]
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// The number of axes.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.axes.len()
    }

    /// The number of nodes, at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a grid has at least one node")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Does any axis lie on a circle?
    #[must_use]
    pub fn is_periodic(&self) -> bool {
        self.axes.iter().any(|axis| axis.period().is_some())
    }

    /// The nodes as points, in the order of their indices. Whether an axis is periodic they do not tell.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn points(&self) -> Result<PointsView<'_, T>, Error> {
        let points = match self.points.get() {
            Some(points) => points,
            None => {
                let points = self.computed_points()?;
                self.points.get_or_init(|| points)
            }
        };
        Ok(PointsView::of_valid(points, self.dimension()))
    }

    /// Node after node.
    fn computed_points(&self) -> Result<Vec<T>, Error> {
        let mut points = try_zeros::<T>(self.len * self.dimension(), "the nodes of a grid")?;
        let mut run = self.len;
        for (k, axis) in self.axes.iter().enumerate() {
            // Nodes that share their index along this axis follow each other in runs.
            run /= axis.len();
            let coordinates: Vec<T> = axis.coordinates().map(T::from_f64).collect();
            for (node, point) in points.chunks_exact_mut(self.axes.len()).enumerate() {
                point[k] = coordinates[node / run % axis.len()];
            }
        }
        Ok(points)
    }
}

/// The same axes; whether points were computed does not count.
impl<T> PartialEq for Grid<T> {
    fn eq(&self, other: &Self) -> bool {
        self.axes == other.axes
    }
}

impl<T> fmt::Debug for Grid<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Grid").field(&self.axes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_row_major() -> Result<(), Error> {
        let grid = Grid::<f64>::new([Axis::new(2, 10.0, 1.0)?, Axis::new(3, 0.0, 0.5)?, Axis::pixels(1)?])?;
        assert_eq!((grid.len(), grid.dimension(), grid.axes()[1].len()), (6, 3, 3));
        let points = grid.points()?;
        let expected = [10.0, 11.0].iter().flat_map(|x| [0.0, 0.5, 1.0].map(|y| [*x, y, 0.0]));
        assert!(points.iter().zip(expected).all(|(found, expected)| found == expected));
        // Asked again, and of a clone, the same points in memory.
        assert_eq!(grid.clone().points()?.coordinates().as_ptr(), points.coordinates().as_ptr());
        assert_eq!(grid, Grid::new(grid.axes().iter().copied())?);
        Ok(())
    }

    #[test]
    fn cells_fill_their_interval() -> Result<(), Error> {
        let axis = Axis::cells(5, -1.0, 4.0)?;
        assert_eq!(axis.coordinates().collect::<Vec<_>>(), [-0.5, 0.5, 1.5, 2.5, 3.5]);
        assert_eq!((axis.origin(), axis.spacing(), axis.period()), (-0.5, 1.0, None));
        Ok(())
    }

    #[test]
    fn what_is_no_grid_is_refused() -> Result<(), Error> {
        let refused = |axis: Result<Axis, Error>, of: &str| match axis.map(|axis| axis.len()) {
            Err(Error::Parameter { name, .. }) => assert_eq!(name, of),
            other => panic!("{other:?} instead of a refusal of {of}"),
        };
        assert_eq!(Axis::pixels(0).err(), Some(Error::EmptyMeasure));
        assert_eq!(Axis::cells(0, 0.0, 1.0).err(), Some(Error::EmptyMeasure));
        refused(Axis::new(2, f64::NAN, 1.0), "the origin of an axis");
        for spacing in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            refused(Axis::new(2, 0.0, spacing), "the spacing of an axis");
        }
        refused(Axis::new(3, 0.0, 1e308), "the last node of an axis");
        refused(Axis::new(3, 1e16, 0.5), "the last node of an axis");
        for period in [2.0, f64::NAN, f64::INFINITY] {
            refused(Axis::pixels(3)?.with_period(period), "the period of an axis");
        }
        assert_eq!(Grid::<f64>::new([]).err(), Some(Error::ZeroDimension));
        assert_eq!(Grid::<f64>::pixels(&[3, 0]).err(), Some(Error::EmptyMeasure));
        let far = Grid::<f64>::pixels(&[1 << 40, 1 << 30]).err();
        assert!(matches!(far, Some(Error::OutOfMemory { .. })), "{far:?}");
        Ok(())
    }
}
