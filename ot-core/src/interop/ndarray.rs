//! ndarray: points as rows, costs as matrices, and views of both.
//!
//! An array or view whose entries follow each other without a gap is borrowed, row after row for points, rows or columns after
//! each other for costs. Any other is copied.

use std::borrow::Cow;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};

use crate::{
    cost::{CostMatrix, StridedMatrix},
    error::Error,
    measure::{Histogram, PointCloud, PointsView},
    scalar::Scalar,
};

impl<'a, T: Scalar> PointCloud<'a, T> {
    /// Points from the rows of an n x d array, with one weight each; borrowed where row follows row without a gap, else copied.
    ///
    /// ```
    /// use ndarray::array;
    /// use ot_core::PointCloud;
    ///
    /// let (points, weights) = (array![[0.0, 0.0], [1.0, 2.0]], array![0.5, 0.5]);
    /// let cloud = PointCloud::from_ndarray(points.view(), weights.view())?;
    /// assert_eq!(cloud.points().point(1), [1.0, 2.0]);
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PointCloud::new`].
    pub fn from_ndarray(points: ArrayView2<'a, T>, weights: ArrayView1<'a, T>) -> Result<Self, Error> {
        Self::new(row_major(points), points.ncols(), row_major(weights.insert_axis(Axis(0))))
    }
}

impl<'a, T: Scalar> Histogram<'a, T> {
    /// One histogram from an array of weights; borrowed where they follow each other, else copied.
    ///
    /// # Errors
    ///
    /// As [`Histogram::new`].
    pub fn from_ndarray(weights: ArrayView1<'a, T>) -> Result<Self, Error> {
        Self::new(row_major(weights.insert_axis(Axis(0))))
    }
}

impl<'a, T: Scalar> CostMatrix<'a, T> {
    /// The cost matrix with a row for each source atom and a column for each target atom; borrowed where rows or columns follow
    /// each other without a gap, else copied.
    ///
    /// # Errors
    ///
    /// As [`CostMatrix::new`].
    pub fn from_ndarray(matrix: ArrayView2<'a, T>) -> Result<Self, Error> {
        let (rows, columns) = matrix.dim();
        match matrix.reversed_axes().to_slice() {
            Some(by_columns) => Self::strided(by_columns, rows, columns, 1, rows),
            None => Self::new(row_major(matrix), rows, columns),
        }
    }
}

impl<'a, T: Scalar> PointsView<'a, T> {
    /// The points as an n x d array, a row for each.
    #[must_use]
    pub fn to_ndarray(self) -> ArrayView2<'a, T> {
        view(self.coordinates(), self.len(), self.dimension())
    }
}

impl<'a, T: Scalar> StridedMatrix<'a, T> {
    /// The costs as an array, where rows or columns follow each other without a gap: those of a matrix that was made of whole
    /// rows or whole columns.
    #[must_use]
    pub fn to_ndarray(&self) -> Option<ArrayView2<'a, T>> {
        let (rows, columns) = (self.rows(), self.columns());
        match (self.row_stride(), self.column_stride()) {
            (row_stride, 1) if row_stride == columns || rows == 1 => Some(view(self.values(), rows, columns)),
            (1, column_stride) if column_stride == rows || columns == 1 => {
                Some(view(self.values(), columns, rows).reversed_axes())
            }
            _ => None,
        }
    }
}

/// A row-major `Vec`, such as a dense plan, as an array, without copying.
///
/// # Errors
///
/// [`Error::Length`] unless there are `rows` times `columns` values.
pub fn into_ndarray<T: Scalar>(values: Vec<T>, rows: usize, columns: usize) -> Result<Array2<T>, Error> {
    let (expected, found) = (rows.saturating_mul(columns), values.len());
    Array2::from_shape_vec((rows, columns), values).map_err(|_| Error::Length { what: "matrix", expected, found })
}

/// So many rows of values that follow each other; the first of them, if there are more.
fn view<T>(values: &[T], rows: usize, columns: usize) -> ArrayView2<'_, T> {
    let whole = values.get(..rows * columns).unwrap_or_default();
    ArrayView2::from_shape((rows, columns), whole).unwrap_or_else(|_| empty())
}

/// The array without entries.
fn empty<'a, T>() -> ArrayView2<'a, T> {
    ArrayView2::from(&[] as &[[T; 0]; 0])
}

/// The entries row after row: the memory itself where it holds them so, else a copy.
fn row_major<T: Scalar>(array: ArrayView2<'_, T>) -> Cow<'_, [T]> {
    match array.to_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(array.iter().copied().collect()),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{array, s};

    use super::*;
    use crate::cost::GroundCost;

    #[test]
    fn contiguous_points_are_borrowed_and_seen_again() -> Result<(), Error> {
        let (points, weights) = (array![[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], array![1.0, 2.0, 3.0]);
        let cloud = PointCloud::from_ndarray(points.view(), weights.view())?;
        assert_eq!(cloud.points().coordinates().as_ptr(), points.as_ptr());
        assert_eq!(cloud.weights_view().values().as_ptr(), weights.as_ptr());
        let seen = cloud.points().to_ndarray();
        assert_eq!((seen, seen.as_ptr()), (points.view(), points.as_ptr()));
        let histogram = Histogram::from_ndarray(weights.slice(s![1..]))?;
        assert_eq!(histogram.weights_view().values(), [2.0, 3.0]);
        Ok(())
    }

    #[test]
    fn other_layouts_are_copied_in_order() -> Result<(), Error> {
        let (turned, weights) = (array![[0.0_f32, 2.0, 4.0], [1.0, 3.0, 5.0]], array![1.0_f32, 0.0, 2.0, 0.0, 3.0]);
        let cloud = PointCloud::from_ndarray(turned.t(), weights.slice(s![..;2]))?;
        assert_eq!(cloud.points().coordinates(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(cloud.weights_view().values(), [1.0, 2.0, 3.0]);
        let last = PointCloud::from_ndarray(turned.slice(s![..;-1, ..2]), weights.slice(s![..2]))?;
        assert_eq!(last.points().coordinates(), [1.0, 3.0, 0.0, 2.0]);
        Ok(())
    }

    #[test]
    fn cost_matrices_keep_their_orientation() -> Result<(), Error> {
        let matrix = array![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]];
        let by_columns = array![[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]];
        let wide = array![[0.0, 9.0, 1.0, 9.0, 2.0], [3.0, 9.0, 4.0, 9.0, 5.0]];
        for (view, borrowed) in [(matrix.view(), true), (by_columns.t(), true), (wide.slice(s![.., ..;2]), false)] {
            let cost = CostMatrix::from_ndarray(view)?;
            let mut row = [0.0; 3];
            cost.costs_f64(&[1.0], &[0.0, 1.0, 2.0], &mut row);
            assert_eq!(row, [3.0, 4.0, 5.0]);
            assert_eq!(cost.matrix().values().as_ptr() == view.as_ptr(), borrowed);
            assert_eq!(cost.matrix().to_ndarray(), Some(matrix.view()));
        }
        let gaps = CostMatrix::strided(vec![0.0; 10], 2, 3, 5, 1)?;
        assert_eq!(gaps.matrix().to_ndarray(), None);
        assert_eq!(CostMatrix::from_ndarray(Array2::<f64>::zeros((0, 3)).view()).err(), Some(Error::EmptyMeasure));
        Ok(())
    }

    #[test]
    fn results_are_not_copied() -> Result<(), Error> {
        let values = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let address = values.as_ptr();
        let matrix = into_ndarray(values, 2, 3)?;
        assert_eq!((matrix.as_ptr(), matrix), (address, array![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]));
        let refused = into_ndarray(vec![0.0; 5], 2, 3).err();
        assert_eq!(refused, Some(Error::Length { what: "matrix", expected: 6, found: 5 }));
        Ok(())
    }
}
