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
    iter,
    ops::Range,
    slice,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use ot_core::{
    Error, Host, HostBackend, LOG_ZERO, PlanView, Scalar, Side, Sweep,
    host::{HostReduced, HostVector, for_each_chunk},
    program::Registers,
};

use super::{
    CpuScalar,
    absorbed::Kept,
    anchors::{Anchors, part},
    cut::{Cut, GROUP, PANEL},
    entries::{Entries, Place, Weights},
    group::{GroupTerms, Lanes},
    guard::{Guard, centred_weights, is_left_out, reachable},
    memory::{Pool, zeroed},
    operand::{self, most_numbers, operand_len},
    rows::{BLOCK, CostRows, TASKS, TILE, pieces},
    softmin::{Terms, accept_all, accept_or_redo, exact_block},
    steps::{Steps, Tally},
};
use crate::{backend::CpuBackend, simd::Stored};

/// The memory of passes, allocated once.
#[derive(Debug)]
pub(super) struct Scratch<T> {
    /// w or v of each column of a group, one after the other.
    weights: Vec<T>,
    /// Softmins or new potentials of one side, panel after panel.
    staged: Vec<T>,
    /// Column sums of each task.
    sums: Vec<f64>,
    /// Of each column of a group, from the rows and from the columns of the kernel.
    guards: [Vec<Guard>; 2],
    /// What each task counted in each column.
    tallies: Vec<Tally>,
    /// What a thread works with.
    workspaces: Pool<Box<Workspace<T>>>,
    /// Sums and factors of a pass, panel after panel, where they are to be kept.
    pub(super) kept_sums: Vec<f64>,
    kept_factors: Vec<T>,
    /// Of each column of a group, after the first half of a sweep: movement and distance to the anchor.
    pub(super) drifts: [Drift; GROUP],
}

/// How far a column is from where it was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drift {
    /// Mean movement of the source potential in the last sweep, in units of epsilon.
    pub(super) movement: f64,
    /// Mean distance of weights to those of the anchor, as a part of them; 1 without an anchor.
    pub(super) distance: f64,
}

impl Drift {
    /// Is what the column moves drowned in the rounding of entries to this accuracy?
    pub(super) fn is_drowned(self, accuracy: f64) -> bool {
        /// The part of the movement that rounding may be.
        const LARGEST_NOISE: f64 = 1e-3;
        /// Nearer to the anchor than this there is nothing to gain from another.
        const SMALLEST_DISTANCE: f64 = 1e-6;

        self.distance > SMALLEST_DISTANCE && accuracy * self.distance > LARGEST_NOISE * self.movement
    }
}

/// What a thread works with while it is at a task.
#[derive(Debug)]
struct Workspace<T> {
    sums: Vec<f64>,
    factors: Vec<T>,
    registers: Registers<T>,
    tile: [T; BLOCK * TILE],
}

/// Operands of products with entries of type X, and space for entries that are not kept.
#[derive(Debug)]
pub(super) struct Operands<X> {
    weights: Vec<X>,
    /// Factors of a panel, and entries, for each thread.
    pools: Pool<(Vec<X>, Vec<X>)>,
}

impl<X: CpuScalar> Operands<X> {
    /// Operands for groups of so many columns, and entries of so many rows on each thread.
    pub(super) fn new(
        (rows, others): (usize, usize),
        group: usize,
        threads: usize,
        buffer_rows: usize,
    ) -> Result<Self, Error> {
        let what = "scratch of a kernel";
        let mut pools = Vec::with_capacity(threads);
        for _ in 0..threads {
            pools.push((zeroed(operand_len::<X>(PANEL, group), what)?, zeroed(buffer_rows * others, what)?));
        }
        Ok(Self { weights: zeroed(operand_len::<X>(rows.max(others), group), what)?, pools: Pool(Mutex::new(pools)) })
    }
}

impl<T: CpuScalar> Scratch<T> {
    /// Memory for passes over n x m entries in groups of this many columns. Sums and factors are kept if `keeps`.
    pub(super) fn new(
        (rows, others): (usize, usize),
        group: usize,
        threads: usize,
        keeps: bool,
    ) -> Result<Self, Error> {
        let (what, longest) = ("scratch of a kernel", rows.max(others));
        let kept = |count: usize| if keeps { group * count } else { 0 };
        let sums_of = |columns: usize| Cut::most_tasks(rows, others, columns) * most_numbers(others, columns);
        let mut workspaces = Vec::with_capacity(threads);
        for _ in 0..threads {
            workspaces.push(Box::new(Workspace {
                sums: zeroed(group * PANEL, what)?,
                factors: zeroed(group * PANEL, what)?,
                registers: Registers::new(),
                tile: [T::default(); BLOCK * TILE],
            }));
        }
        Ok(Self {
            weights: zeroed(group * longest, what)?,
            staged: zeroed(group * longest, what)?,
            // Twice: those of the rows, and those of the capped rows.
            sums: zeroed(2 * sums_of(1).max(sums_of(group)), what)?,
            guards: [vec![Guard::default(); group], vec![Guard::default(); group]],
            tallies: vec![Tally::default(); TASKS * group],
            workspaces: Pool(Mutex::new(workspaces)),
            kept_sums: zeroed(kept(longest), what)?,
            kept_factors: zeroed(group * rows, what)?,
            drifts: [Drift::default(); GROUP],
        })
    }

    /// Space for the weights of one column of either side.
    pub(super) fn weights_mut(&mut self) -> &mut [T] {
        &mut self.weights
    }
}

/// What is kept of a pass.
pub(super) enum Keep<P> {
    /// Nothing.
    Nothing,
    /// Sums and factors.
    Sums,
    /// Sums and factors, and the entries in these pieces, one for each task.
    Entries(P),
}

/// Rows scaled down to a highest density, and what is told of the columns then.
pub(super) struct CappedRows<'a, T> {
    /// The logarithm of the highest density.
    pub(super) log_highest: f64,
    /// log x, x_i = min(1, highest / r_i).
    pub(super) log_scaling: &'a mut HostVector<T>,
    /// What is told of the columns under the weights a x: softmins, or densities.
    pub(super) columns: &'a mut HostVector<T>,
}

impl<T> CappedRows<'_, T> {
    /// The same places, for a call.
    pub(super) fn reborrow(&mut self) -> CappedRows<'_, T> {
        CappedRows { log_highest: self.log_highest, log_scaling: &mut *self.log_scaling, columns: &mut *self.columns }
    }
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
    /// The softmins of the source rows, written to the columns of the group.
    pub(super) fn source_softmins<E: Entries<T>>(
        &self,
        entries: &E,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        scratch: &mut Scratch<T>,
        operands: &mut Operands<E::Entry>,
        out: &mut HostVector<T>,
    ) {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let Scratch { weights, staged, guards: [guards, _], workspaces, .. } = scratch;
        let terms = self.terms(entries, Side::Target, potential, log_weights, weights, guards);
        self.write_operand(terms, &mut operands.weights);
        let operand = &operands.weights[..operand_len::<E::Entry>(others, columns)];
        let weights = Weights { columns, first: terms.weights.get(0), operand };
        let (cut, pools, workspaces) = (self.row_cut(entries), &operands.pools, &*workspaces);
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            cut.tasks(),
            staged[..cut.atoms * columns].chunks_mut(cut.task_atoms() * columns),
            |task, chunk| {
                let (factors, mut buffer) = pools.take();
                let mut workspace = workspaces.take();
                let Workspace { sums, tile, .. } = &mut *workspace;
                for (panel, out) in cut.panels(task).zip(chunk.chunks_mut(cut.panel_atoms() * columns)) {
                    let sums = &mut sums[..out.len()];
                    entries.fill(panel.clone(), weights, sums, &mut buffer);
                    let centre = &entries.centre(Side::Source)[panel.clone()];
                    let lanes = sums.chunks(panel.len()).zip(out.chunks_mut(panel.len()));
                    for (terms, (sums, out)) in terms.iter().zip(lanes) {
                        self.softmins(Side::Source, panel.clone(), terms, centre, sums, tile, out, |_| ());
                    }
                }
                workspaces.put(workspace);
                pools.put((factors, buffer));
            },
        );
        cut.scatter(staged, self.group, out);
    }

    /// The softmins of the target columns, written to the columns of the group, row after row of the cost.
    pub(super) fn target_softmins<E: Entries<T>>(
        &self,
        entries: &E,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        scratch: &mut Scratch<T>,
        operands: &mut Operands<E::Entry>,
        out: &mut HostVector<T>,
    ) {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let Scratch { weights, staged, sums, guards: [guards, _], workspaces, .. } = scratch;
        let terms = self.terms(entries, Side::Source, potential, log_weights, weights, guards);
        let (rows, pools, workspaces) = (self.row_cut(entries), &operands.pools, &*workspaces);
        let no_weights = Weights { columns: 0, first: &[], operand: &[] };
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            rows.tasks(),
            sums.chunks_mut(operand_len::<E::Entry>(others, columns)),
            |task, sums| {
                let (mut factors, mut buffer) = pools.take();
                sums.fill(0.0);
                for panel in rows.panels(task) {
                    entries.fill(panel.clone(), no_weights, &mut [], &mut buffer);
                    let operand = &mut factors[..operand_len::<E::Entry>(panel.len(), columns)];
                    for (k, terms) in terms.iter().enumerate() {
                        let number = |r: usize| E::Entry::from_f64(terms.weights[panel.start + r].to_f64());
                        operand::write_column(operand, (panel.len(), columns), k, number);
                    }
                    operand::add_to_columns(entries.rows(panel, &buffer), others, operand, columns, sums);
                }
                pools.put((factors, buffer));
            },
        );
        self.column_softmins(entries, terms, rows.tasks(), sums, staged, workspaces, out);
    }

    /// The softmins of both sides at the potentials that the entries are centred at, in the columns of the group, and those
    /// of the target with rows capped, if that is asked for.
    pub(super) fn both_softmins<E: Entries<T>>(
        &self,
        entries: &E,
        plan: PlanView<'_, Host<T>>,
        scratch: &mut Scratch<T>,
        operands: &mut Operands<E::Entry>,
        [source_out, target_out]: [&mut HostVector<T>; 2],
        capped: Option<CappedRows<'_, T>>,
    ) {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let Scratch { weights, staged, sums, guards: [guards, guards_of_rows], workspaces, kept_factors, .. } = scratch;
        let (source, target) = (plan.source, plan.target);
        let terms = self.terms(entries, Side::Target, target.potential, target.log_weights, weights, guards);
        self.write_operand(terms, &mut operands.weights);
        let operand = &operands.weights[..operand_len::<E::Entry>(others, columns)];
        let row_weights = Weights { columns, first: terms.weights.get(0), operand };
        let factors_of_rows =
            self.terms(entries, Side::Source, source.potential, source.log_weights, kept_factors, guards_of_rows);
        let (rows, pools) = (self.row_cut(entries), &operands.pools);
        let (task_lanes, task_sums) = (rows.task_atoms() * columns, operand_len::<E::Entry>(others, columns));
        let (sums, sums_of_capped) = sums.split_at_mut(rows.tasks() * task_sums);
        let highest = capped.as_ref().map(|capped| capped.log_highest);
        let pieces_of_capped = highest.map(|highest| iter::repeat(highest).zip(sums_of_capped.chunks_mut(task_sums)));
        let workspaces = &*workspaces;
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            rows.tasks(),
            staged[..rows.atoms * columns]
                .chunks_mut(task_lanes)
                .zip(sums.chunks_mut(task_sums))
                .zip(or_none(pieces_of_capped)),
            |task, ((chunk, column_sums), mut capped)| {
                let (mut factors, mut buffer) = pools.take();
                let mut workspace = workspaces.take();
                let Workspace { sums, tile, factors: caps, .. } = &mut *workspace;
                column_sums.fill(0.0);
                if let Some((_, sums_of_capped)) = &mut capped {
                    sums_of_capped.fill(0.0);
                }
                for (panel, out) in rows.panels(task).zip(chunk.chunks_mut(rows.panel_atoms() * columns)) {
                    let (len, sums) = (panel.len(), &mut sums[..out.len()]);
                    entries.fill(panel.clone(), row_weights, sums, &mut buffer);
                    let centre = &entries.centre(Side::Source)[panel.clone()];
                    let lanes = sums.chunks(len).zip(out.chunks_mut(len));
                    for (terms, (sums, out)) in terms.iter().zip(lanes) {
                        self.softmins(Side::Source, panel.clone(), terms, centre, sums, tile, out, |_| ());
                    }
                    let operand = &mut factors[..operand_len::<E::Entry>(len, columns)];
                    for (k, terms) in factors_of_rows.iter().enumerate() {
                        let number = |r: usize| E::Entry::from_f64(terms.weights[panel.start + r].to_f64());
                        operand::write_column(operand, (len, columns), k, number);
                    }
                    let entries_of_panel = entries.rows(panel.clone(), &buffer);
                    operand::add_to_columns(entries_of_panel, others, operand, columns, column_sums);
                    let Some((log_highest, sums_of_capped)) = &mut capped else { continue };
                    let caps = &mut caps[..out.len()];
                    let lanes = caps.chunks_mut(len).zip(out.chunks(len));
                    for (k, (terms, (caps, softmins))) in factors_of_rows.iter().zip(lanes).enumerate() {
                        self.write_caps(*log_highest, &terms.potential[panel.clone()], softmins, caps);
                        let factors = &terms.weights[panel.clone()];
                        let number = |r: usize| E::Entry::from_f64(factors[r].to_f64() * caps[r].to_f64().exp());
                        operand::write_column(operand, (len, columns), k, number);
                    }
                    operand::add_to_columns(entries_of_panel, others, operand, columns, sums_of_capped);
                }
                workspaces.put(workspace);
                pools.put((factors, buffer));
            },
        );
        rows.scatter(staged, self.group, source_out);
        self.column_softmins(entries, factors_of_rows, rows.tasks(), sums, staged, workspaces, target_out);
        if let Some(CappedRows { log_scaling, columns: target_out, log_highest }) = capped {
            for (terms, &column) in factors_of_rows.iter().zip(self.group) {
                let softmins = source_out.column(column);
                self.write_caps(log_highest, terms.potential, softmins, log_scaling.column_mut(column));
            }
            // The terms of the target are done with.
            let weights = &mut weights[..rows.atoms * columns];
            let mut logarithms = vec![T::default(); rows.atoms * columns];
            let lanes = logarithms.chunks_mut(rows.atoms).zip(weights.chunks_mut(rows.atoms));
            let centre = entries.centre(Side::Source);
            let guards: Vec<Guard> = lanes
                .zip(factors_of_rows.iter().zip(self.group))
                .map(|((logarithms, weights), (terms, &column))| {
                    let of_column = terms.log_weights.iter().zip(log_scaling.column(column));
                    for (logarithm, (&log_weight, &cap)) in logarithms.iter_mut().zip(of_column) {
                        *logarithm = log_weight + cap;
                    }
                    let largest = entries.largest();
                    centred_weights::<T, E::Entry>(logarithms, terms.potential, centre, self.epsilon, largest, weights)
                })
                .collect();
            let terms = GroupTerms {
                log_weights: Lanes::Staged(&logarithms, rows.atoms),
                weights: Lanes::Staged(weights, rows.atoms),
                guards: &guards,
                ..factors_of_rows
            };
            self.column_softmins(entries, terms, rows.tasks(), sums_of_capped, staged, workspaces, target_out);
        }
    }

    /// log min(1, h / r) of some rows, whose densities r their potentials and softmins tell.
    fn write_caps(&self, log_highest: f64, potential: &[T], softmins: &[T], caps: &mut [T]) {
        for (cap, (f, s)) in caps.iter_mut().zip(potential.iter().zip(softmins)) {
            let log_density = (f.to_f64() - s.to_f64()) / self.epsilon;
            *cap = T::from_f64((log_highest - log_density).clamp(LOG_ZERO, 0.0));
        }
    }

    /// The softmins of the target columns from their sums in all tasks.
    #[expect(clippy::too_many_arguments, reason = "the parts of the scratch space")]
    fn column_softmins<E: Entries<T>>(
        &self,
        entries: &E,
        terms: GroupTerms<'_, T>,
        tasks_of_rows: usize,
        sums: &[f64],
        staged: &mut [T],
        workspaces: &Pool<Box<Workspace<T>>>,
        out: &mut HostVector<T>,
    ) {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let cut = Cut::of_columns(others);
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            cut.tasks(),
            staged[..others * columns].chunks_mut(cut.task_atoms() * columns),
            |task, chunk| {
                let mut workspace = workspaces.take();
                let Workspace { sums: sums_of_panel, tile, .. } = &mut *workspace;
                for (panel, out) in cut.panels(task).zip(chunk.chunks_mut(cut.panel_atoms() * columns)) {
                    let folded = &mut sums_of_panel[..out.len()];
                    operand::fold::<E::Entry>(sums, tasks_of_rows, others, (panel.start, columns), folded);
                    let centre = &entries.centre(Side::Target)[panel.clone()];
                    let lanes = folded.chunks(panel.len()).zip(out.chunks_mut(panel.len()));
                    for (terms, (sums, out)) in terms.iter().zip(lanes) {
                        self.softmins(Side::Target, panel.clone(), terms, centre, sums, tile, out, |_| ());
                    }
                }
                workspaces.put(workspace);
            },
        );
        cut.scatter(staged, self.group, out);
    }

    /// The first half of a sweep: stages the new source potential, and sums the columns at it. Sums by kept entries
    /// are completed by what the anchors know. Returns how many sums had to be redone, and a bound on the entries
    /// kept.
    #[expect(clippy::too_many_lines, reason = "the loop over panels in one piece")]
    pub(super) fn sweep_rows<'k, E: Entries<T>, X: CpuScalar>(
        &self,
        entries: &E,
        anchors: Option<&Anchors>,
        keep: Keep<impl Iterator<Item = Kept<'k, T, X>> + Send>,
        sweep: &Sweep<'_, Host<T>>,
        scratch: &mut Scratch<T>,
        operands: &mut Operands<E::Entry>,
    ) -> (usize, f64)
    where
        T: Stored<X>,
    {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let Scratch {
            weights,
            staged,
            sums,
            guards: [guards, _],
            tallies,
            workspaces,
            kept_sums,
            kept_factors,
            drifts,
        } = scratch;
        let (potential, log_weights) = (&sweep.potentials.target, sweep.target.log_weights());
        let terms = self.terms(entries, Side::Target, potential, log_weights, weights, guards);
        self.write_weights(terms, anchors, sweep, drifts, &mut operands.weights);
        let operand = &operands.weights[..operand_len::<E::Entry>(others, columns)];
        let weights = Weights { columns, first: terms.weights.get(0), operand };
        let (steps, workspaces) = (Steps::new(self.group, self.epsilon, sweep, Side::Source), &*workspaces);
        let log_a = Lanes::Vector(sweep.source.log_weights(), self.group);
        let (cut, centre, pools) = (self.row_cut(entries), entries.centre(Side::Source), &operands.pools);
        let (redone, largest) = (AtomicUsize::new(0), Mutex::new(0.0_f64));
        let of_anchor = |k: usize| anchors.and_then(|anchors| anchors.get(Side::Source, self.group[k]));

        let task_lanes = cut.task_atoms() * columns;
        let (keeps_sums, kept) = match keep {
            Keep::Nothing => (false, None),
            Keep::Sums => (true, None),
            Keep::Entries(pieces) => (true, Some(pieces)),
        };
        let sums_and_factors =
            keeps_sums.then(|| kept_sums.chunks_mut(task_lanes).zip(kept_factors.chunks_mut(task_lanes)));
        let pieces_of_tasks = staged[..cut.atoms * columns]
            .chunks_mut(task_lanes)
            .zip(sums.chunks_mut(operand_len::<E::Entry>(others, columns)))
            .zip(tallies.chunks_mut(columns))
            .zip(or_none(sums_and_factors).zip(or_none(kept)));
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            cut.tasks(),
            pieces_of_tasks,
            |task, (((chunk, column_sums), tallies), (mut kept_numbers, mut kept))| {
                let (mut operand, mut buffer) = pools.take();
                let mut workspace = workspaces.take();
                let Workspace { sums: sums_of_panel, factors: factors_of_panel, registers, tile } = &mut *workspace;
                let mut largest_of_task = 0.0_f64;
                column_sums.fill(0.0);
                tallies.fill(Tally::default());
                let first = task * cut.task_atoms();
                for (panel, out) in cut.panels(task).zip(chunk.chunks_mut(cut.panel_atoms() * columns)) {
                    let len = panel.len();
                    let sums = &mut sums_of_panel[..out.len()];
                    entries.fill(panel.clone(), weights, sums, &mut buffer);
                    let mut centre_of_panel = [T::default(); PANEL];
                    let centre_of_panel = &mut centre_of_panel[..len];
                    centre_of_panel.copy_from_slice(&centre[panel.clone()]);

                    let operand = &mut operand[..operand_len::<E::Entry>(len, columns)];
                    let mut remade = [false; PANEL];
                    for (k, tally) in tallies.iter_mut().enumerate() {
                        let lanes = k * len..(k + 1) * len;
                        let (sums, out) = (&mut sums[lanes.clone()], &mut out[lanes]);
                        if let Some(anchor) = of_anchor(k) {
                            anchor.complete(panel.start, sums);
                        }
                        let mut refused = [false; PANEL];
                        let count = |r: usize| refused[r] = true;
                        let around = &centre[panel.clone()];
                        self.softmins(Side::Source, panel.clone(), terms.get(k), around, sums, tile, out, count);
                        steps.advance(k, panel.clone(), registers, out, tally);
                        for r in (0..len).filter(|&r| refused[r]) {
                            redone.fetch_add(1, Ordering::Relaxed);
                            sums[r] = f64::NAN;
                            if k == 0 {
                                let (row, potential) = (panel.start + r, reachable(out[r]));
                                let is_weightless = (0..columns).all(|k| is_left_out(log_a.get(k)[row]));
                                let at = Place { row, place: r, is_weightless };
                                if let Some(sum) = entries.remake(at, potential, weights, &mut buffer) {
                                    (remade[r], centre_of_panel[r], sums[r]) = (true, potential, sum);
                                }
                            }
                        }
                    }
                    for k in 0..columns {
                        let lanes = k * len..(k + 1) * len;
                        for r in (0..len).filter(|&r| k > 0 && remade[r]) {
                            // This sum was around another centre.
                            sums[k * len + r] = f64::NAN;
                        }
                        let (factors, tally) = (&mut factors_of_panel[lanes.clone()], &mut tallies[k]);
                        let out = &out[lanes];
                        self.factors(&log_a.get(k)[panel.clone()], centre_of_panel, out, factors, tally);
                        let known = of_anchor(k).map(|anchor| &anchor.weights[panel.clone()]);
                        if anchors.is_some() {
                            let (a, entering) = (&steps.weights(k)[panel.clone()], &steps.entering(k)[panel.clone()]);
                            tally.measure(a, entering, out, factors, known, self.epsilon);
                        }
                        operand::write_column(operand, (len, columns), k, |r| {
                            E::Entry::from_f64(factors[r].to_f64() - known.map_or(0.0, |known| known[r]))
                        });
                    }
                    operand::add_to_columns(
                        entries.rows(panel.clone(), &buffer),
                        others,
                        operand,
                        columns,
                        column_sums,
                    );

                    let local = panel.start - first;
                    if let Some((kept_sums, kept_factors)) = &mut kept_numbers {
                        kept_sums[local * columns..][..sums.len()].copy_from_slice(sums);
                        kept_factors[local * columns..][..sums.len()].copy_from_slice(&factors_of_panel[..sums.len()]);
                    }
                    if let Some(kept) = &mut kept {
                        let entries = entries.exact_rows(panel.clone(), &buffer);
                        largest_of_task = largest_of_task.max(kept.keep(local, centre_of_panel, entries));
                    }
                }
                pools.put((operand, buffer));
                workspaces.put(workspace);
                let mut largest = largest.lock().unwrap_or_else(PoisonError::into_inner);
                *largest = largest.max(largest_of_task);
            },
        );
        (redone.into_inner(), largest.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Moves the staged source potential to its vector, with the by-products of the first half of a sweep, and adds
    /// up how far the columns of the group have moved.
    pub(super) fn finish_rows<E: Entries<T>>(
        &self,
        entries: &E,
        sweep: &mut Sweep<'_, Host<T>>,
        scratch: &mut Scratch<T>,
    ) {
        let cut = self.row_cut(entries);
        cut.scatter(&scratch.staged, self.group, &mut sweep.potentials.source);
        for (k, drift) in scratch.drifts.iter_mut().enumerate().take(self.group.len()) {
            let sum = |number: fn(&Tally) -> f64| self.sum(&scratch.tallies, cut.tasks(), k, number);
            let weight = sum(|tally| tally.weight).max(f64::MIN_POSITIVE);
            drift.movement = sum(|tally| tally.movement) / weight;
            drift.distance = drift.distance.max(sum(|tally| tally.distance) / weight);
        }
        if let Some(hints) = sweep.by_products.as_deref_mut() {
            let fill = |out: &mut HostReduced, number: fn(&Tally) -> f64| {
                self.fill(out, &scratch.tallies, cut.tasks(), number);
            };
            fill(&mut hints.source_residual, |tally| tally.residual);
            fill(&mut hints.conjugate, |tally| tally.mass);
            fill(&mut hints.source_dual, |tally| tally.dual);
        }
    }

    /// The second half of a sweep, from the sums of the first: the target potential, and its by-products. Returns how
    /// many sums had to be redone.
    pub(super) fn sweep_columns<E: Entries<T>>(
        &self,
        entries: &E,
        anchors: Option<&Anchors>,
        sweep: &mut Sweep<'_, Host<T>>,
        scratch: &mut Scratch<T>,
    ) -> usize {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let Scratch { staged, sums, guards: [guards, _], tallies, workspaces, kept_sums, .. } = scratch;
        let rows = self.row_cut(entries);
        for (k, guard) in guards[..columns].iter_mut().enumerate() {
            let total = self.sum(tallies, rows.tasks(), k, |tally| tally.factors);
            let lost = self.sum(tallies, rows.tasks(), k, |tally| tally.lost as f64);
            *guard = Guard::from_counts::<T, E::Entry>(total, rows.atoms, lost as usize, entries.largest());
        }
        let terms = GroupTerms {
            potential: Lanes::Vector(&sweep.potentials.source, self.group),
            log_weights: Lanes::Vector(sweep.source.log_weights(), self.group),
            // Not known of the sums that were taken.
            weights: Lanes::Staged(&[], 0),
            guards: &guards[..columns],
            epsilon: self.epsilon,
        };
        let centre = entries.centre(Side::Target);
        let of_anchor = |k: usize| anchors.and_then(|anchors| anchors.get(Side::Target, self.group[k]));
        let steps = Steps::new(self.group, self.epsilon, sweep, Side::Target);
        let cut = Cut::of_columns(others);
        let task_lanes = cut.task_atoms() * columns;
        let kept_sums = (!kept_sums.is_empty()).then(|| kept_sums.chunks_mut(task_lanes));
        let (sums, workspaces, redone) = (&*sums, &*workspaces, AtomicUsize::new(0));
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            cut.tasks(),
            staged[..others * columns].chunks_mut(task_lanes).zip(tallies.chunks_mut(columns)).zip(or_none(kept_sums)),
            |task, ((chunk, tallies), mut kept_sums)| {
                let mut workspace = workspaces.take();
                let Workspace { sums: sums_of_panel, registers, tile, .. } = &mut *workspace;
                tallies.fill(Tally::default());
                let first = task * cut.task_atoms();
                for (panel, out) in cut.panels(task).zip(chunk.chunks_mut(cut.panel_atoms() * columns)) {
                    let len = panel.len();
                    let folded = &mut sums_of_panel[..out.len()];
                    operand::fold::<E::Entry>(sums, rows.tasks(), others, (panel.start, columns), folded);
                    for (k, tally) in tallies.iter_mut().enumerate() {
                        let lanes = k * len..(k + 1) * len;
                        let (sums, out) = (&mut folded[lanes.clone()], &mut out[lanes]);
                        if let Some(anchor) = of_anchor(k) {
                            anchor.complete(panel.start, sums);
                        }
                        let mut refused = [false; PANEL];
                        let count = |c: usize| refused[c] = true;
                        let around = &centre[panel.clone()];
                        self.softmins(Side::Target, panel.clone(), terms.get(k), around, sums, tile, out, count);
                        steps.advance(k, panel.clone(), registers, out, tally);
                        for c in (0..len).filter(|&c| refused[c]) {
                            redone.fetch_add(1, Ordering::Relaxed);
                            sums[c] = f64::NAN;
                        }
                    }
                    if let Some(kept_sums) = &mut kept_sums {
                        kept_sums[(panel.start - first) * columns..][..folded.len()].copy_from_slice(folded);
                    }
                }
                workspaces.put(workspace);
            },
        );

        cut.scatter(staged, self.group, &mut sweep.potentials.target);
        if let Some(hints) = sweep.by_products.as_deref_mut() {
            self.fill(&mut hints.target_residual, tallies, cut.tasks(), |tally| tally.residual);
            self.fill(&mut hints.target_dual, tallies, cut.tasks(), |tally| tally.dual);
        }
        redone.into_inner()
    }

    /// After the first half of a sweep of which sums and factors were kept: the anchors of the group, as seen from the
    /// source. The weights are those that the sweep entered with.
    pub(super) fn anchor_rows<E: Entries<T>>(&self, entries: &E, anchors: &mut Anchors, scratch: &Scratch<T>) {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let cut = self.row_cut(entries);
        cut.for_lanes(columns, &scratch.kept_sums[..cut.atoms * columns], |k, atoms, lanes| {
            anchors.numbers_mut(Side::Source, self.group[k]).0[atoms].copy_from_slice(lanes);
        });
        cut.for_lanes(columns, &scratch.kept_factors[..cut.atoms * columns], |k, atoms, lanes| {
            widen(lanes, &mut anchors.numbers_mut(Side::Source, self.group[k]).1[atoms]);
        });
        for (k, weights) in scratch.weights.chunks(others).take(columns).enumerate() {
            widen(weights, anchors.numbers_mut(Side::Target, self.group[k]).1);
        }
    }

    /// After the second half: the anchors as seen from the target.
    pub(super) fn anchor_columns(&self, anchors: &mut Anchors, scratch: &Scratch<T>) {
        let (columns, cut) = (self.group.len(), Cut::of_columns(self.cost.len(Side::Target)));
        cut.for_lanes(columns, &scratch.kept_sums[..cut.atoms * columns], |k, atoms, lanes| {
            anchors.numbers_mut(Side::Target, self.group[k]).0[atoms].copy_from_slice(lanes);
        });
    }

    /// Panels of source rows.
    fn row_cut<E: Entries<T>>(&self, entries: &E) -> Cut {
        let columns = self.group.len();
        Cut::of_rows(self.cost.len(Side::Source), self.cost.len(Side::Target), entries.panel_rows(columns), columns)
    }

    /// Rows of a task.
    pub(super) fn task_rows<E: Entries<T>>(&self, entries: &E) -> usize {
        self.row_cut(entries).task_atoms()
    }

    /// What the softmins of the other side sum over: potentials of `side`, with weights around the centre.
    fn terms<'a, E: Entries<T>>(
        &'a self,
        entries: &E,
        side: Side,
        potential: &'a HostVector<T>,
        log_weights: &'a HostVector<T>,
        weights: &'a mut [T],
        guards: &'a mut [Guard],
    ) -> GroupTerms<'a, T> {
        let (len, columns, centre) = (self.cost.len(side), self.group.len(), entries.centre(side));
        let [potential, log_weights] = [potential, log_weights].map(|vector| Lanes::Vector(vector, self.group));
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            columns,
            weights.chunks_mut(len).zip(&mut *guards).take(columns),
            |k, (weights, guard)| {
                let (potential, log_weights, largest) = (potential.get(k), log_weights.get(k), entries.largest());
                *guard = centred_weights::<T, E::Entry>(log_weights, potential, centre, self.epsilon, largest, weights);
            },
        );
        let (weights, guards) = (Lanes::Staged(&*weights, len), &guards[..columns]);
        GroupTerms { potential, log_weights, weights, guards, epsilon: self.epsilon }
    }

    /// Writes the weights of the target side as products read them.
    fn write_operand<X: CpuScalar>(&self, terms: GroupTerms<'_, T>, operand: &mut [X]) {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        for (k, terms) in terms.iter().enumerate() {
            let number = |j: usize| X::from_f64(terms.weights[j].to_f64());
            operand::write_column(operand, (others, columns), k, number);
        }
    }

    /// Writes the weights of the target side as products read them, less those of the anchors, and the mean distance
    /// to the anchors of each column.
    fn write_weights<X: CpuScalar>(
        &self,
        terms: GroupTerms<'_, T>,
        anchors: Option<&Anchors>,
        sweep: &Sweep<'_, Host<T>>,
        drifts: &mut [Drift; GROUP],
        operand: &mut [X],
    ) {
        let (columns, others) = (self.group.len(), self.cost.len(Side::Target));
        let block = operand::block_columns(columns);
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            columns.div_ceil(block),
            operand.chunks_mut(others * block).zip(drifts.chunks_mut(block)),
            |index, (operand, drifts)| {
                for (lane, (k, drift)) in (index * block..columns).zip(drifts).enumerate() {
                    let (weights, all) = (terms.weights.get(k), (index * block, columns));
                    match anchors.and_then(|anchors| anchors.get(Side::Target, self.group[k])) {
                        None => {
                            drift.distance = 0.0;
                            operand::write_lane(operand, others, all, lane, |j| X::from_f64(weights[j].to_f64()));
                        }
                        Some(anchor) => {
                            let of_column = sweep.target.weights().column(self.group[k]);
                            drift.distance = mean_part(of_column, weights, anchor.weights);
                            let number = |j: usize| X::from_f64(weights[j].to_f64() - anchor.weights[j]);
                            operand::write_lane(operand, others, all, lane, number);
                        }
                    }
                }
            },
        );
    }

    /// The softmins of a panel in one column from its sums, exact where the guard refuses, and told of there.
    #[expect(clippy::too_many_arguments, reason = "one panel and all that its repair may need")]
    fn softmins(
        &self,
        side: Side,
        panel: Range<usize>,
        terms: Terms<'_, T>,
        centre: &[T],
        sums: &[f64],
        tile: &mut [T; BLOCK * TILE],
        out: &mut [T],
        mut refused: impl FnMut(usize),
    ) {
        if accept_all(terms, sums, centre, out) {
            return;
        }
        let blocks = sums.chunks(BLOCK).zip(centre.chunks(BLOCK)).zip(out.chunks_mut(BLOCK));
        for (block, ((sums, centre), out)) in pieces(panel.clone(), BLOCK).zip(blocks) {
            let first = block.start - panel.start;
            let all = 0..self.cost.len(side.opposite());
            let exact = || exact_block(self.cost, side, block, slice::from_ref(&all), terms, tile);
            let of_block = accept_or_redo(terms, sums, centre, out, exact);
            for (row, _) in of_block.iter().enumerate().filter(|(_, refused)| **refused) {
                refused(first + row);
            }
        }
    }

    /// v_i = a_i exp((f_i - f0_i) / epsilon) for a panel of new potentials in one column, counted.
    fn factors(&self, log_weights: &[T], centre: &[T], potential: &[T], factors: &mut [T], tally: &mut Tally) {
        let inverse = T::from_f64(1.0 / self.epsilon);
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

    /// One number of the tallies of all tasks in column k, in order.
    fn sum(&self, tallies: &[Tally], tasks: usize, k: usize, number: fn(&Tally) -> f64) -> f64 {
        tallies.iter().skip(k).step_by(self.group.len()).take(tasks).map(number).sum()
    }

    /// Folds one number of the tallies into the columns of the group.
    fn fill(&self, out: &mut HostReduced, tallies: &[Tally], tasks: usize, number: fn(&Tally) -> f64) {
        for (k, &column) in self.group.iter().enumerate() {
            out.values_mut()[column] = self.sum(tallies, tasks, k, number);
        }
    }
}

/// The items, or for ever none.
pub(super) fn or_none<Item>(items: Option<impl Iterator<Item = Item>>) -> impl Iterator<Item = Option<Item>> {
    items.into_iter().flatten().map(Some).chain(iter::repeat_with(|| None))
}

/// The mean over `masses` of |w - w°| / w.
fn mean_part<T: CpuScalar>(masses: &[T], weights: &[T], anchored: &[f64]) -> f64 {
    let (mut total, mut sum) = (f64::MIN_POSITIVE, 0.0);
    for ((&mass, &weight), &anchored) in masses.iter().zip(weights).zip(anchored) {
        total += mass.to_f64();
        sum += mass.to_f64() * part(weight, anchored);
    }
    sum / total
}

fn widen<T: CpuScalar>(numbers: &[T], out: &mut [f64]) {
    for (out, number) in out.iter_mut().zip(numbers) {
        *out = number.to_f64();
    }
}
