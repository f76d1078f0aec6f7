//! The solver: a sweep or two of the alternating iteration, and then the ascent of the dual or of the semi-dual.

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    ActiveColumns, Backend, Check, Error, KernelOp, Potentials, Problem, Scalar, Side, Solution, Status, Sweep,
    certificate::certify_with,
};

use super::{ConcaveObjective, DualObjective, Lbfgs, SemiDualObjective};
use crate::entropic::fix_gauge;

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

/// Quasi-Newton ascent of the dual, for any regularizer of the plan and any law with a dual that is finite everywhere.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_core::{Backend, CostMatrix, Epsilon, Histogram, Measure, Problem, SquaredL2};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::DualAscent;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
/// let (a, b) = (Histogram::new(vec![0.5, 0.5])?, Histogram::new(vec![0.25, 0.75])?);
/// let geometry = backend.geometry(a.support(), b.support(), &cost)?;
/// let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1))?.with_plan_regularizer(Arc::new(SquaredL2));
/// let solution = DualAscent::new().tolerance(1e-9).solve(&problem)?;
/// assert!(solution.status().is_converged());
/// assert_eq!(solution.plan()?.nonzeros(0, 4)?.len(), 3);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DualAscent {
    ascent: Ascent,
    tolerance: Option<f64>,
    max_iterations: usize,
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
        Self { ascent: Ascent::Dual, tolerance: None, max_iterations: 2000, memory: 10 }
    }

    /// What is climbed.
    #[must_use]
    pub fn ascent(self, ascent: Ascent) -> Self {
        Self { ascent, ..self }
    }

    /// The marginal error that counts as converged, as for [`Sinkhorn`](crate::Sinkhorn).
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { tolerance: Some(tolerance), ..self }
    }

    /// The most iterations.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { max_iterations, ..self }
    }

    /// Pairs of memory.
    #[must_use]
    pub fn memory(self, memory: usize) -> Self {
        Self { memory, ..self }
    }

    /// Solves a problem from the potentials that one sweep makes of zero.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range and for laws with potentials of infinite dual (total variation,
    /// free): those are for [`Sinkhorn`](crate::Sinkhorn). Those of [`Problem::bind`], [`Error::OutOfMemory`], a failure
    /// of the device.
    pub fn solve<B: Backend>(&self, problem: &Problem<B>) -> Result<Solution<B>, Error> {
        for side in [Side::Source, Side::Target] {
            let bounds = problem.marginal(side).regularizer().potential_bounds();
            if let Some(value) = bounds.into_iter().find(|bound| bound.is_finite()) {
                let expected = "a law without bounds on its potential";
                return Err(Error::Parameter { name: "bound of a potential", value, expected });
            }
        }
        problem.backend().scope(|| match self.ascent {
            Ascent::Dual => self.climb_dual(problem),
            Ascent::SemiDual => self.climb_semidual(problem),
        })
    }

    fn climb_dual<B: Backend>(&self, problem: &Problem<B>) -> Result<Solution<B>, Error> {
        let mut objective = DualObjective::new(problem)?;
        let start = self.start(problem, objective.kernel())?;
        let climbed = self.climb(problem, &mut objective, vec![start.source, start.target])?;
        let Climbed { mut point, statuses, iterations, history } = climbed;
        let (Some(target), Some(source)) = (point.pop(), point.pop()) else {
            return Err(Error::Length { what: "blocks of variables", expected: 2, found: 0 });
        };
        let potentials = Potentials { source, target, epsilon: problem.epsilon() };
        self.finish(problem, objective.kernel(), potentials, statuses, iterations, history)
    }

    fn climb_semidual<B: Backend>(&self, problem: &Problem<B>) -> Result<Solution<B>, Error> {
        let mut objective = SemiDualObjective::new(problem)?;
        let start = self.start(problem, objective.kernel())?;
        let climbed = self.climb(problem, &mut objective, vec![start.target])?;
        let Climbed { mut point, statuses, iterations, history } = climbed;
        let Some(target) = point.pop() else {
            return Err(Error::Length { what: "blocks of variables", expected: 1, found: 0 });
        };
        let (potentials, mut kernel) = objective.into_potentials(target);
        self.finish(problem, kernel.as_mut(), potentials, statuses, iterations, history)
    }

    /// The tolerance asked for, or what the element type can be asked for.
    fn tolerance_for<T: Scalar>(&self) -> f64 {
        self.tolerance.unwrap_or(if T::EPSILON < 1e-10 { 1e-6 } else { 1e-4 })
    }

    /// The potentials that one sweep makes of zero.
    fn start<B: Backend>(&self, problem: &Problem<B>, kernel: &mut dyn KernelOp<B>) -> Result<Potentials<B>, Error> {
        let (backend, columns) = (problem.backend(), problem.columns());
        let zeros = |side: Side| {
            let len = problem.marginal(side).len() * columns;
            backend.upload(&vec![B::Elem::from_f64(0.0); len], columns)
        };
        let pair = || -> Result<Potentials<B>, Error> {
            let (source, target) = (zeros(Side::Source)?, zeros(Side::Target)?);
            Ok(Potentials { source, target, epsilon: problem.epsilon() })
        };
        let (mut potentials, mut scratch) = (pair()?, pair()?);
        sweep(problem, kernel, &mut potentials, &mut scratch)?;
        Ok(potentials)
    }

    fn climb<B: Backend, O: ConcaveObjective<B>>(
        &self,
        problem: &Problem<B>,
        objective: &mut O,
        start: Vec<B::Vector>,
    ) -> Result<Climbed<B>, Error> {
        let mass = |column: usize| {
            let masses = [Side::Source, Side::Target].map(|side| problem.marginal(side).mass(column));
            ((masses[0] + masses[1]) / 2.0).max(f64::MIN_POSITIVE)
        };
        let lightest = (0..problem.columns()).map(mass).fold(f64::INFINITY, f64::min);
        let mut history = Vec::new();
        let mut observe = |iteration: usize, values: &[f64], gradients: &[f64]| {
            let errors = gradients.iter().enumerate().map(|(column, gradient)| gradient / mass(column));
            history.push(Check {
                iteration,
                epsilon: problem.epsilon(),
                marginal_error: errors.fold(0.0, f64::max),
                dual: values.iter().copied().fold(f64::INFINITY, f64::min),
                relaxation: 1.0,
                active_columns: values.len(),
            });
            ControlFlow::Continue(())
        };
        // What is certified counts rounding as well.
        let tolerance = 0.5 * self.tolerance_for::<B::Elem>() * lightest;
        let settings = Lbfgs::new().memory(self.memory).max_iterations(self.max_iterations).tolerance(tolerance);
        let climbed = settings.maximize(objective, start, problem.epsilon(), &mut observe)?;
        Ok(Climbed { point: climbed.point, statuses: climbed.statuses, iterations: climbed.iterations, history })
    }

    /// Certifies where an ascent has ended.
    fn finish<B: Backend>(
        &self,
        problem: &Problem<B>,
        kernel: &mut dyn KernelOp<B>,
        mut potentials: Potentials<B>,
        mut statuses: Vec<Status>,
        iterations: usize,
        history: Vec<Check>,
    ) -> Result<Solution<B>, Error> {
        fix_gauge(problem, &mut potentials)?;
        let certificates = certify_with(kernel, problem, &potentials)?;
        let tolerance = self.tolerance_for::<B::Elem>();
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

/// Where an ascent has ended.
struct Climbed<B: Backend> {
    point: Vec<B::Vector>,
    statuses: Vec<Status>,
    iterations: usize,
    history: Vec<Check>,
}

/// One plain iteration.
fn sweep<B: Backend>(
    problem: &Problem<B>,
    kernel: &mut dyn KernelOp<B>,
    potentials: &mut Potentials<B>,
    scratch: &mut Potentials<B>,
) -> Result<(), Error> {
    let backend = problem.backend();
    let relaxation = backend.upload_reduced(&vec![1.0; problem.columns()])?;
    let active = ActiveColumns::all(problem.columns());
    let sweep = Sweep {
        source: problem.marginal(Side::Source),
        target: problem.marginal(Side::Target),
        potentials,
        relaxation: &relaxation,
        active: &active,
        scratch,
        by_products: None,
    };
    kernel.sweep(backend, sweep)
}
