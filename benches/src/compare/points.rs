//! Clouds in space, costs recomputed: GeomLoss, to the error of its own potentials; iterations against the roof.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use ot_core::{Backend, CostForm, Epsilon, GroundCost, HalfSqEuclidean, Measure, PointCloud, Problem};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::Sinkhorn;

use super::{
    Bench, Failure,
    ours::{Ours, plain},
    peers::Solver,
    problem::Arrays,
    roof::{Roofed, shipped_costs},
    row::{Measured, Per, Row},
    timing::median,
};
use crate::seeded::Seeded;

/// The blur of the schedule.
const BLUR: f64 = 0.05;

/// Our name in the tables.
const NAME: &str = "Sinkhorn, streaming";

/// The error asked for where no peer sets it.
const TOLERANCE: f64 = 1e-3;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for n in bench.options.pick([1000, 2000], [5000, 10_000]) {
        solves(bench, n)?;
    }
    exponentials(bench)?;
    let n = bench.options.pick(4096, 8192);
    iterations::<f32>(bench, ("HalfSqEuclidean", &HalfSqEuclidean), n, 3)?;
    iterations::<f64>(bench, ("HalfSqEuclidean", &HalfSqEuclidean), n, 3)?;
    let n = bench.options.pick(1024, 4096);
    for (name, cost) in shipped_costs()? {
        for dimension in [2, 3, 16, 64] {
            iterations::<f32>(bench, (name, cost.as_ref()), n, dimension)?;
        }
    }
    Ok(())
}

/// Whole solves, each to the error that a backend of GeomLoss comes to.
fn solves(bench: &mut Bench<'_>, n: usize) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let arrays = Arrays::cube_and_blob(bench.options.seed, n, n, 3, BLUR);
    let single = Ours::<f32>::new(&arrays, threads, 0)?;
    let mut beside_any = false;
    for solver in [Solver::GeomLossOnline, Solver::GeomLossMultiscale] {
        let Some(peer) = bench.peers.schedule(solver, &arrays, 3, budget / 2.0)? else { continue };
        let tolerance = peer.error.unwrap_or(TOLERANCE);
        let (ours, status) = single.solve(NAME, &Sinkhorn::new().tolerance(tolerance), 5)?;
        let row = solve_row::<f32>(bench, &arrays, ours).with_peer(peer);
        bench.add(if status.is_converged() { row } else { row.with_note(format!("ours: {status}")) })?;
        beside_any = true;
    }
    if !beside_any {
        let (ours, _) = single.solve(NAME, &Sinkhorn::new().tolerance(TOLERANCE), 5)?;
        let row = solve_row::<f32>(bench, &arrays, ours);
        bench.add(row)?;
    }
    Ok(())
}

fn solve_row<T: Roofed>(bench: &Bench<'_>, arrays: &Arrays, ours: Measured) -> Row {
    let ((n, m), d) = (arrays.shape(), arrays.dimension());
    let iterations = ours.iterations.unwrap_or(0);
    let limit = (iterations * n * m) as f64 / bench.roof.pairs::<T>(&HalfSqEuclidean, d);
    let row = Row::new("points", "cube and blob", (n, m), bench.options.threads, Per::Solve, ours).with_limit(limit);
    Row { d: Some(d), epsilon: Some(arrays.epsilon), dtype: T::NAME, ..row }
}

/// Plain iterations on one cost, against its roof.
fn iterations<T: Roofed>(
    bench: &mut Bench<'_>,
    (name, cost): (&str, &dyn GroundCost),
    n: usize,
    dimension: usize,
) -> Result<(), Failure> {
    const SPAN: (usize, usize) = (5, 15);
    let threads = bench.options.threads;
    let problem = cloud_problem::<T>(bench, cost, n, dimension)?;
    let seconds = |iterations: usize| -> Result<f64, Failure> {
        let mut runs = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            plain(iterations).solve(&problem)?;
            runs.push(start.elapsed().as_secs_f64());
        }
        Ok(median(runs))
    };
    let iteration = (seconds(SPAN.1)? - seconds(SPAN.0)?) / (SPAN.1 - SPAN.0) as f64;
    let pairs = (n * n) as f64;
    let row = Row::new("points", name, (n, n), threads, Per::Iteration, Measured::seconds(NAME, iteration))
        .with_limit(pairs / bench.roof.pairs::<T>(cost, dimension))
        .with_note(format!("{:.2} G pairs/s", pairs / iteration / 1e9));
    bench.add(Row { d: Some(dimension), epsilon: Some(problem.epsilon()), dtype: T::NAME, ..row })
}

/// How often a cost is evaluated, and an entry made of it, in one full iteration.
fn exponentials(bench: &mut Bench<'_>) -> Result<(), Failure> {
    const LEN: usize = 512;
    let cost = CountedCost::default();
    let problem = cloud_problem::<f32>(bench, &cost, LEN, 3)?;
    let count = |iterations: usize| -> Result<(u64, f64), Failure> {
        let (before, start) = (cost.pairs.load(Ordering::Relaxed), Instant::now());
        plain(iterations).solve(&problem)?;
        Ok((cost.pairs.load(Ordering::Relaxed) - before, start.elapsed().as_secs_f64()))
    };
    let ((few, _), (many, seconds)) = (count(10)?, count(20)?);
    let each = many.saturating_sub(few) as f64 / (10 * LEN * LEN) as f64;
    let ours = Measured::seconds(NAME, seconds / 20.0);
    let row = Row::new("points", "a counted cost", (LEN, LEN), bench.options.threads, Per::Iteration, ours);
    let note = format!("{each:.2} costs and exponentials per pair");
    bench.add(Row { d: Some(3), epsilon: Some(problem.epsilon()), dtype: "f32", ..row }.with_note(note))
}

/// Two clouds in the unit cube, at a tenth of the mean cost, streamed.
fn cloud_problem<T: CpuScalar>(
    bench: &Bench<'_>,
    cost: &dyn GroundCost,
    n: usize,
    dimension: usize,
) -> Result<Problem<CpuBackend<T>>, Failure> {
    let backend = CpuBackend::<T>::new(bench.options.threads)?.with_dense_limit(0);
    let mut random = Seeded::new(bench.options.seed);
    let mut cloud = || {
        let points = random.draw(n * dimension, |random| 0.1 + random.uniform());
        PointCloud::uniform(points.into_iter().map(T::from_f64).collect::<Vec<T>>(), dimension)
    };
    let (source, target) = (cloud()?, cloud()?);
    let geometry = backend.geometry(source.support(), target.support(), cost)?;
    Ok(Problem::new(geometry, &source, &target, Epsilon::RelativeToMean(0.1))?)
}

/// Half squared distances that count how many of them were asked for.
#[derive(Clone, Debug, Default)]
struct CountedCost {
    pairs: Arc<AtomicU64>,
}

impl GroundCost for CountedCost {
    fn form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        self.pairs.fetch_add(out.len() as u64, Ordering::Relaxed);
        HalfSqEuclidean.costs_f64(x, points, out);
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        self.pairs.fetch_add(out.len() as u64, Ordering::Relaxed);
        HalfSqEuclidean.costs_f32(x, points, out);
    }

    fn shared(&self) -> Option<Arc<dyn GroundCost>> {
        Some(Arc::new(self.clone()))
    }
}
