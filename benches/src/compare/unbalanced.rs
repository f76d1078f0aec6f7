//! Marginals penalised by Kullback-Leibler divergences: POT's two forms and OTT-JAX, to a residual of the fixed point.

use super::{
    Bench, Failure,
    ours::Ours,
    peers::Solver,
    problem::Arrays,
    row::{Per, Row},
};

/// The residual of the fixed point that both sides must reach.
const TOLERANCE: f64 = 1e-8;

/// Epsilon, as a share of the largest cost.
const EPSILON: f64 = 1e-2;

/// Mass of the target; that of the source is one.
const TARGET_MASS: f64 = 1.5;

/// Repetitions, of which the median counts.
const REPEATS: usize = 5;

/// Our name in the tables.
const NAME: &str = "Sinkhorn, dense";

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let n = bench.options.pick(500, 2000);
    for rho in [0.1, 1.0, 10.0] {
        let arrays = Arrays::gaussian_matrix(bench.options.seed, n, n, 1, EPSILON).unbalanced(rho, TARGET_MASS);
        let (threads, budget) = (bench.options.threads, bench.options.budget());
        let (ours, remark) = Ours::<f64>::new(&arrays, threads, usize::MAX)?.solve(NAME, TOLERANCE, REPEATS)?;
        let case = format!("KL on both sides, rho {rho} of the largest cost, masses 1 and {TARGET_MASS}");
        let row = Row::new("unbalanced", case, arrays.shape(), threads, Per::Solve, ours).with_remark(remark);
        let row = Row { d: Some(arrays.dimension()), epsilon: Some(EPSILON), ..row };
        let solvers = [Solver::PotUnbalanced, Solver::PotTranslationInvariant, Solver::OttUnbalanced];
        bench.add_beside(&row, &solvers, |peers, solver| peers.solve(solver, &arrays, TOLERANCE, REPEATS, budget))?;
    }
    Ok(())
}
