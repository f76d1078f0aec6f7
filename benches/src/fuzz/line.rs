//! Transport on the line beside sorting and exact cumulative masses.

use ot_core::{Error, GroundCost, Manhattan, PointCloud, PowerOfDistance, Side, SqEuclidean};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{LineTransport, QuantileFunction, line_costs};

use super::{
    generate::{clouds, masses, narrow, one_of, percent, rounding_of},
    instance::sizes,
    oracle::{line::Monotone, sum::sum},
    report::Report,
};
use crate::seeded::Seeded;

/// Two clouds on the line.
pub(super) fn clouds_on_line<T: CpuScalar>(
    random: &mut Seeded,
    report: &mut Report,
) -> ([Vec<f64>; 2], [Vec<f64>; 2], bool) {
    let [n, m] = sizes(random);
    let masses = masses::<T>(random, n, m);
    let mut points = clouds::<T>(random, [n, m], 1, T::MAX);
    // Often the same law, on atoms that are split.
    if masses.exact && percent(random, 15) {
        points[1] = (0..m).map(|j| points[0][j % n]).collect();
    }
    report.given("element", T::NAME);
    for (name, values) in [("x", &points[0]), ("a", &masses.source), ("y", &points[1]), ("b", &masses.target)] {
        report.given(name, values);
    }
    (points, [masses.source, masses.target], masses.exact)
}

/// Both clouds.
pub(super) fn built<T: CpuScalar>(
    points: &[Vec<f64>; 2],
    weights: &[Vec<f64>; 2],
    dimension: usize,
) -> Result<[PointCloud<'static, T>; 2], Error> {
    let cloud = |side: usize| PointCloud::new(narrow::<T>(&points[side]), dimension, narrow::<T>(&weights[side]));
    Ok([cloud(0)?, cloud(1)?])
}

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let (points, weights, exact) = clouds_on_line::<T>(random, report);
    let p = one_of(random, &[1.0, 2.0, 1.5, 3.0, 7.0, 50.0, 160.0, f64::INFINITY]);
    report.given("p", p);
    let coupling = exact.then(|| Monotone::new(&points[0], &weights[0], &points[1], &weights[1]));
    let functions = built::<T>(&points, &weights, 1)
        .and_then(|[source, target]| Ok([QuantileFunction::of(&source, 0)?, QuantileFunction::of(&target, 0)?]));
    let [source, target] = match functions {
        Ok(functions) => functions,
        Err(error) => return report.refused(&error, false),
    };
    let beyond =
        coupling.as_ref().is_none_or(|coupling| coupling.largest().max(coupling.distance(p)) > 0.05 * f64::MAX);
    match source.wasserstein(&target, p) {
        Err(error) => report.refused(&error, beyond),
        Ok(distance) => {
            report.ended("solved");
            report.require(distance.is_finite() && distance >= 0.0, || format!("distance {distance}"));
            if let Some(coupling) = &coupling {
                let expected = coupling.distance(p);
                report.near("distance", distance, expected, (1e-9 + 16.0 * rounding_of(&weights)) * expected + 1e-320);
            }
        }
    }
    report.numbers("quantiles", &source.quantiles(&[0.0, 0.3, 0.5, 1.0]));
    check_cost::<T>(backends, random, report, [&source, &target], (&points, &weights), coupling.as_ref());
}

/// Costs, plan, potentials and map.
fn check_cost<T: CpuScalar>(
    backends: &[CpuBackend<T>; 3],
    random: &mut Seeded,
    report: &mut Report,
    [source, target]: [&QuantileFunction; 2],
    (points, weights): (&[Vec<f64>; 2], &[Vec<f64>; 2]),
    coupling: Option<&Monotone>,
) {
    let exponent = one_of(random, &[1.0, 2.0, 1.5, 3.0]);
    let power = PowerOfDistance::new(exponent);
    let cost: &dyn GroundCost = match (&power, exponent) {
        (_, 1.0) => &Manhattan,
        (Ok(power), 1.5 | 3.0) => power,
        _ => &SqEuclidean,
    };
    report.given("exponent of the cost", exponent);
    let (x, y) = (&points[0], &points[1]);
    let widest = x.iter().chain(y).map(|x| x.abs()).fold(0.0, f64::max);
    let overflows = (2.0 * widest).powf(exponent) * (1.0 + sum(weights[0].iter().copied())) > 1e-2 * f64::MAX;
    let transport = match LineTransport::new(source, target, cost) {
        Ok(transport) => transport,
        Err(error) => return report.require(overflows, || format!("line transport refused: {error}")),
    };
    match transport.transport_cost() {
        Err(error) => report.require(overflows, || format!("transport cost refused: {error}")),
        Ok(found) => {
            report.require(found.is_finite() && found >= 0.0, || format!("transport cost {found}"));
            if let Some(expected) = coupling.map(|coupling| coupling.power(exponent)) {
                report.near(
                    "transport cost",
                    found,
                    expected,
                    (1e-9 + 16.0 * rounding_of(weights)) * expected + 1e-290,
                );
            }
            let clouds = built::<T>(points, weights, 1);
            let batch =
                clouds.and_then(|[a, b]| backends.iter().map(|backend| line_costs(backend, &a, &b, cost)).collect());
            let batch: Result<Vec<Vec<f64>>, Error> = batch;
            match batch {
                Err(error) => report.require(false, || format!("line costs refused: {error}")),
                Ok(batch) => report.require(batch.iter().all(|costs| costs == &[found]), || {
                    format!("line costs {batch:?}, transport cost {found:e}")
                }),
            }
        }
    }
    match transport.plan() {
        Err(error) => report.require(false, || format!("no plan: {error}")),
        Ok(plan) => {
            for (side, weights) in Side::BOTH.into_iter().zip(weights) {
                let marginal = plan.marginal(side);
                let residual = sum(marginal.iter().zip(weights).map(|(found, weight)| (found - weight).abs()));
                let difference = (sum(weights.iter().copied()) - sum(marginal.iter().copied())).abs();
                report.at_most(
                    "residual",
                    residual,
                    (1e-9 + 64.0 * T::EPSILON) * sum(weights.iter().copied()) + 2.0 * difference,
                );
                report.at_most("mass lost", difference, 1e-5 * sum(weights.iter().copied()));
            }
        }
    }
    let [f, g] = transport.potentials();
    report.numbers("potentials", &f);
    report.numbers("potentials", &g);
    report.numbers("nodes", transport.map().nodes());
    report.numbers("images", &transport.map().images(x));
}
