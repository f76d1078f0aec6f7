//! When Sinkhorn's iteration leaves the rest to Newton's method.
//!
//! Near its solution the iteration takes log(error / tolerance) / -log(theta) iterations more, where theta is the rate at the
//! best relaxation, which the [controller](super::Relaxation::Adaptive) knows from what it observes. Newton's method takes a
//! handful of passes and arithmetic on the arcs, together as much as a few hundred iterations, whatever the rate. So the
//! iteration goes on as long as it is predicted to end sooner than that.

use ot_core::{Device, KernelOp, Potentials, Problem, Side};

use super::feasibility::may_be_infeasible;
use crate::newton;

/// What Sinkhorn's iteration does where Newton's method is cheaper.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandOver {
    /// Goes over to [`Newton`](crate::Newton): where the rate observed at the relaxation that suits it predicts that more iterations are left
    /// than Newton's method costs (200 between 1000 atoms, growing with the root of their number; 30 between large clouds whose kernel tells the plan between
    /// [cells](ot_core::PlanProduct::cells), where the rate between clusters is believed before any iteration), or at once where epsilon is below 1.5e-4 of the largest cost. For alternating updates,
    /// adaptive relaxation, entropy, penalties with a derivative and kernels that list arcs; elsewhere it iterates on. Passes
    /// of Newton's method count as iterations. If it ends without the tolerance, the iteration goes on.
    #[default]
    Automatic,
    /// Iterates to the end.
    Never,
}

/// The cost of Newton's method in iterations, between at most so many atoms.
const COST: f64 = 200.0;
const ATOMS: f64 = 1000.0;
/// The same of large clouds whose kernel tells the plan between cells, whatever the number of atoms.
const COST_BY_PRODUCTS: f64 = 30.0;
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
pub(super) const LARGEST_ERROR: f64 = 1e-2;
/// Arcs that Newton's method may list: 64 MiB of them, and a few for each atom, or as many as a matrix of costs takes.
const MOST_ARCS: usize = 1 << 22;
const ARCS_OF_ATOM: usize = 32;
const MATRIX: usize = 1 << 26;

/// What a run looks out for, and where Newton's method would start.
#[derive(Debug)]
pub(super) struct Watch<D: Device> {
    /// More iterations than this are too many.
    cost: f64,
    /// Are its steps found by products with the plan?
    by_products: bool,
    /// The arcs that Newton's method may list.
    pub(super) most_arcs: usize,
    /// Epsilons of the annealing up to this one are where Newton's method starts, if that of the problem is small.
    start: Option<f64>,
    /// The iteration since which the rate is too slow.
    slow_since: Option<usize>,
    /// Is there a Newton's method to go over to?
    pub(super) has_newton: bool,
    /// May it be that no plan exists?
    pub(super) may_be_infeasible: bool,
    /// The potentials that the last stage of the annealing ended with.
    stage: Option<Potentials<D>>,
    /// Has it been decided?
    pub(super) is_due: bool,
}

impl<D: Device> Watch<D> {
    /// Of a run of at most so many iterations whose rate is observed; `None` where there is nothing to look out for.
    pub(super) fn new<K: KernelOp<D> + ?Sized>(
        problem: &Problem<D>,
        kernel: &mut K,
        hand_over: HandOver,
        most: usize,
    ) -> Option<Self> {
        let [n, m] = Side::BOTH.map(|side| problem.marginal(side).len());
        let asked = hand_over == HandOver::Automatic && most > LEAST_LEFT && n.min(m) > 1;
        let has_newton = asked && newton::is_for(problem, kernel);
        let may_be_infeasible = may_be_infeasible(problem, kernel);
        if !(has_newton || may_be_infeasible) {
            return None;
        }
        let atoms = (n as f64 * m as f64).sqrt();
        let batch = if problem.columns() > 1 { BATCH } else { 1.0 };
        let pairs = n.saturating_mul(m);
        let bound = problem.geometry().cost_bound().unwrap_or(0.0);
        let is_small = problem.epsilon() <= SMALL * (ATOMS / atoms).sqrt().min(1.0) * bound;
        let matrix = if pairs <= MATRIX { pairs / 4 } else { 0 };
        let by_products = newton::prefers_products(problem, kernel);
        let cost = match by_products {
            true => COST_BY_PRODUCTS,
            false => COST * (atoms / ATOMS).sqrt().max(1.0),
        };
        Some(Self {
            cost: batch * cost,
            by_products,
            most_arcs: matrix.max(MOST_ARCS + ARCS_OF_ATOM * (n + m)),
            start: is_small.then_some(START * bound),
            slow_since: None,
            has_newton,
            may_be_infeasible,
            stage: None,
            is_due: false,
        })
    }

    /// Is epsilon so small that Newton's method is to begin, without an annealing before it? Stages of an annealing find violated
    /// cuts sooner.
    pub(super) fn begins_with_newton(&self) -> bool {
        self.has_newton && self.start.is_some() && !self.may_be_infeasible
    }

    /// Before the first iteration from clusters, with the iterations that their rate predicts and those allowed: where
    /// products find the steps, the first is worth more than the sweeps that would observe the rate again.
    pub(super) fn foresee_rate(&mut self, predicted: Option<f64>, allowed: usize) {
        let is_slow = predicted.is_some_and(|predicted| predicted > self.cost);
        self.is_due = self.has_newton && self.by_products && is_slow && allowed >= LEAST_LEFT;
    }

    /// After a check at the epsilon of the problem, with the iterations that are predicted to be left and those allowed: has
    /// the iteration been too slow for long enough?
    pub(super) fn see_rate(&mut self, predicted: Option<f64>, iterations: usize, allowed: usize) {
        self.slow_since = match predicted {
            Some(predicted) if predicted > self.cost => self.slow_since.or(Some(iterations)),
            _ => None,
        };
        let seen = self.slow_since.map_or(0, |since| iterations - since) as f64;
        self.is_due = seen >= SEEN * self.cost && allowed >= LEAST_LEFT;
    }

    /// After a stage of the annealing, whose potentials are kept, with the iterations predicted for the epsilon of the problem and
    /// those allowed.
    pub(super) fn see_stage(&mut self, stage: Potentials<D>, predicted: Option<f64>, allowed: usize) {
        let is_slow = predicted.is_some_and(|predicted| predicted > self.cost);
        let is_start = self.start.is_some_and(|start| stage.epsilon <= start);
        self.is_due = self.has_newton && allowed >= LEAST_LEFT && (is_slow || is_start);
        self.stage = Some(stage);
    }

    /// Where Newton's method starts: from the iterate if its errors are small, else from the last stage if there was one.
    pub(super) fn start<'a>(&'a self, iterate: &'a Potentials<D>, largest_error: f64) -> &'a Potentials<D> {
        match &self.stage {
            Some(stage) if largest_error > LARGEST_ERROR => stage,
            _ => iterate,
        }
    }
}
