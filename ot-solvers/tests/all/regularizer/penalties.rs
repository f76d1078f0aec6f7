//! Every penalty of a marginal beside squares, and an outsider's.

use ot_core::{
    Balanced, CostMatrix, Epsilon, Free, GeometryBuilder, Histogram, Kl, MarginalPenalty, Measure, Problem, Range,
    Real, Side, SquaredL2, TotalVariation,
};
use ot_solvers::DualAscent;

use super::support::*;
use crate::support::{Penalty, assert_close, cloud, cpu, penalty};

/// phi(r) = rho (r - 1)^2 / 2, an outsider's: phi*(q) = q + q^2 / (2 rho) for q >= -rho, else -rho / 2.
#[derive(Clone, Debug)]
struct Square {
    rho: f64,
}

impl MarginalPenalty for Square {
    /// max(1 - f / rho, 0) = exp((f - s) / epsilon), by Newton's iteration in log r.
    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        let ratio = epsilon / self.rho;
        // r + (epsilon / rho) log r = 1 - s / rho, increasing in log r.
        let wanted = 1.0 - softmin / self.rho;
        let mut log = wanted.max(1.0).ln().min(wanted / ratio);
        for _ in 0..60 {
            let density = log.clamp(-60.0, 60.0).exp();
            let change = (density + ratio * log - wanted) / (density + ratio);
            log = log - change.clamp(-8.0, 8.0);
        }
        softmin + epsilon * log
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        let q = slope.max(-self.rho);
        q + q * q / (2.0 * self.rho)
    }

    fn value<R: Real>(&self, density: R) -> R {
        let change = density - 1.0;
        0.5 * self.rho * change * change
    }

    fn conjugate_subdifferential<R: Real>(&self, potential: R, _epsilon: R) -> [R; 2] {
        [(1.0 - potential / self.rho).max(0.0); 2]
    }
}

fn penalties(rho: f64) -> Vec<Penalty> {
    vec![
        penalty(Balanced),
        penalty(Kl::new(rho).unwrap()),
        penalty(TotalVariation::new(rho).unwrap()),
        penalty(Range::new(0.6, 1.4).unwrap()),
        penalty(Free),
        penalty(Square { rho }),
    ]
}

/// Either penalty on either side: no gap is left, and the densities of the marginals are in the subdifferentials.
#[test]
fn every_penalty_closes_the_gap() {
    let backend = cpu(2);
    for (first, second) in (0..6).flat_map(|first| (0..6).map(move |second| (first, second))) {
        for rho in [0.03, 1.0, 100.0] {
            // Prescribed masses must agree.
            let mass = if first == 0 && second == 0 { 1.0 } else { 1.2 };
            let (a, b) = (cloud(1, 20, 0.0, 1.0), cloud(2, 25, 0.3, mass));
            let pair = [penalties(rho)[first].clone(), penalties(rho)[second].clone()];
            let name = format!("{pair:?}");
            let problem = problem(&backend, [&a, &b], 0.05, pair, &SquaredL2);
            let solution = solve(&problem, 1e-8);
            let certificate = solution.certificate();
            assert!(certificate.gap >= 0.0 && certificate.gap < 1e-6, "{name}: {certificate:?}");
            let mut plan = solution.plan().unwrap();
            for (side, cloud) in [(Side::Source, &a), (Side::Target, &b)] {
                let penalty = problem.marginal(side).penalty();
                let potential = solution.potential(side).unwrap();
                let weights = cloud.weights_view().column(0).to_vec();
                let found = plan.marginal(side).unwrap();
                let mut error = 0.0;
                for ((mass, weight), f) in found.iter().zip(weights).zip(potential) {
                    let near = 1e-12;
                    let [low, _] = penalty.conjugate_subdifferential().call([f + near, problem.epsilon()]).unwrap();
                    let [_, high] = penalty.conjugate_subdifferential().call([f - near, problem.epsilon()]).unwrap();
                    error += (weight * low - mass).max(mass - weight * high).max(0.0);
                }
                assert!(error < 2e-8, "{name}, {side}: {error:e}");
            }
        }
    }
}

/// Two Diracs: epsilon p = -2 rho log p - c, where p is the mass that moves.
#[test]
fn two_diracs_with_kl_are_an_equation_in_one_unknown() {
    let one = Histogram::new(vec![1.0]).unwrap();
    let backend = cpu(1);
    for (c, rho, epsilon) in [(1.0, 0.5, 0.3), (4.0, 0.2, 0.1), (0.1, 10.0, 2.0), (0.3, 1e-3, 0.1)] {
        let geometry =
            backend.geometry(one.support(), one.support(), &CostMatrix::new(vec![c], 1, 1).unwrap()).unwrap();
        let kl = Kl::new(rho).unwrap();
        let problem = Problem::unbalanced(geometry, &one, &one, Epsilon::Absolute(epsilon), &kl, &kl).unwrap();
        let solution = solve(&problem.with_regularizer(&SquaredL2).unwrap(), 1e-11);
        let (mut low, mut high) = (0.0_f64, 2.0);
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if epsilon * middle + 2.0 * rho * middle.ln() + c > 0.0 { high = middle } else { low = middle }
        }
        let mass = solution.certificate().mass;
        assert!((mass - low).abs() < 1e-9, "{mass} for {low}");
        let entropy = if low > 0.0 { low * low.ln() } else { 0.0 };
        let primal = c * low + epsilon / 2.0 * low * low + 2.0 * rho * (entropy - low + 1.0);
        assert_close(solution.certificate().primal, primal, 1e-9);
    }
}

/// rho to infinity is balanced, rho to 0 moves nothing that costs anything.
#[test]
fn the_limits_of_rho() {
    let backend = cpu(2);
    let (a, b) = (cloud(1, 20, 0.0, 1.0), cloud(2, 25, 0.3, 1.0));
    let primal = |penalty: Penalty| {
        let problem = problem(&backend, [&a, &b], 0.05, [penalty.clone(), penalty], &SquaredL2);
        solve(&problem, 1e-9).certificate().primal
    };
    let expected = primal(penalty(Balanced));
    assert_close(primal(penalty(Kl::new(1e6).unwrap())), expected, 1e-5);
    assert_close(primal(penalty(TotalVariation::new(1e3).unwrap())), expected, 1e-7);
    assert!(primal(penalty(Kl::new(1e-6).unwrap())) < 3e-6, "the penalty of no mass");
}

/// An empty side under KL is the zero plan and no error.
#[test]
fn an_empty_side_is_the_zero_plan() {
    let backend = cpu(1);
    let empty = Histogram::without_mass(2).unwrap();
    let full = Histogram::new(vec![0.5, 0.5]).unwrap();
    let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2).unwrap();
    let geometry = backend.geometry(full.support(), empty.support(), &cost).unwrap();
    let kl = Kl::new(0.7).unwrap();
    let problem = Problem::unbalanced(geometry, &full, &empty, Epsilon::Absolute(0.1), &kl, &kl).unwrap();
    let solution = solve(&problem.with_regularizer(&SquaredL2).unwrap(), 1e-9);
    assert_eq!(solution.certificate().mass, 0.0);
    assert_close(solution.certificate().primal, 0.7, 1e-9);
}

/// Penalties with a smooth dual, by the other solver.
#[test]
fn both_solvers_agree() {
    let backend = cpu(2);
    let (a, b) = (cloud(1, 20, 0.0, 1.0), cloud(2, 25, 0.3, 1.2));
    for penalty in [penalties(0.3)[1].clone(), penalties(0.3)[5].clone()] {
        let problem = problem(&backend, [&a, &b], 0.05, [penalty.clone(), penalty], &SquaredL2);
        let expected = solve(&problem, 1e-9);
        let found = DualAscent::new().tolerance(1e-8).solve(&problem).unwrap();
        assert!(found.status().is_converged(), "{:?}", found.certificate());
        assert_close(found.certificate().primal, expected.certificate().primal, 1e-8);
    }
    let bounded = penalty(TotalVariation::new(0.3).unwrap());
    let problem = problem(&backend, [&a, &b], 0.05, [bounded.clone(), bounded], &SquaredL2);
    assert!(DualAscent::new().solve(&problem).is_err(), "its dual is not finite everywhere");
}
