//! Total variation: mass is created and destroyed at a fixed price (partial transport).

use super::{KINK, MarginalPenalty, UNBOUNDED, strength};
use crate::{error::Error, real::Real};

/// phi(r) = rho |r - 1|: moving mass at a cost above 2 rho is never worth it.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct TotalVariation {
    rho: f64,
}

impl TotalVariation {
    /// The penalty of strength rho > 0, in the units of the cost.
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

impl MarginalPenalty for TotalVariation {
    fn potential_bounds(&self) -> [f64; 2] {
        [-self.rho, f64::INFINITY]
    }

    fn step<R: Real>(&self, softmin: R, _epsilon: R) -> R {
        let rho = softmin.parameter(0, self.rho);
        softmin.clamp(-rho, rho)
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        slope.max(-slope.parameter(0, self.rho))
    }

    fn value<R: Real>(&self, density: R) -> R {
        density.parameter(0, self.rho) * (density - 1.0).abs()
    }

    /// 1 inside (-rho, rho); [0, 1] at rho, where destroying is free, and 0 above; [1, infinity) from -rho down.
    fn conjugate_subdifferential<R: Real>(&self, potential: R, epsilon: R) -> [R; 2] {
        let (rho, near) = (potential.parameter(0, self.rho), KINK * epsilon);
        // Each says where a potential is away from its kink: rho itself counts as on it however it is rounded.
        let low = (rho - near - potential).select(1.0, 0.0);
        let high = (potential - rho - near).select(0.0, (potential + rho - near).select(1.0, UNBOUNDED));
        [low, high]
    }
}
