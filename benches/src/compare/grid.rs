//! Images and volumes: full iterations on the axes of a grid, beside a plain dense product of the same run, and beside
//! the log-domain iterations of POT and OTT-JAX on grids.
//!
//! Pixels have width one, and the cost is half the squared distance, so that epsilon = s^2 / 2 is that of the square at
//! s^2. A plain dense product is what an iteration would cost in the scaling domain, where it holds: as many products
//! of the matrix of one axis with all lines as there are passes.

use std::{hint::black_box, thread};

use ot_core::{Axis, Epsilon, Grid, GridHistogram, HalfSqEuclidean, Measure, PointCloud, Problem};
use ot_cpu::{CpuBackend, CpuScalar, GridGeometry, LineCounts};
use ot_solvers::ExactTransport;

use super::{
    Bench, Failure,
    best::best,
    ours::mean_iteration,
    peers::Solver,
    posed::OneNumber,
    problem::{Arrays, Cost, narrow},
    row::{Measured, Per, Row},
    timing::time,
};
use crate::seeded::Seeded;

/// Our name in the tables.
const NAME: &str = "Sinkhorn, grid";

/// Iterations of a run that is timed, and of a dense product.
const ITERATIONS: usize = 20;

/// Repetitions of a dense product, of which the median counts.
const REPEATS: usize = 5;

/// Blurs in pixels.
const BLURS: [f64; 3] = [1.0, 2.0, 8.0];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    for side in bench.options.pick(vec![128, 256], vec![128, 256, 512]) {
        let product = dense_product(&[side, side], bench.options.threads)?;
        for blur in BLURS {
            let images = Images::new(&[side, side], blur, bench.options.seed)?;
            beside_product::<f32>(bench, &images, &product)?;
            beside_product::<f64>(bench, &images, &product)?;
            if side <= 256 && blur > 1.0 {
                beside_peers(bench, &images)?;
            }
        }
    }
    exact(bench, bench.options.pick(vec![64], vec![64, 128]))?;
    let side = bench.options.pick(64, 128);
    let shape = [side; 3];
    let product = dense_product(&shape, bench.options.threads)?;
    for blur in BLURS {
        let volumes = Images::new(&shape, blur, bench.options.seed)?;
        beside_product::<f32>(bench, &volumes, &product)?;
    }
    Ok(())
}

/// Transport without entropy between images, beside the same between their pixels as clouds.
fn exact(bench: &mut Bench<'_>, sides: Vec<usize>) -> Result<(), Failure> {
    for side in sides {
        let images = Images::new(&[side, side], 1.0, bench.options.seed)?;
        let backend = CpuBackend::<f64>::new(bench.options.threads)?;
        let grid = Grid::<f64>::pixels(&images.shape)?;
        let points = grid.points()?;
        let [a, b] = images
            .weights
            .each_ref()
            .map(|weights| GridHistogram::new(&grid, weights.as_slice()).map(GridHistogram::normalized));
        let [x, y] = images
            .weights
            .each_ref()
            .map(|weights| PointCloud::new(points.coordinates(), 2, weights.as_slice()).map(PointCloud::normalized));
        let measured =
            |name: &str, a: &dyn Measure<f64>, b: &dyn Measure<f64>| -> Result<(Measured, String), Failure> {
                let (seconds, solution) =
                    time(1, || Ok(ExactTransport::new().solve(&backend, a, b, &HalfSqEuclidean)?))?;
                let (certificate, report) = (solution.certificate(), solution.report());
                let measured = Measured { value: Some(certificate.primal), ..Measured::seconds(name, seconds) };
                let note = format!(
                    "{}: {} rounds, {} pivots, gap {:.1e} of the value",
                    solution.status(),
                    report.rounds,
                    report.pivots,
                    certificate.suboptimality() / certificate.primal
                );
                Ok((measured, note))
            };
        let (ours, note) = measured("exact, grid", &a?, &b?)?;
        let (cloud, _) = measured("exact, cloud", &x?, &y?)?;
        let row = described(bench, &images, ours).with_peer(cloud).with_note(note);
        bench.add(Row { epsilon: None, per: Per::Solve, case: format!("exact, {side} x {side}"), ..row })?;
    }
    Ok(())
}

/// Two images or volumes: a few blobs each, on a little light everywhere.
struct Images {
    shape: Vec<usize>,
    blur: f64,
    weights: [Vec<f64>; 2],
}

impl Images {
    fn new(shape: &[usize], blur: f64, seed: u64) -> Result<Self, Failure> {
        let mut random = Seeded::new(seed);
        let grid = Grid::<f64>::pixels(shape)?;
        let points = grid.points()?;
        let mut image = || {
            let mut weights = vec![1e-4; grid.len()];
            for _ in 0..4 {
                let centre: Vec<f64> = shape.iter().map(|&len| len as f64 * (0.1 + 0.8 * random.uniform())).collect();
                let width = shape[0] as f64 * (0.03 + 0.07 * random.uniform());
                for (weight, point) in weights.iter_mut().zip(points.iter()) {
                    let square: f64 = point.iter().zip(&centre).map(|(x, c)| (x - c).powi(2)).sum();
                    *weight += (-square / (2.0 * width * width)).exp();
                }
            }
            let mass: f64 = weights.iter().sum();
            weights.iter().map(|weight| f64::from((weight / mass) as f32)).collect()
        };
        Ok(Self { shape: shape.to_vec(), blur, weights: [image(), image()] })
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// That of half the squared distance.
    fn epsilon(&self) -> f64 {
        0.5 * self.blur * self.blur
    }

    /// Seconds of an iteration, and how blocks were summed in all of them.
    fn iteration<T: CpuScalar>(&self, threads: usize) -> Result<(f64, LineCounts), Failure> {
        let backend = CpuBackend::<T>::new(threads)?;
        let grid = Grid::new(self.shape.iter().map(|&len| Axis::pixels(len)).collect::<Result<Vec<_>, _>>()?)?;
        let [a, b] = self.weights.each_ref().map(|weights| GridHistogram::new(&grid, narrow::<T>(weights)));
        let (a, b) = (a?.normalized(), b?.normalized());
        let geometry = GridGeometry::new(&backend, &grid, &grid, &HalfSqEuclidean)?;
        let problem = Problem::new(std::sync::Arc::new(geometry.clone()), &a, &b, Epsilon::Absolute(self.epsilon()))?;
        Ok((mean_iteration(&problem, ITERATIONS)?, geometry.counts()))
    }

    /// What peers are given.
    fn posed(&self) -> Result<OneNumber, Failure> {
        let grid = Grid::<f64>::pixels(&self.shape)?;
        let points = grid.points()?.coordinates().to_vec();
        let [source, target] = self.weights.clone();
        let cost = Cost::HalfSquares { x: points.clone(), y: points, dimension: self.shape.len() };
        let arrays = Arrays { source, target, columns: 1, cost, epsilon: self.epsilon(), rho: None };
        // Iterations alone are timed: what peers return is how many they took.
        Ok(OneNumber { arrays, exact: 1.0 })
    }
}

/// Our iteration beside a dense product.
fn beside_product<T: CpuScalar>(bench: &mut Bench<'_>, images: &Images, product: &Measured) -> Result<(), Failure> {
    let (seconds, counts) = images.iteration::<T>(bench.options.threads)?;
    let LineCounts { tilted, joined, direct, unlit, .. } = counts;
    let row = described(bench, images, Measured::seconds(NAME, seconds)).with_peer(product.clone());
    let note = format!(
        "ours / product {:.2}; blocks: {tilted} tilted, {joined} joined, {direct} direct; {unlit} unlit lines",
        seconds / product.seconds
    );
    bench.add(Row { dtype: T::NAME, ..row }.with_note(note))
}

/// Our iteration in f64 beside the peers.
fn beside_peers(bench: &mut Bench<'_>, images: &Images) -> Result<(), Failure> {
    let (seconds, _) = images.iteration::<f64>(bench.options.threads)?;
    let (posed, budget) = (images.posed()?, bench.options.budget());
    for (solver, span) in [(Solver::PotConvolutionalLog, (1, 3)), (Solver::OttGrid, (2, 6))] {
        if let Some(peer) = bench.peers.iteration(solver, &posed, span, 1, budget)? {
            bench.add(described(bench, images, Measured::seconds(NAME, seconds)).with_peer(peer))?;
        }
    }
    Ok(())
}

fn described(bench: &Bench<'_>, images: &Images, ours: Measured) -> Row {
    let shape: Vec<String> = images.shape.iter().map(ToString::to_string).collect();
    let case = format!("{}, blur {} px", shape.join(" x "), images.blur);
    let row = Row::new("grid", case, (images.len(), images.len()), bench.options.threads, Per::Iteration, ours);
    Row { d: Some(images.shape.len()), epsilon: Some(images.epsilon()), ..row }
}

/// Seconds of the products of an iteration: two for each axis, of its matrix with all lines, in `f32`.
fn dense_product(shape: &[usize], threads: usize) -> Result<Measured, Failure> {
    let (side, nodes) = (shape[0], shape.iter().product::<usize>());
    let mut random = Seeded::new(5);
    let matrix: Vec<f32> = narrow(&random.draw(side * side, Seeded::uniform));
    let lines: Vec<f32> = narrow(&random.draw(nodes, Seeded::uniform));
    let mut out = vec![0.0_f32; nodes];
    let share = (nodes / side).div_ceil(threads) * side;
    let (seconds, ()) = time(REPEATS, || {
        for _ in 0..2 * shape.len() {
            thread::scope(|scope| {
                for (lines, out) in lines.chunks(share).zip(out.chunks_mut(share)) {
                    scope.spawn(|| product(black_box(&matrix), side, lines, out));
                }
            });
        }
        black_box(&mut out);
        Ok(())
    })?;
    Ok(Measured::seconds("plain dense product, f32", seconds))
}

/// out[l][x] = sum_y matrix[y][x] lines[l][y].
fn product(matrix: &[f32], side: usize, lines: &[f32], out: &mut [f32]) {
    best!(blocks(matrix: &[f32], side: usize, lines: &[f32], out: &mut [f32]) -> ())
}

/// Four lines by sixteen outputs stay in registers.
#[inline(always)]
fn blocks<const FUSED: bool>(matrix: &[f32], side: usize, lines: &[f32], out: &mut [f32]) {
    const LINES: usize = 4;
    const OUTPUTS: usize = 16;
    for (lines, out) in lines.chunks_exact(LINES * side).zip(out.chunks_exact_mut(LINES * side)) {
        for first in (0..side).step_by(OUTPUTS) {
            let mut sums = [[0.0_f32; OUTPUTS]; LINES];
            for (y, row) in matrix.chunks_exact(side).enumerate() {
                let row = &row[first..first + OUTPUTS];
                for (line, sums) in sums.iter_mut().enumerate() {
                    let factor = lines[line * side + y];
                    for (sum, entry) in sums.iter_mut().zip(row) {
                        *sum = if FUSED { entry.mul_add(factor, *sum) } else { entry * factor + *sum };
                    }
                }
            }
            for (line, sums) in sums.iter().enumerate() {
                out[line * side + first..][..OUTPUTS].copy_from_slice(sums);
            }
        }
    }
}
