//! Transport without entropy whose marginals are penalised, by proximal steps in the place of plain majorization.
//!
//! Majorize and minimize (Chapel, Flamary, Wu, Fevotte, Gasso 2021) multiplies the entries of the plan by what the minimum of
//! a separable majorant asks for. For the penalty KL that is a proximal step of a fixed length, with the divergence of the plans
//! as a distance, and the gap falls like one over the number of steps. Here the length is that of the cost, and each step is an
//! alternating maximisation in both potentials (`proximal.rs`): some hundreds or thousands of steps in the place of 10^5
//! and more.
//!
//! Potentials of the steps, made feasible by c-transforms, give a dual value and so a gap.

use ot_core::{CostBetween, Error, GroundCost, Measure, Observer, Phase, Progress, Scalar, Status, WeightsView};

use super::{
    MassPenalty,
    proximal::{Proximal, Values},
    units::Units,
};
use crate::{history::History, limits::Limits};

/// The gap by default, as a share of the primal value.
const TOLERANCE: f64 = 1e-6;

/// Settings of transport without entropy under penalties of masses. Costs are stored: n m numbers, two passes of exponentials
/// over them an iteration.
///
/// ```
/// use ot_core::{PointCloud, SqEuclidean};
/// use ot_solvers::{MajorizeMinimize, MassPenalty};
///
/// let a = PointCloud::new(vec![0.0, 1.0], 1, vec![1.0, 2.0])?;
/// let b = PointCloud::new(vec![0.1, 1.2], 1, vec![1.5, 1.0])?;
/// let penalty = MassPenalty::Kl { source: 1.0, target: 1.0 };
/// let solution = MajorizeMinimize::new(penalty).solve(&a, &b, &SqEuclidean)?;
/// assert!(solution.status.is_converged() && solution.gap <= 1e-6 * solution.primal);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct MajorizeMinimize {
    penalty: MassPenalty,
    limits: Limits,
}

/// A plan without entropy, and what is proven of it.
#[derive(Clone, Debug, PartialEq)]
pub struct UnregularizedPlan {
    /// The entries, row-major, n x m.
    pub plan: Vec<f64>,
    /// <P, C>.
    pub transport_cost: f64,
    /// <P, C> and both penalties: an upper bound of the optimum.
    pub primal: f64,
    /// The value of feasible potentials: a lower bound of the optimum.
    pub dual: f64,
    /// primal - dual, not negative but for rounding.
    pub gap: f64,
    /// Iterations done.
    pub iterations: usize,
    /// Why the solve ended.
    pub status: Status,
}

impl MajorizeMinimize {
    /// A gap of 1e-6 of the primal value, looked at every ten iterations, of which there are at most 10 000.
    #[must_use]
    pub fn new(penalty: MassPenalty) -> Self {
        Self { penalty, limits: Limits::new("max_iterations", 10_000).check_interval(10) }
    }

    /// The gap, as a share of the primal value, that counts as converged.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most iterations.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// Solves between two measures of one histogram each, of any masses.
    ///
    /// # Errors
    /// Those of [`MajorizeMinimizeRun::solve`].
    pub fn solve<T: Scalar>(
        &self,
        source: &dyn Measure<T>,
        target: &dyn Measure<T>,
        cost: &dyn GroundCost,
    ) -> Result<UnregularizedPlan, Error> {
        self.run(source, target, cost).solve()
    }

    /// A run to which an observer can be given.
    #[must_use]
    pub fn run<'a, T: Scalar>(
        &'a self,
        source: &'a dyn Measure<T>,
        target: &'a dyn Measure<T>,
        cost: &'a dyn GroundCost,
    ) -> MajorizeMinimizeRun<'a, T> {
        MajorizeMinimizeRun { settings: self, source, target, cost, observer: None }
    }
}

/// One run of [`MajorizeMinimize`] on one pair of measures.
pub struct MajorizeMinimizeRun<'a, T: Scalar> {
    settings: &'a MajorizeMinimize,
    source: &'a dyn Measure<T>,
    target: &'a dyn Measure<T>,
    cost: &'a dyn GroundCost,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, T: Scalar> MajorizeMinimizeRun<'a, T> {
    /// The observer of every evaluation of the gap; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::BatchMismatch`] for batches, [`Error::SumOverflow`] for a value
    /// that f64 does not hold, those of [`CostBetween::new`] and [`CostBetween::table_f64`].
    pub fn solve(self) -> Result<UnregularizedPlan, Error> {
        let Self { settings: MajorizeMinimize { penalty, limits }, source, target, cost, observer } = self;
        penalty.check()?;
        limits.check()?;
        let [a, b] = [weights_of(source)?, weights_of(target)?];
        if (a.columns(), b.columns()) != (1, 1) {
            return Err(Error::BatchMismatch { source_columns: a.columns(), target_columns: b.columns() });
        }
        let [a, b] = [a, b].map(|weights| weights.values().iter().map(|weight| weight.to_f64()).collect::<Vec<_>>());
        let (costs, _) = CostBetween::new(source.support(), target.support(), cost)?.table_f64()?;
        let units = Units::of(*penalty, &costs, [&a, &b])?;
        let problem = units.apply(*penalty, &costs, [&a, &b]);
        let weights = problem.weights.each_ref().map(Vec::as_slice);
        units.finite_value("a penalty of all the mass", problem.penalty.of_nothing(weights))?;
        let mut iterate = Proximal::new(problem.penalty, &problem.costs, weights);
        let (mut iterations, mut history, mut best) = (0, History::new(observer), iterate.values());
        loop {
            let gap = best.primal - best.dual;
            let told = history.tell(Progress {
                of: Some(limits.most),
                dual: Some(units.value(best.dual)),
                gap: Some(units.value(gap)),
                ..Progress::new(Phase::Iterations, iterations)
            });
            let status = match gap {
                gap if gap <= limits.tolerance_or(TOLERANCE) * best.primal.abs() => Some(Status::Converged),
                gap if gap.is_nan() => Some(Status::NotFinite),
                _ if told.is_break() => Some(Status::Cancelled),
                _ if iterations >= limits.most => Some(Status::IterationLimit),
                _ => None,
            };
            if let Some(status) = status {
                let Values { plan, transport_cost, primal, dual } = best;
                return Ok(UnregularizedPlan {
                    plan: plan.into_iter().map(|entry| units.mass(entry)).collect(),
                    transport_cost: units.finite_value("the transport cost", transport_cost)?,
                    primal: units.finite_value("the objective of the plan", primal)?,
                    dual: units.value(dual),
                    gap: units.value(gap),
                    iterations,
                    status,
                });
            }
            for _ in 0..limits.check_interval.min(limits.most - iterations) {
                iterate.step();
                iterations += 1;
            }
            best = best.or_better(iterate.values());
        }
    }
}

/// The weights of a measure.
fn weights_of<T: Scalar>(measure: &dyn Measure<T>) -> Result<WeightsView<'_, T>, Error> {
    measure.weights().ok_or(Error::UnsupportedSupport { what: "a discrete problem", found: measure.support().kind() })
}
