//! Where numbers live, and the operations on them.
//!
//! A [`Device`] names types: the element type, vectors, and reduced vectors. A [`Backend`] is a value with operations
//! on these types: a pool of threads, or a GPU with its queue. It owns nothing global and has no default. Vectors are
//! opaque, and every operation only *enqueues*; [`read`](Backend::read) and [`download`](Backend::download) are the only
//! calls that wait for the device, and the only ones that report a failed launch. A solver written against this trait
//! never leaves the device inside its loop.
//!
//! All backends in host memory share one device, [`Host`](crate::host::Host): a kernel written for it runs on any of
//! them, and so does a backend that counts or checks what is asked of another. A
//! [`HostBackend`](crate::host::HostBackend) can also run tasks in parallel. Only host kernels, tests and exact solvers ask for it, so that leaving the device is visible in the bounds.

mod operand;
mod precision;

use std::fmt::Debug;

pub use self::{
    operand::{Fold, MAX_OPERANDS, MAX_OUTPUTS, Operand},
    precision::Precision,
};
use crate::{error::Error, program::Program, scalar::Scalar};

/// The types of a device. A device is never made: it is a name for its types.
pub trait Device: Debug + Sized + Send + Sync + 'static {
    /// The element type of vectors.
    type Elem: Scalar;
    /// A matrix on the device.
    type Vector: Debug + Send + Sync + 'static;
    /// One number of f64 grade for each column, on the device.
    type Reduced: Debug + Send + Sync + 'static;
}

/// Allocation, pointwise arithmetic, reductions and reads on a device.
///
/// Vectors are matrices of `rows` x `columns`, one column for each problem of a batch, stored column after column.
/// An operation takes at most [`MAX_OPERANDS`] operands and [`MAX_OUTPUTS`] outputs.
pub trait Backend<D: Device>: Debug + Send + Sync {
    /// A vector of `rows` x `columns` elements, not written yet.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn alloc(&self, rows: usize, columns: usize) -> Result<D::Vector, Error>;

    /// One number for each column, not written yet.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn alloc_reduced(&self, columns: usize) -> Result<D::Reduced, Error>;

    /// Copies host values (column after column) into a vector of the same shape.
    ///
    /// # Errors
    /// [`Error::Length`], or a failure of the device.
    fn write(&self, values: &[D::Elem], vector: &mut D::Vector) -> Result<(), Error>;

    /// Copies host numbers, one for each column.
    ///
    /// # Errors
    /// [`Error::Length`], or a failure of the device.
    fn write_reduced(&self, values: &[f64], reduced: &mut D::Reduced) -> Result<(), Error>;

    /// Sets all elements of a vector to one value.
    ///
    /// # Errors
    /// A failure of the device.
    fn fill(&self, value: f64, vector: &mut D::Vector) -> Result<(), Error>;

    /// Rows and columns of a vector.
    fn shape(&self, vector: &D::Vector) -> (usize, usize);

    /// Numbers in a reduced vector.
    fn reduced_len(&self, reduced: &D::Reduced) -> usize;

    /// outputs(i, k) = program(operands at (i, k)), for all rows and columns of the outputs, which have one shape.
    ///
    /// # Errors
    /// [`Error::Length`] for operands or outputs that do not fit the program, or a failure of the device.
    fn map(&self, program: &Program, operands: &[Operand<'_, D>], outputs: &mut [&mut D::Vector]) -> Result<(), Error>;

    /// outputs_k = fold over i of program(operands at (i, k)), over `rows` rows.
    ///
    /// The order of the sums depends on the shape alone, never on the number of threads. `Operand::Output` is not legal
    /// here.
    ///
    /// # Errors
    /// [`Error::Length`] for operands or outputs that do not fit the program, or a failure of the device.
    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, D>],
        outputs: &mut [&mut D::Reduced],
    ) -> Result<(), Error>;

    /// outputs_k = program(operands at k), in f64 grade arithmetic. Operands are reduced vectors, constants and outputs.
    ///
    /// # Errors
    /// [`Error::Length`] for operands or outputs that do not fit the program, or a failure of the device.
    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, D>],
        outputs: &mut [&mut D::Reduced],
    ) -> Result<(), Error>;

    /// out = vector * matrix: columns mixed by a small host matrix, row-major, columns of `vector` x columns of `out`. A column
    /// times zero is left out, whatever it holds.
    ///
    /// # Errors
    /// [`Error::Length`] for a matrix of another shape, or a failure of the device.
    fn mix(&self, vector: &D::Vector, matrix: &[f64], out: &mut D::Vector) -> Result<(), Error>;

    /// out = vector.
    ///
    /// # Errors
    /// A failure of the device.
    fn copy(&self, vector: &D::Vector, out: &mut D::Vector) -> Result<(), Error>;

    /// Waits for everything enqueued and brings numbers to the host, one `Vec` for each operand.
    ///
    /// # Errors
    /// Whatever went wrong since the last read.
    fn read(&self, reduced: &[&D::Reduced]) -> Result<Vec<Vec<f64>>, Error>;

    /// Waits for everything enqueued and brings vectors to the host, each column after column.
    ///
    /// # Errors
    /// Whatever went wrong since the last read.
    fn download(&self, vectors: &[&D::Vector]) -> Result<Vec<Vec<D::Elem>>, Error>;

    /// Brings a vector to the host that nothing needs any more. The default [downloads](Self::download) it; where memory is the
    /// host's, the vector gives its own.
    ///
    /// # Errors
    /// Whatever went wrong since the last read.
    fn take(&self, vector: D::Vector) -> Result<Vec<D::Elem>, Error> {
        Ok(self.download(&[&vector])?.swap_remove(0))
    }

    /// The accuracy of the arithmetic. The default is that of the element type; a device may do better or worse.
    fn precision(&self) -> Precision {
        Precision::of::<D::Elem>()
    }

    /// The smallest normal number and the largest number of the arithmetic. The default is those of the element type; numbers that are
    /// pairs of narrower ones have the range of these.
    fn range(&self) -> [f64; 2] {
        [D::Elem::TINY, D::Elem::MAX]
    }

    /// Runs work where this backend's workers are at hand: a thread pool is entered once, not once for each operation.
    /// `scope` is the form of it that returns a result. The default just runs it.
    fn enter(&self, work: &mut (dyn FnMut() + Send)) {
        work();
    }

    /// Allocates and writes in one call; by default in two.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::OutOfMemory`], or a failure of the device.
    fn upload(&self, values: &[D::Elem], columns: usize) -> Result<D::Vector, Error> {
        let rows = values.len() / columns.max(1);
        let mut vector = self.alloc(rows, columns)?;
        self.write(values, &mut vector)?;
        Ok(vector)
    }

    /// Allocates and writes one number for each column; by default in two calls.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or a failure of the device.
    fn upload_reduced(&self, values: &[f64]) -> Result<D::Reduced, Error> {
        let mut reduced = self.alloc_reduced(values.len())?;
        self.write_reduced(values, &mut reduced)?;
        Ok(reduced)
    }
}

impl<D: Device> dyn Backend<D> + '_ {
    /// Runs a whole solve where this backend's workers are at hand ([`Backend::enter`]), and returns its result.
    pub fn scope<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let (mut work, mut result) = (Some(work), None);
        self.enter(&mut || result = work.take().map(|work| work()));
        match (result, work) {
            (Some(result), _) => result,
            // A backend that never ran the work, against its contract: the work is done here.
            (None, Some(work)) => work(),
            (None, None) => unreachable!("work that was taken has left its result"),
        }
    }

    /// A vector of one value.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or a failure of the device.
    pub fn filled(&self, value: f64, rows: usize, columns: usize) -> Result<D::Vector, Error> {
        let mut vector = self.alloc(rows, columns)?;
        self.fill(value, &mut vector)?;
        Ok(vector)
    }

    /// A copy of a vector.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or a failure of the device.
    pub fn copied(&self, vector: &D::Vector) -> Result<D::Vector, Error> {
        let (rows, columns) = self.shape(vector);
        let mut copy = self.alloc(rows, columns)?;
        self.copy(vector, &mut copy)?;
        Ok(copy)
    }
}
