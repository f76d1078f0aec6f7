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
    simd::{LINE_PADDING, LineCost, LineCounts, LineScratch, lines_of_tile},
};

/// The fewest lines of a tile that go side by side, of [`lines_of_tile`].
const FEWEST_SIDE_BY_SIDE: usize = 4;

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
        let lines = sums.len() / self.cost.outputs();
        let read = |input: usize, row: &mut [T]| read(tensor, input * self.lines + start, row);
        let is_wide = lines >= FEWEST_SIDE_BY_SIDE && self.cost.goes_side_by_side(self.times_cost);
        match self.cost {
            LineCost::Squares(squares) if is_wide => {
                fill(&mut workspace.tile, self.cost.inputs(), lines, read);
                let Workspace { tile, scratch } = workspace;
                T::log_sums_side_by_side(squares, tile, self.times_cost, sums, scratch, counts);
            }
            LineCost::Distances(distances) => {
                fill(&mut workspace.tile, self.cost.inputs(), lines, read);
                let Workspace { tile, scratch } = workspace;
                T::log_sums_of_distances(distances, tile, self.times_cost, sums, scratch, counts);
            }
            _ => self.one_by_one(lines, read, sums, workspace, counts),
        }
    }

    /// Each line by itself.
    fn one_by_one(
        &self,
        lines: usize,
        read: impl Fn(usize, &mut [T]),
        sums: &mut [T],
        workspace: &mut Workspace<T>,
        counts: &mut LineCounts,
    ) {
        let (inputs, outputs) = (self.cost.inputs(), self.cost.outputs());
        let stride = inputs + LINE_PADDING;
        let Workspace { tile, scratch } = workspace;
        let mut row = [T::default(); lines_of_tile::<f32>()];
        let row = &mut row[..lines];
        for input in 0..inputs {
            read(input, row);
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

/// Fills a tile whose lines go side by side: an input of all of them after the other, and inputs without mass.
fn fill<T: CpuScalar>(tile: &mut [T], inputs: usize, lines: usize, read: impl Fn(usize, &mut [T])) {
    let (width, dark) = (lines_of_tile::<T>(), T::from_f64(DARK));
    let (rows, padding) = tile.split_at_mut(inputs * width);
    match width {
        _ if lines < width => fill_partly(rows, width, lines, &read),
        8 => fill_rows::<T, 8>(rows, read),
        _ => fill_rows::<T, 16>(rows, read),
    }
    padding[..LINE_PADDING * width].fill(dark);
}

/// Rows of a width that is known to the compiler.
#[inline(always)]
fn fill_rows<T: CpuScalar, const WIDTH: usize>(rows: &mut [T], read: impl Fn(usize, &mut [T])) {
    for (input, row) in rows.as_chunks_mut::<WIDTH>().0.iter_mut().enumerate() {
        read(input, row);
    }
}

/// Rows of fewer lines than go side by side.
fn fill_partly<T: CpuScalar>(rows: &mut [T], width: usize, lines: usize, read: &dyn Fn(usize, &mut [T])) {
    for (input, row) in rows.chunks_exact_mut(width).enumerate() {
        let (row, absent) = row.split_at_mut(lines);
        read(input, row);
        absent.fill(T::from_f64(DARK));
    }
}
