//! The step of a penalty that is known by its conjugate subdifferential alone.

use super::MarginalPenalty;
use crate::{dual::Dual, real::Real};

/// Steps of the iteration: as many halvings take a bracket of 10^5 epsilon to 10^-9 epsilon.
const STEPS: usize = 48;

/// Densities below this are none: both element types hold it.
const LEAST: f64 = 1e-37;

/// The logarithm of no density.
const LOG_OF_NONE: f64 = -1e30;

/// How near to a kink a potential counts as on it here, in units of [`KINK`](super::KINK) epsilon: so near that what
/// depends on a potential does not jump by more than a rounding.
const SHARP: f64 = 1e-7;

/// Below this change of a log-density Newton's steps are believed, however they compare with those before.
const NEAR: f64 = 1e-6;

/// The f whose density exp((f - s) / epsilon) is in the subdifferential of phi* at -f, by Newton's iteration on
///
/// ```text
/// (f - s) / epsilon - log r(f)
/// ```
///
/// which rises at least as fast as its first term. A bracket is kept; a step that leaves it, or is not half of the last
/// but one, is replaced by its middle (Dekker 1969; Press et al., Numerical Recipes, section 9.4).
pub(super) fn step<P: MarginalPenalty, R: Real>(penalty: &P, softmin: R, epsilon: R) -> R {
    let sharp = epsilon * SHARP;
    let [least, most] = penalty.potential_bounds();
    // At potential 0 the densities [low, high] are best. With more, f is below 0, and the density at it at least `high`;
    // with fewer, the other way round; else it is 0.
    let [low, high] = penalty.conjugate_subdifferential(R::constant(0.0), sharp);
    let mut low_end = (softmin + epsilon * log(high)).min(0.0);
    let mut high_end = (softmin + epsilon * log(low)).max(0.0);
    if least.is_finite() {
        low_end = low_end.max(least);
    }
    if most.is_finite() {
        high_end = high_end.min(most);
    }
    // One of the ends is 0.
    let mut potential = low_end + high_end;
    let (mut last, mut last_but_one) = (high_end - low_end, high_end - low_end);
    for _ in 0..STEPS {
        let [low, high] = penalty.conjugate_subdifferential(Dual::variable(potential), Dual::constant(sharp));
        let log_density = (potential - softmin) / epsilon;
        let above = log_density - log(high.value);
        let below = log_density - log(low.value);
        let excess = above.max(0.0) + below.min(0.0);
        let slope = |density: Dual<R>| density.derivative / density.value.max(LEAST);
        let rate = (1.0 - epsilon * above.select(slope(high), slope(low))).max(1.0);
        high_end = excess.select(potential, high_end);
        low_end = (-excess).select(potential, low_end);

        let middle = 0.5 * (low_end + high_end);
        let change = epsilon * excess / rate;
        let newton = potential - change;
        // A comparison with what is no number is false.
        let size = change.abs();
        let is_number = 1e37 - size;
        let is_outside = (low_end - newton).max(newton - high_end);
        let is_slow = (2.0 * size - last_but_one).min(size - NEAR * epsilon);
        let guarded = is_number.select(is_outside.max(is_slow).select(middle, newton), middle);
        // On the solution nothing moves.
        let next = excess.abs().select(guarded, potential);
        last_but_one = last;
        last = (next - potential).abs();
        potential = next;
    }
    potential
}

/// log r, and a logarithm below all others where there is no density.
fn log<R: Real>(density: R) -> R {
    density.select(density.max(LEAST).ln(), LOG_OF_NONE)
}
