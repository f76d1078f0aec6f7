//! The shift between the potentials: best for every penalty, and worth its while at every strength.

use ot_core::{
    Balanced, Free, Host, Kl, MarginalPenalty, Potentials, Problem, Range, Real, Side, TotalVariation, Translation,
};
use ot_solvers::{Relaxation, Sinkhorn};

use crate::outsider::penalty::Burg;
use crate::support::{Penalty, assert_close, cloud, cpu, penalty, problem};

/// A Kullback-Leibler penalty that does not say that it is one.
#[derive(Clone, Debug)]
struct Anonymous(Kl);

impl MarginalPenalty for Anonymous {
    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        self.0.step(softmin, epsilon)
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        self.0.conjugate(slope)
    }

    fn value<R: Real>(&self, density: R) -> R {
        self.0.value(density)
    }

    fn conjugate_subdifferential<R: Real>(&self, potential: R, epsilon: R) -> [R; 2] {
        self.0.conjugate_subdifferential(potential, epsilon)
    }
}

/// Pairs of penalties without kinks, at one strength.
fn smooth_penalties(rho: f64) -> Vec<[Penalty; 2]> {
    let kl = || penalty(Kl::new(rho).unwrap());
    let burg = || penalty(Burg { rho });
    let balanced = || penalty(Balanced);
    vec![[kl(), kl()], [kl(), balanced()], [burg(), burg()], [burg(), balanced()], [balanced(), burg()], [burg(), kl()]]
}

/// Pairs of which one penalty or both have kinks.
fn penalties_with_kinks(rho: f64) -> Vec<[Penalty; 2]> {
    let variation = || penalty(TotalVariation::new(rho).unwrap());
    vec![
        [variation(), variation()],
        [variation(), penalty(Balanced)],
        [penalty(Balanced), variation()],
        [variation(), penalty(Kl::new(rho).unwrap())],
        [penalty(Range::new(0.5, 2.0).unwrap()), variation()],
    ]
}

/// Penalties without a strength.
fn ranges() -> Vec<[Penalty; 2]> {
    let range = |low, high| penalty(Range::new(low, high).unwrap());
    vec![
        [range(0.5, 1.5), range(0.5, 1.5)],
        [range(0.5, 1.5), penalty(Balanced)],
        [range(0.7, 1.2), penalty(Kl::new(1.0).unwrap())],
        [penalty(Free), penalty(Balanced)],
        [penalty(Kl::new(1.0).unwrap()), penalty(Free)],
    ]
}

/// Iterations to 1e-8 of the plain iteration: the rate of the controlled one depends on when it is looked at.
fn iterations(problem: &Problem<Host<f64>>) -> f64 {
    let settings = Sinkhorn::new().tolerance(1e-8).relaxation(Relaxation::Off).check_interval(1);
    let solution = settings.solve(problem).unwrap();
    assert!(solution.status().is_converged(), "{}", solution.status());
    solution.iterations() as f64
}

#[test]
fn smooth_penalties_of_every_strength_cost_no_more_than_prescribed_marginals() {
    let backend = cpu(1);
    let (a, b, normalized) = (cloud(1, 60, 0.0, 1.0), cloud(2, 50, 0.2, 1.3), cloud(2, 50, 0.2, 1.0));
    for epsilon in [0.05, 0.2] {
        let balanced = problem(&backend, [&a, &normalized], epsilon, [penalty(Balanced), penalty(Balanced)]);
        let allowed = 1.2 * iterations(&balanced);
        for ratio in [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6] {
            for pair in smooth_penalties(ratio * balanced.epsilon()) {
                let name = format!("{pair:?}");
                let found = iterations(&problem(&backend, [&a, &b], epsilon, pair));
                assert!(found <= allowed, "epsilon {epsilon}, {name}: {found} iterations, {allowed} allowed");
            }
        }
    }
}

#[test]
fn penalties_with_kinks_cost_no_more_as_they_grow_stronger() {
    let backend = cpu(1);
    let a = cloud(1, 60, 0.0, 1.0);
    for epsilon in [0.05, 0.2] {
        // With equal masses, the limit is the problem with prescribed marginals.
        let b = cloud(2, 50, 0.2, 1.0);
        let balanced = problem(&backend, [&a, &b], epsilon, [penalty(Balanced), penalty(Balanced)]);
        let allowed = 1.2 * iterations(&balanced);
        for ratio in [1e2, 1e4, 1e6] {
            let variation = || penalty(TotalVariation::new(ratio * balanced.epsilon()).unwrap());
            let found = iterations(&problem(&backend, [&a, &b], epsilon, [variation(), variation()]));
            assert!(found <= allowed, "epsilon {epsilon}, ratio {ratio}: {found} iterations, {allowed} allowed");
        }
        // With others it is partial transport, of a rate of its own.
        let b = cloud(2, 50, 0.2, 1.3);
        let at = |ratio: f64| penalties_with_kinks(ratio * balanced.epsilon());
        for (weak, strengths) in at(1e2).into_iter().zip(0..) {
            let allowed = 1.2 * iterations(&problem(&backend, [&a, &b], epsilon, weak));
            for ratio in [1e3, 1e4, 1e5, 1e6] {
                let pair = at(ratio).swap_remove(strengths);
                let name = format!("{pair:?}");
                let found = iterations(&problem(&backend, [&a, &b], epsilon, pair));
                assert!(found <= allowed, "epsilon {epsilon}, {name}: {found} iterations, {allowed} allowed");
            }
        }
    }
}

/// Potentials that no penalty forbids, before and after the shift.
fn shifted(problem: &Problem<Host<f64>>) -> [[Vec<f64>; 2]; 2] {
    let backend = problem.backend();
    let wave = |side, phase: f64| -> Vec<f64> {
        (0..problem.marginal(side).len()).map(|i| 0.2 + 0.1 * (phase + i as f64).sin()).collect()
    };
    let before = [wave(Side::Source, 0.0), wave(Side::Target, 1.0)];
    let [source, target] = before.each_ref().map(|values| backend.upload(values, 1).unwrap());
    let mut potentials = Potentials { source, target, epsilon: problem.epsilon() };
    let relaxation = backend.upload_reduced(&[1.0]).unwrap();
    Translation::new(problem).unwrap().unwrap().apply(problem, &mut potentials, &relaxation).unwrap();
    let mut after = backend.download(&[&potentials.source, &potentials.target]).unwrap();
    let target = after.pop().unwrap();
    [before, [after.pop().unwrap(), target]]
}

/// -<a, phi*(-f - lambda)> - <b, psi*(-g + lambda)>, minus infinity where a penalty forbids a potential.
fn dual(problem: &Problem<Host<f64>>, potentials: &[Vec<f64>; 2], lambda: f64) -> f64 {
    let term = |(side, values, sign): (Side, &Vec<f64>, f64)| -> f64 {
        let marginal = problem.marginal(side);
        let weights = problem.backend().download(&[marginal.weights()]).unwrap().remove(0);
        let [low, high] = marginal.penalty().potential_bounds();
        let conjugate = marginal.penalty().conjugate();
        let of_atom = |(weight, potential): (&f64, &f64)| {
            let moved = potential + sign * lambda;
            let [value] = conjugate.call([-moved]).unwrap();
            let allowed = (low - 1e-12 * low.abs()..=high).contains(&moved);
            if allowed { -weight * value } else { f64::NEG_INFINITY }
        };
        weights.iter().zip(values).map(of_atom).sum()
    };
    [(Side::Source, &potentials[0], 1.0), (Side::Target, &potentials[1], -1.0)].into_iter().map(term).sum()
}

#[test]
fn the_shift_is_best_for_every_penalty() {
    let backend = cpu(1);
    let (a, b) = (cloud(3, 40, 0.0, 1.0), cloud(4, 30, 0.1, 1.4));
    for strength in [0.4, 3.0, 1e3] {
        for pair in smooth_penalties(strength).into_iter().chain(penalties_with_kinks(strength)).chain(ranges()) {
            let name = format!("{pair:?}");
            let problem = problem(&backend, [&a, &b], 0.05, pair);
            let [_, after] = shifted(&problem);
            let here = dual(&problem, &after, 0.0);
            for size in [1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4] {
                for lambda in [-size, size] {
                    let there = dual(&problem, &after, lambda);
                    assert!(
                        here >= there - 1e-9 * problem.epsilon() - 1e-12 * here.abs(),
                        "{name}: {lambda} gives {there}, not {here}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_solve_agrees_with_the_closed_form() {
    let backend = cpu(1);
    let (a, b) = (cloud(5, 40, 0.0, 1.0), cloud(6, 30, 0.1, 20.0));
    for [rho_a, rho_b] in [[0.1, 0.1], [1e-3, 10.0], [1e4, 0.3]] {
        let [one, other] = [rho_a, rho_b].map(|rho| Kl::new(rho).unwrap());
        for target in [penalty(other), penalty(Balanced)] {
            let closed = shifted(&problem(&backend, [&a, &b], 0.05, [penalty(one), target.clone()]));
            let solved = shifted(&problem(&backend, [&a, &b], 0.05, [penalty(Anonymous(one)), target]));
            let shift = |[before, after]: &[[Vec<f64>; 2]; 2]| [after[0][0] - before[0][0], before[1][0] - after[1][0]];
            let (closed, solved) = (shift(&closed), shift(&solved));
            assert_close(closed[0], closed[1], 1e-12);
            assert_close(solved[0], closed[0], 1e-12 * (1.0 + rho_a));
            assert_close(solved[1], closed[1], 1e-12 * (1.0 + rho_a));
            assert!(closed[0].abs() > 1e-4, "{}", closed[0]);
        }
    }
}
