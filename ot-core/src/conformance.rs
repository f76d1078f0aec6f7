//! The conformance kit: laws that every backend, geometry, regularizer and cost must pass.
//!
//! For the tests of authors, in this crate and outside: one line of macro makes a module of tests.
//!
//! ```
//! use ot_core::{Kl, SqEuclidean, conformance::{GeometryCase, ReferenceBackend}};
//!
//! // A backend and an element type, with all geometries that it builds for the standard cases:
//! ot_core::conformance_backend!(mine_f32, ReferenceBackend::<f32>::default());
//! // Its bits for any number of threads:
//! ot_core::conformance_threads!(mine_threads, |_threads| ReferenceBackend::<f32>::default(), [1, 2, 5]);
//! // A law of a marginal, a cost between points:
//! ot_core::conformance_regularizer!(kl, Kl::new(0.3).unwrap());
//! ot_core::conformance_cost!(square, SqEuclidean);
//! # fn main() {}
//! ```
//!
//! A geometry that no backend builds by itself is tried on cases of its author's making, with
//! [`conformance_geometry!`](crate::conformance_geometry).
//!
//! The kit also has
//!
//! * [`ReferenceBackend`], the smallest backend, to start from and to compare with;
//! * [`Counting`], which proves of a solver that it allocates and reads nothing in its loop;
//! * [`Deferred`], which proves that it never looks before it reads, nor uses what it has not written;
//! * [`problems`] with closed forms, from translations to unbalanced Gaussians;
//! * the [`laws`] as functions, for other harnesses.

mod case;
mod counting;
mod deferred;
pub mod laws;
mod macros;
mod naive;
pub mod problems;
mod reference_backend;
mod seeded;
mod verdict;

pub use self::{
    case::{GeometryCase, standard_cases},
    counting::{Counting, Counts},
    deferred::{Deferred, DeferredReduced, DeferredVector},
    macros::for_cases,
    reference_backend::ReferenceBackend,
    seeded::Seeded,
    verdict::{LawFailure, Verdict, assert_law},
};
