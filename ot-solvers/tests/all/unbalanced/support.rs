//! Clouds, and problems between them.

use std::sync::Arc;

use ot_core::{Backend, Epsilon, Measure, PointCloud, Problem, Regularizer, SqEuclidean};
use ot_cpu::CpuBackend;

pub type Cpu = CpuBackend<f64>;
pub type Law = Arc<dyn Regularizer>;

/// A law behind a pointer.
pub fn law(law: impl Regularizer + 'static) -> Law {
    Arc::new(law)
}

/// Seeded points in the unit square, shifted, with uneven weights of a total mass.
pub fn cloud(seed: u64, len: usize, shift: f64, mass: f64) -> PointCloud<'static, f64> {
    let mut state = seed;
    let mut uniform = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let points: Vec<f64> = (0..2 * len).map(|_| uniform() + shift).collect();
    let weights: Vec<f64> = (0..len).map(|_| 0.05 + uniform()).collect();
    let total: f64 = weights.iter().sum();
    PointCloud::new(points, 2, weights.into_iter().map(|w| w * mass / total).collect::<Vec<_>>()).unwrap()
}

/// Squared distances between two clouds, epsilon a multiple of their mean.
pub fn problem(
    backend: &Cpu,
    [a, b]: [&PointCloud<'_, f64>; 2],
    epsilon: f64,
    [source_law, target_law]: [Law; 2],
) -> Problem<Cpu> {
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    Problem::relaxed(geometry, a, b, Epsilon::RelativeToMean(epsilon), source_law, target_law).unwrap()
}

/// A number is another, relative to the size of the second.
pub fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{found} is not {expected}");
}
