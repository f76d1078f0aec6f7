//! Measures that are one and the same.

use ot_core::{Measure, Scalar};

/// Have two measures the same atoms with the same weights, in the same order?
pub(super) fn are_identical<T: Scalar>(source: &dyn Measure<T>, target: &dyn Measure<T>) -> bool {
    let weights =
        [source.weights(), target.weights()].map(|weights| weights.map(|view| (view.columns(), view.values())));
    source.support().is_same(&target.support()) && weights[0].is_some() && weights[0] == weights[1]
}
