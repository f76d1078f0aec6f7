//! Costs given by any closure.

use std::{fmt, sync::Arc};

use super::{CostForm, GroundCost};

/// A cost evaluated by a closure in f64: a table look-up, a road network, somebody else's library.
///
/// It has no derivative and no program, so that a backend evaluates it on the host: once per pair where the
/// matrix is stored, again and again where it is not. The closure may return +inf to forbid a pair; NaN and minus infinity are no costs.
/// Rows in f32 are computed in f64 and rounded. Where the cost is arithmetic, a
/// [`CostFormula`](crate::CostFormula) gives all that and speed.
///
/// ```
/// use ot_core::{CostFunction, GroundCost};
///
/// /// Hours on a clock.
/// let clock = CostFunction::new(|x: &[f64], y: &[f64]| {
///     let hours = (x[0] - y[0]).rem_euclid(12.0);
///     hours.min(12.0 - hours)
/// })
/// .with_dimension(1);
/// let mut row = [0.0; 3];
/// clock.costs_f64(&[11.0], &[1.0, 5.0, 9.0], &mut row);
/// assert_eq!(row, [2.0, 6.0, 2.0]);
/// ```
#[derive(Clone)]
pub struct CostFunction<F> {
    function: Arc<F>,
    dimension: Option<usize>,
}

impl<F: Fn(&[f64], &[f64]) -> f64 + Send + Sync + 'static> CostFunction<F> {
    /// The cost c(x, y) = `function(x, y)`, for points of any dimension.
    pub fn new(function: F) -> Self {
        Self { function: Arc::new(function), dimension: None }
    }

    /// The same cost for points of `dimension` coordinates only: what the closure indexes.
    #[must_use]
    pub fn with_dimension(self, dimension: usize) -> Self {
        Self { dimension: Some(dimension), ..self }
    }

    /// Can the closure be asked about points of `dimension` coordinates?
    fn fits(&self, dimension: usize) -> bool {
        dimension > 0 && self.dimension.is_none_or(|fixed| fixed == dimension)
    }
}

impl<F: Fn(&[f64], &[f64]) -> f64 + Send + Sync + 'static> GroundCost for CostFunction<F> {
    fn shared(&self) -> Option<Arc<dyn GroundCost>> {
        Some(Arc::new(Self { function: Arc::clone(&self.function), dimension: self.dimension }))
    }

    fn form(&self) -> CostForm<'_> {
        CostForm::Generic
    }

    fn dimension(&self) -> Option<usize> {
        self.dimension
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        if self.fits(x.len()) {
            for (y, out) in points.chunks_exact(x.len()).zip(out) {
                *out = (self.function)(x, y);
            }
        }
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        if self.fits(x.len()) {
            let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
            let mut wide = vec![0.0; x.len()];
            for (y, out) in points.chunks_exact(x.len()).zip(out) {
                for (wide, narrow) in wide.iter_mut().zip(y) {
                    *wide = f64::from(*narrow);
                }
                *out = (self.function)(&x, &wide) as f32;
            }
        }
    }

    fn may_forbid(&self) -> bool {
        true
    }
}

impl<F> fmt::Debug for CostFunction<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CostFunction").field("dimension", &self.dimension).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_precisions_ask_the_closure() {
        let cost = CostFunction::new(|x: &[f64], y: &[f64]| x[0] * y[1] + 0.1);
        let (mut wide, mut narrow) = ([0.0; 2], [0.0_f32; 2]);
        cost.costs_f64(&[2.0, 9.0], &[9.0, 3.0, 9.0, -1.0], &mut wide);
        cost.costs_f32(&[2.0, 9.0], &[9.0, 3.0, 9.0, -1.0], &mut narrow);
        assert_eq!(wide, [6.1, -1.9]);
        assert_eq!(narrow, wide.map(|value| value as f32));
        assert!(cost.may_forbid() && cost.program(2).is_none() && cost.bound_is_unknown());
        assert!(!cost.gradient(&[1.0, 2.0], &[3.0, 4.0], &mut [0.0; 4]));
    }

    #[test]
    fn a_fixed_dimension_protects_the_closure() {
        let cost = CostFunction::new(|x: &[f64], y: &[f64]| x[2] - y[2]).with_dimension(3);
        assert_eq!(cost.dimension(), Some(3));
        let (mut wide, mut narrow) = ([7.0], [7.0]);
        cost.costs_f64(&[1.0], &[2.0], &mut wide);
        cost.costs_f32(&[1.0], &[2.0], &mut narrow);
        cost.costs_f64(&[], &[], &mut wide);
        assert_eq!((wide, narrow), ([7.0], [7.0]));
    }

    impl<F: Fn(&[f64], &[f64]) -> f64 + Send + Sync + 'static> CostFunction<F> {
        fn bound_is_unknown(&self) -> bool {
            use crate::measure::{BoundingBox, PointsView};
            PointsView::new(&[1.0], 1).is_ok_and(|points| {
                let around = BoundingBox::of(points);
                self.bound(&around, &around).is_none()
            })
        }
    }
}
