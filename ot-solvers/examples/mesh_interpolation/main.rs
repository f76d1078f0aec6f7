//! One distribution on a surface carried into another along it: barycenters with weights from one end to the other (Solomon
//! et al. 2015), whose kernel is heat on the surface.
//!
//! ```text
//! cargo run --release --example mesh_interpolation
//! cargo run --release --example mesh_interpolation -- --mesh bunny.obj --frames 9
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

mod files;
mod renderer;
mod surface;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use image::{RgbImage, imageops};
use ot_core::{Host, ImpliedCost, JointSolution, Measure, Problem, TriangleMesh, VertexHistogram};
use ot_cpu::{CpuBackend, HeatDistance, HeatGeometry, cotangent_graph};
use ot_solvers::{Barycenter, BregmanProjections, Sinkhorn};

use crate::renderer::Renderer;

/// Carries one distribution on a surface into another, by optimal transport along the surface.
#[derive(Debug, Parser)]
#[command(name = "mesh_interpolation")]
struct Arguments {
    /// A surface, as a file of OBJ, PLY or OFF; a tube around a knot if none is given
    #[arg(long, value_name = "FILE")]
    mesh: Option<PathBuf>,

    /// Two vertices where the distributions lie; vertices far apart are chosen if none are given
    #[arg(long, value_name = "VERTEX", num_args = 2)]
    centres: Option<Vec<u32>>,

    /// Pictures from one end to the other
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=64))]
    frames: u32,

    /// Time of the diffusion, in squared lengths of an edge
    #[arg(long, default_value_t = 8.0)]
    time: f64,

    /// Steps of the diffusion: as many as let it tell squared distances as far as the mass moves
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    steps: u32,

    /// Side of a picture, in pixels
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u32).range(64..=2048))]
    size: u32,

    /// Picture to write, all frames beside each other
    #[arg(long, value_name = "PNG", default_value = "mesh_interpolation.png")]
    output: PathBuf,

    /// Threads; as many as can run at once if not given
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    match interpolate(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn interpolate(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let clock = Instant::now();
    let backend = match arguments.threads {
        Some(threads) => CpuBackend::<f64>::new(threads)?,
        None => CpuBackend::with_available_threads()?,
    };
    let mesh = match &arguments.mesh {
        Some(path) => files::read(path)?,
        None => surface::knot(240, 28)?,
    };
    // A long time to learn the length of an edge, then the time asked for.
    let areas = cotangent_graph(&mesh)?.graph.masses()[..mesh.len()].to_vec();
    let square = HeatGeometry::new(&backend, &mesh, areas.iter().sum(), 1)?.report().edge_square;
    let heat = HeatGeometry::new(&backend, &mesh, arguments.time * square, arguments.steps as usize)?;
    let distance = HeatDistance::new(&mesh)?;
    let centres = match arguments.centres.as_deref() {
        Some([first, second]) => [*first, *second],
        _ => far_apart(&distance)?,
    };
    let ends = [spot(&mesh, &distance, &areas, centres[0])?, spot(&mesh, &distance, &areas, centres[1])?];
    let reference = VertexHistogram::new(&mesh, areas.clone())?.normalized();

    let renderer = Renderer::new(&mesh, arguments.size);
    let mut sheet = RgbImage::new(arguments.frames * arguments.size, arguments.size);
    let (mut converged, mut worst, mut iterations) = (0, 0.0_f64, 0);
    let mut before: Option<JointSolution<Host<f64>>> = None;
    for frame in 0..arguments.frames {
        let part = f64::from(frame) / f64::from(arguments.frames - 1);
        let inputs: [&dyn Measure<f64>; 2] = [&ends[0], &ends[1]];
        let problem = Barycenter::new(&heat, &reference, &ImpliedCost, heat.epsilon())
            .inputs(&inputs, &[1.0 - part, part])?
            .problem()?;
        let settings = BregmanProjections::new().tolerance(1e-4);
        let solution = match &before {
            None => settings.solve(&problem)?,
            Some(before) => settings.run(&problem).start(before.potentials()).solve()?,
        };
        converged += u32::from(solution.status().is_converged());
        worst = worst.max(solution.certificate().marginal_error);
        iterations += solution.iterations();
        let density: Vec<f64> = solution.measure(0)?.iter().zip(&areas).map(|(mass, area)| mass / area).collect();
        imageops::replace(&mut sheet, &renderer.draw(&density), i64::from(frame * arguments.size), 0);
        before = Some(solution);
    }
    sheet.save(&arguments.output)?;

    let problem = Problem::new(heat.shared(), &ends[0], &ends[1], heat.epsilon())?;
    let transport = Sinkhorn::new().tolerance(1e-4).solve(&problem)?;
    let share = heat.share_beyond_range(&mut transport.plan()?, 8)?;
    let report = heat.report();
    println!("surface              {} vertices, {} triangles", mesh.len(), mesh.triangles().len());
    println!("triangulation        {:?}", report.mesh.unwrap_or_default());
    println!("factor               {} entries below the diagonal", report.nonzeros);
    println!("distance of centres  {:.3}", distance.from_vertices(&[centres[0]])?[centres[1] as usize]);
    println!("epsilon              {:.3e}, {} steps", 4.0 * arguments.time * square, arguments.steps);
    println!("beyond the range     {share:.3} of the plan from end to end moves farther than squares are told");
    println!("converged            {converged} of {} barycenters, {iterations} iterations", arguments.frames);
    println!("largest error        {worst:.1e}");
    println!("seconds              {:.1}, {} threads", clock.elapsed().as_secs_f64(), backend.threads());
    println!("picture              {}", arguments.output.display());
    Ok(())
}

/// A vertex, and one a fifth of the way to the farthest.
fn far_apart(distance: &HeatDistance) -> Result<[u32; 2], ot_core::Error> {
    let distances = distance.from_vertices(&[0])?;
    let finite = || distances.iter().copied().filter(|distance| distance.is_finite());
    let wanted = finite().fold(0.0, f64::max) / 5.0;
    let nearest = (0..).zip(&distances).min_by(|(_, x), (_, y)| (*x - wanted).abs().total_cmp(&(*y - wanted).abs()));
    Ok([0, nearest.map_or(0, |(vertex, _)| vertex)])
}

/// A uniform distribution on a disc around a vertex, on a little mass everywhere.
fn spot(
    mesh: &TriangleMesh,
    distance: &HeatDistance,
    areas: &[f64],
    centre: u32,
) -> Result<VertexHistogram<'static, f64>, ot_core::Error> {
    let distances = distance.from_vertices(&[centre])?;
    let radius = (areas.iter().sum::<f64>() / 60.0 / std::f64::consts::PI).sqrt();
    let density = |distance: f64| if distance < radius { 1.0 } else { 1e-6 };
    let weights: Vec<f64> = distances.iter().zip(areas).map(|(distance, area)| area * density(*distance)).collect();
    Ok(VertexHistogram::new(mesh, weights)?.normalized())
}
