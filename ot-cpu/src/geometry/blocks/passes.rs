//! Softmins and sweeps over the pairs that matter, a leaf of rows at a time.
//!
//! With entries E_ij = exp((f_i + g_j - C_ij) / epsilon) around the potentials at hand, the partners of a leaf are all atoms j
//! but those in boxes where
//!
//! ```text
//! max (f + g - cost)  <=  epsilon log(delta / max(mass a, mass b))
//! ```
//!
//! so that sum_j b_j E_ij misses at most delta, for any i of the leaf, and sum_i v_i E_ij at most delta times the mass of v over
//! that of a or b. A sum below what that may cost it in accuracy is not accepted: the row begins again with its nearest leaf,
//! which bounds its softmin from above, and with the partners around that bound.

use std::{ops::Range, sync::Mutex};

use ot_core::{
    Error, Host, HostBackend, PlanView, RecordedPenalty, Side, SoftMin, Sweep,
    host::{HostReduced, HostVector, for_each_chunk},
    program::Registers,
};

use super::{
    cost::{BlockCost, LEAF},
    placed::{gather, scatter},
};
use crate::{
    backend::CpuBackend,
    geometry::{
        CpuScalar,
        cut::Cut,
        guard::{Guard, centred_weights, is_left_out, reachable},
        memory::{Pool, zeroed},
        operand,
        rows::{BLOCK, CostRows, Heights, TASKS, TILE, most_tasks, pieces},
        softmin::{Terms, accept_or_redo, exact_block, shifted_block},
        steps::{Steps, Tally},
    },
    simd::GibbsTerms,
};

/// The least sum that is accepted around a potential: 1 is that of a potential that is its own softmin.
const LEAST_SUM: f64 = 1.0 / 64.0;

/// The fewest entries that a thread has space for.
const ENTRIES: usize = 1 << 18;

/// How much may be left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accuracy {
    part: f64,
}

impl Accuracy {
    /// At most this part of each density.
    pub(super) fn new(part: f64) -> Self {
        Self { part }
    }

    /// The density that pairs may carry and be left out, so that it is at most the part of any sum accepted.
    fn delta(self) -> f64 {
        LEAST_SUM * self.part
    }
}

/// The memory of passes over one column, allocated once.
#[derive(Debug)]
pub(super) struct Scratch<T> {
    sides: [Placed<T>; 2],
    /// Weights around a centre.
    weights: Vec<T>,
    /// Softmins or new potentials.
    staged: Vec<T>,
    /// Sums of the columns, for each task.
    sums: Vec<f64>,
    tallies: Vec<Tally>,
    workspaces: Pool<Box<Workspace<T>>>,
}

/// One side of a column in the order of its tree.
#[derive(Debug)]
struct Placed<T> {
    potential: Vec<T>,
    /// The potential with 0 for atoms that nothing reaches: what entries are centred at.
    centre: Vec<T>,
    weights: Vec<T>,
    log_weights: Vec<T>,
}

/// What a thread works with while it is at a task.
#[derive(Debug)]
struct Workspace<T> {
    entries: Vec<T>,
    partners: Vec<Range<usize>>,
    /// Those of rows that begin again.
    anew: Vec<Range<usize>>,
    tile: [T; BLOCK * TILE],
    registers: Registers<T>,
}

impl<T: CpuScalar> Scratch<T> {
    pub(super) fn new(cost: &BlockCost<T>, threads: usize) -> Result<Self, Error> {
        let [rows, others] = Side::BOTH.map(|side| cost.len(side));
        let what = "scratch of a kernel";
        let placed = |len: usize| -> Result<Placed<T>, Error> {
            let [potential, centre, weights, log_weights] =
                [zeroed(len, what), zeroed(len, what), zeroed(len, what), zeroed(len, what)];
            Ok(Placed { potential: potential?, centre: centre?, weights: weights?, log_weights: log_weights? })
        };
        let mut workspaces = Vec::with_capacity(threads);
        for _ in 0..threads {
            workspaces.push(Box::new(Workspace {
                entries: zeroed(ENTRIES.min(LEAF * others).max(BLOCK / 2 * others), what)?,
                partners: Vec::new(),
                anew: Vec::new(),
                tile: [T::default(); BLOCK * TILE],
                registers: Registers::new(),
            }));
        }
        Ok(Self {
            sides: [placed(rows)?, placed(others)?],
            weights: zeroed(rows.max(others), what)?,
            staged: zeroed(rows.max(others), what)?,
            sums: zeroed(most_tasks(others) * others, what)?,
            tallies: vec![Tally::default(); TASKS],
            workspaces: Pool(Mutex::new(workspaces)),
        })
    }
}

impl<T: CpuScalar> Placed<T> {
    /// Copies potential, weights and their logarithms to their places.
    fn write(&mut self, order: &[u32], [potential, weights, log_weights]: [&[T]; 3]) {
        gather(order, potential, &mut self.potential);
        gather(order, weights, &mut self.weights);
        gather(order, log_weights, &mut self.log_weights);
        for (centre, &potential) in self.centre.iter_mut().zip(&self.potential) {
            *centre = reachable(potential);
        }
    }

    fn mass(&self) -> f64 {
        self.weights.iter().map(|weight| weight.to_f64()).sum()
    }
}

/// One column of a kernel, and what its passes need.
pub(super) struct Column<'a, T> {
    pub(super) backend: &'a CpuBackend<T>,
    pub(super) cost: &'a BlockCost<T>,
    pub(super) epsilon: f64,
    pub(super) scratch: &'a mut Scratch<T>,
}

/// What the softmins of one side go by: the terms of the other side, and which of them matter.
struct Sums<'a, T> {
    terms: Terms<'a, T>,
    /// The heights of the terms that have weight, at their potentials.
    heights: Heights,
    level: f64,
}

impl<T: CpuScalar> Column<'_, T> {
    /// The softmins of one side.
    pub(super) fn softmin(
        self,
        request: &SoftMin<'_, Host<T>>,
        accuracy: Accuracy,
        column: usize,
        out: &mut HostVector<T>,
    ) {
        let Self { backend, cost, epsilon, scratch } = self;
        let SoftMin { side, other, shift, .. } = *request;
        let Scratch { sides, weights, staged, workspaces, .. } = scratch;
        let [own, partner] = side.of([[0, 1], [1, 0]]);
        gather(cost.order(side), shift.column(column), &mut sides[own].potential);
        for place in 0..sides[own].potential.len() {
            sides[own].centre[place] = reachable(sides[own].potential[place]);
        }
        let vectors = [other.potential, other.weights, other.log_weights].map(|vector| vector.column(column));
        sides[partner].write(cost.order(side.opposite()), vectors);
        let (shift, of_terms) = (&sides[own].centre, &sides[partner]);
        let level = epsilon * (accuracy.delta().ln() - positive(of_terms.mass()).ln());
        let weights = &mut weights[..of_terms.potential.len()];
        let centre = &of_terms.potential;
        let guard = centred_weights::<T, T>(&of_terms.log_weights, centre, centre, epsilon, f64::INFINITY, weights);
        let sums = Sums {
            terms: Terms {
                potential: &of_terms.potential,
                log_weights: &of_terms.log_weights,
                weights,
                guard: guard.at_least(LEAST_SUM),
                epsilon,
            },
            heights: weighted_heights(cost, side.opposite(), of_terms),
            level,
        };
        let staged = &mut staged[..shift.len()];
        let task = Cut::of_rows(shift.len(), of_terms.potential.len(), LEAF, 1).task_atoms();
        let workspaces = &*workspaces;
        for_each_chunk(
            |tasks, job| backend.parallel(tasks, job),
            shift.len().div_ceil(task),
            staged.chunks_mut(task),
            |index, out| {
                let mut workspace = workspaces.take();
                let Workspace { partners, tile, .. } = &mut *workspace;
                let start = index * task;
                for leaf in pieces(start..start + out.len(), LEAF) {
                    sums.partners(cost, side, leaf.clone(), |i| shift[i].to_f64(), partners);
                    for block in pieces(leaf, BLOCK) {
                        let (shift, out) = (&shift[block.clone()], &mut out[block.start - start..block.end - start]);
                        let exact = |tile: &mut _| sums.exact(cost, side, block.clone(), tile);
                        shifted_block(cost, side, block.clone(), partners, sums.terms, shift, tile, out, exact);
                    }
                }
                workspaces.put(workspace);
            },
        );
        scatter(cost.order(side), staged, out.column_mut(column));
    }

    /// The softmins of both sides at the potentials of a plan.
    pub(super) fn softmins(
        mut self,
        plan: PlanView<'_, Host<T>>,
        accuracy: Accuracy,
        column: usize,
        [source, target]: [&mut HostVector<T>; 2],
    ) {
        for side in Side::BOTH {
            let seen = plan.side(side);
            let vectors = [seen.potential, seen.weights, seen.log_weights].map(|vector| vector.column(column));
            self.scratch.sides[side.index()].write(self.cost.order(side), vectors);
        }
        let level = self.level(accuracy);
        self.rows(level, None);
        let cost = self.cost;
        scatter(cost.order(Side::Source), &self.scratch.staged, source.column_mut(column));
        self.columns(level, None);
        scatter(cost.order(Side::Target), &self.scratch.staged, target.column_mut(column));
    }

    /// One full iteration. Returns the mean movement of the source potential in units of epsilon, each atom's 1 at most.
    pub(super) fn sweep(mut self, sweep: &mut Sweep<'_, Host<T>>, accuracy: Accuracy, column: usize) -> f64 {
        let cost = self.cost;
        for side in Side::BOTH {
            let marginal = sweep.marginal(side);
            let (weights, log_weights) = (marginal.weights(), marginal.log_weights());
            let vectors = [sweep.potentials.side(side), weights, log_weights].map(|vector| vector.column(column));
            self.scratch.sides[side.index()].write(cost.order(side), vectors);
        }
        let relaxation = sweep.relaxation.values();
        let omega = relaxation[column.min(relaxation.len() - 1)];
        let hints = sweep.by_products.is_some();
        let level = self.level(accuracy);

        let [of_source, of_target] = Side::BOTH.map(|side| side.of([sweep.source, sweep.target]).penalty());
        self.rows(level, Some(Step { penalty: of_source, omega, hints }));
        let of_rows = total(&self.scratch.tallies);
        if let Some(hints) = sweep.by_products.as_deref_mut() {
            put(&mut hints.source_residual, column, of_rows.residual);
            put(&mut hints.conjugate, column, of_rows.mass);
            put(&mut hints.source_dual, column, of_rows.dual);
        }
        let Scratch { sides, staged, .. } = &mut *self.scratch;
        scatter(cost.order(Side::Source), staged, sweep.potentials.source.column_mut(column));
        let source = &mut sides[0];
        let len = source.potential.len();
        source.potential.copy_from_slice(&staged[..len]);

        self.columns(level, Some(Step { penalty: of_target, omega, hints }));
        let of_columns = total(&self.scratch.tallies);
        if let Some(hints) = sweep.by_products.as_deref_mut() {
            put(&mut hints.target_residual, column, of_columns.residual);
            put(&mut hints.target_dual, column, of_columns.dual);
        }
        scatter(cost.order(Side::Target), &self.scratch.staged, sweep.potentials.target.column_mut(column));
        of_rows.movement / of_rows.weight.max(f64::MIN_POSITIVE)
    }

    /// The level below which pairs are left out of the sums of both sides.
    fn level(&self, accuracy: Accuracy) -> f64 {
        let [source, target] = &self.scratch.sides;
        self.epsilon * (accuracy.delta().ln() - positive(source.mass().max(target.mass())).ln())
    }

    /// Stages the softmins of the rows, or their potentials after a step, and adds up the columns with the factors
    /// v_i = a_i exp((f_i - f0_i) / epsilon) of the potentials after the step, or with the weights.
    fn rows(&mut self, level: f64, step: Option<Step<'_>>) {
        let Self { backend, cost, epsilon, scratch } = self;
        let (backend, cost, epsilon) = (*backend, *cost, *epsilon);
        let Scratch { sides: [source, target], weights, staged, sums, tallies, workspaces } = &mut **scratch;
        let Placed { potential, centre, log_weights, .. } = &*target;
        let weights = &mut weights[..centre.len()];
        let guard = centred_weights::<T, T>(log_weights, potential, centre, epsilon, f64::INFINITY, weights);
        let guard = guard.at_least(LEAST_SUM);
        let rows = Rows {
            cost,
            source,
            centre,
            sums: Sums {
                terms: Terms { potential, log_weights, weights, guard, epsilon },
                heights: weighted_heights(cost, Side::Target, target),
                level,
            },
            // Columns of atoms without weight want their sums as well.
            heights: cost.heights(Side::Target, |j| centre[j].to_f64()),
            steps: step.map(|step| step.of_side(Side::Source, source, epsilon)),
        };
        let cut = Cut::of_rows(source.potential.len(), centre.len(), LEAF, 1);
        let (task, others, workspaces) = (cut.task_atoms(), centre.len(), &*workspaces);
        tallies.fill(Tally::default());
        for_each_chunk(
            |tasks, job| backend.parallel(tasks, job),
            cut.tasks(),
            staged[..source.potential.len()].chunks_mut(task).zip(sums.chunks_mut(others)).zip(tallies.iter_mut()),
            |index, ((staged, column_sums), tally)| {
                let mut workspace = workspaces.take();
                column_sums.fill(0.0);
                let start = index * task;
                for leaf in pieces(start..start + staged.len(), LEAF) {
                    let staged = &mut staged[leaf.start - start..leaf.end - start];
                    rows.pass_leaf(leaf, staged, column_sums, tally, &mut workspace);
                }
                workspaces.put(workspace);
            },
        );
    }

    /// Stages the softmins of the columns from their sums, or their potentials after a step.
    fn columns(&mut self, level: f64, step: Option<Step<'_>>) {
        let Self { backend, cost, epsilon, scratch } = self;
        let (backend, cost, epsilon) = (*backend, *cost, *epsilon);
        let Scratch { sides: [source, target], staged, sums, tallies, workspaces, .. } = &mut **scratch;
        let Tally { factors, lost, .. } = total(tallies);
        let guard = Guard::from_counts::<T, T>(factors, source.potential.len(), lost, f64::INFINITY);
        // What the columns may miss is delta times the mass of the factors over that of a side.
        let guard = guard.at_least(LEAST_SUM * factors / positive(source.mass().max(target.mass())));
        let sums_of_columns = Sums {
            terms: Terms {
                potential: &source.potential,
                log_weights: &source.log_weights,
                weights: &[],
                guard,
                epsilon,
            },
            heights: weighted_heights(cost, Side::Source, source),
            level,
        };
        let steps = step.map(|step| step.of_side(Side::Target, target, epsilon));
        let (others, target) = (target.potential.len(), &*target);
        let rows = Cut::of_rows(source.potential.len(), others, LEAF, 1);
        let cut = Cut::of_columns(others);
        let (task, workspaces, sums) = (cut.task_atoms(), &*workspaces, &*sums);
        tallies.fill(Tally::default());
        for_each_chunk(
            |tasks, job| backend.parallel(tasks, job),
            cut.tasks(),
            staged[..others].chunks_mut(task).zip(tallies.iter_mut()),
            |index, (staged, tally)| {
                let mut workspace = workspaces.take();
                let Workspace { tile, registers, .. } = &mut *workspace;
                let start = index * task;
                for leaf in pieces(start..start + staged.len(), LEAF) {
                    let mut folded = [0.0; LEAF];
                    let folded = &mut folded[..leaf.len()];
                    operand::fold(sums, rows.tasks(), others, (leaf.start, 1), folded);
                    let out = &mut staged[leaf.start - start..leaf.end - start];
                    let blocks = folded.chunks(BLOCK).zip(out.chunks_mut(BLOCK));
                    for (block, (sums, out)) in pieces(leaf.clone(), BLOCK).zip(blocks) {
                        let centre = &target.centre[block.clone()];
                        let exact = || sums_of_columns.exact(cost, Side::Target, block, tile);
                        accept_or_redo(sums_of_columns.terms, sums, centre, out, exact);
                    }
                    if let Some(steps) = &steps {
                        steps.advance(0, leaf, registers, out, tally);
                    }
                }
                workspaces.put(workspace);
            },
        );
    }
}

/// What turns softmins into potentials.
#[derive(Clone, Copy)]
struct Step<'a> {
    penalty: &'a RecordedPenalty,
    omega: f64,
    hints: bool,
}

impl<'a> Step<'a> {
    fn of_side<T: CpuScalar>(self, side: Side, placed: &'a Placed<T>, epsilon: f64) -> Steps<'a, T> {
        let Self { penalty, omega, hints } = self;
        Steps::of_column(penalty, side, [&placed.potential, &placed.weights], omega, epsilon, hints)
    }
}

impl<T: CpuScalar> Sums<'_, T> {
    /// The partners of some rows of a leaf.
    fn partners(
        &self,
        cost: &BlockCost<T>,
        side: Side,
        rows: Range<usize>,
        potential: impl Fn(usize) -> f64,
        out: &mut Vec<Range<usize>>,
    ) {
        let top = cost.top(side, rows.clone(), potential);
        cost.partners(side, rows, &top, &self.heights, self.level, out);
    }

    /// The softmins of a block whatever potential is at hand: those over the nearest leaf are not below, and the partners
    /// around them miss at most delta.
    fn exact(
        &self,
        cost: &BlockCost<T>,
        side: Side,
        block: Range<usize>,
        tile: &mut [T; BLOCK * TILE],
    ) -> [f64; BLOCK] {
        let nearest = [cost.nearest(side, block.clone(), &self.heights)];
        let above = exact_block(cost, side, block.clone(), &nearest, self.terms, tile);
        let mut partners = Vec::new();
        self.partners(cost, side, block.clone(), |i| above[i - block.start], &mut partners);
        exact_block(cost, side, block, &partners, self.terms, tile)
    }
}

/// The first half of a pass over both sides.
struct Rows<'a, T> {
    cost: &'a BlockCost<T>,
    source: &'a Placed<T>,
    /// What the entries of the columns are centred at.
    centre: &'a [T],
    sums: Sums<'a, T>,
    /// The heights of all columns, at their centre.
    heights: Heights,
    steps: Option<Steps<'a, T>>,
}

impl<T: CpuScalar> Rows<'_, T> {
    /// The softmins of a leaf, or its potentials after a step; its part of the sums of the columns.
    fn pass_leaf(
        &self,
        leaf: Range<usize>,
        staged: &mut [T],
        column_sums: &mut [f64],
        tally: &mut Tally,
        workspace: &mut Workspace<T>,
    ) {
        let Workspace { entries, partners, anew, tile, registers } = workspace;
        let width = self.partners(leaf.clone(), &self.source.centre[leaf.clone()], partners);
        for panel in pieces(leaf.clone(), rows_together(width, entries.len())) {
            let out = &mut staged[panel.start - leaf.start..panel.end - leaf.start];
            let (mut centre, mut sums, mut factors) = ([T::default(); LEAF], [0.0; LEAF], [T::default(); LEAF]);
            let (centre, sums, factors) = (&mut centre[..out.len()], &mut sums[..out.len()], &mut factors[..out.len()]);
            centre.copy_from_slice(&self.source.centre[panel.clone()]);
            self.make(panel.clone(), centre, partners, width, entries, sums);

            let mut is_refused = false;
            let blocks = sums.chunks(BLOCK).zip(centre.chunks(BLOCK)).zip(out.chunks_mut(BLOCK));
            for (block, ((sums, centre), out)) in pieces(panel.clone(), BLOCK).zip(blocks) {
                let exact = || self.sums.exact(self.cost, Side::Source, block, tile);
                is_refused |= accept_or_redo(self.sums.terms, sums, centre, out, exact).contains(&true);
            }
            let log_weights = &self.source.log_weights[panel.clone()];
            let epsilon = self.sums.terms.epsilon;
            let Some(steps) = &self.steps else {
                factors_at(log_weights, centre, centre, epsilon, factors);
                count(factors, log_weights, tally);
                add_to_columns(factors, partners, width, entries, column_sums);
                continue;
            };
            steps.advance(0, panel.clone(), registers, out, tally);
            if is_refused {
                // Entries anew, around the new potentials.
                for (centre, &potential) in centre.iter_mut().zip(&*out) {
                    *centre = reachable(potential);
                }
                let width = self.partners(panel.clone(), centre, anew);
                factors_at(log_weights, centre, out, epsilon, factors);
                for part in pieces(0..out.len(), rows_together(width, entries.len())) {
                    let atoms = panel.start + part.start..panel.start + part.end;
                    self.make(atoms, &centre[part.clone()], anew, width, entries, &mut sums[part.clone()]);
                    add_to_columns(&factors[part], anew, width, entries, column_sums);
                }
            } else {
                factors_at(log_weights, centre, out, epsilon, factors);
                add_to_columns(factors, partners, width, entries, column_sums);
            }
            count(factors, log_weights, tally);
            let (weights, entering) = (&steps.weights(0)[panel.clone()], &steps.entering(0)[panel]);
            tally.measure(weights, entering, out, factors, None, epsilon);
        }
    }

    /// The partners of rows centred at some potentials, and their number.
    fn partners(&self, rows: Range<usize>, centre: &[T], out: &mut Vec<Range<usize>>) -> usize {
        let top = self.cost.top(Side::Source, rows.clone(), |i| centre[i - rows.start].to_f64());
        self.cost.partners(Side::Source, rows, &top, &self.heights, self.sums.level, out);
        out.iter().map(ExactSizeIterator::len).sum()
    }

    /// Entries of some rows around a centre with all partners, one row after the other, and their sums.
    fn make(
        &self,
        rows: Range<usize>,
        centre: &[T],
        partners: &[Range<usize>],
        width: usize,
        entries: &mut [T],
        sums: &mut [f64],
    ) {
        let Terms { weights, epsilon, .. } = self.sums.terms;
        for block in pieces(0..rows.len(), BLOCK) {
            let atoms = rows.start + block.start..rows.start + block.end;
            let mut at = block.start * width;
            for others in partners {
                let (g, weights) = (&self.centre[others.clone()], &weights[others.clone()]);
                let terms = GibbsTerms { f: &centre[block.clone()], g, weights, epsilon };
                let sums = &mut sums[block.clone()];
                self.cost.entries(Side::Source, atoms.clone(), others.clone(), terms, width, &mut entries[at..], sums);
                at += others.len();
            }
        }
    }
}

/// Counts factors, and those that underflowed.
fn count<T: CpuScalar>(factors: &[T], log_weights: &[T], tally: &mut Tally) {
    for (factor, log_weight) in factors.iter().zip(log_weights) {
        tally.factors += factor.to_f64();
        tally.lost += usize::from(*factor == T::default() && !is_left_out(*log_weight));
    }
}

/// How many rows of so many entries there is space for.
fn rows_together(width: usize, space: usize) -> usize {
    [LEAF, BLOCK, BLOCK / 2].into_iter().find(|rows| rows * width <= space).unwrap_or(1)
}

/// v_i = a_i exp((f_i - f0_i) / epsilon).
fn factors_at<T: CpuScalar>(log_weights: &[T], centre: &[T], potential: &[T], epsilon: f64, factors: &mut [T]) {
    let inverse = T::from_f64(1.0 / epsilon);
    for (((factor, &potential), &centre), &log_weight) in factors.iter_mut().zip(potential).zip(centre).zip(log_weights)
    {
        *factor = log_weight + (potential - centre) * inverse;
    }
    T::exp_in_place(factors);
}

/// Adds the entries of some rows, times their factors, to the sums of the columns.
fn add_to_columns<T: CpuScalar>(
    factors: &[T],
    partners: &[Range<usize>],
    width: usize,
    entries: &[T],
    sums: &mut [f64],
) {
    let mut at = 0;
    for others in partners {
        T::accumulate(factors, &entries[at..], width, &mut sums[others.clone()]);
        at += others.len();
    }
}

/// How many pairs have f_i + g_j - C_ij above a level, or stand in boxes of which this is not known.
pub(super) fn kept_pairs<T: CpuScalar>(cost: &BlockCost<T>, potentials: [&[T]; 2], level: f64) -> u64 {
    let placed = Side::BOTH.map(|side| {
        let potential: &[T] = side.of(potentials);
        cost.order(side).iter().map(|&atom| reachable(potential[atom as usize])).collect::<Vec<_>>()
    });
    let heights = cost.heights(Side::Target, |j| placed[1][j].to_f64());
    let mut partners = Vec::new();
    let mut kept = 0;
    for leaf in pieces(0..placed[0].len(), LEAF) {
        let top = cost.top(Side::Source, leaf.clone(), |i| placed[0][i].to_f64());
        cost.partners(Side::Source, leaf.clone(), &top, &heights, level, &mut partners);
        let width: usize = partners.iter().map(ExactSizeIterator::len).sum();
        kept += (width * leaf.len()) as u64;
    }
    kept
}

/// The heights of the atoms of a side that have weight.
fn weighted_heights<T: CpuScalar>(cost: &BlockCost<T>, side: Side, placed: &Placed<T>) -> Heights {
    cost.heights(side, |atom| match is_left_out(placed.log_weights[atom]) {
        true => f64::NEG_INFINITY,
        false => placed.potential[atom].to_f64(),
    })
}

/// A mass whose logarithm is a number.
fn positive(mass: f64) -> f64 {
    mass.max(f64::MIN_POSITIVE)
}

fn put(out: &mut HostReduced, column: usize, number: f64) {
    out.values_mut()[column] = number;
}

/// The sums of the tallies of all tasks, in order.
fn total(tallies: &[Tally]) -> Tally {
    tallies.iter().fold(Tally::default(), |mut total, tally| {
        total.factors += tally.factors;
        total.lost += tally.lost;
        total.weight += tally.weight;
        total.movement += tally.movement;
        total.residual += tally.residual;
        total.mass += tally.mass;
        total.dual += tally.dual;
        total
    })
}
