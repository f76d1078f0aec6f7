//! Measures that are one and the same.

use ot_core::{Measure, Scalar, Support};

/// Have two measures the same atoms with the same weights, in the same order?
pub(super) fn are_identical<T: Scalar>(source: &dyn Measure<T>, target: &dyn Measure<T>) -> bool {
    let same_support = match (source.support(), target.support()) {
        (Support::Points(x), Support::Points(y)) => {
            x.dimension() == y.dimension() && x.coordinates() == y.coordinates()
        }
        (Support::Grid(x), Support::Grid(y)) => x == y,
        (Support::Indices(rows), Support::Indices(columns)) => rows == columns,
        _ => false,
    };
    let weights =
        [source.weights(), target.weights()].map(|weights| weights.map(|view| (view.columns(), view.values())));
    same_support && weights[0].is_some() && weights[0] == weights[1]
}
