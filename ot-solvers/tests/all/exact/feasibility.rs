//! Forbidden pairs: cuts, parts that nothing joins, zero weights.

use ot_conformance::Seeded;
use ot_core::{Error, GroundCost, Histogram, Side, Support};
use ot_solvers::{ExactTransport, SparseCosts, assign};

use super::support::{assert_proven, below, solve, solve_matrix};

const NO: f64 = f64::INFINITY;

/// The cut of an error is violated: its sources have more mass than all targets at finite cost from any of them.
fn assert_violated(error: &Error, a: &[f64], b: &[f64], costs: &[f64]) {
    let Error::Infeasible { sources, mass, reachable } = error else { panic!("{error:?}") };
    let supply: f64 = sources.iter().map(|&i| a[i as usize]).sum();
    let is_reachable = |j: &usize| sources.iter().any(|&i| costs[i as usize * b.len() + j] < NO);
    let asked: f64 = (0..b.len()).filter(is_reachable).map(|j| b[j]).sum();
    assert!(supply > asked, "{supply} is not above {asked}");
    assert!((supply - mass).abs() < 1e-14 && *reachable >= asked - 1e-14 && reachable < mass);
}

#[test]
fn an_infeasible_problem_names_a_violated_cut() {
    let (a, b) = ([0.3, 0.3, 0.4], [0.5, 0.25, 0.25]);
    // The last two sources may only send to the last target.
    let costs = [1.0, 2.0, 0.0, NO, NO, 1.0, NO, NO, 5.0];
    assert_violated(&solve_matrix(&a, &b, &costs).unwrap_err(), &a, &b, &costs);
    // A source without any partner.
    let costs = [1.0, 2.0, 0.0, NO, NO, NO, 1.0, 1.0, 5.0];
    assert_violated(&solve_matrix(&a, &b, &costs).unwrap_err(), &a, &b, &costs);
    // A target without any partner: the cut is the whole source.
    let costs = [1.0, NO, 0.0, 1.0, NO, 1.0, 1.0, NO, 5.0];
    assert_violated(&solve_matrix(&a, &b, &costs).unwrap_err(), &a, &b, &costs);
    // All pairs.
    assert_violated(&solve_matrix(&a, &b, &[NO; 9]).unwrap_err(), &a, &b, &[NO; 9]);
}

#[test]
fn parts_that_nothing_joins_are_solved_together() {
    // Two blocks, the second with costs of another scale; the pairs across are allowed one way, but have no use.
    let (a, b) = ([0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]);
    let across = -1e6;
    let costs = [
        1.0, 3.0, NO, NO, //
        2.0, 1.0, NO, NO, //
        across, across, 1e-3, 2e-3, //
        across, across, 3e-3, 1e-3,
    ];
    let solution = solve_matrix(&a, &b, &costs).unwrap();
    assert_proven(&solution);
    assert!((solution.certificate().primal - 0.5005).abs() < 1e-15);
}

#[test]
fn atoms_without_weight_have_feasible_potentials() {
    let (a, b) = ([0.0, 0.5, 0.5, 0.0], [0.25, 0.0, 0.75]);
    let costs = [-3.0, 7.0, 2.0, 1.0, -5.0, 1.0, 0.0, 4.0, 2.0, NO, NO, NO];
    let solution = solve_matrix(&a, &b, &costs).unwrap();
    assert_proven(&solution);
    assert!(solution.certificate().smallest_reduced_cost >= -1e-15);
    // Each is as large as it may be: the c-transform touches a constraint.
    let (f, g) = (solution.potential(Side::Source), solution.potential(Side::Target));
    let reduced = |i: usize, j: usize| costs[i * 3 + j] - f[i] - g[j];
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(NO, f64::min);
    assert!(least(&mut [0, 2].into_iter().map(|j| reduced(0, j))).abs() < 1e-15);
    assert!(least(&mut (0..4).map(|i| reduced(i, 1))).abs() < 1e-15);
}

#[test]
fn a_list_of_pairs_is_a_matrix_of_few_entries() -> Result<(), Error> {
    let mut random = Seeded::new(8);
    let (n, m) = (80, 60);
    let mut costs = vec![NO; n * m];
    let mut pairs = Vec::new();
    for i in 0..n {
        for j in [i % m, below(&mut random, m), below(&mut random, m)] {
            let cost = random.uniform(0.0, 1.0);
            pairs.push((i as u32, j as u32, cost));
            costs[i * m + j] = costs[i * m + j].min(cost);
        }
    }
    // A chain of pairs joins all, so that there is a plan.
    for k in 0..n + m - 1 {
        let (i, j) = ((k / 2).min(n - 1), (k.div_ceil(2)).min(m - 1));
        pairs.push((i as u32, j as u32, 3.0));
        costs[i * m + j] = costs[i * m + j].min(3.0);
    }
    let sparse = SparseCosts::new(n, m, pairs)?;
    let (a, b) = (vec![1.0 / n as f64; n], vec![1.0 / m as f64; m]);
    let solution = solve(&ExactTransport::new(), &Histogram::new(a.clone())?, &Histogram::new(b.clone())?, &sparse);
    match (solution, solve_matrix(&a, &b, &costs)) {
        (Ok(sparse), Ok(dense)) => {
            assert_proven(&sparse);
            assert_eq!(sparse.certificate().primal, dense.certificate().primal);
        }
        (sparse, dense) => panic!("{sparse:?}, {dense:?}"),
    }
    let mut row = [0.0; 4];
    sparse.costs_f64(&[3.0], &[5.0, 2.0, 3.0, 700.0], &mut row);
    assert_eq!(row, [costs[3 * m + 5], costs[3 * m + 2], costs[3 * m + 3], NO]);
    assert!(matches!(SparseCosts::new(2, 2, vec![(0, 2, 1.0)]), Err(Error::Length { .. })));
    // Memory is that of the pairs, whatever the number of atoms.
    let wide = SparseCosts::new(usize::MAX, usize::MAX, vec![(u32::MAX, 7, 2.0), (3, 7, 1.0)])?;
    for (source, expected) in [(f64::from(u32::MAX), 2.0), (3.0, 1.0), (4.0, NO), (3.5, NO), (-1.0, NO)] {
        wide.costs_f64(&[source], &[7.0, 8.0], &mut row[..2]);
        assert_eq!(row[..2], [expected, NO]);
    }
    let refused = assign::<f64>(Support::Indices(usize::MAX), Support::Indices(2), &wide);
    assert!(matches!(refused, Err(Error::Length { found: usize::MAX, .. })), "{refused:?}");
    assert!(matches!(SparseCosts::new(2, 2, vec![(0, 1, f64::NAN)]), Err(Error::Cost { .. })));
    Ok(())
}
