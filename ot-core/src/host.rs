//! Vectors of host backends, and pointwise programs run over them.
//!
//! A host backend is a pool of workers and little else: who implements [`HostWorkers`] is one. Its
//! vectors are [`HostVector`]s, and its operations are the functions of this module. The
//! cut into tasks depends on the shape alone, so the bits do not depend on the threads.

mod pointwise;
mod split;
mod workers;

pub use self::{
    pointwise::{TASK_ROWS, map, map_reduced, mix, reduce},
    split::for_each_chunk,
    workers::{HostBackend, HostWorkers},
};
use std::marker::PhantomData;

use crate::{
    backend::Device,
    error::{BackendFailure, Error},
    scalar::Scalar,
};

/// The device of all backends in host memory: vectors are [`HostVector`]s, reduced vectors [`HostReduced`].
#[derive(Debug)]
pub struct Host<T>(PhantomData<T>);

impl<T: Scalar> Device for Host<T> {
    type Elem = T;
    type Vector = HostVector<T>;
    type Reduced = HostReduced;
}

/// A matrix in host memory, column after column.
#[derive(Clone, Debug, PartialEq)]
pub struct HostVector<T> {
    values: Vec<T>,
    rows: usize,
    columns: usize,
}

impl<T: Scalar> HostVector<T> {
    /// Zeros. Fails, rather than aborts, where memory ends.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn alloc(rows: usize, columns: usize) -> Result<Self, Error> {
        Ok(Self { values: try_zeros(rows.saturating_mul(columns), "a vector")?, rows, columns })
    }

    /// Rows and columns.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// All elements.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All elements, to be changed.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// All elements, as they are in memory.
    #[must_use]
    pub fn into_values(self) -> Vec<T> {
        self.values
    }

    /// The column that problem `column` of a batch reads: the only one, if all share it.
    #[must_use]
    pub fn column(&self, column: usize) -> &[T] {
        &self.values[column.min(self.columns - 1) * self.rows..][..self.rows]
    }

    /// The column that problem `column` of a batch writes: the only one, if all share it.
    pub fn column_mut(&mut self, column: usize) -> &mut [T] {
        &mut self.values[column.min(self.columns - 1) * self.rows..][..self.rows]
    }

    /// Copies values of the same shape.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn write(&mut self, values: &[T]) -> Result<(), Error> {
        if values.len() != self.values.len() {
            return Err(Error::Length { what: "vector", expected: self.values.len(), found: values.len() });
        }
        self.values.copy_from_slice(values);
        Ok(())
    }
}

/// One f64 for each column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostReduced(Vec<f64>);

impl HostReduced {
    /// Zeros.
    #[must_use]
    pub fn alloc(columns: usize) -> Self {
        Self(vec![0.0; columns])
    }

    /// Zeros, or a typed error where memory ends.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn try_alloc(columns: usize) -> Result<Self, Error> {
        try_zeros(columns, "a reduced vector").map(Self)
    }

    /// The numbers.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// The numbers, to be changed.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.0
    }

    /// Copies as many numbers.
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn write(&mut self, values: &[f64]) -> Result<(), Error> {
        if values.len() != self.0.len() {
            return Err(Error::Length { what: "reduced vector", expected: self.0.len(), found: values.len() });
        }
        self.0.copy_from_slice(values);
        Ok(())
    }
}

/// Zeros of which no page is touched yet, so that the threads that fill them do, or a typed error where memory ends.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn try_zeros<T: Scalar>(len: usize, what: &'static str) -> Result<Vec<T>, Error> {
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    Vec::<T>::new().try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what, bytes })?;
    Ok(vec![T::default(); len])
}

/// The failure of a backend that reads memory that was not written.
#[must_use]
pub fn unwritten() -> Error {
    Error::Backend(BackendFailure::Unwritten)
}
