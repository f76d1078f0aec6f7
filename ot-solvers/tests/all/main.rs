//! The solvers, from outside: one module for each subject.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod bad_input;
mod barycenter;
mod blocks;
mod boxed;
mod cancel;
mod certificate;
mod closed_form;
mod conversions;
mod divergence;
mod exact;
mod extremes;
mod features;
mod grid;
mod hand_over;
mod hostile;
mod infeasible;
mod low_rank;
mod many;
mod map;
mod multiscale;
mod names;
mod newton;
mod outsider;
mod passes;
mod propagation;
mod regularizer;
mod rounding_along_plan;
mod scale;
mod scale_invariance;
mod separable_grid;
mod sinkhorn;
mod stochastic;
mod support;
mod unbalanced;
