//! Heat kernels on a mesh, beside a script that keeps one sparse factor and solves one right-hand side at a time (SciPy's
//! SuperLU), and beside the time that reading the factor takes.
//!
//! The mesh is a square sheet with a hill. The script is given the weights and the masses of ours, and scales without a
//! logarithm: what it returns is no answer where numbers leave their range, and its time is that of a plain loop.
//!
//! Then [how accurate](accuracy) kernels are.

mod accuracy;

use std::{hint::black_box, ops::ControlFlow, time::Instant};

use ot_core::{
    Backend, DeviceWeights, Geometry, Graph, Host, ImpliedCost, JointProblem, Measure, PlanSide, PlanView, Problem,
    Progress, Side, TriangleMesh, VertexHistogram,
};
use ot_cpu::{CpuBackend, HeatGeometry, cotangent_graph};
use ot_solvers::{Barycenter, BregmanProjections, Relaxation};

use super::{
    Bench, Failure,
    ours::mean_iteration,
    peers::Solver,
    posed::Posed,
    problem::{Arrays, Cost},
    recompute::Recomputed,
    row::{Measured, Per, Row},
    timing::{time, time_once},
};
use crate::seeded::Seeded;

const NAME: &str = "heat kernel";

/// Steps of a diffusion.
const STEPS: usize = 10;

/// Time of a diffusion, in squared lengths of an edge.
const TIME: f64 = 25.0;

/// Histograms that the kernel is applied to at once.
const HISTOGRAMS: usize = 8;

/// Iterations of ours that are timed.
const ITERATIONS: usize = 10;

/// Repetitions, of which the median counts.
const REPEATS: usize = 5;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let side = bench.options.pick(128, 316);
    let sheet = Sheet::new(side, bench.options.seed, bench.options.threads)?;
    application(bench, &sheet)?;
    sinkhorn(bench, &sheet)?;
    barycenter(bench, &sheet)?;
    accuracy::run(bench)
}

/// A mesh with its kernel and some histograms.
struct Sheet {
    mesh: TriangleMesh,
    graph: Graph,
    heat: HeatGeometry<f64>,
    backend: CpuBackend<f64>,
    histograms: Vec<VertexHistogram<'static, f64>>,
    time: f64,
    /// Seconds that the factor took.
    factor: f64,
}

impl Sheet {
    fn new(side: u32, seed: u64, threads: usize) -> Result<Self, Failure> {
        let backend = CpuBackend::new(threads)?;
        let unit = |at: u32| f64::from(at) / f64::from(side - 1);
        let vertex = |i: u32| {
            let (x, y) = (unit(i % side), unit(i / side));
            [x, y, 0.3 * (-8.0 * ((x - 0.5).powi(2) + (y - 0.5).powi(2))).exp()]
        };
        let squares = (0..side - 1).flat_map(|row| (0..side - 1).map(move |column| row * side + column));
        let triangles = squares.flat_map(|i| [[i, i + 1, i + side + 1], [i, i + side + 1, i + side]]).collect();
        let mesh = TriangleMesh::new((0..side * side).map(vertex).collect(), triangles)?;
        let graph = cotangent_graph(&mesh)?.graph;
        let mut random = Seeded::new(seed);
        let histogram = |_| {
            let [x, y] = [0, 1].map(|_| 0.15 + 0.7 * random.uniform());
            let weight = |[u, v, _]: &[f64; 3]| (-200.0 * ((u - x).powi(2) + (v - y).powi(2))).exp() + 1e-6;
            let weights: Vec<f64> = mesh.vertices().iter().map(weight).collect();
            VertexHistogram::new(&mesh, weights).map(VertexHistogram::normalized)
        };
        let histograms = (0..HISTOGRAMS).map(histogram).collect::<Result<Vec<_>, _>>()?;
        let square = HeatGeometry::new(&backend, &graph, 1.0, 1)?.report().edge_square;
        let time = TIME * square;
        let (factor, heat) = time_once(|| Ok(HeatGeometry::new(&backend, &mesh, time, STEPS)?))?;
        Ok(Self { mesh, graph, heat, backend, histograms, time, factor })
    }

    /// Seconds that reading the factor takes, as often as one application does for up to eight columns.
    fn limit(&self, bench: &mut Bench<'_>, blocks: usize) -> f64 {
        // A ratio and the row that it belongs to; forward and backward in each step.
        let bytes = self.heat.report().nonzeros * (size_of::<f64>() + size_of::<u32>());
        let reads = 2 * STEPS * blocks;
        reads as f64 * bytes as f64 / bench.roof.bandwidth(bytes)
    }

    /// What the peer is given, with the first histogram as the source and some as targets.
    fn posed(&self, targets: usize, value: f64) -> Script {
        let weights = |index: usize| self.histograms[index].weights_view().values().to_vec();
        let positions: Vec<f64> = self.mesh.vertices().iter().flatten().copied().collect();
        let arrays = Arrays {
            source: weights(0),
            target: (0..targets).flat_map(|target| weights(HISTOGRAMS - 1 - target)).collect(),
            columns: targets,
            cost: Cost::HalfSquares { x: positions.clone(), y: positions, dimension: 3 },
            epsilon: 4.0 * self.time,
            rho: None,
        };
        let edges = self.graph.edges();
        let ends = |end: usize| edges.iter().map(|(ends, _)| f64::from(ends[end])).collect::<Vec<_>>();
        let graph = vec![
            ("tails", ends(0)),
            ("heads", ends(1)),
            ("weights", edges.iter().map(|(_, weight)| *weight).collect()),
            ("masses", self.graph.masses().to_vec()),
            ("diffusion", vec![self.time, STEPS as f64]),
        ];
        Script { arrays, graph, value }
    }

    fn row(&self, bench: &Bench<'_>, case: &str, per: Per, seconds: f64) -> Row {
        let n = self.mesh.len();
        let row = Row::new("heat", case, (n, n), bench.options.threads, per, Measured::seconds(NAME, seconds));
        let note = format!("{} entries of the factor, made in {:.2} s", self.heat.report().nonzeros, self.factor);
        Row { epsilon: Some(4.0 * self.time), ..row }.with_note(note)
    }
}

/// What the script is given, and the sum that its results should have.
struct Script {
    arrays: Arrays,
    graph: Vec<(&'static str, Vec<f64>)>,
    value: f64,
}

impl Posed for Script {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn more_arrays(&self) -> Vec<(&'static str, Vec<f64>)> {
        self.graph.clone()
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("value", 1)]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        let value = outputs[0][0];
        Recomputed { error: (value / self.value - 1.0).abs(), value }
    }
}

/// Seconds of one application to so many histograms, and the sum of what it gives.
fn apply(sheet: &Sheet, columns: usize) -> Result<(f64, f64), Failure> {
    let (n, backend) = (sheet.mesh.len(), &sheet.backend);
    let histograms = sheet.histograms[..columns].iter();
    let values: Vec<f64> = histograms.flat_map(|histogram| histogram.weights_view().values().to_vec()).collect();
    let batch = VertexHistogram::batch(&sheet.mesh, values, columns)?;
    let weights = DeviceWeights::new(backend, batch.weights_view())?;
    let device: &dyn Backend<Host<f64>> = backend;
    let zero = device.filled(0.0, n, columns)?;
    let side = PlanSide::new(&zero, &weights);
    let plan = PlanView { source: side, target: side };
    let mut out = backend.alloc(n, columns)?;
    let epsilon = 4.0 * sheet.time;
    let mut kernel = sheet.heat.bind_entropic(epsilon, columns)?;
    let (seconds, ()) = time(REPEATS, || {
        kernel.conditional_potential(backend, Side::Source, plan, &mut out)?;
        black_box(&out);
        Ok(())
    })?;
    Ok((seconds, out.values().iter().map(|softmin| (-softmin / epsilon).exp()).sum()))
}

/// One application to eight histograms.
fn application(bench: &mut Bench<'_>, sheet: &Sheet) -> Result<(), Failure> {
    let (seconds, value) = apply(sheet, HISTOGRAMS)?;
    let limit = sheet.limit(bench, 1);
    let row = sheet.row(bench, "application to 8 histograms", Per::Pass, seconds).with_limit(limit);
    let budget = bench.options.budget();
    let posed = sheet.posed(HISTOGRAMS, value);
    let peer = bench.peers.schedule(Solver::ScipyHeatApplication, &posed, 3, budget)?;
    bench.add(row.with_peer(peer))
}

/// How much longer an iteration takes than the two applications of the kernel in it, to so many histograms each.
fn of_applications(sheet: &Sheet, seconds: f64, histograms: usize) -> Result<String, Failure> {
    let ratio = seconds / (2.0 * apply(sheet, histograms)?.0);
    Ok(format!("{ratio:.2} of 2 applications to {histograms} histograms"))
}

/// Full iterations between two histograms.
fn sinkhorn(bench: &mut Bench<'_>, sheet: &Sheet) -> Result<(), Failure> {
    let [a, b] = [&sheet.histograms[0], &sheet.histograms[HISTOGRAMS - 1]];
    let problem = Problem::new(sheet.heat.shared(), a, b, sheet.heat.epsilon())?;
    let seconds = mean_iteration(&problem, ITERATIONS)?;
    let limit = sheet.limit(bench, 2);
    let row = sheet.row(bench, "Sinkhorn", Per::Iteration, seconds).with_limit(limit);
    let row = row.with_note(of_applications(sheet, seconds, 1)?);
    let budget = bench.options.budget();
    let peer = bench.peers.iteration(Solver::ScipyHeatSinkhorn, &sheet.posed(1, 1.0), (1, 4), 1, budget)?;
    bench.add(row.with_peer(peer))
}

/// Iterations of the barycenter of four histograms.
fn barycenter(bench: &mut Bench<'_>, sheet: &Sheet) -> Result<(), Failure> {
    let masses = sheet.graph.masses()[..sheet.mesh.len()].to_vec();
    let reference = VertexHistogram::new(&sheet.mesh, masses)?.normalized();
    let inputs: Vec<&dyn Measure<f64>> =
        sheet.histograms[HISTOGRAMS - 4..].iter().map(|histogram| histogram as &dyn Measure<f64>).collect();
    let problem: JointProblem<_> = Barycenter::new(&sheet.heat, &reference, &ImpliedCost, sheet.heat.epsilon())
        .inputs(&inputs, &[0.25; 4])?
        .problem()?;
    // From check to check: a solve has a certificate, whose price depends on how far the iteration came.
    let mut checks = Vec::new();
    let mut clock = |_: &Progress| {
        checks.push(Instant::now());
        ControlFlow::Continue(())
    };
    BregmanProjections::new()
        .tolerance(f64::MIN_POSITIVE)
        .max_iterations(2 * ITERATIONS)
        .check_interval(ITERATIONS)
        .relaxation(Relaxation::Off)
        .run(&problem)
        .observer(&mut clock)
        .solve()?;
    let [first, second, ..] = checks[..] else { return Err("a run ended before it could be timed".into()) };
    let seconds = second.duration_since(first).as_secs_f64() / ITERATIONS as f64;
    let limit = sheet.limit(bench, 2);
    let row = sheet.row(bench, "barycenter of 4", Per::Iteration, seconds).with_limit(limit);
    let row = row.with_note(of_applications(sheet, seconds, 4)?);
    let budget = bench.options.budget();
    let peer = bench.peers.iteration(Solver::ScipyHeatBarycenter, &sheet.posed(4, 1.0), (1, 3), 1, budget)?;
    bench.add(row.with_peer(peer))
}
