//! A backend that does nothing until it is read.

mod builder;
mod handle;
mod kernel;

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ot_core::{Backend, Device, Error, Fold, Geometry, Operand, Precision, Program};

use self::handle::RecordedOperand;
use self::kernel::DeferredGeometry;
pub use self::{builder::DeferredBuilder, handle::DeferredVector};

/// A wrapper that only records what is asked, of itself and of the kernels of its geometries, and
/// does it when something is read, as a device with a queue may. Failures show at the read.
///
/// Its vectors are handles: their values cannot be seen without a read. Memory that was not written is poisoned: it holds NaN, and an
/// operation that reads it makes the next read fail with
/// [`BackendFailure::Unwritten`](ot_core::BackendFailure::Unwritten). A solver that gives the same numbers here as on the
/// wrapped backend therefore never looks before it reads, and never uses what it has not computed.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_conformance::{Deferred, ReferenceBackend};
/// use ot_core::{Backend, BackendFailure, Error, Operand, Program};
///
/// let backend = Deferred::new(Arc::new(ReferenceBackend::<f64>::default()));
/// let sum = Program::record(|[x, y]| [x + y])?;
/// let (x, y) = (backend.upload(&[1.0, 2.0], 1)?, backend.alloc(2, 1)?);
/// let mut z = backend.alloc(2, 1)?;
/// backend.map(&sum, &[Operand::Vector(&x), Operand::Vector(&x)], &mut [&mut z])?;
/// assert_eq!(backend.download(&[&z])?, [[2.0, 4.0]]);
///
/// // y was not written. Nothing fails until the read.
/// backend.map(&sum, &[Operand::Vector(&x), Operand::Vector(&y)], &mut [&mut z])?;
/// assert_eq!(backend.download(&[&z]), Err(Error::Backend(BackendFailure::Unwritten)));
/// # Ok::<(), ot_core::Error>(())
/// ```
pub struct Deferred<D: Device> {
    inner: Arc<dyn Backend<D>>,
    queue: Arc<Mutex<Vec<Operation<D>>>>,
}

/// The device of [`Deferred`]: handles of what is on another.
#[derive(Debug)]
pub struct DeferredDevice<D>(PhantomData<D>);

impl<D: Device> Device for DeferredDevice<D> {
    type Elem = D::Elem;
    type Vector = DeferredVector<D::Vector>;
    type Reduced = DeferredVector<D::Reduced>;
}

/// Something to be done at a read.
type Operation<D> = Box<dyn FnOnce(&dyn Backend<D>) -> Result<(), Error> + Send>;

impl<D: Device> Deferred<D> {
    /// Records what is to be done by `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend<D>>) -> Self {
        Self { inner, queue: Arc::default() }
    }

    /// Number of operations that wait to be done.
    #[must_use]
    pub fn pending(&self) -> usize {
        lock(&self.queue).len()
    }

    /// A geometry of the wrapped device whose kernels are deferred.
    #[must_use]
    pub fn wrap(&self, geometry: Arc<dyn Geometry<D>>) -> Arc<dyn Geometry<DeferredDevice<D>>> {
        Arc::new(DeferredGeometry::new(self.clone(), geometry))
    }

    /// Appends an operation.
    fn enqueue(&self, operation: impl FnOnce(&dyn Backend<D>) -> Result<(), Error> + Send + 'static) {
        lock(&self.queue).push(Box::new(operation));
    }

    /// Does what waits, in order, up to the first failure.
    fn flush(&self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut *lock(&self.queue));
        waiting.into_iter().try_for_each(|operation| operation(self.inner.as_ref()))
    }
}

impl<D: Device> Backend<DeferredDevice<D>> for Deferred<D> {
    fn alloc(&self, rows: usize, columns: usize) -> Result<DeferredVector<D::Vector>, Error> {
        let mut vector = self.inner.alloc(rows, columns)?;
        self.inner.fill(f64::NAN, &mut vector)?;
        Ok(DeferredVector::new(vector, (rows, columns)))
    }

    fn alloc_reduced(&self, columns: usize) -> Result<DeferredVector<D::Reduced>, Error> {
        let mut reduced = self.inner.alloc_reduced(columns)?;
        self.inner.write_reduced(&vec![f64::NAN; columns], &mut reduced)?;
        Ok(DeferredVector::new(reduced, (1, columns)))
    }

    fn write(&self, values: &[D::Elem], vector: &mut DeferredVector<D::Vector>) -> Result<(), Error> {
        vector.check_len("vector", values.len())?;
        let (values, out) = (values.to_vec(), vector.share());
        self.enqueue(move |backend| out.write(|vector| backend.write(&values, vector)));
        Ok(())
    }

    fn write_reduced(&self, values: &[f64], reduced: &mut DeferredVector<D::Reduced>) -> Result<(), Error> {
        reduced.check_len("reduced vector", values.len())?;
        let (values, out) = (values.to_vec(), reduced.share());
        self.enqueue(move |backend| out.write(|reduced| backend.write_reduced(&values, reduced)));
        Ok(())
    }

    fn fill(&self, value: f64, vector: &mut DeferredVector<D::Vector>) -> Result<(), Error> {
        let out = vector.share();
        self.enqueue(move |backend| out.write(|vector| backend.fill(value, vector)));
        Ok(())
    }

    fn shape(&self, vector: &DeferredVector<D::Vector>) -> (usize, usize) {
        vector.shape()
    }

    fn reduced_len(&self, reduced: &DeferredVector<D::Reduced>) -> usize {
        reduced.shape().1
    }

    fn map(
        &self,
        program: &Program,
        operands: &[Operand<'_, DeferredDevice<D>>],
        outputs: &mut [&mut DeferredVector<D::Vector>],
    ) -> Result<(), Error> {
        let (program, operands) = (program.clone(), RecordedOperand::record(operands));
        let outputs: Vec<_> = outputs.iter().map(|output| output.share()).collect();
        self.enqueue(move |backend| {
            RecordedOperand::check_outputs(&operands, &outputs)?;
            let operands = RecordedOperand::read(&operands)?;
            DeferredVector::write_all(&outputs, |outputs| {
                let operands: Vec<_> = operands.iter().map(|operand| operand.view()).collect();
                backend.map(&program, &operands, outputs)
            })
        });
        Ok(())
    }

    fn reduce(
        &self,
        program: &Program,
        fold: Fold,
        rows: usize,
        operands: &[Operand<'_, DeferredDevice<D>>],
        outputs: &mut [&mut DeferredVector<D::Reduced>],
    ) -> Result<(), Error> {
        let (program, operands) = (program.clone(), RecordedOperand::record(operands));
        let outputs: Vec<_> = outputs.iter().map(|output| output.share()).collect();
        self.enqueue(move |backend| {
            let operands = RecordedOperand::read(&operands)?;
            DeferredVector::write_all(&outputs, |outputs| {
                let operands: Vec<_> = operands.iter().map(|operand| operand.view()).collect();
                backend.reduce(&program, fold, rows, &operands, outputs)
            })
        });
        Ok(())
    }

    fn map_reduced(
        &self,
        program: &Program,
        operands: &[Operand<'_, DeferredDevice<D>>],
        outputs: &mut [&mut DeferredVector<D::Reduced>],
    ) -> Result<(), Error> {
        let (program, operands) = (program.clone(), RecordedOperand::record(operands));
        let outputs: Vec<_> = outputs.iter().map(|output| output.share()).collect();
        self.enqueue(move |backend| {
            RecordedOperand::check_outputs(&operands, &outputs)?;
            let operands = RecordedOperand::read(&operands)?;
            DeferredVector::write_all(&outputs, |outputs| {
                let operands: Vec<_> = operands.iter().map(|operand| operand.view()).collect();
                backend.map_reduced(&program, &operands, outputs)
            })
        });
        Ok(())
    }

    fn mix(
        &self,
        vector: &DeferredVector<D::Vector>,
        matrix: &[f64],
        out: &mut DeferredVector<D::Vector>,
    ) -> Result<(), Error> {
        let (vector, matrix, out) = (vector.share(), matrix.to_vec(), out.share());
        self.enqueue(move |backend| {
            let vector = vector.read()?;
            out.write(|out| backend.mix(&vector, &matrix, out))
        });
        Ok(())
    }

    fn copy(&self, vector: &DeferredVector<D::Vector>, out: &mut DeferredVector<D::Vector>) -> Result<(), Error> {
        let (vector, out) = (vector.share(), out.share());
        self.enqueue(move |backend| {
            let vector = vector.read()?;
            out.write(|out| backend.copy(&vector, out))
        });
        Ok(())
    }

    fn read(&self, reduced: &[&DeferredVector<D::Reduced>]) -> Result<Vec<Vec<f64>>, Error> {
        self.flush()?;
        let numbers = reduced.iter().map(|reduced| reduced.read()).collect::<Result<Vec<_>, _>>()?;
        self.inner.read(&numbers.iter().map(|numbers| &**numbers).collect::<Vec<_>>())
    }

    fn download(&self, vectors: &[&DeferredVector<D::Vector>]) -> Result<Vec<Vec<D::Elem>>, Error> {
        self.flush()?;
        let values = vectors.iter().map(|vector| vector.read()).collect::<Result<Vec<_>, _>>()?;
        self.inner.download(&values.iter().map(|values| &**values).collect::<Vec<_>>())
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

impl<D: Device> Clone for Deferred<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), queue: Arc::clone(&self.queue) }
    }
}

impl<D: Device> fmt::Debug for Deferred<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Deferred").field(&self.inner).finish()
    }
}

/// A lock, even after a panic in another thread.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
