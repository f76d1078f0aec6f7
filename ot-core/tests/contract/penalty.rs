//! Penalties that are known by fewer formulas than they have.

use ot_conformance::{assert_property, conformance_penalty, properties::penalty as properties};
use ot_core::{
    Balanced, Capped, Dual, Error, Free, Kl, MarginalPenalty, Number, Program, Range, Real, RecordedPenalty,
    TotalVariation,
};

/// A penalty without its step.
#[derive(Clone, Debug)]
struct ByDefault<P>(P);

impl<P: MarginalPenalty> MarginalPenalty for ByDefault<P> {
    fn density_bounds(&self) -> [f64; 2] {
        self.0.density_bounds()
    }

    fn potential_bounds(&self) -> [f64; 2] {
        self.0.potential_bounds()
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        self.0.conjugate(slope)
    }

    fn value<R: Real>(&self, density: R) -> R {
        self.0.value(density)
    }

    fn conjugate_subdifferential<R: Real>(&self, potential: R, epsilon: R) -> [R; 2] {
        self.0.conjugate_subdifferential(potential, epsilon)
    }
}

/// Burg's entropy rho (r - 1 - log r), whose conjugate ends at the slope rho.
#[derive(Clone, Debug)]
struct Burg(f64);

impl MarginalPenalty for Burg {
    fn conjugate<R: Real>(&self, slope: R) -> R {
        -self.0 * (1.0 - slope / self.0).max(1e-30).ln()
    }

    fn value<R: Real>(&self, density: R) -> R {
        self.0 * (density - 1.0 - density.max(1e-30).ln())
    }

    fn conjugate_subdifferential<R: Real>(&self, potential: R, _: R) -> [R; 2] {
        [1.0 / (1.0 + potential / self.0).max(1e-30); 2]
    }
}

conformance_penalty!(kl, ByDefault(Kl::new(0.7).unwrap()));
conformance_penalty!(kl_weak, ByDefault(Kl::new(0.05).unwrap()));
conformance_penalty!(kl_strong, ByDefault(Kl::new(50.0).unwrap()));
conformance_penalty!(range, ByDefault(Range::new(0.6, 1.5).unwrap()));
conformance_penalty!(range_to_zero, ByDefault(Range::new(0.0, 1.0).unwrap()));
conformance_penalty!(free, ByDefault(Free));
conformance_penalty!(balanced, ByDefault(Balanced));
conformance_penalty!(burg, Capped::new(Burg(0.5), 1e4).unwrap());
conformance_penalty!(burg_weak, Capped::new(Burg(0.05), 1e4).unwrap());
conformance_penalty!(burg_strong, Capped::new(Burg(30.0), 1e4).unwrap());
conformance_penalty!(burg_twice, ByDefault(Capped::new(Burg(0.5), 1e4).unwrap()));

/// All but its derivative in the strength, which is 0 where the default step ends at a jump.
#[test]
fn total_variation_has_a_default_step() {
    let penalty = ByDefault(TotalVariation::new(0.8).unwrap());
    for verdict in [
        properties::formulas_are_finite(&penalty),
        properties::steps_are_optimal(&penalty),
        properties::subdifferentials_are_slopes(&penalty),
        properties::formulas_are_monotone(&penalty),
    ] {
        assert_property(verdict);
    }
}

/// The largest difference of log-densities between the default step and the closed form, for softmins up to 10^4 epsilon
/// and logarithms of densities up to a limit.
fn largest_difference(penalty: &impl MarginalPenalty, limit: f64) -> f64 {
    let default = ByDefault(penalty.clone());
    let mut largest = 0.0_f64;
    for epsilon in [1e-6, 1e-3, 0.1, 1.0, 30.0] {
        for size in [0.0, 1e-3, 0.3, 1.0, 7.0, 80.0, 1e3, 1e4] {
            for softmin in [-size * epsilon, size * epsilon] {
                let (found, expected) = (default.step(softmin, epsilon), penalty.step(softmin, epsilon));
                if (expected - softmin).abs() <= limit * epsilon {
                    largest = largest.max((found - expected).abs() / (epsilon * (1.0 + size)));
                }
            }
        }
    }
    largest
}

#[test]
fn default_steps_are_the_closed_forms() {
    for rho in [1e-3, 0.2, 1.0, 50.0, 1e4] {
        // Densities below 1e-37, which is e^-85, are none to the default step.
        let kl = Kl::new(rho).unwrap();
        let difference = largest_difference(&kl, 79.0);
        assert!(difference < 1e-13, "Kl, {rho}: {difference:e}");
        let difference = largest_difference(&Capped::new(kl, 3.0).unwrap(), 79.0);
        assert!(difference < 1e-13, "capped, {rho}: {difference:e}");
        let difference = largest_difference(&TotalVariation::new(rho).unwrap(), f64::INFINITY);
        assert!(difference < 1e-13, "total variation, {rho}: {difference:e}");
    }
    let difference = largest_difference(&Range::new(0.6, 1.5).unwrap(), f64::INFINITY);
    assert!(difference < 1e-13, "range: {difference:e}");
    assert_eq!(largest_difference(&Free, f64::INFINITY), 0.0);
    assert!(largest_difference(&Balanced, f64::INFINITY) < 1e-15);
}

/// A dual number through the default step is its derivative, in the softmin and in epsilon; a program and numbers of f32
/// are the step.
#[test]
fn default_steps_are_differentiated_and_recorded() -> Result<(), Error> {
    let (kl, burg) = (Kl::new(0.7)?, Capped::new(Burg(0.4), 1e4)?);
    for (softmin, epsilon) in [(0.3, 0.1), (-0.9, 0.02), (12.0, 1.5), (-0.1, 30.0)] {
        let found = ByDefault(kl).step(Dual::new(softmin, 0.3), Dual::new(epsilon, -0.2)).derivative;
        let expected = kl.step(Dual::new(softmin, 0.3), Dual::new(epsilon, -0.2)).derivative;
        assert!((found - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{found} and {expected}");

        let slope = burg.step(Dual::variable(softmin), Dual::constant(epsilon)).derivative;
        let h = 1e-6 * epsilon;
        let difference = (burg.step(softmin + h, epsilon) - burg.step(softmin - h, epsilon)) / (2.0 * h);
        assert!((slope - difference).abs() < 1e-6, "{slope} and {difference}");

        let program = Program::record(|[softmin, epsilon]| [burg.step(softmin, epsilon)])?;
        assert_eq!(program.call([softmin, epsilon])?, [burg.step(softmin, epsilon)]);
        let Number(single) = burg.step(Number(softmin as f32), Number(epsilon as f32));
        let density = (f64::from(single) - burg.step(softmin, epsilon)) / epsilon;
        assert!(density.abs() < 1e-5 * (1.0 + softmin.abs() / epsilon), "{density:e}");
    }
    Ok(())
}

#[test]
fn caps_that_cannot_be_are_refused() -> Result<(), Error> {
    for cap in [0.0, -1.0, f64::NAN, f64::INFINITY, 0.6, 0.3] {
        let refused = Capped::new(Range::new(0.6, 1.5)?, cap);
        assert!(matches!(refused, Err(Error::Parameter { name: "cap", .. })), "{cap}: {refused:?}");
    }
    // A cap above all densities is none.
    let free_of_it = Capped::new(Balanced, 7.0)?;
    assert_eq!((free_of_it.kind(), free_of_it.conjugate(2.0)), (Balanced.kind(), 2.0));
    // A conjugate that is infinite from the slope rho on has become a line.
    let capped = Capped::new(TotalVariation::new(0.5)?, 4.0)?;
    assert_eq!((capped.conjugate(2.0), capped.potential_bounds()[0]), (0.5 + 4.0 * 1.5, f64::NEG_INFINITY));
    assert_eq!(RecordedPenalty::new(&capped)?.density_bounds(), [0.0, 4.0]);
    Ok(())
}
