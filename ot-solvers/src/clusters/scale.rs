//! Two clouds on one scale: the costs between their clusters, and potentials of the next finer scale.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, CTransform, Device, DeviceWeights, Error, Geometry, GeometryBuilder, GroundCost, Measure, PlanSide,
    PlanView, Potentials, Problem, Side,
};

use super::hierarchy::{Cloud, Hierarchy};

/// The hierarchies of both sides, looked at on one scale.
pub(crate) struct Scale<'a, D: Device> {
    pub(crate) builder: &'a dyn GeometryBuilder<Device = D>,
    pub(crate) source: &'a Hierarchy<'a, D::Elem>,
    pub(crate) target: &'a Hierarchy<'a, D::Elem>,
    pub(crate) cost: &'a dyn GroundCost,
    pub(crate) scale: usize,
}

impl<D: Device> Scale<'_, D> {
    /// The atoms of both sides.
    pub(crate) fn clouds(&self) -> [Cloud<'_, D::Elem>; 2] {
        [self.source.at(self.scale), self.target.at(self.scale)]
    }

    /// The costs between them.
    ///
    /// # Errors
    /// Those of [`GeometryBuilder::geometry`].
    pub(crate) fn geometry(&self) -> Result<Arc<dyn Geometry<D>>, Error> {
        self.geometry_between([self.scale; 2])
    }

    /// The costs between the sources of one scale and the targets of another.
    fn geometry_between(&self, [source, target]: [usize; 2]) -> Result<Arc<dyn Geometry<D>>, Error> {
        self.builder.geometry(self.source.at(source).support(), self.target.at(target).support(), self.cost)
    }

    /// The mean cost of moving an atom of the next finer scale to the centre of its cluster, on the coarser side.
    pub(crate) fn resolution(&self) -> f64 {
        let Self { source, target, cost, scale, .. } = *self;
        source.resolution(cost, scale).max(target.resolution(cost, scale))
    }

    /// About the cost of moving from a cluster to the next. In a cube of width h the square of the distance to the centre is
    /// d h^2 / 12 in the mean.
    pub(crate) fn spacing(&self) -> f64 {
        let dimension = self.source.at(self.scale).points.dimension().max(1);
        (12.0 / dimension as f64).max(1.0) * self.resolution()
    }

    /// The potential of one side at the atoms of the next finer scale: its c-transform from the clusters of the other
    /// side (see [`Start::multiscale`](crate::Start::multiscale)). The scale is at least 1.
    ///
    /// # Errors
    /// Those of [`GeometryBuilder::geometry`]; a failure of the device.
    pub(crate) fn extend(&self, problem: &Problem<D>, coarse: &Potentials<D>, side: Side) -> Result<D::Vector, Error> {
        let (backend, columns) = (problem.backend(), problem.columns());
        let scales = side.of([[self.scale - 1, self.scale], [self.scale, self.scale - 1]]);
        let geometry = self.geometry_between(scales)?;
        let mut extended = backend.alloc(geometry.len(side), columns)?;

        let guess = self.inherit(problem, coarse, side)?;
        let weights = DeviceWeights::new(backend, self.hierarchy(side).at(self.scale - 1).weights)?;
        let (own, other) = (PlanSide::new(&guess, &weights), problem.view(coarse).side(side.opposite()));
        let plan = PlanView { source: side.of([own, other]), target: side.of([other, own]) };
        let (penalty, active) = (problem.marginal(side).penalty(), &ActiveColumns::all(columns));
        let mut kernel = geometry.bind(problem.regularizer(), coarse.epsilon, columns)?;
        kernel.c_transform(backend, CTransform { side, plan, penalty, active }, &mut extended, None)?;
        Ok(extended)
    }

    /// The potential of one side at the atoms of the next finer scale: that of the cluster of each. The
    /// scale is at least 1.
    ///
    /// # Errors
    /// A failure of the device.
    pub(crate) fn inherit(&self, problem: &Problem<D>, coarse: &Potentials<D>, side: Side) -> Result<D::Vector, Error> {
        let values = problem.backend().download(&[coarse.side(side)])?.swap_remove(0);
        problem.backend().upload(&self.hierarchy(side).inherit(values, self.scale - 1), problem.columns())
    }

    fn hierarchy(&self, side: Side) -> &Hierarchy<'_, D::Elem> {
        side.of([self.source, self.target])
    }
}
