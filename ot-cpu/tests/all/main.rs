//! The backend of the host, from outside: one module for each subject.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod arcs;
mod blocks;
mod conformance;
mod features;
mod geometries;
mod grid;
#[cfg(feature = "heat")]
mod heat;
mod kernels;
mod plan_products;
mod support;
