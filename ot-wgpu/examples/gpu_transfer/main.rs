//! The colours of one photograph carried over to the palette of another, on a GPU, and the same on the threads of the host:
//! two backends, one solver, two certificates side by side.
//!
//! ```text
//! cargo run --release -p ot-wgpu --example gpu_transfer -- --size 256
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

// The same pictures and palettes as in the example of the host.
#[path = "../../../ot-solvers/examples/color_transfer/palette.rs"]
mod palette;
#[path = "../../../ot-solvers/examples/color_transfer/triptych.rs"]
mod triptych;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use ot_core::{Device, Epsilon, GeometryBuilder, Measure, PointCloud, Problem, Side, Solution, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::Sinkhorn;
use ot_wgpu::{Adapter, WgpuBackend};

use crate::{palette::Palette, triptych::triptych};

/// Recolours a photograph with the palette of another, on a GPU.
#[derive(Debug, Parser)]
#[command(name = "gpu_transfer")]
struct Arguments {
    /// Photograph to recolour
    #[arg(long, value_name = "IMAGE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../ot-solvers/examples/photographs/rocket.png"))]
    source: PathBuf,
    /// Photograph whose palette is taken
    #[arg(long, value_name = "IMAGE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../ot-solvers/examples/photographs/coffee.png"))]
    target: PathBuf,
    /// Picture to write
    #[arg(long, value_name = "IMAGE", default_value = "gpu_transfer.png")]
    output: PathBuf,
    /// Part of the name of the GPU [default: the first]
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,
    /// Entropic regularization, as a share of the mean cost
    #[arg(long, value_name = "SHARE", default_value_t = 1e-2)]
    epsilon: f64,
    /// Longest side of the photographs in pixels; the work grows with its fourth power
    #[arg(long, value_name = "PIXELS", default_value_t = 64)]
    size: u32,
}

fn main() -> ExitCode {
    match transfer(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn transfer(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let adapter = arguments.adapter.clone().map_or(Adapter::Default, Adapter::Named);
    let (device, host) = (WgpuBackend::new(adapter)?, CpuBackend::<f32>::with_available_threads()?);
    let images = [&arguments.source, &arguments.target].map(|path| triptych::load(path, arguments.size));
    let [source_image, target_image] = images;
    let (source_image, target_image) = (source_image?, target_image?);
    let (source, target) = (Palette::of(&source_image), Palette::of(&target_image));

    println!("adapter   {}", device.adapter());
    println!("colours   {} x {}", source.weights.len(), target.weights.len());
    let solution = solve("device", &device, &source, &target, arguments.epsilon)?;
    solve(&format!("{} threads", host.threads()), &host, &source, &target, arguments.epsilon)?;

    let colours = solution.plan()?.barycentric_projection(Side::Source, &narrow(&target.points), 3)?;
    let result = source.repaint(&colours.into_iter().map(f64::from).collect::<Vec<_>>());
    triptych(&source_image, &target_image, &result).save(&arguments.output)?;
    println!("picture   {}", arguments.output.display());
    Ok(())
}

/// Transport between two palettes, and what is proven of it.
fn solve<D: Device<Elem = f32>>(
    name: &str,
    builder: &impl GeometryBuilder<Device = D>,
    source: &Palette,
    target: &Palette,
    epsilon: f64,
) -> Result<Solution<D>, Box<dyn Error>> {
    let clock = Instant::now();
    let from = PointCloud::new(narrow(&source.points), 3, narrow(&source.weights))?.normalized();
    let to = PointCloud::new(narrow(&target.points), 3, narrow(&target.weights))?.normalized();
    let geometry = builder.geometry(from.support(), to.support(), &SqEuclidean)?;
    let problem = Problem::new(geometry, &from, &to, Epsilon::RelativeToMean(epsilon))?;
    let solution = Sinkhorn::new().tolerance(1e-3).solve(&problem)?;
    println!("{name}: {} after {} iterations", solution.status(), solution.iterations());
    println!("  {}", solution.certificate());
    println!("  {:.1} seconds", clock.elapsed().as_secs_f64());
    Ok(solution)
}

/// Numbers in single precision.
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&value| value as f32).collect()
}
