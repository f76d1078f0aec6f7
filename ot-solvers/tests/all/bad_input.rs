//! What is asked wrongly is refused with a typed error that says what was expected and found.

use std::sync::Arc;

use ot_core::{
    CostFunction, CostMatrix, Epsilon, Error, Geometry, GeometryBuilder, Histogram, Host, Kl, Measure, PointCloud,
    Problem, Range, Side, SqEuclidean, TotalVariation,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Annealing, Relaxation, Sinkhorn, Start, transport};

use crate::support::cpu;

fn line(points: &[f64]) -> PointCloud<'static, f64> {
    PointCloud::uniform(points.to_vec(), 1).unwrap()
}

/// A problem that is well posed.
fn problem() -> Problem<Host<f64>> {
    let (a, b) = (line(&[0.0, 1.0, 2.0]), line(&[0.5, 1.5]));
    Problem::new(geometry(&a, &b), &a, &b, Epsilon::Absolute(0.1)).unwrap()
}

fn geometry(a: &dyn Measure<f64>, b: &dyn Measure<f64>) -> Arc<dyn Geometry<Host<f64>>> {
    cpu(1).geometry(a.support(), b.support(), &SqEuclidean).unwrap()
}

#[test]
fn points_that_are_not_finite() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = PointCloud::uniform(vec![0.0, 1.0, 2.0, value], 2).unwrap_err();
        assert!(matches!(error, Error::Coordinate { point: 1, axis: 1, .. }), "{error}");
    }
}

#[test]
fn weights_that_are_negative_or_not_finite() {
    for value in [f64::NAN, -1e-300, f64::INFINITY] {
        let error = PointCloud::new(vec![0.0, 1.0], 1, vec![1.0, value]).unwrap_err();
        assert!(matches!(error, Error::Weight { index: 1, column: 0, .. }), "{error}");
        let error = Histogram::new(vec![value, 1.0]).unwrap_err();
        assert!(matches!(error, Error::Weight { index: 0, column: 0, .. }), "{error}");
    }
}

#[test]
fn measures_without_atoms_mass_dimension_or_columns() {
    assert_eq!(PointCloud::<f64>::uniform(vec![], 2).unwrap_err(), Error::EmptyMeasure);
    assert_eq!(Histogram::<f64>::new(vec![]).unwrap_err(), Error::EmptyMeasure);
    assert!(matches!(Histogram::new(vec![0.0, 0.0]).unwrap_err(), Error::Mass { column: 0, .. }));
    assert!(matches!(Histogram::new(vec![f64::MAX, f64::MAX]).unwrap_err(), Error::Mass { column: 0, .. }));
    assert_eq!(PointCloud::uniform(vec![1.0], 0).unwrap_err(), Error::ZeroDimension);
    assert_eq!(Histogram::<f64>::batch(vec![], 0).unwrap_err(), Error::EmptyBatch);
    assert!(matches!(PointCloud::new(vec![0.0, 1.0, 2.0], 1, vec![1.0, 1.0]).unwrap_err(), Error::Length { .. }));
    assert!(matches!(PointCloud::uniform(vec![0.0, 1.0, 2.0], 2).unwrap_err(), Error::Length { .. }));
}

#[test]
fn supports_that_do_not_fit() {
    let (plane, line) = (PointCloud::uniform(vec![0.0, 1.0], 2).unwrap(), line(&[0.0]));
    let error = cpu(1).geometry(plane.support(), line.support(), &SqEuclidean).unwrap_err();
    assert_eq!(error, Error::DimensionMismatch { source_dimension: 2, target_dimension: 1 });

    let (three, two) = (Histogram::<f64>::uniform(3).unwrap(), Histogram::<f64>::uniform(2).unwrap());
    let cost = CostMatrix::new(vec![0.0; 4], 2, 2).unwrap();
    let error = cpu(1).geometry(three.support(), two.support(), &cost).unwrap_err();
    assert!(matches!(error, Error::Length { .. }), "{error}");
    let error = cpu(1).geometry(three.support(), two.support(), &SqEuclidean).unwrap_err();
    assert!(matches!(error, Error::UnsupportedSupport { .. }), "{error}");
}

#[test]
fn measures_that_do_not_fit_the_geometry() {
    let (a, b) = (line(&[0.0, 1.0, 2.0]), line(&[0.5, 1.5]));
    let error = Problem::new(geometry(&a, &b), &b, &b, Epsilon::Absolute(0.1)).unwrap_err();
    assert_eq!(error, Error::Length { what: "source weights", expected: 3, found: 2 });

    let batch = |len: usize, columns: usize| Histogram::batch(vec![1.0 / len as f64; len * columns], columns).unwrap();
    let error = Problem::new(geometry(&a, &b), &batch(3, 2), &batch(2, 3), Epsilon::Absolute(0.1)).unwrap_err();
    assert_eq!(error, Error::BatchMismatch { source_columns: 2, target_columns: 3 });
}

#[test]
fn masses_that_differ() {
    let (a, b) = (line(&[0.0, 1.0]), PointCloud::new(vec![0.5, 1.5], 1, vec![0.5, 0.6]).unwrap());
    let error = Problem::new(geometry(&a, &b), &a, &b, Epsilon::Absolute(0.1)).unwrap_err();
    assert!(matches!(error, Error::MassMismatch { column: 0, .. }), "{error}");
    assert!(error.to_string().contains("normalized()"));

    // Legal where a penalty lets mass change; refused where the bounds of two ranges cannot meet.
    let kl = Kl::new(1.0).unwrap();
    assert!(Problem::unbalanced(geometry(&a, &b), &a, &b, Epsilon::Absolute(0.1), &kl, &kl).is_ok());
    let heavy = PointCloud::new(vec![0.5, 1.5], 1, vec![5.0, 5.0]).unwrap();
    let range = Range::new(0.9, 1.1).unwrap();
    let error = Problem::unbalanced(geometry(&a, &heavy), &a, &heavy, Epsilon::Absolute(0.1), &range, &range);
    assert!(matches!(error.unwrap_err(), Error::MassMismatch { .. }));
}

#[test]
fn epsilons_that_are_no_strength() {
    let (a, b) = (line(&[0.0, 1.0]), line(&[0.5, 1.5]));
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for rule in [
            Epsilon::Absolute(value),
            Epsilon::RelativeToMean(value),
            Epsilon::RelativeToDeviation(value),
            Epsilon::Blur(value),
        ] {
            let error = Problem::new(geometry(&a, &b), &a, &b, rule).unwrap_err();
            assert!(matches!(error, Error::Epsilon(_)), "{rule:?}: {error}");
        }
        assert!(matches!(problem().with_epsilon(value).unwrap_err(), Error::Epsilon(_)));
    }
    let matrix = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2).unwrap();
    let h = Histogram::<f64>::uniform(2).unwrap();
    let geometry = cpu(1).geometry(h.support(), h.support(), &matrix).unwrap();
    let error = Problem::new(geometry, &h, &h, Epsilon::Blur(1.0)).unwrap_err();
    assert!(matches!(error, Error::EpsilonRule { .. }), "{error}");
}

#[test]
fn atoms_with_nowhere_to_go() {
    let infinity = f64::INFINITY;
    let solve = |costs: Vec<f64>, a: Vec<f64>, b: Vec<f64>| {
        let cost = CostMatrix::new(costs, a.len(), b.len()).unwrap();
        let (a, b) = (Histogram::new(a).unwrap(), Histogram::new(b).unwrap());
        let geometry = cpu(1).geometry(a.support(), b.support(), &cost)?;
        Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1))
    };
    let error = solve(vec![0.0, 1.0, infinity, infinity], vec![0.5, 0.5], vec![0.5, 0.5]).unwrap_err();
    assert_eq!(error, Error::Stranded { side: Side::Source, index: 1, column: 0 });
    let error = solve(vec![0.0, infinity, 0.0, infinity], vec![0.5, 0.5], vec![0.5, 0.5]).unwrap_err();
    assert_eq!(error, Error::Stranded { side: Side::Target, index: 1, column: 0 });
    // A partner without mass is none.
    let error = solve(vec![0.0, 1.0, infinity, 0.0], vec![0.5, 0.5], vec![1.0, 0.0]).unwrap_err();
    assert_eq!(error, Error::Stranded { side: Side::Source, index: 1, column: 0 });
    // An atom without mass needs none.
    assert!(solve(vec![0.0, 1.0, infinity, infinity], vec![1.0, 0.0], vec![0.5, 0.5]).is_ok());
}

#[test]
fn costs_that_are_none() {
    for value in [f64::NAN, f64::NEG_INFINITY] {
        let error = CostMatrix::new(vec![0.0, 1.0, value, 0.0], 2, 2).unwrap_err();
        assert!(matches!(error, Error::Cost { source_index: 1, target_index: 0, .. }), "{error}");
        let closure = CostFunction::new(move |x: &[f64], _: &[f64]| if x[0] > 0.5 { value } else { 0.0 });
        let (a, b) = (line(&[0.0, 1.0]), line(&[0.0]));
        let error = cpu(1).geometry(a.support(), b.support(), &closure).unwrap_err();
        assert!(matches!(error, Error::Cost { source_index: 1, .. }), "{error}");
    }
    let far = line(&[-1e160, 1e160]);
    let error = cpu(1).geometry(far.support(), far.support(), &SqEuclidean).unwrap_err();
    assert!(matches!(error, Error::CostOverflow { .. }), "{error}");
}

#[test]
fn warm_starts_of_the_wrong_length() {
    let problem = problem();
    let settings = Sinkhorn::new();
    let start = Start::Host { source: vec![0.0; 4], target: vec![0.0; 2] };
    let error = settings.run(&problem).start(start).solve().unwrap_err();
    assert!(matches!(error, Error::Length { expected: 3, found: 4, .. }), "{error}");
    let start = Start::Host { source: vec![0.0; 3], target: vec![0.0, f64::NAN] };
    let error = settings.run(&problem).start(start).solve().unwrap_err();
    assert!(matches!(error, Error::Parameter { .. }), "{error}");

    let (a, b) = (line(&[0.0, 1.0]), line(&[0.5, 1.5]));
    let other = transport(&cpu(1), &a, &b, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap();
    let error = settings.run(&problem).start(Start::Warm(other.potentials())).solve().unwrap_err();
    assert!(matches!(error, Error::Length { expected: 3, found: 2, .. }), "{error}");
}

#[test]
fn settings_out_of_range() {
    let problem = problem();
    let wrong = [
        Sinkhorn::new().max_iterations(0),
        Sinkhorn::new().check_interval(0),
        Sinkhorn::new().tolerance(0.0),
        Sinkhorn::new().tolerance(f64::NAN),
        Sinkhorn::new().relaxation(Relaxation::Fixed(2.0)),
        Sinkhorn::new().annealing(Annealing::Geometric { start: None, factor: 1.0 }),
    ];
    for settings in wrong {
        let error = settings.solve(&problem).unwrap_err();
        assert!(matches!(error, Error::Parameter { .. }), "{settings:?}: {error}");
    }
    assert!(matches!(CpuBackend::<f64>::new(0).unwrap_err(), Error::Parameter { .. }));
}

#[test]
fn penalties_out_of_range() {
    for rho in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(Kl::new(rho), Err(Error::Parameter { .. })), "{rho}");
        assert!(matches!(TotalVariation::new(rho), Err(Error::Parameter { .. })), "{rho}");
    }
    // The limit has a name of its own.
    assert!(Kl::new(f64::INFINITY).unwrap_err().to_string().contains("Balanced"));
    assert!(Kl::from_tau(1.0, 0.1).is_err() && Kl::from_reach(-1.0, 2.0).is_err());
    assert!(Range::new(1.1, 2.0).is_err() && Range::new(0.5, 0.9).is_err() && Range::new(1.0, 1.0).is_err());
}
