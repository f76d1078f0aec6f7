//! Stored costs on a device.

use std::sync::Arc;

use ot_core::{CostBetween, Error, GroundCost, Support, cost::Blur};

use super::{WgpuGeometry, costs::Costs};
use crate::backend::WgpuBackend;

impl WgpuGeometry {
    /// A cost matrix in the memory of the device, in single precision: 4 bytes for each pair, evaluated or copied by the host once.
    ///
    /// A matrix larger than what the device binds at once lies in up to six windows of whole rows.
    ///
    /// # Errors
    /// Those of [`CostBetween::new`], [`CostBetween::bound`] and [`CostBetween::table`]; [`Error::OutOfMemory`], also for a matrix
    /// beyond six times the largest binding of the device.
    pub fn dense(
        backend: &WgpuBackend,
        source: Support<'_, f32>,
        target: Support<'_, f32>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        Self::of_table(backend, &CostBetween::new(source, target, cost)?)
    }

    pub(super) fn of_table(backend: &WgpuBackend, costs: &CostBetween<'_, f32>) -> Result<Self, Error> {
        costs.bound()?;
        let (entries, summary) = costs.table()?;
        let (rows, columns) = costs.shape();
        let on_device =
            Costs::of_matrix(&backend.gpu, entries, [rows, columns], summary.forbids(), backend.window_bytes())?;
        let blur = Blur::of(costs.cost().form());
        Ok(Self { backend: backend.clone(), costs: Arc::new(on_device), bound: summary.bound(), blur })
    }
}
