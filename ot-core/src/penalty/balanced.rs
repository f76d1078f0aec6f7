//! The prescribed marginal of classical transport.

use std::sync::LazyLock;

use super::{MarginalPenalty, PenaltyKind, RecordedPenalty};
use crate::{error::Error, program::ProgramError, real::Real};

/// The marginal is prescribed: phi is 0 at density 1 and infinite elsewhere, phi*(q) = q.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Balanced;

impl MarginalPenalty for Balanced {
    fn kind(&self) -> PenaltyKind {
        PenaltyKind::Balanced
    }

    fn density_bounds(&self) -> [f64; 2] {
        [1.0, 1.0]
    }

    fn step<R: Real>(&self, softmin: R, _epsilon: R) -> R {
        softmin
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        slope
    }

    fn value<R: Real>(&self, _density: R) -> R {
        R::constant(0.0)
    }

    fn conjugate_subdifferential<R: Real>(&self, _potential: R, _epsilon: R) -> [R; 2] {
        [R::constant(1.0); 2]
    }

    /// Recorded at the first use.
    fn recorded(&self) -> Result<RecordedPenalty, Error> {
        static RECORDED: LazyLock<Result<RecordedPenalty, ProgramError>> =
            LazyLock::new(|| RecordedPenalty::record(&Balanced));
        Ok(RECORDED.clone()?)
    }
}
