//! A GPU: full iterations on clouds and on grids beside what exponentials and squared distances alone take there, measured in
//! the same run.
//!
//! The first adapter of the machine, or the one whose name contains the variable `OT_WGPU_ADAPTER`. A software adapter is told
//! as what it is.

use ot_core::{Elem, Epsilon, GeometryBuilder, Grid, GridHistogram, Measure, PointCloud, Problem, SqEuclidean};
use ot_wgpu::{Adapter, WgpuBackend, bench_support::exponentials_and_squares, wgpu::DeviceType};

use super::{
    Bench, Failure,
    ours::mean_iteration,
    problem::narrow,
    row::{Measured, Per, Row},
    timing::time,
};
use crate::seeded::Seeded;

/// Our name in the tables.
const NAME: &str = "Sinkhorn, wgpu";

/// Coordinates of points.
const DIMENSION: usize = 3;

/// Epsilon, a tenth of the mean cost.
const EPSILON: f64 = 0.05;

/// Epsilon on grids, in squares of a pixel.
const PIXELS: f64 = 32.0;

/// Repetitions of the limit, of which the median counts.
const REPEATS: usize = 5;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let adapter = std::env::var("OT_WGPU_ADAPTER").map_or(Adapter::Default, Adapter::Named);
    let backend = WgpuBackend::new(adapter)?;
    bench.report.paragraph(format!("Adapter: {}.", backend.adapter()))?;
    let is_software = backend.info().device_type == DeviceType::Cpu;
    let limit = limit(&backend, is_software)?;
    bench.report.paragraph(format!("Exponential and squared distance alone: {limit:.2e} pairs a second."))?;
    let sizes = if is_software {
        vec![1024, 4096]
    } else {
        bench.options.pick(vec![4096, 10_000], vec![10_000, 50_000, 200_000])
    };
    clouds(bench, &backend, limit, &sizes)?;
    pairs(bench, &backend, limit, if is_software { 512 } else { 10_000 })?;
    let sides = if is_software { vec![128, 256] } else { bench.options.pick(vec![512], vec![512, 2048]) };
    grids(bench, &backend, limit, &sides)
}

/// Clouds of the unit cube.
fn clouds(bench: &mut Bench<'_>, backend: &WgpuBackend, limit: f64, sizes: &[usize]) -> Result<(), Failure> {
    for &n in sizes {
        let seconds = iteration(backend, n, bench.options.seed)?;
        // Both half-steps evaluate all pairs.
        let pairs = 2.0 * (n as f64) * (n as f64);
        let measured = Measured::seconds(NAME, seconds);
        let mut row = Row::new("gpu", "squares", (n, n), bench.options.threads, Per::Iteration, measured);
        (row.d, row.epsilon, row.dtype) = (Some(DIMENSION), Some(EPSILON), "f32");
        bench.add(row.with_limit(pairs / limit).with_note(format!("{:.2e} pairs a second", pairs / seconds)))?;
    }
    Ok(())
}

/// The same in pairs of numbers of single precision, beside the limit of single precision.
fn pairs(bench: &mut Bench<'_>, backend: &WgpuBackend, limit: f64, n: usize) -> Result<(), Failure> {
    let seconds = iteration(&backend.in_pairs(), n, bench.options.seed)?;
    let pairs = 2.0 * (n as f64) * (n as f64);
    let measured = Measured::seconds("Sinkhorn, wgpu, in pairs", seconds);
    let mut row = Row::new("gpu", "squares", (n, n), bench.options.threads, Per::Iteration, measured);
    (row.d, row.epsilon, row.dtype) = (Some(DIMENSION), Some(EPSILON), "f64");
    bench.add(row.with_limit(pairs / limit).with_note(format!("{:.2e} pairs a second", pairs / seconds)))
}

/// Images of so many pixels a side. A half-step takes an exponential for each pixel and each other one of its row, and for each
/// pixel and each other one of its column.
fn grids(bench: &mut Bench<'_>, backend: &WgpuBackend, limit: f64, sides: &[usize]) -> Result<(), Failure> {
    for &side in sides {
        let mut random = Seeded::new(bench.options.seed);
        let grid = Grid::<f32>::pixels(&[side, side])?;
        let mut image = || {
            let values: Vec<f64> = (0..side * side).map(|_| 0.1 + random.uniform()).collect();
            GridHistogram::new(&grid, narrow::<f32>(&values)).map(GridHistogram::normalized)
        };
        let (a, b) = (image()?, image()?);
        let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean)?;
        let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(PIXELS))?;
        let seconds = mean_iteration(&problem, 40)?;
        let exponentials = 4.0 * (side as f64).powi(3);
        let measured = Measured::seconds(NAME, seconds);
        let n = side * side;
        let mut row = Row::new("gpu", "grid, squares", (n, n), bench.options.threads, Per::Iteration, measured);
        (row.d, row.epsilon, row.dtype) = (Some(2), Some(PIXELS), "f32");
        let note = format!("{:.2e} exponentials a second", exponentials / seconds);
        bench.add(row.with_limit(exponentials / limit).with_note(note))?;
    }
    Ok(())
}

/// Pairs a second of exponential and squared distance.
fn limit(backend: &WgpuBackend, is_software: bool) -> Result<f64, Failure> {
    let (groups, steps) = if is_software { (256, 1000) } else { (1 << 14, 10_000) };
    let (seconds, pairs) = time(REPEATS, || Ok(exponentials_and_squares(backend, groups, steps)?))?;
    Ok(pairs as f64 / seconds)
}

/// The mean seconds of an iteration.
fn iteration<B: GeometryBuilder>(backend: &B, n: usize, seed: u64) -> Result<f64, Failure> {
    let mut random = Seeded::new(seed);
    let mut cloud = || {
        let points: Vec<f64> = (0..DIMENSION * n).map(|_| random.uniform()).collect();
        PointCloud::uniform(narrow::<Elem<B>>(&points), DIMENSION)
    };
    let (a, b) = (cloud()?, cloud()?);
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean)?;
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(EPSILON))?;
    mean_iteration(&problem, 40)
}
