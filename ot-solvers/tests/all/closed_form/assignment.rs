//! Assignment.

use ot_conformance::Seeded;
use ot_core::{
    CostFormula, CostMatrix, Error, Euclidean, GroundCost, Manhattan, PointCloud, Real, Side, SqEuclidean, Support,
};
use ot_solvers::{
    certify_optimality,
    exact::{Assignment, assign},
};

use super::support::{assert_optimal, normals, uniform};
use crate::support::assert_close;

fn between(costs: &[f64], n: usize, m: usize) -> Result<Assignment, Error> {
    assign::<f64>(Support::Indices(n), Support::Indices(m), &CostMatrix::new(costs, n, m)?)
}

/// The least cost over all injective maps of the smaller side, by trying them.
fn brute_force(costs: &[f64], n: usize, m: usize) -> f64 {
    fn go(row: usize, used: &mut Vec<bool>, cost: &dyn Fn(usize, usize) -> f64, rows: usize) -> f64 {
        if row == rows {
            return 0.0;
        }
        let mut best = f64::INFINITY;
        for column in 0..used.len() {
            if !used[column] {
                used[column] = true;
                best = best.min(cost(row, column) + go(row + 1, used, cost, rows));
                used[column] = false;
            }
        }
        best
    }
    if n <= m {
        go(0, &mut vec![false; m], &|i, j| costs[i * m + j], n)
    } else {
        go(0, &mut vec![false; n], &|j, i| costs[i * m + j], m)
    }
}

/// The pairs and potentials of an assignment prove it, whatever the shape.
fn assert_proven(costs: &[f64], n: usize, m: usize, assignment: &Assignment, tolerance: f64) {
    let (f, g) = (assignment.potential(Side::Source), assignment.potential(Side::Target));
    let scale = costs.iter().filter(|cost| cost.is_finite()).fold(0.0_f64, |a, cost| a.max(cost.abs()));
    for i in 0..n {
        for j in 0..m {
            assert!(costs[i * m + j] - f[i] - g[j] >= -tolerance * scale, "reduced cost of ({i}, {j})");
        }
    }
    let mut taken = vec![false; m];
    for (i, target) in assignment.targets().iter().enumerate() {
        match target {
            Some(j) => assert!(!std::mem::replace(&mut taken[*j as usize], true), "target {j} twice"),
            None => assert_eq!(f[i], 0.0),
        }
    }
    assert_eq!(taken.iter().filter(|taken| **taken).count(), n.min(m));
    if n < m {
        assert!(g.iter().zip(&taken).all(|(g, taken)| *g <= 0.0 && (*taken || *g == 0.0)));
    }
    assert!((assignment.total_cost() - assignment.dual()).abs() <= tolerance * scale * n.min(m) as f64);
}

#[test]
fn brute_force_agrees() {
    let mut random = Seeded::new(51);
    for (n, m) in [(1, 1), (1, 4), (4, 1), (2, 2), (5, 5), (6, 6), (3, 7), (7, 4)] {
        for kind in 0..6 {
            let costs: Vec<f64> = (0..n * m)
                .map(|_| match kind {
                    0 => random.uniform(0.0, 1.0),
                    1 => (4.0 * random.uniform(0.0, 1.0)).floor(),
                    2 => 10_f64.powf(16.0 * random.uniform(0.0, 1.0) - 8.0),
                    3 => random.normal(),
                    4 if random.uniform(0.0, 1.0) < 0.3 => f64::INFINITY,
                    4 => random.uniform(0.0, 1.0),
                    _ => 1.0,
                })
                .collect();
            let best = brute_force(&costs, n, m);
            match between(&costs, n, m) {
                Ok(assignment) => {
                    assert_close(assignment.total_cost(), best, 1e-14);
                    assert_proven(&costs, n, m, &assignment, 1e-14);
                }
                Err(Error::Infeasible { .. }) => assert_eq!(best, f64::INFINITY),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn large_problems_are_certified() {
    let mut random = Seeded::new(52);
    // Sizes around the blocks of the passes.
    for n in [63, 64, 65, 130, 301] {
        for kind in 0..5 {
            let (x, y) = (normals(&mut random, 2 * n), normals(&mut random, 2 * n));
            let costs: Vec<f64> = (0..n * n)
                .map(|k| {
                    let (i, j) = (k / n, k % n);
                    match kind {
                        0 => random.uniform(0.0, 1.0),
                        1 => (10.0 * random.uniform(0.0, 1.0)).floor(),
                        // Squared distances, with many duplicates.
                        2 => {
                            (x[2 * (i / 3)] - y[2 * (j / 2)]).powi(2)
                                + (x[2 * (i / 3) + 1] - y[2 * (j / 2) + 1]).powi(2)
                        }
                        3 => ((i + 1) * (j + 1)) as f64,
                        _ => 10_f64.powf(16.0 * random.uniform(0.0, 1.0) - 8.0),
                    }
                })
                .collect();
            let assignment = between(&costs, n, n).unwrap();
            assert_proven(&costs, n, n, &assignment, 1e-13);
            let cost = CostMatrix::new(&costs[..], n, n).unwrap();
            let (f, g) = (assignment.potential(Side::Source), assignment.potential(Side::Target));
            let plan = assignment.plan(1.0 / n as f64).unwrap();
            assert_optimal(&uniform(n), &uniform(n), &cost, &plan, [f, g], 1e-13);
            assert_close(f.iter().sum(), g.iter().sum(), 1e-10);
            if kind == 0 {
                // A wrong dual is refused.
                let mut wrong = f.to_vec();
                wrong[n / 2] += 1e-6;
                assert!(!certify_optimality(&uniform(n), &uniform(n), &cost, &plan, &wrong, g).unwrap().proves(1e-10));
            }
        }
    }
}

#[test]
fn crowded_problems_are_certified() {
    // Points that want the same partners, near ones only: the auction of potentials, with pairs forbidden and without, and
    // where it leads nowhere.
    let mut random = Seeded::new(54);
    let n = 260;
    let (x, y) = (normals(&mut random, 2 * n), normals(&mut random, 2 * n));
    let square = |i: usize, j: usize| (x[2 * i] - y[2 * j]).powi(2) + (x[2 * i + 1] - y[2 * j + 1]).powi(2);
    for reach in [f64::INFINITY, 1.0, 0.05] {
        for scale in [1.0, 1e-12, 1e100] {
            let costs: Vec<f64> = (0..n * n)
                .map(|k| (k / n, k % n))
                .map(|(i, j)| if i == j || square(i, j) < reach { scale * square(i, j) } else { f64::INFINITY })
                .collect();
            assert_proven(&costs, n, n, &between(&costs, n, n).unwrap(), 1e-13);
            // A third of the rows with a single column.
            let mut violated = costs;
            for row in violated.chunks_mut(n).step_by(3) {
                row[..n - 1].fill(f64::INFINITY);
                row[n - 1] = scale;
            }
            let Err(Error::Infeasible { sources, mass, reachable }) = between(&violated, n, n) else {
                panic!("rows that share a column");
            };
            assert!(mass > reachable && sources.len() as f64 == mass);
            let reached = (0..n).filter(|j| sources.iter().any(|i| violated[*i as usize * n + j] < f64::INFINITY));
            assert_eq!(reached.count() as f64, reachable);
        }
    }
}

#[test]
fn rows_of_products_are_reversed() {
    // c = i j is least where the order is reversed (rearrangement).
    let n = 40;
    let costs: Vec<f64> = (0..n * n).map(|k| ((k / n) * (k % n)) as f64).collect();
    let targets = between(&costs, n, n).unwrap();
    let reversed: Vec<Option<u32>> = (0..n as u32).rev().map(Some).collect();
    assert_eq!(targets.targets(), reversed);
}

#[test]
fn clouds_are_their_matrices() {
    let mut random = Seeded::new(53);
    for (n, m) in [(40, 40), (30, 55), (55, 30)] {
        let (x, y) = (normals(&mut random, 3 * n), normals(&mut random, 3 * m));
        let [a, b] = [&x, &y].map(|points| PointCloud::uniform(&points[..], 3).unwrap());
        for cost in [&SqEuclidean as &dyn GroundCost, &Euclidean, &Manhattan] {
            let mut costs = vec![0.0; n * m];
            for (x, row) in a.points().iter().zip(costs.chunks_mut(m)) {
                cost.costs_f64(x, b.points().coordinates(), row);
            }
            let assignment = assign(Support::Points(a.points()), Support::Points(b.points()), cost).unwrap();
            assert_proven(&costs, n, m, &assignment, 1e-13);
            assert_eq!(assignment, between(&costs, n, m).unwrap());
            let transposed: Vec<f64> = (0..n * m).map(|k| costs[(k % n) * m + k / n]).collect();
            assert_close(between(&transposed, m, n).unwrap().total_cost(), assignment.total_cost(), 1e-13);
        }
    }
}

#[test]
fn an_infeasible_problem_names_a_violated_cut() {
    let none = f64::INFINITY;
    // Rows 1, 2 and 3 share columns 0 and 4.
    let costs = [
        [1.0, 2.0, 3.0, 4.0, 5.0],
        [1.0, none, none, none, 2.0],
        [0.0, none, none, none, 7.0],
        [3.0, none, none, none, none],
        [1.0, 1.0, 1.0, 1.0, 1.0],
    ]
    .concat();
    let Err(Error::Infeasible { mut sources, mass, reachable }) = between(&costs, 5, 5) else {
        panic!("three rows in two columns");
    };
    sources.sort_unstable();
    assert_eq!((&sources[..], mass, reachable), (&[1, 2, 3][..], 3.0, 2.0));
    assert!(matches!(between(&[none; 4], 2, 2), Err(Error::Infeasible { reachable: 0.0, .. })));
}

#[test]
fn what_is_no_cost_is_refused() {
    assert!(matches!(
        assign::<f64>(Support::Indices(1), Support::Indices(2), &SqEuclidean),
        Err(Error::UnsupportedSupport { .. })
    ));
    let line = PointCloud::uniform(vec![0.0, 1.0], 1).unwrap();
    let plane = PointCloud::uniform(vec![0.0, 1.0], 2).unwrap();
    let mixed = assign(Support::Points(line.points()), Support::Points(plane.points()), &SqEuclidean);
    assert!(matches!(mixed, Err(Error::DimensionMismatch { .. })));
    let nan =
        ot_core::CostFunction::new(|x: &[f64], y: &[f64]| if x[0] == 1.0 && y[0] == 0.0 { f64::NAN } else { 0.0 });
    for (sources, indices) in [(vec![0.0, 1.0], (1, 0)), (vec![0.0, 0.0, 1.0], (2, 0))] {
        let cloud = PointCloud::uniform(sources, 1).unwrap();
        let Err(Error::Cost { source_index, target_index, .. }) =
            assign(Support::Points(cloud.points()), Support::Points(line.points()), &nan)
        else {
            panic!("not a number");
        };
        assert_eq!((source_index, target_index), indices);
    }
}

#[test]
fn denormal_costs_are_assigned_as_whole_numbers_are() {
    let mut random = Seeded::new(55);
    let tiny = f64::from_bits(1);
    for n in [2, 40, 260] {
        // Squared distances, crowded enough for an auction; and numbers that differ by a few units.
        let (x, y) = (normals(&mut random, 2 * n), normals(&mut random, 2 * n));
        let square =
            |k: usize| (x[2 * (k / n)] - y[2 * (k % n)]).powi(2) + (x[2 * (k / n) + 1] - y[2 * (k % n) + 1]).powi(2);
        for steps in [3.0, 1e5] {
            let whole: Vec<f64> = (0..n * n).map(|k| (steps * square(k)).round()).collect();
            let denormal: Vec<f64> = whole.iter().map(|cost| cost * tiny).collect();
            let (whole, denormal) = (between(&whole, n, n).unwrap(), between(&denormal, n, n).unwrap());
            assert_eq!(denormal.total_cost(), whole.total_cost() * tiny, "{n} {steps}");
            let mut targets = denormal.targets().to_vec();
            targets.sort_unstable();
            assert_eq!(targets, (0..n as u32).map(Some).collect::<Vec<_>>());
        }
    }
}

#[test]
fn sums_beyond_the_range_are_refused() {
    for (n, m) in [(4, 4), (3, 4), (4, 3)] {
        let refused = between(&vec![1e307; n * m], n, m);
        assert!(matches!(refused, Err(Error::CostOverflow { .. })), "{refused:?}");
    }
    assert_eq!(between(&[1e306; 16], 4, 4).unwrap().total_cost(), 4e306);
    // Squares that overflow forbid no pair.
    let far = PointCloud::uniform(vec![-1e160, 0.0, 1e160], 1).unwrap();
    for cost in [&SqEuclidean as &dyn GroundCost, &Square] {
        let refused = assign(Support::Points(far.points()), Support::Points(far.points()), cost);
        assert!(matches!(refused, Err(Error::CostOverflow { .. })), "{refused:?}");
    }
}

/// A formula that tells no bound.
#[derive(Clone, Debug)]
struct Square;

impl CostFormula for Square {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        (x[0] - y[0]) * (x[0] - y[0])
    }
}

#[test]
fn large_costs_that_are_not_paid_cost_no_digits() {
    let inf = f64::INFINITY;
    for large in [1e7, 1e12, 1e15, 4e29, 1e37, 1e100, 1e300, 1e306] {
        let l = large;
        for (costs, total) in [
            (vec![0., 1., 4., l, 1., l, 1., l, 4., 1., 0., 1., 9., 4., l, l], 6.0),
            (vec![0., 1., 4., 9., 16., 1., l, l, 4., 9., l, 1., 0., 1., 4., 9., 4., l, 0., l, l, l, 4., 1., l], 10.0),
            (vec![1., l, 2., 2., 3., inf, 3., l, 3., 3., 3., inf, 2., 2., l, 3.], 10.0),
        ] {
            let n = costs.len().isqrt();
            assert_eq!(brute_force(&costs, n, n), total);
            let found = between(&costs, n, n).unwrap();
            assert_eq!((found.total_cost(), found.dual()), (total, total), "{large:e}");
            let [f, g] = [Side::Source, Side::Target].map(|side| found.potential(side));
            for (k, cost) in costs.iter().enumerate() {
                assert!(cost - f[k / n] - g[k % n] >= -1e-12, "{large:e}: reduced cost {k}");
            }
        }
    }
    // Some are larger than others.
    let costs = [0., 1., 4., 1e300, 1., 1e30, 1., 1e100, 4., 1., 0., 1., 9., 4., 1e17, 1e250];
    assert_eq!(between(&costs, 4, 4).unwrap().total_cost(), 6.0);
    // Each row has its least cost.
    let [least, next] = [4.028118999166858e249, -1.3427063330556194e249];
    let found = between(&[least, next, least, 2.685412666111239e259], 2, 2).unwrap();
    assert_eq!((found.total_cost(), found.dual()), (least + next, least + next));
}

#[test]
fn random_large_costs_are_assigned_as_forbidden_pairs_are() {
    let mut compared = 0;
    for seed in 0..400 {
        let mut random = Seeded::new(seed);
        let (n, m) = [(4, 4), (6, 6), (5, 7), (7, 5), (40, 40), (60, 90)][seed as usize % 6];
        let costs: Vec<f64> = (0..n * m).map(|_| (10.0 * random.uniform(0.0, 1.0_f64)).floor()).collect();
        let part = [0.1, 0.5, 0.7, 0.9][seed as usize / 6 % 4];
        let is_large: Vec<bool> = costs.iter().map(|_| random.uniform(0.0, 1.0_f64) < part).collect();
        let with = |large: f64| -> Vec<f64> {
            costs.iter().zip(&is_large).map(|(cost, is_large)| if *is_large { large } else { *cost }).collect()
        };
        let Ok(expected) = between(&with(f64::INFINITY), n, m) else { continue };
        compared += 1;
        for large in [1e20, 1e100, 1e300] {
            let found = between(&with(large), n, m).unwrap();
            assert_eq!(found.total_cost(), expected.total_cost(), "{n} {m} {large:e} {part}");
            assert_close(found.dual(), expected.total_cost(), 1e-12);
        }
    }
    assert!(compared > 100, "{compared}");
}
