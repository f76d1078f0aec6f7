//! Kernels of thin factors: the properties of every kernel, and how far random features and Nystrom factors are from the Gaussian one.

use ot_conformance::{GeometryCase, Seeded, conformance_geometry};
use ot_core::{
    DeviceWeights, Error, Geometry, GeometryBuilder, Host, ImpliedCost, Measure, PlanSide, PlanView, PointCloud, Side,
    SqEuclidean,
};
use ot_cpu::{CpuBackend, CpuScalar, FeatureGeometry};

const EPSILON: f64 = 0.7;

fn cloud<T: CpuScalar>(seed: u64, len: usize, dimension: usize) -> PointCloud<'static, T> {
    PointCloud::uniform(Seeded::new(seed).elements::<T>(len * dimension, -0.5, 0.5), dimension).unwrap()
}

fn gaussian<T: CpuScalar>(threads: usize, features: usize, seed: u64) -> FeatureGeometry<T> {
    let (x, y, backend) = (cloud::<T>(1, 6, 2), cloud::<T>(2, 9, 2), CpuBackend::new(threads).unwrap());
    FeatureGeometry::gaussian(&backend, x.points(), y.points(), EPSILON, features, seed).unwrap()
}

fn squares<T: CpuScalar>(x: &PointCloud<'_, T>, y: &PointCloud<'_, T>) -> Vec<f64> {
    let square = |x: &[T], y: &[T]| x.iter().zip(y).map(|(x, y)| (x.to_f64() - y.to_f64()).powi(2)).sum();
    x.points().iter().flat_map(|x| y.points().iter().map(|y| square(x, y)).collect::<Vec<_>>()).collect()
}

/// -epsilon log K from given logarithms.
fn given<T: CpuScalar>() -> Result<GeometryCase<Host<T>>, Error> {
    let (rank, [n, m]) = (5, [7, 4]);
    let [f, g] = [(3, n), (4, m)].map(|(seed, len)| Seeded::new(seed).elements::<f64>(len * rank, -6.0, 1.0));
    let geometry = FeatureGeometry::<T>::from_logarithms(&CpuBackend::new(2)?, EPSILON, f.clone(), g.clone(), rank)?;
    let entry = |pair: usize| -> f64 {
        let (f, g) = (&f[pair / m * rank..][..rank], &g[pair % m * rank..][..rank]);
        f.iter().zip(g).map(|(f, g)| (f + g).exp()).sum()
    };
    GeometryCase::new("given", geometry.shared(), (0..n * m).map(|pair| -EPSILON * entry(pair).ln()).collect())
}

/// Squared distances, which so many columns give up to rounding.
fn nystrom<T: CpuScalar>() -> Result<GeometryCase<Host<T>>, Error> {
    let (x, y) = (cloud::<T>(5, 5, 2), cloud::<T>(6, 8, 2));
    let geometry = FeatureGeometry::nystrom(&CpuBackend::new(2)?, x.points(), y.points(), EPSILON, 13)?;
    assert!(geometry.cost_error().is_some_and(|error| error < 1e-8));
    Ok(GeometryCase::new("nystrom", geometry.shared(), squares(&x, &y))?.with_slack(64.0))
}

fn cases<T: CpuScalar>() -> Result<Vec<GeometryCase<Host<T>>>, Error> {
    Ok(vec![given()?, nystrom()?])
}

conformance_geometry!(features_f64, cases::<f64>());
conformance_geometry!(features_f32, cases::<f32>());

#[test]
fn errors_fall_like_the_root_of_the_features() {
    let errors = |features: usize| -> f64 {
        let errors = (0..8).map(|seed| gaussian::<f64>(1, features, seed).measured_cost_error().unwrap().unwrap());
        errors.sum::<f64>() / 8.0
    };
    let (few, many) = (errors(200), errors(3200));
    assert!((2.5..6.5).contains(&(few / many)), "{few} {many}");
    // The largest over 54 pairs, in units of the deviation that every pair is within.
    let deviation = gaussian::<f64>(1, 3200, 0).relative_deviation().unwrap();
    assert!(many < 4.0 * EPSILON * deviation, "{many} {deviation}");
}

#[test]
fn entries_are_unbiased_with_the_variance_of_the_formula() {
    let (x, y) = (vec![0.3, -0.2], vec![-0.4, 0.5]);
    let backend = CpuBackend::<f64>::new(1).unwrap();
    // A second source, so that the midpoints are not all at the centre.
    let x = PointCloud::uniform([x, vec![-0.3, 0.2]].concat(), 2).unwrap();
    let y = PointCloud::uniform(y, 2).unwrap();
    let truth = (-squares(&x, &y)[0] / EPSILON).exp();
    let (draws, features) = (400, 25);
    let (mut mean, mut square, mut bound) = (0.0, 0.0, 0.0);
    for seed in 0..draws {
        let geometry = FeatureGeometry::gaussian(&backend, x.points(), y.points(), EPSILON, features, seed).unwrap();
        // With one target of mass one the softmin is the implied cost.
        let relative = (-softmin(&geometry, &y)[0] / EPSILON).exp() / truth - 1.0;
        (mean, square) = (mean + relative / draws as f64, square + relative * relative / draws as f64);
        bound = geometry.relative_deviation().unwrap();
    }
    assert!(mean.abs() < 5.0 * bound / (draws as f64).sqrt(), "{mean} {bound}");
    assert!(square.sqrt() < 1.1 * bound && square.sqrt() > 0.2 * bound, "{} {bound}", square.sqrt());
}

#[test]
fn bits_do_not_depend_on_the_threads() {
    let (x, y) = (cloud::<f64>(1, 3000, 2), cloud::<f64>(2, 2500, 2));
    let bits = |threads: usize| {
        let backend = CpuBackend::<f64>::new(threads).unwrap();
        let geometry = FeatureGeometry::gaussian(&backend, x.points(), y.points(), EPSILON, 40, 3).unwrap();
        softmin(&geometry, &y)
    };
    let one = bits(1);
    assert!([2, 3, 7].iter().all(|&threads| bits(threads) == one));
    assert!(one.iter().all(|s| s.is_finite()));
}

/// The softmin of the source at potentials of zero.
fn softmin(geometry: &FeatureGeometry<f64>, y: &PointCloud<'_, f64>) -> Vec<f64> {
    let (backend, mut kernel) = (geometry.backend(), geometry.bind_entropic(EPSILON, 1).unwrap());
    let n = geometry.len(Side::Source);
    let ones = vec![1.0; n];
    let a = DeviceWeights::new(&*backend, ot_core::WeightsView::new(&ones, 1).unwrap()).unwrap();
    let b = DeviceWeights::new(&*backend, y.weights_view()).unwrap();
    let (f, g) = (backend.filled(0.0, n, 1).unwrap(), backend.filled(0.0, b.len(), 1).unwrap());
    let plan = PlanView { source: PlanSide::new(&f, &a), target: PlanSide::new(&g, &b) };
    let mut out = backend.filled(0.0, n, 1).unwrap();
    kernel.conditional_potential(&*backend, Side::Source, plan, &mut out).unwrap();
    backend.download(&[&out]).unwrap().swap_remove(0)
}

#[test]
fn clouds_far_apart_are_as_accurate_as_near_ones() {
    let (x, backend) = (cloud::<f64>(1, 6, 2), CpuBackend::<f64>::new(1).unwrap());
    let y = cloud::<f64>(2, 9, 2);
    let far = PointCloud::uniform(y.points().coordinates().iter().map(|y| y + 50.0).collect::<Vec<_>>(), 2).unwrap();
    let error = |y: &PointCloud<'_, f64>| {
        let geometry = FeatureGeometry::gaussian(&backend, x.points(), y.points(), EPSILON, 500, 1).unwrap();
        geometry.measured_cost_error().unwrap().unwrap()
    };
    let (near, far) = (error(&y), error(&far));
    assert!((near - far).abs() < 1e-9, "{near} {far}");
}

#[test]
fn bounds_of_nystrom_hold() {
    let (x, y, backend) = (cloud::<f64>(1, 60, 2), cloud::<f64>(2, 80, 2), CpuBackend::<f64>::new(2).unwrap());
    let mut before = f64::INFINITY;
    for columns in [20, 40, 80] {
        let geometry = FeatureGeometry::nystrom(&backend, x.points(), y.points(), EPSILON, columns).unwrap();
        let (bound, measured) = (geometry.cost_error().unwrap(), geometry.measured_cost_error().unwrap().unwrap());
        assert!(measured <= bound && bound <= before, "{columns}: {measured} {bound}");
        before = bound;
    }
    assert!(before < 1e-8, "{before}");
    let refused = |epsilon: f64, columns: usize| {
        FeatureGeometry::nystrom(&backend, x.points(), y.points(), epsilon, columns).err()
    };
    let name = |error: Option<Error>| match error {
        Some(Error::Parameter { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(refused(0.01, 80)), "the smallest entry of the kernel");
    assert_eq!(name(refused(EPSILON, 2)), "the largest error of an entry over the smallest entry");
}

#[test]
fn pairs_within_a_cloud_have_the_same_features() {
    let (x, y, backend) = (cloud::<f64>(1, 6, 2), cloud::<f64>(2, 9, 2), CpuBackend::<f64>::new(1).unwrap());
    let features = FeatureGeometry::gaussian(&backend, x.points(), y.points(), EPSILON, 50, 1).unwrap();
    let own = features.geometry(y.support(), y.support(), &ImpliedCost).unwrap();
    assert_eq!(Side::BOTH.map(|side| own.len(side)), [9, 9]);
    let other = cloud::<f64>(3, 9, 2);
    let refused = |support, cost: &dyn ot_core::GroundCost| features.geometry(y.support(), support, cost).err();
    assert!(matches!(refused(other.support(), &ImpliedCost), Some(Error::UnsupportedSupport { .. })));
    assert!(matches!(refused(x.support(), &SqEuclidean), Some(Error::MissingCapability(_))));
}

#[test]
fn what_is_no_kernel_is_refused() {
    let (x, backend) = (cloud::<f64>(1, 6, 2), CpuBackend::<f64>::new(1).unwrap());
    let line = PointCloud::uniform(vec![0.0, 1.0], 1).unwrap();
    let gaussian = |y: &PointCloud<'_, f64>, epsilon: f64, features: usize| {
        FeatureGeometry::gaussian(&backend, x.points(), y.points(), epsilon, features, 1).err()
    };
    assert!(matches!(gaussian(&line, 1.0, 5), Some(Error::DimensionMismatch { .. })));
    assert!(matches!(gaussian(&x, 1.0, 0), Some(Error::Parameter { name: "features", .. })));
    assert!(matches!(gaussian(&x, -1.0, 5), Some(Error::Epsilon(_))));
    assert!(matches!(gaussian(&x, f64::NAN, 5), Some(Error::Epsilon(_))));
    assert!(matches!(gaussian(&x, 1e-17, 5), Some(Error::Parameter { .. })));
    let given =
        |f: Vec<f64>, rank: usize| FeatureGeometry::<f64>::from_logarithms(&backend, 1.0, f, vec![0.0; 4], rank).err();
    assert!(matches!(given(vec![0.0; 5], 2), Some(Error::Length { expected: 6, found: 5, .. })));
    assert!(matches!(given(vec![0.0; 4], 0), Some(Error::Parameter { name: "rank", .. })));
    assert!(matches!(given(vec![0.0, f64::NAN], 2), Some(Error::Parameter { .. })));
    assert!(matches!(given(Vec::new(), 2), Some(Error::EmptyMeasure)));
    let fixed = self::gaussian::<f64>(1, 5, 1).bind_entropic(1.0, 1).err();
    assert_eq!(fixed, Some(Error::FixedEpsilon { fixed: EPSILON, requested: 1.0 }));
}

/// log K(x, y) of one pair, by the softmin of one target of mass one.
fn log_entry(geometry: &FeatureGeometry<f64>, y: &PointCloud<'_, f64>, epsilon: f64) -> f64 {
    let (backend, mut kernel) = (geometry.backend(), geometry.bind_entropic(epsilon, 1).unwrap());
    let weights = DeviceWeights::new(&*backend, y.weights_view()).unwrap();
    let zero = backend.filled(0.0, 1, 1).unwrap();
    let side = PlanSide::new(&zero, &weights);
    let mut out = backend.filled(0.0, 1, 1).unwrap();
    let plan = PlanView { source: side, target: side };
    kernel.conditional_potential(&*backend, Side::Source, plan, &mut out).unwrap();
    -backend.download(&[&out]).unwrap()[0][0] / epsilon
}

/// The features of one point beside another are the same wherever both are, up to the rounding of the points themselves.
#[test]
fn features_far_from_the_origin_are_those_near_it() {
    let (backend, epsilon) = (CpuBackend::<f64>::new(1).unwrap(), 1e-12);
    for place in [0.0, 1.0, 1e6, -3e9] {
        // At one point the kernel is one, and the variance none.
        let points = PointCloud::uniform(vec![place, 0.3 * place], 2).unwrap();
        let one = FeatureGeometry::gaussian(&backend, points.points(), points.points(), epsilon, 7, 3).unwrap();
        assert_eq!(one.relative_deviation(), Some(0.0));
        let log = log_entry(&one, &points, epsilon);
        assert!(log.abs() < 1e-13, "{place}: {log}");
    }
}

/// Logarithms of features that nearly cancel in an entry leave it no digits, and the certificate says so.
#[test]
fn rounding_of_large_logarithms_is_counted() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let rounding = |size: f64| {
        let features =
            FeatureGeometry::<f64>::from_logarithms(&backend, 1.0, vec![size; 2], vec![-size; 2], 1).unwrap();
        features.bind_entropic(1.0, 1).unwrap().left_out()
    };
    assert!(rounding(1.0) < 1e-15);
    assert!(rounding(1e9) > 1e-7, "{}", rounding(1e9));
}

#[test]
fn costs_beyond_the_element_type_are_refused() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let given = |epsilon: f64, log: f64| {
        FeatureGeometry::<f32>::from_logarithms(&backend, epsilon, vec![log; 2], vec![log; 3], 1).err()
    };
    assert_eq!(given(1.0, 1e3), None);
    assert!(matches!(given(1e-60, 1.0), Some(Error::Epsilon(_))));
    assert!(matches!(given(1e30, 1e12), Some(Error::CostOverflow { .. })));
}

/// Two points of one cloud that are as good as one beside their distance to the other are no reason to refuse.
#[test]
fn a_cloud_may_be_a_point_beside_the_other() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let (x, y) = (vec![3.225_537e-16_f32], vec![6.450_784e-17_f32, 6.451_225e-17]);
    let (x, y) = (PointCloud::uniform(x, 1).unwrap(), PointCloud::uniform(y, 1).unwrap());
    let nystrom = FeatureGeometry::nystrom(&backend, x.points(), y.points(), 3.3e-31, 4).unwrap();
    let (bound, measured) = (nystrom.cost_error(), nystrom.measured_cost_error().unwrap());
    assert!(measured <= bound && bound.is_some_and(|bound| bound < 1e-12 * 3.3e-31), "{measured:?} {bound:?}");
}
