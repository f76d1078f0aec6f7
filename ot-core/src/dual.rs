//! Dual numbers: a formula read as its own derivative.
//!
//! A dual number is `v + d e` with `e^2 = 0`, so that `f(v + d e) = f(v) + f'(v) d e` (forward mode,
//! Clifford 1873; Griewank and Walther, *Evaluating Derivatives*, chapter 3). Nested duals give higher
//! derivatives, duals of recorders give programs that compute derivatives.
//!
//! At kinks one element of the generalised derivative is chosen, so that no gradient is ever NaN
//! where the function is finite and a descent does not move at a minimum:
//!
//! | where | derivative |
//! |---|---|
//! | `abs` at 0 | 0 |
//! | `sqrt` at 0 | 0: the gradient of a distance at coincident points is 0 |
//! | `min`, `max` at a tie | that of the first argument |
//! | `select` | that of the selected branch; a NaN in the other one never leaks |
//! | `power` at 0 | 1 for `p = 1`, else 0 |
//! | of what does not depend on the variable | 0, even where the outer slope is infinite |

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::real::{Real, operators_with_plain_numbers};

/// A number together with its derivative along one direction.
///
/// ```
/// use ot_core::{Dual, Real};
///
/// fn softplus<R: Real>(x: R) -> R {
///     (1.0 + x.exp()).ln()
/// }
///
/// let logistic = softplus(Dual::variable(0.0_f64));
/// assert_eq!((logistic.value, logistic.derivative), (2.0_f64.ln(), 0.5));
///
/// // Nested, the second derivative: p (1 - p) = 1/4.
/// let curvature = softplus(Dual::variable(Dual::variable(0.0_f64))).derivative.derivative;
/// assert!((curvature - 0.25).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dual<R> {
    /// The number.
    pub value: R,
    /// Its derivative.
    pub derivative: R,
}

impl<R: Real> Dual<R> {
    /// A number with a derivative of its own, for instance one coordinate of a direction.
    #[inline]
    pub fn new(value: R, derivative: R) -> Self {
        Self { value, derivative }
    }

    /// The variable to differentiate by: derivative 1.
    #[inline]
    pub fn variable(value: R) -> Self {
        Self::new(value, R::constant(1.0))
    }

    /// A number that does not depend on the variable: derivative 0.
    ///
    /// (For `Dual<f64>` this is [`Real::constant`]; nested duals hold a whole dual number fixed.)
    #[inline]
    pub fn constant(value: R) -> Self {
        Self::new(value, R::constant(0.0))
    }

    /// The chain rule: the image `value` of `self` under a function of slope `slope` at `self`.
    #[inline]
    fn chain(self, value: R, slope: R) -> Self {
        Self::new(value, times(self.derivative, slope))
    }
}

impl<R: Real> Add for Dual<R> {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        Self::new(self.value + other.value, plus(self.derivative, other.derivative))
    }
}

impl<R: Real> Sub for Dual<R> {
    type Output = Self;

    #[inline]
    fn sub(self, other: Self) -> Self {
        Self::new(self.value - other.value, minus(self.derivative, other.derivative))
    }
}

impl<R: Real> Mul for Dual<R> {
    type Output = Self;

    #[inline]
    fn mul(self, other: Self) -> Self {
        let from_self = times(self.derivative, other.value);
        let from_other = times(other.derivative, self.value);
        Self::new(self.value * other.value, plus(from_self, from_other))
    }
}

impl<R: Real> Div for Dual<R> {
    type Output = Self;

    /// `(a / b)' = (a' - (a / b) b') / b`.
    #[inline]
    fn div(self, other: Self) -> Self {
        let quotient = self.value / other.value;
        let numerator = minus(self.derivative, times(other.derivative, quotient));
        Self::new(quotient, over(numerator, other.value))
    }
}

impl<R: Real> Neg for Dual<R> {
    type Output = Self;

    #[inline]
    fn neg(self) -> Self {
        Self::new(-self.value, -self.derivative)
    }
}

operators_with_plain_numbers!([R: Real] Dual<R>);

impl<R: Real> From<f64> for Dual<R> {
    #[inline]
    fn from(value: f64) -> Self {
        Self::constant(R::constant(value))
    }
}

impl<R: Real> Real for Dual<R> {
    #[inline]
    fn parameter(self, index: u16, value: f64) -> Self {
        Self { value: self.value.parameter(index, value), derivative: R::constant(0.0) }
    }

    fn exp(self) -> Self {
        let value = self.value.exp();
        self.chain(value, value)
    }

    #[inline]
    fn ln(self) -> Self {
        Self::new(self.value.ln(), over(self.derivative, self.value))
    }

    #[inline]
    fn sqrt(self) -> Self {
        let value = self.value.sqrt();
        let slope = self.value.select(0.5 / value, 0.0);
        self.chain(value, slope)
    }

    #[inline]
    fn abs(self) -> Self {
        let otherwise = (-self.value).select(-1.0, 0.0);
        let sign = self.value.select(1.0, otherwise);
        self.chain(self.value.abs(), sign)
    }

    fn sin(self) -> Self {
        self.chain(self.value.sin(), self.value.cos())
    }

    fn cos(self) -> Self {
        self.chain(self.value.cos(), -self.value.sin())
    }

    fn atan(self) -> Self {
        self.chain(self.value.atan(), 1.0 / (1.0 + self.value * self.value))
    }

    #[inline]
    fn min(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        let derivative = (self.value - other.value).select(other.derivative, self.derivative);
        Self::new(self.value.min(other.value), derivative)
    }

    #[inline]
    fn max(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        let derivative = (other.value - self.value).select(other.derivative, self.derivative);
        Self::new(self.value.max(other.value), derivative)
    }

    #[inline]
    fn select(self, positive: impl Into<Self>, otherwise: impl Into<Self>) -> Self {
        let (positive, otherwise) = (positive.into(), otherwise.into());
        Self::new(
            self.value.select(positive.value, otherwise.value),
            self.value.select(positive.derivative, otherwise.derivative),
        )
    }

    #[inline]
    fn is_zero(self) -> bool {
        self.value.is_zero() && self.derivative.is_zero()
    }
}

/// `derivative * factor`, where a derivative of zero stays zero whatever the factor.
#[inline]
fn times<R: Real>(derivative: R, factor: R) -> R {
    if derivative.is_zero() { derivative } else { derivative * factor }
}

/// `derivative / divisor`, where a derivative of zero stays zero whatever the divisor.
#[inline]
fn over<R: Real>(derivative: R, divisor: R) -> R {
    if derivative.is_zero() { derivative } else { derivative / divisor }
}

/// `a + b` without the terms known to be zero.
#[inline]
fn plus<R: Real>(a: R, b: R) -> R {
    match (a.is_zero(), b.is_zero()) {
        (true, _) => b,
        (_, true) => a,
        _ => a + b,
    }
}

/// `a - b` without the terms known to be zero.
#[inline]
fn minus<R: Real>(a: R, b: R) -> R {
    match (a.is_zero(), b.is_zero()) {
        (_, true) => a,
        (true, _) => -b,
        _ => a - b,
    }
}

#[cfg(test)]
mod tests {
    use num_dual::{Dual2_64, DualNum};

    use super::*;
    use crate::program::random_formula::{Random, RandomFormula};

    /// The second-order dual numbers of `num-dual`, as an independent reading.
    #[derive(Clone, Copy, Debug)]
    struct Peer(Dual2_64);

    macro_rules! peer_operator {
        ($trait:ident, $method:ident) => {
            impl $trait for Peer {
                type Output = Self;

                fn $method(self, other: Self) -> Self {
                    Self(self.0.$method(other.0))
                }
            }
        };
    }

    peer_operator!(Add, add);
    peer_operator!(Sub, sub);
    peer_operator!(Mul, mul);
    peer_operator!(Div, div);

    impl Neg for Peer {
        type Output = Self;

        fn neg(self) -> Self {
            Self(-self.0)
        }
    }

    operators_with_plain_numbers!([] Peer);

    impl From<f64> for Peer {
        fn from(value: f64) -> Self {
            Self(Dual2_64::from_re(value))
        }
    }

    impl Real for Peer {
        fn exp(self) -> Self {
            Self(DualNum::exp(&self.0))
        }

        fn ln(self) -> Self {
            Self(DualNum::ln(&self.0))
        }

        fn sqrt(self) -> Self {
            Self(DualNum::sqrt(&self.0))
        }

        fn abs(self) -> Self {
            if self.0.re < 0.0 { -self } else { self }
        }

        fn sin(self) -> Self {
            Self(DualNum::sin(&self.0))
        }

        fn cos(self) -> Self {
            Self(DualNum::cos(&self.0))
        }

        fn atan(self) -> Self {
            Self(DualNum::atan(&self.0))
        }

        fn min(self, other: impl Into<Self>) -> Self {
            let other = other.into();
            if other.0.re < self.0.re { other } else { self }
        }

        fn max(self, other: impl Into<Self>) -> Self {
            let other = other.into();
            if other.0.re > self.0.re { other } else { self }
        }

        fn select(self, positive: impl Into<Self>, otherwise: impl Into<Self>) -> Self {
            if self.0.re > 0.0 { positive.into() } else { otherwise.into() }
        }
    }

    fn twice(value: f64) -> Dual<Dual<f64>> {
        Dual::variable(Dual::variable(value))
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-9 * (1.0 + expected.abs())
    }

    #[test]
    fn first_and_second_derivatives_of_random_formulas() {
        let mut random = Random::new(5);
        let (mut compared, mut moving) = (0, 0);
        for _ in 0..3000 {
            let formula = RandomFormula::new(&mut random, 2, 10, 1);
            let [x, y] = [random.between(-2.0, 2.0), random.between(0.1, 2.0)];
            let found = formula.evaluate(&[twice(x), Real::constant(y)])[0];
            let peer = Peer(Dual2_64::from_re(x).derivative());
            let expected = formula.evaluate(&[peer, Peer::constant(y)])[0].0;
            let sizes = [expected.re, expected.v1, expected.v2].map(f64::abs);
            if !sizes.iter().all(|&size| size < 1e6) {
                continue;
            }
            compared += 1;
            moving += usize::from(expected.v2 != 0.0);
            assert!(
                close(found.value.value, expected.re)
                    && close(found.derivative.value, expected.v1)
                    && close(found.value.derivative, expected.v1)
                    && close(found.derivative.derivative, expected.v2),
                "{found:?}, {expected:?}: {formula:?} at {x}, {y}"
            );
        }
        assert!(compared > 1000 && moving > 300, "{compared} compared, {moving} moving");
    }

    /// Every operation, each with both operands moving.
    fn operations<R: Real>(x: R, y: R) -> [R; 18] {
        [
            x + y,
            x - y,
            x * y,
            x / y,
            -x,
            x.exp(),
            x.ln(),
            x.sqrt(),
            (x - y).abs(),
            x.min(y),
            x.max(y),
            (x - y).select(x * y, y),
            x.sin(),
            x.cos(),
            x.atan(),
            x.atan2(y),
            x.power(1.7),
            y.power(-2.5),
        ]
    }

    #[test]
    fn central_differences() {
        let step = 1e-4;
        for (x, y) in [(0.7, 1.9), (1.9, 0.7)] {
            // Along the direction (1, -2).
            let at = |t: f64| operations(x + t, y - 2.0 * t);
            let (before, middle, after) = (at(-step), at(0.0), at(step));
            let inner = Dual::new(x, 1.0);
            let other = Dual::new(y, -2.0);
            let found = operations(Dual::new(inner, Dual::constant(1.0)), Dual::new(other, Dual::constant(-2.0)));
            for index in 0..found.len() {
                let first = (after[index] - before[index]) / (2.0 * step);
                let second = (after[index] - 2.0 * middle[index] + before[index]) / (step * step);
                assert_eq!(found[index].value.value, middle[index]);
                let (slope, curvature) = (found[index].derivative.value, found[index].derivative.derivative);
                assert!((slope - first).abs() < 1e-5, "operation {index}: {slope}, {first}");
                assert!((curvature - second).abs() < 1e-4, "operation {index}: {curvature}, {second}");
            }
        }
    }

    #[test]
    fn conventions_at_kinks() {
        let zero = Dual::new(0.0, 3.0);
        assert_eq!(zero.abs().derivative, 0.0);
        assert_eq!((-zero).abs().derivative, 0.0);
        assert_eq!(zero.sqrt(), Dual::new(0.0, 0.0));
        let (a, b) = (Dual::new(1.0, 5.0), Dual::new(1.0, 7.0));
        assert_eq!((a.min(b).derivative, b.min(a).derivative), (5.0, 7.0));
        assert_eq!((a.max(b).derivative, b.max(a).derivative), (5.0, 7.0));
        for (exponent, slope) in [(0.0, 0.0), (0.3, 0.0), (0.5, 0.0), (1.0, 3.0), (1.2, 0.0), (1.5, 0.0), (2.0, 0.0)] {
            assert_eq!(zero.power(exponent).derivative, slope, "power {exponent}");
        }
    }

    #[test]
    fn the_branch_not_taken_does_not_leak() {
        let x = Dual::new(-1.0, 1.0);
        let found = x.select(x.ln(), x * x);
        assert_eq!(found, Dual::new(1.0, -2.0));
        let found = (-x).select(x * x, x.sqrt() / 0.0);
        assert_eq!(found, Dual::new(1.0, -2.0));
    }

    #[test]
    fn constants_have_no_derivative_even_at_infinite_slopes() {
        let zero = Dual::constant(0.0);
        assert_eq!(zero.ln(), Dual::new(f64::NEG_INFINITY, 0.0));
        assert_eq!(zero.sqrt().derivative, 0.0);
        assert_eq!((1.0 / zero).derivative, 0.0);
        let infinite = Dual::constant(f64::INFINITY);
        assert_eq!((Dual::new(2.0, 1.0) * infinite).derivative, f64::INFINITY);
        assert_eq!((Dual::new(2.0, 0.0) * infinite).derivative, 0.0);
    }

    /// Nested, a distance at coincident points has no NaN in any derivative.
    #[test]
    fn a_distance_at_coincident_points() {
        let difference = twice(1.0) - 1.0;
        for distance in [(difference * difference).sqrt(), difference.abs(), difference.abs().power(0.7)] {
            assert_eq!(distance.derivative, Dual::new(0.0, 0.0));
            assert_eq!(distance.value.value, 0.0);
        }
    }
}
