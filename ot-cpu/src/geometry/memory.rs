//! Memory of kernels, allocated once.

use std::sync::{Mutex, PoisonError};

pub(super) use ot_core::host::try_zeros as zeroed;

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
