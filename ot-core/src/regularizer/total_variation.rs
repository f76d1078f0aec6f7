//! Total variation: mass is created and destroyed at a fixed price (partial transport).

use super::{KINK, PenaltyFormula, strength};
use crate::{error::Error, real::Real};

/// phi(r) = rho |r - 1|: moving mass at a cost above 2 rho is never worth it.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct TotalVariation {
    rho: f64,
}

impl TotalVariation {
    /// The law of strength rho > 0, in the units of the cost.
    ///
    /// # Errors
    /// [`Error::Parameter`] if rho is not within [1e-30, 1e30].
    pub fn new(rho: f64) -> Result<Self, Error> {
        Ok(Self { rho: strength(rho)? })
    }

    /// The strength.
    #[must_use]
    pub fn rho(&self) -> f64 {
        self.rho
    }
}

impl PenaltyFormula for TotalVariation {
    fn potential_bounds(&self) -> [f64; 2] {
        [-self.rho, f64::INFINITY]
    }

    fn step<R: Real>(&self, softmin: R, _epsilon: R) -> R {
        softmin.clamp(R::constant(-self.rho), R::constant(self.rho))
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        slope.max(R::constant(-self.rho))
    }

    fn value<R: Real>(&self, density: R) -> R {
        R::constant(self.rho) * (density - R::constant(1.0)).abs()
    }

    /// 1 inside (-rho, rho); [0, 1] at rho, where destroying is free, and 0 above; [1, infinity) from -rho down.
    fn demand<R: Real>(&self, potential: R, epsilon: R) -> [R; 2] {
        let (zero, one, unbounded) = (R::constant(0.0), R::constant(1.0), R::constant(1e30));
        let (rho, near) = (R::constant(self.rho), R::constant(KINK) * epsilon);
        // Each says where a potential is away from its kink: rho itself counts as on it however it is rounded.
        let low = (rho - near - potential).select(one, zero);
        let high = (potential - rho - near).select(zero, (potential + rho - near).select(one, unbounded));
        [low, high]
    }
}
