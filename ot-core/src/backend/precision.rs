//! How accurate a backend is.

use crate::scalar::Scalar;

/// Roundings of a marginal beside those of the potentials: weights, exponential, sum.
const TERMS: f64 = 8.0;

/// The accuracy of a backend's arithmetic.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Precision {
    /// The relative distance of neighbouring numbers: 2^-52 for f64, 2^-23 for f32, or what a device has that
    /// computes with pairs of numbers or with a coarse exponential.
    pub unit: f64,
}

impl Precision {
    /// The accuracy of an element type.
    #[must_use]
    pub fn of<T: Scalar>() -> Self {
        Self { unit: T::EPSILON }
    }

    /// The relative marginal error that rounding may cause or hide: unit (exponent + 8), of entries whose exponents are sums of
    /// terms of this size: |f| / epsilon, |g| / epsilon, and the logarithms of the masses.
    #[must_use]
    pub fn marginal_rounding(&self, exponent: f64) -> f64 {
        self.unit * (exponent + TERMS)
    }

    /// The marginal error that solvers ask for if no tolerance is given: 1e-6, or 1e-4 where the unit is that of f32.
    #[must_use]
    pub fn default_tolerance(&self) -> f64 {
        if self.unit < 1e-10 { 1e-6 } else { 1e-4 }
    }
}
