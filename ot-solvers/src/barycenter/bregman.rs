//! Iterative Bregman projections (Benamou, Carlier, Cuturi, Nenna, Peyre 2015), in potentials, on any backend and geometry.

use std::sync::Arc;

use ot_core::{Backend, Device, Error, JointProblem, JointSolution, Observer, Potentials};

use super::iteration::Iteration;
use crate::{
    entropic::{Annealing, Relaxation},
    limits::Limits,
};

/// Settings of iterative Bregman projections over several plans that share unknown measures:
///
/// ```text
/// f_k <- step_k(-epsilon log sum_j m_j exp((g_kj - C_ij) / epsilon))                    the given ends
/// g_k <- s_k - sum_l lambda_l s_l / sum_l lambda_l,     s_k the softmins of f_k         the ends of p
/// ```
///
/// the maximisation of the dual over one block of potentials after the other, for a barycenter; with several unknown measures
/// their blocks follow each other (Solomon, Rustamov, Guibas, Butscher 2014). It serves given ends under any penalty
/// (Chizat, Peyre, Schmitzer, Vialard 2018), and batches of columns, each with weights of its own.
///
/// Both steps are over-relaxed, as in Sinkhorn's iteration, with the dual as guard. The first relaxation comes from a
/// rate predicted from the cost; observed rates take over. That saves about six of seven iterations where epsilon is small.
/// The last step is exact: each plan returned has the marginal p.
///
/// Cost: one sweep of each term an iteration, one read at each check. Terms with the same ends and penalties on
/// one geometry that [gains from batches](ot_core::Geometry::gains_from_batches) are columns of one batch, up to 64 columns: a kernel
/// serves all at once. Memory: six vectors of each end, and a kernel for each
/// such group. The solution is proven by [`certify_joint`](ot_core::certify_joint).
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{Barycenter, BregmanProjections};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let points: Vec<f64> = (0..21).map(|i| 0.05 * f64::from(i)).collect();
/// let bump = |centre: f64| points.iter().map(|x| (-80.0 * (x - centre) * (x - centre)).exp()).collect::<Vec<_>>();
/// let [left, right] = [0.3, 0.7].map(|centre| PointCloud::new(&points, 1, bump(centre)).map(PointCloud::normalized));
/// let (left, right, support) = (left?, right?, PointCloud::uniform(&points, 1)?);
/// // Five barycenters at once, from one input to the other.
/// let weights: Vec<f64> = [1.0, 0.75, 0.5, 0.25, 0.0].iter().flat_map(|t| [*t, 1.0 - t]).collect();
/// let problem = Barycenter::new(&backend, &support, &SqEuclidean, Epsilon::Absolute(0.02))
///     .inputs(&[&left, &right], &weights)?
///     .problem()?;
/// let solution = BregmanProjections::new().tolerance(1e-9).solve(&problem)?;
/// assert!(solution.status().is_converged());
/// let middle = &solution.measure(0)?[42..63];
/// assert!((middle.iter().sum::<f64>() - 1.0).abs() < 1e-12 && (middle[3] - middle[17]).abs() < 1e-9);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BregmanProjections {
    pub(super) limits: Limits,
    pub(super) annealing: Annealing,
    pub(super) relaxation: Relaxation,
}

impl Default for BregmanProjections {
    fn default() -> Self {
        Self::new()
    }
}

impl BregmanProjections {
    /// The share of the bound of the cost above which [`Annealing::Automatic`] stays off here: projections of four images of
    /// 64 x 64 pixels to 1e-6 took 40 iterations instead of 55 at 1e-3 of the bound, and 275 instead of 210 at 6e-5 of it.
    const MODERATE: f64 = 1e-4;

    /// Tolerance 1e-6 in f64 and 1e-4 in f32, at most 10 000 iterations, a check every 5, automatic annealing, adaptive
    /// over-relaxation.
    #[must_use]
    pub fn new() -> Self {
        Self {
            limits: Limits::new("max_iterations", 10_000).check_interval(5),
            annealing: Annealing::Automatic,
            relaxation: Relaxation::Adaptive,
        }
    }

    /// The marginal error that counts as converged: of all ends, L1, relative to the mass, the mean over the terms with their
    /// weights, rounding included (see [`Certificate`](ot_core::Certificate)).
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most iterations, over all stages of the annealing.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// Iterations between two checks: the only points where the host reads.
    #[must_use]
    pub fn check_interval(self, check_interval: usize) -> Self {
        Self { limits: self.limits.check_interval(check_interval), ..self }
    }

    /// The schedule of epsilons; a run of fewer than eight iterations is not annealed. [`Annealing::Automatic`] is off where
    /// epsilon is above 1e-4 of the bound of the cost: over-relaxed projections from zero take fewer iterations there.
    #[must_use]
    pub fn annealing(self, annealing: Annealing) -> Self {
        Self { annealing, ..self }
    }

    /// The relaxation of both steps.
    #[must_use]
    pub fn relaxation(self, relaxation: Relaxation) -> Self {
        Self { relaxation, ..self }
    }

    /// Solves a problem from potentials of zero.
    ///
    /// # Errors
    /// Those of [`BregmanRun::solve`].
    pub fn solve<D: Device>(&self, problem: &JointProblem<D>) -> Result<JointSolution<D>, Error> {
        self.run(problem).solve()
    }

    /// A run to which a start and an observer can be given.
    #[must_use]
    pub fn run<'a, D: Device>(&'a self, problem: &'a JointProblem<D>) -> BregmanRun<'a, D> {
        BregmanRun { settings: self, problem, start: &[], observer: None }
    }

    /// The tolerance asked for, or what the backend can be asked for.
    pub(super) fn tolerance_on<D: Device>(&self, backend: &dyn Backend<D>) -> f64 {
        self.limits.tolerance_on(backend)
    }
}

/// One run of [`BregmanProjections`] on one problem.
pub struct BregmanRun<'a, D: Device> {
    settings: &'a BregmanProjections,
    problem: &'a JointProblem<D>,
    start: &'a [Arc<Potentials<D>>],
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, D: Device> BregmanRun<'a, D> {
    /// The potentials to start from, those of each term: of an [earlier solution](JointSolution::potentials).
    #[must_use]
    pub fn start(self, potentials: &'a [Arc<Potentials<D>>]) -> Self {
        Self { start: potentials, ..self }
    }

    /// The observer of every check; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::Length`] for a start that does not fit, [`Error::OutOfMemory`], a
    /// failure of the device. Not converging is no error but a [`Status`](ot_core::Status).
    pub fn solve(self) -> Result<JointSolution<D>, Error> {
        let Self { settings, problem, start, observer } = self;
        settings.limits.check()?;
        settings.relaxation.check()?;
        problem.require_equal_components()?;
        let backend = problem.terms()[0].problem.backend();
        let (epsilon, is_fixed) =
            (problem.epsilon(), problem.terms().iter().any(|term| term.problem.geometry().fixed_epsilon().is_some()));
        // Of costs beyond epsilon / unit no potential tells an epsilon: a plan that uses them has no digits left.
        let told = epsilon / backend.precision().unit;
        let bounds = problem.terms().iter().map(|term| term.problem.geometry().cost_bound());
        let bound = bounds.reduce(|left, right| Some(left?.max(right?))).flatten().map(|bound| bound.min(told));
        let is_annealed =
            |bound: &f64| settings.annealing != Annealing::Automatic || epsilon < BregmanProjections::MODERATE * bound;
        let mut stages = match start.first() {
            _ if is_fixed => vec![epsilon],
            Some(start) if settings.annealing == Annealing::Automatic => {
                Annealing::after(Some(start.epsilon)).stages(epsilon, None)?
            }
            _ => settings.annealing.stages(epsilon, bound.filter(is_annealed))?,
        };
        stages.pop();
        let (stages, share) = Annealing::shared_out(stages, settings.limits.most);
        backend.scope(|| {
            let mut iteration = Iteration::new(settings, problem, start, observer)?;
            for stage in stages {
                iteration.approach(stage, share)?;
            }
            let (potentials, certificates) = iteration.converge(epsilon)?;
            Ok(iteration.solution(potentials, certificates))
        })
    }
}
