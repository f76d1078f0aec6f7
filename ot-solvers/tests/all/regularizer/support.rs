//! Problems between clouds that are regularised by squares.

use ot_core::{Balanced, Device, GeometryBuilder, PointCloud, Problem, Regularizer, Solution, SquaredL2};
use ot_solvers::Sinkhorn;

use crate::support::{self, Penalty, penalty};

/// Squared distances between two clouds, epsilon a multiple of their mean.
pub fn problem<D: Device<Elem = f64>>(
    builder: &dyn GeometryBuilder<Device = D>,
    clouds: [&PointCloud<'_, f64>; 2],
    epsilon: f64,
    penalties: [Penalty; 2],
    regularizer: &impl Regularizer,
) -> Problem<D> {
    support::problem(builder, clouds, epsilon, penalties).with_regularizer(regularizer).unwrap()
}

/// The balanced problem of squares.
pub fn balanced<D: Device<Elem = f64>>(
    builder: &dyn GeometryBuilder<Device = D>,
    clouds: [&PointCloud<'_, f64>; 2],
    epsilon: f64,
) -> Problem<D> {
    problem(builder, clouds, epsilon, [penalty(Balanced), penalty(Balanced)], &SquaredL2)
}

/// Solved by the alternating iteration, to a tolerance.
pub fn solve<D: Device>(problem: &Problem<D>, tolerance: f64) -> Solution<D> {
    let solution = Sinkhorn::new().tolerance(tolerance).max_iterations(100_000).solve(problem).unwrap();
    assert!(solution.status().is_converged(), "{}: {:?}", solution.status(), solution.certificate());
    solution
}
