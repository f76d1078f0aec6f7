//! Barycenters: POT's on a fixed support, and its clouds with free points.
//!
//! On a fixed support, a cloud or the pixels of images, an answer is p. Its error is the L1 distance to the barycenter that a solve to 1e-12 gives, whose gap the
//! note tells, and its value the objective at p, by transports that are solved here to 1e-9. With free points an answer is the
//! points; its value is the objective there, by exact transport, and its error the excess over ours, relative.

mod images;

use std::sync::Arc;

use ot_core::{CostMatrix, Epsilon, Histogram, JointProblem, Measure, PointCloud, Problem, Side, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{Annealing, Barycenter, BregmanProjections, ExactTransport, FreeSupport, Relaxation, Sinkhorn};

use super::{
    Bench, Failure,
    peers::Solver,
    posed::Posed,
    problem::{Arrays, Cost},
    recompute::Recomputed,
    row::{Measured, Per, Row},
    timing::time,
};
use crate::seeded::Seeded;

type Host = ot_core::Host<f64>;

/// Repetitions, of which the median counts.
const REPEATS: usize = 3;

/// Atoms of the fixed support that peers are asked for.
const PEERS: usize = 300;

/// Seconds that a peer may take there.
const PATIENCE: f64 = 10.0;

/// Weights of the inputs on a fixed support.
const LAMBDA: [f64; 3] = [0.5, 0.2, 0.3];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for epsilon in [1e-2, 2e-3] {
        fixed_support(bench, epsilon)?;
    }
    images::run(bench)?;
    free_support(bench)
}

/// Three histograms on one cloud, to 1e-9: beside the plain loop, and beside POT.
fn fixed_support(bench: &mut Bench<'_>, epsilon: f64) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let n = bench.options.pick(PEERS, 1000);
    let posed = FixedSupport::on_cloud(bench.options.seed, n, epsilon, threads)?;
    for tolerance in [1e-6, 1e-9] {
        let settings = BregmanProjections::new().tolerance(tolerance).annealing(Annealing::Off);
        let (ours, iterations) = posed.measure(&settings, "over-relaxed projections")?;
        let (plain, plain_iterations) = posed.measure(&settings.relaxation(Relaxation::Off), "the plain loop")?;
        let row = posed.row(format!("fixed support, to {tolerance:e}"), ours.clone(), threads);
        let fraction = iterations as f64 / plain_iterations as f64;
        bench.add(row.with_note(format!("{fraction:.3} of the iterations")).with_peer(plain))?;
    }
    // POT's plain iteration does not arrive, in whatever time: few atoms and seconds tell as much.
    let posed = FixedSupport::on_cloud(bench.options.seed, PEERS, epsilon, threads)?;
    let (ours, _) = posed.measure(&BregmanProjections::new().tolerance(1e-9), "over-relaxed projections")?;
    let row = posed.row("fixed support, unequal weights".to_owned(), ours, threads).with_note(posed.proof());
    let solvers = [Solver::PotBarycenter, Solver::PotBarycenterLog];
    let budget = budget.min(PATIENCE);
    bench.add_beside(&row, &solvers, |peers, solver| peers.solve(solver, &posed, 1e-6, REPEATS, budget))
}

/// What makes the problem of the columns of some arrays, with these weights.
type Pose = fn(&CpuBackend<f64>, &Arrays, &[f64]) -> Result<JointProblem<Host>, Failure>;

/// Histograms on one support.
#[derive(Debug)]
struct FixedSupport {
    arrays: Arrays,
    lambda: Vec<f64>,
    pose: Pose,
    problem: JointProblem<Host>,
    backend: CpuBackend<f64>,
    /// The barycenter, and what is proven of it.
    exact: Vec<f64>,
    gap: f64,
}

impl FixedSupport {
    /// Three histograms on points in the unit square.
    fn on_cloud(seed: u64, n: usize, epsilon: f64, threads: usize) -> Result<Self, Failure> {
        // Bumps on a cloud in the unit square, so that inputs are apart.
        let mut random = Seeded::new(seed);
        let points = random.draw(2 * n, Seeded::uniform);
        let mut costs = Vec::with_capacity(n * n);
        for x in points.chunks_exact(2) {
            costs.extend(points.chunks_exact(2).map(|y| ((x[0] - y[0]).powi(2) + (x[1] - y[1]).powi(2)) / 2.0));
        }
        let bump = |[x, y]: [f64; 2]| {
            let near = |point: &[f64]| (-40.0 * ((point[0] - x).powi(2) + (point[1] - y).powi(2))).exp() + 1e-3;
            let weights: Vec<f64> = points.chunks_exact(2).map(near).collect();
            let mass: f64 = weights.iter().sum();
            weights.into_iter().map(move |weight| weight / mass)
        };
        let target = [[0.2, 0.3], [0.8, 0.2], [0.5, 0.8]].into_iter().flat_map(bump).collect();
        let cost = Cost::Matrix(costs);
        let arrays =
            Arrays { source: vec![1.0 / n as f64; n], target, columns: LAMBDA.len(), cost, epsilon, rho: None };
        Self::new(arrays, LAMBDA.to_vec(), joint, threads)
    }

    /// Poses, and solves to 1e-12.
    fn new(arrays: Arrays, lambda: Vec<f64>, pose: Pose, threads: usize) -> Result<Self, Failure> {
        let backend = CpuBackend::<f64>::new(threads)?;
        let problem = pose(&backend, &arrays, &lambda)?;
        let solution = BregmanProjections::new().tolerance(1e-12).max_iterations(100_000).solve(&problem)?;
        let (exact, gap) = (solution.measure(0)?, solution.certificate().gap);
        Ok(Self { arrays, lambda, pose, problem, backend, exact, gap })
    }

    /// What is known of the barycenter that others are compared with.
    fn proof(&self) -> String {
        format!("gap of the barycenter compared with: {:.1e}", self.gap)
    }

    fn row(&self, case: String, ours: Measured, threads: usize) -> Row {
        let n = self.arrays.source.len();
        let row = Row::new("barycenter", case, (n, n), threads, Per::Solve, ours);
        Row { epsilon: Some(self.arrays.epsilon), ..row }
    }

    /// Our side, from arrays on the host to p.
    fn measure(&self, settings: &BregmanProjections, name: &'static str) -> Result<(Measured, usize), Failure> {
        let (seconds, (p, iterations)) = time(REPEATS, || {
            let solution = settings.solve(&(self.pose)(&self.backend, &self.arrays, &self.lambda)?)?;
            Ok((solution.measure(0)?, solution.iterations()))
        })?;
        Ok((self.judge(&[p], 0).measured(name, seconds, Some(iterations)), iterations))
    }

    /// sum_k lambda_k OT(a_k, p) + epsilon sum_j p_j log(p_j / m_j) with epsilon KL(P | a p^T).
    fn objective(&self, p: &[f64]) -> Result<f64, ot_core::Error> {
        let p = Histogram::new(p)?.normalized();
        let m = 1.0 / self.arrays.source.len() as f64;
        let weights = p.weights_view().values();
        let entropy: f64 = weights.iter().map(|p| if *p > 0.0 { p * (p / m).ln() } else { 0.0 }).sum();
        let mut value = self.arrays.epsilon * entropy;
        for (term, lambda) in self.problem.terms().iter().zip(&self.lambda) {
            let given: Problem<Host> = term.problem.with_weights(Side::Target, p.weights_view())?;
            value += lambda * Sinkhorn::new().tolerance(1e-9).solve(&given)?.certificate().dual;
        }
        Ok(value)
    }
}

/// The barycenter of the columns of some arrays, whose cost is a matrix.
fn joint(backend: &CpuBackend<f64>, arrays: &Arrays, lambda: &[f64]) -> Result<JointProblem<Host>, Failure> {
    let n = arrays.source.len();
    let reference = Histogram::new(arrays.source.as_slice())?;
    let inputs: Vec<Histogram<'_, f64>> =
        arrays.target.chunks_exact(n).map(Histogram::new).collect::<Result<_, _>>()?;
    let inputs: Vec<&dyn Measure<f64>> = inputs.iter().map(|input| input as &dyn Measure<f64>).collect();
    let cost = CostMatrix::new(arrays.matrix()?, n, n)?;
    let barycenter = Barycenter::new(backend, &reference, &cost, Epsilon::Absolute(arrays.epsilon));
    Ok(barycenter.inputs(&inputs, lambda)?.problem()?)
}

impl Posed for FixedSupport {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn more_arrays(&self) -> Vec<(&'static str, Vec<f64>)> {
        vec![("lambda", self.lambda.clone())]
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("p", self.exact.len())]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        let error = outputs[0].iter().zip(&self.exact).map(|(p, exact)| (p - exact).abs()).sum();
        Recomputed { error, value: self.objective(&outputs[0]).unwrap_or(f64::NAN) }
    }
}

/// Ten clouds, and one of fewer points in their middle.
fn free_support(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let (count, m, n) = bench.options.pick((4, 300, 60), (10, 2000, 500));
    let mut posed = FreePoints::new(bench.options.seed, count, m, n, threads)?;
    let clouds = posed.clouds()?;
    let (inputs, start) = (clouds.iter().collect::<Vec<_>>(), posed.start()?);
    let settings = FreeSupport::new().tolerance(1e-4);
    let (seconds, solution) =
        time(1, || Ok(settings.solve(posed.backend.as_ref(), &inputs, &posed.lambda, &start)?))?;
    let (x, iterations, status) =
        (solution.barycenter().points().coordinates().to_vec(), solution.iterations(), solution.status());
    let value = posed.objective(&x)?;
    posed.ours = value;
    let ours = posed.judge(&[x], threads).measured("free support, exact", seconds, Some(iterations));
    let case = format!("free support, {count} clouds");
    let row = Row::new("barycenter", case, (n, m), threads, Per::Solve, ours);
    let row = Row { d: Some(2), ..row }.with_note(format!("error: excess of the objective over ours; ours {status}"));
    // POT stops by the sum of squared displacements; the same number of iterations is asked for.
    bench.add_beside(&row, &[Solver::PotFreeSupport], |peers, solver| {
        peers.double(solver, &posed, 1e-3, iterations.max(1), budget)
    })
}

/// Clouds of one size, with random weights.
#[derive(Debug)]
struct FreePoints {
    /// The weights of the barycenter, those of the inputs as columns, and the first points beside those of the first input.
    arrays: Arrays,
    points: Vec<Vec<f64>>,
    lambda: Vec<f64>,
    backend: Arc<CpuBackend<f64>>,
    ours: f64,
}

impl FreePoints {
    fn new(seed: u64, count: usize, m: usize, n: usize, threads: usize) -> Result<Self, Failure> {
        let mut random = Seeded::new(seed);
        let points: Vec<Vec<f64>> = (0..count)
            .map(|k| {
                let angle = k as f64;
                let centre = [3.0 * angle.cos(), 3.0 * angle.sin()];
                let normals = random.draw(2 * m, Seeded::normal);
                normals.iter().enumerate().map(|(i, normal)| centre[i % 2] + normal).collect()
            })
            .collect();
        let start = random.draw(2 * n, Seeded::normal);
        let target = (0..count).flat_map(|_| vec![1.0 / m as f64; m]).collect();
        let cost = Cost::HalfSquares { x: start, y: points[0].clone(), dimension: 2 };
        let arrays = Arrays { source: vec![1.0 / n as f64; n], target, columns: count, cost, epsilon: 1.0, rho: None };
        let lambda = vec![1.0 / count as f64; count];
        let backend = Arc::new(CpuBackend::<f64>::new(threads)?);
        Ok(Self { arrays, points, lambda, backend, ours: f64::NAN })
    }

    fn clouds(&self) -> Result<Vec<PointCloud<'static, f64>>, Failure> {
        let cloud = |points: &Vec<f64>| PointCloud::uniform(points.clone(), 2);
        Ok(self.points.iter().map(cloud).collect::<Result<_, _>>()?)
    }

    fn start(&self) -> Result<PointCloud<'static, f64>, Failure> {
        Ok(PointCloud::uniform(self.arrays.points(Side::Source)?.0.to_vec(), 2)?)
    }

    /// The mean squared distance to the inputs, by exact transport.
    fn objective(&self, x: &[f64]) -> Result<f64, Failure> {
        let cloud = PointCloud::uniform(x, 2)?;
        let mut value = 0.0;
        for (input, lambda) in self.clouds()?.iter().zip(&self.lambda) {
            let solution = ExactTransport::new().solve(self.backend.as_ref(), &cloud, input, &SqEuclidean)?;
            value += lambda * solution.certificate().primal;
        }
        Ok(value)
    }
}

impl Posed for FreePoints {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn more_arrays(&self) -> Vec<(&'static str, Vec<f64>)> {
        let start = self.arrays.points(Side::Source).map_or_else(|_| Vec::new(), |(start, _)| start.to_vec());
        vec![("lambda", self.lambda.clone()), ("points", self.points.concat()), ("start", start)]
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("x", 2 * self.arrays.source.len())]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        let value = self.objective(&outputs[0]).unwrap_or(f64::NAN);
        Recomputed { error: (value / self.ours - 1.0).max(0.0), value }
    }
}
