//! Majorize and minimize, for transport without entropy whose marginals are penalised (Chapel, Flamary, Wu, Fevotte,
//! Gasso 2021).
//!
//! A convex penalty of a sum is at most the mean of penalties of its terms (Jensen). The majorant separates over the
//! entries of the plan P, and its minimum is multiplicative:
//!
//! ```text
//! KL          P_ij <- P_ij (a_i / p_i)^(rho_a / rho) (b_j / q_j)^(rho_b / rho) exp(-C_ij / rho),  rho = rho_a + rho_b
//! squared L2  P_ij <- P_ij max(rho_a a_i + rho_b b_j - C_ij, 0) / (rho_a p_i + rho_b q_j)
//! ```
//!
//! with the marginals p and q of P. The objective never rises; entries fall to zero and stay there. Potentials read off the
//! marginals, made feasible by c-transforms, give a dual value and so a gap.

use ot_core::{CostBetween, Error, GroundCost, Measure, Observer, Phase, Progress, Scalar, Status, WeightsView};

use super::MassPenalty;
use crate::{history::History, limits::Limits};

/// The gap by default, as a share of the primal value.
const TOLERANCE: f64 = 1e-6;

/// Settings of majorize and minimize. Plans are stored: n m numbers, one pass over them an iteration.
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
    /// [`Error::Parameter`] for settings out of range, [`Error::BatchMismatch`] for batches, those of [`CostBetween::new`]
    /// and [`CostBetween::table_f64`].
    pub fn solve(self) -> Result<UnregularizedPlan, Error> {
        let Self { settings: MajorizeMinimize { penalty, limits }, source, target, cost, observer } = self;
        penalty.check()?;
        limits.check()?;
        let (a, b) = (histogram(source)?, histogram(target)?);
        let (costs, _) = CostBetween::new(source.support(), target.support(), cost)?.table_f64()?;
        let mut iterate = Iterate::new(*penalty, &costs, &a, &b);
        let (mut iterations, mut history) = (0, History::new(observer));
        loop {
            let [transport_cost, primal, dual] = iterate.values();
            let gap = primal - dual;
            let told = history.tell(Progress {
                of: Some(limits.most),
                dual: Some(dual),
                gap: Some(gap),
                ..Progress::new(Phase::Iterations, iterations)
            });
            let status = match gap {
                gap if gap <= limits.tolerance_or(TOLERANCE) * primal.abs() => Some(Status::Converged),
                gap if !gap.is_finite() => Some(Status::NotFinite),
                _ if told.is_break() => Some(Status::Cancelled),
                _ if iterations >= limits.most => Some(Status::IterationLimit),
                _ => None,
            };
            if let Some(status) = status {
                let plan = iterate.plan;
                return Ok(UnregularizedPlan { plan, transport_cost, primal, dual, gap, iterations, status });
            }
            for _ in 0..limits.check_interval.min(limits.most - iterations) {
                iterate.step();
                iterations += 1;
            }
        }
    }
}

/// The weights of a measure of one histogram.
fn histogram<T: Scalar>(measure: &dyn Measure<T>) -> Result<Vec<f64>, Error> {
    let unsupported = Error::UnsupportedSupport { what: "a discrete problem", found: measure.support().kind() };
    let weights: WeightsView<'_, T> = measure.weights().ok_or(unsupported)?;
    match weights.columns() {
        1 => Ok(weights.values().iter().map(|weight| weight.to_f64()).collect()),
        columns => Err(Error::BatchMismatch { source_columns: columns, target_columns: 1 }),
    }
}

/// A plan, its marginals, and what does not change.
struct Iterate<'a> {
    penalty: MassPenalty,
    costs: &'a [f64],
    weights: [&'a [f64]; 2],
    /// exp(-C / rho) or max(rho_a a + rho_b b - C, 0).
    factors: Vec<f64>,
    plan: Vec<f64>,
    marginals: [Vec<f64>; 2],
}

impl<'a> Iterate<'a> {
    /// From the independent coupling.
    fn new(penalty: MassPenalty, costs: &'a [f64], a: &'a [f64], b: &'a [f64]) -> Self {
        let [rho_a, rho_b] = penalty.strengths();
        let pairs = || a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
        let factor = |(cost, (a, b)): (&f64, (&f64, &f64))| match penalty {
            MassPenalty::Kl { .. } => (-cost / (rho_a + rho_b)).exp(),
            MassPenalty::SquaredL2 { .. } => (rho_a * a + rho_b * b - cost).max(0.0),
        };
        let scale = 1.0 / a.iter().sum::<f64>().max(b.iter().sum()).max(f64::MIN_POSITIVE);
        let mut iterate = Self {
            penalty,
            costs,
            weights: [a, b],
            factors: costs.iter().zip(pairs()).map(factor).collect(),
            plan: pairs().zip(costs).map(|((a, b), cost)| if cost.is_finite() { a * b * scale } else { 0.0 }).collect(),
            marginals: [vec![0.0; a.len()], vec![0.0; b.len()]],
        };
        iterate.sum();
        iterate
    }

    /// One multiplicative step.
    fn step(&mut self) {
        let [rho_a, rho_b] = self.penalty.strengths();
        let [p, q] = &self.marginals;
        let entries = self.plan.chunks_exact_mut(q.len()).zip(self.factors.chunks_exact(q.len()));
        match self.penalty {
            MassPenalty::Kl { .. } => {
                let scaling = |weights: &[f64], marginal: &[f64], share: f64| -> Vec<f64> {
                    let of = |(a, p): (&f64, &f64)| if *p > 0.0 { (a / p).powf(share) } else { 0.0 };
                    weights.iter().zip(marginal).map(of).collect()
                };
                let u = scaling(self.weights[0], p, rho_a / (rho_a + rho_b));
                let v = scaling(self.weights[1], q, rho_b / (rho_a + rho_b));
                for ((row, factors), u) in entries.zip(&u) {
                    for ((entry, factor), v) in row.iter_mut().zip(factors).zip(&v) {
                        *entry *= factor * u * v;
                    }
                }
            }
            MassPenalty::SquaredL2 { .. } => {
                for ((row, factors), p) in entries.zip(p) {
                    for ((entry, factor), q) in row.iter_mut().zip(factors).zip(q) {
                        let strength = rho_a * p + rho_b * q;
                        *entry *= if strength > 0.0 { factor / strength } else { 0.0 };
                    }
                }
            }
        }
        self.sum();
    }

    /// The marginals of the plan.
    fn sum(&mut self) {
        let [p, q] = &mut self.marginals;
        q.fill(0.0);
        for (row, p) in self.plan.chunks_exact(q.len()).zip(p) {
            *p = row.iter().sum();
            q.iter_mut().zip(row).for_each(|(q, entry)| *q += entry);
        }
    }

    /// Transport cost, primal and dual.
    fn values(&self) -> [f64; 3] {
        let [rho_a, rho_b] = self.penalty.strengths();
        let ([p, q], [a, b]) = (&self.marginals, self.weights);
        let costs = self.plan.iter().zip(self.costs);
        let transport_cost: f64 = costs.map(|(entry, cost)| if *entry > 0.0 { entry * cost } else { 0.0 }).sum();
        let primal = transport_cost + self.penalty.value(rho_a, p, a) + self.penalty.value(rho_b, q, b);

        // Potentials off the marginals, one side after the other made feasible by the other.
        let largest = self.costs.iter().filter(|cost| cost.is_finite()).fold(0.0_f64, |a, cost| a.max(cost.abs()));
        let limit = 2.0 * largest + rho_a + rho_b;
        let own = |q: &f64, b: &f64| self.penalty.potential(rho_b, *q, *b).clamp(-limit, limit);
        let g: Vec<f64> = q.iter().zip(b).map(|(q, b)| if *b > 0.0 { own(q, b) } else { f64::NEG_INFINITY }).collect();
        let f: Vec<f64> = self.costs.chunks_exact(g.len()).map(|row| transform(row.iter().zip(&g))).collect();
        let mut feasible = vec![f64::INFINITY; g.len()];
        for ((row, f), a) in self.costs.chunks_exact(g.len()).zip(&f).zip(a) {
            if *a > 0.0 {
                feasible.iter_mut().zip(row).for_each(|(g, cost)| *g = g.min(cost - f));
            }
        }
        let gain = |rho: f64, potentials: &[f64], weights: &[f64]| -> f64 {
            let atoms = potentials.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
            atoms.map(|(f, weight)| self.penalty.dual(rho, *f, *weight)).sum()
        };
        [transport_cost, primal, gain(rho_a, &f, a) + gain(rho_b, &feasible, b)]
    }
}

/// min_j (C_ij - g_j).
fn transform<'a>(row: impl Iterator<Item = (&'a f64, &'a f64)>) -> f64 {
    row.fold(f64::INFINITY, |least, (cost, g)| least.min(cost - g))
}
