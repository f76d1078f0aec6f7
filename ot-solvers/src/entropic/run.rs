//! A run of Sinkhorn's iteration on a problem: its start, the stages of its annealing, and the epsilon asked for.

use ot_core::{Device, Error, KernelOp, Observer, Problem, Solution};

use super::{
    Annealing, Sinkhorn, SinkhornReport, Start,
    iteration::{Iteration, Settled},
};

impl Sinkhorn {
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

    /// Iterates to the tolerance at the epsilon of the problem alone, from the start given or from zero, with a kernel of the
    /// caller's and without a certificate: where another solver starts from.
    ///
    /// # Errors
    /// Those of [`solve`](Self::solve).
    pub(crate) fn settle<K: KernelOp<D> + ?Sized>(self, kernel: &mut K) -> Result<Settled<D>, Error> {
        let Run { settings, problem, start, observer, .. } = self;
        settings.limits.check()?;
        problem.require_equal_components()?;
        kernel.rebind(problem.epsilon())?;
        let start = start.unwrap_or_default();
        problem.backend().scope(|| Iteration::new(settings, problem, &start, observer)?.settle(kernel))
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
            iteration.look_out(kernel);
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
            if matches!(start, Start::Zero) && iteration.begin_with_newton(kernel)? {
                stages.clear();
            }
            let (stages, share) = Annealing::shared_out(stages, settings.limits.most);
            if !stages.is_empty() {
                kernel.rebind(last)?;
                if let Some(certificates) = iteration.try_start(kernel)? {
                    return Ok(iteration.solution(Some(certificates)));
                }
            }
            iteration.expect(settings.expected_rate.or(start.rate_at(*stages.first().unwrap_or(&last))));
            if stages.is_empty() {
                iteration.foresee_rate();
            }
            for (index, &epsilon) in stages.iter().enumerate() {
                if iteration.is_cancelled() {
                    break;
                }
                kernel.rebind(epsilon)?;
                iteration.approach(kernel, share, *stages.get(index + 1).unwrap_or(&last))?;
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
