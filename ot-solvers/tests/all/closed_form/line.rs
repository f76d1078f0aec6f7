//! The line.

use ot_conformance::Seeded;
use ot_core::{
    Cosine, CostFormula, CostFunction, Error, GroundCost, Manhattan, PointCloud, PowerOfDistance, Real, Side,
    SqEuclidean, Support,
};
use ot_solvers::exact::{LineTransport, QuantileFunction, assign, line_costs};

use super::support::{assert_optimal, line, normals, refused, uniforms, weights};
use crate::support::{assert_close, cpu};

/// Convex, and not even: e^(x - y) - (x - y).
#[derive(Clone, Debug)]
struct Skew;

impl CostFormula for Skew {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        (x[0] - y[0]).exp() - (x[0] - y[0])
    }
}

fn costs() -> Vec<Box<dyn GroundCost>> {
    vec![
        Box::new(Manhattan),
        Box::new(SqEuclidean),
        Box::new(PowerOfDistance::new(1.5).unwrap()),
        Box::new(PowerOfDistance::new(3.0).unwrap()),
        Box::new(Skew),
        Box::new(CostFunction::new(|x: &[f64], y: &[f64]| (x[0] - y[0]).abs().max(0.3))),
    ]
}

#[test]
fn every_convex_cost_is_certified() {
    let mut random = Seeded::new(1);
    for (n, m) in [(1, 1), (1, 7), (9, 1), (40, 40), (37, 61)] {
        // Points with ties, weights with zeros and nine decades.
        let x: Vec<f64> = normals(&mut random, n).iter().map(|x| (8.0 * x).round() / 8.0).collect();
        let y = normals(&mut random, m);
        let (a, b) = (weights(&mut random, n), weights(&mut random, m));
        let (source, target) = (line(&x, &a), line(&y, &b));
        let (from, to) = (QuantileFunction::of(&source, 0).unwrap(), QuantileFunction::of(&target, 0).unwrap());
        for cost in costs() {
            let transport = LineTransport::new(&from, &to, &*cost).unwrap();
            let (plan, [f, g]) = (transport.plan().unwrap(), transport.potentials());
            assert!(plan.entries().len() < n + m);
            assert_optimal(&source, &target, &*cost, &plan, [&f, &g], 1e-13);
            let dual: f64 = a.iter().zip(&f).chain(b.iter().zip(&g)).map(|(weight, value)| weight * value).sum();
            assert_close(transport.transport_cost().unwrap(), dual, 1e-13);
            let mean = |weights: &[f64], values: &[f64]| weights.iter().zip(values).map(|(w, v)| w * v).sum::<f64>();
            assert_close(mean(&a, &f), mean(&b, &g), 1e-13);
        }
    }
}

#[test]
fn many_atoms_are_certified() {
    let mut random = Seeded::new(2);
    let (x, y) = (normals(&mut random, 1500), normals(&mut random, 1200));
    let (a, b) = (weights(&mut random, 1500), weights(&mut random, 1200));
    let (source, target) = (line(&x, &a), line(&y, &b));
    let (from, to) = (QuantileFunction::of(&source, 0).unwrap(), QuantileFunction::of(&target, 0).unwrap());
    for cost in [&Manhattan as &dyn GroundCost, &SqEuclidean] {
        let transport = LineTransport::new(&from, &to, cost).unwrap();
        let [f, g] = transport.potentials();
        assert_optimal(&source, &target, cost, &transport.plan().unwrap(), [&f, &g], 1e-13);
    }
}

#[test]
fn uniform_transport_is_assignment() {
    let mut random = Seeded::new(3);
    let (x, y) = (normals(&mut random, 60), uniforms(&mut random, 60));
    let (source, target) = (PointCloud::uniform(&x, 1).unwrap(), PointCloud::uniform(&y, 1).unwrap());
    let (from, to) = (QuantileFunction::of(&source, 0).unwrap(), QuantileFunction::of(&target, 0).unwrap());
    for cost in costs() {
        let assigned =
            assign(Support::Points(source.points()), Support::Points(target.points()), &*cost).unwrap().total_cost();
        let found = LineTransport::new(&from, &to, &*cost).unwrap().transport_cost().unwrap();
        assert_close(found, assigned / 60.0, 1e-13);
    }
}

#[test]
fn quantiles_of_known_distributions() {
    // Atoms at the middle quantiles of a uniform and an exponential distribution: W_2^2 is the integral of their squared difference,
    // int (t + log(1 - t))^2 dt = 1/3 - 3/2 + 2, and W_1 is int -log(1 - t) - t dt = 1/2.
    let n = 20_000;
    let level = |i: usize| (i as f64 + 0.5) / n as f64;
    let uniform: Vec<f64> = (0..n).map(level).collect();
    let exponential: Vec<f64> = (0..n).rev().map(|i| -(1.0 - level(i)).ln()).collect();
    let [a, b] = [&uniform, &exponential]
        .map(|points| QuantileFunction::of(&PointCloud::uniform(&points[..], 1).unwrap(), 0).unwrap());
    assert_close(a.wasserstein(&b, 1.0).unwrap(), 0.5, 1e-4);
    assert_close(a.wasserstein(&b, 2.0).unwrap().powi(2), 1.0 / 3.0 - 1.5 + 2.0, 2e-3);
    assert_eq!(b.quantiles(&[0.5])[0], exponential[n - n / 2]);
    assert!((b.quantiles(&[0.5])[0] - 2_f64.ln()).abs() < 1e-4);
    let levels: Vec<f64> = (0..50).map(|i| f64::from(i) / 49.0).collect();
    assert!(b.quantiles(&levels).is_sorted());
}

#[test]
fn distances_are_a_metric() {
    let mut random = Seeded::new(4);
    for _ in 0..20 {
        let functions: Vec<QuantileFunction> = (0..3)
            .map(|k| {
                let (points, weights) = (normals(&mut random, 10 + k), weights(&mut random, 10 + k));
                QuantileFunction::of(&line(&points, &weights), 0).unwrap()
            })
            .collect();
        let mut last = 0.0;
        for p in [1.0, 1.3, 2.0, 4.0, f64::INFINITY] {
            let distance = |i: usize, j: usize| functions[i].wasserstein(&functions[j], p).unwrap();
            assert_eq!(distance(0, 0), 0.0);
            assert_close(distance(0, 1), distance(1, 0), 1e-13);
            assert!(distance(0, 2) <= distance(0, 1) + distance(1, 2) + 1e-13);
            assert!(distance(0, 1) >= last - 1e-13, "W_p grows with p");
            last = distance(0, 1);
        }
    }
}

#[test]
fn a_translation_moves_by_itself() {
    let mut random = Seeded::new(5);
    let (x, weights) = (normals(&mut random, 300), weights(&mut random, 300));
    let y: Vec<f64> = x.iter().rev().map(|x| x + 2.5).collect();
    let reversed: Vec<f64> = weights.iter().rev().copied().collect();
    let (from, to) =
        (QuantileFunction::of(&line(&x, &weights), 0).unwrap(), QuantileFunction::of(&line(&y, &reversed), 0).unwrap());
    for p in [1.0, 2.0, 7.0, f64::INFINITY] {
        assert_close(from.wasserstein(&to, p).unwrap(), 2.5, 1e-12);
    }
    let map = LineTransport::new(&from, &to, &SqEuclidean).unwrap().map();
    for point in [-100.0, -0.3, 0.0, 1.234, 50.0] {
        assert_close(map.image(point), point + 2.5, 1e-9);
    }
}

#[test]
fn the_map_pushes_the_source_to_the_target() {
    let mut random = Seeded::new(6);
    let (x, y) = (normals(&mut random, 200), uniforms(&mut random, 200));
    let (from, to) =
        [&x, &y].map(|points| QuantileFunction::of(&PointCloud::uniform(&points[..], 1).unwrap(), 0).unwrap()).into();
    let map = LineTransport::new(&from, &to, &Manhattan).unwrap().map();
    assert_eq!(map.images(from.positions()), to.positions());
    let grid: Vec<f64> = (-400..400).map(|k| f64::from(k) / 100.0).collect();
    assert!(map.images(&grid).is_sorted());
    assert!(map.image(f64::NAN).is_nan());
}

#[test]
fn a_batch_is_a_loop_on_any_threads() {
    let mut random = Seeded::new(7);
    let (x, y) = (normals(&mut random, 3 * 500), normals(&mut random, 3 * 400));
    let (a, b) = ([weights(&mut random, 500), weights(&mut random, 500)].concat(), weights(&mut random, 400));
    let source = PointCloud::batch(&x, 3, &a, 2).unwrap();
    let target = PointCloud::new(&y, 3, &b).unwrap();
    let cost = PowerOfDistance::new(1.7).unwrap();
    let batch = line_costs(&cpu(1), &source, &target, &cost).unwrap();
    for threads in [2, 5] {
        let backend = cpu(threads);
        assert_eq!(line_costs(&backend, &source, &target, &cost).unwrap(), batch);
    }
    for axis in 0..3 {
        for column in 0..2 {
            let of_axis = |points: &[f64]| points.iter().skip(axis).step_by(3).copied().collect::<Vec<f64>>();
            let (x, y) = (of_axis(&x), of_axis(&y));
            let from = QuantileFunction::of(&line(&x, &a[column * 500..][..500]), 0).unwrap();
            let to = QuantileFunction::of(&line(&y, &b), 0).unwrap();
            let one = LineTransport::new(&from, &to, &cost).unwrap().transport_cost().unwrap();
            assert_eq!(one, batch[axis * 2 + column]);
        }
    }
}

#[test]
fn single_precision_masses_are_reconciled() {
    let mut random = Seeded::new(8);
    let (x, y): (Vec<f32>, Vec<f32>) = (0..2000).map(|_| (random.normal() as f32, random.normal() as f32)).unzip();
    let raw: Vec<f64> = weights(&mut random, 2000);
    let weights: Vec<f32> = raw.iter().map(|weight| *weight as f32).collect();
    let source = PointCloud::new(&x[..], 1, &weights[..]).unwrap();
    let target = PointCloud::uniform(&y[..], 1).unwrap();
    let (from, to) = (QuantileFunction::of(&source, 0).unwrap(), QuantileFunction::of(&target, 0).unwrap());
    assert_ne!(from.mass(), to.mass());
    let plan = LineTransport::new(&from, &to, &SqEuclidean).unwrap().plan().unwrap();
    for (found, expected) in plan.marginal(Side::Source).iter().zip(&weights) {
        assert!((found - f64::from(*expected)).abs() <= 1e-15, "{found} is not {expected}");
    }
    // No mass is lost between atoms of weight zero.
    let lost = plan.entries().iter().filter(|entry| weights[entry.source as usize] == 0.0).count();
    assert_eq!(lost, 0);
}

#[test]
fn marginals_keep_every_decade() {
    let x: Vec<f64> = (0..13).map(f64::from).collect();
    let weights: Vec<f64> = (0..13).map(|k| 10_f64.powi(-k)).collect();
    let reversed: Vec<f64> = weights.iter().rev().copied().collect();
    let (source, target) = (line(&x, &weights), line(&x, &reversed));
    let (from, to) = (QuantileFunction::of(&source, 0).unwrap(), QuantileFunction::of(&target, 0).unwrap());
    let plan = LineTransport::new(&from, &to, &Manhattan).unwrap().plan().unwrap();
    for (found, expected) in plan.marginal(Side::Source).iter().zip(&weights) {
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} is not {expected}");
    }
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let (one, two) =
        (PointCloud::uniform(vec![0.0, 1.0], 1).unwrap(), PointCloud::new(vec![0.0], 1, vec![2.0]).unwrap());
    let (a, b) = (QuantileFunction::of(&one, 0).unwrap(), QuantileFunction::of(&two, 0).unwrap());
    assert!(matches!(LineTransport::new(&a, &b, &Manhattan), Err(Error::MassMismatch { .. })));
    let concave = PowerOfDistance::new(0.5).unwrap();
    assert_eq!(refused(LineTransport::new(&a, &a, &concave)), "the exponent of a cost on the line");
    assert!(matches!(LineTransport::new(&a, &a, &Cosine), Err(Error::MissingCapability(_))));
    assert!(matches!(a.wasserstein(&a, 0.5), Err(Error::Parameter { .. })));
    assert!(matches!(a.wasserstein(&a, f64::NAN), Err(Error::Parameter { .. })));
    let plane = PointCloud::uniform(vec![0.0, 1.0], 2).unwrap();
    assert!(matches!(QuantileFunction::of(&plane, 0), Err(Error::DimensionMismatch { .. })));
    assert!(matches!(QuantileFunction::of(&one, 1), Err(Error::Length { .. })));
    let far = QuantileFunction::of(&PointCloud::uniform(vec![1e200], 1).unwrap(), 0).unwrap();
    assert!(matches!(LineTransport::new(&far, &a, &SqEuclidean), Err(Error::CostOverflow { .. })));
    let broken = CostFunction::new(|x: &[f64], _: &[f64]| if x[0] > 0.5 { f64::INFINITY } else { 0.0 });
    let refused = LineTransport::new(&a, &a, &broken).err();
    assert_eq!(refused, Some(Error::Cost { source_index: 1, target_index: 0, value: f64::INFINITY }));
    // W_2 does not square what it need not.
    let origin = QuantileFunction::of(&PointCloud::uniform(vec![0.0], 1).unwrap(), 0).unwrap();
    assert_eq!(far.wasserstein(&origin, 2.0).unwrap(), 1e200);
}
