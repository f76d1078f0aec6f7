//! Geometries of the host, and which one a request gets.
//!
//! A separable cost between grids is worked with axis by axis. All others are rows of costs: whatever is asked of a plan is computed from tiles of costs, rows of
//! either side, and written once. A geometry that stores its costs also keeps an absorbed copy of its
//! Gibbs kernel; one that does not makes entries from coordinates as it goes.

mod absorbed;
mod anchors;
mod arcs;
mod blocks;
mod clouds;
mod cut;
mod dense;
mod derivative;
mod entries;
mod features;
mod functionals;
mod general;
mod grid;
mod group;
mod guard;
mod hard;
#[cfg(feature = "heat")]
mod heat;
mod instead;
mod kernel;
mod log_kernel;
mod memory;
mod operand;
mod plan_product;
mod rows;
mod softmin;
mod statistics;
mod steps;
mod streamed;
mod streaming;
mod sweep;
mod transport_cost;

use std::sync::Arc;

use ot_core::{
    CostBetween, CostForm, Error, Geometry, GeometryBuilder, Grid, GroundCost, Host, Scalar, Support, cost::Blur,
};

#[cfg(feature = "heat")]
pub use self::heat::{
    CotangentGraph, HeatDistance, HeatGeometry, HeatReport, MeshReport, PointCloudHeat, cotangent_graph,
};
pub use self::{
    arcs::ArcsGeometry, blocks::BlockSparseGeometry, dense::DenseGeometry, features::FeatureGeometry,
    grid::GridGeometry, streaming::StreamingGeometry,
};
use crate::{
    backend::CpuBackend,
    simd::{Stored, VectorMath},
};

/// One pair of so many, at most, where pairs are looked at by themselves: a pass over a matrix takes less for each.
const SPARSE: usize = 16;

impl<T: CpuScalar> GeometryBuilder for CpuBackend<T> {
    type Device = Host<T>;

    /// Grids on both sides and a cost that is a sum over the axes: a [`GridGeometry`]. Points on both sides, and other
    /// grids, which are read as points: costs are stored up to [`dense_limit`](CpuBackend::dense_limit) entries, and
    /// recomputed beyond if the cost can be [shared](GroundCost::shared). Indices on both sides: the cost is a
    /// matrix, and stored; or it [lists its pairs](GroundCost::pairs), at most a sixteenth of all, which are an
    /// [`ArcsGeometry`] then.
    fn geometry(
        &self,
        source: Support<'_, T>,
        target: Support<'_, T>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Host<T>>>, Error> {
        if let (Support::Grid(source), Support::Grid(target)) = (source, target)
            && let Some(geometry) = T::grid_geometry(self, source, target, cost)?
        {
            return Ok(geometry);
        }
        if let (Support::Indices(rows), Support::Indices(columns), Some(pairs)) = (source, target, cost.pairs())
            && pairs.len() <= rows.saturating_mul(columns) / SPARSE
        {
            for (what, expected, found) in
                [("sources of listed pairs", rows, pairs.rows()), ("targets of listed pairs", columns, pairs.columns())]
            {
                if expected != found {
                    return Err(Error::Length { what, expected, found });
                }
            }
            return Ok(Arc::new(ArcsGeometry::new(self, pairs)?));
        }
        T::geometry(self, &CostBetween::new(source, target, cost)?, cost.form())
    }
}

/// An element type with vectorised passes: `f32` or `f64`. Sealed: no other type can have them.
pub trait CpuScalar: Scalar + VectorMath + Stored<f32> + Stored<Self> {
    /// Builds a geometry. The kernels behind it are compiled in this crate, not in each that asks for one.
    #[doc(hidden)]
    fn geometry(
        backend: &CpuBackend<Self>,
        costs: &CostBetween<'_, Self>,
        form: CostForm<'_>,
    ) -> Result<Arc<dyn Geometry<Host<Self>>>, Error>;

    /// Builds a geometry between grids, if it is to be one; see [`geometry`](Self::geometry).
    #[doc(hidden)]
    fn grid_geometry(
        backend: &CpuBackend<Self>,
        source: &Grid<Self>,
        target: &Grid<Self>,
        cost: &dyn GroundCost,
    ) -> Result<Option<Arc<dyn Geometry<Host<Self>>>>, Error>;
}

/// Implements [`CpuScalar`] for one type.
macro_rules! implement_cpu_scalar {
    ($type:ident) => {
        impl CpuScalar for $type {
            #[inline(never)]
            fn geometry(
                backend: &CpuBackend<Self>,
                costs: &CostBetween<'_, Self>,
                form: CostForm<'_>,
            ) -> Result<Arc<dyn Geometry<Host<Self>>>, Error> {
                between(backend, costs, form)
            }

            #[inline(never)]
            fn grid_geometry(
                backend: &CpuBackend<Self>,
                source: &Grid<Self>,
                target: &Grid<Self>,
                cost: &dyn GroundCost,
            ) -> Result<Option<Arc<dyn Geometry<Host<Self>>>>, Error> {
                let geometry = GridGeometry::if_separable(backend, source, target, cost)?;
                Ok(geometry.map(|geometry| Arc::new(geometry) as Arc<dyn Geometry<Host<Self>>>))
            }
        }
    };
}

implement_cpu_scalar!(f32);
implement_cpu_scalar!(f64);

/// The geometry of costs made of a cost of this form.
fn between<T: CpuScalar>(
    backend: &CpuBackend<T>,
    costs: &CostBetween<'_, T>,
    form: CostForm<'_>,
) -> Result<Arc<dyn Geometry<Host<T>>>, Error> {
    let ((rows, columns), cost, blur) = (costs.shape(), costs.cost(), Blur::of(form));
    if let Some(points) = costs.points()
        && rows.saturating_mul(columns) > backend.dense_limit()
        && let Some(cost) = cost.shared()
    {
        let streaming = StreamingGeometry::between(backend, points, Arc::clone(&cost), costs.bound()?, blur)?;
        if rows.min(columns) >= backend.block_limit()
            && let Some(blocks) = BlockSparseGeometry::over(backend, points, &cost, &streaming)?
            && blocks.pays()
        {
            return Ok(Arc::new(blocks));
        }
        return Ok(Arc::new(streaming));
    }
    Ok(Arc::new(match cost.shared_matrix() {
        Some(matrix) if costs.matrix().is_some() => DenseGeometry::from_shared(backend, &matrix)?,
        _ => DenseGeometry::between(backend, costs, blur)?,
    }))
}
