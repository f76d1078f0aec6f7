//! When Sinkhorn's iteration leaves the rest to Newton's method.
//!
//! Near its solution the iteration takes log(error / tolerance) / -log(theta) iterations more, where theta is the rate at the
//! best relaxation, which the [controller](super::Relaxation::Adaptive) knows from what it observes. Newton's method takes a
//! handful of passes and arithmetic on the arcs, together as much as a few hundred iterations, whatever the rate. So the
//! iteration goes on as long as it is predicted to end sooner than that.

use ot_core::{Device, Error, KernelOp, Potentials, Problem, Side, Status};

use super::{
    Relaxation, Sinkhorn, Update,
    column::choose_columns,
    feasibility::{may_be_infeasible, refuse_violated_cuts},
    iteration::Iteration,
};
use crate::newton::{self, Entry, Newton, NewtonReport, Told};

/// What Sinkhorn's iteration does where Newton's method is cheaper.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandOver {
    /// Goes over to [`Newton`]: where the rate observed at the relaxation that suits it predicts that more iterations are left
    /// than Newton's method costs (250 between 1000 atoms, growing with the root of their number), or where epsilon is below
    /// 1.5e-4 of the largest cost. For alternating updates,
    /// adaptive relaxation, entropy, penalties with a derivative and kernels that list arcs; elsewhere it iterates on. Passes
    /// of Newton's method count as iterations. If it ends without the tolerance, the iteration goes on.
    #[default]
    Automatic,
    /// Iterates to the end.
    Never,
}

/// The cost of Newton's method in iterations, between at most so many atoms.
const COST: f64 = 250.0;
const ATOMS: f64 = 1000.0;
/// In a batch an iteration costs each column less: one pass serves all.
const BATCH: f64 = 4.0;
/// The part of this cost for which a rate must have been seen to be that slow.
const SEEN: f64 = 1.0 / 8.0;
/// At most this part of the bound of the cost between 1000 atoms, and less as the root of their number grows, epsilon is so small
/// that Newton's method costs less on every family of problems measured: it takes over from the first stage of the annealing
/// whose epsilon is no larger part than its start.
const SMALL: f64 = 1.5e-4;
const START: f64 = 2e-2;
/// Fewer iterations left than this do not let Newton's method end.
const LEAST_LEFT: usize = 60;
/// Potentials of a larger error are not where Newton's method starts, if there are those of a larger epsilon.
const LARGEST_ERROR: f64 = 1e-2;
/// Arcs that Newton's method may list: 64 MiB of them, and a few for each atom, or as many as a matrix of costs takes.
const MOST_ARCS: usize = 1 << 22;
const ARCS_OF_ATOM: usize = 32;
const MATRIX: usize = 1 << 26;

/// What a run looks out for.
#[derive(Debug)]
pub(super) struct Watch<D: Device> {
    /// More iterations than this are too many.
    cost: f64,
    most_arcs: usize,
    /// Epsilons of the annealing up to this one are where Newton's method starts, if that of the problem is small.
    start: Option<f64>,
    /// The iteration since which the rate is too slow.
    slow_since: Option<usize>,
    /// Is there a Newton's method to go over to?
    has_newton: bool,
    /// May it be that no plan exists?
    may_be_infeasible: bool,
    /// The potentials that the last stage of the annealing ended with.
    stage: Option<Potentials<D>>,
    /// Has it been decided?
    pub(super) is_due: bool,
}

impl<D: Device> Watch<D> {
    /// `None` where no hand-over is allowed or possible.
    pub(super) fn new<K: KernelOp<D> + ?Sized>(
        settings: &Sinkhorn,
        problem: &Problem<D>,
        kernel: &mut K,
    ) -> Option<Self> {
        let [n, m] = Side::BOTH.map(|side| problem.marginal(side).len());
        let has_rate = settings.update == Update::Alternating && settings.relaxation == Relaxation::Adaptive;
        let asked = settings.hand_over == HandOver::Automatic && settings.limits.most > LEAST_LEFT && n.min(m) > 1;
        let has_newton = asked && newton::is_for(problem, kernel);
        let may_be_infeasible = may_be_infeasible(problem, kernel);
        if !(has_rate && (has_newton || may_be_infeasible)) {
            return None;
        }
        let atoms = (n as f64 * m as f64).sqrt();
        let batch = if problem.columns() > 1 { BATCH } else { 1.0 };
        let pairs = n.saturating_mul(m);
        let bound = problem.geometry().cost_bound().unwrap_or(0.0);
        let is_small = problem.epsilon() <= SMALL * (ATOMS / atoms).sqrt().min(1.0) * bound;
        let matrix = if pairs <= MATRIX { pairs / 4 } else { 0 };
        Some(Self {
            cost: batch * COST * (atoms / ATOMS).sqrt().max(1.0),
            most_arcs: matrix.max(MOST_ARCS + ARCS_OF_ATOM * (n + m)),
            start: is_small.then_some(START * bound),
            slow_since: None,
            has_newton,
            may_be_infeasible,
            stage: None,
            is_due: false,
        })
    }
}

impl<D: Device> Iteration<'_, D> {
    /// Is Newton's method due?
    pub(super) fn is_handed_over(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_due)
    }

    /// Iterations that are left to the tolerance for every column that moves, at least.
    fn predicted(&self, slowing: f64) -> Option<f64> {
        let tolerance = self.settings.tolerance_on(self.problem);
        let of_column = |&index: &usize| self.columns[index].iterations_to(tolerance, slowing);
        let predicted = self.active.indices().iter().map(of_column);
        predicted.reduce(|least, other| Some(least?.min(other?))).flatten()
    }

    /// At a check at the epsilon of the problem: has the iteration been too slow for long enough?
    pub(super) fn watch_rate(&mut self) {
        let predicted = self.predicted(1.0);
        let (iterations, left) = (self.iterations, self.settings.limits.most.saturating_sub(self.iterations));
        let Some(watch) = &mut self.watch else { return };
        watch.slow_since = match predicted {
            Some(predicted) if predicted > watch.cost => watch.slow_since.or(Some(iterations)),
            _ => None,
        };
        let seen = watch.slow_since.map_or(0, |since| iterations - since) as f64;
        watch.is_due = seen >= SEEN * watch.cost && left >= LEAST_LEFT;
    }

    /// At the end of a stage of the annealing: its potentials are kept, and its rate predicts that of the problem, whose
    /// 1 - eta is smaller as epsilon is.
    pub(super) fn watch_stage(&mut self, epsilon: f64) -> Result<(), Error> {
        if self.watch.is_none() {
            return Ok(());
        }
        let predicted = self.predicted(self.problem.epsilon() / epsilon);
        let backend = self.problem.backend();
        let (source, target) = (backend.copied(&self.potentials.source)?, backend.copied(&self.potentials.target)?);
        let left = self.settings.limits.most.saturating_sub(self.iterations);
        if let Some(watch) = &mut self.watch {
            watch.stage = Some(Potentials { source, target, epsilon });
            let is_slow = predicted.is_some_and(|predicted| predicted > watch.cost);
            let is_start = watch.start.is_some_and(|start| epsilon <= start);
            watch.is_due = watch.has_newton && left >= LEAST_LEFT && (is_slow || is_start);
        }
        Ok(())
    }

    /// Where forbidden pairs may leave no plan, columns that have not come to their end are searched for a cut: once with few
    /// sweeps, and once more with many.
    pub(super) fn refuse_violated_cuts<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K) -> Result<(), Error> {
        let (problem, tolerance) = (self.problem, self.settings.tolerance_on(self.problem));
        let is_open = |index: &usize| matches!(self.columns[*index].rest, None | Some(Status::Stalled));
        let open: Vec<usize> = (0..self.columns.len()).filter(is_open).collect();
        if open.is_empty() || !may_be_infeasible(problem, kernel) {
            return Ok(());
        }
        match self.searches.next() {
            Some(sweeps) => {
                refuse_violated_cuts(kernel, problem, &open, tolerance, sweeps.min(self.iterations))?;
                kernel.recenter(problem.view(&self.potentials))
            }
            None => Ok(()),
        }
    }

    /// Newton's method for the columns that move. Those that it brings to the tolerance rest; the others iterate on.
    pub(super) fn hand_over<K: KernelOp<D> + ?Sized>(&mut self, kernel: &mut K) -> Result<(), Error> {
        let Some(watch) = self.watch.take() else { return Ok(()) };
        if watch.may_be_infeasible {
            self.refuse_violated_cuts(kernel)?;
        }
        if !watch.has_newton {
            return Ok(());
        }
        let (problem, backend, columns) = (self.problem, self.problem.backend(), self.columns.len());
        let moving = self.active.indices().to_vec();
        self.choose_best(|column| column.rest.is_none())?;
        let near = moving.iter().all(|&index| self.columns[index].error().is_some_and(|error| error <= LARGEST_ERROR));
        let from = match &watch.stage {
            Some(stage) if !near => stage,
            _ => &self.potentials,
        };
        let given = backend.download(&[&from.source, &from.target])?;
        let mut found = backend.download(&[&self.potentials.source, &self.potentials.target])?;
        let entry = Entry::Given(Some(from.epsilon));
        let mut is_found = vec![false; columns];
        let mut total = NewtonReport::default();
        for index in moving {
            let left = self.settings.limits.most.saturating_sub(self.iterations);
            if left == 0 || self.ended.is_some() {
                break;
            }
            let tolerance = self.settings.tolerance_on(problem);
            let settings = Newton::new().tolerance(tolerance).max_passes(left).most_arcs(watch.most_arcs);
            let told = Told { history: &mut self.history, before: self.iterations };
            let end = match newton::solve_column(&settings, problem, kernel, index, entry, &given, told) {
                // More arcs than are worth listing.
                Err(Error::OutOfMemory { .. }) => break,
                end => end?,
            };
            self.iterations += end.report.passes();
            total.add(end.report);
            if end.status == Status::Cancelled {
                self.ended = Some(Status::Cancelled);
            }
            let column = &mut self.columns[index];
            if end.status.is_converged() || column.error().is_none_or(|error| end.error < error) {
                for (found, own) in found.iter_mut().zip(end.potentials) {
                    found[own.len() * index..][..own.len()].copy_from_slice(&own);
                }
                is_found[index] = true;
                column.forget();
                column.rest = end.status.is_converged().then_some(end.status);
            }
        }
        self.newton = Some(total);
        let Self { potentials, best, choose, chosen, .. } = self;
        backend.write(&found[0], &mut potentials.source)?;
        backend.write(&found[1], &mut potentials.target)?;
        choose_columns(backend, choose, best, potentials, &is_found, chosen)?;
        kernel.rebind(problem.epsilon())?;
        self.checked = self.iterations;
        self.wake_moving();
        Ok(())
    }
}
