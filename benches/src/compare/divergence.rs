//! Sinkhorn divergences between clouds in space, costs recomputed: GeomLoss, to the error of its own potentials.
//!
//! An answer is four potentials: two of the problem between the clouds, one of each cloud against itself. Its error is the
//! largest of the three marginal errors, its value S = OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2 of the three duals.

use ot_core::{Device, Epsilon, HalfSqEuclidean, Scalar, Side};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{Divergence, Sinkhorn, SinkhornDivergence};

use super::{
    Bench, Failure,
    peers::Solver,
    posed::Posed,
    problem::{Arrays, Narrowed},
    recompute::{Recomputed, recompute},
    row::{Measured, Per, Row},
    timing::time,
};

/// The blur of the schedule.
const BLUR: f64 = 0.05;

/// Our name in the tables.
const NAME: &str = "Sinkhorn divergence, streaming";

/// Repetitions, of which the median counts.
const REPEATS: usize = 5;

/// The error asked for where no peer sets it.
const TOLERANCE: f64 = 1e-3;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let n = bench.options.pick(2000, 10_000);
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    let debiased = Debiased::new(Arrays::cube_and_blob(bench.options.seed, n, n, 3, BLUR))?;
    let solvers = [Solver::GeomLossDebiasedOnline, Solver::GeomLossDebiasedMultiscale];
    for peer in bench.peers.schedules(&solvers, &debiased, 3, budget)? {
        let tolerance = peer.as_ref().and_then(|peer| peer.error).unwrap_or(TOLERANCE);
        let row = row(bench, &debiased, solve::<f32>(&debiased, threads, tolerance)?, tolerance);
        bench.add(row.with_peer(peer))?;
    }
    Ok(())
}

/// A problem between two clouds, and those of each against itself.
struct Debiased {
    cross: Arrays,
    own: [Arrays; 2],
}

impl Debiased {
    fn new(cross: Arrays) -> Result<Self, Failure> {
        Ok(Self { own: [cross.own(Side::Source)?, cross.own(Side::Target)?], cross })
    }
}

impl Posed for Debiased {
    fn arrays(&self) -> &Arrays {
        &self.cross
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        let (n, m) = self.cross.shape();
        vec![("f", n), ("g", m), ("f_self", n), ("g_self", m)]
    }

    fn judge(&self, outputs: &[Vec<f64>], threads: usize) -> Recomputed {
        let [f, g, source, target] = outputs else { return Recomputed { error: f64::NAN, value: f64::NAN } };
        let cross = recompute(&self.cross, f, g, threads);
        let source = recompute(&self.own[0], source, source, threads);
        let target = recompute(&self.own[1], target, target, threads);
        Recomputed {
            error: cross.error.max(source.error).max(target.error),
            value: cross.value - 0.5 * (source.value + target.value),
        }
    }
}

/// Our side, from arrays on the host to potentials on the host.
fn solve<T: CpuScalar>(posed: &Debiased, threads: usize, tolerance: f64) -> Result<Measured, Failure> {
    let arrays = posed.arrays();
    let [source, target] = Side::BOTH.map(|side| Narrowed::<T>::new(arrays, side));
    let (source, target) = (source?, target?);
    let backend = CpuBackend::<T>::new(threads)?.with_dense_limit(0);
    let settings = SinkhornDivergence::new().sinkhorn(Sinkhorn::new().tolerance(tolerance));
    let (seconds, (divergence, outputs)) = time(REPEATS, || {
        let epsilon = Epsilon::Absolute(arrays.epsilon);
        let divergence = settings.between(&backend, &source.cloud()?, &target.cloud()?, &HalfSqEuclidean, epsilon)?;
        let outputs = potentials(&divergence)?;
        Ok((divergence, outputs))
    })?;
    let own: usize = Side::BOTH.iter().map(|&side| divergence.self_term(side).iterations()).sum();
    Ok(posed.judge(&outputs, threads).measured(NAME, seconds, Some(divergence.cross().iterations() + own)))
}

/// The four potentials of an answer.
fn potentials<D: Device>(divergence: &Divergence<D>) -> Result<Vec<Vec<f64>>, Failure> {
    let solutions = [
        (divergence.cross(), Side::Source),
        (divergence.cross(), Side::Target),
        (divergence.self_term(Side::Source), Side::Source),
        (divergence.self_term(Side::Target), Side::Source),
    ];
    let wide = |values: Vec<D::Elem>| values.into_iter().map(Scalar::to_f64).collect();
    solutions.into_iter().map(|(solution, side)| Ok(wide(solution.potential(side)?))).collect()
}

/// A row of ours, its limit one cost and one exponential a pair and iteration, of which an iteration of a self term is one
/// too.
fn row(bench: &Bench<'_>, posed: &Debiased, ours: Measured, tolerance: f64) -> Row {
    let arrays = posed.arrays();
    let ((n, m), d) = (arrays.shape(), arrays.dimension());
    let pairs = ours.iterations.unwrap_or(0) * n * m;
    let limit = bench.roof.pairs::<f32>(&HalfSqEuclidean, d).map(|rate| pairs as f64 / rate);
    let missed = ours.error.is_none_or(|error| error > tolerance).then(|| "ours missed the tolerance".to_owned());
    let row =
        Row::new("divergence", "Sinkhorn divergence, cube and blob", (n, m), bench.options.threads, Per::Solve, ours);
    Row { d: Some(d), epsilon: Some(arrays.epsilon), dtype: "f32", ..row }.with_limit(limit).with_remark(missed)
}
