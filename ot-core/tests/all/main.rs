//! The kit: what it finds in this crate, what it finds in broken implementations, and its problems.

#![cfg(feature = "conformance")]

mod conformance;
mod mutants;
mod problems;
mod wrappers;
