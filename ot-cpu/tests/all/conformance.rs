//! The properties of the conformance kit on the backend of the host: stored costs and streamed ones, both element types.

use ot_cpu::{CpuBackend, backend::KeptEntries};

ot_conformance::conformance_backend!(dense_f64, CpuBackend::<f64>::new(2).unwrap(), [Points, Indices]);
ot_conformance::conformance_backend!(
    dense_kept_in_f32,
    CpuBackend::<f64>::new(2).unwrap().with_kept_entries(KeptEntries::Single),
    [Points, Indices]
);
ot_conformance::conformance_backend!(dense_f32, CpuBackend::<f32>::new(2).unwrap(), [Points, Indices]);
ot_conformance::conformance_backend!(streaming_f64, CpuBackend::<f64>::new(2).unwrap().with_dense_limit(0), [Points]);
ot_conformance::conformance_backend!(streaming_f32, CpuBackend::<f32>::new(2).unwrap().with_dense_limit(0), [Points]);
ot_conformance::conformance_threads!(
    dense_threads,
    |threads| CpuBackend::<f64>::new(threads).unwrap().with_kept_entries(KeptEntries::Single),
    [1, 2, 3, 7]
);
ot_conformance::conformance_threads!(
    streaming_threads,
    |threads| CpuBackend::<f32>::new(threads).unwrap().with_dense_limit(0),
    [1, 2, 3, 7]
);
