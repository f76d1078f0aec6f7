//! Divergences and discrepancies of measures of any mass and at any scale.

use std::cmp::Ordering;

use ot_core::{Epsilon, Error, PointCloud, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{DivergenceForm, MaximumMeanDiscrepancy, Sinkhorn, SinkhornDivergence};

use crate::support::{SIDES, assert_close, cpu};

fn pair(mass: f64) -> [PointCloud<'static, f64>; 2] {
    let cloud = |points: &[f64], weights: &[f64]| {
        let weights: Vec<f64> = weights.iter().map(|weight| weight * mass).collect();
        PointCloud::new(points.to_vec(), 1, weights).unwrap()
    };
    [cloud(&[0.0, 1.0, 2.0], &[1.0, 2.0, 1.0]), cloud(&[0.5, 1.0], &[2.0, 2.0])]
}

#[test]
fn balanced_divergences_grow_with_the_mass() {
    let backend = cpu(1);
    for form in [DivergenceForm::Full, DivergenceForm::Sharp] {
        let of = |mass: f64| {
            let [a, b] = pair(mass);
            let sinkhorn = Sinkhorn::new().tolerance(1e-10).max_iterations(20_000);
            let settings = SinkhornDivergence::new().sinkhorn(sinkhorn).form(form);
            settings.between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap()
        };
        let one = of(1.0);
        for mass in [1e-100, 1e-12, 1e6, 1e14, 1e16, 1e30, 1e100] {
            let found = of(mass);
            assert_close(found.value() / mass, one.value(), 1e-8);
            let [lower, upper] = found.bounds()[0];
            let exact = one.value() * mass;
            assert!(lower <= exact && exact <= upper, "{mass:e}: {exact} not in [{lower}, {upper}]");
            assert!(found.sign().is_none_or(|sign| sign == Ordering::Greater));
        }
        if form == DivergenceForm::Full {
            assert!((of(1e16).value() / 1.30784e16 - 1.0).abs() < 1e-5);
            assert_eq!(of(1e16).sign(), Some(Ordering::Greater));
        }
    }
    let [a, b] = pair(1e160);
    let found = SinkhornDivergence::new().between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.1));
    assert!(matches!(found, Err(Error::SumOverflow { .. })));
}

#[test]
fn a_sign_within_rounding_is_none() {
    let backend = cpu(1);
    for (one, other) in [(40, 30), (7, 49), (100, 3)] {
        let cloud = |len: usize| PointCloud::uniform(vec![0.25; len], 1).unwrap();
        let found =
            SinkhornDivergence::new().between(&backend, &cloud(one), &cloud(other), &SqEuclidean, Epsilon::default());
        let found = found.unwrap();
        assert!(found.value().abs() < 1e-15, "{}", found.value());
        assert_eq!(found.sign(), None, "{} {:?}", found.value(), found.bounds());
        let [lower, upper] = found.bounds()[0];
        assert!(lower <= 0.0 && 0.0 <= upper);
    }
}

fn cloud_of<T: ot_core::Scalar>(points: &[f64], weights: &[f64]) -> PointCloud<'static, T> {
    let of = |values: &[f64]| -> Vec<T> { values.iter().map(|&value| T::from_f64(value)).collect() };
    PointCloud::new(of(points), 1, of(weights)).unwrap()
}

#[test]
fn energy_distances_scale_with_points_and_masses() {
    fn of<T: ot_cpu::CpuScalar>(dense: usize, exponent: f64, length: f64, mass: f64) -> [f64; 4] {
        let backend = CpuBackend::<T>::new(1).unwrap().with_dense_limit(dense);
        let cloud = |points: &[f64], weights: &[f64]| {
            let times =
                |values: &[f64], factor: f64| -> Vec<f64> { values.iter().map(|value| value * factor).collect() };
            cloud_of::<T>(&times(points, length), &times(weights, mass))
        };
        let (a, b) = (cloud(&[-1.0, 0.5, 1.0], &[0.25, 0.5, 0.25]), cloud(&[0.0, 2.0], &[0.5, 0.5]));
        let found = MaximumMeanDiscrepancy::energy(exponent).unwrap().between(&backend, &a, &b).unwrap();
        let [witness, gradient] = [found.witness(SIDES[0]).unwrap(), found.gradient(SIDES[1]).unwrap()];
        [found.squared(), found.rounding(), witness[1].to_f64(), gradient[1].to_f64()]
    }
    fn scales<T: ot_cpu::CpuScalar>(lengths: &[i32], masses: &[i32]) {
        for dense in [0, usize::MAX] {
            for exponent in [0.5, 1.0, 1.5] {
                let once = of::<T>(dense, exponent, 1.0, 1.0);
                for &length in lengths {
                    for &mass in masses {
                        let found = of::<T>(dense, exponent, 2.0_f64.powi(length), 2.0_f64.powi(mass));
                        let length = f64::from(length);
                        let factor = |of_mass: f64, degree: f64| {
                            2.0_f64.powf(of_mass * f64::from(mass)) * 2.0_f64.powf(degree * length)
                        };
                        let expected = [
                            once[0] * factor(2.0, exponent),
                            once[1] * factor(2.0, exponent),
                            once[2] * factor(1.0, exponent),
                            once[3] * factor(2.0, exponent - 1.0),
                        ];
                        assert_eq!(found, expected, "{dense} {exponent} {length} {mass}");
                    }
                }
            }
        }
    }
    scales::<f32>(&[-70, -20, 0, 20, 62], &[-20, 0, 20]);
    scales::<f64>(&[-500, -300, 0, 100, 500, 600], &[-100, 0, 30]);
    // |x - y| of -1e19 and 1e19, uniform on both: 2 (2e19 / 2) - ... by hand.
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let (a, b) = (cloud_of::<f32>(&[-1e19], &[1.0]), cloud_of::<f32>(&[1e19], &[1.0]));
    let found = MaximumMeanDiscrepancy::energy(1.0).unwrap().between(&backend, &a, &b).unwrap();
    assert_eq!(found.squared(), 2.0 * f64::from(2e19_f32));
}

#[test]
fn gaussian_discrepancies_of_any_mass() {
    let of = |mass: f64, other: f64| {
        let backend = CpuBackend::<f32>::new(1).unwrap();
        let (a, b) = (cloud_of::<f32>(&[-1.0, 0.5], &[mass, mass]), cloud_of::<f32>(&[0.0, 2.0], &[other, mass]));
        MaximumMeanDiscrepancy::gaussian(0.5).unwrap().between(&backend, &a, &b).unwrap().squared()
    };
    let (large, small) = (2.0_f64.powi(91), 2.0_f64.powi(-100));
    assert_eq!(of(large, 3.0 * large), of(1.0, 3.0) * large * large);
    assert_eq!(of(small, small), of(1.0, 1.0) * small * small);
    assert_close(of(3e27, 0.0) / 9e54, of(1.0, 0.0), 1e-6);
    let backend = cpu(1);
    let cloud = |points: f64| cloud_of::<f64>(&[points], &[1e160]);
    let found = MaximumMeanDiscrepancy::energy(1.0).unwrap().between(&backend, &cloud(0.0), &cloud(1.0));
    assert!(matches!(found, Err(Error::SumOverflow { .. })));
}
