//! Kullback-Leibler divergence to the wanted marginal (Liero, Mielke, Savare 2018; Chizat 2018).

use super::{MarginalPenalty, PenaltyKind, bounded_exp, positive, strength};
use crate::{error::Error, real::Real};

/// phi(r) = rho (r log r - r + 1): mass may be created and destroyed at a price.
///
/// ```
/// use ot_core::Kl;
///
/// let penalty = Kl::new(0.5)?;
/// assert_eq!(penalty.rho(), 0.5);
/// assert!(Kl::new(-1.0).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Kl {
    rho: f64,
}

impl Kl {
    /// The penalty of strength rho > 0, in the units of the cost.
    ///
    /// # Errors
    /// [`Error::Parameter`] if rho is not within [1e-30, 1e30], which either element type holds; the limits
    /// themselves are [`Balanced`](super::Balanced) and [`Free`](super::Free).
    pub fn new(rho: f64) -> Result<Self, Error> {
        Ok(Self { rho: strength(rho)? })
    }

    /// From tau = rho / (rho + epsilon) in (0, 1), the exponent of the scaling iteration.
    ///
    /// # Errors
    /// [`Error::Parameter`] if tau is not within (0, 1) or epsilon not positive.
    pub fn from_tau(tau: f64, epsilon: f64) -> Result<Self, Error> {
        if tau > 0.0 && tau < 1.0 {
            Self::new(positive("epsilon", epsilon)? * tau / (1.0 - tau))
        } else {
            Err(Error::Parameter { name: "tau", value: tau, expected: "a number within (0, 1)" })
        }
    }

    /// From the reach, the distance beyond which destroying mass is cheaper than moving it:
    /// rho = reach^exponent for a cost that is this power of a distance.
    ///
    /// # Errors
    /// [`Error::Parameter`] if the reach is not finite and positive.
    pub fn from_reach(reach: f64, exponent: f64) -> Result<Self, Error> {
        Self::new(positive("reach", reach)?.powf(exponent))
    }

    /// The strength.
    #[must_use]
    pub fn rho(&self) -> f64 {
        self.rho
    }
}

impl MarginalPenalty for Kl {
    fn kind(&self) -> PenaltyKind {
        PenaltyKind::Kl { rho: self.rho }
    }

    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        softmin / (1.0 + epsilon / epsilon.parameter(0, self.rho))
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        let rho = slope.parameter(0, self.rho);
        rho * exp_minus_one(slope / rho)
    }

    fn value<R: Real>(&self, density: R) -> R {
        density.parameter(0, self.rho) * entropy_from_one(density)
    }

    fn conjugate_subdifferential<R: Real>(&self, potential: R, _epsilon: R) -> [R; 2] {
        [bounded_exp(-potential / potential.parameter(0, self.rho)); 2]
    }
}

/// Below this, series: the direct formulas cancel.
const SMALL: f64 = 0.05;

/// exp(x) - 1 with all its digits near 0.
fn exp_minus_one<R: Real>(x: R) -> R {
    let near = x.clamp(-SMALL, SMALL);
    // x (1 + x/2 (1 + x/3 (1 + ... x/10)))
    let series = (2..=10).rev().fold(R::constant(1.0), |sum, k| 1.0 + near * sum * (1.0 / f64::from(k)));
    (x.abs() - SMALL).select(bounded_exp(x) - 1.0, near * series)
}

/// r log r - r + 1 with all its digits near 1, and 1 at 0.
fn entropy_from_one<R: Real>(density: R) -> R {
    let change = density - 1.0;
    let near = change.clamp(-SMALL, SMALL);
    // h^2 (1/2 - h/6 + h^2/12 - ...), the terms of which are (-h)^k / (k (k - 1))
    let coefficient = |k: i32| 1.0 / f64::from(k * (k - 1));
    let series = (2..=13).rev().fold(R::constant(0.0), |sum, k| coefficient(k) - near * sum);
    let far = density.select(density * density.max(1e-37).ln(), 0.0) - density + 1.0;
    (change.abs() - SMALL).select(far, near * near * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_arguments_keep_their_digits() {
        for exponent in -60..20 {
            for x in [0.37, -0.61].map(|x| x * 10_f64.powf(f64::from(exponent) / 5.0)).into_iter().filter(|x| *x < 50.0)
            {
                let expected = x.exp_m1();
                assert!((exp_minus_one(x) - expected).abs() <= 1e-14 * expected.abs(), "{x}");
            }
        }
        for h in [1e-12_f64, 1e-6, -1e-6, 1e-3, 0.04, -0.049, 0.051] {
            // By the convergent series in exact order, summed from its small end.
            let terms = (2..60).rev().map(|k| (-h).powi(k) / f64::from(k * (k - 1)));
            let expected: f64 = terms.sum();
            let change = (1.0 + h) - 1.0;
            let slope = (1.0 + h).ln();
            let slack = 4e-16 * expected + (change - h).abs() * slope.abs() + 2e-16 * f64::from(u8::from(h > 0.05));
            assert!((entropy_from_one(1.0 + h) - expected).abs() <= slack, "{h}");
        }
        assert_eq!((entropy_from_one(0.0), entropy_from_one(1.0)), (1.0, 0.0));
        // Far beyond what densities reach in f32.
        assert!((exp_minus_one(200.0) / 200_f64.exp() - 1.0).abs() < 1e-14);
    }
}
