//! Units of mass and of cost in which a penalised problem is solved.
//!
//! Both are powers of two, so that nothing is rounded: masses are near one, or, where negative costs make much more, on either
//! side of it, and costs and penalties on either side of it too, equally far. Neither squares of masses nor products with strengths leave the range then, whatever the input.

use ot_core::{
    Error,
    power_of_two::{binary_exponent, times_power_of_two},
};

use super::MassPenalty;

/// How far the unit of cost may be from penalties: beyond, costs are so large that they are never paid, or so small that they
/// are lost beside any penalty.
const FARTHEST: f64 = 1000.0;

/// Binary exponents of both units.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Units {
    mass: f64,
    cost: f64,
}

/// A problem in units.
pub(super) struct InUnits {
    pub(super) penalty: MassPenalty,
    pub(super) costs: Vec<f64>,
    pub(super) weights: [Vec<f64>; 2],
}

impl Units {
    /// The units of a problem.
    ///
    /// # Errors
    /// [`Error::SumOverflow`] for negative costs that pay for more mass than there are numbers.
    pub(super) fn of(penalty: MassPenalty, costs: &[f64], weights: [&[f64]; 2]) -> Result<Self, Error> {
        let heaviest = binary_exponent(weights.into_iter().flatten().copied().fold(0.0, f64::max));
        // Negative costs make mass.
        let pairs = weights[0].iter().flat_map(|a| weights[1].iter().map(|b| [*a, *b]));
        let made = costs.iter().zip(pairs).filter(|(cost, [a, b])| **cost < 0.0 && *a > 0.0 && *b > 0.0);
        let most = made.map(|(cost, pair)| penalty.log2_alone(*cost, pair).floor()).fold(heaviest, f64::max);
        if most > 1023.0 {
            return Err(Error::SumOverflow { what: "the mass that negative costs make", element: "f64" });
        }
        let mass = (0.5 * (heaviest + most)).floor();
        let strength = penalty.strengths().into_iter().fold(0.0, f64::max);
        let of_penalty = binary_exponent(strength) + penalty.degree() * most;
        let sizes = costs.iter().map(|cost| cost.abs()).filter(|size| *size > 0.0 && *size < f64::INFINITY);
        let count = sizes.clone().count() as f64;
        let mean: f64 = sizes.map(|size| size / count).sum();
        let between = if mean > 0.0 { (0.5 * (binary_exponent(mean) + of_penalty)).floor() } else { of_penalty };
        let cost = between.clamp(of_penalty - FARTHEST, of_penalty + FARTHEST).clamp(-1022.0, 1023.0);
        Ok(Self { mass, cost })
    }

    /// The problem in these units.
    pub(super) fn apply(self, penalty: MassPenalty, costs: &[f64], weights: [&[f64]; 2]) -> InUnits {
        let of_strength = penalty.degree() * self.mass - self.cost;
        InUnits {
            penalty: penalty.map(|rho| times_power_of_two(rho, of_strength)),
            costs: costs.iter().map(|cost| times_power_of_two(*cost, -self.cost)).collect(),
            weights: weights.map(|weights| weights.iter().map(|a| times_power_of_two(*a, -self.mass)).collect()),
        }
    }

    /// So many units of mass.
    pub(super) fn mass(self, units: f64) -> f64 {
        times_power_of_two(units, self.mass)
    }

    /// So many units of mass times cost.
    pub(super) fn value(self, units: f64) -> f64 {
        times_power_of_two(units, self.mass + self.cost)
    }

    /// The same, where it is a number.
    ///
    /// # Errors
    /// [`Error::SumOverflow`].
    pub(super) fn finite_value(self, what: &'static str, units: f64) -> Result<f64, Error> {
        match self.value(units) {
            value if value.is_finite() || !units.is_finite() => Ok(value),
            _ => Err(Error::SumOverflow { what, element: "f64" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_bring_all_numbers_near_one() {
        for (unit_of_mass, unit_of_cost) in [(1.0, 1.0), (1e-300, 1e300), (1e150, 1e-300), (1e-320, 1e-300)] {
            let weights = [vec![unit_of_mass, 0.0], vec![2.0 * unit_of_mass]];
            let costs = [unit_of_cost, f64::INFINITY];
            let rho = 8.0 * unit_of_cost;
            for penalty in
                [MassPenalty::Kl { source: rho, target: rho }, MassPenalty::SquaredL2 { source: rho, target: rho }]
            {
                let of_weights = [&weights[0][..], &weights[1]];
                let units = Units::of(penalty, &costs, of_weights).unwrap();
                let problem = units.apply(penalty, &costs, of_weights);
                let [a, b] = &problem.weights;
                assert!(
                    (0.4..=1.1).contains(&a[0]) && a[1] == 0.0 && (0.9..2.1).contains(&b[0]),
                    "{:?}",
                    problem.weights
                );
                let potential = problem.penalty.strengths()[0] * problem.costs[0];
                assert!(potential.is_normal(), "{penalty:?}: {potential:e}");
                assert_eq!(problem.costs[1], f64::INFINITY);
                let back = units.value(a[0] * problem.costs[0]);
                assert!((back - unit_of_mass * unit_of_cost).abs() <= 1e-15 * back.abs() + 5e-324);
            }
        }
    }

    #[test]
    fn what_leaves_the_range_is_an_error() {
        let penalty = MassPenalty::Kl { source: 1e200, target: 1e200 };
        let units = Units::of(penalty, &[1e200], [&[1e200], &[1e200]]).unwrap();
        assert!(units.finite_value("a cost", 1.0).is_err());
        assert_eq!(units.finite_value("a cost", f64::INFINITY), Ok(f64::INFINITY));
        let penalty = MassPenalty::Kl { source: 1.0, target: 1.0 };
        assert!(Units::of(penalty, &[-2000.0], [&[1.0], &[1.0]]).is_err());
    }
}
