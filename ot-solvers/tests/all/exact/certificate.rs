//! A certificate refuses what is not optimal.

use ot_conformance::Seeded;
use ot_core::{CostMatrix, Error, GroundCost, Histogram, Manhattan, Measure, PlanEntry, PointCloud, SqEuclidean};
use ot_solvers::{ExactTransport, OptimalityCertificate, SparsePlan, certify_optimality};

use super::support::{below, solve, solve_matrix};
use crate::support::cpu;

/// Three atoms against three, solved by hand: the optimal plan is monotone, the potentials are those of |i - j|^2.
struct Solved {
    weights: [Vec<f64>; 2],
    costs: Vec<f64>,
    entries: Vec<PlanEntry>,
    potentials: [Vec<f64>; 2],
}

fn solved() -> Solved {
    let entry = |source, target, mass| PlanEntry { source, target, mass };
    Solved {
        weights: [vec![0.5, 0.25, 0.25], vec![0.25, 0.5, 0.25]],
        costs: (0..9).map(|pair| f64::from((pair / 3 - pair % 3_i32).pow(2))).collect(),
        entries: vec![entry(0, 0, 0.25), entry(0, 1, 0.25), entry(1, 1, 0.25), entry(2, 2, 0.25)],
        potentials: [vec![0.0, -1.0, -1.0], vec![0.0, 1.0, 1.0]],
    }
}

fn certificate(of: &Solved) -> Result<OptimalityCertificate, Error> {
    let (a, b) = (Histogram::new(of.weights[0].clone())?, Histogram::new(of.weights[1].clone())?);
    let costs = CostMatrix::new(&of.costs, 3, 3)?;
    let plan = SparsePlan::new(3, 3, of.entries.clone())?;
    certify_optimality::<f64>(&a, &b, &costs, &plan, &of.potentials[0], &of.potentials[1])
}

#[test]
fn the_optimum_is_proven_without_tolerance() -> Result<(), Error> {
    let certificate = certificate(&solved())?;
    assert!(certificate.proves(0.0), "{certificate:?}");
    assert_eq!((certificate.primal, certificate.dual, certificate.gap), (0.25, 0.25, 0.0));
    assert_eq!((certificate.absolute_cost, certificate.infeasibility, certificate.mass), (0.25, 0.0, 1.0));
    assert_eq!(certificate.suboptimality(), certificate.rounding);
    assert!(certificate.rounding > 0.0 && certificate.rounding < 1e-15);
    Ok(())
}

#[test]
fn any_change_of_a_dual_is_refused() -> Result<(), Error> {
    for side in 0..2 {
        for atom in 0..3 {
            for change in [1e-6, -1e-6] {
                let mut changed = solved();
                changed.potentials[side][atom] += change;
                let certificate = certificate(&changed)?;
                assert!(!certificate.proves(1e-7), "{side} {atom} {change}: {certificate:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn any_change_of_a_flow_is_refused() -> Result<(), Error> {
    for place in 0..4 {
        for change in [1e-6, -1e-6] {
            let mut changed = solved();
            changed.entries[place].mass += change;
            let certificate = certificate(&changed)?;
            assert!(!certificate.proves(1e-7), "{place} {change}: {certificate:?}");
        }
    }
    // A feasible plan that is not optimal: mass turned around the cycle (0, 1), (1, 1), (1, 2), (0, 2).
    let mut turned = solved();
    turned.entries[1].mass -= 1e-6;
    turned.entries.push(PlanEntry { source: 0, target: 2, mass: 1e-6 });
    turned.entries[3].mass -= 1e-6;
    turned.entries.push(PlanEntry { source: 2, target: 1, mass: 1e-6 });
    let certificate = certificate(&turned)?;
    assert!(certificate.source_residual < 1e-15 && certificate.target_residual < 1e-15);
    assert!(!certificate.proves(1e-7) && certificate.suboptimality() > 0.0, "{certificate:?}");
    Ok(())
}

#[test]
fn a_forbidden_pair_with_mass_costs_everything() -> Result<(), Error> {
    let mut forbidden = solved();
    forbidden.costs[1] = f64::INFINITY;
    let certificate = certificate(&forbidden)?;
    assert_eq!(certificate.primal, f64::INFINITY);
    assert!(!certificate.proves(1.0));
    // One without mass costs nothing, and is no pair.
    let mut unused = solved();
    unused.costs[2] = f64::INFINITY;
    unused.costs[6] = f64::INFINITY;
    assert!(self::certificate(&unused)?.proves(0.0));
    assert_eq!(self::certificate(&unused)?.absolute_cost, 0.25);
    Ok(())
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mut short = solved();
    short.potentials[0].pop();
    assert!(matches!(certificate(&short), Err(Error::Length { .. })));
    let mut infinite = solved();
    infinite.potentials[1][0] = f64::NEG_INFINITY;
    assert!(matches!(certificate(&infinite), Err(Error::Parameter { .. })));
    let mut heavier = solved();
    heavier.weights[0][0] = 0.6;
    assert!(matches!(certificate(&heavier), Err(Error::MassMismatch { .. })));
}

/// A cost that no mass pays buys no proof, and takes none away.
#[test]
fn an_unused_cost_proves_nothing() -> Result<(), Error> {
    let entry = |source, target, mass| PlanEntry { source, target, mass };
    let unused = 1e15;
    let of = |entries: [(u32, u32); 3]| Solved {
        weights: [vec![0.25, 0.25, 0.5], vec![0.25, 0.25, 0.5]],
        costs: vec![1.0, 5.0, unused, 5.0, 1.0, unused, unused, unused, 2.0],
        entries: entries.iter().zip([0.25, 0.25, 0.5]).map(|(&(i, j), mass)| entry(i, j, mass)).collect(),
        potentials: [vec![0.5, 0.5, 1.0], vec![0.5, 0.5, 1.0]],
    };
    let wrong = certificate(&of([(0, 1), (1, 0), (2, 2)]))?;
    assert_eq!((wrong.primal, wrong.dual, wrong.gap), (3.5, 1.5, 2.0));
    assert!(!wrong.proves(1e-12) && !wrong.proves(0.5) && wrong.suboptimality() >= 2.0);
    let right = certificate(&of([(0, 0), (1, 1), (2, 2)]))?;
    assert_eq!((right.primal, right.dual, right.absolute_cost), (1.5, 1.5, 1.5));
    assert!(right.proves(0.0) && right.rounding < 1e-14, "{right:?}");
    // A potential that is wrong by a part of 1e-9, where an unused cost would cover it.
    let mut raised = of([(0, 0), (1, 1), (2, 2)]);
    raised.potentials[0][1] += 1e-9;
    assert!(!certificate(&raised)?.proves(1e-10));
    // Large potentials, which unused costs allow, cover neither a gap nor the violation that closes it.
    for (far, raised) in [(1e12, 0.0), (1e14, 0.0), (1e14, 4.0)] {
        let mut wrong = of([(0, 1), (1, 0), (2, 2)]);
        for atom in 0..2 {
            wrong.potentials[0][atom] += far + raised;
            wrong.potentials[1][atom] -= far;
        }
        let certificate = certificate(&wrong)?;
        assert!(!certificate.proves(1e-6), "{certificate:?}");
        assert!(certificate.suboptimality() >= 2.0 && certificate.lower_bound() <= 1.5);
    }
    // An atom without weight whose potential breaks a constraint.
    let mut weightless = of([(0, 0), (0, 1), (2, 2)]);
    weightless.weights[0] = vec![0.5, 0.0, 0.5];
    weightless.potentials = [vec![4.5, 0.25, 1.0], vec![-3.5, 0.5, 1.0]];
    assert!(certificate(&weightless)?.proves(0.0), "{:?}", certificate(&weightless)?);
    weightless.potentials[0][1] = 0.6;
    assert!(!certificate(&weightless)?.proves(1e-3));
    Ok(())
}

#[test]
fn identical_measures_cost_nothing_and_are_proven() -> Result<(), Error> {
    let mut random = Seeded::new(61);
    for offset in [0.0, 1e6] {
        let points: Vec<f64> = (0..200).map(|_| offset + random.normal()).collect();
        let cloud = PointCloud::new(points, 2, random.weights::<f64>(100, false))?;
        for cost in [&SqEuclidean as &dyn GroundCost, &Manhattan] {
            let solution = solve(&ExactTransport::new(), &cloud, &cloud, cost)?;
            let certificate = solution.certificate();
            assert_eq!((certificate.primal, certificate.absolute_cost), (0.0, 0.0));
            assert!(certificate.proves(1e-12), "{certificate:?}");
            assert!(certificate.lower_bound() <= 0.0 && certificate.suboptimality() < 1e-12);
        }
    }
    Ok(())
}

/// The bounds hold the exact value where nearly all of the mass rests, and the part that moves keeps its digits.
#[test]
fn bounds_of_a_small_mass_carry_their_rounding() -> Result<(), Error> {
    let (a, b) = (Histogram::new(vec![0.4, 0.6])?, Histogram::new(vec![0.7, 0.3])?);
    let cost = CostMatrix::new(vec![0.3, 0.8, 0.9, 0.4], 2, 2)?;
    for mass in [1e-15, 1e-12, 1e-6, 0.1] {
        let solution = ExactTransport::new().mass(mass).solve(&cpu(1), &a, &b, &cost)?;
        let (certificate, exact) = (solution.certificate(), 0.3 * mass);
        assert!(certificate.proves(1e-12), "{certificate:?}");
        assert!((certificate.primal / exact - 1.0).abs() < 1e-15, "{mass}: {}", certificate.primal);
        assert!(certificate.lower_bound() <= exact && exact <= certificate.primal + certificate.rounding);
        assert!(certificate.suboptimality() < 1e-14 && certificate.lower_bound() > exact - 1e-14);
        let moved: f64 = solution.plan().entries().iter().map(|entry| entry.mass).sum();
        assert!((moved / mass - 1.0).abs() < 1e-15, "{mass}: {moved}");
    }
    Ok(())
}

/// Lower bounds hold whatever the potentials, and the least cost is that of a solver that knows nothing of transport.
#[test]
fn bounds_bound() -> Result<(), Error> {
    let mut random = Seeded::new(62);
    for _ in 0..50 {
        let (n, m) = (1 + below(&mut random, 6), 1 + below(&mut random, 6));
        let (a, b) = (random.weights::<f64>(n, false), random.weights::<f64>(m, false));
        let costs: Vec<f64> = (0..n * m).map(|_| random.uniform(-1.0, 1.0)).collect();
        let least = solve_matrix(&a, &b, &costs)?.certificate().primal;
        let (source, target) = (Histogram::new(a.clone())?, Histogram::new(b.clone())?);
        let entries =
            (0..n * m).map(|k| PlanEntry { source: (k / m) as u32, target: (k % m) as u32, mass: a[k / m] * b[k % m] });
        let plan = SparsePlan::new(n, m, entries.collect())?;
        let (f, g) = (random.vector::<f64>(n, -1.0, 1.0), random.vector::<f64>(m, -1.0, 1.0));
        let certificate = certify_optimality::<f64>(&source, &target, &CostMatrix::new(&costs, n, m)?, &plan, &f, &g)?;
        assert!(certificate.lower_bound() <= least && least <= certificate.primal + certificate.rounding);
        assert!(certificate.primal - least <= certificate.suboptimality());
    }
    Ok(())
}

#[test]
fn products_beyond_the_range_are_refused() -> Result<(), Error> {
    let solve = |cost: f64, mass: f64| {
        let (a, b) = (Histogram::new(vec![mass, mass])?, Histogram::new(vec![0.5 * mass, 1.5 * mass])?);
        let cost = CostMatrix::new(vec![cost, 2.0 * cost, 2.0 * cost, cost], 2, 2)?;
        solve(&ExactTransport::new(), &a, &b, &cost)
    };
    for (cost, mass) in [(1e300, 1e20), (-1e300, 1e20), (1e305, 1e5)] {
        let refused = solve(cost, mass);
        assert!(matches!(refused, Err(Error::CostOverflow { .. })), "{cost} {mass}: {refused:?}");
    }
    for (cost, mass) in [(1e300, 1e-300), (1e-300, 1e300), (-1e300, 1.0), (1e-300, 1.0), (1.0, 1e300)] {
        let solution = solve(cost, mass)?;
        let expected = (if cost > 0.0 { 2.5 } else { 3.5 }) * (cost * mass);
        assert!(solution.certificate().proves(1e-14), "{cost} {mass}: {:?}", solution.certificate());
        assert!((solution.certificate().primal / expected - 1.0).abs() < 1e-15);
    }
    // Potentials are sums along a tree.
    let costs: Vec<f64> = (0..1600).map(|k| if k % 2 == 0 { 1e307 } else { -1e307 }).collect();
    let refused = solve_matrix(&[0.025; 40], &[0.025; 40], &costs);
    assert!(matches!(refused, Err(Error::CostOverflow { .. })), "{refused:?}");
    Ok(())
}

#[test]
fn batches_are_named_by_their_side() -> Result<(), Error> {
    let (one, batch) = (Histogram::new(vec![0.5, 0.5])?, Histogram::batch(vec![0.5; 6], 3)?);
    let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
    let refused = |a: &dyn Measure<f64>, b: &dyn Measure<f64>| solve(&ExactTransport::new(), a, b, &cost).err();
    assert_eq!(refused(&one, &batch), Some(Error::BatchMismatch { source_columns: 1, target_columns: 3 }));
    assert_eq!(refused(&batch, &one), Some(Error::BatchMismatch { source_columns: 3, target_columns: 1 }));
    let error = refused(&batch, &batch);
    assert_eq!(error, Some(Error::Length { what: "columns of either measure", expected: 1, found: 3 }));
    Ok(())
}
