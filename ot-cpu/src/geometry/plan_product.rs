//! Products with the plan and its transpose, in one pass over the pairs.
//!
//! ```text
//! P^T diag(d) P v = sum_k a_k^2 d_k <E_k, v> E_k        E_kj = b_j exp((f_k + g_j - C_kj) / epsilon)
//! ```
//!
//! A row E_k is made once and serves both products while caches hold it. A linear system asks for products with one plan many times:
//! over a stored cost its entries are kept where those of the batch are no more than the dense limit of the backend, and a product is
//! then one pass over them. Kept entries are those that would be made, so that keeping them changes no bit.

use std::{iter, ops::Range};

use ot_core::{
    Error, Host, HostBackend, PlanProduct, PlanView, Side,
    host::{HostVector, for_each_chunk},
};

use super::{
    CpuScalar,
    functionals::{Buffers, Functionals, PlanColumn},
    kernel::EntropicKernel,
    memory::zeroed,
    rows::{BLOCK, CostRows, pieces, task_atoms},
};
use crate::simd::Stored;

/// What products keep from one to the next.
#[derive(Debug)]
pub(super) struct PlanProducts<T> {
    /// The plan whose entries are kept, if some are.
    plan: Option<KeptPlan<T>>,
    /// The entries of its rows, column of the batch after column.
    entries: Vec<T>,
    /// What each task adds to the sums of the other side.
    sums: Vec<f64>,
}

impl<T> Default for PlanProducts<T> {
    fn default() -> Self {
        Self { plan: None, entries: Vec::new(), sums: Vec::new() }
    }
}

/// What kept entries depend on.
#[derive(Debug, PartialEq)]
struct KeptPlan<T> {
    /// The side whose atoms have rows.
    rows: Side,
    epsilon: f64,
    potentials: [Vec<T>; 2],
    /// The weights of the other side.
    weights: Vec<T>,
}

impl<T: CpuScalar> KeptPlan<T> {
    fn is(&self, rows: Side, epsilon: f64, plan: PlanView<'_, Host<T>>) -> bool {
        self.rows == rows
            && self.epsilon == epsilon
            && Side::BOTH.iter().all(|&side| self.potentials[side.index()] == plan.side(side).potential.values())
            && self.weights == plan.side(rows.opposite()).weights.values()
    }

    fn of(rows: Side, epsilon: f64, plan: PlanView<'_, Host<T>>) -> Self {
        Self {
            rows,
            epsilon,
            potentials: Side::BOTH.map(|side| plan.side(side).potential.values().to_vec()),
            weights: plan.side(rows.opposite()).weights.values().to_vec(),
        }
    }
}

/// Where the entries of rows are.
enum Rows<'a, T> {
    /// In memory.
    Kept(&'a [T]),
    /// To be made, and kept.
    Making(&'a mut [T]),
    /// To be made, and forgotten.
    Passing,
}

impl<'a, T: CpuScalar> Rows<'a, T> {
    /// Cut into pieces of so many entries.
    fn pieces(self, len: usize) -> Box<dyn Iterator<Item = Self> + Send + 'a> {
        match self {
            Self::Kept(entries) => Box::new(entries.chunks(len).map(Self::Kept)),
            Self::Making(entries) => Box::new(entries.chunks_mut(len).map(Self::Making)),
            Self::Passing => Box::new(iter::repeat_with(|| Self::Passing)),
        }
    }
}

impl<T: CpuScalar> PlanProducts<T> {
    /// Prepares products with the rows of a plan: memory for the sums of all tasks, and for the entries where they fit and are not
    /// kept already. Says whether they are.
    fn prepare<R: CostRows<T>>(
        &mut self,
        functionals: &Functionals<T, R>,
        rows: Side,
        plan: PlanView<'_, Host<T>>,
    ) -> Result<bool, Error> {
        let (epsilon, len) = (functionals.binding.epsilon(), functionals.entries_of_plans());
        let sums = functionals.row_tasks(rows) * functionals.cost.len(rows.opposite());
        if self.sums.len() != sums {
            self.sums = zeroed(sums, "sums of products with a plan")?;
        }
        if self.plan.as_ref().is_some_and(|kept| kept.is(rows, epsilon, plan)) {
            return Ok(true);
        }
        if functionals.keeps_plans() {
            if self.entries.len() != len {
                self.entries = zeroed(len, "the entries of a plan")?;
            }
            self.plan = Some(KeptPlan::of(rows, epsilon, plan));
        }
        Ok(false)
    }

    /// The rows of one column of the batch, after [`prepare`](Self::prepare), and memory for the sums of all tasks.
    fn rows<R: CostRows<T>>(
        &mut self,
        functionals: &Functionals<T, R>,
        column: usize,
        is_kept: bool,
    ) -> (Rows<'_, T>, &mut [f64]) {
        if !functionals.keeps_plans() {
            return (Rows::Passing, &mut self.sums);
        }
        let len = self.entries.len() / functionals.binding.columns();
        let entries = &mut self.entries[column * len..][..len];
        (if is_kept { Rows::Kept(entries) } else { Rows::Making(entries) }, &mut self.sums)
    }
}

impl<T: CpuScalar, R: CostRows<T>> Functionals<T, R> {
    /// Entries of the plans of all columns of the batch.
    fn entries_of_plans(&self) -> usize {
        let pairs = self.cost.len(Side::Source).saturating_mul(self.cost.len(Side::Target));
        pairs.saturating_mul(self.binding.columns())
    }

    /// Are the entries of a plan kept from one product to the next?
    fn keeps_plans(&self) -> bool {
        R::STORED && self.entries_of_plans() <= self.backend.dense_limit()
    }

    /// Tasks of a pass over the rows of a side.
    fn row_tasks(&self, rows: Side) -> usize {
        let (atoms, others) = (self.cost.len(rows), self.cost.len(rows.opposite()));
        atoms.div_ceil(task_atoms(atoms, others))
    }

    /// Calls `work(block, entries, piece)` for all blocks of rows of a plan, where `entries` are its entries over the weights of
    /// the rows, row after row, and `piece` is that of the task.
    fn for_rows<Piece: Send>(
        &self,
        side: Side,
        plan: &PlanColumn<'_, T>,
        rows: Rows<'_, T>,
        pieces_of_tasks: impl Iterator<Item = Piece> + Send,
        work: impl Fn(Range<usize>, &[T], &mut Piece) + Sync,
    ) {
        let (atoms, others) = (self.cost.len(side), self.cost.len(side.opposite()));
        let task = task_atoms(atoms, others);
        for_each_chunk(
            |tasks, job| self.backend.parallel(tasks, job),
            atoms.div_ceil(task),
            pieces_of_tasks.zip(rows.pieces(task * others)),
            |index, (mut piece, mut rows)| {
                let (mut buffers, start) = (None, index * task);
                let mut passing = match rows {
                    Rows::Passing => vec![T::default(); BLOCK * others],
                    _ => Vec::new(),
                };
                for block in pieces(start..atoms.min(start + task), BLOCK) {
                    let here = (block.start - start) * others..(block.end - start) * others;
                    let mut make = |entries: &mut [T]| {
                        let buffers = buffers.get_or_insert_with(Buffers::new);
                        plan.visit_block(self.cost.as_ref(), side, block.clone(), buffers, |r, range, _, made| {
                            entries[r * others..][range].copy_from_slice(made);
                        });
                    };
                    let entries = match &mut rows {
                        Rows::Kept(kept) => &kept[here],
                        Rows::Making(kept) => {
                            make(&mut kept[here.clone()]);
                            &kept[here]
                        }
                        Rows::Passing => {
                            make(&mut passing);
                            &passing[..here.len()]
                        }
                    };
                    work(block, entries, &mut piece);
                }
            },
        );
    }
}

impl<T: CpuScalar + Stored<X>, R: CostRows<T>, X: CpuScalar> PlanProduct<Host<T>> for EntropicKernel<T, R, X> {
    /// One pass over the pairs: rows are those of the other side.
    fn normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        diagonal: &HostVector<T>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let (rows, Self { functionals, products, .. }) = (side.opposite(), self);
        let is_kept = products.prepare(functionals, rows, plan)?;
        let others = functionals.cost.len(side);
        for column in 0..functionals.binding.columns() {
            let (of_column, diagonal) = (functionals.column(rows, plan, column), diagonal.column(column));
            let (values, weights) = (values.column(column), of_column.weights);
            let (entries, sums) = products.rows(functionals, column, is_kept);
            sums.fill(0.0);
            functionals.for_rows(rows, &of_column, entries, sums.chunks_mut(others), |block, entries, sums| {
                let (mut products, mut factors) = ([0.0; BLOCK], [T::default(); BLOCK]);
                let products = &mut products[..block.len()];
                T::row_sums(entries, others, values, products);
                for ((factor, product), k) in factors.iter_mut().zip(&*products).zip(block.clone()) {
                    let weight = weights[k].to_f64();
                    *factor = bounded(weight * (diagonal[k].to_f64() * (weight * product)));
                }
                T::accumulate(&factors[..block.len()], entries, others, sums);
            });
            fold(sums, out.column_mut(column));
        }
        Ok(())
    }

    fn keeps_entries(&self) -> bool {
        self.functionals.keeps_plans()
    }

    /// Of entropy h*'' is h*'. By the rows that are kept, of whichever side.
    fn curvature_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let Self { functionals, products, .. } = self;
        if !functionals.keeps_plans() {
            functionals.apply(side, plan, values, out);
            return Ok(());
        }
        let epsilon = functionals.binding.epsilon();
        let has_target_rows = products.plan.as_ref().is_some_and(|kept| kept.is(Side::Target, epsilon, plan));
        let rows = if has_target_rows { Side::Target } else { Side::Source };
        let is_kept = products.prepare(functionals, rows, plan)?;
        let others = functionals.cost.len(rows.opposite());
        for column in 0..functionals.binding.columns() {
            let (of_column, values) = (functionals.column(rows, plan, column), values.column(column));
            let (weights, out) = (of_column.weights, out.column_mut(column));
            if rows == side {
                let task = task_atoms(out.len(), others);
                let (entries, _) = products.rows(functionals, column, is_kept);
                let pieces = out.chunks_mut(task).enumerate();
                functionals.for_rows(rows, &of_column, entries, pieces, |block, entries, (index, out)| {
                    let mut products = [0.0; BLOCK];
                    let products = &mut products[..block.len()];
                    T::row_sums(entries, others, values, products);
                    for (i, product) in block.zip(&*products) {
                        out[i - *index * task] = bounded(weights[i].to_f64() * product);
                    }
                });
            } else {
                let (entries, sums) = products.rows(functionals, column, is_kept);
                sums.fill(0.0);
                functionals.for_rows(rows, &of_column, entries, sums.chunks_mut(others), |block, entries, sums| {
                    let mut factors = [T::default(); BLOCK];
                    for (factor, k) in factors.iter_mut().zip(block.clone()) {
                        *factor = bounded(weights[k].to_f64() * values[k].to_f64());
                    }
                    T::accumulate(&factors[..block.len()], entries, others, sums);
                });
                fold(sums, out);
            }
        }
        Ok(())
    }
}

/// out_j = the sum of what all tasks have added up for j, in their order.
fn fold<T: CpuScalar>(sums: &mut [f64], out: &mut [T]) {
    let (total, rest) = sums.split_at_mut(out.len());
    for sums in rest.chunks(out.len()) {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    out.iter_mut().zip(total).for_each(|(out, total)| *out = bounded(*total));
}

/// The nearest finite number.
pub(super) fn bounded<T: CpuScalar>(value: f64) -> T {
    T::from_f64(value.clamp(-T::MAX, T::MAX))
}
