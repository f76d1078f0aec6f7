//! Plans regularised by squares: POT's dual by L-BFGS, to the error of its own potentials; ours by the ascent of the dual, and at
//! small epsilon by Newton's method.
//!
//! ```text
//! P_ij = a_i b_j max(f_i + g_j - C_ij, 0) / epsilon        value = <a, f> + <b, g> - epsilon / 2 sum P_ij^2 / (a_i b_j)
//! ```
//!
//! POT's gamma weighs P_ij^2 alone, which is epsilon n m between uniform weights.

use std::sync::Arc;

use ot_core::{CostMatrix, Epsilon, GeometryBuilder, Histogram, Measure, Problem, Side, SquaredL2};
use ot_cpu::CpuBackend;
use ot_solvers::{DualAscent, Newton};

use super::{
    Bench, Failure,
    peers::Solver,
    posed::Posed,
    problem::Arrays,
    recompute::Recomputed,
    row::{Measured, Per, Row},
    timing::time,
};

/// Epsilons, as shares of the largest cost.
const EPSILONS: [f64; 5] = [0.1, 0.01, 0.001, 1e-4, 1e-5];

/// Below this one Newton's method is for it, and above the ascent of the dual.
const SMALL: f64 = 0.001;

/// The error asked for where no peer sets it.
const TOLERANCE: f64 = 1e-6;

/// Repetitions, of which the median counts.
const REPEATS: usize = 5;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let n = bench.options.pick(200, 1000);
    for epsilon in EPSILONS {
        let uniform = vec![1.0 / n as f64; n];
        let arrays = Arrays::gaussian_matrix(bench.options.seed, n, n, 1, epsilon);
        let posed = Squares(Arrays { source: uniform.clone(), target: uniform, ..arrays });
        let (threads, budget) = (bench.options.threads, bench.options.budget());
        let peer = bench.peers.schedule(Solver::PotSmoothDual, &posed, REPEATS, budget)?;
        let tolerance = peer.as_ref().and_then(|peer| peer.error).unwrap_or(TOLERANCE);
        let ours = solve(&posed, threads, tolerance)?;
        let row = Row::new("unbalanced", "squared L2 in place of entropy", (n, n), threads, Per::Solve, ours);
        bench.add(Row { epsilon: Some(epsilon), ..row }.with_peer(peer))?;
    }
    Ok(())
}

/// A problem whose plan is regularised by squares.
struct Squares(Arrays);

impl Posed for Squares {
    fn arrays(&self) -> &Arrays {
        &self.0
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        self.0.outputs()
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        let (f, g) = (&outputs[0], &outputs[1]);
        let Arrays { source: a, target: b, epsilon, .. } = &self.0;
        let (mut columns, mut costs) = (vec![0.0; b.len()], vec![0.0; b.len()]);
        let pairing =
            |weights: &[f64], potential: &[f64]| weights.iter().zip(potential).map(|(w, p)| w * p).sum::<f64>();
        let (mut error, mut value) = (0.0, pairing(a, f) + pairing(b, g));
        for i in 0..a.len() {
            self.0.cost_row(i, &mut costs);
            let mut row = 0.0;
            for j in 0..b.len() {
                let density = ((f[i] + g[j] - costs[j]) / epsilon).max(0.0);
                let mass = a[i] * b[j] * density;
                row += mass;
                columns[j] += mass;
                value -= 0.5 * epsilon * mass * density;
            }
            error += (row - a[i]).abs();
        }
        error += columns.iter().zip(b).map(|(column, b)| (column - b).abs()).sum::<f64>();
        Recomputed { error: error / a.iter().sum::<f64>(), value }
    }
}

/// Our side, from arrays on the host to potentials there.
fn solve(posed: &Squares, threads: usize, tolerance: f64) -> Result<Measured, Failure> {
    let arrays = &posed.0;
    let ((n, m), shared) = (arrays.shape(), arrays.matrix()?);
    let backend = CpuBackend::<f64>::new(threads)?;
    let (ascent, newton) = (DualAscent::new().tolerance(tolerance), Newton::new().tolerance(tolerance));
    let is_small = arrays.epsilon < SMALL;
    let (seconds, (potentials, iterations)) = time(REPEATS, || {
        let (a, b) = (Histogram::new(&arrays.source)?, Histogram::new(&arrays.target)?);
        let cost = CostMatrix::new(Arc::clone(&shared), n, m)?;
        let geometry = backend.geometry(a.support(), b.support(), &cost)?;
        let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(arrays.epsilon))?;
        let problem = problem.with_regularizer(&SquaredL2)?;
        let solution = if is_small { newton.solve(&problem)? } else { ascent.solve(&problem)? };
        let potentials = vec![solution.potential(Side::Source)?, solution.potential(Side::Target)?];
        Ok((potentials, solution.iterations()))
    })?;
    let solver = if is_small { "Newton, dense" } else { "DualAscent, dense" };
    Ok(posed.judge(&potentials, threads).measured(solver, seconds, Some(iterations)))
}

#[cfg(test)]
mod tests {
    use super::{super::problem::Cost, *};

    #[test]
    fn two_atoms_at_a_small_epsilon_stay_where_they_are() {
        // P = I / 2 needs densities of 2 where the cost is 0: f + g = 2 epsilon, and zeros where the cost is 1.
        let cost = Cost::Matrix(vec![0.0, 1.0, 1.0, 0.0]);
        let arrays = Arrays { source: vec![0.5; 2], target: vec![0.5; 2], columns: 1, cost, epsilon: 0.1, rho: None };
        let Recomputed { error, value } = Squares(arrays).judge(&[vec![0.1; 2], vec![0.1; 2]], 1);
        // The dual is <P, C> + epsilon / 2 sum P^2 / (a b) = 0.05 * 2.
        assert!(error < 1e-15 && (value - 0.1).abs() < 1e-15, "{error} {value}");
    }
}
