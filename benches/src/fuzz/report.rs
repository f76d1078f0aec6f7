//! What one case says: its input, how it ended, and which invariants it broke.

use std::fmt;

use ot_core::{Error, Status};

/// The report of one case. It outlives a panic, so that the input is known then too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    outcome: String,
    failures: Vec<String>,
    input: Vec<String>,
}

impl Report {
    /// Converged, refused with an error, or another end.
    #[must_use]
    pub fn outcome(&self) -> &str {
        &self.outcome
    }

    /// The invariants that do not hold.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The input as Rust literals.
    #[must_use]
    pub fn input(&self) -> &[String] {
        &self.input
    }

    /// Notes a part of the input.
    pub fn given(&mut self, name: &str, value: impl fmt::Debug) {
        // The infinities of a list are written as they are named.
        let literal = format!("{value:?}").replace("inf", "f64::INFINITY");
        self.input.push(format!("let {name} = {literal};"));
    }

    /// Notes how the case ended.
    pub fn ended(&mut self, outcome: impl fmt::Display) {
        self.outcome = outcome.to_string();
    }

    /// Notes a status; the number in it is left out.
    pub fn status(&mut self, status: Status) {
        match status {
            Status::PrecisionLimit { .. } => self.ended("precision limit reached"),
            status => self.ended(status),
        }
    }

    /// Notes a refusal by the name of the error, which is a failure unless `allowed` says otherwise.
    pub fn refused(&mut self, error: &Error, allowed: bool) {
        let name: String = format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect();
        self.ended(format_args!("refused: {name}"));
        self.require(allowed, || format!("refused a problem that has an answer: {error}"));
        self.require(!error.to_string().contains("NaN"), || format!("NaN in an error: {error}"));
    }

    /// Notes a panic.
    pub fn panicked(&mut self, message: &str) {
        self.ended("panic");
        self.failures.push(format!("panic: {message}"));
    }

    /// An invariant.
    pub fn require(&mut self, holds: bool, says: impl FnOnce() -> String) {
        if !holds {
            self.failures.push(says());
        }
    }

    /// Not NaN.
    pub fn number(&mut self, name: &str, value: f64) {
        self.require(!value.is_nan(), || format!("{name} is NaN"));
    }

    /// None is NaN.
    pub fn numbers(&mut self, name: &str, values: &[f64]) {
        self.require(values.iter().all(|value| !value.is_nan()), || format!("NaN in {name}: {values:?}"));
    }

    /// found <= bound, which NaN is not.
    pub fn at_most(&mut self, name: &str, found: f64, bound: f64) {
        self.require(found <= bound, || format!("{name}: {found:e}, at most {bound:e}"));
    }

    /// |found - expected| <= slack, or both are the same infinity.
    pub fn near(&mut self, name: &str, found: f64, expected: f64, slack: f64) {
        let holds = found == expected || (found - expected).abs() <= slack;
        self.require(holds, || format!("{name}: {found:e}, expected {expected:e} within {slack:e}"));
    }
}
