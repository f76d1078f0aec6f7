//! Exact transport between few atoms: the network simplex over a table of all costs, in memory that is kept.
//!
//! Between some hundred atoms a pivot takes less than a microsecond, and most of what a
//! [search](super::column_generation) among thousands prepares costs more than it saves. So here are no clusters, no list of
//! candidates and no threads: [potentials](guide) of a few iterations say where to start, and whole rows are priced until no pair
//! is negative. The answer and its certificate are those of any other search.

mod distances;
mod guide;
mod scan;
mod search;
mod table;

use std::ops::ControlFlow;

use ot_core::{CostBetween, Error, GroundCost, Measure, PlanEntry, Scalar};

use self::{
    guide::FirstPotentials,
    scan::{least, lower},
    search::{RowSearch, allocate},
    table::{AllCosts, Evaluated, Table},
};
use super::{
    certificate::{ProofMemory, certify_costs},
    costs::CostRows,
    masses::{WholeMasses, balance, single_weights},
    network_simplex::{Allocation, Ending, NetworkSimplex},
    transport::{ExactSolution, Guide, SearchReport, gauge, take_digits},
};

/// The most pairs of a table.
const MOST_PAIRS: usize = 1 << 18;

/// Are problems of so many atoms solved over a table of all their costs?
pub(crate) fn has_few_pairs([n, m]: [usize; 2]) -> bool {
    n.saturating_mul(m) <= MOST_PAIRS
}

/// The memory of exact solves between few atoms, kept from one to the next, and the last solution.
///
/// See [`ExactRun::solve_in`](super::ExactRun::solve_in).
#[derive(Debug)]
pub struct ExactWorkspace {
    /// Weights of both sides, and the atoms that have some.
    weights: [Vec<f64>; 2],
    atoms: [Vec<u32>; 2],
    /// The weights of these atoms.
    positive: [Vec<f64>; 2],
    evaluated: Evaluated,
    table: Table,
    first: FirstPotentials,
    masses: WholeMasses,
    allocation: Allocation,
    simplex: NetworkSimplex,
    offsets: Vec<f64>,
    proof: ProofMemory,
    pub(super) solution: ExactSolution,
}

impl Default for ExactWorkspace {
    fn default() -> Self {
        Self::new()
    }
}

impl ExactWorkspace {
    /// No memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            weights: Default::default(),
            atoms: Default::default(),
            positive: Default::default(),
            evaluated: Evaluated::default(),
            table: Table::default(),
            first: FirstPotentials::default(),
            masses: WholeMasses::default(),
            allocation: Allocation::default(),
            simplex: NetworkSimplex::default(),
            offsets: Vec::new(),
            proof: ProofMemory::default(),
            solution: ExactSolution::blank(),
        }
    }

    /// Solves a small problem, and says so; any other, and one with costs that are infinite, at an end of the range of
    /// numbers, or so large beside those paid that they take their digits, is left to who takes more care.
    ///
    /// # Errors
    /// Those of [`ExactRun::solve`](super::ExactRun::solve).
    pub(super) fn solve_small<T: Scalar>(
        &mut self,
        [source, target]: [&dyn Measure<T>; 2],
        cost: &dyn GroundCost,
        guide: Guide,
        max_pivots: usize,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        let Self {
            weights,
            atoms,
            positive,
            evaluated,
            table,
            first,
            masses,
            allocation,
            simplex,
            offsets,
            proof,
            solution,
        } = self;
        let views = single_weights(source, target)?;
        if !has_few_pairs(views.map(|view| view.len())) {
            return Ok(false);
        }
        for (weights, view) in weights.iter_mut().zip(views) {
            weights.clear();
            weights.extend(view.values().iter().map(|weight| weight.to_f64()));
        }
        let [a, b] = weights.each_mut();
        balance::<T>(a, b)?;
        let costs = CostBetween::new(source.support(), target.support(), cost)?;
        for ((weights, atoms), positive) in weights.iter().zip(&mut *atoms).zip(&mut *positive) {
            atoms.clear();
            atoms.extend((0..).zip(weights).filter(|(_, weight)| **weight > 0.0).map(|(atom, _)| atom));
            positive.clear();
            positive.extend(weights.iter().filter(|weight| **weight > 0.0));
        }

        let costs = AllCosts::of(&costs, evaluated);
        let [rows, columns] = atoms.each_ref().map(Vec::len);
        let largest = table.copy(&costs, [&atoms[0], &atoms[1]]);
        let sums = largest * (rows + columns) as f64;
        if !(largest >= f64::TINY && sums <= f64::LARGEST_COST) {
            return Ok(false);
        }
        masses.weigh(&positive[0], &positive[1]);
        allocation.begin([&masses.units[0], &masses.units[1]]);
        let g = first.potential(table, [&positive[0], &positive[1]], guide == Guide::Minima);
        allocate(table, g, allocation, offsets);
        simplex.begin(allocation);
        let mut ending = simplex.run(&mut RowSearch::new(table), max_pivots, &mut *watch);
        if ending == Ending::Optimal && watch(simplex.pivots()).is_break() {
            ending = Ending::Cancelled;
        }

        let (f, minus_g) = simplex.potentials();
        offsets.clear();
        offsets.extend(simplex.flows().filter(|(.., units)| *units > 0).map(|(_, _, cost, _)| cost));
        if ending == Ending::Optimal && take_digits(f.iter().chain(minus_g), &*offsets) {
            return Ok(false);
        }

        let shape @ (n, m) = costs.shape();
        let flows = simplex.flows().map(|(source, target, _, units)| PlanEntry {
            source: atoms[0][source as usize],
            target: atoms[1][target as usize],
            mass: masses.mass(units),
        });
        solution.plan.refill(n, m, flows);
        let is_complete = ending == Ending::Optimal && (rows, columns) == shape;
        place(&mut solution.potentials[0], n, &atoms[0], f.iter().copied());
        place(&mut solution.potentials[1], m, &atoms[1], minus_g.iter().map(|minus_g| -minus_g));
        if !is_complete {
            complete(&costs, &mut solution.potentials, ending == Ending::Optimal, offsets);
        }
        let [a, b] = weights.each_ref().map(Vec::as_slice);
        gauge(&mut solution.potentials, [a, b])?;
        let [f, g] = solution.potentials.each_ref().map(Vec::as_slice);
        let serial = |tasks: usize, job: &(dyn Fn(usize) + Sync)| (0..tasks).for_each(job);
        solution.certificate = certify_costs(&costs, [a, b], &solution.plan, [f, g], proof, serial)?;
        solution.rest_potentials = None;
        solution.status = ending.status();
        solution.report = SearchReport {
            guided: false,
            rounds: 1,
            pivots: simplex.pivots(),
            candidate_arcs: rows * columns,
            arcs_priced: (n * m) as u64,
        };
        Ok(true)
    }
}

/// The potentials of the atoms with mass among all, the others NaN.
fn place(potential: &mut Vec<f64>, len: usize, atoms: &[u32], values: impl Iterator<Item = f64>) {
    potential.clear();
    potential.resize(len, f64::NAN);
    atoms.iter().zip(values).for_each(|(&atom, value)| potential[atom as usize] = value);
}

/// c-transforms for the atoms without a potential, and for all sources where the search was cut short: first of the sources,
/// over the targets that have one; then of the other targets, over all sources.
fn complete(costs: &AllCosts<'_>, [f, g]: &mut [Vec<f64>; 2], is_optimal: bool, offsets: &mut Vec<f64>) {
    let finite = |value: f64| if value < f64::INFINITY { value } else { 0.0 };
    offsets.clear();
    offsets.extend(g.iter().map(|g| if g.is_nan() { f64::INFINITY } else { -g }));
    for (i, f) in f.iter_mut().enumerate().filter(|(_, f)| !is_optimal || f.is_nan()) {
        let row = costs.row(i, &mut []);
        *f = finite(least(row, offsets).map_or(f64::INFINITY, |j| row[j] + offsets[j]));
    }
    if g.iter().any(|g| g.is_nan()) {
        offsets.fill(f64::INFINITY);
        f.iter().enumerate().for_each(|(i, f)| lower(offsets, costs.row(i, &mut []), *f));
        for (g, least) in g.iter_mut().zip(offsets).filter(|(g, _)| g.is_nan()) {
            *g = finite(*least);
        }
    }
}
