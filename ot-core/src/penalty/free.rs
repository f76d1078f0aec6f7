//! No penalty at all: the limit of every penalty as its strength falls to zero.

use super::{KINK, MarginalPenalty, UNBOUNDED};
use crate::real::Real;

/// The marginal is free: phi is 0 at every density, and the potential 0.
///
/// With the other marginal prescribed this is semi-relaxed transport, in which each of its atoms spreads over the
/// cheapest partners: the limit of [`Kl`](super::Kl) and [`TotalVariation`](super::TotalVariation) as rho falls to
/// zero, as [`Balanced`](super::Balanced) is the one as rho grows. With both free the plan is the Gibbs kernel
/// a_i b_j exp(-C_ij / epsilon) itself.
///
/// ```
/// use ot_core::{Free, MarginalPenalty};
///
/// assert_eq!(Free.value(7.0), 0.0);
/// assert_eq!(Free.step(3.0, 0.1), 0.0);
/// ```
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Free;

impl MarginalPenalty for Free {
    fn potential_bounds(&self) -> [f64; 2] {
        [0.0, f64::INFINITY]
    }

    fn step<R: Real>(&self, softmin: R, _epsilon: R) -> R {
        softmin * 0.0
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        slope * 0.0
    }

    fn value<R: Real>(&self, _density: R) -> R {
        R::constant(0.0)
    }

    /// Any density at 0, none above.
    fn conjugate_subdifferential<R: Real>(&self, potential: R, epsilon: R) -> [R; 2] {
        [R::constant(0.0), (potential - KINK * epsilon).select(0.0, UNBOUNDED)]
    }
}
