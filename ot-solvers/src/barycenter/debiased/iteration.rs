//! The loop of the debiased barycenter.

mod gap;

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    ActiveColumns, Backend, CTransform, Device, Error, Fold, Geometry, JointProblem, KernelOp, LOG_ZERO, Operand,
    Phase, PlanSide, PlanView, Program, Progress, Real, Scalar, Side, Status,
};

use self::gap::Check;
use super::{DebiasedBarycenter, DebiasedSolution, mixing::Mixing};
use crate::{
    barycenter::{group::Group, unknown::Unknown},
    entropic::Start,
    history::History,
};

/// Half-steps of h in an iteration. Each halves what is left, at least.
const OWN_STEPS: usize = 2;

/// Iterations before iterates are mixed: the first ones move far, and tell nothing of the last.
const UNMIXED: usize = 10;

/// The part of the iterations so far that pass between two solves for the transports: a hope that failed may fail again.
const PATIENCE: usize = 4;

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
    /// Those of the transports of p, bound at the first check: of each group, and of p to itself.
    of_transports: Vec<Box<dyn KernelOp<D>>>,
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
        let [least, largest] = backend.range();
        let largest = largest.ln() - (len as f64).ln();
        let groups = Group::of_problem(problem, |_| Start::Zero)?;
        Ok(Self {
            unknown: Unknown::new(problem, &groups, 0)?,
            mixing: Mixing::new(backend, &groups, len, columns)?,
            groups,
            kernel: geometry.bind_entropic(problem.epsilon(), columns)?,
            of_transports: Vec::new(),
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
        // The iterations from which on transports may be solved for again, and whatever the last ones told; by how much the gap
        // was above its estimate then.
        let (mut next, mut latest, mut excess) = (0_usize, 0_usize, 1.0_f64);
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
                let estimate = ratio(&estimates);
                let is_near = estimate <= tolerance
                    && iterations >= next
                    && (excess * estimate <= tolerance || iterations >= latest);
                let check = match is_last || is_near {
                    true => Some(self.check(epsilon, |gaps| is_last || ratio(gaps) <= tolerance)?),
                    false => None,
                };
                if let Some(check) = &check {
                    progress.gap = check.gaps.iter().copied().reduce(f64::max);
                    (next, latest) = (iterations + iterations / PATIENCE, 2 * iterations);
                    let found = ratio(&check.gaps) / estimate;
                    excess = if found.is_finite() { found.max(1.0) } else { 1.0 };
                }
                let cancelled = matches!(history.tell(progress), ControlFlow::Break(()));
                let check = match check {
                    None if cancelled => Some(self.check(epsilon, |_| true)?),
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
}
