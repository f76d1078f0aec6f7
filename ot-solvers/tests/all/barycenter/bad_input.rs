//! What is asked wrongly is refused, and forbidden pairs are kept to.

use ot_core::{CostMatrix, Epsilon, Error, GeometryBuilder, Histogram, Measure, PointCloud, SqEuclidean};
use ot_solvers::{Barycenter, BregmanProjections, Relaxation, barycenter};

use super::support::{line, on, problem, shapes, solve, uniform};
use crate::support::{assert_close, cpu};

#[test]
fn weights_that_are_none() {
    let points = line(10, 1.0);
    let [a, b, _] = shapes(&line(40, 1.0));
    let reference = uniform(&points);
    let of = |weights: &[f64]| {
        barycenter(&cpu(1), &[&a, &b], weights, &reference, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap_err()
    };
    assert!(matches!(of(&[0.5, -0.5]), Error::Weight { index: 1, column: 0, .. }));
    assert!(matches!(of(&[f64::NAN, 0.5]), Error::Weight { index: 0, .. }));
    assert!(matches!(of(&[0.5, 0.5, 0.5, f64::INFINITY]), Error::Weight { index: 1, column: 1, .. }));
    assert!(matches!(of(&[0.5, 0.5, 0.0, 0.0]), Error::Mass { column: 1, .. }));
    for weights in [&[][..], &[1.0], &[0.2, 0.3, 0.5]] {
        assert!(matches!(of(weights), Error::Length { what: "weights of the inputs", .. }), "{weights:?}");
    }
}

#[test]
fn inputs_that_do_not_fit() {
    let points = line(10, 1.0);
    let (a, reference, backend) = (on(&points, |_| 1.0), uniform(&points), cpu(1));
    let of = |inputs: &[&dyn Measure<f64>], weights: &[f64]| {
        barycenter(&backend, inputs, weights, &reference, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap_err()
    };
    assert!(matches!(of(&[], &[]), Error::Length { .. }));
    let none = Barycenter::new(&backend, &reference, &SqEuclidean, Epsilon::Absolute(0.1)).problem();
    assert_eq!(none.unwrap_err(), Error::EmptyMeasure);
    let heavy = PointCloud::new(points.clone(), 1, vec![1.0; 10]).unwrap();
    assert!(matches!(of(&[&a, &heavy], &[0.5, 0.5]), Error::MassMismatch { .. }));
    // At least as much as ten atoms can share: 2.2e-308 / 2.2e-16 each.
    let of_mass = |mass: f64| PointCloud::new(points.clone(), 1, vec![mass / 10.0; 10]).unwrap();
    let error = of(&[&of_mass(1e-300)], &[1.0]);
    assert!(matches!(error, Error::MassUnderflow { column: 0, element: "f64", .. }), "{error}");
    let small = of_mass(1e-290);
    let epsilon = Epsilon::Absolute(0.1);
    let least = barycenter(&backend, &[&small], &[1.0], &reference, &SqEuclidean, epsilon).unwrap();
    assert!((least.measure(0).unwrap().iter().sum::<f64>() / 1e-290 - 1.0).abs() < 1e-6);
    let plane = PointCloud::uniform(vec![0.0; 4], 2).unwrap();
    assert!(matches!(of(&[&plane], &[1.0]), Error::DimensionMismatch { .. }));
    let batch = PointCloud::batch(points.clone(), 1, vec![0.1; 20], 2).unwrap();
    let three = PointCloud::batch(points.clone(), 1, vec![0.1; 30], 3).unwrap();
    assert!(matches!(of(&[&batch, &three], &[0.5, 0.5]), Error::BatchMismatch { .. }));
    assert!(matches!(of(&[&batch], &[0.5, 0.5, 0.5]), Error::BatchMismatch { .. }));
    for epsilon in [0.0, -1.0, f64::NAN] {
        let error = barycenter(&backend, &[&a], &[1.0], &reference, &SqEuclidean, Epsilon::Absolute(epsilon));
        assert!(matches!(error.unwrap_err(), Error::Epsilon(_)));
    }
}

#[test]
fn settings_out_of_range() {
    let points = line(10, 1.0);
    let problem = problem(&cpu(1), &[on(&points, |_| 1.0)], &[1.0], &uniform(&points), 0.1);
    for settings in [
        BregmanProjections::new().tolerance(0.0),
        BregmanProjections::new().max_iterations(0),
        BregmanProjections::new().check_interval(0),
        BregmanProjections::new().relaxation(Relaxation::Fixed(2.0)),
    ] {
        assert!(matches!(settings.solve(&problem).unwrap_err(), Error::Parameter { .. }), "{settings:?}");
    }
    let (one, two) = (BregmanProjections::new(), problem.clone());
    let solution = one.solve(&two).unwrap();
    let twice = [solution.potentials()[0].clone(), solution.potentials()[0].clone()];
    assert!(matches!(one.run(&two).start(&twice).solve().unwrap_err(), Error::Length { .. }));
}

/// Costs 0 and 1 between two atoms, and a third atom that only one of two inputs may use.
#[test]
fn forbidden_pairs_are_kept_to() {
    let backend = cpu(1);
    let half = Histogram::new(vec![0.5, 0.5]).unwrap();
    let other = Histogram::new(vec![0.25, 0.75]).unwrap();
    let reference = Histogram::uniform(3).unwrap();
    let free = CostMatrix::new(vec![0.0, 1.0, 0.5, 1.0, 0.0, 0.5], 2, 3).unwrap();
    let barred = CostMatrix::new(vec![0.0, 1.0, f64::INFINITY, 1.0, 0.0, f64::INFINITY], 2, 3).unwrap();
    let geometry = |cost: &CostMatrix<'_, f64>| backend.geometry(half.support(), reference.support(), cost).unwrap();
    let of = |first: &CostMatrix<'_, f64>, second: &CostMatrix<'_, f64>| {
        Barycenter::new(&backend, &reference, &free, Epsilon::Absolute(0.1))
            .input_over(geometry(first), &half, &[0.3], &ot_core::Balanced)
            .unwrap()
            .input_over(geometry(second), &other, &[0.7], &ot_core::Balanced)
            .unwrap()
            .problem()
    };
    let solution = solve(&BregmanProjections::new().tolerance(1e-9), &of(&free, &barred).unwrap());
    let p = solution.measure(0).unwrap();
    assert!(solution.status().is_converged(), "{:?} {:?}", solution.status(), solution.certificate());
    assert_eq!(p[2], 0.0);
    assert_close(p[0] + p[1], 1.0, 1e-12);

    // Nothing that both can reach.
    let elsewhere = CostMatrix::new(vec![f64::INFINITY, f64::INFINITY, 0.5, f64::INFINITY, f64::INFINITY, 0.5], 2, 3);
    let error = of(&elsewhere.unwrap(), &barred).unwrap_err();
    assert!(matches!(error, Error::Infeasible { .. }), "{error}");
    // One atom of an input that has no way to what both can reach.
    let lame = CostMatrix::new(vec![f64::INFINITY, f64::INFINITY, 0.5, 1.0, 0.0, 0.5], 2, 3).unwrap();
    let error = of(&lame, &barred).unwrap_err();
    assert!(matches!(error, Error::Stranded { index: 0, .. }), "{error}");
}

/// A term without weight neither moves the barycenter nor its proof.
#[test]
fn weights_of_zero_are_no_inputs() {
    let points = line(40, 1.0);
    let [a, b, c] = shapes(&points);
    let reference = uniform(&points);
    let settings = BregmanProjections::new().tolerance(1e-10);
    let two = solve(&settings, &problem(&cpu(1), &[a.clone(), b.clone()], &[0.5, 0.5], &reference, 0.02));
    let three = solve(&settings, &problem(&cpu(1), &[a, b, c], &[0.5, 0.5, 0.0], &reference, 0.02));
    assert!(super::support::l1(&two.measure(0).unwrap(), &three.measure(0).unwrap()) < 1e-8);
    assert_close(two.certificate().primal, three.certificate().primal, 1e-10);
    // Its plan leads to the barycenter all the same.
    assert!(three.certificate().gap < 1e-8);
}
