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
        assert_close(transport.transport_cost(), assigned.total_cost() / n as f64, 1e-12);
        assert_close(transport.distance().powf(p), transport.transport_cost(), 1e-13);
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
        assert_close(cost, transport.transport_cost(), 1e-13);
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
        assert_close(transport.transport_cost(), level_median((&x, &a), (&y, &b), 1.0), 1e-13);
    }
}

#[test]
fn rotations_change_nothing_and_cost_their_angle() {
    let mut random = Seeded::new(14);
    let (x, y, a, b) =
        (uniforms(&mut random, 80), uniforms(&mut random, 60), weights(&mut random, 80), weights(&mut random, 60));
    for p in [1.0, 2.0, 4.0] {
        let cost = CircleTransport::new(&line(&x, &a), &line(&y, &b), 1.0, p).unwrap().transport_cost();
        for angle in [0.1, 0.77, -3.3] {
            let turn = |points: &[f64]| points.iter().map(|x| x + angle).collect::<Vec<f64>>();
            let (x_turned, y_turned) = (turn(&x), turn(&y));
            let turned = CircleTransport::new(&line(&x_turned, &a), &line(&y_turned, &b), 1.0, p).unwrap();
            assert_close(turned.transport_cost(), cost, 1e-12);
        }
        let back = CircleTransport::new(&line(&y, &b), &line(&x, &a), 1.0, p).unwrap();
        assert_close(back.transport_cost(), cost, 1e-12);
        assert_eq!(CircleTransport::new(&line(&x, &a), &line(&x, &a), 1.0, p).unwrap().transport_cost(), 0.0);
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
    assert!(matches!(CircleTransport::new(&a, &a, 1e300, 2.0), Err(Error::CostOverflow { .. })));
    // A number that is rounded to a whole turn.
    let tiny = PointCloud::uniform(vec![-1e-30, 0.5], 1).unwrap();
    let zero = PointCloud::uniform(vec![0.0, 0.5], 1).unwrap();
    assert_eq!(CircleTransport::new(&tiny, &zero, 1.0, 2.0).unwrap().transport_cost(), 0.0);
}
