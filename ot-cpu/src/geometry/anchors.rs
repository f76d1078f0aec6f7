//! Exact sums at an anchor, so that entries rounded to a short type give sums to the accuracy of the long one.
//!
//! At weights w° near those in use, the sums S_i(w°) = sum_j E_ij w°_j are known to full accuracy, since they were
//! taken while the entries E were still exact. Elsewhere
//!
//! ```text
//! S_i(w) = S_i(w°) + sum_j E_ij (w_j - w°_j)
//! ```
//!
//! and the rounding of E and of the products only touches the difference, which vanishes as the iteration converges:
//! iterative refinement (Wilkinson 1963) of a Gibbs kernel. A column of the batch has an anchor of its own.

use ot_core::{Error, Side};

use super::{CpuScalar, memory::zeroed};

/// A sum that fell below this part of that at the anchor has lost too much to cancellation.
const SMALLEST_PART: f64 = 0.125;

/// The farthest that an anchor helps: the mean of |w - w°| / w.
pub(super) const FARTHEST: f64 = 0.5;

/// The anchors of all columns of a batch.
#[derive(Debug, Default)]
pub(super) struct Anchors {
    atoms: [usize; 2],
    held: Vec<bool>,
    /// Sums of the rows of the kernel, and of its columns, column of the batch after column.
    sums: [Vec<f64>; 2],
    /// Factors v° of the rows, and weights w° of the columns.
    weights: [Vec<f64>; 2],
}

/// The anchor of one column of the batch, from one side.
#[derive(Clone, Copy)]
pub(super) struct Anchor<'a> {
    pub(super) sums: &'a [f64],
    pub(super) weights: &'a [f64],
}

impl Anchors {
    /// Anchors of a kernel of n x m and a batch.
    pub(super) fn new(rows: usize, others: usize, columns: usize) -> Result<Self, Error> {
        let alloc = |atoms: usize| zeroed::<f64>(atoms * columns, "anchors of an absorbed kernel");
        Ok(Self {
            atoms: [rows, others],
            held: vec![false; columns],
            sums: [alloc(rows)?, alloc(others)?],
            weights: [alloc(rows)?, alloc(others)?],
        })
    }

    /// The anchor of a column, if it has one.
    pub(super) fn get(&self, side: Side, column: usize) -> Option<Anchor<'_>> {
        let (index, atoms) = (side_index(side), self.atoms[side_index(side)]);
        let range = column * atoms..(column + 1) * atoms;
        self.held
            .get(column)
            .is_some_and(|&held| held)
            .then(|| Anchor { sums: &self.sums[index][range.clone()], weights: &self.weights[index][range] })
    }

    /// Sums and weights of a column, to be written before it is [held](Self::hold).
    pub(super) fn numbers_mut(&mut self, side: Side, column: usize) -> (&mut [f64], &mut [f64]) {
        let (index, atoms) = (side_index(side), self.atoms[side_index(side)]);
        let range = column * atoms..(column + 1) * atoms;
        (&mut self.sums[index][range.clone()], &mut self.weights[index][range])
    }

    /// Holds on to the columns whose numbers have been written, and to no other.
    pub(super) fn hold(&mut self, columns: &[usize]) {
        self.held.fill(false);
        for &column in columns {
            self.held[column] = true;
        }
    }

    /// Lets go of a column.
    pub(super) fn release(&mut self, column: usize) {
        self.held[column] = false;
    }
}

impl Anchor<'_> {
    /// Adds what was known to sums of differences; what cancelled is no number.
    pub(super) fn complete(self, first: usize, sums: &mut [f64]) {
        for (sum, &known) in sums.iter_mut().zip(&self.sums[first..]) {
            let total = known + *sum;
            *sum = if total < SMALLEST_PART * known { f64::NAN } else { total };
        }
    }
}

/// |w - w°| / w, 0 where w is 0.
pub(super) fn part<T: CpuScalar>(weight: T, anchored: f64) -> f64 {
    let weight = weight.to_f64();
    if weight > 0.0 { ((weight - anchored) / weight).abs() } else { 0.0 }
}

fn side_index(side: Side) -> usize {
    match side {
        Side::Source => 0,
        Side::Target => 1,
    }
}
