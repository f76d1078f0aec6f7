//! Penalties whose majorant separates over the entries of a plan.

use std::f64::consts::LOG2_E;

use ot_core::Error;

use crate::limits::positive;

/// Exponents above which exponentials are taken of sums of logarithms.
const LARGE_EXPONENT: f64 = 500.0;

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

    /// The same penalty of other strengths.
    pub(super) fn map(self, change: impl Fn(f64) -> f64) -> Self {
        match self {
            MassPenalty::Kl { source, target } => MassPenalty::Kl { source: change(source), target: change(target) },
            MassPenalty::SquaredL2 { source, target } => {
                MassPenalty::SquaredL2 { source: change(source), target: change(target) }
            }
        }
    }

    /// By which power of a mass a strength is a cost: rho is one, or rho times a mass.
    pub(super) fn degree(self) -> f64 {
        match self {
            MassPenalty::Kl { .. } => 0.0,
            MassPenalty::SquaredL2 { .. } => 1.0,
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
            MassPenalty::Kl { .. } if p > 0.0 && a > 0.0 => relative_entropy(p, a),
            MassPenalty::Kl { .. } => a,
            MassPenalty::SquaredL2 { .. } => 0.5 * (p - a) * (p - a),
        };
        rho * marginal.iter().zip(weights).map(atom).sum::<f64>()
    }

    /// A potential of an ordinary size.
    pub(super) fn unit(self, rho: f64, weights: &[f64]) -> f64 {
        match self {
            MassPenalty::Kl { .. } => rho,
            MassPenalty::SquaredL2 { .. } => (rho * weights.iter().copied().fold(0.0, f64::max)).max(f64::MIN_POSITIVE),
        }
    }

    /// The binary logarithm of the mass that one pair would move if there were no other, at a cost that is not positive.
    pub(super) fn log2_alone(self, cost: f64, [a, b]: [f64; 2]) -> f64 {
        let [rho_a, rho_b] = self.strengths();
        let share = 1.0 / (1.0 + rho_b / rho_a);
        match self {
            // rho_a log(p / a) + rho_b log(p / b) + C = 0
            MassPenalty::Kl { .. } => share * a.log2() + (1.0 - share) * b.log2() - cost / (rho_a + rho_b) * LOG2_E,
            // rho_a (p - a) + rho_b (p - b) + C = 0
            MassPenalty::SquaredL2 { .. } => {
                let of_cost = (-cost).log2() - (rho_a + rho_b).log2();
                of_cost.max((share * a + (1.0 - share) * b).log2())
            }
        }
    }

    /// The penalties of having no mass at all: the objective of the empty plan.
    pub(super) fn of_nothing(self, weights: [&[f64]; 2]) -> f64 {
        let penalty = |(rho, weights): (f64, &[f64])| self.value(rho, &vec![0.0; weights.len()], weights);
        self.strengths().into_iter().zip(weights).map(penalty).sum()
    }

    /// The potential f at which the mass s exp(f / beta), s given by its logarithm, is the one that the penalty asks for.
    pub(super) fn proximal(self, rho: f64, beta: f64, weight: f64, log_sum: f64) -> f64 {
        match self {
            // log s + f / beta = log a - f / rho
            MassPenalty::Kl { .. } => (weight.ln() - log_sum) / (1.0 / beta + 1.0 / rho),
            // s exp(f / beta) = a - f / rho, that is exp(t) + c t = 1 + c log (s / a) for the logarithm t of the mass over a
            MassPenalty::SquaredL2 { .. } => {
                let (rate, log_ratio) = (beta / (rho * weight), log_sum - weight.ln());
                if rate.is_infinite() {
                    return 0.0;
                }
                beta * (log_of_root(rate, 1.0 + rate * log_ratio) - log_ratio)
            }
        }
    }

    /// What is to be added to all f and taken from all g, so that both marginals ask for the same mass.
    pub(super) fn shift(self, potentials: [&[f64]; 2], weights: [&[f64]; 2]) -> f64 {
        let [rho_a, rho_b] = self.strengths();
        let atoms = |side: usize| potentials[side].iter().zip(weights[side]).filter(|(_, weight)| **weight > 0.0);
        match self {
            MassPenalty::Kl { .. } => {
                // log sum_i a_i exp(-f_i / rho)
                let log_mass = |side: usize, rho: f64| {
                    let largest = atoms(side).map(|(f, a)| a.ln() - f / rho).fold(f64::NEG_INFINITY, f64::max);
                    largest + atoms(side).map(|(f, a)| (a.ln() - f / rho - largest).exp()).sum::<f64>().ln()
                };
                let difference = log_mass(0, rho_a) - log_mass(1, rho_b);
                if difference.is_finite() { difference / (1.0 / rho_a + 1.0 / rho_b) } else { 0.0 }
            }
            MassPenalty::SquaredL2 { .. } => {
                let mass = |side: usize, rho: f64| atoms(side).map(|(f, a)| a - f / rho).sum::<f64>();
                let slope = atoms(0).count() as f64 / rho_a + atoms(1).count() as f64 / rho_b;
                (mass(0, rho_a) - mass(1, rho_b)) / slope
            }
        }
    }

    /// min over p >= 0 of the penalty of p plus f p, for one atom: what the dual gains of a potential f.
    pub(super) fn dual(self, rho: f64, f: f64, a: f64) -> f64 {
        match self {
            // exp(-f / rho) may be out of range where the mass is not.
            MassPenalty::Kl { .. } if -f / rho > LARGE_EXPONENT => rho * (a - (a.ln() - f / rho).exp()),
            MassPenalty::Kl { .. } => -rho * (a * (-f / rho).exp_m1()),
            MassPenalty::SquaredL2 { .. } if f > rho * a => 0.5 * (rho * a) * a,
            MassPenalty::SquaredL2 { .. } => f * (a - 0.5 * (f / rho)),
        }
    }
}

/// p log (p / a) - p + a, with its digits where both are near each other.
fn relative_entropy(p: f64, a: f64) -> f64 {
    let change = (p - a) / a;
    match change.abs() {
        size if size < 1e-4 => a * (change * change * (0.5 - change * (1.0 / 6.0 - change / 12.0))),
        // The ratio may be out of range.
        size if size > 1e100 => p * (p.ln() - a.ln()) - (p - a),
        _ => p * (p / a).ln() - (p - a),
    }
}

/// The solution t of exp(t) + c t = d for c > 0, by Newton's iteration from above, where it cannot overshoot.
fn log_of_root(c: f64, d: f64) -> f64 {
    let mut t = match d {
        d if d >= 1.0 => d.ln().min(d / c),
        d => (d / c).min(0.0),
    };
    for _ in 0..60 {
        let step = (t.exp() + c * t - d) / (t.exp() + c);
        t -= step;
        if step <= f64::EPSILON * t.abs() {
            break;
        }
    }
    t
}
