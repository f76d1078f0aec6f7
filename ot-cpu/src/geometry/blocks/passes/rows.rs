//! The first half of a pass over both sides: the entries of a leaf of rows, made once, give the softmins of the rows and, times the
//! factors of the rows, their part of the sums of the columns.

use std::ops::Range;

use ot_core::Side;

use super::{
    super::cost::{BlockCost, LEAF},
    scratch::{Placed, Workspace},
    sums::Sums,
};
use crate::{
    geometry::{
        CpuScalar,
        guard::{is_left_out, reachable},
        rows::{BLOCK, CostRows, Heights, pieces},
        softmin::{Terms, accept_or_redo},
        steps::{Steps, Tally},
    },
    simd::GibbsTerms,
};

/// The first half of a pass over both sides.
pub(super) struct Rows<'a, T> {
    pub(super) cost: &'a BlockCost<T>,
    pub(super) source: &'a Placed<T>,
    /// What the entries of the columns are centred at.
    pub(super) centre: &'a [T],
    pub(super) sums: Sums<'a, T>,
    /// The heights of all columns, at their centre.
    pub(super) heights: Heights,
    pub(super) steps: Option<Steps<'a, T>>,
}

impl<T: CpuScalar> Rows<'_, T> {
    /// The softmins of a leaf, or its potentials after a step; its part of the sums of the columns.
    pub(super) fn pass_leaf(
        &self,
        leaf: Range<usize>,
        staged: &mut [T],
        column_sums: &mut [f64],
        tally: &mut Tally,
        workspace: &mut Workspace<T>,
    ) {
        let Workspace { entries, partners, anew, tile, registers } = workspace;
        let width = self.partners(leaf.clone(), &self.source.centre[leaf.clone()], partners);
        for panel in pieces(leaf.clone(), rows_together(width, entries.len())) {
            let out = &mut staged[panel.start - leaf.start..panel.end - leaf.start];
            let (mut centre, mut sums, mut factors) = ([T::default(); LEAF], [0.0; LEAF], [T::default(); LEAF]);
            let (centre, sums, factors) = (&mut centre[..out.len()], &mut sums[..out.len()], &mut factors[..out.len()]);
            centre.copy_from_slice(&self.source.centre[panel.clone()]);
            self.make(panel.clone(), centre, partners, width, entries, sums);

            let mut is_refused = false;
            let blocks = sums.chunks(BLOCK).zip(centre.chunks(BLOCK)).zip(out.chunks_mut(BLOCK));
            for (block, ((sums, centre), out)) in pieces(panel.clone(), BLOCK).zip(blocks) {
                let exact = || self.sums.exact(self.cost, Side::Source, block, tile);
                is_refused |= accept_or_redo(self.sums.terms, sums, centre, out, exact).contains(&true);
            }
            let log_weights = &self.source.log_weights[panel.clone()];
            let epsilon = self.sums.terms.epsilon;
            let Some(steps) = &self.steps else {
                factors_at(log_weights, centre, centre, epsilon, factors);
                count(factors, log_weights, tally);
                add_to_columns(factors, partners, width, entries, column_sums);
                continue;
            };
            steps.advance(0, panel.clone(), registers, out, tally);
            if is_refused {
                // Entries anew, around the new potentials.
                for (centre, &potential) in centre.iter_mut().zip(&*out) {
                    *centre = reachable(potential);
                }
                let width = self.partners(panel.clone(), centre, anew);
                factors_at(log_weights, centre, out, epsilon, factors);
                for part in pieces(0..out.len(), rows_together(width, entries.len())) {
                    let atoms = panel.start + part.start..panel.start + part.end;
                    self.make(atoms, &centre[part.clone()], anew, width, entries, &mut sums[part.clone()]);
                    add_to_columns(&factors[part], anew, width, entries, column_sums);
                }
            } else {
                factors_at(log_weights, centre, out, epsilon, factors);
                add_to_columns(factors, partners, width, entries, column_sums);
            }
            count(factors, log_weights, tally);
            let (weights, entering) = (&steps.weights(0)[panel.clone()], &steps.entering(0)[panel]);
            tally.measure(weights, entering, out, factors, None, epsilon);
        }
    }

    /// The partners of rows centred at some potentials, and their number.
    fn partners(&self, rows: Range<usize>, centre: &[T], out: &mut Vec<Range<usize>>) -> usize {
        let top = self.cost.top(Side::Source, rows.clone(), |i| centre[i - rows.start].to_f64());
        self.cost.partners(Side::Source, rows, &top, &self.heights, self.sums.level, out);
        out.iter().map(ExactSizeIterator::len).sum()
    }

    /// Entries of some rows around a centre with all partners, one row after the other, and their sums.
    fn make(
        &self,
        rows: Range<usize>,
        centre: &[T],
        partners: &[Range<usize>],
        width: usize,
        entries: &mut [T],
        sums: &mut [f64],
    ) {
        let Terms { weights, epsilon, .. } = self.sums.terms;
        for block in pieces(0..rows.len(), BLOCK) {
            let atoms = rows.start + block.start..rows.start + block.end;
            let mut at = block.start * width;
            for others in partners {
                let (g, weights) = (&self.centre[others.clone()], &weights[others.clone()]);
                let terms = GibbsTerms { f: &centre[block.clone()], g, weights, epsilon };
                let sums = &mut sums[block.clone()];
                self.cost.entries(Side::Source, atoms.clone(), others.clone(), terms, width, &mut entries[at..], sums);
                at += others.len();
            }
        }
    }
}

/// Counts factors, and those that underflowed.
fn count<T: CpuScalar>(factors: &[T], log_weights: &[T], tally: &mut Tally) {
    for (factor, log_weight) in factors.iter().zip(log_weights) {
        tally.factors += factor.to_f64();
        tally.lost += usize::from(*factor == T::default() && !is_left_out(*log_weight));
    }
}

/// How many rows of so many entries there is space for.
fn rows_together(width: usize, space: usize) -> usize {
    [LEAF, BLOCK, BLOCK / 2].into_iter().find(|rows| rows * width <= space).unwrap_or(1)
}

/// v_i = a_i exp((f_i - f0_i) / epsilon).
fn factors_at<T: CpuScalar>(log_weights: &[T], centre: &[T], potential: &[T], epsilon: f64, factors: &mut [T]) {
    let inverse = T::from_f64(1.0 / epsilon);
    for (((factor, &potential), &centre), &log_weight) in factors.iter_mut().zip(potential).zip(centre).zip(log_weights)
    {
        *factor = log_weight + (potential - centre) * inverse;
    }
    T::exp_in_place(factors);
}

/// Adds the entries of some rows, times their factors, to the sums of the columns.
fn add_to_columns<T: CpuScalar>(
    factors: &[T],
    partners: &[Range<usize>],
    width: usize,
    entries: &[T],
    sums: &mut [f64],
) {
    let mut at = 0;
    for others in partners {
        T::accumulate(factors, &entries[at..], width, &mut sums[others.clone()]);
        at += others.len();
    }
}
