//! Stochastic solvers of the semi-dual reach what is known, and say how well.

#![expect(clippy::unwrap_used, reason = "tests")]

mod averaged_gradient;
mod averaged_sgd;
mod held_out;
mod support;
