//! Clouds in space, costs recomputed: GeomLoss, to the error of its own potentials; iterations against the roof; the
//! memory of a large solve.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ot_core::{CostForm, Epsilon, GeometryBuilder, GroundCost, HalfSqEuclidean, Host, Measure, PointCloud, Problem};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{Annealing, Sinkhorn};

use super::{
    Bench, Failure,
    ours::{Ours, mean_iteration},
    peers::Solver,
    problem::{Arrays, narrow},
    roof::{DIMENSIONS, Roofed, shipped_costs},
    row::{Measured, Per, Row},
    timing::{median, time_once},
};
use crate::{memory::Peak, seeded::Seeded};

/// The blur of the schedule.
const BLUR: f64 = 0.05;

/// Our name in the tables.
const NAME: &str = "Sinkhorn, streaming";

/// Repetitions, of which the median counts.
const REPEATS: usize = 5;

/// The error asked for where no peer sets it.
const TOLERANCE: f64 = 1e-3;

/// The memory that a solve may take above its input.
const MEMORY: usize = 64 << 20;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for n in bench.options.pick([1000, 2000], [5000, 10_000]) {
        solves(bench, n)?;
    }
    exponentials(bench)?;
    let n = bench.options.pick(4096, 8192);
    iterations::<f32>(bench, ("HalfSqEuclidean", &HalfSqEuclidean), n, 3)?;
    iterations::<f64>(bench, ("HalfSqEuclidean", &HalfSqEuclidean), n, 3)?;
    memory::<f32>(bench)?;
    memory::<f64>(bench)?;
    let n = bench.options.pick(1024, 4096);
    for (name, cost) in shipped_costs()? {
        for dimension in DIMENSIONS {
            iterations::<f32>(bench, (name, cost.as_ref()), n, dimension)?;
            iterations::<f64>(bench, (name, cost.as_ref()), n, dimension)?;
        }
    }
    Ok(())
}

/// Whole solves, each to the error that a backend of GeomLoss comes to.
fn solves(bench: &mut Bench<'_>, n: usize) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let arrays = Arrays::cube_and_blob(bench.options.seed, n, n, 3, BLUR);
    let single = Ours::<f32>::new(&arrays, threads, 0)?;
    let solvers = [Solver::GeomLossOnline, Solver::GeomLossMultiscale];
    for peer in bench.peers.schedules(&solvers, &arrays, 3, budget)? {
        let tolerance = peer.as_ref().and_then(|peer| peer.error).unwrap_or(TOLERANCE);
        let (ours, remark) = single.solve(NAME, tolerance, REPEATS)?;
        bench.add(solve_row::<f32>(bench, &arrays, ours).with_peer(peer).with_remark(remark))?;
    }
    Ok(())
}

/// The peak of the heap in a large solve, of a few iterations: nothing in it depends on their number.
fn memory<T: Roofed>(bench: &mut Bench<'_>) -> Result<(), Failure> {
    const ITERATIONS: usize = 10;
    let n = bench.options.pick(10_000, 100_000);
    let mut arrays = Arrays::cube_and_blob(bench.options.seed, n, n, 3, BLUR);
    // Weights that f32 holds do not add up to the same mass in f64.
    for weights in [&mut arrays.source, &mut arrays.target] {
        let mass: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= mass);
    }
    let ours = Ours::<T>::new(&arrays, bench.options.threads, 0)?;
    let peak = Peak::start();
    let solver = Sinkhorn::new().max_iterations(ITERATIONS).annealing(Annealing::Off);
    let (seconds, solution) = time_once(|| Ok(solver.solve(&ours.problem()?)?))?;
    let bytes = peak.bytes();
    let measured = Measured { iterations: Some(solution.iterations()), ..Measured::seconds(NAME, seconds) };
    let row = solve_row::<T>(bench, &arrays, measured);
    let note = format!("memory: peak {:.1} MiB above the input, aim {} MiB", mebibytes(bytes), MEMORY >> 20);
    bench.add(Row { case: "cube and blob, a few iterations".to_owned(), ..row }.with_note(note))
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn solve_row<T: Roofed>(bench: &Bench<'_>, arrays: &Arrays, ours: Measured) -> Row {
    let ((n, m), d) = (arrays.shape(), arrays.dimension());
    let iterations = ours.iterations.unwrap_or(0);
    let limit = bench.roof.pairs::<T>(&HalfSqEuclidean, d).map(|rate| (iterations * n * m) as f64 / rate);
    let row = Row::new("points", "cube and blob", (n, m), bench.options.threads, Per::Solve, ours);
    let row = row.with_limit(limit);
    Row { d: Some(d), epsilon: Some(arrays.epsilon), dtype: T::NAME, ..row }
}

/// Plain iterations on one cost, against its roof.
fn iterations<T: Roofed>(
    bench: &mut Bench<'_>,
    (name, cost): (&str, &dyn GroundCost),
    n: usize,
    dimension: usize,
) -> Result<(), Failure> {
    const ITERATIONS: usize = 40;
    let threads = bench.options.threads;
    let problem = cloud_problem::<T>(bench, cost, n, dimension)?;
    let runs = (0..3).map(|_| mean_iteration(&problem, ITERATIONS)).collect::<Result<_, _>>()?;
    let iteration = median(runs);
    let rate = (n * n) as f64 / iteration;
    let limit = bench.roof.pairs::<T>(cost, dimension).map(|roof| (n * n) as f64 / roof);
    let row = Row::new("points", name, (n, n), threads, Per::Iteration, Measured::seconds(NAME, iteration))
        .with_limit(limit)
        .with_note(format!("{:.2} G pairs/s, {:.2} a core", rate / 1e9, rate / threads as f64 / 1e9));
    bench.add(Row { d: Some(dimension), epsilon: Some(problem.epsilon()), dtype: T::NAME, ..row })
}

/// How often a cost is evaluated, and an entry made of it, in one full iteration.
fn exponentials(bench: &mut Bench<'_>) -> Result<(), Failure> {
    const LEN: usize = 512;
    let cost = CountedCost::default();
    let problem = cloud_problem::<f32>(bench, &cost, LEN, 3)?;
    let count = |iterations: usize| -> Result<(u64, f64), Failure> {
        let before = cost.pairs.load(Ordering::Relaxed);
        let solver = Sinkhorn::new().tolerance(f64::MIN_POSITIVE).annealing(Annealing::Off).max_iterations(iterations);
        let (seconds, _) = time_once(|| Ok(solver.solve(&problem)?))?;
        Ok((cost.pairs.load(Ordering::Relaxed) - before, seconds))
    };
    let ((few, few_seconds), (many, many_seconds)) = (count(10)?, count(20)?);
    let each = many.saturating_sub(few) as f64 / (10 * LEN * LEN) as f64;
    let ours = Measured::seconds(NAME, (many_seconds - few_seconds) / 10.0);
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
) -> Result<Problem<Host<T>>, Failure> {
    let backend = CpuBackend::<T>::new(bench.options.threads)?.with_dense_limit(0).with_block_limit(usize::MAX);
    let mut random = Seeded::new(bench.options.seed);
    let mut cloud = || {
        let points = random.draw(n * dimension, |random| 0.1 + random.uniform());
        PointCloud::uniform(narrow::<T>(&points), dimension)
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
