//! Measures on the line, by their quantiles.

use std::sync::Arc;

use ot_core::{Error, Measure, Scalar, cost::check_bound};

use super::{
    coupled::{Atoms, Coupled},
    power_sum::PowerSum,
    sort::sort_with_order,
    staircase::staircase,
    weights::ColumnWeights,
};
use crate::exact::sum::CompensatedSum;

/// The quantile function of a measure on the line:
///
/// ```text
/// F^-1(level) = min { x : the mass of (-inf, x] is at least level times the whole }
/// ```
///
/// held as sorted atoms in f64. Between measures of one mass, the Wasserstein distance is the L^p distance of quantile
/// functions (Vallender 1974): [`wasserstein`](Self::wasserstein). Sorting costs O(n log n), everything after it O(n + m).
///
/// ```
/// use ot_core::PointCloud;
/// use ot_solvers::exact::QuantileFunction;
///
/// let a = QuantileFunction::of(&PointCloud::new(vec![3.0, 0.0, 1.0], 1, vec![0.25, 0.5, 0.25])?, 0)?;
/// assert_eq!(a.quantiles(&[0.0, 0.5, 0.6, 1.0]), [0.0, 0.0, 1.0, 3.0]);
///
/// let b = QuantileFunction::of(&PointCloud::uniform(vec![1.0, 2.0], 1)?, 0)?;
/// // Half of the mass goes from 0 to 1, a quarter from 1 to 2, a quarter from 3 to 2.
/// assert_eq!(a.wasserstein(&b, 1.0)?, 1.0);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct QuantileFunction {
    sorted: Arc<Sorted>,
    /// In the order of the positions.
    weights: ColumnWeights,
}

/// Numbers in increasing order, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sorted {
    positions: Vec<f64>,
    order: Vec<u32>,
}

impl Sorted {
    /// One coordinate of the points of a measure.
    pub(super) fn axis<T: Scalar>(measure: &dyn Measure<T>, axis: usize) -> Result<Arc<Self>, Error> {
        let Some(points) = measure.support().points()? else {
            return Err(Error::UnsupportedSupport { what: "a quantile function", found: measure.support().kind() });
        };
        points.validate()?;
        if u32::try_from(points.len()).is_err() {
            return Err(Error::Length { what: "atoms on the line", expected: u32::MAX as usize, found: points.len() });
        }
        let coordinates = points.coordinates().iter().skip(axis).step_by(points.dimension());
        let (positions, order) = sort_with_order(coordinates.map(|coordinate| coordinate.to_f64()));
        Ok(Arc::new(Self { positions, order }))
    }
}

impl QuantileFunction {
    /// The quantile function of one column of a measure on points of one coordinate.
    ///
    /// # Errors
    /// [`Error::UnsupportedSupport`] for a measure without points, [`Error::Length`] for points of several coordinates
    /// and for a column that is not there; [`Error::Coordinate`], [`Error::Weight`] and [`Error::Mass`] for numbers that
    /// are none.
    pub fn of<T: Scalar>(measure: &dyn Measure<T>, column: usize) -> Result<Self, Error> {
        if let Some(points) = measure.support().points()?
            && points.dimension() != 1
        {
            let what = "coordinates of a point on the line";
            return Err(Error::Length { what, expected: 1, found: points.dimension() });
        }
        Self::from_sorted(Sorted::axis(measure, 0)?, measure, column)
    }

    /// One column of weights on sorted points.
    pub(super) fn from_sorted<T: Scalar>(
        sorted: Arc<Sorted>,
        measure: &dyn Measure<T>,
        column: usize,
    ) -> Result<Self, Error> {
        let weights = ColumnWeights::of(measure, column)?.reordered(&sorted.order);
        Ok(Self { sorted, weights })
    }

    /// The atoms, in increasing order.
    #[must_use]
    pub fn positions(&self) -> &[f64] {
        &self.sorted.positions
    }

    /// The weights of the [`positions`](Self::positions).
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights.values
    }

    /// The index that each of the [`positions`](Self::positions) has in the measure.
    #[must_use]
    pub fn order(&self) -> &[u32] {
        &self.sorted.order
    }

    /// The total mass.
    #[must_use]
    pub fn mass(&self) -> f64 {
        self.weights.mass()
    }

    /// F^-1 at `levels` in [0, 1]; other levels, NaN among them, are brought there. An atom without mass is no quantile, and
    /// a level that the cumulative mass of an atom reaches but for the rounding of its sum is reached. Costs O(n + k log n).
    #[must_use]
    pub fn quantiles(&self, levels: &[f64]) -> Vec<f64> {
        let mut mass = CompensatedSum::default();
        let heavy = self.positions().iter().zip(self.weights()).filter(|(_, weight)| **weight > 0.0);
        let (positions, cumulative): (Vec<f64>, Vec<f64>) = heavy
            .map(|(&position, &weight)| {
                mass.add(weight);
                (position, mass.value())
            })
            .unzip();
        let rounding = self.level_rounding(self);
        let quantile = |&level: &f64| {
            let level = level.max(0.0) * mass.value() - rounding;
            positions[cumulative.partition_point(|&below| below < level).min(positions.len() - 1)]
        };
        levels.iter().map(quantile).collect()
    }

    /// The Wasserstein distance of order p in [1, inf],
    ///
    /// ```text
    /// W_p = (mass times int_0^1 |F^-1 - G^-1|^p)^(1/p)        W_inf = sup |F^-1 - G^-1|
    /// ```
    ///
    /// Powers are taken in a unit of the distances, so that those of no p leave the range. Cumulative masses that agree
    /// within the rounding of their sums are one level: laws that differ by that are the same.
    ///
    /// # Errors
    /// [`Error::Parameter`] for p below 1, [`Error::MassMismatch`] for masses that differ by more than rounding,
    /// [`Error::CostOverflow`] for a distance beyond the range.
    pub fn wasserstein(&self, other: &Self, p: f64) -> Result<f64, Error> {
        if p.is_nan() || p < 1.0 {
            return Err(Error::Parameter { name: "the order of a Wasserstein distance", value: p, expected: "p >= 1" });
        }
        let coupled = self.coupled(other)?;
        let distance =
            if p == f64::INFINITY { coupled.largest_distance() } else { PowerSum::along(&coupled, p)?.root() };
        check_bound::<f64>(distance)?;
        Ok(distance)
    }

    /// The monotone coupling of sorted atoms, the weights of the other distribution taken `scale` times.
    pub(super) fn staircase(&self, other: &Self, scale: f64, visit: impl FnMut(usize, usize, f64)) {
        staircase(self.weights(), other.weights(), scale, self.level_rounding(other), visit);
    }

    /// Both distributions.
    ///
    /// # Errors
    /// [`Error::MassMismatch`].
    pub(super) fn coupled<'a>(&'a self, other: &'a Self) -> Result<Coupled<'a>, Error> {
        let atoms = |of: &'a Self| Atoms { positions: of.positions(), weights: of.weights.view() };
        Ok(Coupled {
            source: atoms(self),
            target: atoms(other),
            scale: self.scale_to(other)?,
            mass: self.mass(),
            level_rounding: self.level_rounding(other),
        })
    }

    /// The factor that gives `other` the mass of this.
    ///
    /// # Errors
    /// [`Error::MassMismatch`].
    pub(in crate::exact) fn scale_to(&self, other: &Self) -> Result<f64, Error> {
        self.weights.scale_to(&other.weights)
    }

    /// The difference up to which cumulative masses of this and the other are one level.
    pub(in crate::exact) fn level_rounding(&self, other: &Self) -> f64 {
        self.weights.level_rounding(&other.weights)
    }
}
