//! Memory of kernels, allocated once.

use std::sync::{Mutex, PoisonError};

use ot_core::Error;

use super::CpuScalar;

/// Zeros of which no page is touched yet, so that the threads that fill them do, or a typed error.
pub(super) fn zeroed<T: CpuScalar>(len: usize, what: &'static str) -> Result<Vec<T>, Error> {
    let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
    Vec::<T>::new().try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what, bytes })?;
    Ok(vec![T::default(); len])
}

/// What threads work with, one item for each.
#[derive(Debug)]
pub(super) struct Pool<N>(pub(super) Mutex<Vec<N>>);

impl<N> Pool<N> {
    /// Takes an item, which is to be [put](Self::put) back: no thread holds more than one.
    pub(super) fn take(&self) -> N {
        let item = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        item.expect("there are as many items as threads")
    }

    pub(super) fn put(&self, item: N) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(item);
    }
}
