//! Geometries of a device, and which one a request gets.

mod costs;
mod dense;
mod derivative;
mod factor;
mod grid;
mod hard;
mod kernel;
mod pairs;
mod products;
mod row_pass;
mod slopes;
mod softmin;
mod statistics;
mod streaming;
mod sums;

use std::sync::Arc;

use ot_core::{
    Backend, CostBetween, CostStatistics, Elem, Error, Geometry, GeometryBuilder, GroundCost, KernelOp, Side, Support,
    WeightsView, cost::Blur,
};

use self::{costs::Costs, kernel::WgpuKernel, statistics::cost_statistics};
pub use self::{grid::GridGeometry, pairs::WgpuPairGeometry};
use crate::backend::{Wgpu, WgpuBackend};

/// The costs between two supports on a device: [recomputed from coordinates](Self::streaming) or [stored](Self::dense).
///
/// Cloning shares points and matrix.
#[derive(Clone, Debug)]
pub struct WgpuGeometry {
    backend: WgpuBackend,
    costs: Arc<Costs>,
    bound: f64,
    blur: Option<Blur>,
}

impl WgpuGeometry {
    /// The Gibbs kernel of one solve.
    fn kernel(&self, epsilon: f64, columns: usize) -> Result<WgpuKernel, Error> {
        WgpuKernel::new(&self.backend, &self.costs, epsilon, columns)
    }
}

impl Geometry<Wgpu> for WgpuGeometry {
    fn backend(&self) -> Arc<dyn Backend<Wgpu>> {
        Arc::new(self.backend.clone())
    }

    fn len(&self, side: Side) -> usize {
        self.costs.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Wgpu>>, Error> {
        Ok(Box::new(self.kernel(epsilon, columns)?))
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
        source: WeightsView<'_, f32>,
        target: WeightsView<'_, f32>,
    ) -> Result<CostStatistics, Error> {
        cost_statistics(&self.costs, source, target)
    }
}

impl GeometryBuilder for WgpuBackend {
    type Device = Wgpu;

    /// Grids under a cost that is a sum over the axes: a [`GridGeometry`]. Points, and nodes of grids, under a cost that is a
    /// [formula](GroundCost::program), or has a [text](GroundCost::wgsl): [`WgpuGeometry::streaming`]. Matrices and closures:
    /// [`WgpuGeometry::dense`].
    fn geometry(
        &self,
        source: Support<'_, Elem<Self>>,
        target: Support<'_, Elem<Self>>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Wgpu>>, Error> {
        if let Some(geometry) = GridGeometry::if_separable(self, [source, target], cost)? {
            return Ok(Arc::new(geometry));
        }
        let costs = CostBetween::new(source, target, cost)?;
        Ok(Arc::new(match WgpuGeometry::if_possible(self, &costs)? {
            Some(geometry) => geometry,
            None => WgpuGeometry::of_table(self, &costs)?,
        }))
    }
}
