//! A cost between two grids that is a sum over the axes, kept axis by axis: what kernels on grids are made of.

mod axis;
mod moments;

use std::sync::Arc;

pub use self::axis::{AxisCost, AxisPair};
use super::{CostForm, GroundCost, Periodic, check_bound};
use crate::{error::Error, measure::Grid, scalar::Scalar, side::Side};

/// C(x, y) = sum_k C_k(x_k, y_k) between the nodes of two grids, as the cost C_k of each pair of axes: memory
/// O(sum_k n_k m_k), and next to nothing for squares and distances.
///
/// ```
/// use ot_core::{Grid, Side, SqEuclidean, cost::GridCosts};
///
/// let (source, target) = (Grid::<f64>::pixels(&[2, 3])?, Grid::pixels(&[4, 5])?);
/// let costs = GridCosts::new(&source, &target, &SqEuclidean)?;
/// assert_eq!((costs.len(Side::Source), costs.len(Side::Target)), (6, 20));
/// // From row 1 to row 3, and from column 2 to column 0.
/// let [rows, columns] = costs.axes() else { unreachable!() };
/// assert_eq!(rows.between(Side::Source, 1, 3) + columns.between(Side::Source, 2, 0), 8.0);
/// assert_eq!(costs.bound(), 9.0 + 16.0);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct GridCosts {
    axes: Vec<AxisPair>,
}

impl GridCosts {
    /// The costs between the nodes of two grids. An axis with a period has the cost of the shorter way around.
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`] and [`Error::PeriodMismatch`] for grids of different spaces;
    /// [`Error::MissingCapability`] for a cost that is no sum over the axes, that may forbid pairs, or that has no periodic
    /// form; [`Error::Cost`] and [`Error::CostOverflow`] for costs that are none or too large; [`Error::CostUnderflow`];
    /// [`Error::OutOfMemory`].
    pub fn new<T: Scalar>(source: &Grid<T>, target: &Grid<T>, cost: &dyn GroundCost) -> Result<Self, Error> {
        let (source_dimension, target_dimension) = (source.dimension(), target.dimension());
        if source_dimension != target_dimension {
            return Err(Error::DimensionMismatch { source_dimension, target_dimension });
        }
        if cost.may_forbid() {
            return Err(Error::MissingCapability("kernel of forbidden pairs on a grid"));
        }
        let strides = [source, target].map(|grid| strides(grid.axes().iter().map(|axis| axis.len())));
        let mut axes = Vec::with_capacity(source_dimension);
        for (k, (x, y)) in source.axes().iter().zip(target.axes()).enumerate() {
            if x.period() != y.period() {
                let (source_period, target_period) = (x.period(), y.period());
                return Err(Error::PeriodMismatch { axis: k, source_period, target_period });
            }
            let along = cost.axis_cost(k).ok_or(Error::MissingCapability("kernel on a grid: no sum over the axes"))?;
            let along = match x.period() {
                Some(period) => Arc::new(Periodic::new(along, vec![Some(period)])?),
                None => along,
            };
            axes.push(AxisPair::new([*x, *y], along, strides.each_ref().map(|strides| strides[k]))?);
        }
        let costs = Self { axes };
        let bound = costs.bound();
        check_bound::<T>(bound)?;
        let is_square = matches!(cost.form(), CostForm::SqEuclidean { .. });
        if is_square && bound < T::TINY && costs.axes.iter().any(AxisPair::has_extent) {
            return Err(Error::CostUnderflow { bound, element: T::NAME, limit: T::TINY });
        }
        Ok(costs)
    }

    /// The cost of each axis, the slowest first.
    #[must_use]
    pub fn axes(&self) -> &[AxisPair] {
        &self.axes
    }

    /// Number of nodes of a side.
    #[must_use]
    pub fn len(&self, side: Side) -> usize {
        self.axes.iter().map(|axis| axis.len(side)).product()
    }

    /// From a node of a side to the next along each axis.
    #[must_use]
    pub fn strides(&self, side: Side) -> Vec<usize> {
        strides(self.axes.iter().map(|axis| axis.len(side)))
    }

    /// A bound of the absolute value of C.
    #[must_use]
    pub fn bound(&self) -> f64 {
        self.axes.iter().map(AxisPair::bound).sum()
    }
}

/// From a node to the next along axes of these lengths.
fn strides(lengths: impl Iterator<Item = usize> + Clone) -> Vec<usize> {
    let mut stride: usize = lengths.clone().product();
    lengths
        .map(|len| {
            stride /= len;
            stride
        })
        .collect()
}
