//! Three ellipsoids fitted to the Iris flowers by Sinkhorn losses: Genevay, Peyre, Cuturi (2017), section 4.1.
//!
//! ```text
//! cargo run --release --example fit_ellipses
//! ```

#![expect(clippy::print_stdout, reason = "a program for the command line")]

mod adam;
mod arguments;
mod ellipses;
mod iris;
mod k_means;
mod loss;
mod picture;

use std::{error::Error, time::Instant};

use clap::Parser;
use ot_core::{Epsilon, PointCloud, Side, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::transport;

use self::{
    adam::Adam,
    arguments::Arguments,
    ellipses::Ellipses,
    iris::{CLASSES, DIMENSION, Flowers, NAMES},
    loss::Loss,
    picture::Picture,
};

/// The epsilons of the paper.
const EPSILONS: [f64; 4] = [1.0, 0.1, 0.01, 0.001];

/// The step length of the descent.
const RATE: f64 = 0.02;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let flowers = Flowers::load();
    let clusters = k_means::clusters(&flowers.points, CLASSES);
    let start = Ellipses::around(&flowers.points, &clusters, CLASSES, arguments.points.into(), arguments.seed);
    let backend = CpuBackend::<f64>::with_available_threads()?;

    println!("flowers              {} x {DIMENSION} principal components", flowers.len());
    println!("model                {CLASSES} ellipsoids, {} points each, from k-means", arguments.points);
    let iterations = arguments.iterations.into();
    let mut losses: Vec<Loss> = EPSILONS.map(|epsilon| Loss::Sinkhorn { epsilon, iterations }).into();
    losses.push(Loss::Discrepancy { deviation: 1.0 });

    let frames = [0, arguments.steps / 8, arguments.steps / 2, arguments.steps];
    let mut picture = Picture::new(losses.len(), frames.len());
    let data = (flowers.points.as_slice(), flowers.classes.as_slice());
    report("k-means", &k_means_table(&flowers, &clusters));
    for (row, loss) in losses.iter().enumerate() {
        let clock = Instant::now();
        let (mut model, labels) = (start.clone(), start.labels());
        let mut descent = Adam::new(RATE, model.numbers.len());
        let mut values = Vec::new();
        for step in 0..=arguments.steps {
            let points = model.points();
            for (column, _) in frames.iter().enumerate().filter(|(_, frame)| **frame == step) {
                picture.draw((row, column), data, (&points, &labels));
            }
            let (value, gradient) = loss.value_and_gradient(&backend, &points, &flowers.points)?;
            values.push(value);
            if step < arguments.steps {
                let gradient = model.pull_back(&gradient);
                descent.step(&mut model.numbers, &gradient);
            }
        }
        let title = format!(
            "{}: loss {:.4} to {:.4}, {:.1} s",
            loss.name(),
            values[0],
            values[values.len() - 1],
            clock.elapsed().as_secs_f64()
        );
        report(&title, &table(&backend, &flowers, &model.points(), &labels)?);
    }
    picture.save(&arguments.output)?;
    println!("\nframes               {}, steps {frames:?}, a row for each loss", arguments.output.display());
    Ok(())
}

/// Flowers of each kind by the ellipsoid that most of their mass comes from, in one entropic plan for all fits.
fn table(
    backend: &CpuBackend<f64>,
    flowers: &Flowers,
    points: &[f64],
    labels: &[usize],
) -> Result<[[usize; CLASSES]; CLASSES], ot_core::Error> {
    let (x, y) = (PointCloud::uniform(points, DIMENSION)?, PointCloud::uniform(&flowers.points, DIMENSION)?);
    let solution = transport(backend, &x, &y, &SqEuclidean, Epsilon::RelativeToMean(0.01))?;
    let is_of = |ellipsoid: usize| labels.iter().map(move |&label| f64::from(u8::from(label == ellipsoid)));
    let members: Vec<f64> = (0..CLASSES).flat_map(is_of).collect();
    let shares = solution.plan()?.apply(Side::Target, &members)?;
    let mut table = [[0; CLASSES]; CLASSES];
    for (flower, &class) in flowers.classes.iter().enumerate() {
        let share = |ellipsoid: usize| shares[ellipsoid * flowers.len() + flower];
        let most = (0..CLASSES).max_by(|&one, &other| share(one).total_cmp(&share(other))).unwrap_or(0);
        table[most][class] += 1;
    }
    Ok(table)
}

/// Flowers of each kind by cluster.
fn k_means_table(flowers: &Flowers, clusters: &[usize]) -> [[usize; CLASSES]; CLASSES] {
    let mut table = [[0; CLASSES]; CLASSES];
    for (&class, &cluster) in flowers.classes.iter().zip(clusters) {
        table[cluster][class] += 1;
    }
    table
}

/// Prints a table: a row for each ellipsoid, a column for each kind.
fn report(title: &str, table: &[[usize; CLASSES]; CLASSES]) {
    println!("\n{title}");
    println!("             {:>11} {:>11} {:>11}", NAMES[0], NAMES[1], NAMES[2]);
    for (ellipsoid, row) in table.iter().enumerate() {
        println!("ellipsoid {}  {:>11} {:>11} {:>11}", ellipsoid + 1, row[0], row[1], row[2]);
    }
}
