//! One pass over a tensor: sums along all lines of its first axis, which becomes the last.
//!
//! Lines of the first axis stand side by side in memory. A few neighbours are read together, whole cache lines at a time,
//! into a tile where each is contiguous; the sums of a line are written where the next pass finds its axis first. So
//! after as many passes as axes the order of the axes is what it was, and no pass strides through memory.

use std::sync::{Mutex, PoisonError};

use ot_core::{HostBackend, host::for_each_chunk};

use crate::{
    backend::CpuBackend,
    geometry::{CpuScalar, memory::Pool, rows::TASKS},
    simd::{LINE_PADDING, LineCost, LineCounts, LineScratch},
};

/// Bytes of a row of a tile.
const ROW_BYTES: usize = 64;

/// The logarithm of no mass, in lines.
pub(super) const DARK: f64 = ot_core::LOG_ZERO;

/// What a thread works with while it is at some lines.
#[derive(Debug)]
pub(super) struct Workspace<T> {
    tile: Vec<T>,
    scratch: LineScratch<T>,
}

impl<T: CpuScalar> Workspace<T> {
    /// For lines of up to so many inputs and outputs.
    pub(super) fn new(inputs: usize, outputs: usize) -> Self {
        let tile = vec![T::default(); (inputs + LINE_PADDING) * lines_of_tile::<T>()];
        Self { tile, scratch: LineScratch::new(inputs, outputs) }
    }
}

/// Lines that are read together.
fn lines_of_tile<T>() -> usize {
    ROW_BYTES / size_of::<T>()
}

/// The lines of one axis.
pub(super) struct Pass<'a, T> {
    pub(super) backend: &'a CpuBackend<T>,
    pub(super) workspaces: &'a Pool<Workspace<T>>,
    pub(super) counts: &'a Mutex<LineCounts>,
    pub(super) cost: &'a LineCost<T>,
    /// Tensors, and lines of each.
    pub(super) tensors: usize,
    pub(super) lines: usize,
    /// Is each term multiplied by its cost, over epsilon and above the least?
    pub(super) times_cost: bool,
}

impl<T: CpuScalar> Pass<'_, T> {
    /// Runs over some tensors: `read(tensor, start, row)` fills a row from the inputs of a tensor, `outputs` are the
    /// tensors of the sums, `finish(tensor, start, sums)` changes sums from place `start` on before they are left there.
    pub(super) fn run<'o>(
        &self,
        read: impl Fn(usize, usize, &mut [T]) + Sync,
        outputs: impl Iterator<Item = &'o mut [T]> + Send,
        finish: impl Fn(usize, usize, &mut [T]) + Sync,
    ) {
        let (width, inner) = (lines_of_tile::<T>(), self.cost.outputs());
        let task = self.lines.div_ceil(TASKS).next_multiple_of(width);
        let tasks = self.lines.div_ceil(task);
        let pieces = outputs.flat_map(|output| output.chunks_mut(task * inner));
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            self.tensors * tasks,
            pieces,
            |index, piece| {
                let (tensor, first) = (index / tasks, index % tasks * task);
                let mut workspace = self.workspaces.take();
                let mut counts = LineCounts::default();
                for (tile, sums) in piece.chunks_mut(width * inner).enumerate() {
                    let start = first + tile * width;
                    self.tile(tensor, start, &read, sums, &mut workspace, &mut counts);
                    finish(tensor, start * inner, sums);
                }
                self.workspaces.put(workspace);
                *self.counts.lock().unwrap_or_else(PoisonError::into_inner) += counts;
            },
        );
    }

    /// The sums of a few neighbouring lines.
    fn tile(
        &self,
        tensor: usize,
        start: usize,
        read: &impl Fn(usize, usize, &mut [T]),
        sums: &mut [T],
        workspace: &mut Workspace<T>,
        counts: &mut LineCounts,
    ) {
        let (inputs, outputs) = (self.cost.inputs(), self.cost.outputs());
        let (lines, stride) = (sums.len() / outputs, inputs + LINE_PADDING);
        let Workspace { tile, scratch } = workspace;
        let mut row = [T::default(); ROW_BYTES / size_of::<f32>()];
        let row = &mut row[..lines];
        for input in 0..inputs {
            read(tensor, input * self.lines + start, row);
            for (line, &value) in row.iter().enumerate() {
                tile[line * stride + input] = value;
            }
        }
        for (line, sums) in tile.chunks_exact_mut(stride).zip(sums.chunks_exact_mut(outputs)) {
            line[inputs..].fill(T::from_f64(DARK));
            T::log_sums(self.cost, line, self.times_cost, sums, scratch, counts);
        }
    }
}
