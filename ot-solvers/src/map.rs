//! The map of an entropic plan, at any point.
//!
//! Entropic potentials extend to all points, and so does the conditional distribution of the target given a point x
//! (Pooladian, Niles-Weed 2021):
//!
//! ```text
//! T(x) = sum_j y_j b_j exp((g_j - c(x, y_j)) / epsilon) / sum_j b_j exp((g_j - c(x, y_j)) / epsilon)
//! ```
//!
//! With other values v_j in place of y_j it carries functions and labels from the target to x. At the atoms of the source it
//! is the barycentric projection of the plan.

use std::sync::Arc;

use ot_core::{
    Device, Epsilon, Error, Free, GeometryBuilder, GroundCost, Histogram, Measure, Plan, PointCloud, Potentials,
    Problem, Side, Solution, Support,
};

/// The conditional means of a plan between clouds, as a function of points.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{EntropicMap, transport};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 1.0, 2.0], 1)?;
/// let b = PointCloud::uniform(vec![5.0, 6.0, 7.0], 1)?;
/// let solution = transport(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.05))?;
/// let map = EntropicMap::new(&backend, &solution, &b, &SqEuclidean)?;
/// assert!((map.images(&[1.0])?[0] - 6.0).abs() < 1e-6);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct EntropicMap<'a, D: Device> {
    builder: &'a dyn GeometryBuilder<Device = D>,
    solution: &'a Solution<D>,
    target: &'a PointCloud<'a, D::Elem>,
    cost: &'a dyn GroundCost,
}

impl<'a, D: Device> EntropicMap<'a, D> {
    /// The map of a solution to the points of its target, under the cost that it was solved with.
    ///
    /// # Errors
    /// [`Error::Length`] for a target of another number of points, [`Error::BatchMismatch`] for one of several columns that
    /// are not as many as those of the solution, [`Error::MissingCapability`] for a plan that is not
    /// entropic.
    pub fn new(
        builder: &'a dyn GeometryBuilder<Device = D>,
        solution: &'a Solution<D>,
        target: &'a PointCloud<'a, D::Elem>,
        cost: &'a dyn GroundCost,
    ) -> Result<Self, Error> {
        solution.problem().require_entropy()?;
        let (expected, found) = (solution.problem().marginal(Side::Target).len(), target.points().len());
        if expected != found {
            return Err(Error::Length { what: "points of the target", expected, found });
        }
        let (source_columns, target_columns) = (solution.problem().columns(), target.weights_view().columns());
        if ![1, source_columns].contains(&target_columns) {
            return Err(Error::BatchMismatch { source_columns, target_columns });
        }
        Ok(Self { builder, solution, target, cost })
    }

    /// T(x) for `points`, point by point; a batch gives its columns one after the other. Costs two passes over pairs.
    ///
    /// # Errors
    /// Those of [`means`](Self::means).
    pub fn images(&self, points: &[D::Elem]) -> Result<Vec<D::Elem>, Error> {
        let target = self.target.points();
        self.means(points, target.coordinates(), target.dimension())
    }

    /// The conditional means of `values` of the target (`channels` for each atom, atom by atom: a function, or labels as
    /// indicators), laid out like [`images`](Self::images).
    ///
    /// # Errors
    /// [`Error::Coordinate`], [`Error::EmptyMeasure`] and [`Error::Length`] for points that are none, [`Error::Length`] or
    /// [`Error::ZeroDimension`] for values that do not fit; those of [`GeometryBuilder::geometry`].
    pub fn means(&self, points: &[D::Elem], values: &[D::Elem], channels: usize) -> Result<Vec<D::Elem>, Error> {
        let (problem, potentials) = (self.solution.problem(), self.solution.potentials());
        let points = PointCloud::uniform(points, self.target.points().dimension())?;
        let support: Support<'_, D::Elem> = points.support();
        let geometry = self.builder.geometry(support, self.target.support(), self.cost)?;
        let epsilon = Epsilon::Absolute(potentials.epsilon);
        // A histogram that serves all columns of the solution, once for each.
        let weights = self.target.weights_view();
        let target =
            Histogram::batch(weights.values().repeat(problem.columns() / weights.columns()), problem.columns())?;
        let conditional = Problem::unbalanced(geometry, &points, &target, epsilon, &Free, &Free)?;

        let backend = problem.backend();
        let target = backend.copied(&potentials.target)?;
        let source = backend.filled(0.0, points.points().len(), problem.columns())?;
        let potentials = Arc::new(Potentials { source, target, epsilon: potentials.epsilon });
        // A conditional distribution does not depend on the potential of its own side.
        Plan::new(conditional, potentials)?.barycentric_projection(Side::Source, values, channels)
    }
}
