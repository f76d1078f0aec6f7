//! Optimal values as objectives of argmin: what they answer, and what a product that fails leaves behind.

use argmin::core::{CostFunction, Executor, Gradient, Hessian, State};
use argmin::solver::trustregion::{Steihaug, TrustRegion};
use argmin_math::ArgminDot;
use ot_core::{CostParameter, Epsilon, Host, PointCloud, Side, Solution, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_diff::{LinearSolver, argmin::OptimalValue};
use ot_solvers::Sinkhorn;

use crate::data::{assert_agree, difference, noise};

/// Transport of points to a fixed cloud, by a solve to the last digits.
fn solve(points: &[f64]) -> Result<Solution<Host<f64>>, ot_core::Error> {
    let backend = CpuBackend::<f64>::new(1)?;
    let (source, target) = (PointCloud::uniform(points, 2)?, PointCloud::uniform(noise(1, 10), 2)?);
    let geometry = ot_core::GeometryBuilder::geometry(
        &backend,
        ot_core::Measure::<f64>::support(&source),
        ot_core::Measure::<f64>::support(&target),
        &SqEuclidean,
    )?;
    Sinkhorn::new().tolerance(1e-13).solve(&ot_core::Problem::new(geometry, &source, &target, Epsilon::Absolute(0.3))?)
}

const POINTS: CostParameter = CostParameter::Points(Side::Source);

#[test]
fn answers_are_derivatives_of_each_other() {
    let solver = LinearSolver::new().tolerance(1e-13);
    let value = OptimalValue::new(POINTS, solve).with_solver(solver).unwrap();
    let (start, direction) = (noise(2, 8), noise(3, 8));
    let at = |step: f64| start.iter().zip(&direction).map(|(x, d)| x + step * d).collect::<Vec<f64>>();
    let slope = value.gradient(&start).unwrap().dot(&direction);
    let expected: Vec<f64> = difference(0.3, |step| vec![value.cost(&at(step)).unwrap()]);
    assert_agree("the gradient", &[slope], &expected, 1e-8, 1e-2);
    let product = value.hessian(&start).unwrap().dot(&direction);
    let expected = difference(0.3, |step| value.gradient(&at(step)).unwrap());
    assert_agree("the product with the Hessian", &product, &expected, 1e-7, 1e-2);
}

#[test]
fn newton_descends() {
    let value = OptimalValue::new(POINTS, solve);
    let start = noise(2, 8);
    let before = value.gradient(&start).unwrap();
    let solver = TrustRegion::new(Steihaug::new());
    let run = Executor::new(value, solver).configure(|state| state.param(start).max_iters(60)).run().unwrap();
    let after = OptimalValue::new(POINTS, solve).gradient(run.state.get_best_param().unwrap()).unwrap();
    let norm = |slopes: &[f64]| slopes.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
    assert!(norm(&after) < 1e-5 * norm(&before), "{} from {}", norm(&after), norm(&before));
}

#[test]
fn a_product_that_fails_is_told_by_the_next_answer() {
    let value = OptimalValue::new(POINTS, solve);
    let start = noise(2, 8);
    let product = value.hessian(&start).unwrap().dot(&vec![1.0; 3]);
    assert_eq!(product, [0.0; 3]);
    assert!(value.cost(&start).is_err());
    assert!(value.cost(&start).is_ok());
}
