//! Two point clouds and the cost between their points.

use std::{ops::Range, sync::Arc};

use ot_core::{
    CloudPair, CostForm, Error, Host, PointsView, Side, cost::GroundCost, host::try_zeros,
    power_of_two::times_power_of_two,
};

use super::{
    CpuScalar,
    instead::{Instead, unit_of},
};
use crate::{
    backend::CpuBackend,
    simd::{GibbsTerms, PointCost, PointPairs},
};

/// The points of both sides, the cost if it can be kept, and its vector loop if it has one.
#[derive(Debug)]
pub(super) struct Clouds<T> {
    pub(super) source: Cloud<T>,
    pub(super) target: Cloud<T>,
    pub(super) dimension: usize,
    pub(super) cost: Option<Arc<dyn GroundCost>>,
    formula: Option<PointCost>,
    /// Are both sides the same points?
    is_one: bool,
}

/// Points in two layouts.
#[derive(Debug)]
pub(super) struct Cloud<T> {
    len: usize,
    /// Point after point.
    points: Box<[T]>,
    /// Coordinate after coordinate, [`stride`](Self::stride) numbers for each.
    axes: Box<[T]>,
    /// What the loop of the cost reads instead.
    instead: Option<Instead<T>>,
}

impl<T: CpuScalar> Clouds<T> {
    /// Copies the points. Coordinates stay where they are: costs of differences are exact in any frame, and
    /// centring would round.
    pub(super) fn new(
        source: PointsView<'_, T>,
        target: PointsView<'_, T>,
        form: CostForm<'_>,
        cost: Option<Arc<dyn GroundCost>>,
    ) -> Result<Self, Error> {
        let unit = unit_of(form, source, target);
        let formula = match (form, unit) {
            (CostForm::PowerOfNorm { exponent, .. }, Some(unit)) => {
                Some(PointCost::PowerInUnits { exponent, factor: times_power_of_two(1.0, exponent * unit) })
            }
            _ => PointCost::of(form),
        };
        let cloud = |view| Cloud::new(view, Instead::of(view, form, unit)?);
        let is_one = source.coordinates() == target.coordinates();
        Ok(Self {
            source: cloud(source)?,
            target: cloud(target)?,
            dimension: source.dimension(),
            cost,
            formula,
            is_one,
        })
    }

    /// Is the cost of a pair that of the pair turned round?
    pub(super) fn is_symmetric(&self) -> bool {
        self.is_one && self.formula.is_some()
    }

    /// The factor of a squared distance, if that is what the cost is.
    pub(super) fn scale_of_squares(&self) -> Option<f64> {
        match self.formula {
            Some(PointCost::Square { scale }) if self.source.instead.is_none() => Some(scale),
            _ => None,
        }
    }

    /// What coarser problems are posed by, if the cost is kept.
    pub(super) fn pair<'a>(&'a self, builder: &'a CpuBackend<T>) -> Option<CloudPair<'a, Host<T>>> {
        let points = |side: Side| PointsView::new(&self.side(side).points, self.dimension).ok();
        let cost = self.cost.as_deref()?;
        Some(CloudPair { builder, source: points(Side::Source)?, target: points(Side::Target)?, cost })
    }

    /// The points of a side.
    pub(super) fn side(&self, side: Side) -> &Cloud<T> {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    /// Costs between some points of `side` and some of the other, `out[r * width + c]`, by the vector loop of the
    /// cost. Returns false, leaving `out` as it is, if it has none.
    pub(super) fn costs(
        &self,
        side: Side,
        points: Range<usize>,
        others: Range<usize>,
        width: usize,
        out: &mut [T],
    ) -> bool {
        let Some(formula) = self.formula else { return false };
        let pairs = self.pairs(side, points.clone(), others.start);
        T::point_costs(formula, pairs, others.len(), width, out);
        for (row, column) in self.undirected(side, points, others) {
            out[row * width + column] = T::from_f64(1.0);
        }
        true
    }

    /// A tile of entries and their sums as [`entries`](super::rows::CostRows::entries) gives them, with the others
    /// from `start` on, by the vector loop of the cost. Returns false, leaving everything as it is, if it has none.
    #[expect(clippy::too_many_arguments, reason = "a tile, and what makes entries of it")]
    pub(super) fn entries(
        &self,
        side: Side,
        points: Range<usize>,
        start: usize,
        terms: GibbsTerms<'_, T>,
        width: usize,
        out: &mut [T],
        sums: &mut [f64],
    ) -> bool {
        let is_exceptional = !(self.source.undirected().is_empty() && self.target.undirected().is_empty());
        let Some(formula) = self.formula.filter(|_| !is_exceptional) else { return false };
        T::point_entries(formula, self.pairs(side, points, start), terms, width, out, sums);
        true
    }

    /// sum_ij u_i v_j c(x_i, y_j), in f64 and without a look at pairs, if the cost is a squared distance:
    ///
    /// ```text
    /// scale (V sum_i u_i |x_i - m|^2 + U sum_j v_j |y_j - m|^2 - 2 <sum_i u_i (x_i - m), sum_j v_j (y_j - m)>)
    /// ```
    ///
    /// with the masses U and V, and m the mean of the y under v, which leaves nothing to cancel.
    pub(super) fn rank_one_cost(&self, u: &[T], v: &[T]) -> Option<f64> {
        let scale = self.scale_of_squares()?;
        let zero = vec![0.0; self.dimension];
        let about_zero = Moments::of(&self.target, v, &zero);
        if about_zero.mass == 0.0 {
            return Some(0.0);
        }
        let mean: Vec<f64> = about_zero.first.iter().map(|first| first / about_zero.mass).collect();
        let (x, y) = (Moments::of(&self.source, u, &mean), Moments::of(&self.target, v, &mean));
        let cross: f64 = x.first.iter().zip(&y.first).map(|(x, y)| x * y).sum();
        Some(scale * (y.mass * x.second + x.mass * y.second - 2.0 * cross))
    }

    /// Some points of `side`, and those of the other from `start` on, as the vector loop reads them.
    fn pairs(&self, side: Side, points: Range<usize>, start: usize) -> PointPairs<'_, T> {
        let (own, other) = (self.side(side), self.side(side.opposite()));
        let coordinates = own.instead.as_ref().map_or(&own.points, |instead| &instead.points);
        let axes = other.instead.as_ref().map_or(&other.axes, |instead| &instead.axes);
        PointPairs {
            points: &coordinates[points.start * self.dimension..points.end * self.dimension],
            dimension: self.dimension,
            axes: &axes[start..],
            stride: other.stride(),
        }
    }

    /// The pairs of a tile, row and column, one point of which has no direction.
    fn undirected(
        &self,
        side: Side,
        points: Range<usize>,
        others: Range<usize>,
    ) -> impl Iterator<Item = (usize, usize)> {
        let (rows, columns) = (points.len(), others.len());
        let of_rows = within(self.side(side).undirected(), points);
        let of_columns = within(self.side(side.opposite()).undirected(), others);
        let in_rows = of_rows.flat_map(move |row| (0..columns).map(move |column| (row, column)));
        in_rows.chain(of_columns.flat_map(move |column| (0..rows).map(move |row| (row, column))))
    }
}

/// Sums of 1, x - m and |x - m|^2 over weighted points.
struct Moments {
    mass: f64,
    first: Vec<f64>,
    second: f64,
}

impl Moments {
    fn of<T: CpuScalar>(cloud: &Cloud<T>, weights: &[T], about: &[f64]) -> Self {
        let mut moments = Self { mass: 0.0, first: vec![0.0; about.len()], second: 0.0 };
        for (point, weight) in cloud.points.chunks_exact(about.len()).zip(weights) {
            let (weight, mut square) = (weight.to_f64(), 0.0);
            for ((x, about), first) in point.iter().zip(about).zip(&mut moments.first) {
                let difference = x.to_f64() - about;
                *first += weight * difference;
                square += difference * difference;
            }
            moments.mass += weight;
            moments.second += weight * square;
        }
        moments
    }
}

impl<T: CpuScalar> Cloud<T> {
    fn new(view: PointsView<'_, T>, instead: Option<Instead<T>>) -> Result<Self, Error> {
        let mut points = try_zeros(view.coordinates().len(), "points")?;
        points.copy_from_slice(view.coordinates());
        let axes = axes_of(&points, view.dimension())?;
        Ok(Self { len: view.len(), points: points.into(), axes, instead })
    }

    /// One coordinate of some points.
    pub(super) fn axis(&self, axis: usize, points: Range<usize>) -> &[T] {
        &self.axes[axis * self.stride()..][points]
    }

    /// Number of points.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Coordinates of points, point after point.
    pub(super) fn points(&self, range: Range<usize>) -> &[T] {
        let dimension = self.points.len() / self.len;
        &self.points[range.start * dimension..range.end * dimension]
    }

    /// From one coordinate of a point to the next in the other layout: an odd number of cache lines, so that the
    /// coordinates of a point do not compete for the same few places in a cache.
    pub(super) fn stride(&self) -> usize {
        stride_of::<T>(self.len)
    }

    /// The points that a cosine finds without a direction.
    fn undirected(&self) -> &[usize] {
        self.instead.as_ref().map_or(&[], |instead| &instead.undirected)
    }
}

/// Coordinates of points, coordinate after coordinate.
pub(super) fn axes_of<T: CpuScalar>(points: &[T], dimension: usize) -> Result<Box<[T]>, Error> {
    let stride = stride_of::<T>(points.len() / dimension);
    let mut axes = try_zeros(stride * dimension, "points")?;
    for (index, point) in points.chunks_exact(dimension).enumerate() {
        for (axis, &coordinate) in point.iter().enumerate() {
            axes[axis * stride + index] = coordinate;
        }
    }
    Ok(axes.into())
}

/// The [`stride`](Cloud::stride) of so many points.
fn stride_of<T>(len: usize) -> usize {
    const LINE: usize = 64;
    let of_line = LINE / size_of::<T>();
    (len.div_ceil(of_line) | 1) * of_line
}

/// Which numbers of an ordered list are in a range, counted from its start.
fn within(numbers: &[usize], range: Range<usize>) -> impl Iterator<Item = usize> {
    let below = |end: usize| numbers.partition_point(|&number| number < end);
    numbers[below(range.start)..below(range.end)].iter().map(move |number| number - range.start)
}

#[cfg(test)]
mod tests {
    use ot_core::{Cosine, GroundCost, PNorm};

    use super::*;

    /// Vectors at many angles, 1e-9 and pi among them, of lengths far apart; every fifth is zero.
    fn vectors(len: usize, dimension: usize) -> Vec<f64> {
        let of_vector = |i: usize| {
            let (angle, length) = (1e-9 * (i % 3) as f64 + (i % 7) as f64, 10_f64.powi(i as i32 % 9 - 4));
            (0..dimension).map(move |axis| if i % 5 == 4 { 0.0 } else { length * (angle + axis as f64).cos() })
        };
        (0..len).flat_map(of_vector).collect()
    }

    #[test]
    fn tiles_of_either_side_are_those_of_the_formula() -> Result<(), Error> {
        let third = PNorm::new(3.0)?;
        for (cost, dimension) in [(&Cosine as &dyn GroundCost, 2), (&Cosine, 5), (&third, 3)] {
            let (x, y) = (vectors(11, dimension), vectors(40, dimension));
            let (source, target) = (PointsView::new(&x, dimension)?, PointsView::new(&y, dimension)?);
            let clouds = Clouds::new(source, target, cost.form(), None)?;
            for (side, rows, columns) in [(Side::Source, 3..10, 2..39), (Side::Target, 31..38, 1..11)] {
                let (own, other) = if side == Side::Source { (source, target) } else { (target, source) };
                let mut found = vec![0.0; rows.len() * 50];
                assert!(clouds.costs(side, rows.clone(), columns.clone(), 50, &mut found));
                for (i, found) in rows.zip(found.chunks(50)) {
                    for (j, found) in columns.clone().zip(found) {
                        let mut expected = [0.0];
                        cost.costs_f64(own.point(i), other.point(j), &mut expected);
                        // Directions are rounded to half a gap each: 2e-16 of a difference as small as 1e-9.
                        let tolerance = 4e-15 * expected[0] + 1e-15 * expected[0].sqrt();
                        let error = (found - expected[0]).abs();
                        assert!(error <= tolerance, "{cost:?} {side:?} {i} {j}: {found} for {expected:?}");
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn rank_one_costs_of_squares_are_sums_over_pairs() -> Result<(), Error> {
        // Far from the origin, where expanded squares would cancel; and two clouds that nearly coincide.
        for (shift, apart) in [(0.0, 1.0), (1e6, 1.0), (1e6, 1e-3)] {
            let x: Vec<f64> = (0..21).map(|i| shift + (f64::from(i) * 1.7).sin()).collect();
            let y: Vec<f64> = (0..30).map(|i| shift + apart + (f64::from(i) * 0.7).cos() * apart).collect();
            let (u, v): (Vec<f64>, Vec<f64>) = ((0..7).map(f64::from).collect(), (0..10).map(f64::from).collect());
            let form = CostForm::SqEuclidean { scale: 0.5 };
            let clouds = Clouds::new(PointsView::new(&x, 3)?, PointsView::new(&y, 3)?, form, None)?;
            let mut expected = 0.0;
            for (x, u) in x.chunks(3).zip(&u) {
                for (y, v) in y.chunks(3).zip(&v) {
                    expected += 0.5 * u * v * x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
                }
            }
            let found = clouds.rank_one_cost(&u, &v);
            assert!(found.is_some_and(|found| (found / expected - 1.0).abs() < 1e-13), "{found:?} {expected}");
            assert_eq!(clouds.rank_one_cost(&u, &[0.0; 10]), Some(0.0));
        }
        let cosine =
            Clouds::<f64>::new(PointsView::new(&[1.0], 1)?, PointsView::new(&[1.0], 1)?, CostForm::Cosine, None)?;
        assert_eq!(cosine.rank_one_cost(&[1.0], &[1.0]), None);
        Ok(())
    }

    #[test]
    fn a_cloud_with_a_vector_of_no_direction_has_no_entries_of_its_own() -> Result<(), Error> {
        let terms = GibbsTerms { f: &[0.0], g: &[0.0; 4], weights: &[1.0; 4], epsilon: 1.0 };
        for (len, has_entries) in [(4, true), (5, false)] {
            let x = vectors(len, 3);
            let view = PointsView::new(&x, 3)?;
            let clouds = Clouds::new(view, view, CostForm::Cosine, None)?;
            let (mut out, mut sums) = ([0.0; 4], [0.0]);
            assert_eq!(clouds.entries(Side::Source, 0..1, 0, terms, 4, &mut out, &mut sums), has_entries);
            assert_eq!(out[0] == 1.0, has_entries);
        }
        Ok(())
    }
}
