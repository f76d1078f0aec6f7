//! Starts from clusters: the same solution, sooner, for every penalty and backend.

use ot_conformance::{DeferredBuilder, ReferenceBackend, Seeded};
use ot_core::{
    Backend, Balanced, CostMatrix, Device, Epsilon, Error, Euclidean, GeometryBuilder, GroundCost, HalfSqEuclidean,
    Histogram, Kl, Measure, PointCloud, Potentials, Problem, Side, SqEuclidean, TotalVariation,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Sinkhorn, Start};

use crate::support::{Penalty, cpu, penalty, relaxed};

/// Uneven points in the unit cube.
fn cloud(seed: u64, len: usize, dimension: usize, power: i32) -> PointCloud<'static, f64> {
    let mut random = Seeded::new(seed);
    let points: Vec<f64> = (0..len * dimension).map(|_| random.uniform(0.0, 1.0).powi(power)).collect();
    PointCloud::new(points, dimension, random.weights::<f64>(len, true)).unwrap().normalized()
}

fn problem<D: Device<Elem = f64>>(
    builder: &dyn GeometryBuilder<Device = D>,
    clouds: [&PointCloud<'_, f64>; 2],
    cost: &dyn GroundCost,
    epsilon: f64,
    penalty: &Penalty,
) -> Problem<D> {
    relaxed(builder, clouds, cost, Epsilon::Absolute(epsilon), [penalty.clone(), penalty.clone()])
}

#[test]
fn the_solution_is_the_same_and_comes_sooner() {
    let backend = cpu(2);
    let penalties = [penalty(Balanced), penalty(Kl::new(0.5).unwrap()), penalty(TotalVariation::new(1.0).unwrap())];
    let cases: [(usize, &dyn GroundCost, f64); 3] =
        [(1, &HalfSqEuclidean, 1e-4), (2, &SqEuclidean, 2e-3), (3, &Euclidean, 2e-2)];
    for (dimension, cost, epsilon) in cases {
        let (a, b) = (cloud(1, 2500, dimension, 1), cloud(2, 2100, dimension, 2));
        for penalty in &penalties {
            let problem = problem(&backend, [&a, &b], cost, epsilon, penalty);
            let sinkhorn = Sinkhorn::new().tolerance(1e-3);
            let plain = sinkhorn.run(&problem).start(Start::Zero).solve().unwrap();
            let bare = sinkhorn.solve(&problem).unwrap();
            let start = Start::multiscale(&backend, &problem, &a, &b, cost).unwrap();
            let warm = sinkhorn.run(&problem).start(start).solve().unwrap();
            // A problem whose geometry keeps its points starts there by itself.
            assert_eq!(bare.iterations(), warm.iterations());
            assert!((bare.certificate().dual - warm.certificate().dual).abs() < 1e-9);
            let (first, last) = (warm.certificate(), plain.certificate());
            let what = format!("{cost:?} {penalty:?}: {first:?} {last:?}");
            assert!(warm.status().is_converged() && plain.status().is_converged(), "{what}");
            assert!((first.dual - last.dual).abs() <= first.gap + last.gap, "{what}");
            let iterations = (warm.iterations(), plain.iterations());
            assert!(iterations.0 < iterations.1, "{what}: {iterations:?}");
        }
    }
}

#[test]
fn columns_of_a_batch_start_alike() {
    let backend = cpu(1);
    let mut random = Seeded::new(3);
    let points: Vec<f64> = (0..2 * 1500).map(|_| random.uniform(0.0, 1.0)).collect();
    let weights = [random.weights::<f64>(1500, false), random.weights::<f64>(1500, false)];
    let a = PointCloud::batch(&points, 2, weights.concat(), 2).unwrap().normalized();
    let b = cloud(4, 1300, 2, 2);
    let balanced = penalty(Balanced);
    let start = |a: &PointCloud<'_, f64>| {
        let problem = problem(&backend, [a, &b], &SqEuclidean, 1e-2, &balanced);
        match Start::multiscale(&backend, &problem, a, &b, &SqEuclidean).unwrap() {
            Start::Clusters { potentials: Potentials { source, target, epsilon }, .. } => {
                let potentials = backend.download(&[&source, &target]).unwrap();
                (potentials[0].clone(), potentials[1].clone(), epsilon)
            }
            start => panic!("{start:?}"),
        }
    };
    let (f, g, epsilon) = start(&a);
    assert_eq!((f.len(), g.len(), epsilon), (3000, 2600, 1e-2));
    for (column, weights) in weights.iter().enumerate() {
        let alone = PointCloud::new(&points, 2, weights).unwrap().normalized();
        let (f_alone, g_alone, _) = start(&alone);
        // Clusters of a batch have centres of their own: potentials agree to what that moves, up to a constant.
        let (f, g) = (&f[column * 1500..][..1500], &g[column * 1300..][..1300]);
        let shift = f[0] - f_alone[0];
        assert!(f.iter().zip(&f_alone).all(|(f, alone)| (f - alone - shift).abs() < 1e-2));
        assert!(g.iter().zip(&g_alone).all(|(g, alone)| (g - alone + shift).abs() < 1e-2));
    }
}

#[test]
fn any_backend_and_any_number_of_threads_start_alike() {
    let (a, b) = (cloud(5, 1100, 2, 1), cloud(6, 1200, 2, 2));
    let balanced = penalty(Balanced);
    fn start<D: Device<Elem = f64>>(
        builder: &dyn GeometryBuilder<Device = D>,
        clouds: [&PointCloud<'_, f64>; 2],
        penalty: &Penalty,
    ) -> Vec<Vec<f64>> {
        let problem = problem(builder, clouds, &SqEuclidean, 1e-2, penalty);
        let start = Start::multiscale(builder, &problem, clouds[0], clouds[1], &SqEuclidean).unwrap();
        match start {
            Start::Clusters { potentials, .. } => {
                problem.backend().download(&[&potentials.source, &potentials.target]).unwrap()
            }
            start => panic!("{start:?}"),
        }
    }
    let expected = start(&ReferenceBackend::default(), [&a, &b], &balanced);
    assert_eq!(start(&DeferredBuilder::new(ReferenceBackend::<f64>::default()), [&a, &b], &balanced), expected);
    let near = |found: &[Vec<f64>]| {
        found.iter().flatten().zip(expected.iter().flatten()).all(|(found, expected)| (found - expected).abs() < 1e-9)
    };
    let one = start(&CpuBackend::new(1).unwrap(), [&a, &b], &balanced);
    assert!(near(&one));
    assert_eq!(start(&CpuBackend::new(3).unwrap(), [&a, &b], &balanced), one);
    assert!(near(&start(&CpuBackend::new(2).unwrap().with_dense_limit(0), [&a, &b], &balanced)));
}

#[test]
fn what_has_no_clusters_starts_from_zero() {
    let backend = cpu(1);
    let balanced = penalty(Balanced);
    let (a, b) = (cloud(7, 300, 2, 1), cloud(8, 300, 2, 1));
    let small = problem(&backend, [&a, &b], &SqEuclidean, 1e-2, &balanced);
    assert!(matches!(Start::multiscale(&backend, &small, &a, &b, &SqEuclidean), Ok(Start::Zero)));
    let other = cloud(9, 299, 2, 1);
    let expected = Error::Length { what: "points of a multiscale start", expected: 300, found: 299 };
    assert_eq!(Start::multiscale(&backend, &small, &a, &other, &SqEuclidean).err(), Some(expected));

    let histogram = Histogram::<f64>::uniform(2000).unwrap();
    let cost = CostMatrix::new(vec![0.0; 4_000_000], 2000, 2000).unwrap();
    let geometry = backend.geometry(histogram.support(), histogram.support(), &cost).unwrap();
    let indices = Problem::new(geometry, &histogram, &histogram, Epsilon::Absolute(1.0)).unwrap();
    assert!(matches!(Start::multiscale(&backend, &indices, &histogram, &histogram, &cost), Ok(Start::Zero)));

    let a = cloud(10, 4000, 1, 1);
    let empty = PointCloud::without_mass(a.points().coordinates().to_vec(), 1).unwrap();
    let kl = penalty(Kl::new(1.0).unwrap());
    let unbalanced = problem(&backend, [&a, &empty], &SqEuclidean, 1e-2, &kl);
    assert!(matches!(Start::multiscale(&backend, &unbalanced, &a, &empty, &SqEuclidean), Ok(Start::Zero)));
}

#[test]
fn coincident_points_are_no_obstacle() {
    let backend = cpu(1);
    let (a, b) = (PointCloud::uniform(vec![1.0; 6000], 2).unwrap(), cloud(11, 3000, 2, 1));
    let balanced = penalty(Balanced);
    let problem = problem(&backend, [&a, &b], &SqEuclidean, 1e-3, &balanced);
    let start = Start::multiscale(&backend, &problem, &a, &b, &SqEuclidean).unwrap();
    let solution = Sinkhorn::new().run(&problem).start(start).solve().unwrap();
    assert!(solution.status().is_converged(), "{}", solution.status());
    // All mass of the target comes from one place.
    let potential = solution.potential(Side::Target).unwrap();
    assert!(potential.iter().all(|g| g.is_finite()));
}
