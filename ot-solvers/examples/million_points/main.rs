//! Entropic transport between two large clouds, certified over all pairs though most of them are never looked at: points that are
//! drawn, or the colours of all pixels of two photographs.
//!
//! ```text
//! cargo run --release --example million_points -- --points 1000000
//! cargo run --release --example million_points -- --pictures mine.jpg sunset.jpg
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

#[path = "../color_transfer/memory.rs"]
mod memory;
#[path = "../color_transfer/palette.rs"]
#[expect(dead_code, reason = "nothing is painted here")]
mod palette;

use std::{error::Error, ops::ControlFlow, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use clap::Parser;
use ot_core::{Epsilon, Geometry, Host, PointCloud, Problem, Progress, Side, Solution, SqEuclidean};
use ot_cpu::{BlockSparseGeometry, CpuBackend};
use ot_solvers::{Sinkhorn, Start};

use crate::{memory::peak_resident_bytes, palette::Palette};

/// Entropic transport between two large clouds, by the pairs that matter.
#[derive(Debug, Parser)]
#[command(name = "million_points")]
struct Arguments {
    /// Points of each cloud that is drawn
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(2..))]
    points: u32,

    /// Coordinates of each point that is drawn
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    dimension: u8,

    /// Two photographs, in PNG or JPEG, whose colours are the clouds
    #[arg(long, value_name = "IMAGE", num_args = 2)]
    pictures: Vec<PathBuf>,

    /// The root of epsilon, in mean distances between neighbours
    #[arg(long, value_name = "SPACINGS", default_value_t = 2.0)]
    blur: f64,

    /// The marginal error, rounding and what is left out included, under which the iterations stop
    #[arg(long, value_name = "MASS", default_value_t = 1e-6)]
    tolerance: f64,

    /// Number of threads to compute with [default: one for each core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

fn main() -> ExitCode {
    match solve(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn solve(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let [source, target] = match arguments.pictures.as_slice() {
        [first, second] => [colours(first)?, colours(second)?],
        _ => [drawn(arguments, 1)?, drawn(arguments, 2)?],
    };
    let backend = match arguments.threads {
        Some(threads) => CpuBackend::<f64>::new(threads.into())?,
        None => CpuBackend::with_available_threads()?,
    };
    let (points, dimension) = (source.points().len(), source.points().dimension());
    // Both clouds lie in the unit cube.
    let spacing = (points as f64).powf(-1.0 / dimension as f64);
    let epsilon = (arguments.blur * spacing).powi(2);

    let clock = Instant::now();
    let geometry = BlockSparseGeometry::new(&backend, source.points(), target.points(), Arc::new(SqEuclidean))?;
    let problem = Problem::new(Arc::new(geometry.clone()), &source, &target, Epsilon::Absolute(epsilon))?;
    let start = Start::multiscale(&backend, &problem, &source, &target, &SqEuclidean)?;
    let started = clock.elapsed();
    let mut watch = |progress: &Progress| {
        if let Some(error) = progress.marginal_error {
            eprintln!("{:6.1} s  iteration {:4}  error {error:.1e}", clock.elapsed().as_secs_f64(), progress.done);
        }
        ControlFlow::Continue(())
    };
    let sinkhorn = Sinkhorn::new().tolerance(arguments.tolerance);
    let solution = sinkhorn.run(&problem).start(start).observer(&mut watch).solve()?;
    println!("points               {} x {} in {dimension} dimensions", points, target.points().len());
    println!(
        "seconds              {:.1}, {:.1} of them for the start",
        clock.elapsed().as_secs_f64(),
        started.as_secs_f64()
    );
    report(&solution, &geometry)
}

/// What was solved, what is proven of it, and of how many pairs.
fn report(solution: &Solution<Host<f64>>, geometry: &BlockSparseGeometry<f64>) -> Result<(), Box<dyn Error>> {
    let (epsilon, certificate) = (solution.problem().epsilon(), solution.certificate());
    let [f, g] = [solution.potential(Side::Source)?, solution.potential(Side::Target)?];
    let all = geometry.len(Side::Source) as f64 * geometry.len(Side::Target) as f64;
    println!("epsilon              {epsilon:.3e}");
    println!("status               {} after {} iterations", solution.status(), solution.iterations());
    for delta in [1e-9, 1e-18] {
        let kept = geometry.kept_pairs([&f, &g], epsilon, delta) as f64;
        let of_atom = kept / geometry.len(Side::Source) as f64;
        println!("kept at {delta:.0e}        {of_atom:.0} pairs of each point, 1 in {:.0} of all", all / kept);
    }
    println!("certificate          {certificate}");
    if let Some(bytes) = peak_resident_bytes() {
        println!("peak memory          {:.0} MiB", bytes as f64 / f64::from(1 << 20));
    }
    Ok(())
}

/// The colours of all pixels of a photograph, equal ones merged.
fn colours(path: &PathBuf) -> Result<PointCloud<'static, f64>, Box<dyn Error>> {
    let palette = Palette::of(&image::open(path)?.to_rgb8());
    Ok(PointCloud::new(palette.points, 3, palette.weights)?)
}

/// Points of the unit cube, the second cloud denser towards the origin.
fn drawn(arguments: &Arguments, cloud: u64) -> Result<PointCloud<'static, f64>, Box<dyn Error>> {
    let (count, dimension) = (arguments.points as usize, usize::from(arguments.dimension));
    let mut state = cloud;
    let mut uniform = || {
        // The generator of Steele, Lea and Flood (2014).
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let bend = |x: f64| if cloud == 1 { x } else { 0.5 * (x + x * x) };
    let coordinates: Vec<f64> = (0..count * dimension).map(|_| bend(uniform())).collect();
    Ok(PointCloud::uniform(coordinates, dimension)?)
}
