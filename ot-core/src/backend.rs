//! Where numbers live and how they are worked on.
//!
//! A [`Backend`] is a value: a pool of threads, or a device with its queue. It owns nothing
//! global and has no default. Its vectors are opaque, and every operation only *enqueues*;
//! [`read`](Backend::read) and [`download`](Backend::download) are the only points where the
//! host waits, and the only places where a failed launch shows. A solver written against this
//! trait therefore never leaves the device inside its loop.
//!
//! A [`HostBackend`] adds slices. Only host kernels, tests and exact solvers ask for it, so that
//! leaving the device is visible in the bounds.

use std::{fmt, fmt::Debug, sync::Arc};

use crate::{cost::GroundCost, error::Error, geometry::Geometry, measure::Support, program::Program, scalar::Scalar};

/// One of the two marginals of a plan.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The rows of the plan: atoms x_i with weights a_i and potential f_i.
    Source,
    /// The columns of the plan: atoms y_j with weights b_j and potential g_j.
    Target,
}

impl Side {
    /// The other marginal.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Side::Source => Side::Target,
            Side::Target => Side::Source,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Side::Source => "source",
            Side::Target => "target",
        })
    }
}

/// What a pointwise [`Program`] reads at row i of column k.
#[derive(Debug)]
pub enum Operand<'a, B: Backend> {
    /// Entry (i, k) of a vector; a vector of one column is shared by all.
    Vector(&'a B::Vector),
    /// Number k of a reduced vector (number 0 if it has one), the same for all rows.
    Reduced(&'a B::Reduced),
    /// The same number everywhere.
    Constant(f64),
    /// Entry (i, k) of an output as it was before the operation: an update in place.
    Output(usize),
}

impl<B: Backend> Copy for Operand<'_, B> {}
impl<B: Backend> Clone for Operand<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

/// How a column of numbers becomes one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Their sum, accumulated with the accuracy of f64.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// A device, or the threads of a host: allocation, pointwise arithmetic, reductions, reads.
///
/// Vectors are matrices of `rows` x `columns`, one column for each problem of a batch, stored
/// column after column. Shapes have been checked by the layer above: an implementation may
/// assert them.
pub trait Backend: Clone + Debug + Send + Sync + 'static {
    /// The element type of vectors.
    type Elem: Scalar;
    /// A matrix on the device.
    type Vector: Debug + Send + Sync + 'static;
    /// One number of f64 grade for each column, on the device.
    type Reduced: Debug + Send + Sync + 'static;

    /// Room for `rows` x `columns` elements that nobody has written yet.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn alloc(&self, rows: usize, columns: usize) -> Result<Self::Vector, Error>;

    /// Room for one number per column.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    fn alloc_reduced(&self, columns: usize) -> Result<Self::Reduced, Error>;

    /// Copies host values (column after column) into a vector of the same shape.
    ///
    /// # Errors
    /// [`Error::Length`], or a failure of the device.
    fn write(&self, values: &[Self::Elem], vector: &mut Self::Vector) -> Result<(), Error>;

    /// Copies host numbers, one per column.
    ///
    /// # Errors
    /// [`Error::Length`], or a failure of the device.
    fn write_reduced(&self, values: &[f64], reduced: &mut Self::Reduced) -> Result<(), Error>;

    /// Rows and columns of a vector.
    fn shape(&self, vector: &Self::Vector) -> (usize, usize);

    /// Numbers in a reduced vector.
    fn reduced_len(&self, reduced: &Self::Reduced) -> usize;

    /// outputs(i, k) = program(operands at (i, k)), for all rows and columns of the outputs,
    /// which have one shape.
    ///
    /// # Errors
    /// A failure of the device.
    fn map(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut Self::Vector],
    ) -> Result<(), Error>;

    /// outputs_k = fold over i of program(operands at (i, k)), over `rows` rows.
    ///
    /// The order of the sums depends on the shape alone, never on the number of threads.
    /// `Operand::Output` is not legal here.
    ///
    /// # Errors
    /// A failure of the device.
    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut Self::Reduced],
    ) -> Result<(), Error>;

    /// outputs_k = program(operands at k), in f64 grade arithmetic. Operands are reduced
    /// vectors, constants and outputs.
    ///
    /// # Errors
    /// A failure of the device.
    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut Self::Reduced],
    ) -> Result<(), Error>;

    /// out = vector * matrix: columns mixed by a small host matrix, row-major, columns of
    /// `vector` x columns of `out`.
    ///
    /// # Errors
    /// A failure of the device.
    fn mix(&self, vector: &Self::Vector, matrix: &[f64], out: &mut Self::Vector) -> Result<(), Error>;

    /// out = vector.
    ///
    /// # Errors
    /// A failure of the device.
    fn copy(&self, vector: &Self::Vector, out: &mut Self::Vector) -> Result<(), Error>;

    /// Waits for everything enqueued and brings numbers to the host, one `Vec` for each operand.
    ///
    /// # Errors
    /// Whatever went wrong since the last read.
    fn read(&self, reduced: &[&Self::Reduced]) -> Result<Vec<Vec<f64>>, Error>;

    /// Waits for everything enqueued and brings vectors to the host, each column after column.
    ///
    /// # Errors
    /// Whatever went wrong since the last read.
    fn download(&self, vectors: &[&Self::Vector]) -> Result<Vec<Vec<Self::Elem>>, Error>;

    /// The best geometry this backend has for one cost between two supports.
    ///
    /// Implementations match on the kind of support and on [`GroundCost::form`], and fall back
    /// to a stored matrix for whatever is not special.
    ///
    /// # Errors
    /// [`Error::UnsupportedSupport`], [`Error::DimensionMismatch`], [`Error::Length`],
    /// [`Error::Cost`], [`Error::CostOverflow`], [`Error::OutOfMemory`].
    fn geometry(
        &self,
        source: Support<'_, Self::Elem>,
        target: Support<'_, Self::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self>>, Error>;

    /// Runs a whole solve where this backend's workers are at hand (a thread pool is entered
    /// once, not once per operation).
    fn scope<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// Allocates and writes in one go.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::OutOfMemory`], or a failure of the device.
    fn upload(&self, values: &[Self::Elem], columns: usize) -> Result<Self::Vector, Error> {
        let rows = values.len() / columns.max(1);
        let mut vector = self.alloc(rows, columns)?;
        self.write(values, &mut vector)?;
        Ok(vector)
    }

    /// Allocates and writes one number per column.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], or a failure of the device.
    fn upload_reduced(&self, values: &[f64]) -> Result<Self::Reduced, Error> {
        let mut reduced = self.alloc_reduced(values.len())?;
        self.write_reduced(values, &mut reduced)?;
        Ok(reduced)
    }
}

/// A backend whose vectors are slices of this process.
pub trait HostBackend: Backend {
    /// The elements, column after column.
    fn slice<'a>(&self, vector: &'a Self::Vector) -> &'a [Self::Elem];

    /// The elements, column after column, to be changed.
    fn slice_mut<'a>(&self, vector: &'a mut Self::Vector) -> &'a mut [Self::Elem];

    /// One number per column.
    fn reduced<'a>(&self, reduced: &'a Self::Reduced) -> &'a [f64];

    /// One number per column, to be changed.
    fn reduced_mut<'a>(&self, reduced: &'a mut Self::Reduced) -> &'a mut [f64];

    /// Runs `job(0), ..., job(tasks - 1)`, in any order and on any thread, and waits.
    ///
    /// How the work is cut into tasks must not depend on the number of threads.
    fn parallel(&self, tasks: usize, job: &(dyn Fn(usize) + Sync));
}
