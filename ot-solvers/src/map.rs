//! The map of an entropic plan, at any point.
//!
//! Entropic potentials extend to all points, and so does the conditional law of the target given a point x (Pooladian,
//! Niles-Weed 2021):
//!
//! ```text
//! T(x) = sum_j y_j b_j exp((g_j - c(x, y_j)) / epsilon) / sum_j b_j exp((g_j - c(x, y_j)) / epsilon)
//! ```
//!
//! With other values v_j in place of y_j it carries functions and labels from the target to x. At the atoms of the source it
//! is the barycentric projection of the plan.

use std::sync::Arc;

use ot_core::{
    Backend, Epsilon, Error, Free, GroundCost, Measure, Plan, PointCloud, Potentials, Problem, Scalar, Side, Solution,
    Support,
};

/// The conditional means of a plan between clouds, as a function of points.
///
/// ```
/// use ot_core::{Backend, Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{EntropicMap, transport};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 1.0, 2.0], 1)?;
/// let b = PointCloud::uniform(vec![5.0, 6.0, 7.0], 1)?;
/// let solution = transport(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.05))?;
/// let map = EntropicMap::new(&solution, &b, &SqEuclidean)?;
/// assert!((map.images(&[1.0])?[0] - 6.0).abs() < 1e-6);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct EntropicMap<'a, B: Backend> {
    solution: &'a Solution<B>,
    target: &'a PointCloud<'a, B::Elem>,
    cost: &'a dyn GroundCost,
}

impl<'a, B: Backend> EntropicMap<'a, B> {
    /// The map of a solution to the points of its target, under the cost that it was solved with.
    ///
    /// # Errors
    /// [`Error::Length`] for a target of another number of points, [`Error::MissingCapability`] for a plan that is not
    /// entropic.
    pub fn new(
        solution: &'a Solution<B>,
        target: &'a PointCloud<'a, B::Elem>,
        cost: &'a dyn GroundCost,
    ) -> Result<Self, Error> {
        solution.problem().require_entropy()?;
        let (expected, found) = (solution.problem().marginal(Side::Target).len(), target.points().len());
        if expected != found {
            return Err(Error::Length { what: "points of the target", expected, found });
        }
        Ok(Self { solution, target, cost })
    }

    /// T(x) for `points`, point by point; a batch gives its columns one after the other. Costs two passes over pairs.
    ///
    /// # Errors
    /// Those of [`means`](Self::means).
    pub fn images(&self, points: &[B::Elem]) -> Result<Vec<B::Elem>, Error> {
        let target = self.target.points();
        self.means(points, target.coordinates(), target.dimension())
    }

    /// The conditional means of `values` of the target (`channels` for each atom, atom by atom: a function, or labels as
    /// indicators), laid out like [`images`](Self::images).
    ///
    /// # Errors
    /// [`Error::Coordinate`], [`Error::EmptyMeasure`] and [`Error::Length`] for points that are none, [`Error::Length`] or
    /// [`Error::ZeroDimension`] for values that do not fit; those of [`Backend::geometry`].
    pub fn means(&self, points: &[B::Elem], values: &[B::Elem], channels: usize) -> Result<Vec<B::Elem>, Error> {
        let (problem, potentials) = (self.solution.problem(), self.solution.potentials());
        let (backend, columns) = (problem.backend(), problem.columns());
        let points = PointCloud::uniform(points, self.target.points().dimension())?;
        let support: Support<'_, B::Elem> = points.support();
        let geometry = backend.geometry(support, self.target.support(), self.cost)?;
        let epsilon = Epsilon::Absolute(potentials.epsilon);
        let free = Arc::new(Free);
        let problem = Problem::relaxed(geometry, &points, self.target, epsilon, free.clone(), free)?;

        let mut target = backend.alloc(self.target.points().len(), columns)?;
        backend.copy(&potentials.target, &mut target)?;
        let zeros = vec![B::Elem::from_f64(0.0); points.points().len() * columns];
        let source = backend.upload(&zeros, columns)?;
        let potentials = Arc::new(Potentials { source, target, epsilon: potentials.epsilon });
        // A conditional law does not depend on the potential of its own side.
        Plan::new(problem, potentials)?.barycentric_projection(Side::Source, values, channels)
    }
}
