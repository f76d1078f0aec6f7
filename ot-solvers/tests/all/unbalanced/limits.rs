//! Closed forms, and the ends of every range: nothing breaks, and limits are what they should be.

use ot_conformance::problems::{Diracs, UnbalancedGaussians};
use ot_core::{
    Balanced, CostMatrix, Epsilon, Error, Free, GeometryBuilder, Histogram, Host, Kl, Measure, PointCloud, Problem,
    Range, Solution, SqEuclidean, Status, TotalVariation,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Sinkhorn, unregularized_bounds};

use crate::support::{Cpu, Penalty, SIDES, assert_close, backends, cloud, cpu, penalty, problem, relaxed};

fn solve(problem: &Problem<Host<f64>>, tolerance: f64) -> Solution<Host<f64>> {
    let solution = Sinkhorn::new().tolerance(tolerance).max_iterations(100_000).solve(problem).unwrap();
    let certificate = solution.certificate();
    let status = solution.status();
    assert!(matches!(status, Status::Converged | Status::PrecisionLimit { .. }), "{status}: {certificate:?}");
    assert!(certificate.marginal_error <= tolerance.max(2.0 * certificate.rounding), "{certificate:?}");
    assert!(certificate.gap.is_finite() && certificate.gap >= 0.0, "{certificate:?}");
    solution
}

/// A problem between clouds at an epsilon of its own.
fn at_epsilon(
    backend: &Cpu,
    clouds: [&PointCloud<'_, f64>; 2],
    epsilon: f64,
    penalties: [Penalty; 2],
) -> Problem<Host<f64>> {
    relaxed(backend, clouds, &SqEuclidean, Epsilon::Absolute(epsilon), penalties)
}

#[test]
fn two_diracs_of_any_masses_and_strengths() {
    let backend = cpu(1);
    for strengths in [[1.0, 1.0], [1e-6, 1e6], [1e6, 1e6], [1e-6, 1e-6], [0.3, 1e3]] {
        for masses in [[1.0, 1.0], [1e-3, 1e3], [1e3, 1e-3], [2.0, 0.5]] {
            for epsilon in [1e-2, 1.0, 1e2] {
                let closed = Diracs { masses, distance: 0.6, strengths, epsilon };
                let (a, b) = (closed.source().unwrap(), closed.target().unwrap());
                let penalties = strengths.map(|rho| penalty(Kl::new(rho).unwrap()));
                let solution = solve(&at_epsilon(&backend, [&a, &b], epsilon, penalties), 1e-8);
                let certificate = solution.certificate();
                // The mass is known to the tolerance, relative to the mean of the masses asked for.
                let size = 0.5 * (masses[0] + masses[1]);
                assert!((certificate.mass - closed.mass()).abs() <= 1e-7 * size, "{closed:?}: {certificate:?}");
                let scale = size * (1.0 + epsilon + strengths[0].max(strengths[1]));
                assert!((certificate.primal - closed.value()).abs() <= 1e-7 * scale, "{closed:?}: {certificate:?}");
                assert!(certificate.dual <= closed.value() + 1e-12 * scale, "{closed:?}: {certificate:?}");
            }
        }
    }
}

#[test]
fn two_diracs_under_total_variation() {
    // Below both masses p is paid 2 rho, between them nothing, above both it pays 2 rho.
    let backend = cpu(1);
    for (masses, rho, epsilon) in
        [([1.0, 1.0], 0.3, 0.05), ([1.0, 2.0], 0.3, 0.05), ([1.0, 2.0], 0.1, 0.05), ([5.0, 1e-3], 1e3, 1.0)]
    {
        let shape = Diracs { masses, distance: 0.5, strengths: [rho; 2], epsilon };
        let variation = || penalty(TotalVariation::new(rho).unwrap());
        let (a, b) = (shape.source().unwrap(), shape.target().unwrap());
        let solution = solve(&at_epsilon(&backend, [&a, &b], epsilon, [variation(), variation()]), 1e-9);
        let [least, most] = [masses[0].min(masses[1]), masses[0].max(masses[1])];
        let paid = |price: f64| masses[0] * masses[1] * ((price - shape.cost()) / epsilon).exp();
        let expected = paid(2.0 * rho).min(least).max(paid(0.0).min(most)).max(paid(-2.0 * rho));
        assert_close(solution.certificate().mass, expected, 1e-8);
    }
}

#[test]
fn unbalanced_gaussians() {
    for (masses, rho, epsilon) in [([1.0, 2.0], 1.0, 0.5), ([1.0, 1.0], 1e3, 0.3), ([0.2, 5.0], 0.05, 0.4)] {
        let closed = UnbalancedGaussians { means: [0.0, 0.7], deviations: [0.8, 1.1], masses, rho, epsilon };
        let (a, b) = (closed.source(200).unwrap(), closed.target(220).unwrap());
        let kl = || penalty(Kl::new(rho).unwrap());
        for backend in backends(1) {
            let solution = solve(&at_epsilon(&backend, [&a, &b], epsilon, [kl(), kl()]), 1e-9);
            assert_close(solution.certificate().mass, closed.mass(), 1e-7);
            assert_close(solution.certificate().dual, closed.value(), 1e-7 * (1.0 + rho));
        }
    }
}

#[test]
fn strengths_from_one_end_to_the_other() {
    let backend = cpu(1);
    let (a, b) = (cloud(1, 40, 0.0, 1.0), cloud(2, 35, 0.3, 1.0));
    let dual = |penalties: [Penalty; 2]| {
        let solution = solve(&problem(&backend, [&a, &b], 0.05, penalties), 1e-8);
        let certificate = solution.certificate();
        assert!(certificate.gap <= 1e-5 * (1.0 + certificate.primal.abs()) || certificate.gap.is_finite());
        certificate.dual
    };
    let prescribed = dual([penalty(Balanced), penalty(Balanced)]);
    let semi_relaxed = dual([penalty(Free), penalty(Balanced)]);
    let free = dual([penalty(Free), penalty(Free)]);
    assert!(free < semi_relaxed && semi_relaxed < prescribed);
    let mean = problem(&backend, [&a, &b], 1.0, [penalty(Free), penalty(Free)]).epsilon();
    let (mut last_kl, mut last_variation) = (free, free);
    for power in -6..=6 {
        let rho = mean * 10_f64.powi(power);
        let kl = || penalty(Kl::new(rho).unwrap());
        let variation = || penalty(TotalVariation::new(rho).unwrap());
        let (of_kl, of_variation) = (dual([kl(), kl()]), dual([variation(), variation()]));
        // Values rise with the strength, between the two limits.
        for (value, last) in [(of_kl, last_kl), (of_variation, last_variation)] {
            assert!(value >= last - 1e-7 && value <= prescribed + 1e-7, "rho {rho}: {value} after {last}");
        }
        (last_kl, last_variation) = (of_kl, of_variation);
        let half = dual([kl(), penalty(Balanced)]);
        assert!(half >= semi_relaxed - 1e-7 && half <= prescribed + 1e-7, "rho {rho}: {half}");
        if power == -6 {
            assert_close(of_kl, free, 1e-4 * mean);
            assert_close(of_variation, free, 1e-4 * mean);
            assert_close(half, semi_relaxed, 1e-4);
        }
    }
    assert_close(last_kl, prescribed, 1e-5);
    assert_close(last_variation, prescribed, 1e-7);
}

#[test]
fn masses_that_differ_by_a_million() {
    let backend = cpu(1);
    let rho = 0.5;
    let kl = || penalty(Kl::new(rho).unwrap());
    let variation = || penalty(TotalVariation::new(rho).unwrap());
    for [one, other] in [[1.0, 1e6], [1e6, 1.0], [1e-6, 1.0], [1e3, 1e-3]] {
        let (a, b) = (cloud(1, 40, 0.0, one), cloud(2, 35, 0.3, other));
        for penalties in [[kl(), kl()], [variation(), variation()], [kl(), variation()], [kl(), penalty(Balanced)]] {
            let name = format!("{penalties:?}");
            let solution = solve(&problem(&backend, [&a, &b], 0.1, penalties), 1e-8);
            let certificate = solution.certificate();
            let scale = (one + other) * (1.0 + rho);
            assert!(certificate.gap <= 1e-5 * scale, "{name}, masses {one} and {other}: {certificate:?}");
        }
    }
}

#[test]
fn a_side_without_mass_takes_nothing() {
    for backend in backends(1) {
        let a = cloud(1, 12, 0.0, 2.0);
        let ot_core::Support::Points(points) = a.support() else { unreachable!("a cloud") };
        let empty = PointCloud::without_mass(points.coordinates().to_vec(), 2).unwrap();
        let rho = 0.7;
        let takes: [Penalty; 4] = [
            penalty(Kl::new(rho).unwrap()),
            penalty(TotalVariation::new(rho).unwrap()),
            penalty(Range::new(0.0, 2.0).unwrap()),
            penalty(Free),
        ];
        for (taker, price) in takes.into_iter().zip([rho, rho, 0.0, 0.0]) {
            for [one, other] in [[&a, &empty], [&empty, &a], [&empty, &empty]] {
                let problem = at_epsilon(&backend, [one, other], 0.1, [taker.clone(), taker.clone()]);
                let solution = solve(&problem, 1e-9);
                let certificate = solution.certificate();
                // Nothing moves, and all mass that there is pays the price of density zero.
                let mass: f64 = [one, other].iter().map(|measure| measure.weights().unwrap().mass(0)).sum();
                assert!(
                    certificate.mass <= 1e-300 && certificate.transport_cost == Some(0.0),
                    "{taker:?}: {certificate:?}"
                );
                assert_close(certificate.primal, price * mass, 1e-12);
                assert_close(certificate.dual, price * mass, 1e-12);
                for side in SIDES {
                    assert!(solution.plan().unwrap().marginal(side).unwrap().iter().all(|&mass| mass == 0.0));
                    assert!(solution.potential(side).unwrap().iter().all(|potential| potential.is_finite()));
                }
            }
        }
        let geometry = backend.geometry(a.support(), empty.support(), &SqEuclidean).unwrap();
        let refused = Problem::unbalanced(geometry, &a, &empty, Epsilon::Absolute(0.1), &Balanced, &Free);
        assert!(matches!(refused.unwrap_err(), Error::MassMismatch { .. }));
    }
}

#[test]
fn flat_directions_are_no_obstacle() {
    // Identical measures, and atoms on top of each other: many potentials are optimal.
    let backend = cpu(1);
    let a = cloud(3, 30, 0.0, 1.0);
    let heap = PointCloud::uniform(vec![0.5; 24], 2).unwrap();
    let variation = || penalty(TotalVariation::new(2.0).unwrap());
    let range = |low, high| penalty(Range::new(low, high).unwrap());
    for penalties in [
        [variation(), variation()],
        [range(0.5, 2.0), range(0.9, 1.1)],
        [range(0.5, 2.0), penalty(Balanced)],
        [range(0.0, 1.0), variation()],
        [penalty(Free), range(1.0, 2.0)],
    ] {
        for [one, other] in [[&a, &a], [&heap, &heap], [&a, &heap], [&heap, &a]] {
            for epsilon in [1e-2, 1.0] {
                let name = format!("{penalties:?} at {epsilon}");
                let solution = solve(&at_epsilon(&backend, [one, other], epsilon, penalties.clone()), 1e-7);
                let certificate = solution.certificate();
                assert!(certificate.gap <= 1e-4, "{name}: {certificate:?}");
            }
        }
    }
}

#[test]
fn both_ends_of_epsilon() {
    let backend = cpu(1);
    let (a, b) = (cloud(4, 25, 0.0, 1.0), cloud(5, 20, 0.2, 3.0));
    let kl = || penalty(Kl::new(0.5).unwrap());
    // epsilon to infinity: P = t a b^T with t from the masses alone, the Diracs of the mean cost.
    let mean = problem(&backend, [&a, &b], 1.0, [kl(), kl()]).epsilon();
    let solution = solve(&problem(&backend, [&a, &b], 1e5, [kl(), kl()]), 1e-10);
    let diracs = Diracs { masses: [1.0, 3.0], distance: mean.sqrt(), strengths: [0.5, 0.5], epsilon: 1e5 * mean };
    assert_close(solution.certificate().mass, diracs.mass(), 1e-6);
    // epsilon to zero under strong total variation: all of the lighter side moves, at the cost of partial transport.
    let variation = || penalty(TotalVariation::new(10.0).unwrap());
    let solution = solve(&problem(&backend, [&a, &b], 1e-3, [variation(), variation()]), 1e-6);
    assert_close(solution.certificate().mass, 1.0, 1e-5);
}

#[test]
fn f32_goes_as_far_as_f64() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let matrix = CostMatrix::new((0..36).map(|k| (k % 7) as f64 * 0.2).collect::<Vec<_>>(), 6, 6).unwrap();
    let (a, b) = (
        Histogram::new(vec![0.1_f32, 0.2, 0.3, 0.1, 0.2, 0.1]).unwrap(),
        Histogram::new(vec![0.3_f32, 0.1, 0.1, 0.2, 0.4, 0.1]).unwrap(),
    );
    let geometry = backend.geometry(a.support(), b.support(), &matrix).unwrap();
    for rho in [1e-6, 1e-3, 1.0, 1e3] {
        for pair in [
            [penalty(Kl::new(rho).unwrap()), penalty(Kl::new(rho).unwrap())],
            [penalty(TotalVariation::new(rho).unwrap()), penalty(TotalVariation::new(rho).unwrap())],
            [penalty(TotalVariation::new(rho).unwrap()), penalty(Kl::new(rho).unwrap())],
            [penalty(Range::new(0.5, 2.0).unwrap()), penalty(TotalVariation::new(rho).unwrap())],
        ] {
            let name = format!("{pair:?}");
            let [one, other] = pair;
            let problem = Problem::unbalanced(geometry.clone(), &a, &b, Epsilon::Absolute(0.1), &one, &other).unwrap();
            let solution = Sinkhorn::new().tolerance(1e-4).solve(&problem).unwrap();
            let certificate = solution.certificate();
            let met = certificate.meets(1e-4) || matches!(solution.status(), Status::PrecisionLimit { .. });
            assert!(met, "{name}: {} {certificate:?}", solution.status());
            assert!(certificate.marginal_error <= 1e-4f64.max(2.0 * certificate.rounding), "{name}: {certificate:?}");
        }
    }
}

#[test]
fn bounds_without_entropy_are_for_prescribed_marginals() {
    let backend = cpu(1);
    let (a, b) = (cloud(4, 10, 0.0, 1.0), cloud(5, 9, 0.2, 1.0));
    let solution = solve(&problem(&backend, [&a, &b], 0.1, [penalty(Balanced), penalty(Free)]), 1e-8);
    assert!(matches!(unregularized_bounds(&solution), Err(Error::MissingCapability(_))));
}
