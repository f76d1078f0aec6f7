//! The properties of the conformance kit.

use crate::support::backend_or_return;

ot_conformance::conformance_backend!(operations, backend_or_return!());
ot_conformance::conformance_backend!(clouds, backend_or_return!(), [Points, Indices]);
