//! Averaged stochastic gradient ascent.

use std::ops::ControlFlow;

use ot_conformance::ReferenceBackend;
use ot_core::{
    Epsilon, Error, Euclidean, GeometryBuilder, Measure, PointCloud, Problem, Progress, SqEuclidean, Status,
};
use ot_cpu::CpuBackend;
use ot_solvers::{AveragedSgd, PointSampler, Random, Sinkhorn};

use super::support::{atoms_of, cloud, interval};
use crate::support::cpu;

/// On the line the cells of the atoms follow each other, each of the mass of its atom.
#[test]
fn cells_of_the_line_are_known() {
    let backend = cpu(2);
    let (points, weights) = (vec![0.9, 0.1, 0.4, 0.65], vec![0.1, 0.3, 0.2, 0.4]);
    // In order 0.1, 0.4, 0.65, 0.9: their cells end at 0.3, 0.5, 0.9.
    let order = [(0.1, 0.0, 0.3), (0.4, 0.3, 0.5), (0.65, 0.5, 0.9), (0.9, 0.9, 1.0)];
    let cube = |x: f64| x * x * x / 3.0;
    let optimum: f64 = order.iter().map(|(y, low, high)| cube(high - y) - cube(low - y)).sum();
    let target = PointCloud::new(points, 1, weights).unwrap();
    let solver = AveragedSgd::new(0.0).tolerance(0.02).batch(256).seed(3);
    let solution = solver.solve(&backend, &interval(), &target, &SqEuclidean).unwrap();
    assert_eq!(solution.status(), Status::Converged);

    // At the end of a cell both neighbours cost the same.
    let g = solution.potential();
    for (one, other, end) in [(1, 2, 0.3), (2, 3, 0.5), (3, 0, 0.9)] {
        let y: Vec<f64> = target.points().coordinates().to_vec();
        let met = (y[other].powi(2) - y[one].powi(2) + g[one] - g[other]) / (2.0 * (y[other] - y[one]));
        assert!((met - end).abs() < 0.02, "{met} {end}");
    }
    let estimate = solution.estimate();
    assert!(estimate.marginal_error() < 0.03, "{estimate:?}");
    let slack = 4.0 * estimate.semi_dual.standard_error;
    assert!((estimate.semi_dual.value - optimum).abs() < slack + 1e-3, "{estimate:?} {optimum}");
    // The gauge shares the value between both sides.
    let gain: f64 = g.iter().zip(target.weights_view().values()).map(|(g, b)| g * b).sum();
    assert!((2.0 * gain - estimate.semi_dual.value).abs() < 1e-12);
}

/// Samples of a discrete measure lead to its own optimum, under any cost.
#[test]
fn samples_of_atoms_lead_to_their_sinkhorn() {
    let backend = cpu(2);
    let (source, target) = (cloud(1, 60, 2), cloud(2, 40, 2));
    let epsilon = 0.05;
    let geometry = backend.geometry(source.support(), target.support(), &Euclidean).unwrap();
    let problem = Problem::new(geometry, &source, &target, Epsilon::Absolute(epsilon)).unwrap();
    let exact = Sinkhorn::new().tolerance(1e-9).solve(&problem).unwrap();
    let solver = AveragedSgd::new(epsilon).tolerance(1e-2).batch(128);
    let solution = solver.solve(&backend, &atoms_of(&source), &target, &Euclidean).unwrap();
    assert_eq!(solution.status(), Status::Converged);
    let (value, optimum) = (solution.estimate().semi_dual, exact.certificate().dual);
    assert!((value.value - optimum).abs() < 4.0 * value.standard_error + 1e-4, "{value:?} {optimum}");
    let expected = exact.potential(ot_core::Side::Target).unwrap();
    let mean = |values: &[f64]| values.iter().zip(target.weights_view().values()).map(|(g, b)| g * b).sum::<f64>();
    let shift = mean(solution.potential()) - mean(&expected);
    let far = solution.potential().iter().zip(&expected).map(|(g, e)| (g - e - shift).abs()).fold(0.0, f64::max);
    assert!(far < 0.3 * epsilon, "{far}");
}

#[test]
fn a_seed_gives_the_same_bits_on_any_threads() {
    let target = cloud(5, 50, 3);
    let cube = PointSampler::new(3, |random: &mut Random, point: &mut [f64]| {
        point.iter_mut().for_each(|x| *x = 0.2 * random.normal() + 0.5);
    });
    let solve = |threads: usize, seed: u64| {
        let backend = cpu(threads);
        let solver = AveragedSgd::new(0.1).max_samples(20_000).tolerance(1e-9).seed(seed);
        let solution = solver.solve(&backend, &cube, &target, &SqEuclidean).unwrap();
        assert_eq!(solution.status(), Status::IterationLimit);
        solution.potential().iter().map(|g| g.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(solve(1, 1), solve(3, 1));
    assert_ne!(solve(1, 1), solve(1, 2));
}

#[test]
fn single_precision_and_other_backends_serve_too() {
    let target = PointCloud::new(vec![0.1_f32, 0.5, 0.8], 1, vec![0.25_f32, 0.5, 0.25]).unwrap();
    let interval = PointSampler::new(1, |random: &mut Random, point: &mut [f32]| point[0] = random.uniform() as f32);
    let solver = AveragedSgd::new(0.02).tolerance(0.03);
    let cpu = CpuBackend::<f32>::new(1).unwrap().with_dense_limit(0);
    let solution = solver.solve(&cpu, &interval, &target, &SqEuclidean).unwrap();
    assert!(solution.status().is_converged() && solution.estimate().marginal_error() < 0.05);
    let reference = ReferenceBackend::<f32>::default();
    let other = solver.solve(&reference, &interval, &target, &SqEuclidean).unwrap();
    assert_eq!(other.status(), Status::Converged);
    let far = solution.potential().iter().zip(other.potential()).map(|(g, h)| (g - h).abs()).fold(0.0, f64::max);
    assert!(far < 5e-3, "{far}");
}

#[test]
fn observers_are_told_and_may_cancel() {
    let backend = cpu(1);
    let target = cloud(7, 10, 1);
    let mut told = Vec::new();
    let mut observer = |progress: &Progress| {
        told.push(*progress);
        if told.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let solver = AveragedSgd::new(0.1).tolerance(1e-9);
    let solution = solver.run(&backend, &interval(), &target, &SqEuclidean).observer(&mut observer).solve().unwrap();
    assert_eq!((solution.status(), solution.history()), (Status::Cancelled, told.as_slice()));
    assert!(told.windows(2).all(|pair| pair[0].done < pair[1].done));
}

#[test]
fn zero_weights_and_single_atoms_are_legal() {
    let backend = cpu(1);
    for epsilon in [0.0, 0.05] {
        let solver = AveragedSgd::new(epsilon).tolerance(0.05);
        let target = PointCloud::new(vec![0.2, 0.5, 0.9], 1, vec![0.5, 0.0, 0.5]).unwrap();
        let solution = solver.solve(&backend, &interval(), &target, &SqEuclidean).unwrap();
        assert!(solution.status().is_converged() && solution.potential().iter().all(|g| g.is_finite()));
        // One atom gets everything: E (x - 0.3)^2 = 1/3 - 0.3 + 0.09.
        let alone = PointCloud::uniform(vec![0.3], 1).unwrap();
        let solution = solver.solve(&backend, &interval(), &alone, &SqEuclidean).unwrap();
        let value = solution.estimate().semi_dual;
        assert!(solution.status().is_converged() && solution.estimate().marginal_error() < 1e-6);
        assert!((value.value - (1.0 / 3.0 - 0.21)).abs() < 5.0 * value.standard_error, "{value:?}");
    }
}

#[test]
fn bad_input_is_refused() {
    let backend = cpu(1);
    let (target, heavy) = (cloud(1, 5, 1), PointCloud::new(vec![0.1, 0.2], 1, vec![1.0, 1.0]).unwrap());
    let solve = |solver: AveragedSgd| solver.solve(&backend, &interval(), &target, &SqEuclidean).err();
    assert!(matches!(solve(AveragedSgd::new(-1.0)), Some(Error::Epsilon(_))));
    assert!(matches!(solve(AveragedSgd::new(f64::NAN)), Some(Error::Epsilon(_))));
    for bad in [
        AveragedSgd::new(0.1).batch(0),
        AveragedSgd::new(0.1).step(-1.0),
        AveragedSgd::new(0.1).tolerance(0.0),
        AveragedSgd::new(0.1).max_samples(0),
    ] {
        assert!(matches!(solve(bad), Some(Error::Parameter { .. })), "{bad:?}");
    }
    let solver = AveragedSgd::new(0.1);
    let refused = solver.solve(&backend, &interval(), &heavy, &SqEuclidean).err();
    assert!(matches!(refused, Some(Error::MassMismatch { .. })));
    let plane = cloud(1, 5, 2);
    let refused = solver.solve(&backend, &interval(), &plane, &SqEuclidean).err();
    assert!(matches!(refused, Some(Error::DimensionMismatch { .. })), "{refused:?}");
    let broken = PointSampler::new(1, |_: &mut Random, point: &mut [f64]| point[0] = f64::NAN);
    let refused = solver.solve(&backend, &broken, &target, &SqEuclidean).err();
    assert!(matches!(refused, Some(Error::Coordinate { .. })), "{refused:?}");
    let refused = solver.estimate(&backend, &interval(), &target, &SqEuclidean, &[0.0], 100).err();
    assert!(matches!(refused, Some(Error::Length { .. })));
}

/// What steps round away is no part of the value: costs far below a unit of the steps are told.
#[test]
fn values_of_single_atoms_are_their_costs() {
    for epsilon in [0.0, 1e-40] {
        let (x, y) = (-5.673_787e-18, 6.908_421e-18);
        let source = PointCloud::uniform(vec![x], 1).unwrap();
        let target = PointCloud::uniform(vec![y], 1).unwrap();
        let solver = AveragedSgd::new(epsilon).batch(7).max_samples(500).seed(3);
        let solution = solver.solve(&cpu(1), &atoms_of(&source), &target, &SqEuclidean).unwrap();
        let (found, expected) = (solution.estimate().semi_dual.value, (x - y) * (x - y));
        assert!((found - expected).abs() < 1e-12 * expected, "{epsilon:e}: {found:e} {expected:e}");
    }
    let sampler = PointSampler::new(1, |_: &mut Random, point: &mut [f32]| point.fill(1.0));
    let target = PointCloud::new(vec![1.0_f32], 1, vec![1.0]).unwrap();
    let solver = AveragedSgd::new(0.0).batch(7).max_samples(500).seed(355);
    let solution = solver.solve(&CpuBackend::<f32>::new(1).unwrap(), &sampler, &target, &SqEuclidean).unwrap();
    assert_eq!(solution.estimate().semi_dual.value, 0.0);
}
