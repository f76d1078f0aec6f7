//! The primal network simplex for transport along given arcs (Dantzig 1951; Cunningham 1976).
//!
//! Flows live on a spanning tree, potentials are such that its arcs have reduced cost zero. An arc of negative reduced
//! cost enters, the arc of least flow against its cycle leaves, until none is negative.
//!
//! What could go wrong is ruled out rather than guarded against: flows are whole numbers
//! ([`WholeMasses`](super::masses::WholeMasses)), perturbed so that every pivot descends ([`Allocation`]); arcs that do not
//! exist cost no large number but a level of their own, which counts before all costs; potentials are computed anew
//! from the tree, with twice the digits, before a tree is believed to be optimal.

mod pricing;
mod start;
mod tree;

use std::ops::ControlFlow;

use ot_core::Status;

use self::start::factor;
pub(super) use self::{
    pricing::{BlockSearch, EnteringRule, ROUNDING, is_negative},
    start::Allocation,
    tree::{Entering, Tree},
};

/// Source, target and cost of an arc.
pub(super) type ArcCost = (u32, u32, f64);

/// Arcs by source: those of source i at `starts[i]..starts[i + 1]`.
#[derive(Debug, Default)]
pub(super) struct Arcs {
    starts: Vec<usize>,
    targets: Vec<u32>,
    costs: Vec<f64>,
}

impl Arcs {
    /// The arcs between so many sources and any targets; of those with the same ends one is kept.
    pub(super) fn new(sources: usize, mut arcs: Vec<ArcCost>) -> Self {
        arcs.sort_unstable_by_key(|&(source, target, _)| (source, target));
        arcs.dedup_by_key(|&mut (source, target, _)| (source, target));
        let mut starts = vec![0; sources + 1];
        for &(source, ..) in &arcs {
            starts[source as usize + 1] += 1;
        }
        for source in 0..sources {
            starts[source + 1] += starts[source];
        }
        let (targets, costs) = arcs.into_iter().map(|(_, target, cost)| (target, cost)).unzip();
        Self { starts, targets, costs }
    }

    /// Number of sources.
    fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of arcs.
    pub(super) fn len(&self) -> usize {
        self.targets.len()
    }

    /// Targets and costs of the arcs of a source.
    pub(super) fn row(&self, source: usize) -> (&[u32], &[f64]) {
        let range = self.starts[source]..self.starts[source + 1];
        (&self.targets[range.clone()], &self.costs[range])
    }

    /// All arcs in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = ArcCost> {
        (0..self.rows()).flat_map(|source| {
            let (targets, costs) = self.row(source);
            targets.iter().zip(costs).map(move |(&target, &cost)| (source as u32, target, cost))
        })
    }
}

/// Why pivoting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// No arc is negative.
    Optimal,
    /// The pivots allowed were spent.
    PivotLimit,
    /// Somebody asked to stop.
    Cancelled,
}

impl Ending {
    /// What is told of a solve that ended so.
    pub(super) fn status(self) -> Status {
        match self {
            Ending::Optimal => Status::Converged,
            Ending::PivotLimit => Status::IterationLimit,
            Ending::Cancelled => Status::Cancelled,
        }
    }
}

/// A feasible tree on its way to an optimal one. Arcs may be added between runs.
#[derive(Debug, Default)]
pub(super) struct NetworkSimplex {
    tree: Tree,
    pivots: usize,
}

/// Pivots between two looks around.
const WATCH_INTERVAL: usize = 4096;

/// Pivots after which potentials are computed anew.
const RENEWAL_INTERVAL: usize = 1 << 14;

impl NetworkSimplex {
    /// The simplex from an allocation.
    pub(super) fn new(mut allocation: Allocation) -> Self {
        let mut simplex = Self::default();
        simplex.begin(&mut allocation);
        simplex
    }

    /// Begins anew, from an allocation.
    pub(super) fn begin(&mut self, allocation: &mut Allocation) {
        allocation.finish(&mut self.tree);
        self.pivots = 0;
    }

    /// Pivots until the rule names no arc. `watch` is asked now and then, with the number of pivots.
    pub(super) fn run(
        &mut self,
        rule: &mut impl EnteringRule,
        max_pivots: usize,
        mut watch: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Ending {
        let mut since_renewal = 0;
        loop {
            match rule.next(&self.tree) {
                Some(_) if self.pivots >= max_pivots => return self.end(Ending::PivotLimit),
                Some(entering) => {
                    self.tree.pivot(entering);
                    self.pivots += 1;
                    since_renewal += 1;
                    if since_renewal == RENEWAL_INTERVAL {
                        self.tree.renew_potentials();
                        since_renewal = 0;
                    }
                    if self.pivots.is_multiple_of(WATCH_INTERVAL) && watch(self.pivots).is_break() {
                        return self.end(Ending::Cancelled);
                    }
                }
                None if since_renewal > 0 => {
                    // Believed only after the next look, under potentials without the rounding of many shifts.
                    self.tree.renew_potentials();
                    since_renewal = 0;
                }
                None => return Ending::Optimal,
            }
        }
    }

    fn end(&mut self, ending: Ending) -> Ending {
        self.tree.renew_potentials();
        ending
    }

    /// Pivots so far.
    pub(super) fn pivots(&self) -> usize {
        self.pivots
    }

    /// f, and -g.
    pub(super) fn potentials(&self) -> (&[f64], &[f64]) {
        self.tree.potentials()
    }

    /// The potentials of the cost that counts before all others, if they differ: 1 for an artificial arc, 0 for others.
    pub(super) fn levels(&self) -> Option<(&[i32], &[i32])> {
        self.tree.has_levels().then(|| self.tree.levels())
    }

    /// The arcs of the tree: source, target, cost, and units without their perturbation.
    pub(super) fn flows(&self) -> impl Iterator<Item = (u32, u32, f64, i128)> {
        let (f, g) = self.tree.potentials();
        let factor = factor(f.len() + g.len());
        self.tree.arcs().map(move |(i, j, cost, flow)| (i, j, cost, (flow + factor / 2).div_euclid(factor)))
    }
}

#[cfg(test)]
mod tests;
