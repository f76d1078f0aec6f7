//! The loop of iterative Bregman projections: steps on the device, and checks where the host looks.
//!
//! It is built as the loop of Sinkhorn's iteration is, and steered by the same controller: between two checks nothing is
//! read; what is returned as converged has been certified.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Backend, Certificate, Device, End, Error, JointProblem, JointSolution, JointTerm, Observer, Phase,
    Potentials, Progress, Side, Status, certify_joint,
};

use super::{bregman::BregmanProjections, group::Group, rate, unknown::Unknown};
use crate::{
    entropic::{Column, Goal, Observed, Relaxation, SECOND_CHANCES, STAGE_ITERATIONS, Start, verdict},
    history::History,
};

/// The state of one run.
pub(super) struct Iteration<'a, D: Device> {
    settings: &'a BregmanProjections,
    problem: &'a JointProblem<D>,
    backend: &'a dyn Backend<D>,
    groups: Vec<Group<D>>,
    unknown: Vec<Unknown<'a, D>>,
    /// sigma^2 of the predicted rate.
    variance: Option<f64>,
    active: ActiveColumns,
    columns: Vec<Column>,
    iterations: usize,
    /// The iteration of the last check.
    checked: usize,
    history: History<'a>,
    /// Why the whole run must end, if it must.
    ended: Option<Status>,
}

impl<'a, D: Device> Iteration<'a, D> {
    pub(super) fn new(
        settings: &'a BregmanProjections,
        problem: &'a JointProblem<D>,
        start: &[Arc<Potentials<D>>],
        observer: Option<&'a mut dyn Observer>,
    ) -> Result<Self, Error> {
        let (backend, columns) = (problem.terms()[0].problem.backend(), problem.columns());
        if !start.is_empty() && start.len() != problem.terms().len() {
            let (expected, found) = (problem.terms().len(), start.len());
            return Err(Error::Length { what: "potentials of the warm start", expected, found });
        }
        let groups = Group::of_problem(problem, |term| start.get(term).map_or(Start::Zero, |own| Start::Warm(own)))?;
        let unknown = (0..problem.unknown().len()).map(|measure| Unknown::new(problem, &groups, measure));
        let predicts = settings.relaxation == Relaxation::Adaptive;
        let variance = if predicts { rate::variance(problem)? } else { None };
        let mut iteration = Self {
            unknown: unknown.collect::<Result<_, _>>()?,
            groups,
            variance,
            active: ActiveColumns::all(columns),
            columns: vec![Column::new(settings.relaxation.controller()); columns],
            iterations: 0,
            checked: 0,
            history: History::new(observer),
            ended: None,
            settings,
            problem,
            backend,
        };
        if !start.is_empty() {
            let Self { unknown, groups, .. } = &mut iteration;
            unknown.iter_mut().try_for_each(|unknown| unknown.cancel(groups))?;
            groups.iter_mut().try_for_each(Group::keep)?;
        }
        Ok(iteration)
    }

    /// A stage of the annealing: near enough to its solution, and no more, in at most so many iterations.
    pub(super) fn approach(&mut self, epsilon: f64, share: usize) -> Result<(), Error> {
        let last_iteration = self.iterations + share.min(STAGE_ITERATIONS);
        self.enter_stage(epsilon)?;
        self.descend(epsilon, Goal::stage(self.settings.tolerance_on(self.backend), last_iteration))?;
        self.choose_best(|column| column.rest == Some(Status::NotFinite))?;
        self.columns.iter_mut().for_each(Column::forget);
        Ok(())
    }

    /// The last stage, to the tolerance: the potentials of all terms, and what is proven of them.
    pub(super) fn converge(&mut self, epsilon: f64) -> Result<(Vec<Potentials<D>>, Vec<Certificate>), Error> {
        let tolerance = self.settings.tolerance_on(self.backend);
        self.enter_stage(epsilon)?;
        let mut goal = Goal::new(tolerance, self.settings.limits.most);
        for chance in 0.. {
            self.descend(epsilon, goal)?;
            self.choose_best(|column| column.rest != Some(Status::Converged))?;
            let Self { unknown, groups, .. } = self;
            unknown.iter_mut().try_for_each(|unknown| unknown.project(groups, epsilon))?;
            let potentials = Group::potentials_of_terms(groups)?;
            let measures: Vec<_> = self.unknown.iter().map(Unknown::masses).collect();
            let certificates = certify_joint(self.problem, &potentials.iter().collect::<Vec<_>>(), &measures)?;
            for (column, certificate) in self.columns.iter_mut().zip(&certificates) {
                let rest = column.rest.or(self.ended);
                column.rest = verdict(rest, certificate, tolerance, chance < SECOND_CHANCES && self.ended.is_none());
            }
            if self.columns.iter().all(|column| column.rest.is_some()) {
                return Ok((potentials, certificates));
            }
            // The by-products were too optimistic: the columns that failed the certificate continue.
            goal.tolerance /= 3.0;
            self.wake(epsilon, |column| column.rest.is_none());
        }
        Ok((Vec::new(), Vec::new()))
    }

    /// What the run found.
    pub(super) fn solution(self, potentials: Vec<Potentials<D>>, certificates: Vec<Certificate>) -> JointSolution<D> {
        let statuses = self.columns.iter().map(|column| column.rest.unwrap_or(Status::IterationLimit)).collect();
        let measures = self.unknown.into_iter().map(|unknown| Arc::new(unknown.into_masses())).collect();
        let potentials = potentials.into_iter().map(Arc::new).collect();
        let (problem, history) = (self.problem.clone(), self.history.into_told());
        JointSolution::new(problem, measures, potentials, statuses, certificates, self.iterations, history)
    }

    /// Binds an epsilon, and lets every column start at the rate predicted there.
    fn enter_stage(&mut self, epsilon: f64) -> Result<(), Error> {
        self.groups.iter_mut().try_for_each(|group| group.rebind(epsilon))?;
        self.wake(epsilon, |_| true);
        Ok(())
    }

    /// Steps until every column rests, or the run must end.
    fn descend(&mut self, epsilon: f64, goal: Goal) -> Result<(), Error> {
        self.groups.iter_mut().try_for_each(Group::recenter)?;
        self.write_relaxation()?;
        let (first, limits) = (self.iterations, self.settings.limits);
        while self.ended.is_none() && !self.active.is_empty() && self.iterations < goal.last_iteration {
            self.iterations += 1;
            let at_check = (self.iterations - first).is_multiple_of(limits.check_interval)
                || self.iterations == goal.last_iteration;
            if self.iterations == limits.most {
                self.end_plainly()?;
            }
            if self.iterations == 1 {
                // The first step forgets the start, and is all that one input takes.
                self.relax(&vec![1.0; self.columns.len()])?;
            }
            self.step(epsilon, at_check)?;
            if at_check {
                self.check(epsilon, goal)?;
            } else if self.iterations == 1 {
                self.write_relaxation()?;
            }
        }
        if self.ended.is_none() && !self.active.is_empty() && self.iterations >= limits.most {
            self.ended = Some(Status::IterationLimit);
        }
        Ok(())
    }

    /// One full iteration: the turn of each unknown measure.
    fn step(&mut self, epsilon: f64, at_check: bool) -> Result<(), Error> {
        let Self { groups, unknown, .. } = self;
        if at_check {
            groups.iter_mut().try_for_each(Group::enter)?;
        }
        unknown.iter_mut().try_for_each(|unknown| unknown.advance(groups, at_check, epsilon))?;
        let mut alone = groups.iter_mut().filter(|group| group.is_alone());
        alone.try_for_each(|group| group.advance(Side::Target, at_check))
    }

    /// Reads the by-products and decides, column by column, what they mean.
    fn check(&mut self, epsilon: f64, goal: Goal) -> Result<(), Error> {
        let read = Read::of(self.backend, &self.groups, &self.unknown)?;
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
            let is_plain = self.columns[index].controller.omega() == 1.0;
            let observed = read.observed(self.problem, index, epsilon, is_plain);
            let column = &mut self.columns[index];
            improved[index] = column.observe(observed, since, goal, &mut blew_up[index]);
            if observed.error.is_finite() && observed.dual.is_finite() {
                let dual = observed.dual + epsilon * product_of_masses(self.problem, index);
                seen.marginal_error =
                    Some(seen.marginal_error.map_or(observed.error, |error| error.max(observed.error)));
                seen.dual = Some(seen.dual.map_or(dual, |smallest| smallest.min(dual)));
            }
            let omega = column.controller.omega();
            seen.relaxation = Some(seen.relaxation.map_or(omega, |largest| largest.max(omega)));
            if column.rest.is_some() {
                self.active.freeze(index);
            }
        }
        for group in &mut self.groups {
            group.keep_entering(&improved)?;
            // A blow-up is undone.
            group.go_back(&blew_up)?;
        }
        self.write_relaxation()?;
        if self.history.tell(seen).is_break() {
            self.ended = Some(Status::Cancelled);
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
    fn wake(&mut self, epsilon: f64, which: impl Fn(&Column) -> bool) {
        let rate = self.variance.map(|variance| rate::rate(variance, epsilon));
        let controller = self.settings.relaxation.controller().predicted(rate);
        self.active = ActiveColumns::all(self.columns.len());
        for (index, column) in self.columns.iter_mut().enumerate() {
            if which(column) {
                column.wake(controller);
            } else {
                self.active.freeze(index);
            }
        }
    }

    /// Brings to the device which columns move, and the relaxation of every column: 0 for one that rests.
    fn write_relaxation(&mut self) -> Result<(), Error> {
        let omega = |(index, column): (usize, &Column)| match self.active.contains(index) {
            true => column.controller.omega(),
            false => 0.0,
        };
        let omegas: Vec<f64> = self.columns.iter().enumerate().map(omega).collect();
        self.groups.iter_mut().for_each(|group| group.activate(&self.active));
        self.relax(&omegas)
    }

    fn relax(&mut self, omegas: &[f64]) -> Result<(), Error> {
        self.groups.iter_mut().try_for_each(|group| group.relax(omegas))
    }

    /// Goes back to the best iterate of some columns.
    fn choose_best(&mut self, which: impl Fn(&Column) -> bool) -> Result<(), Error> {
        let wanted: Vec<bool> = self.columns.iter().map(|column| which(column) && column.has_better()).collect();
        self.groups.iter_mut().try_for_each(|group| group.go_back(&wanted))
    }
}

/// epsilon sum_k lambda_k mass(a_k) mass(m): what the dual has without any plan.
fn product_of_masses<D: Device>(problem: &JointProblem<D>, column: usize) -> f64 {
    let product = |term: &JointTerm<D>| {
        let masses = Side::BOTH.map(|side| term.problem.marginal(side).mass(column));
        term.weight(column) * masses[0] * masses[1]
    };
    problem.terms().iter().map(product).sum()
}

/// The by-products of a checked step, read in one wait.
struct Read {
    /// Of each term: residuals and duals of both sides, the mass of the plan, for each column.
    terms: Vec<Vec<Vec<f64>>>,
    /// Of each unknown measure: its ends, and their residuals for each column.
    unknown: Vec<Vec<(usize, Vec<f64>)>>,
}

impl Read {
    fn of<D: Device>(backend: &dyn Backend<D>, groups: &[Group<D>], unknown: &[Unknown<'_, D>]) -> Result<Self, Error> {
        let of_groups = groups.iter().flat_map(Group::numbers);
        let of_unknown = unknown.iter().flat_map(Unknown::residuals).map(|(_, residuals)| residuals);
        let read = backend.read(&of_groups.chain(of_unknown).collect::<Vec<_>>())?;
        let (of_groups, of_unknown) = read.split_at(groups.iter().map(|group| group.numbers().len()).sum());

        let mut terms = vec![Vec::new(); groups.iter().map(|group| group.terms().len()).sum()];
        let owners = groups.iter().flat_map(|group| group.numbers().map(|_| group));
        for (group, numbers) in owners.zip(of_groups) {
            group.by_term(numbers).for_each(|(term, own)| terms[term].push(own.to_vec()));
        }
        let mut of_unknown = of_unknown.iter();
        let residuals = |unknown: &Unknown<'_, D>| {
            let of_group = unknown.residuals().zip(of_unknown.by_ref());
            let of_terms = of_group.flat_map(|((group, _), residuals)| groups[group].by_term(residuals));
            of_terms.map(|(term, residuals)| (term, residuals.to_vec())).collect()
        };
        Ok(Self { terms, unknown: unknown.iter().map(residuals).collect() })
    }

    /// What the numbers tell of one column.
    fn observed<D: Device>(&self, problem: &JointProblem<D>, column: usize, epsilon: f64, is_plain: bool) -> Observed {
        let mut total = 0.0;
        // Residuals of given ends and of unknown ones, dual and the size of its terms.
        let (mut given, mut unknown, mut dual, mut size) = (0.0, 0.0, 0.0, 0.0);
        let mass = |term: &JointTerm<D>| {
            let [a, b] = Side::BOTH.map(|side| term.problem.marginal(side).mass(column));
            (a / 2.0 + b / 2.0).max(f64::MIN_POSITIVE)
        };
        for (term, numbers) in problem.terms().iter().zip(&self.terms) {
            let weight = term.weight(column);
            if weight == 0.0 {
                continue;
            }
            total += weight;
            let at = |number: usize| numbers[number][column];
            for side in Side::BOTH.into_iter().filter(|side| side.of(term.ends) == End::Given) {
                given += weight * at(side.index()) / mass(term);
                dual += weight * at(2 + side.index());
                size += weight * at(2 + side.index()).abs();
            }
            dual -= weight * epsilon * at(4);
            size += weight * epsilon * at(4).abs();
        }
        for (term, residual) in self.unknown.iter().flatten() {
            let term = &problem.terms()[*term];
            if term.weight(column) > 0.0 {
                unknown += term.weight(column) * residual[column] / mass(term);
            }
        }
        // Of a plain iterate the unknown ends are met; their residual is what that of the given ends becomes.
        let error = if is_plain { given.max(unknown) } else { given + unknown };
        Observed {
            error: error / total,
            dual,
            dual_rounding: 8.0 * problem.terms()[0].problem.backend().precision().unit * size,
            dual_size: size,
        }
    }
}
