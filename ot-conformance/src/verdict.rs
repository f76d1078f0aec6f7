//! What a property says of what it is asked about.

use std::fmt::Display;

use ot_core::{Error, ProgramError};

/// Whether a property holds.
pub type Verdict = Result<(), PropertyFailure>;

/// A property that does not hold, or a request that was refused on the way to it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyFailure {
    /// A number is not what the property says.
    #[error("{property}, {case}: expected {expected:e} within {tolerance:e}, found {found:e}")]
    Broken {
        /// The property.
        property: &'static str,
        /// What it was tried on, and where it broke.
        case: String,
        /// The number that the property wants.
        expected: f64,
        /// The number found.
        found: f64,
        /// The distance that rounding may explain.
        tolerance: f64,
    },
    /// Something that is no number is not what the property says.
    #[error("{property}, {case}: {what}")]
    Violated {
        /// The property.
        property: &'static str,
        /// What it was tried on.
        case: String,
        /// What was found.
        what: String,
    },
    /// A request that should have been granted.
    #[error("refused: {0}")]
    Refused(#[from] Error),
}

impl From<ProgramError> for PropertyFailure {
    fn from(error: ProgramError) -> Self {
        Self::Refused(error.into())
    }
}

/// One property on one case.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    property: &'static str,
    case: String,
}

impl Trial {
    pub(crate) fn new(property: &'static str, case: impl Into<String>) -> Self {
        Self { property, case: case.into() }
    }

    /// The same property on a part of the case.
    pub(crate) fn at(&self, part: impl Display) -> Self {
        Self { property: self.property, case: format!("{}, {part}", self.case) }
    }

    /// Is a number within a distance of another? (NaN is not, and only infinity is near infinity.)
    pub(crate) fn close(&self, what: impl Display, found: f64, expected: f64, tolerance: f64) -> Verdict {
        if is_close(found, expected, tolerance) {
            return Ok(());
        }
        let case = format!("{}, {what}", self.case);
        if expected.is_nan() {
            let what = format!("what is expected is no number, found {found:e}");
            return Err(PropertyFailure::Violated { property: self.property, case, what });
        }
        Err(PropertyFailure::Broken { property: self.property, case, expected, found, tolerance })
    }

    /// Are all numbers within a distance of others, one for each?
    pub(crate) fn all_close(
        &self,
        what: &str,
        found: &[f64],
        expected: &[f64],
        tolerance: impl Fn(usize) -> f64,
    ) -> Verdict {
        self.holds(found.len() == expected.len(), || {
            format!("{what}: {} numbers, not {}", found.len(), expected.len())
        })?;
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let tolerance = tolerance(index);
            if !is_close(*found, *expected, tolerance) {
                self.close(format_args!("{what} {index}"), *found, *expected, tolerance)?;
            }
        }
        Ok(())
    }

    /// Is a statement true?
    pub(crate) fn holds(&self, statement: bool, otherwise: impl FnOnce() -> String) -> Verdict {
        if statement {
            return Ok(());
        }
        Err(PropertyFailure::Violated { property: self.property, case: self.case.clone(), what: otherwise() })
    }
}

/// See [`Trial::close`].
fn is_close(found: f64, expected: f64, tolerance: f64) -> bool {
    let distance = (found - expected).abs();
    found == expected || distance < f64::INFINITY && distance <= tolerance
}

/// Panics with the failure of a property, for tests.
///
/// # Panics
/// If the property does not hold.
pub fn assert_property(verdict: Verdict) {
    if let Err(failure) = verdict {
        panic!("{failure}");
    }
}
