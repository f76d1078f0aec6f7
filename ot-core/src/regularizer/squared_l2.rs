//! Half the squared density (Blondel, Seguy, Rolet 2018; Essid, Solomon 2018; Lorenz, Manns, Meyer 2021).

use super::{Regularizer, RegularizerKind};
use crate::real::Real;

/// h(p) = p^2 / 2: plans with exact zeros.
///
/// ```text
/// min_P  <P, C> + epsilon / 2 sum_ij P_ij^2 / (a_i b_j) + penalties           P_ij = a_i b_j max(f_i + g_j - C_ij, 0) / epsilon
/// ```
///
/// For small epsilon the plan is that of unregularised transport, for large epsilon it tends to a b^T. Others weigh
/// the squares by one: (gamma / 2) sum_ij P_ij^2. For uniform weights 1/n and 1/m that is this with
/// epsilon = gamma / (n m).
///
/// ```
/// use ot_core::SquaredL2;
///
/// assert_eq!(SquaredL2::from_unweighted(200.0, 10, 20), 1.0);
/// ```
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct SquaredL2;

impl SquaredL2 {
    /// The epsilon of a strength gamma of (gamma / 2) sum_ij P_ij^2, the squares not weighted, between uniform weights
    /// of n and of m atoms: gamma / (n m).
    #[must_use]
    pub fn from_unweighted(gamma: f64, sources: usize, targets: usize) -> f64 {
        gamma / (sources as f64 * targets as f64)
    }
}

impl Regularizer for SquaredL2 {
    fn kind(&self) -> RegularizerKind {
        RegularizerKind::SquaredL2
    }

    fn value<R: Real>(&self, density: R) -> R {
        0.5 * density * density
    }

    fn conjugate<R: Real>(&self, exponent: R) -> R {
        let density = Regularizer::density(self, exponent);
        0.5 * density * density
    }

    fn density<R: Real>(&self, exponent: R) -> R {
        exponent.max(0.0)
    }

    /// (p - z)^2 / 2 for z > 0, else p^2 / 2 - z p.
    fn fenchel_gap<R: Real>(&self, density: R, exponent: R) -> R {
        let difference = density - Regularizer::density(self, exponent);
        0.5 * difference * difference + density * (-exponent).max(0.0)
    }
}
