//! Which pairs over shared supports are solved together, and on which atoms.
//!
//! A batch is worked on as products of the kernel with columns side by side, eight or sixteen at a time. Pairs that have a measure in
//! common need the kernel at the atoms of that measure alone: what a table costs is estimated for batches by source, by target
//! and for any pairs, and the cheapest is taken.

use ot_core::{Side, WeightsView};

use super::layout::Layout;

/// The most columns of a batch: enough for its products to be bound by arithmetic.
const WIDTH: usize = 64;

/// Columns of the narrowest products of matrices.
const LANES: usize = 8;

/// What it costs to make a kernel and what is proven by it, in columns of some tens of iterations.
const KERNEL: usize = 2;

/// A pair, as it is solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its place among the pairs.
    pub(super) pair: usize,
    /// Is its source solved for as the target? Of symmetric costs only.
    pub(super) is_turned: bool,
}

/// Pairs that are solved together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) columns: Vec<Column>,
    /// The side where all have the same measure.
    pub(super) common: Option<Side>,
}

/// The atoms of both supports that each measure has weight on.
pub(super) struct Masses {
    /// Of each source, and of each target.
    pub(super) sides: [Vec<Vec<bool>>; 2],
}

impl Masses {
    /// Which weights of a measure are not zero.
    pub(super) fn of<T: ot_core::Scalar>(weights: WeightsView<'_, T>) -> Vec<bool> {
        weights.column(0).iter().map(|&weight| weight > T::from_f64(0.0)).collect()
    }

    /// The atoms of both sides that any measure of a batch has weight on, in order.
    pub(super) fn kept(&self, batch: &Batch, pairs: &[(usize, usize)]) -> [Vec<usize>; 2] {
        let mut is_kept = self.sides.each_ref().map(|masses| vec![false; masses[0].len()]);
        for column in &batch.columns {
            let (i, j) = pairs[column.pair];
            let ends = if column.is_turned { [j, i] } else { [i, j] };
            for ((is_kept, masses), end) in is_kept.iter_mut().zip(&self.sides).zip(ends) {
                for (is_kept, has_mass) in is_kept.iter_mut().zip(&masses[end]) {
                    *is_kept |= has_mass;
                }
            }
        }
        is_kept.map(|is_kept| (0..is_kept.len()).filter(|&atom| is_kept[atom]).collect())
    }
}

/// The cheapest batches for all pairs of a table.
pub(super) fn batches(layout: Layout, pairs: &[(usize, usize)], masses: &Masses) -> Vec<Batch> {
    let estimate = |batches: &Vec<Batch>| -> usize {
        let of_batch = |batch: &Batch| {
            let [sources, targets] = masses.kept(batch, pairs).map(|kept| kept.len());
            sources * targets * (batch.columns.len().next_multiple_of(LANES) + KERNEL)
        };
        batches.iter().map(of_batch).sum()
    };
    let straight = |pair: usize| Column { pair, is_turned: false };
    let mut ways = vec![cut((0..pairs.len()).map(straight).collect(), None)];
    match layout {
        Layout::Symmetric(len) => {
            // Every measure is the common one of half of its pairs.
            let mut rows: Vec<Vec<Column>> = vec![Vec::new(); len];
            for (pair, &(i, j)) in pairs.iter().enumerate() {
                let is_turned = 2 * (j - i) > len || 2 * (j - i) == len && i % 2 == 1;
                rows[if is_turned { j } else { i }].push(Column { pair, is_turned });
            }
            ways.push(rows.into_iter().flat_map(|row| cut(row, Some(Side::Source))).collect());
        }
        Layout::Full(sources, targets) => {
            let row = |i: usize| (0..targets).map(|j| straight(i * targets + j)).collect();
            let column = |j: usize| (0..sources).map(|i| straight(i * targets + j)).collect();
            ways.push((0..sources).flat_map(|i| cut(row(i), Some(Side::Source))).collect());
            ways.push((0..targets).flat_map(|j| cut(column(j), Some(Side::Target))).collect());
        }
        Layout::List(_) => {}
    }
    ways.into_iter().min_by_key(estimate).unwrap_or_default()
}

/// Columns in batches of about the same width.
fn cut(columns: Vec<Column>, common: Option<Side>) -> Vec<Batch> {
    let batches = columns.len().div_ceil(WIDTH).max(1);
    let width = columns.len().div_ceil(batches).max(1);
    columns.chunks(width).map(|columns| Batch { columns: columns.to_vec(), common }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masses(sources: usize, targets: usize, has_mass: impl Fn(usize, usize) -> bool) -> Masses {
        let of = |measures: usize| (0..measures).map(|k| (0..30).map(|atom| has_mass(k, atom)).collect()).collect();
        Masses { sides: [of(sources), of(targets)] }
    }

    /// Every pair is solved once, and every column of a batch with a common measure has it.
    #[test]
    fn batches_are_a_partition_of_the_pairs() {
        let layouts = [Layout::Symmetric(1), Layout::Symmetric(60), Layout::Symmetric(61), Layout::Symmetric(200)];
        for layout in layouts.into_iter().chain([Layout::Full(3, 300), Layout::Full(300, 3), Layout::List(150)]) {
            let pairs = layout.pairs();
            let (sources, targets) = match layout {
                Layout::Symmetric(len) | Layout::List(len) => (len, len),
                Layout::Full(sources, targets) => (sources, targets),
            };
            for has_mass in [|_: usize, _: usize| true, |k: usize, atom: usize| !(k + atom).is_multiple_of(3)] {
                let batches = batches(layout, &pairs, &masses(sources, targets, has_mass));
                let mut solved = vec![0; pairs.len()];
                for batch in &batches {
                    assert!((1..=WIDTH).contains(&batch.columns.len()));
                    let end = |column: &Column| {
                        let (i, j) = pairs[column.pair];
                        let ends = if column.is_turned { [j, i] } else { [i, j] };
                        batch.common.map(|side| ends[side.index()])
                    };
                    assert!(batch.columns.iter().all(|column| end(column) == end(&batch.columns[0])));
                    batch.columns.iter().for_each(|column| solved[column.pair] += 1);
                }
                assert!(solved.iter().all(|&times| times == 1), "{layout:?}");
            }
        }
    }

    /// Zero weights and many measures call for a common one, few measures for any pairs together.
    #[test]
    fn the_cheapest_way_is_taken() {
        let common = |layout: Layout, third: bool| {
            let pairs = layout.pairs();
            let (sources, targets) = layout.shape();
            let masses = masses(sources, targets.max(sources), |k, atom| !third || (7 * k + atom) % 3 > 0);
            batches(layout, &pairs, &masses)[0].common
        };
        assert_eq!(common(Layout::Symmetric(60), true), Some(Side::Source));
        assert_eq!(common(Layout::Symmetric(8), true), None);
        assert_eq!(common(Layout::Symmetric(60), false), None);
        assert_eq!(common(Layout::Full(200, 3), true), Some(Side::Target));
    }
}
