//! Sinkhorn's iteration (Sinkhorn 1967; Cuturi 2013), in potentials, on any backend and geometry.
//!
//! ```text
//! f <- step_a(-epsilon log sum_j b_j exp((g_j - C_ij) / epsilon))
//! g <- step_b(-epsilon log sum_i a_i exp((f_i - C_ij) / epsilon))
//! ```
//!
//! It ascends the dual block by block, and so serves every regularizer of the plan: a kernel tells its own
//! [c-transform](ot_core::KernelOp::c_transform). What speeds it up and guards it are values of their own: [`Annealing`],
//! [`Relaxation`], [`Update`], the [translation](ot_core::Translation) of unbalanced potentials. A solve returns the best
//! iterate, why it stopped, and a certificate recomputed from scratch.

use ot_core::{Device, Problem};

use super::{Annealing, HandOver, Relaxation, Update};
use crate::{limits::Limits, newton::NewtonReport};

/// Settings of Sinkhorn's iteration.
///
/// Cost: one [`sweep`](ot_core::KernelOp::sweep) an iteration, two reads at each check. Memory: five vectors
/// of each side.
///
/// ```
/// use ot_core::{CostMatrix, Epsilon, GeometryBuilder, Histogram, Measure, Problem};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::Sinkhorn;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
/// let (a, b) = (Histogram::new(vec![0.5, 0.5])?, Histogram::new(vec![0.25, 0.75])?);
/// let geometry = backend.geometry(a.support(), b.support(), &cost)?;
/// let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.1))?;
/// let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem)?;
/// assert!(solution.status().is_converged());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sinkhorn {
    pub(super) limits: Limits,
    pub(super) annealing: Annealing,
    pub(super) relaxation: Relaxation,
    pub(super) update: Update,
    pub(super) hand_over: HandOver,
    /// The rate of the plain iteration on problems of the same kind.
    pub(super) expected_rate: Option<f64>,
}

impl Default for Sinkhorn {
    fn default() -> Self {
        Self::new()
    }
}

impl Sinkhorn {
    /// Tolerance 1e-6 in f64 and 1e-4 in f32, at most 10 000 iterations, a check every 5, automatic annealing, adaptive
    /// over-relaxation, alternating updates, a hand-over to Newton's method where that is cheaper.
    #[must_use]
    pub fn new() -> Self {
        Self {
            limits: Limits::new("max_iterations", 10_000).check_interval(5),
            annealing: Annealing::Automatic,
            relaxation: Relaxation::Adaptive,
            update: Update::Alternating,
            hand_over: HandOver::Automatic,
            expected_rate: None,
        }
    }

    /// The marginal error that counts as converged: both sides, L1, relative to the mass,
    /// rounding included (see [`Certificate`](ot_core::Certificate)).
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most iterations, over all stages of the annealing.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// Iterations between two checks: the only points where the host reads.
    ///
    /// A check copies both potentials, runs the by-products' formulas over n + m atoms and reads five numbers of each column:
    /// O(n + m), where an iteration is O(n m). Between 100 000 points of the plane and as many, in f64 on two cores, a check takes
    /// 3 ms; an iteration 40 ms where far pairs are left out, at an epsilon of (2 spacings)^2, and 3.5 s over all of them.
    #[must_use]
    pub fn check_interval(self, check_interval: usize) -> Self {
        Self { limits: self.limits.check_interval(check_interval), ..self }
    }

    /// The schedule of epsilons. The start is tried at the epsilon of the problem first, by two iterations; a run of fewer
    /// than eight is not annealed.
    #[must_use]
    pub fn annealing(self, annealing: Annealing) -> Self {
        Self { annealing, ..self }
    }

    /// The relaxation of half-steps.
    #[must_use]
    pub fn relaxation(self, relaxation: Relaxation) -> Self {
        Self { relaxation, ..self }
    }

    /// The order of the half-steps.
    #[must_use]
    pub fn update(self, update: Update) -> Self {
        Self { update, ..self }
    }

    /// Whether Newton's method takes over where it is cheaper: see [`HandOver`].
    #[must_use]
    pub fn hand_over(self, hand_over: HandOver) -> Self {
        Self { hand_over, ..self }
    }

    /// The rate of the plain iteration that problems of the same kind have [had](SinkhornReport::rate): the relaxation need
    /// not be found again.
    pub(crate) fn expecting(self, expected_rate: Option<f64>) -> Self {
        Self { expected_rate, ..self }
    }

    /// The tolerance asked for, or what the backend of a problem can be asked for.
    pub(super) fn tolerance_on<D: Device>(&self, problem: &Problem<D>) -> f64 {
        self.limits.tolerance_on(problem.backend())
    }
}

/// What a run of [`Sinkhorn`] took.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SinkhornReport {
    /// Iterations of Sinkhorn, over all stages of the annealing.
    pub iterations: usize,
    /// What Newton's method took, where it was [handed over](HandOver) to.
    pub newton: Option<NewtonReport>,
    /// The rate of the plain iteration as last observed: the median over the columns. None if no column was looked at for long
    /// enough.
    pub rate: Option<f64>,
}
