//! What every derivative must satisfy, on every backend.

use std::sync::Arc;

use ot_core::{
    Backend, Balanced, CostFormula, Dual, KernelOp, Kl, Program, Real, Side, Solution, SqEuclidean, TotalVariation,
    conformance::{Counting, Deferred, ReferenceBackend},
};

use super::{
    algebra::{Sided, pairing},
    data::{Cost, DIMENSION, Data, Laws, assert_agree, balanced, difference, dot, noise, solve},
    fixed_point::{FixedPoint, Tangent},
    gradient::{Gradient, add, host, total},
};
use crate::support::{SIDES, cpu};

/// Agreement with differences of full solves.
const DIFFERENCES: f64 = 1e-9;

/// Agreement of a derivative with its transpose.
const TRANSPOSE: f64 = 1e-12;

/// KL on both sides, of different strength.
fn relaxed() -> Laws {
    Sided { source: Arc::new(Kl::new(0.7).unwrap()), target: Arc::new(Kl::new(1.5).unwrap()) }
}

/// One marginal prescribed, the other not: there is no gauge.
fn half_relaxed() -> Laws {
    Sided { source: Arc::new(Balanced), target: Arc::new(Kl::new(0.7).unwrap()) }
}

/// Total variation: the step has slope 0 where the potential is clamped to [-rho, rho], and 1 elsewhere.
fn clamped() -> Laws {
    let law = Arc::new(TotalVariation::new(0.6).unwrap());
    Sided { source: law.clone(), target: law }
}

/// All kinds of problems: points, a matrix, an atom without mass, two histograms, several laws, a linear system of
/// many steps.
fn problems() -> Vec<(&'static str, Data, Laws)> {
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
fn at_fixed_point<B: Backend<Elem = f64>, R>(
    backend: &B,
    data: &Data,
    laws: &Laws,
    look: impl FnOnce(&FixedPoint<'_, B>, &mut dyn KernelOp<B>) -> R,
) -> R {
    let problem = data.problem(backend, laws);
    let solution = solve(&problem);
    let mut kernel = problem.bind().unwrap();
    let fixed_point = FixedPoint::linearise(kernel.as_mut(), &problem, solution.potentials()).unwrap();
    look(&fixed_point, kernel.as_mut())
}

/// The change of both potentials along a direction, f and then g, on the host.
fn pushed_forward<B: Backend<Elem = f64>>(
    fixed_point: &FixedPoint<'_, B>,
    kernel: &mut dyn KernelOp<B>,
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
fn potentials<B: Backend<Elem = f64>>(solution: &Solution<B>) -> Vec<f64> {
    SIDES.iter().flat_map(|&side| solution.potential(side).unwrap()).collect()
}

/// Random cotangents of both potentials.
fn cotangent<B: Backend<Elem = f64>>(fixed_point: &FixedPoint<'_, B>) -> Sided<B::Vector> {
    let random = |side: Side| {
        let (rows, columns) = fixed_point.shape(side);
        fixed_point.backend().upload(&noise(31 + rows as u64, rows * columns), columns)
    };
    Sided::try_new(random).unwrap()
}

fn the_value_has_the_gradient_of_the_envelope<B: Backend<Elem = f64>>(backend: &B) {
    for (name, data, laws) in problems() {
        let gradient = at_fixed_point(backend, &data, &laws, |fixed_point, kernel| {
            Gradient::of_value(fixed_point, kernel, &data).unwrap()
        });
        for (what, direction) in directions(&data) {
            let expected = difference(&data, |step| {
                let solution = solve(&data.moved(&direction, step).problem(backend, &laws));
                vec![solution.certificates().iter().map(|certificate| certificate.dual).sum()]
            });
            let what = format!("value of {name} in {what}");
            assert_agree(&what, &[gradient.along(&direction)], &expected, DIFFERENCES);
        }
    }
}

fn potentials_move_as_pushed_forward<B: Backend<Elem = f64>>(backend: &B) {
    for (name, data, laws) in problems() {
        at_fixed_point(backend, &data, &laws, |fixed_point, kernel| {
            for (what, direction) in directions(&data) {
                let Sided { source, target } = pushed_forward(fixed_point, kernel, &direction);
                let expected =
                    difference(&data, |step| potentials(&solve(&data.moved(&direction, step).problem(backend, &laws))));
                let what = format!("potentials of {name} in {what}");
                assert_agree(&what, &[source, target].concat(), &expected, DIFFERENCES);
            }
        });
    }
}

fn the_pull_back_is_the_transpose<B: Backend<Elem = f64>>(backend: &B) {
    for (name, data, laws) in problems() {
        at_fixed_point(backend, &data, &laws, |fixed_point, kernel| {
            let cotangent = cotangent(fixed_point);
            let gradient = Gradient::of_potentials(fixed_point, kernel, &data, cotangent.as_ref()).unwrap();
            for (what, direction) in directions(&data) {
                let change = pushed_forward(fixed_point, kernel, &direction);
                let along = |side: Side| dot(&host(backend, &cotangent[side]).unwrap(), &change[side]);
                let expected = along(Side::Source) + along(Side::Target);
                let what = format!("transpose for {name} in {what}");
                assert_agree(&what, &[gradient.along(&direction)], &[expected], TRANSPOSE);
            }
        });
    }
}

fn the_transport_cost_is_differentiated<B: Backend<Elem = f64>>(backend: &B) {
    for (name, data) in [("points", Data::clouds(7, 5)), ("matrix", Data::matrix(5, 6))] {
        let gradient = at_fixed_point(backend, &data, &balanced(), |fixed_point, kernel| {
            Gradient::of_transport_cost(fixed_point, kernel, &data).unwrap()
        });
        for (what, direction) in directions(&data).into_iter().filter(|(what, _)| *what != "epsilon") {
            let expected = difference(&data, |step| {
                let solution = solve(&data.moved(&direction, step).problem(backend, &balanced()));
                vec![solution.certificate().transport_cost.unwrap()]
            });
            let what = format!("transport cost of {name} in {what}");
            assert_agree(&what, &[gradient.along(&direction)], &expected, DIFFERENCES);
        }
    }
}

/// <w, T> for the barycentric projection T of the target points, a product with the plan whose cotangents meet it as
/// products sum_k w_ik y_jk.
fn the_barycentric_projection_is_differentiated<B: Backend<Elem = f64>>(backend: &B) {
    let data = Data::clouds(7, 5);
    // Point by point, and coordinate by coordinate.
    let cotangent = noise(61, 7 * DIMENSION);
    let columns: Vec<f64> =
        (0..DIMENSION).flat_map(|axis| cotangent.iter().skip(axis).step_by(DIMENSION).copied()).collect();
    for (name, laws) in [("balanced", balanced()), ("relaxed", relaxed())] {
        let gradient = at_fixed_point(backend, &data, &laws, |fixed_point, kernel| {
            let cotangent = backend.upload(&columns, DIMENSION).unwrap();
            Gradient::of_projection(fixed_point, kernel, &data, &cotangent).unwrap()
        });
        for (what, direction) in directions(&data).into_iter().filter(|(what, _)| *what != "epsilon") {
            let expected = difference(&data, |step| {
                let moved = data.moved(&direction, step);
                let Cost::Points(points) = &moved.cost else { return Vec::new() };
                let solution = solve(&moved.problem(backend, &laws));
                let mut plan = solution.plan().unwrap();
                let projection = plan.barycentric_projection(Side::Source, &points.target, DIMENSION).unwrap();
                vec![dot(&cotangent, &projection)]
            });
            let what = format!("{name} barycentric projection in {what}");
            assert_agree(&what, &[gradient.along(&direction)], &expected, DIFFERENCES);
        }
    }
}

/// <P, M> for M_ij = phi(x_i, y_j), a sum that only `PairSum` can form.
fn a_statistic_of_the_plan_is_differentiated<B: Backend<Elem = f64>>(backend: &B) {
    let data = Data::clouds(7, 5);
    let statistic = Program::record_dynamic(2 * DIMENSION, |z| vec![phi(z)]).unwrap();
    let gradient = at_fixed_point(backend, &data, &balanced(), |fixed_point, kernel| {
        let mut sums = |side: Side, plan, phi: &Program| {
            let mut out = backend.alloc(data.len(side), phi.outputs()).unwrap();
            kernel.pair_sum().unwrap().pair_sum(side, plan, phi, &mut out).unwrap();
            out
        };
        // P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon): directly through weights and points ...
        let rows = SIDES.map(|side| sums(side, fixed_point.plan(), &statistic));
        let densities = SIDES.map(|side| sums(side, fixed_point.conditional(side), &statistic));
        let slopes = SIDES.map(|side| sums(side, fixed_point.plan(), &slope(side, data.epsilon)));
        // ... and through the potentials.
        let [source, target] = rows;
        let cotangent = fixed_point.over_epsilon(&Sided { source, target }).unwrap();
        let mut gradient = Gradient::of_potentials(fixed_point, kernel, &data, cotangent.as_ref()).unwrap();
        for (index, side) in SIDES.into_iter().enumerate() {
            add(&mut gradient.cost[index], &host(backend, &slopes[index]).unwrap());
            add(&mut gradient.weights[side], &host(backend, &densities[index]).unwrap());
        }
        gradient
    });
    for (what, direction) in directions(&data).into_iter().filter(|(what, _)| *what != "epsilon") {
        let expected = difference(&data, |step| {
            at_fixed_point(backend, &data.moved(&direction, step), &balanced(), |fixed_point, kernel| {
                let mut out = backend.alloc(data.len(Side::Source), 1).unwrap();
                let pairs = kernel.pair_sum().unwrap();
                pairs.pair_sum(Side::Source, fixed_point.plan(), &statistic, &mut out).unwrap();
                vec![host(backend, &out).unwrap().iter().sum()]
            })
        });
        assert_agree(&format!("statistic in {what}"), &[gradient.along(&direction)], &expected, DIFFERENCES);
    }
}

/// A function of a pair z = (x, y).
fn phi<R: Real>(z: &[R]) -> R {
    (z[0] * z[3] - z[2]).exp() + z[1]
}

/// The derivative of phi exp(-|x - y|^2 / epsilon) in the coordinates of a side, relative to the exponential.
fn slope(side: Side, epsilon: f64) -> Program {
    let coordinates = match side {
        Side::Source => 0..DIMENSION,
        Side::Target => DIMENSION..2 * DIMENSION,
    };
    let recorded = Program::record_dynamic(2 * DIMENSION, |z| {
        let along = |coordinate: usize| {
            let mut z: Vec<_> = z.iter().map(|&z| Dual::constant(z)).collect();
            z[coordinate] = Dual::variable(z[coordinate].value);
            let (phi, cost) = (phi(&z), SqEuclidean.cost(&z[..DIMENSION], &z[DIMENSION..]));
            phi.derivative - phi.value * cost.derivative / epsilon
        };
        coordinates.map(along).collect()
    });
    recorded.unwrap()
}

/// With KL laws: dD/da = rho - (rho + epsilon) exp(-f / rho) + epsilon mass(b).
fn the_value_in_weights_has_a_closed_form<B: Backend<Elem = f64>>(backend: &B) {
    let data = Data::clouds(7, 5);
    at_fixed_point(backend, &data, &relaxed(), |fixed_point, _| {
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
fn relaxed_masses_may_change<B: Backend<Elem = f64>>(backend: &B) {
    let data = Data::clouds(5, 6);
    let growth = |seed, len| noise(seed, len).into_iter().map(|x| 0.1 * x + 0.05).collect();
    let direction = Data { weights: Sided { source: growth(41, 5), target: growth(42, 6) }, ..data.rest() };
    at_fixed_point(backend, &data, &relaxed(), |fixed_point, kernel| {
        let moved = |step| solve(&data.moved(&direction, step).problem(backend, &relaxed()));
        let value = Gradient::of_value(fixed_point, kernel, &data).unwrap().along(&direction);
        let expected = difference(&data, |step| vec![moved(step).certificate().dual]);
        assert_agree("value in masses", &[value], &expected, DIFFERENCES);
        let Sided { source, target } = pushed_forward(fixed_point, kernel, &direction);
        let expected = difference(&data, |step| potentials(&moved(step)));
        assert_agree("potentials in masses", &[source, target].concat(), &expected, DIFFERENCES);
    });
}

/// The gauge <a, f> = <b, g> moves with the weights, and derivatives in weights have mean zero.
fn the_gauge_is_kept<B: Backend<Elem = f64>>(backend: &B) {
    let data = Data::clouds(7, 5);
    at_fixed_point(backend, &data, &balanced(), |fixed_point, kernel| {
        let cotangent = cotangent(fixed_point);
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

/// The slopes of a law are those of its recorded step: here 0 at some atoms and 1 at others.
fn clamped_potentials_do_not_move<B: Backend<Elem = f64>>(backend: &B) {
    let data = Data::clouds(7, 5);
    at_fixed_point(backend, &data, &clamped(), |fixed_point, kernel| {
        let f = host(backend, fixed_point.potential(Side::Source)).unwrap();
        let change = pushed_forward(fixed_point, kernel, &data.moving_points(Side::Source, 23));
        let is_clamped = |f: &f64| f.abs() == 0.6;
        assert!(f.iter().any(is_clamped) && !f.iter().all(is_clamped), "{f:?}");
        for (f, df) in f.iter().zip(&change.source) {
            assert_eq!(is_clamped(f), *df == 0.0, "{f} moves by {df}");
        }
    });
}

/// One test for each law and backend.
macro_rules! laws_on {
    ($($module:ident: $backend:expr;)*) => {
        $(mod $module {
            use super::*;

            laws_on!(@ $backend;
                the_value_has_the_gradient_of_the_envelope, potentials_move_as_pushed_forward,
                the_pull_back_is_the_transpose, the_transport_cost_is_differentiated,
                the_barycentric_projection_is_differentiated, a_statistic_of_the_plan_is_differentiated,
                the_value_in_weights_has_a_closed_form,
                relaxed_masses_may_change, the_gauge_is_kept, clamped_potentials_do_not_move);
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
    reference: ReferenceBackend::<f64>::default();
    deferred: Deferred::new(ReferenceBackend::<f64>::default());
    dense: cpu(2).with_dense_limit(usize::MAX);
    streaming: cpu(2).with_dense_limit(0);
}

/// A harder system costs more products with the plan and a read for every ten steps, and no memory.
#[test]
fn the_linear_solve_stays_on_the_device() {
    let backend = Counting::new(ReferenceBackend::<f64>::default());
    let [easy, hard] = [1.0, 0.03].map(|epsilon| {
        let data = Data { epsilon, ..Data::clouds(40, 30) };
        at_fixed_point(&backend, &data, &balanced(), |fixed_point, kernel| {
            let cost = data.moving_points(Side::Source, 61).parameters(&backend);
            let before = backend.counts();
            fixed_point.push_forward(kernel, &Tangent { cost: &cost, ..Tangent::default() }).unwrap();
            backend.counts().since(before)
        })
    });
    assert!(hard.requests >= 2 * easy.requests && hard.requests <= 100, "{easy:?}, {hard:?}");
    assert_eq!(hard.allocations, easy.allocations);
    for counts in [easy, hard] {
        assert!(counts.reads <= 1 + counts.requests / 20, "{counts:?}");
    }
}
