use super::*;

/// Seeded whole numbers below a bound.
fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) + 1;
    move |bound| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % bound
    }
}

fn solve(source: &[i128], target: &[i128], costs: &[f64], start: bool) -> NetworkSimplex {
    let arcs = (0..costs.len()).filter(|&pair| costs[pair].is_finite());
    let arcs = arcs.map(|pair| ((pair / target.len()) as u32, (pair % target.len()) as u32, costs[pair])).collect();
    let arcs = Arcs::new(source.len(), arcs);
    let mut allocation = Allocation::new([source, target]);
    if start {
        arcs.iter().for_each(|(i, j, cost)| allocation.allocate(i, j, cost));
    }
    let mut simplex = NetworkSimplex::new(allocation);
    assert_eq!(
        simplex.run(&mut BlockSearch::default().among(&arcs), usize::MAX, |_| ControlFlow::Continue(())),
        Ending::Optimal
    );
    simplex
}

/// Marginals are exact, reduced costs of whole numbers are exactly non-negative, and zero on the tree.
fn check(simplex: &NetworkSimplex, source: &[i128], target: &[i128], costs: &[f64]) -> i128 {
    let mut marginals = [vec![0; source.len()], vec![0; target.len()]];
    let mut value = 0;
    let (f, minus_g) = simplex.potentials();
    for (i, j, cost, units) in simplex.flows() {
        assert!(units >= 0);
        marginals[0][i as usize] += units;
        marginals[1][j as usize] += units;
        value += units * cost as i128;
        assert_eq!(cost, f[i as usize] - minus_g[j as usize]);
    }
    assert_eq!((&marginals[0][..], &marginals[1][..]), (source, target));
    for (pair, cost) in costs.iter().enumerate() {
        assert!(cost - f[pair / target.len()] + minus_g[pair % target.len()] >= 0.0);
    }
    value
}

#[test]
fn starts_do_not_matter_and_ties_do_not_stall() {
    for seed in 0..60 {
        let mut next = numbers(seed);
        let (n, m) = (1 + next(12) as usize, 1 + next(12) as usize);
        let costs: Vec<f64> = (0..n * m).map(|_| next(1 + seed % 7) as f64 - 2.0).collect();
        // Uniform masses are the most degenerate ones.
        let mut source: Vec<i128> = (0..n).map(|_| m as i128).collect();
        let target: Vec<i128> = (0..m).map(|_| n as i128).collect();
        if seed % 2 == 0 && n > 1 && m > 1 {
            source[0] += 1;
            source[1] -= 1;
        }
        let values =
            [false, true].map(|start| check(&solve(&source, &target, &costs, start), &source, &target, &costs));
        assert_eq!(values[0], values[1], "seed {seed}");
    }
}

#[test]
fn assignments_are_the_best_of_all_permutations() {
    fn best(costs: &[f64], row: usize, used: u32) -> f64 {
        const N: usize = 6;
        if row == N {
            return 0.0;
        }
        let free = (0..N).filter(|column| used >> column & 1 == 0);
        free.map(|j| costs[row * N + j] + best(costs, row + 1, used | 1 << j)).fold(f64::INFINITY, f64::min)
    }
    for seed in 0..20 {
        let mut next = numbers(seed);
        let costs: Vec<f64> = (0..36).map(|_| next(20) as f64).collect();
        let value = check(&solve(&[1; 6], &[1; 6], &costs, true), &[1; 6], &[1; 6], &costs);
        assert_eq!(value as f64, best(&costs, 0, 0), "seed {seed}");
    }
}

#[test]
fn arcs_that_do_not_exist_are_not_used() {
    const NO: f64 = f64::INFINITY;
    let costs = [NO, 1.0, NO, 5.0, NO, 1.0, 1.0, NO, NO];
    let simplex = solve(&[1, 1, 1], &[1, 1, 1], &costs, false);
    assert_eq!(check(&simplex, &[1, 1, 1], &[1, 1, 1], &costs), 3);
    // Two parts that no arc joins.
    let costs = [1.0, NO, NO, 2.0];
    let simplex = solve(&[3, 4], &[3, 4], &costs, false);
    let flows: Vec<_> = simplex.flows().collect();
    assert_eq!(flows, [(0, 0, 1.0, 3), (1, 1, 2.0, 4)]);
}
