//! Maximum mean discrepancies against double sums, closed forms and differences.

use ot_conformance::problems::Quantiles;
use ot_core::{Epsilon, Error, Euclidean, PointCloud, Side};
use ot_cpu::CpuBackend;
use ot_solvers::{MaximumMeanDiscrepancy, SinkhornDivergence};

use super::support::{discrepancy, parts};
use crate::support::{SIDES, assert_close, backends, cloud, cpu};

/// A kernel as a function of the distance.
type Kernel = Box<dyn Fn(f64) -> f64>;

/// Discrepancies and their kernels.
fn kernels() -> Vec<(MaximumMeanDiscrepancy, Kernel)> {
    let energy = |exponent: f64| {
        let kernel: Kernel = Box::new(move |distance: f64| -distance.powf(exponent));
        (MaximumMeanDiscrepancy::energy(exponent).unwrap(), kernel)
    };
    let gaussian = |deviation: f64| {
        let kernel: Kernel = Box::new(move |distance: f64| (-0.5 * (distance / deviation).powi(2)).exp());
        (MaximumMeanDiscrepancy::gaussian(deviation).unwrap(), kernel)
    };
    vec![energy(0.5), energy(1.0), energy(1.3), energy(1.9), gaussian(0.05), gaussian(0.4), gaussian(30.0)]
}

#[test]
fn values_are_double_sums() {
    for backend in backends(1) {
        for (settings, kernel) in kernels() {
            let (a, b) = (cloud(1, 40, 0.0, 1.0), cloud(2, 33, 0.2, 1.0));
            let found = settings.between(&backend, &a, &b).unwrap();
            assert_close(found.squared(), discrepancy(&a, &b, &kernel), 1e-14);
            assert!(found.squared() > 0.0);
            let back = settings.between(&backend, &b, &a).unwrap();
            assert_close(back.squared(), found.squared(), 1e-14);
        }
        // Gaussian kernels take any masses.
        let (a, b) = (cloud(1, 40, 0.0, 3.0), cloud(2, 33, 0.2, 0.5));
        let settings = MaximumMeanDiscrepancy::gaussian(0.4).unwrap();
        let expected = discrepancy(&a, &b, |distance: f64| (-0.5 * (distance / 0.4).powi(2)).exp());
        assert_close(settings.between(&backend, &a, &b).unwrap().squared(), expected, 1e-14);
    }
}

#[test]
fn measures_that_agree_have_none() {
    for backend in backends(1) {
        for (settings, _) in kernels() {
            let a = cloud(3, 40, 0.0, 1.0);
            assert_eq!(settings.between(&backend, &a, &a).unwrap().squared(), 0.0);
            let (points, weights) = parts(&a);
            let turned: Vec<f64> = points.chunks(2).rev().flatten().copied().collect();
            let turned = PointCloud::new(turned, 2, weights.into_iter().rev().collect::<Vec<_>>()).unwrap();
            let same = settings.between(&backend, &a, &turned).unwrap();
            assert!(same.squared().abs() <= 16.0 * same.rounding(), "{} {}", same.squared(), same.rounding());
        }
    }
}

#[test]
fn on_the_line_the_energy_distance_is_that_of_cramer() {
    // 2 E|X - Y| - E|X - X'| - E|Y - Y'| = 2 integral of (F - G)^2 (Szekely, Rizzo 2004).
    let problem = Quantiles::new(14, 9, 2);
    let mut steps: Vec<(f64, f64)> = problem.source.clone();
    steps.extend(problem.target.iter().map(|(position, weight)| (*position, -weight)));
    steps.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut difference, mut integral) = (0.0, 0.0);
    for pair in steps.windows(2) {
        difference += pair[0].1;
        integral += difference * difference * (pair[1].0 - pair[0].0);
    }
    let (a, b) = (problem.source::<f64>().unwrap(), problem.target::<f64>().unwrap());
    for backend in backends(1) {
        let found = MaximumMeanDiscrepancy::energy(1.0).unwrap().between(&backend, &a, &b).unwrap();
        assert_close(found.squared(), 2.0 * integral, 1e-13);
    }
}

#[test]
fn two_diracs() {
    let backend = cpu(1);
    let dirac = |position: f64, mass: f64| PointCloud::new(vec![position], 1, vec![mass]).unwrap();
    let gaussian = MaximumMeanDiscrepancy::gaussian(0.5).unwrap();
    let found = gaussian.between(&backend, &dirac(0.0, 2.0), &dirac(1.0, 3.0)).unwrap();
    assert_close(found.squared(), 4.0 + 9.0 - 12.0 * (-2.0_f64).exp(), 1e-15);
    let energy = MaximumMeanDiscrepancy::energy(1.5).unwrap();
    let found = energy.between(&backend, &dirac(0.0, 2.0), &dirac(4.0, 2.0)).unwrap();
    assert_eq!(found.squared(), 2.0 * 4.0 * 8.0);
}

#[test]
fn sinkhorn_divergences_end_at_half_of_it() {
    let backend = cpu(1);
    let (a, b) = (cloud(5, 20, 0.0, 1.0), cloud(6, 25, 0.3, 1.0));
    let energy = MaximumMeanDiscrepancy::energy(1.0).unwrap().between(&backend, &a, &b).unwrap();
    let blurred = SinkhornDivergence::new().between(&backend, &a, &b, &Euclidean, Epsilon::Absolute(1e5)).unwrap();
    assert_close(blurred.value(), 0.5 * energy.squared(), 1e-5);
}

#[test]
fn witnesses_are_half_of_the_derivative_in_weights() {
    const STEP: f64 = 1e-3;
    for backend in backends(1) {
        for (settings, _) in kernels() {
            let (a, b) = (cloud(7, 12, 0.0, 1.0), cloud(8, 14, 0.2, 1.0));
            let here = settings.between(&backend, &a, &b).unwrap();
            for (side, sign) in [(Side::Source, 1.0), (Side::Target, -1.0)] {
                let (points, weights) = parts(if side == Side::Source { &a } else { &b });
                let at = |step: f64| {
                    let mut moved = weights.clone();
                    moved[3] += step;
                    moved[7] -= step;
                    let moved = PointCloud::new(points.clone(), 2, moved).unwrap();
                    let clouds = if side == Side::Source { [&moved, &b] } else { [&a, &moved] };
                    settings.between(&backend, clouds[0], clouds[1]).unwrap().squared()
                };
                // The discrepancy is quadratic in the weights: differences are exact.
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let witness = here.witness(side).unwrap();
                assert_close(sign * 2.0 * (witness[3] - witness[7]), expected, 1e-11);
            }
        }
    }
}

#[test]
fn gradients_are_derivatives_in_points() {
    const STEP: f64 = 1e-5;
    for backend in backends(1) {
        for (settings, _) in kernels() {
            let (a, b) = (cloud(9, 8, 0.0, 1.0), cloud(10, 9, 0.2, 1.0));
            let here = settings.between(&backend, &a, &b).unwrap();
            for side in SIDES {
                let (points, weights) = parts(if side == Side::Source { &a } else { &b });
                let direction: Vec<f64> = (0..points.len()).map(|k| (k as f64).sin()).collect();
                let at = |step: f64| {
                    let moved: Vec<f64> = points.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
                    let moved = PointCloud::new(moved, 2, weights.clone()).unwrap();
                    let clouds = if side == Side::Source { [&moved, &b] } else { [&a, &moved] };
                    settings.between(&backend, clouds[0], clouds[1]).unwrap().squared()
                };
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let gradient = here.gradient(side).unwrap();
                let found: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
                assert_close(found, expected, 1e-7);
            }
        }
    }
}

#[test]
fn a_batch_is_its_columns() {
    let a = cloud(11, 12, 0.0, 1.0);
    let (points, first) = parts(&cloud(12, 9, 0.1, 1.0));
    let second: Vec<f64> = first.iter().rev().copied().collect();
    let batch = PointCloud::batch(points.clone(), 2, [first.clone(), second.clone()].concat(), 2).unwrap();
    for backend in backends(1) {
        for (settings, _) in kernels() {
            let together = settings.between(&backend, &a, &batch).unwrap();
            let (witness, rows) = (together.witness(Side::Target).unwrap(), points.len() / 2);
            let gradients = together.gradient(Side::Target).unwrap();
            for (column, weights) in [first.clone(), second.clone()].into_iter().enumerate() {
                let alone = PointCloud::new(points.clone(), 2, weights).unwrap();
                let alone = settings.between(&backend, &a, &alone).unwrap();
                assert_close(together.squared_of_columns()[column], alone.squared(), 1e-14);
                let of_column = &witness[column * rows..(column + 1) * rows];
                of_column
                    .iter()
                    .zip(&alone.witness(Side::Target).unwrap())
                    .for_each(|(w, v)| assert_close(*w, *v, 1e-13));
                let of_column = &gradients[column * points.len()..][..points.len()];
                let alone = alone.gradient(Side::Target).unwrap();
                of_column.iter().zip(&alone).for_each(|(g, h)| assert_close(*g, *h, 1e-13));
            }
        }
    }
}

#[test]
fn single_precision_keeps_its_digits() {
    let narrow = |cloud: &PointCloud<'_, f64>| {
        let (points, weights) = parts(cloud);
        let [points, weights] = [points, weights].map(|values| values.iter().map(|&v| v as f32).collect::<Vec<_>>());
        PointCloud::new(points, 2, weights).unwrap()
    };
    let (a, b) = (cloud(13, 200, 0.0, 1.0), cloud(14, 180, 0.1, 1.0));
    for limit in [0, usize::MAX] {
        let backend = CpuBackend::<f32>::new(1).unwrap().with_dense_limit(limit);
        for (settings, kernel) in kernels() {
            let found = settings.between(&backend, &narrow(&a), &narrow(&b)).unwrap();
            let error = (found.squared() - discrepancy(&a, &b, &kernel)).abs();
            assert!(error <= 4.0 * found.rounding(), "{settings:?}: {error} and {}", found.rounding());
        }
    }
}

#[test]
fn what_was_asked_wrongly_is_refused() {
    for exponent in [0.0, 2.0, -1.0, f64::NAN] {
        assert!(matches!(MaximumMeanDiscrepancy::energy(exponent), Err(Error::Parameter { .. })), "{exponent}");
    }
    for deviation in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-200] {
        assert!(matches!(MaximumMeanDiscrepancy::gaussian(deviation), Err(Error::Parameter { .. })), "{deviation}");
    }
    let backend = cpu(1);
    let energy = MaximumMeanDiscrepancy::energy(1.0).unwrap();
    let refused = energy.between(&backend, &cloud(1, 5, 0.0, 1.0), &cloud(2, 5, 0.0, 2.0));
    assert!(matches!(refused.unwrap_err(), Error::MassMismatch { .. }));
    let plane = cloud(1, 5, 0.0, 1.0);
    let line = PointCloud::uniform(vec![0.0, 1.0], 1).unwrap();
    assert!(matches!(energy.between(&backend, &plane, &line).unwrap_err(), Error::DimensionMismatch { .. }));
}
