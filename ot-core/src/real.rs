//! The scalar over which formulas are written.
//!
//! A formula (a cost, a penalty, a step of a solver) is written once over `R: Real` and read three
//! ways: with `f32` or `f64` it is host code, with [`Dual`](crate::Dual) numbers it is its own
//! derivative, with a [`Recorder`](crate::Recorder) it becomes a [`Program`](crate::Program) that a
//! host interprets in blocks and a device compiles. There is no comparison that yields a `bool`,
//! because a recorder has no value to compare yet: branches are written with [`Real::select`],
//! [`Real::min`] and [`Real::max`].

use std::{
    fmt::Debug,
    ops::{Add, Div, Mul, Neg, Sub},
};

/// A number in which formulas are computed, differentiated or recorded.
///
/// ```
/// use ot_core::{Dual, Real};
///
/// /// The Huber function: `x^2 / 2` where `|x| <= 1`, else `|x| - 1/2`.
/// fn huber<R: Real>(x: R) -> R {
///     let (half, size) = (R::constant(0.5), x.abs());
///     (size - R::constant(1.0)).select(size - half, half * x * x)
/// }
///
/// assert_eq!(huber(3.0_f32), 2.5);
/// assert_eq!(huber(Dual::variable(-0.25_f64)).derivative, -0.25);
/// ```
pub trait Real:
    Copy + Debug + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// The number `value`, rounded to what `Self` can hold.
    fn constant(value: f64) -> Self;

    /// `e^self`.
    fn exp(self) -> Self;

    /// The natural logarithm. `ln 0 = -inf`, and NaN below zero.
    fn ln(self) -> Self;

    /// The square root, NaN below zero.
    fn sqrt(self) -> Self;

    /// The absolute value.
    fn abs(self) -> Self;

    /// `other` where `other < self`, else `self`.
    ///
    /// So ties (`0` and `-0` among them) give `self`, a NaN in `self` is kept and a NaN in `other`
    /// is not. This fixes every bit on a host, and is one machine instruction there.
    fn min(self, other: Self) -> Self;

    /// `other` where `other > self`, else `self`; ties and NaN as in [`min`](Real::min).
    fn max(self, other: Self) -> Self;

    /// `positive` where `self > 0`, else `otherwise` (where `self` is zero, negative or NaN).
    ///
    /// Both branches are evaluated. The one that is not selected may be anything, even NaN.
    fn select(self, positive: Self, otherwise: Self) -> Self;

    /// Whether this is known to be zero when the formula is read. Never a formula's business: it
    /// lets [`Dual`](crate::Dual) drop the terms of constants, so that `0 * inf` makes no NaN and a
    /// recorded derivative has no dead terms. A number answers by value, a recorder for constants.
    fn is_zero(self) -> bool {
        false
    }

    /// `self^exponent` for `self >= 0` and a finite exponent.
    ///
    /// `0^p` is `0` for `p > 0`, `1` for `p = 0` and `+inf` for `p < 0`. Where `2 p` is an integer up
    /// to 16, the power is a product with at most one square root (within a few roundings, exact for
    /// `p` = 0 and 1, and valid for negative `self` if `p` is an integer). Every other power is
    /// `exp(p ln x)`, with relative error about `p |ln x|` roundings, and zero where `self <= 0`.
    ///
    /// Every reading uses the same expression, so that numbers and programs agree to the bit.
    ///
    /// ```
    /// use ot_core::Real;
    ///
    /// assert_eq!(4.0_f64.power(1.5), 8.0);
    /// assert_eq!(0.0_f64.power(0.3), 0.0);
    /// assert_eq!(0.0_f64.power(0.0), 1.0);
    /// assert!((2.0_f64.power(0.3) - 2.0_f64.powf(0.3)).abs() < 1e-15);
    /// ```
    fn power(self, exponent: f64) -> Self {
        let twice = 2.0 * exponent;
        if exponent < 0.0 {
            Self::constant(1.0) / self.power(-exponent)
        } else if twice <= 16.0 && twice.fract() == 0.0 {
            half_integer_power(self, twice as u32)
        } else {
            // The second branch is 0 at 0, with derivative 0, and keeps a NaN.
            let positive = (Self::constant(exponent) * self.ln()).exp();
            self.select(positive, self * Self::constant(0.0))
        }
    }

    /// `self` brought into the interval `[low, high]`, where `low <= high`. A NaN in `self` is kept.
    fn clamp(self, low: Self, high: Self) -> Self {
        self.max(low).min(high)
    }
}

/// `x^(twice / 2)` by repeated squaring, times a square root if `twice` is odd.
fn half_integer_power<R: Real>(x: R, twice: u32) -> R {
    let mut product = (twice % 2 == 1).then(|| x.sqrt());
    let (mut exponent, mut square) = (twice / 2, x);
    while exponent > 0 {
        if exponent % 2 == 1 {
            product = Some(product.map_or(square, |product| product * square));
        }
        exponent /= 2;
        if exponent > 0 {
            square = square * square;
        }
    }
    product.unwrap_or_else(|| R::constant(1.0))
}

macro_rules! real_for_float {
    ($float:ident) => {
        impl Real for $float {
            #[inline]
            fn constant(value: f64) -> Self {
                value as $float
            }

            #[inline]
            fn exp(self) -> Self {
                $float::exp(self)
            }

            #[inline]
            fn ln(self) -> Self {
                $float::ln(self)
            }

            #[inline]
            fn sqrt(self) -> Self {
                $float::sqrt(self)
            }

            #[inline]
            fn abs(self) -> Self {
                $float::abs(self)
            }

            #[inline]
            fn min(self, other: Self) -> Self {
                if other < self { other } else { self }
            }

            #[inline]
            fn max(self, other: Self) -> Self {
                if other > self { other } else { self }
            }

            #[inline]
            fn select(self, positive: Self, otherwise: Self) -> Self {
                if self > 0.0 { positive } else { otherwise }
            }

            #[inline]
            fn is_zero(self) -> bool {
                self == 0.0
            }
        }
    };
}

real_for_float!(f32);
real_for_float!(f64);

#[cfg(test)]
mod tests {
    use super::*;

    const EXPONENTS: [f64; 14] = [0.0, 0.25, 0.5, 0.7, 1.0, 1.3, 1.5, 2.0, 2.5, 3.0, 7.5, 8.0, 8.5, 11.0];

    #[test]
    fn powers_agree_with_the_library() {
        for exponent in EXPONENTS {
            for x in [1e-3_f64, 0.2, 1.0, 1.7, 42.0] {
                for sign in [1.0, -1.0] {
                    let (found, expected) = (Real::power(x, sign * exponent), x.powf(sign * exponent));
                    let error = (found - expected).abs() / expected;
                    assert!(error < 2e-14, "{x}^{}: {found}", sign * exponent);
                }
            }
        }
    }

    #[test]
    fn powers_of_zero_infinity_and_nan() {
        for exponent in EXPONENTS {
            let at_zero = if exponent == 0.0 { 1.0 } else { 0.0 };
            assert_eq!(Real::power(0.0, exponent), at_zero, "{exponent}");
            if exponent > 0.0 {
                assert_eq!(Real::power(0.0, -exponent), f64::INFINITY, "{exponent}");
                assert_eq!(Real::power(f64::INFINITY, exponent), f64::INFINITY, "{exponent}");
                assert!(Real::power(f64::NAN, exponent).is_nan(), "{exponent}");
            }
        }
    }

    #[test]
    fn small_powers_are_products() {
        let x = 0.1_f64;
        assert_eq!(Real::power(x, 1.0), x);
        assert_eq!(Real::power(x, 2.0), x * x);
        assert_eq!(Real::power(x, 3.0), x * (x * x));
        assert_eq!(Real::power(x, 0.5), x.sqrt());
        assert_eq!(Real::power(x, 1.5), x.sqrt() * x);
        assert_eq!(Real::power(-3.0_f32, 3.0), -27.0);
    }

    #[test]
    fn ties_and_nans_of_min_and_max() {
        assert!(Real::min(-0.0_f64, 0.0).is_sign_negative());
        assert!(Real::min(0.0_f64, -0.0).is_sign_positive());
        assert!(Real::max(-0.0_f64, 0.0).is_sign_negative());
        assert!(Real::min(f64::NAN, 1.0).is_nan() && Real::max(f64::NAN, 1.0).is_nan());
        assert_eq!((Real::min(1.0, f64::NAN), Real::max(1.0, f64::NAN)), (1.0, 1.0));
        assert!(Real::clamp(f64::NAN, 0.0, 1.0).is_nan());
        assert_eq!([-2.0, 0.5, 2.0].map(|x| Real::clamp(x, 0.0, 1.0)), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn select_is_strict() {
        for (condition, expected) in [(f64::MIN_POSITIVE, 1.0), (0.0, 2.0), (-1.0, 2.0), (f64::NAN, 2.0)] {
            assert_eq!(condition.select(1.0, 2.0), expected);
        }
        assert_eq!(1.0.select(3.0, f64::NAN), 3.0);
    }
}
