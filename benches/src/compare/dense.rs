//! A stored cost: POT and OTT-JAX, to 1e-9 and per iteration.

use ot_solvers::Sinkhorn;

use super::{
    Bench, Failure,
    ours::Ours,
    peers::{Reached, Solver},
    problem::Arrays,
    row::{Measured, Per, Row},
};

/// The tolerance of both sides.
pub(super) const TOLERANCE: f64 = 1e-9;

/// Repetitions, of which the median counts.
pub(super) const REPEATS: usize = 5;

/// Our name in the tables.
const NAME: &str = "Sinkhorn, dense";

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for n in bench.options.pick([500, 1000], [2000, 4000]) {
        for epsilon in [1e-2, 1e-3] {
            solves(bench, n, epsilon)?;
        }
        iterations(bench, n)?;
    }
    Ok(())
}

/// Whole solves.
fn solves(bench: &mut Bench<'_>, n: usize, epsilon: f64) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let arrays = Arrays::gaussian_matrix(bench.options.seed, n, n, 1, epsilon);
    let solver = Sinkhorn::new().tolerance(TOLERANCE);
    let (ours, status) = Ours::<f64>::new(&arrays, threads, usize::MAX)?.solve(NAME, &solver, REPEATS)?;
    let peer = bench.peers.solve(Solver::PotSinkhorn, &arrays, TOLERANCE, REPEATS, budget)?;
    let limit = ours.iterations.map(|iterations| iterations as f64 * pass(bench, n));
    let mut row = described(bench, &arrays, Per::Solve, ours);
    if let Some(limit) = limit {
        row = row.with_limit(limit);
    }
    if !status.is_converged() {
        row = row.with_note(format!("ours: {status}"));
    }
    bench.add(beside(row, peer))
}

/// Plain iterations.
fn iterations(bench: &mut Bench<'_>, n: usize) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let arrays = Arrays::gaussian_matrix(bench.options.seed, n, n, 1, 1e-2);
    let ours = Ours::<f64>::new(&arrays, threads, usize::MAX)?.iteration(NAME, (10, 110), REPEATS)?;
    let limit = pass(bench, n);
    for (solver, span) in
        [(Solver::PotSinkhorn, (10, 60)), (Solver::OttSinkhorn, (10, 30)), (Solver::PotSinkhornLog, (5, 15))]
    {
        let row = described(bench, &arrays, Per::Iteration, ours.clone()).with_limit(limit);
        let peer = bench.peers.iteration(solver, &arrays, span, 3, budget)?;
        if let Some(peer) = peer {
            bench.add(row.with_peer(peer))?;
        } else if solver == Solver::PotSinkhorn {
            bench.add(row)?;
        }
    }
    Ok(())
}

/// Seconds that reading four bytes an entry takes.
fn pass(bench: &mut Bench<'_>, n: usize) -> f64 {
    let bytes = 4 * n * n;
    bytes as f64 / bench.roof.bandwidth(bytes)
}

fn described(bench: &Bench<'_>, arrays: &Arrays, per: Per, ours: Measured) -> Row {
    let row = Row::new("dense", "Gaussian clouds", arrays.shape(), bench.options.threads, per, ours);
    Row { d: Some(arrays.dimension()), epsilon: Some(arrays.epsilon), ..row }
}

/// A row beside a peer that was to meet the tolerance.
pub(super) fn beside(row: Row, peer: Option<Reached>) -> Row {
    match peer {
        None => row,
        Some(Reached { measured, met: true }) => row.with_peer(measured),
        Some(Reached { measured, met: false }) => {
            row.with_peer(measured).with_note("the peer missed the tolerance: the ratio is a lower bound")
        }
    }
}
