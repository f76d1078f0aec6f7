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

mod rows;
mod scratch;
mod sums;

use ot_core::{
    Host, HostBackend, PlanView, RecordedPenalty, Side, SoftMin, Sweep,
    host::{HostReduced, HostVector, for_each_chunk},
};

use self::{
    rows::Rows,
    scratch::{Placed, Workspace},
    sums::{Sums, positive, weighted_heights},
};
pub(super) use self::{scratch::Scratch, sums::kept_pairs};
use super::{
    cost::{BlockCost, LEAF},
    placed::{gather, scatter},
};
use crate::{
    backend::CpuBackend,
    geometry::{
        CpuScalar,
        cut::Cut,
        guard::{Guard, centred_weights, reachable},
        operand,
        rows::{BLOCK, CostRows, pieces},
        softmin::{Terms, accept_or_redo, shifted_block},
        steps::{Steps, Tally},
    },
};

/// The least sum that is accepted around a potential: 1 is that of a potential that is its own softmin.
const LEAST_SUM: f64 = 1.0 / 64.0;

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

/// One column of a kernel, and what its passes need.
pub(super) struct Column<'a, T> {
    pub(super) backend: &'a CpuBackend<T>,
    pub(super) cost: &'a BlockCost<T>,
    pub(super) epsilon: f64,
    pub(super) scratch: &'a mut Scratch<T>,
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
                    operand::fold::<T>(sums, rows.tasks(), others, (leaf.start, 1), folded);
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
