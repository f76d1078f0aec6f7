//! Costs whose squares leave the range of numbers, though they do not.
//!
//! A power of the Euclidean distance is read off a sum of squares, a cosine off squared norms. Both are homogeneous:
//!
//! ```text
//! |x - y|^p = s^p |x / s - y / s|^p        cos(x, y) = cos(x / s, y / t)
//! ```
//!
//! So where squares would overflow or vanish, points are divided by powers of two, which rounds nothing (Blue 1978). All
//! other points are read as they are: what is asked of their costs is whether any came near an end of the range.

use super::{CostForm, CostFormula};
use crate::{
    power_of_two::{binary_exponent, times_power_of_two},
    real::Number,
    scalar::Scalar,
};

/// Costs that are looked at together.
const RUN: usize = 64;

/// Reads anew the costs of a row that are powers of distances or cosines and whose squares may have left the range, where
/// these are the extremes of the costs.
#[inline]
pub(super) fn mend_row<F: CostFormula, T: Scalar>(
    formula: &F,
    x: &[T],
    points: &[T],
    out: &mut [T],
    of_row: Extremes<T>,
) {
    let runs = |out| points.chunks(RUN * x.len()).zip(<[T]>::chunks_mut(out, RUN));
    match formula.known_form() {
        CostForm::PowerOfNorm { norm: 2.0, exponent } => {
            let [low, high] = safe_powers::<T>(exponent);
            if of_row.are_within(low, high) {
                return;
            }
            for (points, out) in runs(out) {
                if !Extremes::of(out, |cost| cost).are_within(low, high) {
                    mend(formula, x, points, out, |cost| low <= cost && cost <= high);
                }
            }
        }
        CostForm::Cosine => {
            let [low, high] = safe_lengths::<T>();
            let zero = T::default();
            let is_safe = |points: &[T]| {
                let size = |value: T| if value == zero { low } else { value.abs() };
                Extremes::of(points, size).are_within(low, high)
            };
            let is_first_safe = is_safe(x);
            for (points, out) in runs(out) {
                if !(is_first_safe && is_safe(points)) {
                    mend(formula, x, points, out, |_| false);
                }
            }
        }
        _ => {}
    }
}

/// The smallest and the largest of some numbers, lane by lane, so that several are compared at once.
#[derive(Clone, Copy)]
pub(super) struct Extremes<T> {
    least: [T; LANES],
    most: [T; LANES],
}

/// Lanes of [`Extremes`].
const LANES: usize = 8;

impl<T: Scalar> Extremes<T> {
    /// Those of no numbers.
    #[inline(always)]
    pub(super) fn none() -> Self {
        Self { least: [T::from_f64(T::MAX); LANES], most: [T::default(); LANES] }
    }

    /// Those of what `size` makes of numbers.
    #[inline(always)]
    fn of(values: &[T], size: impl Fn(T) -> T) -> Self {
        let mut extremes = Self::none();
        let (chunks, rest) = values.as_chunks::<LANES>();
        for chunk in chunks {
            extremes.add(&chunk.map(&size));
        }
        for &value in rest {
            extremes.add(&[size(value)]);
        }
        extremes
    }

    /// With some more numbers, none negative.
    #[inline(always)]
    pub(super) fn add<const N: usize>(&mut self, values: &[T; N]) {
        for (index, &value) in values.iter().enumerate() {
            let (least, most) = (&mut self.least[index % LANES], &mut self.most[index % LANES]);
            *least = if value < *least { value } else { *least };
            *most = if value > *most { value } else { *most };
        }
    }

    #[inline]
    fn are_within(&self, low: T, high: T) -> bool {
        let mut all = true;
        for lane in 0..LANES {
            all &= (low <= self.least[lane]) & (self.most[lane] <= high);
        }
        all
    }
}

/// Reads anew the costs that are not safe.
#[cold]
fn mend<F: CostFormula, T: Scalar>(formula: &F, x: &[T], points: &[T], out: &mut [T], is_safe: impl Fn(T) -> bool) {
    for (y, out) in points.chunks_exact(x.len()).zip(out) {
        if is_safe(*out) {
            continue;
        }
        if let Some(scaled) = ScaledPair::of(formula.known_form(), x, y) {
            let [x, y] = [&scaled.x, &scaled.y].map(|point| -> Vec<_> { point.iter().map(|&z| Number(z)).collect() });
            *out = T::from_f64(times_power_of_two(formula.cost(&x, &y).0.to_f64(), scaled.factor));
        }
    }
}

/// Two points divided by powers of two, so that no square leaves the range.
pub(super) struct ScaledPair<T> {
    pub(super) x: Vec<T>,
    pub(super) y: Vec<T>,
    /// Binary logarithms of the divisors s of x and t of y.
    divisors: [f64; 2],
    /// Binary logarithm of c(x, y) / c(x / s, y / t).
    factor: f64,
}

impl<T: Scalar> ScaledPair<T> {
    /// The pair under a cost of this form; `None` where it can be read as it is.
    pub(super) fn of(form: CostForm<'_>, x: &[T], y: &[T]) -> Option<Self> {
        let [low, high] = safe_lengths::<T>().map(T::to_f64);
        // Even, so that square roots of the divisor are powers of two as well.
        let needed = |length: f64| match length {
            length if length == 0.0 || (low..=high).contains(&length) => 0.0,
            length => 2.0 * (0.5 * binary_exponent(length)).floor(),
        };
        let largest = |values: &[T]| values.iter().map(|value| value.to_f64().abs()).fold(0.0, f64::max);
        let (divisors, factor) = match form {
            CostForm::PowerOfNorm { norm: 2.0, exponent } => {
                // Halves, of which the difference is finite.
                let pairs = x.iter().zip(y);
                let reach = pairs.map(|(x, y)| (0.5 * x.to_f64() - 0.5 * y.to_f64()).abs()).fold(0.0, f64::max);
                let divisor = needed(reach);
                ([divisor; 2], divisor * exponent)
            }
            CostForm::Cosine => ([x, y].map(|point| needed(largest(point))), 0.0),
            _ => return None,
        };
        let scaled = |point: &[T], divisor: f64| -> Vec<T> {
            point.iter().map(|value| T::from_f64(times_power_of_two(value.to_f64(), -divisor))).collect()
        };
        (divisors != [0.0; 2]).then(|| Self { x: scaled(x, divisors[0]), y: scaled(y, divisors[1]), divisors, factor })
    }
}

impl ScaledPair<f64> {
    /// A direction of both points, divided as they are.
    pub(super) fn scaled_direction(&self, direction: &[f64]) -> Vec<f64> {
        let divisors = self.divisor_of_each(direction.len());
        direction.iter().zip(divisors).map(|(value, divisor)| times_power_of_two(*value, -divisor)).collect()
    }

    /// Turns derivatives of the scaled pair in each coordinate into those of the pair.
    pub(super) fn unscale(&self, derivatives: &mut [f64]) {
        let divisors = self.divisor_of_each(derivatives.len());
        for (derivative, divisor) in derivatives.iter_mut().zip(divisors) {
            *derivative = times_power_of_two(*derivative, self.factor - divisor);
        }
    }

    /// The divisor of each of 2d coordinates, those of x first.
    fn divisor_of_each(&self, len: usize) -> impl Iterator<Item = f64> + use<> {
        let [of_x, of_y] = self.divisors;
        (0..len).map(move |index| if index < len / 2 { of_x } else { of_y })
    }
}

/// The powers of distances whose squares are far from both ends of the range.
#[inline(always)]
fn safe_powers<T: Scalar>(exponent: f64) -> [T; 2] {
    let ends = [T::TINY / T::EPSILON, T::MAX / 16.0];
    ends.map(|end| T::from_f64(if exponent == 1.0 { end.sqrt() } else { end.powf(0.5 * exponent) }))
}

/// The lengths of single coordinates, some hundreds of thousands of which have squares far from both ends of the range.
#[inline(always)]
fn safe_lengths<T: Scalar>() -> [T; 2] {
    [(T::TINY / T::EPSILON).sqrt(), (T::MAX * T::EPSILON).sqrt()].map(T::from_f64)
}

#[cfg(test)]
mod tests {
    use crate::{
        cost::{Cosine, CostForm, Euclidean, GroundCost, PNorm, PowerOfDistance},
        error::Error,
        power_of_two::times_power_of_two,
        scalar::Scalar,
    };

    const X: [f64; 3] = [0.75, -0.5, 0.875];
    const Y: [f64; 9] = [0.25, 1.0, -0.625, 0.75, -0.5, 0.875, -1.5, 0.0, 0.5];

    fn row<T: Scalar>(cost: &dyn GroundCost, x: &[f64], y: &[f64]) -> Vec<f64> {
        let of = |values: &[f64]| -> Vec<T> { values.iter().map(|&value| T::from_f64(value)).collect() };
        let mut out = vec![T::default(); y.len() / x.len()];
        cost.costs(&of(x), &of(y), &mut out);
        out.into_iter().map(T::to_f64).collect()
    }

    fn scaled(values: &[f64], exponent: f64) -> Vec<f64> {
        values.iter().map(|&value| times_power_of_two(value, exponent)).collect()
    }

    /// A cost and its degree.
    type Power = (Box<dyn GroundCost>, f64);

    /// Costs and their degree.
    fn powers() -> Result<Vec<Power>, Error> {
        let power =
            |exponent: f64| -> Result<Power, Error> { Ok((Box::new(PowerOfDistance::new(exponent)?), exponent)) };
        Ok(vec![
            (Box::new(Euclidean), 1.0),
            (Box::new(PNorm::new(2.0)?), 1.0),
            (Box::new(PNorm::new(2.5)?), 1.0),
            power(0.5)?,
            power(0.7)?,
            power(1.5)?,
        ])
    }

    fn powers_scale_with_the_points<T: Scalar>(ends: std::ops::Range<i32>) -> Result<(), Error> {
        for (cost, degree) in powers()? {
            let once = row::<T>(cost.as_ref(), &X, &Y);
            for exponent in ends.clone().map(|step| f64::from(2 * step)) {
                let found = row::<T>(cost.as_ref(), &scaled(&X, exponent), &scaled(&Y, exponent));
                for (found, once) in found.into_iter().zip(&once) {
                    let expected = times_power_of_two(*once, degree * exponent);
                    // Powers by logarithms lose about |ln c| roundings.
                    let allowed = if degree == 0.7 { 1000.0 * T::EPSILON * expected } else { 0.0 };
                    let is_normal = expected == 0.0 || (T::TINY..=T::MAX).contains(&expected);
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
    fn powers_of_distances_scale_with_the_points() -> Result<(), Error> {
        powers_scale_with_the_points::<f32>(-60..62)?;
        powers_scale_with_the_points::<f64>(-500..511)
    }

    #[test]
    fn distances_at_the_ends_of_the_range() -> Result<(), Error> {
        assert_eq!(row::<f32>(&Euclidean, &[-1e19], &[1e19, -1e19]), [f64::from(2e19_f32), 0.0]);
        assert_eq!(row::<f32>(&Euclidean, &[0.0], &[1e-23, 1.0]), [f64::from(1e-23_f32), 1.0]);
        assert_eq!(row::<f64>(&Euclidean, &[-1e300, 0.0], &[2e300, 4e300]), [5e300]);
        let far = row::<f64>(&PowerOfDistance::new(0.5)?, &[-1.5e308], &[1.5e308])[0];
        assert!((far / (2.0_f64.sqrt() * 1.5e308_f64.sqrt()) - 1.0).abs() < 1e-15);
        Ok(())
    }

    #[test]
    fn cosines_know_no_length() {
        let expected = row::<f32>(&Cosine, &X, &Y);
        for of_x in [-140.0, -75.0, -66.0, 0.0, 63.0, 66.0, 120.0] {
            for of_y in [-145.0, -76.0, -64.0, 0.0, 62.0, 70.0, 120.0] {
                if f64::min(of_x, of_y) > -120.0 {
                    assert_eq!(row::<f32>(&Cosine, &scaled(&X, of_x), &scaled(&Y, of_y)), expected, "{of_x} {of_y}");
                }
            }
        }
        let found = row::<f32>(&Cosine, &[1e20, 0.0], &[0.0, 1e-24, 3e-24, 0.0, -1e30, 0.0, 0.0, 0.0]);
        assert_eq!(found, [1.0, 0.0, 2.0, 1.0]);
        let found = row::<f64>(&Cosine, &[1e200, 0.0], &[0.0, 1e-200, 3e-308, 0.0, 1e300, 0.0]);
        assert_eq!(found, [1.0, 0.0, 0.0]);
    }

    /// Gradient and second derivative along a direction.
    fn derivatives(cost: &dyn GroundCost, x: &[f64], y: &[f64], direction: &[f64]) -> [Vec<f64>; 2] {
        let mut out = [vec![0.0; 2 * x.len()], vec![0.0; 2 * x.len()]];
        assert!(cost.gradient(x, y, &mut out[0]) && cost.second_derivative(x, y, direction, &mut out[1]));
        out
    }

    #[test]
    fn derivatives_scale_with_the_points() -> Result<(), Error> {
        let (y, direction) = (&Y[..3], [0.5, -0.25, 1.0, 0.125, 0.75, -1.0]);
        let mut costs = powers()?;
        costs.push((Box::new(Cosine), 0.0));
        costs.retain(|(cost, _)| !matches!(cost.form(), CostForm::PowerOfNorm { norm: 2.5, .. }));
        for (cost, degree) in costs {
            let once = derivatives(cost.as_ref(), &X, y, &direction);
            for exponent in [-320.0, -200.0, 200.0, 320.0, 600.0] {
                let [x, y, along] = [&X, y, &direction[..]].map(|values| scaled(values, exponent));
                let found = derivatives(cost.as_ref(), &x, &y, &along);
                // The direction has grown with the points.
                for (found, once) in found.iter().flatten().zip(once.iter().flatten()) {
                    let expected = times_power_of_two(*once, (degree - 1.0) * exponent);
                    let close = (found - expected).abs() <= 1e-12 * expected.abs();
                    assert!(close, "{cost:?} {exponent}: {found:e} {expected:e}");
                }
            }
        }
        Ok(())
    }
}
