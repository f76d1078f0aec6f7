//! Several numbers at once: a formula read for N points, or N directions, in one go.
//!
//! Every operation acts lane by lane with the operation of the element type, so a lane holds, bit for
//! bit, what the formula gives for that lane alone, and the compiler turns N lanes into vector
//! instructions. This is how a cost that knows nothing of vectors runs at vectorised speed.

use std::{
    array,
    ops::{Add, Div, Mul, Neg, Sub},
};

use crate::real::{Real, operators_with_plain_numbers};

/// N numbers that go through a formula side by side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes<R, const N: usize>(pub(super) [R; N]);

impl<R: Real, const N: usize> Lanes<R, N> {
    #[inline(always)]
    fn map(self, operation: impl Fn(R) -> R) -> Self {
        // Loops, which stay in the function that they are inlined into, unlike the closures of `array::from_fn`.
        let mut out = self.0;
        for value in &mut out {
            *value = operation(*value);
        }
        Self(out)
    }

    #[inline(always)]
    fn zip(self, other: Self, operation: impl Fn(R, R) -> R) -> Self {
        let mut out = self.0;
        for (value, other) in out.iter_mut().zip(other.0) {
            *value = operation(*value, other);
        }
        Self(out)
    }
}

macro_rules! lanewise {
    ($($operator:ident $method:ident),*) => {$(
        impl<R: Real, const N: usize> $operator for Lanes<R, N> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.zip(other, R::$method)
            }
        }
    )*};
}

lanewise!(Add add, Sub sub, Mul mul, Div div);

impl<R: Real, const N: usize> Neg for Lanes<R, N> {
    type Output = Self;

    #[inline(always)]
    fn neg(self) -> Self {
        self.map(R::neg)
    }
}

operators_with_plain_numbers!([R: Real, const N: usize] Lanes<R, N>);

impl<R: Real, const N: usize> From<f64> for Lanes<R, N> {
    #[inline(always)]
    fn from(value: f64) -> Self {
        Self([R::constant(value); N])
    }
}

impl<R: Real, const N: usize> Real for Lanes<R, N> {
    #[inline(always)]
    fn exp(self) -> Self {
        self.map(R::exp)
    }

    #[inline(always)]
    fn ln(self) -> Self {
        self.map(R::ln)
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.map(R::sqrt)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.map(R::abs)
    }

    #[inline(always)]
    fn sin(self) -> Self {
        self.map(R::sin)
    }

    #[inline(always)]
    fn cos(self) -> Self {
        self.map(R::cos)
    }

    #[inline(always)]
    fn atan(self) -> Self {
        self.map(R::atan)
    }

    #[inline(always)]
    fn min(self, other: impl Into<Self>) -> Self {
        self.zip(other.into(), R::min)
    }

    #[inline(always)]
    fn max(self, other: impl Into<Self>) -> Self {
        self.zip(other.into(), R::max)
    }

    #[inline(always)]
    fn select(self, positive: impl Into<Self>, otherwise: impl Into<Self>) -> Self {
        let (positive, otherwise) = (positive.into(), otherwise.into());
        Self(array::from_fn(|lane| self.0[lane].select(positive.0[lane], otherwise.0[lane])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation of a formula.
    fn everything<R: Real>(x: R, y: R) -> R {
        let ratio = (x - y) / (y.abs() + 0.5);
        let angle = x.atan2(y).sin() * (x - y).cos();
        let bumps = angle + (-(x * y)).exp().min(x.abs().sqrt()).max(y);
        (x + y).select(bumps, ratio.abs().ln()) + x.abs().power(1.3)
    }

    #[test]
    fn a_lane_is_the_number_alone() {
        let x = [0.3, -1.0, 2.5, 0.0];
        let y = [1.1, 0.4, -3.0, 0.0];
        let Lanes(together) = everything(Lanes(x), Lanes(y));
        let alone = array::from_fn(|lane| everything(x[lane], y[lane]));
        assert_eq!(together.map(f64::to_bits), alone.map(f64::to_bits));
        assert!(together[..3].iter().all(|value| value.is_finite()));
    }
}
