//! Measures, cost and epsilon in; solution out.

use ot_core::{Backend, Epsilon, Error, GroundCost, Measure, Problem, Solution};

use super::{Sinkhorn, Start};

/// Balanced entropic transport between two measures, with the defaults of [`Sinkhorn`].
///
/// The five-line use: the backend picks the geometry, the rule picks epsilon, and large clouds start from their
/// [clusters](Start::multiscale). For laws on the
/// marginals, warm starts, tolerances and observers, build a [`Problem`] and run [`Sinkhorn`].
///
/// # Errors
/// Those of [`Backend::geometry`], [`Problem::new`], [`Start::multiscale`] and [`Sinkhorn::solve`].
pub fn transport<B: Backend>(
    backend: &B,
    source: &dyn Measure<B::Elem>,
    target: &dyn Measure<B::Elem>,
    cost: &dyn GroundCost,
    epsilon: Epsilon,
) -> Result<Solution<B>, Error> {
    let geometry = backend.geometry(source.support(), target.support(), cost)?;
    let problem = Problem::new(geometry, source, target, epsilon)?;
    let start = Start::multiscale(&problem, source, target, cost)?;
    Sinkhorn::new().run(&problem).start(start).solve()
}
