//! Our side: from arrays on the host to potentials on the host.

use ot_core::{
    Backend, CostMatrix, Epsilon, GroundCost, HalfSqEuclidean, Histogram, Measure, PointCloud, Problem, Side, Status,
};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{Annealing, Relaxation, Sinkhorn};

use super::{
    Failure,
    problem::{Arrays, Cost},
    recompute::recompute,
    row::Measured,
    timing::time,
};

/// The arrays of a problem in one element type, before the clock runs.
pub(super) struct Ours<'a, T: CpuScalar> {
    arrays: &'a Arrays,
    backend: CpuBackend<T>,
    source: Vec<T>,
    target: Vec<T>,
    cost: Stored<T>,
}

enum Stored<T> {
    Matrix(Vec<T>),
    Points { x: Vec<T>, y: Vec<T>, dimension: usize },
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
        let narrow = |values: &[f64]| -> Vec<T> { values.iter().map(|&value| T::from_f64(value)).collect() };
        let cost = match &arrays.cost {
            Cost::Matrix(cost) => Stored::Matrix(narrow(cost)),
            Cost::HalfSquares { x, y, dimension } => {
                Stored::Points { x: narrow(x), y: narrow(y), dimension: *dimension }
            }
        };
        let backend = CpuBackend::new(threads)?.with_dense_limit(dense_limit);
        Ok(Self { arrays, backend, source: narrow(&arrays.source), target: narrow(&arrays.target), cost })
    }

    /// A solve to a tolerance, and why it ended.
    pub(super) fn solve(&self, name: &str, solver: &Sinkhorn, repeats: usize) -> Result<(Measured, Status), Failure> {
        let (seconds, Outcome { f, g, iterations, status }) = time(repeats, || self.run(solver))?;
        let recomputed = recompute(self.arrays, &f, &g, self.backend.threads());
        let measured = Measured {
            name: name.to_owned(),
            seconds,
            iterations: Some(iterations),
            error: Some(recomputed.error),
            value: Some(recomputed.value),
        };
        Ok((measured, status))
    }

    /// A plain iteration: what `last` of them take more than `first`.
    pub(super) fn iteration(
        &self,
        name: &str,
        (first, last): (usize, usize),
        repeats: usize,
    ) -> Result<Measured, Failure> {
        let seconds = |iterations: usize| time(repeats, || self.run(&plain(iterations)));
        let ((few, _), (many, outcome)) = (seconds(first)?, seconds(last)?);
        if outcome.iterations != last {
            return Err(format!("a plain run ended after {} of {last} iterations", outcome.iterations).into());
        }
        Ok(Measured::seconds(name, (many - few) / (last - first) as f64))
    }

    fn run(&self, solver: &Sinkhorn) -> Result<Outcome, Failure> {
        let (source, target): (Box<dyn Measure<T> + '_>, Box<dyn Measure<T> + '_>) = match &self.cost {
            Stored::Matrix(_) => (
                Box::new(Histogram::new(self.source.as_slice())?),
                Box::new(Histogram::batch(self.target.as_slice(), self.arrays.columns)?),
            ),
            Stored::Points { x, y, dimension } => (
                Box::new(PointCloud::new(x.as_slice(), *dimension, self.source.as_slice())?),
                Box::new(PointCloud::new(y.as_slice(), *dimension, self.target.as_slice())?),
            ),
        };
        let (n, m) = self.arrays.shape();
        let matrix;
        let cost: &dyn GroundCost = match &self.cost {
            Stored::Matrix(cost) => {
                matrix = CostMatrix::new(cost.as_slice(), n, m)?;
                &matrix
            }
            Stored::Points { .. } => &HalfSqEuclidean,
        };
        let geometry = self.backend.geometry(source.support(), target.support(), cost)?;
        let epsilon = Epsilon::Absolute(self.arrays.epsilon);
        let problem = Problem::new(geometry, source.as_ref(), target.as_ref(), epsilon)?;
        let solution = solver.solve(&problem)?;
        let wide = |side: Side| -> Result<Vec<f64>, Failure> {
            Ok(solution.potential(side)?.into_iter().map(|value| value.to_f64()).collect())
        };
        let (f, g) = (wide(Side::Source)?, wide(Side::Target)?);
        Ok(Outcome { f, g, iterations: solution.iterations(), status: solution.status() })
    }
}

/// So many iterations of Sinkhorn's plain iteration.
pub(super) fn plain(iterations: usize) -> Sinkhorn {
    Sinkhorn::new()
        .tolerance(f64::MIN_POSITIVE)
        .max_iterations(iterations)
        .annealing(Annealing::Off)
        .relaxation(Relaxation::Off)
}
