//! What this crate ships, by the conformance kit, and the reference that the kit compares with, by its formulas.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod grid_costs;
mod joint;
mod penalty;
mod reference;

use std::sync::Arc;

use ot_conformance::{
    ReferenceBackend, conformance_backend, conformance_cost, conformance_penalty, conformance_regularizer,
    conformance_threads,
};
use ot_core::{
    Balanced, Capped, Chebyshev, Cosine, CostFunction, Entropy, Euclidean, Free, GroundCost, HalfSqEuclidean, Kl,
    Manhattan, MarginalPenalty, PNorm, Periodic, PowerOfDistance, Range, Separable, SqEuclidean, SquaredL2,
    SumOfPowers, TotalVariation,
};

conformance_backend!(reference_f64, ReferenceBackend::<f64>::default(), [Points, Indices]);
conformance_backend!(reference_f32, ReferenceBackend::<f32>::default(), [Points, Indices]);
conformance_threads!(serial_f32, |_| ReferenceBackend::<f32>::default(), [1, 2]);

conformance_regularizer!(entropy, Entropy);
conformance_regularizer!(squares, SquaredL2);

conformance_penalty!(balanced, Balanced);
conformance_penalty!(kl_weak, Kl::new(0.05).unwrap());
conformance_penalty!(kl, Kl::new(0.7).unwrap());
conformance_penalty!(kl_strong, Kl::new(50.0).unwrap());
conformance_penalty!(total_variation, TotalVariation::new(0.8).unwrap());
conformance_penalty!(range, Range::new(0.6, 1.5).unwrap());
conformance_penalty!(free, Free);
conformance_penalty!(range_to_zero, Range::new(0.0, 1.0).unwrap());
conformance_penalty!(capped_kl, Capped::new(Kl::new(0.7).unwrap(), 2.0).unwrap());
conformance_penalty!(capped_kl_at_one, Capped::new(Kl::new(0.7).unwrap(), 1.0).unwrap());
conformance_penalty!(capped_total_variation, Capped::new(TotalVariation::new(0.8).unwrap(), 1.5).unwrap());
conformance_penalty!(capped_range, Capped::new(Range::new(0.6, 1.5).unwrap(), 1.2).unwrap());
conformance_penalty!(capped_free, Capped::new(Free, 3.0).unwrap());
conformance_penalty!(capped_balanced, Capped::new(Balanced, 1.0).unwrap());
conformance_penalty!(capped_recorded, Capped::new(Kl::new(0.7).unwrap().recorded().unwrap(), 4.0).unwrap());

/// A cost of its own for each axis.
fn axis_costs() -> [Arc<dyn GroundCost>; 3] {
    [Arc::new(HalfSqEuclidean), Arc::new(Euclidean), Arc::new(SumOfPowers::new(1.5).unwrap())]
}

conformance_cost!(square, SqEuclidean);
conformance_cost!(half_square, HalfSqEuclidean);
conformance_cost!(euclidean, Euclidean);
conformance_cost!(concave, PowerOfDistance::new(0.5).unwrap());
conformance_cost!(power, PowerOfDistance::new(2.7).unwrap());
conformance_cost!(manhattan, Manhattan);
conformance_cost!(chebyshev, Chebyshev);
conformance_cost!(norm_3, PNorm::new(3.0).unwrap());
conformance_cost!(roots, SumOfPowers::new(0.5).unwrap());
conformance_cost!(cubes, SumOfPowers::new(3.0).unwrap());
conformance_cost!(sum_of_axes, Separable::new(axis_costs()).unwrap());
conformance_cost!(torus, Periodic::new(Arc::new(SqEuclidean), vec![Some(1.3), Some(0.7), None]).unwrap());
conformance_cost!(cosine, Cosine);
conformance_cost!(closure, CostFunction::new(|x: &[f64], y: &[f64]| (x[0] - y[0]).abs().ln_1p()));
