//! Geometries of the host, and which one a request gets.
//!
//! All of them are rows of costs: whatever is asked of a plan is computed from tiles of costs, rows of
//! either side, and written once. A geometry that stores its costs also keeps an absorbed copy of its
//! Gibbs kernel; one that does not makes entries from coordinates as it goes.

mod absorbed;
mod anchors;
mod clouds;
mod cut;
mod dense;
mod derivative;
mod entries;
mod family;
mod functionals;
mod guard;
mod hard;
mod kernel;
mod operand;
mod rows;
mod softmin;
mod steps;
mod streamed;
mod streaming;
mod survey;
mod sweep;
mod transport_cost;

use std::sync::Arc;

use ot_core::{CostBetween, Error, Geometry, cost::GroundCost, measure::Support};

pub use self::{dense::DenseGeometry, streaming::StreamingGeometry};
use crate::backend::{CpuBackend, CpuScalar};

/// The geometry of one cost between two supports.
pub(crate) fn request<T: CpuScalar>(
    backend: &CpuBackend<T>,
    source: Support<'_, T>,
    target: Support<'_, T>,
    cost: &dyn GroundCost,
) -> Result<Arc<dyn Geometry<CpuBackend<T>>>, Error> {
    let costs = CostBetween::new(source, target, cost)?;
    let (rows, columns) = costs.shape();
    if let Some(points) = costs.points()
        && rows.saturating_mul(columns) > backend.dense_limit()
        && let Some(cost) = cost.shared()
    {
        return Ok(Arc::new(StreamingGeometry::between(backend, points, cost, costs.bound()?)?));
    }
    Ok(Arc::new(match cost.shared_matrix() {
        Some(matrix) if costs.matrix().is_some() => DenseGeometry::from_shared(backend, &matrix)?,
        _ => DenseGeometry::between(backend, &costs)?,
    }))
}
