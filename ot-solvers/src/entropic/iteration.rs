//! The loop of Sinkhorn's iteration: sweeps on the device, and checks where the host looks.
//!
//! Between two checks nothing is read. At a check one read brings the by-products of the sweep:
//! residuals, conjugate and dual of each column. They decide relaxation, rest and cancellation, and
//! they are hints; what is returned as converged has been certified by densities of its own.

use ot_core::{
    ActiveColumns, Backend, ByProducts, Certificate, Device, Error, KernelOp, Observer, Operand, Phase, Potentials,
    Problem, Program, Progress, Real, Scalar, Side, Status, Sweep, Translation, certificate::certify_with,
    kernel::simultaneous_sweep,
};

use super::{
    Sinkhorn, Start, Update,
    gauge::fix_gauge,
    relaxation::{Controller, Observed},
};
use crate::history::History;

/// The marginal error at which a stage of the annealing ends.
const STAGE_TOLERANCE: f64 = 1e-2;

/// The most iterations of a stage of the annealing.
const STAGE_ITERATIONS: usize = 200;

/// Checks without a smaller error or a larger dual after which a column has stalled.
const PATIENCE: usize = 50;

/// Iterations of a start from given potentials that are each followed by a check.
const WATCHED: usize = 4;

/// How often a column that rested too early is sent on.
const SECOND_CHANCES: usize = 4;

/// The state of one run.
pub(super) struct Iteration<'a, D: Device> {
    settings: &'a Sinkhorn,
    problem: &'a Problem<D>,
    potentials: Potentials<D>,
    /// The iterate that the sweep of a check entered with: what its by-products speak of.
    entering: Potentials<D>,
    /// The iterate of the smallest error, column by column.
    best: Potentials<D>,
    scratch: Potentials<D>,
    by_products: ByProducts<D>,
    relaxation: D::Reduced,
    chosen: D::Reduced,
    choose: Program,
    translation: Option<Translation<D>>,
    active: ActiveColumns,
    columns: Vec<Column>,
    /// Iterations that are each looked at: the first few of a start that may be near.
    watched: usize,
    iterations: usize,
    /// The iteration of the last check.
    checked: usize,
    history: History<'a>,
    /// Why the whole run must end, if it must.
    ended: Option<Status>,
}

/// What the host remembers of one column.
#[derive(Copy, Clone, Debug)]
struct Column {
    controller: Controller,
    smallest_error: f64,
    last_error: f64,
    largest_dual: f64,
    /// Checks without a smaller error or a larger dual.
    checks_since: usize,
    /// Why the column rests; `Converged` until certified is a guess.
    rest: Option<Status>,
}

/// When a column comes to rest.
#[derive(Copy, Clone, Debug)]
struct Goal {
    tolerance: f64,
    last_iteration: usize,
    patience: usize,
}

impl<'a, D: Device> Iteration<'a, D> {
    pub(super) fn new(
        settings: &'a Sinkhorn,
        problem: &'a Problem<D>,
        start: &Start<'_, D>,
        observer: Option<&'a mut dyn Observer>,
    ) -> Result<Self, Error> {
        let (backend, columns) = (problem.backend(), problem.columns());
        let atoms = Side::BOTH.map(|side| problem.marginal(side).len());
        let alloc = || -> Result<Potentials<D>, Error> {
            let [source, target] = atoms.map(|len| backend.alloc(len, columns));
            Ok(Potentials { source: source?, target: target?, epsilon: problem.epsilon() })
        };
        let potentials = start.potentials(problem)?;
        let (source, target) = (backend.copied(&potentials.source)?, backend.copied(&potentials.target)?);
        let best = Potentials { source, target, epsilon: problem.epsilon() };
        Ok(Self {
            potentials,
            entering: alloc()?,
            best,
            scratch: alloc()?,
            by_products: ByProducts::alloc(backend, atoms, columns)?,
            relaxation: backend.alloc_reduced(columns)?,
            chosen: backend.alloc_reduced(columns)?,
            choose: Program::record(|[now, other, chosen]| [chosen.select(other, now)])?,
            translation: Translation::new(problem)?,
            active: ActiveColumns::all(columns),
            columns: vec![Column::new(settings); columns],
            watched: if matches!(start, Start::Zero) { 0 } else { WATCHED },
            iterations: 0,
            checked: 0,
            history: History::new(observer),
            ended: None,
            settings,
            problem,
        })
    }

    /// A stage of the annealing: near enough to its solution, and no more, in at most so many iterations.
    pub(super) fn approach<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K, share: usize) -> Result<(), Error> {
        let last_iteration = self.iterations + share.min(STAGE_ITERATIONS);
        let tolerance = STAGE_TOLERANCE.max(self.settings.tolerance_on(self.problem));
        self.descend(kernel, Goal { tolerance, last_iteration, patience: PATIENCE })?;
        self.choose_best(|column| column.rest == Some(Status::NotFinite))?;
        self.wake(|_| true);
        Ok(())
    }

    /// The last stage: to the tolerance, certified.
    pub(super) fn converge<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K) -> Result<Vec<Certificate>, Error> {
        let (tolerance, max_iterations) = (self.settings.tolerance_on(self.problem), self.settings.limits.most);
        let mut goal = Goal { tolerance, last_iteration: max_iterations, patience: PATIENCE };
        for chance in 0.. {
            self.descend(kernel, goal)?;
            self.choose_best(|column| column.rest != Some(Status::Converged))?;
            fix_gauge(self.problem, &mut self.potentials)?;
            let certificates = certify_with(kernel, self.problem, &self.potentials)?;
            for (column, certificate) in self.columns.iter_mut().zip(&certificates) {
                let rest = column.rest.or(self.ended);
                column.rest = verdict(rest, certificate, tolerance, chance < SECOND_CHANCES && self.ended.is_none());
            }
            if self.columns.iter().all(|column| column.rest.is_some()) {
                return Ok(certificates);
            }
            // The by-products were too optimistic: the columns that failed the certificate continue.
            goal.tolerance /= 3.0;
            self.wake(|column| column.rest.is_none());
        }
        Ok(Vec::new())
    }

    /// Potentials, statuses, iterations and history.
    pub(super) fn finish(self) -> (Potentials<D>, Vec<Status>, usize, Vec<Progress>) {
        let statuses = self.columns.iter().map(|column| column.rest.unwrap_or(Status::IterationLimit)).collect();
        (self.potentials, statuses, self.iterations, self.history.into_told())
    }

    /// Sweeps until every column rests, or the run must end.
    fn descend<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K, goal: Goal) -> Result<(), Error> {
        kernel.recenter(self.problem.view(&self.potentials))?;
        self.write_relaxation()?;
        let first = self.iterations;
        while self.ended.is_none() && !self.active.is_empty() && self.iterations < goal.last_iteration {
            self.iterations += 1;
            let done = self.iterations - first;
            let at_check = done.is_multiple_of(self.settings.limits.check_interval)
                || self.iterations == goal.last_iteration
                || self.iterations <= self.watched;
            self.step(kernel, at_check)?;
            if at_check {
                self.check(kernel.epsilon(), goal)?;
            }
        }
        if self.ended.is_none() && !self.active.is_empty() && self.iterations >= self.settings.limits.most {
            self.ended = Some(Status::IterationLimit);
        }
        Ok(())
    }

    /// One full iteration.
    fn step<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K, at_check: bool) -> Result<(), Error> {
        let (problem, backend) = (self.problem, self.problem.backend());
        if let Some(translation) = &mut self.translation {
            translation.apply(problem, &mut self.potentials, &self.relaxation)?;
        }
        if at_check {
            backend.copy(&self.potentials.source, &mut self.entering.source)?;
            backend.copy(&self.potentials.target, &mut self.entering.target)?;
        }
        let sweep = Sweep {
            source: problem.marginal(Side::Source),
            target: problem.marginal(Side::Target),
            potentials: &mut self.potentials,
            relaxation: &self.relaxation,
            active: &self.active,
            scratch: &mut self.scratch,
            by_products: at_check.then_some(&mut self.by_products),
        };
        match self.settings.update {
            Update::Alternating => kernel.sweep(backend, sweep),
            Update::Symmetric => simultaneous_sweep(kernel, backend, sweep),
        }
    }

    /// Reads the by-products and decides, column by column, what they mean.
    fn check(&mut self, epsilon: f64, goal: Goal) -> Result<(), Error> {
        let ByProducts { source_residual, target_residual, conjugate, source_dual, target_dual, .. } =
            &self.by_products;
        let numbers = [source_residual, target_residual, conjugate, source_dual, target_dual];
        let read = self.problem.backend().read(&numbers)?;
        let value_at_zero = self.problem.regularizer().value_at_zero();
        let mut improved = vec![false; self.columns.len()];
        let phase = if epsilon > self.problem.epsilon() { Phase::Annealing } else { Phase::Iterations };
        let mut seen = Progress {
            of: Some(self.settings.limits.most),
            epsilon: Some(epsilon),
            active_columns: self.active.indices().len(),
            ..Progress::new(phase, self.iterations)
        };
        let since = self.iterations - std::mem::replace(&mut self.checked, self.iterations);
        for index in self.active.indices().to_vec() {
            let at = |number: usize| read[number][index];
            let masses = Side::BOTH.map(|side| self.problem.marginal(side).mass(index));
            let magnitude = at(3).abs() + at(4).abs() + epsilon * masses[0] * masses[1];
            let observed = Observed {
                error: (at(0) + at(1)) / ((masses[0] + masses[1]) / 2.0).max(f64::MIN_POSITIVE),
                dual: at(3) + at(4) - epsilon * (at(2) - value_at_zero * masses[0] * masses[1]),
                dual_rounding: 8.0 * <D::Elem as Scalar>::EPSILON * magnitude,
            };
            let column = &mut self.columns[index];
            improved[index] = column.observe(observed, since, goal);
            if observed.error.is_finite() && observed.dual.is_finite() {
                seen.marginal_error =
                    Some(seen.marginal_error.map_or(observed.error, |error| error.max(observed.error)));
                seen.dual = Some(seen.dual.map_or(observed.dual, |dual| dual.min(observed.dual)));
            }
            let omega = column.controller.omega();
            seen.relaxation = Some(seen.relaxation.map_or(omega, |largest| largest.max(omega)));
            if column.rest.is_some() {
                self.active.freeze(index);
            }
        }
        self.keep_best(&improved)?;
        self.write_relaxation()?;
        if self.history.tell(seen).is_break() {
            self.ended = Some(Status::Cancelled);
        }
        Ok(())
    }

    /// Lets columns move again, as if they had just started.
    fn wake(&mut self, which: impl Fn(&Column) -> bool) {
        self.active = ActiveColumns::all(self.columns.len());
        for (index, column) in self.columns.iter_mut().enumerate() {
            if which(column) {
                column.wake(self.settings);
            } else {
                self.active.freeze(index);
            }
        }
    }

    /// Brings the relaxation of every column to the device: 0 for one that rests.
    fn write_relaxation(&mut self) -> Result<(), Error> {
        let omega = |(index, column): (usize, &Column)| match self.settings.update {
            _ if !self.active.contains(index) => 0.0,
            Update::Alternating => column.controller.omega(),
            Update::Symmetric => 0.5,
        };
        let omegas: Vec<f64> = self.columns.iter().enumerate().map(omega).collect();
        self.problem.backend().write_reduced(&omegas, &mut self.relaxation)
    }

    /// Remembers what a check entered with, in the columns where it is the best so far.
    fn keep_best(&mut self, improved: &[bool]) -> Result<(), Error> {
        let Self { problem, best, entering, choose, chosen, .. } = self;
        choose_columns(problem.backend(), choose, best, entering, improved, chosen)
    }

    /// Goes back to the best iterate of some columns.
    fn choose_best(&mut self, which: impl Fn(&Column) -> bool) -> Result<(), Error> {
        let worse =
            |column: &Column| column.rest == Some(Status::NotFinite) || column.smallest_error < column.last_error;
        let wanted: Vec<bool> = self.columns.iter().map(|column| which(column) && worse(column)).collect();
        let Self { problem, potentials, best, choose, chosen, .. } = self;
        choose_columns(problem.backend(), choose, potentials, best, &wanted, chosen)
    }
}

/// Takes the wanted columns of `now` from `other`.
fn choose_columns<D: Device>(
    backend: &dyn Backend<D>,
    choose: &Program,
    now: &mut Potentials<D>,
    other: &Potentials<D>,
    wanted: &[bool],
    chosen: &mut D::Reduced,
) -> Result<(), Error> {
    if !wanted.contains(&true) {
        return Ok(());
    }
    let flags: Vec<f64> = wanted.iter().map(|&wanted| f64::from(u8::from(wanted))).collect();
    backend.write_reduced(&flags, chosen)?;
    for (now, other) in [(&mut now.source, &other.source), (&mut now.target, &other.target)] {
        let operands = [Operand::Output(0), Operand::Vector(other), Operand::Reduced(chosen)];
        backend.map(choose, &operands, &mut [now])?;
    }
    Ok(())
}

impl Column {
    fn new(settings: &Sinkhorn) -> Self {
        Self {
            controller: settings.relaxation.controller(),
            smallest_error: f64::INFINITY,
            last_error: f64::INFINITY,
            largest_dual: f64::NEG_INFINITY,
            checks_since: 0,
            rest: None,
        }
    }

    fn wake(&mut self, settings: &Sinkhorn) {
        self.controller = settings.relaxation.controller();
        self.smallest_error = f64::INFINITY;
        self.last_error = f64::INFINITY;
        self.largest_dual = f64::NEG_INFINITY;
        self.checks_since = 0;
        self.rest = None;
    }

    /// Takes in a check, and comes to rest if there is a reason. Says whether this is the best so far.
    fn observe(&mut self, observed: Observed, iterations: usize, goal: Goal) -> bool {
        if !(observed.error.is_finite() && observed.dual.is_finite()) {
            self.last_error = f64::INFINITY;
            self.rest = Some(Status::NotFinite);
            return false;
        }
        self.controller.observe(observed, iterations);
        let best = observed.error < self.smallest_error;
        let nearer = observed.error < self.smallest_error * (1.0 - 1e-4);
        let higher = observed.dual > self.largest_dual + observed.dual_rounding;
        self.checks_since = if nearer || higher { 0 } else { self.checks_since + 1 };
        self.last_error = observed.error;
        self.smallest_error = self.smallest_error.min(observed.error);
        self.largest_dual = self.largest_dual.max(observed.dual);
        if observed.error <= goal.tolerance {
            self.rest = Some(Status::Converged);
        } else if self.checks_since >= goal.patience {
            // Over-relaxation may be what stands in the way: the plain iteration gets its chance.
            if self.controller.calm() {
                self.checks_since = 0;
            } else {
                self.rest = Some(Status::Stalled);
            }
        }
        best
    }
}

/// What a certificate says of a column that came to rest for a reason; `None` to go on.
fn verdict(rest: Option<Status>, certificate: &Certificate, tolerance: f64, may_go_on: bool) -> Option<Status> {
    let Certificate { marginal_error, rounding, .. } = *certificate;
    let at_precision = rounding > tolerance / 4.0 && rounding < 1.0 && marginal_error <= tolerance.max(2.0 * rounding);
    match rest {
        _ if certificate.meets(tolerance) => Some(Status::Converged),
        Some(Status::Cancelled | Status::NotFinite) => rest,
        _ if at_precision => Some(Status::PrecisionLimit { floor: rounding }),
        Some(Status::Converged) if may_go_on => None,
        Some(Status::Converged) | None => Some(Status::Stalled),
        Some(reason) => Some(reason),
    }
}
