//! The barycenter without entropy as a linear programme, the oracle of the others at small sizes.
//!
//! ```text
//! min   sum_k lambda_k <P_k, C_k>     over P_k >= 0, p      P_k 1 = a_k,  P_k^T 1 = p
//! ```

use microlp::{ComparisonOp, OptimizationDirection, Problem};
use ot_conformance::Seeded;
use ot_core::{Measure, PointCloud};
use ot_solvers::BregmanProjections;

use super::support::{Cloud, problem, solve};
use crate::support::{assert_close, cpu};

/// The value of the programme for squared distances in the plane.
pub fn least_cost(inputs: &[Cloud], weights: &[f64], support: &Cloud) -> f64 {
    let mut programme = Problem::new(OptimizationDirection::Minimize);
    let masses: Vec<_> = (0..support.points().len()).map(|_| programme.add_var(0.0, (0.0, f64::INFINITY))).collect();
    for (input, weight) in inputs.iter().zip(weights) {
        let mut columns: Vec<Vec<_>> = masses.iter().map(|&mass| vec![(mass, -1.0)]).collect();
        for (i, &a) in input.weights_view().values().iter().enumerate() {
            let mut row = Vec::new();
            for (j, column) in columns.iter_mut().enumerate() {
                let (x, y) = (input.points().point(i), support.points().point(j));
                let cost: f64 = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum();
                let entry = programme.add_var(weight * cost, (0.0, f64::INFINITY));
                row.push((entry, 1.0));
                column.push((entry, 1.0));
            }
            programme.add_constraint(row, ComparisonOp::Eq, a);
        }
        for column in columns {
            programme.add_constraint(column, ComparisonOp::Eq, 0.0);
        }
    }
    programme.solve().unwrap().objective()
}

/// Seeded clouds in the unit square with uneven weights, and a support of uniform weights.
fn clouds(seed: u64, atoms: &[usize], support: usize) -> (Vec<Cloud>, Cloud) {
    let mut random = Seeded::new(seed);
    let mut cloud = |len: usize| {
        let points = random.vector::<f64>(2 * len, 0.0, 1.0);
        PointCloud::new(points, 2, random.weights::<f64>(len, false)).unwrap()
    };
    let inputs = atoms.iter().map(|&len| cloud(len)).collect();
    (inputs, PointCloud::uniform(cloud(support).points().coordinates().to_vec(), 2).unwrap())
}

/// Without entropy the value is lower, and by no more than epsilon log n of it: P_ij <= a_i, so KL(P | a m^T) <= log n.
#[test]
fn entropic_values_are_between_those_of_the_programme_and_its_entropy() {
    for seed in 0..3 {
        let (inputs, support) = clouds(seed, &[5, 7, 6], 9);
        let weights = [0.5, 0.2, 0.3];
        let exact = least_cost(&inputs, &weights, &support);
        for epsilon in [0.1, 1e-2, 1e-3] {
            let problem = problem(&cpu(1), &inputs, &weights, &support, epsilon);
            let solution = solve(&BregmanProjections::new().tolerance(1e-9).max_iterations(50_000), &problem);
            let certificate = solution.certificate();
            assert!(solution.status().is_converged(), "{epsilon} {:?} {certificate:?}", solution.status());
            assert!(certificate.gap < 1e-8, "{certificate:?}");
            assert!(certificate.primal >= exact - 1e-12, "{epsilon} {exact} {certificate:?}");
            assert!(certificate.dual <= exact + epsilon * 9_f64.ln(), "{epsilon} {exact} {certificate:?}");
        }
    }
}

/// A cost that is certified is no lower than the least one, wherever the iteration was stopped.
#[test]
fn bounds_of_interrupted_solves_hold_against_the_programme() {
    let (inputs, support) = clouds(7, &[6, 5], 8);
    let (weights, epsilon) = ([0.6, 0.4], 2e-2);
    let exact = least_cost(&inputs, &weights, &support);
    let problem = problem(&cpu(1), &inputs, &weights, &support, epsilon);
    let best = solve(&BregmanProjections::new().tolerance(1e-10), &problem);
    for iterations in [1, 2, 5, 9] {
        let stopped = solve(&BregmanProjections::new().tolerance(1e-12).max_iterations(iterations), &problem);
        let certificate = stopped.certificate();
        assert!(!stopped.status().is_converged());
        assert!(certificate.primal >= exact && certificate.dual <= exact + epsilon * 8_f64.ln());
        assert!(certificate.dual <= best.certificate().primal && best.certificate().dual <= certificate.primal);
        assert!(certificate.gap >= best.certificate().dual - certificate.dual);
    }
}

/// Two points and three: the middle atom takes what both can give.
#[test]
fn the_programme_is_right_where_it_is_known() {
    let cloud = |points: Vec<f64>, weights: Vec<f64>| PointCloud::new(points, 1, weights).unwrap();
    let inputs = [cloud(vec![0.0, 4.0], vec![0.5, 0.5]), cloud(vec![2.0], vec![1.0])];
    let support = PointCloud::uniform(vec![0.0, 1.0, 2.0, 3.0, 4.0], 1).unwrap();
    assert_eq!(support.weights().unwrap().len(), 5);
    // Mass halves its way: at 1 and at 3, each at distance 1 from both.
    assert_close(least_cost(&inputs, &[0.5, 0.5], &support), 1.0, 1e-12);
    assert_close(least_cost(&inputs, &[1.0, 0.0], &support), 0.0, 1e-12);
}
