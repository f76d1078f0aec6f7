//! Every penalty on every kernel, and on a backend that runs nothing before it must: one solution.

use ot_conformance::{DeferredBuilder, ReferenceBackend};
use ot_core::{
    Balanced, Device, Epsilon, Free, GeometryBuilder, Kl, Measure, Problem, Range, SqEuclidean, TotalVariation,
};
use ot_solvers::Sinkhorn;

use crate::outsider::penalty::Burg;
use crate::support::{Penalty, SIDES, assert_close, backends, cloud, penalty};

type Reference = ReferenceBackend<f64>;

/// A pair of penalties, named.
fn penalties() -> Vec<(&'static str, [Penalty; 2])> {
    let pair = |of: &dyn Fn() -> Penalty| [of(), of()];
    vec![
        ("balanced", pair(&|| penalty(Balanced))),
        ("KL", [penalty(Kl::new(0.3).unwrap()), penalty(Kl::new(5.0).unwrap())]),
        ("semi-relaxed", [penalty(Balanced), penalty(Kl::new(0.2).unwrap())]),
        ("total variation", pair(&|| penalty(TotalVariation::new(0.2).unwrap()))),
        ("range", [penalty(Range::new(0.7, 1.2).unwrap()), penalty(Range::new(0.5, 2.0).unwrap())]),
        ("free", [penalty(Balanced), penalty(Free)]),
        ("an outsider's", pair(&|| penalty(Burg { rho: 0.4 }))),
    ]
}

/// Potentials, dual and mass of every solution.
fn solutions<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) -> Vec<([Vec<f64>; 2], [f64; 2])> {
    let (a, b) = (cloud(1, 23, 0.0, 1.0), cloud(2, 17, 0.3, 1.0));
    let geometry = builder.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let solve = |(name, [source, target]): (&str, [Penalty; 2])| {
        let epsilon = Epsilon::RelativeToMean(0.05);
        let problem = Problem::unbalanced(geometry.clone(), &a, &b, epsilon, &source, &target).unwrap();
        let solution = Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap();
        assert!(solution.status().is_converged(), "{name}: {}", solution.status());
        let certificate = solution.certificate();
        (SIDES.map(|side| solution.potential(side).unwrap()), [certificate.dual, certificate.mass])
    };
    penalties().into_iter().map(solve).collect()
}

#[test]
fn a_backend_that_waits_gives_the_same_bits() {
    assert!(solutions(&DeferredBuilder::new(Reference::default())) == solutions(&Reference::default()));
}

#[test]
fn every_kernel_solves_as_the_reference_does() {
    let expected = solutions(&Reference::default());
    let [stored, streamed] = backends(2);
    let later = [&stored, &streamed].map(|backend| solutions(&DeferredBuilder::new(backend.clone())));
    for found in [solutions(&stored), solutions(&streamed)].iter().chain(&later) {
        for ((name, _), ((found, numbers), (expected, expected_numbers))) in
            penalties().iter().zip(found.iter().zip(&expected))
        {
            for (found, expected) in numbers.iter().zip(expected_numbers) {
                assert!((found - expected).abs() <= 1e-8 * (1.0 + expected.abs()), "{name}: {found} {expected}");
            }
            for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
                assert_close(*found, *expected, 1e-7);
            }
        }
    }
}
