//! A certificate refuses what is not optimal.

use ot_core::{CostMatrix, Error, Histogram, PlanEntry};
use ot_solvers::{OptimalityCertificate, SparsePlan, certify};

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
    certify::<f64>(&a, &b, &costs, &plan, &of.potentials[0], &of.potentials[1])
}

#[test]
fn the_optimum_is_proven_without_tolerance() -> Result<(), Error> {
    let certificate = certificate(&solved())?;
    assert!(certificate.proves(0.0), "{certificate:?}");
    assert_eq!((certificate.primal, certificate.dual, certificate.suboptimality()), (0.25, 0.25, 0.0));
    assert_eq!((certificate.cost_scale, certificate.mass), (4.0, 1.0));
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
    assert_eq!(self::certificate(&unused)?.cost_scale, 1.0);
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
