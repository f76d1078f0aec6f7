//! A differential fuzzer: every entry point on hostile but finite input, beside answers that share no code with it.
//!
//! ```text
//! cargo run --release -p benches --bin fuzz -- --seed 1 --seconds 60
//! cargo run --release -p benches --bin fuzz -- --seed 1 --case 4711 --target circle
//! ```
//!
//! A case is drawn from a seed, its number and its target alone. It must not panic; no number that is returned is NaN; bounds
//! bound; `converged` holds when it is recomputed in f64 from what is returned; masses are conserved; one, two and five threads
//! give the same bits; and what has an answer is not refused.

mod assignment;
mod barycenter;
mod barycenter_forms;
mod batch;
mod circle;
mod discrepancy;
mod divergence;
mod entropic;
mod exact;
mod features;
mod gaussian;
pub mod generate;
mod ground;
mod instance;
mod judge;
mod line;
mod low_rank;
mod majorize;
mod many;
pub mod oracle;
mod partial;
mod propagation;
mod report;
mod semi_discrete;
mod sliced;
mod views;

use std::panic::{AssertUnwindSafe, catch_unwind};

use ot_core::Error;
use ot_cpu::CpuBackend;

pub use self::report::Report;
use crate::seeded::Seeded;

/// Draws a case, solves it and judges the answer.
type Case<T> = fn(&[CpuBackend<T>; 3], &mut Seeded, &mut Report);

/// An entry point, or a family of them, in both element types.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What it is called on the command line.
    pub name: &'static str,
    single: Case<f32>,
    double: Case<f64>,
}

/// All targets.
pub static TARGETS: [Target; 24] = [
    Target { name: "exact", single: exact::case, double: exact::case },
    Target { name: "assignment", single: assignment::case, double: assignment::case },
    Target { name: "low-rank", single: low_rank::case, double: low_rank::case },
    Target { name: "line", single: line::case, double: line::case },
    Target { name: "circle", single: circle::case, double: circle::case },
    Target { name: "sliced", single: sliced::case, double: sliced::case },
    Target { name: "sinkhorn", single: entropic::balanced, double: entropic::balanced },
    Target { name: "unbalanced", single: entropic::unbalanced, double: entropic::unbalanced },
    Target { name: "squared-l2", single: entropic::squared_l2, double: entropic::squared_l2 },
    Target { name: "newton", single: entropic::newton, double: entropic::newton },
    Target { name: "features", single: features::case, double: features::case },
    Target { name: "averaged-gradient", single: entropic::averaged_gradient, double: entropic::averaged_gradient },
    Target { name: "semi-discrete", single: semi_discrete::case, double: semi_discrete::case },
    Target { name: "batch", single: batch::case, double: batch::case },
    Target { name: "many", single: many::case, double: many::case },
    Target { name: "barycenter", single: barycenter::case, double: barycenter::case },
    Target { name: "barycenter-forms", single: barycenter_forms::case, double: barycenter_forms::case },
    Target { name: "propagation", single: propagation::case, double: propagation::case },
    Target { name: "divergence", single: divergence::case, double: divergence::case },
    Target { name: "discrepancy", single: discrepancy::case, double: discrepancy::case },
    Target { name: "partial", single: partial::case, double: partial::case },
    Target { name: "majorize", single: majorize::case, double: majorize::case },
    Target { name: "gaussian", single: gaussian::case, double: gaussian::case },
    Target { name: "views", single: views::case, double: views::case },
];

/// The backends of one, two and five threads that all cases share.
#[derive(Clone, Debug)]
pub struct Fuzzer {
    seed: u64,
    single: [CpuBackend<f32>; 3],
    double: [CpuBackend<f64>; 3],
}

impl Fuzzer {
    /// The cases of a seed.
    ///
    /// # Errors
    /// Threads that could not be started.
    pub fn new(seed: u64) -> Result<Self, Error> {
        Ok(Self {
            seed,
            single: [CpuBackend::new(1)?, CpuBackend::new(2)?, CpuBackend::new(5)?],
            double: [CpuBackend::new(1)?, CpuBackend::new(2)?, CpuBackend::new(5)?],
        })
    }

    /// Runs one case. A panic is a failure of it.
    #[must_use]
    pub fn run(&self, target: &Target, case: u64) -> Report {
        let mut random = Seeded::new(self.seed_of(target, case));
        let mut report = Report::default();
        let run = AssertUnwindSafe(|| match random.uniform() < 0.4 {
            true => (target.single)(&self.single, &mut random, &mut report),
            false => (target.double)(&self.double, &mut random, &mut report),
        });
        if let Err(panic) = catch_unwind(run) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let message = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of no message");
            report.panicked(message);
        }
        report
    }

    /// Cases of different targets and numbers share nothing.
    fn seed_of(&self, target: &Target, case: u64) -> u64 {
        let name =
            target.name.bytes().fold(self.seed, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        name.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ case.wrapping_mul(0xa076_1d64_78bd_642f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each target.
    const CASES: u64 = 100;

    /// Some cases of each target, the same ones in every run.
    #[test]
    fn nothing_is_found() {
        let fuzzer = Fuzzer::new(2026).unwrap();
        let mut found = Vec::new();
        for target in &TARGETS {
            for case in 0..CASES {
                let report = fuzzer.run(target, case);
                if !report.failures().is_empty() {
                    found.push(format!("--seed 2026 --case {case} --target {}\n{report:#?}", target.name));
                }
            }
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// A fault of each kind is told.
    #[test]
    fn reports_tell_failures() {
        let mut report = Report::default();
        report.number("a", f64::NAN);
        report.at_most("b", f64::NAN, 1.0);
        report.near("c", 1.0, 2.0, 0.5);
        report.refused(&Error::EmptyMeasure, false);
        assert_eq!(report.failures().len(), 4);
        assert_eq!(report.outcome(), "refused: EmptyMeasure");
        report.near("infinite", f64::INFINITY, f64::INFINITY, 0.0);
        report.given("costs", [1.0, f64::INFINITY]);
        assert_eq!((report.failures().len(), report.input()[0].as_str()), (4, "let costs = [1.0, f64::INFINITY];"));
    }

    /// A panic is a failure, and the input before it is known.
    #[test]
    fn panics_are_told() {
        fn broken<T>(_: &[CpuBackend<T>; 3], _: &mut Seeded, report: &mut Report) {
            report.given("n", 3);
            let empty: [u8; 0] = [];
            assert!(empty.len() > 1, "too few");
        }
        let target = Target { name: "broken", single: broken, double: broken };
        let report = Fuzzer::new(1).unwrap().run(&target, 0);
        assert_eq!((report.outcome(), report.input()), ("panic", &["let n = 3;".to_owned()][..]));
        assert_eq!(report.failures(), ["panic: too few"]);
    }
}
