//! Measures, cost and epsilon in; solution out.

use ot_core::{Device, Epsilon, Error, GeometryBuilder, GroundCost, Measure, Problem, Solution};

use super::{Sinkhorn, Start};

/// Balanced entropic transport between two measures, with the defaults of [`Sinkhorn`].
///
/// The five-line use: the backend picks the geometry, the rule picks epsilon, and large clouds start from their
/// [clusters](Start::multiscale). For unbalanced transport, warm starts, tolerances and observers, build a [`Problem`] and
/// run [`Sinkhorn`].
///
/// # Errors
/// Those of [`GeometryBuilder::geometry`], [`Problem::new`], [`Start::multiscale`] and [`Sinkhorn::solve`].
pub fn transport<D: Device>(
    builder: &dyn GeometryBuilder<Device = D>,
    source: &dyn Measure<D::Elem>,
    target: &dyn Measure<D::Elem>,
    cost: &dyn GroundCost,
    epsilon: Epsilon,
) -> Result<Solution<D>, Error> {
    let geometry = builder.geometry(source.support(), target.support(), cost)?;
    let problem = Problem::new(geometry, source, target, epsilon)?;
    let start = Start::multiscale(builder, &problem, source, target, cost)?;
    Sinkhorn::new().run(&problem).start(start).solve()
}
