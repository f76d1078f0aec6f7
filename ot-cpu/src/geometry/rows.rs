//! Costs as tiles of rows, of either side: what every kernel of the host computes from.

use std::{fmt::Debug, ops::Range};

use ot_core::Side;

use super::{CpuScalar, clouds::Clouds};
use crate::simd::GibbsTerms;

/// Atoms whose rows are worked on together.
pub(super) const BLOCK: usize = 8;

/// Entries of a row that are worked on together: a few rows of them stay in the first-level cache.
pub(super) const TILE: usize = 1024;

/// The most pieces into which the atoms of a side are cut.
pub(super) const TASKS: usize = 32;

/// The fewest, for many atoms.
const FEWEST_TASKS: usize = 8;

/// Sums of all columns of a kernel, one for each piece, take this many numbers at most, where pieces are not the fewest.
const SUMS: usize = 1 << 19;

/// The fewest entries that are worth a task.
const TASK_ENTRIES: usize = 1 << 14;

/// A cost C_ij between source atoms i and target atoms j.
pub(super) trait CostRows<T: CpuScalar>: Debug + Send + Sync + 'static {
    /// Are entries stored, so that an absorbed copy of the kernel is worth its memory?
    const STORED: bool;

    /// Are pairs left out that are too far apart to matter, so that [`partners`](Self::partners) are to be asked for?
    const PRUNES: bool = false;

    /// Number of atoms of a side.
    fn len(&self, side: Side) -> usize;

    /// The index by which others know an atom. The default is that of its place.
    fn index(&self, side: Side, place: usize) -> u32 {
        let _ = side;
        place as u32
    }

    /// A tile of costs: between atom `atoms.start + r` of `side` and atom `others.start + c` of the other
    /// side, at `out[r * stride + c]`. Ranges are within the sides, `atoms` has at most
    /// [`BLOCK`] of them, and `others.len() <= stride`.
    fn tile(&self, side: Side, atoms: Range<usize>, others: Range<usize>, stride: usize, out: &mut [T]);

    /// The costs between a source atom and some target atoms where they stand side by side in memory. The default is `None`.
    fn stored(&self, source: usize, targets: Range<usize>) -> Option<&[T]> {
        let _ = (source, targets);
        None
    }

    /// A tile of entries exp((f_i + g_j - C_ij) / epsilon), laid out as [`tile`](Self::tile) lays out costs, and their
    /// sums times weights, added to `sums`. The terms are those of the tile: potentials of `atoms`, potentials and
    /// weights of `others`.
    #[expect(clippy::too_many_arguments, reason = "a tile, and what makes entries of it")]
    fn entries(
        &self,
        side: Side,
        atoms: Range<usize>,
        others: Range<usize>,
        terms: GibbsTerms<'_, T>,
        stride: usize,
        out: &mut [T],
        sums: &mut [f64],
    ) {
        entries_of_tiles(self, side, atoms, others, terms, stride, out, sums);
    }

    /// The clouds that the cost is between, if it has coordinates.
    fn clouds(&self) -> Option<&Clouds<T>>;

    /// A bound on the absolute value of the finite costs.
    fn bound(&self) -> Option<f64>;

    /// What [`partners`](Self::partners) go by: the potential of each atom of a side, minus infinity for one that does not
    /// count. The default is nothing.
    fn heights(&self, side: Side, potential: impl Fn(usize) -> f64) -> Heights {
        let _ = (side, potential);
        Heights::default()
    }

    /// The potentials of a block of `side`, bounded from above. The default is nothing.
    fn top(&self, side: Side, block: Range<usize>, potential: impl Fn(usize) -> f64) -> Top {
        let _ = (side, block, potential);
        Top::default()
    }

    /// Ascending ranges of the atoms j of the other side, among them all with f_i + g_j - C_ij above a level for some i of a
    /// block of `side`, whose potentials are bounded by `top`. The default is all atoms.
    fn partners(
        &self,
        side: Side,
        block: Range<usize>,
        top: &Top,
        heights: &Heights,
        level: f64,
        out: &mut Vec<Range<usize>>,
    ) {
        let _ = (block, top, heights, level);
        out.clear();
        out.push(0..self.len(side.opposite()));
    }

    /// A range of atoms of the other side where g_j less the cost to a block is high: partners of the block to begin with, none of
    /// which count if no atom does. The default is none.
    fn nearest(&self, side: Side, block: Range<usize>, heights: &Heights) -> Range<usize> {
        let _ = (side, block, heights);
        0..0
    }
}

/// Coordinates along which potentials are followed.
pub(super) const MOST_SLOPES: usize = 8;

/// An affine function that is nowhere below some potentials: value + slope . (x - centre of the box).
#[derive(Clone, Copy, Debug)]
pub(super) struct Top {
    pub(super) value: f64,
    pub(super) slope: [f64; MOST_SLOPES],
}

impl Default for Top {
    fn default() -> Self {
        Self { value: 0.0, slope: [0.0; MOST_SLOPES] }
    }
}

/// The potentials of the atoms of a tree, bounded node by node.
#[derive(Clone, Debug, Default)]
pub(super) struct Heights {
    pub(super) of_nodes: Vec<Top>,
    /// The largest absolute value of a potential.
    pub(super) largest: f64,
}

/// Calls `visit(r, others, costs)` for each row r of a block of at most [`BLOCK`] atoms, tile by tile.
pub(super) fn visit_block<T: CpuScalar, R: CostRows<T>>(
    rows: &R,
    side: Side,
    block: Range<usize>,
    tile: &mut [T; BLOCK * TILE],
    visit: impl FnMut(usize, Range<usize>, &mut [T]),
) {
    visit_pairs(rows, side, block, 0..rows.len(side.opposite()), tile, visit);
}

/// [`visit_block`] for some ranges of the others.
pub(super) fn visit_partners<T: CpuScalar, R: CostRows<T>>(
    rows: &R,
    side: Side,
    block: Range<usize>,
    partners: &[Range<usize>],
    tile: &mut [T; BLOCK * TILE],
    mut visit: impl FnMut(usize, Range<usize>, &mut [T]),
) {
    for others in partners {
        visit_pairs(rows, side, block.clone(), others.clone(), tile, &mut visit);
    }
}

/// [`visit_block`] for a range of the others.
pub(super) fn visit_pairs<T: CpuScalar, R: CostRows<T>>(
    rows: &R,
    side: Side,
    block: Range<usize>,
    others: Range<usize>,
    tile: &mut [T; BLOCK * TILE],
    mut visit: impl FnMut(usize, Range<usize>, &mut [T]),
) {
    for others in pieces(others, TILE) {
        rows.tile(side, block.clone(), others.clone(), TILE, tile);
        for row in 0..block.len() {
            visit(row, others.clone(), &mut tile[row * TILE..][..others.len()]);
        }
    }
}

/// [`visit_pairs`] of source atoms for costs that are only read: where they stand in memory they are not copied, and rows are whole.
pub(super) fn read_pairs<T: CpuScalar, R: CostRows<T>>(
    rows: &R,
    block: Range<usize>,
    targets: Range<usize>,
    tile: &mut [T; BLOCK * TILE],
    mut visit: impl FnMut(usize, Range<usize>, &[T]),
) {
    if !R::STORED {
        return visit_pairs(rows, Side::Source, block, targets, tile, |row, targets, costs| visit(row, targets, costs));
    }
    for (row, source) in block.enumerate() {
        match rows.stored(source, targets.clone()) {
            Some(costs) => visit(row, targets.clone(), costs),
            None => visit_pairs(rows, Side::Source, source..source + 1, targets.clone(), tile, |_, targets, costs| {
                visit(row, targets, costs);
            }),
        }
    }
}

/// [`CostRows::entries`] from tiles of costs.
#[expect(clippy::too_many_arguments, reason = "those of the method")]
pub(super) fn entries_of_tiles<T: CpuScalar, R: CostRows<T> + ?Sized>(
    cost: &R,
    side: Side,
    atoms: Range<usize>,
    others: Range<usize>,
    terms: GibbsTerms<'_, T>,
    stride: usize,
    out: &mut [T],
    sums: &mut [f64],
) {
    for columns in pieces(0..others.len(), TILE) {
        let tile = others.start + columns.start..others.start + columns.end;
        cost.tile(side, atoms.clone(), tile, stride, &mut out[columns.start..]);
        for ((row, sum), &f) in sums.iter_mut().enumerate().zip(terms.f) {
            let (g, weights) = (&terms.g[columns.clone()], &terms.weights[columns.clone()]);
            let costs = &mut out[row * stride..][columns.clone()];
            *sum += T::gibbs_sum(f, terms.epsilon, g, weights, costs);
        }
    }
}

/// The most pieces into which atoms are cut whose rows have so many entries.
pub(super) fn most_tasks(others: usize) -> usize {
    (SUMS / others.max(1)).clamp(FEWEST_TASKS, TASKS)
}

/// Atoms of one task: as many as make [`most_tasks`] at most, and a whole number of blocks. It depends on the shape
/// alone.
pub(super) fn task_atoms(atoms: usize, others: usize) -> usize {
    atoms.div_ceil(most_tasks(others)).max(TASK_ENTRIES.div_ceil(others)).next_multiple_of(BLOCK)
}

/// The range cut into pieces of `size`, the last one shorter.
pub(super) fn pieces(range: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = range.end;
    range.step_by(size).map(move |start| start..end.min(start + size))
}
