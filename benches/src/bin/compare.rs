//! Measures ours beside its peers.
//!
//! ```text
//! benches/peers/setup
//! cargo run --release -p benches --bin compare -- --suite dense --json dense.jsonl
//! ```

use std::{
    path::{Path, PathBuf},
    thread,
};

use benches::{
    compare::{Failure, Options, Sizes, Suite, row::Report, run},
    machine,
    memory::Counting,
};
use clap::{Parser, ValueEnum};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Seed of the published tables.
const SEED: u64 = 2026;

/// Ours and its peers side by side, on the same arrays, to the same error.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure.
    #[arg(long)]
    suite: Suite,
    /// Seed of the inputs.
    #[arg(long, default_value_t = SEED)]
    seed: u64,
    /// Where to write one JSON object a line.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where to write a page in Markdown.
    #[arg(long)]
    table: Option<PathBuf>,
    /// Threads of either side; as many as can run at once if not given.
    #[arg(long)]
    threads: Option<usize>,
    /// How large the problems are.
    #[arg(long, default_value = "full")]
    sizes: Sizes,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    let Arguments { suite, seed, sizes, .. } = arguments;
    let available = thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(available).max(1);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut report = Report::new(arguments.json.as_deref(), arguments.table.as_deref())?;
    report.paragraph(format!("# Suite `{}`", name(suite)))?;
    report.paragraph(format!("Made by `{}` on {}.", arguments.command(), machine::description()))?;
    report.paragraph(format!("{threads} threads, seed {seed}."))?;
    report.paragraph(idleness("before"))?;
    let left_out = run(Options { suite, seed, threads, sizes }, &root, &mut report)?;
    report.paragraph(idleness("after"))?;
    for reason in left_out {
        report.paragraph(format!("Left out: {reason}."))?;
    }
    report.finish()
}

/// How much of the machine others took.
fn idleness(when: &str) -> String {
    /// The share that a table can bear.
    const BEARABLE: f64 = 0.05;
    match machine::busy() {
        None => format!("What others took of the processors {when} is not known."),
        Some(busy) if busy <= BEARABLE => format!("Others took {:.0} % of the processors {when}.", 100.0 * busy),
        Some(busy) => format!(
            "**Others took {:.0} % of the processors {when}: ratios and fractions compare nothing.** Who waits at \
             barriers loses more than who does not.",
            100.0 * busy
        ),
    }
}

impl Arguments {
    /// The command that does this again.
    fn command(&self) -> String {
        let suite = name(self.suite);
        let features = if suite == "gpu" { " --features gpu" } else { "" };
        let mut command = format!("cargo run --release -p benches{features} --bin compare -- --suite {suite}");
        if self.sizes != Sizes::Full {
            command += &format!(" --sizes {}", name(self.sizes));
        }
        if self.seed != SEED {
            command += &format!(" --seed {}", self.seed);
        }
        if let Some(threads) = self.threads {
            command += &format!(" --threads {threads}");
        }
        command
    }
}

/// What a value is called on the command line.
fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
