//! The kit tries itself: its wrappers are backends, its problems have the values they claim, and its properties can fail.

mod mutants;
mod problems;
mod wrappers;

use std::sync::Arc;

use ot_conformance::{
    Counting, Deferred, DeferredDevice, GeometryCase, ReferenceBackend, SupportKind, conformance_backend,
    conformance_geometry, standard_cases,
};
use ot_core::{Error, Host};

conformance_backend!(counting, Counting::new(Arc::new(ReferenceBackend::<f64>::default())));
conformance_backend!(deferred, Deferred::new(Arc::new(ReferenceBackend::<f32>::default())));
conformance_geometry!(deferred_kernels, deferred_cases());

/// The standard cases of reference kernels that wait for a read.
fn deferred_cases() -> Result<Vec<GeometryCase<DeferredDevice<Host<f64>>>>, Error> {
    let backend = ReferenceBackend::<f64>::default();
    let deferred = Deferred::new(Arc::new(Counting::new(Arc::new(backend))));
    let cases = standard_cases(&backend, &[SupportKind::Points, SupportKind::Indices])?;
    // Small ones: nothing but the order of things is new.
    let small = cases.into_iter().filter(|case| !case.name().starts_with("131") && !case.name().starts_with("33"));
    Ok(small.map(|case| case.with_geometry(|geometry| deferred.wrap(geometry))).collect())
}
