//! The kept copy of the entries of a stored cost, in a type of its own.

use std::ops::Range;

use ot_core::{Error, Side};

use super::{
    CpuScalar,
    cut::PANEL,
    entries::{Entries, Place, Weights},
    guard,
    memory::zeroed,
    operand,
    rows::BLOCK,
};
use crate::simd::Stored;

/// Bytes of entries that stay in the second-level cache until they are met again.
const PANEL_BYTES: usize = 1 << 18;

/// The same for a batch, whose products take longer than reading.
const BATCH_PANEL_BYTES: usize = 1 << 19;

/// Entries of type X around a centre of type T.
#[derive(Debug, Default)]
pub(super) struct Absorbed<T, X> {
    entries: Vec<X>,
    source: Vec<T>,
    target: Vec<T>,
    largest: f64,
}

/// What one task keeps: the entries of its rows, and the potential that each row is centred at.
pub(super) struct Kept<'a, T, X> {
    pub(super) entries: &'a mut [X],
    pub(super) centre: &'a mut [T],
}

impl<T: CpuScalar + Stored<X>, X: CpuScalar> Absorbed<T, X> {
    /// Allocates a copy of this shape. Allocates at the first call only.
    pub(super) fn reserve(&mut self, rows: usize, columns: usize) -> Result<(), Error> {
        if self.entries.is_empty() {
            self.entries = zeroed(rows.saturating_mul(columns), "an absorbed copy of the Gibbs kernel")?;
            self.source = zeroed(rows, "a potential")?;
            self.target = zeroed(columns, "a potential")?;
        }
        Ok(())
    }

    /// Centres the copy at a target potential, with no rows yet.
    pub(super) fn begin(&mut self, target: &[T]) {
        self.target.copy_from_slice(target);
        self.largest = 0.0;
    }

    /// Allocates the entries, in pieces of so many rows.
    pub(super) fn pieces(&mut self, rows: usize) -> impl Iterator<Item = Kept<'_, T, X>> {
        let pieces = self.entries.chunks_mut(rows * self.target.len()).zip(self.source.chunks_mut(rows));
        pieces.map(|(entries, centre)| Kept { entries, centre })
    }

    /// Sets the bound on what has been kept.
    pub(super) fn finish(&mut self, largest: f64) {
        self.largest = largest;
    }

    /// The largest difference of potentials to the centre. Not a number if one of them is none.
    pub(super) fn drift(&self, source: &[T], target: &[T]) -> f64 {
        let of_side = |potential: &[T], centre: &[T]| {
            let differences = potential.iter().zip(centre).map(|(&a, &b)| (a.to_f64() - b.to_f64()).abs());
            differences.fold(0.0, f64::max)
        };
        of_side(source, &self.source).max(of_side(target, &self.target))
    }
}

impl<T: CpuScalar + Stored<X>, X: CpuScalar> Kept<'_, T, X> {
    /// Keeps the entries of some rows, of which `first` is the number of the first within the task. Returns the
    /// largest.
    pub(super) fn keep(&mut self, first: usize, centre: &[T], entries: &[T]) -> f64 {
        let columns = entries.len() / centre.len();
        self.centre[first..first + centre.len()].copy_from_slice(centre);
        let floor = X::from_f64(guard::floor::<X>());
        T::store(floor, entries, &mut self.entries[first * columns..][..entries.len()]).to_f64()
    }
}

impl<T: CpuScalar, X: CpuScalar> Entries<T> for Absorbed<T, X> {
    type Entry = X;

    fn centre(&self, side: Side) -> &[T] {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    fn largest(&self) -> f64 {
        self.largest
    }

    fn panel_rows(&self, columns: usize) -> usize {
        let bytes = if columns == 1 { PANEL_BYTES } else { BATCH_PANEL_BYTES };
        let rows = bytes / (self.target.len() * size_of::<X>());
        (rows - rows % BLOCK).clamp(BLOCK, PANEL)
    }

    fn fill(&self, rows: Range<usize>, weights: Weights<'_, T, X>, sums: &mut [f64], _: &mut [X]) {
        operand::row_sums(self.rows(rows, &[]), self.target.len(), weights.operand, weights.columns, sums);
    }

    fn rows<'a>(&'a self, rows: Range<usize>, _: &'a [X]) -> &'a [X] {
        let columns = self.target.len();
        &self.entries[rows.start * columns..rows.end * columns]
    }

    fn exact_rows<'a>(&'a self, _: Range<usize>, _: &'a [X]) -> &'a [T] {
        &[]
    }

    fn remake(&self, _: Place, _: T, _: Weights<'_, T, X>, _: &mut [X]) -> Option<f64> {
        None
    }
}
