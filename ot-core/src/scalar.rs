//! The element types of vectors: `f32` and `f64`, with their limits and conversions.
//!
//! A [`Scalar`] is a number that can be stored, sent to a device and read back. Formulas are read in
//! [`Number`](crate::Number)s of it. Its bounds never depend on a feature of the crate.

use std::{
    borrow::Cow,
    fmt::{Debug, Display},
    ops::{Add, Div, Mul, Neg, Sub},
};

/// The logarithm given to a weight of zero.
///
/// A finite constant, because shader compilers may assume that no infinity occurs. It is far below
/// any logarithm of a positive number (`ln f64::MIN_POSITIVE` is about -708), and `exp` of it, or of
/// its sum with any potential of sane size, is exactly zero in either element type.
pub const LOG_ZERO: f64 = -1e30;

/// The softmin of an atom that no partner can reach: every pair is forbidden or its partner has no
/// weight. A finite constant, for the same reason as [`LOG_ZERO`]; only atoms without weight can have
/// it, so that no plan depends on it.
pub const UNREACHABLE: f64 = 1e30;

/// The element type of vectors: `f32` or `f64` (sealed).
///
/// ```
/// use ot_core::Scalar;
///
/// /// The sum of the numbers, accumulated in `f64`.
/// fn total<T: Scalar>(numbers: &[T]) -> f64 {
///     numbers.iter().map(|number| number.to_f64()).sum()
/// }
///
/// assert_eq!(total(&[0.5_f32, 0.25]), 0.75);
/// assert_eq!(<f32 as Scalar>::NAME, "f32");
/// ```
pub trait Scalar:
    Copy
    + Send
    + Sync
    + 'static
    + PartialOrd
    + Default
    + Debug
    + Display
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + sealed::Sealed
{
    /// `"f32"` or `"f64"`, as in messages and shader code.
    const NAME: &'static str;

    /// The gap between 1 and the next larger number: `2^-23` or `2^-52`. Twice the unit roundoff.
    const EPSILON: f64;

    /// The largest finite number.
    const MAX: f64;

    /// The smallest positive normal number.
    const TINY: f64;

    /// The largest finite cost that is accepted: sums of a few costs and potentials stay finite.
    const LARGEST_COST: f64 = Self::MAX / 16.0;

    /// `value`, rounded to the nearest element; beyond [`MAX`](Scalar::MAX) to an infinity.
    fn from_f64(value: f64) -> Self;

    /// The same number as `f64`, without rounding.
    fn to_f64(self) -> f64;

    /// Whether this is neither infinite nor NaN.
    fn is_finite(self) -> bool;

    /// `e^self`.
    fn exp(self) -> Self;

    /// The natural logarithm. `ln 0 = -inf`, and NaN below zero.
    fn ln(self) -> Self;

    /// The square root, NaN below zero.
    fn sqrt(self) -> Self;

    /// The absolute value.
    fn abs(self) -> Self;

    /// The sine of an angle in radians.
    fn sin(self) -> Self;

    /// The cosine of an angle in radians.
    fn cos(self) -> Self;

    /// The arc tangent, within [-pi/2, pi/2].
    fn atan(self) -> Self;

    /// `other` where `other < self`, else `self`; the bits of [`Real::min`](crate::Real::min). The default is all there is,
    /// as for the two below.
    #[inline]
    fn min(self, other: Self) -> Self {
        if other < self { other } else { self }
    }

    /// `other` where `other > self`, else `self`; the bits of [`Real::max`](crate::Real::max).
    #[inline]
    fn max(self, other: Self) -> Self {
        if other > self { other } else { self }
    }

    /// `self` brought into the interval `[low, high]`, where `low <= high`. A NaN in `self` is kept.
    #[inline]
    fn clamp(self, low: Self, high: Self) -> Self {
        Scalar::min(Scalar::max(self, low), high)
    }

    /// The same numbers as `f64`: those of `f64` are borrowed.
    fn wide(values: &[Self]) -> Cow<'_, [f64]>;

    /// A slice of this element type, seen as one of either: generic code can name neither.
    fn floats(values: &[Self]) -> Floats<'_>;

    /// The same, to be changed.
    fn floats_mut(values: &mut [Self]) -> FloatsMut<'_>;
}

/// A slice of either element type.
#[derive(Clone, Copy, Debug)]
pub enum Floats<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

/// A slice of either element type, to be changed.
#[derive(Debug)]
pub enum FloatsMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// Double precision.
    F64(&'a mut [f64]),
}

macro_rules! scalar_for_float {
    ($float:ident, $variant:ident, $wide:path) => {
        impl sealed::Sealed for $float {}

        impl Scalar for $float {
            const NAME: &'static str = stringify!($float);
            const EPSILON: f64 = $float::EPSILON as f64;
            const MAX: f64 = $float::MAX as f64;
            const TINY: f64 = $float::MIN_POSITIVE as f64;

            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $float
            }

            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline]
            fn is_finite(self) -> bool {
                $float::is_finite(self)
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
            fn sin(self) -> Self {
                $float::sin(self)
            }

            #[inline]
            fn cos(self) -> Self {
                $float::cos(self)
            }

            #[inline]
            fn atan(self) -> Self {
                $float::atan(self)
            }

            #[inline]
            fn wide(values: &[Self]) -> Cow<'_, [f64]> {
                $wide(values)
            }

            #[inline]
            fn floats(values: &[Self]) -> Floats<'_> {
                Floats::$variant(values)
            }

            #[inline]
            fn floats_mut(values: &mut [Self]) -> FloatsMut<'_> {
                FloatsMut::$variant(values)
            }
        }
    };
}

scalar_for_float!(f32, F32, widened);
scalar_for_float!(f64, F64, Cow::Borrowed);

fn widened(values: &[f32]) -> Cow<'_, [f64]> {
    values.iter().copied().map(f64::from).collect()
}

mod sealed {
    /// Closes [`Scalar`](super::Scalar) to other crates.
    pub trait Sealed {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits_are_the_limits_of<T: Scalar>() {
        let one = T::from_f64(1.0);
        assert!(T::from_f64(1.0 + T::EPSILON) > one);
        assert!(T::from_f64(1.0 + T::EPSILON / 2.0) == one);
        assert!(T::from_f64(T::MAX).is_finite());
        assert!(!(T::from_f64(T::MAX) * T::from_f64(2.0)).is_finite());
        assert_eq!(T::from_f64(T::TINY).to_f64(), T::TINY);
        assert!(!T::from_f64(f64::NAN).is_finite());
        // The smallest odd multiple of EPSILON * TINY is exact, its half is not.
        let next = T::TINY * (1.0 + T::EPSILON);
        assert_eq!(T::from_f64(next).to_f64(), next);
        assert_ne!(T::from_f64(next) * T::from_f64(0.5) + T::from_f64(next) * T::from_f64(0.5), T::from_f64(next));
    }

    #[test]
    fn limits() {
        limits_are_the_limits_of::<f32>();
        limits_are_the_limits_of::<f64>();
        assert_eq!((<f32 as Scalar>::NAME, <f64 as Scalar>::NAME), ("f32", "f64"));
    }

    #[test]
    fn zero_weights_vanish() {
        assert_eq!(f32::from_f64(LOG_ZERO + 1e20).exp(), 0.0);
        assert_eq!((LOG_ZERO / 1e6).exp(), 0.0);
        assert!((f32::from_f64(LOG_ZERO) * 1e6_f32).is_finite());
    }
}
