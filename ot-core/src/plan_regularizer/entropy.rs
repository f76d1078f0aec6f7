//! KL to the product of the marginals (Cuturi 2013; as a divergence Peyre, Cuturi 2019, section 4).

use super::{PlanFormula, PlanKind};
use crate::{real::Real, regularizer::bounded_exp};

/// h(p) = p log p - p + 1: the plan is exp((f + g - C) / epsilon) a b^T, and every pair carries mass.
///
/// What a [`Problem`](crate::Problem) has unless another is asked for. Kernels of it are Gibbs kernels.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Entropy;

impl PlanFormula for Entropy {
    fn kind(&self) -> PlanKind {
        PlanKind::Entropy
    }

    fn value<R: Real>(&self, density: R) -> R {
        let logarithm = density.max(R::constant(1e-37)).ln();
        density * logarithm - density + R::constant(1.0)
    }

    fn conjugate<R: Real>(&self, exponent: R) -> R {
        bounded_exp(exponent) - R::constant(1.0)
    }

    fn density<R: Real>(&self, exponent: R) -> R {
        bounded_exp(exponent)
    }
}
