//! Derivatives, beside those of peers: of plans, of values in points, of barycenters in their weights, of a step of a flow.
//!
//! A gradient is an answer. Its error is relative, in the Euclidean norm, against our own with solves to the last digits; its value
//! is its norm.

mod barycenter;
mod flow;
mod plan;
mod points;

use super::{Bench, Failure, recompute::Recomputed};

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    plan::run(bench)?;
    points::run(bench)?;
    barycenter::run(bench)?;
    flow::run(bench)
}

/// A gradient held against the exact one.
fn relative(found: &[f64], exact: &[f64]) -> Recomputed {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let value = norm(&mut found.iter().copied());
    let error = norm(&mut found.iter().zip(exact).map(|(found, exact)| found - exact));
    Recomputed { error: error / norm(&mut exact.iter().copied()), value }
}
