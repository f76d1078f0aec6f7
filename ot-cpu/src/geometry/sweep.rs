//! Softmins and whole iterations over the entries of a Gibbs kernel, each row of which is met once.
//!
//! With entries E around a centre (f0, g0), weights w_j = b_j exp((g_j - g0_j) / epsilon) and factors
//! v_i = a_i exp((f_i - f0_i) / epsilon), the softmins of both sides are
//!
//! ```text
//! s_i = f0_i - epsilon log sum_j E_ij w_j             s_j = g0_j - epsilon log sum_i v_i E_ij
//! ```
//!
//! A sweep takes a panel of rows at a time: their sums give their new potentials, these give the factors, and
//! while the panel is still in the cache it is added to the sums of all columns. Each task adds to column sums of
//! its own, and these are folded in order, so that the bits do not depend on the threads. Sums that underflow may
//! have touched are redone one by one.

use std::{
    array,
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ot_core::{
    Error, HostBackend, LawPrograms, Side, Sweep,
    host::{HostReduced, HostVector, for_each_chunk},
    program::{BlockInput, Registers},
};

use super::{
    absorbed::{Entries, PANEL},
    dense::zeroed,
    guard::{Guard, centred_weights, is_left_out},
    rows::{BLOCK, CostRows, TASKS, TILE, column_of, column_of_mut, pieces, task_atoms},
    softmin::{Terms, accept_or_redo},
};
use crate::backend::{CpuBackend, CpuScalar, VectorisedMath};

/// Columns of a batch that share a pass over stored entries.
pub(super) const GROUP: usize = 8;

/// Lanes of a panel: its atoms in each column of a group, column after column.
const LANES: usize = PANEL * GROUP;

/// The memory of passes, allocated once.
#[derive(Debug)]
pub(super) struct Scratch<T> {
    /// w or v of each column of a group, one after the other.
    weights: Vec<T>,
    /// Softmins or new potentials of one side, panel after panel.
    staged: Vec<T>,
    /// Column sums of each task.
    sums: Vec<f64>,
    /// What each task counted in each column.
    tallies: Vec<Tally>,
    /// Entries of a panel, one buffer for each thread, empty where entries are stored.
    buffers: Mutex<Vec<Vec<T>>>,
}

impl<T: CpuScalar> Scratch<T> {
    /// Memory for passes over n x m entries in groups of this many columns, with buffers for entries of this many
    /// rows on each thread.
    pub(super) fn new(
        rows: usize,
        others: usize,
        group: usize,
        threads: usize,
        buffer_rows: usize,
    ) -> Result<Self, Error> {
        let (what, longest) = ("scratch of a kernel", rows.max(others));
        let mut pool = Vec::with_capacity(threads);
        for _ in 0..threads {
            pool.push(zeroed(buffer_rows * others, what)?);
        }
        Ok(Self {
            weights: zeroed(group * longest, what)?,
            staged: zeroed(group * longest, what)?,
            sums: zeroed(TASKS * group * others, what)?,
            tallies: vec![Tally::default(); TASKS * group],
            buffers: Mutex::new(pool),
        })
    }

    /// Room for the weights of one column of either side.
    pub(super) fn weights_mut(&mut self) -> &mut [T] {
        &mut self.weights
    }
}

/// What one task counted in one column.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Sum of the factors.
    factors: f64,
    /// Factors that underflowed.
    lost: usize,
    residual: f64,
    mass: f64,
    dual: f64,
}

/// What all passes over a kernel need.
pub(super) struct Pass<'a, T, R> {
    pub(super) backend: &'a CpuBackend<T>,
    pub(super) cost: &'a R,
    pub(super) epsilon: f64,
    /// The columns of the batch that are worked on, at most [`GROUP`].
    pub(super) group: &'a [usize],
}

impl<T: CpuScalar, R: CostRows<T>> Pass<'_, T, R> {
    /// The softmins of the source rows, written to the columns of the group. Returns how many rows of the first
    /// column had to be redone.
    pub(super) fn source_softmins<E: Entries<T>>(
        &self,
        entries: &E,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        scratch: &mut Scratch<T>,
        out: &mut HostVector<T>,
    ) -> usize {
        let columns = self.group.len();
        let Scratch { weights, staged, .. } = scratch;
        let terms = self.terms(entries, Side::Target, potential, log_weights, weights);
        let weights = terms.map(|terms| terms.weights);
        let shape = self.row_shape(entries);
        let redone = AtomicUsize::new(0);
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            shape.tasks(),
            staged[..shape.atoms * columns].chunks_mut(shape.task * columns),
            |task, chunk| {
                let mut sums = [0.0; LANES];
                let mut tile = [T::default(); BLOCK * TILE];
                for (panel, out) in shape.panels(task).zip(chunk.chunks_mut(shape.panel * columns)) {
                    let sums = &mut sums[..out.len()];
                    entries.panel(panel.clone(), &weights[..columns], sums, &mut []);
                    let centre = entries.centre(Side::Source);
                    let count = self.softmins(Side::Source, panel, &terms, centre, sums, &mut tile, out);
                    redone.fetch_add(count, Ordering::Relaxed);
                }
            },
        );
        shape.scatter(staged, self.group, out);
        redone.into_inner()
    }

    /// The softmins of the target columns, written to the columns of the group. Returns how many columns of the
    /// kernel had to be redone for the first column of the group.
    pub(super) fn target_softmins<E: Entries<T>>(
        &self,
        entries: &E,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        scratch: &mut Scratch<T>,
        out: &mut HostVector<T>,
    ) -> usize {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let Scratch { weights, staged, sums, .. } = scratch;
        let terms = self.terms(entries, Side::Source, potential, log_weights, weights);
        let rows = self.row_shape(entries);
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            rows.tasks(),
            sums.chunks_mut(others * columns),
            |task, sums| {
                sums.fill(0.0);
                for panel in rows.panels(task) {
                    let factors: [&[T]; GROUP] = array::from_fn(|k| &terms[k].weights[panel.clone()]);
                    accumulate(entries.panel(panel, &[], &mut [], &mut []), &factors[..columns], others, sums);
                }
            },
        );

        let shape = Shape::of_columns(others, rows.atoms);
        let (sums, redone) = (&*sums, AtomicUsize::new(0));
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            shape.tasks(),
            staged[..others * columns].chunks_mut(shape.task * columns),
            |task, chunk| {
                let mut folded = [0.0; LANES];
                let mut tile = [T::default(); BLOCK * TILE];
                for (panel, out) in shape.panels(task).zip(chunk.chunks_mut(shape.panel * columns)) {
                    let folded = &mut folded[..out.len()];
                    fold_sums(sums, rows.tasks(), others, panel.clone(), folded);
                    let centre = entries.centre(Side::Target);
                    let count = self.softmins(Side::Target, panel, &terms, centre, folded, &mut tile, out);
                    redone.fetch_add(count, Ordering::Relaxed);
                }
            },
        );
        shape.scatter(staged, self.group, out);
        redone.into_inner()
    }

    /// The first half of a sweep: stages the new source potential, and sums the columns at it. Returns how many rows
    /// of the first column had to be redone.
    pub(super) fn sweep_rows<E: Entries<T>>(
        &self,
        entries: &E,
        sweep: &Sweep<'_, CpuBackend<T>>,
        scratch: &mut Scratch<T>,
    ) -> usize {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let Scratch { weights, staged, sums, tallies, buffers } = scratch;
        let (potential, log_weights) = (&sweep.potentials.target, sweep.target.log_weights());
        let terms = self.terms(entries, Side::Target, potential, log_weights, weights);
        let weights = terms.map(|terms| terms.weights);
        let (steps, buffers) = (Steps::new(self, sweep, Side::Source), &*buffers);
        let log_a = self.columns_of(sweep.source.log_weights());
        let (shape, centre) = (self.row_shape(entries), entries.centre(Side::Source));
        let redone = AtomicUsize::new(0);
        let pieces_of_tasks = staged[..shape.atoms * columns]
            .chunks_mut(shape.task * columns)
            .zip(sums.chunks_mut(others * columns))
            .zip(tallies.chunks_mut(columns));
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            shape.tasks(),
            pieces_of_tasks,
            |task, ((chunk, column_sums), tallies)| {
                let pool = || buffers.lock().unwrap_or_else(PoisonError::into_inner);
                let mut buffer = pool().pop().unwrap_or_default();
                let mut lanes = Lanes::new();
                let mut sums = [0.0; LANES];
                let mut factors = [T::default(); LANES];
                let mut tile = [T::default(); BLOCK * TILE];
                column_sums.fill(0.0);
                tallies.fill(Tally::default());
                for (panel, out) in shape.panels(task).zip(chunk.chunks_mut(shape.panel * columns)) {
                    let sums = &mut sums[..out.len()];
                    let entries = entries.panel(panel.clone(), &weights[..columns], sums, &mut buffer);
                    let count = self.softmins(Side::Source, panel.clone(), &terms, centre, sums, &mut tile, out);
                    redone.fetch_add(count, Ordering::Relaxed);
                    steps.advance(panel.clone(), &mut lanes, out, tallies);

                    let factors = &mut factors[..out.len()];
                    self.factors(panel.clone(), &log_a, centre, out, factors, tallies);
                    let factors: [&[T]; GROUP] = array::from_fn(|k| lanes_of(factors, panel.len(), k.min(columns - 1)));
                    accumulate(entries, &factors[..columns], others, column_sums);
                }
                pool().push(buffer);
            },
        );
        redone.into_inner()
    }

    /// Moves the staged source potential to its vector, with the by-products of the first half of a sweep.
    pub(super) fn finish_rows(&self, panel_rows: usize, sweep: &mut Sweep<'_, CpuBackend<T>>, scratch: &Scratch<T>) {
        let shape = Shape::of_rows(self.cost.len(Side::Source), self.cost.len(Side::Target), panel_rows);
        shape.scatter(&scratch.staged, self.group, &mut sweep.potentials.source);
        if let Some(hints) = sweep.by_products.as_deref_mut() {
            let fill = |out: &mut HostReduced, number: fn(&Tally) -> f64| {
                self.fill(out, &scratch.tallies, shape.tasks(), number);
            };
            fill(&mut hints.source_residual, |tally| tally.residual);
            fill(&mut hints.mass, |tally| tally.mass);
            fill(&mut hints.source_dual, |tally| tally.dual);
        }
    }

    /// The second half of a sweep, from the sums of the first: the target potential, and its by-products. `centre`
    /// is the target potential that the entries were centred at; None for the entering one. Returns how many columns
    /// of the kernel had to be redone for the first column of the group.
    pub(super) fn sweep_columns(
        &self,
        panel_rows: usize,
        centre: Option<&[T]>,
        largest: f64,
        sweep: &mut Sweep<'_, CpuBackend<T>>,
        scratch: &mut Scratch<T>,
    ) -> usize {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let Scratch { staged, sums, tallies, .. } = scratch;
        let rows = Shape::of_rows(self.cost.len(Side::Source), others, panel_rows);
        let terms: [Terms<'_, T>; GROUP] = array::from_fn(|k| {
            let column = self.group[k.min(columns - 1)];
            let of_column = tallies.iter().skip(k.min(columns - 1)).step_by(columns).take(rows.tasks());
            let (total, lost) =
                of_column.fold((0.0, 0), |(total, lost), tally| (total + tally.factors, lost + tally.lost));
            Terms {
                potential: column_of(&sweep.potentials.source, column),
                log_weights: column_of(sweep.source.log_weights(), column),
                weights: &[],
                guard: Guard::from_counts::<T>(total, rows.atoms, lost, largest),
                epsilon: self.epsilon,
            }
        });
        let centre = centre.unwrap_or_else(|| column_of(&sweep.potentials.target, self.group[0]));
        let steps = Steps::new(self, sweep, Side::Target);
        let shape = Shape::of_columns(others, rows.atoms);
        let (sums, redone) = (&*sums, AtomicUsize::new(0));
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            shape.tasks(),
            staged[..others * columns].chunks_mut(shape.task * columns).zip(tallies.chunks_mut(columns)),
            |task, (chunk, tallies)| {
                let mut lanes = Lanes::new();
                let mut folded = [0.0; LANES];
                let mut tile = [T::default(); BLOCK * TILE];
                tallies.fill(Tally::default());
                for (panel, out) in shape.panels(task).zip(chunk.chunks_mut(shape.panel * columns)) {
                    let folded = &mut folded[..out.len()];
                    fold_sums(sums, rows.tasks(), others, panel.clone(), folded);
                    let count = self.softmins(Side::Target, panel.clone(), &terms, centre, folded, &mut tile, out);
                    redone.fetch_add(count, Ordering::Relaxed);
                    steps.advance(panel, &mut lanes, out, tallies);
                }
            },
        );

        shape.scatter(staged, self.group, &mut sweep.potentials.target);
        if let Some(hints) = sweep.by_products.as_deref_mut() {
            self.fill(&mut hints.target_residual, tallies, shape.tasks(), |tally| tally.residual);
            self.fill(&mut hints.target_dual, tallies, shape.tasks(), |tally| tally.dual);
        }
        redone.into_inner()
    }

    /// Panels of source rows.
    fn row_shape<E: Entries<T>>(&self, entries: &E) -> Shape {
        Shape::of_rows(self.cost.len(Side::Source), self.cost.len(Side::Target), entries.panel_rows())
    }

    /// The columns of a vector that the group takes; beyond the group, the last one again.
    fn columns_of<'a>(&self, vector: &'a HostVector<T>) -> [&'a [T]; GROUP] {
        array::from_fn(|k| column_of(vector, self.group[k.min(self.group.len() - 1)]))
    }

    /// What the softmins of the other side sum over: potentials of `side`, with weights around the centre.
    fn terms<'a, E: Entries<T>>(
        &self,
        entries: &E,
        side: Side,
        potential: &'a HostVector<T>,
        log_weights: &'a HostVector<T>,
        weights: &'a mut [T],
    ) -> [Terms<'a, T>; GROUP] {
        let (len, columns, centre) = (self.cost.len(side), self.group.len(), entries.centre(side));
        let (potentials, log_weights) = (self.columns_of(potential), self.columns_of(log_weights));
        let mut guards = [Guard::default(); GROUP];
        for (k, weights) in weights.chunks_mut(len).take(columns).enumerate() {
            let (potential, log_weights) = (potentials[k], log_weights[k]);
            guards[k] = centred_weights(log_weights, potential, centre, self.epsilon, entries.largest(), weights);
        }
        let weights = &*weights;
        array::from_fn(|k| Terms {
            potential: potentials[k],
            log_weights: log_weights[k],
            weights: lanes_of(weights, len, k.min(columns - 1)),
            guard: guards[k],
            epsilon: self.epsilon,
        })
    }

    /// The softmins of a panel from its sums, exact where the guard refuses. Returns how many rows of the first
    /// column were redone.
    #[expect(clippy::too_many_arguments, reason = "one panel and all that its repair may need")]
    fn softmins(
        &self,
        side: Side,
        panel: Range<usize>,
        terms: &[Terms<'_, T>; GROUP],
        centre: &[T],
        sums: &[f64],
        tile: &mut [T; BLOCK * TILE],
        out: &mut [T],
    ) -> usize {
        let mut redone = 0;
        let of_columns = sums.chunks(panel.len()).zip(out.chunks_mut(panel.len()));
        for (k, (sums, out)) in of_columns.enumerate() {
            let blocks = sums.chunks(BLOCK).zip(out.chunks_mut(BLOCK));
            for (block, (sums, out)) in pieces(panel.clone(), BLOCK).zip(blocks) {
                let centre = &centre[block.clone()];
                let count = accept_or_redo(self.cost, side, block, terms[k], sums, centre, tile, out);
                redone += if k == 0 { count } else { 0 };
            }
        }
        redone
    }

    /// v_i = a_i exp((f_i - f0_i) / epsilon) for a panel of new potentials, counted.
    fn factors(
        &self,
        panel: Range<usize>,
        log_weights: &[&[T]; GROUP],
        centre: &[T],
        potentials: &[T],
        factors: &mut [T],
        tallies: &mut [Tally],
    ) {
        let inverse = T::from_f64(1.0 / self.epsilon);
        let centre = &centre[panel.clone()];
        let of_columns = factors.chunks_mut(panel.len()).zip(potentials.chunks(panel.len()));
        for (((factors, potential), log_weights), tally) in of_columns.zip(log_weights).zip(tallies) {
            let log_weights = &log_weights[panel.clone()];
            for (((factor, &potential), &centre), &log_weight) in
                factors.iter_mut().zip(potential).zip(centre).zip(log_weights)
            {
                *factor = log_weight + (potential - centre) * inverse;
            }
            T::exp_in_place(factors);
            for (factor, log_weight) in factors.iter().zip(log_weights) {
                tally.factors += factor.to_f64();
                tally.lost += usize::from(*factor == T::default() && !is_left_out(*log_weight));
            }
        }
    }

    /// Folds one number of the tallies of all tasks, in order, into the columns of the group.
    fn fill(&self, out: &mut HostReduced, tallies: &[Tally], tasks: usize, number: fn(&Tally) -> f64) {
        for (k, &column) in self.group.iter().enumerate() {
            let of_column = tallies.iter().skip(k).step_by(self.group.len()).take(tasks);
            out.values_mut()[column] = of_column.map(number).sum();
        }
    }
}

/// How the atoms of a side are cut: into tasks of whole panels.
#[derive(Clone, Copy)]
struct Shape {
    atoms: usize,
    task: usize,
    panel: usize,
}

impl Shape {
    fn of_rows(atoms: usize, others: usize, panel: usize) -> Self {
        Self { atoms, task: task_atoms(atoms, others).next_multiple_of(panel), panel }
    }

    fn of_columns(atoms: usize, others: usize) -> Self {
        // A column of a task costs as many additions as there are tasks, not as many as there are rows.
        Self { atoms, task: task_atoms(atoms, others.min(TASKS)).next_multiple_of(PANEL), panel: PANEL }
    }

    fn tasks(self) -> usize {
        self.atoms.div_ceil(self.task)
    }

    fn panels(self, task: usize) -> impl Iterator<Item = Range<usize>> {
        pieces(task * self.task..self.atoms.min((task + 1) * self.task), self.panel)
    }

    /// Copies staged panels to the columns of a vector.
    fn scatter<T: CpuScalar>(self, staged: &[T], group: &[usize], out: &mut HostVector<T>) {
        for panel in pieces(0..self.atoms, self.panel) {
            let lanes = &staged[panel.start * group.len()..panel.end * group.len()];
            for (&column, lanes) in group.iter().zip(lanes.chunks(panel.len())) {
                column_of_mut(out, column)[panel.clone()].copy_from_slice(lanes);
            }
        }
    }
}

/// Lanes of column k of a group.
fn lanes_of<T>(lanes: &[T], len: usize, k: usize) -> &[T] {
    &lanes[k * len..][..len]
}

/// Adds the entries of a panel, times the factors of each column, to the column sums.
fn accumulate<T: CpuScalar>(entries: &[T], factors: &[&[T]], others: usize, sums: &mut [f64]) {
    for tile in pieces(0..others, TILE) {
        for (factors, sums) in factors.iter().zip(sums.chunks_mut(others)) {
            T::accumulate(factors, &entries[tile.start..], others, &mut sums[tile.clone()]);
        }
    }
}

/// The column sums of a panel over all tasks, in order.
fn fold_sums(sums: &[f64], tasks: usize, others: usize, panel: Range<usize>, folded: &mut [f64]) {
    let columns = folded.len() / panel.len();
    folded.fill(0.0);
    for sums in sums.chunks(others * columns).take(tasks) {
        for (folded, sums) in folded.chunks_mut(panel.len()).zip(sums.chunks(others)) {
            for (folded, sum) in folded.iter_mut().zip(&sums[panel.clone()]) {
                *folded += sum;
            }
        }
    }
}

/// One side of a group of columns, as its steps read it.
struct Steps<'a, T> {
    law: &'a LawPrograms,
    side: Side,
    /// The entering potential.
    entering: [&'a [T]; GROUP],
    weights: [&'a [T]; GROUP],
    relaxation: [T; GROUP],
    epsilon: T,
    /// Are by-products wanted?
    hints: bool,
}

impl<'a, T: CpuScalar> Steps<'a, T> {
    fn new<R: CostRows<T>>(pass: &Pass<'_, T, R>, sweep: &'a Sweep<'_, CpuBackend<T>>, side: Side) -> Self {
        let marginal = match side {
            Side::Source => sweep.source,
            Side::Target => sweep.target,
        };
        let relaxation = sweep.relaxation.values();
        Self {
            law: marginal.law(),
            side,
            entering: pass.columns_of(sweep.potentials.side(side)),
            weights: pass.columns_of(marginal.weights()),
            relaxation: array::from_fn(|k| {
                let column = pass.group[k.min(pass.group.len() - 1)];
                T::from_f64(relaxation[column.min(relaxation.len() - 1)])
            }),
            epsilon: T::from_f64(pass.epsilon),
            hints: sweep.by_products.is_some(),
        }
    }

    /// Turns the softmins of a panel into its new potentials, and counts the by-products.
    fn advance(&self, panel: Range<usize>, lanes: &mut Lanes<T>, softmins: &mut [T], tallies: &mut [Tally]) {
        let len = panel.len();
        let Lanes { registers, entering, softmin, weights, relaxation, residual, mass, dual } = lanes;
        let count = softmins.len();
        for (k, _) in tallies.iter().enumerate() {
            let of_column = k * len..(k + 1) * len;
            entering[of_column.clone()].copy_from_slice(&self.entering[k][panel.clone()]);
            weights[of_column.clone()].copy_from_slice(&self.weights[k][panel.clone()]);
            relaxation[of_column].fill(self.relaxation[k]);
        }
        softmin[..count].copy_from_slice(softmins);
        let (f, s) = (BlockInput::Lanes(&entering[..count]), BlockInput::Lanes(&softmin[..count]));
        let (a, omega) = (BlockInput::Lanes(&weights[..count]), BlockInput::Lanes(&relaxation[..count]));
        let epsilon = BlockInput::Uniform(self.epsilon);

        let step = self.law.relaxed_step();
        let run = step.run_block::<_, VectorisedMath>(&[f, s, omega, epsilon], registers, &mut [softmins]);
        debug_assert!(run.is_ok(), "the arity of a law's programs is fixed");
        if !self.hints {
            return;
        }
        let (residual, mass, dual) = (&mut residual[..count], &mut mass[..count], &mut dual[..count]);
        let inputs = [f, s, a, epsilon];
        let run = match self.side {
            Side::Source => self.law.residual_and_mass().run_block::<_, VectorisedMath>(
                &inputs,
                registers,
                &mut [&mut *residual, &mut *mass],
            ),
            Side::Target => {
                self.law.residual().run_block::<_, VectorisedMath>(&inputs, registers, &mut [&mut *residual])
            }
        };
        debug_assert!(run.is_ok(), "the arity of a law's programs is fixed");
        let run = self.law.dual().run_block::<_, VectorisedMath>(&[f, a], registers, &mut [&mut *dual]);
        debug_assert!(run.is_ok(), "the arity of a law's programs is fixed");
        for (k, tally) in tallies.iter_mut().enumerate() {
            let sum = |lanes: &[T]| lanes_of(lanes, len, k).iter().map(|lane| lane.to_f64()).sum::<f64>();
            tally.residual += sum(residual);
            tally.mass += sum(mass);
            tally.dual += sum(dual);
        }
    }
}

/// What a law's programs read and write for a panel.
struct Lanes<T> {
    registers: Registers<T>,
    entering: [T; LANES],
    softmin: [T; LANES],
    weights: [T; LANES],
    relaxation: [T; LANES],
    residual: [T; LANES],
    mass: [T; LANES],
    dual: [T; LANES],
}

impl<T: CpuScalar> Lanes<T> {
    fn new() -> Self {
        let zero = [T::default(); LANES];
        Self {
            registers: Registers::new(),
            entering: zero,
            softmin: zero,
            weights: zero,
            relaxation: zero,
            residual: zero,
            mass: zero,
            dual: zero,
        }
    }
}
