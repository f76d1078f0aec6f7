//! The convex penalty of one marginal of the plan.
//!
//! Entropic transport between a and b, with a penalty on either marginal, is
//!
//! ```text
//! min_P  <P, C> + epsilon KL(P | a b^T) + sum_i a_i phi((P 1)_i / a_i) + sum_j b_j psi((P^T 1)_j / b_j)
//! max_fg -sum_i a_i phi*(-f_i) - sum_j b_j psi*(-g_j) - epsilon (sum_ij P_ij - mass(a) mass(b))
//! ```
//!
//! phi is a convex function of the *density* r = (P 1)_i / a_i of the marginal with respect to
//! what was asked for (Chizat, Peyre, Schmitzer, Vialard 2018; Sejourne, Feydy, Vialard, Trouve,
//! Peyre 2019). A penalty is written once, as a [`MarginalPenalty`] over [`Real`]. A problem records it as a
//! [`RecordedPenalty`]: the programs that a device runs, and that duals differentiate.
//!
//! | penalty | phi(r) | step(s) | phi*(q) |
//! |---|---|---|---|
//! | [`Balanced`] | 0 at r = 1, else infinite | s | q |
//! | [`Kl`] | rho (r log r - r + 1) | s rho / (rho + epsilon) | rho (exp(q / rho) - 1) |
//! | [`TotalVariation`] | rho abs(r - 1) | s clamped to [-rho, rho] | max(q, -rho), q <= rho |
//! | [`Range`] | 0 on [low, high], else infinite | s + epsilon log low, 0 or s + epsilon log high | max(low q, high q) |
//! | [`Free`] | 0 | 0 | 0, q <= 0 |
//! | [`Capped`] | that of another, r <= cap | min(its step, s + epsilon log cap) | its own, then a line of slope cap |

mod balanced;
mod capped;
mod free;
mod kl;
mod newton;
mod range;
mod recorded;
mod total_variation;

use std::fmt::Debug;

pub use self::{
    balanced::Balanced,
    capped::Capped,
    free::Free,
    kl::Kl,
    range::Range,
    recorded::{PenaltyDerivative, RecordedPenalty},
    total_variation::TotalVariation,
};
use crate::{error::Error, real::Real};

/// A density above those that plans have: what a penalty says for an unbounded subdifferential.
pub const UNBOUNDED: f64 = 1e300;

/// How near to a kink a potential counts as on it, in units of epsilon.
pub const KINK: f64 = 1e-9;

/// What solvers know of a penalty by name, where a closed form exists for it.
#[derive(Copy, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PenaltyKind {
    /// The marginal is prescribed.
    Balanced,
    /// Kullback-Leibler divergence times rho.
    Kl {
        /// The strength.
        rho: f64,
    },
    /// Any other, known by its formulas alone.
    Other,
}

/// The penalty of a marginal, as formulas over [`Real`].
///
/// Formulas must give finite numbers for every finite argument (in f32 too): clamp exponents. Where
/// the mathematics says infinite, say so by the bounds, outside which values do not matter.
pub trait MarginalPenalty: Clone + Debug + Send + Sync + 'static {
    /// What is known of the penalty by name. The default is [`PenaltyKind::Other`]: its formulas.
    fn kind(&self) -> PenaltyKind {
        PenaltyKind::Other
    }

    /// The densities outside which phi is infinite: [1, 1] if balanced, [0, infinity] for a
    /// finite penalty. The default is all densities, [0, infinity].
    fn density_bounds(&self) -> [f64; 2] {
        [0.0, f64::INFINITY]
    }

    /// The potentials f outside which phi*(-f) is infinite: [-rho, infinity] for total variation. An
    /// over-relaxed step is brought back within them, and no dual value is claimed outside. The default is all potentials.
    fn potential_bounds(&self) -> [f64; 2] {
        [f64::NEG_INFINITY, f64::INFINITY]
    }

    /// argmax over f of -phi*(-f) - epsilon exp((f - s) / epsilon), where s is the softmin, the
    /// potential that would meet the marginal exactly. Any epsilon > 0 may be asked for: where the regularizer is not
    /// entropy, it is the rate of a tangent (see [`c_transform_of_row`](crate::regularizer::c_transform_of_row)).
    ///
    /// The default finds the density that is its own by a guarded Newton's iteration on the
    /// [subdifferential](Self::conjugate_subdifferential), in 48 steps of a few dozen operations each. The density is
    /// right to rounding where the subdifferential is smooth; at a jump of it, and for |s| above 10^5 epsilon, up to
    /// 10^-14 |s| / epsilon, relative. Dual numbers are differentiated where the subdifferential is smooth; at a jump their
    /// derivative is 0. Write a closed form where there is one.
    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        newton::step(self, softmin, epsilon)
    }

    /// phi*(q) = sup over r of q r - phi(r).
    fn conjugate<R: Real>(&self, slope: R) -> R;

    /// phi(r) for r within the density bounds.
    fn value<R: Real>(&self, density: R) -> R;

    /// The subdifferential of phi* at -f, as [low, high]: the densities that are best at potential f.
    ///
    /// Where phi* has a kink the interval jumps, and an iterate only comes near it: a potential
    /// within [`KINK`] epsilon of a kink counts as on it, which the plan cannot tell from it.
    fn conjugate_subdifferential<R: Real>(&self, potential: R, epsilon: R) -> [R; 2];

    /// The formulas, recorded. The default records them; a recorded penalty gives itself.
    ///
    /// # Errors
    /// [`Error::Program`] for a formula that cannot be recorded.
    fn recorded(&self) -> Result<RecordedPenalty, Error> {
        Ok(RecordedPenalty::record(self)?)
    }
}

/// A strength that a penalty accepts.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<f64, Error> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(Error::Parameter { name, value, expected: "a finite number > 0" })
    }
}

/// A strength that both element types hold, with its reciprocal.
pub(crate) fn strength(rho: f64) -> Result<f64, Error> {
    if (1e-30..=1e30).contains(&rho) {
        Ok(rho)
    } else {
        Err(Error::Parameter {
            name: "rho",
            value: rho,
            expected: "a number within [1e-30, 1e30]; the limits are Free (0) and Balanced (infinity)",
        })
    }
}

/// The largest number of an element type over the largest exponential of a formula: products of that with weights, strengths
/// and logarithms of an ordinary size are numbers too.
const HEADROOM: f64 = 65_536.0;

/// e^x, and from there on the largest number of the element type over 2^16: about e^77 in f32, e^698 in f64.
///
/// It is right for what a penalty demands of a plan. A conjugate that saturates says less than it is: certificates claim no dual
/// where it [does](saturates).
pub(crate) fn bounded_exp<R: Real>(exponent: R) -> R {
    // Above the logarithm of any number. Constants beyond the range are the largest number, and powers of two round nothing.
    (exponent.min(1000.0).exp() * HEADROOM).min(f64::MAX) * HEADROOM.recip()
}

/// Is e^x beyond [`bounded_exp`] in f64?
pub(crate) fn saturates(exponent: f64) -> bool {
    bounded_exp(exponent) == f64::MAX / HEADROOM
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dual::Dual, program::Program, real::Number, scalar::Scalar};

    fn ends_of<T: Scalar>(last: f64) {
        let of = |exponent: f64| bounded_exp(Number(T::from_f64(exponent))).0.to_f64();
        for exponent in [-1e30, -1000.0, -80.0, -1.0, 0.0, 1.0, 50.0, last] {
            let expected = T::from_f64(exponent).exp().to_f64();
            assert_eq!(of(exponent), expected, "{exponent}");
        }
        for exponent in [last + 1.0, 100.0 + last, 1e10, 1e30, T::MAX] {
            assert_eq!(of(exponent), T::MAX / HEADROOM, "{exponent}");
        }
    }

    /// The bits of exp as far as the element type goes, then one number.
    #[test]
    fn exponentials_end_with_their_element_type() {
        ends_of::<f32>(77.0);
        ends_of::<f64>(698.0);
        let program = Program::record(|[x]| [bounded_exp(x)]).unwrap();
        for x in [-3.0, 0.5, 300.0, 697.0, 800.0] {
            assert_eq!(program.call([x]).unwrap(), [bounded_exp(x)]);
            assert_eq!(saturates(x), x == 800.0);
        }
        let [at_end, inside] = [800.0, 300.0].map(|x| bounded_exp(Dual::variable(x)).derivative);
        assert_eq!((at_end, inside), (0.0, 300_f64.exp()));
    }
}
