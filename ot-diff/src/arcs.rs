//! The factor of the plan's arcs as a preconditioner.

use ot_core::{Backend, Device, Error, Scalar, Solution};
use ot_solvers::PlanFactor;

use crate::Preconditioner;

/// A [`Preconditioner`] by elimination of the arcs that carry the plan ([`PlanFactor`]): about ten steps of conjugate gradients at any
/// epsilon where plans are sparse, where the system without it takes hundreds.
///
/// When to use it: at epsilon below about 1e-3 of the largest cost. Above, plans are dense, and [`new`](Self::new) refuses them;
/// fewer than twenty steps do without. Each step brings a residual to the host and back.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, Side, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_diff::{ArcsPreconditioner, Linearised, Output};
/// use ot_solvers::transport;
///
/// let points = |shift: f64| (0..40).map(|i| (f64::from(i) * 0.37 + shift).fract()).collect::<Vec<_>>();
/// let (a, b) = (PointCloud::uniform(points(0.0), 1)?, PointCloud::uniform(points(0.2), 1)?);
/// let solution = transport(&CpuBackend::<f64>::new(1)?, &a, &b, &SqEuclidean, Epsilon::Absolute(1e-3))?;
/// let preconditioner = ArcsPreconditioner::new(&solution)?;
/// let mut linearised = Linearised::new(&solution)?.with_preconditioner(Box::new(preconditioner));
/// let cotangent = linearised.pull_back(&[(&Output::TransportCost, &[1.0])])?;
/// assert!(cotangent.solve().status.is_converged());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct ArcsPreconditioner {
    factor: PlanFactor,
}

impl ArcsPreconditioner {
    /// Lists and factors the arcs of a solution.
    ///
    /// # Errors
    /// Those of [`PlanFactor::of`].
    pub fn new<D: Device>(solution: &Solution<D>) -> Result<Self, Error> {
        Ok(Self { factor: PlanFactor::of(solution)? })
    }
}

impl<D: Device> Preconditioner<D> for ArcsPreconditioner {
    fn precondition(
        &mut self,
        backend: &dyn Backend<D>,
        residual: &D::Vector,
        out: &mut D::Vector,
    ) -> Result<(), Error> {
        let (rows, _) = backend.shape(residual);
        let mut elements = backend.download(&[residual])?.swap_remove(0);
        for (column, elements) in elements.chunks_exact_mut(rows).enumerate() {
            let mut values: Vec<f64> = elements.iter().map(|value| value.to_f64()).collect();
            self.factor.precondition(column, &mut values);
            elements.iter_mut().zip(values).for_each(|(element, value)| *element = D::Elem::from_f64(value));
        }
        backend.write(&elements, out)
    }
}
