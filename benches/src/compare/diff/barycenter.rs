//! The gradient of |p - q|^2 in the weights lambda, for the barycenter p of five images after fifty iterations, and after all.
//!
//! Weights of sum one: what a gradient has along (1, ..., 1) is taken off. Unrolled, ours is held against itself, so that the error of
//! a peer tells whether both differentiate the same iterations.

use ot_core::{Axis, Epsilon, Grid, GridHistogram, HalfSqEuclidean, JointProblem, Measure};
use ot_cpu::CpuBackend;
use ot_diff::LinearisedBarycenter;
use ot_solvers::{Barycenter, BarycentricCoordinates, BregmanProjections};

use super::{
    super::{
        Bench, Failure,
        peers::Solver,
        posed::Posed,
        problem::{Arrays, Cost},
        recompute::Recomputed,
        row::{Per, Row},
        timing::time,
    },
    relative,
};
use crate::seeded::Seeded;

type Host = ot_core::Host<f64>;

/// Repetitions, of which the median counts.
const REPEATS: usize = 3;

/// Iterations that are unrolled.
const ITERATIONS: usize = 50;

/// Weights of the images.
const LAMBDA: [f64; 5] = [0.3, 0.1, 0.25, 0.15, 0.2];

/// Blur in pixels, of an image of 128 x 128.
const BLUR: f64 = 4.0;

/// The error that a peer is to have.
const TOLERANCE: f64 = 1e-6;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (side, threads) = (bench.options.pick(64, 128), bench.options.threads);
    let mut posed = Images::new(side, bench.options.seed)?;
    let backend = CpuBackend::<f64>::new(threads)?;
    let settings = BarycentricCoordinates::new().unrolled(ITERATIONS);
    let (seconds, (_, gradient)) =
        time(REPEATS, || Ok(settings.value_and_gradient(&posed.problem(&backend)?, &posed.goal, &LAMBDA)?))?;
    posed.exact = zero_sum(&gradient);
    let measured = posed.judge(&[gradient], threads).measured("unrolled", seconds, Some(ITERATIONS));
    let case = "gradient of a barycenter in lambda, 50 iterations";
    let row = posed.row(case, measured, threads);
    bench.add_beside(&row, &[Solver::PotBarycenterGradient], |peers, solver| {
        // As many iterations, and no more: those of 128 x 128 pixels, doubled, leave no memory.
        peers.double(solver, &posed, TOLERANCE, ITERATIONS, 0.0)
    })?;

    let solver = BregmanProjections::new().tolerance(1e-8);
    let (seconds, (gradient, steps)) = time(1, || {
        let solution = solver.solve(&posed.problem(&backend)?)?;
        let slope: Vec<f64> = solution.measure(0)?.iter().zip(&posed.goal).map(|(p, q)| 2.0 * (p - q)).collect();
        let mut linearised = LinearisedBarycenter::new(&solution)?;
        let pulled = linearised.pull_back(&slope)?;
        Ok((pulled.lambda(), pulled.solve().steps))
    })?;
    posed.exact = zero_sum(
        &settings
            .clone()
            .unrolled(8 * ITERATIONS)
            .value_and_gradient(&posed.problem(&backend)?, &posed.goal, &LAMBDA)?
            .1,
    );
    let measured = posed.judge(&[gradient], threads).measured("implicit", seconds, Some(steps));
    bench.add(
        posed
            .row("gradient of a converged barycenter in lambda", measured, threads)
            .with_note("error against 400 iterations unrolled".to_owned()),
    )
}

/// Images of a few blobs.
struct Images {
    arrays: Arrays,
    side: usize,
    goal: Vec<f64>,
    exact: Vec<f64>,
}

impl Images {
    fn new(side: usize, seed: u64) -> Result<Self, Failure> {
        let mut random = Seeded::new(seed);
        let points = Grid::<f64>::pixels(&[side, side])?.points()?.coordinates().to_vec();
        let mut image = || {
            let mut weights = vec![1e-4; side * side];
            for _ in 0..3 {
                let centre = [0, 1].map(|_| side as f64 * (0.2 + 0.6 * random.uniform()));
                let width = side as f64 * (0.04 + 0.06 * random.uniform());
                for (weight, point) in weights.iter_mut().zip(points.chunks_exact(2)) {
                    let square = (point[0] - centre[0]).powi(2) + (point[1] - centre[1]).powi(2);
                    *weight += (-square / (2.0 * width * width)).exp();
                }
            }
            let mass: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / mass).collect::<Vec<f64>>()
        };
        let target = (0..LAMBDA.len()).flat_map(|_| image()).collect();
        let goal = image();
        let blur = BLUR * side as f64 / 128.0;
        let cost = Cost::HalfSquares { x: points.clone(), y: points, dimension: 2 };
        let source = vec![1.0 / (side * side) as f64; side * side];
        let arrays = Arrays { source, target, columns: LAMBDA.len(), cost, epsilon: 0.5 * blur * blur, rho: None };
        Ok(Self { arrays, side, goal, exact: Vec::new() })
    }

    fn problem(&self, backend: &CpuBackend<f64>) -> Result<JointProblem<Host>, Failure> {
        let axes = [self.side; 2].map(Axis::pixels);
        let grid = Grid::new(axes.into_iter().collect::<Result<Vec<_>, _>>()?)?;
        let histogram = |weights: &[f64]| GridHistogram::new(&grid, weights.to_vec());
        let images: Vec<_> =
            self.arrays.target.chunks_exact(self.side * self.side).map(histogram).collect::<Result<_, _>>()?;
        let reference = histogram(&self.arrays.source)?;
        let images: Vec<&dyn Measure<f64>> = images.iter().map(|image| image as &dyn Measure<f64>).collect();
        let barycenter = Barycenter::new(backend, &reference, &HalfSqEuclidean, Epsilon::Absolute(self.arrays.epsilon));
        Ok(barycenter.inputs(&images, &LAMBDA)?.problem()?)
    }

    fn row(&self, case: &str, measured: super::super::row::Measured, threads: usize) -> Row {
        let n = self.side * self.side;
        let row = Row::new("diff", case, (n, n), threads, Per::Solve, measured);
        Row { d: Some(2), epsilon: Some(self.arrays.epsilon), ..row }
    }
}

/// Numbers less their mean.
fn zero_sum(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| value - mean).collect()
}

impl Posed for Images {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn more_arrays(&self) -> Vec<(&'static str, Vec<f64>)> {
        vec![("lambda", LAMBDA.to_vec()), ("goal", self.goal.clone())]
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("gradient", LAMBDA.len())]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        relative(&zero_sum(&outputs[0]), &self.exact)
    }
}
