//! Gradients of losses between measures: divergences in every form, discrepancies, distances without regularisation.

use ot_core::{Epsilon, Kl, PointCloud, PowerOfDistance, RecordedPenalty, Side, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_diff::{
    DiscrepancyGradient, Gradient, divergence_and_gradient, exact_gradient, gaussian_gradient, sliced_gradient,
};
use ot_solvers::{
    Divergence, DivergenceForm, ExactTransport, Gaussian, MaximumMeanDiscrepancy, Sinkhorn, SinkhornDivergence,
    SlicedWasserstein,
};

use crate::data::{Cost, DIMENSION, Data, assert_agree, difference, dot, noise};

fn backend() -> CpuBackend<f64> {
    CpuBackend::new(1).unwrap()
}

/// The two measures of data, as they are after a step along a direction.
fn clouds(data: &Data, direction: &Data, step: f64) -> [PointCloud<'static, f64>; 2] {
    let moved = data.moved(direction, step);
    let Cost::Points(points) = moved.cost else { panic!("points") };
    let [x, y] = points;
    let [a, b] = moved.weights;
    [PointCloud::new(x, DIMENSION, a).unwrap(), PointCloud::new(y, DIMENSION, b).unwrap()]
}

type Solved = Divergence<ot_core::Host<f64>>;

fn divergence(data: &Data, direction: &Data, step: f64, form: DivergenceForm, penalty: Option<f64>) -> Solved {
    let [a, b] = clouds(data, direction, step);
    let mut settings = SinkhornDivergence::new().form(form).sinkhorn(Sinkhorn::new().tolerance(1e-13));
    if let Some(rho) = penalty {
        settings = settings.penalty(&RecordedPenalty::new(&Kl::new(rho).unwrap()).unwrap()).unwrap();
    }
    let epsilon = Epsilon::Absolute(data.epsilon + step * direction.epsilon);
    settings.between(&backend(), &a, &b, &SqEuclidean, epsilon).unwrap()
}

/// Full, sharp and Genevay's, balanced and unbalanced, in points, weights and epsilon.
#[test]
fn divergences_have_their_gradients() {
    let data = Data::clouds(6, 5);
    let rest = data.rest();
    for form in [DivergenceForm::Full, DivergenceForm::Sharp, DivergenceForm::Genevay] {
        for penalty in [None, Some(0.8)] {
            let (values, mut gradient) =
                divergence_and_gradient(&divergence(&data, &rest, 0.0, form, penalty)).unwrap();
            assert_eq!(values.len(), 1);
            for (what, mut direction) in data.directions() {
                if penalty.is_some() && what == "source weights" {
                    // Unbalanced masses may move alone.
                    direction.weights[0][0] += 0.05;
                }
                let expected =
                    difference(data.epsilon, |step| vec![divergence(&data, &direction, step, form, penalty).value()]);
                let found = gradient.along(&direction.tangent()).unwrap();
                assert_agree(&format!("{form:?}, {penalty:?}, {what}"), &[found], &expected, 1e-7, 1e-2);
            }
            if let Some(rho) = penalty {
                let expected = difference(data.epsilon, |step| {
                    vec![divergence(&data, &rest, 0.0, form, Some(rho + step)).value()]
                });
                let found = gradient.penalty(Side::Source).unwrap();
                assert_agree(&format!("{form:?} in rho"), &found, &expected, 1e-7, 1e-2);
            }
        }
    }
}

/// The envelope formula of the full divergence does not hold for the sharp one.
#[test]
fn the_sharp_divergence_has_another_gradient() {
    let data = Data { epsilon: 0.5, ..Data::clouds(6, 5) };
    let rest = data.rest();
    let direction = data.moving_points(Side::Source, 23).tangent();
    let [full, sharp] = [DivergenceForm::Full, DivergenceForm::Sharp].map(|form| {
        divergence_and_gradient(&divergence(&data, &rest, 0.0, form, None)).unwrap().1.along(&direction).unwrap()
    });
    assert!((full - sharp).abs() > 0.01 * sharp.abs(), "{full} beside {sharp}");
}

#[test]
fn discrepancies_have_their_gradients() {
    let data = Data::clouds(6, 5);
    for kernel in [MaximumMeanDiscrepancy::energy(1.3).unwrap(), MaximumMeanDiscrepancy::gaussian(0.7).unwrap()] {
        let at = |direction: &Data, step| {
            let [a, b] = clouds(&data, direction, step);
            kernel.between(&backend(), &a, &b).unwrap()
        };
        let discrepancy = at(&data.rest(), 0.0);
        let gradient = DiscrepancyGradient::of(&discrepancy);
        for side in Side::BOTH {
            let points = data.moving_points(side, 91);
            let Cost::Points(moves) = &points.cost else { panic!("points") };
            let found = dot(&gradient.points(side).unwrap(), &moves[side.index()]);
            let expected = difference(0.3, |step| at(&points, step).squared_of_columns().to_vec());
            assert_agree(&format!("{kernel:?}, points of the {side}"), &[found], &expected, 1e-7, 1e-2);

            let weights = data.moving_weights(side, 92);
            let found = dot(&gradient.weights(side).unwrap(), &weights.weights[side.index()]);
            let expected = difference(0.3, |step| at(&weights, step).squared_of_columns().to_vec());
            assert_agree(&format!("{kernel:?}, weights of the {side}"), &[found], &expected, 1e-7, 1e-2);
        }
    }
}

#[test]
fn exact_transport_has_its_gradient() {
    let data = Data::clouds(6, 5);
    let at = |direction: &Data, step| {
        let [a, b] = clouds(&data, direction, step);
        let exact = ExactTransport::new().solve(&backend(), &a, &b, &SqEuclidean).unwrap();
        let potentials = Side::BOTH.map(|side| exact.potential(side));
        exact_gradient(exact.plan(), potentials, &a, &b, &SqEuclidean).unwrap()
    };
    let gradient = at(&data.rest(), 0.0);
    assert!(gradient.uniqueness.plan && gradient.uniqueness.potentials, "{:?}", gradient.uniqueness);
    for side in Side::BOTH {
        let points = data.moving_points(side, 93);
        let Cost::Points(moves) = &points.cost else { panic!("points") };
        let found = dot(&gradient.points.as_ref().unwrap()[side.index()], &moves[side.index()]);
        let expected = difference(0.01, |step| vec![at(&points, step).value]);
        assert_agree("points", &[found], &expected, 1e-8, 1e-2);
        let weights = data.moving_weights(side, 94);
        let found = dot(&gradient.weights[side.index()], &weights.weights[side.index()]);
        let expected = difference(0.01, |step| vec![at(&weights, step).value]);
        assert_agree("weights", &[found], &expected, 1e-8, 1e-2);
    }
}

/// Two equal weights on either side split the programme in two: potentials are not unique. A square has two plans.
#[test]
fn what_is_not_unique_is_flagged() {
    let line = |points: Vec<f64>| PointCloud::uniform(points, 1).unwrap();
    let (a, b) = (line(vec![0.0, 10.0]), line(vec![1.0, 12.0]));
    let exact = ExactTransport::new().solve(&backend(), &a, &b, &SqEuclidean).unwrap();
    let potentials = Side::BOTH.map(|side| exact.potential(side));
    let uniqueness = exact_gradient(exact.plan(), potentials, &a, &b, &SqEuclidean).unwrap().uniqueness;
    assert!(!uniqueness.potentials, "{uniqueness:?}");

    let square = |points: Vec<f64>| PointCloud::uniform(points, 2).unwrap();
    let (a, b) = (square(vec![0.0, 0.0, 1.0, 1.0]), square(vec![1.0, 0.0, 0.0, 1.0]));
    let exact = ExactTransport::new().solve(&backend(), &a, &b, &SqEuclidean).unwrap();
    let potentials = Side::BOTH.map(|side| exact.potential(side));
    let uniqueness = exact_gradient(exact.plan(), potentials, &a, &b, &SqEuclidean).unwrap().uniqueness;
    assert!(!uniqueness.plan, "{uniqueness:?}");
}

#[test]
fn slices_have_their_gradient() {
    let data = Data::clouds(6, 5);
    for p in [1.5, 2.0] {
        let settings = SlicedWasserstein::new(p).directions(12).seed(7);
        let at = |direction: &Data, step| {
            let [a, b] = clouds(&data, direction, step);
            let distance = settings.between(&backend(), &a, &b).unwrap();
            sliced_gradient(&distance, p, &a, &b).unwrap()
        };
        let (_, gradient) = at(&data.rest(), 0.0);
        for side in Side::BOTH {
            let points = data.moving_points(side, 95);
            let Cost::Points(moves) = &points.cost else { panic!("points") };
            let found = dot(&gradient[side.index()], &moves[side.index()]);
            let expected = difference(0.003, |step| vec![at(&points, step).0]);
            assert_agree(&format!("p = {p}, {side}"), &[found], &expected, 1e-6, 1e-2);
        }
    }
    assert!(PowerOfDistance::new(2.0).is_ok());
}

#[test]
fn gaussians_have_their_gradient() {
    let root = noise(96, 9);
    let square = |root: &[f64]| -> Vec<f64> {
        (0..9).map(|at| (0..3).map(|k| root[3 * (at / 3) + k] * root[3 * (at % 3) + k]).sum()).collect()
    };
    let b = Gaussian::new([0.2, -0.4, 1.0], square(&noise(97, 9))).unwrap();
    let (mean, direction) = ([0.5, 0.1, -0.3], square(&noise(98, 9)));
    let at = |step: f64| {
        let covariance: Vec<f64> = square(&root).iter().zip(&direction).map(|(a, d)| a + step * d).collect();
        gaussian_gradient(&Gaussian::new(mean, covariance).unwrap(), &b).unwrap()
    };
    let expected = difference(0.05, |step| vec![at(step).value]);
    assert_agree("covariance", &[dot(&at(0.0).covariance, &direction)], &expected, 1e-7, 1e-2);
}
