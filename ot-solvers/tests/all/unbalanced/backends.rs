//! Every law on every kernel, and on a backend that runs nothing before it must: one solution.

use ot_core::{
    Backend, Balanced, Epsilon, Free, Kl, Measure, Potentials, Problem, Range, SqEuclidean, TotalVariation,
    conformance::{Deferred, ReferenceBackend},
};
use ot_solvers::Sinkhorn;

use crate::outsider::penalty::Burg;
use crate::support::{Law, assert_close, backends, cloud, law};

type Host = ReferenceBackend<f64>;

/// A pair of laws, named.
fn laws() -> Vec<(&'static str, [Law; 2])> {
    let pair = |of: &dyn Fn() -> Law| [of(), of()];
    vec![
        ("balanced", pair(&|| law(Balanced))),
        ("KL", [law(Kl::new(0.3).unwrap()), law(Kl::new(5.0).unwrap())]),
        ("semi-relaxed", [law(Balanced), law(Kl::new(0.2).unwrap())]),
        ("total variation", pair(&|| law(TotalVariation::new(0.2).unwrap()))),
        ("range", [law(Range::new(0.7, 1.2).unwrap()), law(Range::new(0.5, 2.0).unwrap())]),
        ("free", [law(Balanced), law(Free)]),
        ("an outsider's", pair(&|| law(Burg { rho: 0.4 }))),
    ]
}

/// Potentials, dual and mass of every solution.
fn solutions<B: Backend<Elem = f64>>(backend: &B) -> Vec<(Vec<Vec<f64>>, [f64; 2])> {
    let (a, b) = (cloud(1, 23, 0.0, 1.0), cloud(2, 17, 0.3, 1.0));
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let solve = |(name, [source, target]): (&str, [Law; 2])| {
        let epsilon = Epsilon::RelativeToMean(0.05);
        let problem = Problem::relaxed(geometry.clone(), &a, &b, epsilon, source, target).unwrap();
        let solution = Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap();
        assert!(solution.status().is_converged(), "{name}: {}", solution.status());
        let Potentials { source, target, .. } = solution.potentials().as_ref();
        let certificate = solution.certificate();
        (backend.download(&[source, target]).unwrap(), [certificate.dual, certificate.mass])
    };
    laws().into_iter().map(solve).collect()
}

#[test]
fn a_backend_that_waits_gives_the_same_bits() {
    assert!(solutions(&Deferred::new(Host::default())) == solutions(&Host::default()));
}

#[test]
fn every_kernel_solves_as_the_reference_does() {
    let expected = solutions(&Host::default());
    let [stored, streamed] = backends(2);
    let later = [&stored, &streamed].map(|backend| solutions(&Deferred::new(backend.clone())));
    for found in [solutions(&stored), solutions(&streamed)].iter().chain(&later) {
        for ((name, _), ((found, numbers), (expected, expected_numbers))) in
            laws().iter().zip(found.iter().zip(&expected))
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
