//! What went wrong on a device, kept until a read tells it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use ot_core::{BackendFailure, Error};

/// The failures of a device. A loss is told by every read from then on, any other failure by the next read.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    loss: Mutex<Option<String>>,
    other: Mutex<Option<BackendFailure>>,
}

impl Failures {
    /// The device is gone; the first reason is kept.
    pub(crate) fn lose(&self, reason: impl Into<String>) {
        lock(&self.loss).get_or_insert_with(|| reason.into());
    }

    /// Something failed; the first failure is kept.
    pub(crate) fn record(&self, failure: BackendFailure) {
        lock(&self.other).get_or_insert(failure);
    }

    /// Is the device gone?
    pub(crate) fn check_loss(&self) -> Result<(), Error> {
        match &*lock(&self.loss) {
            Some(reason) => Err(BackendFailure::DeviceLost(reason.clone()).into()),
            None => Ok(()),
        }
    }

    /// Tells what failed since the last call.
    pub(crate) fn tell(&self) -> Result<(), Error> {
        self.check_loss()?;
        lock(&self.other).take().map_or(Ok(()), |failure| Err(failure.into()))
    }
}

/// Locks whatever a panic may have left: nothing here is half-written between two statements that can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_told_for_ever_and_other_failures_once() {
        let failures = Failures::default();
        assert_eq!(failures.tell(), Ok(()));
        failures.record(BackendFailure::Device("first".into()));
        failures.record(BackendFailure::Device("second".into()));
        assert_eq!(failures.tell(), Err(BackendFailure::Device("first".into()).into()));
        assert_eq!(failures.tell(), Ok(()));
        failures.lose("unplugged");
        let lost = Err(BackendFailure::DeviceLost("unplugged".into()).into());
        assert_eq!((failures.tell(), failures.tell()), (lost.clone(), lost));
    }
}
