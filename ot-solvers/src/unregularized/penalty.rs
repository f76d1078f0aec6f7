//! Penalties whose majorant separates over the entries of a plan.

use ot_core::Error;

use crate::limits::positive;

/// What a plan pays for a marginal p other than the weights a that were asked for. Strengths are those of source and target.
#[derive(Copy, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MassPenalty {
    /// rho sum_i (p_i log(p_i / a_i) - p_i + a_i).
    Kl {
        /// Strength on the rows.
        source: f64,
        /// Strength on the columns.
        target: f64,
    },
    /// rho / 2 sum_i (p_i - a_i)^2, of masses, not of densities.
    SquaredL2 {
        /// Strength on the rows.
        source: f64,
        /// Strength on the columns.
        target: f64,
    },
}

impl MassPenalty {
    /// Both strengths.
    pub(super) fn strengths(self) -> [f64; 2] {
        match self {
            MassPenalty::Kl { source, target } | MassPenalty::SquaredL2 { source, target } => [source, target],
        }
    }

    /// # Errors
    /// [`Error::Parameter`] for a strength that is not finite and positive.
    pub(super) fn check(self) -> Result<(), Error> {
        self.strengths().into_iter().try_for_each(|rho| positive("rho", rho))
    }

    /// The penalty of a marginal.
    pub(super) fn value(self, rho: f64, marginal: &[f64], weights: &[f64]) -> f64 {
        let atom = |(&p, &a): (&f64, &f64)| match self {
            MassPenalty::Kl { .. } if p > 0.0 && a > 0.0 => a * entropy_from_one(p / a),
            MassPenalty::Kl { .. } => a,
            MassPenalty::SquaredL2 { .. } => 0.5 * (p - a) * (p - a),
        };
        rho * marginal.iter().zip(weights).map(atom).sum::<f64>()
    }

    /// The potential of a marginal: minus the slope of the penalty.
    pub(super) fn potential(self, rho: f64, p: f64, a: f64) -> f64 {
        match self {
            MassPenalty::Kl { .. } => rho * (a / p).ln(),
            MassPenalty::SquaredL2 { .. } => rho * (a - p),
        }
    }

    /// min over p >= 0 of the penalty of p plus f p, for one atom: what the dual gains of a potential f.
    pub(super) fn dual(self, rho: f64, f: f64, a: f64) -> f64 {
        match self {
            MassPenalty::Kl { .. } => -a * rho * (-f / rho).exp_m1(),
            MassPenalty::SquaredL2 { .. } if f > rho * a => 0.5 * rho * a * a,
            MassPenalty::SquaredL2 { .. } => f * a - 0.5 * f * f / rho,
        }
    }
}

/// r log r - r + 1, with its digits near 1.
fn entropy_from_one(r: f64) -> f64 {
    let change = r - 1.0;
    if change.abs() < 1e-4 {
        change * change * (0.5 - change * (1.0 / 6.0 - change / 12.0))
    } else {
        r * r.ln() - change
    }
}
