//! Maximum mean discrepancies between clouds in space: GeomLoss on kernels recomputed.
//!
//! An answer is one number, MMD^2. Its error is relative to the sum over all pairs, recomputed here in `f64`.

use std::thread;

use ot_core::{Error, Side, SqEuclidean};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::MaximumMeanDiscrepancy;

use super::{
    Bench, Failure,
    peers::Solver,
    posed::{OneNumber, Posed},
    problem::{Arrays, Narrowed},
    row::{Measured, Per, Row},
    timing::time,
};

/// The deviation of the Gaussian kernel.
const DEVIATION: f64 = 0.05;

/// Repetitions, of which the median counts.
const REPEATS: usize = 3;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let n = bench.options.pick(5000, 50_000);
    // The blur of a Gaussian kernel is its deviation; an energy distance has none.
    let arrays = Arrays::cube_and_blob(bench.options.seed, n, n, 3, DEVIATION);
    let kernels = [(Kernel::Energy, Solver::GeomLossEnergy), (Kernel::Gaussian, Solver::GeomLossGaussian)];
    for (kernel, solver) in kernels {
        let (threads, budget) = (bench.options.threads, bench.options.budget());
        let exact = squared_discrepancy(&arrays, kernel, threads)?;
        let posed = OneNumber { arrays: arrays.clone(), exact };
        let ours = measure::<f32>(&posed, kernel, threads)?;
        let peer = bench.peers.schedule(solver, &posed, REPEATS, budget)?;
        let (n, m) = arrays.shape();
        let row = Row::new("divergence", kernel.case(), (n, m), threads, Per::Solve, ours);
        let row = Row { d: Some(arrays.dimension()), dtype: "f32", ..row }.with_note("error: relative, of MMD^2");
        let pairs = (n * m + n * n + m * m) as f64;
        let rate = match kernel {
            Kernel::Energy => None,
            Kernel::Gaussian => bench.roof.pairs::<f32>(&SqEuclidean, arrays.dimension()),
        };
        bench.add(row.with_limit(rate.map(|rate| pairs / rate)).with_peer(peer))?;
    }
    Ok(())
}

/// The kernel of a discrepancy.
#[derive(Clone, Copy, Debug)]
enum Kernel {
    /// -|x - y|.
    Energy,
    /// exp(-|x - y|^2 / (2 sigma^2)).
    Gaussian,
}

impl Kernel {
    fn case(self) -> &'static str {
        match self {
            Self::Energy => "MMD^2, energy kernel",
            Self::Gaussian => "MMD^2, Gaussian kernel of deviation 0.05",
        }
    }

    fn ours(self) -> Result<MaximumMeanDiscrepancy, Error> {
        match self {
            Self::Energy => MaximumMeanDiscrepancy::energy(1.0),
            Self::Gaussian => MaximumMeanDiscrepancy::gaussian(DEVIATION),
        }
    }

    /// At points that are so many squares apart.
    fn at(self, squared_distance: f64) -> f64 {
        match self {
            Self::Energy => -squared_distance.sqrt(),
            Self::Gaussian => (-squared_distance / (2.0 * DEVIATION * DEVIATION)).exp(),
        }
    }
}

/// MMD^2 between two clouds.
fn squared_discrepancy(arrays: &Arrays, kernel: Kernel, threads: usize) -> Result<f64, Failure> {
    let [(x, dimension), (y, _)] = [arrays.points(Side::Source)?, arrays.points(Side::Target)?];
    // One signed cloud: a at x, -b at y.
    let points: Vec<&[f64]> = x.chunks_exact(dimension).chain(y.chunks_exact(dimension)).collect();
    let weights: Vec<f64> = arrays.source.iter().copied().chain(arrays.target.iter().map(|b| -b)).collect();
    Ok(energy(&points, &weights, kernel, threads))
}

/// sum_ij w_i w_j k(z_i, z_j), each pair met once.
fn energy(points: &[&[f64]], weights: &[f64], kernel: Kernel, threads: usize) -> f64 {
    let between = |i: usize, j: usize| {
        let squared_distance = points[i].iter().zip(points[j]).map(|(x, y)| (x - y) * (x - y)).sum();
        weights[i] * weights[j] * kernel.at(squared_distance)
    };
    // Rows are dealt out in turn, since each is shorter than the one before.
    let share = |first: usize| -> f64 {
        let rows = (first..points.len()).step_by(threads);
        rows.map(|i| between(i, i) + 2.0 * (i + 1..points.len()).map(|j| between(i, j)).sum::<f64>()).sum()
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || share(first))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or(f64::NAN)).sum()
    })
}

/// Our side, from arrays on the host to the number.
fn measure<T: CpuScalar>(posed: &OneNumber, kernel: Kernel, threads: usize) -> Result<Measured, Failure> {
    let [source, target] = Side::BOTH.map(|side| Narrowed::<T>::new(&posed.arrays, side));
    let (source, target) = (source?, target?);
    let backend = CpuBackend::<T>::new(threads)?.with_dense_limit(0);
    let discrepancy = kernel.ours()?;
    let (seconds, value) =
        time(REPEATS, || Ok(discrepancy.between(&backend, &source.cloud()?, &target.cloud()?)?.squared()))?;
    Ok(posed.judge(&[vec![value]], threads).measured("MMD, streaming", seconds, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_atoms_have_the_energy_of_their_pairs() {
        let points = [[0.0].as_slice(), &[1.0], &[3.0]];
        // 2 E|X - Y| - E|X - X'| = 2 * 2.5 - 0.5 for halves at 0 and 1 against one at 3.
        for threads in [1, 2, 5] {
            let squared = energy(&points, &[0.5, 0.5, -1.0], Kernel::Energy, threads);
            assert!((squared - 4.5).abs() < 1e-15, "{squared}");
        }
    }
}
