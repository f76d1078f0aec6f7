//! Vectors on the device: pieces of its one buffer of words.

use std::marker::PhantomData;

use crate::{
    device::{Computed, Wgpu, WgpuDevice},
    gpu::Chunk,
};

/// A matrix of rows x columns, column after column: in single precision, or in pairs of numbers of single precision.
#[derive(Debug)]
pub struct DeviceVector<D = Wgpu> {
    chunk: Chunk,
    rows: usize,
    columns: usize,
    device: PhantomData<fn() -> D>,
}

impl<D: WgpuDevice> DeviceVector<D> {
    pub(crate) fn new(chunk: Chunk, [rows, columns]: [usize; 2]) -> Self {
        Self { chunk, rows, columns, device: PhantomData }
    }

    /// Number of entries.
    pub(crate) fn entries(&self) -> usize {
        self.rows * self.columns
    }

    /// The index of the first word.
    pub(crate) fn start(&self) -> u32 {
        self.chunk.start()
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of words.
    pub(crate) fn words(&self) -> usize {
        self.entries() * D::ARITHMETIC.words()
    }
}

/// Numbers as unevaluated sums of two of single precision, which together have 48 bits: one for each column of a batch.
#[derive(Debug)]
pub struct DeviceReduced {
    chunk: Chunk,
    len: usize,
}

impl DeviceReduced {
    pub(crate) fn new(chunk: Chunk, len: usize) -> Self {
        Self { chunk, len }
    }

    /// The index of the first word.
    pub(crate) fn start(&self) -> u32 {
        self.chunk.start()
    }

    /// Number of numbers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of words.
    pub(crate) fn words(&self) -> usize {
        2 * self.len
    }
}
