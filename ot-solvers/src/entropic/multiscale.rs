//! Potentials between clusters of two clouds, coarse before fine, as a start between the points.

use std::ops::ControlFlow;

use ot_core::{
    CloudPair, Device, Epsilon, Error, GeometryBuilder, GroundCost, Measure, Observer, Phase, Potentials, Problem,
    Progress, Scalar, Side, Support, WeightsView,
};

use super::{Sinkhorn, Start};
use crate::{
    clusters::{Cloud, Hierarchy, Scale},
    newton,
};

/// Halvings from one scale to the next: a cell is halved along three axes at most.
const HALVINGS: u32 = 3;

/// The fewest clusters that a cloud is cut into.
const FEWEST: usize = 256;

/// The marginal error between clusters.
const TOLERANCE: f64 = 3e-3;

/// The same where Newton's method goes on by products with the plan: potentials that vary over the whole cloud show in a small part of
/// the error alone, and are cheaper to find between clusters.
const TOLERANCE_OF_PRODUCTS: f64 = 1e-3;

/// The most iterations at one scale.
const ITERATIONS: usize = 200;

impl<D: Device> Start<'_, D> {
    /// The potentials of the same problem between clusters of its points, extended to the points by a c-transform
    /// (Mérigot 2011; Schmitzer 2019; Feydy 2020):
    ///
    /// ```text
    /// f(x) = step_a(-epsilon log sum_J b_J exp((g_J - c(x, y_J)) / epsilon))     over the clusters J of the target
    /// ```
    ///
    /// Clusters are solved for on ever finer scales, each at an epsilon that it resolves: the cost of moving a point to
    /// the centre of its cluster, or the epsilon of the problem. Large clouds between which Newton's method goes on by products with
    /// the plan ask for more: the square of the spacing of the clusters, so that no scale is harder than the points. Pays from a few thousand points on, in few dimensions;
    /// supports that are no clouds, and small clouds, start from zero. `source`, `target` and `cost` are those that
    /// the problem was made of. Costs about a quarter of an iteration between points in three dimensions, and the
    /// memory of the clusters.
    ///
    /// ```
    /// use ot_core::{Epsilon, GeometryBuilder, Measure, PointCloud, Problem, SqEuclidean};
    /// use ot_cpu::CpuBackend;
    /// use ot_solvers::{Sinkhorn, Start};
    ///
    /// let backend = CpuBackend::<f64>::new(1)?;
    /// let spiral = |turn: f64| -> Vec<f64> {
    ///     (0..3000).flat_map(|i| { let t = f64::from(i) / 300.0; [t * (t + turn).cos(), t * (t + turn).sin()] }).collect()
    /// };
    /// let (a, b) = (PointCloud::uniform(spiral(0.0), 2)?, PointCloud::uniform(spiral(1.0), 2)?);
    /// let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean)?;
    /// let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(1.0))?;
    ///
    /// let sinkhorn = Sinkhorn::new().tolerance(1e-3);
    /// let start = Start::multiscale(&backend, &problem, &a, &b, &SqEuclidean)?;
    /// let warm = sinkhorn.run(&problem).start(start).solve()?;
    /// assert!(warm.status().is_converged());
    /// assert!(warm.iterations() < sinkhorn.run(&problem).start(Start::Zero).solve()?.iterations());
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] for measures of another size than the problem's; those of [`GeometryBuilder::geometry`] and
    /// [`Sinkhorn::solve`].
    pub fn multiscale(
        builder: &dyn GeometryBuilder<Device = D>,
        problem: &Problem<D>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        Ok(Self::multiscale_told(builder, problem, source, target, cost, None)?.0)
    }

    /// The same for the points that the [geometry](ot_core::Geometry::clouds) of a problem keeps: where every solve starts that is
    /// given no start. Zero of one that keeps none.
    ///
    /// # Errors
    /// Those of [`multiscale`](Self::multiscale).
    pub fn clusters(problem: &Problem<D>) -> Result<Self, Error> {
        Ok(Self::clusters_told(problem, None)?.0)
    }

    /// [`clusters`](Self::clusters), of which an observer is told. It may cancel.
    pub(super) fn clusters_told(
        problem: &Problem<D>,
        observer: Option<&mut (dyn Observer + '_)>,
    ) -> Result<(Self, ControlFlow<()>), Error> {
        let is_small = Side::BOTH.iter().any(|&side| problem.marginal(side).len() < 2 * FEWEST);
        let Some(CloudPair { builder, source, target, cost }) = problem.geometry().clouds().filter(|_| !is_small)
        else {
            return Ok((Start::Zero, ControlFlow::Continue(())));
        };
        let marginals = Side::BOTH.map(|side| problem.marginal(side));
        let weights = problem.backend().download(&marginals.map(|marginal| marginal.weights()))?;
        let columns = |side: usize| weights[side].len() / marginals[side].len();
        let [source, target] = [(0, source), (1, target)].map(|(side, points)| {
            Ok::<_, Error>(Cloud { points, weights: WeightsView::new(&weights[side], columns(side))? })
        });
        Self::multiscale_told(builder, problem, &source?, &target?, cost, observer)
    }

    /// [`multiscale`](Self::multiscale), of which an observer is told. It may cancel: then the start is what there is.
    pub(crate) fn multiscale_told(
        builder: &dyn GeometryBuilder<Device = D>,
        problem: &Problem<D>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
        mut observer: Option<&mut (dyn Observer + '_)>,
    ) -> Result<(Self, ControlFlow<()>), Error> {
        let zero = (Start::Zero, ControlFlow::Continue(()));
        let hierarchies = [(Side::Source, source), (Side::Target, target)];
        let [source, target] = hierarchies.map(|(side, measure)| hierarchy(problem.marginal(side).len(), measure));
        let (Some(source), Some(target)) = (source?, target?) else { return Ok(zero) };
        let coarsest = source.coarsest().max(target.coarsest());
        if problem.geometry().fixed_epsilon().is_some() || coarsest == 0 {
            return Ok(zero);
        }

        let by_products = newton::steps_by_products(problem)?;
        let tolerance = if by_products { TOLERANCE_OF_PRODUCTS } else { TOLERANCE };
        let (mut start, mut told) = zero;
        for scale in (1..=coarsest).rev() {
            let scale = Scale { builder, source: &source, target: &target, cost, scale };
            let sinkhorn = Sinkhorn::new().tolerance(tolerance).max_iterations(ITERATIONS);
            let between = between_clusters(&scale, problem, by_products)?;
            // Of a scale that Newton's method takes over the rate is not observed.
            let expected = start.rate_at(between.epsilon());
            let (clusters, report) = sinkhorn.run(&between).start(start).solve_with_report()?;
            let extended = |side| scale.extend(clusters.problem(), clusters.potentials(), side);
            let (source, target) = (extended(Side::Source)?, extended(Side::Target)?);
            let potentials = Potentials { source, target, epsilon: clusters.problem().epsilon() };
            start = Start::Clusters { potentials, rate: report.rate.or(expected) };
            let progress = Progress {
                of: Some(coarsest),
                epsilon: Some(clusters.problem().epsilon()),
                active_columns: problem.columns(),
                ..Progress::new(Phase::Start, coarsest + 1 - scale.scale)
            };
            told = observer.as_deref_mut().map_or(ControlFlow::Continue(()), |observer| observer.observe(&progress));
            if told.is_break() {
                let is_finest = scale.scale == 1;
                return Ok((if is_finest { start } else { Start::Zero }, told));
            }
        }
        Ok((start, told))
    }
}

/// `None` for what is no cloud, or has a histogram without mass.
fn hierarchy<T: Scalar>(expected: usize, measure: &dyn Measure<T>) -> Result<Option<Hierarchy<'_, T>>, Error> {
    let (Support::Points(points), Some(weights)) = (measure.support(), measure.weights()) else { return Ok(None) };
    let found = points.len();
    if (found, weights.len()) != (expected, expected) {
        return Err(Error::Length { what: "points of a multiscale start", expected, found });
    }
    if (0..weights.columns()).any(|column| weights.mass(column) == 0.0) {
        return Ok(None);
    }
    Hierarchy::new(points, weights, HALVINGS.min(points.dimension() as u32), FEWEST).map(Some)
}

/// The problem between the clusters of a scale, with the penalties and the regularizer of the one between points. Its epsilon is
/// resolved, or as large as what it costs to go from a cluster to the next.
fn between_clusters<D: Device>(
    scale: &Scale<'_, D>,
    points: &Problem<D>,
    from_next: bool,
) -> Result<Problem<D>, Error> {
    let resolution = match from_next {
        true => scale.spacing(),
        false => scale.resolution(),
    };
    let epsilon = Epsilon::Absolute(points.epsilon().max(resolution));
    let [source, target] = scale.clouds();
    let [of_source, of_target] = Side::BOTH.map(|side| points.marginal(side).penalty());
    let problem = Problem::unbalanced(scale.geometry()?, &source, &target, epsilon, of_source, of_target)?;
    problem.with_regularizer(points.regularizer())
}
