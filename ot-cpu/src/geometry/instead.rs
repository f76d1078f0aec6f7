//! Coordinates that the loop of a cost reads instead of the points.

use ot_core::{
    BoundingBox, CostForm, Error, PointsView,
    host::try_zeros,
    power_of_two::{binary_exponent, times_power_of_two},
};

use super::{CpuScalar, clouds::axes_of};

/// Other coordinates for the loop of a cost: the directions x / |x| for a cosine, zero where there is none, or multiples of
/// a unit, where squares of the coordinates may leave the range.
#[derive(Debug)]
pub(super) struct Instead<T> {
    pub(super) points: Box<[T]>,
    pub(super) axes: Box<[T]>,
    /// The points without a direction, in order.
    pub(super) undirected: Box<[usize]>,
}

impl<T: CpuScalar> Instead<T> {
    /// What the loop of a cost of this form reads instead of points, if anything.
    pub(super) fn of(view: PointsView<'_, T>, form: CostForm<'_>, unit: Option<f64>) -> Result<Option<Self>, Error> {
        match unit {
            Some(unit) => Self::in_units(view, unit).map(Some),
            None if form == CostForm::Cosine => Self::directions(view).map(Some),
            None => Ok(None),
        }
    }

    fn directions(view: PointsView<'_, T>) -> Result<Self, Error> {
        let zero = T::default();
        let (mut points, mut undirected) = (try_zeros(view.coordinates().len(), "points")?, Vec::new());
        for (index, (point, direction)) in view.iter().zip(points.chunks_exact_mut(view.dimension())).enumerate() {
            direction.copy_from_slice(point);
            let square_of = |point: &[T]| point.iter().fold(zero, |sum, &coordinate| sum + coordinate * coordinate);
            let mut square = square_of(direction);
            if !(T::TINY / T::EPSILON..=T::MAX).contains(&square.to_f64()) {
                let largest = point.iter().fold(0.0, |largest: f64, value| largest.max(value.to_f64().abs()));
                multiply(direction, -binary_exponent(largest));
                square = square_of(direction);
            }
            if square > zero {
                let norm = square.sqrt();
                direction.iter_mut().for_each(|coordinate| *coordinate = *coordinate / norm);
            } else {
                undirected.push(index);
            }
        }
        let axes = axes_of(&points, view.dimension())?;
        Ok(Self { points: points.into(), axes, undirected: undirected.into() })
    }

    /// The points over 2^unit.
    fn in_units(view: PointsView<'_, T>, unit: f64) -> Result<Self, Error> {
        let mut points: Vec<T> = try_zeros(view.coordinates().len(), "points")?;
        points.copy_from_slice(view.coordinates());
        multiply(&mut points, -unit);
        let axes = axes_of(&points, view.dimension())?;
        Ok(Self { points: points.into(), axes, undirected: [].into() })
    }
}

/// The binary logarithm, even, of the unit in which the squares of all differences are far from both ends of the range;
/// `None` where they are, and for costs that are read off no squares.
pub(super) fn unit_of<T: CpuScalar>(
    form: CostForm<'_>,
    source: PointsView<'_, T>,
    target: PointsView<'_, T>,
) -> Option<f64> {
    let CostForm::PowerOfNorm { norm: 2.0, exponent } = form else { return None };
    let (one, other) = (BoundingBox::of(source), BoundingBox::of(target));
    // Halves, of which the difference is finite.
    let reach = |(low, high): (&f64, &f64)| 0.5 * high - 0.5 * low;
    let pairs = one.low().iter().zip(other.high()).chain(other.low().iter().zip(one.high()));
    let half = pairs.map(reach).fold(0.0, f64::max);
    let coordinates = source.coordinates().iter().chain(target.coordinates());
    let sizes = coordinates.map(|coordinate| coordinate.to_f64().abs()).filter(|&size| size > 0.0);
    // A difference that is not zero is a multiple of the gap at the smaller of its terms.
    let smallest = 0.5 * T::EPSILON * sizes.fold(f64::INFINITY, f64::min);
    let length = half * (source.dimension() as f64).sqrt();
    if half == 0.0 || smallest >= T::TINY.sqrt() && length <= (T::MAX / 64.0).sqrt() {
        return None;
    }
    // The longest distance as large as its square and its power allow, so that the shortest do not vanish; and the power
    // of the unit a normal number.
    let (most, normal) = (binary_exponent(T::MAX), -binary_exponent(T::TINY));
    let largest = (0.5 * most - 6.0).min((most - 7.0) / exponent).max(0.0);
    let unit = binary_exponent(length) + 2.0 - largest.floor();
    Some(2.0 * (0.5 * unit.clamp(-normal / exponent, normal / exponent)).ceil())
}

/// Multiplies by 2^exponent.
pub(super) fn multiply<T: CpuScalar>(values: &mut [T], exponent: f64) {
    values.iter_mut().for_each(|value| *value = T::from_f64(times_power_of_two(value.to_f64(), exponent)));
}

#[cfg(test)]
mod tests {
    use ot_core::{Cosine, Euclidean, GroundCost, PowerOfDistance, Side};

    use super::*;
    use crate::geometry::clouds::Clouds;

    /// Points in a square, of which some coincide, in units of 2^exponent.
    fn points<T: CpuScalar>(len: usize, seed: usize, exponent: f64) -> Vec<T> {
        let of = |k: usize| ((k * 7 + seed) % 31) as f64 / 16.0 - 0.9;
        (0..2 * len).map(|k| T::from_f64(times_power_of_two(of(k), exponent))).collect()
    }

    fn costs<T: CpuScalar>(cost: &dyn GroundCost, x: &[T], y: &[T]) -> Result<Vec<f64>, Error> {
        let (source, target) = (PointsView::new(x, 2)?, PointsView::new(y, 2)?);
        let clouds = Clouds::new(source, target, cost.form(), None)?;
        let mut out = vec![T::default(); source.len() * target.len()];
        assert!(clouds.costs(Side::Source, 0..source.len(), 0..target.len(), target.len(), &mut out));
        Ok(out.into_iter().map(T::to_f64).collect())
    }

    fn costs_scale_with_the_points<T: CpuScalar>(ends: std::ops::Range<i32>) -> Result<(), Error> {
        let power = |exponent: f64| -> Result<(Box<dyn GroundCost>, f64), Error> {
            Ok((Box::new(PowerOfDistance::new(exponent)?), exponent))
        };
        let costs_and_degrees: Vec<(Box<dyn GroundCost>, f64)> = vec![
            (Box::new(Euclidean), 1.0),
            power(0.5)?,
            power(1.5)?,
            power(0.7)?,
            power(3.0)?,
            (Box::new(Cosine), 0.0),
        ];
        for (cost, degree) in costs_and_degrees {
            let once = costs(cost.as_ref(), &points::<T>(7, 3, 0.0), &points::<T>(40, 5, 0.0))?;
            for exponent in ends.clone().map(|step| f64::from(2 * step)) {
                // Larger costs are refused before they are read.
                if once.iter().any(|&once| times_power_of_two(once, degree * exponent) > T::LARGEST_COST) {
                    continue;
                }
                let found = costs(cost.as_ref(), &points::<T>(7, 3, exponent), &points::<T>(40, 5, exponent))?;
                for (found, once) in found.into_iter().zip(&once) {
                    let expected = times_power_of_two(*once, degree * exponent);
                    let allowed = if degree == 0.7 { 1000.0 * T::EPSILON * expected } else { 0.0 };
                    let is_normal = expected == 0.0 || (T::TINY..T::MAX).contains(&expected);
                    assert!(
                        !is_normal || (found - expected).abs() <= allowed,
                        "{cost:?} {exponent}: {found:e} {expected:e}"
                    );
                }
            }
        }
        Ok(())
    }

    #[test]
    fn costs_scale_with_the_points_at_both_ends_of_the_range() -> Result<(), Error> {
        costs_scale_with_the_points::<f32>(-60..62)?;
        costs_scale_with_the_points::<f64>(-500..510)
    }

    #[test]
    fn points_of_an_ordinary_size_are_read_as_they_are() -> Result<(), Error> {
        let (far, near) = ([1e-6_f32, 1e18], [1e-13_f32, 1.0]);
        for (points, is_read) in [(&far, true), (&near, false)] {
            let view = PointsView::new(points, 1)?;
            assert_eq!(unit_of(Euclidean.form(), view, view).is_none(), is_read);
        }
        // Both ends of seventeen decades and more, in one cloud.
        let found = costs(&Euclidean, &[0.0_f32, 0.0], &[1e-23, 0.0, 1.0, 0.0, -1.0, 1e-20])?;
        assert_eq!(found, [f64::from(1e-23_f32), 1.0, 1.0]);
        Ok(())
    }
}
