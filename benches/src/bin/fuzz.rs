//! Runs the fuzzer for some time, or one case of it again.
//!
//! ```text
//! cargo run --release -p benches --bin fuzz -- --seed 1 --seconds 60 [--target NAME]
//! cargo run --release -p benches --bin fuzz -- --seed 1 --case 4711 --target NAME
//! ```

#![expect(clippy::print_stdout, reason = "this is a program")]

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use benches::fuzz::{Fuzzer, Report, TARGETS, Target};
use clap::Parser;

/// Hostile but finite input for every entry point, checked against independent answers.
#[derive(Parser)]
struct Arguments {
    /// The seed of all cases.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long to go on, over all targets in turn.
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// One target alone.
    #[arg(long)]
    target: Option<String>,
    /// One case alone.
    #[arg(long)]
    case: Option<u64>,
    /// The most failures that are written out for each target.
    #[arg(long, default_value_t = 10)]
    shown: usize,
}

/// What became of the cases of one target.
#[derive(Default)]
struct Tally {
    cases: u64,
    failures: usize,
    outcomes: BTreeMap<String, u64>,
    slowest: (Duration, u64),
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let asked = |target: &&Target| arguments.target.as_deref().is_none_or(|name| name == target.name);
    let targets: Vec<&Target> = TARGETS.iter().filter(asked).collect();
    if targets.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        return Err(format!("no such target; there are {}", names.join(", ")).into());
    }
    let fuzzer = Fuzzer::new(arguments.seed)?;
    // The message of a panic is part of its report.
    std::panic::set_hook(Box::new(|_| {}));
    let mut tallies: Vec<Tally> = targets.iter().map(|_| Tally::default()).collect();
    let (start, mut case) = (Instant::now(), arguments.case.unwrap_or(0));
    loop {
        for (target, tally) in targets.iter().zip(&mut tallies) {
            let before = Instant::now();
            let report = fuzzer.run(target, case);
            tally.add(&report, case, before.elapsed());
            let again = arguments.case.is_some();
            if again || (!report.failures().is_empty() && tally.failures <= arguments.shown) {
                show(&report, arguments.seed, case, target);
            }
        }
        case += 1;
        if arguments.case.is_some() || start.elapsed().as_secs_f64() >= arguments.seconds {
            break;
        }
    }
    println!("| target | cases | failures | slowest | outcomes |\n|---|---|---|---|---|");
    for (target, tally) in targets.iter().zip(&tallies) {
        let outcomes: Vec<String> =
            tally.outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
        let (time, slowest) = tally.slowest;
        println!(
            "| {} | {} | {} | {:.2} s, case {slowest} | {} |",
            target.name,
            tally.cases,
            tally.failures,
            time.as_secs_f64(),
            outcomes.join(", ")
        );
    }
    let failures: usize = tallies.iter().map(|tally| tally.failures).sum();
    let cases: u64 = tallies.iter().map(|tally| tally.cases).sum();
    println!("\n{cases} cases, {failures} with failures.");
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Tally {
    fn add(&mut self, report: &Report, case: u64, time: Duration) {
        self.cases += 1;
        self.failures += usize::from(!report.failures().is_empty());
        *self.outcomes.entry(report.outcome().to_owned()).or_default() += 1;
        self.slowest = self.slowest.max((time, case));
    }
}

/// A case, so that it can be run again or written as a test.
fn show(report: &Report, seed: u64, case: u64, target: &Target) {
    println!("--seed {seed} --case {case} --target {}    // {}", target.name, report.outcome());
    for failure in report.failures() {
        println!("    // {failure}");
    }
    for line in report.input() {
        println!("    {line}");
    }
}
