//! Why a solver stopped.

use std::fmt;

/// Why a solve ended. Only [`Converged`](Status::Converged) promises the tolerance; every other
/// status still comes with the best iterate and, but for [`Cancelled`](Status::Cancelled), its certificate.
#[derive(Copy, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Status {
    /// The tolerance is met, as recomputed from what is returned, rounding included.
    Converged,
    /// The iterations, pivots or samples allowed were spent.
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
    /// The observer asked to stop. The best iterate is returned at once, and its certificate is missing.
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
