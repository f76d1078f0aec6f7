//! A GPU: full iterations on clouds beside what exponentials and squared distances alone take there, measured in the same run.
//!
//! The first adapter of the machine, or the one whose name contains the variable `OT_WGPU_ADAPTER`. A software adapter is told
//! as what it is.

use ot_core::{Epsilon, GeometryBuilder, Measure, PointCloud, Problem, SqEuclidean};
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
    for n in sizes {
        let seconds = iteration(&backend, n, bench.options.seed)?;
        // Both half-steps evaluate all pairs.
        let pairs = 2.0 * (n as f64) * (n as f64);
        let measured = Measured::seconds(NAME, seconds);
        let mut row = Row::new("gpu", "squares", (n, n), bench.options.threads, Per::Iteration, measured);
        (row.d, row.epsilon, row.dtype) = (Some(DIMENSION), Some(EPSILON), "f32");
        bench.add(row.with_limit(pairs / limit).with_note(format!("{:.2e} pairs a second", pairs / seconds)))?;
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
fn iteration(backend: &WgpuBackend, n: usize, seed: u64) -> Result<f64, Failure> {
    let mut random = Seeded::new(seed);
    let mut cloud = || {
        let points: Vec<f64> = (0..DIMENSION * n).map(|_| random.uniform()).collect();
        PointCloud::uniform(narrow::<f32>(&points), DIMENSION)
    };
    let (a, b) = (cloud()?, cloud()?);
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean)?;
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(EPSILON))?;
    mean_iteration(&problem, 40)
}
