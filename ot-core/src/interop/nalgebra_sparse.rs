//! nalgebra-sparse: sparse plans as triplets.

use nalgebra_sparse::CooMatrix;

use crate::{error::Error, plan::PlanEntry};

/// The entries of an n x m plan as a matrix of triplets, which converts to `CsrMatrix` and `CscMatrix`.
///
/// ```
/// use ot_core::{PlanEntry, interop::coo_matrix};
///
/// let plan = coo_matrix((2, 3), &[PlanEntry { source: 1, target: 2, mass: 0.5 }])?;
/// assert_eq!(plan.triplet_iter().collect::<Vec<_>>(), [(1, 2, &0.5)]);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] for an entry outside the shape.
pub fn coo_matrix((rows, columns): (usize, usize), entries: &[PlanEntry]) -> Result<CooMatrix<f64>, Error> {
    let mut matrix = CooMatrix::new(rows, columns);
    for &PlanEntry { source, target, mass } in entries {
        for (what, index, len) in [("source of an entry", source, rows), ("target of an entry", target, columns)] {
            if index as usize >= len {
                return Err(Error::Length { what, expected: len, found: index as usize + 1 });
            }
        }
        matrix.push(source as usize, target as usize, mass);
    }
    Ok(matrix)
}

/// The entries of a matrix of triplets: its shape, and its entries in their order.
///
/// # Errors
/// [`Error::Length`] for a shape beyond `u32`.
pub fn entries_of_coo(matrix: &CooMatrix<f64>) -> Result<((usize, usize), Vec<PlanEntry>), Error> {
    let shape = (matrix.nrows(), matrix.ncols());
    let index = |what: &'static str, index: usize| {
        u32::try_from(index).map_err(|_| Error::Length { what, expected: u32::MAX as usize, found: index })
    };
    let entries = matrix.triplet_iter().map(|(row, column, &mass)| {
        Ok(PlanEntry { source: index("row of an entry", row)?, target: index("column of an entry", column)?, mass })
    });
    Ok((shape, entries.collect::<Result<_, Error>>()?))
}

#[cfg(test)]
mod tests {
    use nalgebra_sparse::CsrMatrix;

    use super::*;

    #[test]
    fn entries_come_back_and_rows_add_up() -> Result<(), Error> {
        let entries = [(1, 0, 0.5), (0, 2, 0.25), (1, 2, 0.25)];
        let entries = entries.map(|(source, target, mass)| PlanEntry { source, target, mass });
        let matrix = coo_matrix((2, 3), &entries)?;
        assert_eq!(entries_of_coo(&matrix)?, ((2, 3), entries.to_vec()));
        let by_rows = CsrMatrix::from(&matrix);
        let sums: Vec<f64> = by_rows.row_iter().map(|row| row.values().iter().sum()).collect();
        assert_eq!(sums, [0.25, 0.75]);
        let outside = coo_matrix((1, 3), &entries).err();
        assert_eq!(outside, Some(Error::Length { what: "source of an entry", expected: 1, found: 2 }));
        Ok(())
    }
}
