//! A step of a flow of 500 points down a divergence: the gradient in the points, from the potentials of the step before.

use std::sync::Arc;

use ot_core::{Epsilon, GeometryBuilder, HalfSqEuclidean, Host, Measure, PointCloud, Potentials, Problem, Side};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, value_and_gradient};
use ot_solvers::{Sinkhorn, Start, Update};

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

/// Repetitions, of which the median counts.
const REPEATS: usize = 9;

/// Points of either cloud.
const POINTS: usize = 500;

/// The blur.
const BLUR: f64 = 0.05;

/// The error of the gradient that is asked for.
const TOLERANCE: f64 = 1e-3;

/// How far points have moved since the step before.
const STEP: f64 = 1e-3;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let posed = Flow::new(bench.options.seed, threads)?;
    let backend = CpuBackend::<f64>::new(threads)?;
    // The step before is not part of the clock.
    let (_, before) = posed.step(&backend, &posed.before, TOLERANCE, [None, None])?;
    let (points, _) = posed.arrays.points(Side::Source)?;
    let (seconds, (gradient, _)) =
        time(REPEATS, || posed.step(&backend, points, TOLERANCE, before.each_ref().map(Some)))?;
    let measured = posed.judge(&[gradient], threads).measured("warm Sinkhorn, envelope", seconds, None);
    let row = Row::new("diff", "step of a divergence flow", posed.arrays.shape(), threads, Per::Solve, measured);
    let row = Row { d: Some(2), epsilon: Some(posed.arrays.epsilon), ..row };
    bench.add_beside(&row, &[Solver::OttDivergenceGradient], |peers, solver| {
        peers.solve(solver, &posed, TOLERANCE, REPEATS, budget)
    })
}

/// Points on their way to a cloud.
struct Flow {
    arrays: Arrays,
    /// The points of the step before.
    before: Vec<f64>,
    exact: Vec<f64>,
}

/// Potentials that the next step starts from: across, and of the points against themselves.
type Known = [Arc<Potentials<Host<f64>>>; 2];

impl Flow {
    fn new(seed: u64, threads: usize) -> Result<Self, Failure> {
        let mut random = Seeded::new(seed);
        let x = random.draw(2 * POINTS, Seeded::uniform);
        let y = random.draw(2 * POINTS, |random| 0.5 + 0.15 * random.normal());
        let before = x.iter().map(|x| x + STEP * random.normal()).collect();
        let even = vec![1.0 / POINTS as f64; POINTS];
        let cost = Cost::HalfSquares { x: x.clone(), y, dimension: 2 };
        let arrays = Arrays { source: even.clone(), target: even, columns: 1, cost, epsilon: BLUR * BLUR, rho: None };
        let flow = Self { arrays, before, exact: Vec::new() };
        let exact = flow.step(&CpuBackend::new(threads)?, &x, 1e-11, [None, None])?.0;
        Ok(Self { exact, ..flow })
    }

    /// The gradient of the divergence in the points, from arrays on the host; the self term of the target does not move.
    fn step(
        &self,
        backend: &CpuBackend<f64>,
        points: &[f64],
        tolerance: f64,
        known: [Option<&Arc<Potentials<Host<f64>>>>; 2],
    ) -> Result<(Vec<f64>, Known), Failure> {
        let (x, y) = (PointCloud::uniform(points, 2)?, self.arrays.cloud(Side::Target)?);
        let solve = |other: &PointCloud<'_, f64>, update, known: Option<&Arc<Potentials<Host<f64>>>>| {
            let geometry = backend.geometry(x.support(), other.support(), &HalfSqEuclidean)?;
            let problem = Problem::new(geometry, &x, other, Epsilon::Absolute(self.arrays.epsilon))?;
            let settings = Sinkhorn::new().tolerance(tolerance).update(update);
            let start = known.map_or(Start::Zero, |known| Start::Warm(known));
            let solution = settings.run(&problem).start(start).solve()?;
            let slopes = value_and_gradient(&solution)?.1;
            Ok::<_, ot_core::Error>((slopes, Arc::clone(solution.potentials())))
        };
        let (mut across, f) = solve(&y, Update::Alternating, known[0])?;
        let (mut own, h) = solve(&x, Update::Symmetric, known[1])?;
        // Both sides of the self term move: half of twice one of them.
        let (across, own) = (across.points(Side::Source)?, own.points(Side::Source)?);
        Ok((across.iter().zip(&own).map(|(across, own)| across - own).collect(), [f, h]))
    }
}

impl Posed for Flow {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("gradient", 2 * POINTS)]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        relative(&outputs[0], &self.exact)
    }
}
