//! The conformance kit: the properties that every backend, geometry, penalty, regularizer and cost must have.
//!
//! For the tests of authors, here and elsewhere: one line of macro makes a module of tests.
//!
//! ```
//! use ot_conformance::ReferenceBackend;
//! use ot_core::{Kl, SqEuclidean, SquaredL2};
//!
//! // The operations of a backend, and the geometries that it builds of points and of cost matrices:
//! ot_conformance::conformance_backend!(mine_f32, ReferenceBackend::<f32>::default(), [Points, Indices]);
//! // Its bits for any number of threads:
//! ot_conformance::conformance_threads!(mine_threads, |_threads| ReferenceBackend::<f32>::default(), [1, 2, 5]);
//! // The penalty of a marginal, the regularizer of a plan, a cost between points:
//! ot_conformance::conformance_penalty!(kl, Kl::new(0.3).unwrap());
//! ot_conformance::conformance_regularizer!(squares, SquaredL2);
//! ot_conformance::conformance_cost!(square, SqEuclidean);
//! # fn main() {}
//! ```
//!
//! A geometry that no backend builds by itself is tried on cases of its author's making, with
//! [`conformance_geometry!`]. What a geometry cannot do is not tried: [`left_out`] lists it, and a test of each module
//! prints the list.
//!
//! Geometries are compared with one oracle, the [`ReferenceGeometry`](ot_core::ReferenceGeometry) in f64: a [`Scene`]
//! puts the same question to both.
//!
//! The kit also has
//!
//! * [`ReferenceBackend`], the smallest backend, to start from and to compare with;
//! * [`Counting`], which proves of a solver that it allocates and reads nothing in its loop, and [`CountedGeometry`], which
//!   counts its passes over the pairs;
//! * [`Deferred`], which proves that it never looks before it reads, nor uses what it has not written;
//! * [`problems`] with closed forms, from translations to unbalanced Gaussians;
//! * the [`properties`] as functions, for other harnesses.
//!
//! [`Scene`]: crate::properties#how-geometries-are-compared

mod case;
mod cost_case;
mod counting;
mod deferred;
mod iterate;
mod left_out;
mod macros;
mod passes;
pub mod problems;
pub mod properties;
mod reference_backend;
mod scene;
mod seeded;
mod standard_cases;
mod verdict;

pub use self::{
    case::{GeometryCase, SupportKind},
    cost_case::CostCase,
    counting::{Counting, Counts},
    deferred::{Deferred, DeferredBuilder, DeferredDevice, DeferredVector},
    left_out::{LeftOut, left_out, print_left_out},
    macros::for_cases,
    passes::{CountedGeometry, Passes},
    reference_backend::ReferenceBackend,
    seeded::Seeded,
    standard_cases::standard_cases,
    verdict::{PropertyFailure, Verdict, assert_property},
};
