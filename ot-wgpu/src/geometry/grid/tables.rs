//! The costs of the axes in the memory of a device.

use std::sync::Arc;

use ot_core::{Error, Side, cost::GridCosts};

use super::super::row_pass::MAX_STEPS;
use crate::gpu::{Chunk, Gpu};

/// Words of the largest table of an axis.
const MAX_TABLE: usize = 1 << 26;

/// Words of the tensors of one launch, about.
const MAX_TENSORS: usize = 1 << 24;

/// The most columns of one launch.
const MAX_LISTED: usize = 256;

/// The cost of each axis as a table, once for either side.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) gpu: Arc<Gpu>,
    pub(super) costs: GridCosts,
    /// For each axis and side the costs between the nodes of the opposite side, which lead, and its own.
    tables: Vec<[Chunk; 2]>,
}

/// The lines of one axis of a tensor, seen from a side: each has `others` entering nodes and `own` leaving ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    pub(super) axis: usize,
    pub(super) own: usize,
    pub(super) others: usize,
    /// Nodes along the axes before, which have been summed over, and along those behind.
    pub(super) outer: usize,
    pub(super) inner: usize,
    /// Where the costs of the axis start.
    pub(super) table: u32,
}

impl Lines {
    /// The nodes of the tensor that leaves.
    pub(super) fn leaving(&self) -> usize {
        self.outer * self.own * self.inner
    }
}

impl Tables {
    /// Are axes of these lengths short enough for loops of a shader, and is their table small enough?
    pub(super) fn fit([n, m]: [usize; 2]) -> bool {
        n.max(m) <= MAX_STEPS && n.saturating_mul(m) <= MAX_TABLE
    }

    pub(super) fn new(gpu: &Arc<Gpu>, costs: GridCosts) -> Result<Self, Error> {
        let mut tables = Vec::with_capacity(costs.axes().len());
        for axis in costs.axes() {
            let upload = |side: Side| {
                let (own, others) = (axis.len(side), axis.len(side.opposite()));
                let entry = |at: usize| (axis.between(side, at % own, at / own) as f32).to_bits();
                gpu.upload(&(0..own * others).map(entry).collect::<Vec<u32>>(), "costs of an axis")
            };
            tables.push([upload(Side::Source)?, upload(Side::Target)?]);
        }
        Ok(Self { gpu: Arc::clone(gpu), costs, tables })
    }

    /// The lines of all axes, for sums over the nodes of the opposite side.
    pub(super) fn lines(&self, side: Side) -> Vec<Lines> {
        let axes = self.costs.axes();
        let lines = |axis: usize| Lines {
            axis,
            own: axes[axis].len(side),
            others: axes[axis].len(side.opposite()),
            outer: axes[..axis].iter().map(|axis| axis.len(side)).product(),
            inner: axes[axis + 1..].iter().map(|axis| axis.len(side.opposite())).product(),
            table: self.tables[axis][side.index()].start(),
        };
        (0..axes.len()).map(lines).collect()
    }

    /// The nodes of the largest tensor between the passes for a side.
    pub(super) fn largest(&self, side: Side) -> usize {
        let leaving = self.lines(side).iter().map(Lines::leaving).max().unwrap_or(1);
        leaving.max(self.costs.len(side.opposite()))
    }

    /// Tensors that go through a pass together.
    pub(super) fn listed(&self, side: Side) -> usize {
        (MAX_TENSORS / self.largest(side)).clamp(1, MAX_LISTED)
    }
}
