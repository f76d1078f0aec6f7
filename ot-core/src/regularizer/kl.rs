//! Kullback-Leibler divergence to the wanted marginal (Liero, Mielke, Savare 2018; Chizat 2018).

use super::{LawKind, PenaltyFormula, bounded_exp, positive};
use crate::{error::Error, real::Real};

/// phi(r) = rho (r log r - r + 1): mass may be created and destroyed at a price.
///
/// ```
/// use ot_core::Kl;
///
/// let law = Kl::new(0.5)?;
/// assert_eq!(law.rho(), 0.5);
/// assert!(Kl::new(-1.0).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Kl {
    rho: f64,
}

impl Kl {
    /// The law of strength rho > 0, in the units of the cost.
    ///
    /// # Errors
    /// [`Error::Parameter`] if rho is not finite and positive.
    pub fn new(rho: f64) -> Result<Self, Error> {
        Ok(Self { rho: positive("rho", rho)? })
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

impl PenaltyFormula for Kl {
    fn kind(&self) -> LawKind {
        LawKind::Kl { rho: self.rho }
    }

    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        softmin / (R::constant(1.0) + epsilon / R::constant(self.rho))
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        let rho = R::constant(self.rho);
        rho * (bounded_exp(slope / rho) - R::constant(1.0))
    }

    fn value<R: Real>(&self, density: R) -> R {
        let one = R::constant(1.0);
        let entropy = density.select(density * density.max(R::constant(1e-37)).ln(), R::constant(0.0));
        R::constant(self.rho) * (entropy - density + one)
    }

    fn demand<R: Real>(&self, potential: R, _epsilon: R) -> [R; 2] {
        [bounded_exp(-potential / R::constant(self.rho)); 2]
    }
}
