//! Geometries of a device, and which one a request gets.

mod costs;
mod dense;
mod derivative;
mod factor;
mod hard;
mod kernel;
mod products;
mod row_pass;
mod slopes;
mod softmin;
mod statistics;
mod streaming;
mod sums;

use std::sync::Arc;

use ot_core::{CostBetween, Elem, Error, Geometry, GeometryBuilder, GroundCost, Support};

pub use self::{dense::DenseGeometry, streaming::StreamingGeometry};
use crate::backend::{Wgpu, WgpuBackend};

impl GeometryBuilder for WgpuBackend {
    type Device = Wgpu;

    /// Points, and nodes of grids, under a cost that is a [formula](GroundCost::program) and can be
    /// [shared](GroundCost::shared): a [`StreamingGeometry`]. Matrices and closures: a [`DenseGeometry`].
    fn geometry(
        &self,
        source: Support<'_, Elem<Self>>,
        target: Support<'_, Elem<Self>>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Wgpu>>, Error> {
        let costs = CostBetween::new(source, target, cost)?;
        match StreamingGeometry::if_possible(self, &costs)? {
            Some(geometry) => Ok(Arc::new(geometry)),
            None => Ok(Arc::new(DenseGeometry::between(self, &costs)?)),
        }
    }
}
