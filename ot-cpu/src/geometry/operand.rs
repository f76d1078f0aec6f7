//! Weights as a product reads them, and products of entries with them: a vector, or columns side by side.
//!
//! One column is a vector. More are cut into blocks of sixteen, each with its columns side by side for every atom, and what is
//! left of them into a block of whole vectors, filled up by zeros: a product with them is a product of matrices.

use super::{CpuScalar, cut::PANEL};
use crate::simd::{NARROW_LANES as NARROW, PRODUCT_LANES as LANES};

/// Numbers of type X for each atom of a side and each column of a group.
pub(super) fn operand_len<X>(atoms: usize, columns: usize) -> usize {
    atoms * padded::<X>(columns)
}

/// The most numbers of any type.
pub(super) fn most_numbers(atoms: usize, columns: usize) -> usize {
    atoms * if columns == 1 { 1 } else { columns.next_multiple_of(LANES) }
}

/// Columns, filled up to whole vectors of 512 bits: sixteen numbers of single precision, eight of double.
fn padded<X>(columns: usize) -> usize {
    if columns == 1 { 1 } else { columns.next_multiple_of(64 / size_of::<X>()) }
}

/// Columns that stand side by side, but for those of the last block.
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
    let first = k - k % block_columns(columns);
    write_lane(&mut operand[first * atoms..], atoms, (first, columns), k - first, number);
}

/// [`write_column`] of one lane of a block, before which so many of all columns stand.
pub(super) fn write_lane<X: CpuScalar>(
    block: &mut [X],
    atoms: usize,
    (first, columns): (usize, usize),
    lane: usize,
    number: impl Fn(usize) -> X,
) {
    match padded::<X>(columns) - first {
        1 => block[..atoms].iter_mut().enumerate().for_each(|(atom, out)| *out = number(atom)),
        NARROW => write_strided::<NARROW, _>(block, atoms, lane, number),
        _ => write_strided::<LANES, _>(block, atoms, lane, number),
    }
}

/// Writes one lane of a block of N.
fn write_strided<const N: usize, X>(block: &mut [X], atoms: usize, lane: usize, number: impl Fn(usize) -> X) {
    for (atom, lanes) in block.as_chunks_mut::<N>().0[..atoms].iter_mut().enumerate() {
        lanes[lane] = number(atom);
    }
}

/// `sums[k * rows + r]` = sum_j `entries[r][j]` times the number of atom j in column k.
pub(super) fn row_sums<X: CpuScalar>(entries: &[X], others: usize, operand: &[X], columns: usize, sums: &mut [f64]) {
    if columns == 1 {
        return X::row_sums(entries, others, operand, sums);
    }
    let rows = sums.len() / columns;
    let wide = operand.chunks_exact(others * LANES);
    let narrow = wide.remainder();
    let mut blocks = sums.chunks_mut(rows * LANES);
    for (operand, sums) in wide.zip(&mut blocks) {
        let mut products = [[0.0; LANES]; PANEL];
        X::add_row_products(entries, others, operand.as_chunks().0, &mut products[..rows]);
        transpose(&products[..rows], sums);
    }
    if let Some(sums) = blocks.next() {
        let mut products = [[0.0; NARROW]; PANEL];
        X::add_narrow_row_products(entries, others, narrow.as_chunks().0, &mut products[..rows]);
        transpose(&products[..rows], sums);
    }
}

/// Lanes side by side, one after the other.
fn transpose<const N: usize>(products: &[[f64; N]], sums: &mut [f64]) {
    for (k, sums) in sums.chunks_mut(products.len()).enumerate() {
        for (sum, products) in sums.iter_mut().zip(products) {
            *sum = products[k];
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
        let (wide, mut blocks) = (operand.chunks_exact(rows * LANES), sums.chunks_exact_mut(others * LANES));
        let narrow = wide.remainder();
        for (operand, sums) in wide.zip(&mut blocks) {
            X::add_column_products(entries, others, operand.as_chunks().0, sums.as_chunks_mut().0);
        }
        if !narrow.is_empty() {
            let sums = blocks.into_remainder().as_chunks_mut().0;
            X::add_narrow_column_products(entries, others, narrow.as_chunks().0, sums);
        }
    }
}

/// The sums of some columns of the kernel, with entries of type X, over all tasks, in order: `folded[k * len + c]`.
pub(super) fn fold<X>(sums: &[f64], tasks: usize, others: usize, (first, columns): (usize, usize), folded: &mut [f64]) {
    let len = folded.len() / columns;
    folded.fill(0.0);
    for sums in sums.chunks(operand_len::<X>(others, columns)).take(tasks) {
        if columns == 1 {
            for (folded, sum) in folded.iter_mut().zip(&sums[first..first + len]) {
                *folded += sum;
            }
        } else {
            let wide = sums.chunks_exact(others * LANES);
            let narrow = wide.remainder();
            let mut blocks = folded.chunks_mut(len * LANES);
            for (sums, folded) in wide.zip(&mut blocks) {
                add_lanes::<LANES>(&sums.as_chunks().0[first..first + len], folded);
            }
            if let Some(folded) = blocks.next() {
                add_lanes::<NARROW>(&narrow.as_chunks().0[first..first + len], folded);
            }
        }
    }
}

/// Adds lanes side by side to numbers one column after the other.
fn add_lanes<const N: usize>(sums: &[[f64; N]], folded: &mut [f64]) {
    for (c, lanes) in sums.iter().enumerate() {
        for (folded, lane) in folded[c..].iter_mut().step_by(sums.len()).zip(lanes) {
            *folded += lane;
        }
    }
}
