//! Inputs, weights, support and cost in; barycenter out.

use ot_core::{Elem, Epsilon, Error, GeometryBuilder, GroundCost, JointSolution, Measure};

use super::{Barycenter, BregmanProjections};

/// The entropic barycenter of inputs of one mass, with the defaults of [`BregmanProjections`].
///
/// `weights` are the lambda of the inputs, relative to their sum; several sets, one after the other, make a batch. `reference`
/// is the measure m on the support of the barycenter (see [`Barycenter`]), uniform for want of another.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::barycenter;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::new(vec![0.0, 1.0, 2.0, 3.0, 4.0], 1, vec![1.0, 0.0, 0.0, 0.0, 0.0])?;
/// let b = PointCloud::new(vec![0.0, 1.0, 2.0, 3.0, 4.0], 1, vec![0.0, 0.0, 0.0, 0.0, 1.0])?;
/// let support = PointCloud::uniform(vec![0.0, 1.0, 2.0, 3.0, 4.0], 1)?;
/// let solution = barycenter(&backend, &[&a, &b], &[0.5, 0.5], &support, &SqEuclidean, Epsilon::Absolute(0.2))?;
/// assert!(solution.status().is_converged() && solution.certificate().gap < 1e-5);
/// assert!(solution.measure(0)?[2] > 0.98);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`Barycenter::inputs`], [`Barycenter::problem`] and [`BregmanRun::solve`](super::BregmanRun::solve).
pub fn barycenter<G: GeometryBuilder + ?Sized>(
    builder: &G,
    inputs: &[&dyn Measure<Elem<G>>],
    weights: &[f64],
    reference: &dyn Measure<Elem<G>>,
    cost: &dyn GroundCost,
    epsilon: Epsilon,
) -> Result<JointSolution<G::Device>, Error> {
    let problem = Barycenter::new(builder, reference, cost, epsilon).inputs(inputs, weights)?.problem()?;
    BregmanProjections::new().solve(&problem)
}
