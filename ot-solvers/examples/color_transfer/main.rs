//! The colours of one photograph carried over to the palette of another, by entropic transport
//! between their two clouds of pixels (Pitie, Kokaram, Dahyot 2007; Ferradans et al. 2014).
//!
//! Equal colours are merged into weights; the plan between the clouds is never stored; every colour
//! of the source goes to the mean of the colours that the plan sends it to.
//!
//! ```text
//! cargo run --release --example color_transfer -- --source mine.jpg --target sunset.jpg
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

mod arguments;
mod memory;
mod palette;
mod triptych;

use std::{error::Error, ops::ControlFlow, process::ExitCode, time::Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ot_core::{Epsilon, GeometryBuilder, Host, Measure, PointCloud, Problem, Progress, Side, Solution, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{Sinkhorn, Start};

use crate::{arguments::Arguments, memory::peak_resident_bytes, palette::Palette, triptych::triptych};

fn main() -> ExitCode {
    match transfer(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads two photographs, transports one palette to the other, writes and reports.
fn transfer(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let clock = Instant::now();
    let source_image = triptych::load(&arguments.source, arguments.size)?;
    let target_image = triptych::load(&arguments.target, arguments.size)?;
    let (source, target) = (Palette::of(&source_image), Palette::of(&target_image));

    let backend = match arguments.threads {
        Some(threads) => CpuBackend::<f64>::new(threads)?,
        None => CpuBackend::with_available_threads()?,
    };
    let solution = solve(&backend, &source, &target, arguments)?;
    let colours = solution.plan()?.barycentric_projection(Side::Source, &target.points, 3)?;

    let result = source.repaint(&colours);
    triptych(&source_image, &target_image, &result).save(&arguments.output)?;
    report(&solution, &backend, clock, arguments);
    Ok(())
}

/// Entropic transport between two palettes, with a progress bar.
fn solve(
    backend: &CpuBackend<f64>,
    source: &Palette,
    target: &Palette,
    arguments: &Arguments,
) -> Result<Solution<Host<f64>>, Box<dyn Error>> {
    let from = PointCloud::new(&source.points, 3, &source.weights)?;
    let to = PointCloud::new(&target.points, 3, &target.weights)?;
    let geometry = backend.geometry(from.support(), to.support(), &SqEuclidean)?;
    let problem = Problem::new(geometry, &from, &to, Epsilon::RelativeToMean(arguments.epsilon))?;

    let bar = progress_bar(arguments.tolerance)?;
    let mut first_error = None;
    let mut watch = |progress: &Progress| {
        if let Some(error) = progress.marginal_error {
            let first = *first_error.get_or_insert(error);
            let done = (first / error).ln() / (first / arguments.tolerance).ln();
            bar.set_position((100.0 * done.clamp(0.0, 1.0)) as u64);
            bar.set_message(format!("iteration {}, marginal error {error:.1e}", progress.done));
        }
        ControlFlow::Continue(())
    };
    let settings = Sinkhorn::new().tolerance(arguments.tolerance);
    let start = Start::multiscale(backend, &problem, &from, &to, &SqEuclidean)?;
    let solution = settings.run(&problem).start(start).observer(&mut watch).solve()?;
    bar.finish_and_clear();
    Ok(solution)
}

/// A bar whose length is the share of decades of the marginal error done.
fn progress_bar(tolerance: f64) -> Result<ProgressBar, Box<dyn Error>> {
    let template = format!("[{{bar:40}}] {{msg}} of {tolerance:.0e}, {{elapsed}}");
    let bar = ProgressBar::new(100).with_style(ProgressStyle::with_template(&template)?.progress_chars("=> "));
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    Ok(bar)
}

/// What was solved, and what is proven of it.
fn report(solution: &Solution<Host<f64>>, backend: &CpuBackend<f64>, clock: Instant, arguments: &Arguments) {
    let (problem, certificate) = (solution.problem(), solution.certificate());
    let sizes = Side::BOTH.map(|side| problem.marginal(side).len());
    println!("colours              {} x {}, {} threads", sizes[0], sizes[1], backend.threads());
    println!("epsilon              {:.6e}  ({} of the mean cost)", problem.epsilon(), arguments.epsilon);
    println!("status               {} after {} iterations", solution.status(), solution.iterations());
    if let Some(cost) = certificate.transport_cost {
        println!("transport cost <P,C> {cost:.12}");
    }
    println!("primal               {:.12}", certificate.primal);
    println!("dual                 {:.12}", certificate.dual);
    println!("gap                  {:.3e}", certificate.gap);
    println!("marginal error       {:.3e}  (rounding {:.1e})", certificate.marginal_error, certificate.rounding);
    if let Some(bytes) = peak_resident_bytes() {
        println!("peak memory          {:.1} MiB", bytes as f64 / f64::from(1 << 20));
    }
    println!("seconds              {:.1}", clock.elapsed().as_secs_f64());
    println!("picture              {}", arguments.output.display());
}
