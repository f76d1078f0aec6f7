//! The potential of one atom at which its law demands the marginal that the plan has.
//!
//! With the potentials of the other side given, the dual is a concave function of the potential f of an atom,
//!
//! ```text
//! -phi*(-f) - epsilon sum_j b_j h*((f + g_j - C_j) / epsilon)
//! ```
//!
//! and its maximum is where the density r(f) = sum_j b_j h*'((f + g_j - C_j) / epsilon), which never falls, meets
//! what the law demands, which never rises. Entropy has r(f) = exp((f - s) / epsilon), and the law's
//! [`step`](crate::PenaltyFormula::step) is the answer. Of another regularizer, the tangent of r at f reaches a
//! density d at some f_d, and through both points there goes one exponential,
//!
//! ```text
//! r(x) ~ exp((x - s) / t)        t = (f_d - f) / log(d / r)        s = f - t log r
//! ```
//!
//! so that step(s, t) is the next point: Newton's for a balanced row, with kinks of the law met exactly. What is known
//! of signs makes a bracket, within which doubtful points give way to bisection.

use crate::{
    regularizer::{LawKind, LawPrograms},
    scalar::{Scalar, UNREACHABLE},
};

/// Points tried at most: enough to bisect the numbers of either type.
const LIMIT: usize = 160;

/// Points after which every other one bisects.
const PATIENCE: usize = 24;

/// The density of one atom of the plan as a function of its potential.
pub trait RowDensity {
    /// r(f) = sum_j b_j h*'((f + g_j - C_j) / epsilon) and r'(f).
    fn at(&mut self, potential: f64) -> [f64; 2];

    /// The potential at which the atom's nearest partner, with all the weight there is, would give it this density: r
    /// is no larger there, and positive. `None` for an atom without partners.
    fn reach(&mut self, density: f64) -> Option<f64>;
}

/// The potential of a row under a law, to the rounding of `T`, from a guess of it. The row of no partner gets what the
/// law makes of [`UNREACHABLE`].
///
/// Costs two or three densities near the answer, more from afar.
pub fn respond<T: Scalar>(law: &LawPrograms, epsilon: f64, guess: f64, row: &mut impl RowDensity) -> f64 {
    let rounded = |potential: f64| T::from_f64(potential.clamp(-T::LARGEST_COST, T::LARGEST_COST)).to_f64();
    let (mut low, mut high) = (f64::NEG_INFINITY, f64::INFINITY);
    let mut potential = rounded(guess);
    for attempt in 0..LIMIT {
        let [density, slope] = row.at(potential);
        let [least, most] = demanded(law, potential, epsilon);
        let wanted = if density < least {
            low = potential;
            least
        } else if density > most {
            high = potential;
            most
        } else {
            return potential;
        };
        // What rounding of the terms makes of a density.
        if (density - wanted).abs() <= T::EPSILON * (density + slope * potential.abs()) {
            return potential;
        }

        let proposed = if density > 0.0 && slope > 0.0 {
            let ratio = wanted / density;
            let secant = (wanted - density) / (slope * ratio.ln());
            let rate = if (ratio - 1.0).abs() > 1e-4 && ratio > 0.0 { secant } else { density / slope };
            step(law, potential - rate * density.ln(), rate)
        } else {
            match row.reach(wanted.min(1.0)) {
                Some(potential) => potential,
                None => return rounded(step(law, UNREACHABLE, epsilon)),
            }
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

/// The densities that a law demands.
fn demanded(law: &LawPrograms, potential: f64, epsilon: f64) -> [f64; 2] {
    match law.kind() {
        LawKind::Balanced => [1.0; 2],
        // Recorded with two inputs and two outputs.
        _ => law.demand().call([potential, epsilon]).unwrap_or([1.0; 2]),
    }
}

/// The step of a law.
fn step(law: &LawPrograms, softmin: f64, rate: f64) -> f64 {
    match law.kind() {
        LawKind::Balanced => softmin,
        LawKind::Kl { rho } => softmin / (1.0 + rate / rho),
        LawKind::Other => law.step().call([softmin, rate]).map_or(softmin, |[potential]| potential),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        plan_regularizer::{Entropy, PlanPrograms, PlanRegularizer, SquaredL2},
        regularizer::{Balanced, Free, Kl, Range, Regularizer, TotalVariation},
    };

    /// A row of costs with weights, by the formulas.
    struct Row {
        programs: PlanPrograms,
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
                let [density, slope] = self.programs.response_at((potential - cost) / self.epsilon);
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

    fn laws() -> Vec<Arc<dyn Regularizer>> {
        vec![
            Arc::new(Balanced),
            Arc::new(Kl::new(0.3).unwrap()),
            Arc::new(Kl::new(1e-6).unwrap()),
            Arc::new(Kl::new(1e6).unwrap()),
            Arc::new(TotalVariation::new(0.2).unwrap()),
            Arc::new(Range::new(0.5, 1.5).unwrap()),
            Arc::new(Free),
        ]
    }

    #[test]
    fn the_density_found_is_the_one_demanded() {
        let regularizers: [&dyn PlanRegularizer; 2] = [&SquaredL2, &Entropy];
        for (regularizer, law) in regularizers.iter().flat_map(|r| laws().into_iter().map(move |law| (*r, law))) {
            let programs = LawPrograms::record(law.as_ref()).unwrap();
            for epsilon in [1e-3, 0.1, 10.0] {
                for guess in [0.0_f64, -5.0, 5.0, 1e6] {
                    // Entropy of the guess would overflow.
                    let is_entropy = regularizer.kind() == crate::PlanKind::Entropy;
                    let guess = if is_entropy { guess.min(5.0 * epsilon) } else { guess };
                    let mut row = Row {
                        programs: PlanPrograms::record(regularizer).unwrap(),
                        costs: (0..40).map(|j| f64::from(j * 17 % 40) / 20.0 - 0.5).collect(),
                        weights: (0..40).map(|j| f64::from(j % 5) / 80.0).collect(),
                        epsilon,
                        asked: 0,
                    };
                    let potential = respond::<f64>(&programs, epsilon, guess, &mut row);
                    assert!(row.asked < 60, "{law:?} {epsilon} {guess}: {} densities", row.asked);
                    let [density, slope] = row.at(potential);
                    let near = 1e-9 * epsilon + 1e-14;
                    let [least, _] = demanded(&programs, potential + near, epsilon);
                    let [_, most] = demanded(&programs, potential - near, epsilon);
                    let slack = 1e-12 * (1.0 + density) + slope * near;
                    assert!(
                        density >= least - slack && density <= most + slack,
                        "{regularizer:?} {law:?} {epsilon} {guess}: {density} at {potential}, not within {least} and {most}"
                    );
                }
            }
        }
    }

    #[test]
    fn kinks_of_a_law_are_met_to_the_rounding_of_the_element_type() {
        let law = TotalVariation::new(0.1).unwrap();
        let programs = LawPrograms::record(&law).unwrap();
        let mut row = Row {
            programs: PlanPrograms::record(&SquaredL2).unwrap(),
            costs: vec![-0.5, 0.05],
            weights: vec![0.0, 0.5],
            epsilon: 0.1,
            asked: 0,
        };
        // Density 0.25 at rho, 0.1 in f32 and not in f64.
        for guess in [-1.0, 0.0, 0.2, 3.0] {
            let potential = respond::<f32>(&programs, 0.1, guess, &mut row);
            assert!((potential - 0.1).abs() < 3e-8, "{guess}: {potential}");
        }
    }

    #[test]
    fn an_atom_without_partners_is_unreachable() {
        let programs = LawPrograms::record(&Balanced).unwrap();
        let mut row = Row {
            programs: PlanPrograms::record(&SquaredL2).unwrap(),
            costs: vec![1.0],
            weights: vec![0.0],
            epsilon: 1.0,
            asked: 0,
        };
        assert_eq!(respond::<f64>(&programs, 1.0, 0.0, &mut row), UNREACHABLE);
    }
}
