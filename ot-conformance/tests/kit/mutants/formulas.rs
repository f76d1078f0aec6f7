//! Penalties, regularizers and costs with one formula wrong.

use std::sync::Arc;

use ot_conformance::{CostCase, Verdict, properties};
use ot_core::{
    Balanced, BoundingBox, CostForm, Euclidean, GroundCost, Kl, MarginalPenalty, Program, ProgramError, Real,
    Regularizer, SqEuclidean, SquaredL2,
};

use super::breaks;

/// Kullback-Leibler with one formula wrong.
#[derive(Clone, Copy, Debug)]
enum WrongPenalty {
    StepTooShort,
    StepOverflows,
    ConjugateWithoutConstant,
    SubdifferentialOfOppositeSign,
    ValueHalved,
}

impl MarginalPenalty for WrongPenalty {
    fn step<R: Real>(&self, softmin: R, epsilon: R) -> R {
        match self {
            Self::StepTooShort => softmin / (R::constant(1.0) + R::constant(1.001) * epsilon),
            Self::StepOverflows => softmin / (R::constant(1.0) + epsilon) + (softmin.exp() - softmin.exp()),
            _ => softmin / (R::constant(1.0) + epsilon),
        }
    }

    fn conjugate<R: Real>(&self, slope: R) -> R {
        let exponential = slope.clamp(R::constant(-80.0), R::constant(80.0)).exp();
        match self {
            Self::ConjugateWithoutConstant => exponential,
            _ => exponential - R::constant(1.0),
        }
    }

    fn value<R: Real>(&self, density: R) -> R {
        let entropy = density.select(density * density.max(R::constant(1e-37)).ln(), R::constant(0.0));
        let value = entropy - density + R::constant(1.0);
        if matches!(self, Self::ValueHalved) { R::constant(0.5) * value } else { value }
    }

    fn conjugate_subdifferential<R: Real>(&self, potential: R, _epsilon: R) -> [R; 2] {
        let sign = if matches!(self, Self::SubdifferentialOfOppositeSign) { 1.0 } else { -1.0 };
        [(R::constant(sign) * potential).clamp(R::constant(-80.0), R::constant(80.0)).exp(); 2]
    }
}

#[test]
fn properties_of_penalties_can_fail() {
    use properties::penalty::*;
    breaks(&WrongPenalty::StepTooShort, steps_are_optimal(&WrongPenalty::StepTooShort));
    breaks(&WrongPenalty::ValueHalved, steps_are_optimal(&WrongPenalty::ValueHalved));
    breaks(
        &WrongPenalty::SubdifferentialOfOppositeSign,
        steps_are_optimal(&WrongPenalty::SubdifferentialOfOppositeSign),
    );
    breaks(&WrongPenalty::StepOverflows, formulas_are_finite(&WrongPenalty::StepOverflows));
    let without = WrongPenalty::ConjugateWithoutConstant;
    breaks(&without, conjugates_are_legendre_transforms(&without));
    breaks(
        &WrongPenalty::SubdifferentialOfOppositeSign,
        subdifferentials_are_slopes(&WrongPenalty::SubdifferentialOfOppositeSign),
    );
    breaks(
        &WrongPenalty::SubdifferentialOfOppositeSign,
        formulas_are_monotone(&WrongPenalty::SubdifferentialOfOppositeSign),
    );
    // Properties that do not look at the step do not mind it.
    assert_eq!(conjugates_are_legendre_transforms(&WrongPenalty::StepTooShort), Ok(()));
    assert_eq!(formulas_are_monotone(&Kl::new(1.0).unwrap()), Ok(()));
    assert_eq!(formulas_are_monotone(&Balanced), Ok(()));
}

/// Squares with one formula wrong.
#[derive(Clone, Copy, Debug)]
enum WrongRegularizer {
    DensityFalls,
    ConjugateOff,
    ValueDoubled,
    GapHalved,
}

impl Regularizer for WrongRegularizer {
    fn value<R: Real>(&self, density: R) -> R {
        let half = density * density * R::constant(0.5);
        if matches!(self, Self::ValueDoubled) { half + half } else { half }
    }

    fn conjugate<R: Real>(&self, exponent: R) -> R {
        let density = Regularizer::density(&SquaredL2, exponent);
        R::constant(if matches!(self, Self::ConjugateOff) { 0.500_1 } else { 0.5 }) * density * density
    }

    fn density<R: Real>(&self, exponent: R) -> R {
        let density = exponent.max(R::constant(0.0));
        if matches!(self, Self::DensityFalls) { density - density * density * R::constant(0.1) } else { density }
    }

    fn fenchel_gap<R: Real>(&self, density: R, exponent: R) -> R {
        let gap = Regularizer::fenchel_gap(&SquaredL2, density, exponent);
        if matches!(self, Self::GapHalved) { gap * R::constant(0.5) } else { gap }
    }
}

#[test]
fn properties_of_regularizers_can_fail() {
    use properties::regularizer::*;
    breaks(&WrongRegularizer::DensityFalls, densities_never_fall(&WrongRegularizer::DensityFalls));
    breaks(&WrongRegularizer::ConjugateOff, densities_are_slopes(&WrongRegularizer::ConjugateOff));
    for wrong in [WrongRegularizer::ConjugateOff, WrongRegularizer::ValueDoubled, WrongRegularizer::GapHalved] {
        breaks(&wrong, formulas_are_conjugate(&wrong));
    }
}

/// The squared distance with one answer wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum WrongCost {
    RowsShifted,
    SinglePrecisionOff,
    ProgramOff,
    GradientHalved,
    SecondDerivativeOff,
    NoCurvatureAtCoincidence,
    NoSlopeAtCoincidence,
    NotANumberFarOff,
    BoundHalved,
    BoundOfTheNearBranch,
    FormOfAnother,
    SharesAnother,
    Forbids,
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
            _ => {}
        }
        for cost in out {
            match self {
                // Steeper from the distance 4 on.
                Self::BoundOfTheNearBranch if *cost > 16.0 => *cost = 2.0 * *cost - 16.0,
                Self::NotANumberFarOff if *cost > 0.8 => *cost = f64::NAN,
                _ => {}
            }
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
        match self {
            Self::GradientHalved => out.iter_mut().for_each(|slope| *slope *= 0.5),
            Self::NoSlopeAtCoincidence if x[0] == y[0] => out.fill(0.0),
            _ => {}
        }
        known
    }

    fn second_derivative(&self, x: &[f64], y: &[f64], direction: &[f64], out: &mut [f64]) -> bool {
        let known = SqEuclidean.second_derivative(x, y, direction, out);
        match self {
            Self::SecondDerivativeOff => out[0] += 0.1,
            Self::NoCurvatureAtCoincidence if x == y => out.fill(0.0),
            _ => {}
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
        Some(if *self == Self::BoundHalved { 0.5 * bound } else { bound })
    }

    fn shared(&self) -> Option<Arc<dyn GroundCost>> {
        match self {
            Self::SharesAnother => Some(Arc::new(Euclidean)),
            _ => Some(Arc::new(*self)),
        }
    }
}

#[test]
fn properties_of_costs_can_fail() {
    use properties::cost::*;
    type Property = fn(&CostCase) -> Verdict;
    let table: [(WrongCost, Property); 12] = [
        (WrongCost::RowsShifted, rows_are_values),
        (WrongCost::SinglePrecisionOff, rows_are_values),
        (WrongCost::Forbids, rows_are_values),
        (WrongCost::ProgramOff, programs_are_the_cost),
        (WrongCost::GradientHalved, gradients_are_differences),
        (WrongCost::SecondDerivativeOff, second_derivatives_are_differences),
        (WrongCost::NoCurvatureAtCoincidence, second_derivatives_are_differences),
        (WrongCost::NoSlopeAtCoincidence, gradients_are_differences),
        (WrongCost::NotANumberFarOff, rows_are_values),
        (WrongCost::BoundHalved, bounds_are_bounds),
        (WrongCost::FormOfAnother, claims_are_true),
        (WrongCost::SharesAnother, shared_costs_are_the_cost),
    ];
    for (wrong, property) in table {
        breaks(&wrong, property(&CostCase::new(wrong)));
        assert_eq!(property(&CostCase::new(SqEuclidean)), Ok(()));
    }
}

#[test]
fn branches_are_tried_where_the_author_says_that_they_are() {
    let wrong = CostCase::new(WrongCost::BoundOfTheNearBranch);
    assert_eq!(properties::cost::bounds_are_bounds(&wrong), Ok(()));
    breaks(&wrong, properties::cost::bounds_are_bounds(&wrong.clone().within(-3.0, 3.0)));
    assert_eq!(properties::cost::bounds_are_bounds(&CostCase::new(SqEuclidean).within(-3.0, 3.0)), Ok(()));
}

#[test]
fn failures_say_what_broke() {
    let failure = properties::penalty::formulas_are_finite(&WrongPenalty::StepOverflows).unwrap_err();
    let message = failure.to_string();
    assert!(message.starts_with("formulas are finite, StepOverflows, f64: the step from"), "{message}");
    let failure = properties::penalty::conjugates_are_legendre_transforms(&WrongPenalty::ValueHalved).unwrap_err();
    assert!(failure.to_string().contains("expected"), "{failure}");
    // Where a cost is no number, not that NaN is no NaN.
    let failure = properties::cost::rows_are_values(&CostCase::new(WrongCost::NotANumberFarOff)).unwrap_err();
    let message = failure.to_string();
    assert!(message.contains("the cost between [") && message.ends_with("is NaN"), "{message}");
}
