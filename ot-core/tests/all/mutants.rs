//! Laws that cannot fail prove nothing: here each of them meets something broken, and says so.

mod backend;
mod family;
mod kernel;

use std::sync::Arc;

use ot_core::{
    Balanced, BoundingBox, CostForm, GroundCost, Kl, PenaltyFormula, Program, ProgramError, Real, Regularizer,
    SqEuclidean,
    conformance::{LawFailure, Verdict, laws},
};

/// Asserts that a law is broken, not that something was refused on the way.
fn breaks(what: &dyn std::fmt::Debug, verdict: Verdict) {
    match verdict {
        Err(LawFailure::Broken { .. } | LawFailure::Violated { .. }) => {}
        other => panic!("{what:?} gave {other:?}"),
    }
}

/// Kullback-Leibler with one formula wrong.
#[derive(Clone, Copy, Debug)]
enum WrongLaw {
    StepTooShort,
    StepOverflows,
    ConjugateWithoutConstant,
    DemandOfOppositeSign,
    ValueHalved,
}

impl PenaltyFormula for WrongLaw {
    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        match self {
            Self::StepTooShort => softmin / (1.0 + 1.001 * epsilon),
            Self::StepOverflows => softmin / (1.0 + epsilon) + (softmin.exp() - softmin.exp()),
            _ => softmin / (1.0 + epsilon),
        }
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        let exponential = slope.clamp(-80.0, 80.0).exp();
        match self {
            Self::ConjugateWithoutConstant => exponential,
            _ => exponential - 1.0,
        }
    }

    fn value<R: Real>(&self, density: R) -> R {
        let entropy = density.select(density * density.max(1e-37).ln(), 0.0);
        let value = entropy - density + 1.0;
        if matches!(self, Self::ValueHalved) { 0.5 * value } else { value }
    }

    fn demand<R: Real>(&self, potential: R, _epsilon: R) -> [R; 2] {
        let sign = if matches!(self, Self::DemandOfOppositeSign) { 1.0 } else { -1.0 };
        [(sign * potential).clamp(-80.0, 80.0).exp(); 2]
    }
}

#[test]
fn laws_of_regularizers_can_fail() {
    use laws::regularizer::*;
    breaks(&WrongLaw::StepTooShort, steps_are_optimal(&WrongLaw::StepTooShort));
    breaks(&WrongLaw::ValueHalved, steps_are_optimal(&WrongLaw::ValueHalved));
    breaks(&WrongLaw::DemandOfOppositeSign, steps_are_optimal(&WrongLaw::DemandOfOppositeSign));
    breaks(&WrongLaw::StepOverflows, formulas_are_finite(&WrongLaw::StepOverflows));
    let without = WrongLaw::ConjugateWithoutConstant;
    breaks(&without, conjugates_are_legendre_transforms(&without));
    breaks(&WrongLaw::DemandOfOppositeSign, demands_are_slopes(&WrongLaw::DemandOfOppositeSign));
    breaks(&WrongLaw::DemandOfOppositeSign, formulas_are_monotone(&WrongLaw::DemandOfOppositeSign));
    // Laws that do not look at the step do not mind it.
    assert_eq!(conjugates_are_legendre_transforms(&WrongLaw::StepTooShort), Ok(()));
    assert_eq!(formulas_are_monotone(&Kl::new(1.0).unwrap()), Ok(()));
    assert_eq!(formulas_are_monotone(&Balanced), Ok(()));
}

/// The squared distance with one answer wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum WrongCost {
    RowsShifted,
    SinglePrecisionOff,
    ProgramOff,
    GradientHalved,
    SecondDerivativeOff,
    BoundTooSmall,
    FormOfAnother,
    SharesAnother,
    Forbids,
    NotInvariant,
}

impl GroundCost for WrongCost {
    fn form(&self) -> CostForm<'_> {
        match self {
            Self::FormOfAnother => CostForm::SqEuclidean { scale: 0.5 },
            _ => CostForm::Generic,
        }
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        SqEuclidean.costs_f64(x, points, out);
        match (self, out.last_mut()) {
            (Self::RowsShifted, Some(last)) if points.len() > 5 * x.len() => *last += 1e-12,
            (Self::Forbids, Some(last)) if *last > 0.5 => *last = f64::INFINITY,
            (Self::NotInvariant, Some(last)) => *last += 1e-3 * x[0],
            _ => {}
        }
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        SqEuclidean.costs_f32(x, points, out);
        if *self == Self::SinglePrecisionOff {
            out.iter_mut().for_each(|cost| *cost *= 1.001);
        }
    }

    fn gradient(&self, x: &[f64], y: &[f64], out: &mut [f64]) -> bool {
        let known = SqEuclidean.gradient(x, y, out);
        if *self == Self::GradientHalved {
            out.iter_mut().for_each(|slope| *slope *= 0.5);
        }
        known
    }

    fn second_derivative(&self, x: &[f64], y: &[f64], direction: &[f64], out: &mut [f64]) -> bool {
        let known = SqEuclidean.second_derivative(x, y, direction, out);
        if *self == Self::SecondDerivativeOff {
            out[0] += 0.1;
        }
        known
    }

    fn program(&self, dimension: usize) -> Option<Result<Program, ProgramError>> {
        match self {
            Self::ProgramOff => Some(Program::record_dynamic(2 * dimension, |points| {
                vec![points.iter().fold(Real::constant(0.0), |sum, value| sum + *value)]
            })),
            _ => SqEuclidean.program(dimension),
        }
    }

    fn bound(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        let bound = SqEuclidean.bound(source, target)?;
        Some(if *self == Self::BoundTooSmall { 0.3 * bound } else { bound })
    }

    fn translation_invariant(&self) -> bool {
        true
    }

    fn shared(&self) -> Option<Arc<dyn GroundCost>> {
        match self {
            Self::SharesAnother => Some(Arc::new(ot_core::Euclidean)),
            _ => Some(Arc::new(*self)),
        }
    }
}

#[test]
fn laws_of_costs_can_fail() {
    use laws::cost::*;
    type Law = fn(&dyn GroundCost) -> Verdict;
    let table: [(WrongCost, Law); 10] = [
        (WrongCost::RowsShifted, rows_are_values),
        (WrongCost::SinglePrecisionOff, rows_are_values),
        (WrongCost::Forbids, rows_are_values),
        (WrongCost::ProgramOff, programs_are_the_cost),
        (WrongCost::GradientHalved, gradients_are_differences),
        (WrongCost::SecondDerivativeOff, second_derivatives_are_differences),
        (WrongCost::BoundTooSmall, claims_are_true),
        (WrongCost::FormOfAnother, claims_are_true),
        (WrongCost::NotInvariant, claims_are_true),
        (WrongCost::SharesAnother, shared_costs_are_the_cost),
    ];
    for (wrong, law) in table {
        breaks(&wrong, law(&wrong));
        assert_eq!(law(&SqEuclidean), Ok(()));
    }
}

#[test]
fn failures_say_what_broke() {
    let failure = laws::regularizer::formulas_are_finite(&WrongLaw::StepOverflows).unwrap_err();
    let message = failure.to_string();
    assert!(message.starts_with("formulas are finite, StepOverflows, f64: the step from"), "{message}");
    let law: &dyn Regularizer = &WrongLaw::ValueHalved;
    let failure = laws::regularizer::conjugates_are_legendre_transforms(law).unwrap_err();
    assert!(failure.to_string().contains("expected"), "{failure}");
}
