//! Small random problems, solved by a linear programming solver that knows nothing of transport.

use microlp::{ComparisonOp, OptimizationDirection, Problem};
use ot_conformance::Seeded;
use ot_core::{CostMatrix, Histogram};
use ot_solvers::ExactTransport;

use super::support::{assert_proven, below, solve_matrix};
use crate::support::{cpu, normalized};

/// The least <P, C>; with a mass to move, marginals are bounds and that mass is prescribed. `None` if there is no plan.
fn least_cost(a: &[f64], b: &[f64], costs: &[f64], mass: Option<f64>) -> Option<f64> {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let variables: Vec<_> =
        costs.iter().map(|&cost| cost.is_finite().then(|| problem.add_var(cost, (0.0, f64::INFINITY)))).collect();
    let relation = if mass.is_some() { ComparisonOp::Le } else { ComparisonOp::Eq };
    let m = b.len();
    for (i, &weight) in a.iter().enumerate() {
        let row: Vec<_> = (0..m).filter_map(|j| variables[i * m + j].map(|variable| (variable, 1.0))).collect();
        problem.add_constraint(&row[..], relation, weight);
    }
    // The last column follows from the others, where marginals are prescribed.
    for (j, &weight) in b.iter().enumerate().take(if mass.is_some() { m } else { m - 1 }) {
        let column: Vec<_> =
            (0..a.len()).filter_map(|i| variables[i * m + j].map(|variable| (variable, 1.0))).collect();
        problem.add_constraint(&column[..], relation, weight);
    }
    if let Some(mass) = mass {
        let all: Vec<_> = variables.iter().flatten().map(|&variable| (variable, 1.0)).collect();
        problem.add_constraint(&all[..], ComparisonOp::Eq, mass);
    }
    problem.solve().ok().map(|solution| solution.objective())
}

#[test]
fn values_agree() {
    for seed in 0..80 {
        let mut random = Seeded::new(seed);
        let (n, m) = (1 + below(&mut random, 9), 1 + below(&mut random, 9));
        let mut weights = |len: usize| {
            let zeros = seed % 3 == 0;
            let mut drawn = |i| {
                if zeros && i > 0 && random.uniform(0.0, 1.0) < 0.3 { 0.0 } else { 0.05 + random.uniform(0.0, 1.0) }
            };
            normalized((0..len).map(&mut drawn).collect())
        };
        let (a, b) = (weights(n), weights(m));
        let whole = seed % 2 == 0;
        let mut cost = || if whole { below(&mut random, 6) as f64 } else { 4.0 * random.uniform(0.0, 1.0) - 1.0 };
        let costs: Vec<f64> = (0..n * m).map(|_| cost()).collect();
        let solution = solve_matrix(&a, &b, &costs).unwrap();
        assert_proven(&solution);
        let expected = least_cost(&a, &b, &costs, None).unwrap();
        assert!((solution.certificate().primal - expected).abs() < 1e-9, "seed {seed}");
    }
}

#[test]
fn values_agree_where_pairs_are_forbidden() {
    let (mut solved, mut refused) = (0, 0);
    for seed in 0..120 {
        let mut random = Seeded::new(1000 + seed);
        let (n, m) = (2 + below(&mut random, 6), 2 + below(&mut random, 6));
        let (a, b) = (random.weights::<f64>(n, false), random.weights::<f64>(m, false));
        let forbidden = 0.2 + 0.4 * random.uniform(0.0, 1.0);
        let mut cost = || if random.uniform(0.0, 1.0) < forbidden { f64::INFINITY } else { random.uniform(0.0, 1.0) };
        let costs: Vec<f64> = (0..n * m).map(|_| cost()).collect();
        match (solve_matrix(&a, &b, &costs), least_cost(&a, &b, &costs, None)) {
            (Ok(solution), Some(expected)) => {
                assert_proven(&solution);
                assert!((solution.certificate().primal - expected).abs() < 1e-9, "seed {seed}");
                solved += 1;
            }
            (Err(_), None) => refused += 1,
            (found, expected) => panic!("seed {seed}: {found:?} instead of {expected:?}"),
        }
    }
    assert!(solved > 20 && refused > 20, "{solved} solved, {refused} refused");
}

#[test]
fn values_of_partial_transport_agree() {
    for seed in 0..60 {
        let mut random = Seeded::new(2000 + seed);
        let (n, m) = (1 + below(&mut random, 7), 1 + below(&mut random, 7));
        let (a, mut b) = (random.weights::<f64>(n, false), random.weights::<f64>(m, false));
        b.iter_mut().for_each(|weight| *weight *= 1.5);
        let costs: Vec<f64> = (0..n * m).map(|_| random.uniform(0.0, 1.0) - 0.2).collect();
        let mass = if seed % 5 == 0 { 1.0 } else { 0.1 + 0.85 * random.uniform(0.0, 1.0) };
        let (source, target) = (Histogram::new(a.clone()).unwrap(), Histogram::new(b.clone()).unwrap());
        let cost = CostMatrix::new(&costs, n, m).unwrap();
        let solution = ExactTransport::new().mass(mass).solve(&cpu(2), &source, &target, &cost).unwrap();
        assert_proven(&solution);
        let expected = least_cost(&a, &b, &costs, Some(mass)).unwrap();
        let cost_of_plan: f64 =
            solution.plan().entries().iter().map(|e| e.mass * costs[e.source as usize * m + e.target as usize]).sum();
        assert!((cost_of_plan - expected).abs() < 1e-9, "seed {seed}: {cost_of_plan} instead of {expected}");
        let moved: f64 = solution.plan().entries().iter().map(|entry| entry.mass).sum();
        assert!((moved - mass).abs() < 1e-14);
    }
}
