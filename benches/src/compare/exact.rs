//! Exact transport: POT's network simplex, the assignments of SciPy and lapx, and the line.
//!
//! An answer is a plan. Its value is <P, C> and its error that of its marginals, both recomputed here in `f64`; a note
//! says what our own certificate proves.

pub(super) mod instances;

use std::{collections::BTreeMap, sync::Arc};

use ot_core::{
    CostMatrix, Epsilon, GeometryBuilder, GroundCost, HalfSqEuclidean, Histogram, Manhattan, Measure, PlanEntry,
    Problem, Side,
};
use ot_cpu::CpuBackend;
use ot_solvers::{
    ExactSolution, ExactTransport, OptimalityCertificate, Sinkhorn, SparsePlan, Start, assign, certify_optimality,
    line_costs,
};

use self::instances::{Photograph, gaussian_clouds, graph_metric, line, random_costs, simplex_draw};
use super::{
    Bench, Failure,
    figure::{Curve, logarithmic},
    peers::Solver,
    posed::{OneNumber, Posed},
    problem::{Arrays, Cost},
    recompute::Recomputed,
    row::{Measured, Per, Row},
    timing::{time, time_once},
};
use crate::memory::Peak;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for dimension in [2, 3] {
        for n in bench.options.pick(vec![500], vec![2000, 5000, 10_000]) {
            clouds(bench, n, dimension, true)?;
            clouds(bench, n, dimension, false)?;
        }
    }
    large(bench)?;
    for n in bench.options.pick(vec![300], vec![1000, 2000, 5000]) {
        random(bench, n)?;
    }
    for side in bench.options.pick(vec![16], vec![32, 64]) {
        image(bench, side)?;
    }
    crossover(bench)?;
    graphs(bench)?;
    points_of_the_line(bench)
}

/// Repetitions that count, for problems of so many atoms.
fn repeats(n: usize) -> usize {
    match n {
        0..=1000 => 5,
        1001..=2500 => 3,
        2501..=5000 => 1,
        _ => 0,
    }
}

/// Gaussian clouds with random weights, or uniform ones.
fn clouds(bench: &mut Bench<'_>, n: usize, dimension: usize, weighted: bool) -> Result<(), Failure> {
    let plan = Plans(gaussian_clouds(bench.options.seed, n, dimension, weighted));
    let mut solvers = vec![Solver::PotEmd];
    if weighted && n == 5000 {
        solvers.push(Solver::PotEmdLazy);
    }
    // Between larger clouds solvers of the assignment problem take minutes.
    if !weighted && n <= 2000 {
        solvers.extend([Solver::ScipyAssignment, Solver::LapxLapjv, Solver::LapxLapjvs]);
    }
    let ours = transport(bench, &plan.0, &HalfSqEuclidean)?;
    let case = if weighted { "cloud weighted" } else { "cloud uniform" };
    beside(bench, case, &plan, Some(dimension), &ours, &solvers)
}

/// A cloud whose matrix of costs nobody can keep: ours alone.
fn large(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let n = bench.options.pick(2000, 50_000);
    let plan = Plans(gaussian_clouds(bench.options.seed, n, 2, true));
    let peak = Peak::start();
    let ours = transport(bench, &plan.0, &HalfSqEuclidean)?;
    let bytes = peak.bytes();
    let note = format!("{:.0} MiB above the input", bytes as f64 / f64::from(1 << 20));
    let ours = Ours { note: format!("{note}; {}", ours.note), ..ours };
    beside(bench, "cloud weighted", &plan, Some(2), &ours, &[])
}

/// Costs without geometry, between random weights and between uniform ones.
fn random(bench: &mut Bench<'_>, n: usize) -> Result<(), Failure> {
    let plan = Plans(random_costs(bench.options.seed, n, true));
    let ours = transport_of_matrix(bench, &plan.0)?;
    beside(bench, "random weighted", &plan, None, &ours, &[Solver::PotEmd])?;
    let plan = Plans(random_costs(bench.options.seed, n, false));
    let ours = assignment(&plan.0)?;
    let solvers = [Solver::ScipyAssignment, Solver::LapxLapjv, Solver::LapxLapjvs];
    beside(bench, "random uniform", &plan, None, &ours, &solvers)
}

/// Two photographs as histograms on a square of pixels.
fn image(bench: &mut Bench<'_>, side: u32) -> Result<(), Failure> {
    let photographs = [Photograph::Rocket, Photograph::Coffee];
    let [a, b] = photographs.map(|photograph| photograph.histogram(side));
    let (a, b) = (a?, b?);
    let plan = Plans(instances::pixels(side, &a, &b));
    let ours = transport(bench, &plan.0, &HalfSqEuclidean)?;
    beside(bench, "image, squared Euclidean", &plan, Some(2), &ours, &[Solver::PotEmd])?;
    let ours = transport(bench, &plan.0, &Manhattan)?;
    let plan = Plans(instances::manhattan(&plan.0)?);
    beside(bench, "image, Manhattan", &plan, Some(2), &ours, &[Solver::PotEmd])
}

/// Where entropic transport is the faster one: clouds of several sizes and dimensions, beside our exact solve.
fn crossover(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for dimension in [2, 8, 32] {
        for n in bench.options.pick(vec![300], vec![500, 2000, 5000]) {
            let arrays = gaussian_clouds(bench.options.seed, n, dimension, true);
            let exact = transport(bench, &arrays, &HalfSqEuclidean)?;
            for factor in [0.1, 0.01, 0.001] {
                let ours = entropic(bench, &arrays, factor, 1e-3)?;
                let difference =
                    ours.value.zip(exact.measured.value).map_or(f64::NAN, |(one, other)| one / other - 1.0);
                let row = Row::new("exact", "crossover", (n, n), bench.options.threads, Per::Solve, ours);
                let note =
                    format!("epsilon {factor} of the mean cost, to 1e-3; <P, C> above the least by {difference:.0e}");
                let row = Row { d: Some(dimension), ..row };
                bench.add(row.with_peer(exact.measured.clone()).with_note(note))?;
            }
        }
    }
    Ok(())
}

/// Uniform draws from the simplex over the metrics of random graphs (Cuturi 2013): POT, our exact solve, and Sinkhorn's
/// iteration to 1e-2. The seconds are drawn beside the page.
fn graphs(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let mut seconds: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for n in bench.options.pick(vec![64, 128], vec![64, 128, 256, 512, 1024, 2048]) {
        let metric = graph_metric(bench.options.seed, n);
        let [source, target] = [1, 2].map(|draw| simplex_draw(bench.options.seed + draw, n));
        let plan = Plans(Arrays { source, target, ..metric });
        let exact = transport_of_matrix(bench, &plan.0)?;
        beside(bench, "graph", &plan, None, &exact, &[Solver::PotEmd])?;
        seconds.entry("ExactTransport".to_owned()).or_default().push((n as f64, exact.measured.seconds));
        let last = bench.report.rows().last();
        if let Some((peer, taken)) = last.and_then(|row| row.peer.clone().zip(row.peer_s)) {
            seconds.entry(peer).or_default().push((n as f64, taken));
        }
        for factor in [0.1, 0.02] {
            let ours = entropic(bench, &plan.0, factor, 1e-2)?;
            let name = format!("Sinkhorn to 1e-2, epsilon {factor} of the mean cost");
            seconds.entry(name).or_default().push((n as f64, ours.seconds));
            let row = Row::new("exact", "graph, entropic", (n, n), bench.options.threads, Per::Solve, ours);
            let note = format!("epsilon {factor} of the mean cost, to 1e-2, beside our exact solve");
            bench.add(row.with_peer(exact.measured.clone()).with_note(note))?;
        }
    }
    let curves: Vec<Curve> = seconds.into_iter().map(|(name, points)| Curve { name, points }).collect();
    bench.report.picture(
        "exact_graph.svg",
        "Seconds over sizes",
        &logarithmic(&curves, ["atoms of each histogram", "seconds"]),
    )
}

/// Sinkhorn's iteration at a share of the mean cost, to a tolerance.
fn entropic(bench: &Bench<'_>, arrays: &Arrays, factor: f64, tolerance: f64) -> Result<Measured, Failure> {
    let (n, m) = arrays.shape();
    let backend = CpuBackend::<f64>::new(bench.options.threads)?;
    let solver = Sinkhorn::new().tolerance(tolerance);
    let epsilon = Epsilon::RelativeToMean(factor);
    let (seconds, solution) = match &arrays.cost {
        Cost::Matrix(_) => {
            let shared = arrays.matrix()?;
            time(repeats(n), || {
                let (a, b) = (Histogram::new(&arrays.source)?, Histogram::new(&arrays.target)?);
                let cost = CostMatrix::new(Arc::clone(&shared), n, m)?;
                let geometry = backend.geometry(a.support(), b.support(), &cost)?;
                Ok(solver.solve(&Problem::new(geometry, &a, &b, epsilon)?)?)
            })?
        }
        Cost::HalfSquares { .. } => time(repeats(n), || {
            let (a, b) = (arrays.cloud(Side::Source)?, arrays.cloud(Side::Target)?);
            let geometry = backend.geometry(a.support(), b.support(), &HalfSqEuclidean)?;
            let problem = Problem::new(geometry, &a, &b, epsilon)?;
            let start = Start::multiscale(&backend, &problem, &a, &b, &HalfSqEuclidean)?;
            Ok(solver.run(&problem).start(start).solve()?)
        })?,
    };
    let certificate = solution.certificate();
    Ok(Measured {
        name: "Sinkhorn".to_owned(),
        seconds,
        iterations: Some(solution.iterations()),
        error: Some(certificate.marginal_error),
        value: certificate.transport_cost,
    })
}

/// W_1 on the line.
fn points_of_the_line(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let n = bench.options.pick(100_000, 1_000_000);
    let arrays = line(bench.options.seed, n);
    let posed = OneNumber { exact: distance_on_the_line(&arrays)?, arrays };
    let backend = CpuBackend::<f64>::new(bench.options.threads)?;
    let (seconds, value) = time(3, || {
        let (a, b) = (posed.arrays.cloud(Side::Source)?, posed.arrays.cloud(Side::Target)?);
        Ok(line_costs(&backend, &a, &b, &Manhattan)?[0])
    })?;
    let ours = posed.judge(&[vec![value]], bench.options.threads).measured("line", seconds, None);
    for solver in [Solver::ScipyLine, Solver::PotLine] {
        let peer = bench.peers.schedule(solver, &posed, 3, bench.options.budget())?;
        let row = Row::new("exact", "line", (n, n), bench.options.threads, Per::Solve, ours.clone());
        let row = Row { d: Some(1), ..row }.with_note("W_1; error: relative to sums of distribution functions");
        bench.add(row.with_peer(peer))?;
    }
    Ok(())
}

/// One row for each peer, or one without.
fn beside(
    bench: &mut Bench<'_>,
    case: &str,
    plan: &Plans,
    dimension: Option<usize>,
    ours: &Ours,
    solvers: &[Solver],
) -> Result<(), Failure> {
    let (shape, threads) = (plan.0.shape(), bench.options.threads);
    let Recomputed { error, value } = plan.judge(&[plan.table(&ours.plan)], threads);
    let measured = Measured { error: Some(error), value: Some(value), ..ours.measured.clone() };
    let row = Row::new("exact", case, shape, threads, Per::Solve, measured);
    let row = Row { d: dimension, ..row };
    let mut alone = true;
    for &solver in solvers {
        let budget = bench.options.pick(20.0, 600.0);
        if let Some(peer) = bench.peers.schedule(solver, plan, repeats(shape.0), budget)? {
            alone = false;
            let difference = peer.value.map_or(f64::NAN, |peer| (peer / value - 1.0).abs());
            let note = format!("values differ by {difference:.0e}; {}", ours.note);
            bench.add(row.clone().with_peer(peer).with_note(note))?;
        }
    }
    if alone { bench.add(row.with_note(&ours.note)) } else { Ok(()) }
}

/// What we measured, and what is proven of it.
struct Ours {
    measured: Measured,
    plan: SparsePlan,
    note: String,
}

/// Transport between points.
fn transport(bench: &Bench<'_>, arrays: &Arrays, cost: &dyn GroundCost) -> Result<Ours, Failure> {
    let backend = CpuBackend::<f64>::new(bench.options.threads)?;
    let (n, _) = arrays.shape();
    let solve = || -> Result<ExactSolution, Failure> {
        let (a, b) = (arrays.cloud(Side::Source)?, arrays.cloud(Side::Target)?);
        Ok(ExactTransport::new().solve(&backend, &a, &b, cost)?)
    };
    let (seconds, solution) = if repeats(n) > 0 { time(repeats(n), solve)? } else { time_once(solve)? };
    Ok(of_solution(seconds, &solution))
}

/// Transport at the costs of a matrix.
fn transport_of_matrix(bench: &Bench<'_>, arrays: &Arrays) -> Result<Ours, Failure> {
    let ((n, m), shared) = (arrays.shape(), arrays.matrix()?);
    let backend = CpuBackend::<f64>::new(bench.options.threads)?;
    let (seconds, solution) = time(repeats(n), || {
        let (a, b) = (Histogram::new(&arrays.source)?, Histogram::new(&arrays.target)?);
        let cost = CostMatrix::new(Arc::clone(&shared), n, m)?;
        Ok(ExactTransport::new().solve(&backend, &a, &b, &cost)?)
    })?;
    Ok(of_solution(seconds, &solution))
}

fn of_solution(seconds: f64, solution: &ExactSolution) -> Ours {
    let report = solution.report();
    let measured = Measured {
        iterations: Some(report.pivots),
        value: Some(solution.certificate().primal),
        ..Measured::seconds("ExactTransport", seconds)
    };
    let search = format!(
        "{} rounds, {:.1} candidate arcs an atom{}",
        report.rounds,
        report.candidate_arcs as f64 / (solution.plan().shape().0 + solution.plan().shape().1) as f64,
        if report.guided { ", guided" } else { "" }
    );
    let note = format!("{search}; {}; {}", proof(solution.certificate()), solution.status());
    Ours { measured, plan: solution.plan().clone(), note }
}

/// Assignment at the costs of a matrix, and its certificate outside of the clock.
fn assignment(arrays: &Arrays) -> Result<Ours, Failure> {
    let ((n, m), shared) = (arrays.shape(), arrays.matrix()?);
    let (a, b) = (Histogram::new(&arrays.source)?, Histogram::new(&arrays.target)?);
    let cost = CostMatrix::new(shared, n, m)?;
    let (seconds, assignment) = time(repeats(n), || Ok(assign::<f64>(a.support(), b.support(), &cost)?))?;
    let plan = assignment.plan(1.0 / n as f64)?;
    let [f, g] = Side::BOTH.map(|side| assignment.potential(side));
    let certificate = certify_optimality::<f64>(&a, &b, &cost, &plan, f, g)?;
    Ok(Ours { measured: Measured::seconds("assign", seconds), plan, note: proof(&certificate) })
}

/// What a certificate proves, in a few words.
fn proof(certificate: &OptimalityCertificate) -> String {
    format!(
        "gap {:.0e}, smallest reduced cost {:.0e}, slackness {:.0e} of a cost of {:.1e}",
        certificate.gap,
        certificate.smallest_reduced_cost,
        certificate.largest_complementarity_violation,
        certificate.absolute_cost
    )
}

/// A problem that is answered by a plan.
struct Plans(Arrays);

impl Plans {
    /// A plan as peers return it: sources, targets and masses, n + m of each, filled up with zeros.
    fn table(&self, plan: &SparsePlan) -> Vec<f64> {
        let capacity = self.capacity();
        let mut table = vec![0.0; 3 * capacity];
        for (index, &PlanEntry { source, target, mass }) in plan.entries().iter().enumerate().take(capacity) {
            table[index] = f64::from(source);
            table[capacity + index] = f64::from(target);
            table[2 * capacity + index] = mass;
        }
        table
    }

    fn capacity(&self) -> usize {
        let (n, m) = self.0.shape();
        n + m
    }
}

impl Posed for Plans {
    fn arrays(&self) -> &Arrays {
        &self.0
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("entries", 3 * self.capacity())]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        let (capacity, table) = (self.capacity(), &outputs[0]);
        let mut rests = [self.0.source.clone(), self.0.target.clone()];
        let mut costs = vec![0.0; self.0.shape().1];
        let mut entries: Vec<(usize, usize, f64)> = (0..capacity)
            .map(|index| (table[index] as usize, table[capacity + index] as usize, table[2 * capacity + index]))
            .filter(|(_, _, mass)| *mass > 0.0)
            .collect();
        entries.sort_by_key(|&(source, target, _)| (source, target));
        let (mut value, mut row) = (0.0, usize::MAX);
        for (source, target, mass) in entries {
            if source != row {
                self.0.cost_row(source, &mut costs);
                row = source;
            }
            value += mass * costs[target];
            rests[0][source] -= mass;
            rests[1][target] -= mass;
        }
        let mass: f64 = self.0.source.iter().sum();
        let error = rests.iter().flatten().map(|rest| rest.abs()).sum::<f64>() / mass;
        Recomputed { error, value }
    }
}

/// W_1 between points of the line: the integral of the difference of the distribution functions.
fn distance_on_the_line(arrays: &Arrays) -> Result<f64, Failure> {
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (side, sign) in Side::BOTH.into_iter().zip([1.0, -1.0]) {
        let weights = arrays.weights(side).iter().map(|weight| sign * weight);
        steps.extend(arrays.points(side)?.0.iter().copied().zip(weights));
    }
    steps.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut exact, mut difference) = (0.0, 0.0);
    for pair in steps.windows(2) {
        difference += pair[0].1;
        exact += f64::abs(difference) * (pair[1].0 - pair[0].0);
    }
    Ok(exact)
}
