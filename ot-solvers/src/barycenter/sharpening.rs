//! Barycenters of bounded entropy (Solomon et al. 2015): sharper than the entropy of the plans leaves them.
//!
//! ```text
//! min over p   sum_k lambda_k min_P <P, C_k> + epsilon KL(P | a_k m^T)     with   -sum_j p_j log p_j <= bound
//! ```
//!
//! for p relative to its mass. The set of such p is not convex. After each projection whose mean p' has more entropy than
//! allowed, p is the power p'^beta of mass one that has just as much: the nearest in the divergence of the projection.

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    ActiveColumns, Backend, Certificate, Device, End, Error, Fold, JointProblem, JointSolution, LOG_ZERO, Observer,
    Operand, Phase, Potentials, Program, Progress, Real, Scalar, Side, Status, WeightsView, certify,
};

use super::{
    term::{Pace, Term},
    unknown::Unknown,
};
use crate::{entropic::Start, history::History, limits::Limits};

/// How much entropy a barycenter may have.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum EntropyBound {
    /// No more than the input that has most: for inputs on the support of the barycenter.
    #[default]
    OfInputs,
    /// These numbers, one that serves all columns or one for each, at least 0.
    At(Vec<f64>),
}

/// Settings of the barycenter of bounded entropy: iterative Bregman projections, each followed by one onto the bound.
///
/// Steps are not over-relaxed, and there is no dual to guard them: the bound is not convex. What is returned is a fixed point
/// if it converged, each of whose plans has the marginals a_k and p. The certificate is that of the transports to p: `primal` and
/// `dual` bound the objective at p, and nothing tells how much better another p of this entropy is.
///
/// Cost: as [`BregmanProjections`](super::BregmanProjections), and six sums over p an iteration.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{Barycenter, BoundedEntropy, BregmanProjections};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let points: Vec<f64> = (0..31).map(f64::from).collect();
/// let block = |first: usize| (0..31).map(|i| f64::from(u8::from((first..first + 5).contains(&i)))).collect::<Vec<_>>();
/// let [left, right] = [4, 20].map(|first| PointCloud::new(&points, 1, block(first)).map(PointCloud::normalized));
/// let (left, right, support) = (left?, right?, PointCloud::uniform(&points, 1)?);
/// let problem = Barycenter::new(&backend, &support, &SqEuclidean, Epsilon::Absolute(8.0))
///     .inputs(&[&left, &right], &[0.5, 0.5])?
///     .problem()?;
/// let entropy = |p: &[f64]| -p.iter().map(|p| if *p > 0.0 { p * p.ln() } else { 0.0 }).sum::<f64>();
/// let blurred = BregmanProjections::new().solve(&problem)?.measure(0)?;
/// let sharp = BoundedEntropy::new().solve(&problem)?.measure(0)?;
/// assert!(entropy(&blurred) > 2.0 && (entropy(&sharp) - 5_f64.ln()).abs() < 1e-6);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BoundedEntropy {
    limits: Limits,
    bound: EntropyBound,
}

impl Default for BoundedEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl BoundedEntropy {
    /// The bound of the inputs, tolerance 1e-6 in f64 and 1e-4 in f32, at most 1000 iterations, a check every 5.
    #[must_use]
    pub fn new() -> Self {
        let limits = Limits::new("max_iterations", 1000).check_interval(5);
        Self { limits, bound: EntropyBound::OfInputs }
    }

    /// How much entropy p may have.
    #[must_use]
    pub fn bound(self, bound: EntropyBound) -> Self {
        Self { bound, ..self }
    }

    /// The marginal error that counts as converged, as for [`BregmanProjections`](super::BregmanProjections).
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most iterations.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// Solves a problem of one unknown measure.
    ///
    /// # Errors
    /// Those of [`BoundedEntropyRun::solve`].
    pub fn solve<D: Device>(&self, problem: &JointProblem<D>) -> Result<JointSolution<D>, Error> {
        self.run(problem).solve()
    }

    /// A run to which a start and an observer can be given.
    #[must_use]
    pub fn run<'a, D: Device>(&'a self, problem: &'a JointProblem<D>) -> BoundedEntropyRun<'a, D> {
        BoundedEntropyRun { settings: self, problem, start: None, observer: None }
    }
}

/// One run of [`BoundedEntropy`] on one problem.
pub struct BoundedEntropyRun<'a, D: Device> {
    settings: &'a BoundedEntropy,
    problem: &'a JointProblem<D>,
    start: Option<&'a JointSolution<D>>,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, D: Device> BoundedEntropyRun<'a, D> {
    /// The solution to start from: that without a bound, say.
    #[must_use]
    pub fn start(self, solution: &'a JointSolution<D>) -> Self {
        Self { start: Some(solution), ..self }
    }

    /// The observer of every check; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::Parameter`] for settings out of range, for several unknown measures, for terms that are not from a given source to
    /// the unknown measure, and for a bound that is no number >= 0; [`Error::Length`] for a start that does not fit, for bounds of another number than columns, and for
    /// [`EntropyBound::OfInputs`] where inputs have other supports; [`Error::MissingCapability`] where all inputs are penalised;
    /// [`Error::OutOfMemory`], a failure of the device.
    pub fn solve(self) -> Result<JointSolution<D>, Error> {
        let Self { settings, problem, start, observer } = self;
        settings.limits.check()?;
        if !problem.terms().iter().all(|term| term.ends == [End::Given, End::Unknown(0)]) {
            let (name, expected) = ("the number of unknown measures", "1, as the target of every term");
            return Err(Error::Parameter { name, value: problem.unknown().len() as f64, expected });
        }
        if !problem.has_balanced_end() {
            return Err(Error::MissingCapability("bound of the entropy of a measure whose mass no input prescribes"));
        }
        let bounds = bounds(problem, &settings.bound)?;
        let backend = problem.terms()[0].problem.backend();
        backend.scope(|| {
            let mut terms = Vec::with_capacity(problem.terms().len());
            for (index, term) in problem.terms().iter().enumerate() {
                let start = match start.and_then(|start| start.potentials().get(index)) {
                    Some(potentials) => Start::Warm(potentials),
                    None => Start::Zero,
                };
                terms.push(Term::new(term, &start)?);
            }
            let unknown = Unknown::new(problem, 0)?;
            let sharpener = Sharpener::new(backend, problem.unknown()[0], &bounds)?;
            Loop { settings, problem, backend, terms, unknown, sharpener }.run(History::new(observer))
        })
    }
}

/// The bound of each column.
fn bounds<D: Device>(problem: &JointProblem<D>, bound: &EntropyBound) -> Result<Vec<f64>, Error> {
    let columns = problem.columns();
    match bound {
        EntropyBound::At(bounds) => {
            if bounds.len() != 1 && bounds.len() != columns {
                return Err(Error::Length { what: "bounds of entropy", expected: columns, found: bounds.len() });
            }
            if let Some(&value) = bounds.iter().find(|bound| !(bound.is_finite() && **bound >= 0.0)) {
                return Err(Error::Parameter { name: "bound of entropy", value, expected: "a finite number >= 0" });
            }
            Ok((0..columns).map(|column| bounds[column.min(bounds.len() - 1)]).collect())
        }
        EntropyBound::OfInputs => {
            let mut largest = vec![0.0_f64; columns];
            for term in problem.terms() {
                for side in Side::BOTH.into_iter().filter(|side| side.of(term.ends) == End::Given) {
                    let marginal = term.problem.marginal(side);
                    let (expected, found) = (problem.unknown()[0], marginal.len());
                    if expected != found {
                        return Err(Error::Length { what: "an input whose entropy is the bound", expected, found });
                    }
                    let weights = term.problem.backend().download(&[marginal.weights()])?.swap_remove(0);
                    let histograms: Vec<_> = weights.chunks_exact(found).collect();
                    for (column, largest) in largest.iter_mut().enumerate() {
                        let (own, mass) = (histograms[column.min(histograms.len() - 1)], marginal.mass(column));
                        let parts = own.iter().map(|weight| weight.to_f64() / mass).filter(|part| *part > 0.0);
                        // Nothing is asked by an input without weight.
                        if term.weight(column) > 0.0 {
                            *largest = largest.max(-parts.map(|part| part * part.ln()).sum::<f64>());
                        }
                    }
                }
            }
            Ok(largest)
        }
    }
}

/// The state of one run.
struct Loop<'a, D: Device> {
    settings: &'a BoundedEntropy,
    problem: &'a JointProblem<D>,
    backend: &'a dyn Backend<D>,
    terms: Vec<Term<'a, D>>,
    unknown: Unknown<D>,
    sharpener: Sharpener<D>,
}

impl<D: Device> Loop<'_, D> {
    fn run(mut self, mut history: History<'_>) -> Result<JointSolution<D>, Error> {
        let Self { settings, problem, backend, .. } = self;
        let (limits, epsilon, columns) = (settings.limits, problem.epsilon(), problem.columns());
        let tolerance = limits.tolerance_or(backend.precision().default_tolerance());
        let (relaxation, active) = (backend.upload_reduced(&vec![1.0; columns])?, ActiveColumns::all(columns));
        let (mut goal, mut iterations) = (tolerance, 0);
        loop {
            let mut ended = Status::IterationLimit;
            while iterations < limits.most {
                iterations += 1;
                let at_check = iterations.is_multiple_of(limits.check_interval) || iterations == limits.most;
                let pace = Pace { relaxation: &relaxation, active: &active, at_check };
                self.unknown.step(&mut self.terms, pace)?;
                self.sharpener.bend(backend, &mut self.unknown, &mut self.terms, epsilon)?;
                if !at_check {
                    continue;
                }
                let error = self.largest_error()?;
                let progress = Progress {
                    of: Some(limits.most),
                    epsilon: Some(epsilon),
                    marginal_error: Some(error).filter(|error| error.is_finite()),
                    active_columns: columns,
                    ..Progress::new(Phase::Iterations, iterations)
                };
                if matches!(history.tell(progress), ControlFlow::Break(())) {
                    ended = Status::Cancelled;
                    break;
                }
                if !error.is_finite() {
                    ended = Status::NotFinite;
                    break;
                }
                if error <= goal {
                    ended = Status::Converged;
                    break;
                }
            }
            let certificates = self.certify(epsilon)?;
            let all_meet = certificates.iter().all(|certificate| certificate.meets(tolerance));
            if ended == Status::Converged && !all_meet && goal > tolerance / 100.0 {
                goal /= 3.0;
                continue;
            }
            let status = |certificate: &Certificate| match ended {
                _ if certificate.meets(tolerance) => Status::Converged,
                Status::Converged => Status::Stalled,
                ended => ended,
            };
            let statuses = certificates.iter().map(status).collect();
            let potentials = self.terms.into_iter().map(|term| Arc::new(term.potentials)).collect();
            let measures = vec![Arc::new(self.unknown.into_masses())];
            let (problem, history) = (problem.clone(), history.into_told());
            return Ok(JointSolution::new(problem, measures, potentials, statuses, certificates, iterations, history));
        }
    }

    /// What is proven of the transports to p, in values of the objective.
    fn certify(&mut self, epsilon: f64) -> Result<Vec<Certificate>, Error> {
        let (problem, backend, columns) = (self.problem, self.backend, self.problem.columns());
        let p = backend.download(&[self.unknown.masses()])?.swap_remove(0);
        let mut sums: Vec<Option<Certificate>> = vec![None; columns];
        for (state, term) in self.terms.iter_mut().zip(problem.terms()) {
            let m = backend.download(&[term.problem.marginal(Side::Target).weights()])?.swap_remove(0);
            let given = term.problem.with_weights(Side::Target, WeightsView::new(&p, columns)?)?;
            // The potential with the reference p in the place of m is the softmin.
            let target = backend.copied(state.transform(Side::Target)?)?;
            let source = backend.copied(&state.potentials.source)?;
            let certificates = certify(&given, &Potentials { source, target, epsilon })?;
            let len = p.len() / columns;
            for (column, (certificate, sum)) in certificates.into_iter().zip(&mut sums).enumerate() {
                let total: f64 = problem.terms().iter().map(|term| term.weight(column)).sum();
                let weight = term.weight(column);
                if weight > 0.0 {
                    let (p, m) = (&p[column * len..][..len], &m[column.min(m.len() / len - 1) * len..][..len]);
                    let offset = epsilon * divergence(p, m);
                    *sum = Some(added(*sum, certificate, weight, weight / total, offset));
                }
            }
        }
        Ok(sums.into_iter().flatten().collect())
    }

    /// The largest error of the given ends over the columns, of the iterate that the last step entered with.
    fn largest_error(&self) -> Result<f64, Error> {
        let numbers: Vec<_> = self.terms.iter().flat_map(Term::numbers).collect();
        let read = self.backend.read(&numbers)?;
        let of_column = |column: usize| {
            let (mut error, mut total) = (0.0, 0.0);
            for (term, numbers) in self.problem.terms().iter().zip(read.chunks_exact(5)) {
                let weight = term.weight(column);
                for side in Side::BOTH.into_iter().filter(|side| side.of(term.ends) == End::Given && weight > 0.0) {
                    error += weight * numbers[side.index()][column]
                        / term.problem.marginal(side).mass(column).max(f64::MIN_POSITIVE);
                }
                total += weight;
            }
            error / total
        };
        Ok((0..self.problem.columns()).map(of_column).fold(
            0.0,
            |largest: f64, error| {
                if error <= largest { largest } else { error }
            },
        ))
    }
}

/// sum_j p_j log(p_j / m_j): what KL(P | a m^T) has more than KL(P | a p^T) for any P of marginal p, where masses are equal.
fn divergence<T: Scalar>(p: &[T], m: &[T]) -> f64 {
    let term = |(p, m): (&T, &T)| if p.to_f64() > 0.0 { p.to_f64() * (p.to_f64() / m.to_f64()).ln() } else { 0.0 };
    p.iter().zip(m).map(term).sum()
}

/// Sums with the weight of a term; errors and rounding are means.
fn added(sum: Option<Certificate>, own: Certificate, weight: f64, share: f64, offset: f64) -> Certificate {
    let zero = Certificate {
        epsilon: own.epsilon,
        marginal_error: 0.0,
        source_residual: 0.0,
        target_residual: 0.0,
        mass: 0.0,
        transport_cost: Some(0.0),
        primal: 0.0,
        dual: 0.0,
        gap: 0.0,
        rounding: 0.0,
    };
    let sum = sum.unwrap_or(zero);
    Certificate {
        epsilon: own.epsilon,
        marginal_error: sum.marginal_error + share * own.marginal_error,
        source_residual: sum.source_residual + weight * own.source_residual,
        target_residual: sum.target_residual + weight * own.target_residual,
        mass: sum.mass + weight * own.mass,
        transport_cost: sum.transport_cost.zip(own.transport_cost).map(|(sum, own)| sum + weight * own),
        primal: sum.primal + weight * (own.primal + offset),
        dual: sum.dual + weight * (own.dual + offset),
        gap: sum.gap + weight * own.gap,
        rounding: sum.rounding + share * own.rounding,
    }
}

/// The projection onto the bound.
#[derive(Debug)]
struct Sharpener<D: Device> {
    bounds: D::Reduced,
    beta: D::Reduced,
    /// log p' up to a constant, 0 at its largest.
    logarithm: D::Vector,
    largest: D::Reduced,
    /// sum of p'^beta, of p'^beta log p', of p'^beta (log p')^2.
    sums: [D::Reduced; 3],
    programs: Programs,
}

/// The formulas of the projection.
#[derive(Debug)]
struct Programs {
    /// (s, log m, epsilon) to log p' up to a constant.
    logarithm: Program,
    /// (l, largest l) to their difference, within what a square holds.
    below: Program,
    /// x to x.
    identity: Program,
    /// (l, beta) to the terms of the sums.
    sums: Program,
    /// (beta, sums, bound) to a beta that is nearer: Newton's step within a factor of two, and never below 1.
    beta: Program,
    /// (l, beta, sum, mass) to p.
    mass: Program,
    /// (s_k, l, beta, sum, mass, log m, epsilon) to s_k + epsilon log(p / m).
    potential: Program,
}

/// Newton's steps towards beta in each iteration.
const STEPS: usize = 5;

impl<D: Device> Sharpener<D> {
    fn new(backend: &dyn Backend<D>, len: usize, bounds: &[f64]) -> Result<Self, Error> {
        let columns = bounds.len();
        let number = || backend.alloc_reduced(columns);
        Ok(Self {
            bounds: backend.upload_reduced(bounds)?,
            beta: backend.upload_reduced(&vec![1.0; columns])?,
            logarithm: backend.alloc(len, columns)?,
            largest: number()?,
            sums: [number()?, number()?, number()?],
            programs: Programs {
                logarithm: Program::record(|[s, log_m, epsilon]| [log_m - s / epsilon])?,
                below: Program::record(|[l, largest]| [(l - largest).max(-1e4)])?,
                identity: Program::record(|[x]| [x])?,
                sums: Program::record(|[l, beta]| {
                    let power = (beta * l).exp();
                    [power, power * l, power * l * l]
                })?,
                beta: Program::record(|[beta, sum, first, second, bound]| {
                    let mean = first / sum;
                    let entropy = sum.ln() - beta * mean;
                    let slope = beta * (second / sum - mean * mean);
                    let step = slope.select((entropy - bound) / slope, 0.0);
                    [(beta + step).max(0.5 * beta).min(2.0 * beta).max(1.0)]
                })?,
                mass: Program::record(|[l, beta, sum, mass]| [(beta * l).exp() * (mass / sum)])?,
                potential: Program::record(|[s, l, beta, sum, mass, log_m, epsilon]| {
                    let logarithm = beta * l + (mass / sum).ln() - log_m;
                    [s + (log_m - 0.5 * LOG_ZERO).select(epsilon * logarithm, 0.0)]
                })?,
            },
        })
    }

    /// p from the mean softmin in `unknown`, and potentials at which each plan has the marginal p, from the softmins s_k in
    /// `terms`.
    fn bend(
        &mut self,
        backend: &dyn Backend<D>,
        unknown: &mut Unknown<D>,
        terms: &mut [Term<'_, D>],
        epsilon: f64,
    ) -> Result<(), Error> {
        let Self { bounds, beta, logarithm, largest, sums, programs } = self;
        let (first, side) = unknown.ends()[0];
        let reference = terms[first].problem().marginal(side);
        let (len, log_m) = (reference.len(), reference.log_weights());
        let operands = [Operand::Vector(unknown.mean()), Operand::Vector(log_m), Operand::Constant(epsilon)];
        backend.map(&programs.logarithm, &operands, &mut [logarithm])?;
        backend.reduce(&programs.identity, Fold::Max, len, &[Operand::Vector(logarithm)], &mut [largest])?;
        backend.map(&programs.below, &[Operand::Output(0), Operand::Reduced(largest)], &mut [logarithm])?;
        for _ in 0..STEPS {
            let [sum, one, two] = sums;
            let operands = [Operand::Vector(logarithm), Operand::Reduced(beta)];
            backend.reduce(&programs.sums, Fold::Sum, len, &operands, &mut [&mut *sum, &mut *one, &mut *two])?;
            let operands = [Operand::Output(0), Operand::Reduced(sum), Operand::Reduced(one), Operand::Reduced(two)];
            let operands = [&operands[..], &[Operand::Reduced(bounds)]].concat();
            backend.map_reduced(&programs.beta, &operands, &mut [beta])?;
        }
        let [sum, one, two] = sums;
        let operands = [Operand::Vector(logarithm), Operand::Reduced(beta)];
        backend.reduce(&programs.sums, Fold::Sum, len, &operands, &mut [&mut *sum, one, two])?;
        let (masses, mass) = unknown.masses_and_mass();
        let operands =
            [Operand::Vector(logarithm), Operand::Reduced(beta), Operand::Reduced(sum), Operand::Reduced(mass)];
        backend.map(&programs.mass, &operands, &mut [masses])?;
        for &(term, side) in unknown.ends() {
            let operands = [
                Operand::Output(0),
                Operand::Vector(logarithm),
                Operand::Reduced(beta),
                Operand::Reduced(sum),
                Operand::Reduced(unknown.mass()),
                Operand::Vector(log_m),
                Operand::Constant(epsilon),
            ];
            backend.map(&programs.potential, &operands, &mut [terms[term].potentials.side_mut(side)])?;
        }
        Ok(())
    }
}
