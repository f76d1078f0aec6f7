//! Heat on point clouds.

use ot_conformance::{GeometryCase, Seeded, conformance_geometry};
use ot_core::GeometryBuilder;
use ot_core::{Error, Geometry, Host, ImpliedCost, Measure, PointCloud, Side};
use ot_cpu::{CpuBackend, CpuScalar, PointCloudHeat};

const TIME: f64 = 0.6;
const STEPS: usize = 3;

/// Points in the plane with weights.
fn cloud<T: CpuScalar>(len: usize) -> PointCloud<'static, T> {
    let mut seeded = Seeded::new(8);
    let coordinates = seeded.elements::<T>(2 * len, -1.0, 1.0);
    let weights = seeded.elements::<T>(len, 0.5, 2.0);
    PointCloud::new(coordinates, 2, weights).unwrap()
}

/// K by its definition, row after row.
fn table<T: CpuScalar>(cloud: &PointCloud<'_, T>) -> Vec<f64> {
    let (points, n) = (cloud.points(), cloud.points().len());
    let masses: Vec<f64> = cloud.weights_view().values().iter().map(|mass| mass.to_f64()).collect();
    let square = |i: usize, j: usize| -> f64 {
        points.point(i).iter().zip(points.point(j)).map(|(x, y)| (x.to_f64() - y.to_f64()).powi(2)).sum()
    };
    let gaussian: Vec<f64> =
        (0..n * n).map(|pair| (-square(pair / n, pair % n) / (4.0 * TIME / STEPS as f64)).exp()).collect();
    let mut scaling = vec![1.0; n];
    for _ in 0..500 {
        let sum = |i: usize| -> f64 { (0..n).map(|j| gaussian[i * n + j] * masses[j] * scaling[j]).sum() };
        scaling = (0..n).map(|i| (scaling[i] / sum(i)).sqrt()).collect();
    }
    let step: Vec<f64> = (0..n * n).map(|pair| scaling[pair / n] * gaussian[pair] * scaling[pair % n]).collect();
    (1..STEPS).fold(step.clone(), |power, _| {
        let entry = |pair: usize| (0..n).map(|l| power[pair / n * n + l] * masses[l] * step[l * n + pair % n]).sum();
        (0..n * n).map(entry).collect()
    })
}

fn cases<T: CpuScalar>() -> Result<Vec<GeometryCase<Host<T>>>, Error> {
    let cloud = cloud::<T>(9);
    let geometry = PointCloudHeat::new(&CpuBackend::new(2)?, &cloud, TIME, STEPS)?;
    let costs = table(&cloud).iter().map(|entry| -4.0 * TIME * entry.ln()).collect();
    Ok(vec![GeometryCase::new("cloud", geometry.shared(), costs)?.with_slack(8.0)])
}

conformance_geometry!(cloud_f64, cases::<f64>());
conformance_geometry!(cloud_f32, cases::<f32>());

#[test]
fn mass_is_preserved() {
    let cloud = cloud::<f64>(40);
    let masses = cloud.weights_view().values();
    let table = table(&cloud);
    for row in table.chunks_exact(40) {
        let sum: f64 = row.iter().zip(masses).map(|(entry, mass)| entry * mass).sum();
        assert!((sum - 1.0).abs() < 1e-12);
    }
    let heat = PointCloudHeat::new(&CpuBackend::<f64>::new(1).unwrap(), &cloud, TIME, STEPS).unwrap();
    let shared = heat.geometry(cloud.support(), cloud.support(), &ImpliedCost).unwrap();
    assert_eq!(shared.len(Side::Target), 40);
}

#[test]
fn what_is_no_diffusion_is_refused() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let refused = |weights: Vec<f64>, time: f64, steps: usize| {
        let cloud = PointCloud::new(vec![0.0, 1.0], 1, weights).unwrap();
        PointCloudHeat::new(&backend, &cloud, time, steps).err()
    };
    assert!(matches!(refused(vec![1.0, 0.0], 1.0, 1), Some(Error::Parameter { name: "the mass of a point", .. })));
    assert!(matches!(refused(vec![1.0, 1.0], -1.0, 1), Some(Error::Parameter { name: "the time of a diffusion", .. })));
    assert!(matches!(refused(vec![1.0, 1.0], 1.0, 0), Some(Error::Parameter { name: "the steps of a diffusion", .. })));
    let heat = PointCloudHeat::new(&backend, &PointCloud::uniform(vec![0.0, 1.0], 1).unwrap(), 1.0, 2).unwrap();
    assert_eq!(heat.bind_entropic(1.0, 1).err(), Some(Error::FixedEpsilon { fixed: 4.0, requested: 1.0 }));
}
