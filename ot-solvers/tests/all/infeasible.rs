//! Forbidden pairs that leave no plan are said with a cut, and soon.

use ot_conformance::Seeded;
use ot_core::{CostMatrix, Epsilon, Error, GeometryBuilder, Histogram, Host, Measure, Problem, Status};
use ot_solvers::{HandOver, Newton, Relaxation, Sinkhorn, SparseCosts, Start};

use crate::support::{backends, cpu, normalized};

const NO: f64 = f64::INFINITY;

fn of_matrix(costs: &[f64], a: &[f64], b: &[f64], epsilon: f64) -> Problem<Host<f64>> {
    let cost = CostMatrix::new(costs.to_vec(), a.len(), b.len()).unwrap();
    let (a, b) = (Histogram::new(a).unwrap(), Histogram::new(b).unwrap());
    let geometry = cpu(1).geometry(a.support(), b.support(), &cost).unwrap();
    Problem::new(geometry, &a, &b, Epsilon::Absolute(epsilon)).unwrap()
}

/// Costs between n atoms, of which the first `few` sources may only send to the first `few` targets.
fn with_cut(n: usize, few: usize) -> Vec<f64> {
    let costs = Seeded::new(51).vector::<f64>(n * n, 0.0, 1.0);
    let is_cut = |pair: usize| pair / n < few && pair % n >= few;
    costs.into_iter().enumerate().map(|(pair, cost)| if is_cut(pair) { NO } else { cost }).collect()
}

/// The cut is violated: its sources have more mass than all targets at finite cost from any of them.
fn assert_violated(error: Error, a: &[f64], b: &[f64], costs: &[f64]) {
    let Error::Infeasible { sources, mass, reachable } = error else { panic!("{error}") };
    let supply: f64 = sources.iter().map(|&i| a[i as usize]).sum();
    let is_reachable = |j: &usize| sources.iter().any(|&i| costs[i as usize * b.len() + j] < NO);
    let asked: f64 = (0..b.len()).filter(is_reachable).map(|j| b[j]).sum();
    assert!(supply > asked && (supply - mass).abs() < 1e-13 && (asked - reachable).abs() < 1e-13);
}

#[test]
fn every_solver_names_a_violated_cut() {
    let n = 30;
    let b = vec![1.0 / n as f64; n];
    for (few, excess) in [(1, 1.5), (10, 1.2), (10, 1.01), (29, 1.001)] {
        let costs = with_cut(n, few);
        let a = normalized((0..n).map(|i| if i < few { excess / n as f64 } else { rest(n, few, excess) }).collect());
        for epsilon in [1.0, 0.05, 1e-3] {
            let problem = of_matrix(&costs, &a, &b, epsilon);
            for hand_over in [HandOver::Automatic, HandOver::Never] {
                let sinkhorn = Sinkhorn::new().hand_over(hand_over);
                assert_violated(sinkhorn.solve(&problem).unwrap_err(), &a, &b, &costs);
            }
            assert_violated(Newton::new().solve(&problem).unwrap_err(), &a, &b, &costs);
            let start = Start::Host { source: vec![0.0; n], target: vec![0.0; n] };
            assert_violated(Newton::new().run(&problem).start(start).solve().unwrap_err(), &a, &b, &costs);
        }
    }
}

/// The mass of each source beyond the cut, so that all have a mass of one.
fn rest(n: usize, few: usize, excess: f64) -> f64 {
    (1.0 - excess * few as f64 / n as f64) / (n - few) as f64
}

#[test]
fn it_is_said_soon() {
    let n = 40;
    let (costs, b) = (with_cut(n, 15), vec![1.0 / n as f64; n]);
    let a: Vec<f64> = (0..n).map(|i| if i < 15 { 1.1 / n as f64 } else { rest(n, 15, 1.1) }).collect();
    let problem = of_matrix(&costs, &a, &b, 0.05);
    let mut last = 0;
    let mut observer = |progress: &ot_core::Progress| {
        last = progress.done;
        std::ops::ControlFlow::Continue(())
    };
    let error = Sinkhorn::new().run(&problem).observer(&mut observer).solve().unwrap_err();
    assert_violated(error, &a, &b, &costs);
    assert!(last < 300, "{last} iterations");
}

#[test]
fn what_is_feasible_is_not_refused() {
    // The same cut with as much mass on both sides: no plan has room to spare.
    let n = 24;
    let (costs, weights) = (with_cut(n, 8), vec![1.0 / n as f64; n]);
    for epsilon in [0.5, 1e-2, 1e-4] {
        let problem = of_matrix(&costs, &weights, &weights, epsilon);
        for relaxation in [Relaxation::Adaptive, Relaxation::Off] {
            let solution = Sinkhorn::new().relaxation(relaxation).max_iterations(300).solve(&problem).unwrap();
            assert!(solution.certificate().is_finite());
        }
        let limited = Sinkhorn::new().tolerance(1e-12).max_iterations(3).solve(&problem).unwrap();
        assert!(matches!(limited.status(), Status::IterationLimit | Status::Converged));
        assert!(Newton::new().solve(&problem).is_ok());
    }
}

#[test]
fn kernels_that_store_nothing_name_it_too() {
    // Three sources, two of which have the last target alone.
    let pairs = vec![(0, 0, 0.3), (0, 1, 0.2), (0, 2, 0.1), (1, 2, 0.5), (2, 2, 0.4)];
    let cost = SparseCosts::new(3, 3, pairs).unwrap();
    let (a, b) = (Histogram::new(vec![0.3, 0.3, 0.4]).unwrap(), Histogram::new(vec![0.5, 0.25, 0.25]).unwrap());
    for backend in backends(1) {
        let geometry = backend.geometry(a.support(), b.support(), &cost).unwrap();
        let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1)).unwrap();
        let Err(Error::Infeasible { sources, mass, reachable }) = Sinkhorn::new().solve(&problem) else { panic!() };
        assert!(sources == [1, 2] && (mass - 0.7).abs() < 1e-15 && reachable == 0.25);
    }
}
