//! Powers of the Euclidean distance.
//!
//! All are read off s = sum_k (x_k - y_k)^2, summed over differences, never expanded into
//! |x|^2 - 2 <x, y> + |y|^2: close points keep their distance to full relative accuracy. Where s overflows or vanishes and
//! the power of the distance does not, rows and derivatives are those of scaled points ([`CostFormula`]).
//!
//! The square is the cost of Brenier (1991) and of Gaussian closed forms. At coincident points the
//! gradient is 0: the derivative for p > 1, an element of the subdifferential for p = 1, and for p < 1,
//! where the cost has a cusp, the symmetric choice. A second derivative that is infinite there (p < 2)
//! is given as 0.

use super::{CostForm, CostFormula};
use crate::{error::Error, real::Real};

/// sum_k (x_k - y_k)^2, without a factor 1/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SqEuclidean;

impl CostFormula for SqEuclidean {
    #[inline(always)]
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        squared_distance(x, y)
    }

    fn known_form(&self) -> CostForm<'_> {
        CostForm::SqEuclidean { scale: 1.0 }
    }
}

/// sum_k (x_k - y_k)^2 / 2: with this cost the blur of an entropic problem is sqrt(epsilon).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HalfSqEuclidean;

impl CostFormula for HalfSqEuclidean {
    #[inline(always)]
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        0.5 * squared_distance(x, y)
    }

    fn known_form(&self) -> CostForm<'_> {
        CostForm::SqEuclidean { scale: 0.5 }
    }
}

/// The distance |x - y|: Monge's cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Euclidean;

impl CostFormula for Euclidean {
    #[inline(always)]
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        squared_distance(x, y).sqrt()
    }

    fn known_form(&self) -> CostForm<'_> {
        CostForm::PowerOfNorm { norm: 2.0, exponent: 1.0 }
    }
}

/// |x - y|^p for some p > 0: strictly convex for p > 1, concave in the distance for p < 1.
///
/// ```
/// use ot_core::{GroundCost, PowerOfDistance};
///
/// let cost = PowerOfDistance::new(1.5)?;
/// let mut row = [0.0; 2];
/// cost.costs_f64(&[0.0], &[4.0, -9.0], &mut row);
/// assert_eq!(row, [8.0, 27.0]);
/// assert!(PowerOfDistance::new(0.0).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerOfDistance {
    exponent: f64,
}

impl PowerOfDistance {
    /// The cost |x - y|^`exponent`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless the exponent is positive and finite.
    pub fn new(exponent: f64) -> Result<Self, Error> {
        if exponent > 0.0 && exponent.is_finite() {
            Ok(Self { exponent })
        } else {
            Err(Error::Parameter {
                name: "the exponent of PowerOfDistance",
                value: exponent,
                expected: "a finite number > 0",
            })
        }
    }

    /// The exponent p.
    #[must_use]
    pub fn exponent(&self) -> f64 {
        self.exponent
    }
}

impl CostFormula for PowerOfDistance {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let square = squared_distance(x, y);
        if self.exponent == 0.5 || self.exponent == 1.5 {
            // Roots of the root, where a power of the square would take a logarithm.
            square.sqrt().power(self.exponent)
        } else {
            square.power(0.5 * self.exponent)
        }
    }

    fn known_form(&self) -> CostForm<'_> {
        CostForm::PowerOfNorm { norm: 2.0, exponent: self.exponent }
    }
}

/// sum_k (x_k - y_k)^2, from the first coordinate to the last.
#[inline(always)]
fn squared_distance<R: Real>(x: &[R], y: &[R]) -> R {
    let [sum] = R::fold_coordinates(x, y, [-0.0], add_square);
    sum
}

/// A function rather than a closure, so that it is inlined into loops of every instruction set.
#[inline(always)]
fn add_square<R: Real>([sum]: [R; 1], x: R, y: R) -> [R; 1] {
    [sum + (x - y) * (x - y)]
}
