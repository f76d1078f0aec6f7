//! The two number types, as the bodies of the passes see them: one element at a time.

use std::ops::{Add, Div, Mul, Sub};

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

/// The numbers from which powers of two are made.
#[derive(Clone, Copy)]
pub struct PowerOfTwo<T: 'static> {
    /// Adding 1.5·2⁵² (1.5·2²³) rounds to an integer.
    pub(super) rounder: T,
    /// The exponent of twice the smallest normal number: lower ones are raised to it.
    pub(super) lowest: T,
    /// From here on, the exponent field of the sum is that of infinity, and its significand zero.
    pub(super) overflow: T,
    /// The coefficients of 2^r, the highest first.
    pub(super) coefficients: &'static [T],
}
