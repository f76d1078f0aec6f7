//! Writes the robustness table: every hard case, every epsilon, both element types, every kernel.
//!
//! ```text
//! cargo run --release -p benches --bin robustness > docs/robustness.md
//! ```

#![expect(clippy::print_stdout, reason = "this is a program")]

use std::process::ExitCode;

use benches::robustness::{EPSILONS, TABLE_HEAD, cases};
use ot_core::Error;

/// What the page says of the fuzzer.
const HOSTILE_INPUT: &str = include_str!("hostile_input.md");

/// Atoms a side.
const LEN: usize = 300;

fn main() -> Result<ExitCode, Error> {
    println!("# What it withstands\n");
    println!(
        "Made by `cargo run --release -p benches --bin robustness > docs/robustness.md`: {LEN} atoms a side, \
         tolerance 1e-8 in f64 and 1e-3 in f32, at most 3000 iterations, dense entries kept in f32, default settings otherwise. A row holds if \
         all its numbers are finite, the marginal error and mass recomputed entry by entry in f64 agree with the \
         certificate, and `converged` is true under that recomputation. What has not converged says so.\n"
    );
    println!("{TABLE_HEAD}");
    let (mut rows, mut held) = (0, 0);
    for case in cases(LEN) {
        for epsilon in EPSILONS {
            let mut all = case.rows::<f64>(epsilon, 1e-8, 3000)?;
            if case.fits_f32 {
                all.extend(case.rows::<f32>(epsilon, 1e-3, 3000)?);
            }
            for row in all {
                println!("{row}");
                rows += 1;
                held += usize::from(row.holds);
            }
        }
    }
    print!("\n{held} of {rows} rows hold.\n\n{HOSTILE_INPUT}");
    Ok(if held == rows { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
