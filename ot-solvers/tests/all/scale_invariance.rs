//! Another unit of costs, of coordinates or of masses changes nothing but the unit: by powers of two to the last bit. Beyond
//! the range of the type it is an error.

use ot_conformance::Seeded;
use ot_core::{
    CostMatrix, Error, GroundCost, Histogram, Manhattan, Measure, PlanEntry, PointCloud, PowerOfDistance, SqEuclidean,
    Support,
};
use ot_solvers::{
    BuresBarycenter, CircleTransport, ExactTransport, Gaussian, Guide, LineTransport, OptimalityCertificate,
    QuantileFunction, SlicedWasserstein, SparsePlan, assign,
};

use crate::support::{SIDES, cpu, normalized};

/// Exponents of two, of coordinates whose squares stay in range.
const EXPONENTS: [i32; 6] = [-400, -33, -1, 1, 50, 400];

fn two_to(exponent: i32) -> f64 {
    2_f64.powi(exponent)
}

fn scaled(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

fn masses(plan: &SparsePlan, factor: f64) -> Vec<PlanEntry> {
    plan.entries().iter().map(|entry| PlanEntry { mass: entry.mass * factor, ..*entry }).collect()
}

/// Two clouds of so many points, with uneven weights, some of them zero.
struct Clouds {
    points: [Vec<f64>; 2],
    weights: [Vec<f64>; 2],
    dimension: usize,
}

impl Clouds {
    fn new(seed: u64, lens: [usize; 2], dimension: usize) -> Self {
        let mut random = Seeded::new(seed);
        let points = lens.map(|len| (0..len * dimension).map(|_| random.normal()).collect());
        let mut weight = |i: usize| if i % 7 == 3 { 0.0 } else { random.uniform(0.0, 1.0).powi(3) + 1e-6 };
        let weights = lens.map(|len| normalized((0..len).map(&mut weight).collect()));
        Self { points, weights, dimension }
    }

    /// Both, their coordinates and weights scaled.
    fn at(&self, length: f64, mass: f64) -> [PointCloud<'static, f64>; 2] {
        [0, 1].map(|side| {
            let (points, weights) = (scaled(&self.points[side], length), scaled(&self.weights[side], mass));
            PointCloud::new(points, self.dimension, weights).unwrap()
        })
    }
}

/// Every number of a certificate, of other units.
fn assert_scaled(found: &OptimalityCertificate, of: &OptimalityCertificate, cost: f64, mass: f64) {
    let expected = OptimalityCertificate {
        primal: of.primal * cost * mass,
        dual: of.dual * cost * mass,
        gap: of.gap * cost * mass,
        absolute_cost: of.absolute_cost * cost * mass,
        rounding: of.rounding * cost * mass,
        infeasibility: of.infeasibility * cost * mass,
        smallest_reduced_cost: of.smallest_reduced_cost * cost,
        largest_violation: of.largest_violation * cost,
        largest_complementarity_violation: of.largest_complementarity_violation * cost,
        source_residual: of.source_residual * mass,
        target_residual: of.target_residual * mass,
        mass: of.mass * mass,
    };
    assert_eq!(found, &expected);
}

#[test]
fn exact_transport_of_a_matrix() -> Result<(), Error> {
    let mut random = Seeded::new(71);
    let (n, m) = (30, 23);
    let costs: Vec<f64> = (0..n * m)
        .map(|k| if k % 11 == 5 { f64::INFINITY } else { 10_f64.powf(random.uniform(-4.0, 1.0)) - 0.1 })
        .collect();
    let (a, b) = (random.weights::<f64>(n, false), random.weights::<f64>(m, false));
    let solve = |cost: f64, mass: f64, partial: bool| {
        let settings = if partial { ExactTransport::new().mass(0.3 * mass) } else { ExactTransport::new() };
        let (a, b) = (Histogram::new(scaled(&a, mass))?, Histogram::new(scaled(&b, mass))?);
        settings.solve(&cpu(1), &a, &b, &CostMatrix::new(scaled(&costs, cost), n, m)?)
    };
    for partial in [false, true] {
        let one = solve(1.0, 1.0, partial)?;
        for (cost, mass) in EXPONENTS.map(two_to).into_iter().flat_map(|s| [(s, 1.0), (1.0, s), (s, 1.0 / s), (s, s)]) {
            let other = solve(cost, mass, partial)?;
            assert_eq!(other.plan().entries(), masses(one.plan(), mass));
            for side in SIDES {
                assert_eq!(other.potential(side), scaled(one.potential(side), cost));
            }
            assert_scaled(other.certificate(), one.certificate(), cost, mass);
        }
    }
    assert!(matches!(solve(two_to(1015), 1.0, false), Err(Error::CostOverflow { .. })));
    assert!(matches!(solve(two_to(600), two_to(600), false), Err(Error::CostOverflow { .. })));
    Ok(())
}

#[test]
fn exact_transport_between_points() -> Result<(), Error> {
    let (small, large) = (Clouds::new(72, [40, 50], 2), Clouds::new(73, [350, 320], 2));
    let solve = |clouds: &Clouds, guide: Guide, length: f64, mass: f64| {
        let [a, b] = clouds.at(length, mass);
        ExactTransport::new().guide(guide).solve(&cpu(2), &a, &b, &SqEuclidean)
    };
    for (clouds, guide, exponents) in
        [(&small, Guide::Minima, &EXPONENTS[..]), (&large, Guide::Entropic, &[-20, 3, 20][..])]
    {
        let one = solve(clouds, guide, 1.0, 1.0)?;
        for &exponent in exponents {
            for (length, mass) in [(two_to(exponent), 1.0), (1.0, two_to(exponent))] {
                let other = solve(clouds, guide, length, mass)?;
                assert_eq!(other.plan().entries(), masses(one.plan(), mass), "{guide:?} {length} {mass}");
                assert_scaled(other.certificate(), one.certificate(), length * length, mass);
            }
        }
    }
    let refused = solve(&small, Guide::Minima, two_to(600), 1.0);
    assert!(matches!(refused, Err(Error::CostOverflow { .. })), "{refused:?}");
    Ok(())
}

#[test]
fn assignment() -> Result<(), Error> {
    let mut random = Seeded::new(74);
    for (n, m) in [(60, 60), (25, 40), (40, 25)] {
        let points: Vec<f64> = (0..2 * (n + m)).map(|_| random.normal()).collect();
        let costs: Vec<f64> = (0..n * m)
            .map(|k| (2 * (k / m), 2 * (n + k % m)))
            .map(|(i, j)| (points[i] - points[j]).powi(2) + (points[i + 1] - points[j + 1]).powi(2))
            .collect();
        let solve = |cost: f64| {
            assign::<f64>(Support::Indices(n), Support::Indices(m), &CostMatrix::new(scaled(&costs, cost), n, m)?)
        };
        let one = solve(1.0)?;
        for cost in EXPONENTS.map(two_to).into_iter().chain([two_to(-900), two_to(900)]) {
            let other = solve(cost)?;
            assert_eq!(other.targets(), one.targets());
            assert_eq!(other.total_cost(), one.total_cost() * cost);
            for side in SIDES {
                assert_eq!(other.potential(side), scaled(one.potential(side), cost));
            }
        }
        assert!(matches!(solve(two_to(1017)), Err(Error::CostOverflow { .. })));
    }
    Ok(())
}

#[test]
fn line() -> Result<(), Error> {
    let clouds = Clouds::new(75, [60, 47], 1);
    let functions = |length: f64, mass: f64| -> Result<[QuantileFunction; 2], Error> {
        let [a, b] = clouds.at(length, mass);
        Ok([QuantileFunction::of(&a, 0)?, QuantileFunction::of(&b, 0)?])
    };
    let [x, y] = functions(1.0, 1.0)?;
    let cube = PowerOfDistance::new(3.0)?;
    let costs: [(&dyn GroundCost, i32); 3] = [(&Manhattan, 1), (&SqEuclidean, 2), (&cube, 3)];
    let levels = [0.0, 0.1, 0.5, 0.77, 1.0];
    for exponent in [-300, -33, -1, 1, 50, 300] {
        let factor = two_to(exponent);
        let [from, to] = functions(factor, 1.0)?;
        for p in [1.0, 2.0, 3.5, 17.0, f64::INFINITY] {
            assert_eq!(from.wasserstein(&to, p)?, x.wasserstein(&y, p)? * factor, "{p} {exponent}");
        }
        assert_eq!(from.quantiles(&levels), scaled(&x.quantiles(&levels), factor));
        for (cost, power) in costs {
            let (one, other) = (LineTransport::new(&x, &y, cost)?, LineTransport::new(&from, &to, cost)?);
            assert_eq!(other.transport_cost()?, one.transport_cost()? * two_to(power * exponent));
            assert_eq!(other.plan()?, one.plan()?);
            assert_eq!(other.map().images(&scaled(&levels, factor)), scaled(&one.map().images(&levels), factor));
            if power < 3 {
                let [f, g] = one.potentials().map(|potential| scaled(&potential, two_to(power * exponent)));
                assert_eq!(other.potentials(), [f, g]);
            }
        }
        // Masses: costs are exact, W_1 and W_2 by a square.
        let [heavy_from, heavy_to] = functions(1.0, factor * factor)?;
        assert_eq!(heavy_from.wasserstein(&heavy_to, 1.0)?, x.wasserstein(&y, 1.0)? * factor * factor);
        assert_eq!(heavy_from.wasserstein(&heavy_to, 2.0)?, x.wasserstein(&y, 2.0)? * factor);
        for (cost, _) in costs {
            let (one, other) = (LineTransport::new(&x, &y, cost)?, LineTransport::new(&heavy_from, &heavy_to, cost)?);
            assert_eq!(other.transport_cost()?, one.transport_cost()? * factor * factor);
            assert_eq!(other.plan()?.entries(), masses(&one.plan()?, factor * factor));
            assert_eq!(other.potentials(), one.potentials());
        }
    }
    let [from, to] = functions(two_to(1022), 1.0)?;
    assert!(matches!(from.wasserstein(&to, 2.0), Err(Error::CostOverflow { .. })));
    let [from, to] = functions(two_to(600), 1.0)?;
    assert!(from.wasserstein(&to, 2.0).is_ok());
    assert!(matches!(LineTransport::new(&from, &to, &SqEuclidean), Err(Error::CostOverflow { .. })));
    Ok(())
}

#[test]
fn circle() -> Result<(), Error> {
    let clouds = Clouds::new(76, [40, 33], 1);
    let solve = |length: f64, mass: f64, p: f64| {
        let [a, b] = clouds.at(length, mass);
        CircleTransport::new(&a, &b, 6.3 * length, p)
    };
    for p in [1.0, 2.0, 3.0, 3.5, 90.0] {
        let one = solve(1.0, 1.0, p)?;
        for exponent in [-300, -33, -2, 2, 50, 300] {
            let factor = two_to(exponent);
            let other = solve(factor, 1.0, p)?;
            assert_eq!(other.distance(), one.distance() * factor, "{p} {exponent}");
            assert_eq!((other.plan()?, other.shift()), (one.plan()?, one.shift()));
            if p <= 3.0 {
                assert_eq!(other.transport_cost()?, one.transport_cost()? * factor.powf(p));
            }
            let heavy = solve(1.0, factor, p)?;
            assert_eq!(heavy.plan()?.entries(), masses(&one.plan()?, factor));
            assert_eq!(heavy.transport_cost()?, one.transport_cost()? * factor);
        }
        assert!(matches!(solve(two_to(1021), 1.0, p), Err(Error::CostOverflow { .. })));
    }
    Ok(())
}

#[test]
fn slices() -> Result<(), Error> {
    let clouds = Clouds::new(77, [50, 41], 3);
    let solve = |length: f64, mass: f64, p: f64| {
        let [a, b] = clouds.at(length, mass);
        SlicedWasserstein::new(p).directions(16).between(&cpu(2), &a, &b)
    };
    for p in [1.0, 2.0, 3.0, 3.5, 90.0] {
        let one = solve(1.0, 1.0, p)?;
        for exponent in [-300, -33, -2, 2, 50, 300] {
            let factor = two_to(exponent);
            let other = solve(factor, 1.0, p)?;
            assert_eq!(other.distance(), one.distance() * factor, "{p} {exponent}");
            assert_eq!(other.largest(), (one.largest().0 * factor, one.largest().1));
            if p <= 3.0 {
                let power = factor.powf(p);
                assert_eq!(other.power()?, one.power()? * power);
                assert_eq!(other.powers()?, scaled(&one.powers()?, power));
                assert_eq!(other.standard_error()?, one.standard_error()?.map(|error| error * power));
            }
            let heavy = solve(1.0, factor, p)?;
            assert_eq!(heavy.power()?, one.power()? * factor);
        }
        assert!(matches!(solve(two_to(1022), 1.0, p), Err(Error::CostOverflow { .. })));
    }
    Ok(())
}

#[test]
fn gaussians() -> Result<(), Error> {
    let clouds = Clouds::new(78, [30, 30], 3);
    let gaussians = |length: f64, mass: f64| -> Result<[Gaussian; 2], Error> {
        let [a, b] = clouds.at(length, mass);
        Ok([Gaussian::of(&a, 0)?, Gaussian::of(&b, 0)?])
    };
    let [a, b] = gaussians(1.0, 1.0)?;
    let barycenter = |a: &Gaussian, b: &Gaussian| BuresBarycenter::new().solve(&[a.clone(), b.clone()], &[1.0, 2.0]);
    for exponent in EXPONENTS {
        let factor = two_to(exponent);
        assert_eq!(gaussians(1.0, factor)?, [a.clone(), b.clone()]);
        let [c, d] = gaussians(factor, 1.0)?;
        let is_scaled = |found: &Gaussian, of: &Gaussian| {
            assert_eq!(found.mean(), scaled(of.mean(), factor));
            assert_eq!(found.covariance(), scaled(of.covariance(), factor * factor));
        };
        is_scaled(&c, &a);
        assert_eq!(c.wasserstein(&d)?, a.wasserstein(&b)? * factor, "{exponent}");
        assert_eq!(c.bures(&d)?, a.bures(&b)? * factor);
        assert_eq!(c.map_to(&d)?.linear(), a.map_to(&b)?.linear());
        is_scaled(&c.interpolation(&d, 0.3)?, &a.interpolation(&b, 0.3)?);
        let (one, other) = (barycenter(&a, &b)?, barycenter(&c, &d)?);
        is_scaled(other.barycenter(), one.barycenter());
        assert_eq!((other.iterations(), other.residual()), (one.iterations(), one.residual()));
    }
    let [far_a, far_b] = clouds.at(two_to(600), 1.0);
    assert!(matches!(Gaussian::of(&far_a as &dyn Measure<f64>, 0), Err(Error::Parameter { .. })));
    assert!(Gaussian::of(&far_b, 0).is_err());
    Ok(())
}
