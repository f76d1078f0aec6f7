//! What every derivative must satisfy, on every backend.

use std::sync::Arc;

use ot_conformance::{Counting, Counts, DeferredBuilder, ReferenceBackend};
use ot_core::{Balanced, Device, GeometryBuilder, KernelOp, Kl, Problem, Side, Solution, TotalVariation};

use super::{
    algebra::{Sided, pairing},
    data::{Cost, DIMENSION, Data, Penalties, assert_agree, balanced, difference, dot, noise, solve},
    fixed_point::{FixedPoint, Tangent},
    gradient::{Gradient, host, total},
};
use crate::support::{SIDES, cpu, penalty};

/// Agreement with differences of full solves.
const DIFFERENCES: f64 = 1e-9;

/// Agreement of a derivative with its transpose.
const TRANSPOSE: f64 = 1e-12;

/// KL on both sides, of different strength.
fn relaxed() -> Penalties {
    Sided { source: penalty(Kl::new(0.7).unwrap()), target: penalty(Kl::new(1.5).unwrap()) }
}

/// One marginal prescribed, the other not: there is no gauge.
fn half_relaxed() -> Penalties {
    Sided { source: penalty(Balanced), target: penalty(Kl::new(0.7).unwrap()) }
}

/// Total variation: the step has slope 0 where the potential is clamped to [-rho, rho], and 1 elsewhere.
fn clamped() -> Penalties {
    let variation = penalty(TotalVariation::new(0.6).unwrap());
    Sided { source: variation.clone(), target: variation }
}

/// All kinds of problems: points, a matrix, an atom without mass, two histograms, several penalties, a linear system of
/// many steps.
fn problems() -> Vec<(&'static str, Data, Penalties)> {
    let mut massless = Data::clouds(6, 5);
    massless.weights.source[2] += massless.weights.source[4];
    massless.weights.source[4] = 0.0;
    let mut batch = Data::clouds(6, 5);
    batch.weights.target.extend(batch.weights.target.clone().into_iter().rev());
    batch.columns.target = 2;
    vec![
        ("points", Data::clouds(7, 5), balanced()),
        ("matrix", Data::matrix(5, 6), balanced()),
        ("massless", massless, balanced()),
        ("batch", batch, balanced()),
        ("relaxed", Data::clouds(7, 5), relaxed()),
        ("relaxed matrix", Data::matrix(5, 6), relaxed()),
        ("half relaxed", Data::clouds(5, 7), half_relaxed()),
        ("clamped", Data::clouds(7, 5), clamped()),
        ("sharp", Data { epsilon: 0.05, ..Data::clouds(24, 30) }, balanced()),
    ]
}

/// Directions in which data move.
fn directions(data: &Data) -> Vec<(&'static str, Data)> {
    let mut directions =
        vec![("epsilon", data.moving_epsilon()), ("target weights", data.moving_weights(Side::Target, 21))];
    // A weight of zero has no weight below it to take a difference with.
    if data.weights.source.iter().all(|&weight| weight > 0.0) {
        directions.push(("source weights", data.moving_weights(Side::Source, 22)));
    }
    match data.cost {
        Cost::Points(_) => {
            directions.push(("source points", data.moving_points(Side::Source, 23)));
            directions.push(("target points", data.moving_points(Side::Target, 24)));
        }
        Cost::Matrix(_) => directions.push(("matrix", data.moving_matrix(25))),
    }
    directions
}

/// The linearised fixed point of a solved problem, with the kernel.
fn at_fixed_point_of<D: Device<Elem = f64>, R>(
    problem: &Problem<D>,
    look: impl FnOnce(&FixedPoint<'_, D>, &mut dyn KernelOp<D>) -> R,
) -> R {
    let solution = solve(problem);
    let mut kernel = problem.bind().unwrap();
    let fixed_point = FixedPoint::linearise(kernel.as_mut(), problem, solution.potentials()).unwrap();
    look(&fixed_point, kernel.as_mut())
}

/// The same of data.
fn at_fixed_point<D: Device<Elem = f64>, R>(
    builder: &dyn GeometryBuilder<Device = D>,
    data: &Data,
    penalties: &Penalties,
    look: impl FnOnce(&FixedPoint<'_, D>, &mut dyn KernelOp<D>) -> R,
) -> R {
    at_fixed_point_of(&data.problem(builder, penalties), look)
}

/// The change of both potentials along a direction, f and then g, on the host.
fn pushed_forward<D: Device<Elem = f64>>(
    fixed_point: &FixedPoint<'_, D>,
    kernel: &mut dyn KernelOp<D>,
    direction: &Data,
) -> Sided<Vec<f64>> {
    let backend = fixed_point.backend();
    let cost = direction.parameters(backend);
    let weights = Sided::try_new(|side| backend.upload(&direction.weights[side], direction.columns[side])).unwrap();
    let weights = Sided { source: Some(&weights.source), target: Some(&weights.target) };
    let tangent = Tangent { cost: &cost, weights, epsilon: direction.epsilon };
    let change = fixed_point.push_forward(kernel, &tangent).unwrap();
    Sided::try_new(|side| host(backend, &change[side])).unwrap()
}

/// f and then g.
fn potentials<D: Device<Elem = f64>>(solution: &Solution<D>) -> Vec<f64> {
    SIDES.iter().flat_map(|&side| solution.potential(side).unwrap()).collect()
}

/// Random cotangents of both potentials.
fn cotangent<D: Device<Elem = f64>>(fixed_point: &FixedPoint<'_, D>) -> Sided<D::Vector> {
    let random = |side: Side| {
        let (rows, columns) = fixed_point.shape(side);
        fixed_point.backend().upload(&noise(31 + rows as u64, rows * columns), columns)
    };
    Sided::try_new(random).unwrap()
}

fn the_value_has_the_gradient_of_the_envelope<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data, penalties) in problems() {
        let gradient = at_fixed_point(builder, &data, &penalties, |fixed_point, kernel| {
            Gradient::of_value(fixed_point, kernel, &data).unwrap()
        });
        for (what, direction) in directions(&data) {
            let expected = difference(&data, |step| {
                let solution = solve(&data.moved(&direction, step).problem(builder, &penalties));
                vec![solution.certificates().iter().map(|certificate| certificate.dual).sum()]
            });
            let what = format!("value of {name} in {what}");
            assert_agree(&what, &[gradient.along(&direction)], &expected, DIFFERENCES);
        }
    }
}

fn potentials_move_as_pushed_forward<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data, penalties) in problems() {
        at_fixed_point(builder, &data, &penalties, |fixed_point, kernel| {
            for (what, direction) in directions(&data) {
                let Sided { source, target } = pushed_forward(fixed_point, kernel, &direction);
                let expected = difference(&data, |step| {
                    potentials(&solve(&data.moved(&direction, step).problem(builder, &penalties)))
                });
                let what = format!("potentials of {name} in {what}");
                assert_agree(&what, &[source, target].concat(), &expected, DIFFERENCES);
            }
        });
    }
}

fn the_pull_back_is_the_transpose<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data, penalties) in problems() {
        at_fixed_point(builder, &data, &penalties, |fixed_point, kernel| {
            let cotangent = cotangent(fixed_point);
            let gradient = Gradient::of_potentials(fixed_point, kernel, &data, cotangent.as_ref()).unwrap();
            for (what, direction) in directions(&data) {
                let change = pushed_forward(fixed_point, kernel, &direction);
                let along = |side: Side| dot(&host(fixed_point.backend(), &cotangent[side]).unwrap(), &change[side]);
                let expected = along(Side::Source) + along(Side::Target);
                let what = format!("transpose for {name} in {what}");
                assert_agree(&what, &[gradient.along(&direction)], &[expected], TRANSPOSE);
            }
        });
    }
}

fn the_transport_cost_is_differentiated<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    for (name, data) in [("points", Data::clouds(7, 5)), ("matrix", Data::matrix(5, 6))] {
        let gradient = at_fixed_point(builder, &data, &balanced(), |fixed_point, kernel| {
            Gradient::of_transport_cost(fixed_point, kernel, &data).unwrap()
        });
        for (what, direction) in directions(&data).into_iter().filter(|(what, _)| *what != "epsilon") {
            let expected = difference(&data, |step| {
                let solution = solve(&data.moved(&direction, step).problem(builder, &balanced()));
                vec![solution.certificate().transport_cost.unwrap()]
            });
            let what = format!("transport cost of {name} in {what}");
            assert_agree(&what, &[gradient.along(&direction)], &expected, DIFFERENCES);
        }
    }
}

/// <w, T> for the barycentric projection T of the target points, a product with the plan whose cotangents meet it as
/// products sum_k w_ik y_jk.
fn the_barycentric_projection_is_differentiated<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    let data = Data::clouds(7, 5);
    // Point by point, and coordinate by coordinate.
    let cotangent = noise(61, 7 * DIMENSION);
    let columns: Vec<f64> =
        (0..DIMENSION).flat_map(|axis| cotangent.iter().skip(axis).step_by(DIMENSION).copied()).collect();
    for (name, penalties) in [("balanced", balanced()), ("relaxed", relaxed())] {
        let gradient = at_fixed_point(builder, &data, &penalties, |fixed_point, kernel| {
            let cotangent = fixed_point.backend().upload(&columns, DIMENSION).unwrap();
            Gradient::of_projection(fixed_point, kernel, &data, &cotangent).unwrap()
        });
        for (what, direction) in directions(&data).into_iter().filter(|(what, _)| *what != "epsilon") {
            let expected = difference(&data, |step| {
                let moved = data.moved(&direction, step);
                let Cost::Points(points) = &moved.cost else { return Vec::new() };
                let solution = solve(&moved.problem(builder, &penalties));
                let mut plan = solution.plan().unwrap();
                let projection = plan.barycentric_projection(Side::Source, &points.target, DIMENSION).unwrap();
                vec![dot(&cotangent, &projection)]
            });
            let what = format!("{name} barycentric projection in {what}");
            assert_agree(&what, &[gradient.along(&direction)], &expected, DIFFERENCES);
        }
    }
}

/// With KL penalties: dD/da = rho - (rho + epsilon) exp(-f / rho) + epsilon mass(b).
fn the_value_in_weights_has_a_closed_form<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    let data = Data::clouds(7, 5);
    at_fixed_point(builder, &data, &relaxed(), |fixed_point, _| {
        let backend = fixed_point.backend();
        for (side, rho) in [(Side::Source, 0.7), (Side::Target, 1.5)] {
            let mass: f64 = data.weights[side.opposite()].iter().sum();
            let closed = |f: &f64| rho - (rho + data.epsilon) * (-f / rho).exp() + data.epsilon * mass;
            let expected: Vec<f64> = host(backend, fixed_point.potential(side)).unwrap().iter().map(closed).collect();
            let found = host(backend, &fixed_point.value_in_weights(side).unwrap()).unwrap();
            assert_agree("closed form in weights", &found, &expected, 1e-11);
        }
    });
}

/// Where marginals are relaxed, derivatives in weights are no classes: masses may change.
fn relaxed_masses_may_change<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    let data = Data::clouds(5, 6);
    let growth = |seed, len| noise(seed, len).into_iter().map(|x| 0.1 * x + 0.05).collect();
    let direction = Data { weights: Sided { source: growth(41, 5), target: growth(42, 6) }, ..data.rest() };
    at_fixed_point(builder, &data, &relaxed(), |fixed_point, kernel| {
        let moved = |step| solve(&data.moved(&direction, step).problem(builder, &relaxed()));
        let value = Gradient::of_value(fixed_point, kernel, &data).unwrap().along(&direction);
        let expected = difference(&data, |step| vec![moved(step).certificate().dual]);
        assert_agree("value in masses", &[value], &expected, DIFFERENCES);
        let Sided { source, target } = pushed_forward(fixed_point, kernel, &direction);
        let expected = difference(&data, |step| potentials(&moved(step)));
        assert_agree("potentials in masses", &[source, target].concat(), &expected, DIFFERENCES);
    });
}

/// The gauge <a, f> = <b, g> moves with the weights, and derivatives in weights have mean zero.
fn the_gauge_is_kept<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    let data = Data::clouds(7, 5);
    at_fixed_point(builder, &data, &balanced(), |fixed_point, kernel| {
        let (backend, cotangent) = (fixed_point.backend(), cotangent(fixed_point));
        let gradient = Gradient::of_potentials(fixed_point, kernel, &data, cotangent.as_ref()).unwrap();
        for side in SIDES {
            let mean: f64 = gradient.weights[side].iter().sum();
            assert!(mean.abs() < 1e-13, "{mean}");
        }
        let direction = data.moving_weights(Side::Source, 51);
        let change = pushed_forward(fixed_point, kernel, &direction);
        let [source, target] = SIDES.map(|side| {
            let implicit = backend.upload(&change[side], 1).unwrap();
            let implicit = pairing(backend, fixed_point.shape(side), fixed_point.weights(side), &implicit).unwrap();
            let potential = host(backend, fixed_point.potential(side)).unwrap();
            total(backend, &implicit).unwrap() + dot(&direction.weights[side], &potential)
        });
        assert!((source - target).abs() < 1e-13, "{source} is not {target}");
    });
}

/// The slopes of a penalty are those of its recorded step: here 0 at some atoms and 1 at others.
fn clamped_potentials_do_not_move<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    let data = Data::clouds(7, 5);
    at_fixed_point(builder, &data, &clamped(), |fixed_point, kernel| {
        let f = host(fixed_point.backend(), fixed_point.potential(Side::Source)).unwrap();
        let change = pushed_forward(fixed_point, kernel, &data.moving_points(Side::Source, 23));
        let is_clamped = |f: &f64| f.abs() == 0.6;
        assert!(f.iter().any(is_clamped) && !f.iter().all(is_clamped), "{f:?}");
        for (f, df) in f.iter().zip(&change.source) {
            assert_eq!(is_clamped(f), *df == 0.0, "{f} moves by {df}");
        }
    });
}

/// One test for each property and backend.
macro_rules! properties_on {
    ($($module:ident: $backend:expr;)*) => {
        $(mod $module {
            use super::*;

            properties_on!(@ $backend;
                the_value_has_the_gradient_of_the_envelope, potentials_move_as_pushed_forward,
                the_pull_back_is_the_transpose, the_transport_cost_is_differentiated,
                the_barycentric_projection_is_differentiated,
                the_value_in_weights_has_a_closed_form,
                relaxed_masses_may_change, the_gauge_is_kept, clamped_potentials_do_not_move);
        })*
    };
    (@ $backend:expr; $($property:ident),*) => {
        $(#[test]
        fn $property() {
            super::$property(&$backend);
        })*
    };
}

properties_on! {
    reference: ReferenceBackend::<f64>::default();
    deferred: DeferredBuilder::new(ReferenceBackend::<f64>::default());
    dense: cpu(2).with_dense_limit(usize::MAX);
    streaming: cpu(2).with_dense_limit(0);
}

/// A harder system costs more products with the plan and a read for every ten steps, and no memory.
#[test]
fn the_linear_solve_stays_on_the_device() {
    let [easy, hard] = [1.0, 0.03].map(|epsilon| {
        let data = Data { epsilon, ..Data::clouds(40, 30) };
        let counting = Counting::new(Arc::new(ReferenceBackend::<f64>::default()));
        let problem = data.problem(&ReferenceBackend::<f64>::default(), &balanced());
        at_fixed_point_of(&problem.with_backend(Arc::new(counting.clone())), |fixed_point, kernel| {
            let cost = data.moving_points(Side::Source, 61).parameters(fixed_point.backend());
            let before = counting.counts();
            fixed_point.push_forward(kernel, &Tangent { cost: &cost, ..Tangent::default() }).unwrap();
            counting.counts().since(before)
        })
    });
    // A step is two products with the plan and thirteen operations beside.
    let steps = |counts: Counts| counts.operations / 13;
    assert!(steps(hard) >= 2 * steps(easy) && steps(hard) <= 50, "{easy:?}, {hard:?}");
    assert_eq!(hard.allocations, easy.allocations);
    for counts in [easy, hard] {
        assert!(counts.reads <= 1 + steps(counts) / 10, "{counts:?}");
    }
}
