//! What the softmins of one side go by, and which atoms matter to them.

use std::ops::Range;

use ot_core::Side;

use super::{
    super::cost::{BlockCost, LEAF},
    scratch::Placed,
};
use crate::geometry::{
    CpuScalar,
    guard::{is_left_out, reachable},
    rows::{BLOCK, CostRows, Heights, TILE, pieces},
    softmin::{Terms, exact_block},
};

/// What the softmins of one side go by: the terms of the other side, and which of them matter.
pub(super) struct Sums<'a, T> {
    pub(super) terms: Terms<'a, T>,
    /// The heights of the terms that have weight, at their potentials.
    pub(super) heights: Heights,
    pub(super) level: f64,
}

impl<T: CpuScalar> Sums<'_, T> {
    /// The partners of some rows of a leaf.
    pub(super) fn partners(
        &self,
        cost: &BlockCost<T>,
        side: Side,
        rows: Range<usize>,
        potential: impl Fn(usize) -> f64,
        out: &mut Vec<Range<usize>>,
    ) {
        let top = cost.top(side, rows.clone(), potential);
        cost.partners(side, rows, &top, &self.heights, self.level, out);
    }

    /// The softmins of a block whatever potential is at hand: those over the nearest leaf are not below, and the partners
    /// around them miss at most delta.
    pub(super) fn exact(
        &self,
        cost: &BlockCost<T>,
        side: Side,
        block: Range<usize>,
        tile: &mut [T; BLOCK * TILE],
    ) -> [f64; BLOCK] {
        let nearest = [cost.nearest(side, block.clone(), &self.heights)];
        let above = exact_block(cost, side, block.clone(), &nearest, self.terms, tile);
        let mut partners = Vec::new();
        self.partners(cost, side, block.clone(), |i| above[i - block.start], &mut partners);
        exact_block(cost, side, block, &partners, self.terms, tile)
    }
}

/// The heights of the atoms of a side that have weight.
pub(super) fn weighted_heights<T: CpuScalar>(cost: &BlockCost<T>, side: Side, placed: &Placed<T>) -> Heights {
    cost.heights(side, |atom| match is_left_out(placed.log_weights[atom]) {
        true => f64::NEG_INFINITY,
        false => placed.potential[atom].to_f64(),
    })
}

/// A mass whose logarithm is a number.
pub(super) fn positive(mass: f64) -> f64 {
    mass.max(f64::MIN_POSITIVE)
}

/// How many pairs have f_i + g_j - C_ij above a level, or stand in boxes of which this is not known.
pub(in super::super) fn kept_pairs<T: CpuScalar>(cost: &BlockCost<T>, potentials: [&[T]; 2], level: f64) -> u64 {
    let placed = Side::BOTH.map(|side| {
        let potential: &[T] = side.of(potentials);
        cost.order(side).iter().map(|&atom| reachable(potential[atom as usize])).collect::<Vec<_>>()
    });
    let heights = cost.heights(Side::Target, |j| placed[1][j].to_f64());
    let mut partners = Vec::new();
    let mut kept = 0;
    for leaf in pieces(0..placed[0].len(), LEAF) {
        let top = cost.top(Side::Source, leaf.clone(), |i| placed[0][i].to_f64());
        cost.partners(Side::Source, leaf.clone(), &top, &heights, level, &mut partners);
        let width: usize = partners.iter().map(ExactSizeIterator::len).sum();
        kept += (width * leaf.len()) as u64;
    }
    kept
}
