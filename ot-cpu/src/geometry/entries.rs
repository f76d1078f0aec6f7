//! Entries of the Gibbs kernel around a centre: kept for a dense cost, made as they are needed for a streamed one.
//!
//! ```text
//! E_ij = exp((f0_i + g0_j - C_ij) / epsilon)
//! ```
//!
//! The centre (f0, g0) is any pair of potentials near those in use (Schmitzer 2019: absorption). Sums over E that
//! the centre makes untrustworthy are told by a [`Guard`](super::guard::Guard).

use std::ops::Range;

use ot_core::Side;

use super::CpuScalar;

/// Entries around a centre, a panel of source rows at a time.
pub(super) trait Entries<T: CpuScalar>: Sync {
    /// The type that entries have.
    type Entry: CpuScalar;

    /// The potential that entries are centred at.
    fn centre(&self, side: Side) -> &[T];

    /// A bound on the entries; infinite if none is known.
    fn largest(&self) -> f64;

    /// Rows of a panel for so many columns of a batch, by the shape alone.
    fn panel_rows(&self, columns: usize) -> usize;

    /// Makes the entries of some rows, one row after the other, in `buffer` if they are not kept, and sums them with
    /// the weights: `sums[k * rows.len() + r]`; of no weights, nothing is summed.
    fn fill(
        &self,
        rows: Range<usize>,
        weights: Weights<'_, T, Self::Entry>,
        sums: &mut [f64],
        buffer: &mut [Self::Entry],
    );

    /// The entries of rows that have been [filled](Self::fill) in.
    fn rows<'a>(&'a self, rows: Range<usize>, buffer: &'a [Self::Entry]) -> &'a [Self::Entry];

    /// The entries in the type of the potentials, if that is their type.
    fn exact_rows<'a>(&'a self, rows: Range<usize>, buffer: &'a [Self::Entry]) -> &'a [T];

    /// Makes the entries of one row in `buffer` anew at another potential. Returns their sum with the weights of the
    /// first column; `None` if entries are kept.
    fn remake(
        &self,
        place: Place,
        potential: T,
        weights: Weights<'_, T, Self::Entry>,
        buffer: &mut [Self::Entry],
    ) -> Option<f64>;
}

/// A row of entries in a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The source atom.
    pub(super) row: usize,
    /// Which of the rows in the buffer.
    pub(super) place: usize,
    /// Has the row no weight, so that its entries do not count if they cannot be made?
    pub(super) is_weightless: bool,
}

/// The weights of a group of columns of the batch.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a, T, X> {
    /// How many columns.
    pub(super) columns: usize,
    /// Those of the first column.
    pub(super) first: &'a [T],
    /// All of them, or their differences to the anchor, as a product reads them.
    pub(super) operand: &'a [X],
}
