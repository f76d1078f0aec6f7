//! Clouds, and problems between them that are regularised by squares.

use std::sync::Arc;

use ot_core::{
    Backend, Balanced, Epsilon, Measure, PlanRegularizer, PointCloud, Problem, Regularizer, Solution, SqEuclidean,
    SquaredL2,
};
use ot_cpu::CpuBackend;
use ot_solvers::Sinkhorn;

pub type Cpu = CpuBackend<f64>;
pub type Law = Arc<dyn Regularizer>;

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
pub fn problem<B: Backend<Elem = f64>>(
    backend: &B,
    [a, b]: [&PointCloud<'_, f64>; 2],
    epsilon: f64,
    laws: [Law; 2],
    regularizer: impl PlanRegularizer + 'static,
) -> Problem<B> {
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let [source_law, target_law] = laws;
    let problem = Problem::relaxed(geometry, a, b, Epsilon::RelativeToMean(epsilon), source_law, target_law).unwrap();
    problem.with_plan_regularizer(Arc::new(regularizer))
}

/// The balanced problem of squares.
pub fn balanced<B: Backend<Elem = f64>>(backend: &B, clouds: [&PointCloud<'_, f64>; 2], epsilon: f64) -> Problem<B> {
    problem(backend, clouds, epsilon, [Arc::new(Balanced), Arc::new(Balanced)], SquaredL2)
}

/// Solved by the alternating iteration, to a tolerance.
pub fn solve<B: Backend>(problem: &Problem<B>, tolerance: f64) -> Solution<B> {
    let solution = Sinkhorn::new().tolerance(tolerance).max_iterations(100_000).solve(problem).unwrap();
    assert!(solution.status().is_converged(), "{}: {:?}", solution.status(), solution.certificate());
    solution
}

/// A number is another, relative to the size of the second.
pub fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{found} is not {expected}");
}
