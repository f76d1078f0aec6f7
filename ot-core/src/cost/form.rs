//! What is known of a cost: the forms that backends and solvers treat specially.

use super::MatrixView;
use crate::measure::BoundingBox;

/// The form of a cost.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum CostForm<'a> {
    /// `scale` times sum_k (x_k - y_k)^2: scale 1 for the square, 1/2 for the half square.
    SqEuclidean {
        /// The factor, positive and finite.
        scale: f64,
    },
    /// (sum_k |x_k - y_k|^norm)^(exponent / norm), a power of a norm of the difference.
    PowerOfNorm {
        /// In [1, inf]: 1 Manhattan, 2 Euclid, infinity Chebyshev.
        norm: f64,
        /// Positive and finite: 1 for the norm itself.
        exponent: f64,
    },
    /// 1 - <x, y> / (|x| |y|), and 1 where a vector is zero.
    Cosine,
    /// An explicit matrix between index supports.
    Matrix(MatrixView<'a>),
    /// -epsilon log K of a kernel that only its geometry knows ([`ImpliedCost`](crate::ImpliedCost)).
    Implied,
    /// Anything else: ask for rows or for the program.
    Generic,
}

/// One plus what rounding may take from a bound or add to a cost: a power loses at most about |ln MAX|
/// = 709 units in the last place, a sum one per term.
fn rounding(dimension: usize) -> f64 {
    1.0 + (1024 + dimension) as f64 * f64::EPSILON
}

impl CostForm<'_> {
    /// An upper bound of |c| over pairs of points in two boxes, if the form gives one.
    ///
    /// It holds for the exact cost and for its evaluation in f64; one in f32 may exceed it by its own
    /// rounding. It is +inf where the largest cost overflows. `None` for matrices ([`CostMatrix`] keeps
    /// a bound of its own) and generic costs.
    ///
    /// [`CostMatrix`]: crate::CostMatrix
    #[must_use]
    pub fn bound(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        let bound = match *self {
            Self::SqEuclidean { scale } => {
                let squares = source.reach(target).map(|reach| reach * reach);
                scale.abs() * squares.sum::<f64>()
            }
            Self::PowerOfNorm { norm, exponent } => norm_of(|| source.reach(target), norm).powf(exponent),
            Self::Cosine => 2.0,
            Self::Matrix(_) | Self::Implied | Self::Generic => return None,
        };
        Some(bound * rounding(source.dimension()))
    }

    /// A lower bound of c over pairs of points in two boxes, if the form gives one; it holds as
    /// [`bound`](Self::bound) does.
    #[must_use]
    pub fn least(&self, source: &BoundingBox, target: &BoundingBox) -> Option<f64> {
        // A difference beyond the range is one that is not known.
        let apart = || source.apart(target).map(|apart| apart.min(f64::MAX));
        let least = match *self {
            Self::SqEuclidean { scale } => scale * apart().map(|apart| apart * apart).sum::<f64>(),
            Self::PowerOfNorm { norm, exponent } => norm_of(apart, norm).powf(exponent),
            Self::Cosine => return Some(least_cosine_distance(source, target)),
            Self::Matrix(_) | Self::Implied | Self::Generic => return None,
        };
        Some(least * (2.0 - rounding(source.dimension())))
    }
}

/// A lower bound of 1 - cos over pairs of vectors in two boxes: each box lies in a cone around its centre, and the angle of two
/// vectors is no less than that of the centres less the openings of both cones.
fn least_cosine_distance(source: &BoundingBox, target: &BoundingBox) -> f64 {
    let (Some((x, of_x)), Some((y, of_y))) = (cone(source), cone(target)) else { return -1e-12 };
    // 2 asin(|x - y| / 2) keeps its digits at small angles.
    let chord = x.iter().zip(&y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt();
    let angle = 2.0 * (0.5 * chord).min(1.0).asin() * (1.0 - 1e-12) - of_x - of_y;
    let sine = (0.5 * angle.max(0.0)).sin();
    2.0 * sine * sine - 1e-12
}

/// The direction of the centre of a box, and the largest angle of a vector within to it; `None` for a box that may hold the zero
/// vector, or none at all.
fn cone(around: &BoundingBox) -> Option<(Vec<f64>, f64)> {
    let sides = || around.low().iter().zip(around.high());
    let largest = sides().map(|(low, high)| low.abs().max(high.abs())).fold(0.0, f64::max);
    if !(largest > 0.0 && largest.is_finite()) {
        return None;
    }
    let centre: Vec<f64> = sides().map(|(low, high)| 0.5 * (low / largest) + 0.5 * (high / largest)).collect();
    let norm = |squares: f64| squares.sqrt();
    let length = norm(centre.iter().map(|x| x * x).sum());
    let radius = norm(sides().map(|(low, high)| 0.5 * (high / largest - low / largest)).map(|half| half * half).sum());
    let opening = radius / length * (1.0 + 1e-12) + 1e-15;
    (opening < 1.0).then(|| (centre.iter().map(|x| x / length).collect(), opening.asin() + 1e-15))
}

/// The p-norm of non-negative numbers, scaled by the largest so that no power overflows.
fn norm_of<I: Iterator<Item = f64>>(values: impl Fn() -> I, norm: f64) -> f64 {
    let largest = values().fold(0.0, f64::max);
    if norm == f64::INFINITY || largest == 0.0 || largest == f64::INFINITY {
        return largest;
    }
    let powers = values().map(|value| (value / largest).powf(norm));
    largest * powers.sum::<f64>().powf(1.0 / norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cost::{
            Chebyshev, Cosine, Euclidean, GroundCost, HalfSqEuclidean, Manhattan, PNorm, PowerOfDistance, SqEuclidean,
        },
        error::Error,
        measure::PointsView,
    };

    fn box_of(coordinates: &[f64], dimension: usize) -> Result<BoundingBox, Error> {
        PointsView::new(coordinates, dimension).map(BoundingBox::of)
    }

    #[test]
    fn bounds_are_attained_at_opposite_corners() -> Result<(), Error> {
        let costs: [&dyn GroundCost; 10] = [
            &SqEuclidean,
            &HalfSqEuclidean,
            &Euclidean,
            &PowerOfDistance::new(0.3)?,
            &PowerOfDistance::new(1.5)?,
            &PowerOfDistance::new(40.0)?,
            &PNorm::new(1.7)?,
            &PNorm::new(30.0)?,
            &Manhattan,
            &Chebyshev,
        ];
        // Many pairs, because rounding favours either side by chance.
        for pair in 1..200 {
            let coordinate = |axis: u32| (f64::from(7 * pair + axis) * 0.618_034).fract() * 5.0 - 2.0;
            let (x, y) = ([0, 1, 2].map(coordinate), [3, 4, 5].map(coordinate));
            let (source, target) = (box_of(&x, 3)?, box_of(&y, 3)?);
            for cost in costs {
                let mut value = [0.0];
                cost.costs_f64(&x, &y, &mut value);
                let bound = cost.bound(&source, &target).ok_or(Error::EmptyMeasure)?;
                assert!(value[0] <= bound, "{cost:?}: {value:?} above {bound}");
                assert!(bound <= value[0] * (1.0 + 1e-12), "{cost:?}: {bound} is loose");
            }
        }
        let (source, target) = (box_of(&[1.0, 2.0], 2)?, box_of(&[-3.0, 4.0], 2)?);
        assert!(Cosine.bound(&source, &target).is_some_and(|bound| bound >= 2.0));
        Ok(())
    }

    #[test]
    fn least_costs_are_attained_between_points_and_below_those_of_boxes() -> Result<(), Error> {
        let costs: [&dyn GroundCost; 8] = [
            &SqEuclidean,
            &HalfSqEuclidean,
            &Euclidean,
            &PowerOfDistance::new(0.3)?,
            &PNorm::new(1.7)?,
            &Manhattan,
            &Chebyshev,
            &Cosine,
        ];
        for pair in 1..100_u32 {
            let coordinate = |index: u32| (f64::from(13 * pair + index) * 0.618_034).fract() * 4.0 - 1.0;
            let cloud = |first: u32| (first..first + 6).map(coordinate).collect::<Vec<_>>();
            let (x, y) = (cloud(0), cloud(6));
            for cost in costs {
                let least = cost.least(&box_of(&x, 3)?, &box_of(&y, 3)?).ok_or(Error::EmptyMeasure)?;
                for x in x.chunks(3) {
                    let mut row = [0.0; 2];
                    cost.costs_f64(x, &y, &mut row);
                    assert!(row.iter().all(|cost| least <= *cost), "{cost:?}: {row:?} below {least}");
                    let of_pair = cost.least(&box_of(x, 3)?, &box_of(&y[..3], 3)?).ok_or(Error::EmptyMeasure)?;
                    let slack = 1e-11 * (1.0 + row[0]);
                    assert!(of_pair <= row[0] && row[0] <= of_pair + slack, "{cost:?}: {of_pair} {row:?}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn bounds_at_the_ends_of_the_range() -> Result<(), Error> {
        let (zero, far) = (box_of(&[0.0, 0.0], 2)?, box_of(&[1e200, 1e200], 2)?);
        let bound = |cost: &dyn GroundCost, to| cost.bound(&zero, to);
        assert_eq!(bound(&SqEuclidean, &far), Some(f64::INFINITY));
        assert!(bound(&Euclidean, &far).is_some_and(|bound| (bound / 1e200 - 2_f64.sqrt()).abs() < 1e-12));
        assert_eq!(bound(&PNorm::new(3.0)?, &zero), Some(0.0));
        assert_eq!(bound(&Chebyshev, &zero), Some(0.0));
        let (low, high) = (box_of(&[-1.7e308], 1)?, box_of(&[1.7e308], 1)?);
        let root = 2.0_f64.sqrt() * 1.7e308_f64.sqrt();
        assert!(PowerOfDistance::new(0.5)?.least(&low, &high).is_some_and(|least| least <= root));
        assert!(Cosine.least(&zero, &far).is_some_and(|least| least <= 0.0));
        Ok(())
    }
}
