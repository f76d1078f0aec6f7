//! Properties and closed forms of Sinkhorn's iteration, on every kernel that a point cloud can have.

use ot_core::{
    CostForm, CostMatrix, Epsilon, Geometry, GeometryBuilder, GroundCost, HalfSqEuclidean, Histogram, Host, Kl,
    Measure, PointCloud, Problem, Scalar, Side, Solution, SqEuclidean, Status,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Annealing, Relaxation, Sinkhorn, Start, Update, transport};

use crate::support::{Cpu, assert_close, backends, cloud, cpu};

fn solve(backend: &Cpu, a: &PointCloud<'_, f64>, b: &PointCloud<'_, f64>, epsilon: f64) -> Solution<Host<f64>> {
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, a, b, Epsilon::Absolute(epsilon)).unwrap();
    Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap()
}

#[test]
fn two_atoms_have_a_closed_form() {
    // Symmetric 2 x 2: P_11 = 1 / (2 (1 + q)) with q = exp(-c / epsilon).
    let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2).unwrap();
    let half = Histogram::new(vec![0.5, 0.5]).unwrap();
    for epsilon in [0.03, 0.3, 3.0, 30.0] {
        let solution = transport(&cpu(1), &half, &half, &cost, Epsilon::Absolute(epsilon)).unwrap();
        let q = (-1.0_f64 / epsilon).exp();
        let plan = solution.plan().unwrap().to_dense(0).unwrap();
        assert_close(plan[0], 0.5 / (1.0 + q), 1e-9);
        assert_close(plan[1], 0.5 * q / (1.0 + q), 1e-9);
        assert_close(solution.certificate().transport_cost.unwrap(), q / (1.0 + q), 1e-9);
        let value = -epsilon * ((1.0 + q) / 2.0).ln();
        assert_close(solution.certificate().dual, value, 1e-9);
    }
}

#[test]
fn two_diracs_of_different_mass() {
    // One atom each, KL penalties: m minimises m c + epsilon KL(m | ab) + rho KL(m | a) + rho KL(m | b).
    let (mass_a, mass_b, cost, rho, epsilon) = (2.0_f64, 0.5_f64, 0.7_f64, 0.8_f64, 0.1_f64);
    let (a, b) = (Histogram::new(vec![mass_a]).unwrap(), Histogram::new(vec![mass_b]).unwrap());
    let matrix = CostMatrix::new(vec![cost], 1, 1).unwrap();
    let geometry = cpu(1).geometry(a.support(), b.support(), &matrix).unwrap();
    let kl = Kl::new(rho).unwrap();
    let problem = Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(epsilon), &kl, &kl).unwrap();
    let solution = Sinkhorn::new().tolerance(1e-12).solve(&problem).unwrap();
    let log_mass = ((epsilon + rho) * (mass_a.ln() + mass_b.ln()) - cost) / (epsilon + 2.0 * rho);
    assert_eq!(solution.status(), Status::Converged);
    assert_close(solution.certificate().mass, log_mass.exp(), 1e-11);
    assert_close(solution.certificate().primal, solution.certificate().dual, 1e-10);
}

#[test]
fn marginals_and_gap() {
    let (a, b) = (cloud(1, 70, 0.0, 1.0), cloud(2, 53, 0.3, 1.0));
    for backend in backends(2) {
        let solution = solve(&backend, &a, &b, 0.01);
        assert_eq!(solution.status(), Status::Converged);
        assert!(solution.certificate().gap <= 1e-8);
        let mut plan = solution.plan().unwrap();
        for (side, measure) in [(Side::Source, &a), (Side::Target, &b)] {
            let marginal = plan.marginal(side).unwrap();
            let weights = measure.weights().unwrap();
            let error: f64 = marginal.iter().zip(weights.column(0)).map(|(p, w)| (p - w).abs()).sum();
            assert!(error <= 1e-10, "{side}: {error}");
        }
    }
}

#[test]
fn kernels_agree() {
    let (a, b) = (cloud(3, 61, 0.0, 1.0), cloud(4, 47, 0.2, 1.0));
    let [dense, streaming] = backends(2).map(|backend| solve(&backend, &a, &b, 0.005));
    assert_close(dense.certificate().dual, streaming.certificate().dual, 1e-11);
    let potentials = [&dense, &streaming].map(|solution| solution.potential(Side::Source).unwrap());
    for (one, other) in potentials[0].iter().zip(&potentials[1]) {
        assert_close(*one, *other, 1e-8);
    }
}

#[test]
fn swapping_the_sides_swaps_the_potentials() {
    let (a, b) = (cloud(5, 40, 0.0, 1.0), cloud(6, 31, 0.4, 1.0));
    for backend in backends(2) {
        let (forth, back) = (solve(&backend, &a, &b, 0.02), solve(&backend, &b, &a, 0.02));
        assert_close(forth.certificate().dual, back.certificate().dual, 1e-10);
        let (f, g) = (forth.potential(Side::Source).unwrap(), back.potential(Side::Target).unwrap());
        f.iter().zip(&g).for_each(|(f, g)| assert_close(*f, *g, 1e-8));
    }
}

#[test]
fn the_gauge_is_fixed() {
    let (a, b) = (cloud(7, 40, 0.0, 1.0), cloud(8, 31, 2.0, 1.0));
    let solution = solve(&backends(2)[0], &a, &b, 0.05);
    let pairing = |measure: &PointCloud<'_, f64>, side| -> f64 {
        let potential = solution.potential(side).unwrap();
        measure.weights().unwrap().column(0).iter().zip(&potential).map(|(w, f)| w * f).sum()
    };
    assert_close(pairing(&a, Side::Source), pairing(&b, Side::Target), 1e-12);
}

#[test]
fn translation_costs_its_square() {
    // OT_eps(a, b + t) = OT_eps(a, b) + 2 <t, mean(b) - mean(a)> + |t|^2 for squared distances.
    let (a, b) = (cloud(9, 40, 0.0, 1.0), cloud(10, 40, 0.0, 1.0));
    let (points, weights) = match (b.support(), b.weights()) {
        (ot_core::Support::Points(points), Some(weights)) => (points, weights),
        _ => unreachable!("a point cloud"),
    };
    let shift = [3.0, -1.0];
    let moved: Vec<f64> = points.coordinates().iter().enumerate().map(|(i, x)| x + shift[i % 2]).collect();
    let moved = PointCloud::new(moved, 2, weights.values().to_vec()).unwrap();
    let mean = |cloud: &PointCloud<'_, f64>, axis: usize| -> f64 {
        let ot_core::Support::Points(points) = cloud.support() else { unreachable!("a point cloud") };
        cloud.weights().unwrap().column(0).iter().enumerate().map(|(i, w)| w * points.point(i)[axis]).sum()
    };
    let expected: f64 = (0..2).map(|k| 2.0 * shift[k] * (mean(&b, k) - mean(&a, k)) + shift[k] * shift[k]).sum();
    for backend in backends(2) {
        let (here, there) = (solve(&backend, &a, &b, 0.03), solve(&backend, &a, &moved, 0.03));
        assert_close(there.certificate().dual - here.certificate().dual, expected, 1e-8);
    }
}

#[test]
fn cost_and_epsilon_scale_together() {
    let (a, b) = (cloud(11, 33, 0.0, 1.0), cloud(12, 29, 0.1, 1.0));
    let backend = cpu(1);
    let value = |cost: &dyn GroundCost, epsilon: f64| {
        let geometry = backend.geometry(a.support(), b.support(), cost).unwrap();
        let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(epsilon)).unwrap();
        Sinkhorn::new().tolerance(1e-11).solve(&problem).unwrap().certificate().dual
    };
    assert!(matches!(HalfSqEuclidean.form(), CostForm::SqEuclidean { .. }));
    assert_close(value(&SqEuclidean, 0.02), 2.0 * value(&HalfSqEuclidean, 0.01), 1e-10);
}

#[test]
fn every_way_of_iterating_ends_at_the_same_potentials() {
    let (a, b) = (cloud(13, 50, 0.0, 1.0), cloud(14, 45, 0.2, 1.0));
    let backend = cpu(2);
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.01)).unwrap();
    let base = Sinkhorn::new().tolerance(1e-11).max_iterations(100_000);
    let reference = base.clone().relaxation(Relaxation::Off).annealing(Annealing::Off).solve(&problem).unwrap();
    let variants = [
        base.clone(),
        base.clone().relaxation(Relaxation::Fixed(1.5)),
        base.clone().annealing(Annealing::Geometric { start: None, factor: 0.5 }),
        base.clone().update(Update::Symmetric),
        base.clone().check_interval(1),
        base.clone().check_interval(37),
    ];
    for settings in variants {
        let solution = settings.solve(&problem).unwrap();
        assert_eq!(solution.status(), Status::Converged, "{settings:?}");
        assert_close(solution.certificate().dual, reference.certificate().dual, 1e-11);
        let pair = [&solution, &reference].map(|solution| solution.potential(Side::Target).unwrap());
        pair[0].iter().zip(&pair[1]).for_each(|(one, other)| assert_close(*one, *other, 1e-8));
    }
}

#[test]
fn adaptive_relaxation_saves_iterations() {
    let (a, b) = (cloud(15, 120, 0.0, 1.0), cloud(16, 110, 0.1, 1.0));
    for backend in backends(2) {
        let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let problem = Problem::new(geometry, &a, &b, Epsilon::RelativeToMean(0.01)).unwrap();
        let iterations = |relaxation| {
            let settings = Sinkhorn::new().tolerance(1e-9).relaxation(relaxation);
            let solution = settings.solve(&problem).unwrap();
            assert_eq!(solution.status(), Status::Converged);
            solution.iterations()
        };
        let (plain, adaptive) = (iterations(Relaxation::Off), iterations(Relaxation::Adaptive));
        assert!(2 * adaptive < plain, "adaptive {adaptive}, plain {plain}");
    }
}

#[test]
fn a_warm_start_is_at_home() {
    let (a, b) = (cloud(17, 60, 0.0, 1.0), cloud(18, 60, 0.2, 1.0));
    let backend = cpu(1);
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.01)).unwrap();
    let settings = Sinkhorn::new().tolerance(1e-9).check_interval(1);
    let cold = settings.solve(&problem).unwrap();
    let warm = settings.run(&problem).start(Start::Warm(cold.potentials())).solve().unwrap();
    assert!(warm.iterations() <= 2 && cold.iterations() > 20, "{} and {}", warm.iterations(), cold.iterations());
    let start =
        Start::Host { source: cold.potential(Side::Source).unwrap(), target: cold.potential(Side::Target).unwrap() };
    assert!(settings.run(&problem).start(start).solve().unwrap().iterations() <= 2);
}

#[test]
fn the_gaussian_start_saves_iterations_on_distant_clouds() {
    let (a, b) = (cloud(19, 100, 0.0, 1.0), cloud(20, 100, 5.0, 1.0));
    let backend = cpu(1);
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.02)).unwrap();
    let settings = Sinkhorn::new().check_interval(1).annealing(Annealing::Off).relaxation(Relaxation::Off);
    let first_error = |start| settings.run(&problem).start(start).solve().unwrap().history()[1].marginal_error.unwrap();
    let gaussian = first_error(Start::gaussian(&a, &b, &SqEuclidean).unwrap());
    let zero = first_error(Start::Zero);
    assert!(gaussian < 0.7 * zero, "{gaussian} and {zero}");
}

#[test]
fn a_batch_is_its_columns() {
    let (a, columns) = (cloud(21, 40, 0.0, 1.0), 3);
    let targets: Vec<_> = (0..columns as u64).map(|k| cloud(30 + k, 35, 0.0, 1.0)).collect();
    let support = &targets[0];
    let weights: Vec<f64> = targets.iter().flat_map(|t| t.weights().unwrap().column(0).to_vec()).collect();
    let ot_core::Support::Points(points) = support.support() else { unreachable!("a point cloud") };
    let batch = PointCloud::batch(points.coordinates().to_vec(), 2, weights.clone(), columns).unwrap();
    for backend in backends(2) {
        let geometry: std::sync::Arc<dyn Geometry<Host<f64>>> =
            backend.geometry(a.support(), batch.support(), &SqEuclidean).unwrap();
        let problem = Problem::new(geometry.clone(), &a, &batch, Epsilon::Absolute(0.02)).unwrap();
        let together = Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap();
        assert_eq!(together.statuses(), vec![Status::Converged; columns]);
        for column in 0..columns {
            let single = Histogram::new(weights[column * 35..(column + 1) * 35].to_vec()).unwrap();
            let problem = Problem::new(geometry.clone(), &a, &single, Epsilon::Absolute(0.02)).unwrap();
            let alone = Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap();
            assert_close(together.certificates()[column].dual, alone.certificate().dual, 1e-10);
            let f = together.potential(Side::Source).unwrap()[column * 40..(column + 1) * 40].to_vec();
            f.iter()
                .zip(alone.potential(Side::Source).unwrap())
                .for_each(|(one, other)| assert_close(*one, other, 1e-7));
        }
    }
}

#[test]
fn same_bits_for_any_number_of_threads() {
    let (a, b) = (cloud(22, 300, 0.0, 1.0), cloud(23, 257, 0.2, 1.0));
    for limit in [0, usize::MAX] {
        let bits = |threads: usize| {
            let backend = cpu(threads).with_dense_limit(limit);
            let solution = solve(&backend, &a, &b, 0.01);
            let potential = solution.potential(Side::Source).unwrap();
            (potential.iter().map(|f| f.to_bits()).collect::<Vec<_>>(), solution.iterations())
        };
        let one = bits(1);
        assert!([2, 3, 7].into_iter().all(|threads| bits(threads) == one));
    }
}

#[test]
fn strong_penalties_tend_to_the_balanced_problem_in_as_many_iterations() {
    let (a, b) = (cloud(24, 60, 0.0, 1.0), cloud(25, 50, 0.2, 1.0));
    let backend = cpu(1);
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let balanced = Problem::new(geometry.clone(), &a, &b, Epsilon::Absolute(0.02)).unwrap();
    let balanced = Sinkhorn::new().tolerance(1e-8).solve(&balanced).unwrap();
    let kl = Kl::new(1e4).unwrap();
    let relaxed = Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(0.02), &kl, &kl).unwrap();
    let relaxed = Sinkhorn::new().tolerance(1e-8).solve(&relaxed).unwrap();
    assert_eq!(relaxed.status(), Status::Converged);
    assert_close(relaxed.certificate().dual, balanced.certificate().dual, 1e-4);
    assert!(
        relaxed.iterations() <= balanced.iterations() + 40,
        "{} and {}",
        relaxed.iterations(),
        balanced.iterations()
    );
}

#[test]
fn single_precision_says_where_its_digits_end() {
    let points: Vec<f32> = (0..60).map(|i| (i as f32 * 0.37).sin()).collect();
    let (a, b) = (PointCloud::uniform(&points[..30], 1).unwrap(), PointCloud::uniform(&points[30..], 1).unwrap());
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let solve = |tolerance: f64| {
        let problem = Problem::new(geometry.clone(), &a, &b, Epsilon::RelativeToMean(0.02)).unwrap();
        Sinkhorn::new().tolerance(tolerance).solve(&problem).unwrap()
    };
    assert_eq!(solve(1e-3).status(), Status::Converged);
    let strict = solve(1e-9);
    let Status::PrecisionLimit { floor } = strict.status() else { panic!("{:?}", strict.status()) };
    assert!(floor > f64::from(f32::EPSILON) && floor < 1e-3 && <f32 as Scalar>::EPSILON < floor);
    assert!(strict.certificate().marginal_error <= 8.0 * floor);
}
