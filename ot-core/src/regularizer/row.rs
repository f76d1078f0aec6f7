//! The c-transform of one row: the best potential of one atom under its penalty, for any regularizer.
//!
//! With the potentials of the other side given, the dual is a concave function of the potential f of an atom,
//!
//! ```text
//! -phi*(-f) - epsilon sum_j b_j h*((f + g_j - C_j) / epsilon)
//! ```
//!
//! and its maximum is where the density r(f) = sum_j b_j h*'((f + g_j - C_j) / epsilon), which never falls, meets the
//! subdifferential of phi* at -f, which never rises. Entropy has r(f) = exp((f - s) / epsilon), and the penalty's
//! [`step`](crate::MarginalPenalty::step) is the answer. Of another regularizer, the tangent of r at f reaches a
//! density d at some f_d, and through both points there goes one exponential,
//!
//! ```text
//! r(x) ~ exp((x - s) / t)        t = (f_d - f) / log(d / r)        s = f - t log r
//! ```
//!
//! so that step(s, t) is the next point: Newton's for a balanced row, with kinks of the penalty met exactly. What is known
//! of signs makes a bracket, within which doubtful points give way to bisection.

use crate::{
    penalty::{PenaltyKind, RecordedPenalty},
    scalar::{Scalar, UNREACHABLE},
};

/// Points tried at most: enough to bisect the numbers of either type.
const LIMIT: usize = 160;

/// Points after which every other one bisects.
const PATIENCE: usize = 24;

/// The size of a potential that says nothing, over epsilon.
const FARTHEST: f64 = 1e20;

/// A step, over epsilon, that is long.
const LONG: f64 = 1e3;

/// What a formula writes for a density without bound.
const UNBOUNDED: f64 = 1e30;

/// The density of one atom of the plan as a function of its potential.
pub trait RowDensity {
    /// r(f) = sum_j b_j h*'((f + g_j - C_j) / epsilon) and r'(f).
    fn at(&mut self, potential: f64) -> [f64; 2];

    /// The potential at which the atom's nearest partner, with all the weight there is, would give it this density: r
    /// is no larger there, and positive. `None` for an atom without partners.
    fn reach(&mut self, density: f64) -> Option<f64>;

    /// A potential at which r is no smaller than this density: that of the farthest partner, in the place of the nearest.
    /// It keeps long steps where the density is due to partners of hardly any weight; `None`, by default, does not.
    fn saturation(&mut self, density: f64) -> Option<f64> {
        let _ = density;
        None
    }
}

/// The c-transform of a row under a penalty, to the rounding of `T`, from a guess of it. The row of no partner gets what
/// the penalty makes of [`UNREACHABLE`]. Where a density of zero is best at many potentials, the lowest is taken: the
/// guess does not matter.
///
/// Costs two or three densities near the answer, more from afar.
pub fn c_transform_of_row<T: Scalar>(
    penalty: &RecordedPenalty,
    epsilon: f64,
    guess: f64,
    row: &mut impl RowDensity,
) -> f64 {
    let [lowest, highest] = penalty.potential_bounds();
    let rounded = |potential: f64| {
        let within = potential.max(lowest).min(highest);
        T::from_f64(within.clamp(-T::LARGEST_COST, T::LARGEST_COST)).to_f64()
    };
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    // The potential of an unreachable atom is no guess.
    let guess = if guess.abs() < FARTHEST * epsilon { guess } else { row.reach(1.0).unwrap_or(guess) };
    let mut potential = rounded(guess);
    for attempt in 0..LIMIT {
        let [density, slope] = row.at(potential);
        let [least, most] = subdifferential(penalty, potential, epsilon);
        let wanted = if density < least {
            low = potential;
            least
        } else if density > most {
            high = potential;
            most
        } else if density > 0.0 {
            return potential;
        } else {
            // A step from so far may have lost all digits.
            let lowest = step(penalty, UNREACHABLE, epsilon);
            let [least, _] = subdifferential(penalty, lowest, epsilon);
            return if least <= 0.0 { potential.min(rounded(lowest)) } else { potential };
        };
        // What rounding of the terms makes of a density.
        if (density - wanted).abs() <= T::EPSILON * (density + slope * potential.abs()) {
            return potential;
        }

        let proposed = if density > 0.0 && slope > 0.0 {
            let ratio = wanted / density;
            let secant = (wanted - density) / (slope * ratio.ln());
            let rate = if (ratio - 1.0).abs() > 1e-4 && ratio > 0.0 { secant } else { density / slope };
            step(penalty, potential - rate * density.ln(), rate)
        } else {
            match row.reach(wanted.min(1.0)) {
                Some(potential) => potential,
                None => return rounded(step(penalty, UNREACHABLE, epsilon)),
            }
        };
        let proposed = match row_end(row, [potential, proposed], high, epsilon, wanted) {
            Some(end) if end > low => proposed.min(end),
            _ => proposed,
        };
        let is_doubtful = attempt >= PATIENCE && attempt % 2 == 1;
        let next = rounded(match (low.is_finite(), high.is_finite()) {
            _ if low < proposed && proposed < high && !is_doubtful => proposed,
            (true, true) => low + (high - low) / 2.0,
            (true, false) => low + epsilon * f64::exp2(attempt as f64),
            _ => high - epsilon * f64::exp2(attempt as f64),
        });
        // Rounded to an end of the bracket, which is not the answer unless it is next to the other.
        let next = match next {
            next if next <= low => rounded(low + T::EPSILON * low.abs().max(T::TINY)),
            next if next >= high => rounded(high - T::EPSILON * high.abs().max(T::TINY)),
            next => next,
        };
        if next <= low || next >= high {
            return next.clamp(low, high);
        }
        potential = next;
    }
    potential
}

/// Where a long step into the open ends at the latest.
fn row_end(
    row: &mut impl RowDensity,
    [potential, proposed]: [f64; 2],
    high: f64,
    epsilon: f64,
    wanted: f64,
) -> Option<f64> {
    match high == f64::INFINITY && proposed - potential > LONG * epsilon {
        true => row.saturation(wanted),
        false => None,
    }
}

/// The subdifferential of phi* at -f.
fn subdifferential(penalty: &RecordedPenalty, potential: f64, epsilon: f64) -> [f64; 2] {
    match penalty.kind() {
        PenaltyKind::Balanced => [1.0; 2],
        // Recorded with two inputs and two outputs.
        _ => match penalty.conjugate_subdifferential().call([potential, epsilon]) {
            Ok([least, most]) if most >= UNBOUNDED => [least, f64::INFINITY],
            bounds => bounds.unwrap_or([1.0; 2]),
        },
    }
}

/// The step of a penalty.
fn step(penalty: &RecordedPenalty, softmin: f64, rate: f64) -> f64 {
    match penalty.kind() {
        PenaltyKind::Balanced => softmin,
        PenaltyKind::Kl { rho } => softmin / (1.0 + rate / rho),
        PenaltyKind::Other => penalty.step().call([softmin, rate]).map_or(softmin, |[potential]| potential),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        penalty::{Balanced, Free, Kl, Range, TotalVariation},
        regularizer::{Entropy, RecordedRegularizer, RegularizerKind, SquaredL2},
    };

    /// A row of costs with weights, by the formulas.
    struct Row {
        programs: RecordedRegularizer,
        costs: Vec<f64>,
        weights: Vec<f64>,
        epsilon: f64,
        asked: usize,
    }

    impl RowDensity for Row {
        fn at(&mut self, potential: f64) -> [f64; 2] {
            self.asked += 1;
            let mut sums = [0.0; 2];
            for (cost, weight) in self.costs.iter().zip(&self.weights) {
                let [density, slope] = self.programs.density_and_slope_at((potential - cost) / self.epsilon);
                sums[0] += weight * density;
                sums[1] += weight * slope / self.epsilon;
            }
            sums
        }

        fn reach(&mut self, density: f64) -> Option<f64> {
            let mass: f64 = self.weights.iter().sum();
            let partners = self.costs.iter().zip(&self.weights).filter(|(_, weight)| **weight > 0.0);
            let nearest = partners.map(|(cost, _)| *cost).reduce(f64::min)?;
            Some(nearest + self.epsilon * self.programs.slope_at(density / mass))
        }
    }

    fn penalties() -> Vec<RecordedPenalty> {
        vec![
            RecordedPenalty::new(&Balanced).unwrap(),
            RecordedPenalty::new(&Kl::new(0.3).unwrap()).unwrap(),
            RecordedPenalty::new(&Kl::new(1e-6).unwrap()).unwrap(),
            RecordedPenalty::new(&Kl::new(1e6).unwrap()).unwrap(),
            RecordedPenalty::new(&TotalVariation::new(0.2).unwrap()).unwrap(),
            RecordedPenalty::new(&Range::new(0.5, 1.5).unwrap()).unwrap(),
            RecordedPenalty::new(&Free).unwrap(),
        ]
    }

    #[test]
    fn the_density_found_is_in_the_subdifferential() {
        let regularizers = [RecordedRegularizer::new(&SquaredL2).unwrap(), RecordedRegularizer::new(&Entropy).unwrap()];
        let pairs = regularizers.iter().flat_map(|r| penalties().into_iter().map(move |penalty| (r, penalty)));
        for (regularizer, penalty) in pairs {
            for epsilon in [1e-3, 0.1, 10.0] {
                for guess in [0.0_f64, -5.0, 5.0, 1e6] {
                    // Entropy of the guess would overflow.
                    let is_entropy = regularizer.kind() == RegularizerKind::Entropy;
                    let guess = if is_entropy { guess.min(5.0 * epsilon) } else { guess };
                    let mut row = Row {
                        programs: regularizer.clone(),
                        costs: (0..40).map(|j| f64::from(j * 17 % 40) / 20.0 - 0.5).collect(),
                        weights: (0..40).map(|j| f64::from(j % 5) / 80.0).collect(),
                        epsilon,
                        asked: 0,
                    };
                    let potential = c_transform_of_row::<f64>(&penalty, epsilon, guess, &mut row);
                    assert!(row.asked < 60, "{penalty:?} {epsilon} {guess}: {} densities", row.asked);
                    let [density, slope] = row.at(potential);
                    let near = 1e-9 * epsilon + 1e-14;
                    let [least, _] = subdifferential(&penalty, potential + near, epsilon);
                    let [_, most] = subdifferential(&penalty, potential - near, epsilon);
                    let slack = 1e-12 * (1.0 + density) + slope * near;
                    assert!(
                        density >= least - slack && density <= most + slack,
                        "{regularizer:?} {penalty:?} {epsilon} {guess}: {density} at {potential}, not within {least} and {most}"
                    );
                }
            }
        }
    }

    #[test]
    fn kinks_of_a_penalty_are_met_to_the_rounding_of_the_element_type() {
        let penalty = RecordedPenalty::new(&TotalVariation::new(0.1).unwrap()).unwrap();
        let mut row = Row {
            programs: RecordedRegularizer::new(&SquaredL2).unwrap(),
            costs: vec![-0.5, 0.05],
            weights: vec![0.0, 0.5],
            epsilon: 0.1,
            asked: 0,
        };
        // Density 0.25 at rho, 0.1 in f32 and not in f64.
        for guess in [-1.0, 0.0, 0.2, 3.0] {
            let potential = c_transform_of_row::<f32>(&penalty, 0.1, guess, &mut row);
            assert!((potential - 0.1).abs() < 3e-8, "{guess}: {potential}");
        }
    }

    #[test]
    fn an_atom_without_partners_is_unreachable() {
        let penalty = RecordedPenalty::new(&Balanced).unwrap();
        let mut row = Row {
            programs: RecordedRegularizer::new(&SquaredL2).unwrap(),
            costs: vec![1.0],
            weights: vec![0.0],
            epsilon: 1.0,
            asked: 0,
        };
        assert_eq!(c_transform_of_row::<f64>(&penalty, 1.0, 0.0, &mut row), UNREACHABLE);
    }
}
