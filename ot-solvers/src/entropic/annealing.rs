//! The schedule of epsilons that a solve passes through, as a value.
//!
//! At a small epsilon the potentials move by about epsilon an iteration, so that a start far from
//! the solution crawls. Annealing (Kosowsky, Yuille 1994; Schmitzer 2019) crosses the distance at
//! large epsilons and refines. At one moderate epsilon it does not pay: every stage binds anew.

use ot_core::Error;

/// The epsilons before the one of the problem.
#[derive(Copy, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Annealing {
    /// None: the epsilon of the problem from the start.
    Off,
    /// From `start` (in the units of the cost; the bound of the cost if `None`) down, each the
    /// `factor` of the one before.
    Geometric {
        /// The first epsilon.
        start: Option<f64>,
        /// The ratio of one epsilon to the one before, in (0, 1).
        factor: f64,
    },
    /// From a tenth of the bound of the cost down, each epsilon the tenth of the one before. The bound counts up to epsilon
    /// over the unit roundoff: potentials beyond tell no epsilon. Off where epsilon is above 4e-3 of that bound. A start
    /// that is not zero would be forgotten at a large epsilon: from there it goes down from a tenth of the epsilon that the
    /// start belongs to, if that is larger than the problem's.
    Automatic,
}

impl Annealing {
    /// The share of the bound of the cost above which [`Automatic`](Self::Automatic) stays off.
    const MODERATE: f64 = 4e-3;
    /// The first epsilon of [`Automatic`](Self::Automatic) over the bound, and the ratio of its stages.
    const TENTH: f64 = 0.1;

    /// The automatic schedule after potentials of another epsilon.
    pub(crate) fn after(epsilon: Option<f64>) -> Self {
        match epsilon {
            Some(epsilon) => Annealing::Geometric { start: Some(Self::TENTH * epsilon), factor: Self::TENTH },
            None => Annealing::Off,
        }
    }

    /// The stages that at most half of the iterations are shared out to, so that the rest is left to the epsilon that was
    /// asked for, and the share of each. A run of fewer than eight iterations is not annealed.
    pub(crate) fn shared_out(stages: Vec<f64>, most: usize) -> (Vec<f64>, usize) {
        /// Fewer iterations than this are not shared out.
        const LEAST: usize = 8;

        let budget = if most < LEAST { 0 } else { most / 2 };
        let stride = stages.len().div_ceil(budget.max(1)).max(1);
        let stages: Vec<f64> = stages.into_iter().step_by(stride).take(budget).collect();
        let share = budget / stages.len().max(1);
        (stages, share)
    }

    /// All epsilons of a solve, descending, the last being `epsilon` itself. Empty of stages
    /// where no bound of the cost is known and no start is given.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a factor outside (0, 1), [`Error::Epsilon`] for an epsilon or a start that is
    /// not finite and positive.
    pub fn stages(&self, epsilon: f64, cost_bound: Option<f64>) -> Result<Vec<f64>, Error> {
        if !(epsilon.is_finite() && epsilon > 0.0) {
            return Err(Error::Epsilon(epsilon));
        }
        let (start, factor) = match *self {
            Annealing::Off => (None, 0.5),
            Annealing::Geometric { start, factor } => (start.or(cost_bound), factor),
            Annealing::Automatic => {
                let bound = cost_bound.filter(|bound| epsilon < Self::MODERATE * bound);
                (bound.map(|bound| Self::TENTH * bound), Self::TENTH)
            }
        };
        if !(factor > 0.0 && factor < 1.0) {
            return Err(Error::Parameter {
                name: "annealing factor",
                value: factor,
                expected: "a number within (0, 1)",
            });
        }
        let Some(start) = start.filter(|&start| start != 0.0) else { return Ok(vec![epsilon]) };
        if !(start.is_finite() && start > 0.0) {
            return Err(Error::Epsilon(start));
        }
        let expected = "a number that takes at most 10 000 stages";
        if (start / epsilon).ln() / -factor.ln() > 1e4 {
            return Err(Error::Parameter { name: "annealing factor", value: factor, expected });
        }
        let above = |stage: &f64| *stage > epsilon * (1.0 + 1e-9);
        let mut stages: Vec<f64> =
            std::iter::successors(Some(start), |stage| Some(stage * factor)).take_while(above).collect();
        stages.push(epsilon);
        Ok(stages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_descend_to_epsilon() {
        let stages = Annealing::Geometric { start: Some(1.0), factor: 0.5 }.stages(0.1, None).unwrap();
        assert_eq!(stages, [1.0, 0.5, 0.25, 0.125, 0.1]);
        assert_eq!(Annealing::Off.stages(0.1, Some(7.0)).unwrap(), [0.1]);
        assert_eq!(Annealing::Automatic.stages(0.1, Some(7.0)).unwrap(), [0.1]);
        assert_eq!(Annealing::Automatic.stages(1e-5, Some(1.0)).unwrap().len(), 5);
        assert_eq!(Annealing::Automatic.stages(1e-5, None).unwrap(), [1e-5]);
    }

    #[test]
    fn factors_outside_the_unit_interval_are_refused() {
        for factor in [0.0, 1.0, -0.5, f64::NAN] {
            let annealing = Annealing::Geometric { start: None, factor };
            assert!(matches!(annealing.stages(0.1, Some(1.0)), Err(Error::Parameter { .. })), "{factor}");
        }
        for epsilon in [-1.0, 0.0, f64::NAN, f64::INFINITY] {
            for annealing in [Annealing::Off, Annealing::Geometric { start: Some(1.0), factor: 0.5 }] {
                assert!(matches!(annealing.stages(epsilon, Some(1.0)), Err(Error::Epsilon(_))), "{epsilon}");
            }
        }
        let annealing = Annealing::Geometric { start: Some(f64::NAN), factor: 0.5 };
        assert!(matches!(annealing.stages(0.1, None), Err(Error::Epsilon(_))));
    }
}
