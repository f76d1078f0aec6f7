//! A backend that counts what is asked of another.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use ot_core::{Backend, Device, Error, Fold, Operand, Precision, Program};

/// A backend that does what another of the same device does, and counts it. Clones share one count.
///
/// This is how "nothing is allocated and nothing is read in the loop" is proven of a solver: a problem takes it by
/// [`with_backend`](ot_core::Problem::with_backend), and what two solves count may differ only by what more iterations
/// cost. What a kernel does by itself, without the backend that it is given, is not seen.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_conformance::{Counting, ReferenceBackend};
/// use ot_core::Backend;
///
/// let backend = Counting::new(Arc::new(ReferenceBackend::<f32>::default()));
/// let vector = backend.upload(&[1.0, 2.0], 1)?;
/// let before = backend.counts();
/// backend.download(&[&vector])?;
/// assert_eq!((before.allocations, backend.counts().since(before).reads), (1, 1));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Counting<D: Device> {
    inner: Arc<dyn Backend<D>>,
    tally: Arc<Tally>,
}

/// What was asked of a [`Counting`] backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Points where the host waits: `read` and `download`.
    pub reads: usize,
    /// Vectors and reduced vectors allocated.
    pub allocations: usize,
    /// Host values written.
    pub writes: usize,
    /// `fill`, `map`, `reduce`, `map_reduced`, `mix` and `copy`.
    pub operations: usize,
}

impl Counts {
    /// What was asked since an earlier count.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            reads: self.reads - earlier.reads,
            allocations: self.allocations - earlier.allocations,
            writes: self.writes - earlier.writes,
            operations: self.operations - earlier.operations,
        }
    }
}

/// [`Counts`] shared by clones.
#[derive(Debug, Default)]
struct Tally {
    reads: AtomicUsize,
    allocations: AtomicUsize,
    writes: AtomicUsize,
    operations: AtomicUsize,
}

/// One more.
fn count(number: &AtomicUsize) {
    number.fetch_add(1, Relaxed);
}

impl<D: Device> Counting<D> {
    /// Counts what is asked of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend<D>>) -> Self {
        Self { inner, tally: Arc::default() }
    }

    /// What was asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let Tally { reads, allocations, writes, operations } = self.tally.as_ref();
        let [reads, allocations, writes, operations] =
            [reads, allocations, writes, operations].map(|number| number.load(Relaxed));
        Counts { reads, allocations, writes, operations }
    }
}

impl<D: Device> Clone for Counting<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), tally: Arc::clone(&self.tally) }
    }
}

impl<D: Device> Backend<D> for Counting<D> {
    fn alloc(&self, rows: usize, columns: usize) -> Result<D::Vector, Error> {
        count(&self.tally.allocations);
        self.inner.alloc(rows, columns)
    }

    fn alloc_reduced(&self, columns: usize) -> Result<D::Reduced, Error> {
        count(&self.tally.allocations);
        self.inner.alloc_reduced(columns)
    }

    fn write(&self, values: &[D::Elem], vector: &mut D::Vector) -> Result<(), Error> {
        count(&self.tally.writes);
        self.inner.write(values, vector)
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut D::Reduced) -> Result<(), Error> {
        count(&self.tally.writes);
        self.inner.write_reduced(values, reduced)
    }

    fn fill(&self, value: f64, vector: &mut D::Vector) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.fill(value, vector)
    }

    fn shape(&self, vector: &D::Vector) -> (usize, usize) {
        self.inner.shape(vector)
    }

    fn reduced_len(&self, reduced: &D::Reduced) -> usize {
        self.inner.reduced_len(reduced)
    }

    fn map(&self, program: &Program, operands: &[Operand<'_, D>], outputs: &mut [&mut D::Vector]) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.map(program, operands, outputs)
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, D>],
        outputs: &mut [&mut D::Reduced],
    ) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.reduce(program, fold, rows, operands, outputs)
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, D>],
        outputs: &mut [&mut D::Reduced],
    ) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.map_reduced(program, operands, outputs)
    }

    fn mix(&self, vector: &D::Vector, matrix: &[f64], out: &mut D::Vector) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.mix(vector, matrix, out)
    }

    fn copy(&self, vector: &D::Vector, out: &mut D::Vector) -> Result<(), Error> {
        count(&self.tally.operations);
        self.inner.copy(vector, out)
    }

    fn read(&self, reduced: &[&D::Reduced]) -> Result<Vec<Vec<f64>>, Error> {
        count(&self.tally.reads);
        self.inner.read(reduced)
    }

    fn download(&self, vectors: &[&D::Vector]) -> Result<Vec<Vec<D::Elem>>, Error> {
        count(&self.tally.reads);
        self.inner.download(vectors)
    }

    fn precision(&self) -> Precision {
        self.inner.precision()
    }

    fn range(&self) -> [f64; 2] {
        self.inner.range()
    }

    fn enter(&self, work: &mut (dyn FnMut() + Send)) {
        self.inner.enter(work);
    }
}
