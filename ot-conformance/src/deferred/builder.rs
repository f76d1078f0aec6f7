//! Geometries whose kernels wait for a read, built as those of another builder.

use std::sync::Arc;

use ot_core::{Backend, Elem, Error, Geometry, GeometryBuilder, GroundCost, Support};

use super::{Deferred, DeferredDevice};

/// Builds what another builder builds, [deferred](Deferred): for functions that take a builder.
#[derive(Debug)]
pub struct DeferredBuilder<G: GeometryBuilder> {
    builder: G,
    deferred: Deferred<G::Device>,
}

impl<G: GeometryBuilder + Backend<G::Device> + Clone + 'static> DeferredBuilder<G> {
    /// Wraps a backend that builds geometries.
    #[must_use]
    pub fn new(builder: G) -> Self {
        Self { deferred: Deferred::new(Arc::new(builder.clone())), builder }
    }
}

impl<G: GeometryBuilder> GeometryBuilder for DeferredBuilder<G> {
    type Device = DeferredDevice<G::Device>;

    fn geometry(
        &self,
        source: Support<'_, Elem<G>>,
        target: Support<'_, Elem<G>>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self::Device>>, Error> {
        Ok(self.deferred.wrap(self.builder.geometry(source, target, cost)?))
    }
}
