//! The optimal map between Gaussians.

use ot_core::{Error, PointsView};

use super::{Matrix, Vector};

/// x -> m_b + T (x - m_a), made by [`Gaussian::map_to`](super::Gaussian::map_to).
#[derive(Clone, Debug, PartialEq)]
pub struct AffineMap {
    pub(super) linear: Matrix,
    pub(super) source_mean: Vector,
    pub(super) target_mean: Vector,
}

impl AffineMap {
    /// The images of points, point by point.
    ///
    /// # Errors
    /// [`Error::Length`] if the last point is incomplete, [`Error::Coordinate`] for an image beyond the range of f64.
    pub fn images(&self, points: &[f64]) -> Result<Vec<f64>, Error> {
        let dimension = self.source_mean.len();
        let view = PointsView::new(points, dimension)?;
        let mut images = Vec::with_capacity(points.len());
        for point in view.iter() {
            let centred = Vector::from_column_slice(point) - &self.source_mean;
            images.extend((&self.linear * centred + &self.target_mean).iter());
        }
        PointsView::new(&images, dimension)?.validate()?;
        Ok(images)
    }

    /// T, d x d, row by row.
    #[must_use]
    pub fn linear(&self) -> Vec<f64> {
        self.linear.transpose().as_slice().to_vec()
    }
}
