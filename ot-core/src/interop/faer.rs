//! faer: points as rows, costs as matrices, and views of what comes out.
//!
//! faer pads the columns of the matrices that it allocates, and the padding is not initialised. A
//! matrix without gaps (a view of a slice, columns that need no padding) is borrowed, any other is
//! copied.

use std::{borrow::Cow, slice};

use faer::{ColRef, MatRef};

use crate::{
    cost::CostMatrix,
    error::Error,
    measure::{PointCloud, PointsView},
    scalar::Scalar,
};

impl<'a, T: Scalar> PointCloud<'a, T> {
    /// Points from the rows of an n x d matrix, with one weight each; borrowed where row follows row
    /// without a gap, else copied.
    ///
    /// ```
    /// use faer::{ColRef, MatRef};
    /// use ot_core::PointCloud;
    ///
    /// let (points, weights) = ([0.0, 0.0, 1.0, 2.0], [0.5, 0.5]);
    /// let cloud = PointCloud::from_faer(
    ///     MatRef::from_row_major_slice(&points, 2, 2),
    ///     ColRef::from_slice(&weights),
    /// )?;
    /// assert_eq!(cloud.points().point(1), [1.0, 2.0]);
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`PointCloud::new`].
    pub fn from_faer(points: MatRef<'a, T>, weights: ColRef<'a, T>) -> Result<Self, Error> {
        let weights = row_major(weights.as_mat());
        Self::new(row_major(points), points.ncols(), weights)
    }
}

impl<'a, T: Scalar> CostMatrix<'a, T> {
    /// The cost matrix with a row for each source atom and a column for each target atom, borrowed
    /// where rows or columns follow each other without a gap, else copied.
    ///
    /// # Errors
    ///
    /// As [`CostMatrix::new`].
    pub fn from_faer(matrix: MatRef<'a, T>) -> Result<Self, Error> {
        let (rows, columns) = matrix.shape();
        match contiguous_rows(matrix.transpose()) {
            Some(values) => Self::strided(values, rows, columns, 1, rows),
            None => Self::new(row_major(matrix), rows, columns),
        }
    }
}

impl<'a, T: Scalar> PointsView<'a, T> {
    /// The points as an n x d matrix, a row for each.
    #[must_use]
    pub fn to_faer(self) -> MatRef<'a, T> {
        MatRef::from_row_major_slice(self.coordinates(), self.len(), self.dimension())
    }
}

/// Values row after row, such as those of a dense plan, as a matrix.
///
/// ```
/// use ot_core::interop::to_faer;
///
/// let plan = to_faer(&[0.25, 0.0, 0.25, 0.5], 2, 2)?;
/// assert_eq!(plan[(1, 0)], 0.25);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Length`] unless there are `rows` times `columns` values.
pub fn to_faer<T: Scalar>(values: &[T], rows: usize, columns: usize) -> Result<MatRef<'_, T>, Error> {
    let expected = rows.saturating_mul(columns);
    if values.len() != expected {
        return Err(Error::Length { what: "matrix", expected, found: values.len() });
    }
    Ok(MatRef::from_row_major_slice(values, rows, columns))
}

/// Values, such as those of a potential, as a column.
#[must_use]
pub fn to_faer_column<T: Scalar>(values: &[T]) -> ColRef<'_, T> {
    ColRef::from_slice(values)
}

/// The entries row after row: the memory itself where it holds them so, else a copy.
fn row_major<T: Scalar>(matrix: MatRef<'_, T>) -> Cow<'_, [T]> {
    contiguous_rows(matrix).map_or_else(
        || {
            let rows = matrix.row_iter();
            Cow::Owned(rows.flat_map(|row| row.iter().copied()).collect())
        },
        Cow::Borrowed,
    )
}

/// The memory of a matrix whose rows follow each other without a gap.
fn contiguous_rows<T>(matrix: MatRef<'_, T>) -> Option<&[T]> {
    let (rows, columns) = matrix.shape();
    // A stride that is never taken may be anything.
    let neighbours = columns <= 1 || matrix.col_stride() == 1;
    let without_gap = rows <= 1 || usize::try_from(matrix.row_stride()) == Ok(columns);
    (neighbours && without_gap).then(|| {
        // SAFETY: entry (i, j) lies at i * columns + j from the first one, so that the slice holds the
        // entries of this matrix, which it borrows for the lifetime of the slice, and nothing else.
        unsafe { slice::from_raw_parts(matrix.as_ptr(), rows * columns) }
    })
}

#[cfg(test)]
mod tests {
    use faer::{Mat, mat};

    use super::*;
    use crate::cost::GroundCost;

    const VALUES: [f64; 6] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];

    #[test]
    fn contiguous_points_are_borrowed() -> Result<(), Error> {
        let weights = [1.0, 2.0, 3.0];
        let points = MatRef::from_row_major_slice(&VALUES, 3, 2);
        let cloud = PointCloud::from_faer(points, ColRef::from_slice(&weights))?;
        assert_eq!(cloud.points().coordinates().as_ptr(), VALUES.as_ptr());
        assert_eq!(cloud.weights_view().values().as_ptr(), weights.as_ptr());
        assert_eq!(cloud.points().point(2), [4.0, 5.0]);
        let last = PointCloud::from_faer(points.subrows(1, 2), ColRef::from_slice(&weights).subrows(1, 2))?;
        assert_eq!(last.points().coordinates().as_ptr(), VALUES[2..].as_ptr());
        assert_eq!(last.weights_view().values(), [2.0, 3.0]);
        Ok(())
    }

    #[test]
    fn results_are_views_of_the_values() -> Result<(), Error> {
        let matrix = to_faer(&VALUES, 2, 3)?;
        assert_eq!((matrix.as_ptr(), matrix[(1, 0)], matrix[(0, 2)]), (VALUES.as_ptr(), 3.0, 2.0));
        assert_eq!(to_faer_column(&VALUES)[4], 4.0);
        let points = PointsView::new(&VALUES, 2)?.to_faer();
        assert_eq!((points.shape(), points[(2, 1)]), ((3, 2), 5.0));
        let refused = to_faer(&VALUES, 2, 2).err();
        assert_eq!(refused, Some(Error::Length { what: "matrix", expected: 4, found: 6 }));
        Ok(())
    }

    #[test]
    fn other_layouts_are_copied_in_order() -> Result<(), Error> {
        let weights = [1.0, 2.0, 3.0];
        let points = MatRef::from_row_major_slice(&VALUES, 3, 2);
        let column_major: Mat<f64> = points.to_owned();
        let copied = PointCloud::from_faer(column_major.as_ref(), ColRef::from_slice(&weights))?;
        assert_eq!(copied.points().coordinates(), VALUES);
        let reversed = PointCloud::from_faer(points.reverse_rows(), ColRef::from_slice(&weights).reverse_rows())?;
        assert_eq!(reversed.points().coordinates(), [4.0, 5.0, 2.0, 3.0, 0.0, 1.0]);
        assert_eq!(reversed.weights_view().values(), [3.0, 2.0, 1.0]);
        let left = PointCloud::from_faer(points.subcols(0, 1), ColRef::from_slice(&weights))?;
        assert_eq!(left.points().coordinates(), [0.0, 2.0, 4.0]);
        Ok(())
    }

    #[test]
    fn cost_matrices_keep_their_orientation() -> Result<(), Error> {
        let by_rows = MatRef::from_row_major_slice(&VALUES, 2, 3);
        let by_columns = MatRef::from_column_major_slice(&VALUES, 3, 2).transpose();
        let stored = mat![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]];
        let turned = MatRef::from_column_major_slice(&VALUES, 2, 3);
        for (matrix, borrowed, expected) in [
            (by_rows, true, [3.0, 4.0, 5.0]),
            (by_columns, true, [3.0, 4.0, 5.0]),
            (turned, true, [1.0, 3.0, 5.0]),
            (stored.as_ref(), false, [3.0, 4.0, 5.0]),
            (turned.reverse_cols(), false, [5.0, 3.0, 1.0]),
        ] {
            let cost = CostMatrix::from_faer(matrix)?;
            let mut row = [0.0; 3];
            cost.costs_f64(&[1.0], &[0.0, 1.0, 2.0], &mut row);
            assert_eq!(row, expected);
            assert_eq!(cost.matrix().values().as_ptr() == VALUES.as_ptr(), borrowed);
        }
        assert_eq!(CostMatrix::from_faer(Mat::<f64>::zeros(0, 3).as_ref()).err(), Some(Error::EmptyMeasure));
        Ok(())
    }
}
