//! Points in d-dimensional space, borrowed.

use std::fmt;

use super::BoundingBox;
use crate::{error::Error, scalar::Scalar};

/// n points of d coordinates, *point-major*: point i at `i * d..(i + 1) * d`.
///
/// ```
/// use ot_core::PointsView;
///
/// let points = PointsView::new(&[0.0, 1.0, 2.0, 3.0], 2)?;
/// assert_eq!(points.len(), 2);
/// assert_eq!(points.point(1), [2.0, 3.0]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq)]
pub struct PointsView<'a, T> {
    coordinates: &'a [T],
    /// Never zero.
    dimension: usize,
}

impl<'a, T: Scalar> PointsView<'a, T> {
    /// Views `coordinates` as points of `dimension` coordinates.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroDimension`]; [`Error::Length`] if the last point is incomplete. The coordinates
    /// themselves are not looked at: see [`validate`](Self::validate).
    pub fn new(coordinates: &'a [T], dimension: usize) -> Result<Self, Error> {
        if dimension == 0 {
            return Err(Error::ZeroDimension);
        }
        if !coordinates.len().is_multiple_of(dimension) {
            return Err(Error::Length {
                what: "coordinates",
                expected: coordinates.len().next_multiple_of(dimension),
                found: coordinates.len(),
            });
        }
        Ok(Self::of_valid(coordinates, dimension))
    }

    /// Views what [`new`](Self::new) has accepted before.
    pub(super) fn of_valid(coordinates: &'a [T], dimension: usize) -> Self {
        Self { coordinates, dimension }
    }

    /// The number of points.
    #[must_use]
    pub fn len(&self) -> usize {
        self.coordinates.len() / self.dimension
    }

    /// Is there no point?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.coordinates.is_empty()
    }

    /// Coordinates per point, at least one.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// All coordinates, point after point.
    #[must_use]
    pub fn coordinates(&self) -> &'a [T] {
        self.coordinates
    }

    /// The coordinates of point `index`, which must be below [`len`](Self::len) as in any slice.
    #[must_use]
    pub fn point(&self, index: usize) -> &'a [T] {
        &self.coordinates[index * self.dimension..][..self.dimension]
    }

    /// The points in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [T]> + use<'a, T> {
        self.coordinates.chunks_exact(self.dimension)
    }

    /// The box around the points named in `order`, which are put in such an order that the first `at` of them lie lowest
    /// along its widest axis; of equals those of the smallest index. With none or all of them first, the order stays. Costs
    /// O(n d) in the mean.
    pub fn cut_widest(&self, order: &mut [u32], at: usize) -> BoundingBox {
        let around = BoundingBox::around(self.dimension, order.iter().map(|&point| self.point(point as usize)));
        if at > 0 && at < order.len() {
            let widest = around.widest_axis();
            order.select_nth_unstable_by(at, |&left, &right| {
                let along = |point: u32| self.point(point as usize)[widest].to_f64();
                along(left).total_cmp(&along(right)).then(left.cmp(&right))
            });
        }
        around
    }

    /// Checks what [`new`](Self::new) does not: that there is a point, and that all coordinates are
    /// finite.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyMeasure`], [`Error::Coordinate`] for the first coordinate that is not finite.
    pub fn validate(&self) -> Result<(), Error> {
        if self.is_empty() {
            return Err(Error::EmptyMeasure);
        }
        match self.coordinates.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(index) => Err(Error::Coordinate {
                point: index / self.dimension,
                axis: index % self.dimension,
                value: self.coordinates[index].to_f64(),
            }),
        }
    }
}

impl<T> fmt::Debug for PointsView<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PointsView")
            .field("len", &(self.coordinates.len() / self.dimension))
            .field("dimension", &self.dimension)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_rows_of_coordinates() -> Result<(), Error> {
        let points = PointsView::new(&[0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0], 3)?;
        assert_eq!((points.len(), points.dimension()), (2, 3));
        assert_eq!(points.point(0), [0.0, 1.0, 2.0]);
        assert_eq!(points.iter().last(), Some(points.point(1)));
        assert_eq!(points.iter().len(), 2);
        assert_eq!(points.validate(), Ok(()));
        Ok(())
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        assert_eq!(PointsView::new(&[1.0], 0).err(), Some(Error::ZeroDimension));
        assert_eq!(
            PointsView::new(&[1.0; 7], 3).err(),
            Some(Error::Length { what: "coordinates", expected: 9, found: 7 })
        );
    }

    #[test]
    fn validation_names_the_first_bad_coordinate() -> Result<(), Error> {
        let empty: [f64; 0] = [];
        assert_eq!(PointsView::new(&empty, 2)?.validate(), Err(Error::EmptyMeasure));
        assert_eq!(
            PointsView::new(&[0.0, 1.0, 2.0, f64::INFINITY, f64::NAN, 0.0], 2)?.validate(),
            Err(Error::Coordinate { point: 1, axis: 1, value: f64::INFINITY })
        );
        Ok(())
    }
}
