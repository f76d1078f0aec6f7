//! Barycenters of four pictures, from corner to corner (Solomon et al. 2015): each tile of the sheet is the entropic barycenter
//! of the corners with the weights of bilinear interpolation, beside it the one of no more entropy than the corners have.
//!
//! A picture is a measure on the grid of its pixels: the darker a pixel, the heavier. The mass between two pictures moves instead
//! of fading, and the kernel between all pairs of pixels is applied axis by axis, never formed.
//!
//! ```text
//! cargo run --release --example image_barycenter
//! cargo run --release --example image_barycenter -- --corners a.png b.png c.png d.png --size 128
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

mod arguments;
mod shapes;
mod sheet;

use std::{error::Error, process::ExitCode, sync::Arc, time::Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ot_core::{
    Balanced, Epsilon, Geometry, GeometryBuilder, Grid, GridHistogram, Host, JointProblem, JointSolution, Measure,
    SqEuclidean,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Barycenter, BoundedEntropy, BregmanProjections};

use crate::{arguments::Arguments, sheet::Sheet};

fn main() -> ExitCode {
    match interpolate(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Solves for every tile of both sheets, writes them and reports.
fn interpolate(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let clock = Instant::now();
    let backend = match arguments.threads {
        Some(threads) => CpuBackend::<f64>::new(threads)?,
        None => CpuBackend::with_available_threads()?,
    };
    let size = arguments.size as usize;
    let masses = shapes::corners(arguments)?;
    let pixels = Grid::pixels(&[size, size])?;
    let corners = masses.iter().map(|masses| Ok(GridHistogram::new(&pixels, masses.as_slice())?.normalized()));
    let corners = corners.collect::<Result<Vec<_>, ot_core::Error>>()?;
    let support = GridHistogram::uniform(&pixels)?;
    let geometry = backend.geometry(support.support(), support.support(), &SqEuclidean)?;

    let tiles = arguments.tiles as usize;
    let bar = progress_bar(2 * tiles * tiles)?;
    let (mut blurred, mut sharp) = (Sheet::new(size, tiles), Sheet::new(size, tiles));
    let mut worst = Worst::default();
    let mut before: Option<JointSolution<Host<f64>>> = None;
    for tile in path(tiles) {
        let problem = problem(&backend, &geometry, &corners, &support, bilinear(tile, tiles), arguments.epsilon)?;
        let settings = BregmanProjections::new().tolerance(arguments.tolerance);
        let run = settings.run(&problem);
        let solution = match &before {
            Some(before) => run.start(before.potentials()).solve()?,
            None => run.solve()?,
        };
        bar.inc(1);
        blurred.draw(tile, &solution.measure(0)?);
        let bounded = BoundedEntropy::new().max_iterations(15);
        sharp.draw(tile, &bounded.run(&problem).start(&solution).solve()?.measure(0)?);
        bar.inc(1);
        worst.take_in(&solution);
        before = Some(solution);
    }
    bar.finish_and_clear();
    Sheet::beside(&blurred, &sharp).save(&arguments.output)?;

    println!("pictures             4 of {size} x {size}, {} barycenters, {} threads", tiles * tiles, backend.threads());
    println!("epsilon              {} squared pixels", arguments.epsilon);
    println!("converged            {} of {}", worst.converged, tiles * tiles);
    println!("iterations           {} in all", worst.iterations);
    println!("largest gap          {:.1e} of the objective", worst.gap);
    println!("largest error        {:.1e}", worst.error);
    println!("seconds              {:.1}", clock.elapsed().as_secs_f64());
    println!("picture              {}", arguments.output.display());
    Ok(())
}

/// The barycenter of the corners with these weights.
fn problem(
    backend: &CpuBackend<f64>,
    geometry: &Arc<dyn Geometry<Host<f64>>>,
    corners: &[GridHistogram<'_, f64>],
    support: &GridHistogram<'_, f64>,
    weights: [f64; 4],
    epsilon: f64,
) -> Result<JointProblem<Host<f64>>, ot_core::Error> {
    let mut barycenter = Barycenter::new(backend, support, &SqEuclidean, Epsilon::Absolute(epsilon));
    for (corner, weight) in corners.iter().zip(weights) {
        barycenter = barycenter.input_over(geometry.clone(), corner, &[weight], &Balanced)?;
    }
    barycenter.problem()
}

/// Row after row, to and fro, so that each tile is beside the one before.
fn path(tiles: usize) -> impl Iterator<Item = [usize; 2]> {
    let column = move |row: usize, step: usize| if row.is_multiple_of(2) { step } else { tiles - 1 - step };
    (0..tiles).flat_map(move |row| (0..tiles).map(move |step| [row, column(row, step)]))
}

/// The weights of the corners: upper left, upper right, lower left, lower right.
fn bilinear([row, column]: [usize; 2], tiles: usize) -> [f64; 4] {
    let [down, right] = [row, column].map(|index| index as f64 / (tiles - 1) as f64);
    [(1.0 - down) * (1.0 - right), (1.0 - down) * right, down * (1.0 - right), down * right]
}

/// What the least certain of all tiles is known to.
#[derive(Default)]
struct Worst {
    converged: usize,
    iterations: usize,
    gap: f64,
    error: f64,
}

impl Worst {
    fn take_in(&mut self, solution: &JointSolution<Host<f64>>) {
        let certificate = solution.certificate();
        self.converged += usize::from(solution.status().is_converged());
        self.iterations += solution.iterations();
        self.gap = self.gap.max(certificate.gap / certificate.primal.abs());
        self.error = self.error.max(certificate.marginal_error);
    }
}

/// A bar of so many solves.
fn progress_bar(solves: usize) -> Result<ProgressBar, Box<dyn Error>> {
    let style = ProgressStyle::with_template("[{bar:40}] {pos} of {len} barycenters, {elapsed}")?;
    let bar = ProgressBar::new(solves as u64).with_style(style.progress_chars("=> "));
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    Ok(bar)
}
