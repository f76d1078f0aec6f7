//! Our side: from arrays on the host to potentials on the host.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use ot_core::{
    Balanced, CostMatrix, Device, Epsilon, GeometryBuilder, GroundCost, HalfSqEuclidean, Histogram, Host, Kl, Measure,
    Phase, PointCloud, Problem, Progress, RecordedPenalty, Scalar, Side, Status,
};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{Annealing, HandOver, Relaxation, Sinkhorn, Start};

use super::{
    Failure,
    problem::{Arrays, Cost, narrow},
    recompute::recompute,
    row::Measured,
    timing::{median, time},
};

/// The arrays of a problem in one element type, before the clock runs.
pub(super) struct Ours<'a, T: CpuScalar> {
    arrays: &'a Arrays,
    backend: CpuBackend<T>,
    /// Weights of source and target.
    weights: [Vec<T>; 2],
    cost: Stored<T>,
}

enum Stored<T> {
    /// The array that a caller has, shared without a copy.
    Matrix(Arc<Vec<T>>),
    Points {
        points: [Vec<T>; 2],
        dimension: usize,
    },
}

/// What a solve returned.
struct Outcome {
    f: Vec<f64>,
    g: Vec<f64>,
    iterations: usize,
    status: Status,
}

impl<'a, T: CpuScalar> Ours<'a, T> {
    /// Costs between points are stored up to `dense_limit` entries.
    pub(super) fn new(arrays: &'a Arrays, threads: usize, dense_limit: usize) -> Result<Self, Failure> {
        let cost = match &arrays.cost {
            Cost::Matrix(cost) => Stored::Matrix(Arc::new(narrow(cost))),
            Cost::HalfSquares { x, y, dimension } => {
                Stored::Points { points: [narrow(x), narrow(y)], dimension: *dimension }
            }
        };
        let backend = CpuBackend::new(threads)?.with_dense_limit(dense_limit);
        Ok(Self { arrays, backend, weights: [narrow(&arrays.source), narrow(&arrays.target)], cost })
    }

    /// A solve to a tolerance, and a remark if that was not met.
    pub(super) fn solve(
        &self,
        name: &str,
        tolerance: f64,
        repeats: usize,
    ) -> Result<(Measured, Option<String>), Failure> {
        let solver = Sinkhorn::new().tolerance(tolerance);
        let (seconds, outcome) = time(repeats, || self.run(&solver, true))?;
        let recomputed = recompute(self.arrays, &outcome.f, &outcome.g, self.backend.threads());
        let measured = recomputed.measured(name, seconds, Some(outcome.iterations));
        let remark = if !outcome.status.is_converged() {
            Some(format!("ours: {}", outcome.status))
        } else if recomputed.error <= tolerance {
            None
        } else {
            Some("ours missed the tolerance".to_owned())
        };
        Ok((measured, remark))
    }

    /// A plain iteration of `iterations`, checks included.
    pub(super) fn iteration(&self, name: &str, iterations: usize, repeats: usize) -> Result<Measured, Failure> {
        let problem = self.problem()?;
        let seconds = (0..repeats).map(|_| mean_iteration(&problem, iterations)).collect::<Result<_, _>>()?;
        Ok(Measured::seconds(name, median(seconds)))
    }

    /// From the arrays to potentials on the host; clouds start from their clusters if that is wanted.
    fn run(&self, solver: &Sinkhorn, from_clusters: bool) -> Result<Outcome, Failure> {
        let [source, target] = [self.measure(Side::Source)?, self.measure(Side::Target)?];
        let problem = self.problem()?;
        let start = match &self.cost {
            Stored::Points { .. } if from_clusters => {
                Start::multiscale(&self.backend, &problem, &source, &target, &HalfSqEuclidean)?
            }
            _ => Start::Zero,
        };
        let solution = solver.run(&problem).start(start).solve()?;
        let wide = |side: Side| -> Result<Vec<f64>, Failure> {
            Ok(solution.potential(side)?.into_iter().map(Scalar::to_f64).collect())
        };
        let (f, g) = (wide(Side::Source)?, wide(Side::Target)?);
        Ok(Outcome { f, g, iterations: solution.iterations(), status: solution.status() })
    }

    /// Potentials after so many plain iterations.
    pub(super) fn potentials(&self, iterations: usize) -> Result<(Vec<f64>, Vec<f64>), Failure> {
        let Outcome { f, g, .. } = self.run(&plain(iterations), false)?;
        Ok((f, g))
    }

    /// The measure of one side.
    fn measure(&self, side: Side) -> Result<Box<dyn Measure<T> + '_>, Failure> {
        let weights = self.weights[side.index()].as_slice();
        Ok(match &self.cost {
            Stored::Matrix(_) => Box::new(Histogram::batch(weights, side.of([1, self.arrays.columns]))?),
            Stored::Points { points, dimension } => {
                Box::new(PointCloud::new(points[side.index()].as_slice(), *dimension, weights)?)
            }
        })
    }

    /// The problem, its geometry built.
    pub(super) fn problem(&self) -> Result<Problem<Host<T>>, Failure> {
        let [source, target] = [self.measure(Side::Source)?, self.measure(Side::Target)?];
        let (n, m) = self.arrays.shape();
        let matrix;
        let cost: &dyn GroundCost = match &self.cost {
            Stored::Matrix(cost) => {
                matrix = CostMatrix::new(Arc::clone(cost), n, m)?;
                &matrix
            }
            Stored::Points { .. } => &HalfSqEuclidean,
        };
        let geometry = self.backend.geometry(source.support(), target.support(), cost)?;
        let epsilon = Epsilon::Absolute(self.arrays.epsilon);
        let penalty = match self.arrays.rho {
            Some(rho) => RecordedPenalty::new(&Kl::new(rho)?)?,
            None => RecordedPenalty::new(&Balanced)?,
        };
        Ok(Problem::unbalanced(geometry, &source, &target, epsilon, &penalty, &penalty)?)
    }
}

/// Iterations that do not count: kernels are absorbed and caches warmed in them.
const WARM: usize = 10;

/// Seconds that one run of iterations takes at most, once enough of them are timed.
const PATIENCE: Duration = Duration::from_millis(500);

/// The mean seconds of an iteration over a run of the plain solver, from the check after [`WARM`] iterations to the
/// last check, checks included: everything that recurs is in it, what a solve does once is not.
pub(super) fn mean_iteration<D: Device>(problem: &Problem<D>, iterations: usize) -> Result<f64, Failure> {
    let (mut first, mut last) = (None, None);
    let mut clock = |progress: &Progress| {
        // Not the certificate, whose price depends on how far the iteration came.
        if progress.phase != Phase::Iterations {
            return ControlFlow::Continue(());
        }
        let now = (progress.done, Instant::now());
        match first {
            None if progress.done >= WARM => first = Some(now),
            None => {}
            Some((_, start)) => {
                last = Some(now);
                if now.1.duration_since(start) > PATIENCE {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    };
    plain(WARM + iterations).run(problem).start(Start::Zero).observer(&mut clock).solve()?;
    match (first, last) {
        (Some((from, start)), Some((to, end))) => Ok(end.duration_since(start).as_secs_f64() / (to - from) as f64),
        _ => Err("a plain run ended before its iterations could be timed".into()),
    }
}

/// So many iterations of Sinkhorn's plain iteration.
fn plain(iterations: usize) -> Sinkhorn {
    Sinkhorn::new()
        .tolerance(f64::MIN_POSITIVE)
        .max_iterations(iterations)
        .annealing(Annealing::Off)
        .relaxation(Relaxation::Off)
        .hand_over(HandOver::Never)
}
