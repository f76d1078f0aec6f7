//! Measures ours beside its peers.
//!
//! ```text
//! benches/peers/setup
//! cargo run --release -p benches --bin compare -- --suite dense --json dense.jsonl
//! ```

use std::{fs, path::PathBuf, thread};

use benches::compare::{
    Failure, Options, Sizes, Suite,
    row::{Report, TABLE_HEAD},
    run,
};
use clap::Parser;

/// Ours and its peers side by side, on the same arrays, to the same error.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    #[arg(long)]
    suite: Suite,
    /// Seed of the inputs.
    #[arg(long, default_value_t = 2026)]
    seed: u64,
    /// Where to write one JSON object a line.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Threads of either side; as many as can run at once if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// How large the problems are.
    #[arg(long, default_value = "full")]
    sizes: Sizes,
}

fn main() -> Result<(), Failure> {
    let Arguments { suite, seed, json, threads, sizes } = Arguments::parse();
    let threads = threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)).max(1);
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut report = Report::new(json.as_deref())?;
    report.line(format!("{threads} threads, seed {seed}, load before {}\n\n{TABLE_HEAD}", load()))?;
    let left_out = run(Options { suite, seed, threads, sizes }, &root, &mut report)?;
    report.line(format!("\nload after {}", load()))?;
    for reason in left_out {
        report.line(format!("left out: {reason}"))?;
    }
    Ok(())
}

/// What else the machine was busy with, as the system tells it: averages over 1, 5 and 15 minutes.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = text.split_whitespace().take(3).collect();
    if averages.is_empty() { "unknown".to_owned() } else { averages.join(" ") }
}
