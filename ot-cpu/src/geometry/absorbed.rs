//! Entries of the Gibbs kernel around a centre: stored for a dense cost, made as they are needed for a streamed one.
//!
//! ```text
//! E_ij = exp((f0_i + g0_j - C_ij) / epsilon)
//! ```
//!
//! The centre (f0, g0) is any pair of potentials near those in use (Schmitzer 2019: absorption). Sums over E that
//! the centre makes untrustworthy are told by a [`Guard`](super::guard::Guard).

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use ot_core::{Error, HostBackend, Side, UNREACHABLE, host::for_each_chunk};

use super::{
    dense::zeroed,
    guard,
    rows::{BLOCK, CostRows, TILE, pieces, task_atoms},
};
use crate::backend::{CpuBackend, CpuScalar};

/// The most rows of a panel.
pub(super) const PANEL: usize = 64;

/// Bytes of stored entries that stay in the second-level cache until they are met again.
const PANEL_BYTES: usize = 1 << 18;

/// Entries around a centre, a panel of source rows at a time.
pub(super) trait Entries<T: CpuScalar>: Sync {
    /// The potential that entries are centred at.
    fn centre(&self, side: Side) -> &[T];

    /// A bound on the entries; infinite if none is known.
    fn largest(&self) -> f64;

    /// Rows of a panel: a multiple of [`BLOCK`] that the shape alone decides.
    fn panel_rows(&self) -> usize;

    /// The entries of some rows, one row after the other, in `buffer` if they are not stored, and their products
    /// with the weights of each column: `sums[k * rows.len() + r]`.
    fn panel<'a>(&'a self, rows: Range<usize>, weights: &[&[T]], sums: &mut [f64], buffer: &'a mut [T]) -> &'a [T];
}

/// The absorbed copy of a stored cost.
#[derive(Debug, Default)]
pub(super) struct Absorbed<T> {
    entries: Vec<T>,
    source: Vec<T>,
    target: Vec<T>,
    largest: f64,
    fresh: bool,
}

impl<T: CpuScalar> Absorbed<T> {
    /// Does the copy belong to the epsilon bound?
    pub(super) fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Forgets the copy, but not its memory.
    pub(super) fn invalidate(&mut self) {
        self.fresh = false;
    }

    /// The largest difference of potentials to the centre. Not a number if one of them is none.
    pub(super) fn drift(&self, source: &[T], target: &[T]) -> f64 {
        let of_side = |potential: &[T], centre: &[T]| {
            let differences = potential.iter().zip(centre).map(|(&a, &b)| (a.to_f64() - b.to_f64()).abs());
            differences.fold(0.0, f64::max)
        };
        of_side(source, &self.source).max(of_side(target, &self.target))
    }

    /// Centres the copy at potentials. Allocates at the first call only.
    pub(super) fn absorb<R: CostRows<T>>(
        &mut self,
        backend: &CpuBackend<T>,
        cost: &R,
        epsilon: f64,
        source: &[T],
        target: &[T],
    ) -> Result<(), Error> {
        if self.entries.is_empty() {
            self.entries = zeroed(source.len().saturating_mul(target.len()), "an absorbed copy of the Gibbs kernel")?;
            self.source = zeroed(source.len(), "a potential")?;
            self.target = zeroed(target.len(), "a potential")?;
        }
        copy_reachable(source, cost.bound(), &mut self.source);
        copy_reachable(target, cost.bound(), &mut self.target);

        let (inverse, unlimited) = (T::from_f64(1.0 / epsilon), T::from_f64(f64::INFINITY));
        let floor = T::from_f64(guard::floor::<T>());
        let (f, g, columns) = (&self.source, &self.target, target.len());
        let task_rows = task_atoms(source.len(), columns);
        let largest = Mutex::new(0.0_f64);
        for_each_chunk(
            |tasks, job| backend.parallel(tasks, job),
            source.len().div_ceil(task_rows),
            self.entries.chunks_mut(task_rows * columns),
            |task, chunk| {
                let mut largest_of_task = T::default();
                for (offset, row) in chunk.chunks_mut(columns).enumerate() {
                    let i = task * task_rows + offset;
                    for others in pieces(0..columns, TILE) {
                        let entries = &mut row[others.clone()];
                        cost.tile(Side::Source, i..i + 1, others.clone(), entries.len(), entries);
                        T::gibbs(f[i], inverse, unlimited, &g[others], entries);
                        for entry in entries {
                            largest_of_task = if *entry > largest_of_task { *entry } else { largest_of_task };
                            *entry = if *entry < floor { T::default() } else { *entry };
                        }
                    }
                }
                let mut largest = largest.lock().unwrap_or_else(PoisonError::into_inner);
                *largest = largest.max(largest_of_task.to_f64());
            },
        );
        self.largest = largest.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.fresh = true;
        Ok(())
    }
}

/// Copies a potential; atoms that nothing reaches get 0, which keeps the entries of the others in range.
fn copy_reachable<T: CpuScalar>(potential: &[T], bound: Option<f64>, centre: &mut [T]) {
    let is_cost_small = bound.is_some_and(|bound| bound < 1e-3 * UNREACHABLE);
    let limit = if is_cost_small { UNREACHABLE / 2.0 } else { f64::INFINITY };
    for (centre, &potential) in centre.iter_mut().zip(potential) {
        *centre = if potential.to_f64().abs() < limit { potential } else { T::default() };
    }
}

impl<T: CpuScalar> Entries<T> for Absorbed<T> {
    fn centre(&self, side: Side) -> &[T] {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    fn largest(&self) -> f64 {
        self.largest
    }

    fn panel_rows(&self) -> usize {
        let rows = PANEL_BYTES / (self.target.len() * size_of::<T>());
        (rows - rows % BLOCK).clamp(BLOCK, PANEL)
    }

    fn panel<'a>(&'a self, rows: Range<usize>, weights: &[&[T]], sums: &mut [f64], _: &'a mut [T]) -> &'a [T] {
        let columns = self.target.len();
        let entries = &self.entries[rows.start * columns..rows.end * columns];
        for (row, entries) in entries.chunks_exact(columns).enumerate() {
            for (k, weights) in weights.iter().enumerate() {
                sums[k * rows.len() + row] = T::dot(entries, weights);
            }
        }
        entries
    }
}

/// Entries of a streamed cost, centred at the potentials in use: of one column.
pub(super) struct Streamed<'a, T, R> {
    pub(super) cost: &'a R,
    pub(super) source: &'a [T],
    pub(super) target: &'a [T],
    pub(super) epsilon: f64,
}

impl<T: CpuScalar, R: CostRows<T>> Entries<T> for Streamed<'_, T, R> {
    fn centre(&self, side: Side) -> &[T] {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }

    fn largest(&self) -> f64 {
        f64::INFINITY
    }

    fn panel_rows(&self) -> usize {
        BLOCK
    }

    fn panel<'a>(&'a self, rows: Range<usize>, weights: &[&[T]], sums: &mut [f64], buffer: &'a mut [T]) -> &'a [T] {
        let columns = self.target.len();
        let entries = &mut buffer[..rows.len() * columns];
        sums.fill(0.0);
        for others in pieces(0..columns, TILE) {
            self.cost.tile(Side::Source, rows.clone(), others.clone(), columns, &mut entries[others.start..]);
            for (row, i) in rows.clone().enumerate() {
                let costs = &mut entries[row * columns..][others.clone()];
                let (g, weights) = (&self.target[others.clone()], &weights[0][others.clone()]);
                sums[row] += T::gibbs_sum(self.source[i], self.epsilon, g, weights, costs);
            }
        }
        entries
    }
}
