//! The cost of one axis, between the nodes of both sides.

use std::sync::Arc;

use super::super::{CostForm, GroundCost, check_bound};
use crate::{error::Error, host::try_zeros, measure::Axis, side::Side};

/// Two axes and the cost between their nodes.
#[derive(Debug)]
pub struct AxisPair {
    axes: [Axis; 2],
    cost: AxisCost,
    /// What the cost is between coordinates.
    along: Arc<dyn GroundCost>,
    least: f64,
    largest: f64,
}

/// How the cost of an axis is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum AxisCost {
    /// This factor times the square of a difference.
    Squares(f64),
    /// The distance.
    Distances,
    /// All entries, row after row of the source.
    Table(Vec<f64>),
}

impl AxisPair {
    /// Pairs two axes with a cost between coordinates; `strides` lead from a node of each grid to the next along the
    /// axis.
    ///
    /// # Errors
    /// [`Error::Cost`] for an entry that is none, [`Error::CostOverflow`] for one that is infinite.
    pub(super) fn new(axes: [Axis; 2], along: Arc<dyn GroundCost>, strides: [usize; 2]) -> Result<Self, Error> {
        let cost = along.as_ref();
        let [x, y] = axes.map(|axis| axis.coordinates().collect::<Vec<_>>());
        let known = match cost.form() {
            CostForm::SqEuclidean { scale } => Some(AxisCost::Squares(scale)),
            CostForm::PowerOfNorm { exponent: 1.0, .. } => Some(AxisCost::Distances),
            _ => None,
        };
        if let Some(cost) = known {
            let of_difference = |difference: f64| match cost {
                AxisCost::Squares(scale) => scale * difference * difference,
                _ => difference.abs(),
            };
            // The ends of a line, and the pair of nodes next to each other.
            let ends = [x[0] - y[y.len() - 1], x[x.len() - 1] - y[0]];
            let largest = ends.into_iter().map(of_difference).fold(0.0, f64::max);
            let nearest = |x: &f64| {
                let place = ((x - y[0]) / axes[1].spacing()).round().clamp(0.0, (y.len() - 1) as f64);
                of_difference(x - y[place as usize])
            };
            let least = x.iter().map(nearest).fold(f64::INFINITY, f64::min);
            return Ok(Self { axes, cost, along, least, largest });
        }
        let mut table = try_zeros::<f64>(x.len().saturating_mul(y.len()), "the costs of an axis")?;
        let (mut least, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
        for (i, (x, row)) in x.iter().zip(table.chunks_exact_mut(y.len())).enumerate() {
            cost.costs_f64(&[*x], &y, row);
            for (j, &entry) in row.iter().enumerate() {
                if entry.is_nan() || entry == f64::NEG_INFINITY {
                    let (source_index, target_index) = (i * strides[0], j * strides[1]);
                    return Err(Error::Cost { source_index, target_index, value: entry });
                }
                check_bound::<f64>(entry)?;
                (least, largest) = (least.min(entry), largest.max(entry));
            }
        }
        Ok(Self { axes, cost: AxisCost::Table(table), along, least, largest })
    }

    /// Both axes, the source's first.
    #[must_use]
    pub fn axes(&self) -> [Axis; 2] {
        self.axes
    }

    /// Number of nodes of a side.
    #[must_use]
    pub fn len(&self, side: Side) -> usize {
        side.of(self.axes).len()
    }

    /// A bound of the absolute value.
    #[must_use]
    pub fn bound(&self) -> f64 {
        self.least.abs().max(self.largest.abs())
    }

    /// The least cost, and the largest.
    #[must_use]
    pub fn range(&self) -> [f64; 2] {
        [self.least, self.largest]
    }

    /// Do any nodes differ?
    #[must_use]
    pub fn has_extent(&self) -> bool {
        let [x, y] = self.axes;
        x.len() > 1 || y.len() > 1 || x.origin() != y.origin()
    }

    /// How the cost is kept.
    #[must_use]
    pub fn cost(&self) -> &AxisCost {
        &self.cost
    }

    /// The cost between node `own` of a side and node `other` of the opposite one.
    #[must_use]
    pub fn between(&self, side: Side, own: usize, other: usize) -> f64 {
        let (i, j) = if side == Side::Source { (own, other) } else { (other, own) };
        match &self.cost {
            AxisCost::Squares(scale) => {
                let difference = self.axes[0].coordinate(i) - self.axes[1].coordinate(j);
                scale * difference * difference
            }
            AxisCost::Distances => (self.axes[0].coordinate(i) - self.axes[1].coordinate(j)).abs(),
            AxisCost::Table(table) => table[i * self.axes[1].len() + j],
        }
    }

    /// The coordinates of a pair, that of the source first.
    fn coordinates(&self, side: Side, own: usize, other: usize) -> [f64; 2] {
        let (i, j) = if side == Side::Source { (own, other) } else { (other, own) };
        [self.axes[0].coordinate(i), self.axes[1].coordinate(j)]
    }

    /// Does the cost know its slopes?
    #[must_use]
    pub fn has_slopes(&self) -> bool {
        let [x, y] = self.coordinates(Side::Source, 0, 0);
        self.along.gradient(&[x], &[y], &mut [0.0; 2])
    }

    /// The slopes of the cost in the coordinates of both sides; zero where they are not known.
    #[must_use]
    pub fn slopes(&self, side: Side, own: usize, other: usize) -> [f64; 2] {
        let ([x, y], mut slopes) = (self.coordinates(side, own, other), [0.0; 2]);
        self.along.gradient(&[x], &[y], &mut slopes);
        slopes
    }

    /// The slopes of the slope in the coordinate of a side; `None` where they are not known.
    #[must_use]
    pub fn bend(&self, side: Side, own: usize, other: usize, along: Side) -> Option<[f64; 2]> {
        // A distance has none, not even by rounding.
        if matches!(self.cost, AxisCost::Distances) {
            return Some([0.0; 2]);
        }
        let ([x, y], mut bend, mut direction) = (self.coordinates(side, own, other), [0.0; 2], [0.0; 2]);
        direction[along.index()] = 1.0;
        self.along.second_derivative(&[x], &[y], &direction, &mut bend).then_some(bend)
    }
}
