//! What all subjects share: seeded clouds, backends, problems, and how numbers are compared.

use ot_conformance::Seeded;
use ot_core::{
    Device, Epsilon, GeometryBuilder, GroundCost, MarginalPenalty, Measure, PointCloud, Problem, RecordedPenalty, Side,
    SqEuclidean,
};
use ot_cpu::CpuBackend;

pub type Cpu = CpuBackend<f64>;
pub type Penalty = RecordedPenalty;

pub const SIDES: [Side; 2] = Side::BOTH;

/// A backend of so many threads.
pub fn cpu(threads: usize) -> Cpu {
    Cpu::new(threads).unwrap()
}

/// A backend that stores costs, and one that never does.
pub fn backends(threads: usize) -> [Cpu; 2] {
    [usize::MAX, 0].map(|limit| cpu(threads).with_dense_limit(limit))
}

/// A penalty as a value, to be listed with others.
pub fn penalty(penalty: impl MarginalPenalty) -> Penalty {
    Penalty::new(&penalty).unwrap()
}

/// Seeded points in the unit square, shifted, with uneven weights of a total mass.
pub fn cloud(seed: u64, len: usize, shift: f64, mass: f64) -> PointCloud<'static, f64> {
    let mut random = Seeded::new(seed);
    let points = random.vector::<f64>(2 * len, shift, 1.0 + shift);
    let weights = normalized(random.vector::<f64>(len, 0.05, 1.05));
    PointCloud::new(points, 2, weights.into_iter().map(|weight| mass * weight).collect::<Vec<_>>()).unwrap()
}

/// A problem between two clouds with penalties on their marginals.
pub fn relaxed<D: Device<Elem = f64>>(
    builder: &dyn GeometryBuilder<Device = D>,
    [a, b]: [&PointCloud<'_, f64>; 2],
    cost: &dyn GroundCost,
    epsilon: Epsilon,
    [of_source, of_target]: [Penalty; 2],
) -> Problem<D> {
    let geometry = builder.geometry(a.support(), b.support(), cost).unwrap();
    Problem::unbalanced(geometry, a, b, epsilon, &of_source, &of_target).unwrap()
}

/// Squared distances between two clouds, epsilon a multiple of their mean.
pub fn problem<D: Device<Elem = f64>>(
    builder: &dyn GeometryBuilder<Device = D>,
    clouds: [&PointCloud<'_, f64>; 2],
    epsilon: f64,
    penalties: [Penalty; 2],
) -> Problem<D> {
    relaxed(builder, clouds, &SqEuclidean, Epsilon::RelativeToMean(epsilon), penalties)
}

/// The weights divided by their sum.
pub fn normalized(weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// A number is another, relative to 1 and the size of the second.
#[track_caller]
pub fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance * (1.0 + expected.abs()), "{found} is not {expected}");
}

pub fn largest_difference(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter().zip(right).map(|(left, right)| (left - right).abs()).fold(0.0, f64::max)
}
