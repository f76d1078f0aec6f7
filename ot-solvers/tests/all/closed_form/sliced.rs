//! Slices.

use ot_conformance::Seeded;
use ot_core::{Error, PointCloud};
use ot_cpu::CpuBackend;
use ot_solvers::exact::{QuantileFunction, SlicedWasserstein};

use super::support::{normals, refused, weights};
use crate::support::{assert_close, cpu};

#[test]
fn a_slice_is_transport_on_the_line() {
    let mut random = Seeded::new(21);
    let (x, y) = (normals(&mut random, 3 * 80), normals(&mut random, 3 * 50));
    let (a, b) = (weights(&mut random, 80), weights(&mut random, 50));
    let (source, target) = (PointCloud::new(&x[..], 3, &a[..]).unwrap(), PointCloud::new(&y[..], 3, &b[..]).unwrap());
    let direction = [2.0, -1.0, 2.0];
    let project = |points: &[f64]| {
        let products = points.chunks(3).map(|x| (2.0 * x[0] - x[1] + 2.0 * x[2]) / 3.0);
        products.collect::<Vec<f64>>()
    };
    let (from, to) = (project(&x), project(&y));
    let [from, to] = [(&from, &a), (&to, &b)].map(|(points, weights)| {
        QuantileFunction::of(&PointCloud::new(&points[..], 1, &weights[..]).unwrap(), 0).unwrap()
    });
    for p in [1.0, 2.0, 3.5] {
        let sliced = SlicedWasserstein::new(p).along(direction).between(&cpu(2), &source, &target).unwrap();
        assert_close(sliced.distance(), from.wasserstein(&to, p).unwrap(), 1e-13);
        assert_eq!(sliced.standard_error().unwrap(), None);
        assert_close(sliced.largest().1[0], 2.0 / 3.0, 1e-15);
    }
}

#[test]
fn a_translation_is_seen_in_the_mean_of_squares() {
    // SW_2^2 = |t|^2 / d, exactly for equal angles and frames.
    let mut random = Seeded::new(22);
    for d in [1, 2, 3, 5, 20] {
        let x = normals(&mut random, 30 * d);
        let y: Vec<f64> = x.iter().enumerate().map(|(i, x)| x + (i % d + 1) as f64).collect();
        let square: f64 = (1..=d).map(|k| (k * k) as f64).sum();
        let [a, b] = [&x, &y].map(|points| PointCloud::uniform(&points[..], d).unwrap());
        let sliced = SlicedWasserstein::new(2.0).directions(8 * d.max(8)).between(&cpu(2), &a, &b).unwrap();
        let error = sliced.standard_error().unwrap().unwrap();
        if d == 3 {
            assert!((sliced.power().unwrap() - square / 3.0).abs() < 5.0 * error + 1e-12 && error < 0.05 * square);
        } else {
            assert_close(sliced.power().unwrap(), square / d as f64, 1e-12);
            assert!(error < 1e-12 * square);
        }
        assert!(sliced.largest().0 <= square.sqrt() + 1e-12);
    }
}

#[test]
fn the_standard_error_is_honest() {
    // Two anisotropic point sets whose slices vary; the truth is a mean over many more directions.
    let mut random = Seeded::new(23);
    for d in [2, 3, 6] {
        let x: Vec<f64> =
            normals(&mut random, 40 * d).iter().enumerate().map(|(i, x)| x * (i % d + 1) as f64).collect();
        let y = normals(&mut random, 40 * d);
        let [a, b] = [&x, &y].map(|points| PointCloud::uniform(&points[..], d).unwrap());
        let estimate =
            |count, seed| SlicedWasserstein::new(1.0).directions(count).seed(seed).between(&cpu(2), &a, &b).unwrap();
        let truth = estimate(20_000, 99).power().unwrap();
        let runs: Vec<(f64, f64)> = (0..40)
            .map(|seed| {
                let sliced = estimate(48, seed);
                (sliced.power().unwrap() - truth, sliced.standard_error().unwrap().unwrap())
            })
            .collect();
        let squared: f64 = runs.iter().map(|(error, _)| error * error).sum();
        let announced: f64 = runs.iter().map(|(_, standard)| standard * standard).sum();
        let ratio = squared / announced;
        assert!((0.3..3.0).contains(&ratio), "d = {d}: errors are {ratio} times what is announced, squared");
        // Even directions do better than independent ones, of which the deviation is known from the slices.
        let sample = estimate(4000, 7);
        let variance: f64 =
            sample.powers().unwrap().iter().map(|power| (power - sample.power().unwrap()).powi(2)).sum::<f64>()
                / 4000.0;
        assert!(squared / 40.0 < 0.8 * variance / 48.0, "d = {d}: {} against {}", squared / 40.0, variance / 48.0);
    }
}

#[test]
fn slices_are_a_lower_bound_and_a_metric() {
    let mut random = Seeded::new(24);
    let clouds: Vec<PointCloud<'static, f64>> =
        (0..3).map(|_| PointCloud::uniform(normals(&mut random, 4 * 25), 4).unwrap()).collect();
    let distance = |i: usize, j: usize| {
        SlicedWasserstein::new(2.0).directions(32).between(&cpu(2), &clouds[i], &clouds[j]).unwrap().distance()
    };
    assert_eq!(distance(1, 1), 0.0);
    assert_close(distance(0, 1), distance(1, 0), 1e-13);
    assert!(distance(0, 2) <= distance(0, 1) + distance(1, 2));
}

#[test]
fn single_precision_is_the_same_to_its_rounding() {
    let mut random = Seeded::new(26);
    let (x, y) = (normals(&mut random, 3 * 300), normals(&mut random, 3 * 300));
    let narrow = |points: &[f64]| points.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let [a, b] = [&x, &y].map(|points| PointCloud::uniform(&points[..], 3).unwrap());
    let [c, d] = [&x, &y].map(|points| PointCloud::uniform(narrow(points), 3).unwrap());
    let sliced = SlicedWasserstein::new(2.0);
    let wide = sliced.between(&cpu(2), &a, &b).unwrap().distance();
    assert_close(sliced.between(&CpuBackend::<f32>::new(2).unwrap(), &c, &d).unwrap().distance(), wide, 1e-6);
}

#[test]
fn threads_do_not_change_a_bit() {
    let mut random = Seeded::new(25);
    let (x, y) = (normals(&mut random, 3 * 2000), normals(&mut random, 3 * 1500));
    let (a, b) = (weights(&mut random, 2000), weights(&mut random, 1500));
    let (source, target) = (PointCloud::new(&x[..], 3, &a[..]).unwrap(), PointCloud::new(&y[..], 3, &b[..]).unwrap());
    let run = |threads| SlicedWasserstein::new(1.5).directions(20).between(&cpu(threads), &source, &target);
    let one = run(1).unwrap();
    assert_eq!(one, run(2).unwrap());
    assert_eq!(one, run(7).unwrap());
    assert_eq!(one.powers().unwrap().len(), 24);
    assert_eq!(one.directions().len(), 3 * 24);
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let a = PointCloud::uniform(vec![0.0, 1.0], 2).unwrap();
    let between = |sliced: SlicedWasserstein| sliced.between(&cpu(2), &a, &a);
    assert_eq!(refused(between(SlicedWasserstein::new(0.9))), "the order of a sliced distance");
    assert_eq!(refused(between(SlicedWasserstein::new(2.0).directions(0))), "the number of directions");
    assert!(matches!(between(SlicedWasserstein::new(2.0).along([0.0, 0.0])), Err(Error::Coordinate { .. })));
    assert!(matches!(between(SlicedWasserstein::new(2.0).along([1.0])), Err(Error::Length { .. })));
    assert!(matches!(between(SlicedWasserstein::new(2.0).along([])), Err(Error::EmptyMeasure)));
    let line = PointCloud::uniform(vec![0.0], 1).unwrap();
    let mixed = SlicedWasserstein::new(2.0).between(&cpu(2), &a, &line);
    assert!(matches!(mixed, Err(Error::DimensionMismatch { .. })));
}

#[test]
fn no_power_leaves_the_range() {
    // Half of the mass moves along the axis that is looked along.
    for scale in [1e-300, 1e-3, 1.0, 100.0, 1e300] {
        for p in [1.0, 2.0, 3.0, 120.0, 160.0, 3000.0] {
            let [a, b] = [scale, 2.0 * scale].map(|far| PointCloud::uniform(vec![0.0, 0.0, far, 0.0], 2).unwrap());
            let along = [1.0, 0.0, 0.6, 0.8, -0.8, 0.6];
            let sliced = SlicedWasserstein::new(p).along(along).between(&cpu(2), &a, &b).unwrap();
            let expected = scale * (0.5 * (1.0 + 0.6_f64.powf(p) + 0.8_f64.powf(p)) / 3.0).powf(1.0 / p);
            assert!((sliced.distance() / expected - 1.0).abs() < 1e-14, "{scale} {p}: {}", sliced.distance());
            assert!((sliced.largest().0 / (scale * 0.5_f64.powf(1.0 / p)) - 1.0).abs() < 1e-14);
            let (power, error, powers) = (sliced.power(), sliced.standard_error(), sliced.powers());
            match p * scale.log10() {
                out if out > 309.0 => {
                    assert!(matches!(power, Err(Error::CostOverflow { .. })), "{scale} {p}: {power:?}");
                    assert!(matches!(error, Err(Error::CostOverflow { .. })), "{scale} {p}: {error:?}");
                    assert!(matches!(powers, Err(Error::CostOverflow { .. })), "{scale} {p}: {powers:?}");
                }
                out if out < -330.0 => assert_eq!((power.unwrap(), error.unwrap()), (0.0, Some(0.0))),
                out if out.abs() < 290.0 => {
                    let power = power.unwrap();
                    assert!((power / expected.powf(p) - 1.0).abs() < 1e-11);
                    // The deviation of three numbers, over the root of three.
                    let squares: f64 = powers.unwrap().iter().map(|of| (of / power - 1.0).powi(2)).sum();
                    assert!((error.unwrap().unwrap() / power - (squares / 6.0).sqrt()).abs() < 1e-12);
                }
                _ => {}
            }
        }
    }
    // Coordinates whose projections are beyond the range, of clouds that are close.
    let [a, b] =
        [0.0, 1.0].map(|shift| PointCloud::uniform(vec![1.5e308, 1.5e308, (1.0 + shift) * 1e300, 0.0], 2).unwrap());
    let sliced = SlicedWasserstein::new(2.0).along([1.0, 1.0]).between(&cpu(1), &a, &b).unwrap();
    assert!((sliced.distance() / 0.5e300 - 1.0).abs() < 1e-13);
}

#[test]
fn batches_and_too_many_directions_are_refused() {
    let a = PointCloud::uniform(vec![0.0, 1.0], 1).unwrap();
    let batch = PointCloud::batch(vec![0.0, 1.0], 1, vec![0.5; 4], 2).unwrap();
    let refused = |source, target| SlicedWasserstein::new(2.0).between(&cpu(1), source, target).err();
    assert_eq!(refused(&a, &batch), Some(Error::BatchMismatch { source_columns: 1, target_columns: 2 }));
    assert_eq!(refused(&batch, &a), Some(Error::BatchMismatch { source_columns: 2, target_columns: 1 }));
    assert!(matches!(refused(&batch, &batch), Some(Error::Length { expected: 1, found: 2, .. })));
    for dimension in [1, 2, 3, 5] {
        let cloud = PointCloud::uniform(vec![0.0; dimension], dimension).unwrap();
        let settings = SlicedWasserstein::new(2.0).directions(usize::MAX);
        let refused = settings.between(&cpu(1), &cloud, &cloud);
        assert!(matches!(refused, Err(Error::OutOfMemory { .. })), "{dimension}: {refused:?}");
    }
}

#[test]
fn large_orders_are_powers_of_sorted_differences() {
    let mut random = Seeded::new(120);
    for scale in [1e-62, 1e-5, 1.0, 100.0, 300.0] {
        let [x, y] = [0.0, 0.7]
            .map(|shift| -> Vec<f64> { (0..40).map(|_| scale * (shift + random.uniform(-1.0, 1.0_f64))).collect() });
        let (a, b) = (PointCloud::uniform(&x[..], 2).unwrap(), PointCloud::uniform(&y[..], 2).unwrap());
        for p in [1.5, 20.0, 120.0] {
            let sliced = SlicedWasserstein::new(p).directions(16).between(&cpu(2), &a, &b).unwrap();
            // W_p of each direction, in units of its largest difference.
            let distances: Vec<f64> = sliced
                .directions()
                .chunks(2)
                .map(|u| {
                    let [x, y] = [&x, &y].map(|points| {
                        let mut projected: Vec<f64> = points.chunks(2).map(|x| x[0] * u[0] + x[1] * u[1]).collect();
                        projected.sort_by(f64::total_cmp);
                        projected
                    });
                    let differences: Vec<f64> = x.iter().zip(&y).map(|(x, y)| (x - y).abs()).collect();
                    let largest = differences.iter().copied().fold(0.0, f64::max);
                    let powers: f64 = differences.iter().map(|difference| (difference / largest).powf(p)).sum();
                    largest * (powers / x.len() as f64).powf(p.recip())
                })
                .collect();
            let largest = distances.iter().copied().fold(0.0, f64::max);
            let powers: f64 = distances.iter().map(|distance| (distance / largest).powf(p)).sum();
            let expected = largest * (powers / distances.len() as f64).powf(p.recip());
            assert!((sliced.distance() / expected - 1.0).abs() < 1e-12, "{scale} {p}: {}", sliced.distance());
            assert!((sliced.largest().0 / largest - 1.0).abs() < 1e-12, "{scale} {p}: {}", sliced.largest().0);
            match p * expected.log10() {
                out if out > 309.0 => assert!(matches!(sliced.power(), Err(Error::CostOverflow { .. }))),
                out if out < -325.0 => assert_eq!(sliced.power().unwrap(), 0.0),
                out if out.abs() < 300.0 => {
                    let ratio = sliced.power().unwrap().ln() - p * expected.ln();
                    assert!(ratio.abs() < 1e-9, "{scale} {p}: {ratio}");
                }
                _ => {}
            }
        }
    }
}
