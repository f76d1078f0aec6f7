//! Derivatives, from outside: laws that every one of them obeys on every kernel, and what cannot be asked.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod bad_input;
mod closed_form;
mod data;
mod gauge;
mod heat;
mod laws;
mod linear_solve;
mod losses;
mod single;
mod unrolled;
