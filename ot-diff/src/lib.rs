//! Derivatives of optimal transport, forward and reverse, first and second order, over any kernel.

mod algebra;
mod conjugate_gradient;
mod envelope;
mod frame;
mod gradient;
mod linear_solve;
mod linearised;
mod optimum;
mod tangent;
mod unrolled;

pub use envelope::{ValueGradient, value_and_gradient};
pub use gradient::Gradient;
pub use linear_solve::{LinearSolve, LinearSolver, Preconditioner};
pub use linearised::{Change, Cotangent, HessianProduct, Linearised, Output};
pub use tangent::Tangent;
pub use unrolled::{Memory, Objective, Trajectory, Unrolled, UnrolledGradient};
