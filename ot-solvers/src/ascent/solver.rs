//! The solver: a half-step of the alternating iteration, and then the ascent of the dual or of the semi-dual.

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    ActiveColumns, CTransform, Device, Error, KernelOp, Observer, Phase, Potentials, Problem, Progress, Side, Solution,
    Status, certificate::certify_with,
};

use super::{Ascended, ConcaveObjective, DualObjective, Lbfgs, SemiDualObjective, dual::plan};
use crate::{entropic::fix_gauge, history::History, limits::Limits};

/// What is climbed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ascent {
    /// Both potentials: one pass over the pairs for each evaluation.
    #[default]
    Dual,
    /// The target potential, the source maximised over: two passes, and fewer evaluations.
    SemiDual,
}

/// Quasi-Newton ascent of the dual, for any regularizer of the plan and any penalty with a dual that is finite everywhere.
///
/// When to use it: squared L2 at an epsilon of a thousandth of the largest cost and above, and whatever
/// [`Newton`](crate::Newton) refuses. Its iterations double where epsilon is a tenth as large; below, `Newton` takes over from it.
///
/// ```
/// use ot_core::{CostMatrix, Epsilon, GeometryBuilder, Histogram, Measure, Problem, SquaredL2};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::DualAscent;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
/// let (a, b) = (Histogram::new(vec![0.5, 0.5])?, Histogram::new(vec![0.25, 0.75])?);
/// let geometry = backend.geometry(a.support(), b.support(), &cost)?;
/// let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1))?.with_regularizer(&SquaredL2)?;
/// let solution = DualAscent::new().tolerance(1e-9).solve(&problem)?;
/// assert!(solution.status().is_converged());
/// assert_eq!(solution.plan()?.nonzeros(0, 4)?.len(), 3);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DualAscent {
    ascent: Ascent,
    limits: Limits,
    memory: usize,
}

impl Default for DualAscent {
    fn default() -> Self {
        Self::new()
    }
}

impl DualAscent {
    /// The dual, tolerance 1e-6 in f64 and 1e-4 in f32, at most 2000 iterations, ten pairs of memory.
    #[must_use]
    pub fn new() -> Self {
        Self { ascent: Ascent::Dual, limits: Limits::new("max_iterations", 2000), memory: 10 }
    }

    /// What is climbed.
    #[must_use]
    pub fn ascent(self, ascent: Ascent) -> Self {
        Self { ascent, ..self }
    }

    /// The marginal error that counts as converged, as for [`Sinkhorn`](crate::Sinkhorn).
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most iterations.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// Pairs of memory.
    #[must_use]
    pub fn memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    /// Solves a problem from the c-transform of zero, and zero.
    ///
    /// # Errors
    /// Those of [`DualAscentRun::solve`].
    pub fn solve<D: Device>(&self, problem: &Problem<D>) -> Result<Solution<D>, Error> {
        self.run(problem).solve()
    }

    /// A run to which an observer can be given.
    #[must_use]
    pub fn run<'a, D: Device>(&'a self, problem: &'a Problem<D>) -> DualAscentRun<'a, D> {
        DualAscentRun { settings: self, problem, observer: None }
    }
}

/// One run of [`DualAscent`] on one problem.
pub struct DualAscentRun<'a, D: Device> {
    settings: &'a DualAscent,
    problem: &'a Problem<D>,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, D: Device> DualAscentRun<'a, D> {
    /// The observer of every iteration; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range and for penalties with potentials of infinite dual (total variation,
    /// free): those are for [`Sinkhorn`](crate::Sinkhorn). Those of [`Problem::bind`], [`Error::OutOfMemory`], a failure
    /// of the device.
    pub fn solve(self) -> Result<Solution<D>, Error> {
        let Self { settings, problem, observer } = self;
        settings.limits.check()?;
        for side in Side::BOTH {
            let bounds = problem.marginal(side).penalty().potential_bounds();
            if let Some(value) = bounds.into_iter().find(|bound| bound.is_finite()) {
                let expected = "a penalty without bounds on its potential";
                return Err(Error::Parameter { name: "bound of a potential", value, expected });
            }
        }
        let tolerance = settings.limits.tolerance_on(problem.backend());
        let climb = Climb { settings, problem, tolerance };
        problem.backend().scope(|| match settings.ascent {
            Ascent::Dual => climb.dual(History::new(observer)),
            Ascent::SemiDual => climb.semidual(History::new(observer)),
        })
    }
}

/// Who is told of iterations, and may break.
type Tell<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Potentials that some iterations on the dual bring towards an error, and how many there were, without a certificate: where
/// another solver starts from.
pub(crate) fn climb_towards<D: Device>(
    problem: &Problem<D>,
    error: f64,
    iterations: usize,
    tell: &mut Tell<'_>,
) -> Result<(Potentials<D>, Ascended<D>), Error> {
    let settings = DualAscent::new().max_iterations(iterations);
    let climb = Climb { settings: &settings, problem, tolerance: error };
    climb.climb_dual(&mut DualObjective::new(problem)?, tell)
}

/// What does not change on the way up.
struct Climb<'a, D: Device> {
    settings: &'a DualAscent,
    problem: &'a Problem<D>,
    tolerance: f64,
}

impl<D: Device> Climb<'_, D> {
    fn dual(&self, mut history: History<'_>) -> Result<Solution<D>, Error> {
        let mut objective = DualObjective::new(self.problem)?;
        let (potentials, end) = self.climb_dual(&mut objective, &mut |progress| history.tell(progress))?;
        self.finish(objective.kernel(), potentials, end, history.into_told())
    }

    /// Climbs the dual from the c-transform of zero, and zero.
    fn climb_dual(
        &self,
        objective: &mut DualObjective<D>,
        tell: &mut Tell<'_>,
    ) -> Result<(Potentials<D>, Ascended<D>), Error> {
        let from = start(self.problem, objective.kernel())?;
        let mut end = self.ascend(objective, vec![from.source, from.target], tell)?;
        let (Some(target), Some(source)) = (end.point.pop(), end.point.pop()) else {
            return Err(Error::Length { what: "blocks of variables", expected: 2, found: 0 });
        };
        Ok((Potentials { source, target, epsilon: self.problem.epsilon() }, end))
    }

    fn semidual(&self, mut history: History<'_>) -> Result<Solution<D>, Error> {
        let mut objective = SemiDualObjective::new(self.problem)?;
        let (backend, target) = (self.problem.backend(), self.problem.marginal(Side::Target));
        let zero = backend.filled(0.0, target.len(), self.problem.columns())?;
        let mut end = self.ascend(&mut objective, vec![zero], &mut |progress| history.tell(progress))?;
        let Some(target) = end.point.pop() else {
            return Err(Error::Length { what: "blocks of variables", expected: 1, found: 0 });
        };
        let (potentials, mut kernel) = objective.into_potentials(target);
        self.finish(kernel.as_mut(), potentials, end, history.into_told())
    }

    fn ascend<O: ConcaveObjective<D>>(
        &self,
        objective: &mut O,
        start: Vec<D::Vector>,
        tell: &mut Tell<'_>,
    ) -> Result<Ascended<D>, Error> {
        let Self { settings: DualAscent { limits, memory, .. }, problem, tolerance } = self;
        let mass = |column: usize| {
            let masses = Side::BOTH.map(|side| problem.marginal(side).mass(column));
            ((masses[0] + masses[1]) / 2.0).max(f64::MIN_POSITIVE)
        };
        let lightest = (0..problem.columns()).map(mass).fold(f64::INFINITY, f64::min);
        let mut observe = |iteration: usize, values: &[f64], gradients: &[f64]| {
            let errors = gradients.iter().enumerate().map(|(column, gradient)| gradient / mass(column));
            tell(Progress {
                of: Some(limits.most),
                epsilon: Some(problem.epsilon()),
                marginal_error: Some(errors.fold(0.0, f64::max)),
                dual: Some(values.iter().copied().fold(f64::INFINITY, f64::min)),
                active_columns: values.len(),
                ..Progress::new(Phase::Iterations, iteration)
            })
        };
        // What is certified counts rounding as well.
        let lbfgs = Lbfgs::new().memory(*memory).max_iterations(limits.most).tolerance(0.5 * tolerance * lightest);
        lbfgs.maximize(objective, start, problem.epsilon(), &mut observe)
    }

    /// Certifies where an ascent has ended.
    fn finish(
        &self,
        kernel: &mut dyn KernelOp<D>,
        mut potentials: Potentials<D>,
        end: Ascended<D>,
        history: Vec<Progress>,
    ) -> Result<Solution<D>, Error> {
        let Self { problem, tolerance, .. } = *self;
        fix_gauge(problem, &mut potentials)?;
        let certificates = certify_with(kernel, problem, &potentials)?;
        let Ascended { mut statuses, iterations, .. } = end;
        for (status, certificate) in statuses.iter_mut().zip(&certificates) {
            *status = match *status {
                _ if certificate.meets(tolerance) => Status::Converged,
                _ if certificate.rounding > tolerance / 4.0 && certificate.marginal_error <= tolerance => {
                    Status::PrecisionLimit { floor: certificate.rounding }
                }
                Status::Converged => Status::Stalled,
                other => other,
            };
        }
        Ok(Solution::new(problem.clone(), Arc::new(potentials), statuses, certificates, iterations, history))
    }
}

/// The c-transform of zero, and zero.
fn start<D: Device>(problem: &Problem<D>, kernel: &mut dyn KernelOp<D>) -> Result<Potentials<D>, Error> {
    let (backend, columns) = (problem.backend(), problem.columns());
    let zeros = |side| backend.filled(0.0, problem.marginal(side).len(), columns);
    let (guess, target) = (zeros(Side::Source)?, zeros(Side::Target)?);
    let mut source = backend.alloc(problem.marginal(Side::Source).len(), columns)?;
    let request = CTransform {
        side: Side::Source,
        plan: plan(problem, [&guess, &target]),
        penalty: problem.marginal(Side::Source).penalty(),
        active: &ActiveColumns::all(columns),
    };
    kernel.c_transform(backend, request, &mut source, None)?;
    Ok(Potentials { source, target, epsilon: problem.epsilon() })
}
