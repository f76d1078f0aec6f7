//! The arc to enter: the best of a block, the next block resuming where the last one stopped (Grigoriadis 1986).

use super::{
    Arcs,
    tree::{Entering, Tree},
};

/// Rounding of a reduced cost, relative to its terms.
pub(in super::super) const ROUNDING: f64 = 64.0 * f64::EPSILON;

/// Is C_ij - f_i - g_j negative beyond its rounding?
pub(in super::super) fn is_negative(cost: f64, f: f64, minus_g: f64) -> bool {
    let reduced_cost = cost - f + minus_g;
    reduced_cost < 0.0 && reduced_cost < -ROUNDING * (cost.abs() + f.abs() + minus_g.abs())
}

/// Who names the arc to enter a tree.
pub(in super::super) trait EnteringRule {
    /// An arc of negative reduced cost; `None` if there is none.
    fn next(&mut self, tree: &Tree) -> Option<Entering>;
}

/// Where pricing resumes.
#[derive(Debug, Default)]
pub(in super::super) struct BlockSearch {
    row: usize,
}

/// Arcs of a block at least.
const SMALLEST_BLOCK: usize = 64;

impl BlockSearch {
    /// The rule that searches among given arcs, in blocks of about the square root of their number.
    pub(in super::super) fn among<'a>(&'a mut self, arcs: &'a Arcs) -> impl EnteringRule + 'a {
        Among { block: ((arcs.len() as f64).sqrt() as usize).max(SMALLEST_BLOCK), search: self, arcs }
    }

    /// The arc of the least reduced cost among those of the next rows, which are as many as have `block` arcs
    /// together, or more if none of them is negative. `None` if no arc is.
    fn next(&mut self, arcs: &Arcs, tree: &Tree, block: usize) -> Option<Entering> {
        let rows = arcs.rows();
        let (mut best, mut priced) = (None, 0);
        for _ in 0..rows {
            let row = self.row;
            self.row = if row + 1 == rows { 0 } else { row + 1 };
            priced += arcs.row(row).0.len();
            if tree.has_levels() {
                price_levels(row, arcs, tree, &mut best);
            } else {
                price(row, arcs, tree, &mut best);
            }
            if priced >= block {
                if best.is_some() {
                    break;
                }
                priced = 0;
            }
        }
        best
    }
}

/// See [`BlockSearch::among`].
struct Among<'a> {
    search: &'a mut BlockSearch,
    arcs: &'a Arcs,
    block: usize,
}

impl EnteringRule for Among<'_> {
    fn next(&mut self, tree: &Tree) -> Option<Entering> {
        self.search.next(self.arcs, tree, self.block)
    }
}

/// The better of `best` and the arcs of a row.
fn price(row: usize, arcs: &Arcs, tree: &Tree, best: &mut Option<Entering>) {
    let (f, minus_g) = tree.potentials();
    let (f, (targets, costs)) = (f[row], arcs.row(row));
    // Rounding counts for no gain.
    let mut least = best.map_or(0.0, |best| best.reduced_cost);
    for (&target, &cost) in targets.iter().zip(costs) {
        let minus_g = minus_g[target as usize];
        let reduced_cost = cost - f + minus_g;
        if reduced_cost < least && is_negative(cost, f, minus_g) {
            least = reduced_cost;
            *best = Some(Entering { source: row as u32, target, cost, level: 0, reduced_cost });
        }
    }
}

/// [`price`] where levels differ.
fn price_levels(row: usize, arcs: &Arcs, tree: &Tree, best: &mut Option<Entering>) {
    let ((f, minus_g), (level, minus_level)) = (tree.potentials(), tree.levels());
    let (f, level, (targets, costs)) = (f[row], level[row], arcs.row(row));
    for (&target, &cost) in targets.iter().zip(costs) {
        let minus_g = minus_g[target as usize];
        let (level, reduced_cost) = (minus_level[target as usize] - level, cost - f + minus_g);
        let gains = level < 0 || level == 0 && is_negative(cost, f, minus_g);
        if gains && best.is_none_or(|best| (level, reduced_cost) < (best.level, best.reduced_cost)) {
            *best = Some(Entering { source: row as u32, target, cost, level, reduced_cost });
        }
    }
}
