//! Debiased barycenters, and the gap that stops them.

use ot_core::{Error, GeometryBuilder, Measure, Problem, SqEuclidean, Status};
use ot_solvers::{DebiasedBarycenter, Sinkhorn};

use super::support::{Cloud, bump, l1, line, on, problem, shapes, uniform, variance};
use crate::support::{assert_close, cpu};

/// sum_k lambda_k OT(a_k, p) - OT(p, p) / 2, from scratch.
fn objective(inputs: &[Cloud], lambda: &[f64], p: &Cloud, epsilon: f64) -> f64 {
    let backend = cpu(1);
    let value = |a: &Cloud, b: &Cloud| {
        let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let problem = Problem::new(geometry, a, b, ot_core::Epsilon::Absolute(epsilon)).unwrap();
        Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap().certificate().dual
    };
    let terms = inputs.iter().zip(lambda).map(|(input, lambda)| lambda * value(input, p));
    terms.sum::<f64>() - 0.5 * value(p, p)
}

/// Normal laws stay as wide as they are: one input is its own barycenter, two are averaged as without entropy.
#[test]
fn the_blur_is_gone() {
    let points = line(81, 4.0);
    let epsilon = 0.2;
    for (deviations, expected) in [(vec![0.7], 0.49), (vec![0.6, 1.0], 0.64)] {
        let inputs: Vec<Cloud> = deviations.iter().map(|&deviation| on(&points, bump(0.0, deviation))).collect();
        let lambda = vec![1.0 / inputs.len() as f64; inputs.len()];
        let problem = problem(&cpu(2), &inputs, &lambda, &uniform(&points), epsilon);
        let solution = DebiasedBarycenter::new().tolerance(1e-3).solve(&problem).unwrap();
        assert!(solution.status().is_converged(), "{:?} {:?}", solution.status(), solution.gaps());
        // Epsilon / 2 = 0.1 wider with the blur.
        assert_close(variance(&points, solution.measure()), expected, 1e-2);
    }
}

/// The gap bounds what is left, and p is within it of the best that is found by going on.
#[test]
fn the_gap_is_honest_and_nothing_converges_before_it() {
    let points = line(40, 1.0);
    let (inputs, lambda, epsilon) = (shapes(&points), [0.5, 0.2, 0.3], 0.02);
    let problem = problem(&cpu(2), &inputs, &lambda, &uniform(&points), epsilon);
    let at = |iterations: usize| {
        let settings = DebiasedBarycenter::new().tolerance(1e-9).max_iterations(iterations);
        settings.check_interval(iterations).solve(&problem).unwrap()
    };
    let value = |p: &[f64]| {
        let cloud = ot_core::PointCloud::new(points.clone(), 1, p.to_vec()).unwrap();
        objective(&inputs, &lambda, &cloud, epsilon)
    };
    let best = at(4000);
    let mut last = f64::INFINITY;
    for iterations in [5, 50, 500] {
        let solution = at(iterations);
        assert_eq!(solution.status(), Status::IterationLimit);
        let left = value(solution.measure()) - value(best.measure());
        assert!(left > 0.0 && left <= solution.gaps()[0] * (1.0 + 1e-6) + 1e-9, "{left} {:?}", solution.gaps());
        assert!(solution.gaps()[0] < last);
        last = solution.gaps()[0];
        assert_close(solution.measure().iter().sum::<f64>(), 1.0, 1e-12);
    }
}

#[test]
fn batches_are_singles_and_bad_input_is_refused() {
    let points = line(30, 1.0);
    let inputs = [on(&points, bump(-0.3, 0.2)), on(&points, bump(0.4, 0.3))];
    let reference = uniform(&points);
    let batch = problem(&cpu(1), &inputs, &[0.5, 0.5, 0.2, 0.8], &reference, 0.1);
    let settings = DebiasedBarycenter::new().max_iterations(40).tolerance(1e-12);
    let both = settings.solve(&batch).unwrap();
    for (column, weights) in [[0.5, 0.5], [0.2, 0.8]].iter().enumerate() {
        let single = settings.solve(&problem(&cpu(1), &inputs, weights, &reference, 0.1)).unwrap();
        let apart = l1(&both.measure()[30 * column..][..30], single.measure());
        assert!(apart < 1e-9, "{apart:e}");
        assert_close(both.gaps()[column], single.gaps()[0], 1e-4);
    }
    let elsewhere = problem(&cpu(1), &[on(&line(20, 1.0), bump(0.0, 0.2))], &[1.0], &reference, 0.1);
    assert!(matches!(settings.solve(&elsewhere), Err(Error::Length { .. })));
    let own = cpu(1).geometry(reference.support(), reference.support(), &SqEuclidean).unwrap();
    assert!(settings.run(&elsewhere).geometry(own).solve().is_ok());
    assert!(matches!(settings.clone().tolerance(-1.0).solve(&batch), Err(Error::Parameter { .. })));
}
