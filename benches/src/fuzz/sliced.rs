//! Sliced distances beside projections on the same directions.

use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::SlicedWasserstein;

use super::{
    generate::{below, clouds, masses, one_of, rounding_of},
    instance::sizes,
    line::built,
    oracle::{
        line::Monotone,
        sum::{largest_exponent, sum, times_power_of_two},
    },
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let ([n, m], dimension) = (sizes(random), 1 + below(random, 4));
    let drawn = masses::<T>(random, n, m);
    let (exact, weights) = (drawn.exact, [drawn.source, drawn.target]);
    let points = clouds::<T>(random, [n, m], dimension, T::MAX / 64.0);
    let p = one_of(random, &[1.0, 2.0, 1.5, 3.0, 20.0, 120.0]);
    let count = one_of(random, &[1, 5, 16]);
    report.given("element", T::NAME);
    for (name, values) in [("x", &points[0]), ("a", &weights[0]), ("y", &points[1]), ("b", &weights[1])] {
        report.given(name, values);
    }
    report.given("dimension", dimension);
    report.given("p", p);
    report.given("directions", count);

    let solve = |backend: &CpuBackend<T>| {
        let [a, b] = built::<T>(&points, &weights, dimension)?;
        SlicedWasserstein::new(p).directions(count).between(backend, &a, &b)
    };
    let largest = points.iter().flatten().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let sliced = match solve(&backends[0]) {
        Ok(sliced) => sliced,
        Err(error) => {
            return report
                .refused(&error, largest * sum(weights[0].iter().copied()).powf(1.0 / p).max(1.0) > 1e-3 * f64::MAX);
        }
    };
    report.ended("solved");
    report.number("distance", sliced.distance());
    report.number("largest", sliced.largest().0);
    // Powers beyond the range are errors.
    report.number("standard error", sliced.standard_error().ok().flatten().unwrap_or(0.0));
    report.numbers("powers", &sliced.powers().unwrap_or_default());
    report.number("power", sliced.power().unwrap_or(0.0));
    for backend in &backends[1..] {
        let same = solve(backend).is_ok_and(|other| format!("{other:?}") == format!("{sliced:?}"));
        report.require(same, || format!("other bits with {} threads", backend.threads()));
    }
    if !exact {
        return;
    }
    // Products are taken in the unit of the largest coordinate, of which projections are off by a rounding.
    let unit = if largest > 0.0 { largest } else { 1.0 };
    let project = |side: usize, direction: &[f64]| -> Vec<f64> {
        let point = |x: &[f64]| sum(x.iter().zip(direction).map(|(x, u)| x / unit * u));
        points[side].chunks_exact(dimension).map(point).collect()
    };
    // Masses too: their root is taken at the end.
    let exponent = largest_exponent(&weights[0]);
    let [a, b] = weights
        .each_ref()
        .map(|weights| -> Vec<f64> { weights.iter().map(|&weight| times_power_of_two(weight, -exponent)).collect() });
    let distances: Vec<f64> = sliced
        .directions()
        .chunks_exact(dimension)
        .map(|direction| Monotone::new(&project(0, direction), &a, &project(1, direction), &b).distance(p))
        .collect();
    let most = distances.iter().copied().fold(0.0, f64::max);
    let mean = sum(distances.iter().map(|distance| (distance / most).powf(p))) / distances.len() as f64;
    let log2 = f64::from(exponent) / p;
    let of_masses = |value: f64| times_power_of_two(value * (log2 - log2.floor()).exp2(), log2.floor() as i32);
    let expected = if most > 0.0 { of_masses(unit * (most * mean.powf(1.0 / p))) } else { 0.0 };
    let most = of_masses(unit * most);
    let mass = sum(weights[0].iter().copied()).powf(1.0 / p);
    let relative = 1e-9 + 16.0 * rounding_of(&weights);
    let slack = relative * expected + 32.0 * f64::EPSILON * unit.max(f64::MIN_POSITIVE) * mass + 1e-320;
    report.near("distance", sliced.distance(), expected, slack);
    report.near(
        "largest",
        sliced.largest().0,
        most,
        relative * most + 32.0 * f64::EPSILON * unit.max(f64::MIN_POSITIVE) * mass + 1e-320,
    );
}
