//! A cost of an outsider's own: one formula.

use ot_core::{BoundingBox, CostFormula, Euclidean, GroundCost, Real};

/// Charbonnier's smoothing of the distance (1994): quadratic near 0, linear far out,
///
/// ```text
/// c(x, y) = width (sqrt(width^2 + |x - y|^2) - width)
/// ```
#[derive(Clone, Debug)]
pub struct Charbonnier {
    pub width: f64,
}

impl CostFormula for Charbonnier {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let square = x.iter().zip(y).fold(R::constant(0.0), |sum, (&x, &y)| sum + (x - y) * (x - y));
        // |d|^2 / (sqrt(1 + |d|^2 / w^2) + 1) does not cancel where d is small.
        square / ((1.0 + square / (self.width * self.width)).sqrt() + 1.0)
    }

    fn bound_between(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        GroundCost::bound(&Euclidean, source, target).map(|distance| self.width * distance)
    }
}
