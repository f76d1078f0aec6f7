//! A given number of Sinkhorn's iterations, differentiated as they are.
//!
//! ```text
//! u = a / (K v),   v = b / (K^T u),   K_ij = exp(-C_ij / epsilon),   P_L = diag(u) K diag(v)
//! ```
//!
//! W_L is what L iterations from v = 1 make of the data, converged or not (Genevay, Peyre, Cuturi 2017; Cuturi's
//! tutorial). Value and derivatives are of the same L steps, and agree to rounding. Everything is computed with
//! potentials, epsilon log u and epsilon log v, so that nothing overflows at any epsilon.
//!
//! A half-step is f = step(s + epsilon log a) - epsilon log a with the softmin s of the other side; of prescribed marginals
//! f = s, and u = a exp(f / epsilon). Under a penalty u = prox(K v) (Chizat, Peyre, Schmitzer, Vialard 2018), for
//! Kullback-Leibler of strength rho (a / (K v))^(rho / (rho + epsilon)).
//!
//! From L iterations on, where theta^L is below rounding (theta the rate of the iteration), these are the derivatives of
//! [`Linearised`](crate::Linearised), which cost less.

mod adjoint;
mod anchored;
mod forward;
mod gradient;
mod hessian;
mod objective;
mod products;
mod scheme;
mod trajectory;

pub use self::{
    gradient::UnrolledGradient,
    objective::Objective,
    scheme::{Memory, Unrolled},
    trajectory::Trajectory,
};
