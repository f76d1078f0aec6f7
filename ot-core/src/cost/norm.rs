//! Norms of the difference other than Euclid's.
//!
//! |z|_p = (sum_k |z_k|^p)^(1/p) for p in [1, inf], the largest |z_k| at infinity. For p other than 1
//! and 2 the sum is scaled, m (sum_k (|z_k| / m)^p)^(1/p) with m the largest |z_k|, so that no power
//! overflows or vanishes (Blue 1978, *A portable Fortran program to find the Euclidean norm*). The
//! derivative does not depend on m, whose terms cancel.
//!
//! Where a difference is zero its term contributes no gradient; at coincident points the gradient is
//! 0. At a tie of the largest difference the first coordinate has the gradient.

use super::{CostForm, CostFormula, Euclidean};
use crate::{error::Error, real::Real};

/// sum_k |x_k - y_k|, the norm of city blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Manhattan;

impl CostFormula for Manhattan {
    #[inline(always)]
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let [sum] = R::fold_coordinates(x, y, [-0.0], |[sum], x, y| [sum + (x - y).abs()]);
        sum
    }

    fn known_form(&self) -> CostForm<'_> {
        CostForm::PowerOfNorm { norm: 1.0, exponent: 1.0 }
    }
}

/// max_k |x_k - y_k|, the norm of a chess king.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chebyshev;

impl CostFormula for Chebyshev {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let [largest] = R::fold_coordinates(x, y, [0.0], |[largest], x, y| [largest.max((x - y).abs())]);
        largest
    }

    fn known_form(&self) -> CostForm<'_> {
        CostForm::PowerOfNorm { norm: f64::INFINITY, exponent: 1.0 }
    }
}

/// (sum_k |x_k - y_k|^p)^(1/p) for some p in [1, inf].
///
/// ```
/// use ot_core::{GroundCost, PNorm};
///
/// let cost = PNorm::new(3.0)?;
/// let mut row = [0.0];
/// cost.costs_f64(&[0.0, 0.0, 0.0], &[3.0, 4.0, 5.0], &mut row);
/// assert!((row[0] - 6.0_f64).abs() < 1e-14); // 27 + 64 + 125 = 216
/// assert!(PNorm::new(0.5).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PNorm {
    norm: f64,
}

impl PNorm {
    /// The norm with index `norm`; infinity is [`Chebyshev`].
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless the index is at least one.
    pub fn new(norm: f64) -> Result<Self, Error> {
        if norm >= 1.0 {
            Ok(Self { norm })
        } else {
            Err(Error::Parameter { name: "the index of PNorm", value: norm, expected: "a number >= 1, or infinity" })
        }
    }

    /// The index p.
    #[must_use]
    pub fn norm(&self) -> f64 {
        self.norm
    }

    /// m (sum_k (|z_k| / m)^p)^(1/p); zero where m is.
    fn scaled<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let largest = Chebyshev.cost(x, y);
        let scale = largest.select(largest, 1.0);
        // y - x where the largest took x - y: a recorder would merge equal differences and hold all
        // of them, one register each, from the first pass to the second.
        let powers = differences(y, x).map(|difference| (difference / scale).power(self.norm));
        let sum = powers.reduce(|sum, power| sum + power).unwrap_or(R::constant(0.0));
        largest * sum.power(1.0 / self.norm)
    }
}

impl CostFormula for PNorm {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        if self.norm == 1.0 {
            Manhattan.cost(x, y)
        } else if self.norm == 2.0 {
            Euclidean.cost(x, y)
        } else if self.norm == f64::INFINITY {
            Chebyshev.cost(x, y)
        } else {
            self.scaled(x, y)
        }
    }

    fn known_form(&self) -> CostForm<'_> {
        CostForm::PowerOfNorm { norm: self.norm, exponent: 1.0 }
    }
}

/// |x_k - y_k|, coordinate by coordinate.
#[inline(always)]
fn differences<'a, R: Real>(x: &'a [R], y: &'a [R]) -> impl Iterator<Item = R> + 'a {
    x.iter().zip(y).map(|(x, y)| (*x - *y).abs())
}
