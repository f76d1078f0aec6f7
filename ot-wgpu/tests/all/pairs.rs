//! Numbers of 48 bits: the properties of the kit, and solves that single precision cannot do.

use ot_conformance::Seeded;
use ot_core::{
    Backend, CostMatrix, Epsilon, Error, Euclidean, GeometryBuilder, GroundCost, Histogram, Kl, Measure, PlanSide,
    PlanView, PointCloud, PointsView, Problem, Side, Solution, SqEuclidean, Support, WeightsView,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Annealing, Sinkhorn, SinkhornDivergence, Start};
use ot_wgpu::WgpuPairs;

use crate::support::backend_or_return;

ot_conformance::conformance_backend!(kit, backend_or_return!().in_pairs(), [Points, Indices]);

fn cloud(seed: u64, len: usize, mass: f64) -> PointCloud<'static, f64> {
    let mut seeded = Seeded::new(seed);
    let points = seeded.vector::<f64>(3 * len, 0.0, 1.0);
    let weights = seeded.weights::<f64>(len, false).into_iter().map(|weight| mass * weight).collect::<Vec<_>>();
    PointCloud::new(points, 3, weights).unwrap()
}

/// f and g less a constant, so that (a, f) is zero.
fn potentials<D: ot_core::Device<Elem = f64>>(solution: &Solution<D>) -> Vec<f64> {
    let [f, g] = Side::BOTH.map(|side| solution.potential(side).unwrap());
    let mean = f.iter().sum::<f64>() / f.len() as f64;
    f.iter().map(|f| f - mean).chain(g.iter().map(|g| g + mean)).collect()
}

/// To 1e-9, far below what single precision tells, with the host's numbers.
#[test]
fn solves_agree_with_the_host_in_double_precision() {
    let (device, host) = (backend_or_return!().in_pairs(), CpuBackend::<f64>::new(1).unwrap());
    let (a, b) = (cloud(1, 90, 1.0), cloud(2, 70, 1.0));
    for (cost, mean) in [(&SqEuclidean as &dyn GroundCost, 0.5), (&Euclidean, 0.66)] {
        for share in [1.0, 0.1, 0.01] {
            // Exponents of a hundredth of the cost are known to a few 1e-10.
            let tolerance = if share < 0.1 { 1e-8 } else { 1e-9 };
            let solver = Sinkhorn::default().tolerance(tolerance).max_iterations(20_000);
            let epsilon = Epsilon::Absolute(share * mean);
            let geometry = device.geometry(a.support(), b.support(), cost).unwrap();
            let found = solver.solve(&Problem::new(geometry, &a, &b, epsilon).unwrap()).unwrap();
            let geometry = host.geometry(a.support(), b.support(), cost).unwrap();
            let expected = solver.solve(&Problem::new(geometry, &a, &b, epsilon).unwrap()).unwrap();
            assert!(
                found.status().is_converged(),
                "{cost:?} {share} {:?} {} {:?}",
                found.status(),
                found.iterations(),
                found.certificate()
            );
            assert_eq!(found.status(), expected.status());
            let (ours, theirs) = (found.certificate(), expected.certificate());
            assert!(ours.marginal_error < tolerance, "{ours:?}");
            assert!((ours.primal - theirs.primal).abs() < 1e-8 * theirs.primal.abs().max(mean), "{ours:?} {theirs:?}");
            for (found, expected) in potentials(&found).iter().zip(potentials(&expected)) {
                assert!((found - expected).abs() < 1e-6 * share * mean, "{found} {expected}");
            }
        }
    }
}

/// A solve in single precision stops at its floor; started from there, pairs go on.
#[test]
fn a_solve_in_single_precision_is_refined() {
    let device = backend_or_return!();
    let (a, b) = (cloud(3, 200, 1.0), cloud(4, 150, 1.0));
    let narrow = |seed: u64, len: usize| {
        let mut seeded = Seeded::new(seed);
        let points: Vec<f32> = seeded.vector::<f64>(3 * len, 0.0, 1.0).iter().map(|&x| x as f32).collect();
        let weights: Vec<f32> = seeded.weights::<f64>(len, false).iter().map(|&w| w as f32).collect();
        PointCloud::new(points, 3, weights).unwrap().normalized()
    };
    let (a32, b32) = (narrow(3, 200), narrow(4, 150));
    let epsilon = Epsilon::Absolute(0.01 * 0.5);
    let geometry = device.geometry(a32.support(), b32.support(), &SqEuclidean).unwrap();
    let coarse = Sinkhorn::default().solve(&Problem::new(geometry, &a32, &b32, epsilon).unwrap()).unwrap();
    assert!(coarse.status().is_converged() && coarse.certificate().rounding > 1e-6, "{:?}", coarse.certificate());

    let pairs = device.in_pairs();
    let geometry = pairs.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, epsilon).unwrap();
    let [source, target] = Side::BOTH.map(|side| coarse.potential(side).unwrap().into_iter().map(f64::from).collect());
    let solver = Sinkhorn::default().tolerance(1e-6).annealing(Annealing::Off);
    let refined = solver.run(&problem).start(Start::Host { source, target }).solve().unwrap();
    let cold = solver.solve(&problem).unwrap();
    assert!(refined.status().is_converged() && refined.certificate().marginal_error < 1e-6);
    assert!(refined.iterations() < cold.iterations(), "{} {}", refined.iterations(), cold.iterations());
}

#[test]
fn penalties_and_divergences_agree_with_the_host() -> Result<(), Error> {
    let Some(device) = crate::support::backend() else { return Ok(()) };
    let (device, host) = (device.in_pairs(), CpuBackend::<f64>::new(1)?);
    let (a, b) = (cloud(5, 60, 1.0), cloud(6, 50, 1.3));
    let kl = Kl::new(0.2)?;
    let solver = Sinkhorn::default().tolerance(1e-9);
    let (epsilon, at) = (Epsilon::Absolute(0.02), |x: f64, y: f64| (x - y).abs() < 1e-8);
    let geometry = device.geometry(a.support(), b.support(), &SqEuclidean)?;
    let found = solver.solve(&Problem::unbalanced(geometry, &a, &b, epsilon, &kl, &kl)?)?;
    let geometry = host.geometry(a.support(), b.support(), &SqEuclidean)?;
    let expected = solver.solve(&Problem::unbalanced(geometry, &a, &b, epsilon, &kl, &kl)?)?;
    assert_eq!(found.status(), expected.status());
    assert!(at(found.certificate().dual, expected.certificate().dual));
    assert!(at(found.certificate().mass, expected.certificate().mass));

    let (a, b) = (a.normalized(), b.normalized());
    let of = SinkhornDivergence::new();
    let found = of.between(&device, &a, &b, &SqEuclidean, epsilon)?.value();
    assert!((found - of.between(&host, &a, &b, &SqEuclidean, epsilon)?.value()).abs() < 1e-6);
    Ok(())
}

/// Forbidden pairs, in a matrix: the same statuses and numbers.
#[test]
fn forbidden_pairs_agree_with_the_host() {
    let (device, host) = (backend_or_return!().in_pairs(), CpuBackend::<f64>::new(1).unwrap());
    let (n, m) = (40, 30);
    let mut seeded = Seeded::new(11);
    let cost = |i: usize, j: usize, c: f64| if (i + 2 * j) % 7 == 3 { f64::INFINITY } else { c };
    let costs: Vec<f64> = (0..n * m).map(|k| cost(k / m, k % m, seeded.uniform(0.0, 1.0))).collect();
    let matrix = CostMatrix::new(costs, n, m).unwrap();
    let histogram = |seed: u64, len: usize| Histogram::new(Seeded::new(seed).weights::<f64>(len, false)).unwrap();
    let (a, b) = (histogram(12, n).normalized(), histogram(13, m).normalized());
    let solver = Sinkhorn::default().tolerance(1e-9);
    let geometry = device.geometry(a.support(), b.support(), &matrix).unwrap();
    let found = solver.solve(&Problem::new(geometry, &a, &b, Epsilon::Absolute(0.05)).unwrap()).unwrap();
    let geometry = host.geometry(a.support(), b.support(), &matrix).unwrap();
    let expected = solver.solve(&Problem::new(geometry, &a, &b, Epsilon::Absolute(0.05)).unwrap()).unwrap();
    assert_eq!(found.status(), expected.status());
    assert!((found.certificate().dual - expected.certificate().dual).abs() < 1e-8);
}

/// More columns than one launch takes.
#[test]
fn batches_may_be_wide() {
    let builder = backend_or_return!().in_pairs();
    let device: &dyn Backend<WgpuPairs> = &builder;
    let (n, m, columns) = (3, 2, 600);
    let mut seeded = Seeded::new(41);
    let [x, y] = [n, m].map(|len| seeded.vector::<f64>(2 * len, 0.0, 1.0));
    let cloud = |points| Support::Points(PointsView::new(points, 2).unwrap());
    let geometry = builder.geometry(cloud(&x), cloud(&y), &SqEuclidean).unwrap();
    let mut kernel = geometry.bind_entropic(0.1, columns).unwrap();
    let potential: Vec<f64> = (0..m * columns).map(|k| (0.1 * k as f64).sin()).collect();
    let other = device.upload(&potential, columns).unwrap();
    let (zeros, ones) = (device.filled(0.0, m, 1).unwrap(), device.filled(1.0, m, 1).unwrap());
    let own = [0.0, 1.0].map(|value| device.filled(value, n, columns).unwrap());
    let values = device.filled(1.0, m, columns).unwrap();
    let mut out = device.alloc(n, columns).unwrap();
    let source = PlanSide { potential: &own[0], weights: &own[1], log_weights: &own[0] };
    let target = PlanSide { potential: &other, weights: &ones, log_weights: &zeros };
    kernel.apply(Side::Source, PlanView { source, target }, &values, &mut out).unwrap();
    let found = device.download(&[&out]).unwrap().concat();
    for column in 0..columns {
        for i in 0..n {
            let cost = |j: usize| (x[2 * i] - y[2 * j]).powi(2) + (x[2 * i + 1] - y[2 * j + 1]).powi(2);
            let expected: f64 = (0..m).map(|j| ((potential[column * m + j] - cost(j)) / 0.1).exp()).sum();
            assert!((found[column * n + i] - expected).abs() < 1e-9 * expected, "{column} {i}");
        }
    }
}

/// Clouds far from zero keep their differences.
#[test]
fn far_clouds_keep_their_bits() {
    let device = backend_or_return!().in_pairs();
    let mut seeded = Seeded::new(42);
    let x = seeded.vector::<f64>(20, 0.0, 1.0).into_iter().map(|x| x + 1e6).collect::<Vec<_>>();
    let cloud = Support::Points(PointsView::new(&x, 2).unwrap());
    let weights = vec![0.1; 10];
    let view = WeightsView::new(&weights, 1).unwrap();
    for cost in [&SqEuclidean as &dyn GroundCost, &Euclidean] {
        let found = device.geometry(cloud, cloud, cost).unwrap().cost_statistics(view, view).unwrap();
        let host = CpuBackend::<f64>::new(1).unwrap();
        let expected = host.geometry(cloud, cloud, cost).unwrap().cost_statistics(view, view).unwrap();
        assert!((found.mean - expected.mean).abs() < 1e-9 * expected.mean, "{cost:?}: {found:?} {expected:?}");
    }
}

/// An epsilon whose inverse single precision does not hold is refused.
#[test]
fn epsilons_out_of_range_are_refused() {
    let device = backend_or_return!().in_pairs();
    let cloud = PointCloud::uniform(vec![0.0, 1.0], 1).unwrap();
    let geometry = device.geometry(cloud.support(), cloud.support(), &SqEuclidean).unwrap();
    for epsilon in [1e-40, 1e35] {
        assert!(matches!(geometry.bind_entropic(epsilon, 1).err(), Some(Error::Epsilon(found)) if found == epsilon));
    }
}

/// Costs whose exponents pairs do not hold are refused with what was found.
#[test]
fn costs_out_of_range_are_refused() {
    let device = backend_or_return!().in_pairs();
    let line = |scale: f64| PointCloud::uniform(vec![0.0, scale, 2.0 * scale], 1).unwrap();
    for (scale, is_large) in [(1e25, true), (1e-25, false)] {
        let cloud = line(scale);
        let refused = device.geometry(cloud.support(), cloud.support(), &SqEuclidean).err();
        match refused {
            Some(Error::CostOverflow { bound, .. }) if is_large => assert!(bound > 1e49),
            Some(Error::CostUnderflow { bound, .. }) if !is_large => assert!(bound > 0.0 && bound < 1e-48),
            other => panic!("{other:?}"),
        }
    }
}
