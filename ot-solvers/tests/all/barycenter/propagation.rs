//! Several unknown measures: histograms that spread over the edges of a graph.

use ot_core::{Balanced, End, Epsilon, GeometryBuilder, JointProblem, JointTerm, Measure, Problem, SqEuclidean};
use ot_solvers::BregmanProjections;

use super::support::{bump, l1, line, on, solve, uniform};
use crate::support::{assert_close, cpu};

/// The path a - p - q - b, with the ends turned in all ways that a term allows.
#[test]
fn unknown_measures_of_a_path_move_from_one_end_to_the_other() {
    let points = line(50, 1.0);
    let (a, b, reference) = (on(&points, bump(-0.45, 0.12)), on(&points, bump(0.45, 0.12)), uniform(&points));
    let backend = cpu(2);
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let epsilon = Epsilon::Absolute(0.01);
    let problem = |source: &dyn Measure<f64>, target: &dyn Measure<f64>| {
        Problem::unbalanced(geometry.clone(), source, target, epsilon, &Balanced, &Balanced).unwrap()
    };
    let term = |problem, ends| JointTerm { problem, weights: vec![1.0], ends };
    let first = term(problem(&a, &reference), [End::Given, End::Unknown(0)]);
    let last = term(problem(&reference, &b), [End::Unknown(1), End::Given]);
    let forth = term(problem(&reference, &reference), [End::Unknown(0), End::Unknown(1)]);
    let back = term(problem(&reference, &reference), [End::Unknown(1), End::Unknown(0)]);
    let settings = BregmanProjections::new().tolerance(1e-9);
    let mean = |p: &[f64]| points.iter().zip(p).map(|(x, p)| x * p).sum::<f64>();
    let mut found = Vec::new();
    for middle in [forth, back] {
        let path = JointProblem::new(vec![first.clone(), middle, last.clone()]).unwrap();
        let solution = solve(&settings, &path);
        assert!(solution.status().is_converged(), "{:?} {:?}", solution.status(), solution.certificate());
        assert!(solution.certificate().gap < 1e-8);
        let (p, q) = (solution.measure(0).unwrap(), solution.measure(1).unwrap());
        // Equal springs: thirds of the way, and each the other's mirror image.
        assert_close(mean(&p), -0.15, 1e-3);
        let mirrored: Vec<f64> = q.iter().rev().copied().collect();
        assert!(l1(&p, &mirrored) < 1e-7);
        found.push(p);
    }
    assert!(l1(&found[0], &found[1]) < 1e-7);
}

/// A term between two given measures is solved beside the others.
#[test]
fn terms_that_share_nothing_are_transport() {
    let points = line(30, 1.0);
    let (a, b) = (on(&points, bump(-0.4, 0.2)), on(&points, bump(0.4, 0.2)));
    let backend = cpu(1);
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.05)).unwrap();
    let joint =
        JointProblem::new(vec![JointTerm { problem: problem.clone(), weights: vec![2.0], ends: [End::Given; 2] }]);
    let solution = solve(&BregmanProjections::new().tolerance(1e-10), &joint.unwrap());
    let alone = ot_solvers::Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap();
    assert!(solution.status().is_converged());
    assert_close(solution.certificate().primal, 2.0 * alone.certificate().primal, 1e-9);
}
