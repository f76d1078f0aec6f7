//! A backend that does nothing until it is read.

mod kernel;
mod store;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::{
    kernel::DeferredGeometry,
    store::{Id, Queue, RecordedOperand, Store},
};
use crate::{
    backend::{Backend, Fold, HostBackend, Operand},
    cost::GroundCost,
    error::Error,
    geometry::Geometry,
    measure::Support,
    program::Program,
    scalar::Scalar,
};

/// A wrapper that only records what is asked, of itself and of the kernels of its geometries, and
/// does it when something is read, as a device with a queue may. Failures show at the read.
///
/// Its vectors are handles: there is no way to peek. Memory that nobody has written is poisoned:
/// it holds NaN, and an operation that reads it makes the next read fail with
/// [`BackendFailure::Unwritten`](crate::BackendFailure::Unwritten). A solver that gives the same
/// numbers here as on the wrapped backend therefore never looks before it reads, and never uses
/// what it has not computed.
///
/// ```
/// use ot_core::{Backend, BackendFailure, Error, Operand, Program, conformance::{Deferred, ReferenceBackend}};
///
/// let backend = Deferred::new(ReferenceBackend::<f64>::default());
/// let sum = Program::record(|[x, y]| [x + y])?;
/// let (x, y) = (backend.upload(&[1.0, 2.0], 1)?, backend.alloc(2, 1)?);
/// let mut z = backend.alloc(2, 1)?;
/// backend.map(&sum, &[Operand::Vector(&x), Operand::Vector(&x)], &mut [&mut z])?;
/// assert_eq!(backend.download(&[&z])?, [[2.0, 4.0]]);
///
/// // Nobody wrote y. Nothing is said until the read.
/// backend.map(&sum, &[Operand::Vector(&x), Operand::Vector(&y)], &mut [&mut z])?;
/// assert_eq!(backend.download(&[&z]), Err(Error::Backend(BackendFailure::Unwritten)));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Deferred<B: HostBackend> {
    inner: B,
    queue: Arc<Mutex<Queue<B>>>,
}

/// A vector of [`Deferred`]: its name and shape.
pub struct DeferredVector<B: HostBackend> {
    id: Id,
    rows: usize,
    columns: usize,
    queue: Arc<Mutex<Queue<B>>>,
}

/// A reduced vector of [`Deferred`]: its name and length.
pub struct DeferredReduced<B: HostBackend> {
    id: Id,
    len: usize,
    queue: Arc<Mutex<Queue<B>>>,
}

impl<B: HostBackend> Deferred<B> {
    /// Records what is to be done by `inner`.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self { queue: Arc::new(Mutex::new(Queue::new(inner.clone()))), inner }
    }

    /// Number of operations that wait to be done.
    #[must_use]
    pub fn pending(&self) -> usize {
        lock(&self.queue).pending()
    }

    /// A geometry of the wrapped backend whose kernels are deferred.
    #[must_use]
    pub fn wrap(&self, geometry: Arc<dyn Geometry<B>>) -> Arc<dyn Geometry<Self>> {
        Arc::new(DeferredGeometry::new(self.clone(), geometry))
    }

    /// Appends an operation.
    fn enqueue(&self, operation: impl FnOnce(&mut Store<B>) -> Result<(), Error> + Send + 'static) {
        lock(&self.queue).push(Box::new(operation));
    }

    /// Does all that waits, and then what a read asks for.
    fn flush<R>(&self, read: impl FnOnce(&mut Store<B>) -> Result<R, Error>) -> Result<R, Error> {
        lock(&self.queue).run(read)
    }
}

impl<B: HostBackend> Backend for Deferred<B> {
    type Elem = B::Elem;
    type Vector = DeferredVector<B>;
    type Reduced = DeferredReduced<B>;

    fn alloc(&self, rows: usize, columns: usize) -> Result<DeferredVector<B>, Error> {
        let mut vector = self.inner.alloc(rows, columns)?;
        self.inner.slice_mut(&mut vector).fill(B::Elem::from_f64(f64::NAN));
        let id = lock(&self.queue).store().insert_vector(vector);
        Ok(DeferredVector { id, rows, columns, queue: Arc::clone(&self.queue) })
    }

    fn alloc_reduced(&self, columns: usize) -> Result<DeferredReduced<B>, Error> {
        let mut reduced = self.inner.alloc_reduced(columns)?;
        self.inner.reduced_mut(&mut reduced).fill(f64::NAN);
        let id = lock(&self.queue).store().insert_reduced(reduced);
        Ok(DeferredReduced { id, len: columns, queue: Arc::clone(&self.queue) })
    }

    fn write(&self, values: &[B::Elem], vector: &mut DeferredVector<B>) -> Result<(), Error> {
        let expected = vector.rows * vector.columns;
        if values.len() != expected {
            return Err(Error::Length { what: "vector", expected, found: values.len() });
        }
        let (id, values) = (vector.id, values.to_vec());
        self.enqueue(move |store| store.write_vector(id, |backend, vector| backend.write(&values, vector)));
        Ok(())
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut DeferredReduced<B>) -> Result<(), Error> {
        if values.len() != reduced.len {
            return Err(Error::Length { what: "reduced vector", expected: reduced.len, found: values.len() });
        }
        let (id, values) = (reduced.id, values.to_vec());
        self.enqueue(move |store| {
            store.with_reduced(&[id], |store, outputs| store.backend.write_reduced(&values, outputs[0]))
        });
        Ok(())
    }

    fn shape(&self, vector: &DeferredVector<B>) -> (usize, usize) {
        (vector.rows, vector.columns)
    }

    fn reduced_len(&self, reduced: &DeferredReduced<B>) -> usize {
        reduced.len
    }

    fn map(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut DeferredVector<B>],
    ) -> Result<(), Error> {
        let (program, operands) = (program.clone(), RecordedOperand::of(operands));
        let outputs: Vec<Id> = outputs.iter().map(|output| output.id).collect();
        self.enqueue(move |store| {
            store.check_written(&operands, &outputs)?;
            store.with_vectors(&outputs, |store, outputs| {
                store.backend.map(&program, &store.operands(&operands)?, outputs)
            })
        });
        Ok(())
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut DeferredReduced<B>],
    ) -> Result<(), Error> {
        let (program, operands) = (program.clone(), RecordedOperand::of(operands));
        let outputs: Vec<Id> = outputs.iter().map(|output| output.id).collect();
        self.enqueue(move |store| {
            store.with_reduced(&outputs, |store, outputs| {
                store.backend.reduce(&program, fold, rows, &store.operands(&operands)?, outputs)
            })
        });
        Ok(())
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, Self>],
        outputs: &mut [&mut DeferredReduced<B>],
    ) -> Result<(), Error> {
        let (program, operands) = (program.clone(), RecordedOperand::of(operands));
        let outputs: Vec<Id> = outputs.iter().map(|output| output.id).collect();
        self.enqueue(move |store| {
            store.check_written(&operands, &outputs)?;
            store.with_reduced(&outputs, |store, outputs| {
                store.backend.map_reduced(&program, &store.operands(&operands)?, outputs)
            })
        });
        Ok(())
    }

    fn mix(&self, vector: &DeferredVector<B>, matrix: &[f64], out: &mut DeferredVector<B>) -> Result<(), Error> {
        let (from, to, matrix) = (vector.id, out.id, matrix.to_vec());
        self.enqueue(move |store| {
            store.with_vectors(&[to], |store, out| store.backend.mix(store.vector(from)?, &matrix, out[0]))
        });
        Ok(())
    }

    fn copy(&self, vector: &DeferredVector<B>, out: &mut DeferredVector<B>) -> Result<(), Error> {
        let (from, to) = (vector.id, out.id);
        self.enqueue(move |store| {
            store.with_vectors(&[to], |store, out| store.backend.copy(store.vector(from)?, out[0]))
        });
        Ok(())
    }

    fn read(&self, reduced: &[&DeferredReduced<B>]) -> Result<Vec<Vec<f64>>, Error> {
        self.flush(|store| {
            let numbers: Result<Vec<&B::Reduced>, Error> =
                reduced.iter().map(|wanted| store.reduced(wanted.id)).collect();
            store.backend.read(&numbers?)
        })
    }

    fn download(&self, vectors: &[&DeferredVector<B>]) -> Result<Vec<Vec<B::Elem>>, Error> {
        self.flush(|store| {
            let values: Result<Vec<&B::Vector>, Error> = vectors.iter().map(|wanted| store.vector(wanted.id)).collect();
            store.backend.download(&values?)
        })
    }

    fn geometry(
        &self,
        source: Support<'_, B::Elem>,
        target: Support<'_, B::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self>>, Error> {
        Ok(self.wrap(self.inner.geometry(source, target, cost)?))
    }

    fn scope<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.inner.scope(work)
    }
}

impl<B: HostBackend> Drop for DeferredVector<B> {
    fn drop(&mut self) {
        lock(&self.queue).forget(self.id);
    }
}

impl<B: HostBackend> Drop for DeferredReduced<B> {
    fn drop(&mut self) {
        lock(&self.queue).forget(self.id);
    }
}

impl<B: HostBackend> fmt::Debug for Deferred<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Deferred").field(&self.inner).finish()
    }
}

impl<B: HostBackend> fmt::Debug for DeferredVector<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DeferredVector")
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl<B: HostBackend> fmt::Debug for DeferredReduced<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DeferredReduced").field("len", &self.len).finish_non_exhaustive()
    }
}

/// The queue, even after a panic in another thread.
fn lock<B: HostBackend>(queue: &Mutex<Queue<B>>) -> MutexGuard<'_, Queue<B>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
