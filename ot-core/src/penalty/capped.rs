//! Any penalty, with densities kept below a cap.

use super::{KINK, MarginalPenalty, PenaltyKind};
use crate::{dual::Dual, error::Error, real::Real};

/// A penalty with infinite cost of densities above a cap:
///
/// ```text
/// phi_cap(r) = phi(r) for r <= cap, else infinite
/// phi_cap*(q) = phi*(q) up to the slope q' of phi at the cap, beyond it phi*(q') + cap (q - q')
/// step_cap(s) = min(step(s), s + epsilon log cap)
/// ```
///
/// Exact, and finite where phi* is not: so a penalty whose conjugate ends at some slope (Burg's entropy, total variation)
/// becomes one of all slopes. Of the formulas inside, those of potentials below -q' are not used but for the step, which
/// may be anything there that is larger than it should be.
///
/// ```
/// use ot_core::{Capped, Kl, MarginalPenalty};
///
/// // Mass may vanish at a price, and doubles at most.
/// let penalty = Capped::new(Kl::new(0.5)?, 2.0)?;
/// assert_eq!(penalty.density_bounds(), [0.0, 2.0]);
/// assert_eq!(penalty.step(-3.0, 0.1), -3.0 + 0.1 * f64::ln(2.0));
/// assert_eq!(penalty.step(3.0, 0.1), Kl::new(0.5)?.step(3.0, 0.1));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Capped<P> {
    penalty: P,
    cap: f64,
    /// Are any densities of the penalty above?
    cuts: bool,
}

impl<P: MarginalPenalty> Capped<P> {
    /// A penalty of densities up to a cap.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a cap that is not within (0, 1e30], or not above the least density of the penalty, or at
    /// which its phi has no finite slope.
    pub fn new(penalty: P, cap: f64) -> Result<Self, Error> {
        let refused = |expected| Err(Error::Parameter { name: "cap", value: cap, expected });
        let [least, most] = penalty.density_bounds();
        if !(cap > 0.0 && cap <= 1e30) {
            return refused("a number within (0, 1e30]");
        }
        if cap >= most {
            return Ok(Self { penalty, cap, cuts: false });
        }
        if cap <= least {
            return refused("a density above the least one of the penalty");
        }
        let capped = Self { penalty, cap, cuts: true };
        if !capped.slope_at_cap(0.0).is_finite() {
            return refused("a density at which the penalty has a finite slope");
        }
        Ok(capped)
    }

    /// The slope of phi at the cap: of the parameters that phi names, and of no other number of the formula.
    fn slope_at_cap<R: Real>(&self, of_formula: R) -> R {
        self.penalty.value(Dual::variable(of_formula * 0.0 + self.cap)).derivative
    }

    /// The largest density.
    #[must_use]
    pub fn cap(&self) -> f64 {
        self.cap
    }

    /// The penalty of the densities below.
    #[must_use]
    pub fn penalty(&self) -> &P {
        &self.penalty
    }
}

impl<P: MarginalPenalty> MarginalPenalty for Capped<P> {
    fn kind(&self) -> PenaltyKind {
        if self.cuts { PenaltyKind::Other } else { self.penalty.kind() }
    }

    fn density_bounds(&self) -> [f64; 2] {
        let [low, high] = self.penalty.density_bounds();
        [low, high.min(self.cap)]
    }

    fn potential_bounds(&self) -> [f64; 2] {
        let [low, high] = self.penalty.potential_bounds();
        [if self.cuts { f64::NEG_INFINITY } else { low }, high]
    }

    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        let step = self.penalty.step(softmin, epsilon);
        if self.cuts { (softmin + epsilon * self.cap.ln()).min(step) } else { step }
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        if !self.cuts {
            return self.penalty.conjugate(slope);
        }
        let largest = self.slope_at_cap(slope);
        self.penalty.conjugate(slope.min(largest)) + self.cap * (slope - largest).max(0.0)
    }

    fn value<R: Real>(&self, density: R) -> R {
        self.penalty.value(density)
    }

    /// The cap below -q'; up to it at -q'; those of the penalty above.
    fn conjugate_subdifferential<R: Real>(&self, potential: R, epsilon: R) -> [R; 2] {
        if !self.cuts {
            return self.penalty.conjugate_subdifferential(potential, epsilon);
        }
        let largest = self.slope_at_cap(potential);
        let near = KINK * epsilon;
        let [low, high] = self.penalty.conjugate_subdifferential(potential.max(-largest), epsilon);
        let low = (-largest - near - potential).select(self.cap, low.min(self.cap));
        let high = (potential + largest - near).select(high.min(self.cap), self.cap);
        [low, high]
    }
}
