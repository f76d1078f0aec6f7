//! How many half-steps, of which sides, and how many of them are kept.

use ot_core::{Device, Error, Problem, Side};

use super::Trajectory;

/// How much of the iteration is kept for the way back.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// One vector for each half-step, and one more once a gradient has been asked for: 2 L (n + m) numbers.
    #[default]
    Full,
    /// One vector for each of sqrt(2 L) half-steps, and as many while a gradient is read; half-steps between are done again
    /// at each reading.
    Checkpointed,
}

/// Exactly L iterations of u and v: the settings.
///
/// | preset | start | half-steps | exact marginal |
/// |---|---|---|---|
/// | [`genevay_2017`](Self::genevay_2017) | v = 1 | u, v, ..., u, v: 2 L | columns |
/// | [`cuturi_tutorial`](Self::cuturi_tutorial) | v = 1 | u, v, ..., v, u: 2 L - 1 | rows |
///
/// In general the side that moves [first](Self::first) meets a scaling of 1 of the other, and moves L times. If it is the
/// [last](Self::last) too, the other moves L - 1 times, else L times. No iterations leave u = v = 1 and P = K.
///
/// Over a stored cost K is kept, scaled, as much memory as the cost, and a half-step is a product with it; elsewhere it is a pass of
/// exponentials. Nothing overflows at any epsilon: where potentials leave the range, the kernel is scaled anew.
///
/// ```
/// use ot_core::{Epsilon, GeometryBuilder, Measure, PointCloud, Problem, Side, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_diff::{Gradient, Objective, Unrolled};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let source = PointCloud::uniform(vec![0.0, 0.0, 1.0, 0.0], 2)?;
/// let target = PointCloud::uniform(vec![0.0, 3.0, 1.0, 3.0], 2)?;
/// let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean)?;
/// let problem = Problem::new(geometry, &source, &target, Epsilon::Absolute(0.5))?;
///
/// let mut run = Unrolled::genevay_2017(20).run(&problem)?;
/// assert!((run.value(Objective::TransportCost)?[0] - 9.0).abs() < 0.3);
/// let points = run.gradient(Objective::TransportCost)?.points(Side::Source)?;
/// assert!((points[1] + 3.0).abs() < 1e-9);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Unrolled {
    iterations: usize,
    first: Side,
    last: Side,
    memory: Memory,
}

impl Unrolled {
    /// L iterations, u first and v last, with full memory.
    #[must_use]
    pub fn new(iterations: usize) -> Self {
        Self { iterations, first: Side::Source, last: Side::Target, memory: Memory::Full }
    }

    /// v = 1, u first and v last: columns are exact (Genevay, Peyre, Cuturi 2017).
    #[must_use]
    pub fn genevay_2017(iterations: usize) -> Self {
        Self::new(iterations)
    }

    /// v = 1, u first and u last: rows are exact (Cuturi's tutorial).
    #[must_use]
    pub fn cuturi_tutorial(iterations: usize) -> Self {
        Self::new(iterations).last(Side::Source)
    }

    /// The side that moves first, against a scaling of 1.
    #[must_use]
    pub fn first(self, first: Side) -> Self {
        Self { first, ..self }
    }

    /// The side that moves last, whose marginal is exact if it is prescribed.
    #[must_use]
    pub fn last(self, last: Side) -> Self {
        Self { last, ..self }
    }

    /// What is kept for the way back.
    #[must_use]
    pub fn memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    /// The sides of all half-steps, in their order.
    #[must_use]
    pub fn half_steps(&self) -> Vec<Side> {
        let both = [self.first, self.first.opposite()];
        let count = match self.first == self.last {
            true => (2 * self.iterations).saturating_sub(1),
            false => 2 * self.iterations,
        };
        both.into_iter().cycle().take(count).collect()
    }

    /// Half-steps between two that are kept.
    pub(super) fn stride(&self) -> usize {
        match self.memory {
            Memory::Full => 1,
            Memory::Checkpointed => ((2 * self.iterations) as f64).sqrt().ceil().max(1.0) as usize,
        }
    }

    /// Does the iterations on a problem, balanced or not, of one column or of a batch. One softmin a half-step.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for another regularizer than entropy; [`Error::Parameter`] for a weight of zero on a side
    /// whose marginal is not prescribed, where u is no differentiable function of it; those of
    /// [`Geometry::bind`](ot_core::Geometry::bind).
    pub fn run<D: Device>(&self, problem: &Problem<D>) -> Result<Trajectory<D>, Error> {
        Trajectory::new(*self, problem)
    }
}
