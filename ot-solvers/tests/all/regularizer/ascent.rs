//! Objectives and their gradients, and the ascent of them.

use std::ops::ControlFlow;

use ot_conformance::ReferenceBackend;
use ot_core::{
    Backend, Balanced, Entropy, Error, Fold, Host, Kl, Operand, Problem, Program, RecordedRegularizer, Side, SquaredL2,
    Status,
    host::{HostReduced, HostVector},
};
use ot_solvers::{
    Ascent, ConcaveObjective, DualAscent, DualObjective, HardSemiDualObjective, Lbfgs, SemiDualObjective,
};

use super::support::*;
use crate::support::{Cpu, Penalty, assert_close, cloud, cpu, penalty};

fn regularizers() -> [RecordedRegularizer; 2] {
    [RecordedRegularizer::new(&SquaredL2).unwrap(), RecordedRegularizer::new(&Entropy).unwrap()]
}

/// The problem of either regularizer, with KL on both sides or balanced.
fn problems(backend: &Cpu) -> Vec<Problem<Host<f64>>> {
    let (a, b) = (cloud(3, 13, 0.0, 1.0), cloud(4, 11, 0.3, 1.0));
    let with = |penalty: Penalty| {
        let both = || [penalty.clone(), penalty.clone()];
        regularizers().map(|regularizer| problem(backend, [&a, &b], 0.2, both(), &regularizer))
    };
    [penalty(Balanced), penalty(Kl::new(0.4).unwrap())].into_iter().flat_map(with).collect()
}

/// Values and plain gradients w_k g_k of an objective at host numbers.
fn evaluate(objective: &mut dyn ConcaveObjective<Host<f64>>, point: &[Vec<f64>]) -> (f64, Vec<Vec<f64>>) {
    // The vectors of all backends in host memory are the same.
    let backend = ReferenceBackend::<f64>::default();
    let blocks: Vec<_> = point.iter().map(|block| backend.upload(block, 1).unwrap()).collect();
    let mut gradient: Vec<_> = point.iter().map(|block| backend.alloc(block.len(), 1).unwrap()).collect();
    let mut value = backend.alloc_reduced(1).unwrap();
    objective.evaluate(&blocks, &mut gradient, &mut value).unwrap();
    let plain = |(block, gradient): (usize, &HostVector<f64>)| {
        gradient.values().iter().zip(objective.weights(block).values()).map(|(g, w)| g * w).collect()
    };
    (value.values()[0], gradient.iter().enumerate().map(plain).collect())
}

/// Potentials around those that are best.
fn near(len: usize, seed: u64, size: f64) -> Vec<f64> {
    cloud(seed, len, 0.0, 1.0).points().coordinates()[..len].iter().map(|x| size * (x - 0.5) + 0.15).collect()
}

/// Gradients against central differences.
#[test]
fn gradients_are_differences() {
    let backend = cpu(1);
    for problem in problems(&backend) {
        let (n, m) = (13, 11);
        let mut dual = DualObjective::new(&problem).unwrap();
        let mut semidual = SemiDualObjective::new(&problem).unwrap();
        let objectives: [&mut dyn ConcaveObjective<Host<f64>>; 2] = [&mut dual, &mut semidual];
        let points = [vec![near(n, 5, 0.2), near(m, 6, 0.2)], vec![near(m, 7, 0.2)]];
        for (objective, point) in objectives.into_iter().zip(points) {
            let (_, gradient) = evaluate(objective, &point);
            for block in 0..point.len() {
                for index in 0..point[block].len() {
                    let h = 1e-5;
                    let mut at = |change: f64| {
                        let mut moved = point.clone();
                        moved[block][index] += change;
                        evaluate(objective, &moved).0
                    };
                    let difference = (at(h) - at(-h)) / (2.0 * h);
                    let found = gradient[block][index];
                    // Squares have kinks of curvature, which cost a part of h.
                    assert!((found - difference).abs() < 2e-6, "{problem:?} {block} {index}: {found} {difference}");
                }
            }
        }
    }
}

/// The dual at the best source potential is the semi-dual, and above it nowhere.
#[test]
fn the_semi_dual_is_the_dual_at_its_best() {
    let backend = cpu(1);
    for problem in problems(&backend) {
        let mut dual = DualObjective::new(&problem).unwrap();
        let mut semidual = SemiDualObjective::new(&problem).unwrap();
        let g = near(11, 8, 0.3);
        let (value, of_g) = evaluate(&mut semidual, std::slice::from_ref(&g));
        let f = semidual.source_potential().values().to_vec();
        let (same, gradients) = evaluate(&mut dual, &[f.clone(), g.clone()]);
        assert_close(same, value, 1e-12);
        assert!(gradients[0].iter().all(|g| g.abs() < 1e-12), "f is best: {:?}", gradients[0]);
        for (one, other) in of_g[0].iter().zip(&gradients[1]) {
            assert_close(*one, *other, 1e-12);
        }
        for seed in 0..5 {
            let moved: Vec<f64> = f.iter().zip(near(13, seed, 0.1)).map(|(f, change)| f + change - 0.15).collect();
            assert!(evaluate(&mut dual, &[moved, g.clone()]).0 < value);
        }
    }
}

/// S(g') <= S(g) + <supergradient, g' - g>, and S is a lower bound of what transport costs.
#[test]
fn the_hard_semi_dual_has_supergradients() {
    let backend = cpu(1);
    let (a, b) = (cloud(3, 13, 0.0, 1.0), cloud(4, 11, 0.3, 1.0));
    let problem = balanced(&backend, [&a, &b], 1e-3);
    let cost = solve(&problem, 1e-9).certificate().transport_cost.unwrap();
    let mut hard = HardSemiDualObjective::new(&problem).unwrap();
    for seed in 0..20 {
        let (g, other) = (near(11, seed, 0.4), near(11, seed + 50, 0.4));
        let (value, gradient) = evaluate(&mut hard, std::slice::from_ref(&g));
        let nearest = hard.nearest().to_vec();
        assert!(nearest.len() == 13 && nearest.iter().all(|&j| j < 11));
        let (above, _) = evaluate(&mut hard, std::slice::from_ref(&other));
        let slope: f64 = gradient[0].iter().zip(&g).zip(&other).map(|((d, g), other)| d * (other - g)).sum();
        assert!(above <= value + slope + 1e-12, "{above} {value} {slope}");
        assert!(value <= cost + 1e-9, "{value} {cost}");
    }
    // At the potentials of a small epsilon the bound is nearly met.
    let solution = solve(&problem, 1e-9);
    let (value, _) = evaluate(&mut hard, &[solution.potential(Side::Target).unwrap()]);
    assert!(value > cost - 0.02, "{value} {cost}");
}

/// Balanced problems: dual, semi-dual and the alternating iteration have one optimum.
#[test]
fn ascents_end_where_the_iteration_does() {
    let backend = cpu(2);
    let (a, b) = (cloud(5, 30, 0.0, 1.0), cloud(6, 40, 0.3, 1.0));
    for regularizer in regularizers() {
        for epsilon in [1.0, 0.1, 0.01] {
            let problem = balanced(&backend, [&a, &b], epsilon).with_regularizer(&regularizer).unwrap();
            let expected = solve(&problem, 1e-9);
            for ascent in [Ascent::Dual, Ascent::SemiDual] {
                let found = DualAscent::new().tolerance(1e-8).ascent(ascent).solve(&problem).unwrap();
                assert!(
                    found.status().is_converged(),
                    "{regularizer:?} {epsilon} {ascent:?}: {:?}",
                    found.certificate()
                );
                assert_close(found.certificate().dual, expected.certificate().dual, 1e-8);
                let duals: Vec<f64> = found.history().iter().map(|check| check.dual.unwrap()).collect();
                let rises = duals.windows(2).all(|pair| pair[1] >= pair[0] - 1e-12);
                assert!(rises && found.history().len() == found.iterations() + 1);
            }
        }
    }
}

/// -sum_k w_k c_k (x_k - m)^2 / 2, with a mean of its own in each column.
#[derive(Debug)]
struct Paraboloid {
    backend: Cpu,
    weights: HostVector<f64>,
    curvatures: HostVector<f64>,
    means: HostReduced,
    evaluations: usize,
}

impl ConcaveObjective<Host<f64>> for Paraboloid {
    fn backend(&self) -> &dyn Backend<Host<f64>> {
        &self.backend
    }

    fn columns(&self) -> usize {
        2
    }

    fn weights(&self, _block: usize) -> &HostVector<f64> {
        &self.weights
    }

    fn evaluate(
        &mut self,
        point: &[HostVector<f64>],
        gradient: &mut [HostVector<f64>],
        value: &mut HostReduced,
    ) -> Result<(), Error> {
        self.evaluations += 1;
        let Self { backend, weights, curvatures, means, .. } = self;
        let fall = Program::record(|[x, c, m]| [c * (m - x)])?;
        let term = Program::record(|[x, c, m, w]| [-0.5 * w * c * (x - m) * (x - m)])?;
        let [x, c, w] = [&point[0], &*curvatures, &*weights].map(Operand::Vector);
        backend.map(&fall, &[x, c, Operand::Reduced(means)], &mut [&mut gradient[0]])?;
        backend.reduce(&term, Fold::Sum, 6, &[x, c, Operand::Reduced(means), w], &mut [value])
    }
}

#[test]
fn a_paraboloid_is_climbed_column_by_column() {
    let backend = cpu(1);
    let vector = |values: &[f64]| backend.upload(values, 1).unwrap();
    let mut objective = Paraboloid {
        weights: vector(&[0.5, 1.0, 2.0, 0.1, 0.0, 1.0]),
        curvatures: vector(&[1.0, 10.0, 100.0, 3.0, 5.0, 1000.0]),
        means: backend.upload_reduced(&[3.0, -70.0]).unwrap(),
        backend: backend.clone(),
        evaluations: 0,
    };
    let settings = Lbfgs::new().tolerance(1e-10).max_iterations(100);
    let start = || vec![backend.upload(&[0.0; 12], 2).unwrap()];
    let found = settings.maximize(&mut objective, start(), 1.0, &mut |_, _, _| ControlFlow::Continue(())).unwrap();
    assert_eq!(found.statuses, [Status::Converged; 2]);
    assert_eq!(found.evaluations, objective.evaluations);
    let point = found.point[0].values();
    for index in [0, 1, 2, 3, 5] {
        assert!((point[index] - 3.0).abs() < 1e-9 && (point[6 + index] + 70.0).abs() < 1e-9, "{point:?}");
    }
    assert!(found.values.iter().all(|value| value.abs() < 1e-18));
    assert!(found.iterations <= 40, "{}", found.iterations);

    let stopped = settings.maximize(&mut objective, start(), 1.0, &mut |_, _, _| ControlFlow::Break(())).unwrap();
    assert_eq!(stopped.statuses, [Status::Cancelled; 2]);
    let limited = Lbfgs::new().tolerance(1e-10).max_iterations(2);
    let limited = limited.maximize(&mut objective, start(), 1.0, &mut |_, _, _| ControlFlow::Continue(())).unwrap();
    assert!(limited.statuses.contains(&Status::IterationLimit));
    assert!(
        Lbfgs::new()
            .memory(0)
            .maximize(&mut objective, start(), 1.0, &mut |_, _, _| ControlFlow::Continue(()))
            .is_err()
    );
}
