//! Sinkhorn divergences and maximum mean discrepancies: closed forms, limits, derivatives.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod discrepancy;
mod limits;
mod sinkhorn;
mod support;
mod variation;
