//! The two number types, as the bodies of this room see them: one element at a time.

use std::ops::{Add, Mul, Sub};

use super::exp::{exp_f32, exp_f64, exp2_f32, exp2_f64};
use super::ln::{ln_f32, ln_f64};

/// A floating-point type whose elementary functions are written in this room.
///
/// The names are unlike those of other number traits on purpose: a generic caller with both in its
/// bounds must not find `exp` ambiguous.
///
/// `FUSED` selects the fused multiply-add: true only inside code compiled for a level that has it.
pub trait Element:
    Copy + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Send + Sync + 'static
{
    /// The additive identity.
    const NEUTRAL_OF_SUM: Self;

    /// Minus infinity, the maximum of nothing.
    const NEUTRAL_OF_MAXIMUM: Self;

    /// Powers of two of up to this size, either way, are normal numbers with room to round.
    const EXPONENTS: f64;

    /// The exponential.
    fn exponential<const FUSED: bool>(self) -> Self;

    /// `2^(self·scale)` where `|self·scale| ≤ EXPONENTS`; anything beyond.
    fn power_of_two<const FUSED: bool>(self, scale: Self) -> Self;

    /// The natural logarithm.
    fn logarithm<const FUSED: bool>(self) -> Self;

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
    ($type:ident, $exp:ident, $exp2:ident, $exponents:literal, $ln:ident, $multiply_add:ident) => {
        impl Element for $type {
            const NEUTRAL_OF_SUM: $type = 0.0;
            const NEUTRAL_OF_MAXIMUM: $type = $type::NEG_INFINITY;
            const EXPONENTS: f64 = $exponents;

            #[inline(always)]
            fn exponential<const FUSED: bool>(self) -> $type {
                $exp::<FUSED>(self)
            }

            #[inline(always)]
            fn power_of_two<const FUSED: bool>(self, scale: $type) -> $type {
                $exp2::<FUSED>(self, scale)
            }

            #[inline(always)]
            fn logarithm<const FUSED: bool>(self) -> $type {
                $ln::<FUSED>(self)
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

implement_element!(f32, exp_f32, exp2_f32, 125.0, ln_f32, multiply_add_f32);
implement_element!(f64, exp_f64, exp2_f64, 1021.0, ln_f64, multiply_add_f64);

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
