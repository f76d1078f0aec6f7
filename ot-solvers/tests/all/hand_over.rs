//! Sinkhorn's iteration goes over to Newton's method where that is cheaper, and says so.

use std::ops::ControlFlow;

use ot_conformance::Seeded;
use ot_core::{
    Balanced, CostMatrix, Epsilon, GeometryBuilder, Histogram, Host, Kl, Measure, Phase, PointCloud, Problem, Progress,
    SqEuclidean, SquaredL2, Status, TotalVariation,
};
use ot_solvers::{HandOver, Newton, Sinkhorn, front::Transport};

use crate::support::{Penalty, SIDES, cloud, cpu, largest_difference, penalty, problem};

/// Two clouds at an epsilon that is a part of the mean cost.
fn between_clouds(seed: u64, epsilon: f64, penalties: [Penalty; 2]) -> Problem<Host<f64>> {
    let (a, b) = (cloud(seed, 90, 0.0, 1.0), cloud(seed + 1, 80, 0.2, 1.0));
    problem(&cpu(1), [&a, &b], epsilon, penalties)
}

fn balanced() -> [Penalty; 2] {
    [penalty(Balanced), penalty(Balanced)]
}

/// Costs without structure, equal weights: the plan is near a permutation.
fn random_costs(n: usize, scale: f64, epsilon: f64, threads: usize) -> Problem<Host<f64>> {
    let costs = Seeded::new(31).vector::<f64>(n * n, 0.0, 1.0).into_iter().map(|cost| cost * scale).collect::<Vec<_>>();
    let (cost, weights) = (CostMatrix::new(costs, n, n).unwrap(), Histogram::new(vec![1.0 / n as f64; n]).unwrap());
    let geometry = cpu(threads).geometry(weights.support(), weights.support(), &cost).unwrap();
    Problem::new(geometry, &weights, &weights, Epsilon::Absolute(epsilon * scale)).unwrap()
}

#[test]
fn small_epsilon_converges_by_default() {
    let (a, b) = (cloud(21, 200, 0.0, 1.0), cloud(22, 200, 0.1, 1.0));
    let backend = cpu(2);
    // 1e-3 and 1e-4 of the largest cost.
    for epsilon in [5e-3, 5e-4] {
        let solution = Transport::between(&a, &b, &SqEuclidean, &backend)
            .epsilon(Epsilon::RelativeToMean(epsilon))
            .solve()
            .unwrap();
        assert!(solution.status().is_converged(), "{epsilon}: {}", solution.status());
        assert!(solution.iterations() < 2000, "{epsilon}: {}", solution.iterations());
    }
    let handed_over = Sinkhorn::new().tolerance(1e-9).run(&random_costs(60, 1.0, 1e-4, 1)).solve_with_report().unwrap();
    let (solution, report) = handed_over;
    assert!(solution.status().is_converged(), "{}", solution.status());
    let newton = report.newton.unwrap();
    assert!(newton.passes() > 0 && newton.start_iterations == 0);
    assert_eq!(solution.iterations(), report.iterations + newton.passes());
    assert!(solution.history().iter().any(|progress| progress.phase == Phase::NewtonPasses));
    let done: Vec<usize> = solution.history().iter().map(|progress| progress.done).collect();
    assert!(done.is_sorted(), "{done:?}");
}

/// Where Newton's method is known to be cheaper nothing is spent before it: the same passes, and the same bits.
#[test]
fn at_a_small_epsilon_the_price_is_that_of_newton() {
    for epsilon in [1e-4, 1e-5] {
        let problem = random_costs(60, 1.0, epsilon, 1);
        let (by_itself, newton) = Newton::new().tolerance(1e-9).run(&problem).solve_with_report().unwrap();
        let (handed_over, report) = Sinkhorn::new().tolerance(1e-9).run(&problem).solve_with_report().unwrap();
        assert!(by_itself.status().is_converged() && handed_over.status().is_converged());
        let told = report.newton.unwrap();
        assert_eq!((report.iterations, told.passes()), (newton.start_iterations, newton.passes()));
        for side in SIDES {
            assert_eq!(by_itself.potential(side).unwrap(), handed_over.potential(side).unwrap());
        }
    }
}

#[test]
fn both_ways_lead_to_one_solution() {
    for penalties in [balanced(), [penalty(Kl::new(0.5).unwrap()), penalty(Balanced)]] {
        let problem = between_clouds(23, 2e-3, penalties);
        let sinkhorn = Sinkhorn::new().tolerance(1e-10).max_iterations(100_000);
        let (handed_over, report) = sinkhorn.run(&problem).solve_with_report().unwrap();
        let (alone, of_alone) = sinkhorn.clone().hand_over(HandOver::Never).run(&problem).solve_with_report().unwrap();
        assert!(of_alone.newton.is_none());
        assert!(handed_over.status().is_converged() && alone.status().is_converged(), "{report:?}");
        assert!(handed_over.iterations() <= alone.iterations());
        for side in SIDES {
            let both = [&handed_over, &alone].map(|solution| solution.potential(side).unwrap());
            assert!(largest_difference(&both[0], &both[1]) < 1e-7);
        }
    }
}

#[test]
fn easy_problems_are_not_handed_over() {
    for epsilon in [1.0, 0.1, 0.03] {
        let (solution, report) =
            Sinkhorn::new().tolerance(1e-9).run(&between_clouds(25, epsilon, balanced())).solve_with_report().unwrap();
        assert!(solution.status().is_converged() && report.newton.is_none(), "{epsilon}: {report:?}");
        assert!(solution.history().iter().all(|progress| progress.phase != Phase::NewtonPasses));
    }
}

#[test]
fn what_newton_cannot_do_is_iterated_on() {
    let kinked = || penalty(TotalVariation::new(0.05).unwrap());
    let problems = [
        between_clouds(27, 1e-4, [kinked(), kinked()]),
        between_clouds(27, 1e-4, balanced()).with_regularizer(&SquaredL2).unwrap(),
    ];
    for problem in problems {
        let (solution, report) =
            Sinkhorn::new().tolerance(1e-9).max_iterations(500).run(&problem).solve_with_report().unwrap();
        assert!(report.newton.is_none() && solution.iterations() == report.iterations);
    }
}

#[test]
fn limits_are_kept_and_more_iterations_are_never_worse() {
    let problem = random_costs(50, 1.0, 3e-4, 1);
    let mut last = f64::NEG_INFINITY;
    for limit in [1, 5, 20, 60, 100, 200, 500, 2000, 10_000] {
        let solution = Sinkhorn::new().tolerance(1e-10).max_iterations(limit).solve(&problem).unwrap();
        assert!(solution.iterations() <= limit);
        let dual = solution.certificate().dual;
        assert!(dual >= last - 1e-12, "{limit}: {dual} after {last}");
        last = dual;
    }
}

#[test]
fn scale_and_threads_leave_the_bits() {
    let solve = |scale: f64, threads: usize| {
        let (solution, report) =
            Sinkhorn::new().tolerance(1e-9).run(&random_costs(40, scale, 1e-4, threads)).solve_with_report().unwrap();
        assert!(report.newton.is_some() && solution.status().is_converged());
        SIDES.map(|side| solution.potential(side).unwrap().iter().map(|value| value / scale).collect::<Vec<f64>>())
    };
    let one = solve(1.0, 1);
    assert!(one == solve(1.0, 3));
    for exponent in [-300, -7, 40] {
        assert!(one == solve(2.0_f64.powi(exponent), 1), "{exponent}");
    }
}

#[test]
fn columns_of_a_batch_are_handed_over() {
    let n = 40;
    let mut random = Seeded::new(33);
    let x = random.vector::<f64>(2 * n, 0.0, 1.0);
    let weights: Vec<f64> =
        (0..3).flat_map(|_| crate::support::normalized(random.vector::<f64>(n, 0.1, 1.0))).collect();
    let (a, b) = (PointCloud::uniform(x.clone(), 2).unwrap(), PointCloud::batch(x, 2, weights, 3).unwrap());
    let geometry = cpu(1).geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::RelativeToMean(5e-5)).unwrap();
    let (solution, report) = Sinkhorn::new().tolerance(1e-9).run(&problem).solve_with_report().unwrap();
    assert!(report.newton.is_some(), "{report:?}");
    assert!(solution.statuses().iter().all(Status::is_converged), "{:?}", solution.statuses());
}

#[test]
fn an_observer_may_cancel_newton() {
    let mut passes = 0;
    let mut observer = |progress: &Progress| {
        passes += usize::from(progress.phase == Phase::NewtonPasses);
        if passes == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let problem = random_costs(60, 1.0, 1e-4, 1);
    let solution = Sinkhorn::new().tolerance(1e-9).run(&problem).observer(&mut observer).solve().unwrap();
    assert_eq!((solution.status(), passes), (Status::Cancelled, 2));
    assert!(ot_core::certify(&problem, solution.potentials()).unwrap()[0].is_finite());
}
