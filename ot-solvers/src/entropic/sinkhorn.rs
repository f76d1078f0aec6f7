//! Sinkhorn's iteration (Sinkhorn 1967; Cuturi 2013), in potentials, on any backend and geometry.
//!
//! ```text
//! f <- step_a(-epsilon log sum_j b_j exp((g_j - C_ij) / epsilon))
//! g <- step_b(-epsilon log sum_i a_i exp((f_i - C_ij) / epsilon))
//! ```
//!
//! It ascends the dual block by block, and so serves every regularizer of the plan: a kernel tells its own
//! [c-transform](KernelOp::c_transform). What speeds it up and guards it are values of their own: [`Annealing`],
//! [`Relaxation`], [`Update`], the [translation](ot_core::Translation) of unbalanced potentials. A solve returns the best
//! iterate, why it stopped, and a certificate recomputed from scratch.

use ot_core::{Device, Error, KernelOp, Observer, Problem, Solution};

use super::{Annealing, HandOver, Relaxation, Start, Update, hand_over::Watch, iteration::Iteration};
use crate::{limits::Limits, newton::NewtonReport};

/// Settings of Sinkhorn's iteration.
///
/// Cost: one [`sweep`](KernelOp::sweep) an iteration, two reads at each check. Memory: five vectors
/// of each side.
///
/// ```
/// use ot_core::{CostMatrix, Epsilon, GeometryBuilder, Histogram, Measure, Problem};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::Sinkhorn;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
/// let (a, b) = (Histogram::new(vec![0.5, 0.5])?, Histogram::new(vec![0.25, 0.75])?);
/// let geometry = backend.geometry(a.support(), b.support(), &cost)?;
/// let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1))?;
/// let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem)?;
/// assert!(solution.status().is_converged());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sinkhorn {
    pub(super) limits: Limits,
    pub(super) annealing: Annealing,
    pub(super) relaxation: Relaxation,
    pub(super) update: Update,
    pub(super) hand_over: HandOver,
    /// The rate of the plain iteration on problems of the same kind.
    pub(super) expected_rate: Option<f64>,
}

impl Default for Sinkhorn {
    fn default() -> Self {
        Self::new()
    }
}

impl Sinkhorn {
    /// Tolerance 1e-6 in f64 and 1e-4 in f32, at most 10 000 iterations, a check every 5, automatic annealing, adaptive
    /// over-relaxation, alternating updates, a hand-over to Newton's method where that is cheaper.
    #[must_use]
    pub fn new() -> Self {
        Self {
            limits: Limits::new("max_iterations", 10_000).check_interval(5),
            annealing: Annealing::Automatic,
            relaxation: Relaxation::Adaptive,
            update: Update::Alternating,
            hand_over: HandOver::Automatic,
            expected_rate: None,
        }
    }

    /// The marginal error that counts as converged: both sides, L1, relative to the mass,
    /// rounding included (see [`Certificate`](ot_core::Certificate)).
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
    ///
    /// A check copies both potentials, runs the by-products' formulas over n + m atoms and reads five numbers of each column:
    /// O(n + m), where an iteration is O(n m). Between 100 000 points on two cores it takes a few milliseconds, and an iteration
    /// over all pairs some seconds.
    #[must_use]
    pub fn check_interval(self, check_interval: usize) -> Self {
        Self { limits: self.limits.check_interval(check_interval), ..self }
    }

    /// The schedule of epsilons. The start is tried at the epsilon of the problem first, by two iterations; a run of fewer
    /// than eight is not annealed.
    #[must_use]
    pub fn annealing(self, annealing: Annealing) -> Self {
        Self { annealing, ..self }
    }

    /// The relaxation of half-steps.
    #[must_use]
    pub fn relaxation(self, relaxation: Relaxation) -> Self {
        Self { relaxation, ..self }
    }

    /// The order of the half-steps.
    #[must_use]
    pub fn update(self, update: Update) -> Self {
        Self { update, ..self }
    }

    /// Whether Newton's method takes over where it is cheaper: see [`HandOver`].
    #[must_use]
    pub fn hand_over(self, hand_over: HandOver) -> Self {
        Self { hand_over, ..self }
    }

    /// The rate of the plain iteration that problems of the same kind have [had](SinkhornReport::rate): the relaxation need
    /// not be found again.
    pub(crate) fn expecting(self, expected_rate: Option<f64>) -> Self {
        Self { expected_rate, ..self }
    }

    /// Solves a problem. Large clouds start from their [clusters](Start::clusters), as in
    /// [`transport`](crate::front::Transport); all else from potentials of zero.
    ///
    /// # Errors
    /// Those of [`Run::solve`].
    pub fn solve<D: Device>(&self, problem: &Problem<D>) -> Result<Solution<D>, Error> {
        self.run(problem).solve()
    }

    /// A run to which a start and an observer can be given.
    #[must_use]
    pub fn run<'a, D: Device>(&'a self, problem: &'a Problem<D>) -> Run<'a, D> {
        Run { settings: self, problem, start: None, observer: None, is_cancelled: false }
    }

    /// The tolerance asked for, or what the backend of a problem can be asked for.
    pub(super) fn tolerance_on<D: Device>(&self, problem: &Problem<D>) -> f64 {
        self.limits.tolerance_on(problem.backend())
    }
}

/// What a run of [`Sinkhorn`] took.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SinkhornReport {
    /// Iterations of Sinkhorn, over all stages of the annealing.
    pub iterations: usize,
    /// What Newton's method took, where it was [handed over](HandOver) to.
    pub newton: Option<NewtonReport>,
    /// The rate of the plain iteration as last observed: the median over the columns. None if no column was looked at for long
    /// enough.
    pub rate: Option<f64>,
}

/// One run of [`Sinkhorn`] on one problem.
pub struct Run<'a, D: Device> {
    settings: &'a Sinkhorn,
    problem: &'a Problem<D>,
    /// From the clusters of the problem if none.
    start: Option<Start<'a, D>>,
    observer: Option<&'a mut dyn Observer>,
    /// Has the observer cancelled before the run?
    is_cancelled: bool,
}

impl<'a, D: Device> Run<'a, D> {
    /// The potentials to start from, in the place of those of [clusters](Start::clusters).
    #[must_use]
    pub fn start(self, start: Start<'a, D>) -> Self {
        Self { start: Some(start), ..self }
    }

    /// A run that ends before its first iteration, if the observer has said so.
    pub(crate) fn cancelled(self, is_cancelled: bool) -> Self {
        Self { is_cancelled, ..self }
    }

    /// The observer of the start, every check, long passes and the certificate; it may cancel. What was found is then returned
    /// within one pass, without a certificate: see [`Solution::is_certified`].
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves with a kernel that is bound here.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, [`Error::Length`] for a start that does not
    /// fit, [`Error::Infeasible`] with the cut where forbidden pairs keep every plan farther from prescribed marginals than the
    /// tolerance and the kernel has a hard c-transform, [`Error::OutOfMemory`], a failure of the device. Not converging is no
    /// error but a [`Status`](ot_core::Status).
    pub fn solve(self) -> Result<Solution<D>, Error> {
        Ok(self.solve_with_report()?.0)
    }

    /// Solves with a kernel that is bound here, and tells what it took.
    ///
    /// # Errors
    /// Those of [`solve`](Self::solve).
    pub fn solve_with_report(self) -> Result<(Solution<D>, SinkhornReport), Error> {
        let mut kernel = self.problem.bind()?;
        self.run_on(kernel.as_mut())
    }

    /// Solves with a kernel of the caller's, boxed or not, which is bound to the epsilon of the
    /// problem again at the end.
    ///
    /// # Errors
    /// Those of [`solve`](Self::solve).
    pub fn solve_with<K: KernelOp<D> + ?Sized>(self, kernel: &mut K) -> Result<Solution<D>, Error> {
        Ok(self.run_on(kernel)?.0)
    }

    fn run_on<K: KernelOp<D> + ?Sized>(self, kernel: &mut K) -> Result<(Solution<D>, SinkhornReport), Error> {
        let Run { settings, problem, start, mut observer, mut is_cancelled } = self;
        settings.limits.check()?;
        settings.relaxation.check()?;
        problem.require_equal_components()?;
        let start = match start {
            Some(start) => start,
            None => {
                let (start, told) = Start::clusters_told(problem, observer.as_deref_mut())?;
                is_cancelled |= told.is_break();
                start
            }
        };
        problem.backend().scope(|| {
            let mut iteration = Iteration::new(settings, problem, &start, observer)?;
            if is_cancelled {
                return Ok(iteration.solution(None));
            }
            iteration.watch = Watch::new(settings, problem, kernel);
            // Of costs beyond epsilon / unit no potential tells an epsilon: a plan that uses them has no digits left.
            let told = problem.epsilon() / problem.backend().precision().unit;
            let bound = problem.geometry().cost_bound().map(|bound| bound.min(told));
            let mut stages = match problem.geometry().fixed_epsilon() {
                Some(_) => vec![problem.epsilon()],
                None if settings.annealing == Annealing::Automatic && !matches!(start, Start::Zero) => {
                    Annealing::after(start.epsilon()).stages(problem.epsilon(), None)?
                }
                None => settings.annealing.stages(problem.epsilon(), bound)?,
            };
            let last = stages.pop().unwrap_or(problem.epsilon());
            let (stages, share) = Annealing::shared_out(stages, settings.limits.most);
            if !stages.is_empty() {
                kernel.rebind(last)?;
                if let Some(certificates) = iteration.try_start(kernel)? {
                    return Ok(iteration.solution(Some(certificates)));
                }
            }
            for epsilon in stages {
                if iteration.is_cancelled() {
                    break;
                }
                kernel.rebind(epsilon)?;
                iteration.approach(kernel, share)?;
                if iteration.is_handed_over() {
                    break;
                }
            }
            kernel.rebind(last)?;
            let certificates = iteration.converge(kernel)?;
            Ok(iteration.solution(certificates))
        })
    }
}
