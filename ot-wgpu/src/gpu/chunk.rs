//! A piece of the buffer of words that somebody holds.

use std::{fmt, sync::Arc};

use super::{Gpu, free_list::Piece};

/// Some words of the buffer of a device, given back when dropped. The device may use them for something else at once:
/// its queue keeps the order.
pub(crate) struct Chunk {
    gpu: Arc<Gpu>,
    piece: Piece,
}

impl Chunk {
    pub(crate) fn new(gpu: Arc<Gpu>, piece: Piece) -> Self {
        Self { gpu, piece }
    }

    /// The index of the first word.
    pub(crate) fn start(&self) -> u32 {
        self.piece.start
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        self.gpu.give(self.piece);
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.piece.fmt(formatter)
    }
}
