//! What is asked wrongly is refused with a typed error that says what was expected and found.

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    Backend, CostFunction, CostMatrix, Epsilon, Error, Geometry, GeometryBuilder, Histogram, Host, Kl, Measure, Plan,
    PointCloud, Potentials, Problem, Range, Side, SqEuclidean, TotalVariation,
};
use ot_cpu::CpuBackend;
use ot_solvers::{
    Annealing, AveragedSgd, DualAscent, DualObjective, EntropicMap, Lbfgs, MajorizeMinimize, MassPenalty,
    PartialTransport, PointSampler, Random, Relaxation, Sinkhorn, Start, transport,
};

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

#[test]
fn a_batch_on_either_side_is_named_where_none_is_taken() {
    let (one, batch) = (line(&[0.0, 1.0]), PointCloud::batch(vec![0.0, 1.0], 1, vec![0.5; 6], 3).unwrap());
    for (source, target, source_columns, target_columns) in [(&one, &batch, 1, 3), (&batch, &one, 3, 1)] {
        let expected = Error::BatchMismatch { source_columns, target_columns };
        let penalty = MassPenalty::Kl { source: 1.0, target: 1.0 };
        let found = MajorizeMinimize::new(penalty).solve(source, target, &SqEuclidean).unwrap_err();
        assert_eq!(found, expected);
        let partial = PartialTransport::new(0.5);
        let found = partial.solve(&cpu(1), source, target, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap_err();
        assert_eq!(found, expected);
    }
}

#[test]
fn sizes_beyond_all_memory() {
    let out_of_memory = |error: Error| assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    for len in [usize::MAX, usize::MAX / 16] {
        out_of_memory(Histogram::<f64>::uniform(len).unwrap_err());
        out_of_memory(Histogram::<f32>::without_mass(len).unwrap_err());
        out_of_memory(cpu(1).alloc_reduced(len).unwrap_err());
        let target = line(&[0.0, 1.0]);
        let sampler = PointSampler::new(1, |random: &mut Random, point: &mut [f64]| point[0] = random.uniform());
        let settings = AveragedSgd::new(0.1).batch(len).max_samples(usize::MAX);
        out_of_memory(settings.solve(&cpu(1), &sampler, &target, &SqEuclidean).unwrap_err());
    }
    // Pairs of memory are made as they are needed.
    let problem = problem();
    let ascent = DualAscent::new().tolerance(1e-6);
    let [some, all] = [40, usize::MAX].map(|memory| ascent.clone().memory(memory).solve(&problem).unwrap());
    assert_eq!(some.certificate(), all.certificate());
}

#[test]
fn vectors_of_another_shape() {
    let (problem, backend) = (problem(), cpu(1));
    let vector = |rows: usize, columns: usize| backend.upload(&vec![0.0; rows * columns], columns).unwrap();
    for [source, target] in [[(2, 1), (2, 1)], [(3, 1), (3, 1)], [(3, 2), (2, 1)], [(3, 1), (4, 1)]] {
        let [source, target] = [source, target].map(|(rows, columns)| vector(rows, columns));
        let potentials = Arc::new(Potentials { source, target, epsilon: 0.1 });
        let error = Plan::new(problem.clone(), potentials).unwrap_err();
        assert!(matches!(error, Error::Length { .. }), "{error}");
    }
    let mut objective = DualObjective::new(&problem).unwrap();
    for blocks in [vec![vector(2, 1), vector(3, 1)], vec![vector(3, 1), vector(2, 2)], vec![vector(3, 1)]] {
        let error = Lbfgs::new().maximize(&mut objective, blocks, 0.1, &mut |_, _, _| ControlFlow::Continue(()));
        assert!(matches!(error.unwrap_err(), Error::Length { .. }));
    }
}

#[test]
fn maps_of_targets_with_other_columns() {
    let (a, b) = (line(&[0.0, 1.0, 2.0]), line(&[0.5, 1.5]));
    let batch = PointCloud::batch(vec![0.0, 1.0, 2.0], 1, vec![0.5, 0.25, 0.25, 0.125, 0.125, 0.75], 2).unwrap();
    let backend = cpu(1);
    let solution = transport(&backend, &batch, &b, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap();
    let images = EntropicMap::new(&backend, &solution, &b, &SqEuclidean).unwrap().images(&[0.0, 1.0, 2.0]).unwrap();
    let expected = solution.plan().unwrap().barycentric_projection(Side::Source, &[0.5, 1.5], 1).unwrap();
    assert!(crate::support::largest_difference(&images, &expected) < 1e-9);
    let other = PointCloud::batch(vec![0.5, 1.5], 1, vec![0.5; 6], 3).unwrap();
    let error = EntropicMap::new(&backend, &solution, &other, &SqEuclidean).unwrap_err();
    assert_eq!(error, Error::BatchMismatch { source_columns: 2, target_columns: 3 });
    assert!(transport(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.1)).is_ok());
}
