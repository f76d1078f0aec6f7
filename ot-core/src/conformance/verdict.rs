//! What a law says of what it is asked about.

use crate::{error::Error, program::ProgramError, scalar::Scalar};

/// Whether a law holds.
pub type Verdict = Result<(), LawFailure>;

/// A law that does not hold, or a request that was refused on the way to it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LawFailure {
    /// A number is not what the law says.
    #[error("{law}, {case}: expected {expected:e} within {tolerance:e}, found {found:e}")]
    Broken {
        /// The law.
        law: &'static str,
        /// What it was tried on, and where it broke.
        case: String,
        /// The number that the law wants.
        expected: f64,
        /// The number found.
        found: f64,
        /// The distance that rounding may explain.
        tolerance: f64,
    },
    /// Something that is no number is not what the law says.
    #[error("{law}, {case}: {what}")]
    Violated {
        /// The law.
        law: &'static str,
        /// What it was tried on.
        case: String,
        /// What was found.
        what: String,
    },
    /// A request that should have been granted.
    #[error("refused: {0}")]
    Refused(#[from] Error),
}

impl From<ProgramError> for LawFailure {
    fn from(error: ProgramError) -> Self {
        Self::Refused(error.into())
    }
}

/// One law on one case.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    law: &'static str,
    case: String,
}

impl Trial {
    pub(super) fn new(law: &'static str, case: impl Into<String>) -> Self {
        Self { law, case: case.into() }
    }

    /// The same law on a part of the case.
    pub(super) fn at(&self, part: impl std::fmt::Display) -> Self {
        Self { law: self.law, case: format!("{}, {part}", self.case) }
    }

    /// Is a number within a distance of another? (NaN is not, and only infinity is near infinity.)
    pub(super) fn close(&self, what: &str, found: f64, expected: f64, tolerance: f64) -> Verdict {
        if is_close(found, expected, tolerance) {
            return Ok(());
        }
        let case = if what.is_empty() { self.case.clone() } else { format!("{}, {what}", self.case) };
        Err(LawFailure::Broken { law: self.law, case, expected, found, tolerance })
    }

    /// Are all numbers within a distance of others, one for each?
    pub(super) fn all_close<T: Scalar>(
        &self,
        what: &str,
        found: &[T],
        expected: &[f64],
        tolerance: impl Fn(usize) -> f64,
    ) -> Verdict {
        self.holds(found.len() == expected.len(), || {
            format!("{what}: {} numbers, not {}", found.len(), expected.len())
        })?;
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let (found, tolerance) = (found.to_f64(), tolerance(index));
            if !is_close(found, *expected, tolerance) {
                self.close(&format!("{what} {index}"), found, *expected, tolerance)?;
            }
        }
        Ok(())
    }

    /// Is a statement true?
    pub(super) fn holds(&self, statement: bool, otherwise: impl FnOnce() -> String) -> Verdict {
        if statement {
            return Ok(());
        }
        Err(LawFailure::Violated { law: self.law, case: self.case.clone(), what: otherwise() })
    }
}

/// See [`Trial::close`].
fn is_close(found: f64, expected: f64, tolerance: f64) -> bool {
    let distance = (found - expected).abs();
    found == expected || distance < f64::INFINITY && distance <= tolerance
}

/// Panics with the failure of a law, for tests.
///
/// # Panics
/// If the law does not hold.
pub fn assert_law(verdict: Verdict) {
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}
