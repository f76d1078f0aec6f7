//! How far a solver goes, and which numbers its settings may be.

use ot_core::{Backend, Device, Error};

/// Tolerance, steps and checks of a solver.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) struct Limits {
    /// As asked for.
    tolerance: Option<f64>,
    /// What the most steps are called.
    name: &'static str,
    /// The most steps.
    pub(crate) most: usize,
    /// Steps between two checks.
    pub(crate) check_interval: usize,
}

impl Limits {
    /// No tolerance asked for, at most so many steps, each of them checked.
    pub(crate) const fn new(name: &'static str, most: usize) -> Self {
        Self { tolerance: None, name, most, check_interval: 1 }
    }

    pub(crate) const fn tolerance(self, tolerance: f64) -> Self {
        Self { tolerance: Some(tolerance), ..self }
    }

    pub(crate) const fn most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    pub(crate) const fn check_interval(self, check_interval: usize) -> Self {
        Self { check_interval, ..self }
    }

    /// The tolerance asked for, or the default of the solver.
    pub(crate) fn tolerance_or(&self, default: f64) -> f64 {
        self.tolerance.unwrap_or(default)
    }

    /// The tolerance asked for, or what a backend can be asked for.
    pub(crate) fn tolerance_on<D: Device>(&self, backend: &dyn Backend<D>) -> f64 {
        self.tolerance_or(backend.precision().default_tolerance())
    }

    /// # Errors
    /// [`Error::Parameter`] for a tolerance that is not finite and positive, or no steps.
    pub(crate) fn check(&self) -> Result<(), Error> {
        at_least_one(self.name, self.most)?;
        at_least_one("check_interval", self.check_interval)?;
        self.tolerance.map_or(Ok(()), |tolerance| positive("tolerance", tolerance))
    }
}

/// # Errors
/// [`Error::Parameter`] for a number that is not finite and positive.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<(), Error> {
    match value {
        value if value.is_finite() && value > 0.0 => Ok(()),
        _ => Err(Error::Parameter { name, value, expected: "a finite number > 0" }),
    }
}

/// # Errors
/// [`Error::Parameter`] for 0.
pub(crate) fn at_least_one(name: &'static str, value: usize) -> Result<(), Error> {
    match value {
        0 => Err(Error::Parameter { name, value: 0.0, expected: "at least 1" }),
        _ => Ok(()),
    }
}
