//! The plan as an operator, and sums of functions under it.

use super::MODERATE_EPSILONS;
use crate::{
    backend::{Backend, Side},
    conformance::{
        GeometryCase, Verdict,
        case::{SIDES, Scene, at},
        naive::Naive,
        seeded::{Seeded, elements},
        verdict::Trial,
    },
    error::Error,
    program::Program,
    real::Real,
    scalar::Scalar,
};

/// out_i = sum_j P_ij v_j, both ways, for a batch of columns with several channels each.
pub fn products_are_those_of_the_plan<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("products are those of the plan", &case.name);
    let channels = 2;
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        for columns in [1, 3] {
            let mut scene = Scene::new(case, epsilon, columns)?;
            for side in SIDES {
                let (rows, others) = (case.truth.len(side), case.truth.len(side.opposite()));
                let values = Seeded::new(3).vector::<B::Elem>(others * columns * channels, -1.0, 2.0);
                let found = apply(&mut scene, side, &values)?;
                for index in 0..columns * channels {
                    let plan = scene.true_plan(index / channels);
                    let values = &values[index * others..][..others];
                    let (expected, sizes) = product(&case.truth, &plan, side, values);
                    let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}, column {index}"));
                    let relative = scene.relative();
                    trial.all_close("row", &found[index * rows..][..rows], &expected, |row| relative * sizes[row])?;
                }
            }
        }
    }
    Ok(())
}

/// <u, P v> = <P^T u, v>.
pub fn products_are_adjoint<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("products are adjoint", &case.name);
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let mut scene = Scene::new(case, epsilon, 1)?;
        let mut seeded = Seeded::new(4);
        let u = seeded.vector::<B::Elem>(case.truth.rows, 0.5, 2.0);
        let v = seeded.vector::<B::Elem>(case.truth.columns, 0.5, 2.0);
        let dot = |a: &[f64], b: &[B::Elem]| a.iter().zip(b).map(|(a, b)| a * b.to_f64()).sum::<f64>();
        let left = dot(&u, &apply(&mut scene, Side::Source, &v)?);
        let right = dot(&v, &apply(&mut scene, Side::Target, &u)?);
        let trial = trial.at(format_args!("epsilon {epsilon:e}"));
        trial.close("", left, right, scene.relative() * right.abs())?;
    }
    Ok(())
}

/// <P, C>, where forbidden pairs count nothing.
pub fn transport_costs_are_sums<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("transport costs are sums", &case.name);
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let mut scene = Scene::new(case, epsilon, 3)?;
        let Some(found) = plan_cost(&mut scene)? else { return Ok(()) };
        for (column, found) in found.into_iter().enumerate() {
            let (cost, size) = cost_of(&case.truth, &scene.true_plan(column));
            let trial = trial.at(format_args!("epsilon {epsilon:e}, column {column}"));
            trial.close("", found, cost, (scene.relative() + case.unit()) * size)?;
        }
    }
    Ok(())
}

/// <P, C> + epsilon sum P log(P / ab) = sum_i f_i (P 1)_i + sum_j g_j (P^T 1)_j, with the entries of P
/// asked for one column at a time: the costs and the kernel are of one mind.
pub fn transport_costs_obey_the_identity<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("transport costs obey the identity", &case.name);
    let truth = &case.truth;
    if truth.rows * truth.columns > 2500 {
        return Ok(());
    }
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let mut scene = Scene::new(case, epsilon, 1)?;
        let Some(cost) = plan_cost(&mut scene)? else { return Ok(()) };
        let (f, g) = (scene.potential(Side::Source, 0).to_vec(), scene.potential(Side::Target, 0).to_vec());
        let (mut identity, mut size) = (0.0, 0.0);
        for (j, g) in g.iter().enumerate() {
            let unit: Vec<f64> = (0..truth.columns).map(|index| f64::from(index == j)).collect();
            let b = scene.weights(Side::Target, 0)[j];
            for (i, entry) in apply(&mut scene, Side::Source, &unit)?.iter().enumerate() {
                let (entry, weight) = (entry.to_f64(), scene.weights(Side::Source, 0)[i] * b);
                // Entries that have vanished in the element type have no logarithm.
                if entry > 1e3 * B::Elem::TINY {
                    identity += entry * (f[i] + g - epsilon * (entry / weight).ln());
                    size += entry * (f[i].abs() + g.abs() + epsilon + truth.largest());
                }
            }
        }
        let trial = trial.at(format_args!("epsilon {epsilon:e}"));
        trial.close("", cost[0], identity, (scene.relative() + case.unit()) * size)?;
    }
    Ok(())
}

/// sum_ij u_i C_ij v_j; infinite where a forbidden pair has mass.
pub fn costs_of_rank_one_plans_are_sums<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("costs of rank-one plans are sums", &case.name);
    let (truth, backend, columns) = (&case.truth, case.backend(), 2);
    let mut kernel = case.geometry.bind(case.epsilons(&[1.0])[0], columns)?;
    let Some(cost) = kernel.transport_cost() else { return Ok(()) };
    let mut seeded = Seeded::new(6);
    // In the first column u is on one row, the first, which meets no forbidden pair in standard cases.
    let mut u = seeded.vector::<B::Elem>(truth.rows * columns, 0.0, 1.0);
    u[1..truth.rows].fill(0.0);
    let v = seeded.vector::<B::Elem>(truth.columns * columns, 0.0, 1.0);
    let upload = |values: &[f64]| backend.upload(&elements::<B::Elem>(values), columns);
    let mut out = backend.alloc_reduced(columns)?;
    cost.rank_one_cost(&upload(&u)?, &upload(&v)?, &mut out)?;
    for (column, found) in backend.read(&[&out])?.swap_remove(0).into_iter().enumerate() {
        let (u, v) = (&u[column * truth.rows..], &v[column * truth.columns..]);
        let rank_one: Vec<f64> =
            (0..truth.rows * truth.columns).map(|index| u[index / truth.columns] * v[index % truth.columns]).collect();
        let (expected, size) = cost_of(truth, &rank_one);
        trial.close(&format!("column {column}"), found, expected, case.unit() * size)?;
    }
    Ok(())
}

/// out_i = sum_j P_ij phi(x_i, y_j), both ways, for a function of two values.
pub fn pair_sums_are_sums<B: Backend>(case: &GeometryCase<B>) -> Verdict {
    let trial = Trial::new("pair sums are sums", &case.name);
    let Some(points) = &case.points else { return Ok(()) };
    let (dimension, backend, columns) = (points.dimension, case.backend(), 2);
    let phi = Program::record_dynamic(2 * dimension, |inputs| {
        let (x, y) = inputs.split_at(dimension);
        // The second is not symmetric in x and y.
        vec![(square(x) + square(y)).sqrt(), x[0] - y[dimension - 1]]
    })?;
    for epsilon in case.epsilons(&MODERATE_EPSILONS) {
        let mut scene = Scene::new(case, epsilon, columns)?;
        if scene.kernel.pair_sum().is_none() {
            return Ok(());
        }
        for side in SIDES {
            let rows = case.truth.len(side);
            let mut out = backend.alloc(rows, columns * phi.outputs())?;
            scene.ask(|kernel, plan| {
                let pair_sum = kernel.pair_sum().ok_or(Error::MissingCapability("pair sum"))?;
                pair_sum.pair_sum(side, plan, &phi, &mut out)
            })?;
            let found = backend.download(&[&out])?.swap_remove(0);
            for index in 0..columns * phi.outputs() {
                let plan = scene.true_plan(index / phi.outputs());
                let (mut expected, mut sizes) = (vec![0.0; rows], vec![0.0; rows]);
                for (own, (expected, size)) in expected.iter_mut().zip(&mut sizes).enumerate() {
                    for other in 0..case.truth.len(side.opposite()) {
                        let (i, j) = Naive::pair(side, own, other);
                        let pair = [points.point(Side::Source, i), points.point(Side::Target, j)].concat();
                        let term = plan[i * case.truth.columns + j] * phi.evaluate(&pair)?[index % phi.outputs()];
                        *expected += term;
                        *size += plan[i * case.truth.columns + j] * (1.0 + dimension as f64);
                    }
                }
                let trial = trial.at(format_args!("{side}, epsilon {epsilon:e}, column {index}"));
                let relative = scene.relative() + case.unit();
                trial.all_close("row", &found[index * rows..][..rows], &expected, |row| relative * 2.0 * sizes[row])?;
            }
        }
    }
    Ok(())
}

/// 1/2 + |x|^2.
fn square<R: Real>(point: &[R]) -> R {
    point.iter().fold(R::constant(0.5), |sum, value| sum + *value * *value)
}

/// The plan times values, by the kernel.
fn apply<B: Backend>(scene: &mut Scene<'_, B>, side: Side, values: &[f64]) -> Result<Vec<B::Elem>, Error> {
    let (backend, truth) = (scene.case.backend().clone(), &scene.case.truth);
    let columns = values.len() / truth.len(side.opposite());
    let values = backend.upload(&elements::<B::Elem>(values), columns)?;
    let mut out = backend.alloc(truth.len(side), columns)?;
    scene.ask(|kernel, plan| kernel.apply(side, plan, &values, &mut out))?;
    Ok(backend.download(&[&out])?.swap_remove(0))
}

/// <P, C> by the kernel, if it has a cost.
fn plan_cost<B: Backend>(scene: &mut Scene<'_, B>) -> Result<Option<Vec<f64>>, Error> {
    let backend = scene.case.backend().clone();
    let mut out = backend.alloc_reduced(scene.columns)?;
    let asked = scene.ask(|kernel, plan| kernel.transport_cost().map(|cost| cost.plan_cost(plan, &mut out)));
    asked.map(|done| done.and_then(|()| Ok(backend.read(&[&out])?.swap_remove(0)))).transpose()
}

/// P v or P^T v, and the sizes of the sums.
fn product(truth: &Naive, plan: &[f64], side: Side, values: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (mut sums, mut sizes) = (vec![0.0; truth.len(side)], vec![0.0; truth.len(side)]);
    for (index, mass) in plan.iter().enumerate() {
        let pair = [index / truth.columns, index % truth.columns];
        let (own, other) = (pair[at(side)], pair[at(side.opposite())]);
        sums[own] += mass * values[other];
        sizes[own] += mass * values[other].abs();
    }
    (sums, sizes)
}

/// <P, C> and <P, |C|>.
fn cost_of(truth: &Naive, plan: &[f64]) -> (f64, f64) {
    let terms = plan.iter().zip(&truth.costs).filter(|(mass, _)| **mass > 0.0);
    terms.fold((0.0, 0.0), |(cost, size), (mass, c)| (cost + mass * c, size + mass * c.abs()))
}
