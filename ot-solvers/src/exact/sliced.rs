//! Sliced transport: the mean over directions of transport between projections.
//!
//! ```text
//! SW_p(a, b)^p = mean over unit vectors u of  W_p(<u, .> a, <u, .> b)^p
//! ```
//!
//! (Rabin, Peyre, Delon, Bernot 2011; Bonneel, Rabin, Peyre, Pfister 2015). Each direction is a sort; nothing suffers from the
//! dimension but the number of directions that the mean takes.

mod directions;

use ot_core::{Error, HostBackend, Measure, PointsView, Scalar, cost::check_bound};

use self::directions::{GROUPS, draw};
use super::{
    line::{Atoms, ColumnWeights, Coupled, LineWeights, PowerSum, parallel_results, sort, sort_with_order},
    masses::check_single,
};
use crate::unit::{norm, power_of_two};

/// Directions projected on at a time.
const BLOCK: usize = 4;
/// Points projected at a time: what stays in the first cache.
const ROWS: usize = 1024;

/// Settings of sliced transport: the order p, and the directions.
///
/// Drawn directions are quasi-random: sets that cover the sphere evenly (equal angles in the plane, the spherical Fibonacci
/// lattice in space, orthonormal frames in higher dimensions), each turned by a uniform random rotation, so that every
/// direction is uniform and the mean has no bias. Eight such sets give the standard error.
///
/// ```
/// use ot_core::PointCloud;
/// use ot_cpu::CpuBackend;
/// use ot_solvers::exact::SlicedWasserstein;
///
/// let backend = CpuBackend::<f64>::new(2)?;
/// let a = PointCloud::uniform(vec![0.0, 0.0, 1.0, 0.0, 0.0, 1.0], 2)?;
/// let b = PointCloud::uniform(vec![3.0, 4.0, 4.0, 4.0, 3.0, 5.0], 2)?;
/// // A translation by (3, 4): W_2 = 5, of which projections see |<u, (3, 4)>|, in the mean of squares 25 / 2.
/// let sliced = SlicedWasserstein::new(2.0).directions(64).between(&backend, &a, &b)?;
/// assert!((sliced.power()? - 12.5).abs() < 1e-12);
/// assert!(sliced.standard_error()?.is_some_and(|error| error < 1e-12));
/// assert!(sliced.largest().0 <= 5.0);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SlicedWasserstein {
    exponent: f64,
    directions: Directions,
}

/// Where directions come from.
#[derive(Clone, Debug, PartialEq)]
enum Directions {
    Drawn { count: usize, seed: u64 },
    Given(Vec<f64>),
}

impl SlicedWasserstein {
    /// Order p, with 64 directions drawn from seed 0.
    #[must_use]
    pub fn new(p: f64) -> Self {
        Self { exponent: p, directions: Directions::Drawn { count: 64, seed: 0 } }
    }

    /// At least so many drawn directions: from eight on in eight sets of one size, with whole frames in them.
    #[must_use]
    pub fn directions(self, count: usize) -> Self {
        let seed = if let Directions::Drawn { seed, .. } = self.directions { seed } else { 0 };
        Self { directions: Directions::Drawn { count, seed }, ..self }
    }

    /// The seed of drawn directions.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        let count = if let Directions::Drawn { count, .. } = self.directions { count } else { 64 };
        Self { directions: Directions::Drawn { count, seed }, ..self }
    }

    /// Given directions, vector after vector, of any length but zero.
    #[must_use]
    pub fn along(self, directions: impl Into<Vec<f64>>) -> Self {
        Self { directions: Directions::Given(directions.into()), ..self }
    }

    /// Projects and sorts, in parallel over directions, in f64. The same bits for any number of threads.
    /// O(k (n d + n log n)) for k directions; memory for a copy of the clouds, and for the projections on four directions for
    /// each thread. Coordinates and powers are taken in units of their own, so that no p and no scale leaves the range.
    ///
    /// # Errors
    /// [`Error::Parameter`] for p that is below 1 or infinite, or without directions; [`Error::Length`] and
    /// [`Error::Coordinate`] for given directions that are none; [`Error::UnsupportedSupport`],
    /// [`Error::DimensionMismatch`], [`Error::BatchMismatch`] and [`Error::Length`] for batches, [`Error::MassMismatch`],
    /// [`Error::CostOverflow`] for a distance beyond the range, [`Error::OutOfMemory`].
    pub fn between<T: Scalar>(
        &self,
        backend: &dyn HostBackend<T>,
        source: &dyn Measure<T>,
        target: &dyn Measure<T>,
    ) -> Result<SlicedDistance, Error> {
        let p = self.check_order()?;
        check_single(source, target)?;
        let (mut a, mut b) = (Cloud::of(source)?, Cloud::of(target)?);
        if a.dimension != b.dimension {
            return Err(Error::DimensionMismatch { source_dimension: a.dimension, target_dimension: b.dimension });
        }
        let unit = power_of_two(a.largest().max(b.largest()));
        [&mut a, &mut b].into_iter().for_each(|cloud| cloud.axes.iter_mut().for_each(|axis| *axis /= unit));
        let scale = a.weights.scale_to(&b.weights)?;
        let (directions, groups) = self.unit_vectors(a.dimension)?;
        let blocks: Vec<&[f64]> = directions.chunks(BLOCK * a.dimension).collect();
        let sums = parallel_results(backend, blocks.len(), |task| {
            let (xs, ys) = (a.project(blocks[task]), b.project(blocks[task]));
            xs.into_iter().zip(ys).map(|(x, y)| power(&a, &b, x, y, scale, p)).collect::<Result<Vec<_>, Error>>()
        })?;
        let found = SlicedDistance::new(sums.into_iter().flatten().collect(), unit, directions, groups);
        check_bound::<f64>(found.largest().0)?;
        Ok(found)
    }

    /// p, if it is one.
    fn check_order(&self) -> Result<f64, Error> {
        match self.exponent {
            p if p >= 1.0 && p.is_finite() => Ok(p),
            value => {
                let expected = "a finite number >= 1";
                Err(Error::Parameter { name: "the order of a sliced distance", value, expected })
            }
        }
    }

    /// Unit vectors, and the number of equal groups of which each is a sample of its own.
    fn unit_vectors(&self, dimension: usize) -> Result<(Vec<f64>, usize), Error> {
        match &self.directions {
            Directions::Drawn { count: 0, .. } => {
                Err(Error::Parameter { name: "the number of directions", value: 0.0, expected: "at least one" })
            }
            &Directions::Drawn { count, seed } => Ok((draw(dimension, count, seed)?, count.min(GROUPS))),
            Directions::Given(given) => {
                let view = PointsView::new(given, dimension)?;
                view.validate()?;
                let mut vectors = given.clone();
                for (point, vector) in vectors.chunks_exact_mut(dimension).enumerate() {
                    let largest = vector.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
                    if largest == 0.0 {
                        return Err(Error::Coordinate { point, axis: 0, value: 0.0 });
                    }
                    vector.iter_mut().for_each(|x| *x /= largest);
                    let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
                    vector.iter_mut().for_each(|x| *x /= norm);
                }
                Ok((vectors, view.len()))
            }
        }
    }
}

/// What slices came to.
#[derive(Clone, Debug, PartialEq)]
pub struct SlicedDistance {
    /// The sum of each direction, in the units of `mean`.
    sums: Vec<f64>,
    /// The mean of the sums.
    mean: PowerSum,
    /// What distances are in units of, but for the unit of the sums.
    unit: f64,
    dimension: usize,
    directions: Vec<f64>,
    groups: usize,
}

impl SlicedDistance {
    /// The sums of all directions, in one unit: the largest of theirs, of those that are not zero.
    fn new(sums: Vec<PowerSum>, unit: f64, directions: Vec<f64>, groups: usize) -> Self {
        let largest = sums.iter().filter(|of| of.sum > 0.0).max_by(|a, b| a.distance_unit.total_cmp(&b.distance_unit));
        let common = *largest.unwrap_or(&sums[0]);
        let converted = |of: &PowerSum| of.sum * (of.distance_unit / common.distance_unit).powf(of.exponent);
        let dimension = directions.len() / sums.len();
        let sums: Vec<f64> = sums.iter().map(converted).collect();
        Self { mean: PowerSum { sum: mean(&sums), ..common }, sums, unit, dimension, directions, groups }
    }

    /// The mean of W_p^p over directions.
    ///
    /// # Errors
    /// [`Error::CostOverflow`]: where powers are beyond the range, the [distance](Self::distance) is known all the same.
    pub fn power(&self) -> Result<f64, Error> {
        self.power_of(self.mean.sum)
    }

    /// SW_p, the p-th root of the mean.
    #[must_use]
    pub fn distance(&self) -> f64 {
        self.root_of(self.mean.sum)
    }

    /// The standard error of [`power`](Self::power) over the draw of directions: the deviation between the means of
    /// independently drawn sets, over the root of their number. (Given directions count as independent, each a set.) `None`
    /// for a single set. That of the [`distance`](Self::distance) is, to first order, this times distance / (p power).
    ///
    /// # Errors
    /// [`Error::CostOverflow`].
    pub fn standard_error(&self) -> Result<Option<f64>, Error> {
        if self.groups < 2 {
            return Ok(None);
        }
        let means: Vec<f64> = self.sums.chunks(self.sums.len() / self.groups).map(mean).collect();
        let (centre, groups) = (mean(&means), self.groups as f64);
        let deviations: Vec<f64> = means.iter().map(|mean| mean - centre).collect();
        self.power_of(norm(&deviations) / (groups * (groups - 1.0)).sqrt()).map(Some)
    }

    /// W_p^p of each direction.
    ///
    /// # Errors
    /// [`Error::CostOverflow`].
    pub fn powers(&self) -> Result<Vec<f64>, Error> {
        self.sums.iter().map(|&sum| self.power_of(sum)).collect()
    }

    /// The unit vectors, one after the other.
    #[must_use]
    pub fn directions(&self) -> &[f64] {
        &self.directions
    }

    /// The largest W_p of a direction, and the direction: a lower bound of the max-sliced distance (Deshpande et al. 2019)
    /// and of W_p itself.
    #[must_use]
    pub fn largest(&self) -> (f64, &[f64]) {
        let best = (1..self.sums.len()).fold(0, |best, k| if self.sums[k] > self.sums[best] { k } else { best });
        (self.root_of(self.sums[best]), &self.directions[best * self.dimension..][..self.dimension])
    }

    /// A sum as a distance.
    fn root_of(&self, sum: f64) -> f64 {
        PowerSum { sum, ..self.mean }.root_in(self.unit)
    }

    /// A sum as a power of a distance.
    fn power_of(&self, sum: f64) -> Result<f64, Error> {
        PowerSum { sum, ..self.mean }.value_in(self.unit)
    }
}

/// The mean of numbers.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Points axis by axis, and their weights, in f64.
struct Cloud {
    axes: Vec<f64>,
    dimension: usize,
    len: usize,
    weights: ColumnWeights,
}

impl Cloud {
    fn of<T: Scalar>(measure: &dyn Measure<T>) -> Result<Self, Error> {
        let Some(points) = measure.support().points()? else {
            return Err(Error::UnsupportedSupport { what: "a projection", found: measure.support().kind() });
        };
        points.validate()?;
        let (dimension, len) = (points.dimension(), points.len());
        let mut axes = vec![0.0; dimension * len];
        for (i, point) in points.iter().enumerate() {
            for (axis, coordinate) in point.iter().enumerate() {
                axes[axis * len + i] = coordinate.to_f64();
            }
        }
        Ok(Self { axes, dimension, len, weights: ColumnWeights::of(measure, 0)? })
    }

    /// The largest size of a coordinate.
    fn largest(&self) -> f64 {
        self.axes.iter().fold(0.0, |largest, axis| axis.abs().max(largest))
    }

    /// The projections on some directions: a matrix product, by blocks of points.
    fn project(&self, directions: &[f64]) -> Vec<Vec<f64>> {
        let mut projections = vec![vec![0.0; self.len]; directions.len() / self.dimension];
        for start in (0..self.len).step_by(ROWS) {
            let rows = start..self.len.min(start + ROWS);
            for axis in 0..self.dimension {
                let coordinates = &self.axes[axis * self.len..][rows.clone()];
                for (projection, direction) in projections.iter_mut().zip(directions.chunks_exact(self.dimension)) {
                    let factor = direction[axis];
                    for (sum, coordinate) in projection[rows.clone()].iter_mut().zip(coordinates) {
                        *sum += factor * coordinate;
                    }
                }
            }
        }
        projections
    }

    /// Sorts a projection, and returns the weights in its order.
    fn arrange(&self, projection: &mut Vec<f64>) -> Vec<f64> {
        match self.weights.view() {
            LineWeights::Equal(_) => {
                sort(projection);
                Vec::new()
            }
            LineWeights::Each(weights) => {
                let (sorted, order) = sort_with_order(projection.iter().copied());
                *projection = sorted;
                order.into_iter().map(|index| weights[index as usize]).collect()
            }
        }
    }

    /// Sorted atoms, of what [`arrange`](Self::arrange) has left and returned.
    fn atoms<'a>(&self, positions: &'a [f64], weights: &'a [f64]) -> Atoms<'a> {
        let weights = match self.weights.view() {
            LineWeights::Equal(weight) => LineWeights::Equal(weight),
            LineWeights::Each(_) => LineWeights::Each(weights),
        };
        Atoms { positions, weights }
    }
}

/// W_p^p between the projections of two clouds on one direction.
fn power(a: &Cloud, b: &Cloud, mut x: Vec<f64>, mut y: Vec<f64>, scale: f64, p: f64) -> Result<PowerSum, Error> {
    let (x_weights, y_weights) = (a.arrange(&mut x), b.arrange(&mut y));
    sorted_power([a, b], [(&x, &x_weights), (&y, &y_weights)], scale, p)
}

/// [`power`] of sorted projections, with what [`Cloud::arrange`] has left and returned.
fn sorted_power(
    [a, b]: [&Cloud; 2],
    [(x, x_weights), (y, y_weights)]: [(&[f64], &[f64]); 2],
    scale: f64,
    p: f64,
) -> Result<PowerSum, Error> {
    let coupled = Coupled {
        source: a.atoms(x, x_weights),
        target: b.atoms(y, y_weights),
        scale,
        mass: a.weights.mass(),
        level_rounding: a.weights.level_rounding(&b.weights),
    };
    PowerSum::along(&coupled, p)
}

/// Positions along a direction, sorted, and the weights in their order, where they differ.
type Arranged = (Vec<f64>, Vec<f64>);

/// A cloud along slices: projected and sorted once, for any number of partners.
pub(crate) struct Slices {
    cloud: Cloud,
    /// Along each direction.
    sorted: Vec<Arranged>,
    directions: Vec<f64>,
    groups: usize,
    unit: f64,
}

impl Slices {
    /// The projections of a measure of one histogram, in a unit of coordinates that all partners share.
    ///
    /// # Errors
    /// Those of [`SlicedWasserstein::between`] that concern one measure.
    pub(crate) fn new<T: Scalar>(
        settings: &SlicedWasserstein,
        measure: &dyn Measure<T>,
        unit: f64,
    ) -> Result<Self, Error> {
        settings.check_order()?;
        let mut cloud = Cloud::of(measure)?;
        cloud.axes.iter_mut().for_each(|axis| *axis /= unit);
        let (directions, groups) = settings.unit_vectors(cloud.dimension)?;
        let arranged = |mut projection: Vec<f64>| {
            let weights = cloud.arrange(&mut projection);
            (projection, weights)
        };
        let sorted = cloud.project(&directions).into_iter().map(arranged).collect();
        Ok(Self { cloud, sorted, directions, groups, unit })
    }

    /// What [`SlicedWasserstein::between`] finds between the two measures.
    ///
    /// # Errors
    /// Those of [`SlicedWasserstein::between`] that concern two measures.
    pub(crate) fn distance_to(&self, other: &Self, settings: &SlicedWasserstein) -> Result<SlicedDistance, Error> {
        let (a, b) = (&self.cloud, &other.cloud);
        if a.dimension != b.dimension {
            return Err(Error::DimensionMismatch { source_dimension: a.dimension, target_dimension: b.dimension });
        }
        let scale = a.weights.scale_to(&b.weights)?;
        let along = |((x, x_weights), (y, y_weights)): (&Arranged, &Arranged)| {
            sorted_power([a, b], [(x, x_weights), (y, y_weights)], scale, settings.exponent)
        };
        let sums = self.sorted.iter().zip(&other.sorted).map(along).collect::<Result<Vec<_>, Error>>()?;
        let found = SlicedDistance::new(sums, self.unit, self.directions.clone(), self.groups);
        check_bound::<f64>(found.largest().0)?;
        Ok(found)
    }
}
