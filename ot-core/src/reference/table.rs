//! The stored cost matrix, with what its derivatives need.

use std::{fmt, sync::Arc};

use crate::{
    cost::{Blur, CostBetween, CostSummary, GroundCost},
    error::Error,
    measure::Support,
    scalar::Scalar,
    side::Side,
};

/// C_ij, row-major, and the points and the cost that it was evaluated from, if it was.
pub(super) struct CostTable<T> {
    rows: usize,
    columns: usize,
    entries: Vec<T>,
    origin: Option<Origin>,
    blur: Option<Blur>,
    summary: CostSummary,
}

/// The points of both sides, point-major, and the cost between them where it can be kept.
pub(super) struct Origin {
    pub(super) dimension: usize,
    source: Vec<f64>,
    target: Vec<f64>,
    pub(super) cost: Option<Arc<dyn GroundCost>>,
}

impl Origin {
    /// The points x_i and y_j.
    pub(super) fn pair(&self, i: usize, j: usize) -> (&[f64], &[f64]) {
        let coordinates = |index: usize| index * self.dimension..(index + 1) * self.dimension;
        (&self.source[coordinates(i)], &self.target[coordinates(j)])
    }
}

impl<T: Scalar> CostTable<T> {
    /// Evaluates or copies all entries and checks them.
    pub(super) fn new(source: Support<'_, T>, target: Support<'_, T>, cost: &dyn GroundCost) -> Result<Self, Error> {
        let costs = CostBetween::new(source, target, cost)?;
        costs.bound()?;
        let (rows, columns) = costs.shape();
        let (entries, summary) = costs.table()?;
        let origin = costs.points().map(|[x, y]| Origin {
            dimension: x.dimension(),
            source: T::wide(x.coordinates()).into_owned(),
            target: T::wide(y.coordinates()).into_owned(),
            cost: costs.cost().shared(),
        });
        Ok(Self { rows, columns, entries, origin, blur: Blur::of(cost.form()), summary })
    }

    /// C_ij.
    pub(super) fn cost(&self, i: usize, j: usize) -> f64 {
        self.entries[i * self.columns + j].to_f64()
    }

    /// The cost between atom `own` of a side and atom `other` of the opposite one.
    pub(super) fn of(&self, side: Side, own: usize, other: usize) -> f64 {
        let (i, j) = pair(side, own, other);
        self.cost(i, j)
    }

    /// Number of atoms of a side.
    pub(super) fn len(&self, side: Side) -> usize {
        match side {
            Side::Source => self.rows,
            Side::Target => self.columns,
        }
    }

    /// The points and the cost between them, if there are points.
    pub(super) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// max |C_ij| over the pairs that are not forbidden.
    pub(super) fn bound(&self) -> f64 {
        self.summary.bound()
    }

    /// Is any pair forbidden?
    pub(super) fn forbids(&self) -> bool {
        self.summary.forbids()
    }

    /// The epsilon that a Gaussian blur stands for.
    pub(super) fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.blur.map(|blur| blur.epsilon(sigma))
    }
}

impl<T> fmt::Debug for CostTable<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CostTable")
            .field("rows", &self.rows)
            .field("columns", &self.columns)
            .field("cost", &self.origin.as_ref().and_then(|origin| origin.cost.as_ref()))
            .field("summary", &self.summary)
            .finish_non_exhaustive()
    }
}

/// (source index, target index) of atom `own` of a side and atom `other` of the opposite one.
pub(super) fn pair(side: Side, own: usize, other: usize) -> (usize, usize) {
    match side {
        Side::Source => (own, other),
        Side::Target => (other, own),
    }
}
