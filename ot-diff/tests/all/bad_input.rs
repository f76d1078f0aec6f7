//! What cannot be asked is refused, and says what was expected.

use std::ops::ControlFlow;

use ot_core::{
    Epsilon, Error, Euclidean, GeometryBuilder, Measure, PointCloud, Problem, Progress, Side, SquaredL2, Status,
    TotalVariation,
};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, LinearSolver, Linearised, Output, Tangent, value_and_gradient};
use ot_solvers::Sinkhorn;

use crate::{
    data::{Data, Penalty, solve},
    laws::linearised,
};

fn backend() -> CpuBackend<f64> {
    CpuBackend::new(1).unwrap()
}

#[test]
fn tangents_that_do_not_fit_are_refused() {
    let mut linearised = linearised(&backend(), &Data::clouds(7, 5));
    let mut refused = |tangent: Tangent<f64>| linearised.push_forward(&tangent).map(|_| ()).unwrap_err();
    assert!(matches!(
        refused(Tangent::new().points(Side::Source, vec![0.0; 13])),
        Error::Length { expected: 14, found: 13, .. }
    ));
    assert!(matches!(refused(Tangent::new().weights(Side::Target, vec![0.0; 7])), Error::Length { expected: 5, .. }));
    assert!(matches!(refused(Tangent::new().epsilon(f64::NAN)), Error::Parameter { .. }));
    assert!(matches!(refused(Tangent::new().penalty(Side::Source, vec![1.0])), Error::Length { expected: 0, .. }));
    assert!(matches!(refused(Tangent::new().parameters(vec![1.0])), Error::MissingCapability(_)));
    let mut infinite = vec![0.0; 14];
    infinite[3] = f64::INFINITY;
    assert!(matches!(
        refused(Tangent::new().points(Side::Source, infinite)),
        Error::Parameter { value: f64::INFINITY, .. }
    ));
}

/// A balanced tangent that changes the mass of one side alone.
#[test]
fn mass_that_comes_from_nowhere_is_refused() {
    let data = Data::clouds(7, 5);
    let tangent = Tangent::new().weights(Side::Source, vec![0.01; 7]);
    let refused = linearised(&backend(), &data).push_forward(&tangent).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::Parameter { value, .. } if (value - 0.07).abs() < 1e-12), "{refused}");
    let relaxed = data.under([Penalty::Kl(1.0), Penalty::Balanced]);
    assert!(linearised(&backend(), &relaxed).push_forward(&tangent).is_ok());
}

#[test]
fn cotangents_that_do_not_fit_are_refused() {
    let mut linearised = linearised(&backend(), &Data::clouds(7, 5));
    let mut refused =
        |output: Output<f64>, seed: Vec<f64>| linearised.pull_back(&[(&output, &seed)]).map(|_| ()).unwrap_err();
    assert!(matches!(
        refused(Output::Potential(Side::Source), vec![0.0; 5]),
        Error::Length { expected: 7, found: 5, .. }
    ));
    assert!(matches!(refused(Output::TransportCost, vec![]), Error::Length { expected: 1, found: 0, .. }));
    assert!(matches!(refused(Output::TransportCost, vec![f64::NAN]), Error::Parameter { .. }));
    let projection = Output::Projection { side: Side::Source, points: vec![0.0; 10], dimension: 2 };
    assert!(matches!(refused(projection, vec![0.0; 7]), Error::Length { expected: 14, found: 7, .. }));
    let flat = Output::Projection { side: Side::Source, points: vec![], dimension: 0 };
    assert!(matches!(refused(flat, vec![]), Error::ZeroDimension));
    let product = Output::Product { side: Side::Source, values: vec![0.0; 6] };
    assert!(matches!(refused(product, vec![0.0; 7]), Error::Length { expected: 5, found: 6, .. }));
}

#[test]
fn settings_out_of_range_are_refused() {
    let solution = solve(&Data::clouds(3, 4).problem(&backend()));
    for solver in [
        LinearSolver::new().tolerance(0.0),
        LinearSolver::new().tolerance(f64::NAN),
        LinearSolver::new().max_steps(0),
        LinearSolver::new().check_interval(0),
    ] {
        let refused = Linearised::new(&solution).unwrap().with_solver(solver);
        assert!(matches!(refused, Err(Error::Parameter { .. })), "{solver:?}");
    }
}

/// Another regularizer has sums under h*'' that these formulas do not know.
#[test]
fn other_regularizers_are_refused() {
    let problem = Data::clouds(6, 5).problem(&backend()).with_regularizer(&SquaredL2).unwrap();
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    assert!(matches!(Linearised::new(&solution), Err(Error::MissingCapability(_))));
    assert!(matches!(value_and_gradient(&solution), Err(Error::MissingCapability(_))));
}

/// One atom on either side at distance 2 under total variation of strength 1: the softmin of f = 1 at g = 1 is on the
/// kink of the step.
#[test]
fn kinks_are_refused() {
    let (a, b) = (PointCloud::uniform(vec![0.0], 1).unwrap(), PointCloud::uniform(vec![2.0], 1).unwrap());
    let geometry = backend().geometry(a.support(), b.support(), &Euclidean).unwrap();
    let variation = TotalVariation::new(1.0).unwrap();
    let problem = Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(0.1), &variation, &variation).unwrap();
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    let refused = Linearised::new(&solution).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::Parameter { value: 1.0, .. }), "{refused}");
    // The value has a derivative in the cost all the same.
    let (_, mut gradient) = value_and_gradient(&solution).unwrap();
    assert!(gradient.points(Side::Source).unwrap()[0].is_finite());
}

/// A kernel without derivatives in its points says so.
#[test]
fn missing_derivatives_are_told() {
    let solution = solve(&Data::matrix(5, 6).problem(&backend()));
    let (_, mut gradient) = value_and_gradient(&solution).unwrap();
    assert!(matches!(gradient.points(Side::Source), Err(Error::MissingCapability(_))));
    let streaming = backend().with_dense_limit(0);
    let (_, mut gradient) = value_and_gradient(&solve(&Data::clouds(5, 6).problem(&streaming))).unwrap();
    assert!(matches!(gradient.matrix(), Err(Error::MissingCapability(_))));
    assert!(gradient.plan().unwrap().marginal(Side::Source).is_ok());
}

/// A solve that was cancelled is linearised where it stopped, and says how far that is from the fixed point.
#[test]
fn cancelled_solves_are_told() {
    let problem = Data { epsilon: 0.03, ..Data::clouds(20, 20) }.problem(&backend());
    let mut stop = |_: &Progress| ControlFlow::Break(());
    let solution = Sinkhorn::new().tolerance(1e-12).run(&problem).observer(&mut stop).solve().unwrap();
    assert_eq!(solution.status(), Status::Cancelled);
    let mut linearised = Linearised::new(&solution).unwrap();
    assert_eq!(linearised.status(), Status::Cancelled);
    assert!(linearised.marginal_error() > 1e-12);
    let mut cotangent = linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap();
    assert!(cotangent.points(Side::Source).unwrap().iter().all(|value: &f64| value.is_finite()));
}

/// Coincident points under the Euclidean cost: the gradient there is that of the formula, zero, and nothing is NaN.
#[test]
fn coincident_points_have_finite_derivatives() {
    let points = vec![0.0, 0.0, 1.0, 0.0, 0.5, 2.0];
    let (a, b) = (PointCloud::uniform(points.clone(), 2).unwrap(), PointCloud::uniform(points, 2).unwrap());
    let geometry = backend().geometry(a.support(), b.support(), &Euclidean).unwrap();
    assert!(geometry.cost_bound().is_some());
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1)).unwrap();
    let solution = solve(&problem);
    let mut linearised = Linearised::new(&solution).unwrap();
    let tangent = Tangent::new().points(Side::Source, vec![1.0, -1.0, 0.5, 0.0, 0.0, 2.0]);
    let mut product = linearised.hessian_vector(&tangent).unwrap();
    assert!(product.points(Side::Source).unwrap().iter().all(|value: &f64| value.is_finite()));
    let mut cotangent = linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap();
    assert!(cotangent.points(Side::Source).unwrap().iter().all(|value: &f64| value.is_finite()));
}
