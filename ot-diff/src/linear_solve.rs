//! How linear systems are solved, and what is known of their solutions.

use std::fmt::Debug;

use ot_core::{Backend, Device, Error, Scalar, Status};

/// Settings of the linear solves of a [`Linearised`](crate::Linearised).
///
/// ```
/// use ot_diff::LinearSolver;
///
/// let careful = LinearSolver::new().tolerance(1e-13).max_steps(2000);
/// # let _ = careful;
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct LinearSolver {
    tolerance: Option<f64>,
    pub(crate) max_steps: usize,
    pub(crate) check_interval: usize,
    pub(crate) warm: bool,
}

impl Default for LinearSolver {
    fn default() -> Self {
        Self::new()
    }
}

impl LinearSolver {
    /// A residual of 1e-10 in f64 and 1e-5 in f32, at most 1000 steps, a check at each, every solve from zero.
    #[must_use]
    pub fn new() -> Self {
        Self { tolerance: None, max_steps: 1000, check_interval: 1, warm: false }
    }

    /// The residual that counts as solved, relative to the right-hand side.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { tolerance: Some(tolerance), ..self }
    }

    /// The most steps of conjugate gradients.
    #[must_use]
    pub fn max_steps(self, max_steps: usize) -> Self {
        Self { max_steps, ..self }
    }

    /// Steps between two checks: the only points where the host reads. On a device with memory of its own, 10.
    #[must_use]
    pub fn check_interval(self, check_interval: usize) -> Self {
        Self { check_interval, ..self }
    }

    /// Start each solve from the solution of the last one of its kind, forward or reverse. The result then depends, within
    /// the tolerance, on what was asked before.
    #[must_use]
    pub fn warm(self, warm: bool) -> Self {
        Self { warm, ..self }
    }

    /// The tolerance asked for, or that of the element type.
    pub(crate) fn tolerance_for<T: Scalar>(&self) -> f64 {
        // 1e-10 in f64, 1e-5 in f32.
        let rounding = if T::EPSILON < 1e-10 { 1e-10 } else { 1e-5 };
        self.tolerance.unwrap_or(rounding)
    }

    /// Refuses settings out of range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let refuse = |name, value, expected| Err(Error::Parameter { name, value, expected });
        match self {
            Self { tolerance: Some(value), .. } if !(*value > 0.0 && *value < 1.0) => {
                refuse("tolerance of a linear solve", *value, "a number in (0, 1)")
            }
            Self { max_steps: 0, .. } => refuse("max_steps", 0.0, "at least 1"),
            Self { check_interval: 0, .. } => refuse("check_interval", 0.0, "at least 1"),
            _ => Ok(()),
        }
    }
}

/// What is known of the solution of a linear system.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct LinearSolve {
    /// |right-hand side - A x| / |right-hand side|, recomputed, of the worst column; 0 for a system that asks nothing.
    pub residual: f64,
    /// Steps of conjugate gradients, each of two products with the plan.
    pub steps: usize,
    /// [`Converged`](Status::Converged) if the residual is within the tolerance. [`Stalled`](Status::Stalled) where a plan
    /// is separate up to rounding, or a tolerance below it was asked for. After
    /// [`NotFinite`](Status::NotFinite) the solution is zero.
    pub status: Status,
}

/// An approximate inverse of the Schur complement of a [`Linearised`](crate::Linearised) problem, of its target side: the
/// hook for what knows more of the plan, such as its heaviest arcs.
///
/// It must be linear, self-adjoint and positive in the inner product <x, y> = sum_j omega_j x_j y_j, with omega =
/// [`inner_weights`](crate::Linearised::inner_weights), and the same at each call. Constants are projected out of what it
/// returns where the system is zero on them.
pub trait Preconditioner<D: Device>: Debug + Send {
    /// out = M residual, column by column.
    ///
    /// # Errors
    /// A failure of the device.
    fn precondition(
        &mut self,
        backend: &dyn Backend<D>,
        residual: &D::Vector,
        out: &mut D::Vector,
    ) -> Result<(), Error>;
}
