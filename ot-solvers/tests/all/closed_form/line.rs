//! The line.

use ot_conformance::Seeded;
use ot_core::{
    Cosine, CostFormula, CostFunction, Error, GroundCost, Manhattan, PointCloud, PowerOfDistance, Real, Side,
    SqEuclidean, Support,
};
use ot_solvers::exact::{LineTransport, QuantileFunction, assign, line_costs};

use super::support::{assert_optimal, line, normals, refused, uniforms, weights};
use crate::support::{assert_close, cpu, normalized};

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
    let of_plane = Error::Length { what: "coordinates of a point on the line", expected: 1, found: 2 };
    assert_eq!(QuantileFunction::of(&plane, 0).err(), Some(of_plane));
    let of_batch = Error::Length { what: "columns of the batch", expected: 2, found: 1 };
    assert_eq!(QuantileFunction::of(&one, 1).err(), Some(of_batch));
    let far = QuantileFunction::of(&PointCloud::uniform(vec![1e200], 1).unwrap(), 0).unwrap();
    assert!(matches!(LineTransport::new(&far, &a, &SqEuclidean), Err(Error::CostOverflow { .. })));
    let broken = CostFunction::new(|x: &[f64], _: &[f64]| if x[0] > 0.5 { f64::INFINITY } else { 0.0 });
    let refused = LineTransport::new(&a, &a, &broken).err();
    assert_eq!(refused, Some(Error::Cost { source_index: 1, target_index: 0, value: f64::INFINITY }));
    // W_2 does not square what it need not.
    let origin = QuantileFunction::of(&PointCloud::uniform(vec![0.0], 1).unwrap(), 0).unwrap();
    assert_eq!(far.wasserstein(&origin, 2.0).unwrap(), 1e200);
}

/// A law as atoms, and the same with each atom in parts.
fn in_parts(random: &mut Seeded, len: usize) -> [(Vec<f64>, Vec<f64>); 2] {
    let (x, weights) = (normals(random, len), uniforms(random, len));
    let parts = x.iter().zip(&weights).flat_map(|(&x, &weight)| {
        let (first, second) = (weight * random.uniform(0.1, 0.4), weight * random.uniform(0.1, 0.4));
        [(x, first), (x, weight - first - second), (x, second)]
    });
    let (parts, their_weights) = parts.unzip();
    [(x.clone(), normalized(weights)), (parts, normalized(their_weights))]
}

#[test]
fn cumulative_masses_that_agree_within_rounding_are_one_level() {
    let ten: Vec<f64> = (0..10).map(f64::from).collect();
    let thirty: Vec<f64> = (0..30).map(|k| f64::from(k / 3)).collect();
    let distance = |x: &[f64], a: &[f64], y: &[f64], b: &[f64], p: f64| {
        let [from, to] = [line(x, a), line(y, b)].map(|cloud| QuantileFunction::of(&cloud, 0).unwrap());
        assert_eq!(from.wasserstein(&to, p).unwrap(), to.wasserstein(&from, p).unwrap());
        from.wasserstein(&to, p).unwrap()
    };
    for p in [1.0, 2.0, 50.0, f64::INFINITY] {
        assert_eq!(distance(&ten, &[0.1; 10], &thirty, &[1.0 / 30.0; 30], p), 0.0);
        let moved = distance(&[0.0, 1.0, 10.0], &[0.1, 0.2, 0.7], &[1.0, 10.0], &[0.3, 0.7], p);
        assert_close(moved, if p < f64::INFINITY { 0.1_f64.powf(1.0 / p) } else { 1.0 }, 1e-14);
        // Atoms as light as the rounding of the masses before them keep their own places.
        let places = [0.0, 1000.0, 2000.0];
        assert_eq!(distance(&places, &[1.0, 1e-17, 1.0], &places, &[1.0, 1e-17, 1.0], p), 0.0);
    }
    let halves = [0.0, 1000.0, 1000.5, 2000.0];
    let moved = distance(&halves, &[1.0, 1e-17, 1e-17, 1.0], &[0.0, 1000.0, 2000.0], &[1.0, 2e-17, 1.0], f64::INFINITY);
    assert_eq!(moved, 0.5);

    // In single precision too, and in a plan, which has the marginals of both all the same.
    let mut random = Seeded::new(9);
    for len in [5, 200, 3000] {
        let [(x, a), (y, b)] = in_parts(&mut random, len);
        let [from, to] = [line(&x, &a), line(&y, &b)].map(|cloud| QuantileFunction::of(&cloud, 0).unwrap());
        assert_eq!(from.wasserstein(&to, f64::INFINITY).unwrap(), 0.0, "{len}");
        let plan = LineTransport::new(&from, &to, &Manhattan).unwrap().plan().unwrap();
        for (side, weights) in [(Side::Source, &a), (Side::Target, &b)] {
            for (found, expected) in plan.marginal(side).iter().zip(weights) {
                assert!((found - expected).abs() < 4e-15, "{len}: {found} is not {expected}");
            }
        }
        let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<f32>>();
        let [from, to] = [(&x, &a), (&y, &b)].map(|(points, weights)| {
            QuantileFunction::of(&PointCloud::new(narrow(points), 1, narrow(weights)).unwrap(), 0).unwrap()
        });
        assert_eq!(from.wasserstein(&to, f64::INFINITY).unwrap(), 0.0, "{len} in single precision");
    }
}

#[test]
fn levels_that_are_reached_but_for_rounding_are_reached() {
    for n in [10, 30, 49, 1000] {
        let points: Vec<f64> = (0..n).map(f64::from).collect();
        let function = QuantileFunction::of(&PointCloud::uniform(&points[..], 1).unwrap(), 0).unwrap();
        let levels: Vec<f64> = (1..=n).map(|k| f64::from(k) / f64::from(n)).collect();
        assert_eq!(function.quantiles(&levels), points);
    }
}

#[test]
fn no_power_leaves_the_range() {
    // Half of the mass moves by the scale.
    let at = |points: [f64; 2], mass: f64| {
        QuantileFunction::of(&PointCloud::new(points.to_vec(), 1, vec![0.5 * mass; 2]).unwrap(), 0).unwrap()
    };
    for scale in [1e-300, 1e-160, 1e-3, 1.0, 100.0, 1e160, 1e300] {
        for p in [1.0, 2.0, 3.0, 120.0, 160.0, 3000.0] {
            for mass in [1e-300, 1.0, 1e300] {
                // One atom of both sides far away, where no mass moves.
                for far in [scale, 1e5 * scale] {
                    let (from, to) = (at([0.0, far], mass), at([scale, far + scale * f64::from(far == scale)], mass));
                    let half = if far == scale { 1.0 } else { 0.5 };
                    let expected = scale.ln() + ((half * mass).ln() / p);
                    let found = from.wasserstein(&to, p);
                    if expected > 707.0 {
                        assert!(matches!(found, Err(Error::CostOverflow { .. })), "{scale} {p} {mass}: {found:?}");
                    } else if expected.abs() < 700.0 {
                        let found = found.unwrap();
                        assert!((found.ln() - expected).abs() < 1e-12, "{scale} {p} {mass}: {found}");
                    }
                    // Where the cost of a pair that moves no mass is beyond the range, the line is refused.
                    if p * (2e5 * scale).ln() < 706.0 {
                        let (expected, cost) = (p * scale.ln() + (half * mass).ln(), PowerOfDistance::new(p).unwrap());
                        let found = LineTransport::new(&from, &to, &cost).and_then(|line| line.transport_cost());
                        match expected {
                            out if out > 707.0 => assert!(matches!(found, Err(Error::CostOverflow { .. }))),
                            out if out < -746.0 => assert_eq!(found.unwrap(), 0.0),
                            out if out.abs() < 700.0 => {
                                assert!((found.unwrap().ln() - out).abs() < 1e-11, "{scale} {p} {mass}");
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }
    // The mean of distances whose sum is beyond the range.
    let (zeros, far) = (vec![0.0; 64], vec![1e307; 64]);
    let [from, to] =
        [zeros, far].map(|points| QuantileFunction::of(&PointCloud::uniform(points, 1).unwrap(), 0).unwrap());
    let mean = LineTransport::new(&from, &to, &Manhattan).unwrap().transport_cost().unwrap();
    assert!((mean / 1e307 - 1.0).abs() < 1e-14, "{mean}");
}

#[test]
fn maps_at_both_ends_of_the_range() {
    let between = |x: [f64; 2], y: [f64; 2]| {
        let [from, to] =
            [x, y].map(|points| QuantileFunction::of(&PointCloud::uniform(points.to_vec(), 1).unwrap(), 0).unwrap());
        LineTransport::new(&from, &to, &Manhattan).unwrap().map()
    };
    let tiny = f64::from_bits(1);
    let map = between([0.0, 2.0 * tiny], [0.0, 4.0 * tiny]);
    assert_eq!(map.images(&[0.0, tiny, 2.0 * tiny]), [0.0, 2.0 * tiny, 4.0 * tiny]);
    let map = between([-5e306, -4e306], [-10e306, -9e306]);
    assert!((map.image(f64::MAX) / (f64::MAX - 5e306) - 1.0).abs() < 1e-15);
    assert!((map.image(-4.5e306) / -9.5e306 - 1.0).abs() < 1e-15);

    let units = |values: &[i32]| -> Vec<f64> { values.iter().map(|&value| tiny * f64::from(value)).collect() };
    let of = |points: &[f64], weights: Vec<f64>| {
        QuantileFunction::of(&PointCloud::new(points.to_vec(), 1, weights).unwrap(), 0).unwrap()
    };
    // The lowest atom sends 7.5 to -12 and 13.5 to 8: 6 / 7 of a unit in the mean.
    let x = units(&[-7, 72, -8]);
    assert_eq!(x, [-3.5e-323, 3.56e-322, -4e-323]);
    let (from, to) = (of(&x, vec![6.0, 3.0, 21.0]), of(&units(&[8, -12]), vec![22.5, 7.5]));
    assert_eq!(LineTransport::new(&from, &to, &Manhattan).unwrap().map().images(&x), units(&[8, 8, 1]));
    // 1 / 4 of 0 and 3 / 4 of one unit: one unit.
    let (from, to) = (of(&[0.0], vec![4.0]), of(&units(&[0, 1]), vec![1.0, 3.0]));
    assert_eq!(LineTransport::new(&from, &to, &Manhattan).unwrap().map().image(0.0), tiny);
}

#[test]
fn distances_beyond_the_range_are_refused_and_products_within_it_are_not() {
    let at = |points: Vec<f64>, weights: Vec<f64>| {
        QuantileFunction::of(&PointCloud::new(points, 1, weights).unwrap(), 0).unwrap()
    };
    let mass = vec![3.815468463638222e235];
    let (from, to) = (at(vec![-1.00208634121666e227], mass.clone()), at(vec![-3.356566179904945e226], mass));
    let found = from.wasserstein(&to, 2.0);
    assert!(matches!(found, Err(Error::CostOverflow { .. })), "{found:?}");

    let from = at(vec![8.985618089253894e-273], vec![1.0929727369796991e234]);
    let to =
        at(vec![1.0889917591414711e-277, 3.243430198375854e-275], vec![6.955281053507176e233, 3.974446316289815e233]);
    let cost = PowerOfDistance::new(1.5).unwrap();
    let found = LineTransport::new(&from, &to, &cost).unwrap().transport_cost().unwrap();
    assert!((found / 9.291184715066567e-175 - 1.0).abs() < 1e-12, "{found:e}");
}

#[test]
fn costs_of_several_coordinates_say_so() {
    let a = QuantileFunction::of(&PointCloud::uniform(vec![0.0, 1.0], 1).unwrap(), 0).unwrap();
    let plane = CostFunction::new(|x: &[f64], y: &[f64]| (x[0] - y[1]).abs()).with_dimension(2);
    let refused = LineTransport::new(&a, &a, &plane).err();
    let what = "coordinates of a point, as many as the cost asks for";
    assert_eq!(refused, Some(Error::Length { what, expected: 2, found: 1 }));
}
