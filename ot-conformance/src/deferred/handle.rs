//! Handles of vectors, which know whether anybody wrote them.

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use ot_core::{Device, Error, Operand, host::unwritten};

use super::DeferredDevice;

/// A vector or a reduced vector of a [`Deferred`](super::Deferred) backend: a handle, and a shape.
pub struct DeferredVector<V> {
    slot: Arc<RwLock<Slot<V>>>,
    shape: (usize, usize),
}

/// What a handle stands for, and whether anybody wrote it.
struct Slot<V> {
    value: V,
    is_written: bool,
}

impl<V> DeferredVector<V> {
    pub(super) fn new(value: V, shape: (usize, usize)) -> Self {
        Self { slot: Arc::new(RwLock::new(Slot { value, is_written: false })), shape }
    }

    /// Another handle, for an operation that waits.
    pub(super) fn share(&self) -> Self {
        Self { slot: Arc::clone(&self.slot), shape: self.shape }
    }

    pub(super) fn shape(&self) -> (usize, usize) {
        self.shape
    }

    /// Refuses another number of values.
    pub(super) fn check_len(&self, what: &'static str, found: usize) -> Result<(), Error> {
        match self.shape.0 * self.shape.1 {
            expected if expected == found => Ok(()),
            expected => Err(Error::Length { what, expected, found }),
        }
    }

    /// The vector, if somebody wrote it.
    pub(super) fn read(&self) -> Result<Written<'_, V>, Error> {
        let slot = self.slot.read().unwrap_or_else(PoisonError::into_inner);
        if slot.is_written { Ok(Written(slot)) } else { Err(unwritten()) }
    }

    /// Writes the vector.
    pub(super) fn write(&self, job: impl FnOnce(&mut V) -> Result<(), Error>) -> Result<(), Error> {
        let mut slot = self.lock();
        job(&mut slot.value)?;
        slot.is_written = true;
        Ok(())
    }

    /// Writes vectors by one job.
    pub(super) fn write_all(
        handles: &[Self],
        job: impl FnOnce(&mut [&mut V]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut slots: Vec<_> = handles.iter().map(Self::lock).collect();
        job(&mut slots.iter_mut().map(|slot| &mut slot.value).collect::<Vec<_>>())?;
        slots.iter_mut().for_each(|slot| slot.is_written = true);
        Ok(())
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Slot<V>> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> fmt::Debug for DeferredVector<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DeferredVector").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// A vector that somebody wrote.
pub(super) struct Written<'a, V>(RwLockReadGuard<'a, Slot<V>>);

impl<V> Deref for Written<'_, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0.value
    }
}

/// An operand by its handle.
pub(super) enum RecordedOperand<D: Device> {
    Vector(DeferredVector<D::Vector>),
    Reduced(DeferredVector<D::Reduced>),
    Constant(f64),
    Output(usize),
}

/// An operand that somebody wrote.
pub(super) enum WrittenOperand<'a, D: Device> {
    Vector(Written<'a, D::Vector>),
    Reduced(Written<'a, D::Reduced>),
    Constant(f64),
    Output(usize),
}

impl<D: Device> RecordedOperand<D> {
    pub(super) fn record(operands: &[Operand<'_, DeferredDevice<D>>]) -> Vec<Self> {
        let record = |operand: &Operand<'_, DeferredDevice<D>>| match *operand {
            Operand::Vector(vector) => Self::Vector(vector.share()),
            Operand::Reduced(reduced) => Self::Reduced(reduced.share()),
            Operand::Constant(value) => Self::Constant(value),
            Operand::Output(index) => Self::Output(index),
        };
        operands.iter().map(record).collect()
    }

    /// Fails if an operation reads an output that was not written.
    pub(super) fn check_outputs<V>(operands: &[Self], outputs: &[DeferredVector<V>]) -> Result<(), Error> {
        operands.iter().try_for_each(|operand| match operand {
            Self::Output(index) => outputs.get(*index).map_or(Ok(()), |output| output.read().map(drop)),
            _ => Ok(()),
        })
    }

    pub(super) fn read(operands: &[Self]) -> Result<Vec<WrittenOperand<'_, D>>, Error> {
        let read = |operand| {
            Ok(match operand {
                &Self::Constant(value) => WrittenOperand::Constant(value),
                &Self::Output(index) => WrittenOperand::Output(index),
                Self::Vector(vector) => WrittenOperand::Vector(vector.read()?),
                Self::Reduced(reduced) => WrittenOperand::Reduced(reduced.read()?),
            })
        };
        operands.iter().map(read).collect()
    }
}

impl<D: Device> WrittenOperand<'_, D> {
    pub(super) fn view(&self) -> Operand<'_, D> {
        match self {
            Self::Vector(vector) => Operand::Vector(&**vector),
            Self::Reduced(reduced) => Operand::Reduced(&**reduced),
            &Self::Constant(value) => Operand::Constant(value),
            &Self::Output(index) => Operand::Output(index),
        }
    }
}
