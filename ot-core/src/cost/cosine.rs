//! One minus the cosine of the angle between two vectors.
//!
//! Computed as half the squared distance of the normalised vectors, |x/|x| - y/|y||^2 / 2, which is
//! the same number without its cancellation: never negative, and accurate for small angles, where
//! 1 - cos loses all digits below sqrt(machine epsilon).

use super::{CostForm, CostFormula};
use crate::real::Real;

/// 1 - <x, y> / (|x| |y|), in [0, 2].
///
/// A zero vector has no direction: by convention its cost to anything is 1 and its gradient 0. Vectors may have any
/// length that the element type holds. (The recorded program squares what it is given: to it a vector is zero where its
/// squared norm is.)
///
/// ```
/// use ot_core::{Cosine, GroundCost};
///
/// let mut row = [0.0; 4];
/// Cosine.costs_f64(&[1.0, 0.0], &[3.0, 0.0, 0.0, 2.0, -1.0, 0.0, 0.0, 0.0], &mut row);
/// assert_eq!(row, [0.0, 1.0, 2.0, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cosine;

impl CostFormula for Cosine {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let (x_square, y_square) = (squared_norm(x), squared_norm(y));
        // A divisor of 1 for zero vectors keeps every intermediate value finite.
        let x_norm = x_square.select(x_square, 1.0).sqrt();
        let y_norm = y_square.select(y_square, 1.0).sqrt();
        let squares = x.iter().zip(y).map(|(x, y)| {
            let difference = *x / x_norm - *y / y_norm;
            difference * difference
        });
        let chord = squares.reduce(|sum, square| sum + square).unwrap_or(R::constant(0.0));
        x_square.select(y_square.select(0.5 * chord, 1.0), 1.0)
    }

    fn known_form(&self) -> CostForm<'_> {
        CostForm::Cosine
    }
}

/// sum_k x_k^2.
fn squared_norm<R: Real>(x: &[R]) -> R {
    x.iter().map(|value| *value * *value).reduce(|sum, square| sum + square).unwrap_or(R::constant(0.0))
}
