//! A given number of iterations: what they are, and that their derivatives are those of the same steps.

use ot_conformance::{DeferredBuilder, ReferenceBackend};
use ot_core::{Device, Error, GeometryBuilder, PenaltyKind, Side};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, Memory, Objective, Output, Tangent, Unrolled};

use crate::{
    data::{Cost, Data, Penalty, assert_agree, difference, narrow, noise, wide},
    laws::linearised,
};

const OBJECTIVES: [Objective; 2] = [Objective::TransportCost, Objective::Dual];

/// Agreement with differences of the same iterations.
const DIFFERENCES: f64 = 1e-8;

fn backend() -> CpuBackend<f64> {
    CpuBackend::new(1).unwrap()
}

/// Kinds of problems: points, a matrix, a formula, a batch, penalties.
fn problems() -> Vec<(&'static str, Data)> {
    let mut batch = Data::clouds(6, 5);
    let reversed: Vec<f64> = batch.weights[1].iter().rev().copied().collect();
    batch.weights[1].extend(reversed);
    batch.columns[1] = 2;
    vec![
        ("points", Data::clouds(7, 5)),
        ("matrix", Data::matrix(5, 6)),
        ("formula", Data::formula(5, 4)),
        ("batch", batch),
        ("relaxed", Data::clouds(7, 5).under([Penalty::Kl(0.7), Penalty::Kl(1.5)])),
        ("half relaxed", Data::matrix(5, 6).under([Penalty::Balanced, Penalty::Kl(0.7)])),
        ("small epsilon", Data { epsilon: 0.02, ..Data::clouds(6, 8) }),
    ]
}

/// All ways to count: both presets, the other side first, one iteration and none.
fn schemes() -> Vec<Unrolled> {
    vec![
        Unrolled::genevay_2017(4),
        Unrolled::cuturi_tutorial(4),
        Unrolled::new(3).first(Side::Target).last(Side::Source),
        Unrolled::new(9).first(Side::Target).memory(Memory::Checkpointed),
        Unrolled::genevay_2017(1),
        Unrolled::cuturi_tutorial(1),
        Unrolled::new(0),
    ]
}

/// The iterations as a double loop, u, v and K as they are written.
fn plain(data: &Data, scheme: Unrolled) -> [Vec<f64>; 2] {
    let Cost::Matrix(costs) = &data.cost else { panic!("a matrix") };
    let [n, m] = Side::BOTH.map(|side| data.len(side));
    let kernel = |i: usize, j: usize| (-costs[i * m + j] / data.epsilon).exp();
    let mut scalings = [vec![1.0; n], vec![1.0; m]];
    for side in scheme.half_steps() {
        let (own, other) = (side.index(), side.opposite().index());
        let power = match data.penalties[own] {
            Penalty::Kl(rho) => rho / (rho + data.epsilon),
            _ => 1.0,
        };
        scalings[own] = (0..[n, m][own])
            .map(|i| {
                let entry = |j: usize| if side == Side::Source { kernel(i, j) } else { kernel(j, i) };
                let term = |j: usize| scalings[other][j] * entry(j);
                let sum: f64 = (0..[n, m][other]).map(term).sum();
                (data.weights[own][i] / sum).powf(power)
            })
            .collect();
    }
    scalings
}

/// Scalings are those of the double loop; the side that moved last has its marginal exactly.
#[test]
fn iterations_are_those_of_the_papers() {
    for data in [Data::matrix(5, 6), Data::matrix(5, 6).under([Penalty::Kl(0.7), Penalty::Balanced])] {
        for scheme in schemes() {
            let mut run = scheme.run(&data.problem(&backend())).unwrap();
            let expected = plain(&data, scheme);
            for side in Side::BOTH {
                let found: Vec<f64> = run.log_scaling(side).unwrap().into_iter().map(f64::exp).collect();
                assert_agree(&format!("{side} of {scheme:?}"), &found, &expected[side.index()], 1e-12, 1e-3);
            }
            if let Some(&last) = scheme.half_steps().last()
                && data.penalties[last.index()] == Penalty::Balanced
            {
                let marginal = run.marginal(last).unwrap();
                assert_agree("exact marginal", &marginal, &data.weights[last.index()], 1e-13, 1e-3);
            }
            // The value is <P_L, C>, and the dual what its formula says.
            let Cost::Matrix(costs) = &data.cost else { panic!("a matrix") };
            let [u, v] = &expected;
            let plan = |i: usize, j: usize| u[i] * (-costs[i * 6 + j] / data.epsilon).exp() * v[j];
            let cost: f64 = (0..30).map(|at| plan(at / 6, at % 6) * costs[at]).sum();
            let value = run.value(Objective::TransportCost).unwrap()[0];
            assert!((value - cost).abs() < 1e-12 * cost, "{value} is not {cost}");
            let moved = |side: Side| scheme.half_steps().contains(&side);
            let dual: f64 = Side::BOTH
                .into_iter()
                .filter(|&side| moved(side))
                .flat_map(|side| data.weights[side.index()].iter().zip(&expected[side.index()]))
                .map(|(a, u)| data.epsilon * a * u.ln())
                .sum();
            let found = run.value(Objective::Dual).unwrap()[0];
            assert!((found - dual).abs() < 1e-12 * (1.0 + dual.abs()), "{found} is not {dual}");
        }
    }
}

fn gradients_are_differences_of_the_same_steps<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data) in problems() {
        for scheme in schemes() {
            let mut run = scheme.run(&data.problem(builder)).unwrap();
            for (what, direction) in data.directions() {
                let tangent: Tangent<f64> = direction.tangent();
                let expected = difference(data.epsilon, |step| {
                    let mut moved = scheme.run(&data.moved(&direction, step).problem(builder)).unwrap();
                    OBJECTIVES.iter().map(|&objective| moved.value(objective).unwrap().iter().sum()).collect()
                });
                let mut found = Vec::new();
                for objective in OBJECTIVES {
                    let forward: f64 = run.push_forward(objective, &tangent).unwrap().iter().sum();
                    let reverse = run.gradient(objective).unwrap().along(&tangent).unwrap();
                    let what = format!("transpose of {objective:?} of {name} in {what}, {scheme:?}");
                    assert_agree(&what, &[reverse], &[forward], 1e-11, 1.0);
                    found.push(forward);
                }
                assert_agree(&format!("{name} in {what}, {scheme:?}"), &found, &expected, DIFFERENCES, 1e-2);
            }
        }
    }
}

/// The Hessian in the weights times a tangent is the change of the gradient.
fn hessians_are_changes_of_the_gradient<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data) in problems() {
        for scheme in schemes() {
            for objective in OBJECTIVES {
                let direction = data.growing();
                let mut run = scheme.run(&data.problem(builder)).unwrap();
                let found = run.hessian_vector(objective, &direction.tangent()).unwrap().concat();
                let expected = difference(0.1 * data.epsilon, |step| {
                    let mut moved = scheme.run(&data.moved(&direction, step).problem(builder)).unwrap();
                    let mut gradient = moved.gradient(objective).unwrap();
                    Side::BOTH.map(|side| gradient.weights(side).unwrap()).concat()
                });
                assert_agree(&format!("{objective:?} of {name}, {scheme:?}"), &found, &expected, 1e-7, 1e-2);
            }
        }
    }
}

macro_rules! on_kernels {
    ($($module:ident: $backend:expr;)*) => {
        $(mod $module {
            use super::*;

            #[test]
            fn gradients_are_differences_of_the_same_steps() {
                super::gradients_are_differences_of_the_same_steps(&$backend);
            }

            #[test]
            fn hessians_are_changes_of_the_gradient() {
                super::hessians_are_changes_of_the_gradient(&$backend);
            }
        })*
    };
}

on_kernels! {
    deferred: DeferredBuilder::new(ReferenceBackend::<f64>::default());
    dense: CpuBackend::<f64>::new(2).unwrap().with_dense_limit(usize::MAX);
    streaming: CpuBackend::<f64>::new(2).unwrap().with_dense_limit(0);
}

/// Once theta^L is rounding, unrolled derivatives of the transport cost are the implicit ones.
#[test]
fn unrolled_tends_to_implicit() {
    let data = Data::clouds(7, 5);
    // The contraction of an iteration, from the marginal error of two lengths.
    let error = |iterations| {
        let mut run = Unrolled::genevay_2017(iterations).run(&data.problem(&backend())).unwrap();
        let rows = run.marginal(Side::Source).unwrap();
        rows.iter().zip(&data.weights[0]).map(|(row, a)| (row - a).abs()).sum::<f64>()
    };
    let rate = (error(14) / error(10)).powf(0.25);
    let iterations = (1e-14_f64.ln() / rate.ln()).ceil() as usize;
    let mut run = Unrolled::genevay_2017(iterations).run(&data.problem(&backend())).unwrap();
    let mut unrolled = run.gradient(Objective::TransportCost).unwrap();
    let mut linearised = linearised(&backend(), &data);
    let mut implicit = linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap();
    for (what, direction) in data.directions() {
        let tangent = direction.tangent();
        let (found, expected) = (unrolled.along(&tangent).unwrap(), implicit.along(&tangent).unwrap());
        assert!((found - expected).abs() < 1e-8 * (1.0 + expected.abs()), "{what}: {found} is not {expected}");
    }
}

/// What is kept changes no bit of a value, and gradients agree to rounding however many half-steps are done again.
#[test]
fn checkpoints_change_nothing() {
    let data = Data::clouds(9, 8);
    let [full, checkpointed] = [Memory::Full, Memory::Checkpointed].map(|memory| {
        let mut run = Unrolled::new(23).memory(memory).run(&data.problem(&backend())).unwrap();
        let value = run.value(Objective::Dual).unwrap();
        let mut gradient = run.gradient(Objective::TransportCost).unwrap();
        (value, gradient.points(Side::Source).unwrap(), gradient.weights(Side::Target).unwrap())
    });
    assert_eq!(full, checkpointed);
}

/// Hundreds of half-steps at an epsilon of a thousandth of the cost: no factor overflows, and reverse is forward.
#[test]
fn small_epsilon_overflows_nothing() {
    let mut data = Data::clouds(12, 15);
    data.epsilon = 5e-3;
    let mut run = Unrolled::new(150).memory(Memory::Checkpointed).run(&data.problem(&backend())).unwrap();
    let tangent = data.moving_points(Side::Source, 81).tangent();
    let forward = run.push_forward(Objective::TransportCost, &tangent).unwrap()[0];
    let reverse = run.gradient(Objective::TransportCost).unwrap().along(&tangent).unwrap();
    assert!(forward.is_finite() && (forward - reverse).abs() < 1e-9 * (1.0 + forward.abs()), "{forward}, {reverse}");

    let single = CpuBackend::<f32>::new(1).unwrap();
    let mut run = Unrolled::new(150).run(&data.problem(&single)).unwrap();
    let found = run.gradient(Objective::TransportCost).unwrap().along(&data.moving_points(Side::Source, 81).tangent());
    assert!((found.unwrap() - forward).abs() < 1e-2 * (1.0 + forward.abs()));
}

/// Entries kept around a pair of potentials give the numbers of entries made anew for each half-step: near the pair, and where
/// potentials have left it.
#[test]
fn kept_entries_give_the_same_numbers() {
    for epsilon in [0.5, 2e-2, 1e-3] {
        let data = Data { epsilon, ..Data::clouds(12, 15) };
        let [kept, made] = [usize::MAX, 0].map(|limit| {
            let backend = CpuBackend::<f64>::new(1).unwrap().with_dense_limit(limit);
            let mut run = Unrolled::new(30).run(&data.problem(&backend)).unwrap();
            let mut gradient = run.gradient(Objective::TransportCost).unwrap();
            let sides = [gradient.points(Side::Source).unwrap(), gradient.weights(Side::Target).unwrap()].concat();
            let tangent = data.moving_points(Side::Target, 83).tangent();
            let forward = run.push_forward(Objective::Dual, &tangent).unwrap();
            [run.value(Objective::TransportCost).unwrap(), forward, sides].concat()
        });
        assert_agree(&format!("epsilon {epsilon}"), &kept, &made, 1e-10, 1.0);
    }
}

/// Single precision gives the same numbers to 1e-3.
#[test]
fn single_precision_agrees_with_double() {
    for (name, data) in problems().into_iter().filter(|(name, _)| *name != "small epsilon") {
        let scheme = Unrolled::genevay_2017(5);
        let mut double = scheme.run(&data.problem(&backend())).unwrap();
        let mut single = scheme.run(&data.problem(&CpuBackend::<f32>::new(1).unwrap())).unwrap();
        for objective in OBJECTIVES {
            for (what, direction) in data.directions() {
                let expected = double.gradient(objective).unwrap().along(&direction.tangent()).unwrap();
                let found = single.gradient(objective).unwrap().along(&direction.tangent()).unwrap();
                assert_agree(&format!("{name} in {what}"), &[found], &[expected], 1e-3, 1.0);
            }
        }
        let weights = narrow::<f32>(&noise(82, data.weights[0].len()));
        let found = single.hessian_vector(Objective::Dual, &Tangent::new().weights(Side::Source, weights)).unwrap();
        let weights = noise(82, data.weights[0].len());
        let expected = double.hessian_vector(Objective::Dual, &Tangent::new().weights(Side::Source, weights)).unwrap();
        assert_agree(name, &wide(found.concat()), &expected.concat(), 1e-3, 1.0);
    }
}

/// Weights of zero: fine where marginals are prescribed, but for the slope of a log a; refused elsewhere.
#[test]
fn weights_of_zero() {
    let mut data = Data::clouds(6, 5);
    data.weights[0][2] += data.weights[0][4];
    data.weights[0][4] = 0.0;
    let mut run = Unrolled::new(5).run(&data.problem(&backend())).unwrap();
    assert_eq!(run.log_scaling(Side::Source).unwrap()[4], f64::NEG_INFINITY);
    let direction = data.moving_points(Side::Target, 83);
    let expected = difference(data.epsilon, |step| {
        Unrolled::new(5).run(&data.moved(&direction, step).problem(&backend())).unwrap().value(Objective::Dual).unwrap()
    });
    let mut gradient = run.gradient(Objective::Dual).unwrap();
    assert_agree("points", &[gradient.along(&direction.tangent()).unwrap()], &expected, DIFFERENCES, 1e-2);
    assert!(matches!(gradient.weights(Side::Source), Err(Error::Parameter { value: 0.0, .. })));
    assert!(gradient.weights(Side::Target).is_ok());
    let finite = run.gradient(Objective::TransportCost).unwrap().weights(Side::Source).unwrap();
    assert!(finite.iter().all(|value| value.is_finite()));

    let relaxed = data.under([Penalty::Kl(1.0), Penalty::Balanced]).problem(&backend());
    assert!(matches!(relaxed.marginal(Side::Source).penalty().kind(), PenaltyKind::Kl { .. }));
    assert!(matches!(Unrolled::new(5).run(&relaxed), Err(Error::Parameter { value: 0.0, .. })));
}

#[test]
fn what_has_no_hessian_is_refused() {
    let data = Data::clouds(4, 5);
    let mut run = Unrolled::new(3).run(&data.problem(&backend())).unwrap();
    let moving = data.moving_points(Side::Source, 84).tangent();
    assert!(matches!(run.hessian_vector(Objective::Dual, &moving), Err(Error::MissingCapability(_))));
    let short = Tangent::new().weights(Side::Source, vec![0.0; 3]);
    assert!(matches!(run.push_forward(Objective::Dual, &short), Err(Error::Length { expected: 4, found: 3, .. })));
}
