//! Newton's steps on the listed arcs alone.

use super::{
    super::{
        direction::{Forcing, LinearWork, direction},
        restricted::End,
    },
    arcs::{Point, SparseArcs, Terms},
};

/// How far potentials may rise above those that the arcs were listed at.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// As far as no pair can be missing.
    Within,
    /// Several times as far: few pairs are missing then, and the next pass over all pairs tells.
    Beyond,
}

impl Trust {
    /// The rise allowed, in margins.
    pub(super) fn margins(self) -> f64 {
        match self {
            Self::Within => 1.0,
            Self::Beyond => 10.0,
        }
    }
}

/// Newton's steps of one restricted solve.
const STEPS: usize = 60;
/// The Levenberg term over the error, which vanishes with it.
const LEVENBERG: f64 = 0.1;
/// How accurate a step is at least, and the steps of its linear solve before a factor is made: entries do not differ by decades
/// here, so that few are enough.
const FORCING: f64 = 0.1;
const DIAGONAL_STEPS: usize = 300;
/// The largest change of a potential in a step, in mean depths.
const CLIP: f64 = 4.0;
/// How much farther than the last a step may go after one of full length: the largest change rises, the Levenberg term falls. Parts of
/// the plan that no pair joins have to travel over many depths until one does.
const FARTHER: f64 = 2.0;
/// Shortenings of a step, and by how much.
const SHORTENINGS: usize = 10;
const SHORTENED: f64 = 0.4;
/// The part of the promised rise that a step must bring (Armijo 1966), and the part of the error that will do instead where
/// the dual has no digits left.
const RISE: f64 = 1e-4;
const FALL: f64 = 0.5;

/// Solves on the arcs from a point down to an error.
pub(super) fn solve(
    arcs: &SparseArcs,
    terms: Terms<'_>,
    mut now: Point,
    goal: f64,
    trust: Trust,
    work: &mut LinearWork,
) -> (Point, End) {
    let mut radius = 1.0;
    for _ in 0..STEPS {
        if now.error <= goal {
            return (now, End::Reached);
        }
        now = match ascend(arcs, terms, &now, radius, trust, work) {
            Some(Ascended { next, is_cut: true, .. }) => return (next, End::LeftReach),
            Some(Ascended { next, length, .. }) => {
                radius = if length == 1.0 { FARTHER * radius } else { f64::max(1.0, length * radius) };
                next
            }
            None => {
                radius = 1.0;
                let by_column = arcs.by_column();
                let g = (0..now.g.len()).map(|j| arcs.transform(terms, &now, &by_column, j)).collect();
                arcs.point(terms, &now.f, g)
            }
        };
        if !arcs.cover(terms, &now, trust) {
            return (now, End::LeftReach);
        }
    }
    (now, End::StepLimit)
}

/// Where a step has led.
struct Ascended {
    next: Point,
    length: f64,
    /// Would a longer one have been better, but for the reach of the arcs?
    is_cut: bool,
}

/// The point after Newton's step, long enough and no longer, if there is one. The radius lets it go farther.
fn ascend(
    arcs: &SparseArcs,
    terms: Terms<'_>,
    now: &Point,
    radius: f64,
    trust: Trust,
    work: &mut LinearWork,
) -> Option<Ascended> {
    let laplacian = arcs.laplacian(terms, now);
    let sums = laplacian.column_sums();
    let lacking: Vec<f64> = (0..sums.len()).map(|j| terms.asked(&now.g, j) - now.marginal[j]).collect();
    let right: Vec<f64> = sums
        .iter()
        .zip(&lacking)
        .map(|(&sum, lacking)| if sum > 0.0 { terms.epsilon * lacking } else { 0.0 })
        .collect();
    let forcing = Forcing {
        tolerance: now.error.min(FORCING),
        lambda: LEVENBERG * now.error / radius,
        sparse: 0.0,
        diagonal_steps: DIAGONAL_STEPS,
    };
    let mut step = direction(&laplacian, &right, forcing, work);
    // Of a column that carries nothing the matrix tells nothing.
    let is_empty = |j: &usize| sums[*j] <= 0.0 && terms.sides.weights[1][*j] > 0.0;
    if (0..sums.len()).any(|j| is_empty(&j)) {
        let by_column = arcs.by_column();
        for j in (0..sums.len()).filter(is_empty) {
            step[j] = arcs.transform(terms, now, &by_column, j) - now.g[j];
        }
    }
    let clip = CLIP * radius * arcs.depth(terms, now);
    step.iter_mut().for_each(|step| *step = step.clamp(-clip, clip));
    let promised: f64 = lacking.iter().zip(&step).map(|(lacking, step)| lacking * step).sum();
    let falls = laplacian.means(&step);
    let (mut length, mut is_cut) = (1.0, false);
    for _ in 0..SHORTENINGS {
        let near: Vec<f64> = now.f.iter().zip(&falls).map(|(f, fall)| f - length * fall).collect();
        let next = arcs.point(terms, &near, now.g.iter().zip(&step).map(|(g, step)| g + length * step).collect());
        if next.dual >= now.dual + RISE * length * promised - now.dual_rounding || next.error < FALL * now.error {
            if trust == Trust::Beyond || arcs.cover(terms, &next, trust) {
                return Some(Ascended { next, length, is_cut }).filter(|found| found.next.error.is_finite());
            }
            is_cut = true;
        }
        length *= SHORTENED;
    }
    None
}
