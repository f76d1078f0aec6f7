//! Newton's method on the listed arcs alone.

use std::convert::Infallible;

use super::{
    arcs::Arcs,
    direction::{Forcing, LinearWork, direction},
    laplacian::Entries,
    sides::{Iterate, Sides},
};

/// Why a restricted solve ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The error is within the goal.
    Reached,
    /// The potentials have moved so far that arcs may be missing.
    LeftReach,
    /// The steps allowed were made.
    StepLimit,
}

/// Newton's steps of one restricted solve.
const STEPS: usize = 60;
/// Above this error the linear model tells nothing: Sinkhorn's step is taken.
pub(super) const FAR: f64 = 0.5;
/// The Levenberg term over the error. It vanishes with it, so that the rate stays superlinear, and leaves alone what couples
/// too weakly to matter.
const LEVENBERG: f64 = 0.1;
/// The most that is left of the residual of a linear solve, and the part of the goal that is not looked beyond: residuals of linear
/// solves hide what couples weakly.
const LOOSE: f64 = 0.1;
const BEYOND: f64 = 1e-3;
/// The largest change of a potential in one step, in epsilons.
pub(super) const CLIP: f64 = 20.0;
/// Shortenings of a step, and by how much.
const SHORTENINGS: usize = 4;
const SHORTENED: f64 = 0.2;
/// The part of the promised rise that a step must bring (Armijo 1966), and the part of the error that will do instead where
/// the dual has no digits left.
const RISE: f64 = 1e-4;
const FALL: f64 = 0.5;

/// The part of a row or a column below which an arc does not count at an error.
pub(super) fn share_at(error: f64, atoms: usize) -> f64 {
    (0.1 * error / atoms as f64).min(1e-4)
}

/// Solves on the arcs from an iterate down to an error.
pub(super) fn solve(
    arcs: &Arcs,
    sides: &Sides,
    epsilon: f64,
    start: Vec<f64>,
    goal: f64,
    work: &mut LinearWork,
) -> (Iterate, End) {
    let atoms = sides.most_atoms();
    // The plan of the iterate that was made last.
    let mut plan = Vec::new();
    let mut entries = Entries::default();
    let mut now = arcs.iterate(sides, epsilon, start, &mut plan);
    for _ in 0..STEPS {
        if now.error <= goal {
            return (now, End::Reached);
        }
        let next = match now.error > FAR {
            true => None,
            false => {
                let accuracy = accuracy(now.error, goal);
                let share = share_at(accuracy, atoms);
                let laplacian = arcs.laplacian(sides, epsilon, &now, &plan, share, entries);
                let b = towards_transform(sides, epsilon, &now);
                let step = direction(&laplacian, &b, Forcing::new(accuracy, LEVENBERG * now.error), work);
                entries = laplacian.into_entries();
                let on_arcs = |g: Vec<f64>| Ok::<_, Infallible>(arcs.iterate(sides, epsilon, g, &mut plan));
                ascend(sides, epsilon, &now, &step, on_arcs).unwrap_or_else(|never| match never {})
            }
        };
        now = match next {
            Some(next) => next,
            None => arcs.iterate(sides, epsilon, now.transform, &mut plan),
        };
        if !arcs.cover(sides, &now, epsilon, share_at(now.error.max(goal), atoms)) {
            return (now, End::LeftReach);
        }
    }
    (now, End::StepLimit)
}

/// The iterate after a step that is long enough and no longer, if there is one. `iterate` tells that of a potential.
pub(super) fn ascend<E>(
    sides: &Sides,
    epsilon: f64,
    now: &Iterate,
    step: &[f64],
    mut iterate: impl FnMut(Vec<f64>) -> Result<Iterate, E>,
) -> Result<Option<Iterate>, E> {
    // Beside subnormal weights a linear solve may tell no number.
    if !step.iter().all(|step| step.is_finite()) {
        return Ok(None);
    }
    let clipped: Vec<f64> = step.iter().map(|step| step.clamp(-CLIP * epsilon, CLIP * epsilon)).collect();
    let promised = sides.slope_along(epsilon, now, &clipped);
    let mut length = 1.0;
    for _ in 0..SHORTENINGS {
        let next = iterate(now.g.iter().zip(&clipped).map(|(g, step)| g + length * step).collect())?;
        if next.dual >= now.dual + RISE * length * promised - now.dual_rounding || next.error < FALL * now.error {
            return Ok(Some(next).filter(|next| next.error.is_finite()));
        }
        length *= SHORTENED;
    }
    Ok(None)
}

/// The right-hand side of a step, (c / u) (ghat - g): Newton on the condition that g is its own transform, so that nothing
/// overflows where c is far below b.
pub(super) fn towards_transform(sides: &Sides, epsilon: f64, now: &Iterate) -> Vec<f64> {
    let slopes = sides.slopes(ot_core::Side::Target, &now.transform, epsilon);
    let moved = now.transform.iter().zip(&now.g).map(|(transform, g)| transform - g);
    moved.zip(&now.marginal).zip(slopes).map(|((moved, c), slope)| c / slope * moved).collect()
}

/// How accurate a step from an error to a goal is: as Newton's method is there, but no digits far beyond the goal.
fn accuracy(error: f64, goal: f64) -> f64 {
    error.max(BEYOND * goal / error).min(LOOSE)
}
