//! Classes modulo constants: which representative is told.

use ot_core::Side;
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, Output, value_and_gradient};

use crate::{
    data::{Data, Penalty, assert_agree, difference, dot, noise, solve},
    laws::linearised,
};

fn backend() -> CpuBackend<f64> {
    CpuBackend::new(1).unwrap()
}

/// The gauge <a, f> = <b, g> moves with the weights.
#[test]
fn potentials_stay_in_the_gauge() {
    let data = Data::clouds(7, 5);
    let direction = data.moving_weights(Side::Source, 51);
    let mut linearised = linearised(&backend(), &data);
    let potentials = Side::BOTH.map(|side| linearised.value(&Output::Potential(side)).unwrap());
    let mut change = linearised.push_forward(&direction.tangent()).unwrap();
    let [source, target] = Side::BOTH.map(|side| {
        let moved = change.of(&Output::Potential(side)).unwrap();
        let index = side.index();
        dot(&data.weights[index], &moved) + dot(&direction.weights[index], &potentials[index])
    });
    assert!((source - target).abs() < 1e-13, "{source} is not {target}");
}

/// The gradient of the value in balanced weights is the potential up to constants, and its zero-sum form has sum zero.
#[test]
fn value_gradients_are_potentials() {
    let data = Data::clouds(7, 5);
    let solution = solve(&data.problem(&backend()));
    let (_, mut gradient) = value_and_gradient(&solution).unwrap();
    for side in Side::BOTH {
        let mut potential = solution.potential(side).unwrap();
        let mean = potential.iter().sum::<f64>() / potential.len() as f64;
        potential.iter_mut().for_each(|f| *f -= mean);
        let found = gradient.zero_sum_weights(side).unwrap();
        assert!(found.iter().sum::<f64>().abs() < 1e-13);
        assert_agree("zero-sum gradient", &found, &potential, 1e-12, 1.0);
    }
}

/// Numbers (c, -c) may be added to gradients in balanced weights: no tangent that is legal sees them.
#[test]
fn legal_tangents_see_no_gauge() {
    let data = Data::clouds(7, 5);
    let mut linearised = linearised(&backend(), &data);
    let output = Output::Projection { side: Side::Source, points: noise(52, 10), dimension: 2 };
    let seed = noise(53, 14);
    let mut cotangent = linearised.pull_back(&[(&output, &seed)]).unwrap();
    let tangent = data.growing();
    let gradients = Side::BOTH.map(|side| cotangent.weights(side).unwrap());
    let shifted: f64 = Side::BOTH
        .iter()
        .zip([3.0, -3.0])
        .map(|(side, shift)| {
            let gradient: Vec<f64> = gradients[side.index()].iter().map(|value| value + shift).collect();
            dot(&gradient, &tangent.weights[side.index()])
        })
        .sum();
    let plain = cotangent.along(&tangent.tangent()).unwrap();
    assert!((shifted - plain).abs() < 1e-13 * (1.0 + plain.abs()), "{shifted} is not {plain}");
}

/// Where marginals are relaxed there is no gauge: masses of either side move alone.
#[test]
fn relaxed_masses_move_alone() {
    let data = Data::clouds(5, 6).under([Penalty::Kl(0.7), Penalty::Kl(1.5)]);
    let mut direction = data.rest();
    direction.weights[0] = noise(41, 5).into_iter().map(|x| 0.1 * x + 0.05).collect();
    let tangent = direction.tangent();
    let at = |step: f64| solve(&data.moved(&direction, step).problem(&backend()));
    let (_, mut gradient) = value_and_gradient(&at(0.0)).unwrap();
    let expected = difference(data.epsilon, |step| vec![at(step).certificate().dual]);
    assert_agree("value", &[gradient.along(&tangent).unwrap()], &expected, 1e-8, 1e-3);
    let found =
        linearised(&backend(), &data).push_forward(&tangent).unwrap().of(&Output::Potential(Side::Target)).unwrap();
    let expected = difference(data.epsilon, |step| at(step).potential(Side::Target).unwrap());
    assert_agree("potential", &found, &expected, 1e-8, 1e-3);
}
