//! Clouds, and their atoms as samples.

use ot_conformance::Seeded;
use ot_core::{PointCloud, PointsView};
use ot_solvers::{PointSampler, Random, Sampler};

/// Points of the unit cube with uneven weights of mass one.
pub fn cloud(seed: u64, len: usize, dimension: usize) -> PointCloud<'static, f64> {
    let mut random = Seeded::new(seed);
    let points = random.vector::<f64>(len * dimension, 0.0, 1.0);
    PointCloud::new(points, dimension, random.weights::<f64>(len, false)).unwrap().normalized()
}

/// Draws atoms of a cloud by their weights.
pub fn atoms_of<'a>(cloud: &'a PointCloud<'a, f64>) -> impl Sampler<f64> + use<'a> {
    let points: PointsView<'a, f64> = cloud.points();
    let sums = cloud.weights_view().values().iter().scan(0.0, |sum, weight| {
        *sum += weight;
        Some(*sum)
    });
    let sums: Vec<f64> = sums.collect();
    PointSampler::new(points.dimension(), move |random: &mut Random, point: &mut [f64]| {
        let share = random.uniform();
        let atom = sums.partition_point(|sum| *sum <= share).min(sums.len() - 1);
        point.copy_from_slice(points.point(atom));
    })
}

/// Uniform on the unit interval.
pub fn interval() -> impl Sampler<f64> {
    PointSampler::new(1, |random: &mut Random, point: &mut [f64]| point[0] = random.uniform())
}
