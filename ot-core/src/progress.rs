//! The progress that a solver reports, and the observer that receives it.

use std::ops::ControlFlow;

/// What a solver counts at the moment.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Scales of clusters, coarse before fine, from which a solve starts.
    Start,
    /// Iterations at epsilons above that of the problem, on the way down to it.
    Annealing,
    /// Iterations on the problem itself.
    Iterations,
    /// Passes of Newton's method over all pairs, at the epsilon of the problem or on the way down to it.
    NewtonPasses,
    /// Pivots of a simplex.
    Pivots,
    /// Blocks of samples.
    Samples,
    /// Problems, of many that are solved together.
    Pairs,
    /// Certificates, with their numbers: the end of a solve.
    Certificate,
}

/// What is known at a check, as far as the solver knows it: all of it already read from the device.
///
/// ```
/// use ot_core::{Phase, Progress};
///
/// let progress = Progress { marginal_error: Some(1e-3), of: Some(100), ..Progress::new(Phase::Iterations, 20) };
/// assert_eq!((progress.done, progress.dual), (20, None));
/// ```
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct Progress {
    /// What is counted.
    pub phase: Phase,
    /// How many there have been since the solve began; iterations of an annealing count on.
    pub done: usize,
    /// The most there may be.
    pub of: Option<usize>,
    /// The epsilon in use, of a problem that has one.
    pub epsilon: Option<f64>,
    /// The largest marginal error over the active columns, as by-products of the iteration, samples or a certificate tell it.
    pub marginal_error: Option<f64>,
    /// The smallest dual value over the active columns, told likewise.
    pub dual: Option<f64>,
    /// The largest gap between a primal and a dual value.
    pub gap: Option<f64>,
    /// The largest relaxation in use.
    pub relaxation: Option<f64>,
    /// Columns that still move.
    pub active_columns: usize,
}

impl Progress {
    /// So many of a phase, of one column, of which nothing else is known.
    #[must_use]
    pub fn new(phase: Phase, done: usize) -> Self {
        Self {
            phase,
            done,
            of: None,
            epsilon: None,
            marginal_error: None,
            dual: None,
            gap: None,
            relaxation: None,
            active_columns: 1,
        }
    }
}

/// Watches a solve, and may cancel it. Called at checks, with numbers already read, so that watching adds no
/// synchronisation. Where a pass over all pairs takes long (from 2^24 pairs on), it is called after every pass too, with
/// the number of iterations alone, so that a break is heeded within one pass.
pub trait Observer: Send {
    /// Told of a check; [`ControlFlow::Break`] cancels.
    fn observe(&mut self, progress: &Progress) -> ControlFlow<()>;
}

impl<F: FnMut(&Progress) -> ControlFlow<()> + Send> Observer for F {
    fn observe(&mut self, progress: &Progress) -> ControlFlow<()> {
        self(progress)
    }
}
