//! Units of length and of mass in which sums over pairs stay within the range of numbers.
//!
//! A discrepancy is homogeneous: of degree two in the masses, and under an energy kernel of exponent p of degree p in the
//! points. So points and weights that are very large or very small are divided by powers of two, which rounds nothing.

use ot_core::{
    BoundingBox, Error, Measure, PointsView, Scalar, Support, WeightsView,
    power_of_two::{binary_exponent, times_power_of_two},
};

use super::kernel::BEYOND_ALL_COSTS;
use crate::unit::mass_exponent;

/// Binary logarithms of the units of length, even, and of mass; zero for measures of an ordinary size.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
pub(super) struct Units {
    length: f64,
    mass: f64,
    /// The degree of the kernel in the points.
    degree: f64,
}

impl Units {
    /// Units of two measures, that of length only for a kernel with a degree.
    pub(super) fn of<T: Scalar>(measures: [&dyn Measure<T>; 2], degree: Option<f64>) -> Result<Self, Error> {
        Ok(Self {
            length: degree.map_or(Ok(0.0), |degree| length_unit(measures, degree))?,
            mass: mass_exponent(measures),
            degree: degree.unwrap_or(0.0),
        })
    }

    /// A measure in these units.
    pub(super) fn measure<'a, T: Scalar>(self, measure: &'a dyn Measure<T>) -> Result<InUnits<'a, T>, Error> {
        let divided = |values: &[T], unit: f64| -> Option<Vec<T>> {
            let of = |value: &T| T::from_f64(times_power_of_two(value.to_f64(), -unit));
            (unit != 0.0).then(|| values.iter().map(of).collect())
        };
        let coordinates = measure.support().points()?.and_then(|points| divided(points.coordinates(), self.length));
        let weights = measure.weights().and_then(|weights| divided(weights.values(), self.mass));
        Ok(InUnits { measure, coordinates, weights })
    }

    /// Binary logarithm of the factor of a squared discrepancy.
    pub(super) fn of_square(self) -> f64 {
        2.0 * self.mass + self.degree * self.length
    }

    /// That of a witness.
    pub(super) fn of_witness(self) -> f64 {
        self.mass + self.degree * self.length
    }

    /// That of a gradient of the square in the points.
    pub(super) fn of_gradient(self) -> f64 {
        2.0 * self.mass + (self.degree - 1.0) * self.length
    }
}

/// The unit of length, where costs are not small beside the epsilon that is beyond them all, or near the smallest numbers.
fn length_unit<T: Scalar>(measures: [&dyn Measure<T>; 2], degree: f64) -> Result<f64, Error> {
    let [source, target] = measures.map(|measure| measure.support().points());
    let (Some(source), Some(target)) = (source?, target?) else { return Ok(0.0) };
    let boxes = [source, target].map(BoundingBox::of);
    // Halves, of which the difference is finite.
    let low =
        |axis: usize| boxes.iter().filter_map(|around| around.low().get(axis)).copied().fold(f64::INFINITY, f64::min);
    let high = |axis: usize| {
        boxes.iter().filter_map(|around| around.high().get(axis)).copied().fold(f64::NEG_INFINITY, f64::max)
    };
    let half = (0..source.dimension()).map(|axis| 0.5 * high(axis) - 0.5 * low(axis)).fold(0.0, f64::max);
    let [least, most] = [T::TINY / T::EPSILON.powi(2), BEYOND_ALL_COSTS * T::EPSILON];
    let length = binary_exponent(half) + 1.0;
    Ok(match degree * length {
        cost if half > 0.0 && !(least.log2()..=most.log2()).contains(&cost) => 2.0 * (0.5 * length).ceil(),
        _ => 0.0,
    })
}

/// A measure whose points and weights have been divided by units.
#[derive(Debug)]
pub(super) struct InUnits<'a, T: Scalar> {
    measure: &'a dyn Measure<T>,
    coordinates: Option<Vec<T>>,
    weights: Option<Vec<T>>,
}

impl<T: Scalar> Measure<T> for InUnits<'_, T> {
    fn support(&self) -> Support<'_, T> {
        let support = self.measure.support();
        match (support.points(), &self.coordinates) {
            (Ok(Some(points)), Some(coordinates)) => {
                PointsView::new(coordinates, points.dimension()).map_or(support, Support::Points)
            }
            _ => support,
        }
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        let weights = self.measure.weights()?;
        match &self.weights {
            Some(values) => WeightsView::new(values, weights.columns()).ok(),
            None => Some(weights),
        }
    }
}

/// Numbers that the type of the answer holds.
///
/// # Errors
/// [`Error::SumOverflow`].
pub(super) fn held<T: Scalar>(what: &'static str, values: Vec<T>) -> Result<Vec<T>, Error> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(Error::SumOverflow { what, element: T::NAME }),
    }
}
