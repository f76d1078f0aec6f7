//! The loop of Sinkhorn's iteration: sweeps on the device, and checks where the host looks.
//!
//! Between two checks nothing is read. At a check one read brings the by-products of the sweep:
//! residuals, conjugate and dual of each column. They decide relaxation, rest and cancellation, and
//! they are hints; what is returned as converged has been certified by densities of its own.

mod newton_columns;

use std::sync::Arc;

use ot_core::{
    ActiveColumns, ByProducts, Certificate, Device, Error, KernelOp, Observer, Phase, Potentials, Problem, Progress,
    Side, Solution, Status, Sweep, Translation, certificate::certify_with, kernel::simultaneous_sweep,
};

use super::{
    Sinkhorn, SinkhornReport, Start, Update,
    column::{Column, Goal, SECOND_CHANCES, STAGE_ITERATIONS, choose_columns, verdict},
    feasibility::CUT_SWEEPS,
    gauge::fix_gauge,
    hand_over::Watch,
    relaxation::{Observed, Relaxation},
};
use crate::{history::History, newton::NewtonReport};

/// Iterations of a start from given potentials that are each followed by a check.
const WATCHED: usize = 4;

/// Pairs of all columns from which on a pass is long enough for observers to be asked after each.
const LONG_PASS: usize = 1 << 24;

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
    translation: Option<Translation<D>>,
    active: ActiveColumns,
    columns: Vec<Column>,
    /// Where Newton's method may take over, and what it took.
    watch: Option<Watch<D>>,
    newton: Option<NewtonReport>,
    /// The sweeps of the searches for a violated cut that are left.
    searches: std::array::IntoIter<usize, 2>,
    /// Is nothing known of the potentials that it starts from?
    starts_from_zero: bool,
    /// Iterations that are each looked at: the first few of a start that may be near.
    watched: usize,
    iterations: usize,
    /// The iteration of the last check.
    checked: usize,
    history: History<'a>,
    /// Why the whole run must end, if it must.
    ended: Option<Status>,
    /// Are observers asked between checks?
    tells_passes: bool,
}

/// What a run came to that nothing is proven of.
pub(crate) struct Settled<D: Device> {
    pub(crate) potentials: Potentials<D>,
    pub(crate) iterations: usize,
    pub(crate) is_cancelled: bool,
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
            translation: Translation::new(problem)?,
            active: ActiveColumns::all(columns),
            columns: vec![Column::new(settings.relaxation.controller()); columns],
            watch: None,
            newton: None,
            searches: CUT_SWEEPS.into_iter(),
            starts_from_zero: matches!(start, Start::Zero),
            watched: if matches!(start, Start::Zero) { 0 } else { WATCHED },
            iterations: 0,
            checked: 0,
            history: History::new(observer),
            ended: None,
            tells_passes: atoms[0].saturating_mul(atoms[1]).saturating_mul(columns) >= LONG_PASS,
            settings,
            problem,
        })
    }

    /// Lets every column go over to the relaxation that suits a rate, once it has been looked at.
    pub(super) fn expect(&mut self, rate: Option<f64>) {
        self.columns.iter_mut().for_each(|column| column.controller = column.controller.expecting(rate));
    }

    /// Has the observer asked to stop?
    pub(super) fn is_cancelled(&self) -> bool {
        self.ended == Some(Status::Cancelled)
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
        let error = |column: usize| read[0][column].max(read[1][column]) / problem.mean_mass(column);
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
        if largest <= tolerance && !self.is_cancelled() {
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

    /// A stage of the annealing: near enough to its solution, and no more, in at most so many iterations. Its rate predicts that
    /// of the next epsilon.
    pub(super) fn approach<K: KernelOp<D> + ?Sized>(
        &mut self,
        kernel: &mut K,
        share: usize,
        next: f64,
    ) -> Result<(), Error> {
        let last_iteration = self.iterations + share.min(STAGE_ITERATIONS);
        self.descend(kernel, Goal::stage(self.settings.tolerance_on(self.problem), last_iteration))?;
        if self.ended.is_none() {
            // A stage that has not come to its end may have none.
            self.refuse_violated_cuts(kernel)?;
        }
        self.choose_best(|column| column.rest == Some(Status::NotFinite))?;
        self.active = ActiveColumns::all(self.columns.len());
        self.watch_stage(kernel.epsilon())?;
        let expected: Vec<_> =
            self.columns.iter().map(|column| column.controller.rate_at(next / kernel.epsilon())).collect();
        self.wake(|_| true);
        for (column, rate) in self.columns.iter_mut().zip(expected) {
            column.forget();
            column.controller = column.controller.expecting(rate);
        }
        Ok(())
    }

    /// The last stage: to the tolerance, certified. No certificates if it was cancelled.
    pub(super) fn converge<K: KernelOp<D> + ?Sized>(
        &mut self,
        kernel: &mut K,
    ) -> Result<Option<Vec<Certificate>>, Error> {
        let (tolerance, max_iterations) = (self.settings.tolerance_on(self.problem), self.settings.limits.most);
        let mut goal = Goal::new(tolerance, max_iterations);
        for chance in 0.. {
            self.descend_by_either(kernel, goal)?;
            if !self.is_cancelled() {
                self.refuse_violated_cuts(kernel)?;
            }
            self.choose_best(|column| column.rest != Some(Status::Converged))?;
            fix_gauge(self.problem, &mut self.potentials)?;
            if self.is_cancelled() {
                return Ok(None);
            }
            let certificates = certify_with(kernel, self.problem, &self.potentials)?;
            for (column, certificate) in self.columns.iter_mut().zip(&certificates) {
                let rest = column.rest.or(self.ended);
                column.rest = verdict(rest, certificate, tolerance, chance < SECOND_CHANCES && self.ended.is_none());
            }
            if self.columns.iter().all(|column| column.rest.is_some()) {
                return Ok(Some(certificates));
            }
            // The by-products were too optimistic: the columns that failed the certificate continue.
            goal.tolerance /= 3.0;
            self.wake_moving();
        }
        Ok(None)
    }

    /// To the tolerance as sweeps tell of it: potentials to start from, of which nothing is proven.
    pub(super) fn settle<K: KernelOp<D> + ?Sized>(mut self, kernel: &mut K) -> Result<Settled<D>, Error> {
        self.look_out(kernel);
        self.descend_by_either(kernel, Goal::new(self.settings.tolerance_on(self.problem), self.settings.limits.most))?;
        let is_cancelled = self.is_cancelled();
        if !is_cancelled {
            self.refuse_violated_cuts(kernel)?;
        }
        self.choose_best(|column| column.rest != Some(Status::Converged))?;
        Ok(Settled { potentials: self.potentials, iterations: self.iterations, is_cancelled })
    }

    /// What the run found; of a run that was cancelled, what it had.
    pub(super) fn solution(mut self, certificates: Option<Vec<Certificate>>) -> (Solution<D>, SinkhornReport) {
        let passes = self.newton.map_or(0, |newton| newton.passes());
        let mut rates: Vec<f64> = self.columns.iter().filter_map(|column| column.controller.rate()).collect();
        rates.sort_by(f64::total_cmp);
        let rate = rates.get(rates.len() / 2).copied();
        let report = SinkhornReport { iterations: self.iterations - passes, newton: self.newton, rate };
        if let Some(certificates) = &certificates {
            self.history.tell_certificates(self.iterations, certificates);
        }
        let (potentials, history) = (Arc::new(self.potentials), self.history.into_told());
        let (problem, iterations) = (self.problem.clone(), self.iterations);
        let solution = match certificates {
            Some(certificates) => {
                let status = |column: &Column| column.rest.unwrap_or(Status::IterationLimit);
                let statuses = self.columns.iter().map(status).collect();
                Solution::new(problem, potentials, statuses, certificates, iterations, history)
            }
            None => {
                let statuses = vec![Status::Cancelled; self.columns.len()];
                Solution::uncertified(problem, potentials, statuses, iterations, history)
            }
        };
        (solution, report)
    }

    /// Sweeps, and what is handed over to where that is due.
    fn descend_by_either<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K, goal: Goal) -> Result<(), Error> {
        if !self.is_handed_over() {
            self.descend(kernel, goal)?;
        }
        while self.is_handed_over() {
            self.hand_over(kernel)?;
            self.descend(kernel, goal)?;
        }
        Ok(())
    }

    /// Sweeps until every column rests, or the run must end.
    fn descend<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K, goal: Goal) -> Result<(), Error> {
        kernel.recenter(self.problem.view(&self.potentials))?;
        self.write_relaxation()?;
        let first = self.iterations;
        let may_go_on = |now: &Self| now.ended.is_none() && !now.active.is_empty() && !now.is_handed_over();
        while may_go_on(self) && self.iterations < goal.last_iteration {
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
            } else if self.tells_passes {
                self.tell_pass(kernel.epsilon());
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

    /// What a check at this epsilon tells before it has read anything.
    fn progress(&self, epsilon: f64) -> Progress {
        let phase = if epsilon > self.problem.epsilon() { Phase::Annealing } else { Phase::Iterations };
        Progress {
            of: Some(self.settings.limits.most),
            epsilon: Some(epsilon),
            active_columns: self.active.indices().len(),
            ..Progress::new(phase, self.iterations)
        }
    }

    /// Asks the observer between two checks, of which nothing is read.
    fn tell_pass(&mut self, epsilon: f64) {
        let progress = self.progress(epsilon);
        if self.history.announce(&progress).is_break() {
            self.ended = Some(Status::Cancelled);
        }
    }

    /// Reads the by-products and decides, column by column, what they mean.
    fn check(&mut self, epsilon: f64, goal: Goal) -> Result<(), Error> {
        let ByProducts { source_residual, target_residual, conjugate, source_dual, target_dual, .. } =
            &self.by_products;
        let numbers = [source_residual, target_residual, conjugate, source_dual, target_dual];
        let read = self.problem.backend().read(&numbers)?;
        let (mut improved, mut blew_up) = (vec![false; self.columns.len()], vec![false; self.columns.len()]);
        let mut seen = self.progress(epsilon);
        let since = self.iterations - std::mem::replace(&mut self.checked, self.iterations);
        for index in self.active.indices().to_vec() {
            let at = |number: usize| read[number][index];
            let masses = Side::BOTH.map(|side| self.problem.marginal(side).mass(index));
            // Without epsilon h(0) mass(a) mass(b), which does not change and would take the digits of great masses.
            let at_zero = self.problem.regularizer().value_of_nothing(epsilon, masses);
            let magnitude = at(3).abs() + at(4).abs() + epsilon * at(2).abs();
            // Of a plain iterate one side is met; the second residual is what the first becomes.
            let residual = match self.settings.update {
                Update::Alternating if self.columns[index].controller.omega() == 1.0 => at(0).max(at(1)),
                _ => at(0) + at(1),
            };
            let observed = Observed {
                error: residual / self.problem.mean_mass(index),
                dual: at(3) + at(4) - epsilon * at(2),
                dual_rounding: 8.0 * self.problem.backend().precision().unit * magnitude,
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
        let Self { problem, potentials, best, chosen, .. } = self;
        choose_columns(problem.backend(), potentials, best, &blew_up, chosen)?;
        self.write_relaxation()?;
        if self.history.tell(seen).is_break() {
            self.ended = Some(Status::Cancelled);
        }
        if epsilon == self.problem.epsilon() {
            self.watch_rate();
        }
        Ok(())
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
                column.wake(self.settings.relaxation.controller());
            } else {
                self.active.freeze(index);
            }
        }
    }

    /// Lets the columns move that do not rest.
    fn wake_moving(&mut self) {
        self.wake(|column| column.rest.is_none());
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
        let Self { problem, best, entering, chosen, .. } = self;
        choose_columns(problem.backend(), best, entering, improved, chosen)
    }

    /// Goes back to the best iterate of some columns.
    fn choose_best(&mut self, which: impl Fn(&Column) -> bool) -> Result<(), Error> {
        let wanted: Vec<bool> = self.columns.iter().map(|column| which(column) && column.has_better()).collect();
        let Self { problem, potentials, best, chosen, .. } = self;
        choose_columns(problem.backend(), potentials, best, &wanted, chosen)
    }
}
