//! Potentials by auction.
//!
//! Where many rows want the same columns, rows that push each other by the differences of their two best columns move in tiny
//! steps. In the auction of Bertsekas (1979, 1988) they push by epsilon more, so that a price war ends after range / epsilon
//! bids, and epsilon falls from phase to phase. Only the potentials are kept: pairs are made anew from them, exact.

use super::{
    scan::{TwoSmallest, two_smallest},
    shortest_path::{FREE, Matching, Rows},
};

/// Rows looked at for the range of costs.
const SAMPLE: usize = 16;
/// What epsilon falls by from one phase to the next.
const FACTOR: f64 = 5.0;
/// Bids for each row after which the auction is given up: pairs are forbidden, or their costs have no common scale.
const MOST_BIDS: usize = 500;

impl Matching {
    /// Replaces potentials and pairs of a square problem by those of an auction; leaves them alone if it leads nowhere.
    ///
    /// Afterwards each pair is the best of its row, and most rows have one.
    pub(super) fn auction(&mut self, costs: &impl Rows, buffer: &mut [f64]) {
        let n = self.columns.len();
        let range = range(costs, buffer);
        let before = (self.columns.clone(), self.rows.clone(), self.v.clone());
        let (mut epsilon, last) = (range / FACTOR, range / (256.0 * n as f64));
        if !last.is_normal() {
            // All costs are one, or differ by no more than rounding at the end of the range, or none is finite.
            return;
        }
        let mut bids = MOST_BIDS * n;
        loop {
            if !self.phase(costs, epsilon, range, &mut bids, buffer) {
                (self.columns, self.rows, self.v) = before;
                return;
            }
            if epsilon <= last {
                return self.take_best(costs, buffer);
            }
            epsilon /= FACTOR;
        }
    }

    /// Auctions all columns: each row without one takes its best, at a price that makes it epsilon worse than the second.
    fn phase(&mut self, costs: &impl Rows, epsilon: f64, range: f64, bids: &mut usize, buffer: &mut [f64]) -> bool {
        self.rows.fill(FREE);
        let mut waiting: Vec<u32> = (0..self.columns.len() as u32).rev().collect();
        while let Some(i) = waiting.pop() {
            if *bids == 0 {
                return false;
            }
            *bids -= 1;
            let TwoSmallest { first, column, second } = two_smallest(costs.row(i as usize, buffer), &self.v);
            if first == f64::INFINITY {
                return false;
            }
            self.v[column] -= (second - first).min(range) + epsilon;
            let displaced = std::mem::replace(&mut self.rows[column], i);
            if displaced != FREE {
                waiting.push(displaced);
            }
        }
        true
    }

    /// Gives each row its best column, if no row before it has that.
    fn take_best(&mut self, costs: &impl Rows, buffer: &mut [f64]) {
        self.rows.fill(FREE);
        for i in 0..self.columns.len() {
            let column = two_smallest(costs.row(i, buffer), &self.v).column;
            self.columns[i] = FREE;
            if self.rows[column] == FREE {
                (self.rows[column], self.columns[i]) = (i as u32, column as u32);
            }
        }
    }
}

/// The largest minus the smallest finite cost of some rows.
fn range(costs: &impl Rows, buffer: &mut [f64]) -> f64 {
    let n = costs.shape().0;
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for i in (0..n).step_by(n.div_ceil(SAMPLE)) {
        for &cost in costs.row(i, buffer).iter().filter(|cost| cost.is_finite()) {
            (low, high) = (low.min(cost), high.max(cost));
        }
    }
    high - low
}
