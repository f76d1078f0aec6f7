//! Costs so large that no optimal assignment pays them.
//!
//! A large number often stands for a pair that is not wanted. Potentials become as large along paths of such pairs, and lose the
//! digits of all other costs. But with r_i the least cost of row i, and P the total of any assignment,
//!
//! ```text
//! C_ij > r_i + E,    E = P - sum_k r_k
//! ```
//!
//! rules a pair out of every optimal assignment. Where potentials are far larger than the costs paid, costs are clipped above
//! r_i + E and assigned again: no optimum changes, and potentials feasible for clipped costs are for the costs themselves.

use std::cell::RefCell;

use ot_core::Error;

use super::{
    scan::largest_size,
    shortest_path::{Matching, Rows},
    sum_of,
};

/// Potentials up to so many times the largest cost paid leave it enough digits: 2^20, about six of sixteen are lost.
const LARGE: f64 = (1 << 20) as f64;

/// Assigns all rows at least cost, whatever the size of costs that need not be paid.
///
/// # Errors
/// Those of [`Matching::solve`].
pub(super) fn solve(costs: &impl Rows) -> Result<Matching, Error> {
    let mut matching = Matching::solve(costs)?;
    let mut paid = paid_by(&matching, costs);
    let mut before = f64::INFINITY;
    while largest_size(&matching.v) > LARGE * largest_size(&paid) {
        let minima = minima(costs);
        let excess = sum_of(paid.iter().zip(&minima).map(|(paid, least)| paid - least));
        if excess == 0.0 {
            // Each row has its least cost, which potentials of zero prove.
            matching.v.fill(0.0);
            break;
        }
        if excess > 0.5 * before {
            break;
        }
        before = excess;
        matching = Matching::solve(&Clipped::new(costs, &minima, excess))?;
        paid = paid_by(&matching, costs);
    }
    matching.u = paid.iter().zip(&matching.columns).map(|(paid, &j)| paid - matching.v[j as usize]).collect();
    Ok(matching)
}

/// The cost of the pair of each row.
fn paid_by(matching: &Matching, costs: &impl Rows) -> Vec<f64> {
    let mut buffer = vec![0.0; costs.shape().1];
    matching.columns.iter().enumerate().map(|(i, &j)| costs.row(i, &mut buffer)[j as usize]).collect()
}

/// The least cost of each row.
fn minima(costs: &impl Rows) -> Vec<f64> {
    let (n, m) = costs.shape();
    let mut buffer = vec![0.0; m];
    let least = |least: f64, &cost: &f64| if cost < least { cost } else { least };
    (0..n).map(|i| costs.row(i, &mut buffer).iter().fold(f64::INFINITY, least)).collect()
}

/// Costs, but none of a row above a level of its own.
struct Clipped<'a, R> {
    costs: &'a R,
    levels: Vec<f64>,
    /// Place for a row before it is clipped.
    buffer: RefCell<Vec<f64>>,
}

impl<'a, R: Rows> Clipped<'a, R> {
    /// Clipped above the least cost of each row by more than the excess of some assignment.
    fn new(costs: &'a R, minima: &[f64], excess: f64) -> Self {
        // Twice the excess: an optimum pays no clipped pair. The next number at least: such a pair is worse than the least.
        let levels = minima.iter().map(|least| (least + 2.0 * excess).max(least.next_up())).collect();
        Self { costs, levels, buffer: RefCell::new(vec![0.0; costs.shape().1]) }
    }
}

impl<R: Rows> Rows for Clipped<'_, R> {
    fn shape(&self) -> (usize, usize) {
        self.costs.shape()
    }

    fn row<'b>(&'b self, i: usize, buffer: &'b mut [f64]) -> &'b [f64] {
        let mut own = self.buffer.borrow_mut();
        for (out, &cost) in buffer.iter_mut().zip(self.costs.row(i, &mut own)) {
            *out = if cost < self.levels[i] { cost } else { self.levels[i] };
        }
        buffer
    }

    /// Those that were clipped have been checked.
    fn check_row(&self, _: usize, _: &[f64]) -> Result<(), Error> {
        Ok(())
    }
}
