//! Transport on the circle beside the least cost for the length of the shorter arc.

use ot_core::Side;
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::CircleTransport;

use super::{
    generate::{decade, masses, one_of, percent, rounded, rounding_of},
    instance::sizes,
    line::built,
    oracle::{
        sum::{largest_exponent, sum, times_power_of_two},
        transport::least_cost,
    },
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(_: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let [n, m] = sizes(random);
    let drawn = masses::<T>(random, n, m);
    let (exact, weights) = (drawn.exact, [drawn.source, drawn.target]);
    let most = 0.5 * T::MAX.log10();
    let length = match percent(random, 80) {
        true => one_of(random, &[1.0, 360.0, 184.0, std::f64::consts::TAU]),
        false => decade(random, 0.5 * T::TINY.log10(), most),
    };
    let spread = if percent(random, 30) { decade(random, -8.0, -2.0) } else { 1.0 };
    let points = [n, m].map(|len| {
        let on_circle = |random: &mut Seeded| match percent(random, 20) {
            true => rounded::<T>(length * one_of(random, &[0.0, 0.25, 0.5])),
            false => rounded::<T>(length * spread * (random.uniform() - 0.2)),
        };
        random.draw(len, on_circle)
    });
    let p = one_of(random, &[1.0, 2.0, 1.5, 4.0, 10.0, 120.0]);
    report.given("element", T::NAME);
    for (name, values) in [("x", &points[0]), ("a", &weights[0]), ("y", &points[1]), ("b", &weights[1])] {
        report.given(name, values);
    }
    report.given("circumference", length);
    report.given("p", p);

    let solved = built::<T>(&points, &weights, 1).and_then(|[a, b]| CircleTransport::new(&a, &b, length, p));
    let transport = match solved {
        Ok(transport) => transport,
        Err(error) => {
            return report.refused(&error, length * sum(weights[0].iter().copied()).powf(1.0 / p).max(1.0) > 1e300);
        }
    };
    report.ended("solved");
    // Beyond the range it is an error.
    report.number("transport cost", transport.transport_cost().unwrap_or(0.0));
    report.number("distance", transport.distance());
    report.number("shift", transport.shift());
    let mass = sum(weights[0].iter().copied());
    // Levels that agree within some roundings are one, at each atom.
    let merged = 8.0 * (n + m).max(5) as f64 * T::EPSILON * mass;
    // Distances in the unit of the length, off by the rounding of positions modulo the length.
    let distance = |x: f64, y: f64| {
        let gap = (x - y).abs() % length / length;
        gap.min(1.0 - gap)
    };
    let mut largest = 0.0_f64;
    match transport.plan() {
        Err(error) => report.require(false, || format!("no plan: {error}")),
        Ok(plan) => {
            for (side, weights) in Side::BOTH.into_iter().zip(&weights) {
                let pairs = plan.marginal(side);
                let residual = sum(pairs.iter().zip(weights).map(|(found, weight)| (found - weight).abs()));
                let scaled = (sum(weights.iter().copied()) - mass).abs();
                report.at_most("residual", residual, merged + 2.0 * scaled);
            }
            for entry in plan.entries().iter().filter(|entry| entry.mass > 0.0) {
                largest = largest.max(distance(points[0][entry.source as usize], points[1][entry.target as usize]));
            }
        }
    }
    if !exact {
        return;
    }
    let table = |shift: f64| -> Vec<f64> {
        let all = points[0].iter().flat_map(|&x| points[1].iter().map(move |&y| distance(x, y)));
        all.map(|d| (d + shift).max(0.0).powf(p)).collect()
    };
    // Masses in a unit of their own, of which the root is taken at the end.
    let exponent = largest_exponent(&weights[0]);
    let [a, b] = weights
        .each_ref()
        .map(|weights| -> Vec<f64> { weights.iter().map(|&weight| times_power_of_two(weight, -exponent)).collect() });
    let bound = |shift: f64| least_cost(&a, &b, &table(shift)).map_or(0.0, |optimum| optimum.value);
    let rounding = 8.0 * f64::EPSILON;
    // What is merged moves along arcs like those of the plan.
    let moved = times_power_of_two(merged, -exponent) * (largest + rounding).powf(p);
    let (low, high) = ((bound(-rounding) - moved).max(0.0), bound(rounding) + moved);
    if low < 1e-280 && p > 1.0 {
        // Powers vanish: nothing is known of their root.
        return;
    }
    let log2 = f64::from(exponent) / p;
    let of_masses = |value: f64| times_power_of_two(value * (log2 - log2.floor()).exp2(), log2.floor() as i32);
    let root = |power: f64| of_masses(length * power.powf(1.0 / p));
    let (low, high) = (root(low), root(high));
    let relative = 1e-9 + 64.0 * if T::EPSILON > 1e-10 { T::EPSILON } else { 0.0 } + 16.0 * rounding_of(&weights);
    report.at_most("distance", transport.distance(), high * (1.0 + relative) + 1e-300);
    report.at_most("minus the distance", -transport.distance(), -low * (1.0 - relative) + 1e-300);
}
