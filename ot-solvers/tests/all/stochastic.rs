//! Stochastic solvers of the semi-dual reach what is known, and say how well.

mod averaged_gradient;
mod averaged_sgd;
mod held_out;
mod support;
