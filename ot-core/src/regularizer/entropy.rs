//! KL to the product of the marginals (Cuturi 2013; as a divergence Peyre, Cuturi 2019, section 4).

use std::sync::LazyLock;

use super::{RecordedRegularizer, Regularizer, RegularizerKind};
use crate::{error::Error, program::ProgramError, real::Real};

/// h(p) = p log p - p + 1: the plan is exp((f + g - C) / epsilon) a b^T, and every pair carries mass.
///
/// What a [`Problem`](crate::Problem) has unless another is asked for. Kernels of it are Gibbs kernels.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Entropy;

impl Regularizer for Entropy {
    fn kind(&self) -> RegularizerKind {
        RegularizerKind::Entropy
    }

    fn value<R: Real>(&self, density: R) -> R {
        let logarithm = density.max(1e-37).ln();
        density * logarithm - density + 1.0
    }

    fn conjugate<R: Real>(&self, exponent: R) -> R {
        exponential(exponent) - 1.0
    }

    fn density<R: Real>(&self, exponent: R) -> R {
        exponential(exponent)
    }

    /// Recorded at the first use.
    fn recorded(&self) -> Result<RecordedRegularizer, Error> {
        static RECORDED: LazyLock<Result<RecordedRegularizer, ProgramError>> =
            LazyLock::new(|| RecordedRegularizer::record(&Entropy));
        Ok(RECORDED.clone()?)
    }
}

/// e^z up to the exponent that no density of a plan needs: where the derivative is zero a row is solved from its nearest
/// partner, and not by steps of epsilon.
fn exponential<R: Real>(exponent: R) -> R {
    const LARGEST: f64 = 80.0;
    exponent.clamp(-LARGEST, LARGEST).exp()
}
