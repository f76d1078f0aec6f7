//! Penalties of the shipped formulas, checked on all of them together.

use num_dual::{DualNum, HyperDual64};

use super::*;
use crate::{
    error::Error,
    program::{BlockInput, LibraryMath, Operation, Registers},
    real::Real,
    scalar::Scalar,
};

/// Numbers in (-1, 1) from a seed (Vigna's splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    fn vector(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// Every shipped formula.
fn formulas() -> Result<Vec<Box<dyn GroundCost>>, Error> {
    Ok(vec![
        Box::new(SqEuclidean),
        Box::new(HalfSqEuclidean),
        Box::new(Euclidean),
        Box::new(PowerOfDistance::new(0.5)?),
        Box::new(PowerOfDistance::new(0.7)?),
        Box::new(PowerOfDistance::new(1.5)?),
        Box::new(PowerOfDistance::new(2.0)?),
        Box::new(PowerOfDistance::new(2.3)?),
        Box::new(Manhattan),
        Box::new(Chebyshev),
        Box::new(PNorm::new(1.0)?),
        Box::new(PNorm::new(1.3)?),
        Box::new(PNorm::new(2.0)?),
        Box::new(PNorm::new(3.0)?),
        Box::new(PNorm::new(f64::INFINITY)?),
        Box::new(Cosine),
    ])
}

fn cost_of<T: Scalar>(cost: &dyn GroundCost, x: &[T], y: &[T]) -> T {
    let mut out = [T::from_f64(f64::NAN)];
    cost.costs(x, y, &mut out);
    out[0]
}

/// The cost that a form stands for, by the library's powers, without any of our tricks.
fn by_form(form: CostForm<'_>, x: &[f64], y: &[f64]) -> f64 {
    let differences = || x.iter().zip(y).map(|(x, y)| (x - y).abs());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    match form {
        CostForm::SqEuclidean { scale } => scale * differences().map(|z| z.powi(2)).sum::<f64>(),
        CostForm::PowerOfNorm { norm, exponent } if norm == f64::INFINITY => {
            differences().fold(0.0, f64::max).powf(exponent)
        }
        CostForm::PowerOfNorm { norm, exponent } => {
            let powers = differences().map(|z| z.powf(norm));
            powers.sum::<f64>().powf(exponent / norm)
        }
        CostForm::Cosine => 1.0 - dot(x, y) / (dot(x, x) * dot(y, y)).sqrt(),
        CostForm::Matrix(_) | CostForm::Implied | CostForm::Generic => f64::NAN,
    }
}

#[test]
fn every_formula_is_the_form_it_claims() -> Result<(), Error> {
    let mut numbers = Numbers(1);
    for cost in formulas()? {
        for dimension in [1, 2, 3, 4, 7, 20] {
            let (x, y) = (numbers.vector(dimension), numbers.vector(dimension));
            let (found, expected) = (cost_of(&*cost, &x, &y), by_form(cost.form(), &x, &y));
            assert!(
                (found - expected).abs() <= 1e-13 * (1.0 + expected),
                "{cost:?} in dimension {dimension}: {found}, expected {expected}"
            );
        }
    }
    Ok(())
}

#[test]
fn closed_forms() -> Result<(), Error> {
    let (x, y) = ([1.0, -1.0, 2.0], [4.0, 3.0, 14.0]); // difference 3, 4, 12
    let cases: [(&dyn GroundCost, f64); 9] = [
        (&SqEuclidean, 169.0),
        (&HalfSqEuclidean, 84.5),
        (&Euclidean, 13.0),
        (&PowerOfDistance::new(2.0)?, 169.0),
        (&PowerOfDistance::new(4.0)?, 28561.0),
        (&Manhattan, 19.0),
        (&PNorm::new(2.0)?, 13.0),
        (&Chebyshev, 12.0),
        (&PNorm::new(f64::INFINITY)?, 12.0),
    ];
    for (cost, expected) in cases {
        assert_eq!(cost_of(cost, &x, &y), expected, "{cost:?}");
    }
    assert_eq!(PNorm::new(3.0)?.norm(), 3.0);
    assert_eq!(PowerOfDistance::new(3.0)?.exponent(), 3.0);
    Ok(())
}

#[test]
fn exponents_out_of_range_are_refused() {
    for exponent in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        assert!(matches!(
            PowerOfDistance::new(exponent),
            Err(Error::Parameter { name: "the exponent of PowerOfDistance", value, .. })
                if value.to_bits() == exponent.to_bits()
        ));
    }
    for norm in [0.99, 0.0, f64::NEG_INFINITY, f64::NAN] {
        assert!(matches!(
            PNorm::new(norm),
            Err(Error::Parameter { name: "the index of PNorm", value, .. })
                if value.to_bits() == norm.to_bits()
        ));
    }
}

#[test]
fn costs_are_symmetric_and_vanish_on_the_diagonal() -> Result<(), Error> {
    let mut numbers = Numbers(2);
    for cost in formulas()? {
        for _ in 0..20 {
            let (x, y) = (numbers.vector(5), numbers.vector(5));
            let (there, back) = (cost_of(&*cost, &x, &y), cost_of(&*cost, &y, &x));
            assert_eq!(there.to_bits(), back.to_bits(), "{cost:?}");
            assert!(there > 0.0, "{cost:?}");
            assert_eq!(cost_of(&*cost, &x, &x), 0.0, "{cost:?}");
        }
    }
    Ok(())
}

#[test]
fn norms_obey_the_triangle_inequality() -> Result<(), Error> {
    let mut numbers = Numbers(3);
    for norm in [1.0, 1.1, 1.5, 2.0, 3.0, 10.0, 400.0, f64::INFINITY] {
        let cost = PNorm::new(norm)?;
        for _ in 0..50 {
            let (x, y, z) = (numbers.vector(4), numbers.vector(4), numbers.vector(4));
            let detour = cost_of(&cost, &x, &y) + cost_of(&cost, &y, &z);
            let direct = cost_of(&cost, &x, &z);
            assert!(direct <= detour * (1.0 + 1e-14), "{norm}: {direct} {detour}");
        }
    }
    // The square is no distance: the inequality must be able to fail.
    assert!(cost_of(&SqEuclidean, &[0.0], &[2.0]) > 2.0 * cost_of(&SqEuclidean, &[0.0], &[1.0]));
    Ok(())
}

#[test]
fn a_row_is_its_points_one_by_one() -> Result<(), Error> {
    fn check<T: Scalar>(cost: &dyn GroundCost, numbers: &mut Numbers) {
        for dimension in [1, 2, 3, 4, 5, 16, 17] {
            for len in [0, 1, 7, 8, 9, 16, 37] {
                let mut vector = |len| numbers.vector(len).into_iter().map(T::from_f64);
                let x: Vec<T> = vector(dimension).collect();
                let points: Vec<T> = vector(dimension * len).collect();
                let mut row = vec![T::from_f64(-1.0); len];
                cost.costs(&x, &points, &mut row);
                for (y, value) in points.chunks_exact(dimension).zip(&row) {
                    let alone = cost_of(cost, &x, y);
                    assert_eq!(alone.to_f64().to_bits(), value.to_f64().to_bits(), "{cost:?}");
                }
            }
        }
    }
    let mut numbers = Numbers(4);
    for cost in formulas()? {
        check::<f32>(&*cost, &mut numbers);
        check::<f64>(&*cost, &mut numbers);
    }
    Ok(())
}

#[test]
fn single_precision_agrees_with_double() -> Result<(), Error> {
    let mut numbers = Numbers(5);
    for cost in formulas()? {
        for dimension in [1, 2, 3, 8] {
            let narrow: Vec<f32> = numbers.vector(2 * dimension).iter().map(|v| *v as f32).collect();
            let wide: Vec<f64> = narrow.iter().copied().map(f64::from).collect();
            let (x, y) = narrow.split_at(dimension);
            let single = f64::from(cost_of(&*cost, x, y));
            let double = cost_of(&*cost, &wide[..dimension], &wide[dimension..]);
            let error = (single - double).abs() / (double + f64::from(f32::EPSILON));
            assert!(error < 16.0 * f64::from(f32::EPSILON), "{cost:?}: {single} {double}");
        }
    }
    Ok(())
}

#[test]
fn shapes_that_disagree_pair_what_exists() {
    let mut out = [7.0; 3];
    SqEuclidean.costs_f64(&[0.0, 0.0], &[1.0, 1.0, 2.0, 2.0, 3.0], &mut out);
    assert_eq!(out, [2.0, 8.0, 7.0]);
    SqEuclidean.costs_f64(&[], &[], &mut out);
    SqEuclidean.costs_f64(&[0.0], &[1.0; 40], &mut out[..1]);
    assert_eq!(out, [1.0, 8.0, 7.0]);
    let four = [0.0; 4];
    let mut wide = [7.0; 20];
    SqEuclidean.costs_f64(&four, &[1.0; 4 * 9 + 3], &mut wide);
    assert_eq!((wide[..9].to_vec(), wide[9..].to_vec()), (vec![4.0; 9], vec![7.0; 11]));
    for (y, len) in [(2, 2), (1, 1), (1, 4)] {
        let mut untouched = vec![7.0; len];
        assert!(!SqEuclidean.gradient(&[0.0], &four[..y], &mut untouched));
        assert!(!SqEuclidean.second_derivative(&[0.0], &four[..y], &four[..2], &mut untouched));
        assert_eq!(untouched, vec![7.0; len]);
    }
    assert!(!SqEuclidean.second_derivative(&[0.0], &[1.0], &four, &mut [0.0; 2]));
    assert!(!SqEuclidean.gradient(&[], &[], &mut []));
}

/// Points in general position, where every formula is smooth.
fn smooth_pair(numbers: &mut Numbers, dimension: usize) -> (Vec<f64>, Vec<f64>) {
    let x = numbers.vector(dimension);
    let y = x.iter().enumerate().map(|(axis, x)| {
        let side = if numbers.next() > 0.0 { 1.0 } else { -1.0 };
        x + side * (0.3 + 0.2 * axis as f64 + 0.1 * numbers.next())
    });
    let y = y.collect();
    (x, y)
}

#[test]
fn gradients_are_central_differences() -> Result<(), Error> {
    const STEP: f64 = 1e-5;
    let mut numbers = Numbers(6);
    for cost in formulas()? {
        for dimension in [1, 2, 3, 6, 17] {
            if dimension == 1 && matches!(cost.form(), CostForm::Cosine) {
                continue; // a step function of the signs
            }
            let (x, y) = smooth_pair(&mut numbers, dimension);
            let mut found = vec![f64::NAN; 2 * dimension];
            assert!(cost.gradient(&x, &y, &mut found));
            let size = found.iter().fold(1.0, |size: f64, value| size.max(value.abs()));
            for (axis, found) in found.iter().enumerate() {
                let at = |step: f64| {
                    let mut z = [&x[..], &y[..]].concat();
                    z[axis] += step;
                    cost_of(&*cost, &z[..dimension], &z[dimension..])
                };
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                assert!(
                    (found - expected).abs() < 1e-8 * size,
                    "{cost:?} axis {axis} of {dimension}: {found}, expected {expected}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn second_derivatives_are_central_differences_of_gradients() -> Result<(), Error> {
    const STEP: f64 = 1e-5;
    let mut numbers = Numbers(7);
    for cost in formulas()? {
        for dimension in [1, 2, 3, 6, 17] {
            let (x, y) = smooth_pair(&mut numbers, dimension);
            let direction = numbers.vector(2 * dimension);
            let mut found = vec![f64::NAN; 2 * dimension];
            assert!(cost.second_derivative(&x, &y, &direction, &mut found));
            let at = |step: f64| {
                let z = x.iter().chain(&y).zip(&direction);
                let z: Vec<f64> = z.map(|(z, direction)| z + step * direction).collect();
                let mut gradient = vec![f64::NAN; 2 * dimension];
                cost.gradient(&z[..dimension], &z[dimension..], &mut gradient);
                gradient
            };
            let size = found.iter().fold(1.0, |size: f64, value| size.max(value.abs()));
            for ((found, after), before) in found.iter().zip(at(STEP)).zip(at(-STEP)) {
                let expected = (after - before) / (2.0 * STEP);
                assert!(
                    (found - expected).abs() < 1e-7 * size,
                    "{cost:?} in dimension {dimension}: {found}, expected {expected}"
                );
            }
        }
    }
    Ok(())
}

/// A cost written again over num-dual's numbers.
type Again = fn(&[HyperDual64], f64) -> HyperDual64;

fn power_of_distance_again(z: &[HyperDual64], exponent: f64) -> HyperDual64 {
    let (x, y) = z.split_at(z.len() / 2);
    let squares = x.iter().zip(y).map(|(x, y)| (x - y).powi(2));
    squares.sum::<HyperDual64>().powf(0.5 * exponent)
}

fn p_norm_again(z: &[HyperDual64], norm: f64) -> HyperDual64 {
    let (x, y) = z.split_at(z.len() / 2);
    let powers = x.iter().zip(y).map(|(x, y)| (x - y).powi(2).powf(0.5 * norm));
    powers.sum::<HyperDual64>().powf(1.0 / norm)
}

fn cosine_again(z: &[HyperDual64], one: f64) -> HyperDual64 {
    let (x, y) = z.split_at(z.len() / 2);
    let dot = |a: &[HyperDual64], b: &[HyperDual64]| {
        let products = a.iter().zip(b).map(|(a, b)| a * b);
        products.sum::<HyperDual64>()
    };
    -dot(x, y) / (dot(x, x) * dot(y, y)).sqrt() + one
}

#[test]
fn derivatives_are_those_of_num_dual() -> Result<(), Error> {
    let cases: [(&dyn GroundCost, Again, f64); 9] = [
        (&SqEuclidean, power_of_distance_again, 2.0),
        (&Euclidean, power_of_distance_again, 1.0),
        (&PowerOfDistance::new(0.5)?, power_of_distance_again, 0.5),
        (&PowerOfDistance::new(1.5)?, power_of_distance_again, 1.5),
        (&PowerOfDistance::new(2.3)?, power_of_distance_again, 2.3),
        (&Manhattan, p_norm_again, 1.0),
        (&PNorm::new(1.3)?, p_norm_again, 1.3),
        (&PNorm::new(4.0)?, p_norm_again, 4.0),
        (&Cosine, cosine_again, 1.0),
    ];
    let mut numbers = Numbers(8);
    for (cost, again, parameter) in cases {
        for dimension in [2, 3, 5] {
            let (x, y) = smooth_pair(&mut numbers, dimension);
            let direction = numbers.vector(2 * dimension);
            let (mut slopes, mut curves) = (vec![0.0; 2 * dimension], vec![0.0; 2 * dimension]);
            assert!(cost.gradient(&x, &y, &mut slopes));
            assert!(cost.second_derivative(&x, &y, &direction, &mut curves));
            for axis in 0..2 * dimension {
                let point = x.iter().chain(&y).zip(&direction).enumerate();
                let z: Vec<HyperDual64> = point
                    .map(|(index, (z, along))| HyperDual64::new(*z, f64::from(index == axis), *along, 0.0))
                    .collect();
                let expected = again(&z, parameter);
                let slope_error = (slopes[axis] - expected.eps1).abs();
                let curve_error = (curves[axis] - expected.eps1eps2).abs();
                assert!(slope_error < 1e-12, "{cost:?}: {slope_error:e}");
                assert!(curve_error < 1e-10, "{cost:?}: {curve_error:e}");
            }
        }
    }
    Ok(())
}

#[test]
fn derivatives_at_coincident_points_are_zero() -> Result<(), Error> {
    for cost in formulas()? {
        for x in [[0.0, 0.0, 0.0], [0.3, -0.2, 5.0]] {
            let mut gradient = [f64::NAN; 6];
            assert!(cost.gradient(&x, &x, &mut gradient));
            let exact = !matches!(cost.form(), CostForm::Cosine | CostForm::Generic) || x == [0.0; 3];
            let tolerance = if exact { 0.0 } else { 1e-15 };
            for slope in gradient {
                assert!(slope.abs() <= tolerance, "{cost:?}: {gradient:?}");
            }
            let mut curve = [f64::NAN; 6];
            assert!(cost.second_derivative(&x, &x, &[1.0, -2.0, 0.0, 0.5, 0.0, 3.0], &mut curve));
            assert!(curve.iter().all(|curve| curve.is_finite()), "{cost:?}: {curve:?}");
        }
    }
    Ok(())
}

#[test]
fn derivatives_at_partial_kinks_are_finite() -> Result<(), Error> {
    // One equal coordinate, a tie of the largest difference, one zero vector, opposite vectors.
    let pairs = [([0.5, 1.0], [0.5, 3.0]), ([0.0, 0.0], [2.0, -2.0]), ([1.0, 2.0], [-1.0, -2.0])];
    for cost in formulas()? {
        for (x, y) in pairs {
            let (mut gradient, mut curve) = ([f64::NAN; 4], [f64::NAN; 4]);
            assert!(cost.gradient(&x, &y, &mut gradient));
            assert!(cost.second_derivative(&x, &y, &[1.0, 1.0, -1.0, 0.5], &mut curve));
            let finite = gradient.iter().chain(&curve).all(|value| value.is_finite());
            assert!(finite, "{cost:?} at {x:?}, {y:?}: {gradient:?} {curve:?}");
        }
    }
    let mut gradient = [f64::NAN; 4];
    Chebyshev.gradient(&[0.0, 0.0], &[2.0, -2.0], &mut gradient);
    assert_eq!(gradient, [-1.0, 0.0, 1.0, 0.0]);
    Manhattan.gradient(&[0.5, 1.0], &[0.5, 3.0], &mut gradient);
    assert_eq!(gradient, [0.0, -1.0, 0.0, 1.0]);
    Ok(())
}

/// A formula with an infinite slope: one lane's 0 * inf must not become another lane's NaN.
#[derive(Clone, Debug)]
struct Cusp;

impl CostFormula for Cusp {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        x[0] / y[0] + x[1]
    }

    fn forbids_pairs(&self) -> bool {
        true
    }

    fn fixed_dimension(&self) -> Option<usize> {
        Some(2)
    }
}

#[test]
fn a_lane_without_slope_stays_out_of_its_neighbours_infinity() {
    let mut gradient = [f64::NAN; 4];
    assert!(Cusp.gradient(&[1.0, 0.0], &[0.0, 0.0], &mut gradient));
    assert_eq!(gradient, [f64::INFINITY, 1.0, f64::NEG_INFINITY, 0.0]);
}

#[test]
fn a_fixed_dimension_protects_the_formula() {
    let cost: &dyn GroundCost = &Cusp;
    let mut out = [7.0; 2];
    cost.costs_f64(&[1.0], &[2.0, 3.0], &mut out);
    assert!(!cost.gradient(&[1.0], &[2.0], &mut out));
    assert!(!cost.second_derivative(&[1.0], &[2.0], &[1.0, 1.0], &mut out));
    assert_eq!(out, [7.0; 2]);
    assert!(matches!(cost.program(1), Some(Err(ProgramError::Arity { expected: 4, found: 2 }))));
    assert!(cost.may_forbid() && cost.dimension() == Some(2));
    assert!(matches!(cost.form(), CostForm::Generic));
}

#[test]
fn programs_give_the_bits_of_the_rows() -> Result<(), Error> {
    let mut numbers = Numbers(9);
    let mut registers = Registers::<f64>::new();
    for cost in formulas()? {
        for dimension in [1, 2, 3, 40] {
            let program = cost.program(dimension).ok_or(Error::EmptyMeasure)??;
            assert_eq!((program.inputs(), program.outputs()), (2 * dimension, 1));
            const LEN: usize = 50;
            let (x, mut points) = (numbers.vector(dimension), numbers.vector(LEN * dimension));
            points[..dimension].copy_from_slice(&x);
            let mut expected = [f64::NAN; LEN];
            cost.costs_f64(&x, &points, &mut expected);

            let axes: Vec<Vec<f64>> =
                (0..dimension).map(|axis| points.iter().skip(axis).step_by(dimension).copied().collect()).collect();
            let uniform = x.iter().map(|x| BlockInput::Uniform(*x));
            let lanes = axes.iter().map(|axis| BlockInput::Lanes(axis));
            let inputs: Vec<_> = uniform.chain(lanes).collect();
            let mut found = [f64::NAN; LEN];
            program.run_block::<f64, LibraryMath>(&inputs, &mut registers, &mut [&mut found])?;
            assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{cost:?} in dimension {dimension}");
        }
    }
    Ok(())
}

#[test]
fn half_integer_powers_take_no_logarithm() -> Result<(), Error> {
    for (exponent, logarithms) in [(0.5, 0), (1.0, 0), (1.5, 0), (3.0, 0), (1.3, 1)] {
        let program = PowerOfDistance::new(exponent)?.program(2).ok_or(Error::EmptyMeasure)??;
        let found = program.instructions().iter().filter(|step| step.operation == Operation::Ln);
        assert_eq!(found.count(), logarithms, "{exponent}");
    }
    Ok(())
}

#[test]
fn norms_reach_the_ends_of_the_range() -> Result<(), Error> {
    let norm = PNorm::new(50.0)?;
    let far = cost_of(&norm, &[1e300, 1e300], &[0.0, 0.0]);
    assert!((far / 1e300 - 2.0_f64.powf(0.02)).abs() < 1e-14);
    let near = cost_of(&norm, &[1e-30_f32, 0.0], &[0.0, 0.0]);
    assert_eq!(near, 1e-30);
    assert_eq!(cost_of(&PNorm::new(1e9)?, &[3.0, 1.0], &[0.0, 0.0]), 3.0);
    Ok(())
}

#[test]
fn the_cosine_keeps_the_digits_of_small_angles() {
    let angle = 1e-6_f64;
    let found = cost_of(&Cosine, &[1.0, 0.0], &[5.0 * angle.cos(), 5.0 * angle.sin()]);
    let expected = 2.0 * (0.5 * angle).sin().powi(2);
    assert!((found / expected - 1.0).abs() < 1e-9, "{found:e} {expected:e}");
    assert_eq!(cost_of(&Cosine, &[0.0_f32, 0.0], &[1.0, 2.0]), 1.0);
    assert_eq!(cost_of(&Cosine, &[0.0, 0.0], &[0.0, 0.0]), 1.0);
    assert_eq!(cost_of(&Cosine, &[2.0, 0.0], &[-0.5, 0.0]), 2.0);
}

#[test]
fn formulas_and_closures_can_be_kept() -> Result<(), Error> {
    for cost in formulas()? {
        let kept = cost.shared().ok_or(Error::EmptyMeasure)?;
        assert_eq!(kept.form(), cost.form());
    }
    assert!(CostFunction::new(|_: &[f64], _: &[f64]| 0.0).shared().is_some());
    Ok(())
}
