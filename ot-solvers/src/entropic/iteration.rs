//! The loop of Sinkhorn's iteration: sweeps on the device, and checks where the host looks.
//!
//! Between two checks nothing is read. At a check one read brings the by-products of the sweep:
//! residuals, conjugate and dual of each column. They decide relaxation, rest and cancellation, and
//! they are hints; what is returned as converged has been certified by densities of its own.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Backend, ByProducts, Certificate, Device, Error, KernelOp, Observer, Operand, Phase, Potentials,
    Problem, Program, Progress, Real, Scalar, Side, Solution, Status, Sweep, Translation, certificate::certify_with,
    kernel::simultaneous_sweep,
};

use super::{
    Sinkhorn, Start, Update,
    gauge::fix_gauge,
    relaxation::{Controller, Observed, Relaxation},
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
    /// The iterate of the largest dual at this epsilon, column by column; the start before there was a check.
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
    /// What was seen of the best iterate at this epsilon.
    best: Option<Observed>,
    /// What was seen at the last check.
    last: Option<Observed>,
    /// The smallest error and the largest dual since the column last woke.
    reached: [f64; 2],
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

    /// Two plain iterations at the epsilon of the problem, the second of which tells the residuals of the first. Their
    /// certificates if all columns meet the tolerance; else the start stands again, for an annealing to go through.
    pub(super) fn try_start<K: KernelOp<D> + ?Sized>(
        &mut self,
        kernel: &mut K,
    ) -> Result<Option<Vec<Certificate>>, Error> {
        let (problem, tolerance) = (self.problem, self.settings.tolerance_on(self.problem));
        kernel.recenter(problem.view(&self.potentials))?;
        problem.backend().write_reduced(&vec![1.0; self.columns.len()], &mut self.relaxation)?;
        for at_check in [false, true] {
            self.iterations += 1;
            self.step(kernel, at_check)?;
        }
        let read = problem.backend().read(&[&self.by_products.source_residual, &self.by_products.target_residual])?;
        let error = |column: usize| read[0][column].max(read[1][column]) / self.mean_mass(column);
        // The larger of two, and a number that is none if there is one.
        let largest = (0..self.columns.len()).map(error).fold(
            0.0,
            |largest: f64, error| {
                if error <= largest { largest } else { error }
            },
        );
        let progress = Progress {
            of: Some(self.settings.limits.most),
            epsilon: Some(kernel.epsilon()),
            marginal_error: Some(largest).filter(|error| error.is_finite()),
            active_columns: self.columns.len(),
            ..Progress::new(Phase::Iterations, self.iterations)
        };
        if self.history.tell(progress).is_break() {
            self.ended = Some(Status::Cancelled);
        }
        if largest <= tolerance {
            fix_gauge(problem, &mut self.potentials)?;
            let certificates = certify_with(kernel, problem, &self.potentials)?;
            if certificates.iter().all(|certificate| certificate.meets(tolerance)) {
                self.columns.iter_mut().for_each(|column| column.rest = Some(Status::Converged));
                return Ok(Some(certificates));
            }
        }
        self.checked = self.iterations;
        problem.backend().copy(&self.best.source, &mut self.potentials.source)?;
        problem.backend().copy(&self.best.target, &mut self.potentials.target)?;
        Ok(None)
    }

    /// A stage of the annealing: near enough to its solution, and no more, in at most so many iterations.
    pub(super) fn approach<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K, share: usize) -> Result<(), Error> {
        let last_iteration = self.iterations + share.min(STAGE_ITERATIONS);
        let tolerance = STAGE_TOLERANCE.max(self.settings.tolerance_on(self.problem));
        self.descend(kernel, Goal { tolerance, last_iteration, patience: PATIENCE })?;
        self.choose_best(|column| column.rest == Some(Status::NotFinite))?;
        self.wake(|_| true);
        self.columns.iter_mut().for_each(|column| (column.best, column.last) = (None, None));
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

    /// What the run found.
    pub(super) fn solution(self, certificates: Vec<Certificate>) -> Solution<D> {
        let statuses = self.columns.iter().map(|column| column.rest.unwrap_or(Status::IterationLimit)).collect();
        let (potentials, history) = (Arc::new(self.potentials), self.history.into_told());
        Solution::new(self.problem.clone(), potentials, statuses, certificates, self.iterations, history)
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
            if self.iterations == self.settings.limits.most {
                self.end_plainly()?;
            }
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
        let (mut improved, mut blew_up) = (vec![false; self.columns.len()], vec![false; self.columns.len()]);
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
            // Without epsilon h(0) mass(a) mass(b), which does not change and would take the digits of great masses.
            let at_zero = epsilon * value_at_zero * masses[0] * masses[1];
            let magnitude = at(3).abs() + at(4).abs() + epsilon * at(2).abs();
            // Of a plain iterate one side is met; the second residual is what the first becomes.
            let residual = match self.settings.update {
                Update::Alternating if self.columns[index].controller.omega() == 1.0 => at(0).max(at(1)),
                _ => at(0) + at(1),
            };
            let observed = Observed {
                error: residual / self.mean_mass(index),
                dual: at(3) + at(4) - epsilon * at(2),
                dual_rounding: 8.0 * <D::Elem as Scalar>::EPSILON * magnitude,
                dual_size: magnitude,
            };
            let column = &mut self.columns[index];
            improved[index] = column.observe(observed, since, goal, &mut blew_up[index]);
            if observed.error.is_finite() && observed.dual.is_finite() {
                seen.marginal_error =
                    Some(seen.marginal_error.map_or(observed.error, |error| error.max(observed.error)));
                let dual = observed.dual + at_zero;
                seen.dual = Some(seen.dual.map_or(dual, |smallest| smallest.min(dual)));
            }
            let omega = column.controller.omega();
            seen.relaxation = Some(seen.relaxation.map_or(omega, |largest| largest.max(omega)));
            if column.rest.is_some() {
                self.active.freeze(index);
            }
        }
        self.keep_best(&improved)?;
        // A blow-up is undone.
        let Self { problem, potentials, best, choose, chosen, .. } = self;
        choose_columns(problem.backend(), choose, potentials, best, &blew_up, chosen)?;
        self.write_relaxation()?;
        if self.history.tell(seen).is_break() {
            self.ended = Some(Status::Cancelled);
        }
        Ok(())
    }

    /// The mean of the masses of both sides, which errors are relative to.
    fn mean_mass(&self, column: usize) -> f64 {
        let [a, b] = Side::BOTH.map(|side| self.problem.marginal(side).mass(column));
        (a / 2.0 + b / 2.0).max(f64::MIN_POSITIVE)
    }

    /// Makes the last iteration of all a plain one, after which the dual is no lower than before.
    fn end_plainly(&mut self) -> Result<(), Error> {
        if self.settings.relaxation == Relaxation::Adaptive {
            self.columns.iter_mut().for_each(|column| column.controller.restart());
            self.write_relaxation()?;
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
        let worse = |column: &Column| column.rest == Some(Status::NotFinite) || column.last != column.best;
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
            best: None,
            last: None,
            reached: [f64::INFINITY, f64::NEG_INFINITY],
            checks_since: 0,
            rest: None,
        }
    }

    fn wake(&mut self, settings: &Sinkhorn) {
        let Self { best, last, .. } = *self;
        *self = Self { best, last, ..Self::new(settings) };
    }

    /// Takes in a check, and comes to rest if there is a reason. Says whether this is the best iterate so far, and
    /// whether it `blew_up`, so that the best one should be gone back to.
    fn observe(&mut self, observed: Observed, iterations: usize, goal: Goal, blew_up: &mut bool) -> bool {
        if !(observed.error.is_finite() && observed.dual.is_finite()) {
            self.last = None;
            self.rest = Some(Status::NotFinite);
            return false;
        }
        *blew_up = self.controller.observe(observed, iterations);
        let [smallest_error, largest_dual] = self.reached;
        let nearer = observed.error < smallest_error * (1.0 - 1e-4);
        let higher = observed.dual > largest_dual + observed.dual_rounding;
        self.checks_since = if nearer || higher { 0 } else { self.checks_since + 1 };
        self.reached = [smallest_error.min(observed.error), largest_dual.max(observed.dual)];
        let improves = self.best.is_none_or(|best| observed.is_better_than(&best));
        if improves {
            self.best = Some(observed);
        }
        self.last = Some(if *blew_up { self.best.unwrap_or(observed) } else { observed });
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
        improves
    }
}

/// What a certificate says of a column that came to rest for a reason; `None` to go on.
fn verdict(rest: Option<Status>, certificate: &Certificate, tolerance: f64, may_go_on: bool) -> Option<Status> {
    let Certificate { marginal_error, rounding, .. } = *certificate;
    let at_precision = rounding > tolerance / 4.0 && rounding < 1.0 && marginal_error <= tolerance.max(2.0 * rounding);
    match rest {
        _ if certificate.meets(tolerance) => Some(Status::Converged),
        Some(Status::Cancelled | Status::NotFinite) => rest,
        // Within reach: the by-products do not tell the rounding.
        Some(Status::Converged) if may_go_on && rounding <= tolerance / 2.0 => None,
        _ if at_precision => Some(Status::PrecisionLimit { floor: rounding }),
        Some(Status::Converged) if may_go_on => None,
        Some(Status::Converged) | None => Some(Status::Stalled),
        Some(reason) => Some(reason),
    }
}
