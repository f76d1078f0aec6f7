//! The loop of the debiased barycenter, and its gap.

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    ActiveColumns, Backend, CTransform, Device, Epsilon, Error, Fold, Geometry, JointProblem, KernelOp, LOG_ZERO,
    Operand, Phase, PlanSide, PlanView, Potentials, Problem, Program, Progress, Real, Scalar, Side, Solution, Status,
    WeightsView,
};

use super::{DebiasedBarycenter, DebiasedSolution, mixing::Mixing};
use crate::{
    barycenter::{group::Group, inputs::Weighted, unknown::Unknown},
    entropic::{Sinkhorn, Start, Update},
    history::History,
};

/// Half-steps of h in an iteration. Each halves what is left, at least.
const OWN_STEPS: usize = 2;

/// Iterations before iterates are mixed: the first ones move far, and tell nothing of the last.
const UNMIXED: usize = 10;

/// The part of the iterations so far that pass between two solves for the transports: a hope that failed may fail again.
const PATIENCE: usize = 4;

/// The marginal error of the transports of p over the tolerance of the gap, and the least that is asked for unasked.
const INNER: f64 = 1e-2;
const LEAST_INNER: f64 = 1e-7;

/// What is known of an iterate.
struct Check<D: Device> {
    /// p of the mass of the inputs.
    measure: Vec<D::Elem>,
    /// The gap of each column.
    gaps: Vec<f64>,
    /// From each input to p, and of p to itself.
    transports: Vec<Solution<D>>,
    own: Option<Solution<D>>,
}

/// The state of one run.
pub(super) struct Iteration<'a, D: Device> {
    settings: &'a DebiasedBarycenter,
    problem: &'a JointProblem<D>,
    backend: &'a dyn Backend<D>,
    geometry: Arc<dyn Geometry<D>>,
    groups: Vec<Group<D>>,
    unknown: Unknown<'a, D>,
    /// The kernel of p with itself.
    kernel: Box<dyn KernelOp<D>>,
    /// h, and its softmin.
    own: D::Vector,
    softmin: D::Vector,
    /// epsilon log(p / m).
    logarithm: D::Vector,
    mixing: Mixing<D>,
    /// One number for each column.
    number: D::Reduced,
    other_number: D::Reduced,
    /// (h, s) to h - s.
    subtract: Program,
    /// (h, l, softmin of h) to their mean as above.
    average: Program,
    /// (l, log m, epsilon) to p.
    mass: Program,
    /// p to p.
    identity: Program,
    /// (l, mass, sum of p, epsilon) to the l of the p that has the mass.
    normalise: Program,
    /// (r, log m) to r where m > 0.
    reached: Program,
    /// (p, r) to p r.
    product: Program,
}

impl<'a, D: Device> Iteration<'a, D> {
    pub(super) fn new(
        settings: &'a DebiasedBarycenter,
        problem: &'a JointProblem<D>,
        backend: &'a dyn Backend<D>,
        geometry: Arc<dyn Geometry<D>>,
    ) -> Result<Self, Error> {
        let (len, columns) = (problem.unknown()[0], problem.columns());
        // Sums of masses are numbers too.
        let largest = D::Elem::MAX.ln() - (len as f64).ln();
        let least = D::Elem::TINY;
        let groups = Group::of_problem(problem, |_| Start::Zero)?;
        Ok(Self {
            unknown: Unknown::new(problem, &groups, 0)?,
            mixing: Mixing::new(backend, &groups, len, columns)?,
            groups,
            kernel: geometry.bind_entropic(problem.epsilon(), columns)?,
            own: backend.filled(0.0, len, columns)?,
            softmin: backend.filled(0.0, len, columns)?,
            logarithm: backend.filled(0.0, len, columns)?,
            number: backend.alloc_reduced(columns)?,
            other_number: backend.alloc_reduced(columns)?,
            subtract: Program::record(|[own, mean]| [own - mean])?,
            average: Program::record(|[own, logarithm, softmin]| [0.5 * (own + logarithm + softmin)])?,
            mass: Program::record(move |[logarithm, log_m, epsilon]| {
                let mass = (logarithm / epsilon + log_m).min(largest).exp();
                [(log_m - 0.5 * LOG_ZERO).select(mass, 0.0)]
            })?,
            identity: Program::record(|[p]| [p])?,
            normalise: Program::record(move |[logarithm, mass, sum, epsilon]| {
                [logarithm + epsilon * (mass.ln() - sum.max(least).ln())]
            })?,
            reached: Program::record(|[r, log_m]| [(log_m - 0.5 * LOG_ZERO).select(r, -D::Elem::MAX)])?,
            product: Program::record(|[p, r]| [p.select(p * r, 0.0)])?,
            settings,
            problem,
            backend,
            geometry,
        })
    }

    pub(super) fn run(mut self, mut history: History<'_>) -> Result<DebiasedSolution<D>, Error> {
        let (limits, epsilon, columns) = (self.settings.limits, self.problem.epsilon(), self.problem.columns());
        let tolerance = limits.tolerance_or(1e-3);
        let active = ActiveColumns::all(columns);
        let scale = |column: usize| epsilon * self.problem.terms()[0].problem.marginal(Side::Source).mass(column);
        let scales: Vec<f64> = (0..columns).map(scale).collect();
        let mut iterations = 0_usize;
        // The iteration from which on transports may be solved for again.
        let mut next = 0_usize;
        loop {
            iterations += 1;
            self.step(&active, epsilon)?;
            let is_last = iterations == limits.most;
            if is_last || iterations.is_multiple_of(limits.check_interval) {
                let estimates = self.estimates()?;
                let ratio = |gaps: &[f64]| -> f64 {
                    gaps.iter().zip(&scales).map(|(gap, scale)| gap / scale).fold(0.0, f64::max)
                };
                let mut progress = Progress {
                    of: Some(limits.most),
                    epsilon: Some(epsilon),
                    gap: estimates.iter().copied().reduce(f64::max),
                    active_columns: columns,
                    ..Progress::new(Phase::Iterations, iterations)
                };
                // Estimates that are no numbers count as nothing: they are looked at too.
                let is_near = ratio(&estimates) <= tolerance && iterations >= next;
                let check = if is_last || is_near { Some(self.check(epsilon)?) } else { None };
                if let Some(check) = &check {
                    progress.gap = check.gaps.iter().copied().reduce(f64::max);
                    next = iterations + iterations / PATIENCE;
                }
                let cancelled = matches!(history.tell(progress), ControlFlow::Break(()));
                let check = match check {
                    None if cancelled => Some(self.check(epsilon)?),
                    check => check,
                };
                if let Some(Check { measure, gaps, transports, own }) = check {
                    let meets = |column: usize| gaps[column] <= tolerance * scales[column];
                    let is_finite = measure.iter().all(|p| p.is_finite());
                    if (0..columns).all(meets) || cancelled || !is_finite || is_last {
                        let reason = match () {
                            () if !is_finite => Status::NotFinite,
                            () if cancelled => Status::Cancelled,
                            () => Status::IterationLimit,
                        };
                        let status = |column| if meets(column) { Status::Converged } else { reason };
                        let statuses = (0..columns).map(status).collect();
                        let (problem, history) = (self.problem.clone(), history.into_told());
                        return Ok(DebiasedSolution {
                            problem,
                            transports,
                            own,
                            measure,
                            gaps,
                            statuses,
                            iterations,
                            history,
                        });
                    }
                }
            }
            if iterations >= UNMIXED {
                let Self { backend, mixing, unknown, groups, own, .. } = &mut self;
                mixing.mix(*backend, unknown.masses(), groups, own)?;
            }
        }
    }

    /// One scaling of everything, to the mass of the inputs.
    fn step(&mut self, active: &ActiveColumns, epsilon: f64) -> Result<(), Error> {
        self.unknown.step(&mut self.groups, false)?;
        let Self { backend, groups, unknown, kernel, own, softmin, logarithm, mixing, number, .. } = self;
        let (reference, backend) = (unknown.reference(), *backend);
        mixing.enter(backend, own)?;
        let operands = [Operand::Vector(own), Operand::Vector(unknown.mean())];
        backend.map(&self.subtract, &operands, &mut [&mut *logarithm])?;
        let weigh = |logarithm: &D::Vector, masses: &mut D::Vector| {
            let operands =
                [Operand::Vector(logarithm), Operand::Vector(reference.log_weights()), Operand::Constant(epsilon)];
            backend.map(&self.mass, &operands, &mut [masses])
        };
        let (masses, mass) = unknown.masses_and_mass();
        weigh(logarithm, masses)?;
        backend.reduce(&self.identity, Fold::Sum, reference.len(), &[Operand::Vector(masses)], &mut [number])?;
        let operands =
            [Operand::Output(0), Operand::Reduced(mass), Operand::Reduced(number), Operand::Constant(epsilon)];
        backend.map(&self.normalise, &operands, &mut [&mut *logarithm])?;
        weigh(logarithm, masses)?;
        unknown.add(logarithm, groups)?;
        for _ in 0..OWN_STEPS {
            let both = PlanSide::new(own, reference.device_weights());
            let request = CTransform {
                side: Side::Source,
                plan: PlanView { source: both, target: both },
                penalty: reference.penalty(),
                active,
            };
            kernel.c_transform(backend, request, softmin, None)?;
            let operands = [Operand::Output(0), Operand::Vector(logarithm), Operand::Vector(softmin)];
            backend.map(&self.average, &operands, &mut [&mut *own])?;
        }
        mixing.take(backend, groups, own)
    }

    /// The gap of each column as the last iteration tells it: for h that solves its own equation it changes h by -G, and G
    /// is that of transports that have taken one step.
    fn estimates(&mut self) -> Result<Vec<f64>, Error> {
        let Self { backend, unknown, mixing, number, other_number, .. } = self;
        let (reference, residual) = (unknown.reference(), Operand::Vector(mixing.residual()));
        let operands = [residual, Operand::Vector(reference.log_weights())];
        backend.reduce(&self.reached, Fold::Max, reference.len(), &operands, &mut [&mut *number])?;
        let operands = [Operand::Vector(unknown.masses()), residual];
        backend.reduce(&self.product, Fold::Sum, reference.len(), &operands, &mut [&mut *other_number])?;
        let read = backend.read(&[number, other_number])?;
        let mass = |column: usize| self.problem.terms()[0].problem.marginal(Side::Source).mass(column);
        Ok((0..read[0].len()).map(|column| mass(column) * read[0][column] - read[1][column]).collect())
    }

    /// What is known of p.
    fn check(&mut self, epsilon: f64) -> Result<Check<D>, Error> {
        let (len, columns) = (self.problem.unknown()[0], self.problem.columns());
        let mut measure = self.backend.download(&[self.unknown.masses()])?.swap_remove(0);
        for (column, values) in measure.chunks_exact_mut(len).enumerate() {
            let mass = self.problem.terms()[0].problem.marginal(Side::Source).mass(column);
            let ratio = mass / values.iter().map(|p| p.to_f64()).sum::<f64>();
            values.iter_mut().for_each(|p| *p = D::Elem::from_f64(p.to_f64() * ratio));
        }
        let weights = WeightsView::new(&measure, columns)?;
        if weights.validate().is_err() {
            return Ok(Check { measure, gaps: vec![f64::INFINITY; columns], transports: Vec::new(), own: None });
        }
        let mut transports = Vec::with_capacity(self.problem.terms().len());
        let inner = self.settings.inner_tolerance;
        let inner = inner.unwrap_or_else(|| (INNER * self.settings.limits.tolerance_or(1e-3)).max(LEAST_INNER));
        let sinkhorn = Sinkhorn::new().tolerance(inner);
        let mut slope = vec![0.0; len * columns];
        let total = |column: usize| -> f64 { self.problem.terms().iter().map(|term| term.weight(column)).sum() };
        for group in &mut self.groups {
            let target = measure.repeat(group.terms().len());
            let given =
                group.problem.with_weights(Side::Target, WeightsView::new(&target, group.problem.columns())?)?;
            let start = group.beside(&self.logarithm, &self.subtract)?;
            let solution = sinkhorn.run(&given).start(Start::Warm(&start)).solve()?;
            let g = exact(&given, solution.potentials())?;
            for (&term, g) in group.terms().iter().zip(g.chunks_exact(len * columns)) {
                for (column, (slope, g)) in slope.chunks_exact_mut(len).zip(g.chunks_exact(len)).enumerate() {
                    let weight = self.problem.terms()[term].weight(column) / total(column);
                    slope.iter_mut().zip(g).for_each(|(slope, g)| *slope += weight * g.to_f64());
                }
            }
            transports.extend(group.solutions_of_terms(self.problem, &solution, weights)?);
        }
        transports.sort_by_key(|(term, _)| *term);
        let transports = transports.into_iter().map(|(_, transport)| transport).collect();
        let atoms = Weighted(weights);
        let own = Problem::new(Arc::clone(&self.geometry), &atoms, &atoms, Epsilon::Absolute(epsilon))?;
        let mut source = self.backend.copied(&self.own)?;
        let operands = [Operand::Output(0), Operand::Vector(&self.logarithm)];
        self.backend.map(&self.subtract, &operands, &mut [&mut source])?;
        let start = Potentials { target: self.backend.copied(&source)?, source, epsilon };
        let solution = sinkhorn.update(Update::Symmetric).run(&own).start(Start::Warm(&start)).solve()?;
        let h = exact(&own, solution.potentials())?;
        slope.iter_mut().zip(&h).for_each(|(slope, h)| *slope -= h.to_f64());
        let gap = |(p, slope): (&[D::Elem], &[f64])| -> f64 {
            let least = slope.iter().copied().fold(f64::INFINITY, f64::min);
            p.iter().zip(slope).map(|(p, slope)| p.to_f64() * (slope - least)).sum()
        };
        let gaps = measure.chunks_exact(len).zip(slope.chunks_exact(len)).map(gap).collect();
        Ok(Check { measure, gaps, transports, own: Some(solution) })
    }
}

/// The potential of p at all atoms: the softmin of that of the other side.
fn exact<D: Device>(problem: &Problem<D>, potentials: &Potentials<D>) -> Result<Vec<D::Elem>, Error> {
    let (backend, active) = (problem.backend(), ActiveColumns::all(problem.columns()));
    let penalty = problem.marginal(Side::Target).penalty();
    let request = CTransform { side: Side::Target, plan: problem.view(potentials), penalty, active: &active };
    let mut out = backend.alloc(problem.marginal(Side::Target).len(), problem.columns())?;
    problem.bind()?.c_transform(backend, request, &mut out, None)?;
    Ok(backend.download(&[&out])?.swap_remove(0))
}
