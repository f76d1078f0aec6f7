//! The two number types, as the bodies of the passes see them: one element at a time.

use std::ops::{Add, Div, Mul, Sub};

use super::exp::{POWER_OF_TWO_F32, POWER_OF_TWO_F64, PowerOfTwo, exp_f32, exp_f64};
use super::ln::{ln_f32, ln_f64};

/// A floating-point type whose elementary functions are written in this module.
///
/// The names are unlike those of other number traits on purpose: a generic caller with both in its
/// bounds must not find `exp` ambiguous.
///
/// `FUSED` selects the fused multiply-add: true only inside code compiled for a level that has it.
pub trait Element:
    Copy
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Send
    + Sync
    + 'static
{
    /// The additive identity.
    const NEUTRAL_OF_SUM: Self;

    /// Minus infinity, the maximum of nothing.
    const NEUTRAL_OF_MAXIMUM: Self;

    /// One.
    const ONE: Self;

    /// The smallest positive normal number.
    const SMALLEST_NORMAL: f64;

    /// The gap between 1 and the next larger number.
    const GAP: f64;

    /// The exponential.
    fn exponential<const FUSED: bool>(self) -> Self;

    /// The numbers from which `2^x` is made.
    const POWER_OF_TWO: PowerOfTwo<Self>;

    /// `2^23` or `2^52`, whose significand holds an integer as it is.
    const HOLDER: Self;

    /// The exponent field of 1.
    const BIAS: f64;

    /// `self·2^k` for the integer `k` in the lowest bits of the significand of `rounded`.
    fn times_power_of_two(self, rounded: Self) -> Self;

    /// The exponent and the upper eight bits of the significand of a positive number, as one integer.
    fn upper_bits(self) -> Self;

    /// The number that has these as its upper bits.
    fn of_upper_bits(self) -> Self;

    /// The natural logarithm.
    fn logarithm<const FUSED: bool>(self) -> Self;

    /// The square root, correctly rounded.
    fn square_root(self) -> Self;

    /// The absolute value.
    fn magnitude(self) -> Self;

    /// The larger of two; `self` where they are equal or `other` is NaN.
    fn larger(self, other: Self) -> Self;

    /// The nearest element.
    fn of_double(value: f64) -> Self;

    /// The value as `f64`, exact.
    fn as_double(self) -> f64;

    /// `self + alpha·x`, product and sum each rounded.
    fn plus_product(self, alpha: Self, x: Self) -> Self;

    /// `self·b + c`: rounded once where `FUSED`, twice where not.
    fn multiply_add<const FUSED: bool>(self, b: Self, c: Self) -> Self;
}

/// Implements [`Element`] for one type from its two elementary functions.
macro_rules! implement_element {
    ($type:ident, $exp:ident, $power_of_two:ident, $ln:ident, $multiply_add:ident, $holder:literal, $significand:literal) => {
        impl Element for $type {
            const NEUTRAL_OF_SUM: $type = 0.0;
            const NEUTRAL_OF_MAXIMUM: $type = $type::NEG_INFINITY;
            const ONE: $type = 1.0;
            const POWER_OF_TWO: PowerOfTwo<$type> = $power_of_two;
            const HOLDER: $type = $holder;
            const BIAS: f64 = ($type::MAX_EXP - 1) as f64;
            const SMALLEST_NORMAL: f64 = $type::MIN_POSITIVE as f64;
            const GAP: f64 = $type::EPSILON as f64;

            #[inline(always)]
            fn exponential<const FUSED: bool>(self) -> $type {
                $exp::<FUSED>(self)
            }

            #[inline(always)]
            fn times_power_of_two(self, rounded: $type) -> $type {
                $type::from_bits(self.to_bits().wrapping_add(rounded.to_bits() << $significand))
            }

            #[inline(always)]
            fn upper_bits(self) -> $type {
                $type::from_bits((self.to_bits() >> ($significand - 8)) | Self::HOLDER.to_bits()) - Self::HOLDER
            }

            #[inline(always)]
            fn of_upper_bits(self) -> $type {
                $type::from_bits((self + Self::HOLDER).to_bits() << ($significand - 8))
            }

            #[inline(always)]
            fn logarithm<const FUSED: bool>(self) -> $type {
                $ln::<FUSED>(self)
            }

            #[inline(always)]
            fn square_root(self) -> $type {
                self.sqrt()
            }

            #[inline(always)]
            fn magnitude(self) -> $type {
                self.abs()
            }

            #[inline(always)]
            fn larger(self, other: $type) -> $type {
                if other > self { other } else { self }
            }

            #[inline(always)]
            fn of_double(value: f64) -> $type {
                value as $type
            }

            #[inline(always)]
            fn as_double(self) -> f64 {
                f64::from(self)
            }

            #[inline(always)]
            fn plus_product(self, alpha: $type, x: $type) -> $type {
                self + alpha * x
            }

            #[inline(always)]
            fn multiply_add<const FUSED: bool>(self, b: $type, c: $type) -> $type {
                $multiply_add::<FUSED>(self, b, c)
            }
        }
    };
}

implement_element!(f32, exp_f32, POWER_OF_TWO_F32, ln_f32, multiply_add_f32, 8_388_608.0, 23);
implement_element!(f64, exp_f64, POWER_OF_TWO_F64, ln_f64, multiply_add_f64, 4_503_599_627_370_496.0, 52);

/// `a·b + c` in `f64`: rounded once where `FUSED`, twice where not.
#[inline(always)]
pub(super) fn multiply_add_f64<const FUSED: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `a·b + c` in `f32`: rounded once where `FUSED`, twice where not.
#[inline(always)]
pub(super) fn multiply_add_f32<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}
