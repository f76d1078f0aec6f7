//! Stochastic solvers of the semi-dual (Genevay, Cuturi, Peyre, Bach 2016): a source that is known by its samples, or too
//! large to be met as a whole.
//!
//! With the best f for every g put in, entropic transport is the maximisation of an expectation over the source:
//!
//! ```text
//! F(g) = E_x [f(x)] + <b, g>,    f(x) = -epsilon log sum_j b_j exp((g_j - c(x, y_j)) / epsilon)
//! dF / dg_j = b_j - E_x [p_j(x)] = b_j (1 - r_j),    p_j(x) = b_j exp((f(x) + g_j - c(x, y_j)) / epsilon)
//! ```
//!
//! At epsilon = 0 the softmin f is a minimum and p(x) stands on the atom that attains it. F is concave in g, and its gradient
//! is what the marginal of the plan lacks; r is the density of that marginal.
//!
//! | solver | source | converges |
//! |---|---|---|
//! | [`AveragedSgd`] | a [`Sampler`], epsilon >= 0 | like 1 / samples, to a distribution that is not discretised |
//! | [`StochasticAveragedGradient`] | a discrete measure, epsilon > 0 | linearly, and certified |
//!
//! Either ascends in the metric of b (a step is one of 1 - r_j, in units of the cost) and takes the source by blocks, so that
//! every backend, geometry and cost serves, costs on demand. The same seed gives the same bits.

mod averaged_gradient;
mod averaged_sgd;
mod block;
mod held_out;
mod sampler;

pub use ot_core::Random;

pub use self::{
    averaged_gradient::{StochasticAveragedGradient, StochasticAveragedGradientRun},
    averaged_sgd::{AveragedSgd, AveragedSgdRun, SemiDiscreteSolution},
    held_out::{Estimate, HeldOutEstimate},
    sampler::{PointSampler, Sampler},
};
