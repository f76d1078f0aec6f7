//! Whole solves: the same statuses and numbers as the backend of the host, and no hidden read.

use std::sync::Arc;

use ot_conformance::{Counting, Seeded};
use ot_core::{
    Backend, CostMatrix, Device, Epsilon, Error, Euclidean, Free, GeometryBuilder, GroundCost, Histogram, Kl,
    MarginalPenalty, Measure, PointCloud, Problem, Range, Side, Solution, SqEuclidean, Support, TotalVariation,
};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, Linearised, Output, value_and_gradient};
use ot_solvers::{Annealing, MaximumMeanDiscrepancy, Sinkhorn, SinkhornDivergence};

use crate::support::{backend_or_return, work_of_sweeps};

/// A cloud in the unit cube, of this mass.
fn cloud(seed: u64, len: usize, dimension: usize, mass: f64) -> PointCloud<'static, f32> {
    let mut seeded = Seeded::new(seed);
    let points: Vec<f32> = seeded.vector::<f32>(len * dimension, 0.0, 1.0).iter().map(|&x| x as f32).collect();
    let weights: Vec<f32> = seeded.weights::<f32>(len, false).iter().map(|&w| (mass * w) as f32).collect();
    PointCloud::new(points, dimension, weights).unwrap()
}

/// The problem of two clouds on any backend.
fn problem<G: GeometryBuilder>(
    builder: &G,
    [a, b]: [&PointCloud<'_, f32>; 2],
    cost: &dyn GroundCost,
    epsilon: f64,
) -> Problem<G::Device>
where
    G::Device: Device<Elem = f32>,
{
    let geometry = builder.geometry(a.support(), b.support(), cost).unwrap();
    Problem::new(geometry, a, b, Epsilon::Absolute(epsilon)).unwrap()
}

/// Statuses, values and potentials of a device are those of the host, within what both promise.
fn agree<D: Device<Elem = f32>, E: Device<Elem = f32>>(name: &str, found: &Solution<D>, expected: &Solution<E>) {
    assert_eq!(found.status(), expected.status(), "{name}");
    let (ours, theirs) = (found.certificate(), expected.certificate());
    let allowed =
        1e-4 * theirs.dual.abs().max(theirs.epsilon) + if theirs.gap.is_finite() { ours.gap + theirs.gap } else { 0.0 };
    // A rounding that forbidden pairs stop has no primal.
    let is_none = ours.primal == f64::INFINITY && theirs.primal == f64::INFINITY;
    assert!(is_none || (ours.primal - theirs.primal).abs() <= allowed, "{name}: {ours:?} {theirs:?}");
    assert!((ours.dual - theirs.dual).abs() <= allowed, "{name}: {ours:?} {theirs:?}");
    assert!((ours.mass - theirs.mass).abs() <= 1e-3 * theirs.mass, "{name}: {ours:?} {theirs:?}");
}

#[test]
fn balanced_solves_agree_with_the_host() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let (a, b) = (cloud(1, 300, 3, 1.0), cloud(2, 257, 3, 1.0));
    for (cost, mean) in [(&SqEuclidean as &dyn GroundCost, 0.5), (&Euclidean, 0.66)] {
        for share in [1e2, 1.0, 0.1, 0.02] {
            let solver = Sinkhorn::default();
            let found = solver.solve(&problem(&device, [&a, &b], cost, share * mean)).unwrap();
            let expected = solver.solve(&problem(&host, [&a, &b], cost, share * mean)).unwrap();
            agree(&format!("{cost:?} at {share}"), &found, &expected);
            assert!(found.status().is_converged());
        }
    }
}

#[test]
fn a_small_epsilon_ends_with_its_floor() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let (a, b) = (cloud(3, 120, 2, 1.0), cloud(4, 100, 2, 1.0));
    let solver = Sinkhorn::default().max_iterations(200);
    let found = solver.solve(&problem(&device, [&a, &b], &SqEuclidean, 1e-4 * 0.33)).unwrap();
    let expected = solver.solve(&problem(&host, [&a, &b], &SqEuclidean, 1e-4 * 0.33)).unwrap();
    let (ours, theirs) = (found.certificate(), expected.certificate());
    assert!(ours.primal.is_finite() && ours.gap.is_finite() && ours.rounding > theirs.rounding);
    assert!((ours.primal - theirs.primal).abs() <= ours.gap + theirs.gap + 1e-4);
}

#[test]
fn penalties_agree_with_the_host() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let (a, b) = (cloud(5, 150, 2, 1.0), cloud(6, 90, 2, 1.3));
    fn pair<D: Device<Elem = f32>>(
        builder: &impl GeometryBuilder<Device = D>,
        [a, b]: [&PointCloud<'_, f32>; 2],
        penalty: &impl MarginalPenalty,
    ) -> Result<Solution<D>, Error> {
        let geometry = builder.geometry(a.support(), b.support(), &SqEuclidean)?;
        Sinkhorn::default().solve(&Problem::unbalanced(geometry, a, b, Epsilon::Absolute(0.03), penalty, penalty)?)
    }
    macro_rules! agree_under {
        ($($penalty:expr),*) => {$(
            let penalty = $penalty;
            let found = pair(&device, [&a, &b], &penalty).unwrap();
            agree(stringify!($penalty), &found, &pair(&host, [&a, &b], &penalty).unwrap());
        )*};
    }
    agree_under!(Kl::new(0.2).unwrap(), TotalVariation::new(0.3).unwrap(), Range::new(0.5, 1.5).unwrap());
}

#[test]
fn other_strengths_and_sizes_compile_nothing() {
    let Some(device) = crate::support::own_backend() else { return };
    let solve = |len: usize, epsilon: f64, rho: f64| {
        let (a, b) = (cloud(7, len, 2, 1.0), cloud(8, len + 3, 2, 1.1));
        let geometry = device.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let penalty = Kl::new(rho).unwrap();
        let problem = Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(epsilon), &penalty, &penalty).unwrap();
        Sinkhorn::default().solve(&problem).unwrap();
        device.work().kernels
    };
    let once = solve(60, 0.1, 0.5);
    assert_eq!((solve(60, 0.07, 0.3), solve(97, 0.2, 1.0)), (once, once));
}

#[test]
fn divergences_agree_with_the_host() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let (a, b) = (cloud(9, 80, 2, 1.0), cloud(10, 70, 2, 1.0));
    let of = SinkhornDivergence::new();
    let found = of.between(&device, &a, &b, &SqEuclidean, Epsilon::Absolute(0.05)).unwrap();
    let expected = of.between(&host, &a, &b, &SqEuclidean, Epsilon::Absolute(0.05)).unwrap();
    assert_eq!(found.status(), expected.status());
    assert!((found.value() - expected.value()).abs() < 2e-4, "{} {}", found.value(), expected.value());
}

#[test]
fn discrepancies_agree_with_the_host() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let (a, b) = (cloud(16, 90, 2, 1.0), cloud(17, 60, 2, 1.0));
    for of in [MaximumMeanDiscrepancy::energy(1.0).unwrap(), MaximumMeanDiscrepancy::gaussian(0.3).unwrap()] {
        let found = of.between(&device, &a, &b).unwrap().squared();
        let expected = of.between(&host, &a, &b).unwrap().squared();
        assert!((found - expected).abs() < 1e-5, "{of:?}: {found} {expected}");
    }
}

/// Envelope and implicit derivatives, conjugate gradients included, run on the device.
#[test]
fn derivatives_agree_with_the_host() {
    fn gradients<D: Device<Elem = f32>>(
        builder: &impl GeometryBuilder<Device = D>,
        clouds: [&PointCloud<'_, f32>; 2],
    ) -> [Vec<f64>; 2] {
        let solution = Sinkhorn::default().tolerance(2e-5).solve(&problem(builder, clouds, &SqEuclidean, 0.1)).unwrap();
        let (_, mut envelope) = value_and_gradient(&solution).unwrap();
        let mut linearised = Linearised::new(&solution).unwrap();
        let mut implicit = linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap();
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect();
        [wide(envelope.points(Side::Source).unwrap()), wide(implicit.points(Side::Source).unwrap())]
    }
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let (a, b) = (cloud(18, 40, 2, 1.0), cloud(19, 35, 2, 1.0));
    let (found, expected) = (gradients(&device, [&a, &b]), gradients(&host, [&a, &b]));
    for (found, expected) in found.iter().zip(&expected) {
        let size = expected.iter().fold(0.0_f64, |size, value| size.max(value.abs()));
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-3 * size, "{found} {expected}");
        }
    }
}

#[test]
fn forbidden_pairs_and_windows_agree_with_the_host() {
    let (device, host) = (backend_or_return!(), CpuBackend::<f32>::new(1).unwrap());
    let (n, m) = (70, 50);
    let mut seeded = Seeded::new(11);
    let cost = |i: usize, j: usize, c: f64| if (i + 2 * j) % 7 == 3 { f64::INFINITY } else { c };
    let costs: Vec<f64> = (0..n * m).map(|k| cost(k / m, k % m, seeded.uniform(0.0, 1.0))).collect();
    let matrix = CostMatrix::new(costs, n, m).unwrap();
    let histogram = |seed: u64, len: usize| {
        let weights = Seeded::new(seed).weights::<f32>(len, false);
        Histogram::new(weights.iter().map(|&w| w as f32).collect::<Vec<_>>()).unwrap().normalized()
    };
    let (a, b) = (histogram(12, n), histogram(13, m));
    fn solved<G: GeometryBuilder>(
        builder: &G,
        matrix: &dyn GroundCost,
        a: &Histogram<'_, f32>,
        b: &Histogram<'_, f32>,
    ) -> Solution<G::Device>
    where
        G::Device: Device<Elem = f32>,
    {
        let geometry = builder.geometry(a.support(), b.support(), matrix).unwrap();
        Sinkhorn::default().solve(&Problem::new(geometry, a, b, Epsilon::Absolute(0.05)).unwrap()).unwrap()
    }
    let expected = solved(&host, &matrix, &a, &b);
    let whole = solved(&device, &matrix, &a, &b);
    agree("one window", &whole, &expected);
    // Six windows of 12 rows give the same bits.
    let cut = solved(&device.clone().with_window_limit(12 * 4 * m as u64), &matrix, &a, &b);
    assert_eq!(cut.certificate(), whole.certificate());
    let refused =
        device.with_window_limit(11 * 4 * m as u64).geometry(Support::Indices(n), Support::Indices(m), &matrix);
    assert!(matches!(refused.err(), Some(Error::OutOfMemory { .. })));
}

/// Four launches for a full iteration, penalties included, and one submission for each check of ten iterations.
#[test]
fn iterations_are_few_launches() {
    let Some(device) = crate::support::own_backend() else { return };
    let (a, b) = (cloud(20, 300, 3, 1.0), cloud(21, 200, 3, 1.2));
    let geometry = device.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let kl = Kl::new(0.3).unwrap();
    let problem = Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(0.02), &kl, &kl).unwrap();
    assert_eq!(work_of_sweeps(&device, &problem, 10), (40, 1));
}

/// One read for each check, and two for the certificate, whatever the penalty.
#[test]
fn a_solve_stays_on_the_device() {
    let device = backend_or_return!();
    let (a, b) = (cloud(14, 200, 3, 1.0), cloud(15, 130, 3, 1.0));
    let plain = problem(&device, [&a, &b], &SqEuclidean, 0.01);
    let kl = Kl::new(0.3).unwrap();
    let penalised =
        Problem::unbalanced(Arc::clone(plain.geometry()), &a, &b, Epsilon::Absolute(0.01), &kl, &Free).unwrap();
    for problem in [plain, penalised] {
        let reads = |iterations: usize| {
            let counting = Counting::new(Arc::new(device.clone()) as Arc<dyn Backend<ot_wgpu::Wgpu>>);
            let audited = problem.clone().with_backend(Arc::new(counting.clone()));
            let before = counting.counts();
            let solver = Sinkhorn::default().annealing(Annealing::Off).check_interval(10).max_iterations(iterations);
            let solution = solver.tolerance(1e-30).solve(&audited).unwrap();
            (counting.counts().since(before), solution.iterations())
        };
        let ((few, short), (many, long)) = (reads(20), reads(120));
        assert!(long >= short + 100, "{short} and {long} iterations");
        assert!(many.reads - few.reads <= 11, "{few:?} {many:?}");
        assert_eq!(many.allocations, few.allocations);
    }
}
