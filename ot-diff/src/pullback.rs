//! A value together with what carries cotangents of it back: the rule that automatic differentiation asks for.

use ot_core::{Device, Error, Solution};

use crate::{Cotangent, Linearised, Output};

/// An output of a solution with its pullback, in the manner of ChainRules' `rrule`.
///
/// The pullback is an owned state, not a closure over borrows: a framework stores it between its forward and its backward
/// pass (the context of a torch `Function`, the residuals of a JAX `custom_vjp`, a burn `Backward`), also behind a
/// foreign-function boundary as a boxed pointer. There is no tape and no global, and the same cotangent gives the same bits
/// each time. Forward rules (`custom_jvp`) call [`Linearised::push_forward`].
///
/// ```
/// use ot_core::{Epsilon, PointCloud, Side, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_diff::{Gradient, Output, value_and_pullback};
/// use ot_solvers::transport;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let source = PointCloud::uniform(vec![0.0, 1.0], 1)?;
/// let target = PointCloud::uniform(vec![5.0, 6.0], 1)?;
/// let solution = transport(&backend, &source, &target, &SqEuclidean, Epsilon::Absolute(0.2))?;
///
/// // Forward: the barycentric projection. Backward: the cotangent that a loss after it has.
/// let projection = Output::Projection { side: Side::Source, points: vec![5.0, 6.0], dimension: 1 };
/// let (projected, mut pullback) = value_and_pullback(&solution, projection)?;
/// let cotangent: Vec<f64> = projected.iter().map(|y| 2.0 * (y - 5.5)).collect();
/// let mut gradient = pullback.pull_back(&cotangent)?;
/// let points = gradient.points(Side::Source)?;
/// assert!(points[0] < 0.0 && points[1] > 0.0); // spreading the source spreads its projection
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`Linearised::new`] and [`Linearised::value`].
pub fn value_and_pullback<D: Device>(
    solution: &Solution<D>,
    output: Output<D::Elem>,
) -> Result<(Vec<D::Elem>, Pullback<D>), Error> {
    let mut linearised = Linearised::new(solution)?;
    let value = linearised.value(&output)?;
    Ok((value, Pullback { linearised, output }))
}

/// What carries cotangents of one output back to the data.
#[derive(Debug)]
pub struct Pullback<D: Device> {
    linearised: Linearised<D>,
    output: Output<D::Elem>,
}

impl<D: Device> Pullback<D> {
    /// The gradient of <cotangent, output>. One linear solve.
    ///
    /// # Errors
    /// Those of [`Linearised::pull_back`].
    pub fn pull_back(&mut self, cotangent: &[D::Elem]) -> Result<Cotangent<'_, D>, Error> {
        self.linearised.pull_back(&[(&self.output, cotangent)])
    }

    /// The linearised solution, to be asked more.
    #[must_use]
    pub fn into_linearised(self) -> Linearised<D> {
        self.linearised
    }
}
