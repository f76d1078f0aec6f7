//! Many small problems: POT, SciPy and OTT-JAX over pairs, and single small solves.
//!
//! Values of both sides are compared one by one: the error of a peer is the largest relative difference from ours.

use std::time::Duration;

use ot_core::{
    CostMatrix, Epsilon, Euclidean, GeometryBuilder, GroundCost, HalfSqEuclidean, Histogram, Measure, PointCloud,
    Problem, Side, SqEuclidean,
};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactTransport, ExactWorkspace, Method, Sinkhorn, pairwise, zip};

use super::{
    Bench, Failure,
    exact::instances::{gaussian_clouds, random_costs},
    ours::Ours,
    peers::Solver,
    posed::Posed,
    problem::{Arrays, Cost},
    recompute::Recomputed,
    row::{Measured, Per, Row},
    timing::{median, time, time_once},
};
use crate::seeded::Seeded;

/// Pixels of a side of a histogram.
const SIDE: usize = 20;

/// Rows of a table whose columns are solved in batches of different widths.
const ROWS: usize = 60;

/// Coordinates of a word.
const DIMENSION: usize = 50;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    single(bench)?;
    single_entropic(bench)?;
    histograms(bench)?;
    documents(bench)?;
    lines(bench)
}

/// Problems packed into the arrays of one, answered by a value each.
struct Packed {
    arrays: Arrays,
    /// Ours.
    values: Vec<f64>,
}

impl Posed for Packed {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("value", self.values.len())]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        let scale = self.values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let difference = |(one, other): (&f64, &f64)| (one - other).abs() / one.abs().max(1e-12 * scale);
        let error = outputs[0].iter().zip(&self.values).map(difference).fold(0.0, f64::max);
        Recomputed { error, value: outputs[0].iter().sum() }
    }
}

/// A row beside each peer that answers with all values.
fn beside(
    bench: &mut Bench<'_>,
    (case, shape): (&str, (usize, usize)),
    packed: &Packed,
    seconds: f64,
    solvers: &[Solver],
    note: &str,
) -> Result<(), Failure> {
    for peer in bench.peers.schedules(solvers, packed, 1, bench.options.budget())? {
        let ours = Measured { value: Some(packed.values.iter().sum()), ..Measured::seconds("many", seconds) };
        let row = Row::new("many", case, shape, bench.options.threads, Per::Solve, ours).with_peer(peer);
        bench.add(row.with_note(format!("{} problems; {note}", packed.values.len())))?;
    }
    Ok(())
}

/// One solve after another, with memory that is kept.
fn single(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let backend = CpuBackend::<f64>::new(bench.options.threads)?;
    let (settings, mut workspace) = (ExactTransport::new(), ExactWorkspace::new());
    let seed = bench.options.seed;
    for n in [10, 30, 100, 300] {
        for (case, arrays) in [("random", random_costs(seed, n, true)), ("cloud", gaussian_clouds(seed, n, 2, true))] {
            let mut solve = |a: &dyn Measure<f64>, b: &dyn Measure<f64>, cost: &dyn GroundCost| {
                Ok::<_, Failure>(settings.run(&backend, a, b, cost).solve_in(&mut workspace)?.transport_cost())
            };
            let (mut seconds, mut value, mut spent) = (Vec::new(), 0.0, 0.0);
            while spent < Duration::from_millis(500).as_secs_f64() {
                let (taken, found) = match &arrays.cost {
                    Cost::Matrix(entries) => {
                        let (a, b) = (Histogram::new(&arrays.source)?, Histogram::new(&arrays.target)?);
                        time_once(|| solve(&a, &b, &CostMatrix::new(entries, n, n)?))?
                    }
                    Cost::HalfSquares { .. } => {
                        let (a, b) = (arrays.cloud(Side::Source)?, arrays.cloud(Side::Target)?);
                        time_once(|| solve(&a, &b, &HalfSqEuclidean))?
                    }
                };
                spent += taken;
                value = found;
                seconds.push(taken);
            }
            let ours = Measured { value: Some(value), ..Measured::seconds("ExactTransport", median(seconds)) };
            let one = Packed { arrays, values: vec![value] };
            let peer = bench.peers.schedule(Solver::PotEmd2, &one, 200, 2.0)?;
            let row = Row::new("many", format!("one, {case}"), (n, n), 1, Per::Solve, ours);
            bench.add(row.with_peer(peer).with_note("one thread either side"))?;
        }
    }
    Ok(())
}

/// Entropic solves of one problem, from arrays to potentials, balanced and with penalised marginals.
fn single_entropic(bench: &mut Bench<'_>) -> Result<(), Failure> {
    /// The tolerance of both sides.
    const TOLERANCE: f64 = 1e-6;
    const REPEATS: usize = 51;

    let (seed, threads, budget) = (bench.options.seed, bench.options.threads, bench.options.budget());
    for n in [10, 30, 100, 300] {
        for (case, epsilon, rho, solver) in [
            ("one, entropic", 0.025, None, Solver::PotSinkhorn),
            ("one, entropic", 0.005, None, Solver::PotSinkhorn),
            ("one, unbalanced", 0.025, Some(1.0), Solver::PotUnbalanced),
        ] {
            let arrays = Arrays { epsilon, rho, ..random_costs(seed, n, true) };
            let ours = Ours::<f64>::new(&arrays, threads, usize::MAX)?;
            let (solved, remark) = ours.solve("Sinkhorn", TOLERANCE, REPEATS)?;
            let row = Row::new("many", case, (n, n), threads, Per::Solve, solved).with_remark(remark);
            let peer = bench.peers.solve(solver, &arrays, TOLERANCE, REPEATS, budget)?;
            bench.add(Row { epsilon: Some(epsilon), ..row }.with_reached(peer))?;
        }
    }
    Ok(())
}

/// Histograms on a square of pixels, a third of the weights zero.
fn histograms(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let count = bench.options.pick(12, 60);
    let mut random = Seeded::new(bench.options.seed);
    let atoms = SIDE * SIDE;
    let place = |pixel: usize| [pixel / SIDE, pixel % SIDE].map(|coordinate| coordinate as f64);
    let squares = |x: [f64; 2], y: [f64; 2]| (x[0] - y[0]).powi(2) + (x[1] - y[1]).powi(2);
    let mut draw = || {
        let centre = [random.uniform(), random.uniform()].map(|part| part * SIDE as f64);
        let mut weights: Vec<f64> = (0..atoms)
            .map(|pixel| {
                let (is_zero, noise) = (random.uniform() < 1.0 / 3.0, 0.05 + random.uniform());
                if is_zero { 0.0 } else { noise * (0.1 + (-squares(place(pixel), centre) / 40.0).exp()) }
            })
            .collect();
        let mass: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= mass);
        weights
    };
    let weights: Vec<Vec<f64>> = (0..count).map(|_| draw()).collect();
    let cost: Vec<f64> = (0..atoms * atoms).map(|pair| squares(place(pair / atoms), place(pair % atoms))).collect();
    let backend = CpuBackend::<f64>::new(bench.options.threads)?;
    let measures = weights.iter().map(Histogram::new).collect::<Result<Vec<_>, _>>()?;
    let matrix = CostMatrix::new(&cost, atoms, atoms)?;
    let mean = cost.iter().sum::<f64>() / cost.len() as f64;
    let arrays = Arrays {
        source: weights[0].clone(),
        target: weights.concat(),
        columns: count,
        cost: Cost::Matrix(cost.clone()),
        epsilon: 0.05 * mean,
        rho: None,
    };

    let exact = Method::exact();
    let (seconds, table) = time(5, || Ok(pairwise(&backend, &measures, &matrix, &exact).solve()?))?;
    let packed = Packed { arrays: arrays.clone(), values: halves(&table.values().ok_or("cancelled")?, count) };
    let shape = (atoms, atoms);
    beside(bench, ("histograms, exact", shape), &packed, seconds, &[Solver::PotManyExact], "all pairs")?;

    let epsilon = Epsilon::Absolute(arrays.epsilon);
    let entropic = Method::entropic_with(epsilon, Sinkhorn::new().tolerance(1e-6));
    let (seconds, table) = time(5, || Ok(pairwise(&backend, &measures, &matrix, &entropic).solve()?))?;
    let costs = halves(&table.transport_costs().ok_or("cancelled")?, count);
    let packed = Packed { arrays, values: costs };
    let note = "epsilon 0.05 of the mean cost, to 1e-6; <P, C>";
    let peers = [Solver::PotManyEntropic, Solver::OttManyEntropic];
    beside(bench, ("histograms, entropic", shape), &packed, seconds, &peers, note)?;

    // One batch of all columns, beside a batch for each row of the table: of as many measures whatever the sizes, for products
    // are of eight columns and more, which rows of a few leave empty.
    let weights: Vec<Vec<f64>> = weights.iter().cloned().chain(std::iter::repeat_with(draw)).take(ROWS).collect();
    let pairs: Vec<(usize, usize)> = (0..ROWS).flat_map(|i| (0..i).map(move |j| (i, j))).collect();
    let batch = |pairs: &[(usize, usize)]| -> Result<(), Failure> {
        let gather = |side: fn(&(usize, usize)) -> usize| -> Vec<f64> {
            pairs.iter().flat_map(|pair| weights[side(pair)].iter().copied()).collect()
        };
        let (a, b) = (gather(|pair| pair.0), gather(|pair| pair.1));
        let (a, b) = (Histogram::batch(a, pairs.len())?, Histogram::batch(b, pairs.len())?);
        let geometry = backend.geometry(a.support(), b.support(), &matrix)?;
        Sinkhorn::new().tolerance(1e-6).solve(&Problem::new(geometry, &a, &b, epsilon)?)?;
        Ok(())
    };
    let (all, ()) = time(1, || batch(&pairs))?;
    let (rows, ()) = time(1, || pairs.chunk_by(|one, other| one.0 == other.0).try_for_each(batch))?;
    let ours = Measured::seconds("one batch of all columns", all);
    let row = Row::new("many", "batch widths", shape, bench.options.threads, Per::Solve, ours);
    bench.add(
        row.with_peer(Measured::seconds("ours, a batch a row", rows)).with_note(format!("{} columns", pairs.len())),
    )
}

/// Clouds of 20 to 80 words, all pairs: the word mover's distance (Kusner et al. 2015).
fn documents(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let count = bench.options.pick(10, 40);
    let mut random = Seeded::new(bench.options.seed);
    let sizes: Vec<usize> = (0..count).map(|_| 20 + (61.0 * random.uniform()) as usize).collect();
    let clouds: Vec<(Vec<f64>, Vec<f64>)> = sizes
        .iter()
        .map(|&words| {
            let points = random.draw(words * DIMENSION, Seeded::normal);
            let mut weights = random.draw(words, |random| (1.0 + 3.0 * random.uniform() * random.uniform()).floor());
            let mass: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= mass);
            (points, weights)
        })
        .collect();
    let backend = CpuBackend::<f64>::new(bench.options.threads)?;
    let cloud = |(points, weights): &(Vec<f64>, Vec<f64>)| PointCloud::new(points.clone(), DIMENSION, weights.clone());
    let measures = clouds.iter().map(cloud).collect::<Result<Vec<_>, _>>()?;
    let exact = Method::exact();
    let (seconds, table) = time(21, || Ok(pairwise(&backend, &measures, &Euclidean, &exact).solve()?))?;
    let (x, source): (Vec<Vec<f64>>, Vec<Vec<f64>>) = clouds.into_iter().unzip();
    let packed = Packed {
        arrays: Arrays {
            source: source.concat(),
            target: sizes.iter().map(|&size| size as f64).collect(),
            columns: 1,
            cost: Cost::HalfSquares { x: x.concat(), y: vec![0.0; count * DIMENSION], dimension: DIMENSION },
            epsilon: 1.0,
            rho: None,
        },
        values: halves(&table.values().ok_or("cancelled")?, count),
    };
    let note = "20 to 80 words, d = 50";
    beside(bench, ("documents, exact", (50, 50)), &packed, seconds, &[Solver::PotManyDocuments], note)
}

/// A thousand problems on the line.
fn lines(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (n, problems) = (100, bench.options.pick(100, 1000));
    let mut random = Seeded::new(bench.options.seed);
    let uniform = vec![1.0 / n as f64; n];
    let x = random.draw(n * problems, Seeded::normal);
    let y = random.draw(n * problems, |random| 0.5 + random.normal());
    let axis = |points: &[f64], k: usize| -> Vec<f64> { points.iter().skip(k).step_by(problems).copied().collect() };
    let pair = |k: usize| Ok((PointCloud::uniform(axis(&x, k), 1)?, PointCloud::uniform(axis(&y, k), 1)?));
    let pairs = (0..problems).map(pair).collect::<Result<Vec<_>, Failure>>()?;
    let backend = CpuBackend::<f64>::new(bench.options.threads)?;
    let line = Method::line();
    let cost = Cost::HalfSquares { x: x.clone(), y: y.clone(), dimension: problems };
    let arrays = Arrays { source: uniform.clone(), target: uniform, columns: 1, cost, epsilon: 1.0, rho: None };
    let costs: [(&dyn GroundCost, Solver, &str); 2] =
        [(&SqEuclidean, Solver::PotManyLines, "squared distances"), (&Euclidean, Solver::ScipyManyLines, "distances")];
    for (cost, solver, note) in costs {
        let (seconds, table) = time(101, || Ok(zip(&backend, &pairs, cost, &line).solve()?))?;
        let packed = Packed { arrays: arrays.clone(), values: table.values().ok_or("cancelled")? };
        beside(bench, ("line", (n, n)), &packed, seconds, &[solver], note)?;
    }
    Ok(())
}

/// The values of (i, j) with i <= j.
fn halves(values: &[f64], count: usize) -> Vec<f64> {
    (0..count).flat_map(|i| (i..count).map(move |j| (i, j))).map(|(i, j)| values[i * count + j]).collect()
}
