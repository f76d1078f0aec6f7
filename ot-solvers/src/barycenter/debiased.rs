//! Debiased barycenters (Janati, Cuturi, Gramfort 2020): those of Sinkhorn divergences, without the blur of the entropy.
//!
//! ```text
//! min over p   F(p) = sum_k lambda_k OT(a_k, p) - OT(p, p) / 2      OT with epsilon KL(P | a p^T)
//! ```
//!
//! which is sum_k lambda_k S(a_k, p) without the constant OT(a_k, a_k) / 2. The loop scales, as that of the projections does, with the
//! potential h of the plan between p and itself in the place of a constant:
//!
//! ```text
//! log(p / m) = (h - sum_k lambda_k s_k) / epsilon,     g_k = s_k + epsilon log(p / m)
//! h <- (h + epsilon log(p / m) + softmin of h) / 2
//! ```
//!
//! It is mirror descent of unit step, and sublinear: iterates are mixed (Anderson 1965), which takes a fourth of the iterations or
//! fewer. What it changes an iteration tells nothing of where it ends. F is convex, so the gap of Frank and Wolfe does,
//!
//! ```text
//! F(p) - min F <= <p, G> - mass min_j G_j,      G = sum_k lambda_k g_k - h
//! ```
//!
//! with the potentials of the transports of p itself, which are solved for where an iteration lets one hope that it is small.

mod iteration;
mod mixing;

use std::sync::Arc;

use ot_core::{Device, Error, Geometry, JointProblem, Observer, Progress, Side, Solution, Status};

use self::iteration::Iteration;
use super::inputs::require_inputs;
use crate::{history::History, limits::Limits};

/// Settings of the debiased barycenter.
///
/// Stopped by its gap, relative to epsilon times the mass, and never called converged before: images take tens of iterations to
/// a gap of 1e-2 and hundreds to 1e-3.
///
/// Cost: one sweep of each term, two softmins of p and one read an iteration; warm Sinkhorn iterations of each at a check whose
/// estimate of the gap is within the tolerance, and certificates once the gap is. Memory: five copies of the potentials of p.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{Barycenter, DebiasedBarycenter};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let points: Vec<f64> = (0..41).map(|i| 0.05 * f64::from(i)).collect();
/// let bump = |centre: f64| points.iter().map(|x| (-50.0 * (x - centre) * (x - centre)).exp()).collect::<Vec<_>>();
/// let [left, right] = [0.7, 1.3].map(|centre| PointCloud::new(&points, 1, bump(centre)).map(PointCloud::normalized));
/// let (left, right, support) = (left?, right?, PointCloud::uniform(&points, 1)?);
/// let problem = Barycenter::new(&backend, &support, &SqEuclidean, Epsilon::Absolute(0.05))
///     .inputs(&[&left, &right], &[0.5, 0.5])?
///     .problem()?;
/// let solution = DebiasedBarycenter::new().tolerance(1e-3).solve(&problem)?;
/// assert!(solution.status().is_converged() && solution.gaps()[0] <= 1e-3 * 0.05);
/// let p = solution.measure();
/// let variance: f64 = points.iter().zip(p).map(|(x, p)| p * (x - 1.0) * (x - 1.0)).sum();
/// // As wide as the inputs, 0.01: the blur would have added epsilon / 2.
/// assert!((variance - 0.01).abs() < 2e-3);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DebiasedBarycenter {
    limits: Limits,
    inner_tolerance: Option<f64>,
}

impl Default for DebiasedBarycenter {
    fn default() -> Self {
        Self::new()
    }
}

impl DebiasedBarycenter {
    /// A gap of 1e-3 epsilon mass, at most 10 000 iterations, a check every 5.
    #[must_use]
    pub fn new() -> Self {
        let limits = Limits::new("max_iterations", 10_000).tolerance(1e-3).check_interval(5);
        Self { limits, inner_tolerance: None }
    }

    /// The gap that counts as converged, over epsilon times the mass.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most iterations.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// Iterations between two checks.
    #[must_use]
    pub fn check_interval(self, check_interval: usize) -> Self {
        Self { limits: self.limits.check_interval(check_interval), ..self }
    }

    /// The marginal error of the transports of p that a gap is made of: a hundredth of the tolerance, and no less than 1e-7, if
    /// nothing is said.
    #[must_use]
    pub fn inner_tolerance(self, inner_tolerance: f64) -> Self {
        Self { inner_tolerance: Some(inner_tolerance), ..self }
    }

    /// Solves a problem whose inputs live on the support of the barycenter.
    ///
    /// # Errors
    /// Those of [`DebiasedRun::solve`].
    pub fn solve<D: Device>(&self, problem: &JointProblem<D>) -> Result<DebiasedSolution<D>, Error> {
        self.run(problem).solve()
    }

    /// A run to which a geometry of p and an observer can be given.
    #[must_use]
    pub fn run<'a, D: Device>(&'a self, problem: &'a JointProblem<D>) -> DebiasedRun<'a, D> {
        DebiasedRun { settings: self, problem, geometry: None, observer: None }
    }
}

/// One run of [`DebiasedBarycenter`] on one problem.
pub struct DebiasedRun<'a, D: Device> {
    settings: &'a DebiasedBarycenter,
    problem: &'a JointProblem<D>,
    geometry: Option<Arc<dyn Geometry<D>>>,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, D: Device> DebiasedRun<'a, D> {
    /// The geometry between the support of p and itself, of a symmetric cost. That of the first input, if none is given.
    #[must_use]
    pub fn geometry(self, geometry: Arc<dyn Geometry<D>>) -> Self {
        Self { geometry: Some(geometry), ..self }
    }

    /// The observer of every check; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, for several unknown measures, and for terms that are not from a given
    /// source to the unknown measure; [`Error::MissingCapability`] for penalised inputs; [`Error::Length`] for a geometry that is not that of p with
    /// itself; [`Error::OutOfMemory`], a failure of the device.
    pub fn solve(self) -> Result<DebiasedSolution<D>, Error> {
        let Self { settings, problem, geometry, observer } = self;
        settings.limits.check()?;
        require_inputs(problem)?;
        if !problem.terms().iter().all(|term| term.problem.is_balanced()) {
            return Err(Error::MissingCapability("debiased barycenter of penalised inputs"));
        }
        let geometry = geometry.unwrap_or_else(|| Arc::clone(problem.terms()[0].problem.geometry()));
        for side in Side::BOTH {
            let (expected, found) = (problem.unknown()[0], geometry.len(side));
            if expected != found {
                return Err(Error::Length { what: "the geometry of a barycenter with itself", expected, found });
            }
        }
        let backend = problem.terms()[0].problem.backend();
        backend.scope(|| Iteration::new(settings, problem, backend, geometry)?.run(History::new(observer)))
    }
}

/// A debiased barycenter, and how far it may be from the best.
#[derive(Debug)]
pub struct DebiasedSolution<D: Device> {
    problem: JointProblem<D>,
    transports: Vec<Solution<D>>,
    own: Option<Solution<D>>,
    measure: Vec<D::Elem>,
    gaps: Vec<f64>,
    statuses: Vec<Status>,
    iterations: usize,
    history: Vec<Progress>,
}

impl<D: Device> DebiasedSolution<D> {
    /// What was solved.
    #[must_use]
    pub fn problem(&self) -> &JointProblem<D> {
        &self.problem
    }

    /// The transport from each input to p, to the [inner tolerance](DebiasedBarycenter::inner_tolerance); none where p is not finite.
    #[must_use]
    pub fn transports(&self) -> &[Solution<D>] {
        &self.transports
    }

    /// The transport of p to itself, likewise.
    #[must_use]
    pub fn own_transport(&self) -> Option<&Solution<D>> {
        self.own.as_ref()
    }

    /// The masses of p, column after column.
    #[must_use]
    pub fn measure(&self) -> &[D::Elem] {
        &self.measure
    }

    /// The bound of F(p) - min F of each column, as far as the transports of p were solved.
    #[must_use]
    pub fn gaps(&self) -> &[f64] {
        &self.gaps
    }

    /// The worst status of all columns: converged where the gap is within the tolerance.
    #[must_use]
    pub fn status(&self) -> Status {
        self.statuses.iter().copied().find(|status| !status.is_converged()).unwrap_or(Status::Converged)
    }

    /// The status of each column.
    #[must_use]
    pub fn statuses(&self) -> &[Status] {
        &self.statuses
    }

    /// Iterations done.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// What was seen at each check: the largest gap, and its estimate where that was above the tolerance.
    #[must_use]
    pub fn history(&self) -> &[Progress] {
        &self.history
    }
}
