//! Seeded problems, and what every solution must satisfy.

use ot_conformance::Seeded;
use ot_core::{CostMatrix, Error, GroundCost, Histogram, Measure, PointCloud, Side};
use ot_solvers::{ExactSolution, ExactTransport, certify_optimality};

use crate::support::cpu;

/// A whole number below a bound.
pub fn below(random: &mut Seeded, bound: usize) -> usize {
    random.uniform(0.0, bound as f64) as usize
}

/// A cloud of normal points around a centre in all coordinates, with random weights.
pub fn cloud(random: &mut Seeded, len: usize, dimension: usize, centre: f64) -> PointCloud<'static, f64> {
    let points: Vec<f64> = (0..len * dimension).map(|_| centre + random.normal()).collect();
    PointCloud::new(points, dimension, random.weights::<f64>(len, false)).unwrap()
}

/// Solves, and rechecks the certificate from the input.
pub fn solve(
    settings: &ExactTransport,
    source: &dyn Measure<f64>,
    target: &dyn Measure<f64>,
    cost: &dyn GroundCost,
) -> Result<ExactSolution, Error> {
    let solution = settings.solve(&cpu(2), source, target, cost)?;
    let (f, g) = (solution.potential(Side::Source), solution.potential(Side::Target));
    assert_eq!(&certify_optimality(source, target, cost, solution.plan(), f, g)?, solution.certificate());
    let (n, m) = solution.plan().shape();
    assert!(solution.plan().entries().len() < n + m, "a plan that is no vertex");
    Ok(solution)
}

/// Solves a problem given by a matrix.
pub fn solve_matrix(a: &[f64], b: &[f64], costs: &[f64]) -> Result<ExactSolution, Error> {
    let (source, target) = (Histogram::new(a.to_vec())?, Histogram::new(b.to_vec())?);
    solve(&ExactTransport::new(), &source, &target, &CostMatrix::new(costs, a.len(), b.len())?)
}

/// A converged solution that proves itself.
pub fn assert_proven(solution: &ExactSolution) {
    assert!(solution.status().is_converged(), "{:?}", solution.status());
    assert!(solution.certificate().proves(1e-12), "{:?}", solution.certificate());
}
