//! Softmins from tiles of costs: with the previous potential as a shift, and with a running maximum.

use std::ops::Range;

use ot_core::{Side, UNREACHABLE};

use super::{
    CpuScalar,
    cut::PANEL,
    guard::{Guard, is_left_out},
    rows::{BLOCK, CostRows, TILE, pieces, visit_partners},
};
use crate::simd::{GibbsTerms, VectorMath};

/// What a softmin sums over: the other side of one column.
#[derive(Clone, Copy)]
pub(super) struct Terms<'a, T> {
    pub(super) potential: &'a [T],
    pub(super) log_weights: &'a [T],
    /// Their exponentials.
    pub(super) weights: &'a [T],
    pub(super) guard: Guard,
    pub(super) epsilon: f64,
}

/// The softmins of a block, of which `shift` is a guess:
///
/// ```text
/// out_i = shift_i - epsilon log sum_j w_j exp((shift_i + potential_j - C_ij) / epsilon)
/// ```
///
/// The sums are over ranges of the others, with one exponential per pair. Rows whose sum is not to be trusted are redone by
/// `exact(tile)`.
#[expect(clippy::too_many_arguments, reason = "one row block and all that its repair may need")]
pub(super) fn shifted_block<T: CpuScalar, R: CostRows<T>>(
    rows: &R,
    side: Side,
    block: Range<usize>,
    partners: &[Range<usize>],
    terms: Terms<'_, T>,
    shift: &[T],
    tile: &mut [T; BLOCK * TILE],
    out: &mut [T],
    exact: impl FnOnce(&mut [T; BLOCK * TILE]) -> [f64; BLOCK],
) {
    let mut sums = [0.0; BLOCK];
    let sums = &mut sums[..block.len()];
    for others in partners.iter().flat_map(|others| pieces(others.clone(), TILE)) {
        let (g, weights) = (&terms.potential[others.clone()], &terms.weights[others.clone()]);
        let of_tile = GibbsTerms { f: shift, g, weights, epsilon: terms.epsilon };
        rows.entries(side, block.clone(), others, of_tile, TILE, tile, sums);
    }
    accept_or_redo(terms, sums, shift, out, || exact(tile));
}

/// out_i = centre_i - epsilon log sum_i for the atoms of a panel, if the guard accepts every sum. Says whether it does.
pub(super) fn accept_all<T: CpuScalar>(terms: Terms<'_, T>, sums: &[f64], centre: &[T], out: &mut [T]) -> bool {
    let mut logarithms = [1.0; PANEL];
    let Some(logarithms) = logarithms.get_mut(..sums.len()) else { return false };
    if !sums.iter().all(|&sum| terms.guard.accepts(sum)) {
        return false;
    }
    logarithms.copy_from_slice(sums);
    f64::ln_in_place(logarithms);
    for ((out, centre), logarithm) in out.iter_mut().zip(centre).zip(&*logarithms) {
        *out = finite(centre.to_f64() - terms.epsilon * logarithm);
    }
    true
}

/// out_i = centre_i - epsilon log sum_i for the rows of a block where the guard accepts the sum, else the exact softmin.
/// Returns which rows were redone.
pub(super) fn accept_or_redo<T: CpuScalar>(
    terms: Terms<'_, T>,
    sums: &[f64],
    centre: &[T],
    out: &mut [T],
    exact: impl FnOnce() -> [f64; BLOCK],
) -> [bool; BLOCK] {
    let len = sums.len();
    let refused: [bool; BLOCK] = std::array::from_fn(|row| row < len && !terms.guard.accepts(sums[row]));
    let mut logarithms = [1.0; BLOCK];
    for row in (0..len).filter(|&row| !refused[row]) {
        logarithms[row] = sums[row];
    }
    f64::ln_in_place(&mut logarithms);
    for row in (0..len).filter(|&row| !refused[row]) {
        out[row] = finite(centre[row].to_f64() - terms.epsilon * logarithms[row]);
    }
    if refused.contains(&true) {
        let exact = exact();
        for row in (0..len).filter(|&row| refused[row]) {
            out[row] = finite(exact[row]);
        }
    }
    refused
}

/// The softmins of a block over ranges of the others from scratch, right for any potential: shifted by the hard minimum of the costs, or, where
/// atoms of next to no weight own that minimum, with a running maximum over the atoms that have weight.
pub(super) fn exact_block<T: CpuScalar, R: CostRows<T>>(
    rows: &R,
    side: Side,
    block: Range<usize>,
    partners: &[Range<usize>],
    terms: Terms<'_, T>,
    tile: &mut [T; BLOCK * TILE],
) -> [f64; BLOCK] {
    let (mut largest, mut sums) = ([f64::NEG_INFINITY; BLOCK], [0.0; BLOCK]);
    let (mut total, mut lost) = (0.0, 0);
    let mut weights = [T::default(); TILE];
    visit_partners(rows, side, block.clone(), partners, tile, |row, others, costs| {
        let (potential, log_weights) = (&terms.potential[others.clone()], &terms.log_weights[others]);
        let weights = &mut weights[..costs.len()];
        if row == 0 {
            weights.copy_from_slice(log_weights);
            T::exp_in_place(weights);
            let is_lost = |(weight, log): (&T, &T)| *weight == T::default() && !is_left_out(*log);
            total += weights.iter().map(|weight| weight.to_f64()).sum::<f64>();
            lost += weights.iter().zip(log_weights).filter(|&pair| is_lost(pair)).count();
        }
        let largest_here = T::largest_difference(potential, costs).to_f64();
        if largest_here > largest[row] {
            sums[row] *= ((largest[row] - largest_here) / terms.epsilon).exp();
            largest[row] = largest_here;
        }
        if largest[row] > f64::NEG_INFINITY {
            sums[row] += T::gibbs_sum(T::from_f64(-largest[row]), terms.epsilon, potential, weights, costs);
        }
    });
    let guard = Guard::from_counts::<T, T>(total, terms.potential.len(), lost, 1.0);
    let accepted = |row: usize| guard.accepts(sums[row]);
    if (0..block.len()).all(accepted) {
        return std::array::from_fn(|row| -largest[row] - terms.epsilon * sums[row].ln());
    }
    let careful = careful_block(rows, side, block, partners, terms, tile);
    std::array::from_fn(|row| if accepted(row) { -largest[row] - terms.epsilon * sums[row].ln() } else { careful[row] })
}

/// The softmins of a block by log-sum-exp with a running maximum, in f64, term by term.
fn careful_block<T: CpuScalar, R: CostRows<T>>(
    rows: &R,
    side: Side,
    block: Range<usize>,
    partners: &[Range<usize>],
    terms: Terms<'_, T>,
    tile: &mut [T; BLOCK * TILE],
) -> [f64; BLOCK] {
    /// No exponent is infinite but for forbidden pairs.
    const LARGEST: f64 = f64::MAX / 4.0;

    let (mut maximum, mut sum) = ([f64::NEG_INFINITY; BLOCK], [0.0; BLOCK]);
    let mut exponents = [0.0; TILE];
    visit_partners(rows, side, block, partners, tile, |row, others, costs| {
        let exponents = &mut exponents[..costs.len()];
        let terms_of_tile = terms.potential[others.clone()].iter().zip(&terms.log_weights[others]);
        for ((exponent, cost), (potential, log_weight)) in exponents.iter_mut().zip(costs.iter()).zip(terms_of_tile) {
            let scaled = (potential.to_f64() - cost.to_f64()) / terms.epsilon + log_weight.to_f64();
            *exponent = if is_left_out(*log_weight) { f64::NEG_INFINITY } else { scaled.min(LARGEST) };
        }
        let largest = <f64 as VectorMath>::max(exponents);
        if largest > maximum[row] {
            sum[row] *= (maximum[row] - largest).exp();
            maximum[row] = largest;
        }
        if maximum[row] > f64::NEG_INFINITY {
            for exponent in exponents.iter_mut() {
                *exponent -= maximum[row];
            }
            sum[row] += f64::exp_shifted_sum(exponents);
        }
    });
    std::array::from_fn(|row| match maximum[row] {
        f64::NEG_INFINITY => UNREACHABLE,
        maximum => -terms.epsilon * (maximum + sum[row].ln()),
    })
}

/// A softmin as an element, kept where sums of a few of them are finite.
fn finite<T: CpuScalar>(softmin: f64) -> T {
    T::from_f64(softmin.clamp(-T::LARGEST_COST, T::LARGEST_COST))
}
