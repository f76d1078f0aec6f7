//! The dense reference geometry: every formula of the contract in plain double loops.
//!
//! A [`ReferenceGeometry`] stores the cost matrix and answers each question entry by entry, in f64,
//! in the order in which the formula is written. It is the oracle that every other geometry is
//! compared with, the text to read for what the contract means, and the first kernel of a new
//! [`HostBackend`], which has it for one line. It exploits nothing: a softmin costs 2 n m
//! exponentials, whatever the shift, and a sweep is two of them.

mod capability;
mod general;
mod gibbs;
mod operator;
mod plan;
mod table;

use std::{fmt, sync::Arc};

use self::{general::ReferenceKernel, gibbs::ReferenceGibbs, plan::ReferencePlan, table::CostTable};
use crate::{
    backend::Backend,
    cost::GroundCost,
    error::Error,
    host::{Host, HostBackend},
    kernel::{CostStatistics, Geometry, KernelOp},
    measure::{Support, WeightsView},
    regularizer::{Entropy, RecordedRegularizer, Regularizer, RegularizerKind},
    scalar::Scalar,
    side::Side,
};

/// A cost matrix in host memory, row-major, in the element type of the backend.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_conformance::ReferenceBackend;
/// use ot_core::{Geometry, PointsView, ReferenceGeometry, Side, SqEuclidean, Support};
///
/// let corners = [0.0, 0.0, 3.0, 4.0];
/// let points = Support::Points(PointsView::new(&corners, 2)?);
/// let geometry = ReferenceGeometry::new(Arc::new(ReferenceBackend::<f64>::default()), points, points, &SqEuclidean)?;
/// assert_eq!((geometry.len(Side::Source), geometry.cost(0, 1)), (2, 25.0));
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone)]
pub struct ReferenceGeometry<T: Scalar> {
    backend: Arc<dyn HostBackend<T>>,
    table: Arc<CostTable<T>>,
}

impl<T: Scalar> ReferenceGeometry<T> {
    /// Evaluates the cost between all pairs of two supports, row by row in the element type.
    ///
    /// Costs n m evaluations and as many numbers of memory.
    ///
    /// # Errors
    /// Those of [`CostBetween::new`](crate::CostBetween::new) and [`CostBetween::table`](crate::CostBetween::table).
    pub fn new(
        backend: Arc<dyn HostBackend<T>>,
        source: Support<'_, T>,
        target: Support<'_, T>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        Ok(Self { backend, table: Arc::new(CostTable::new(source, target, cost)?) })
    }

    /// C_ij, as stored; infinite for a forbidden pair. The indices must be below the numbers of atoms.
    #[must_use]
    pub fn cost(&self, source: usize, target: usize) -> f64 {
        self.table.cost(source, target)
    }
}

impl<T: Scalar> Geometry<Host<T>> for ReferenceGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::clone(&self.backend) as Arc<dyn Backend<Host<T>>>
    }

    fn len(&self, side: Side) -> usize {
        self.table.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        let plan = ReferencePlan::new(&self.backend, &self.table, Entropy.recorded()?, epsilon, columns)?;
        Ok(Box::new(ReferenceGibbs { plan }))
    }

    /// The kernel of any regularizer.
    fn bind(
        &self,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        if regularizer.kind() == RegularizerKind::Entropy {
            return self.bind_entropic(epsilon, columns);
        }
        let plan = ReferencePlan::new(&self.backend, &self.table, regularizer.clone(), epsilon, columns)?;
        Ok(Box::new(ReferenceKernel { plan }))
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.table.epsilon_of_blur(sigma)
    }

    fn gains_from_batches(&self) -> bool {
        true
    }

    fn may_forbid(&self) -> bool {
        self.table.forbids()
    }

    fn cost_bound(&self) -> Option<f64> {
        Some(self.table.bound())
    }

    fn cost_statistics(&self, source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> Result<CostStatistics, Error> {
        refuse_stranded(&self.table, source, target)?;
        let (a, b) = (source.shares(), target.shares());
        let table = &self.table;
        let pairs = || {
            let indices = (0..a.len()).flat_map(|i| (0..b.len()).map(move |j| (i, j)));
            let pairs = indices.map(|(i, j)| (a[i] * b[j], table.cost(i, j)));
            pairs.filter(|&(_, cost)| cost < f64::INFINITY)
        };
        let mass: f64 = pairs().map(|(weight, _)| weight).sum();
        let mean = pairs().map(|(weight, cost)| weight * cost).sum::<f64>() / mass;
        let variance = pairs().map(|(weight, cost)| weight * (cost - mean).powi(2)).sum::<f64>() / mass;
        Ok(CostStatistics {
            mean,
            deviation: variance.sqrt(),
            minimum: pairs().map(|(_, cost)| cost).fold(f64::INFINITY, f64::min),
            maximum: pairs().map(|(_, cost)| cost).fold(f64::NEG_INFINITY, f64::max),
            forbidden: table.forbids(),
        })
    }
}

impl<T: Scalar> fmt::Debug for ReferenceGeometry<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReferenceGeometry").field("backend", &self.backend).field("table", &self.table).finish()
    }
}

/// Fails for an atom with mass that has no partner with mass at finite cost, in any column.
fn refuse_stranded<T: Scalar>(
    table: &CostTable<T>,
    source: WeightsView<'_, T>,
    target: WeightsView<'_, T>,
) -> Result<(), Error> {
    if !table.forbids() {
        return Ok(());
    }
    for column in 0..source.columns().max(target.columns()) {
        let of_column = |weights: WeightsView<'_, T>| {
            let column = weights.column(column.min(weights.columns() - 1));
            column.iter().map(|weight| weight.to_f64() > 0.0).collect::<Vec<_>>()
        };
        let (source, target) = (of_column(source), of_column(target));
        for (side, own, other) in [(Side::Source, &source, &target), (Side::Target, &target, &source)] {
            let has_partner = |index: usize| {
                (0..other.len()).any(|partner| other[partner] && table.of(side, index, partner) < f64::INFINITY)
            };
            if let Some(index) = (0..own.len()).find(|&index| own[index] && !has_partner(index)) {
                return Err(Error::Stranded { side, index, column });
            }
        }
    }
    Ok(())
}
