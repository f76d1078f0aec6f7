//! The rate of the plain iteration, predicted from what a geometry tells of its costs.
//!
//! Between two normal laws of variance sigma^2 under squared distances the optimal plan has the correlation
//!
//! ```text
//! rho = sqrt(1 + x^2) - x,      x = epsilon / (4 sigma^2)
//! ```
//!
//! and the plain iteration the rate rho^2, the square of the second singular value of the plan's Markov operator. The costs of
//! independent points then have mean 2 d sigma^2 and variance 8 d sigma^4, so that sigma^2 = variance / (4 mean) in any dimension d.
//! For other laws and costs the same number is a guess: the first relaxation of a solve, guarded by the dual. The costs that
//! are told are those to the reference, which is spread over the whole support of the barycenter: half of their variance counts.
//! A relaxation below the best costs a few iterations, one above it makes the dual fall.

use std::sync::Arc;

use ot_core::{Device, Error, JointProblem, Scalar, Side, WeightsView};

/// The variance of a barycenter over that of its reference: between the inputs, it is narrower than what has room for all.
const NARROWER: f64 = 0.5;

/// sigma^2 of the slowest term, `None` where no geometry tells its costs.
pub(super) fn variance<D: Device>(problem: &JointProblem<D>) -> Result<Option<f64>, Error> {
    let (terms, mut largest) = (problem.terms(), None);
    for (index, term) in terms.iter().enumerate() {
        let geometry = term.problem.geometry();
        let shares = |other: &ot_core::JointTerm<D>| Arc::ptr_eq(other.problem.geometry(), geometry);
        if terms[..index].iter().any(shares) {
            continue;
        }
        // Columns of the weights add up: all terms of a geometry are one.
        let mut weights = [Vec::new(), Vec::new()];
        for term in terms.iter().filter(|term| shares(term)) {
            for side in Side::BOTH {
                let marginal = term.problem.marginal(side);
                let own = term.problem.backend().download(&[marginal.weights()])?.swap_remove(0);
                weights[side.index()].extend(own.iter().map(|weight| weight.to_f64()));
            }
        }
        let [a, b] = Side::BOTH.map(|side| {
            let (len, values) = (term.problem.marginal(side).len(), &weights[side.index()]);
            let mut sums = vec![0.0; len];
            for column in values.chunks_exact(len) {
                sums.iter_mut().zip(column).for_each(|(sum, weight)| *sum += weight);
            }
            sums.into_iter().map(D::Elem::from_f64).collect::<Vec<_>>()
        });
        let statistics = match geometry.cost_statistics(WeightsView::new(&a, 1)?, WeightsView::new(&b, 1)?) {
            Ok(statistics) => statistics,
            Err(Error::MissingCapability(_) | Error::Stranded { .. }) => continue,
            Err(error) => return Err(error),
        };
        let variance = statistics.deviation * (statistics.deviation / (4.0 * statistics.mean));
        if variance.is_finite() && variance > 0.0 {
            largest = Some(largest.map_or(variance, |largest: f64| largest.max(variance)));
        }
    }
    Ok(largest.map(|variance| NARROWER * variance))
}

/// rho^2.
pub(super) fn rate(variance: f64, epsilon: f64) -> f64 {
    let x = epsilon / (4.0 * variance);
    let correlation = 1.0 / (1.0_f64.hypot(x) + x);
    correlation * correlation
}
