//! A measure on points with coordinates.

use std::{borrow::Cow, fmt};

use super::{Measure, PointsView, Support, WeightsView, weights::Weights};
use crate::{error::Error, scalar::Scalar};

/// Weighted points in d-dimensional space, owned or borrowed, valid by construction.
///
/// Coordinates are point-major (see [`PointsView`]), weights column-major (see [`WeightsView`]); both
/// are taken from a slice without copying, or from a `Vec`.
///
/// ```
/// use ot_core::PointCloud;
///
/// let corners = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0];
/// let cloud = PointCloud::new(&corners, 2, vec![1.0, 1.0, 2.0])?;
/// assert_eq!(cloud.points().point(2), [0.0, 1.0]);
/// assert_eq!(cloud.normalized().weights_view().values(), [0.25, 0.25, 0.5]);
/// assert!(PointCloud::new(&corners, 2, vec![1.0, -1.0, 2.0]).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct PointCloud<'a, T: Scalar> {
    coordinates: Cow<'a, [T]>,
    dimension: usize,
    weights: Weights<'a, T>,
}

impl<'a, T: Scalar> PointCloud<'a, T> {
    /// One histogram on points of `dimension` coordinates.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroDimension`], [`Error::EmptyMeasure`], [`Error::Length`] if the slices do not
    /// describe the same number of whole points; [`Error::Coordinate`] for a coordinate that is not
    /// finite; [`Error::Weight`] for a weight that is negative or not finite; [`Error::Mass`] for a
    /// mass that is not positive, or beyond the element type.
    pub fn new(
        coordinates: impl Into<Cow<'a, [T]>>,
        dimension: usize,
        weights: impl Into<Cow<'a, [T]>>,
    ) -> Result<Self, Error> {
        Self::batch(coordinates, dimension, weights, 1)
    }

    /// The uniform distribution on n points: weights 1/n.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), as far as they concern coordinates.
    pub fn uniform(coordinates: impl Into<Cow<'a, [T]>>, dimension: usize) -> Result<Self, Error> {
        let coordinates = coordinates.into();
        let len = PointsView::new(&coordinates, dimension)?.len();
        Self::assemble(coordinates, dimension, Weights::uniform(len)?)
    }

    /// The measure of mass zero on n points, which only penalties that let all mass go take for a partner.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), as far as they concern coordinates.
    pub fn without_mass(coordinates: impl Into<Cow<'a, [T]>>, dimension: usize) -> Result<Self, Error> {
        let coordinates = coordinates.into();
        let len = PointsView::new(&coordinates, dimension)?.len();
        Self::assemble(coordinates, dimension, Weights::without_mass(len)?)
    }

    /// Several histograms on the same points: `columns` times n weights, histogram after histogram.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and [`Error::EmptyBatch`] without columns.
    pub fn batch(
        coordinates: impl Into<Cow<'a, [T]>>,
        dimension: usize,
        weights: impl Into<Cow<'a, [T]>>,
        columns: usize,
    ) -> Result<Self, Error> {
        let (coordinates, weights) = (coordinates.into(), weights.into());
        let len = PointsView::new(&coordinates, dimension)?.len();
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        let expected = len.saturating_mul(columns);
        if weights.len() != expected {
            return Err(Error::Length { what: "weights", expected, found: weights.len() });
        }
        Self::assemble(coordinates, dimension, Weights::new(weights, columns)?)
    }

    /// The points.
    #[must_use]
    pub fn points(&self) -> PointsView<'_, T> {
        PointsView::of_valid(&self.coordinates, self.dimension)
    }

    /// The weights.
    #[must_use]
    pub fn weights_view(&self) -> WeightsView<'_, T> {
        self.weights.view()
    }

    /// The same cloud, owning what it borrowed.
    #[must_use]
    pub fn into_owned(self) -> PointCloud<'static, T> {
        PointCloud {
            coordinates: self.coordinates.into_owned().into(),
            dimension: self.dimension,
            weights: self.weights.into_owned(),
        }
    }

    /// The same cloud with mass one in every column.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.weights = self.weights.normalized();
        self
    }

    fn assemble(coordinates: Cow<'a, [T]>, dimension: usize, weights: Weights<'a, T>) -> Result<Self, Error> {
        PointsView::new(&coordinates, dimension)?.validate()?;
        Ok(Self { coordinates, dimension, weights })
    }
}

impl<T: Scalar> Measure<T> for PointCloud<'_, T> {
    fn support(&self) -> Support<'_, T> {
        Support::Points(self.points())
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        Some(self.weights_view())
    }
}

impl<T: Scalar> fmt::Debug for PointCloud<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PointCloud")
            .field("points", &self.points())
            .field("weights", &self.weights_view())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_borrowed_and_owned_on_request() -> Result<(), Error> {
        let (coordinates, weights) = ([0.0, 1.0, 2.0, 3.0], [1.0, 0.0]);
        let cloud = PointCloud::new(&coordinates, 2, &weights)?;
        assert_eq!(cloud.points().coordinates().as_ptr(), coordinates.as_ptr());
        assert_eq!(cloud.weights_view().values().as_ptr(), weights.as_ptr());
        let owned: PointCloud<'static, f64> = cloud.clone().into_owned();
        assert_ne!(owned.points().coordinates().as_ptr(), coordinates.as_ptr());
        assert_eq!(owned, cloud);
        Ok(())
    }

    #[test]
    fn a_vec_is_not_copied() -> Result<(), Error> {
        let coordinates = vec![0.0_f32, 1.0];
        let address = coordinates.as_ptr();
        let cloud = PointCloud::uniform(coordinates, 1)?;
        assert_eq!(cloud.points().coordinates().as_ptr(), address);
        assert_eq!(cloud.weights_view().values(), [0.5, 0.5]);
        Ok(())
    }

    #[test]
    fn what_was_asked_wrongly_is_refused() {
        let fails = |coordinates: &[f64], dimension, weights: &[f64], columns| {
            PointCloud::batch(coordinates, dimension, weights, columns).err()
        };
        let length = |what, expected, found| Error::Length { what, expected, found };
        assert_eq!(fails(&[1.0], 0, &[1.0], 1), Some(Error::ZeroDimension));
        assert_eq!(fails(&[], 2, &[], 1), Some(Error::EmptyMeasure));
        assert_eq!(fails(&[1.0], 1, &[], 0), Some(Error::EmptyBatch));
        assert_eq!(fails(&[1.0; 3], 2, &[1.0; 2], 1), Some(length("coordinates", 4, 3)));
        assert_eq!(fails(&[1.0; 4], 2, &[1.0; 3], 1), Some(length("weights", 2, 3)));
        assert_eq!(fails(&[1.0; 4], 2, &[1.0; 3], 2), Some(length("weights", 4, 3)));
        assert_eq!(fails(&[1.0; 4], 2, &[], usize::MAX), Some(length("weights", usize::MAX, 0)));
        assert_eq!(
            fails(&[0.0, f64::NEG_INFINITY], 2, &[1.0], 1),
            Some(Error::Coordinate { point: 0, axis: 1, value: f64::NEG_INFINITY })
        );
        assert_eq!(
            fails(&[0.0, 1.0], 1, &[1.0, 1.0, 1.0, -2.0], 2),
            Some(Error::Weight { index: 1, column: 1, value: -2.0 })
        );
        assert_eq!(fails(&[0.0, 1.0], 1, &[0.0, 0.0], 1), Some(Error::Mass { column: 0, mass: 0.0 }));
        let empty: [f64; 0] = [];
        assert_eq!(PointCloud::uniform(&empty, 1).err(), Some(Error::EmptyMeasure));
        assert_eq!(
            PointCloud::uniform(&[f64::INFINITY], 1).err(),
            Some(Error::Coordinate { point: 0, axis: 0, value: f64::INFINITY })
        );
    }

    #[test]
    fn debug_summarises() -> Result<(), Error> {
        let cloud = PointCloud::uniform(vec![0.25; 3000], 3)?;
        let text = format!("{cloud:?}");
        assert!(text.contains("1000") && !text.contains("0.25"), "{text}");
        Ok(())
    }
}
