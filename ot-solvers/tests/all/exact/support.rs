//! Seeded problems, and what every solution must satisfy.

use ot_core::{CostMatrix, Error, GroundCost, Histogram, Measure, PointCloud, Side};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactSolution, ExactTransport, certify};

/// Seeded numbers.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.uniform() * bound as f64) as usize
    }

    /// Standard normal.
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - self.uniform()).ln()).sqrt(), std::f64::consts::TAU * self.uniform());
        radius * angle.cos()
    }

    /// Positive weights of sum one.
    pub fn weights(&mut self, len: usize) -> Vec<f64> {
        normalized((0..len).map(|_| 0.05 + self.uniform()).collect())
    }

    /// A cloud of normal points around a centre in all coordinates, with random weights.
    pub fn cloud(&mut self, len: usize, dimension: usize, centre: f64) -> PointCloud<'static, f64> {
        let points: Vec<f64> = (0..len * dimension).map(|_| centre + self.normal()).collect();
        PointCloud::new(points, dimension, self.weights(len)).unwrap()
    }
}

/// The weights divided by their sum.
pub fn normalized(weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// A backend of two threads.
pub fn backend() -> CpuBackend<f64> {
    CpuBackend::new(2).unwrap()
}

/// Solves, and rechecks the certificate from the input.
pub fn solve(
    settings: &ExactTransport,
    source: &dyn Measure<f64>,
    target: &dyn Measure<f64>,
    cost: &dyn GroundCost,
) -> Result<ExactSolution, Error> {
    let solution = settings.solve(&backend(), source, target, cost)?;
    let (f, g) = (solution.potential(Side::Source), solution.potential(Side::Target));
    assert_eq!(&certify(source, target, cost, solution.plan(), f, g)?, solution.certificate());
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
