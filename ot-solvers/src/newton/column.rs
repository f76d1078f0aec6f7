//! One column of a problem, from its start to its tolerance.

use std::sync::Arc;

use ot_core::{
    Device, Epsilon, Error, Histogram, KernelOp, Phase, Problem, Progress, Scalar, Side, Status,
    certificate::marginal_errors_with,
};

use super::{
    Newton, NewtonReport, Told,
    all_pairs::AllPairs,
    path::{Check, Path, STAGE_ERROR, stages},
    sides::Sides,
};
use crate::entropic::{HandOver, Sinkhorn, Start};

/// The error that Sinkhorn's iteration hands over at.
const START_ERROR: f64 = 1e-2;
/// The first epsilon of the path is the first that is not below this part of the bound of the cost.
const FIRST: f64 = 1e-3;
/// Potentials of no known epsilon are taken up at this many times the epsilon of the problem: those of an exact solution
/// are a vertex of the dual face, which is far from its centre.
const ABOVE: f64 = 10.0;
/// Rounds of a stage before the last.
const STAGE_ROUNDS: usize = 6;
/// Tries to meet errors that tell more than the iteration.
const CHANCES: usize = 3;
/// Rounds without a smaller error after which nothing is gained any more.
const PATIENCE: usize = 6;

/// Where the path begins.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// Nothing is known.
    Zero,
    /// Potentials of this epsilon, or of none that is known.
    Given(Option<f64>),
}

impl Entry {
    pub(super) fn of<D: Device>(start: &Start<'_, D>) -> Self {
        match start {
            Start::Zero => Self::Zero,
            given => Self::Given(given.epsilon()),
        }
    }
}

/// The problem of one column of a batch.
pub(super) fn column_of<D: Device>(problem: &Problem<D>, column: usize) -> Result<Problem<D>, Error> {
    let marginals = Side::BOTH.map(|side| problem.marginal(side));
    let read = problem.backend().download(&marginals.map(|marginal| marginal.weights()))?;
    let [a, b] = [0, 1].map(|side: usize| {
        let len = marginals[side].len();
        let own = if read[side].len() > len { column * len } else { 0 };
        Histogram::new(&read[side][own..][..len])
    });
    let [source, target] = marginals.map(|marginal| marginal.penalty());
    let epsilon = Epsilon::Absolute(problem.epsilon());
    let single = Problem::unbalanced(Arc::clone(problem.geometry()), &a?, &b?, epsilon, source, target)?;
    single.with_regularizer(problem.regularizer())
}

/// What a column ended with.
#[derive(Debug)]
pub(crate) struct ColumnEnd<T> {
    /// f and g.
    pub(crate) potentials: [Vec<T>; 2],
    pub(crate) status: Status,
    /// The marginal error that the last sweep told.
    pub(crate) error: f64,
    pub(crate) report: NewtonReport,
}

/// Newton's method on a problem of one column.
pub(super) struct ColumnSolver<'a, 'b, D: Device> {
    pub(super) settings: &'a Newton,
    pub(super) problem: &'a Problem<D>,
    pub(super) told: Told<'a, 'b>,
    pub(super) status: Status,
    pub(super) report: NewtonReport,
}

impl<'a, 'b, D: Device> ColumnSolver<'a, 'b, D> {
    pub(super) fn new(settings: &'a Newton, problem: &'a Problem<D>, told: Told<'a, 'b>) -> Self {
        Self { settings, problem, told, status: Status::IterationLimit, report: NewtonReport::default() }
    }

    /// Solves from given potentials, with a kernel of one column.
    pub(super) fn solve<K: KernelOp<D> + ?Sized>(
        mut self,
        kernel: &mut K,
        entry: Entry,
        given: [Vec<D::Elem>; 2],
    ) -> Result<ColumnEnd<D::Elem>, Error> {
        if self.problem.require_entropy().is_err() {
            return self.solve_sparse(kernel, entry, given);
        }
        let epsilon = self.problem.epsilon();
        let sides = Sides::of(self.problem)?;
        let lists_arcs = self.problem.geometry().fixed_epsilon().is_none() && kernel.hard_transform().is_some();
        let mut stages = if lists_arcs { self.stages(entry) } else { vec![epsilon] };
        let first = stages[0];
        let start = match entry {
            Entry::Zero => self.start_at(kernel, first)?,
            Entry::Given(_) => given,
        };
        let mut ended = self.status == Status::Cancelled;
        let [f, g] = start.map(|potential| potential.iter().map(|value| value.to_f64()).collect::<Vec<_>>());
        let mut pairs = AllPairs::new(self.problem, kernel, self.settings.most_arcs)?;
        pairs.rebind(if ended { epsilon } else { first }, &f, &g)?;
        let mut path = Path::new(&sides, self.largest_cost(), pairs.iterate(&sides, &f, &g)?, lists_arcs);
        let last = stages.pop().unwrap_or(epsilon);
        for next in stages.iter().copied().skip(1).chain([last]).filter(|next| *next != first) {
            ended = ended || self.descend(&mut path, &mut pairs, STAGE_ERROR, STAGE_ROUNDS, Check::Arcs)?;
            if ended {
                break;
            }
            let predicted = path.predict(&mut pairs, next)?;
            pairs.rebind(next, &path.now.f, &predicted)?;
            path.now = pairs.iterate(&sides, &path.now.f, &predicted)?;
        }
        match ended {
            false => self.converge(&mut path, &mut pairs)?,
            true if pairs.epsilon() != epsilon => {
                // A plan at the epsilon of the problem, whose rows are met, is left behind.
                pairs.rebind(epsilon, &path.now.f, &path.now.g)?;
                path.now = pairs.iterate(&sides, &path.now.f, &path.now.g)?;
            }
            true => {}
        }
        self.count(&path, &pairs);
        let elements = |values: &[f64]| values.iter().map(|&value| D::Elem::from_f64(value)).collect();
        let potentials = [elements(&path.now.f), elements(&path.now.g)];
        Ok(ColumnEnd { potentials, status: self.status, error: path.now.error, report: self.report })
    }

    /// The epsilons of the path, that of the problem last.
    fn stages(&self, entry: Entry) -> Vec<f64> {
        let epsilon = self.problem.epsilon();
        match entry {
            Entry::Zero => stages(epsilon, FIRST * self.largest_cost()),
            Entry::Given(None) => vec![ABOVE * epsilon, epsilon],
            Entry::Given(Some(known)) => stages(epsilon, known * super::path::RATIO),
        }
    }

    /// The largest cost that potentials tell an epsilon beside: those beyond epsilon / unit tell none.
    pub(super) fn largest_cost(&self) -> f64 {
        let epsilon = self.problem.epsilon();
        let told = epsilon / self.problem.backend().precision().unit;
        self.problem.geometry().cost_bound().map_or(epsilon, |bound| bound.min(told))
    }

    /// Potentials of Sinkhorn's iteration at a large epsilon.
    fn start_at<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K, epsilon: f64) -> Result<[Vec<D::Elem>; 2], Error> {
        let problem = self.problem.with_epsilon(epsilon)?;
        let sinkhorn =
            Sinkhorn::new().tolerance(START_ERROR).max_iterations(self.settings.most_start).hand_over(HandOver::Never);
        let Told { history, before } = &mut self.told;
        let mut tell = |progress: &Progress| history.tell(Progress { done: *before + progress.done, ..*progress });
        let settled = sinkhorn.run(&problem).start(Start::Zero).observer(&mut tell).settle(kernel)?;
        self.report.start_iterations = settled.iterations;
        if settled.is_cancelled {
            self.status = Status::Cancelled;
        }
        let mut read =
            problem.backend().download(&[&settled.potentials.source, &settled.potentials.target])?.into_iter();
        Ok([(); 2].map(|()| read.next().unwrap_or_default()))
    }

    /// Rounds at one epsilon until the error is within a tolerance. Says whether the solve must end.
    fn descend<K: KernelOp<D> + ?Sized>(
        &mut self,
        path: &mut Path<'_>,
        pairs: &mut AllPairs<'_, D, K>,
        tolerance: f64,
        rounds: usize,
        check: Check,
    ) -> Result<bool, Error> {
        let (mut smallest, mut since) = (f64::INFINITY, 0);
        for _ in 0..rounds {
            if self.tell(pairs.epsilon(), [path.now.error, path.now.dual], pairs.passes()) {
                self.status = Status::Cancelled;
                return Ok(true);
            }
            if path.now.error <= tolerance {
                return Ok(false);
            }
            if pairs.passes() >= self.settings.limits.most {
                self.status = Status::IterationLimit;
                return Ok(true);
            }
            since = if path.now.error < smallest * (1.0 - 1e-4) { 0 } else { since + 1 };
            smallest = smallest.min(path.now.error);
            if since >= PATIENCE {
                self.status = if path.now.error.is_finite() { Status::Stalled } else { Status::NotFinite };
                return Ok(true);
            }
            path.round(pairs, tolerance, check)?;
        }
        Ok(false)
    }

    /// The last stage: to the tolerance, certified.
    fn converge<K: KernelOp<D> + ?Sized>(
        &mut self,
        path: &mut Path<'_>,
        pairs: &mut AllPairs<'_, D, K>,
    ) -> Result<(), Error> {
        let tolerance = self.settings.tolerance_on(self.problem);
        let mut goal = tolerance / 2.0;
        for _ in 0..CHANCES {
            if self.descend(path, pairs, goal, usize::MAX, Check::AllPairs)? {
                return Ok(());
            }
            self.status = Status::Converged;
            pairs.write(&path.now.f, &path.now.g)?;
            let (kernel, potentials) = pairs.kernel();
            let errors = marginal_errors_with(kernel, self.problem, potentials)?[0];
            if errors.meets(tolerance) || errors.rounding > tolerance / 4.0 {
                return Ok(());
            }
            goal /= 4.0;
        }
        Ok(())
    }

    /// Tells the observer of a pass. Says whether to stop.
    pub(super) fn tell(&mut self, epsilon: f64, [error, dual]: [f64; 2], passes: usize) -> bool {
        let before = self.told.before + self.report.start_iterations;
        let finite = |value: f64| Some(value).filter(|value| value.is_finite());
        let progress = Progress {
            of: Some(before + self.settings.limits.most),
            epsilon: Some(epsilon),
            marginal_error: finite(error),
            dual: finite(dual),
            ..Progress::new(Phase::NewtonPasses, before + passes)
        };
        self.told.history.tell(progress).is_break()
    }

    fn count<K: KernelOp<D> + ?Sized>(&mut self, path: &Path<'_>, pairs: &AllPairs<'_, D, K>) {
        self.report.sweeps = pairs.sweeps;
        self.report.listings = pairs.listings;
        self.report.products = pairs.products;
        self.report.count(&path.work);
    }
}
