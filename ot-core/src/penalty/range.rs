//! A marginal kept within proportions of what was asked for.

use super::{KINK, MarginalPenalty};
use crate::{error::Error, real::Real, scalar::LOG_ZERO};

/// phi is 0 for densities within [low, high] and infinite outside.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// Densities within [low, high], with 0 <= low <= 1 <= high < infinity and low < high.
    ///
    /// # Errors
    /// [`Error::Parameter`] for bounds out of order.
    pub fn new(low: f64, high: f64) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&low) {
            return Err(Error::Parameter { name: "low", value: low, expected: "a number within [0, 1]" });
        }
        if !(high.is_finite() && high >= 1.0 && high > low) {
            return Err(Error::Parameter { name: "high", value: high, expected: "a finite number >= 1, above low" });
        }
        Ok(Self { low, high })
    }

    /// The smallest density.
    #[must_use]
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The largest density.
    #[must_use]
    pub fn high(&self) -> f64 {
        self.high
    }
}

impl MarginalPenalty for Range {
    fn density_bounds(&self) -> [f64; 2] {
        [self.low, self.high]
    }

    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        let log_low = if self.low > 0.0 { self.low.ln() } else { LOG_ZERO };
        let above = (softmin + epsilon * log_low).max(0.0);
        let below = (softmin + epsilon * self.high.ln()).min(0.0);
        above.select(above, below)
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        (self.low * slope).max(self.high * slope)
    }

    fn value<R: Real>(&self, _density: R) -> R {
        R::constant(0.0)
    }

    /// high below zero, low above, and anything between at zero.
    fn conjugate_subdifferential<R: Real>(&self, potential: R, epsilon: R) -> [R; 2] {
        let near = KINK * epsilon;
        [(-potential - near).select(self.high, self.low), (potential - near).select(self.low, self.high)]
    }
}
