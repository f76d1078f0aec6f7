//! Seeded numbers, and what tests compare.

use ot_conformance::Seeded;
use ot_core::{Error, GroundCost, Histogram, Measure, PointCloud};
use ot_solvers::{SparsePlan, certify_optimality};

use crate::support::normalized;

pub fn normals(random: &mut Seeded, len: usize) -> Vec<f64> {
    (0..len).map(|_| random.normal()).collect()
}

pub fn uniforms(random: &mut Seeded, len: usize) -> Vec<f64> {
    random.vector::<f64>(len, 0.0, 1.0)
}

/// Very uneven weights of mass one, every fifth of them zero.
pub fn weights(random: &mut Seeded, len: usize) -> Vec<f64> {
    let weight = |i| if i % 5 == 3 { 0.0 } else { random.uniform(0.0, 1.0).powi(4) + 1e-9 };
    normalized((0..len).map(weight).collect())
}

/// Points on the line.
pub fn line<'a>(points: &'a [f64], weights: &'a [f64]) -> PointCloud<'a, f64> {
    PointCloud::new(points, 1, weights).unwrap()
}

/// A plan and potentials are optimal, by the certificate of the input alone.
pub fn assert_optimal(
    source: &dyn Measure<f64>,
    target: &dyn Measure<f64>,
    cost: &dyn GroundCost,
    plan: &SparsePlan,
    [f, g]: [&[f64]; 2],
    tolerance: f64,
) {
    let certificate = certify_optimality(source, target, cost, plan, f, g).unwrap();
    assert!(certificate.proves(tolerance), "{certificate:?}");
}

/// n atoms of weight 1/n.
pub fn uniform(len: usize) -> Histogram<'static, f64> {
    Histogram::uniform(len).unwrap()
}

/// The name of a parameter that was refused.
pub fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> &'static str {
    match result {
        Err(Error::Parameter { name, .. }) => name,
        other => panic!("{other:?}"),
    }
}
