//! nalgebra: points as columns, costs as matrices, results as matrices.
//!
//! nalgebra stores columns one after the other, so a d x n matrix of points is point-major already. A
//! matrix or view that is contiguous is borrowed. One with gaps (some rows of a larger matrix) is
//! copied: what lies between its entries may be borrowed mutably by somebody else.

use std::borrow::Cow;

use nalgebra::{DMatrix, DVector, Dim, Matrix, RawStorage, U1, Vector};

use crate::{cost::CostMatrix, error::Error, measure::PointCloud, scalar::Scalar};

impl<'a, T: Scalar> PointCloud<'a, T> {
    /// Points from the columns of a d x n matrix, with one weight each.
    ///
    /// Matrix and weights may be owned or views, static or dynamic; they are borrowed if contiguous.
    ///
    /// ```
    /// use nalgebra::{dmatrix, dvector};
    /// use ot_core::PointCloud;
    ///
    /// let (points, weights) = (dmatrix![0.0, 1.0; 0.0, 2.0], dvector![0.5, 0.5]);
    /// let cloud = PointCloud::from_nalgebra(&points, &weights)?;
    /// assert_eq!(cloud.points().point(1), [1.0, 2.0]);
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PointCloud::new`].
    pub fn from_nalgebra<R: Dim, C: Dim, S, N: Dim, W>(
        points: &'a Matrix<T, R, C, S>,
        weights: &'a Vector<T, N, W>,
    ) -> Result<Self, Error>
    where
        S: RawStorage<T, R, C>,
        W: RawStorage<T, N, U1>,
    {
        Self::new(column_major(points), points.nrows(), column_major(weights))
    }
}

impl<'a, T: Scalar> CostMatrix<'a, T> {
    /// The cost matrix with a row for each source atom and a column for each target atom, borrowed if
    /// contiguous.
    ///
    /// # Errors
    ///
    /// As [`CostMatrix::new`].
    pub fn from_nalgebra<R: Dim, C: Dim, S: RawStorage<T, R, C>>(
        matrix: &'a Matrix<T, R, C, S>,
    ) -> Result<Self, Error> {
        let (rows, columns) = matrix.shape();
        Self::strided(column_major(matrix), rows, columns, 1, rows)
    }
}

/// A column-major `Vec` as a matrix, without copying. A row-major one of m rows and n columns is the
/// transpose: ask for n rows and m columns.
///
/// # Errors
///
/// [`Error::Length`] unless there are `rows` times `columns` values.
pub fn into_nalgebra<T: Scalar>(values: Vec<T>, rows: usize, columns: usize) -> Result<DMatrix<T>, Error> {
    let expected = rows.saturating_mul(columns);
    if values.len() != expected {
        return Err(Error::Length { what: "matrix", expected, found: values.len() });
    }
    Ok(DMatrix::from_vec(rows, columns, values))
}

/// A `Vec` as a column vector, without copying.
#[must_use]
pub fn into_nalgebra_vector<T: Scalar>(values: Vec<T>) -> DVector<T> {
    DVector::from_vec(values)
}

/// The entries column after column: the storage itself if it is contiguous, else a copy.
fn column_major<T: Scalar, R: Dim, C: Dim, S: RawStorage<T, R, C>>(matrix: &Matrix<T, R, C, S>) -> Cow<'_, [T]> {
    let (rows, columns) = matrix.shape();
    let strides = matrix.strides();
    if matrix.data.is_contiguous() && (strides == (1, rows) || rows == 1 || columns == 1) {
        // SAFETY: the storage says that it is contiguous, so that the slice holds the entries of this
        // matrix and nothing else.
        unsafe { matrix.data.as_slice_unchecked() }.into()
    } else {
        matrix.iter().copied().collect::<Vec<T>>().into()
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrixView, Matrix2x3, dmatrix, dvector};

    use super::*;
    use crate::cost::GroundCost;

    #[test]
    fn contiguous_points_are_borrowed() -> Result<(), Error> {
        let points = dmatrix![0.0, 1.0, 2.0; 3.0, 4.0, 5.0];
        let weights = dvector![1.0, 2.0, 3.0];
        let cloud = PointCloud::from_nalgebra(&points, &weights)?;
        assert_eq!(cloud.points().coordinates().as_ptr(), points.as_ptr());
        assert_eq!(cloud.weights_view().values().as_ptr(), weights.as_ptr());
        assert_eq!(cloud.points().point(2), [2.0, 5.0]);

        let (last, tail) = (points.columns(1, 2), weights.rows(1, 2));
        let part = PointCloud::from_nalgebra(&last, &tail)?;
        assert_eq!(part.points().coordinates().as_ptr(), last.as_ptr());
        assert_eq!(part.weights_view().values(), [2.0, 3.0]);
        assert_eq!(part.weights_view().values().as_ptr(), tail.as_ptr());

        let fixed = Matrix2x3::new(0.0, 1.0, 2.0, 3.0, 4.0, 5.0);
        let same = PointCloud::from_nalgebra(&fixed, &weights)?;
        assert_eq!(same, cloud);
        assert_eq!(same.points().coordinates().as_ptr(), fixed.as_ptr());
        Ok(())
    }

    #[test]
    fn gaps_and_exchanged_strides_are_copied_in_order() -> Result<(), Error> {
        let larger = dmatrix![9.0_f32, 9.0, 9.0; 0.0, 1.0, 2.0; 3.0, 4.0, 5.0];
        let weights = dvector![1.0_f32, 2.0, 3.0];
        let lower = larger.rows(1, 2);
        let cloud = PointCloud::from_nalgebra(&lower, &weights)?;
        assert_eq!(cloud.points().coordinates(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        // A row of a matrix as weights, and a row-major view of a slice.
        let row = larger.row(2).transpose();
        let values = [0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0];
        let row_major = DMatrixView::from_slice_with_strides(&values, 2, 3, 3, 1);
        let same = PointCloud::from_nalgebra(&row_major, &row)?;
        assert_eq!(same.points(), cloud.points());
        assert_eq!(same.weights_view().values(), [3.0, 4.0, 5.0]);
        // One row with gaps between its entries.
        let middle = larger.row(1);
        let line = PointCloud::from_nalgebra(&middle, &weights)?;
        assert_eq!(line.points().coordinates(), [0.0, 1.0, 2.0]);
        Ok(())
    }

    #[test]
    fn cost_matrices_keep_their_orientation() -> Result<(), Error> {
        let matrix = dmatrix![0.0, 1.0, 2.0; 3.0, 4.0, 5.0];
        let cost = CostMatrix::from_nalgebra(&matrix)?;
        assert_eq!(cost.matrix().values().as_ptr(), matrix.as_ptr());
        let part = matrix.rows(1, 1);
        let copied = CostMatrix::from_nalgebra(&part)?;
        let mut row = [0.0; 3];
        cost.costs_f64(&[1.0], &[0.0, 1.0, 2.0], &mut row);
        assert_eq!(row, [3.0, 4.0, 5.0]);
        copied.costs_f64(&[0.0], &[2.0, 1.0, 0.0], &mut row);
        assert_eq!(row, [5.0, 4.0, 3.0]);
        assert_eq!(CostMatrix::from_nalgebra(&DMatrix::<f64>::zeros(0, 3)).err(), Some(Error::EmptyMeasure));
        Ok(())
    }

    #[test]
    fn results_are_not_copied() -> Result<(), Error> {
        let values = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let address = values.as_ptr();
        let matrix = into_nalgebra(values, 2, 3)?;
        assert_eq!(matrix.as_ptr(), address);
        assert_eq!(matrix, dmatrix![0.0, 2.0, 4.0; 1.0, 3.0, 5.0]);
        let vector = into_nalgebra_vector(vec![1.0_f32, 2.0]);
        assert_eq!(vector, dvector![1.0, 2.0]);
        assert_eq!(
            into_nalgebra(vec![0.0; 5], 2, 3).err(),
            Some(Error::Length { what: "matrix", expected: 6, found: 5 })
        );
        Ok(())
    }
}
