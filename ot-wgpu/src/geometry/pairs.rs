//! Costs, and kernels on them, in pairs of numbers of single precision.

mod costs;
mod kernel;
mod row_fold;
mod softmin;
mod statistics;

use std::sync::Arc;

use ot_core::{
    Backend, CostBetween, CostStatistics, Error, Geometry, GeometryBuilder, GroundCost, KernelOp, Side, Support,
    WeightsView,
    cost::{Blur, check_bound},
};

use self::{
    costs::{PairCosts, are_in_range, origin},
    kernel::PairKernel,
    statistics::moments,
};
use super::{
    statistics::{Around, statistics_of},
    streaming::is_short,
};
use crate::{backend::WgpuBackend, device::WgpuPairs};

/// The smallest bound of costs whose 48 bits single precision holds.
const SMALLEST: f64 = 1e-20;

/// The costs between two supports on a device, in pairs of numbers of single precision: recomputed from coordinates where the cost is a
/// formula, else stored, 8 bytes for each pair of atoms.
///
/// [`WgpuBackend::in_pairs`] makes them. A workgroup has an atom, and its invocations share the others; per pair of atoms a softmin takes
/// some 300 operations, of which the exponential has two thirds. There are softmins, products with the plan and transport costs; derivatives of
/// the cost in its points and hard transforms are those of [`WgpuGeometry`](super::WgpuGeometry) alone.
///
/// Software ends a loop after 65 535 steps. Solves on it that would take more, between some 100 000 atoms, are refused by
/// [`Error::MissingCapability`].
///
/// Cloning shares points and matrix.
#[derive(Clone, Debug)]
pub struct WgpuPairGeometry {
    backend: WgpuBackend<WgpuPairs>,
    costs: Arc<PairCosts>,
    bound: f64,
    blur: Option<Blur>,
}

impl Geometry<WgpuPairs> for WgpuPairGeometry {
    fn backend(&self) -> Arc<dyn Backend<WgpuPairs>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        self.costs.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<WgpuPairs>>, Error> {
        Ok(Box::new(PairKernel::new(&self.backend, &self.costs, epsilon, columns)?))
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.blur.map(|blur| blur.epsilon(sigma))
    }

    fn gains_from_batches(&self) -> bool {
        true
    }

    fn may_forbid(&self) -> bool {
        self.costs.forbids
    }

    fn cost_bound(&self) -> Option<f64> {
        Some(self.bound)
    }

    fn cost_statistics(
        &self,
        source: WeightsView<'_, f64>,
        target: WeightsView<'_, f64>,
    ) -> Result<CostStatistics, Error> {
        let of_rows = |side: Side, others: &[f64], around: Around| moments(&self.costs, side, others, around);
        statistics_of(Side::BOTH.map(|side| self.costs.len(side)), source, target, &of_rows)
    }
}

impl GeometryBuilder for WgpuBackend<WgpuPairs> {
    type Device = WgpuPairs;

    /// Points, and nodes of grids, under a cost that is a [formula](GroundCost::program) and knows a [bound](GroundCost::bound): costs from
    /// coordinates, if these are no more than 2^9 times as far from the origin as from each other, or the cost is a power of a norm.
    /// All others, texts in WGSL among them: a matrix, which is one binding of the device at the most.
    ///
    /// # Errors
    /// Those of [`GeometryBuilder::geometry`]; [`Error::CostOverflow`] and [`Error::CostUnderflow`] for costs beyond 2.1e37 and below 1e-20,
    /// since the exponents are those of single precision.
    fn geometry(
        &self,
        source: Support<'_, f64>,
        target: Support<'_, f64>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<WgpuPairs>>, Error> {
        let costs = CostBetween::new(source, target, cost)?;
        let blur = Blur::of(costs.cost().form());
        let (costs, bound) = match streamed(self, &costs)? {
            Some(streamed) => streamed,
            None => {
                let (entries, summary) = costs.table()?;
                check_range(summary.bound())?;
                let (rows, columns) = costs.shape();
                (PairCosts::of_matrix(&self.gpu, entries, [rows, columns], summary.forbids())?, summary.bound())
            }
        };
        Ok(Arc::new(WgpuPairGeometry { backend: self.clone(), costs: Arc::new(costs), bound, blur }))
    }
}

/// Does single precision hold costs of this bound, and their 48 bits?
fn check_range(bound: f64) -> Result<(), Error> {
    check_bound::<f32>(bound)?;
    if bound > 0.0 && bound < SMALLEST {
        return Err(Error::CostUnderflow { bound, element: "pair of f32", limit: SMALLEST });
    }
    Ok(())
}

/// Costs that are computed from coordinates, and their bound, if they can be.
fn streamed(backend: &WgpuBackend<WgpuPairs>, costs: &CostBetween<'_, f64>) -> Result<Option<(PairCosts, f64)>, Error> {
    let (Some(bound), Some(points)) = (costs.bound()?, costs.points()) else { return Ok(None) };
    check_range(bound)?;
    let Some(program) = costs.cost().program(points[0].dimension()).transpose()? else { return Ok(None) };
    let origin = origin(points, costs.cost().form());
    if !is_short(&program) || !are_in_range(points, &origin) {
        return Ok(None);
    }
    let on_device = PairCosts::of_formula(&backend.gpu, program, points, &origin, costs.cost().may_forbid())?;
    Ok(Some((on_device, bound)))
}
