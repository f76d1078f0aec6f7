//! The gradient of the entropic value in the points of large clouds, by the envelope theorem: one pass over the pairs after the solve.

use ot_core::{Epsilon, GeometryBuilder, HalfSqEuclidean, Host, Measure, Problem, Scalar, Side, Solution};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_diff::{Gradient, value_and_gradient};
use ot_solvers::Sinkhorn;

use super::{
    super::{
        Bench, Failure,
        peers::Solver,
        posed::Posed,
        problem::{Arrays, Narrowed},
        recompute::Recomputed,
        row::{Per, Row},
        timing::{time, time_once},
    },
    relative,
};
use crate::memory::Peak;

/// The blur of the schedule.
const BLUR: f64 = 0.05;

/// Repetitions, of which the median counts.
const REPEATS: usize = 3;

/// The error asked for where no peer sets it.
const TOLERANCE: f64 = 1e-3;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let n = bench.options.pick(2000, 10_000);
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let posed = Clouds::new(Arrays::cube_and_blob(bench.options.seed, n, n, 3, BLUR), threads)?;
    for peer in bench.peers.schedules(&[Solver::GeomLossGradient], &posed, REPEATS, budget)? {
        let tolerance = peer.as_ref().and_then(|peer| peer.error).unwrap_or(TOLERANCE);
        let (seconds, (gradient, iterations)) = time(REPEATS, || posed.gradient::<f32>(threads, tolerance))?;
        bench.add(posed.row(&gradient, seconds, iterations, threads).with_peer(peer))?;
    }
    if n == 10_000 {
        // Nothing of the size of the pairs is kept: 5e4 x 5e4 of them would be 10 GB.
        let n = 50_000;
        let posed = Clouds { arrays: Arrays::cube_and_blob(bench.options.seed, n, n, 3, BLUR), exact: Vec::new() };
        let peak = Peak::start();
        let (seconds, (gradient, iterations)) = time_once(|| posed.gradient::<f32>(threads, TOLERANCE))?;
        let note = format!("memory O(n + m): peak {:.1} MiB above the input", peak.bytes() as f64 / f64::from(1 << 20));
        let row = posed.row(&gradient, seconds, iterations, threads);
        bench.add(Row { ours_error: None, ..row }.with_note(note))?;
    }
    Ok(())
}

/// Two clouds, and the gradient in the points of the first.
struct Clouds {
    arrays: Arrays,
    exact: Vec<f64>,
}

impl Clouds {
    fn new(arrays: Arrays, threads: usize) -> Result<Self, Failure> {
        let posed = Self { arrays, exact: Vec::new() };
        let exact = posed.gradient::<f64>(threads, 1e-9)?.0;
        Ok(Self { exact, ..posed })
    }

    /// From arrays on the host to the gradient on the host, and the iterations of the solve.
    fn gradient<T: CpuScalar>(&self, threads: usize, tolerance: f64) -> Result<(Vec<f64>, usize), Failure> {
        let [source, target] = Side::BOTH.map(|side| Narrowed::<T>::new(&self.arrays, side));
        let (source, target) = (source?, target?);
        // Weights of single precision sum to one only there.
        let (source, target) = (source.cloud()?.normalized(), target.cloud()?.normalized());
        let backend = CpuBackend::<T>::new(threads)?.with_dense_limit(0);
        let geometry = backend.geometry(source.support(), target.support(), &HalfSqEuclidean)?;
        let problem = Problem::new(geometry, &source, &target, Epsilon::Absolute(self.arrays.epsilon))?;
        let solution: Solution<Host<T>> = Sinkhorn::new().tolerance(tolerance).solve(&problem)?;
        let gradient = value_and_gradient(&solution)?.1.points(Side::Source)?;
        Ok((gradient.into_iter().map(Scalar::to_f64).collect(), solution.iterations()))
    }

    /// A row, its limit a cost and an exponential for each pair of each iteration and of the gradient.
    fn row(&self, gradient: &[f64], seconds: f64, iterations: usize, threads: usize) -> Row {
        let measured =
            relative(gradient, &self.exact).measured("value_and_gradient, streaming", seconds, Some(iterations));
        let row = Row::new("diff", "gradient in points", self.arrays.shape(), threads, Per::Solve, measured);
        Row { d: Some(self.arrays.dimension()), epsilon: Some(self.arrays.epsilon), dtype: "f32", ..row }
    }
}

impl Posed for Clouds {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        vec![("gradient", self.arrays.source.len() * self.arrays.dimension())]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        relative(&outputs[0], &self.exact)
    }
}
