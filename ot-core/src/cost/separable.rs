//! Costs that are sums over the axes, c(x, y) = sum_k c_k(x_k, y_k): what makes the Gibbs kernel of a grid a product.

use std::sync::Arc;

use super::{CostForm, CostFormula, GroundCost, PowerOfDistance, SqEuclidean};
use crate::{
    error::Error,
    measure::BoundingBox,
    program::{Program, ProgramError},
    real::Real,
};

/// A cost of its own for each axis: sum_k c_k(x_k, y_k), each c_k a cost between points of one coordinate.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_core::{CostFormula, Euclidean, GroundCost, Real, Separable, SqEuclidean};
///
/// /// Time runs forwards: later is cheap, earlier is dear.
/// #[derive(Clone, Debug)]
/// struct Clock;
///
/// impl CostFormula for Clock {
///     fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
///         let later = y[0] - x[0];
///         later.max(-10.0 * later)
///     }
/// }
///
/// let cost = Separable::new([Arc::new(SqEuclidean) as Arc<dyn GroundCost>, Arc::new(Clock)])?;
/// let mut row = [0.0; 2];
/// cost.costs_f64(&[0.0, 0.0], &[3.0, 2.0, 0.0, -1.0], &mut row);
/// assert_eq!(row, [11.0, 10.0]);
/// assert!(cost.axis_cost(1).is_some() && Euclidean.axis_cost(0).is_none());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Separable {
    axes: Arc<[Arc<dyn GroundCost>]>,
}

impl Separable {
    /// The sum of these costs, the first for the first coordinate.
    ///
    /// # Errors
    /// [`Error::ZeroDimension`] without costs; [`Error::DimensionMismatch`] for one that asks for several coordinates;
    /// [`Error::UnsupportedSupport`] for a matrix.
    pub fn new(axes: impl IntoIterator<Item = Arc<dyn GroundCost>>) -> Result<Self, Error> {
        let axes: Arc<[_]> = axes.into_iter().collect();
        if axes.is_empty() {
            return Err(Error::ZeroDimension);
        }
        for cost in axes.iter() {
            if let Some(source_dimension) = cost.dimension().filter(|&dimension| dimension != 1) {
                return Err(Error::DimensionMismatch { source_dimension, target_dimension: 1 });
            }
            if matches!(cost.form(), CostForm::Matrix(_)) {
                return Err(Error::UnsupportedSupport { what: "the cost of an axis", found: "indices" });
            }
        }
        Ok(Self { axes })
    }

    /// The cost of each axis.
    #[must_use]
    pub fn axes(&self) -> &[Arc<dyn GroundCost>] {
        &self.axes
    }

    fn fits(&self, dimension: usize) -> bool {
        dimension == self.axes.len()
    }

    /// Coordinate k of each of some points.
    fn coordinates<T: Copy>(&self, k: usize, points: &[T]) -> Vec<T> {
        points.chunks_exact(self.axes.len()).map(|point| point[k]).collect()
    }
}

/// A row, axis after axis, in either element type.
macro_rules! row_of_axes {
    ($self:ident, $costs:ident, $x:ident, $points:ident, $out:ident) => {
        if $self.fits($x.len()) {
            let len = $out.len().min($points.len() / $x.len());
            let (out, mut along) = (&mut $out[..len], vec![0.0; len]);
            out.fill(0.0);
            for (k, cost) in $self.axes.iter().enumerate() {
                cost.$costs(&$x[k..=k], &$self.coordinates(k, $points), &mut along);
                out.iter_mut().zip(&along).for_each(|(out, along)| *out += along);
            }
        }
    };
}

impl GroundCost for Separable {
    fn form(&self) -> CostForm<'_> {
        let first = self.axes[0].form();
        let is_square = matches!(first, CostForm::SqEuclidean { .. });
        if is_square && self.axes.iter().all(|cost| cost.form() == first) { first } else { CostForm::Generic }
    }

    fn dimension(&self) -> Option<usize> {
        Some(self.axes.len())
    }

    fn costs_f64(&self, x: &[f64], points: &[f64], out: &mut [f64]) {
        row_of_axes!(self, costs_f64, x, points, out);
    }

    fn costs_f32(&self, x: &[f32], points: &[f32], out: &mut [f32]) {
        row_of_axes!(self, costs_f32, x, points, out);
    }

    fn gradient(&self, x: &[f64], y: &[f64], out: &mut [f64]) -> bool {
        let dimension = x.len();
        if !(self.fits(dimension) && y.len() == dimension && out.len() == 2 * dimension) {
            return false;
        }
        let mut all = vec![0.0; 2 * dimension];
        for (k, cost) in self.axes.iter().enumerate() {
            let mut slopes = [0.0; 2];
            if !cost.gradient(&x[k..=k], &y[k..=k], &mut slopes) {
                return false;
            }
            [all[k], all[dimension + k]] = slopes;
        }
        out.copy_from_slice(&all);
        true
    }

    fn second_derivative(&self, x: &[f64], y: &[f64], direction: &[f64], out: &mut [f64]) -> bool {
        let dimension = x.len();
        let fits = self.fits(dimension) && y.len() == dimension;
        if !(fits && direction.len() == 2 * dimension && out.len() == 2 * dimension) {
            return false;
        }
        let mut all = vec![0.0; 2 * dimension];
        for (k, cost) in self.axes.iter().enumerate() {
            let (along, mut curvature) = ([direction[k], direction[dimension + k]], [0.0; 2]);
            if !cost.second_derivative(&x[k..=k], &y[k..=k], &along, &mut curvature) {
                return false;
            }
            [all[k], all[dimension + k]] = curvature;
        }
        out.copy_from_slice(&all);
        true
    }

    fn program(&self, dimension: usize) -> Option<Result<Program, ProgramError>> {
        let (expected, found) = (2 * self.axes.len(), 2 * dimension);
        if expected != found {
            return Some(Err(ProgramError::Arity { expected, found }));
        }
        let programs: Option<Result<Vec<Program>, _>> = self.axes.iter().map(|cost| cost.program(1)).collect();
        let programs = match programs? {
            Ok(programs) => programs,
            Err(error) => return Some(Err(error)),
        };
        let mut failure = None;
        let whole = Program::record_dynamic(2 * dimension, |inputs| {
            let along = |k: usize| programs[k].call::<_, 2, 1>([inputs[k], inputs[dimension + k]]);
            let sum = (0..dimension).try_fold(None, |sum: Option<_>, k| {
                let [cost] = along(k)?;
                Ok(Some(sum.map_or(cost, |sum| sum + cost)))
            });
            match sum {
                Ok(sum) => sum.into_iter().collect(),
                Err(error) => {
                    failure = Some(error);
                    Vec::new()
                }
            }
        });
        Some(failure.map_or(whole, Err))
    }

    fn may_forbid(&self) -> bool {
        self.axes.iter().any(|cost| cost.may_forbid())
    }

    fn bound(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        let axes = self.axes.iter().enumerate();
        let bounds = axes.map(|(k, cost)| cost.bound(&source.along(k)?, &target.along(k)?));
        let sum = bounds.sum::<Option<f64>>()?;
        Some(sum * (1.0 + 2.0 * self.axes.len() as f64 * f64::EPSILON))
    }

    fn least(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        let (mut sum, mut size) = (0.0, 0.0);
        for (k, cost) in self.axes.iter().enumerate() {
            let least = cost.least(&source.along(k)?, &target.along(k)?)?;
            sum += least;
            size += least.abs();
        }
        Some(sum - size * 2.0 * self.axes.len() as f64 * f64::EPSILON)
    }

    fn shared(&self) -> Option<Arc<dyn GroundCost>> {
        Some(Arc::new(self.clone()))
    }

    fn axis_cost(&self, axis: usize) -> Option<Arc<dyn GroundCost>> {
        self.axes.get(axis).cloned()
    }
}

/// sum_k |x_k - y_k|^p for some p > 0: p = 2 the square, p = 1 Manhattan's distance.
///
/// ```
/// use ot_core::{GroundCost, SumOfPowers};
///
/// let cost = SumOfPowers::new(3.0)?;
/// let mut row = [0.0];
/// cost.costs_f64(&[0.0, 0.0], &[1.0, -2.0], &mut row);
/// assert!((row[0] - 9.0_f64).abs() < 1e-14);
/// assert!(SumOfPowers::new(0.0).is_err());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SumOfPowers {
    exponent: f64,
}

impl SumOfPowers {
    /// The cost with this exponent.
    ///
    /// # Errors
    /// [`Error::Parameter`] unless the exponent is positive and finite.
    pub fn new(exponent: f64) -> Result<Self, Error> {
        match PowerOfDistance::new(exponent) {
            Ok(_) => Ok(Self { exponent }),
            Err(_) => {
                let expected = "a finite number > 0";
                Err(Error::Parameter { name: "the exponent of SumOfPowers", value: exponent, expected })
            }
        }
    }

    /// The exponent p.
    #[must_use]
    pub fn exponent(&self) -> f64 {
        self.exponent
    }
}

impl CostFormula for SumOfPowers {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        let p = self.exponent;
        let [sum] = R::fold_coordinates(x, y, [-0.0], |[sum], x, y| {
            let difference = (x - y).abs();
            [sum + if p == 2.0 { difference * difference } else { difference.power(p) }]
        });
        sum
    }

    fn known_form(&self) -> CostForm<'_> {
        match self.exponent {
            2.0 => CostForm::SqEuclidean { scale: 1.0 },
            exponent if exponent >= 1.0 => CostForm::PowerOfNorm { norm: exponent, exponent },
            _ => CostForm::Generic,
        }
    }

    fn bound_between(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        let sum: f64 = source.reach(target).map(|reach| reach.powf(self.exponent)).sum();
        Some(sum * (1.0 + (1024 + source.dimension()) as f64 * f64::EPSILON))
    }

    fn least_between(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        let sum: f64 = source.apart(target).map(|apart| apart.powf(self.exponent)).sum();
        Some(sum * (1.0 - (1024 + source.dimension()) as f64 * f64::EPSILON))
    }

    fn cost_along(&self, _: usize) -> Option<Arc<dyn GroundCost>> {
        axis_cost_of_power(self.exponent)
    }
}

/// |x - y|^p between numbers.
fn axis_cost_of_power(exponent: f64) -> Option<Arc<dyn GroundCost>> {
    match PowerOfDistance::new(exponent) {
        Ok(_) if exponent == 2.0 => Some(Arc::new(SqEuclidean)),
        Ok(power) => Some(Arc::new(power)),
        Err(_) => None,
    }
}

/// `scale` times the square of a difference.
#[derive(Clone, Copy, Debug)]
struct ScaledSquare {
    scale: f64,
}

impl CostFormula for ScaledSquare {
    #[inline(always)]
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        self.scale * SqEuclidean.cost(x, y)
    }

    fn known_form(&self) -> CostForm<'_> {
        CostForm::SqEuclidean { scale: self.scale }
    }
}

/// The cost of each axis of a cost of this form, if it is a sum over the axes.
pub(super) fn axis_cost_of(form: CostForm<'_>) -> Option<Arc<dyn GroundCost>> {
    match form {
        CostForm::SqEuclidean { scale: 1.0 } => Some(Arc::new(SqEuclidean)),
        CostForm::SqEuclidean { scale } => Some(Arc::new(ScaledSquare { scale })),
        CostForm::PowerOfNorm { norm, exponent } if norm == exponent => axis_cost_of_power(exponent),
        CostForm::PowerOfNorm { .. }
        | CostForm::Cosine
        | CostForm::Matrix(_)
        | CostForm::Implied
        | CostForm::Generic => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Euclidean, HalfSqEuclidean, Manhattan, PNorm};

    #[test]
    fn sums_over_axes_are_the_cost() -> Result<(), Error> {
        let mixed = Separable::new([Arc::new(HalfSqEuclidean) as Arc<dyn GroundCost>, Arc::new(Euclidean)])?;
        let powers = [SumOfPowers::new(0.5)?, SumOfPowers::new(1.0)?, SumOfPowers::new(2.0)?, SumOfPowers::new(3.5)?];
        let mut costs: Vec<&dyn GroundCost> = vec![&SqEuclidean, &HalfSqEuclidean, &Manhattan, &mixed];
        costs.extend(powers.iter().map(|cost| cost as &dyn GroundCost));
        let (x, y) = ([0.3, -2.0], [1.5, 0.25, -0.7, 3.0]);
        for cost in costs {
            let mut whole = [0.0; 2];
            cost.costs_f64(&x, &y, &mut whole);
            let mut sum = [0.0; 2];
            for k in 0..2 {
                let mut along = [0.0; 2];
                let axis = cost.axis_cost(k).ok_or(Error::EmptyMeasure)?;
                axis.costs_f64(&x[k..=k], &[y[k], y[2 + k]], &mut along);
                sum.iter_mut().zip(along).for_each(|(sum, along)| *sum += along);
            }
            for (whole, sum) in whole.into_iter().zip(sum) {
                assert!((whole - sum).abs() < 1e-14 * whole, "{cost:?}: {whole} and {sum}");
            }
        }
        for cost in [&Euclidean as &dyn GroundCost, &PNorm::new(3.0)?] {
            assert!(cost.axis_cost(0).is_none(), "{cost:?} is no sum over axes");
        }
        Ok(())
    }

    #[test]
    fn what_is_no_axis_cost_is_refused() {
        assert_eq!(Separable::new([]).err(), Some(Error::ZeroDimension));
        let plane = Separable::new([Arc::new(SqEuclidean) as Arc<dyn GroundCost>, Arc::new(SqEuclidean)]);
        let plane = plane.map(|cost| Arc::new(cost) as Arc<dyn GroundCost>);
        let nested = plane.and_then(|plane| Separable::new([plane]));
        assert_eq!(nested.err(), Some(Error::DimensionMismatch { source_dimension: 2, target_dimension: 1 }));
    }
}
