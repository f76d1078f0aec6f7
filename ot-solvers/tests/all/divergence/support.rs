//! Clouds, and what they cost.

use ot_core::{Measure, PointCloud};
use ot_cpu::CpuBackend;

pub type Cpu = CpuBackend<f64>;

/// A backend that stores costs, and one that never does.
pub fn backends() -> [Cpu; 2] {
    [usize::MAX, 0].map(|limit| Cpu::new(1).unwrap().with_dense_limit(limit))
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

/// Coordinates and weights of a cloud.
pub fn parts(cloud: &PointCloud<'_, f64>) -> (Vec<f64>, Vec<f64>) {
    (cloud.points().coordinates().to_vec(), cloud.weights_view().values().to_vec())
}

/// sum_ij a_i b_j k(x_i, y_j), by the book.
pub fn pairing(one: &PointCloud<'_, f64>, other: &PointCloud<'_, f64>, kernel: impl Fn(f64) -> f64) -> f64 {
    let mut sum = 0.0;
    for (x, a) in one.points().coordinates().chunks(one.points().dimension()).zip(one.weights().unwrap().column(0)) {
        for (y, b) in
            other.points().coordinates().chunks(other.points().dimension()).zip(other.weights().unwrap().column(0))
        {
            let square: f64 = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum();
            sum += a * b * kernel(square.sqrt());
        }
    }
    sum
}

/// The squared discrepancy of a kernel of the distance, by the book.
pub fn discrepancy(one: &PointCloud<'_, f64>, other: &PointCloud<'_, f64>, kernel: impl Fn(f64) -> f64 + Copy) -> f64 {
    pairing(one, one, kernel) + pairing(other, other, kernel) - 2.0 * pairing(one, other, kernel)
}

/// A number is another, to a tolerance relative to the size of the second.
pub fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{found} is not {expected}");
}
