//! What the host knows of each column of an iteration: its relaxation, its best iterate, and why it rests.

use std::sync::LazyLock;

use ot_core::{Backend, Certificate, Device, Error, Operand, Potentials, Program, ProgramError, Real, Status};

use super::relaxation::{Controller, Observed};

/// The marginal error at which a stage of an annealing ends.
const STAGE_TOLERANCE: f64 = 1e-2;

/// The most iterations of a stage of an annealing.
pub(crate) const STAGE_ITERATIONS: usize = 200;

/// Checks without a smaller error or a larger dual after which a column has stalled.
const PATIENCE: usize = 50;

/// How often a column that rested too early is sent on.
pub(crate) const SECOND_CHANCES: usize = 4;

/// What the host remembers of one column.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Column {
    pub(crate) controller: Controller,
    /// What was seen of the best iterate at this epsilon.
    best: Option<Observed>,
    /// What was seen at the last check.
    last: Option<Observed>,
    /// The smallest error and the largest dual since the column last woke.
    reached: [f64; 2],
    /// Checks without a smaller error or a larger dual.
    checks_since: usize,
    /// Why the column rests; `Converged` until certified is a guess.
    pub(crate) rest: Option<Status>,
}

/// When a column comes to rest.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Goal {
    pub(crate) tolerance: f64,
    pub(crate) last_iteration: usize,
    patience: usize,
}

impl Goal {
    /// To a tolerance, in iterations up to the last.
    pub(crate) fn new(tolerance: f64, last_iteration: usize) -> Self {
        Self { tolerance, last_iteration, patience: PATIENCE }
    }

    /// That of a stage of the annealing: near enough to its solution, and no more.
    pub(crate) fn stage(tolerance: f64, last_iteration: usize) -> Self {
        Self::new(STAGE_TOLERANCE.max(tolerance), last_iteration)
    }
}

/// (now, other, chosen) to one of the two, recorded at the first use.
fn choice() -> Result<&'static Program, ProgramError> {
    static CHOICE: LazyLock<Result<Program, ProgramError>> =
        LazyLock::new(|| Program::record(|[now, other, chosen]| [chosen.select(other, now)]));
    CHOICE.as_ref().map_err(Clone::clone)
}

/// Takes the wanted columns of `now` from `other`.
pub(crate) fn choose_columns<D: Device>(
    backend: &dyn Backend<D>,
    now: &mut Potentials<D>,
    other: &Potentials<D>,
    wanted: &[bool],
    chosen: &mut D::Reduced,
) -> Result<(), Error> {
    if !wanted.contains(&true) {
        return Ok(());
    }
    let flags: Vec<f64> = wanted.iter().map(|&wanted| f64::from(u8::from(wanted))).collect();
    backend.write_reduced(&flags, chosen)?;
    let choose = choice()?;
    for (now, other) in [(&mut now.source, &other.source), (&mut now.target, &other.target)] {
        let operands = [Operand::Output(0), Operand::Vector(other), Operand::Reduced(chosen)];
        backend.map(choose, &operands, &mut [now])?;
    }
    Ok(())
}

impl Column {
    pub(crate) fn new(controller: Controller) -> Self {
        Self {
            controller,
            best: None,
            last: None,
            reached: [f64::INFINITY, f64::NEG_INFINITY],
            checks_since: 0,
            rest: None,
        }
    }

    /// Moves again, as if it had just started.
    pub(crate) fn wake(&mut self, controller: Controller) {
        let Self { best, last, .. } = *self;
        *self = Self { best, last, ..Self::new(controller) };
    }

    /// Forgets what was seen: the next iterate belongs to another epsilon.
    pub(crate) fn forget(&mut self) {
        (self.best, self.last) = (None, None);
    }

    /// The marginal error of the best iterate.
    pub(crate) fn error(&self) -> Option<f64> {
        self.best.map(|best| best.error)
    }

    /// Iterations that are left to a tolerance, where 1 - eta is that of the rate observed times `slowing`.
    pub(crate) fn iterations_to(&self, tolerance: f64, slowing: f64) -> Option<f64> {
        self.controller.iterations_to(tolerance, self.last?.error, slowing)
    }

    /// Is the best iterate another one than the last?
    pub(crate) fn has_better(&self) -> bool {
        self.rest == Some(Status::NotFinite) || self.last != self.best
    }

    /// Takes in a check, and comes to rest if there is a reason. Says whether this is the best iterate so far, and
    /// whether it `blew_up`, so that the best one should be gone back to.
    pub(crate) fn observe(&mut self, observed: Observed, iterations: usize, goal: Goal, blew_up: &mut bool) -> bool {
        if observed.error.is_nan() {
            self.last = None;
            self.rest = Some(Status::NotFinite);
            return false;
        }
        if !(observed.error.is_finite() && observed.dual.is_finite()) {
            self.observe_overflow(observed.error, goal, blew_up);
            return false;
        }
        *blew_up = self.controller.observe(observed, iterations);
        let [smallest_error, largest_dual] = self.reached;
        let nearer = observed.error < smallest_error * (1.0 - 1e-4);
        let higher = observed.dual > largest_dual + observed.dual_rounding;
        self.checks_since = if nearer || higher { 0 } else { self.checks_since + 1 };
        self.reached = [smallest_error.min(observed.error), largest_dual.max(observed.dual)];
        let improves = self.best.is_none_or(|best| observed.is_better_than(&best));
        if improves {
            self.best = Some(observed);
        }
        self.last = Some(if *blew_up { self.best.unwrap_or(observed) } else { observed });
        if observed.error <= goal.tolerance {
            self.rest = Some(Status::Converged);
        } else if self.checks_since >= goal.patience {
            // Over-relaxation may be what stands in the way: the plain iteration gets its chance.
            if self.controller.calm() {
                self.checks_since = 0;
            } else {
                self.rest = Some(Status::Stalled);
            }
        }
        improves
    }

    /// Takes in a check whose sums leave the range of the element type, as masses times potentials may where both are in it:
    /// no dual guards a relaxation. A certificate sums in f64.
    fn observe_overflow(&mut self, error: f64, goal: Goal, blew_up: &mut bool) {
        self.controller.calm();
        self.last = None;
        *blew_up = error == f64::INFINITY && self.best.is_some();
        self.checks_since = if error < self.reached[0] * (1.0 - 1e-4) { 0 } else { self.checks_since + 1 };
        self.reached[0] = self.reached[0].min(error);
        if error <= goal.tolerance {
            self.rest = Some(Status::Converged);
        } else if self.checks_since >= goal.patience {
            self.rest = Some(Status::Stalled);
        }
    }
}

/// What a certificate says of a column that came to rest for a reason; `None` to go on.
pub(crate) fn verdict(
    rest: Option<Status>,
    certificate: &Certificate,
    tolerance: f64,
    may_go_on: bool,
) -> Option<Status> {
    let Certificate { marginal_error, rounding, .. } = *certificate;
    let at_precision = rounding > tolerance / 4.0 && rounding < 1.0 && marginal_error <= tolerance.max(2.0 * rounding);
    match rest {
        _ if certificate.meets(tolerance) => Some(Status::Converged),
        Some(Status::Cancelled | Status::NotFinite) => rest,
        // Within reach: the by-products do not tell the rounding.
        Some(Status::Converged) if may_go_on && rounding <= tolerance / 2.0 => None,
        _ if at_precision => Some(Status::PrecisionLimit { floor: rounding }),
        Some(Status::Converged) if may_go_on => None,
        Some(Status::Converged) | None => Some(Status::Stalled),
        Some(reason) => Some(reason),
    }
}
