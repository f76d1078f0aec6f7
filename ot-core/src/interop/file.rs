//! What can go wrong with a file of numbers.

use std::io;

use crate::error::Error;

/// A file that could not be read or written, or that holds something else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file could not be read or written, or is none of its kind.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file holds another array than was asked for.
    #[error("{what}: expected {expected}, found {found}")]
    Content {
        /// Which array.
        what: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The numbers do not fit the shape that was given.
    #[error(transparent)]
    Shape(#[from] Error),
}

/// Refuses values that are not as many as the shape has.
pub(super) fn check_shape(values: usize, rows: usize, columns: usize) -> Result<(), FileError> {
    let expected = rows.saturating_mul(columns);
    if values != expected {
        return Err(Error::Length { what: "matrix", expected, found: values }.into());
    }
    Ok(())
}
