//! The memory of passes over one column.

use std::{ops::Range, sync::Mutex};

use ot_core::{Error, Side, program::Registers};

use super::super::{
    cost::{BlockCost, LEAF},
    placed::gather,
};
use crate::geometry::{
    CpuScalar,
    guard::reachable,
    memory::{Pool, zeroed},
    rows::{BLOCK, CostRows, TASKS, TILE, most_tasks},
    steps::Tally,
};

/// The fewest entries that a thread has space for.
const ENTRIES: usize = 1 << 18;

/// The memory of passes over one column, allocated once.
#[derive(Debug)]
pub(in super::super) struct Scratch<T> {
    pub(super) sides: [Placed<T>; 2],
    /// Weights around a centre.
    pub(super) weights: Vec<T>,
    /// Softmins or new potentials.
    pub(super) staged: Vec<T>,
    /// Sums of the columns, for each task.
    pub(super) sums: Vec<f64>,
    pub(super) tallies: Vec<Tally>,
    pub(super) workspaces: Pool<Box<Workspace<T>>>,
}

/// One side of a column in the order of its tree.
#[derive(Debug)]
pub(super) struct Placed<T> {
    pub(super) potential: Vec<T>,
    /// The potential with 0 for atoms that nothing reaches: what entries are centred at.
    pub(super) centre: Vec<T>,
    pub(super) weights: Vec<T>,
    pub(super) log_weights: Vec<T>,
}

/// What a thread works with while it is at a task.
#[derive(Debug)]
pub(super) struct Workspace<T> {
    pub(super) entries: Vec<T>,
    pub(super) partners: Vec<Range<usize>>,
    /// Those of rows that begin again.
    pub(super) anew: Vec<Range<usize>>,
    pub(super) tile: [T; BLOCK * TILE],
    pub(super) registers: Registers<T>,
}

impl<T: CpuScalar> Scratch<T> {
    pub(in super::super) fn new(cost: &BlockCost<T>, threads: usize) -> Result<Self, Error> {
        let [rows, others] = Side::BOTH.map(|side| cost.len(side));
        let what = "scratch of a kernel";
        let placed = |len: usize| -> Result<Placed<T>, Error> {
            let [potential, centre, weights, log_weights] =
                [zeroed(len, what), zeroed(len, what), zeroed(len, what), zeroed(len, what)];
            Ok(Placed { potential: potential?, centre: centre?, weights: weights?, log_weights: log_weights? })
        };
        let mut workspaces = Vec::with_capacity(threads);
        for _ in 0..threads {
            workspaces.push(Box::new(Workspace {
                entries: zeroed(ENTRIES.min(LEAF * others).max(BLOCK / 2 * others), what)?,
                partners: Vec::new(),
                anew: Vec::new(),
                tile: [T::default(); BLOCK * TILE],
                registers: Registers::new(),
            }));
        }
        Ok(Self {
            sides: [placed(rows)?, placed(others)?],
            weights: zeroed(rows.max(others), what)?,
            staged: zeroed(rows.max(others), what)?,
            sums: zeroed(most_tasks(others) * others, what)?,
            tallies: vec![Tally::default(); TASKS],
            workspaces: Pool(Mutex::new(workspaces)),
        })
    }
}

impl<T: CpuScalar> Placed<T> {
    /// Copies potential, weights and their logarithms to their places.
    pub(super) fn write(&mut self, order: &[u32], [potential, weights, log_weights]: [&[T]; 3]) {
        gather(order, potential, &mut self.potential);
        gather(order, weights, &mut self.weights);
        gather(order, log_weights, &mut self.log_weights);
        for (centre, &potential) in self.centre.iter_mut().zip(&self.potential) {
            *centre = reachable(potential);
        }
    }

    pub(super) fn mass(&self) -> f64 {
        self.weights.iter().map(|weight| weight.to_f64()).sum()
    }
}
