//! One step of mirror descent, and the way back to the couplings.
//!
//! A step multiplies Q, R and g by exp(-gamma times their gradients). The nearest coupling in the sum of the three Kullback-Leibler
//! divergences is found by alternating projections (Benamou et al. 2015): rows of Q and R are scaled to a and b, then their columns to
//!
//! ```text
//! g <- (g  (Q^T 1)  (R^T 1))^(1/3)
//! ```
//!
//! What the iterations leave of the columns is rounded (Altschuler, Weed, Rigollet 2017), so that every iterate is a coupling.

use super::coupling::{Coupling, Parallel, dot, reciprocal, sums_of_rows, write_rows};

/// What the columns of Q and R may still be off by, in parts of the mass, when the projections end.
const RESIDUAL: f64 = 1e-10;
/// The most alternating projections of a step.
const PROJECTIONS: usize = 50;
/// The logarithm that the smallest factor of a step has at least.
const LARGEST_EXPONENT: f64 = 300.0;
/// Scalings of columns stay within this and its reciprocal.
const LARGEST_SCALING: f64 = 1e100;

/// The gradients at a coupling.
#[derive(Clone, Debug)]
pub(super) struct Gradients {
    /// Those in Q and R, row by row.
    pub(super) sides: [Vec<f64>; 2],
    /// c: those in g, with the other sign.
    pub(super) components: Vec<f64>,
}

impl Gradients {
    /// The largest difference within a row, or between components: what a step is measured by.
    pub(super) fn range(&self, rank: usize) -> f64 {
        let ends = |row: &[f64]| {
            row.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &x| [low.min(x), high.max(x)])
        };
        let rows = self.sides.iter().flat_map(|side| side.chunks_exact(rank)).chain([&self.components[..]]);
        rows.map(ends).fold(0.0, |range, [low, high]| range.max(high - low))
    }
}

/// The coupling that a step of length gamma leads to, in the place of another.
pub(super) fn step(
    from: &Coupling,
    gradients: &Gradients,
    gamma: f64,
    weights: [&[f64]; 2],
    parallel: Parallel<'_>,
    multipliers: &mut Multipliers,
    to: &mut Coupling,
) {
    let rank = from.rank();
    for side in 0..2 {
        let (shares, gradient) = (&from.shares[side], &gradients.sides[side]);
        write_rows(parallel, &mut to.shares[side], rank, |row, out| {
            let place = row * rank..(row + 1) * rank;
            let (shares, gradient) = (&shares[place.clone()], &gradient[place]);
            let least = gradient.iter().copied().fold(f64::INFINITY, f64::min);
            let mut largest = 0.0_f64;
            for ((out, share), gradient) in out.iter_mut().zip(shares).zip(gradient) {
                *out = share * (-(gamma * (gradient - least)).min(LARGEST_EXPONENT)).exp();
                largest = largest.max(*out);
            }
            out.iter_mut().for_each(|out| *out /= largest);
        });
    }
    let least = gradients.components.iter().copied().fold(f64::INFINITY, f64::min);
    let grown = from.masses.iter().zip(&gradients.components);
    to.masses = grown.map(|(mass, cost)| mass * (gamma * (cost - least)).min(LARGEST_EXPONENT).exp()).collect();
    project(gamma, weights, parallel, multipliers, to);
}

/// Multipliers of the columns of Q and R: what a column costs more or less, whatever the length of the step. They hardly change from
/// one step to the next, so that the projections of a step start from those of the last.
#[derive(Clone, Debug)]
pub(super) struct Multipliers([Vec<f64>; 2]);

impl Multipliers {
    pub(super) fn none(rank: usize) -> Self {
        Self([vec![0.0; rank], vec![0.0; rank]])
    }
}

/// Alternating projections and rounding, of shares up to a factor for each row, of which the largest is one.
pub(super) fn project(
    gamma: f64,
    weights: [&[f64]; 2],
    parallel: Parallel<'_>,
    multipliers: &mut Multipliers,
    coupling: &mut Coupling,
) {
    let rank = coupling.rank();
    let mut scalings = multipliers.0.each_ref().map(|of_side| scalings(gamma, of_side));
    for (k, mass) in coupling.masses.iter_mut().enumerate() {
        *mass /= scalings[0][k] * scalings[1][k];
    }
    normalise(&mut coupling.masses);
    for _ in 0..PROJECTIONS {
        let mut sums = [Vec::new(), Vec::new()];
        for side in 0..2 {
            let (weights, scaling) = (weights[side], &scalings[side]);
            sums[side] = sums_of_rows(parallel, &coupling.shares[side], rank, rank, |row, shares, sums| {
                let factor = weights[row] / dot(shares, scaling);
                sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += factor * share);
            });
            sums[side].iter_mut().zip(scaling).for_each(|(sum, scaling)| *sum *= scaling);
        }
        for (k, mass) in coupling.masses.iter_mut().enumerate() {
            *mass = (sums[0][k] * sums[1][k]).cbrt() * mass.cbrt();
        }
        normalise(&mut coupling.masses);
        let mut residual = 0.0;
        for (k, mass) in coupling.masses.iter().enumerate() {
            for (scaling, sum) in scalings.iter_mut().zip(&sums) {
                residual += (sum[k] - mass).abs();
                let scaled = scaling[k] * (mass * reciprocal(sum[k]));
                scaling[k] = scaled.clamp(1.0 / LARGEST_SCALING, LARGEST_SCALING);
            }
        }
        if residual <= RESIDUAL {
            break;
        }
    }
    for (multipliers, scalings) in multipliers.0.iter_mut().zip(&scalings) {
        multipliers.iter_mut().zip(scalings).for_each(|(multiplier, scaling)| *multiplier = scaling.ln() / gamma);
    }
    for side in 0..2 {
        round(weights[side], &scalings[side], &coupling.masses, parallel, &mut coupling.shares[side]);
    }
}

/// exp(gamma times multipliers), around 1.
fn scalings(gamma: f64, multipliers: &[f64]) -> Vec<f64> {
    let [low, high] =
        multipliers.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], &x| [low.min(x), high.max(x)]);
    let (middle, largest) = (0.5 * (low + high), LARGEST_SCALING.ln());
    multipliers.iter().map(|multiplier| (gamma * (multiplier - middle)).clamp(-largest, largest).exp()).collect()
}

/// Divides by the sum.
fn normalise(masses: &mut [f64]) {
    let total: f64 = masses.iter().sum();
    masses.iter_mut().for_each(|mass| *mass /= total);
}

/// Shares under a scaling of the columns, with columns that sum to the masses.
fn round(weights: &[f64], scaling: &[f64], masses: &[f64], parallel: Parallel<'_>, shares: &mut [f64]) {
    let rank = masses.len();
    write_rows(parallel, shares, rank, |_, shares| {
        let factor = 1.0 / dot(shares, scaling);
        shares.iter_mut().zip(scaling).for_each(|(share, scaling)| *share *= factor * scaling);
    });
    let sums = sums_of_rows(parallel, shares, rank, rank, |row, shares, sums| {
        sums.iter_mut().zip(shares).for_each(|(sum, share)| *sum += weights[row] * share);
    });
    let kept: Vec<f64> = sums.iter().zip(masses).map(|(sum, mass)| if sum > mass { mass / sum } else { 1.0 }).collect();
    let mut missing: Vec<f64> =
        masses.iter().zip(sums.iter().zip(&kept)).map(|(mass, (sum, kept))| (mass - sum * kept).max(0.0)).collect();
    let total: f64 = missing.iter().sum();
    if total <= 0.0 {
        return;
    }
    missing.iter_mut().for_each(|missing| *missing /= total);
    write_rows(parallel, shares, rank, |_, shares| {
        let mut cut = 0.0;
        for (share, kept) in shares.iter_mut().zip(&kept) {
            cut += *share * (1.0 - kept);
            *share *= kept;
        }
        shares.iter_mut().zip(&missing).for_each(|(share, missing)| *share += cut * missing);
    });
}
