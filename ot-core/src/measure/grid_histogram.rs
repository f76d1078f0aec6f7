//! A measure on the nodes of a grid.

use std::{borrow::Cow, fmt};

use super::{Grid, Measure, Support, WeightsView, weights::Weights};
use crate::{error::Error, scalar::Scalar};

/// Weights of the nodes of a grid (an image, a volume, a table of densities), owned or borrowed, valid by construction.
///
/// ```
/// use ot_core::{Grid, GridHistogram, Measure};
///
/// let grid = Grid::pixels(&[2, 3])?;
/// let image = GridHistogram::new(&grid, vec![0.0, 1.0, 0.0, 2.0, 5.0, 0.0])?.normalized();
/// assert_eq!(image.weights_view().values()[4], 0.625);
/// assert_eq!(image.support().kind(), "grid");
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct GridHistogram<'a, T: Scalar> {
    grid: Grid<T>,
    weights: Weights<'a, T>,
}

impl<'a, T: Scalar> GridHistogram<'a, T> {
    /// One histogram: a weight for each node, the last axis fastest.
    ///
    /// # Errors
    /// [`Error::Length`] unless there are as many weights as nodes; [`Error::Weight`] for a weight that is negative or
    /// not finite; [`Error::Mass`] for a mass that is not positive, or beyond the element type.
    pub fn new(grid: &Grid<T>, weights: impl Into<Cow<'a, [T]>>) -> Result<Self, Error> {
        Self::batch(grid, weights, 1)
    }

    /// Several histograms on one grid: `columns` times n weights, histogram after histogram.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`Error::EmptyBatch`] without columns.
    pub fn batch(grid: &Grid<T>, weights: impl Into<Cow<'a, [T]>>, columns: usize) -> Result<Self, Error> {
        let weights = weights.into();
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        let (expected, found) = (grid.len().saturating_mul(columns), weights.len());
        if expected != found {
            return Err(Error::Length { what: "weights of the nodes", expected, found });
        }
        Ok(Self { grid: grid.clone(), weights: Weights::new(weights, columns)? })
    }

    /// Weights 1/n on the n nodes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn uniform(grid: &Grid<T>) -> Result<Self, Error> {
        Ok(Self { grid: grid.clone(), weights: Weights::uniform(grid.len())? })
    }

    /// The measure of mass zero, which only penalties that let all mass go take for a partner.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn without_mass(grid: &Grid<T>) -> Result<Self, Error> {
        Ok(Self { grid: grid.clone(), weights: Weights::without_mass(grid.len())? })
    }

    /// The grid.
    #[must_use]
    pub fn grid(&self) -> &Grid<T> {
        &self.grid
    }

    /// The weights.
    #[must_use]
    pub fn weights_view(&self) -> WeightsView<'_, T> {
        self.weights.view()
    }

    /// The same histogram, owning what it borrowed.
    #[must_use]
    pub fn into_owned(self) -> GridHistogram<'static, T> {
        GridHistogram { grid: self.grid, weights: self.weights.into_owned() }
    }

    /// The same histogram with mass one in every column.
    #[must_use]
    pub fn normalized(self) -> Self {
        Self { grid: self.grid, weights: self.weights.normalized() }
    }
}

impl<T: Scalar> Measure<T> for GridHistogram<'_, T> {
    fn support(&self) -> Support<'_, T> {
        Support::Grid(&self.grid)
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        Some(self.weights_view())
    }
}

impl<T: Scalar> fmt::Debug for GridHistogram<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GridHistogram")
            .field("grid", &self.grid)
            .field("weights", &self.weights_view())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Axis;

    #[test]
    fn a_grid_is_a_support() -> Result<(), Error> {
        let grid = Grid::<f64>::pixels(&[2, 2])?;
        let weights = [1.0, 0.0, 2.0, 1.0, 0.0, 0.0, 0.0, 8.0];
        let batch = GridHistogram::batch(&grid, &weights, 2)?;
        assert_eq!((batch.support().len(), batch.support().kind()), (Some(4), "grid"));
        assert_eq!(batch.weights_view().values().as_ptr(), weights.as_ptr());
        assert_eq!(batch.support().points()?.map(|points| points.point(1).to_vec()), Some(vec![0.0, 1.0]));
        assert_eq!(batch.clone().into_owned(), batch);
        assert_eq!(batch.normalized().weights_view().column(1), [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(GridHistogram::uniform(&grid)?.weights_view().values(), [0.25; 4]);
        assert_eq!(GridHistogram::without_mass(&grid)?.weights_view().mass(0), 0.0);
        Ok(())
    }

    #[test]
    fn a_torus_is_no_cloud() -> Result<(), Error> {
        let torus = Grid::<f64>::new([Axis::pixels(3)?.with_period(3.0)?])?;
        assert_eq!(Support::Grid(&torus).kind(), "periodic grid");
        assert_eq!(Support::Grid(&torus).points()?, None);
        Ok(())
    }

    #[test]
    fn weights_that_do_not_fit_are_refused() -> Result<(), Error> {
        let grid = Grid::<f64>::pixels(&[2, 2])?;
        let length = |expected, found| Some(Error::Length { what: "weights of the nodes", expected, found });
        assert_eq!(GridHistogram::new(&grid, &[1.0; 3]).err(), length(4, 3));
        assert_eq!(GridHistogram::batch(&grid, &[1.0; 4], 2).err(), length(8, 4));
        assert_eq!(GridHistogram::batch(&grid, &[1.0; 4], 0).err(), Some(Error::EmptyBatch));
        let negative = GridHistogram::new(&grid, &[1.0, -1.0, 0.0, 0.0]).err();
        assert_eq!(negative, Some(Error::Weight { index: 1, column: 0, value: -1.0 }));
        let dark = GridHistogram::new(&grid, &[0.0; 4]).err();
        assert_eq!(dark, Some(Error::Mass { column: 0, mass: 0.0 }));
        Ok(())
    }
}
