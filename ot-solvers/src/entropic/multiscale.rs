//! Coarse before fine: potentials between clusters of two clouds, extended to their points (Mérigot 2011; Schmitzer
//! 2019; Feydy 2020).
//!
//! ```text
//! f(x) = step_a(-epsilon log sum_J b_J exp((g_J - c(x, y_J)) / epsilon))     over the clusters J of the target
//! ```
//!
//! A cluster of eight points costs a 64th of an iteration between points, and the potentials of a problem are smooth at
//! the scale of sqrt(epsilon): all the way from zero is gone between clusters, and little is left to do between points.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Backend, Epsilon, Error, GroundCost, Measure, Operand, PointCloud, PointsView, Potentials, Problem,
    Scalar, Side, SoftMin, Solution, Support, WeightsView,
};

use super::{Sinkhorn, Start, clusters::cluster};

/// Halvings from one scale to the next: a cell is halved along three axes at most.
const HALVINGS: usize = 3;

/// The fewest clusters that a cloud is cut into.
const FEWEST: usize = 256;

/// The marginal error between clusters.
const TOLERANCE: f64 = 3e-3;

/// The most iterations at one scale.
const ITERATIONS: usize = 200;

impl<B: Backend> Start<'_, B> {
    /// The potentials of the same problem between clusters of its points, extended to the points.
    ///
    /// Clusters are solved for on ever finer scales, each at an epsilon that it resolves: the cost of moving a point to
    /// the centre of its cluster, or the epsilon of the problem. Pays from a few thousand points on, in few dimensions;
    /// supports that are no clouds, and small clouds, start from zero. `source`, `target` and `cost` are those that
    /// the problem was made of. Costs about a quarter of an iteration between points in three dimensions, and the
    /// memory of the clusters.
    ///
    /// ```
    /// use ot_core::{Backend, Epsilon, Measure, PointCloud, Problem, SqEuclidean};
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
    /// let start = Start::multiscale(&problem, &a, &b, &SqEuclidean)?;
    /// let warm = sinkhorn.run(&problem).start(start).solve()?;
    /// assert!(warm.status().is_converged());
    /// assert!(warm.iterations() < sinkhorn.solve(&problem)?.iterations());
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Length`] for measures of another size than the problem's; those of [`Backend::geometry`] and
    /// [`Sinkhorn::solve`].
    pub fn multiscale(
        problem: &Problem<B>,
        source: &dyn Measure<B::Elem>,
        target: &dyn Measure<B::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Self, Error> {
        let hierarchies = [(Side::Source, source), (Side::Target, target)];
        let [source, target] = hierarchies.map(|(side, measure)| Hierarchy::of(problem.marginal(side).len(), measure));
        let (Some(source), Some(target)) = (source?, target?) else { return Ok(Start::Zero) };
        let coarsest = source.coarsest().max(target.coarsest());
        if problem.geometry().fixed_epsilon().is_some() || coarsest == 0 {
            return Ok(Start::Zero);
        }

        let mut start = Start::Zero;
        for scale in (1..=coarsest).rev() {
            let scale = Scale { source: &source, target: &target, cost, scale };
            let sinkhorn = Sinkhorn::new().tolerance(TOLERANCE).max_iterations(ITERATIONS);
            let clusters = sinkhorn.run(&scale.problem(problem)?).start(start).solve()?;
            start = Start::Owned(scale.extend(&clusters)?);
        }
        Ok(start)
    }
}

/// A cloud, and its clusters on ever coarser scales.
struct Hierarchy<'a, T: Scalar> {
    cloud: Cloud<'a, T>,
    /// For each scale from 1 on: the clusters, and to which of them each atom of the finer scale belongs.
    coarser: Vec<(PointCloud<'static, T>, Vec<u32>)>,
}

/// Points and their weights.
#[derive(Copy, Clone, Debug)]
struct Cloud<'a, T> {
    points: PointsView<'a, T>,
    weights: WeightsView<'a, T>,
}

impl<T: Scalar> Measure<T> for Cloud<'_, T> {
    fn support(&self) -> Support<'_, T> {
        Support::Points(self.points)
    }

    fn weights(&self) -> Option<WeightsView<'_, T>> {
        Some(self.weights)
    }
}

impl<'a, T: Scalar> Hierarchy<'a, T> {
    /// `None` for what is no cloud, or has a histogram without mass.
    fn of(expected: usize, measure: &'a dyn Measure<T>) -> Result<Option<Self>, Error> {
        let (Support::Points(points), Some(weights)) = (measure.support(), measure.weights()) else { return Ok(None) };
        let found = points.len();
        if (found, weights.len()) != (expected, expected) {
            return Err(Error::Length { what: "points of a multiscale start", expected, found });
        }
        if (0..weights.columns()).any(|column| weights.mass(column) == 0.0) {
            return Ok(None);
        }
        let cloud = Cloud { points, weights };
        let mut coarser: Vec<(PointCloud<'static, T>, Vec<u32>)> = Vec::new();
        let halvings = HALVINGS.min(points.dimension());
        loop {
            let finest = coarser.last().map_or(cloud, |(clusters, _)| Cloud::of(clusters));
            if finest.points.len() >> halvings < FEWEST {
                break;
            }
            let depth = (finest.points.len() >> halvings).ilog2();
            coarser.push(cluster(finest.points, finest.weights, depth)?);
        }
        Ok(Some(Self { cloud, coarser }))
    }

    fn coarsest(&self) -> usize {
        self.coarser.len()
    }

    /// The atoms of a scale; a cloud with fewer scales stays at its coarsest.
    fn at(&self, scale: usize) -> Cloud<'_, T> {
        match scale.min(self.coarser.len()) {
            0 => self.cloud,
            scale => Cloud::of(&self.coarser[scale - 1].0),
        }
    }

    /// Values of the atoms of the coarser scale, column after column, for each atom of a scale.
    fn inherit(&self, values: Vec<T>, scale: usize) -> Vec<T> {
        match self.coarser.get(scale) {
            None => values,
            Some((clusters, cluster)) => {
                let columns = values.chunks_exact(clusters.points().len());
                columns.flat_map(|column| cluster.iter().map(|&cluster| column[cluster as usize])).collect()
            }
        }
    }

    /// The mean cost of moving an atom of the finer scale to the centre of its cluster.
    fn resolution(&self, cost: &dyn GroundCost, scale: usize) -> f64 {
        let Some((clusters, cluster)) = scale.checked_sub(1).and_then(|index| self.coarser.get(index)) else {
            return 0.0;
        };
        let finer = self.at(scale - 1).points;
        let wide = |point: &[T]| -> Vec<f64> { point.iter().map(|x| x.to_f64()).collect() };
        let total: f64 = finer
            .iter()
            .zip(cluster)
            .map(|(point, &cluster)| {
                let mut out = [0.0];
                cost.costs_f64(&wide(point), &wide(clusters.points().point(cluster as usize)), &mut out);
                if out[0].is_finite() { out[0].abs() } else { 0.0 }
            })
            .sum();
        total / finer.len() as f64
    }
}

impl<'a, T: Scalar> Cloud<'a, T> {
    fn of(clusters: &'a PointCloud<'static, T>) -> Self {
        Self { points: clusters.points(), weights: clusters.weights_view() }
    }
}

/// The clusters of one scale on both sides.
struct Scale<'a, T: Scalar> {
    source: &'a Hierarchy<'a, T>,
    target: &'a Hierarchy<'a, T>,
    cost: &'a dyn GroundCost,
    scale: usize,
}

impl<T: Scalar> Scale<'_, T> {
    /// The problem between the clusters, with the laws of the one between points.
    fn problem<B: Backend<Elem = T>>(&self, points: &Problem<B>) -> Result<Problem<B>, Error> {
        let Self { source, target, cost, scale } = *self;
        let resolution = source.resolution(cost, scale).max(target.resolution(cost, scale));
        let epsilon = Epsilon::Absolute(points.epsilon().max(resolution));
        let (source, target) = (source.at(scale), target.at(scale));
        let geometry = points.backend().geometry(source.support(), target.support(), cost)?;
        let law = |side: Side| Arc::clone(points.marginal(side).regularizer());
        Problem::relaxed(geometry, &source, &target, epsilon, law(Side::Source), law(Side::Target))
    }

    /// Both potentials at the atoms of the next finer scale: a half-step from the clusters of the other side.
    fn extend<B: Backend<Elem = T>>(&self, clusters: &Solution<B>) -> Result<Potentials<B>, Error> {
        let (problem, coarse) = (clusters.problem(), clusters.potentials());
        let (backend, columns) = (problem.backend(), problem.columns());
        let (epsilon, active) = (coarse.epsilon, ActiveColumns::all(columns));
        let half_step = |side: Side| -> Result<B::Vector, Error> {
            let (own, fine, other) = match side {
                Side::Source => (self.source, [self.scale - 1, self.scale], side.opposite()),
                Side::Target => (self.target, [self.scale, self.scale - 1], side.opposite()),
            };
            let (source, target) = (self.source.at(fine[0]), self.target.at(fine[1]));
            let geometry = backend.geometry(source.support(), target.support(), self.cost)?;
            let shift = own.inherit(clusters.potential(side)?, self.scale - 1);
            let shift = backend.upload(&shift, columns)?;
            let rows = geometry.len(side);
            let (mut softmin, mut extended) = (backend.alloc(rows, columns)?, backend.alloc(rows, columns)?);
            let (potential, log_weights) = (coarse.side(other), problem.marginal(other).log_weights());
            let request = SoftMin { side, potential, log_weights, shift: &shift, active: &active };
            geometry.bind(epsilon, columns)?.softmin(request, &mut softmin)?;
            let operands = [Operand::Vector(&softmin), Operand::Constant(epsilon)];
            backend.map(problem.marginal(side).law().step(), &operands, &mut [&mut extended])?;
            Ok(extended)
        };
        Ok(Potentials { source: half_step(Side::Source)?, target: half_step(Side::Target)?, epsilon })
    }
}
