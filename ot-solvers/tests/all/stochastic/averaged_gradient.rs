//! Stochastic averaged gradient.

use std::ops::ControlFlow;

use ot_core::{
    CostMatrix, Epsilon, Error, GeometryBuilder, Histogram, Manhattan, Measure, PointCloud, Problem, Progress, Side,
    SqEuclidean, Status,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Sinkhorn, StochasticAveragedGradient};

use super::support::cloud;
use crate::support::{SIDES, cpu, largest_difference};

#[test]
fn it_ends_where_sinkhorn_does() {
    let backend = cpu(2);
    let (source, target) = (cloud(1, 150, 2), cloud(2, 90, 2));
    for epsilon in [0.2, 0.02] {
        let rule = Epsilon::Absolute(epsilon);
        let geometry = backend.geometry(source.support(), target.support(), &Manhattan).unwrap();
        let problem = Problem::new(geometry, &source, &target, rule).unwrap();
        let expected = Sinkhorn::new().tolerance(1e-11).solve(&problem).unwrap();
        let solver = StochasticAveragedGradient::new().batch(16).tolerance(1e-9);
        let solution = solver.solve(&backend, &source, &target, &Manhattan, rule).unwrap();
        assert_eq!(solution.status(), Status::Converged);
        assert!((solution.certificate().dual - expected.certificate().dual).abs() < 1e-10);
        for side in SIDES {
            let [found, wanted] = [&solution, &expected].map(|solution| solution.potential(side).unwrap());
            assert!(largest_difference(&found, &wanted) < 1e-6, "{side}");
        }
    }
}

/// Where costs leave the range that epsilon can tell apart, potentials stay numbers and the certificate says what it is worth.
#[test]
fn epsilons_far_below_the_costs_are_told() {
    let backend = cpu(1);
    let cost = CostMatrix::new(vec![1e242, 3e241, -2e242, 7e241], 2, 2).unwrap();
    let (source, target) = (Histogram::new(vec![0.5, 0.5]).unwrap(), Histogram::new(vec![0.25, 0.75]).unwrap());
    let solver = StochasticAveragedGradient::new().batch(1).max_epochs(20);
    let solution = solver.solve(&backend, &source, &target, &cost, Epsilon::Absolute(0.05)).unwrap();
    assert!(!solution.status().is_converged());
    for side in SIDES {
        assert!(solution.potential(side).unwrap().iter().all(|value| value.is_finite()));
    }
}

/// An atom of little weight that only a large cost can reach: no error tells whether its mass is moved, the cost does.
#[test]
fn the_cost_of_light_atoms_far_away_is_paid() {
    let backend = cpu(1);
    let (weight, far) = (1e-12, 1e13);
    let cost = CostMatrix::new(vec![0.0, far], 1, 2).unwrap();
    let source = Histogram::new(vec![1.0 + weight]).unwrap();
    let target = Histogram::new(vec![1.0, weight]).unwrap();
    let solver = StochasticAveragedGradient::new().batch(1).tolerance(1e-3).max_epochs(3);
    let solution = solver.solve(&backend, &source, &target, &cost, Epsilon::Absolute(0.1)).unwrap();
    assert!(solution.certificate().primal >= far * weight * (1.0 - 1e-6), "{}", solution.certificate());
}

/// A matrix with forbidden pairs, weights of zero and masses other than one.
#[test]
fn matrices_masses_and_zero_weights_are_met() {
    let backend = cpu(1);
    let mut costs: Vec<f64> = (0..12 * 7).map(|k| f64::from((k * 37) % 23) / 23.0).collect();
    costs[3] = f64::INFINITY;
    costs[40] = f64::INFINITY;
    let cost = CostMatrix::new(costs, 12, 7).unwrap();
    let a: Vec<f64> = (0..12).map(|i| if i == 5 { 0.0 } else { 0.1 + 0.02 * f64::from(i) }).collect();
    let mass: f64 = a.iter().sum();
    let b: Vec<f64> = [0.2, 0.0, 0.1, 0.3, 0.15, 0.15, 0.1].iter().map(|b| b * mass).collect();
    let (source, target) = (Histogram::new(a).unwrap(), Histogram::new(b).unwrap());
    let rule = Epsilon::Absolute(0.1);
    let geometry = backend.geometry(source.support(), target.support(), &cost).unwrap();
    let problem = Problem::new(geometry, &source, &target, rule).unwrap();
    let expected = Sinkhorn::new().tolerance(1e-11).solve(&problem).unwrap();
    for batch in [1, 5, 100] {
        let solver = StochasticAveragedGradient::new().batch(batch).tolerance(1e-9);
        let solution = solver.solve(&backend, &source, &target, &cost, rule).unwrap();
        assert_eq!(solution.status(), Status::Converged, "{batch}");
        assert!((solution.certificate().dual - expected.certificate().dual).abs() < 1e-9);
        for side in SIDES {
            let [found, wanted] = [&solution, &expected].map(|solution| solution.potential(side).unwrap());
            assert!(largest_difference(&found, &wanted) < 1e-6, "{side} {found:?} {wanted:?}");
        }
    }
}

#[test]
fn a_seed_gives_the_same_bits_on_any_threads() {
    let (source, target) = (cloud(3, 80, 2), cloud(4, 70, 2));
    let solve = |threads: usize, seed: u64| {
        let backend = cpu(threads);
        let solver = StochasticAveragedGradient::new().batch(8).max_epochs(5).tolerance(1e-12).seed(seed);
        let solution = solver.solve(&backend, &source, &target, &SqEuclidean, Epsilon::Absolute(0.05)).unwrap();
        assert_eq!((solution.status(), solution.iterations()), (Status::IterationLimit, 5));
        let potential = solution.potential(Side::Target).unwrap();
        potential.iter().map(|g| g.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(solve(1, 1), solve(3, 1));
    assert_ne!(solve(1, 1), solve(1, 2));
}

#[test]
fn single_precision_converges_to_what_it_can() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let narrow = |seed| {
        let cloud = cloud(seed, 60, 2);
        let elements = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<_>>();
        PointCloud::new(elements(cloud.points().coordinates()), 2, elements(cloud.weights_view().values())).unwrap()
    };
    let (source, target) = (narrow(1), narrow(2));
    let rule = Epsilon::Absolute(0.1);
    let solve = |solver: StochasticAveragedGradient| solver.solve(&backend, &source, &target, &SqEuclidean, rule);
    let solver = StochasticAveragedGradient::new().batch(16);
    assert_eq!(solve(solver).unwrap().status(), Status::Converged);
    let limit = solve(solver.tolerance(1e-7).max_epochs(300)).unwrap().status();
    assert!(matches!(limit, Status::PrecisionLimit { .. } | Status::IterationLimit), "{limit}");
}

#[test]
fn observers_cancel_and_bad_input_is_refused() {
    let backend = cpu(1);
    let (source, target) = (cloud(5, 40, 1), cloud(6, 30, 1));
    let rule = Epsilon::Absolute(0.05);
    let mut epochs = 0;
    let mut observer = |progress: &Progress| {
        epochs = progress.done;
        if epochs == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let solver = StochasticAveragedGradient::new().tolerance(1e-12).batch(4);
    let run = solver.run(&backend, &source, &target, &SqEuclidean, rule).observer(&mut observer);
    let solution = run.solve().unwrap();
    assert_eq!((solution.status(), solution.iterations(), epochs), (Status::Cancelled, 4, 4));
    assert!(solution.certificate().gap.is_finite());

    let new = StochasticAveragedGradient::new;
    for bad in [new().batch(0), new().step(0.0), new().tolerance(f64::NAN), new().max_epochs(0)] {
        let refused = bad.solve(&backend, &source, &target, &SqEuclidean, rule).err();
        assert!(matches!(refused, Some(Error::Parameter { .. })), "{bad:?}");
    }
    let batch = PointCloud::batch(vec![0.0, 1.0], 1, vec![0.5, 0.5, 0.3, 0.7], 2).unwrap();
    let refused = new().solve(&backend, &batch, &target, &SqEuclidean, rule).err();
    assert!(matches!(refused, Some(Error::BatchMismatch { .. })), "{refused:?}");
}
