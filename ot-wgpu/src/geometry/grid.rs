//! A cost that is a sum over the axes of two grids, on a device: neither matrix nor kernel is ever formed.

mod hard;
mod kernel;
mod lines;
mod sums;
mod tables;
mod transport_cost;

use std::sync::Arc;

use ot_core::{
    Backend, CostBetween, CostStatistics, Error, Geometry, Grid, GroundCost, KernelOp, Side, Support, WeightsView,
    cost::GridCosts,
};

use self::{kernel::GridKernel, tables::Tables};
use super::WgpuGeometry;
use crate::backend::{Wgpu, WgpuBackend};

/// A cost between two grids that is a sum over the axes: N (n_1 + ... + n_d) exponentials for a softmin between grids of N nodes
/// instead of N^2, and memory O(N) (Solomon et al. 2015).
///
/// A softmin is a pass along each axis, from logarithms to logarithms, so that it holds at any epsilon. Arcs below a threshold
/// and derivatives of the cost look at all pairs of nodes, as [`WgpuGeometry::streaming`] does. Cloning shares the tables of the axes.
///
/// ```
/// use ot_core::{Geometry, Grid, Side, SqEuclidean};
/// use ot_wgpu::{Adapter, GridGeometry, WgpuBackend};
///
/// # fn main() -> Result<(), ot_core::Error> {
/// let image = Grid::pixels(&[48, 64])?;
/// if let Ok(backend) = WgpuBackend::new(Adapter::Default) {
///     let geometry = GridGeometry::new(&backend, &image, &image, &SqEuclidean)?;
///     assert_eq!(geometry.len(Side::Source), 3072);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct GridGeometry {
    /// The nodes as points.
    nodes: WgpuGeometry,
    tables: Arc<Tables>,
}

impl GridGeometry {
    /// The cost between the nodes of two grids.
    ///
    /// # Errors
    /// Those of [`GridCosts::new`]; [`Error::MissingCapability`] for a cost that no shader can compute, or an axis of more than
    /// 50 000 nodes; [`Error::OutOfMemory`].
    pub fn new(
        backend: &WgpuBackend,
        source: &Grid<f32>,
        target: &Grid<f32>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        let mut lengths = source.axes().iter().zip(target.axes()).map(|(x, y)| [x.len(), y.len()]);
        if !lengths.all(Tables::fit) {
            return Err(Error::MissingCapability("axis of so many nodes on a device"));
        }
        let axes = GridCosts::new(source, target, cost)?;
        let nodes = CostBetween::new(Support::Grid(source), Support::Grid(target), cost)?;
        let nodes = WgpuGeometry::if_possible(backend, &nodes)?;
        let nodes = nodes.ok_or(Error::MissingCapability("cost that a shader can compute"))?;
        Ok(Self { nodes, tables: Arc::new(Tables::new(&backend.gpu, axes)?) })
    }

    /// The geometry of two grids, if the cost is a sum over axes that are not too long.
    pub(super) fn if_separable(
        backend: &WgpuBackend,
        supports: [Support<'_, f32>; 2],
        cost: &dyn GroundCost,
    ) -> Result<Option<Self>, Error> {
        let [Support::Grid(source), Support::Grid(target)] = supports else { return Ok(None) };
        let dimension = source.dimension();
        let is_separable = dimension == target.dimension()
            && cost.dimension().is_none_or(|of_cost| of_cost == dimension)
            && !cost.may_forbid()
            && (0..dimension).all(|axis| cost.axis_cost(axis).is_some())
            && cost.program(dimension).is_some();
        if !is_separable {
            return Ok(None);
        }
        match Self::new(backend, source, target, cost) {
            Err(Error::MissingCapability(_)) => Ok(None),
            geometry => geometry.map(Some),
        }
    }
}

impl Geometry<Wgpu> for GridGeometry {
    fn backend(&self) -> Arc<dyn Backend<Wgpu>> {
        self.nodes.backend()
    }

    fn len(&self, side: Side) -> usize {
        self.tables.costs.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Wgpu>>, Error> {
        Ok(Box::new(GridKernel::new(self.nodes.kernel(epsilon, columns)?, &self.tables)))
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        self.nodes.epsilon_of_blur(sigma)
    }

    fn gains_from_batches(&self) -> bool {
        true
    }

    fn cost_bound(&self) -> Option<f64> {
        Some(self.tables.costs.bound())
    }

    /// By the host, from marginals on the axes.
    fn cost_statistics(
        &self,
        source: WeightsView<'_, f32>,
        target: WeightsView<'_, f32>,
    ) -> Result<CostStatistics, Error> {
        self.tables.costs.statistics(source, target)
    }
}
