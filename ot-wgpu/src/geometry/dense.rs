//! Stored costs on a device.

use std::sync::Arc;

use ot_core::{
    Backend, CostBetween, CostStatistics, Error, Geometry, GroundCost, KernelOp, Side, Support, WeightsView, cost::Blur,
};

use super::{costs::Costs, kernel::WgpuKernel, statistics::cost_statistics};
use crate::backend::{Wgpu, WgpuBackend};

/// A cost matrix in the memory of a device, in single precision: 4 bytes for each pair.
///
/// A matrix larger than what the device binds at once lies in up to six windows of whole rows. Cloning shares the matrix.
#[derive(Clone, Debug)]
pub struct DenseGeometry {
    backend: WgpuBackend,
    costs: Arc<Costs>,
    bound: f64,
    blur: Option<Blur>,
}

impl DenseGeometry {
    /// The costs between two supports, evaluated or copied by the host once.
    ///
    /// # Errors
    /// Those of [`CostBetween::new`], [`CostBetween::bound`] and [`CostBetween::table`]; [`Error::OutOfMemory`], also for a matrix
    /// beyond six times the largest binding of the device.
    pub fn new(
        backend: &WgpuBackend,
        source: Support<'_, f32>,
        target: Support<'_, f32>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        Self::between(backend, &CostBetween::new(source, target, cost)?)
    }

    pub(super) fn between(backend: &WgpuBackend, costs: &CostBetween<'_, f32>) -> Result<Self, Error> {
        costs.bound()?;
        let (entries, summary) = costs.table()?;
        let (rows, columns) = costs.shape();
        let on_device =
            Costs::of_matrix(&backend.gpu, entries, [rows, columns], summary.forbids(), backend.window_bytes())?;
        let blur = Blur::of(costs.cost().form());
        Ok(Self { backend: backend.clone(), costs: Arc::new(on_device), bound: summary.bound(), blur })
    }
}

impl Geometry<Wgpu> for DenseGeometry {
    fn backend(&self) -> Arc<dyn Backend<Wgpu>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        self.costs.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Wgpu>>, Error> {
        Ok(Box::new(WgpuKernel::new(&self.backend, &self.costs, epsilon, columns)?))
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.blur.map(|blur| blur.epsilon(sigma))
    }

    fn may_forbid(&self) -> bool {
        self.costs.forbids
    }

    fn cost_bound(&self) -> Option<f64> {
        Some(self.bound)
    }

    fn cost_statistics(
        &self,
        source: WeightsView<'_, f32>,
        target: WeightsView<'_, f32>,
    ) -> Result<CostStatistics, Error> {
        cost_statistics(&self.costs, source, target)
    }
}
