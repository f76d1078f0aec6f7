//! Derivatives, from outside: laws that every one of them obeys on every kernel, and what cannot be asked.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[cfg(feature = "argmin")]
mod argmin;
mod bad_input;
mod barycenter;
mod closed_form;
mod data;
mod debiased;
mod free_support;
mod gauge;
mod heat;
mod kernels;
mod laws;
mod linear_solve;
mod losses;
mod sharpened;
mod single;
mod support_matrix;
mod unrolled;
