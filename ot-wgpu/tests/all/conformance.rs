//! The properties of the conformance kit: operations, clouds, matrices, and matrices in several windows.

use ot_conformance::{SupportKind, standard_cases};

use crate::support::backend_or_return;

ot_conformance::conformance_backend!(device, backend_or_return!(), [Points, Indices]);
// Windows of three rows of the wider matrix.
ot_conformance::conformance_geometry!(
    windows,
    standard_cases(&backend_or_return!().with_window_limit(3 * 19 * 4), &[SupportKind::Indices])
);
