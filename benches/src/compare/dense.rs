//! A stored cost: POT and OTT-JAX, to 1e-9 and per iteration, and a hand-written loop.

use ot_cpu::CpuScalar;

use super::{
    Bench, Failure,
    monolith::{Entry, Monolith},
    ours::{Ours, mean_iteration},
    peers::Solver,
    problem::Arrays,
    row::{Measured, Per, Row},
    timing::{median, time_once},
};

/// The tolerance of both sides.
pub(super) const TOLERANCE: f64 = 1e-9;

/// Repetitions, of which the median counts.
pub(super) const REPEATS: usize = 5;

/// Iterations of a run that is timed.
pub(super) const ITERATIONS: usize = 100;

/// Our name in the tables.
const NAME: &str = "Sinkhorn, dense";

/// What an iteration may cost in units of the hand-written loop's.
const PRICE: f64 = 1.05;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for n in bench.options.pick([500, 1000], [2000, 4000]) {
        for epsilon in [1e-2, 1e-3] {
            solves(bench, n, epsilon)?;
        }
        let arrays = Arrays::gaussian_matrix(bench.options.seed, n, n, 1, 1e-2);
        iterations(bench, &arrays)?;
        beside_monolith::<f64, f32>(bench, &arrays)?;
        beside_monolith::<f64, f64>(bench, &arrays)?;
        beside_monolith::<f32, f32>(bench, &arrays)?;
    }
    Ok(())
}

/// Whole solves.
fn solves(bench: &mut Bench<'_>, n: usize, epsilon: f64) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let arrays = Arrays::gaussian_matrix(bench.options.seed, n, n, 1, epsilon);
    let (ours, remark) = Ours::<f64>::new(&arrays, threads, usize::MAX)?.solve(NAME, TOLERANCE, REPEATS)?;
    let peer = bench.peers.solve(Solver::PotSinkhorn, &arrays, TOLERANCE, REPEATS, budget)?;
    let limit = ours.iterations.unwrap_or(0) as f64 * pass(bench, &arrays);
    let row = described(bench, &arrays, Per::Solve, ours).with_limit(limit).with_remark(remark);
    bench.add(row.with_reached(peer))
}

/// Plain iterations.
fn iterations(bench: &mut Bench<'_>, arrays: &Arrays) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let ours = Ours::<f64>::new(arrays, threads, usize::MAX)?.iteration(NAME, ITERATIONS, REPEATS)?;
    let limit = pass(bench, arrays);
    bench.add(described(bench, arrays, Per::Iteration, ours.clone()).with_limit(limit))?;
    for (solver, span) in
        [(Solver::PotSinkhorn, (10, 60)), (Solver::OttSinkhorn, (10, 30)), (Solver::PotSinkhornLog, (5, 15))]
    {
        if let Some(peer) = bench.peers.iteration(solver, arrays, span, 3, budget)? {
            bench.add(described(bench, arrays, Per::Iteration, ours.clone()).with_peer(peer))?;
        }
    }
    Ok(())
}

/// The generic solver through the boxed contract in turn with the loop of [`Monolith`], its entries of type E.
fn beside_monolith<T: CpuScalar, E: Entry>(bench: &mut Bench<'_>, arrays: &Arrays) -> Result<(), Failure> {
    let threads = bench.options.threads;
    let ours = Ours::<T>::new(arrays, threads, usize::MAX)?;
    let (f, g) = ours.potentials(ITERATIONS)?;
    let (problem, mut monolith) = (ours.problem()?, Monolith::<E>::new(arrays, &f, &g));
    let (mut generic, mut loops) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        generic.push(mean_iteration(&problem, ITERATIONS)?);
        let (seconds, ()) = time_once(|| {
            monolith.iterate(ITERATIONS, threads);
            Ok(())
        })?;
        loops.push(seconds / ITERATIONS as f64);
    }
    let (generic, loops) = (median(generic), median(loops));
    let peer = Measured::seconds(format!("hand-written loop, {} entries", E::NAME), loops);
    let limit = pass(bench, arrays);
    let row = described(bench, arrays, Per::Iteration, Measured::seconds(NAME, generic)).with_peer(peer);
    let note =
        format!("ours / loop {:.3}, aim {PRICE}; the loop is at {:.2} of the limit", generic / loops, limit / loops);
    bench.add(Row { dtype: T::NAME, ..row }.with_limit(limit).with_note(note))
}

/// Seconds that reading four bytes an entry takes.
fn pass(bench: &mut Bench<'_>, arrays: &Arrays) -> f64 {
    let (n, m) = arrays.shape();
    let bytes = 4 * n * m;
    bytes as f64 / bench.roof.bandwidth(bytes)
}

fn described(bench: &Bench<'_>, arrays: &Arrays, per: Per, ours: Measured) -> Row {
    let row = Row::new("dense", "Gaussian clouds", arrays.shape(), bench.options.threads, per, ours);
    Row { d: Some(arrays.dimension()), epsilon: Some(arrays.epsilon), ..row }
}
