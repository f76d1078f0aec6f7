//! The loop of Sinkhorn's iteration: sweeps on the device, and checks where the host looks.
//!
//! Between two checks nothing is read. At a check one read brings the by-products of the sweep:
//! residuals, mass and dual of each column. They decide relaxation, rest and cancellation, and
//! they are hints; what is returned as converged has been certified by softmins of its own.

use std::ops::ControlFlow;

use ot_core::{
    ActiveColumns, Backend, ByProducts, Certificate, Check, Error, KernelOp, Observer, Operand, PlanPrograms,
    Potentials, Problem, Program, Real, Scalar, Side, Status, Sweep, Translation, certificate::certify_with,
};

use super::{
    Sinkhorn, Start, Update,
    gauge::fix_gauge,
    relaxation::{Controller, Observed},
    update::averaged_sweep,
};

/// The marginal error at which a stage of the annealing hands over to the next.
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
pub(super) struct Iteration<'a, B: Backend> {
    settings: &'a Sinkhorn,
    problem: &'a Problem<B>,
    observer: Option<&'a mut dyn Observer>,
    potentials: Potentials<B>,
    /// The iterate that the sweep of a check entered with: what its by-products speak of.
    entering: Potentials<B>,
    /// The iterate of the smallest error, column by column.
    best: Potentials<B>,
    scratch: Potentials<B>,
    by_products: ByProducts<B>,
    relaxation: B::Reduced,
    chosen: B::Reduced,
    choose: Program,
    translation: Option<Translation<B>>,
    active: ActiveColumns,
    columns: Vec<Column>,
    /// Iterations that are each looked at: the first few of a start that may be near.
    watched: usize,
    iterations: usize,
    /// The iteration of the last check.
    checked: usize,
    history: Vec<Check>,
    /// h(0) of the plan's regularizer: 1 for entropy.
    empty: f64,
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

impl<'a, B: Backend> Iteration<'a, B> {
    pub(super) fn new(
        settings: &'a Sinkhorn,
        problem: &'a Problem<B>,
        start: &Start<'_, B>,
        observer: Option<&'a mut dyn Observer>,
    ) -> Result<Self, Error> {
        let (backend, columns) = (problem.backend(), problem.columns());
        let room = || -> Result<Potentials<B>, Error> {
            let side = |side| backend.alloc(problem.marginal(side).len(), columns);
            Ok(Potentials { source: side(Side::Source)?, target: side(Side::Target)?, epsilon: problem.epsilon() })
        };
        let (potentials, mut best) = (start.potentials(problem)?, room()?);
        backend.copy(&potentials.source, &mut best.source)?;
        backend.copy(&potentials.target, &mut best.target)?;
        Ok(Self {
            potentials,
            entering: room()?,
            best,
            scratch: room()?,
            by_products: ByProducts::alloc(backend, columns)?,
            relaxation: backend.alloc_reduced(columns)?,
            chosen: backend.alloc_reduced(columns)?,
            choose: Program::record(|[now, other, chosen]| [chosen.select(other, now)])?,
            translation: Translation::new(problem)?,
            active: ActiveColumns::all(columns),
            columns: vec![Column::new(settings); columns],
            watched: if matches!(start, Start::Zero) { 0 } else { WATCHED },
            iterations: 0,
            checked: 0,
            history: Vec::new(),
            empty: PlanPrograms::record(problem.plan_regularizer().as_ref())?.empty(),
            ended: None,
            settings,
            problem,
            observer,
        })
    }

    /// A stage of the annealing: near enough to its solution, and no more, in at most so many iterations.
    pub(super) fn approach<K: KernelOp<B> + ?Sized>(&mut self, kernel: &mut K, share: usize) -> Result<(), Error> {
        let last_iteration = self.iterations + share.min(STAGE_ITERATIONS);
        let tolerance = STAGE_TOLERANCE.max(self.settings.tolerance_for::<B::Elem>());
        self.descend(kernel, Goal { tolerance, last_iteration, patience: PATIENCE })?;
        self.choose_best(|column| column.rest == Some(Status::NotFinite))?;
        self.wake(|_| true);
        Ok(())
    }

    /// The last stage: to the tolerance, certified.
    pub(super) fn converge<K: KernelOp<B> + ?Sized>(&mut self, kernel: &mut K) -> Result<Vec<Certificate>, Error> {
        let (tolerance, max_iterations) = (self.settings.tolerance_for::<B::Elem>(), self.settings.max_iterations);
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
            // The hint flattered: ask the columns that are not there yet for more.
            goal.tolerance /= 3.0;
            self.wake(|column| column.rest.is_none());
        }
        Ok(Vec::new())
    }

    /// Potentials, statuses, iterations and history.
    pub(super) fn finish(self) -> (Potentials<B>, Vec<Status>, usize, Vec<Check>) {
        let statuses = self.columns.iter().map(|column| column.rest.unwrap_or(Status::IterationLimit)).collect();
        (self.potentials, statuses, self.iterations, self.history)
    }

    /// Sweeps until every column rests, or the run must end.
    fn descend<K: KernelOp<B> + ?Sized>(&mut self, kernel: &mut K, goal: Goal) -> Result<(), Error> {
        kernel.recenter(self.problem.view(&self.potentials))?;
        self.write_relaxation()?;
        let first = self.iterations;
        while self.ended.is_none() && !self.active.is_empty() && self.iterations < goal.last_iteration {
            self.iterations += 1;
            let done = self.iterations - first;
            let at_check = done.is_multiple_of(self.settings.check_interval)
                || self.iterations == goal.last_iteration
                || self.iterations <= self.watched;
            self.step(kernel, at_check)?;
            if at_check {
                self.check(kernel.epsilon(), goal)?;
            }
        }
        if self.ended.is_none() && !self.active.is_empty() && self.iterations >= self.settings.max_iterations {
            self.ended = Some(Status::IterationLimit);
        }
        Ok(())
    }

    /// One full iteration.
    fn step<K: KernelOp<B> + ?Sized>(&mut self, kernel: &mut K, at_check: bool) -> Result<(), Error> {
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
            Update::Symmetric => averaged_sweep(kernel, backend, sweep),
        }
    }

    /// Reads the by-products and decides, column by column, what they mean.
    fn check(&mut self, epsilon: f64, goal: Goal) -> Result<(), Error> {
        let ByProducts { source_residual, target_residual, mass, source_dual, target_dual } = &self.by_products;
        let read = self.problem.backend().read(&[source_residual, target_residual, mass, source_dual, target_dual])?;
        let mut improved = vec![false; self.columns.len()];
        let mut seen = Check {
            iteration: self.iterations,
            epsilon,
            marginal_error: 0.0,
            dual: f64::INFINITY,
            relaxation: 0.0,
            active_columns: self.active.indices().len(),
        };
        let since = self.iterations - std::mem::replace(&mut self.checked, self.iterations);
        for index in self.active.indices().to_vec() {
            let at = |number: usize| read[number][index];
            let masses = [Side::Source, Side::Target].map(|side| self.problem.marginal(side).mass(index));
            let magnitude = at(3).abs() + at(4).abs() + epsilon * masses[0] * masses[1];
            let observed = Observed {
                error: (at(0) + at(1)) / ((masses[0] + masses[1]) / 2.0).max(f64::MIN_POSITIVE),
                dual: at(3) + at(4) - epsilon * (at(2) - self.empty * masses[0] * masses[1]),
                dual_rounding: 8.0 * <B::Elem as Scalar>::EPSILON * magnitude,
            };
            let column = &mut self.columns[index];
            improved[index] = column.observe(observed, since, goal);
            if observed.error.is_finite() && observed.dual.is_finite() {
                seen.marginal_error = seen.marginal_error.max(observed.error);
                seen.dual = seen.dual.min(observed.dual);
            }
            seen.relaxation = column.controller.omega().max(seen.relaxation);
            if column.rest.is_some() {
                self.active.freeze(index);
            }
        }
        self.keep_best(&improved)?;
        self.write_relaxation()?;
        self.history.push(seen);
        if let Some(observer) = self.observer.as_deref_mut()
            && observer.observe(&seen) == ControlFlow::Break(())
        {
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
fn choose_columns<B: Backend>(
    backend: &B,
    choose: &Program,
    now: &mut Potentials<B>,
    other: &Potentials<B>,
    wanted: &[bool],
    chosen: &mut B::Reduced,
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
