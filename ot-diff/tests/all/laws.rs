//! What every derivative of a solution must satisfy, on every kernel: every output and every block, forward and reverse,
//! first and second order, against differences of full solves and against each other.

use ot_conformance::{DeferredBuilder, ReferenceBackend};
use ot_core::{CostParameter, Device, GeometryBuilder, Side};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, LinearSolver, Linearised, Output, value_and_gradient};

use crate::data::{Cost, Data, Penalty, assert_agree, difference, dot, noise, solve};

/// Agreement with differences of full solves.
const DIFFERENCES: f64 = 1e-8;

/// Agreement of a derivative with its transpose.
const TRANSPOSE: f64 = 1e-11;

/// What is smaller than this is nothing beside data of size one.
const FLOOR: f64 = 1e-3;

/// All kinds of problems: points, a matrix, a formula with parameters, an atom without mass, two histograms, several
/// penalties, a linear system of many steps.
pub fn problems() -> Vec<(&'static str, Data)> {
    let mut massless = Data::clouds(6, 5);
    massless.weights[0][2] += massless.weights[0][4];
    massless.weights[0][4] = 0.0;
    let mut batch = Data::clouds(6, 5);
    let reversed: Vec<f64> = batch.weights[1].iter().rev().copied().collect();
    batch.weights[1].extend(reversed);
    batch.columns[1] = 2;
    vec![
        ("points", Data::clouds(7, 5)),
        ("matrix", Data::matrix(5, 6)),
        ("formula", Data::formula(5, 4)),
        ("massless", massless),
        ("batch", batch),
        ("relaxed", Data::clouds(7, 5).under([Penalty::Kl(0.7), Penalty::Kl(1.5)])),
        ("relaxed matrix", Data::matrix(5, 6).under([Penalty::Kl(0.7), Penalty::Kl(1.5)])),
        ("half relaxed", Data::clouds(5, 7).under([Penalty::Balanced, Penalty::Kl(0.7)])),
        ("clamped", Data::clouds(7, 5).under([Penalty::TotalVariation(0.6); 2])),
        ("sharp", Data { epsilon: 0.05, ..Data::clouds(24, 30) }),
    ]
}

/// A solved problem, linearised, with systems solved to the last digits.
pub fn linearised<D: Device>(builder: &dyn GeometryBuilder<Device = D>, data: &Data) -> Linearised<D> {
    let solver = LinearSolver::new().tolerance(if data.epsilon < 0.1 { 1e-13 } else { 1e-14 });
    Linearised::new(&solve(&data.problem(builder))).unwrap().with_solver(solver).unwrap()
}

/// Cotangents of an output of so many numbers. Those of a transport cost are equal, as they must be in a batch.
fn cotangent(output: &Output<f64>, len: usize) -> Vec<f64> {
    match output {
        Output::TransportCost => vec![0.8; len],
        _ => noise(31 + len as u64, len),
    }
}

/// All outputs of a problem, one after the other.
fn readings<D: Device<Elem = f64>>(linearised: &mut Linearised<D>, outputs: &[(&str, Output<f64>)]) -> Vec<Vec<f64>> {
    outputs.iter().map(|(_, output)| linearised.value(output).unwrap()).collect()
}

fn the_value_has_the_gradient_of_the_envelope<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data) in problems() {
        let (_, mut gradient) = value_and_gradient(&solve(&data.problem(builder))).unwrap();
        for (what, direction) in data.directions() {
            let expected = difference(data.epsilon, |step| {
                let solution = solve(&data.moved(&direction, step).problem(builder));
                vec![solution.certificates().iter().map(|certificate| certificate.dual).sum()]
            });
            let found = gradient.along(&direction.tangent()).unwrap();
            assert_agree(&format!("value of {name} in {what}"), &[found], &expected, DIFFERENCES, FLOOR);
        }
    }
}

fn outputs_move_as_pushed_forward<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data) in problems() {
        let outputs = data.outputs();
        let mut linearised = linearised(builder, &data);
        for (what, direction) in data.directions() {
            let mut change = linearised.push_forward(&direction.tangent()).unwrap();
            let found: Vec<Vec<f64>> = outputs.iter().map(|(_, output)| change.of(output).unwrap()).collect();
            let expected = difference(data.epsilon, |step| {
                let solution = solve(&data.moved(&direction, step).problem(builder));
                readings(&mut Linearised::new(&solution).unwrap(), &outputs).concat()
            });
            let mut rest = expected.as_slice();
            for ((output, _), found) in outputs.iter().zip(&found) {
                let (expected, after) = rest.split_at(found.len());
                rest = after;
                assert_agree(&format!("{output} of {name} in {what}"), found, expected, DIFFERENCES, FLOOR);
            }
        }
    }
}

fn the_pull_back_is_the_transpose<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data) in problems() {
        let outputs = data.outputs();
        let mut linearised = linearised(builder, &data);
        let seeds: Vec<Vec<f64>> = readings(&mut linearised, &outputs)
            .iter()
            .zip(&outputs)
            .map(|(reading, (_, output))| cotangent(output, reading.len()))
            .collect();
        for (what, direction) in data.directions() {
            let tangent = direction.tangent();
            let mut change = linearised.push_forward(&tangent).unwrap();
            let changes: Vec<Vec<f64>> = outputs.iter().map(|(_, output)| change.of(output).unwrap()).collect();
            let mut expected = Vec::new();
            for (change, seed) in changes.iter().zip(&seeds) {
                expected.push(dot(change, seed));
            }
            for (((output_name, output), seed), expected) in outputs.iter().zip(&seeds).zip(&expected) {
                let mut pulled = linearised.pull_back(&[(output, seed)]).unwrap();
                let found = pulled.along(&tangent).unwrap();
                let what = format!("{output_name} of {name} in {what}");
                assert_agree(&what, &[found], &[*expected], TRANSPOSE, 1.0);
            }
            // All of them at once, by one linear solve.
            let all: Vec<_> = outputs.iter().zip(&seeds).map(|((_, output), seed)| (output, seed.as_slice())).collect();
            let together = linearised.pull_back(&all).unwrap().along(&tangent).unwrap();
            assert_agree(&format!("all of {name} in {what}"), &[together], &[expected.iter().sum()], TRANSPOSE, 1.0);
        }
    }
}

/// The values and points that outputs take of the plan have derivatives of their own: products with its transpose.
fn values_under_the_plan_have_gradients<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data) in problems() {
        let mut linearised = linearised(builder, &data);
        for (output_name, output) in data.outputs() {
            let moved = |output: &Output<f64>, direction: &[f64], step: f64| match output.clone() {
                Output::Product { side, mut values } => {
                    values.iter_mut().zip(direction).for_each(|(value, change)| *value += step * change);
                    Output::Product { side, values }
                }
                Output::Projection { side, mut points, dimension } => {
                    points.iter_mut().zip(direction).for_each(|(value, change)| *value += step * change);
                    Output::Projection { side, points, dimension }
                }
                other => other,
            };
            let seed = cotangent(&output, linearised.value(&output).unwrap().len());
            let gradient = linearised.pull_back(&[(&output, &seed)]).unwrap().values(0).unwrap();
            let direction = noise(47, gradient.len());
            // Outputs are linear in these values.
            let mut at = |step| dot(&linearised.value(&moved(&output, &direction, step)).unwrap(), &seed);
            let expected = 0.5 * (at(1.0) - at(-1.0));
            let is_none = !matches!(output, Output::Product { .. } | Output::Projection { .. });
            assert_eq!(gradient.is_empty(), is_none);
            let what = format!("values of the {output_name} of {name}");
            assert_agree(&what, &[dot(&gradient, &direction)], &[expected], TRANSPOSE, 1.0);
        }
    }
}

/// The Hessian times a tangent is the change of the gradient.
fn hessian_products_are_changes_of_the_gradient<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data) in problems() {
        let blocks = |gradient: &mut dyn Gradient<D>| -> Vec<Vec<f64>> {
            let parameters: &[CostParameter] = match data.cost {
                Cost::Points(_) => &[CostParameter::Points(Side::Source), CostParameter::Points(Side::Target)],
                Cost::Matrix(_) => &[CostParameter::Matrix],
                Cost::Formula(..) => &[CostParameter::Points(Side::Source), CostParameter::Formula],
            };
            let mut blocks: Vec<_> = parameters.iter().map(|&parameter| gradient.cost(parameter).unwrap()).collect();
            blocks.extend(Side::BOTH.map(|side| match data.penalties == [Penalty::Balanced; 2] {
                true => gradient.zero_sum_weights(side).unwrap(),
                false => gradient.weights(side).unwrap(),
            }));
            blocks
        };
        let mut linearised = linearised(builder, &data);
        for (what, direction) in data.directions().into_iter().filter(|(what, _)| *what != "penalties") {
            let found = blocks(&mut linearised.hessian_vector(&direction.tangent()).unwrap());
            let expected = difference(data.epsilon, |step| {
                let solution = solve(&data.moved(&direction, step).problem(builder));
                blocks(&mut value_and_gradient(&solution).unwrap().1).concat()
            });
            assert_agree(&format!("gradient of {name} in {what}"), &found.concat(), &expected, DIFFERENCES, FLOOR);
        }
    }
}

/// One test for each law and kernel.
macro_rules! laws_on {
    ($($module:ident: $backend:expr;)*) => {
        $(mod $module {
            use super::*;

            laws_on!(@ $backend;
                the_value_has_the_gradient_of_the_envelope, outputs_move_as_pushed_forward,
                the_pull_back_is_the_transpose, values_under_the_plan_have_gradients,
                hessian_products_are_changes_of_the_gradient);
        })*
    };
    (@ $backend:expr; $($law:ident),*) => {
        $(#[test]
        fn $law() {
            super::$law(&$backend);
        })*
    };
}

laws_on! {
    deferred: DeferredBuilder::new(ReferenceBackend::<f64>::default());
    dense: CpuBackend::<f64>::new(2).unwrap().with_dense_limit(usize::MAX);
    streaming: CpuBackend::<f64>::new(2).unwrap().with_dense_limit(0);
    block_sparse: CpuBackend::<f64>::new(2).unwrap().with_dense_limit(0).with_block_limit(1);
}

/// All of a gradient in the directions of a problem.
pub fn along_all<D: Device>(gradient: &mut dyn Gradient<D>, data: &Data) -> Vec<f64> {
    data.directions().iter().map(|(_, direction)| gradient.along(&direction.tangent()).unwrap()).collect()
}
