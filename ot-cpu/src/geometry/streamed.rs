//! Entries of a cost in coordinates or in memory, made as they are needed.

use std::ops::Range;

use ot_core::Side;

use super::{
    entries::{Entries, Place, Weights},
    operand,
    rows::{BLOCK, CostRows, TILE, pieces},
};
use crate::backend::CpuScalar;

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

    /// Entries of one row in place of its costs, and their sum with some weights.
    fn exponentiate(&self, potential: T, others: Range<usize>, weights: &[T], costs: &mut [T]) -> f64 {
        // Without weights any numbers will do.
        let weights = if weights.is_empty() { self.target } else { weights };
        T::gibbs_sum(potential, self.epsilon, &self.target[others.clone()], &weights[others], costs)
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
        sums.fill(0.0);
        for block in pieces(rows.clone(), BLOCK) {
            let entries = &mut buffer[(block.start - rows.start) * columns..];
            for others in pieces(0..columns, TILE) {
                self.cost.tile(Side::Source, block.clone(), others.clone(), columns, &mut entries[others.start..]);
                for (row, i) in block.clone().enumerate() {
                    let costs = &mut entries[row * columns..][others.clone()];
                    let sum = self.exponentiate(self.source[i], others.clone(), weights.first, costs);
                    if weights.columns == 1 {
                        sums[i - rows.start] += sum;
                    }
                }
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
        let mut sum = 0.0;
        for others in pieces(0..columns, TILE) {
            let costs = &mut entries[others.clone()];
            self.cost.tile(Side::Source, at.row..at.row + 1, others.clone(), columns, costs);
            sum += self.exponentiate(potential, others, weights.first, costs);
        }
        if at.is_weightless && sum.is_nan() {
            entries.fill(T::default());
        }
        Some(sum)
    }
}
