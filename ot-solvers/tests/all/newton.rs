//! Newton's method: agreement with Sinkhorn's iteration and with exact transport, and what it never breaks on.

use std::ops::ControlFlow;

use ot_conformance::Seeded;
use ot_core::{
    Balanced, CostMatrix, Epsilon, Error, GeometryBuilder, Histogram, Kl, Measure, Phase, PointCloud, Problem,
    Progress, SqEuclidean, Status, TotalVariation, certificate::certify,
};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactTransport, Newton, Sinkhorn, Start};

use crate::support::{SIDES, assert_close, cloud, cpu, largest_difference, normalized, penalty, problem};

/// A problem of a matrix of costs.
fn of_matrix(cost: Vec<f64>, a: &[f64], b: &[f64], epsilon: f64) -> Problem<ot_core::Host<f64>> {
    let cost = CostMatrix::new(cost, a.len(), b.len()).unwrap();
    let (a, b) = (Histogram::new(a).unwrap(), Histogram::new(b).unwrap());
    let geometry = cpu(1).geometry(a.support(), b.support(), &cost).unwrap();
    Problem::new(geometry, &a, &b, Epsilon::Absolute(epsilon)).unwrap()
}

#[test]
fn newton_and_sinkhorn_have_one_solution() {
    let (a, b) = (cloud(1, 60, 0.0, 1.0), cloud(2, 45, 0.3, 1.0));
    let kl = || penalty(Kl::new(0.7).unwrap());
    for penalties in
        [[penalty(Balanced), penalty(Balanced)], [kl(), kl()], [penalty(Balanced), kl()], [kl(), penalty(Balanced)]]
    {
        for epsilon in [0.05, 5e-3] {
            for backend in crate::support::backends(1) {
                let problem = problem(&backend, [&a, &b], epsilon, penalties.clone());
                let newton = Newton::new().tolerance(1e-11).solve(&problem).unwrap();
                let sinkhorn = Sinkhorn::new().tolerance(1e-11).max_iterations(100_000).solve(&problem).unwrap();
                assert!(newton.status().is_converged(), "{} {epsilon}", newton.status());
                assert!(sinkhorn.status().is_converged(), "{} {epsilon}", sinkhorn.status());
                for side in SIDES {
                    let both = [&newton, &sinkhorn].map(|solution| solution.potential(side).unwrap());
                    assert!(largest_difference(&both[0], &both[1]) < 1e-8, "{penalties:?} {epsilon}");
                }
            }
        }
    }
}

#[test]
fn small_epsilon_is_certified_and_near_the_exact_cost() {
    let n = 48;
    let mut random = Seeded::new(3);
    let random_costs = random.vector::<f64>(n * n, 0.0, 1.0);
    let squares: Vec<f64> = {
        let (x, y) = (random.vector::<f64>(2 * n, 0.0, 1.0), random.vector::<f64>(2 * n, 0.0, 1.0));
        let between = |x: &[f64], y: &[f64]| (x[0] - y[0]).powi(2) + (x[1] - y[1]).powi(2);
        x.chunks_exact(2).flat_map(|x| y.chunks_exact(2).map(move |y| between(x, y))).collect()
    };
    let distances: Vec<f64> = squares.iter().map(|cost| cost.sqrt()).collect();
    let uniform = vec![1.0 / n as f64; n];
    let weighted = normalized(random.vector::<f64>(n, 0.05, 1.0));
    for cost in [random_costs, squares, distances] {
        for weights in [&uniform, &weighted] {
            for epsilon in [1e-3, 1e-4, 1e-5] {
                let problem = of_matrix(cost.clone(), weights, &uniform, epsilon);
                let (solution, report) = Newton::new().tolerance(1e-9).run(&problem).solve_with_report().unwrap();
                assert!(solution.status().is_converged(), "{} {epsilon} {report:?}", solution.status());
                assert!(report.passes() <= 60, "{epsilon} {report:?}");
                let matrix = CostMatrix::new(cost.clone(), n, n).unwrap();
                let (a, b) = (Histogram::new(weights).unwrap(), Histogram::new(&uniform).unwrap());
                let exact = ExactTransport::new().solve(&cpu(1), &a, &b, &matrix).unwrap();
                let found = solution.certificate().transport_cost.unwrap();
                let lowest = exact.certificate().primal;
                // The entropy of a plan relative to a b^T is at most that of a permutation, log n.
                let entropy = epsilon * (n as f64).ln() + 1e-8;
                assert!((lowest - 1e-8..=lowest + entropy).contains(&found), "{epsilon}: {found} {lowest}");
            }
        }
    }
}

#[test]
fn exact_potentials_lead_to_small_epsilon_in_ten_passes() {
    let (a, b) = (cloud(4, 120, 0.0, 1.0), cloud(5, 130, 0.2, 1.0));
    let backend = cpu(1);
    let exact = ExactTransport::new().solve(&backend, &a, &b, &SqEuclidean).unwrap();
    let [source, target] = SIDES.map(|side| exact.potential(side).to_vec());
    for epsilon in [1e-4, 1e-5] {
        let problem = problem(&backend, [&a, &b], epsilon, [penalty(Balanced), penalty(Balanced)]);
        let start = Start::Host { source: source.clone(), target: target.clone() };
        let solver = Newton::new().tolerance(1e-9);
        let (solution, report) = solver.run(&problem).start(start).solve_with_report().unwrap();
        assert!(solution.status().is_converged(), "{epsilon}: {report:?}");
        assert!(report.passes() <= 10 && report.start_iterations == 0, "{epsilon}: {report:?}");
    }
}

#[test]
fn a_solution_at_another_epsilon_is_a_start() {
    let (a, b) = (cloud(6, 50, 0.0, 1.0), cloud(7, 50, 0.2, 1.0));
    let backend = cpu(1);
    let at = |epsilon| problem(&backend, [&a, &b], epsilon, [penalty(Balanced), penalty(Balanced)]);
    let (high, low) = (at(1e-2), at(1e-3));
    let first = Newton::new().tolerance(1e-9).solve(&high).unwrap();
    let solver = Newton::new().tolerance(1e-9);
    for problem in [&low, &high] {
        let run = solver.run(problem).start(Start::Warm(first.potentials()));
        let (solution, report) = run.solve_with_report().unwrap();
        assert!(solution.status().is_converged(), "{report:?}");
        assert_eq!(report.start_iterations, 0);
    }
    let again = solver.run(&high).start(Start::Warm(first.potentials())).solve_with_report().unwrap();
    assert!(again.1.passes() <= 4, "{:?}", again.1);
}

#[test]
fn a_batch_is_its_columns() {
    let n = 20;
    let mut random = Seeded::new(8);
    let x = random.vector::<f64>(2 * n, 0.0, 1.0);
    let columns: Vec<Vec<f64>> = (0..3).map(|_| normalized(random.vector::<f64>(n, 0.0, 1.0))).collect();
    let source = PointCloud::uniform(x.clone(), 2).unwrap();
    let batch = PointCloud::batch(x.clone(), 2, columns.concat(), 3).unwrap();
    let backend = cpu(1);
    let geometry = backend.geometry(source.support(), batch.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &source, &batch, Epsilon::Absolute(1e-3)).unwrap();
    let together = Newton::new().tolerance(1e-10).solve(&problem).unwrap();
    for (column, weights) in columns.iter().enumerate() {
        let single = PointCloud::new(x.clone(), 2, weights.clone()).unwrap();
        let geometry = backend.geometry(source.support(), single.support(), &SqEuclidean).unwrap();
        let problem = Problem::new(geometry, &source, &single, Epsilon::Absolute(1e-3)).unwrap();
        let alone = Newton::new().tolerance(1e-10).solve(&problem).unwrap();
        assert!(alone.status().is_converged() && together.statuses()[column].is_converged());
        let potential = together.potential(ot_core::Side::Target).unwrap();
        let difference =
            largest_difference(&potential[column * n..][..n], &alone.potential(ot_core::Side::Target).unwrap());
        assert!(difference < 1e-9, "{column}: {difference}");
    }
}

#[test]
fn hard_cases_end_certified() {
    let mut random = Seeded::new(9);
    let n = 30;
    let line: Vec<f64> = (0..n * n).map(|pair| ((pair / n) as f64 - (pair % n) as f64).powi(2) / 841.0).collect();
    let uniform = vec![1.0 / n as f64; n];
    let decades = normalized((0..n).map(|i| 10.0_f64.powf(-12.0 * i as f64 / n as f64)).collect());
    let some_zero = normalized((0..n).map(|i| if i % 3 == 0 { 0.0 } else { random.uniform(0.1, 1.0) }).collect());
    // Two clusters, between which e^(-1 / epsilon) couples.
    let split: Vec<f64> = line
        .iter()
        .enumerate()
        .map(|(pair, cost)| cost + if (pair / n < n / 2) == (pair % n < n / 2) { 0.0 } else { 1.0 })
        .collect();
    let forbidden: Vec<f64> = line
        .iter()
        .enumerate()
        .map(|(pair, cost)| if (pair / n).abs_diff(pair % n) % 4 == 3 { f64::INFINITY } else { *cost })
        .collect();
    let duplicates: Vec<f64> = (0..n * n).map(|pair| line[(pair / n / 3 * 3) * n + pair % n / 3 * 3]).collect();
    let cases = [
        ("permutation", &line, &uniform, &uniform),
        ("twelve decades", &line, &decades, &uniform),
        ("twelve decades of the target", &line, &uniform, &decades),
        ("both", &line, &decades, &decades),
        ("zeros", &line, &some_zero, &some_zero),
        ("clusters", &split, &uniform, &uniform),
        ("forbidden", &forbidden, &uniform, &uniform),
        ("duplicates", &duplicates, &some_zero, &uniform),
    ];
    for (name, cost, a, b) in cases {
        for epsilon in [1e-2, 1e-3, 1e-4] {
            let problem = of_matrix(cost.clone(), a, b, epsilon);
            let (solution, report) = Newton::new().tolerance(1e-9).run(&problem).solve_with_report().unwrap();
            assert!(solution.status().is_converged(), "{name} {epsilon}: {} {report:?}", solution.status());
            let recomputed = certify(&problem, solution.potentials()).unwrap()[0];
            assert!(recomputed.meets(1e-9), "{name} {epsilon}: {recomputed:?}");
        }
    }
    // One row, one column, one pair: a single answer.
    for (a, b) in [(vec![1.0], uniform.clone()), (uniform.clone(), vec![1.0]), (vec![1.0], vec![1.0])] {
        let problem = of_matrix(line[..a.len() * b.len()].to_vec(), &a, &b, 1e-4);
        let solution = Newton::new().tolerance(1e-9).solve(&problem).unwrap();
        assert!(solution.status().is_converged());
        let cost: f64 = a.iter().flat_map(|a| b.iter().map(move |b| a * b)).zip(&line).map(|(p, c)| p * c).sum();
        assert_close(solution.certificate().transport_cost.unwrap(), cost, 1e-12);
    }
}

#[test]
fn single_precision_says_its_floor() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let mut random = Seeded::new(10);
    let points = |random: &mut Seeded| random.elements::<f32>(80, 0.0, 1.0);
    let (a, b) =
        (PointCloud::uniform(points(&mut random), 2).unwrap(), PointCloud::uniform(points(&mut random), 2).unwrap());
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    for epsilon in [1e-2, 1e-4, 1e-6] {
        let problem = Problem::new(geometry.clone(), &a, &b, Epsilon::Absolute(epsilon)).unwrap();
        let solution = Newton::new().tolerance(1e-4).solve(&problem).unwrap();
        let status = solution.status();
        assert!(
            matches!(status, Status::Converged | Status::PrecisionLimit { .. } | Status::Stalled),
            "{epsilon}: {status}"
        );
        assert!(solution.certificate().is_finite());
        assert!(epsilon < 1e-3 || status.is_converged(), "{epsilon}: {status}");
    }
}

#[test]
fn the_bits_do_not_depend_on_threads() {
    let (a, b) = (cloud(11, 70, 0.0, 1.0), cloud(12, 80, 0.1, 1.0));
    let solve = |threads| {
        let problem = problem(&cpu(threads), [&a, &b], 1e-4, [penalty(Balanced), penalty(Balanced)]);
        let solution = Newton::new().tolerance(1e-9).solve(&problem).unwrap();
        SIDES.map(|side| solution.potential(side).unwrap())
    };
    let one = solve(1);
    assert!(one == solve(2) && one == solve(5));
}

#[test]
fn what_newton_cannot_do_is_refused_at_the_start() {
    let (a, b) = (cloud(13, 10, 0.0, 1.0), cloud(14, 10, 0.1, 1.0));
    let backend = cpu(1);
    let kinked = || penalty(TotalVariation::new(0.5).unwrap());
    let of = |penalties| problem(&backend, [&a, &b], 1e-2, penalties);
    for penalties in [[kinked(), penalty(Balanced)], [penalty(Balanced), kinked()]] {
        assert!(matches!(Newton::new().solve(&of(penalties)), Err(Error::MissingCapability(_))));
    }
    let entropic = of([penalty(Balanced), penalty(Balanced)]);
    for tolerance in [0.0, -1.0, f64::NAN] {
        assert!(matches!(Newton::new().tolerance(tolerance).solve(&entropic), Err(Error::Parameter { .. })));
    }
    assert!(matches!(Newton::new().max_passes(0).solve(&entropic), Err(Error::Parameter { .. })));
    let start = Start::Host { source: vec![0.0; 3], target: vec![0.0; 10] };
    assert!(matches!(Newton::new().run(&entropic).start(start).solve(), Err(Error::Length { .. })));
}

#[test]
fn an_observer_hears_of_passes_and_may_cancel() {
    let (a, b) = (cloud(15, 40, 0.0, 1.0), cloud(16, 40, 0.1, 1.0));
    let problem = problem(&cpu(1), [&a, &b], 1e-4, [penalty(Balanced), penalty(Balanced)]);
    let mut seen = Vec::new();
    let mut observer = |progress: &Progress| {
        seen.push(*progress);
        ControlFlow::Continue(())
    };
    let solution = Newton::new().tolerance(1e-9).run(&problem).observer(&mut observer).solve().unwrap();
    assert_eq!(solution.history(), seen);
    assert!(seen.iter().any(|progress| progress.phase == Phase::NewtonPasses));
    let last = seen.last().unwrap();
    assert!(last.phase == Phase::Certificate && last.marginal_error.is_some_and(|error| error <= 1e-9));
    assert_eq!(last.gap, Some(solution.gap()));
    for allowed in [0, 3, 8] {
        let mut left = allowed;
        let mut observer = |_: &Progress| {
            left -= 1;
            if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let solution = Newton::new().tolerance(1e-9).run(&problem).observer(&mut observer).solve().unwrap();
        assert!(solution.status() == Status::Cancelled && !solution.is_certified());
        assert!(ot_core::certify(&problem, solution.potentials()).unwrap()[0].is_finite());
    }
    let limited = Newton::new().tolerance(1e-9).max_passes(3).solve(&problem).unwrap();
    assert_eq!(limited.status(), Status::IterationLimit);
}
