//! The kit on the reference backend, the reference geometry and on what this crate ships.

use ot_core::{
    Balanced, Chebyshev, Cosine, CostFunction, Euclidean, HalfSqEuclidean, Kl, Manhattan, PNorm, PowerOfDistance,
    Range, SqEuclidean, TotalVariation,
    conformance::{Counting, Deferred, ReferenceBackend},
};

ot_core::conformance_plan_regularizer!(entropy, ot_core::Entropy);
ot_core::conformance_plan_regularizer!(squares, ot_core::SquaredL2);
ot_core::conformance_backend!(reference_f64, ReferenceBackend::<f64>::default());
ot_core::conformance_backend!(reference_f32, ReferenceBackend::<f32>::default());
ot_core::conformance_backend!(counting_f64, Counting::new(ReferenceBackend::<f64>::default()));
ot_core::conformance_backend!(deferred_f64, Deferred::new(ReferenceBackend::<f64>::default()));
ot_core::conformance_backend!(deferred_f32, Deferred::new(Counting::new(ReferenceBackend::<f32>::default())));
ot_core::conformance_threads!(serial_f32, |_| ReferenceBackend::<f32>::default(), [1, 2]);

ot_core::conformance_regularizer!(balanced, Balanced);
ot_core::conformance_regularizer!(kl_weak, Kl::new(0.05).unwrap());
ot_core::conformance_regularizer!(kl, Kl::new(0.7).unwrap());
ot_core::conformance_regularizer!(kl_strong, Kl::new(50.0).unwrap());
ot_core::conformance_regularizer!(total_variation, TotalVariation::new(0.8).unwrap());
ot_core::conformance_regularizer!(range, Range::new(0.6, 1.5).unwrap());
ot_core::conformance_regularizer!(free, ot_core::Free);
ot_core::conformance_regularizer!(range_to_zero, Range::new(0.0, 1.0).unwrap());

ot_core::conformance_cost!(square, SqEuclidean);
ot_core::conformance_cost!(half_square, HalfSqEuclidean);
ot_core::conformance_cost!(euclidean, Euclidean);
ot_core::conformance_cost!(concave, PowerOfDistance::new(0.5).unwrap());
ot_core::conformance_cost!(power, PowerOfDistance::new(2.7).unwrap());
ot_core::conformance_cost!(manhattan, Manhattan);
ot_core::conformance_cost!(chebyshev, Chebyshev);
ot_core::conformance_cost!(norm_3, PNorm::new(3.0).unwrap());
ot_core::conformance_cost!(cosine, Cosine);
ot_core::conformance_cost!(closure, CostFunction::new(|x: &[f64], y: &[f64]| (x[0] - y[0]).abs().ln_1p()));
