//! Problems between clouds that are regularised by squares.

use std::sync::Arc;

use ot_core::{Backend, Balanced, PlanRegularizer, PointCloud, Problem, Solution, SquaredL2};
use ot_solvers::Sinkhorn;

use crate::support::{self, Law, law};

/// Squared distances between two clouds, epsilon a multiple of their mean.
pub fn problem<B: Backend<Elem = f64>>(
    backend: &B,
    clouds: [&PointCloud<'_, f64>; 2],
    epsilon: f64,
    laws: [Law; 2],
    regularizer: impl PlanRegularizer + 'static,
) -> Problem<B> {
    support::problem(backend, clouds, epsilon, laws).with_plan_regularizer(Arc::new(regularizer))
}

/// The balanced problem of squares.
pub fn balanced<B: Backend<Elem = f64>>(backend: &B, clouds: [&PointCloud<'_, f64>; 2], epsilon: f64) -> Problem<B> {
    problem(backend, clouds, epsilon, [law(Balanced), law(Balanced)], SquaredL2)
}

/// Solved by the alternating iteration, to a tolerance.
pub fn solve<B: Backend>(problem: &Problem<B>, tolerance: f64) -> Solution<B> {
    let solution = Sinkhorn::new().tolerance(tolerance).max_iterations(100_000).solve(problem).unwrap();
    assert!(solution.status().is_converged(), "{}: {:?}", solution.status(), solution.certificate());
    solution
}
