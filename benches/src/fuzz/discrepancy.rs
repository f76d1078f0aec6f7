//! Maximum mean discrepancies beside their double sums.

use ot_core::Side;
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::MaximumMeanDiscrepancy;

use super::{
    generate::{clouds, decade, free_masses, masses, one_of, percent, wide},
    ground::Ground,
    instance::sizes,
    line::built,
    oracle::sum::sum,
    report::Report,
};
use crate::seeded::Seeded;

/// A kernel.
#[derive(Copy, Clone, Debug)]
enum Kernel {
    /// -|x - y|^p.
    Energy(f64),
    /// exp(-|x - y|^2 / (2 sigma^2)).
    Gaussian(f64),
}

impl Kernel {
    fn value(self, x: &[f64], y: &[f64]) -> f64 {
        let distance = Ground::Euclidean.value(x, y);
        match self {
            Self::Energy(p) => -distance.powf(p),
            Self::Gaussian(sigma) => (-0.5 * (distance / sigma) * (distance / sigma)).exp(),
        }
    }
}

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let ([n, m], dimension) = (sizes(random), one_of(random, &[1, 2, 3]));
    let points = clouds::<T>(random, [n, m], dimension, T::MAX / 64.0);
    let energy = percent(random, 50);
    let weights = if energy {
        let drawn = masses::<T>(random, n, m);
        [drawn.source, drawn.target]
    } else {
        free_masses::<T>(random, n, m)
    };
    let widest = points.iter().flatten().fold(0.0_f64, |most, x| most.max(x.abs()));
    let kernel = if energy {
        Kernel::Energy(one_of(random, &[1.0, 0.5, 1.5, 1.9]))
    } else {
        Kernel::Gaussian(if widest > 0.0 { widest * decade(random, -2.0, 1.0) } else { 1.0 })
    };
    report.given("element", T::NAME);
    for (name, values) in [("x", &points[0]), ("a", &weights[0]), ("y", &points[1]), ("b", &weights[1])] {
        report.given(name, values);
    }
    report.given("dimension", dimension);
    report.given("kernel", kernel);

    let settings = match kernel {
        Kernel::Energy(p) => MaximumMeanDiscrepancy::energy(p),
        Kernel::Gaussian(sigma) => MaximumMeanDiscrepancy::gaussian(sigma),
    };
    let (_, squares) = double_sum(kernel, &points, &weights, dimension);
    // Sums beyond the element type, or a width whose square is.
    let span = widest.max(1.0 / widest);
    let range = T::MAX.sqrt() * 1e-4;
    let beyond = span > range
        || squares.is_nan()
        || squares >= T::MAX * 1e-4
        || squares < T::TINY * 1e4
        || widest < 1e9 * T::TINY
        || largest_distance(&points, dimension).powi(2) < 1e9 * T::TINY
        || (!energy && widest * widest < 1e9 * T::TINY);
    let found = settings.and_then(|settings| {
        let [a, b] = built::<T>(&points, &weights, dimension)?;
        let found = settings.between(&backends[0], &a, &b)?;
        let witnesses = [found.witness(Side::Source)?, found.witness(Side::Target)?];
        Ok((found.squared(), found.rounding(), witnesses.map(|witness| wide(&witness))))
    });
    let (squared, rounding, witnesses) = match found {
        Ok(found) => found,
        Err(error) => return report.refused(&error, beyond),
    };
    report.ended("solved");
    report.require(squared.is_finite() && rounding.is_finite(), || format!("squared {squared}, rounding {rounding}"));
    report.numbers("witness", &witnesses.concat());
    let (expected, size) = double_sum(kernel, &points, &weights, dimension);
    // Distances between denormal numbers have no digits, nor have powers of the definition that are such.
    let largest_power = match kernel {
        Kernel::Energy(p) => largest_distance(&points, dimension).powf(p),
        Kernel::Gaussian(_) => 1.0,
    };
    let has_digits = widest > 1e9 * T::TINY && largest_power > 1e9 * f64::MIN_POSITIVE;
    if (1e-290..f64::MAX / 1e3).contains(&size) && has_digits {
        report.near("squared", squared, expected, 512.0 * T::EPSILON * size + 1e-300_f64.max(T::TINY));
    }
}

/// The largest distance between two points of different clouds.
fn largest_distance(points: &[Vec<f64>; 2], dimension: usize) -> f64 {
    let across = points[0].chunks_exact(dimension).flat_map(|x| points[1].chunks_exact(dimension).map(move |y| (x, y)));
    across.map(|(x, y)| Ground::Euclidean.value(x, y)).fold(0.0, f64::max)
}

/// MMD^2, and the sum of the sizes of its terms.
fn double_sum(kernel: Kernel, points: &[Vec<f64>; 2], weights: &[Vec<f64>; 2], dimension: usize) -> (f64, f64) {
    let mut terms = Vec::new();
    for (one, other, sign) in [(0, 0, 1.0), (1, 1, 1.0), (0, 1, -2.0)] {
        for (x, a) in points[one].chunks_exact(dimension).zip(&weights[one]) {
            for (y, b) in points[other].chunks_exact(dimension).zip(&weights[other]) {
                terms.push(sign * (a * kernel.value(x, y)) * b);
            }
        }
    }
    (sum(terms.iter().copied()), terms.iter().map(|term| term.abs()).sum())
}
