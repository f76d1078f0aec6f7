//! Observers, warm starts, annealing, and how often the host waits.

use std::{ops::ControlFlow, sync::Arc};

use ot_conformance::Counting;
use ot_core::{JointProblem, JointTerm, Phase, Progress, Status};
use ot_solvers::{Annealing, BregmanProjections, Relaxation};

use super::support::{l1, line, problem, shapes, solve, uniform};
use crate::support::cpu;

#[test]
fn an_observer_sees_the_dual_rise_and_may_cancel() {
    let points = line(50, 1.0);
    let problem = problem(&cpu(1), &shapes(&points), &[0.5, 0.2, 0.3], &uniform(&points), 0.02);
    let plain = BregmanProjections::new().relaxation(Relaxation::Off).annealing(Annealing::Off).tolerance(1e-8);
    let solution = solve(&plain, &problem);
    let duals: Vec<f64> = solution.history().iter().filter_map(|progress| progress.dual).collect();
    assert!(duals.len() > 3 && duals.windows(2).all(|pair| pair[1] >= pair[0] - 1e-12), "{duals:?}");
    assert!((duals.last().unwrap() - solution.certificate().dual).abs() < 1e-8);

    let mut seen = 0;
    let mut observer = |progress: &Progress| {
        seen += 1;
        assert_eq!(progress.phase, Phase::Iterations);
        if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let cancelled = plain.run(&problem).observer(&mut observer).solve().unwrap();
    assert_eq!((cancelled.status(), cancelled.iterations()), (Status::Cancelled, 10));
    assert!(cancelled.certificate().gap.is_finite() && cancelled.certificate().dual <= solution.certificate().primal);
}

#[test]
fn a_warm_start_is_nearly_there() {
    let points = line(50, 1.0);
    let at = |weights: [f64; 3]| problem(&cpu(1), &shapes(&points), &weights, &uniform(&points), 0.01);
    let settings = BregmanProjections::new().tolerance(1e-8);
    let cold = solve(&settings, &at([0.5, 0.2, 0.3]));
    let again = settings.run(&at([0.5, 0.2, 0.3])).start(cold.potentials()).solve().unwrap();
    assert!(again.status().is_converged() && again.iterations() <= 5, "{}", again.iterations());
    // Potentials that do not cancel for other weights are made to.
    let near = settings.run(&at([0.48, 0.22, 0.3])).start(cold.potentials()).solve().unwrap();
    let from_zero = solve(&settings, &at([0.48, 0.22, 0.3]));
    assert!(near.status().is_converged() && near.iterations() <= from_zero.iterations());
    assert!(l1(&near.measure(0).unwrap(), &from_zero.measure(0).unwrap()) < 1e-6);
}

#[test]
fn annealing_ends_where_the_plain_way_does() {
    let points = line(40, 1.0);
    let problem = problem(&cpu(1), &shapes(&points), &[0.5, 0.2, 0.3], &uniform(&points), 0.01);
    let annealed = BregmanProjections::new().annealing(Annealing::Geometric { start: Some(1.0), factor: 0.3 });
    let annealed = solve(&annealed.tolerance(1e-9), &problem);
    let direct = solve(&BregmanProjections::new().annealing(Annealing::Off).tolerance(1e-9), &problem);
    assert!(annealed.status().is_converged() && direct.status().is_converged());
    assert!(annealed.history().iter().any(|progress| progress.phase == Phase::Annealing));
    assert!(l1(&annealed.measure(0).unwrap(), &direct.measure(0).unwrap()) < 1e-7);
}

/// Nothing is read, allocated or written between checks.
#[test]
fn the_host_waits_at_checks_only() {
    let points = line(40, 1.0);
    let problem = problem(&cpu(1), &shapes(&points), &[0.5, 0.2, 0.3], &uniform(&points), 0.002);
    let counting = Arc::new(Counting::new(problem.terms()[0].problem.geometry().backend()));
    let audited = |term: &JointTerm<_>| JointTerm {
        problem: term.problem.clone().with_backend(counting.clone()),
        ..term.clone()
    };
    let audited = JointProblem::new(problem.terms().iter().map(audited).collect()).unwrap();
    let counts = |iterations: usize| {
        let before = counting.counts();
        let settings = BregmanProjections::new().annealing(Annealing::Off).tolerance(1e-13).check_interval(iterations);
        let solution = settings.max_iterations(iterations).solve(&audited).unwrap();
        assert_eq!(solution.iterations(), iterations);
        counting.counts().since(before)
    };
    let (short, long) = (counts(10), counts(30));
    assert_eq!((short.reads, short.allocations, short.writes), (long.reads, long.allocations, long.writes));
}
