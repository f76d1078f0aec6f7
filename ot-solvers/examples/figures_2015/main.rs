//! Three figures of the literature on barycenters, drawn by one program on the grid of the pixels:
//!
//! * the mean of thirty noisy measures, pairs of ellipses (Cuturi, Doucet 2014; Benamou et al. 2015);
//! * the simplex of all means of three shapes, as one batch (Solomon et al. 2015);
//! * the interpolation between two shapes, as the entropy leaves it and with bounded entropy (Solomon et al. 2015).
//!
//! ```text
//! cargo run --release --example figures_2015
//! cargo run --release --example figures_2015 -- --size 128 --output figures.png
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

mod canvas;
mod shapes;

use std::{error::Error, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use ot_core::{Epsilon, Grid, GridHistogram, Host, JointProblem, JointSolution, Measure, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{Barycenter, BoundedEntropy, BregmanProjections};

use crate::canvas::Canvas;

/// Draws three figures of the literature on barycenters.
#[derive(Debug, Parser)]
#[command(name = "figures_2015")]
struct Arguments {
    /// Picture to write
    #[arg(long, value_name = "PNG", default_value = "figures_2015.png")]
    output: PathBuf,

    /// Side of a measure, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(16..=256))]
    size: u32,

    /// Entropic regularization, in squared pixels of a measure of 64 pixels
    #[arg(long, value_name = "SQUARES", default_value_t = 2.0)]
    epsilon: f64,

    /// Marginal error at which a barycenter counts as converged
    #[arg(long, value_name = "ERROR", default_value_t = 1e-4)]
    tolerance: f64,

    /// Threads; as many as can run at once if not given
    #[arg(long)]
    threads: Option<usize>,
}

/// Measures that are averaged in the first figure.
const NOISY: usize = 30;

/// Measures along a side of the simplex.
const ROWS: usize = 5;

/// Measures from one end of the interpolation to the other.
const FRAMES: usize = 7;

/// Projections onto the bound of the entropy, from the barycenter that has none.
const SHARPENING: usize = 3;

fn main() -> ExitCode {
    match draw(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let clock = Instant::now();
    let backend = match arguments.threads {
        Some(threads) => CpuBackend::<f64>::new(threads)?,
        None => CpuBackend::with_available_threads()?,
    };
    let size = arguments.size as usize;
    let pixels = Grid::pixels(&[size, size])?;
    let scale = size as f64 / 64.0;
    let study = Study {
        backend,
        support: GridHistogram::uniform(&pixels)?,
        pixels,
        epsilon: Epsilon::Absolute(arguments.epsilon * scale * scale),
        tolerance: arguments.tolerance,
    };
    let bar =
        ProgressBar::new(3).with_style(ProgressStyle::with_template("[{bar:40}] figure {pos} of {len}, {elapsed}")?);
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    let mut told = Vec::new();
    let mut figures = Vec::new();
    for figure in [noisy_mean, simplex, interpolation] {
        let (canvas, line) = figure(&study, arguments.size)?;
        figures.push(canvas);
        told.push(line);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Canvas::stacked(&figures).save(&arguments.output)?;
    told.iter().for_each(|line| println!("{line}"));
    println!("seconds              {:.1}, {} threads", clock.elapsed().as_secs_f64(), study.backend.threads());
    println!("picture              {}", arguments.output.display());
    Ok(())
}

/// What all figures share.
struct Study {
    backend: CpuBackend<f64>,
    pixels: Grid<f64>,
    support: GridHistogram<'static, f64>,
    epsilon: Epsilon,
    tolerance: f64,
}

/// A picture, and what is to be said about it.
type Figure = Result<(Canvas, String), Box<dyn Error>>;

impl Study {
    /// A measure of mass one.
    fn measure(&self, masses: Vec<f64>) -> Result<GridHistogram<'static, f64>, ot_core::Error> {
        Ok(GridHistogram::new(&self.pixels, masses)?.normalized())
    }

    /// The problem of the barycenters with these weights, one set after the other.
    fn problem(
        &self,
        inputs: &[GridHistogram<'_, f64>],
        weights: &[f64],
    ) -> Result<JointProblem<Host<f64>>, ot_core::Error> {
        let inputs: Vec<&dyn Measure<f64>> = inputs.iter().map(|input| input as &dyn Measure<f64>).collect();
        Barycenter::new(&self.backend, &self.support, &SqEuclidean, self.epsilon).inputs(&inputs, weights)?.problem()
    }

    fn solve(&self, problem: &JointProblem<Host<f64>>) -> Result<JointSolution<Host<f64>>, ot_core::Error> {
        BregmanProjections::new().tolerance(self.tolerance).solve(problem)
    }

    /// The same without more entropy than the inputs have.
    fn sharpened(
        &self,
        problem: &JointProblem<Host<f64>>,
        solution: &JointSolution<Host<f64>>,
    ) -> Result<Vec<f64>, ot_core::Error> {
        BoundedEntropy::new().max_iterations(SHARPENING).run(problem).start(solution).solve()?.measure(0)
    }
}

/// How near the least certain of some barycenters is known to be.
fn certainty(name: &str, solution: &JointSolution<Host<f64>>) -> String {
    let certificates = solution.certificates();
    let gaps = certificates.iter().map(|certificate| certificate.gap / certificate.primal.abs());
    let converged = solution.statuses().iter().filter(|status| status.is_converged()).count();
    format!(
        "{name:<20} {converged} of {} converged, {} iterations, gap at most {:.1e} of the objective",
        certificates.len(),
        solution.iterations(),
        gaps.fold(0.0, f64::max)
    )
}

/// The inputs, their mean pixel by pixel, their barycenter, and the barycenter of bounded entropy.
fn noisy_mean(study: &Study, size: u32) -> Figure {
    const COLUMNS: u32 = 10;
    let inputs = shapes::nested_ellipses(size, NOISY).into_iter().map(|masses| study.measure(masses));
    let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
    let problem = study.problem(&inputs, &[1.0; NOISY])?;
    let solution = study.solve(&problem)?;

    let mut plain = vec![0.0; study.pixels.len()];
    for input in &inputs {
        plain.iter_mut().zip(input.weights_view().values()).for_each(|(plain, mass)| *plain += mass);
    }
    let means = [plain, solution.measure(0)?, study.sharpened(&problem, &solution)?];
    let mut canvas = Canvas::new(COLUMNS, NOISY as u32 / COLUMNS + 3, size);
    for (index, input) in (0..).zip(&inputs) {
        canvas.draw([index % COLUMNS, index / COLUMNS], 1, input.weights_view().values());
    }
    for (column, mean) in (0..).zip(&means) {
        canvas.draw([3 * column, NOISY as u32 / COLUMNS], 3, mean);
    }
    Ok((canvas, certainty("mean of 30", &solution)))
}

/// All means of three shapes, as one batch.
fn simplex(study: &Study, size: u32) -> Figure {
    let inputs =
        shapes::corners(size).into_iter().map(|masses| study.measure(masses)).collect::<Result<Vec<_>, _>>()?;
    let places = (0..ROWS).flat_map(|row| (0..=row).map(move |column| [row, column])).collect::<Vec<_>>();
    let last = (ROWS - 1) as f64;
    let weights: Vec<f64> = places
        .iter()
        .flat_map(|&[row, column]| [last - row as f64, (row - column) as f64, column as f64].map(|part| part / last))
        .collect();
    let problem = study.problem(&inputs, &weights)?;
    let solution = study.solve(&problem)?;
    let means = solution.measure(0)?;
    let mut canvas = Canvas::new(2 * ROWS as u32, 2 * ROWS as u32, size);
    for ([row, column], mean) in places.into_iter().zip(means.chunks_exact(study.pixels.len())) {
        canvas.draw([(ROWS - 1 - row + 2 * column) as u32, 2 * row as u32], 2, mean);
    }
    Ok((canvas, certainty("simplex of three", &solution)))
}

/// From one shape to another: above as the entropy leaves it, below with no more entropy than the ends have.
fn interpolation(study: &Study, size: u32) -> Figure {
    let [first, _, last] = shapes::corners(size);
    let inputs = [study.measure(first)?, study.measure(last)?];
    let weights = (0..FRAMES).flat_map(|frame| {
        let part = frame as f64 / (FRAMES - 1) as f64;
        [1.0 - part, part]
    });
    let problem = study.problem(&inputs, &weights.collect::<Vec<_>>())?;
    let solution = study.solve(&problem)?;
    let mut canvas = Canvas::new(FRAMES as u32, 2, size);
    for (row, means) in (0..).zip([solution.measure(0)?, study.sharpened(&problem, &solution)?]) {
        for (frame, mean) in (0..).zip(means.chunks_exact(study.pixels.len())) {
            canvas.draw([frame, row], 1, mean);
        }
    }
    Ok((canvas, certainty("interpolation", &solution)))
}
