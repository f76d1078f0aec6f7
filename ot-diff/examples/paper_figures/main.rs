//! The appendix of Genevay, Peyre, Cuturi (2017): how Sinkhorn losses between samples decay with their size, and whether they are positive.
//!
//! ```text
//! cargo run --release --example paper_figures
//! ```

#![expect(clippy::print_stdout, reason = "a program for the command line")]

mod arguments;
mod decay;
mod figure;
mod loss;
mod positivity;

use std::error::Error;

use clap::Parser;
use ot_cpu::CpuBackend;

use self::{
    arguments::Arguments,
    decay::{OF_DISCREPANCY, decays, of_transport, sizes},
    positivity::signs,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let backend = CpuBackend::<f64>::with_available_threads()?;
    println!(
        "samples              uniform in the unit cube, {:?} points, {} pairs each",
        sizes(&arguments),
        arguments.repeats
    );
    let decays = decays(&backend, &arguments)?;
    println!(
        "\n{:>9} {:>8} {:>12} {:>12} {:>10} {:>10} {:>8}",
        "dimension", "epsilon", "first", "last", "exponent", "transport", "MMD"
    );
    for decay in &decays {
        let (first, last) = (decay.points[0].1, decay.points[decay.points.len() - 1].1);
        println!(
            "{:>9} {:>8} {first:>12.3e} {last:>12.3e} {:>10.3} {:>10.3} {OF_DISCREPANCY:>8.3}",
            decay.dimension,
            decay.epsilon,
            decay.exponent(),
            of_transport(decay.dimension)
        );
    }
    figure::decay(&arguments.decay, &decays)?;

    let signs = signs(&backend, &arguments)?;
    println!("\n{:>9} {:>12} {:>12} {:>9}", "epsilon", "smallest", "median", "negative");
    for signs in &signs {
        let (smallest, median) = (signs.quantile(0.0), signs.quantile(0.5));
        println!(
            "{:>9.2e} {smallest:>12.3e} {median:>12.3e} {:>5} of {}",
            signs.epsilon,
            signs.negative(),
            signs.relative.len()
        );
    }
    figure::positivity(&arguments.positivity, &signs)?;
    println!("\nwritten to {} and {}", arguments.decay.display(), arguments.positivity.display());
    Ok(())
}
