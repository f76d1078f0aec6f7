//! The entries of a plan that matter to a linear solve, kept in single precision from one product to the next.
//!
//! Of the entries that boxes leave, those of a block of rows with a leaf of columns are dropped where
//!
//! ```text
//! max E_ij  max(mass of the rows, mass of the columns)  <=  delta          E_ij = exp((f_i + g_j - C_ij) / epsilon)
//! ```
//!
//! so that neither a row nor a column misses more than a density of delta by it: half of what boxes leave, or less.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
};

use ot_core::{
    Error, Host, HostBackend, PlanView, Side,
    host::{HostVector, for_each_chunk},
};

use super::{
    cost::{BlockCost, LEAF},
    products::Entries,
};
use crate::{
    geometry::{
        CpuScalar,
        cut::Cut,
        functionals::Functionals,
        memory::zeroed,
        plan_product::bounded,
        rows::{BLOCK, CostRows, pieces},
    },
    simd::{Stored, TILE_COLUMNS, VectorMath},
};

const _: () = assert!(TILE_COLUMNS == LEAF);

/// The density delta that a row or a column may miss by one tile: this part of epsilon over the largest cost, within bounds. What is
/// missed holds potentials as a Levenberg term does, and those that vary over the whole cloud are held by some epsilons over
/// the largest cost themselves.
const PART: f64 = 0.05;
const DROPPED: [f64; 2] = [1e-7, 1e-4];

/// Bytes of entries for each atom of either side: more are not kept.
const BYTES_OF_ATOM: usize = 1 << 11;

/// Entries are kept where they are far from the ends of the range of single precision.
const LEAST: f64 = 1e-30;
const MOST: f64 = 1e30;

/// What products may drop.
#[derive(Clone, Debug)]
pub(super) struct Dropped {
    /// The density that a row or a column may miss by one tile.
    pub(super) density: f64,
    /// What boxes may leave out of the density of an atom, so that it is no more than what tiles drop.
    pub(super) by_boxes: f64,
    /// The masses of blocks of rows, and of leaves of columns.
    masses: [Vec<f64>; 2],
    /// The largest of them.
    most: f64,
}

impl Dropped {
    /// Of the first column of a placed plan.
    pub(super) fn of<T: CpuScalar>(
        functionals: &Functionals<T, BlockCost<T>>,
        rows: Side,
        plan: PlanView<'_, Host<T>>,
    ) -> Self {
        let masses = [(rows, BLOCK), (rows.opposite(), LEAF)].map(|(side, size)| {
            let weights = plan.side(side).weights.column(0);
            weights.chunks(size).map(|weights| weights.iter().map(|weight| weight.to_f64()).sum()).collect::<Vec<f64>>()
        });
        let most = masses.iter().flatten().fold(0.0, |most: f64, &mass| most.max(mass));
        let heaviest = masses.iter().map(|masses| masses.iter().sum::<f64>()).fold(0.0, f64::max);
        let [least, largest] = DROPPED;
        let of_epsilon = functionals.cost.bound().map(|bound| PART * functionals.binding.epsilon() / bound);
        let density = of_epsilon.filter(|part| !part.is_nan()).map_or(least, |part| part.clamp(least, largest));
        Self { density, by_boxes: (density / most * heaviest).min(1.0), masses, most }
    }
}

/// The entries of one column of a batch.
#[derive(Debug)]
pub(super) struct KeptPlan<T> {
    of: PlanKey<T>,
    /// Blocks of rows, task after task; `None` where they are too many, or out of range.
    tasks: Option<Vec<Vec<KeptRows>>>,
}

/// What entries depend on.
#[derive(Debug, PartialEq)]
struct PlanKey<T> {
    /// The side whose atoms have rows.
    rows: Side,
    epsilon: f64,
    /// Potentials and weights of both sides, as they are given.
    vectors: [[Vec<T>; 2]; 2],
}

/// The entries of a block of rows, one row after the other, with some ranges of columns.
#[derive(Debug)]
struct KeptRows {
    columns: Box<[Range<u32>]>,
    entries: Box<[f32]>,
    width: usize,
}

impl<T: CpuScalar> KeptPlan<T> {
    /// Is it that of these potentials and weights?
    pub(super) fn is(&self, rows: Side, epsilon: f64, plan: PlanView<'_, Host<T>>) -> bool {
        self.of.rows == rows
            && self.of.epsilon == epsilon
            && Side::BOTH.iter().all(|&side| {
                let [potential, weights] = &self.of.vectors[side.index()];
                let given = plan.side(side);
                potential == given.potential.values() && weights == given.weights.values()
            })
    }

    /// Makes the entries of a plan of one column, where they are not too many.
    pub(super) fn new(
        functionals: &Functionals<T, BlockCost<T>>,
        rows: Side,
        plan: PlanView<'_, Host<T>>,
    ) -> Result<Self, Error> {
        let vectors = Side::BOTH.map(|side| {
            let seen = plan.side(side);
            [seen.potential, seen.weights].map(|vector| vector.values().to_vec())
        });
        let of = PlanKey { rows, epsilon: functionals.binding.epsilon(), vectors };
        let placed = functionals.cost.placed_plan(plan)?;
        Ok(Self { of, tasks: tasks_of(functionals, rows, placed.view()) })
    }

    /// P^T diag(d) P v, rows being those that are kept; `None` where none are.
    pub(super) fn normal_product(
        &self,
        functionals: &Functionals<T, BlockCost<T>>,
        diagonal: &HostVector<T>,
        values: &HostVector<T>,
    ) -> Result<Option<HostVector<T>>, Error> {
        let Some(tasks) = &self.tasks else { return Ok(None) };
        let (cost, rows) = (functionals.cost.as_ref(), self.of.rows);
        let side = rows.opposite();
        let weights = |side: Side| {
            let given = &self.of.vectors[side.index()][1];
            cost.order(side).iter().map(|&atom| given[atom as usize].to_f64()).collect::<Vec<_>>()
        };
        let [of_rows, of_columns] = [weights(rows), weights(side)];
        let (diagonal, values) = (cost.placed(rows, diagonal)?, cost.placed(side, values)?);
        let weighted: Vec<f64> = of_columns.iter().zip(values.values()).map(|(b, v)| b * v.to_f64()).collect();
        let (cut, others) = (Cut::of_rows(of_rows.len(), weighted.len(), LEAF, 1), weighted.len());
        let mut sums: Vec<f64> = zeroed(cut.tasks() * others, "sums of products with a plan")?;
        for_each_chunk(
            |tasks, job| functionals.backend.parallel(tasks, job),
            cut.tasks(),
            sums.chunks_mut(others).zip(tasks),
            |index, (sums, blocks)| {
                let start = index * cut.task_atoms();
                let (mut gathered, end) = (Vec::new(), of_rows.len().min(start + cut.task_atoms()));
                for (block, kept) in pieces(start..end, BLOCK).zip(blocks) {
                    let mut products = [0.0; BLOCK];
                    let products = &mut products[..block.len()];
                    kept.row_sums(&weighted, &mut gathered, products);
                    for (product, k) in products.iter_mut().zip(block) {
                        *product = of_rows[k] * (diagonal.values()[k].to_f64() * (of_rows[k] * *product));
                    }
                    kept.accumulate(products, sums);
                }
            },
        );
        let mut placed = HostVector::alloc(others, 1)?;
        for (j, out) in placed.values_mut().iter_mut().enumerate() {
            let total: f64 = (0..cut.tasks()).map(|task| sums[task * others + j]).sum();
            *out = bounded(of_columns[j] * total);
        }
        let mut out = HostVector::alloc(others, 1)?;
        cost.write_back(side, &placed, &mut out);
        Ok(Some(out))
    }

    /// The plan summed between leaves of rows and of columns; `None` where no entries are kept.
    pub(super) fn masses(&self, functionals: &Functionals<T, BlockCost<T>>) -> Option<Vec<(u32, u32, f64)>> {
        let (tasks, rows, cost) = (self.tasks.as_ref()?, self.of.rows, functionals.cost.as_ref());
        let weights =
            |side: Side, place: usize| self.of.vectors[side.index()][1][cost.order(side)[place] as usize].to_f64();
        let columns: Vec<f64> = (0..cost.len(rows.opposite())).map(|j| weights(rows.opposite(), j)).collect();
        let cut = Cut::of_rows(cost.len(rows), columns.len(), LEAF, 1);
        let mut of_tasks = vec![Vec::<(u32, u32, f64)>::new(); tasks.len()];
        let of_task = |index: usize, (masses, blocks): (&mut Vec<(u32, u32, f64)>, &Vec<KeptRows>)| {
            let (mut start, mut of_leaf) = (index * cut.task_atoms(), std::collections::BTreeMap::new());
            for kept in blocks {
                let (leaf, block) = (start / LEAF, start..cost.len(rows).min(start + BLOCK));
                let mut at = 0;
                for range in &kept.columns {
                    for tile in pieces(range.start as usize..range.end as usize, LEAF) {
                        let mut sums = [0.0; BLOCK];
                        let sums = &mut sums[..block.len()];
                        f32::wide_row_sums(&kept.entries[at..], kept.width, &columns[tile.clone()], sums);
                        let mass: f64 = block.clone().zip(&*sums).map(|(i, sum)| weights(rows, i) * sum).sum();
                        *of_leaf.entry((tile.start / LEAF) as u32).or_insert(0.0) += mass;
                        at += tile.len();
                    }
                }
                start = block.end;
                if start.is_multiple_of(LEAF) || start == cost.len(rows) {
                    masses.extend(
                        std::mem::take(&mut of_leaf).into_iter().map(|(column, mass)| (leaf as u32, column, mass)),
                    );
                }
            }
        };
        for_each_chunk(
            |tasks, job| functionals.backend.parallel(tasks, job),
            tasks.len(),
            of_tasks.iter_mut().zip(tasks),
            of_task,
        );
        Some(of_tasks.into_iter().flatten().collect())
    }
}

/// The blocks of all tasks.
fn tasks_of<T: CpuScalar>(
    functionals: &Functionals<T, BlockCost<T>>,
    rows: Side,
    plan: PlanView<'_, Host<T>>,
) -> Option<Vec<Vec<KeptRows>>> {
    let cost = functionals.cost.as_ref();
    let dropped = Dropped::of(functionals, rows, plan);
    let of_column = functionals.column_without(rows, plan, 0, dropped.by_boxes);
    if !(LEAST..MOST).contains(&(dropped.density / dropped.most)) {
        return None;
    }
    let [of_blocks, of_leaves] = &dropped.masses;
    let cut = Cut::of_rows(cost.len(rows), cost.len(rows.opposite()), LEAF, 1);
    let room = BYTES_OF_ATOM.saturating_mul(cost.len(rows) + cost.len(rows.opposite())) / cut.tasks();
    let (mut tasks, gives_up): (Vec<_>, _) = ((0..cut.tasks()).map(|_| Vec::new()).collect(), AtomicBool::new(false));
    for_each_chunk(
        |tasks, job| functionals.backend.parallel(tasks, job),
        cut.tasks(),
        tasks.iter_mut(),
        |index, blocks| {
            let (mut entries, mut largest, mut bytes) = (Entries::new(), Vec::new(), 0);
            let start = index * cut.task_atoms();
            for leaf in pieces(start..cost.len(rows).min(start + cut.task_atoms()), LEAF) {
                entries.find_partners(cost, rows, &of_column, leaf.clone());
                for block in pieces(leaf, BLOCK) {
                    let sums = &mut [0.0; BLOCK][..block.len()];
                    entries.make(cost, rows, &of_column, block.clone(), of_column.other_weights, sums);
                    let mass = of_blocks[block.start / BLOCK];
                    let kept = KeptRows::of(&entries, block.len(), mass, of_leaves, dropped.density, &mut largest);
                    bytes += kept.as_ref().map_or(usize::MAX, |kept| size_of_val(&*kept.entries));
                    if bytes > room || gives_up.load(Ordering::Relaxed) {
                        gives_up.store(true, Ordering::Relaxed);
                        return;
                    }
                    blocks.extend(kept);
                }
            }
        },
    );
    (!gives_up.into_inner()).then_some(tasks)
}

impl KeptRows {
    /// What matters of the entries of some rows; `None` where one is out of range.
    fn of<T: CpuScalar>(
        all: &Entries<T>,
        rows: usize,
        mass: f64,
        of_leaves: &[f64],
        density: f64,
        largest: &mut Vec<T>,
    ) -> Option<Self> {
        largest.resize(all.width.div_ceil(LEAF), T::default());
        T::largest_of_tiles(&all.entries, rows, all.width, all.width, largest);
        // Places of columns, and where their entries are.
        let mut ranges: Vec<(Range<u32>, usize)> = Vec::new();
        let (mut at, mut width, mut out_of_range) = (0, 0, false);
        for others in &all.partners {
            for tile in pieces(others.clone(), LEAF) {
                let entry = largest[at / LEAF].to_f64();
                out_of_range |= entry >= MOST || entry.is_nan();
                if entry * mass.max(of_leaves[tile.start / LEAF]) > density {
                    width += tile.len();
                    match ranges.last_mut().filter(|(last, _)| last.end as usize == tile.start) {
                        Some((last, _)) => last.end = tile.end as u32,
                        None => ranges.push((tile.start as u32..tile.end as u32, at)),
                    }
                }
                at += tile.len();
            }
        }
        if out_of_range {
            return None;
        }
        let mut entries = vec![0.0; rows * width].into_boxed_slice();
        let mut out = &mut entries[..];
        for row in 0..rows {
            for (range, at) in &ranges {
                let (here, rest) = out.split_at_mut(range.len());
                <T as Stored<f32>>::store(f32::MIN_POSITIVE, &all.entries[row * all.width + at..][..range.len()], here);
                out = rest;
            }
        }
        Some(Self { columns: ranges.into_iter().map(|(range, _)| range).collect(), entries, width })
    }

    /// sum_j E_ij w_j of each row.
    fn row_sums(&self, weighted: &[f64], gathered: &mut Vec<f64>, sums: &mut [f64]) {
        gathered.clear();
        for range in &self.columns {
            gathered.extend_from_slice(&weighted[range.start as usize..range.end as usize]);
        }
        f32::wide_row_sums(&self.entries, self.width, gathered, sums);
    }

    /// Adds sum_i E_ij factors_i to the sum of each column.
    fn accumulate(&self, factors: &[f64], sums: &mut [f64]) {
        let mut at = 0;
        for range in &self.columns {
            f32::wide_accumulate(
                factors,
                &self.entries[at..],
                self.width,
                &mut sums[range.start as usize..range.end as usize],
            );
            at += range.len();
        }
    }
}
