//! Two point clouds on a device, and costs computed as they are needed.

use std::sync::Arc;

use ot_core::{
    BoundingBox, CostBetween, CostSummary, Error, GroundCost, PointsView, Support,
    cost::{Blur, check_bound},
    host::try_zeros,
};

use super::{WgpuGeometry, costs::Costs};
use crate::backend::WgpuBackend;

/// The longest program of a cost that is made a part of kernels: beyond, compilers of drivers take minutes.
const MAX_INSTRUCTIONS: usize = 512;

/// The widest extent of points whose squares single precision holds.
const WIDEST: f64 = 1e18;

/// The smallest extent of points that the smallest squares are far below.
const NARROWEST: f64 = 1e-12;

impl WgpuGeometry {
    /// A cost between two point clouds, recomputed from coordinates wherever it is needed: memory O(n + m).
    ///
    /// The cost is a recorded formula, which becomes a part of each kernel: `c` in single precision, one evaluation and one
    /// exponential for each pair. A softmin is two launches: sums over tiles of the other cloud around the previous potential,
    /// and what is made of them.
    ///
    /// A cost that tells no [bound](GroundCost::bound) is evaluated by the host once for all pairs, to refuse what is no cost.
    ///
    /// # Errors
    /// Those of [`CostBetween::new`], [`CostBetween::bound`] and [`CostSummary::check`]; [`Error::MissingCapability`] for a cost
    /// that is no formula, or one of more than 512 operations, and for points so far apart or so close together that squares of
    /// their differences leave single precision; [`Error::OutOfMemory`].
    pub fn streaming(
        backend: &WgpuBackend,
        source: PointsView<'_, f32>,
        target: PointsView<'_, f32>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        let costs = CostBetween::new(Support::Points(source), Support::Points(target), cost)?;
        Self::if_possible(backend, &costs)?.ok_or(Error::MissingCapability("cost that a shader can compute"))
    }

    /// The geometry of costs, if they can be computed from coordinates.
    pub(super) fn if_possible(backend: &WgpuBackend, costs: &CostBetween<'_, f32>) -> Result<Option<Self>, Error> {
        let bound = costs.bound()?;
        let Some(points) = costs.points() else { return Ok(None) };
        let dimension = points[0].dimension();
        let Some(program) = costs.cost().program(dimension) else { return Ok(None) };
        let program = program?;
        let of_loops: usize = program.folds().iter().map(|fold| fold.instructions().len()).sum();
        if program.instructions().len() + of_loops > MAX_INSTRUCTIONS || !are_in_range(points) {
            return Ok(None);
        }
        let (bound, forbids) = match bound {
            Some(bound) => (bound, costs.cost().may_forbid()),
            None => {
                let summary = checked(costs)?;
                (summary.bound(), summary.forbids())
            }
        };
        let on_device = Costs::of_formula(&backend.gpu, program, costs.cost().form(), points, forbids)?;
        let blur = Blur::of(costs.cost().form());
        Ok(Some(Self { backend: backend.clone(), costs: Arc::new(on_device), bound, blur }))
    }
}

/// Are the squares of all differences numbers of single precision, the smallest of which do not matter?
fn are_in_range([source, target]: [PointsView<'_, f32>; 2]) -> bool {
    let (source, target) = (BoundingBox::of(source), BoundingBox::of(target));
    let widest = source.reach(&target).fold(0.0, f64::max);
    widest == 0.0 || (NARROWEST..=WIDEST).contains(&widest)
}

/// Evaluates all costs, and refuses what is no cost or overflows.
fn checked(costs: &CostBetween<'_, f32>) -> Result<CostSummary, Error> {
    let (rows, columns) = costs.shape();
    let (mut row, mut summary) = (try_zeros::<f32>(columns, "a row of costs")?, CostSummary::default());
    for i in 0..rows {
        costs.row(i, &mut row);
        summary.look_at(i, 0, &row);
    }
    summary.check::<f32>()?;
    if summary.forbids() && !costs.cost().may_forbid() {
        check_bound::<f32>(f64::INFINITY)?;
    }
    Ok(summary)
}
