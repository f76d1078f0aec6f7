//! In which order vertices are eliminated, and which parts of the order can be eliminated apart from each other.

use std::ops::Range;

use faer::{
    dyn_stack::{MemBuffer, MemStack},
    sparse::{SymbolicSparseColMatRef, linalg::amd},
};
use ot_core::Error;

/// About as many parts are cut off the elimination tree, each of this share of its entries.
const PARTS: usize = 8;
/// A part has as many entries, or is not worth a task.
const LEAST_PART: usize = 1 << 13;
/// What a column costs beside its entries, in entries.
const COLUMN: usize = 4;

/// An order of elimination, cut into parts: whole subtrees of the elimination tree, of which none has an entry in another
/// one, and in the end the top of the tree, which may be empty.
pub(super) struct Ordering {
    /// The vertex of each row.
    pub(super) order: Vec<u32>,
    /// The rows of each part, the last those of the top.
    pub(super) parts: Vec<Range<usize>>,
}

impl Ordering {
    /// An order with little fill in which each vertex stands after all that are eliminated into it, so that a substitution
    /// stays near. How it is cut depends on the matrix alone.
    pub(super) fn new(n: usize, edges: &[([u32; 2], f64)]) -> Result<Self, Error> {
        let order = postordered(n, edges, minimum_degree(n, edges)?);
        let lower = Lower::new(n, edges, &inverse(&order));
        let parents = elimination_tree(&lower);
        let own: Vec<usize> = column_counts(&lower, &parents).iter().map(|count| count + COLUMN).collect();
        let mut subtrees = own.clone();
        for row in 0..n {
            if let Some(parent) = parents[row] {
                subtrees[parent as usize] += subtrees[row];
            }
        }
        let limit = (own.iter().sum::<usize>() / PARTS).max(LEAST_PART);
        let is_top = |row: usize| subtrees[row] > limit;
        let (mut rows, mut top, mut parts) = (Vec::with_capacity(n), Vec::new(), Vec::new());
        let (mut start, mut size) = (0, 0);
        for row in 0..n {
            if is_top(row) {
                top.push(order[row]);
                continue;
            }
            rows.push(order[row]);
            size += own[row];
            let is_whole = parents[row].is_none_or(|parent| is_top(parent as usize));
            if is_whole && 2 * size >= limit {
                parts.push(start..rows.len());
                (start, size) = (rows.len(), 0);
            }
        }
        if start < rows.len() {
            parts.push(start..rows.len());
        }
        parts.push(rows.len()..n);
        rows.append(&mut top);
        Ok(Self { order: rows, parts })
    }
}

/// The edges as the strict lower triangle of a matrix in a new order, column by column.
pub(super) struct Lower {
    starts: Vec<usize>,
    entries: Vec<(u32, f64)>,
}

impl Lower {
    pub(super) fn new(n: usize, edges: &[([u32; 2], f64)], places: &[u32]) -> Self {
        let placed = || {
            let joining = edges.iter().filter(|([i, j], weight)| i != j && *weight > 0.0);
            joining.map(|&([i, j], weight)| {
                let (i, j) = (places[i as usize], places[j as usize]);
                (i.min(j) as usize, i.max(j), weight)
            })
        };
        let mut starts = vec![0; n + 1];
        placed().for_each(|(column, _, _)| starts[column + 1] += 1);
        (0..n).for_each(|column| starts[column + 1] += starts[column]);
        let (mut next, mut entries) = (starts.clone(), vec![(0, 0.0); starts[n]]);
        for (column, row, weight) in placed() {
            entries[next[column]] = (row, weight);
            next[column] += 1;
        }
        Self { starts, entries }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn column(&self, column: usize) -> &[(u32, f64)] {
        &self.entries[self.starts[column]..self.starts[column + 1]]
    }

    /// The columns that have an entry in each row, ascending.
    fn by_row(&self) -> Vec<Vec<u32>> {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.len()];
        for column in 0..self.len() {
            self.column(column).iter().for_each(|&(row, _)| rows[row as usize].push(column as u32));
        }
        rows
    }
}

/// The place of each vertex in an order.
pub(super) fn inverse(order: &[u32]) -> Vec<u32> {
    let mut places = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &vertex)| places[vertex as usize] = place as u32);
    places
}

/// An order of elimination with little fill (approximate minimum degree: Amestoy, Davis, Duff 1996).
fn minimum_degree(n: usize, edges: &[([u32; 2], f64)]) -> Result<Vec<u32>, Error> {
    let identity: Vec<u32> = (0..n as u32).collect();
    // The upper triangle, each entry once and in order: row i of column j for i < j.
    let (mut starts, mut rows) = (vec![0_u32; 1], Vec::new());
    for mut column in Lower::new(n, edges, &identity).by_row() {
        column.dedup();
        rows.extend(column);
        starts.push(rows.len() as u32);
    }
    let memory = |bytes| Error::OutOfMemory { what: "the order of a heat kernel's factor", bytes };
    let request = amd::order_scratch::<u32>(n, rows.len());
    let mut buffer = MemBuffer::try_new(request).map_err(|_| memory(request.unaligned_bytes_required() as u64))?;
    let (mut order, mut places) = (vec![0_u32; n], vec![0_u32; n]);
    let matrix = SymbolicSparseColMatRef::new_checked(n, n, &starts, None, &rows);
    let control = amd::Control::default();
    amd::order(&mut order, &mut places, matrix, control, MemStack::new(&mut buffer)).map_err(|_| memory(u64::MAX))?;
    Ok(order)
}

/// The same elimination with each vertex after all that are eliminated into it, and next to them.
fn postordered(n: usize, edges: &[([u32; 2], f64)], order: Vec<u32>) -> Vec<u32> {
    let parents = elimination_tree(&Lower::new(n, edges, &inverse(&order)));
    let mut children: Vec<Vec<u32>> = vec![Vec::new(); n];
    let mut stack = Vec::new();
    for row in (0..n).rev() {
        match parents[row] {
            Some(parent) => children[parent as usize].push(row as u32),
            None => stack.push(row as u32),
        }
    }
    let mut reversed = Vec::with_capacity(n);
    stack.reverse();
    while let Some(row) = stack.pop() {
        reversed.push(order[row as usize]);
        stack.extend(children[row as usize].iter().rev());
    }
    reversed.reverse();
    reversed
}

/// The first row below the diagonal of each column of the factor (Liu 1990).
fn elimination_tree(lower: &Lower) -> Vec<Option<u32>> {
    let n = lower.len();
    let mut parents: Vec<Option<u32>> = vec![None; n];
    let mut ancestors: Vec<Option<u32>> = vec![None; n];
    for (row, columns) in lower.by_row().iter().enumerate() {
        for &column in columns {
            let mut at = column;
            while at as usize != row {
                match ancestors[at as usize].replace(row as u32) {
                    Some(above) => at = above,
                    None => {
                        parents[at as usize] = Some(row as u32);
                        break;
                    }
                }
            }
        }
    }
    parents
}

/// How many entries each column of the factor has: row i has one in all columns on the way up the tree from its own to i.
fn column_counts(lower: &Lower, parents: &[Option<u32>]) -> Vec<usize> {
    let mut counts = vec![0; parents.len()];
    let mut seen = vec![u32::MAX; parents.len()];
    for (row, columns) in lower.by_row().iter().enumerate() {
        seen[row] = row as u32;
        for &column in columns {
            let mut at = Some(column);
            while let Some(column) = at.filter(|&column| seen[column as usize] != row as u32) {
                seen[column as usize] = row as u32;
                counts[column as usize] += 1;
                at = parents[column as usize];
            }
        }
    }
    counts
}
