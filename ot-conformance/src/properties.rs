//! The properties, as functions that give a [`Verdict`](crate::Verdict).
//!
//! # How geometries are compared
//!
//! A scene binds the kernel that is tried and the kernel of the [`ReferenceGeometry`](ot_core::ReferenceGeometry) in f64
//! to the same weights, penalties and potentials, numbers of the element type, and asks both the same. Tolerances come
//! from the [precision](ot_core::Backend::precision) of the backend: a potential may be off by some roundings of the
//! numbers in an exponent, and whatever rises with the potentials (a density, a mass) by what the reference says at
//! potentials that much lower and higher.

pub mod backend;
pub mod builder;
pub mod cost;
pub mod geometry;
pub mod penalty;
pub mod regularizer;
pub mod threads;
