//! The scalar over which formulas are written.
//!
//! A formula (a cost, a penalty, a step of a solver) is written once over `R: Real` and read three
//! ways: with `f64` or a [`Number`] it is host code, with [`Dual`](crate::Dual) numbers it is its own
//! derivative, with a [`Recorder`](crate::Recorder) it becomes a [`Program`](crate::Program) that a
//! host interprets in blocks and a device compiles. There is no comparison that yields a `bool`,
//! because a recorder has no value to compare yet: branches are written with [`Real::select`],
//! [`Real::min`] and [`Real::max`].

use std::{
    fmt::Debug,
    ops::{Add, Div, Mul, Neg, Sub},
};

use crate::scalar::Scalar;

/// A number in which formulas are computed, differentiated or recorded.
///
/// A plain `f64` may stand on either side of `+ - * /` and as an argument of [`min`](Real::min),
/// [`max`](Real::max), [`clamp`](Real::clamp) and [`select`](Real::select). It is rounded to what
/// `Self` can hold before the operation.
///
/// ```
/// use ot_core::{Dual, Number, Real};
///
/// /// The Huber function: `x^2 / 2` where `|x| <= 1`, else `|x| - 1/2`.
/// fn huber<R: Real>(x: R) -> R {
///     let size = x.abs();
///     (size - 1.0).select(size - 0.5, 0.5 * x * x)
/// }
///
/// assert_eq!(huber(3.0), 2.5);
/// assert_eq!(huber(Number(3.0_f32)), Number(2.5));
/// assert_eq!(huber(Dual::variable(-0.25)).derivative, -0.25);
/// ```
///
/// # Where the compiler cannot infer a type
///
/// Write [`R::constant(value)`](Real::constant) where a number of type `R` is needed and nothing else
/// says so: as the start of a fold, or in an array with other numbers. Name the type: an operand
/// `Real::constant(value)` or `value.into()` could be either a plain number or an `R`. A product of
/// two plain numbers is a plain number, computed in `f64`.
///
/// ```
/// use ot_core::Real;
///
/// fn squared_norm<R: Real>(x: &[R]) -> R {
///     x.iter().fold(R::constant(0.0), |sum, &x| sum + x * x)
/// }
///
/// assert_eq!(squared_norm(&[3.0, 4.0]), 25.0);
/// ```
///
/// An associated type cannot have the bound `Real`: the operators with `f64` on the left do not
/// follow from it there. Use a type parameter.
pub trait Real:
    Copy
    + Debug
    + From<f64>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
    + Div<f64, Output = Self>
    + Plain<Float = f64>
    // A plain number on the left. Bounds of an associated type of a supertrait hold for whoever asks
    // for `Real`; a `where f64: Add<Self>` would have to be repeated by every formula.
    + Plain<
        Float: Add<Self, Output = Self> + Sub<Self, Output = Self> + Mul<Self, Output = Self> + Div<Self, Output = Self>,
    >
    // Plain numbers among themselves, which the bounds above would hide from type inference.
    + Plain<
        Float: Add<f64, Output = f64> + Sub<f64, Output = f64> + Mul<f64, Output = f64> + Div<f64, Output = f64>,
    >
{
    /// The number `value`, rounded to what `Self` can hold; a finite one to a finite one. The default is the conversion.
    #[inline]
    fn constant(value: f64) -> Self {
        value.into()
    }

    /// Parameter `index` of the formula, of this value. A number like any other, with one difference: in a recorded
    /// [`Program`](crate::Program) it is not part of the code, so that programs that differ in it share what a device
    /// compiles, and it can be [differentiated in](crate::Program::evaluate_at). `self` is any number of the formula
    /// that is no constant. The default is the constant.
    ///
    /// ```
    /// use ot_core::{Program, Real};
    ///
    /// /// A spring of this stiffness.
    /// fn energy<R: Real>(stiffness: f64, x: R) -> R {
    ///     0.5 * x.parameter(0, stiffness) * x * x
    /// }
    ///
    /// let [soft, hard] = [1.0, 5.0].map(|stiffness| Program::record(|[x]| [energy(stiffness, x)]));
    /// assert_eq!(soft?.code_key(), hard?.code_key());
    /// # Ok::<(), ot_core::ProgramError>(())
    /// ```
    fn parameter(self, index: u16, value: f64) -> Self {
        let _ = index;
        Self::constant(value)
    }

    /// `e^self`.
    fn exp(self) -> Self;

    /// The natural logarithm. `ln 0 = -inf`, and NaN below zero.
    fn ln(self) -> Self;

    /// The square root, NaN below zero.
    fn sqrt(self) -> Self;

    /// The absolute value.
    fn abs(self) -> Self;

    /// The sine of an angle in radians; of a finite one.
    ///
    /// Hosts are accurate everywhere, devices near zero: bring angles that may be large into one period first.
    fn sin(self) -> Self;

    /// The cosine, as [`sin`](Real::sin).
    fn cos(self) -> Self;

    /// The arc tangent, within [-pi/2, pi/2].
    fn atan(self) -> Self;

    /// The angle of the point (other, self), within [-pi, pi]: the arc tangent of self / other on the right half-plane.
    /// 0 at the origin. Zeros have no sign: the angle of (-1, -0) is pi.
    ///
    /// Every reading uses the same expression of [`atan`](Real::atan), within two roundings of the angle, and its derivative
    /// is that of the angle everywhere but at the origin and where the angle jumps.
    ///
    /// ```
    /// use ot_core::{Dual, Real};
    ///
    /// assert_eq!(Real::atan2(1.0, -1.0), 0.75 * std::f64::consts::PI);
    /// // At (2, 0) upwards.
    /// assert_eq!(Dual::variable(0.0).atan2(2.0).derivative, 0.5);
    /// ```
    fn atan2(self, other: impl Into<Self>) -> Self {
        use std::f64::consts::{FRAC_PI_2, PI};

        let (y, x) = (self, other.into());
        let turn = (-x).select((-y).select(-PI, PI), 0.0);
        let flat = (y / x.abs().select(x, 1.0)).atan() + turn;
        let steep = y.select(FRAC_PI_2, -FRAC_PI_2) - (x / y).atan();
        (y.abs() - x.abs()).select(steep, flat)
    }

    /// `other` where `other < self`, else `self`.
    ///
    /// So ties (`0` and `-0` among them) give `self`, a NaN in `self` is kept and a NaN in `other`
    /// is not. This fixes every bit on a host, and is one machine instruction there.
    fn min(self, other: impl Into<Self>) -> Self;

    /// `other` where `other > self`, else `self`; ties and NaN as in [`min`](Real::min).
    fn max(self, other: impl Into<Self>) -> Self;

    /// `positive` where `self > 0`, else `otherwise` (where `self` is zero, negative or NaN).
    ///
    /// Both branches are evaluated. The one that is not selected may be anything, even NaN.
    fn select(self, positive: impl Into<Self>, otherwise: impl Into<Self>) -> Self;

    /// Whether this is known to be zero when the formula is read. Never a formula's business: it
    /// lets [`Dual`](crate::Dual) drop the terms of constants, so that `0 * inf` makes no NaN and a
    /// recorded derivative has no dead terms. A number answers by value, a recorder for constants; the default is no.
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
            1.0 / self.power(-exponent)
        } else if twice <= 16.0 && twice.fract() == 0.0 {
            half_integer_power(self, twice as u32)
        } else {
            // The second branch is 0 at 0, with derivative 0, and keeps a NaN.
            let positive = (exponent * self.ln()).exp();
            self.select(positive, self * 0.0)
        }
    }

    /// The loop over the coordinates of two points: `state = step(state, x_k, y_k)` for k in order, from `start`. For as
    /// many coordinates as both have.
    ///
    /// For numbers it is that loop. A recorded [`Program`](crate::Program) keeps it as a loop where x and y are inputs
    /// in a row (the points of a cost), the step reads nothing else of the formula but constants and parameters, and
    /// there are at most [`MAX_STATES`](crate::program::MAX_STATES) states: so that a device compiles one step and not
    /// one for each coordinate. Elsewhere it is unrolled. Start a sum at `-0.0`, which adds nothing to any number.
    ///
    /// ```
    /// use ot_core::{Program, Real};
    ///
    /// /// sum_k (x_k - y_k)^4.
    /// fn cost<R: Real>(x: &[R], y: &[R]) -> R {
    ///     let [sum] = R::fold_coordinates(x, y, [-0.0], |[sum], x, y| {
    ///         let square = (x - y) * (x - y);
    ///         [sum + square * square]
    ///     });
    ///     sum
    /// }
    ///
    /// assert_eq!(cost(&[1.0, 3.0], &[0.0, 1.0]), 17.0);
    /// let program = Program::record_dynamic(256, |inputs| vec![cost(&inputs[..128], &inputs[128..])])?;
    /// assert_eq!(program.folds()[0].instructions().len(), 4);
    /// # Ok::<(), ot_core::ProgramError>(())
    /// ```
    #[inline(always)]
    fn fold_coordinates<const S: usize>(
        x: &[Self],
        y: &[Self],
        start: [f64; S],
        step: impl Fn([Self; S], Self, Self) -> [Self; S],
    ) -> [Self; S] {
        unrolled(x, y, start, step)
    }

    /// `self` brought into the interval `[low, high]`, where `low <= high`. A NaN in `self` is kept.
    fn clamp(self, low: impl Into<Self>, high: impl Into<Self>) -> Self {
        self.max(low).min(high)
    }
}

/// [`Real::fold_coordinates`] as the loop that it is.
#[inline(always)]
pub(crate) fn unrolled<R: Real, const S: usize>(
    x: &[R],
    y: &[R],
    start: [f64; S],
    step: impl Fn([R; S], R, R) -> [R; S],
) -> [R; S] {
    let mut state = start.map(R::constant);
    for (x, y) in x.iter().zip(y) {
        state = step(state, *x, *y);
    }
    state
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

/// The type of plain numbers: `f64`.
///
/// It only carries the bounds on `f64` that [`Real`] promises; every type has it.
#[doc(hidden)]
pub trait Plain {
    /// `f64`.
    type Float: Copy;
}

impl<T: ?Sized> Plain for T {
    type Float = f64;
}

/// A number of the element type `T`, `f32` or `f64`, in which formulas are read.
///
/// Code that is generic over [`Scalar`] reads formulas in it. The operations are those of `T`. (`f32`
/// is no [`Real`], because `f32 + f64` is not for this crate to define. `f64` is one.)
///
/// ```
/// use ot_core::{Number, Real};
///
/// assert_eq!(1.0 - 0.1 * Number(0.3_f32).max(0.0), Number(1.0 - 0.1 * 0.3));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct Number<T>(pub T);

/// A finite number beyond the range of `T` becomes its largest one.
impl<T: Scalar> From<f64> for Number<T> {
    #[inline(always)]
    fn from(value: f64) -> Self {
        Self(constant(value))
    }
}

/// A constant of a formula as an element: finite if it is.
#[inline(always)]
pub(crate) fn constant<T: Scalar>(value: f64) -> T {
    T::from_f64(if value.is_finite() { value.clamp(-T::MAX, T::MAX) } else { value })
}

macro_rules! operators_of_elements {
    ($($operator:ident $method:ident),*) => {$(
        impl<T: Scalar> $operator for Number<T> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                Self(self.0.$method(other.0))
            }
        }
    )*};
}

operators_of_elements!(Add add, Sub sub, Mul mul, Div div);

impl<T: Scalar> Neg for Number<T> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

/// The operators between `f64` and a [`Real`] type: the plain number becomes a constant.
macro_rules! operators_with_plain_numbers {
    ([$($generics:tt)*] $real:ty) => {
        operators_with_plain_numbers!([$($generics)*] $real, Add add);
        operators_with_plain_numbers!([$($generics)*] $real, Sub sub);
        operators_with_plain_numbers!([$($generics)*] $real, Mul mul);
        operators_with_plain_numbers!([$($generics)*] $real, Div div);
    };
    ([$($generics:tt)*] $real:ty, $operator:ident $method:ident) => {
        impl<$($generics)*> std::ops::$operator<f64> for $real {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: f64) -> Self {
                std::ops::$operator::$method(self, Self::from(other))
            }
        }

        impl<$($generics)*> std::ops::$operator<$real> for f64 {
            type Output = $real;

            #[inline(always)]
            fn $method(self, other: $real) -> $real {
                std::ops::$operator::$method(<$real>::from(self), other)
            }
        }
    };
}

pub(crate) use operators_with_plain_numbers;

operators_with_plain_numbers!([T: Scalar] Number<T>);

impl Real for f64 {
    #[inline]
    fn exp(self) -> Self {
        f64::exp(self)
    }

    #[inline]
    fn ln(self) -> Self {
        f64::ln(self)
    }

    #[inline]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }

    #[inline]
    fn abs(self) -> Self {
        f64::abs(self)
    }

    #[inline]
    fn sin(self) -> Self {
        f64::sin(self)
    }

    #[inline]
    fn cos(self) -> Self {
        f64::cos(self)
    }

    #[inline]
    fn atan(self) -> Self {
        f64::atan(self)
    }

    #[inline]
    fn min(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        if other < self { other } else { self }
    }

    #[inline]
    fn max(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        if other > self { other } else { self }
    }

    #[inline]
    fn select(self, positive: impl Into<Self>, otherwise: impl Into<Self>) -> Self {
        if self > 0.0 { positive.into() } else { otherwise.into() }
    }

    #[inline]
    fn is_zero(self) -> bool {
        self == 0.0
    }
}

impl<T: Scalar> Real for Number<T> {
    #[inline(always)]
    fn exp(self) -> Self {
        Self(self.0.exp())
    }

    #[inline(always)]
    fn ln(self) -> Self {
        Self(self.0.ln())
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self(self.0.sqrt())
    }

    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.abs())
    }

    #[inline(always)]
    fn sin(self) -> Self {
        Self(self.0.sin())
    }

    #[inline(always)]
    fn cos(self) -> Self {
        Self(self.0.cos())
    }

    #[inline(always)]
    fn atan(self) -> Self {
        Self(self.0.atan())
    }

    #[inline(always)]
    fn min(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        if other < self { other } else { self }
    }

    #[inline(always)]
    fn max(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        if other > self { other } else { self }
    }

    #[inline(always)]
    fn select(self, positive: impl Into<Self>, otherwise: impl Into<Self>) -> Self {
        if self.0 > T::default() { positive.into() } else { otherwise.into() }
    }

    #[inline(always)]
    fn is_zero(self) -> bool {
        self.0 == T::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{dual::Dual, program::Program};

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
        assert_eq!(Number(-3.0_f32).power(3.0), Number(-27.0));
    }

    #[test]
    fn angles_are_those_of_the_library() {
        use std::f64::consts::{FRAC_PI_2, PI};
        let sizes = [0.0, 1e-300, 1e-8, 0.3, 1.0, 1.7, 1e9, 1e300];
        let numbers: Vec<f64> = sizes.iter().flat_map(|&size| [size, -size]).collect();
        for (y, x) in numbers.iter().flat_map(|&y| numbers.iter().map(move |&x| (y, x))) {
            // Zeros have no sign.
            let expected = (y + 0.0).atan2(x + 0.0);
            let found = Real::atan2(y, x);
            assert!((found - expected).abs() <= 4e-16 * expected.abs(), "{y}, {x}: {found} and {expected}");
            if y.abs().max(x.abs()) > 1e30 {
                continue;
            }
            let single = Real::atan2(Number(y as f32), Number(x as f32)).0;
            let expected = (y as f32 + 0.0).atan2(x as f32 + 0.0);
            assert!((single - expected).abs() <= 2.5e-7 * expected.abs(), "{y}, {x}: {single} and {expected}");
        }
        assert_eq!((Real::atan2(0.0, 0.0), Real::atan2(-0.0, -1.0), Real::atan2(-2.0, 0.0)), (0.0, PI, -FRAC_PI_2));
        // The angle of (cos t, sin t) is t, and so is its derivative: 1.
        for step in -30..=30 {
            let t = Dual::variable(0.1 * f64::from(step));
            let angle = t.sin().atan2(t.cos());
            assert!((angle.value - t.value).abs() < 1e-15 && (angle.derivative - 1.0).abs() < 1e-14, "{angle:?}");
        }
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

    /// Every operation with a plain number, on either side where it has two.
    fn with_plain_numbers<R: Real>(x: R, k: f64) -> [R; 12] {
        [
            x + k,
            k + x,
            x - k,
            k - x,
            x * k,
            k * x,
            x / k,
            k / x,
            x.min(k).max(0.3),
            x.clamp(-0.7, k),
            x.select(k, x),
            (x - k).select(x, -2.0 * k),
        ]
    }

    /// The same with constants of type `R`.
    fn with_constants<R: Real>(x: R, k: f64) -> [R; 12] {
        let [low, least, double, k] = [-0.7, 0.3, -2.0 * k, k].map(R::constant);
        [
            x + k,
            k + x,
            x - k,
            k - x,
            x * k,
            k * x,
            x / k,
            k / x,
            x.min(k).max(least),
            x.clamp(low, k),
            x.select(k, x),
            (x - k).select(x, double),
        ]
    }

    const NUMBERS: [f64; 9] = [0.0, -0.0, 0.1, -0.1, 1.0, 1.7, -3.3, 1e-300, f64::INFINITY];

    /// The bits, where every NaN is the same.
    fn bits(number: f64) -> u64 {
        if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() }
    }

    fn have_the_same_bits<R: Real>(lift: impl Fn(f64) -> R, bits: impl Fn(R) -> Vec<u64>) {
        for (x, k) in NUMBERS.into_iter().flat_map(|x| NUMBERS.map(|k| (x, k))) {
            let plain = with_plain_numbers(lift(x), k).map(&bits);
            assert_eq!(plain, with_constants(lift(x), k).map(&bits), "{x}, {k}");
        }
    }

    #[test]
    fn plain_numbers_are_constants() {
        have_the_same_bits(|x| x, |x| vec![bits(x)]);
        have_the_same_bits(Number, |x: Number<f64>| vec![bits(x.0)]);
        have_the_same_bits(|x| Number(x as f32), |x| vec![bits(x.0.into())]);
        have_the_same_bits(Dual::variable, |x: Dual<f64>| vec![bits(x.value), bits(x.derivative)]);
        have_the_same_bits(
            |x| Dual::variable(Number(x as f32)),
            |x| vec![bits(x.value.0.into()), bits(x.derivative.0.into())],
        );
        let twice = |x| Dual::variable(Dual::variable(x));
        have_the_same_bits(twice, |x| {
            vec![bits(x.value.value), bits(x.value.derivative), bits(x.derivative.derivative)]
        });
    }

    #[test]
    fn plain_numbers_are_recorded_as_constants() {
        for k in NUMBERS {
            let plain = Program::record(|[x]| with_plain_numbers(x, k)).unwrap();
            assert_eq!(plain, Program::record(|[x]| with_constants(x, k)).unwrap());
            for x in NUMBERS {
                let expected = with_constants(x, k).map(bits);
                assert_eq!(plain.call([x]).unwrap().map(bits), expected, "{x}, {k}");
                let single = Number(x as f32);
                let expected = with_constants(single, k).map(|x| bits(x.0.into()));
                assert_eq!(plain.call([single]).unwrap().map(|x| bits(x.0.into())), expected, "{x}, {k}");
            }
        }
    }

    /// Plain numbers keep their own arithmetic within a formula.
    #[test]
    fn plain_arithmetic_is_inferred() {
        fn formula<R: Real>(x: R, step: f64) -> R {
            let total: f64 = (1..4).map(|index| f64::from(index) * step).sum();
            let half = 0.5 * step;
            1.0 - 0.5 * x / (1.0 + 2.0 * step) + total * (half - step / 3.0) * x.exp()
        }
        let (x, step) = (0.3_f64, 0.7_f64);
        let expected =
            1.0 - 0.5 * x / (1.0 + 2.0 * step) + (step + 2.0 * step + 3.0 * step) * (0.5 * step - step / 3.0) * x.exp();
        assert!((formula(x, step) - expected).abs() < 1e-15);
    }
}
