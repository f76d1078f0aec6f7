//! Seeded numbers, and what tests compare.

use ot_core::{Error, GroundCost, Histogram, Measure, PointCloud};
use ot_solvers::{SparsePlan, certify};

/// A seeded generator.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub fn uniforms(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.uniform()).collect()
    }

    pub fn normals(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.normal()).collect()
    }

    /// Uneven weights of mass one, every fifth of them zero.
    pub fn weights(&mut self, len: usize) -> Vec<f64> {
        let raw: Vec<f64> = (0..len).map(|i| if i % 5 == 3 { 0.0 } else { self.uniform().powi(4) + 1e-9 }).collect();
        let total: f64 = raw.iter().sum();
        raw.into_iter().map(|weight| weight / total).collect()
    }
}

/// Points on the line.
pub fn line<'a>(points: &'a [f64], weights: &'a [f64]) -> PointCloud<'a, f64> {
    PointCloud::new(points, 1, weights).unwrap()
}

/// A number is another, relative to 1 and the size of the second.
pub fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{found} is not {expected}");
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
    let certificate = certify(source, target, cost, plan, f, g).unwrap();
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
