//! Files of NumPy and SciPy: matrices and vectors as `.npy`, potentials as `.npz`, sparse plans as `scipy.sparse` keeps them.
//!
//! | here | there |
//! |---|---|
//! | [`write_matrix`], [`read_matrix`] | `numpy.load("plan.npy")`, `numpy.save("cost.npy", cost)` |
//! | [`write_vector`], [`read_vector`] | the same of one axis |
//! | [`write_potentials`], [`read_potentials`] | `numpy.load("potentials.npz")["f"]`, `["g"]`, `["epsilon"]` |
//! | [`write_sparse_plan`], [`read_sparse_plan`] | `scipy.sparse.load_npz("plan.npz")`, `scipy.sparse.save_npz` |
//!
//! Numbers are written as `float64`, which holds those of single precision. Numbers of `float64`, `float32`, `int64` and
//! `int32` are read, in either order of axes. Files are read and written by a buffer: wrap a [`File`](std::fs::File) in
//! [`BufReader`](std::io::BufReader) or [`BufWriter`](std::io::BufWriter).
//!
//! ```
//! use std::io::Cursor;
//!
//! use ot_core::{CostMatrix, interop::npy};
//!
//! let mut file = Vec::new();
//! npy::write_matrix(&mut file, &[0.0, 1.0, 4.0, 1.0, 0.0, 1.0], 2, 3)?;
//! let (values, rows, columns) = npy::read_matrix(Cursor::new(file))?;
//! let cost = CostMatrix::new(values, rows, columns)?;
//! assert_eq!(cost.matrix().get(0, 2), Some(4.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{Read, Seek, Write};

use npyz::{AutoSerialize, DType, NpyFile, Order, TypeStr, WriteOptions, WriterBuilder};

use super::{
    file::{FileError, check_shape},
    npz::{NpzReader, NpzWriter},
};
use crate::{error::Error, plan::PlanEntry, scalar::Scalar};

/// Writes a matrix given row after row, such as a dense plan.
///
/// # Errors
/// [`FileError::Shape`] unless there are `rows` times `columns` values; a failure of the writer.
pub fn write_matrix<T: Scalar>(out: impl Write, values: &[T], rows: usize, columns: usize) -> Result<(), FileError> {
    check_shape(values.len(), rows, columns)?;
    write_array(out, values.iter().map(|value| value.to_f64()), &[rows as u64, columns as u64])
}

/// Writes a vector, such as a potential or weights.
///
/// # Errors
/// A failure of the writer.
pub fn write_vector<T: Scalar>(out: impl Write, values: &[T]) -> Result<(), FileError> {
    write_array(out, values.iter().map(|value| value.to_f64()), &[values.len() as u64])
}

/// Reads a matrix: its values row after row, rows and columns, as [`CostMatrix::new`](crate::CostMatrix::new) takes them and
/// [`PointCloud::new`](crate::PointCloud::new) takes points.
///
/// # Errors
/// [`FileError::Content`] for an array of another number of axes or of other elements; a failure of the reader.
pub fn read_matrix(input: impl Read) -> Result<(Vec<f64>, usize, usize), FileError> {
    let file = NpyFile::new(input)?;
    let [rows, columns] = axes(&file, "a matrix", "two axes")?;
    let order = file.order();
    let values = numbers(file, "a matrix")?;
    let values = match order {
        Order::C => values,
        Order::Fortran => (0..rows).flat_map(|row| values.iter().skip(row).step_by(rows).copied()).collect(),
    };
    Ok((values, rows, columns))
}

/// Reads a vector.
///
/// # Errors
/// [`FileError::Content`] for an array of another number of axes or of other elements; a failure of the reader.
pub fn read_vector(input: impl Read) -> Result<Vec<f64>, FileError> {
    let file = NpyFile::new(input)?;
    let [_] = axes(&file, "a vector", "one axis")?;
    numbers(file, "a vector")
}

/// Potentials on the host, and the epsilon that they belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPotentials {
    /// f.
    pub source: Vec<f64>,
    /// g.
    pub target: Vec<f64>,
    /// Zero for those of exact transport.
    pub epsilon: f64,
}

/// Writes the arrays `f`, `g` and `epsilon` (zero for potentials of exact transport).
///
/// # Errors
/// A failure of the writer.
pub fn write_potentials<T: Scalar>(
    out: impl Write + Seek,
    source: &[T],
    target: &[T],
    epsilon: f64,
) -> Result<(), FileError> {
    let mut archive = NpzWriter::new(out);
    write_vector(archive.begin("f")?, source)?;
    write_vector(archive.begin("g")?, target)?;
    write_array(archive.begin("epsilon")?, [epsilon], &[])?;
    archive.finish()
}

/// Reads potentials: a start on the host (`Start::Host` of `ot-solvers`).
///
/// # Errors
/// [`FileError::Content`] for an array that is missing or another one; a failure of the reader.
pub fn read_potentials(input: impl Read + Seek) -> Result<HostPotentials, FileError> {
    let mut archive = NpzReader::new(input)?;
    let mut array = |name| numbers(archive.array(name)?, name);
    let (source, target, epsilon) = (array("f")?, array("g")?, array("epsilon")?);
    let [epsilon] = epsilon[..] else {
        let found = format!("{} of them", epsilon.len());
        return Err(FileError::Content { what: "epsilon", expected: "one number", found });
    };
    Ok(HostPotentials { source, target, epsilon })
}

/// Writes the entries of an n x m plan as `scipy.sparse.load_npz` reads them, in coordinate format.
///
/// # Errors
/// A failure of the writer.
pub fn write_sparse_plan(
    out: impl Write + Seek,
    (rows, columns): (usize, usize),
    entries: &[PlanEntry],
) -> Result<(), FileError> {
    let mut archive = NpzWriter::new(out);
    let text = |error| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
    let dtype = DType::Plain("|S3".parse::<TypeStr>().map_err(text)?);
    let mut format = WriteOptions::new().dtype(dtype).shape(&[]).writer(archive.begin("format")?).begin_nd()?;
    format.push(COORDINATES)?;
    format.finish()?;
    write_array(archive.begin("shape")?, [rows as i64, columns as i64], &[2])?;
    let len = [entries.len() as u64];
    write_array(archive.begin("row")?, entries.iter().map(|entry| i64::from(entry.source)), &len)?;
    write_array(archive.begin("col")?, entries.iter().map(|entry| i64::from(entry.target)), &len)?;
    write_array(archive.begin("data")?, entries.iter().map(|entry| entry.mass), &len)?;
    archive.finish()
}

/// Reads a sparse matrix in coordinate format (`matrix.tocoo()`) that `scipy.sparse.save_npz` has written: its shape, and its
/// entries in the order of the file.
///
/// # Errors
/// [`FileError::Content`] for another format, and an array that is missing or another one; [`FileError::Shape`] for an index
/// outside the shape, or beyond `u32`; a failure of the reader.
pub fn read_sparse_plan(input: impl Read + Seek) -> Result<((usize, usize), Vec<PlanEntry>), FileError> {
    let mut archive = NpzReader::new(input)?;
    let format: Vec<Vec<u8>> = archive.array("format")?.into_vec()?;
    if format != [COORDINATES] {
        let found = format.iter().map(|format| String::from_utf8_lossy(format)).collect();
        return Err(FileError::Content { what: "format", expected: "coo", found });
    }
    let mut whole = |name| indices(archive.array(name)?, name);
    let (shape, row, col) = (whole("shape")?, whole("row")?, whole("col")?);
    let file = archive.array("data")?;
    let [len] = axes(&file, "data", "one axis")?;
    let data = numbers(file, "data")?;
    let [rows, columns] = shape[..] else {
        return Err(FileError::Content {
            what: "shape",
            expected: "two numbers",
            found: format!("{} of them", shape.len()),
        });
    };
    for (what, indices) in [("rows of the entries", &row), ("columns of the entries", &col)] {
        if indices.len() != len {
            return Err(Error::Length { what, expected: len, found: indices.len() }.into());
        }
    }
    let index = |what: &'static str, index: i64, len: i64| match u32::try_from(index) {
        Ok(small) if index < len => Ok(small),
        _ => Err(Error::Length { what, expected: len.max(0) as usize, found: index.saturating_add(1).max(0) as usize }),
    };
    let entries = data.into_iter().zip(row).zip(col).map(|((mass, source), target)| {
        let (source, target) = (index("row of an entry", source, rows)?, index("column of an entry", target, columns)?);
        Ok(PlanEntry { source, target, mass })
    });
    Ok(((rows.max(0) as usize, columns.max(0) as usize), entries.collect::<Result<_, Error>>()?))
}

/// What SciPy calls the coordinate format.
const COORDINATES: &[u8] = b"coo";

/// One array as a file.
fn write_array<V: AutoSerialize>(
    out: impl Write,
    values: impl IntoIterator<Item = V>,
    shape: &[u64],
) -> Result<(), FileError> {
    let mut array = WriteOptions::new().default_dtype().shape(shape).writer(out).begin_nd()?;
    array.extend(values)?;
    Ok(array.finish()?)
}

/// The lengths of the axes of an array that has so many.
fn axes<R: Read, const N: usize>(
    file: &NpyFile<R>,
    what: &'static str,
    expected: &'static str,
) -> Result<[usize; N], FileError> {
    let lengths: Vec<usize> = file.shape().iter().map(|&len| len as usize).collect();
    <[usize; N]>::try_from(lengths).map_err(|lengths| FileError::Content {
        what,
        expected,
        found: format!("{} axes", lengths.len()),
    })
}

/// All numbers of an array, in the order of the file.
fn numbers<R: Read>(file: NpyFile<R>, what: &'static str) -> Result<Vec<f64>, FileError> {
    let file = match file.try_data::<f64>() {
        Ok(values) => return Ok(values.collect::<Result<_, _>>()?),
        Err(file) => file,
    };
    let file = match file.try_data::<f32>() {
        Ok(values) => return Ok(values.map(|value| value.map(f64::from)).collect::<Result<_, _>>()?),
        Err(file) => file,
    };
    let file = match file.try_data::<i32>() {
        Ok(values) => return Ok(values.map(|value| value.map(f64::from)).collect::<Result<_, _>>()?),
        Err(file) => file,
    };
    match file.try_data::<i64>() {
        Ok(values) => Ok(values.map(|value| value.map(|whole| whole as f64)).collect::<Result<_, _>>()?),
        Err(file) => {
            let expected = "float64, float32, int64 or int32";
            Err(FileError::Content { what, expected, found: file.dtype().descr() })
        }
    }
}

/// All whole numbers of an array of one axis.
fn indices<R: Read>(file: NpyFile<R>, what: &'static str) -> Result<Vec<i64>, FileError> {
    let [_] = axes(&file, what, "one axis")?;
    let file = match file.try_data::<i32>() {
        Ok(values) => return Ok(values.map(|value| value.map(i64::from)).collect::<Result<_, _>>()?),
        Err(file) => file,
    };
    match file.try_data::<i64>() {
        Ok(values) => Ok(values.collect::<Result<_, _>>()?),
        Err(file) => Err(FileError::Content { what, expected: "int64 or int32", found: file.dtype().descr() }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A file that NumPy or SciPy has written: see the note beside it.
    macro_rules! theirs {
        ($name:literal) => {
            Cursor::new(include_bytes!(concat!("../../tests/data/numpy/", $name)))
        };
    }

    const MATRIX: [f64; 6] = [0.0, 1.0 / 3.0, -2.0, 1e-300, 4.5, 1e300];

    fn plan() -> Vec<PlanEntry> {
        let entries = [(0, 3, 0.1), (1, 0, 0.7), (2, 2, 0.2)];
        entries.map(|(source, target, mass)| PlanEntry { source, target, mass }).to_vec()
    }

    #[test]
    fn files_of_numpy_are_read() -> Result<(), FileError> {
        let matrix = (MATRIX.to_vec(), 2, 3);
        assert_eq!(read_matrix(theirs!("by_rows.npy"))?, matrix);
        assert_eq!(read_matrix(theirs!("by_columns.npy"))?, matrix);
        let single: Vec<f64> = MATRIX[..3].iter().map(|&x| f64::from(x as f32)).collect();
        assert_eq!(read_vector(theirs!("single.npy"))?, single);
        assert_eq!(read_vector(theirs!("whole.npy"))?, [1.0, -2.0, 4_294_967_296.0]);
        let potentials = HostPotentials { source: vec![0.5, -0.5], target: vec![1.0, 2.0, 1.0 / 3.0], epsilon: 0.05 };
        assert_eq!(read_potentials(theirs!("potentials.npz"))?, potentials);
        assert_eq!(read_sparse_plan(theirs!("plan.npz"))?, ((3, 4), plan()));
        Ok(())
    }

    #[test]
    fn what_is_written_comes_back() -> Result<(), FileError> {
        let mut file = Vec::new();
        write_matrix(&mut file, &MATRIX, 3, 2)?;
        assert_eq!(read_matrix(&file[..])?, (MATRIX.to_vec(), 3, 2));
        let mut file = Vec::new();
        write_vector(&mut file, &[0.5_f32, -1.25])?;
        assert_eq!(read_vector(&file[..])?, [0.5, -1.25]);
        let mut file = Cursor::new(Vec::new());
        write_potentials(&mut file, &[0.5_f32, -0.5], &[3.0], 0.1)?;
        let potentials = HostPotentials { source: vec![0.5, -0.5], target: vec![3.0], epsilon: 0.1 };
        assert_eq!(read_potentials(file)?, potentials);
        let mut file = Cursor::new(Vec::new());
        write_sparse_plan(&mut file, (3, 4), &plan())?;
        assert_eq!(read_sparse_plan(file)?, ((3, 4), plan()));
        Ok(())
    }

    #[test]
    fn other_content_is_refused() {
        let content = |error: FileError| matches!(error, FileError::Content { .. });
        assert!(read_vector(theirs!("by_rows.npy")).is_err_and(content));
        assert!(read_matrix(theirs!("whole.npy")).is_err_and(content));
        assert!(read_vector(theirs!("words.npy")).is_err_and(content));
        assert!(read_potentials(theirs!("plan.npz")).is_err_and(content));
        assert!(matches!(read_sparse_plan(theirs!("potentials.npz")), Err(FileError::Content { what: "format", .. })));
        assert!(matches!(read_vector(&b"no array"[..]), Err(FileError::Io(_))));
        assert!(matches!(write_matrix(Vec::new(), &MATRIX, 2, 2), Err(FileError::Shape(_))));
        let mut outside = Cursor::new(Vec::new());
        assert!(write_sparse_plan(&mut outside, (3, 3), &plan()).is_ok());
        assert!(matches!(read_sparse_plan(outside), Err(FileError::Shape(Error::Length { .. }))));
    }
}
