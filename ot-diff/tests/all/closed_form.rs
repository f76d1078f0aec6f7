//! Derivatives known in closed form, and formulas that do not hold.

use ot_core::{Side, Status};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, Linearised, Output, value_and_gradient};

use crate::{
    data::{Cost, DIMENSION, Data, Penalty, assert_agree, difference, solve},
    laws::linearised,
};

fn backend() -> CpuBackend<f64> {
    CpuBackend::new(1).unwrap()
}

/// With KL penalties: dD/da = rho - (rho + epsilon) exp(-f / rho) + epsilon mass(b).
#[test]
fn the_value_in_relaxed_weights() {
    let data = Data::clouds(7, 5).under([Penalty::Kl(0.7), Penalty::Kl(1.5)]);
    let solution = solve(&data.problem(&backend()));
    let (_, mut gradient) = value_and_gradient(&solution).unwrap();
    for (side, rho) in [(Side::Source, 0.7), (Side::Target, 1.5)] {
        let mass: f64 = data.weights[side.opposite().index()].iter().sum();
        let closed = |f: &f64| rho - (rho + data.epsilon) * (-f / rho).exp() + data.epsilon * mass;
        let expected: Vec<f64> = solution.potential(side).unwrap().iter().map(closed).collect();
        assert_agree("closed form", &gradient.weights(side).unwrap(), &expected, 1e-11, 1.0);
    }
}

/// The envelope theorem speaks of the optimal value, not of <P, C>: sum P dC is off by a tenth and more, the implicit
/// derivative right.
#[test]
fn the_envelope_is_wrong_for_the_transport_cost() {
    let data = Data { epsilon: 0.5, ..Data::clouds(7, 5) };
    let direction = data.moving_points(Side::Source, 23);
    let tangent = direction.tangent();
    let expected = difference(data.epsilon, |step| {
        vec![solve(&data.moved(&direction, step).problem(&backend())).certificate().transport_cost.unwrap()]
    });
    let mut linearised = linearised(&backend(), &data);
    let implicit = linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap().along(&tangent).unwrap();
    assert_agree("implicit", &[implicit], &expected, 1e-8, 1e-3);
    let envelope = value_and_gradient(&solve(&data.problem(&backend()))).unwrap().1.along(&tangent).unwrap();
    assert!((envelope - expected[0]).abs() > 0.1 * expected[0].abs(), "{envelope} beside {}", expected[0]);
}

/// Points moved together with the other side: the plan does not change, and the value of the squared distance neither.
#[test]
fn translations_change_nothing() {
    let data = Data::clouds(7, 5);
    let mut direction = data.rest();
    if let Cost::Points(points) = &mut direction.cost {
        for points in points {
            points.chunks_exact_mut(DIMENSION).for_each(|point| point.copy_from_slice(&[0.6, -0.8]));
        }
    }
    let mut linearised = linearised(&backend(), &data);
    let mut change = linearised.push_forward(&direction.tangent()).unwrap();
    for output in [Output::Potential(Side::Source), Output::TransportCost, Output::Marginal(Side::Target)] {
        assert!(change.of(&output).unwrap().iter().all(|value| value.abs() < 1e-12), "{output:?}");
    }
    let mut product = linearised.hessian_vector(&direction.tangent()).unwrap();
    assert!(product.points(Side::Source).unwrap().iter().all(|value: &f64| value.abs() < 1e-12));
}

/// Potentials are homogeneous, f(lambda C, lambda epsilon) = lambda f(C, epsilon).
#[test]
fn potentials_are_homogeneous() {
    let data = Data::matrix(5, 6);
    let Cost::Matrix(entries) = &data.cost else { panic!("a matrix") };
    let mut linearised = linearised(&backend(), &data);
    let tangent = ot_diff::Tangent::new().matrix(entries.clone()).epsilon(data.epsilon);
    let expected = linearised.value(&Output::Potential(Side::Source)).unwrap();
    let found = linearised.push_forward(&tangent).unwrap().of(&Output::Potential(Side::Source)).unwrap();
    assert_agree("homogeneity", &found, &expected, 1e-11, 1.0);
}

/// The Hessian in the points of a side is symmetric, and its rows are what `hessian_vector` gives.
#[test]
fn dense_hessians_are_symmetric() {
    let data = Data::clouds(4, 5);
    let mut linearised = linearised(&backend(), &data);
    let (hessian, solve) = linearised.dense_hessian(Side::Source).unwrap();
    let len = 4 * DIMENSION;
    assert_eq!(solve.status, Status::Converged);
    for row in 0..len {
        for column in 0..row {
            let [one, other] = [hessian[row * len + column], hessian[column * len + row]];
            assert!((one - other).abs() < 1e-11, "({row}, {column}): {one} and {other}");
        }
    }
}

/// Prescribed marginals move with their weights alone; clamped potentials do not move at all.
#[test]
fn what_is_prescribed_does_not_move() {
    let data = Data::clouds(7, 5);
    let direction = data.moving_weights(Side::Source, 71);
    let mut linearised_here = linearised(&backend(), &data);
    let mut change = linearised_here.push_forward(&direction.tangent()).unwrap();
    let found = change.of(&Output::Marginal(Side::Source)).unwrap();
    assert_agree("prescribed", &found, &direction.weights[0], 1e-11, 1e-2);

    let data = data.under([Penalty::TotalVariation(0.6); 2]);
    let mut clamped: Linearised<_> = linearised(&backend(), &data);
    let f = clamped.value(&Output::Potential(Side::Source)).unwrap();
    let mut change = clamped.push_forward(&data.moving_points(Side::Source, 23).tangent()).unwrap();
    let moved = change.of(&Output::Potential(Side::Source)).unwrap();
    let is_clamped = |f: &f64| f.abs() == 0.6;
    assert!(f.iter().any(is_clamped) && !f.iter().all(is_clamped), "{f:?}");
    for (f, df) in f.iter().zip(&moved) {
        assert_eq!(is_clamped(f), *df == 0.0, "{f} moves by {df}");
    }
}
