//! Many histograms on one stored cost: POT's matrix form.

use super::{
    Bench, Failure,
    dense::{ITERATIONS, REPEATS, TOLERANCE},
    ours::Ours,
    peers::Solver,
    problem::Arrays,
    row::{Measured, Per, Row},
};

/// Histograms of a batch.
const COLUMNS: usize = 64;

/// Our name in the tables.
const NAME: &str = "Sinkhorn, dense batch";

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let n = bench.options.pick(300, 1000);
    let arrays = Arrays::gaussian_matrix(bench.options.seed, n, n, COLUMNS, 1e-2);
    let ours = Ours::<f64>::new(&arrays, threads, usize::MAX)?;
    // Two products a full iteration: with the kernel and with its transpose.
    let products = (2 * n * n * COLUMNS) as f64 / bench.roof.multiply_adds();

    let (solved, remark) = ours.solve(NAME, TOLERANCE, REPEATS)?;
    let limit = solved.iterations.unwrap_or(0) as f64 * products;
    let row = described(bench, &arrays, Per::Solve, solved).with_limit(limit).with_remark(remark);
    let peer = bench.peers.solve(Solver::PotSinkhorn, &arrays, TOLERANCE, REPEATS, budget)?;
    bench.add(row.with_reached(peer))?;

    let iteration = ours.iteration(NAME, ITERATIONS, REPEATS)?;
    let row = described(bench, &arrays, Per::Iteration, iteration).with_limit(products);
    // A peer's check, every tenth iteration, is among them.
    let peer = bench.peers.iteration(Solver::PotSinkhorn, &arrays, (10, 30), 3, budget)?;
    bench.add(row.with_peer(peer))
}

fn described(bench: &Bench<'_>, arrays: &Arrays, per: Per, ours: Measured) -> Row {
    let case = format!("{COLUMNS} histograms");
    let row = Row::new("batch", case, arrays.shape(), bench.options.threads, per, ours);
    Row { d: Some(arrays.dimension()), epsilon: Some(arrays.epsilon), ..row }
        .with_note("limit: the multiply-adds of two products, in f32")
}
