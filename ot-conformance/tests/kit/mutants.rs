//! Properties that cannot fail prove nothing: here each of them meets something broken, and says so.

mod backend;
mod formulas;
mod geometry;

use std::fmt::Debug;

use ot_conformance::{PropertyFailure, Verdict};

/// Asserts that a property is broken, not that something was refused on the way.
fn breaks(what: &dyn Debug, verdict: Verdict) {
    match verdict {
        Err(PropertyFailure::Broken { .. } | PropertyFailure::Violated { .. }) => {}
        other => panic!("{what:?} gave {other:?}"),
    }
}
