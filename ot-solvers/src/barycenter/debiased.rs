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
//! It is mirror descent of unit step, and sublinear: what it changes an iteration tells nothing of where it ends. F is convex, so
//! the gap of Frank and Wolfe does,
//!
//! ```text
//! F(p) - min F <= <p, G> - mass min_j G_j,      G = sum_k lambda_k g_k - h
//! ```
//!
//! with the potentials of the transports of p itself, which are solved for at each check.

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    ActiveColumns, Backend, CTransform, Device, End, Error, Geometry, JointProblem, KernelOp, Measure, Observer,
    Operand, Phase, PlanSide, PlanView, Potentials, Problem, Program, Progress, Real, Scalar, Side, Status, Support,
    WeightsView,
};

use super::{
    term::{Pace, Term},
    unknown::Unknown,
};
use crate::{
    entropic::{Sinkhorn, Start, Update},
    history::History,
    limits::Limits,
};

/// Settings of the debiased barycenter.
///
/// Stopped by its gap, relative to epsilon times the mass, and never called converged before: images with empty pixels take
/// thousands of iterations to a gap of 1e-2, those with a floor of mass fewer.
///
/// Cost: one sweep of each term and a softmin of p an iteration; a warm Sinkhorn solve of each at each check.
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
    inner_tolerance: f64,
}

impl Default for DebiasedBarycenter {
    fn default() -> Self {
        Self::new()
    }
}

impl DebiasedBarycenter {
    /// A gap of 1e-3 epsilon mass, at most 10 000 iterations, a check every 50, transports of p to 1e-7.
    #[must_use]
    pub fn new() -> Self {
        let limits = Limits::new("max_iterations", 10_000).tolerance(1e-3).check_interval(50);
        Self { limits, inner_tolerance: 1e-7 }
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

    /// The marginal error of the transports of p that a gap is made of.
    #[must_use]
    pub fn inner_tolerance(self, inner_tolerance: f64) -> Self {
        Self { inner_tolerance, ..self }
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
        if !problem.terms().iter().all(|term| term.ends == [End::Given, End::Unknown(0)]) {
            let (name, expected) = ("the number of unknown measures", "1, as the target of every term");
            return Err(Error::Parameter { name, value: problem.unknown().len() as f64, expected });
        }
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
        backend.scope(|| Loop::new(settings, problem, backend, geometry)?.run(History::new(observer)))
    }
}

/// A debiased barycenter, and how far it may be from the best.
#[derive(Debug)]
pub struct DebiasedSolution<D: Device> {
    measure: Vec<D::Elem>,
    gaps: Vec<f64>,
    statuses: Vec<Status>,
    iterations: usize,
    history: Vec<Progress>,
}

impl<D: Device> DebiasedSolution<D> {
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

    /// What was seen at each check: the largest gap.
    #[must_use]
    pub fn history(&self) -> &[Progress] {
        &self.history
    }
}

/// The state of one run.
struct Loop<'a, D: Device> {
    settings: &'a DebiasedBarycenter,
    problem: &'a JointProblem<D>,
    backend: &'a dyn Backend<D>,
    geometry: Arc<dyn Geometry<D>>,
    terms: Vec<Term<'a, D>>,
    unknown: Unknown<D>,
    /// The kernel of p with itself.
    kernel: Box<dyn KernelOp<D>>,
    /// h, and its softmin.
    own: D::Vector,
    softmin: D::Vector,
    /// epsilon log(p / m).
    logarithm: D::Vector,
    /// (h, s) to h - s.
    subtract: Program,
    /// (s_k, l) to s_k + l.
    add: Program,
    /// (h, l, softmin of h) to their mean as above.
    average: Program,
    /// (l, log m, epsilon) to p.
    mass: Program,
}

impl<'a, D: Device> Loop<'a, D> {
    fn new(
        settings: &'a DebiasedBarycenter,
        problem: &'a JointProblem<D>,
        backend: &'a dyn Backend<D>,
        geometry: Arc<dyn Geometry<D>>,
    ) -> Result<Self, Error> {
        let (len, columns) = (problem.unknown()[0], problem.columns());
        let largest = D::Elem::MAX.ln();
        Ok(Self {
            terms: problem.terms().iter().map(|term| Term::new(term, &Start::Zero)).collect::<Result<_, _>>()?,
            unknown: Unknown::new(problem, 0)?,
            kernel: geometry.bind_entropic(problem.epsilon(), columns)?,
            own: backend.filled(0.0, len, columns)?,
            softmin: backend.filled(0.0, len, columns)?,
            logarithm: backend.filled(0.0, len, columns)?,
            subtract: Program::record(|[own, mean]| [own - mean])?,
            add: Program::record(|[softmin, logarithm]| [softmin + logarithm])?,
            average: Program::record(|[own, logarithm, softmin]| [0.5 * (own + logarithm + softmin)])?,
            mass: Program::record(move |[logarithm, log_m, epsilon]| {
                [(logarithm / epsilon + log_m).min(largest).exp()]
            })?,
            settings,
            problem,
            backend,
            geometry,
        })
    }

    fn run(mut self, mut history: History<'_>) -> Result<DebiasedSolution<D>, Error> {
        let (limits, epsilon, columns) = (self.settings.limits, self.problem.epsilon(), self.problem.columns());
        let tolerance = limits.tolerance_or(1e-3);
        let relaxation = self.backend.upload_reduced(&vec![1.0; columns])?;
        let active = ActiveColumns::all(columns);
        let pace = Pace { relaxation: &relaxation, active: &active, at_check: false };
        let mut iterations = 0_usize;
        loop {
            iterations += 1;
            self.step(pace, epsilon)?;
            if !iterations.is_multiple_of(limits.check_interval) && iterations != limits.most {
                continue;
            }
            let (measure, gaps) = self.gaps(epsilon)?;
            let scale = |column: usize| epsilon * self.problem.terms()[0].problem.marginal(Side::Source).mass(column);
            let meets = |column: usize| gaps[column] <= tolerance * scale(column);
            let progress = Progress {
                of: Some(limits.most),
                epsilon: Some(epsilon),
                gap: gaps.iter().copied().reduce(f64::max),
                active_columns: columns,
                ..Progress::new(Phase::Iterations, iterations)
            };
            let cancelled = matches!(history.tell(progress), ControlFlow::Break(()));
            let is_finite = measure.iter().all(|p| p.is_finite());
            let all = (0..columns).all(meets);
            if all || cancelled || !is_finite || iterations == limits.most {
                let reason = match () {
                    () if !is_finite => Status::NotFinite,
                    () if cancelled => Status::Cancelled,
                    () => Status::IterationLimit,
                };
                let status = |column| if meets(column) { Status::Converged } else { reason };
                let statuses = (0..columns).map(status).collect();
                return Ok(DebiasedSolution { measure, gaps, statuses, iterations, history: history.into_told() });
            }
        }
    }

    /// One scaling of everything.
    fn step(&mut self, pace: Pace<'_, D>, epsilon: f64) -> Result<(), Error> {
        self.unknown.step(&mut self.terms, pace)?;
        let Self { backend, terms, unknown, kernel, own, softmin, logarithm, .. } = self;
        let reference = terms[0].problem().marginal(Side::Target);
        let operands = [Operand::Vector(own), Operand::Vector(unknown.mean())];
        backend.map(&self.subtract, &operands, &mut [&mut *logarithm])?;
        for &(term, side) in unknown.ends() {
            let operands = [Operand::Output(0), Operand::Vector(logarithm)];
            backend.map(&self.add, &operands, &mut [terms[term].potentials.side_mut(side)])?;
        }
        let both = PlanSide::new(own, reference.device_weights());
        let request = CTransform {
            side: Side::Source,
            plan: PlanView { source: both, target: both },
            penalty: reference.penalty(),
            active: pace.active,
        };
        kernel.c_transform(*backend, request, softmin, None)?;
        let operands = [Operand::Output(0), Operand::Vector(logarithm), Operand::Vector(softmin)];
        backend.map(&self.average, &operands, &mut [own])?;
        let operands =
            [Operand::Vector(logarithm), Operand::Vector(reference.log_weights()), Operand::Constant(epsilon)];
        backend.map(&self.mass, &operands, &mut [unknown.masses_and_mass().0])
    }

    /// p of the mass of the inputs, and the gap of each column.
    fn gaps(&self, epsilon: f64) -> Result<(Vec<D::Elem>, Vec<f64>), Error> {
        let (len, columns) = (self.problem.unknown()[0], self.problem.columns());
        let mut measure = self.backend.download(&[self.unknown.masses()])?.swap_remove(0);
        for (column, values) in measure.chunks_exact_mut(len).enumerate() {
            let mass = self.problem.terms()[0].problem.marginal(Side::Source).mass(column);
            let ratio = mass / values.iter().map(|p| p.to_f64()).sum::<f64>();
            values.iter_mut().for_each(|p| *p = D::Elem::from_f64(p.to_f64() * ratio));
        }
        let weights = WeightsView::new(&measure, columns)?;
        if weights.validate().is_err() {
            return Ok((measure, vec![f64::INFINITY; columns]));
        }
        let sinkhorn = Sinkhorn::new().tolerance(self.settings.inner_tolerance);
        let mut slope = vec![0.0; len * columns];
        for (state, term) in self.terms.iter().zip(self.problem.terms()) {
            let given = term.problem.with_weights(Side::Target, weights)?;
            let solution = sinkhorn.run(&given).start(Start::Warm(&state.potentials)).solve()?;
            let g = self.exact(&given, solution.potentials())?;
            let total = |column: usize| -> f64 { self.problem.terms().iter().map(|term| term.weight(column)).sum() };
            for (column, (slope, g)) in slope.chunks_exact_mut(len).zip(g.chunks_exact(len)).enumerate() {
                let weight = term.weight(column) / total(column);
                slope.iter_mut().zip(g).for_each(|(slope, g)| *slope += weight * g.to_f64());
            }
        }
        let atoms = Atoms { len, weights };
        let own = Problem::new(Arc::clone(&self.geometry), &atoms, &atoms, ot_core::Epsilon::Absolute(epsilon))?;
        let solution = sinkhorn.update(Update::Symmetric).solve(&own)?;
        let h = self.exact(&own, solution.potentials())?;
        slope.iter_mut().zip(&h).for_each(|(slope, h)| *slope -= h.to_f64());
        let gap = |(p, slope): (&[D::Elem], &[f64])| -> f64 {
            let least = slope.iter().copied().fold(f64::INFINITY, f64::min);
            p.iter().zip(slope).map(|(p, slope)| p.to_f64() * (slope - least)).sum()
        };
        let gaps = measure.chunks_exact(len).zip(slope.chunks_exact(len)).map(gap).collect();
        Ok((measure, gaps))
    }

    /// The potential of p at all atoms: the softmin of that of the other side.
    fn exact(&self, problem: &Problem<D>, potentials: &Potentials<D>) -> Result<Vec<D::Elem>, Error> {
        let active = ActiveColumns::all(problem.columns());
        let penalty = problem.marginal(Side::Target).penalty();
        let request = CTransform { side: Side::Target, plan: problem.view(potentials), penalty, active: &active };
        let mut out = self.backend.alloc(problem.marginal(Side::Target).len(), problem.columns())?;
        problem.bind()?.c_transform(self.backend, request, &mut out, None)?;
        Ok(self.backend.download(&[&out])?.swap_remove(0))
    }
}

/// Weights of atoms that a geometry knows.
#[derive(Debug)]
struct Atoms<'a, T> {
    len: usize,
    weights: WeightsView<'a, T>,
}

impl<T: Scalar> Measure<T> for Atoms<'_, T> {
    fn support(&self) -> Support<'_, T> {
        Support::Indices(self.len)
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        Some(self.weights)
    }
}
