//! Comma-separated values: matrices without a header, sparse plans as lines of `source,target,mass`.
//!
//! Numbers are written with as many digits as tell them apart, so that what is read again is the same.
//!
//! ```
//! use ot_core::{PlanEntry, interop::csv};
//!
//! let mut file = Vec::new();
//! csv::write_sparse_plan(&mut file, &[PlanEntry { source: 0, target: 2, mass: 0.25 }])?;
//! assert_eq!(file, b"source,target,mass\n0,2,0.25\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, Read, Write};

use csv::{ReaderBuilder, StringRecord, Writer};

use super::file::{FileError, check_shape};
use crate::{plan::PlanEntry, scalar::Scalar};

/// The names of the fields of a sparse plan.
const HEADER: [&str; 3] = ["source", "target", "mass"];

/// Writes a matrix given row after row: a line for each row. A vector is a matrix of one column.
///
/// # Errors
/// [`FileError::Shape`] unless there are `rows` times `columns` values; a failure of the writer.
pub fn write_matrix<T: Scalar>(out: impl Write, values: &[T], rows: usize, columns: usize) -> Result<(), FileError> {
    check_shape(values.len(), rows, columns)?;
    let mut lines = Writer::from_writer(out);
    for row in values.chunks(columns.max(1)) {
        lines.write_record(row.iter().map(|value| value.to_f64().to_string())).map_err(io::Error::from)?;
    }
    Ok(lines.flush()?)
}

/// Reads a matrix without a header: its values row after row, rows and columns.
///
/// # Errors
/// [`FileError::Content`] for a field that is no number; a failure of the reader, lines of different lengths included.
pub fn read_matrix(input: impl Read) -> Result<(Vec<f64>, usize, usize), FileError> {
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(input);
    let (mut values, mut rows) = (Vec::new(), 0);
    for record in reader.records() {
        let record = record.map_err(io::Error::from)?;
        for field in &record {
            values.push(parse(field, "a matrix", "a number")?);
        }
        rows += 1;
    }
    let columns = values.len().checked_div(rows).unwrap_or(0);
    Ok((values, rows, columns))
}

/// Writes the entries of a plan: a header, and a line for each.
///
/// # Errors
/// A failure of the writer.
pub fn write_sparse_plan(out: impl Write, entries: &[PlanEntry]) -> Result<(), FileError> {
    let mut lines = Writer::from_writer(out);
    lines.write_record(HEADER).map_err(io::Error::from)?;
    for PlanEntry { source, target, mass } in entries {
        lines.write_record([source.to_string(), target.to_string(), mass.to_string()]).map_err(io::Error::from)?;
    }
    Ok(lines.flush()?)
}

/// Reads the entries of a plan, as [`write_sparse_plan`] writes them.
///
/// # Errors
/// [`FileError::Content`] for another header, and for a field that is no index or no number; a failure of the reader.
pub fn read_sparse_plan(input: impl Read) -> Result<Vec<PlanEntry>, FileError> {
    let mut reader = ReaderBuilder::new().from_reader(input);
    let header = reader.headers().map_err(io::Error::from)?;
    if header.iter().ne(HEADER) {
        let found = header.iter().collect::<Vec<_>>().join(",");
        return Err(FileError::Content { what: "the header of a plan", expected: "source,target,mass", found });
    }
    let entry = |record: &StringRecord| {
        let field = |place: usize| record.get(place).unwrap_or_default();
        Ok(PlanEntry {
            source: parse(field(0), "source of an entry", "an index")?,
            target: parse(field(1), "target of an entry", "an index")?,
            mass: parse(field(2), "mass of an entry", "a number")?,
        })
    };
    reader.records().map(|record| entry(&record.map_err(io::Error::from)?)).collect()
}

/// The number that a field holds.
fn parse<N: std::str::FromStr>(field: &str, what: &'static str, expected: &'static str) -> Result<N, FileError> {
    field.trim().parse().map_err(|_| FileError::Content { what, expected, found: format!("{field:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were() -> Result<(), FileError> {
        let values = [0.1, -1.0 / 3.0, f64::MIN_POSITIVE, f64::MAX, 0.0, f64::from_bits(1)];
        for (rows, columns) in [(2, 3), (3, 2), (6, 1), (1, 6)] {
            let mut file = Vec::new();
            write_matrix(&mut file, &values, rows, columns)?;
            assert_eq!(read_matrix(&file[..])?, (values.to_vec(), rows, columns));
        }
        let entries = [(0, 3, 0.1), (7, 0, 1e-300)].map(|(source, target, mass)| PlanEntry { source, target, mass });
        let mut file = Vec::new();
        write_sparse_plan(&mut file, &entries)?;
        assert_eq!(read_sparse_plan(&file[..])?, entries);
        Ok(())
    }

    #[test]
    fn other_content_is_refused_by_name() {
        let refused = |text: &str| read_sparse_plan(text.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(
            refused("i,j,m\n0,0,1\n"),
            Err("the header of a plan: expected source,target,mass, found i,j,m".to_owned())
        );
        assert_eq!(
            refused("source,target,mass\n-1,0,1\n"),
            Err("source of an entry: expected an index, found \"-1\"".to_owned())
        );
        assert!(matches!(read_matrix(&b"1,2\n3,x\n"[..]), Err(FileError::Content { .. })));
        assert!(matches!(read_matrix(&b"1,2\n3\n"[..]), Err(FileError::Io(_))));
        assert!(matches!(write_matrix(Vec::new(), &[1.0; 5], 2, 3), Err(FileError::Shape(_))));
    }
}
