//! A sampled source against a discrete target: POT's and OTT-JAX's semi-discrete solvers, to a marginal error.
//!
//! An answer is a potential on the target. Its error is the square root of the chi-squared divergence of the plan's marginal from
//! the weights, a bound of the marginal error, from samples that no side has seen; its value is the semi-dual on them:
//!
//! ```text
//! chi^2 = sum_{i != k} sum_j p_j(x_i) p_j(x_k) / b_j / (N (N - 1)) - 1          F = mean of f(x_i) + <b, g>
//! ```
//!
//! A peer takes twice as many samples until its error meets the tolerance, and does not pay for finding out; ours stops by itself.

use std::thread;

use ot_core::{HalfSqEuclidean, Side};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{AveragedSgd, PointSampler, Random, SemiDiscreteSolution};

use super::{
    Bench, Failure,
    peers::Solver,
    posed::Posed,
    problem::{Arrays, Cost, Narrowed},
    recompute::Recomputed,
    row::{Measured, Per, Row},
    timing::time,
};
use crate::seeded::Seeded;

/// Coordinates of a point.
const DIMENSION: usize = 10;

/// Epsilon, for half squared distances whose mean is about 0.5.
const EPSILON: f64 = 0.05;

/// Repetitions, of which the median counts.
const REPEATS: usize = 3;

/// How often our own threshold is tightened, and by what.
const TIGHTENINGS: i32 = 8;
const TIGHTENING: f64 = 0.93;

/// Iterations that a peer is tried with first.
const FIRST_ITERATIONS: usize = 250;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let (atoms, tolerance) = bench.options.pick((200, 2e-2), (1000, 1e-2));
    let posed = SemiDiscrete::new(bench.options.seed, atoms, bench.options.pick(100_000, 1_000_000));
    let (ours, remark) = solve::<f32>(&posed, threads, tolerance)?;
    let case = format!("semi-discrete, uniform cube to atoms, marginal error {tolerance:.0e}");
    let row = Row::new("unbalanced", case, (atoms, atoms), threads, Per::Solve, ours).with_remark(remark);
    let row = Row { d: Some(DIMENSION), epsilon: Some(EPSILON), dtype: "f32", ..row };
    bench.add_beside(&row, &[Solver::PotSemiDiscrete, Solver::OttSemiDiscrete], |peers, solver| {
        peers.double(solver, &posed, tolerance, FIRST_ITERATIONS, budget)
    })
}

/// The uniform distribution on the unit cube against a cloud.
struct SemiDiscrete {
    /// The cloud stands on the target side, a single point on that of the source.
    arrays: Arrays,
    held_out: Vec<f64>,
}

impl SemiDiscrete {
    fn new(seed: u64, atoms: usize, held_out: usize) -> Self {
        let mut arrays = Arrays::cube_and_blob(seed, 1, atoms, DIMENSION, EPSILON.sqrt());
        let mass: f64 = arrays.target.iter().sum();
        arrays.target.iter_mut().for_each(|weight| *weight /= mass);
        Self { arrays, held_out: Seeded::new(seed ^ 1).draw(held_out * DIMENSION, Seeded::uniform) }
    }

    fn atoms(&self) -> &[f64] {
        match &self.arrays.cost {
            Cost::HalfSquares { y, .. } => y,
            Cost::Matrix(_) => &[],
        }
    }
}

impl Posed for SemiDiscrete {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("g", self.arrays.target.len())]
    }

    fn judge(&self, outputs: &[Vec<f64>], threads: usize) -> Recomputed {
        let (g, b, y) = (&outputs[0], &self.arrays.target, self.atoms());
        let part = |samples: &[f64]| {
            let (mut sums, mut squares, mut value) = (vec![0.0; g.len()], 0.0, 0.0);
            let mut entries = vec![0.0; g.len()];
            for x in samples.chunks_exact(DIMENSION) {
                let scores = y.chunks_exact(DIMENSION).zip(g).map(|(y, g)| {
                    let cost = x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>() / 2.0;
                    (g - cost) / EPSILON
                });
                entries.iter_mut().zip(scores).for_each(|(entry, score)| *entry = score);
                let largest = entries.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                entries.iter_mut().zip(b).for_each(|(entry, b)| *entry = b * (*entry - largest).exp());
                let mass: f64 = entries.iter().sum();
                value -= EPSILON * (mass.ln() + largest);
                for ((sum, entry), b) in sums.iter_mut().zip(&entries).zip(b) {
                    let share = entry / mass;
                    *sum += share;
                    squares += share * share / b;
                }
            }
            (sums, squares, value)
        };
        let share = (self.held_out.len() / DIMENSION).div_ceil(threads) * DIMENSION;
        let parts: Vec<_> = thread::scope(|scope| {
            let workers: Vec<_> = self.held_out.chunks(share).map(|chunk| scope.spawn(move || part(chunk))).collect();
            let failed = || (vec![f64::NAN; g.len()], f64::NAN, f64::NAN);
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| failed())).collect()
        });
        let count = (self.held_out.len() / DIMENSION) as f64;
        let (mut sums, mut squares, mut value) = (vec![0.0; g.len()], 0.0, 0.0);
        for (part, own, gain) in parts {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            squares += own;
            value += gain / count;
        }
        let all: f64 = sums.iter().zip(b).map(|(sum, b)| sum * sum / b).sum();
        let chi_squared = (all - squares) / (count * (count - 1.0)) - 1.0;
        value += b.iter().zip(g).map(|(b, g)| b * g).sum::<f64>();
        // Below zero by chance, where it is small.
        let error = if chi_squared < 0.0 { 0.0 } else { chi_squared.sqrt() };
        Recomputed { error, value }
    }
}

/// Our side, from arrays on the host to a potential on the host.
fn solve<T: CpuScalar>(
    posed: &SemiDiscrete,
    threads: usize,
    tolerance: f64,
) -> Result<(Measured, Option<String>), Failure> {
    let target = Narrowed::<T>::new(&posed.arrays, Side::Target)?;
    let backend = CpuBackend::<T>::new(threads)?.with_dense_limit(0);
    let cube = PointSampler::new(DIMENSION, |random: &mut Random, point: &mut [T]| {
        point.iter_mut().for_each(|coordinate| *coordinate = T::from_f64(random.uniform()));
    });
    let judged = |solution: &SemiDiscreteSolution| posed.judge(&[solution.potential().to_vec()], threads);
    // Ours stops on an estimate: where chance let it stop early, its own threshold is tightened, as those of peers are.
    let mut solver = AveragedSgd::new(EPSILON).tolerance(tolerance);
    for tightened in (1..TIGHTENINGS).map(|power| tolerance * TIGHTENING.powi(power)) {
        if judged(&solver.solve(&backend, &cube, &target.cloud()?, &HalfSqEuclidean)?).error <= tolerance {
            break;
        }
        solver = solver.tolerance(tightened);
    }
    let (seconds, solution) =
        time(REPEATS, || Ok(solver.solve(&backend, &cube, &target.cloud()?, &HalfSqEuclidean)?))?;
    let recomputed = judged(&solution);
    let remark = match solution.status() {
        status if !status.is_converged() => Some(format!("ours: {status}")),
        _ if recomputed.error > tolerance => Some("ours missed the tolerance".to_owned()),
        _ => None,
    };
    Ok((recomputed.measured("averaged SGD, streaming", seconds, Some(solution.iterations())), remark))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two atoms far apart, and samples near either in the proportions of the weights or others.
    #[test]
    fn the_judge_sees_what_cells_lack() {
        let mut posed = SemiDiscrete::new(1, 2, 0);
        let atoms: Vec<f64> = (0..2 * DIMENSION).map(|k| if k < DIMENSION { 0.0 } else { 9.0 }).collect();
        posed.arrays.cost = Cost::HalfSquares { x: vec![0.0; DIMENSION], y: atoms, dimension: DIMENSION };
        posed.arrays.target = vec![0.25, 0.75];
        let near = |atom: usize| vec![9.0 * atom as f64; DIMENSION];
        posed.held_out = (0..1000).flat_map(|k| near(usize::from(k % 4 > 0))).collect();
        let Recomputed { error, value } = posed.judge(&[vec![0.0; 2]], 2);
        assert!(error < 1e-3, "{error}");
        // F = -epsilon sum b log b: every sample is at its atom.
        let entropy = -EPSILON * (0.25 * 0.25_f64.ln() + 0.75 * 0.75_f64.ln());
        assert!((value - entropy).abs() < 1e-12, "{value} {entropy}");
        posed.held_out = (0..1000).flat_map(|k| near(k % 2)).collect();
        // (1/4)^2 / (1/4) + (1/4)^2 / (3/4) = 1/3, less the noise of a thousand samples.
        let Recomputed { error, .. } = posed.judge(&[vec![0.0; 2]], 3);
        assert!((error * error - 1.0 / 3.0).abs() < 3e-3, "{error}");
    }
}
