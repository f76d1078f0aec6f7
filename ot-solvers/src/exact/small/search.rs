//! Where the simplex over a table starts, and which pair enters next.

use super::{
    super::network_simplex::{Allocation, Entering, EnteringRule, Tree},
    scan::{Rows, least},
    table::Table,
};

/// Entries of a block: a few hundred pairs are looked at in the time of a pivot.
const BLOCK: usize = 768;

/// The pair of the least reduced cost among those of the next rows; the next block resumes where the last one stopped.
pub(super) struct RowSearch<'a> {
    table: &'a Table,
    row: usize,
}

impl<'a> RowSearch<'a> {
    /// A search that begins with the first row.
    pub(in super::super) fn new(table: &'a Table) -> Self {
        Self { table, row: 0 }
    }
}

impl EnteringRule for RowSearch<'_> {
    fn next(&mut self, tree: &Tree) -> Option<Entering> {
        let (f, minus_g) = tree.padded_potentials();
        let (rows, stride) = (self.table.rows(), self.table.stride());
        let block = BLOCK.div_ceil(stride);
        let mut left = rows;
        while left > 0 {
            let (first, count) = (self.row, block.min(rows - self.row).min(left));
            self.row = if first + count == rows { 0 } else { first + count };
            left -= count;
            let entries = &self.table.entries()[first * stride..][..count * stride];
            let found = Rows { entries, stride, f: &f[first..][..count], minus_g }.most_negative();
            if let Some((row, target, reduced_cost)) = found {
                let cost = entries[row * stride + target];
                return Some(Entering {
                    source: (first + row) as u32,
                    target: target as u32,
                    cost,
                    level: 0,
                    reduced_cost,
                });
            }
        }
        None
    }
}

/// Allocates all masses: sources in turn, each to the target of the least C_ij - g_j among those that may still receive (the
/// modified row minimum rule: Glover, Karney, Klingman, Napier 1974). `offsets` is memory.
pub(super) fn allocate(table: &Table, g: &[f64], allocation: &mut Allocation, offsets: &mut Vec<f64>) {
    let rows = table.rows();
    offsets.clear();
    offsets.extend(g.iter().map(|g| -g));
    let mut open = rows;
    while open > 0 {
        open = 0;
        for i in 0..rows {
            if !allocation.has_source(i) {
                continue;
            }
            let row = table.row(i);
            let Some(target) = least(row, offsets) else { return };
            allocation.allocate(i as u32, target as u32, row[target]);
            if !allocation.has_target(target) {
                offsets[target] = f64::INFINITY;
            }
            open += usize::from(allocation.has_source(i));
        }
    }
}
