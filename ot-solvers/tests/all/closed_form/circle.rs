//! The circle.

use ot_conformance::Seeded;
use ot_core::{CostFunction, Error, PointCloud, Side, Support};
use ot_solvers::exact::{CircleTransport, assign};

use super::support::{line, refused, uniforms, weights};
use crate::support::assert_close;

/// The length of the shorter arc, to the power p.
fn arcs(circumference: f64, p: f64) -> CostFunction<impl Fn(&[f64], &[f64]) -> f64 + Send + Sync + 'static> {
    CostFunction::new(move |x: &[f64], y: &[f64]| {
        let arc = (x[0] - y[0]).rem_euclid(circumference);
        arc.min(circumference - arc).powf(p)
    })
}

#[test]
fn uniform_transport_is_assignment() {
    let mut random = Seeded::new(11);
    for (round, p) in [1.0, 2.0, 1.5, 3.0, 2.0, 1.0].into_iter().enumerate() {
        let n = [1, 2, 5, 30, 31, 50][round];
        let length = 6.5;
        // Beyond one turn, and gathered on a part of the circle in some rounds.
        let spread = if round % 2 == 0 { 20.0 } else { 3.0 };
        let x: Vec<f64> = uniforms(&mut random, n).iter().map(|x| spread * x - 5.0).collect();
        let y: Vec<f64> = uniforms(&mut random, n).iter().map(|y| spread * y).collect();
        let (a, b) = (PointCloud::uniform(&x[..], 1).unwrap(), PointCloud::uniform(&y[..], 1).unwrap());
        let transport = CircleTransport::new(&a, &b, length, p).unwrap();
        let cost = arcs(length, p);
        let assigned = assign(Support::Points(a.points()), Support::Points(b.points()), &cost).unwrap();
        assert_close(transport.transport_cost().unwrap(), assigned.total_cost() / n as f64, 1e-12);
        assert_close(transport.distance().powf(p), transport.transport_cost().unwrap(), 1e-13);
    }
}

#[test]
fn plans_have_the_marginals_and_the_cost() {
    let mut random = Seeded::new(12);
    for p in [1.0, 2.0, 2.5] {
        let (x, y) = (uniforms(&mut random, 40), uniforms(&mut random, 27));
        let (a, b) = (weights(&mut random, 40), weights(&mut random, 27));
        let transport = CircleTransport::new(&line(&x, &a), &line(&y, &b), 1.0, p).unwrap();
        let plan = transport.plan().unwrap();
        for (side, weights) in [(Side::Source, &a), (Side::Target, &b)] {
            for (found, expected) in plan.marginal(side).iter().zip(weights) {
                assert!((found - expected).abs() < 1e-15, "{found} is not {expected}");
            }
        }
        let arc = |x: f64, y: f64| (x - y).abs().min(1.0 - (x - y).abs());
        let entries = plan.entries().iter();
        let cost: f64 = entries.map(|e| e.mass * arc(x[e.source as usize], y[e.target as usize]).powf(p)).sum();
        assert_close(cost, transport.transport_cost().unwrap(), 1e-13);
    }
}

/// min over t of sum |F_k - G_k - t| gap_k: the level median of Werman et al. and of Cabrelli and Molter.
fn level_median(a: (&[f64], &[f64]), b: (&[f64], &[f64]), length: f64) -> f64 {
    let signed = |(points, weights): (&[f64], &[f64]), sign: f64| {
        points.iter().zip(weights).map(|(&x, &w)| (x, sign * w)).collect::<Vec<_>>()
    };
    let mut all = [signed(a, 1.0), signed(b, -1.0)].concat();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut level = 0.0;
    let steps: Vec<(f64, f64)> = (0..all.len())
        .map(|k| {
            level += all[k].1;
            (level, if k + 1 < all.len() { all[k + 1].0 - all[k].0 } else { all[0].0 + length - all[k].0 })
        })
        .collect();
    let cost = |t: f64| steps.iter().map(|(level, gap)| (level - t).abs() * gap).sum::<f64>();
    steps.iter().map(|&(level, _)| cost(level)).fold(f64::INFINITY, f64::min)
}

#[test]
fn the_first_distance_is_the_level_median() {
    let mut random = Seeded::new(13);
    for (n, m) in [(1, 1), (3, 8), (200, 150)] {
        let (x, y) = (uniforms(&mut random, n), uniforms(&mut random, m));
        let (a, b) = (weights(&mut random, n), weights(&mut random, m));
        let transport = CircleTransport::new(&line(&x, &a), &line(&y, &b), 1.0, 1.0).unwrap();
        assert_close(transport.transport_cost().unwrap(), level_median((&x, &a), (&y, &b), 1.0), 1e-13);
    }
}

#[test]
fn rotations_change_nothing_and_cost_their_angle() {
    let mut random = Seeded::new(14);
    let (x, y, a, b) =
        (uniforms(&mut random, 80), uniforms(&mut random, 60), weights(&mut random, 80), weights(&mut random, 60));
    for p in [1.0, 2.0, 4.0] {
        let cost = CircleTransport::new(&line(&x, &a), &line(&y, &b), 1.0, p).unwrap().transport_cost().unwrap();
        for angle in [0.1, 0.77, -3.3] {
            let turn = |points: &[f64]| points.iter().map(|x| x + angle).collect::<Vec<f64>>();
            let (x_turned, y_turned) = (turn(&x), turn(&y));
            let turned = CircleTransport::new(&line(&x_turned, &a), &line(&y_turned, &b), 1.0, p).unwrap();
            assert_close(turned.transport_cost().unwrap(), cost, 1e-12);
        }
        let back = CircleTransport::new(&line(&y, &b), &line(&x, &a), 1.0, p).unwrap();
        assert_close(back.transport_cost().unwrap(), cost, 1e-12);
        assert_eq!(CircleTransport::new(&line(&x, &a), &line(&x, &a), 1.0, p).unwrap().transport_cost().unwrap(), 0.0);
    }
    // Equal steps around the circle, turned by less than half a step.
    let even: Vec<f64> = (0..10).map(|k| f64::from(k) / 10.0).collect();
    let turned: Vec<f64> = even.iter().map(|x| x + 0.97).collect();
    let [a, b] = [&even, &turned].map(|points| PointCloud::uniform(&points[..], 1).unwrap());
    assert_close(CircleTransport::new(&a, &b, 1.0, 2.0).unwrap().distance(), 0.03, 1e-12);
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let a = PointCloud::uniform(vec![0.0, 1.0], 1).unwrap();
    assert_eq!(refused(CircleTransport::new(&a, &a, 0.0, 1.0)), "the circumference of a circle");
    assert_eq!(refused(CircleTransport::new(&a, &a, 1.0, 0.5)), "the order of a distance on the circle");
    let heavy = PointCloud::new(vec![0.0], 1, vec![2.0]).unwrap();
    assert!(matches!(CircleTransport::new(&a, &heavy, 1.0, 1.0), Err(Error::MassMismatch { .. })));
    assert!(matches!(CircleTransport::new(&a, &a, f64::MAX, 2.0), Err(Error::CostOverflow { .. })));
    // A number that is rounded to a whole turn.
    let tiny = PointCloud::uniform(vec![-1e-30, 0.5], 1).unwrap();
    let zero = PointCloud::uniform(vec![0.0, 0.5], 1).unwrap();
    let moved = CircleTransport::new(&tiny, &zero, 1.0, 2.0).unwrap().transport_cost().unwrap();
    assert!((moved / 0.5e-60 - 1.0).abs() < 1e-14, "{moved}");
    // The side that has other coordinates, or columns, is named.
    let table = PointCloud::uniform(vec![0.0; 12], 6).unwrap();
    let error = CircleTransport::new(&a, &table, 1.0, 1.0).err();
    assert_eq!(error, Some(Error::DimensionMismatch { source_dimension: 1, target_dimension: 6 }));
    assert!(matches!(CircleTransport::new(&table, &table, 1.0, 1.0), Err(Error::Length { expected: 1, found: 6, .. })));
    let batch = PointCloud::batch(vec![0.0, 1.0], 1, vec![0.5; 6], 3).unwrap();
    let error = CircleTransport::new(&a, &batch, 1.0, 1.0).err();
    assert_eq!(error, Some(Error::BatchMismatch { source_columns: 1, target_columns: 3 }));
}

/// The least sum of arcs to the power p over all permutations.
fn best_permutation(x: &[f64], y: &[f64], used: u32, cost: &dyn Fn(f64, f64) -> f64) -> f64 {
    let Some((&first, others)) = x.split_first() else { return 0.0 };
    let free = (0..y.len()).filter(|j| used >> j & 1 == 0);
    free.map(|j| cost(first, y[j]) + best_permutation(others, y, used | 1 << j, cost)).fold(f64::INFINITY, f64::min)
}

#[test]
fn no_ulp_of_mass_is_sent_around() {
    let x: [f64; 2] = [-0.001_232_854_784_578_515_7, 0.000_435_986_906_638_707_8];
    let (a, y) = ([2.0 / 3.0, 1.0 / 3.0], [-0.001_222_534_886_190_989]);
    let moved = |p: i32| 2.0 / 3.0 * (x[0] - y[0]).abs().powi(p) + 1.0 / 3.0 * (x[1] - y[0]).powi(p);
    for length in [360.0, std::f64::consts::TAU] {
        for p in [1, 2, 4, 10] {
            let transport = CircleTransport::new(&line(&x, &a), &line(&y, &[1.0]), length, f64::from(p)).unwrap();
            let found = transport.transport_cost().unwrap();
            assert!((found / moved(p) - 1.0).abs() < 1e-14, "{length} {p}: {found} is not {}", moved(p));
            assert_eq!(transport.plan().unwrap().entries().len(), 2);
        }
    }

    // Six units of mass on a few atoms of either side, by all permutations of the units.
    let mut random = Seeded::new(15);
    for round in 0..400 {
        let length = [184.0, std::f64::consts::TAU, 360.0, 1.0][round % 4];
        let p = [1.0, 2.0, 4.0, 10.0, 60.0][round % 5];
        let spread = [1.0, 1e-3, 0.3][round % 3] * length;
        let mut side = || {
            let atoms = 1 + (random.uniform(0.0, 4.0) as usize);
            let points: Vec<f64> = (0..atoms).map(|_| spread * random.uniform(-0.5, 0.5)).collect();
            let mut units: Vec<usize> = (0..atoms).collect();
            units.extend((atoms..6).map(|_| random.uniform(0.0, atoms as f64) as usize));
            let weights: Vec<f64> =
                (0..atoms).map(|k| units.iter().filter(|&&unit| unit == k).count() as f64 / 6.0).collect();
            let unit_points: Vec<f64> = units.into_iter().map(|k| points[k]).collect();
            (points, weights, unit_points)
        };
        let ((x, a, x_units), (y, b, y_units)) = (side(), side());
        let arc = |x: f64, y: f64| (x - y).abs().min(length - (x - y).abs());
        let largest = x.iter().flat_map(|x| y.iter().map(|y| arc(*x, *y))).fold(0.0, f64::max);
        let best = best_permutation(&x_units, &y_units, 0, &|x, y| (arc(x, y) / largest).powf(p));
        let expected = largest * (best / 6.0).powf(1.0 / p);
        let transport = CircleTransport::new(&line(&x, &a), &line(&y, &b), length, p).unwrap();
        let found = transport.distance();
        assert!((found / expected - 1.0).abs() < 1e-11, "round {round}: {found} is not {expected}");
        let paid: f64 = {
            let plan = transport.plan().unwrap();
            let entries = plan.entries().iter();
            entries.map(|e| e.mass * (arc(x[e.source as usize], y[e.target as usize]) / largest).powf(p)).sum()
        };
        assert!((paid / (best / 6.0) - 1.0).abs() < 1e-9, "round {round}: a plan of {paid} instead of {}", best / 6.0);
    }
}

#[test]
fn no_power_leaves_the_range() {
    for scale in [1e-300, 1e-3, 1.0, 1e4, 1e300] {
        for p in [1.0, 2.0, 3.5, 120.0, 3000.0] {
            // Half of the mass moves by the scale, around a circle that is far longer.
            let (x, y) = ([0.0, 300.0 * scale], [scale, 300.0 * scale]);
            let [a, b] = [x, y].map(|points| PointCloud::uniform(points.to_vec(), 1).unwrap());
            let transport = CircleTransport::new(&a, &b, 1000.0 * scale, p).unwrap();
            let expected = scale * 0.5_f64.powf(1.0 / p);
            assert!((transport.distance() / expected - 1.0).abs() < 1e-14, "{scale} {p}: {}", transport.distance());
            let cost = transport.transport_cost();
            match p * scale.log10() {
                out if out > 308.0 => assert!(matches!(cost, Err(Error::CostOverflow { .. })), "{scale} {p}: {cost:?}"),
                out if out < -330.0 => assert_eq!(cost.unwrap(), 0.0),
                out if out.abs() < 290.0 => {
                    assert!((cost.unwrap() / (0.5 * scale.powf(p)) - 1.0).abs() < 1e-12, "{scale} {p}");
                }
                _ => {}
            }
        }
    }
}

/// Whole masses are told apart from their rounding: none of theirs is sent around where the best shift is known to rounding.
#[test]
fn whole_masses_in_single_precision_stay_where_they_are() {
    let x = [180.0, -0.000_475_480_4, 0.002_457_539_3, -1.702_378e-5];
    let y = [0.002_618_898_9, 180.0, 0.003_721_433_7, 0.005_317_594_4, 0.002_307_449_9];
    let (a, b) = ([140.0, 60.0, 140.0, 140.0], [0.0, 144.0, 168.0, 0.0, 168.0]);
    for unit in [1.0, 2_f64.powi(-140)] {
        let single = |values: &[f64], unit: f64| values.iter().map(|value| (unit * value) as f32).collect::<Vec<f32>>();
        let wide = |values: &[f64]| single(values, 1.0).iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let source = PointCloud::new(single(&x, 1.0), 1, single(&a, unit)).unwrap();
        let target = PointCloud::new(single(&y, 1.0), 1, single(&b, unit)).unwrap();
        let transport = CircleTransport::new(&source, &target, 360.0, 1.0).unwrap();
        let expected = unit * level_median((&wide(&x), &a), (&wide(&y), &b), 360.0);
        assert_close(transport.distance() / expected, 1.0, 1e-9);
    }
}
