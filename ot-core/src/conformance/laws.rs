//! The laws, as functions that give a [`Verdict`](super::Verdict).
//!
//! Tolerances scale with the element type, with the size of the numbers that a formula subtracts, and
//! with their ratio to epsilon: an exponent of size m / epsilon costs that many units in the last place.

pub mod backend;
pub mod cost;
pub mod geometry;
pub mod plan_regularizer;
pub mod regularizer;
pub mod threads;
