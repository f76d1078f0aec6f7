//! Entries of a cost in coordinates or in memory, made as they are needed.

use std::ops::Range;

use ot_core::Side;

use super::{
    CpuScalar,
    entries::{Entries, Place, Weights},
    operand,
    rows::{BLOCK, CostRows, pieces},
};
use crate::simd::GibbsTerms;

/// Rows of a panel of a batch.
const BATCH_ROWS: usize = 32;

/// Rows that are longer than this come in panels of half a block: no cache holds more.
const LONG: usize = 1 << 16;

/// Entries centred at the potentials of one column, or at those of a kept copy.
pub(super) struct Streamed<'a, T, R> {
    pub(super) cost: &'a R,
    pub(super) source: &'a [T],
    pub(super) target: &'a [T],
    pub(super) epsilon: f64,
    /// May rows be centred elsewhere?
    pub(super) movable: bool,
}

impl<T: CpuScalar, R: CostRows<T>> Streamed<'_, T, R> {
    /// Rows of a panel of so many entries each, for so many columns of a batch.
    pub(super) fn panel_rows_for(others: usize, columns: usize) -> usize {
        match columns {
            1 if others > LONG => BLOCK / 2,
            1 => BLOCK,
            _ => BATCH_ROWS,
        }
    }

    /// Entries of some rows at some potentials, and their sums with the weights of the first column.
    fn make(&self, rows: Range<usize>, f: &[T], weights: &[T], entries: &mut [T], sums: &mut [f64]) {
        // Without weights any numbers will do.
        let weights = if weights.is_empty() { self.target } else { weights };
        let (columns, terms) = (self.target.len(), GibbsTerms { f, g: self.target, weights, epsilon: self.epsilon });
        self.cost.entries(Side::Source, rows, 0..columns, terms, columns, entries, sums);
    }
}

impl<T: CpuScalar, R: CostRows<T>> Entries<T> for Streamed<'_, T, R> {
    type Entry = T;

    fn centre(&self, side: Side) -> &[T] {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }

    fn largest(&self) -> f64 {
        f64::INFINITY
    }

    fn panel_rows(&self, columns: usize) -> usize {
        Self::panel_rows_for(self.target.len(), columns)
    }

    fn fill(&self, rows: Range<usize>, weights: Weights<'_, T, T>, sums: &mut [f64], buffer: &mut [T]) {
        let columns = self.target.len();
        for block in pieces(rows.clone(), BLOCK) {
            let place = block.start - rows.start;
            let mut sums_of_block = [0.0; BLOCK];
            let sums_of_block = &mut sums_of_block[..block.len()];
            let f = &self.source[block.clone()];
            self.make(block, f, weights.first, &mut buffer[place * columns..], sums_of_block);
            if weights.columns == 1 {
                sums[place..place + sums_of_block.len()].copy_from_slice(sums_of_block);
            }
        }
        if weights.columns > 1 {
            operand::row_sums(&buffer[..rows.len() * columns], columns, weights.operand, weights.columns, sums);
        }
    }

    fn rows<'a>(&'a self, rows: Range<usize>, buffer: &'a [T]) -> &'a [T] {
        &buffer[..rows.len() * self.target.len()]
    }

    fn exact_rows<'a>(&'a self, rows: Range<usize>, buffer: &'a [T]) -> &'a [T] {
        self.rows(rows, buffer)
    }

    fn remake(&self, at: Place, potential: T, weights: Weights<'_, T, T>, buffer: &mut [T]) -> Option<f64> {
        if !self.movable {
            return None;
        }
        let columns = self.target.len();
        let entries = &mut buffer[at.place * columns..][..columns];
        let mut sum = [0.0];
        self.make(at.row..at.row + 1, &[potential], weights.first, entries, &mut sum);
        let [sum] = sum;
        if at.is_weightless && !sum.is_finite() {
            entries.fill(T::default());
        }
        Some(sum)
    }
}
