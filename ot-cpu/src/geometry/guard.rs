//! When a sum without a running maximum can be trusted.
//!
//! A softmin is read off S_i = sum_j E_ij w_j, where E_ij = exp((f0_i + g0_j - C_ij) / epsilon) is centred at
//! some potentials and w_j = b_j exp((g_j - g0_j) / epsilon). What underflow may have taken from the sum is known:
//! entries below the floor count as zero, weights below the smallest normal number do, and products may:
//!
//! ```text
//! lost <= FLOOR sum_j w_j  +  m TINY max(1, max_ij E_ij)  +  (number of lost weights) TINY max_ij E_ij
//! ```
//!
//! with FLOOR and the first TINY of the type that entries are stored in, the second of the type of the weights.

//! A sum is accepted if it is finite and what may be lost is below its rounding. Nothing else needs to be known
//! of the centre: a bad one is told by its sums, which are then redone with a running maximum.

use ot_core::{LOG_ZERO, UNREACHABLE};

use super::CpuScalar;

/// Entries below this count as zero: far enough from the subnormal numbers for their products with weights.
pub(super) fn floor<X: CpuScalar>() -> f64 {
    X::TINY * 1e8
}

/// The smallest sum of one column that is accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guard {
    threshold: f64,
}

impl Guard {
    /// The guard of sums with these weights, whose logarithms at the centre are `log_weights`, over entries of type
    /// `X` up to `largest`.
    pub(super) fn new<T: CpuScalar, X: CpuScalar>(weights: &[T], log_weights: &[T], largest: f64) -> Self {
        let (mut total, mut lost) = (0.0, 0_usize);
        for (weight, log_weight) in weights.iter().zip(log_weights) {
            total += weight.to_f64();
            lost += usize::from(*weight == T::default() && !is_left_out(*log_weight));
        }
        Self::from_counts::<T, X>(total, weights.len(), lost, largest)
    }

    /// The guard of `count` weights of this total, `lost` of which underflowed.
    pub(super) fn from_counts<T: CpuScalar, X: CpuScalar>(total: f64, count: usize, lost: usize, largest: f64) -> Self {
        let of_weights = if lost > 0 { lost as f64 * T::TINY * largest } else { 0.0 };
        // Weights are rounded to the type of the entries before they are multiplied.
        let of_rounding = if X::TINY > T::TINY { count as f64 * X::TINY * largest } else { 0.0 };
        let may_be_lost = floor::<X>() * total + count as f64 * X::TINY + of_rounding + of_weights;
        Self { threshold: may_be_lost / T::EPSILON }
    }

    /// This guard, which accepts no sum below another threshold either: that of what pruning may have left out.
    pub(super) fn at_least(self, threshold: f64) -> Self {
        Self { threshold: self.threshold.max(threshold) }
    }

    /// Can the sum be trusted? Not if it is infinite or no number.
    pub(super) fn accepts(self, sum: f64) -> bool {
        sum > self.threshold && sum < f64::INFINITY
    }
}

/// Is this the logarithm of a weight of zero?
pub(super) fn is_left_out<T: CpuScalar>(log_weight: T) -> bool {
    log_weight.to_f64() <= LOG_ZERO / 2.0
}

/// A potential to centre a row at; 0 for a row that nothing reaches.
pub(super) fn reachable<T: CpuScalar>(potential: T) -> T {
    if potential.to_f64().abs() < UNREACHABLE / 2.0 { potential } else { T::default() }
}

/// `weights[j]` = exp(log_weights_j + (potential_j - centre_j) / epsilon), and their guard.
pub(super) fn centred_weights<T: CpuScalar, X: CpuScalar>(
    log_weights: &[T],
    potential: &[T],
    centre: &[T],
    epsilon: f64,
    largest: f64,
    weights: &mut [T],
) -> Guard {
    let inverse = T::from_f64(1.0 / epsilon);
    for (((weight, &log_weight), &potential), &centre) in weights.iter_mut().zip(log_weights).zip(potential).zip(centre)
    {
        *weight = log_weight + (potential - centre) * inverse;
    }
    T::exp_in_place(weights);
    Guard::new::<T, X>(weights, log_weights, largest)
}
