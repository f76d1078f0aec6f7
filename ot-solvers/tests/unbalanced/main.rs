//! Transport between measures of any masses: laws of every kind, at every strength.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod backends;
#[path = "../outsider/penalty.rs"]
mod burg;
mod limits;
mod majorize_minimize;
mod partial;
mod support;
mod translation;
