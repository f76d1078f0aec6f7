//! Distances, maps, interpolations and barycenters of Gaussians beside those of independent coordinates.

use ot_core::{Error, PointCloud};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{BuresBarycenter, Gaussian};

use super::{
    generate::{below, clouds, decade, narrow, one_of, percent, unit},
    oracle::sum::sum,
    report::Report,
};
use crate::seeded::Seeded;

/// One case: Gaussians of independent coordinates, and the moments of a cloud.
pub fn case<T: CpuScalar>(_: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let dimension = 1 + below(random, 4);
    let (of_mean, of_deviation) = (unit::<f64>(random).min(1e300), unit::<f64>(random).clamp(1e-140, 1e140));
    let flat = percent(random, 20);
    let mut draw = || -> (Vec<f64>, Vec<f64>) {
        let mean = random.draw(dimension, |random| of_mean * random.normal());
        let deviation = random.draw(dimension, |random| match flat && percent(random, 40) {
            true => 0.0,
            false => of_deviation * decade(random, -1.0, 1.0),
        });
        (mean, deviation)
    };
    let all = [draw(), draw()];
    report.given("means", [&all[0].0, &all[1].0]);
    report.given("deviations", [&all[0].1, &all[1].1]);
    let built = all.each_ref().map(|(mean, deviation)| {
        let entry =
            |k: usize| if k.is_multiple_of(dimension + 1) { deviation[k / (dimension + 1)].powi(2) } else { 0.0 };
        Gaussian::new(mean.clone(), (0..dimension * dimension).map(entry).collect::<Vec<f64>>())
    });
    let [Ok(a), Ok(b)] = built else {
        report.require(false, || format!("refused: {built:?}"));
        return;
    };
    report.ended("solved");
    let check = check_pair(&a, &b, &all, random, report);
    report.require(check.is_ok(), || format!("refused: {check:?}"));
    let moments = check_moments::<T>(random, report);
    report.require(moments.is_ok(), || format!("moments refused: {moments:?}"));
}

fn check_pair(
    a: &Gaussian,
    b: &Gaussian,
    [(mean, deviation), (other_mean, other_deviation)]: &[(Vec<f64>, Vec<f64>); 2],
    random: &mut Seeded,
    report: &mut Report,
) -> Result<(), Error> {
    let distance = a.wasserstein(b)?;
    let differences = |one: &[f64], other: &[f64]| -> Vec<f64> { one.iter().zip(other).map(|(x, y)| x - y).collect() };
    let of_means = norm(&differences(mean, other_mean));
    let of_deviations = norm(&differences(deviation, other_deviation));
    let expected = of_means.hypot(of_deviations);
    let most = deviation.iter().chain(other_deviation).copied().fold(0.0, f64::max);
    // A deviation is known to the root of a rounding of the largest.
    report.near("distance", distance, expected, 1e-9 * expected + 1e-7 * most);
    report.near("distance of means", distance, of_means, of_deviations + 1e-7 * most + 1e-9 * of_means);
    report.near("distance the other way", b.wasserstein(a)?, distance, 1e-9 * expected + 1e-7 * most);
    report.near("distance to itself", a.wasserstein(a)?, 0.0, 1e-7 * most);
    if deviation.iter().all(|deviation| *deviation > 0.0) {
        let images = a.map_to(b)?.images(mean)?;
        let largest = mean.iter().chain(other_mean).fold(most, |largest, x| largest.max(x.abs()));
        for (image, expected) in images.iter().zip(other_mean) {
            report.near("image of the mean", *image, *expected, 1e-9 * largest);
        }
    }
    let t = one_of(random, &[0.0, 0.25, 0.5, 1.0]);
    report.given("t", t);
    let between = a.interpolation(b, t)?;
    report.numbers("mean between", between.mean());
    for axis in 0..deviation.len() {
        let found = between.covariance()[axis * (deviation.len() + 1)].sqrt();
        let expected = (1.0 - t) * deviation[axis] + t * other_deviation[axis];
        report.near("deviation between", found, expected, 1e-6 * most);
    }
    let solution = BuresBarycenter::new().max_iterations(300).solve(&[a.clone(), b.clone()], &[1.0, 3.0])?;
    let barycenter = solution.barycenter();
    report.numbers("barycenter", barycenter.covariance());
    report.number("residual", solution.residual());
    if solution.status().is_converged() {
        for axis in 0..deviation.len() {
            let found = barycenter.covariance()[axis * (deviation.len() + 1)].sqrt();
            let expected = 0.25 * deviation[axis] + 0.75 * other_deviation[axis];
            report.near("deviation of the barycenter", found, expected, 1e-6 * most);
        }
    }
    Ok(())
}

/// Mean and covariance of a cloud.
fn check_moments<T: CpuScalar>(random: &mut Seeded, report: &mut Report) -> Result<(), Error> {
    let [points, _] = clouds::<T>(random, [5, 1], 2, T::MAX.min(1e140));
    report.given("element", T::NAME);
    report.given("points of the moments", &points);
    let found = Gaussian::of(&PointCloud::uniform(narrow::<T>(&points), 2)?, 0)?;
    report.numbers("covariance", found.covariance());
    let most = points.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    for axis in 0..2 {
        let expected = sum(points.iter().skip(axis).step_by(2).map(|x| x / 5.0));
        report.near("mean", found.mean()[axis], expected, 1e-6 * most);
    }
    Ok(())
}

/// Euclid's norm, scaled.
fn norm(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |norm: f64, value| norm.hypot(*value))
}
