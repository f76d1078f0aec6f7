//! Disjoint pieces of slices handed to parallel tasks, safely.

use std::sync::{Mutex, PoisonError};

/// Calls `job(index, piece)` for every item of `pieces` (mutable chunks of a slice, say), through
/// `parallel(tasks, task)`, which calls `task` for each index below `tasks`, on any thread.
///
/// Which worker gets which piece is up to the workers; what is done with a piece depends on its
/// index alone. Nothing is allocated.
pub fn for_each_chunk<Piece: Send>(
    parallel: impl FnOnce(usize, &(dyn Fn(usize) + Sync)),
    tasks: usize,
    pieces: impl Iterator<Item = Piece> + Send,
    job: impl Fn(usize, Piece) + Sync,
) {
    let queue = Mutex::new(pieces.enumerate());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    parallel(tasks, &|_| {
        if let Some((index, piece)) = next() {
            job(index, piece);
        }
    });
}
