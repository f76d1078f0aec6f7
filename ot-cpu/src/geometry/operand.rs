//! Weights as a product reads them, and products of entries with them: a vector, or columns side by side.
//!
//! One column is a vector. More are cut into blocks of sixteen, each with its columns side by side for every atom,
//! filled up by zeros: a product with them is a product of matrices.

use super::{CpuScalar, cut::PANEL};
use crate::simd::PRODUCT_LANES as LANES;

/// Numbers for each atom of a side and each column of a group.
pub(super) fn operand_len(atoms: usize, columns: usize) -> usize {
    atoms * padded(columns)
}

/// Columns, filled up to whole blocks.
fn padded(columns: usize) -> usize {
    if columns == 1 { 1 } else { columns.next_multiple_of(LANES) }
}

/// Columns that stand side by side.
pub(super) fn block_columns(columns: usize) -> usize {
    if columns == 1 { 1 } else { LANES }
}

/// Writes column k of an operand, each number given by its atom.
pub(super) fn write_column<X: CpuScalar>(
    operand: &mut [X],
    (atoms, columns): (usize, usize),
    k: usize,
    number: impl Fn(usize) -> X,
) {
    if columns == 1 {
        for (atom, out) in operand[..atoms].iter_mut().enumerate() {
            *out = number(atom);
        }
    } else {
        let block = &mut operand[(k / LANES) * atoms * LANES..][..atoms * LANES];
        for (atom, lanes) in block.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            lanes[k % LANES] = number(atom);
        }
    }
}

/// `sums[k * rows + r]` = sum_j `entries[r][j]` times the number of atom j in column k.
pub(super) fn row_sums<X: CpuScalar>(entries: &[X], others: usize, operand: &[X], columns: usize, sums: &mut [f64]) {
    if columns == 1 {
        return X::row_sums(entries, others, operand, sums);
    }
    let rows = sums.len() / columns;
    let blocks = operand.chunks_exact(others * LANES).zip(sums.chunks_mut(rows * LANES));
    for (operand, sums) in blocks {
        let mut products = [[0.0; LANES]; PANEL];
        let products = &mut products[..rows];
        X::add_row_products(entries, others, operand.as_chunks::<LANES>().0, products);
        for (k, sums) in sums.chunks_mut(rows).enumerate() {
            for (sum, products) in sums.iter_mut().zip(&*products) {
                *sum = products[k];
            }
        }
    }
}

/// Adds the entries of some rows, times the numbers of the rows, to the sums of the columns of the kernel.
pub(super) fn add_to_columns<X: CpuScalar>(
    entries: &[X],
    others: usize,
    operand: &[X],
    columns: usize,
    sums: &mut [f64],
) {
    /// Columns of the kernel whose sums stay in the first-level cache.
    const TILE: usize = 1024;

    if columns == 1 {
        for (tile, sums) in sums.chunks_mut(TILE).enumerate() {
            X::accumulate(operand, &entries[tile * TILE..], others, sums);
        }
    } else {
        let rows = entries.len() / others;
        for (operand, sums) in operand.chunks_exact(rows * LANES).zip(sums.chunks_exact_mut(others * LANES)) {
            let (operand, sums) = (operand.as_chunks::<LANES>().0, sums.as_chunks_mut::<LANES>().0);
            X::add_column_products(entries, others, operand, sums);
        }
    }
}

/// The sums of some columns of the kernel over all tasks, in order: `folded[k * len + c]`.
pub(super) fn fold(sums: &[f64], tasks: usize, others: usize, (first, columns): (usize, usize), folded: &mut [f64]) {
    let len = folded.len() / columns;
    folded.fill(0.0);
    for sums in sums.chunks(operand_len(others, columns)).take(tasks) {
        if columns == 1 {
            for (folded, sum) in folded.iter_mut().zip(&sums[first..first + len]) {
                *folded += sum;
            }
        } else {
            for (sums, folded) in sums.chunks_exact(others * LANES).zip(folded.chunks_mut(len * LANES)) {
                for (c, lanes) in sums.as_chunks::<LANES>().0[first..first + len].iter().enumerate() {
                    for (folded, lane) in folded[c..].iter_mut().step_by(len).zip(lanes) {
                        *folded += lane;
                    }
                }
            }
        }
    }
}
