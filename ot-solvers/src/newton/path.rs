//! The epsilons that lead to the one of the problem, and the potentials carried from one to the next.

use ot_core::{Device, Error, KernelOp};

use super::{
    all_pairs::AllPairs,
    arcs::{Arcs, Reach},
    by_products::{self, Held},
    direction::{Forcing, LinearWork, direction},
    laplacian::Entries,
    restricted::{self, CLIP, End, FAR, share_at},
    sides::{Iterate, Sides},
};

/// The ratio of one epsilon to the one before.
pub(super) const RATIO: f64 = 0.25;
/// The error of a stage before the last.
pub(super) const STAGE_ERROR: f64 = 1e-3;
/// By how much potentials may rise on the listed arcs before arcs may be missing, in epsilons, the least and the most, and in parts of
/// the largest cost between these: where epsilon is large a margin costs many arcs, and potentials move little.
const MARGINS: [f64; 2] = [8.0, 32.0];
const FARTHEST: f64 = 8e-3;
/// The most that margins grow by: all arcs of potentials that move no farther.
const LARGEST_GROWTH: f64 = 128.0;
/// The Levenberg term of the tangent.
const TANGENT_LEVENBERG: f64 = 1e-2;
/// So many rounds by products that do not halve the error are too many.
const SLOW_ROUNDS: usize = 2;
/// How well the tangent is solved for.
const TANGENT_TOLERANCE: f64 = 1e-3;

/// The epsilons above that of the problem, descending from the first that is not below `from`, and that of the problem.
pub(super) fn stages(epsilon: f64, from: f64) -> Vec<f64> {
    let mut stages: Vec<f64> = std::iter::successors(Some(epsilon), |stage| Some(stage / RATIO))
        .take_while(|stage| *stage * RATIO < from || *stage == epsilon)
        .collect();
    stages.reverse();
    stages
}

/// What tells that a round has come to its goal.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// A sweep over all pairs.
    AllPairs,
    /// The arcs alone, if none that counts is missing: the sweep at the next epsilon sees all pairs.
    Arcs,
}

/// What is carried along the path: the potentials, and the arcs listed last.
pub(super) struct Path<'a> {
    pub(super) sides: &'a Sides,
    pub(super) now: Iterate,
    pub(super) work: LinearWork,
    arcs: Option<Arcs>,
    /// Margins are that many times what they were at first.
    growth: f64,
    atoms: usize,
    largest_cost: f64,
    /// Are arcs listed, or is the plan met by products alone?
    lists_arcs: bool,
    /// Are there too many of them at this epsilon?
    is_dense: bool,
    /// What rounds by products have learnt.
    held: Held,
    /// Rounds by products that have not halved the error, in a row.
    slow_rounds: usize,
}

impl<'a> Path<'a> {
    pub(super) fn new(sides: &'a Sides, largest_cost: f64, start: Iterate, lists_arcs: bool) -> Self {
        let (work, atoms) = (LinearWork::default(), sides.most_atoms());
        let held = Held::default();
        Self {
            sides,
            now: start,
            work,
            arcs: None,
            growth: 1.0,
            atoms,
            largest_cost,
            lists_arcs,
            is_dense: false,
            held,
            slow_rounds: 0,
        }
    }

    /// One round: solve on the arcs that matter, then look at all pairs, if asked for. A round that makes nothing better is Sinkhorn's
    /// step. Without arcs it is one step by products.
    pub(super) fn round<D: Device, K: KernelOp<D> + ?Sized>(
        &mut self,
        pairs: &mut AllPairs<'_, D, K>,
        tolerance: f64,
        check: Check,
    ) -> Result<(), Error> {
        let epsilon = pairs.epsilon();
        let (sides, now) = (self.sides, &self.now);
        if !self.lists_arcs || self.is_dense {
            let before = now.error;
            self.now = by_products::round(pairs, sides, now, tolerance, &mut self.held, &mut self.work)?;
            self.slow_rounds = if self.now.error > before / 2.0 { self.slow_rounds + 1 } else { 0 };
            if self.is_dense && self.slow_rounds >= SLOW_ROUNDS && pairs.may_use_products() {
                // Parts that hardly anything couples ask for entries, in differences.
                self.is_dense = false;
                pairs.list_all();
            }
            return Ok(());
        }
        if now.error > FAR || !now.error.is_finite() {
            self.now = pairs.iterate(sides, &now.f, &now.transform)?;
            return Ok(());
        }
        let goal = (0.3 * tolerance).max(1e-4 * now.error);
        match self.relist(pairs, share_at(tolerance.max(1e-3 * self.now.error), self.atoms)) {
            Err(Error::OutOfMemory { .. }) if pairs.has_products() => {
                // The plan is not sparse, but its cells are. Where as many arcs as are allowed have been asked for, products are all
                // there is.
                (self.is_dense, self.slow_rounds) = (true, 0);
                return self.round(pairs, tolerance, check);
            }
            listed => listed?,
        }
        let Some(arcs) = &self.arcs else { return Ok(()) };
        let (restricted, end) = restricted::solve(arcs, sides, epsilon, self.now.g.clone(), goal, &mut self.work);
        if end == End::Reached && check == Check::Arcs {
            self.now = restricted;
            return Ok(());
        }
        let next = pairs.iterate(sides, &restricted.f, &restricted.g)?;
        let rises = next.dual >= self.now.dual - self.now.dual_rounding;
        self.now = match next.error.is_finite() && (rises || next.error < self.now.error / 2.0) {
            true => next,
            false => pairs.iterate(sides, &self.now.f, &self.now.transform)?,
        };
        if end != End::Reached {
            self.growth = (2.0 * self.growth).min(LARGEST_GROWTH);
        }
        Ok(())
    }

    /// Moves the potentials along the tangent of the path to the next epsilon.
    pub(super) fn predict<D: Device, K: KernelOp<D> + ?Sized>(
        &mut self,
        pairs: &mut AllPairs<'_, D, K>,
        next: f64,
    ) -> Result<Vec<f64>, Error> {
        let epsilon = pairs.epsilon();
        // Of the next plan it is seen anew.
        let was_dense = std::mem::take(&mut self.is_dense);
        if self.now.error > FAR || was_dense {
            return Ok(self.now.g.clone());
        }
        let share = share_at(self.now.error.min(STAGE_ERROR), self.atoms);
        self.relist(pairs, share)?;
        let Some(arcs) = &self.arcs else { return Ok(self.now.g.clone()) };
        let plan = arcs.plan(self.sides, epsilon, &self.now);
        let laplacian = arcs.laplacian(self.sides, epsilon, &self.now, &plan, share, Entries::default());
        let forcing = Forcing::new(TANGENT_TOLERANCE, TANGENT_LEVENBERG);
        let slope = arcs.slope_in_epsilon(self.sides, epsilon, &self.now, &plan);
        let tangent = direction(&laplacian, &slope, forcing, &mut self.work);
        if !tangent.iter().all(|slope| slope.is_finite()) {
            return Ok(self.now.g.clone());
        }
        let moved = |(g, slope): (&f64, f64)| g + (slope * (next - epsilon)).clamp(-CLIP * epsilon, CLIP * epsilon);
        Ok(self.now.g.iter().zip(tangent).map(moved).collect())
    }

    /// Makes sure that the arcs are those of the iterate: listed anew where some may be missing, filtered where there are
    /// far too many.
    fn relist<D: Device, K: KernelOp<D> + ?Sized>(
        &mut self,
        pairs: &mut AllPairs<'_, D, K>,
        share: f64,
    ) -> Result<(), Error> {
        let epsilon = pairs.epsilon();
        let [least, most] = MARGINS;
        let margin = self.growth * (FARTHEST * self.largest_cost / epsilon).clamp(least, most);
        let reach = Reach { epsilon, share, margin };
        self.arcs = Some(match self.arcs.take() {
            Some(arcs) if arcs.cover(self.sides, &self.now, epsilon, share) => {
                match arcs.reach().base() > FAR_TOO_MANY * reach.base() {
                    true => arcs.within(self.sides, &self.now, reach),
                    false => arcs,
                }
            }
            _ => pairs.list(self.sides, &self.now, reach)?,
        });
        Ok(())
    }
}

/// A list whose reach is this many times that of a new one is filtered.
const FAR_TOO_MANY: f64 = 1.5;
