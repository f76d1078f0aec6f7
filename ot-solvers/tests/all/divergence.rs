//! Sinkhorn divergences and maximum mean discrepancies: closed forms, limits, derivatives.

mod discrepancy;
mod limits;
mod masses;
mod sinkhorn;
mod support;
mod variation;
