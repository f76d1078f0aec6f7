//! The vectors behind the handles, and the operations that wait for a read.

use std::collections::HashMap;

use super::Deferred;
use crate::{
    backend::{HostBackend, Operand},
    error::Error,
    host::unwritten,
};

/// The name of a vector or a reduced vector.
pub(super) type Id = u64;

/// Something to be done at a read.
pub(super) type Operation<B> = Box<dyn FnOnce(&mut Store<B>) -> Result<(), Error> + Send>;

/// What waits, in order.
pub(super) struct Queue<B: HostBackend> {
    store: Store<B>,
    waiting: Vec<Entry<B>>,
}

/// An operation, or a vector that is no longer needed after those before it.
enum Entry<B: HostBackend> {
    Operation(Operation<B>),
    Forget(Id),
}

impl<B: HostBackend> Queue<B> {
    pub(super) fn new(backend: B) -> Self {
        let store = Store { backend, next: 0, vectors: HashMap::new(), reduced: HashMap::new() };
        Self { store, waiting: Vec::new() }
    }

    pub(super) fn store(&mut self) -> &mut Store<B> {
        &mut self.store
    }

    pub(super) fn pending(&self) -> usize {
        self.waiting.iter().filter(|entry| matches!(entry, Entry::Operation(_))).count()
    }

    pub(super) fn push(&mut self, operation: Operation<B>) {
        self.waiting.push(Entry::Operation(operation));
    }

    pub(super) fn forget(&mut self, id: Id) {
        self.waiting.push(Entry::Forget(id));
    }

    /// Does what waits, up to the first failure, and then reads.
    pub(super) fn run<R>(&mut self, read: impl FnOnce(&mut Store<B>) -> Result<R, Error>) -> Result<R, Error> {
        let mut outcome = Ok(());
        for entry in self.waiting.drain(..) {
            match entry {
                Entry::Operation(operation) if outcome.is_ok() => outcome = operation(&mut self.store),
                Entry::Operation(_) => {}
                Entry::Forget(id) => self.store.remove(id),
            }
        }
        outcome?;
        read(&mut self.store)
    }
}

/// A vector, and whether anybody wrote it.
struct Slot<V> {
    value: V,
    written: bool,
}

/// All vectors by name.
pub(super) struct Store<B: HostBackend> {
    pub(super) backend: B,
    next: Id,
    vectors: HashMap<Id, Slot<B::Vector>>,
    reduced: HashMap<Id, Slot<B::Reduced>>,
}

impl<B: HostBackend> Store<B> {
    fn name(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    pub(super) fn insert_vector(&mut self, value: B::Vector) -> Id {
        let id = self.name();
        self.vectors.insert(id, Slot { value, written: false });
        id
    }

    pub(super) fn insert_reduced(&mut self, value: B::Reduced) -> Id {
        let id = self.name();
        self.reduced.insert(id, Slot { value, written: false });
        id
    }

    fn remove(&mut self, id: Id) {
        self.vectors.remove(&id);
        self.reduced.remove(&id);
    }

    /// A vector that somebody wrote.
    pub(super) fn vector(&self, id: Id) -> Result<&B::Vector, Error> {
        self.vectors.get(&id).filter(|slot| slot.written).map(|slot| &slot.value).ok_or_else(unwritten)
    }

    /// A reduced vector that somebody wrote.
    pub(super) fn reduced(&self, id: Id) -> Result<&B::Reduced, Error> {
        self.reduced.get(&id).filter(|slot| slot.written).map(|slot| &slot.value).ok_or_else(unwritten)
    }

    /// Writes a vector.
    pub(super) fn write_vector(
        &mut self,
        id: Id,
        job: impl FnOnce(&B, &mut B::Vector) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.with_vectors(&[id], |store, outputs| job(&store.backend, outputs[0]))
    }

    /// Writes vectors by a job that reads others: the outputs leave the store for the time of it.
    pub(super) fn with_vectors(
        &mut self,
        ids: &[Id],
        job: impl FnOnce(&Self, &mut [&mut B::Vector]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut slots = Vec::with_capacity(ids.len());
        for id in ids {
            slots.push(self.vectors.remove(id).ok_or_else(unwritten)?);
        }
        let mut outputs: Vec<&mut B::Vector> = slots.iter_mut().map(|slot| &mut slot.value).collect();
        let done = job(self, &mut outputs);
        for (id, slot) in ids.iter().zip(slots) {
            self.vectors.insert(*id, Slot { written: slot.written || done.is_ok(), ..slot });
        }
        done
    }

    /// [`with_vectors`](Self::with_vectors) for reduced ones.
    pub(super) fn with_reduced(
        &mut self,
        ids: &[Id],
        job: impl FnOnce(&Self, &mut [&mut B::Reduced]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut slots = Vec::with_capacity(ids.len());
        for id in ids {
            slots.push(self.reduced.remove(id).ok_or_else(unwritten)?);
        }
        let mut outputs: Vec<&mut B::Reduced> = slots.iter_mut().map(|slot| &mut slot.value).collect();
        let done = job(self, &mut outputs);
        for (id, slot) in ids.iter().zip(slots) {
            self.reduced.insert(*id, Slot { written: slot.written || done.is_ok(), ..slot });
        }
        done
    }

    /// Vectors and reduced ones written by one job.
    pub(super) fn with_outputs(
        &mut self,
        vectors: &[Id],
        reduced: &[Id],
        job: impl FnOnce(&Self, &mut [&mut B::Vector], &mut [&mut B::Reduced]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut slots = Vec::with_capacity(reduced.len());
        for id in reduced {
            slots.push(self.reduced.remove(id).ok_or_else(unwritten)?);
        }
        let mut outputs: Vec<&mut B::Reduced> = slots.iter_mut().map(|slot| &mut slot.value).collect();
        let done = self.with_vectors(vectors, |store, vectors| job(store, vectors, &mut outputs));
        for (id, slot) in reduced.iter().zip(slots) {
            self.reduced.insert(*id, Slot { written: slot.written || done.is_ok(), ..slot });
        }
        done
    }

    /// Fails if an operation reads an output that nobody wrote.
    pub(super) fn check_written(&self, operands: &[RecordedOperand], outputs: &[Id]) -> Result<(), Error> {
        for operand in operands {
            if let RecordedOperand::Output(index) = operand {
                let id = outputs.get(*index).copied().unwrap_or_default();
                if self.vector(id).is_err() && self.reduced(id).is_err() {
                    return Err(unwritten());
                }
            }
        }
        Ok(())
    }

    /// The operands, to be read by the wrapped backend.
    pub(super) fn operands<'a>(&'a self, recorded: &[RecordedOperand]) -> Result<Vec<Operand<'a, B>>, Error> {
        let operand = |operand: &RecordedOperand| {
            Ok(match *operand {
                RecordedOperand::Vector(id) => Operand::Vector(self.vector(id)?),
                RecordedOperand::Reduced(id) => Operand::Reduced(self.reduced(id)?),
                RecordedOperand::Constant(value) => Operand::Constant(value),
                RecordedOperand::Output(index) => Operand::Output(index),
            })
        };
        recorded.iter().map(operand).collect()
    }
}

/// An [`Operand`] by name.
#[derive(Clone, Copy)]
pub(super) enum RecordedOperand {
    Vector(Id),
    Reduced(Id),
    Constant(f64),
    Output(usize),
}

impl RecordedOperand {
    pub(super) fn of<B: HostBackend>(operands: &[Operand<'_, Deferred<B>>]) -> Vec<Self> {
        let recorded = |operand: &Operand<'_, Deferred<B>>| match *operand {
            Operand::Vector(vector) => Self::Vector(vector.id),
            Operand::Reduced(reduced) => Self::Reduced(reduced.id),
            Operand::Constant(value) => Self::Constant(value),
            Operand::Output(index) => Self::Output(index),
        };
        operands.iter().map(recorded).collect()
    }
}
