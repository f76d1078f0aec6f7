//! Why a solver stopped, and what it told on the way.

use std::{fmt, ops::ControlFlow};

/// Why a solve ended. Only [`Converged`](Status::Converged) promises the tolerance; every other
/// status still comes with the best iterate and its certificate.
#[derive(Copy, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// The tolerance is met, by softmins recomputed at the returned potentials, rounding included.
    Converged,
    /// The iterations allowed were spent.
    IterationLimit,
    /// The error stopped falling before the tolerance was met.
    Stalled,
    /// The error is as small as the element type can tell: `floor` is the rounding of the
    /// marginal error at this epsilon. A larger element type or epsilon goes further.
    PrecisionLimit {
        /// The marginal error that rounding alone may cause.
        floor: f64,
    },
    /// A number that is not finite was met; the iterate before it is returned.
    NotFinite,
    /// The observer asked to stop.
    Cancelled,
}

impl Status {
    /// Is the tolerance met?
    #[must_use]
    pub fn is_converged(&self) -> bool {
        matches!(self, Status::Converged)
    }

    /// Position from the best outcome to the worst, to sum up a batch.
    pub(crate) fn severity(&self) -> u8 {
        match self {
            Status::Converged => 0,
            Status::PrecisionLimit { .. } => 1,
            Status::Stalled => 2,
            Status::IterationLimit => 3,
            Status::Cancelled => 4,
            Status::NotFinite => 5,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Converged => formatter.write_str("converged"),
            Status::IterationLimit => formatter.write_str("iteration limit reached"),
            Status::Stalled => formatter.write_str("stalled"),
            Status::PrecisionLimit { floor } => write!(formatter, "precision limit reached (floor {floor:.1e})"),
            Status::NotFinite => formatter.write_str("a number was not finite"),
            Status::Cancelled => formatter.write_str("cancelled"),
        }
    }
}

/// What is known at a check, all of it already read from the device.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Check {
    /// Full iterations done, over all stages.
    pub iteration: usize,
    /// Epsilon of the current stage.
    pub epsilon: f64,
    /// The largest marginal error over the active columns, as the sweep's by-products tell it.
    pub marginal_error: f64,
    /// The smallest dual value over the active columns.
    pub dual: f64,
    /// The largest relaxation in use.
    pub relaxation: f64,
    /// Columns that still move.
    pub active_columns: usize,
}

/// Watches a solve, and may cancel it. Called at checks only, with numbers already read, so
/// that watching adds no synchronisation.
pub trait Observer: Send {
    /// Told of a check; [`ControlFlow::Break`] cancels.
    fn observe(&mut self, check: &Check) -> ControlFlow<()>;
}

impl<F: FnMut(&Check) -> ControlFlow<()> + Send> Observer for F {
    fn observe(&mut self, check: &Check) -> ControlFlow<()> {
        self(check)
    }
}
