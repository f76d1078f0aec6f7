//! Sparse L D L^T of a diagonally dominant matrix with off-diagonals <= 0, to full relative accuracy entry by entry.
//!
//! ```text
//! A = diag(e) + sum over edges of w (e_i - e_j) (e_i - e_j)^T        e >= 0, w >= 0
//! ```
//!
//! Elimination of a vertex joins its neighbours by edges of weights w_ij w_ik / d_i, and shares its excess e_i out among them.
//! The pivot d_i is the sum of the excess and of the weights of the vertex, so that nothing is ever subtracted (Grassmann,
//! Taksar, Heyman 1985; Alfa, Xue, Ye 2002): each entry of the factor, and each number of a substitution with non-negative
//! right-hand sides, is accurate to a small multiple of its own size, however ill-conditioned A is.

use faer::{
    dyn_stack::{MemBuffer, MemStack},
    sparse::{SymbolicSparseColMatRef, linalg::amd},
};
use ot_core::{
    Error,
    instructions::{Loops, run_widest},
};

/// The factor of A with rows and columns in another order: L has a unit diagonal, and -l_ij below it.
#[derive(Clone, Debug)]
pub(super) struct Factor {
    /// The vertex of each row.
    order: Vec<u32>,
    /// Where each column starts.
    starts: Vec<usize>,
    rows: Vec<u32>,
    /// l_ij >= 0.
    ratios: Vec<f64>,
    /// 1 / d_i.
    inverses: Vec<f64>,
    /// How many columns belong together, group after group: each has the rows of the one before it, less its own.
    groups: Vec<u8>,
}

impl Factor {
    /// Factors A of an excess of each vertex and weighted edges. Flops are the sum of the squares of the columns' lengths.
    pub(super) fn new(excess: &[f64], edges: &[([u32; 2], f64)]) -> Result<Self, Error> {
        let n = excess.len();
        let order = postordered(n, edges, minimum_degree(n, edges)?);
        let places = inverse(&order);
        let lower = Lower::new(n, edges, &places);
        let (starts, rows) = structure(&lower)?;
        let ratios = ot_core::host::try_zeros(rows.len(), "the factor of a heat kernel")?;
        let groups = groups(&starts, &rows);
        let mut factor = Self { starts, rows, ratios, inverses: vec![0.0; n], groups, order };
        factor.eliminate(excess, &lower);
        match factor.inverses.iter().all(|inverse| inverse.is_finite() && *inverse > 0.0) {
            true => Ok(factor),
            false => Err(Error::SumOverflow { what: "a pivot of the heat kernel", element: "f64" }),
        }
    }

    /// Column after column, each from all before it (left-looking).
    fn eliminate(&mut self, excess: &[f64], lower: &Lower) {
        const END: u32 = u32::MAX;
        let n = self.order.len();
        // The weights of the column at work, by row.
        let mut weights = vec![0.0; n];
        let mut excess: Vec<f64> = self.order.iter().map(|&vertex| excess[vertex as usize]).collect();
        let mut pivots = vec![0.0; n];
        // Columns whose next row is i, as a list for each i.
        let (mut first, mut next) = (vec![END; n], vec![END; n]);
        let mut position = self.starts.clone();
        for i in 0..n {
            let own = self.starts[i]..self.starts[i + 1];
            for &(row, weight) in lower.column(i) {
                weights[row as usize] += weight;
            }
            let mut column = first[i];
            while column != END {
                let (j, after) = (column as usize, next[column as usize]);
                let at = position[j];
                let end = self.starts[j + 1];
                let ratio = self.ratios[at];
                excess[i] += ratio * excess[j];
                let weight = ratio * pivots[j];
                for (&row, &ratio) in self.rows[at + 1..end].iter().zip(&self.ratios[at + 1..end]) {
                    weights[row as usize] += weight * ratio;
                }
                position[j] = at + 1;
                if at + 1 < end {
                    let row = self.rows[at + 1] as usize;
                    next[j] = first[row];
                    first[row] = column;
                }
                column = after;
            }
            let pivot = excess[i] + self.rows[own.clone()].iter().map(|&row| weights[row as usize]).sum::<f64>();
            pivots[i] = pivot;
            self.inverses[i] = 1.0 / pivot;
            for at in own.clone() {
                self.ratios[at] = std::mem::take(&mut weights[self.rows[at] as usize]) / pivot;
            }
            if let Some(&row) = self.rows[own].first() {
                next[i] = first[row as usize];
                first[row as usize] = i as u32;
            }
        }
    }

    /// The vertex of each row.
    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    /// Entries below the diagonal.
    pub(super) fn nonzeros(&self) -> usize {
        self.rows.len()
    }

    /// A^-1 x in the place of x, for W right-hand sides side by side, rows in the order of the factor.
    pub(super) fn solve<const W: usize>(&self, x: &mut [[f64; W]]) {
        run_widest(Substitution { factor: self, x });
    }
}

/// The most columns of a group: as many numbers stay in registers.
const GROUP: usize = 4;

/// Columns that share their rows, from the first on, as many as go together.
fn groups(starts: &[usize], rows: &[u32]) -> Vec<u8> {
    let n = starts.len() - 1;
    let column = |j: usize| &rows[starts[j]..starts[j + 1]];
    let (mut groups, mut first) = (Vec::new(), 0);
    while first < n {
        let mut len = 1;
        while len < GROUP && first + len < n && {
            let (last, next) = (column(first + len - 1), column(first + len));
            last.len() == next.len() + 1 && last[0] as usize == first + len
        } {
            len += 1;
        }
        groups.push(len as u8);
        first += len;
    }
    groups
}

/// Forward and backward substitution. The rows of a group are read once for all its columns, and the numbers of a row once;
/// each sum has the order that single columns would give it.
struct Substitution<'a, const W: usize> {
    factor: &'a Factor,
    x: &'a mut [[f64; W]],
}

impl<const W: usize> Loops for Substitution<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { factor, x } = self;
        let mut first = 0;
        for &len in &factor.groups {
            match len {
                1 => factor.forward::<W, 1>(first, x),
                2 => factor.forward::<W, 2>(first, x),
                3 => factor.forward::<W, 3>(first, x),
                _ => factor.forward::<W, GROUP>(first, x),
            }
            first += usize::from(len);
        }
        for &len in factor.groups.iter().rev() {
            first -= usize::from(len);
            match len {
                1 => factor.backward::<W, 1>(first, x),
                2 => factor.backward::<W, 2>(first, x),
                3 => factor.backward::<W, 3>(first, x),
                _ => factor.backward::<W, GROUP>(first, x),
            }
        }
    }
}

impl Factor {
    /// Of each column of a group, the entries in the rows that all share; and these rows.
    #[inline(always)]
    fn shared<const G: usize>(&self, first: usize) -> ([&[f64]; G], &[u32]) {
        let last = first + G - 1;
        let rows = &self.rows[self.starts[last]..self.starts[last + 1]];
        let mut ratios = [&self.ratios[..0]; G];
        for (column, ratios) in ratios.iter_mut().enumerate() {
            let end = self.starts[first + column + 1];
            *ratios = &self.ratios[end - rows.len()..end];
        }
        (ratios, rows)
    }

    /// x <- L^-1 x for the columns of a group.
    #[inline(always)]
    fn forward<const W: usize, const G: usize>(&self, first: usize, x: &mut [[f64; W]]) {
        let mut own = [[0.0; W]; G];
        for column in 0..G {
            own[column] = x[first + column];
            for below in column + 1..G {
                let ratio = self.ratios[self.starts[first + column] + below - column - 1];
                for lane in 0..W {
                    x[first + below][lane] += ratio * own[column][lane];
                }
            }
        }
        let (ratios, rows) = self.shared::<G>(first);
        for (at, &row) in rows.iter().enumerate() {
            let mut sum = x[row as usize];
            for column in 0..G {
                let ratio = ratios[column][at];
                for lane in 0..W {
                    sum[lane] += ratio * own[column][lane];
                }
            }
            x[row as usize] = sum;
        }
    }

    /// x <- L^-T D^-1 x for the columns of a group.
    #[inline(always)]
    fn backward<const W: usize, const G: usize>(&self, first: usize, x: &mut [[f64; W]]) {
        let (ratios, rows) = self.shared::<G>(first);
        let mut sums = [[0.0; W]; G];
        for (at, &row) in rows.iter().enumerate() {
            let from = x[row as usize];
            for column in 0..G {
                let ratio = ratios[column][at];
                for lane in 0..W {
                    sums[column][lane] += ratio * from[lane];
                }
            }
        }
        for column in (0..G).rev() {
            let inverse = self.inverses[first + column];
            for lane in 0..W {
                sums[column][lane] += inverse * x[first + column][lane];
            }
            for below in column + 1..G {
                let ratio = self.ratios[self.starts[first + column] + below - column - 1];
                let from = x[first + below];
                for lane in 0..W {
                    sums[column][lane] += ratio * from[lane];
                }
            }
            x[first + column] = sums[column];
        }
    }
}

/// The edges as the strict lower triangle of a matrix in a new order, column by column.
struct Lower {
    starts: Vec<usize>,
    entries: Vec<(u32, f64)>,
}

impl Lower {
    fn new(n: usize, edges: &[([u32; 2], f64)], places: &[u32]) -> Self {
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

    fn column(&self, column: usize) -> &[(u32, f64)] {
        &self.entries[self.starts[column]..self.starts[column + 1]]
    }
}

/// An order of elimination with little fill (approximate minimum degree: Amestoy, Davis, Duff 1996).
fn minimum_degree(n: usize, edges: &[([u32; 2], f64)]) -> Result<Vec<u32>, Error> {
    let identity: Vec<u32> = (0..n as u32).collect();
    let lower = Lower::new(n, edges, &identity);
    // The upper triangle, each entry once and in order: row i of column j for i < j.
    let mut columns: Vec<Vec<u32>> = vec![Vec::new(); n];
    for column in 0..n {
        lower.column(column).iter().for_each(|&(row, _)| columns[row as usize].push(column as u32));
    }
    let (mut starts, mut rows) = (vec![0_u32; 1], Vec::new());
    for mut column in columns {
        column.sort_unstable();
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

/// The same elimination with each vertex after all that are eliminated into it, so that a substitution stays near.
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
    let n = lower.starts.len() - 1;
    let mut by_row: Vec<Vec<u32>> = vec![Vec::new(); n];
    for column in 0..n {
        lower.column(column).iter().for_each(|&(row, _)| by_row[row as usize].push(column as u32));
    }
    let mut parents: Vec<Option<u32>> = vec![None; n];
    let mut ancestors: Vec<Option<u32>> = vec![None; n];
    for (row, columns) in by_row.iter().enumerate() {
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

/// Where the columns of the factor start, and their rows in order.
fn structure(lower: &Lower) -> Result<(Vec<usize>, Vec<u32>), Error> {
    let n = lower.starts.len() - 1;
    let mut children: Vec<Vec<u32>> = vec![Vec::new(); n];
    let mut seen = vec![u32::MAX; n];
    let (mut starts, mut rows) = (vec![0; 1], Vec::<u32>::new());
    for j in 0..n {
        let start = rows.len();
        seen[j] = j as u32;
        let mut longest = lower.column(j).len();
        longest += children[j].iter().map(|&child| starts[child as usize + 1] - starts[child as usize]).sum::<usize>();
        let bytes = ((start + longest) * size_of::<u32>()) as u64;
        rows.try_reserve(longest).map_err(|_| Error::OutOfMemory { what: "the factor of a heat kernel", bytes })?;
        let mut add = |row: u32, rows: &mut Vec<u32>| {
            if seen[row as usize] != j as u32 {
                seen[row as usize] = j as u32;
                rows.push(row);
            }
        };
        for &(row, _) in lower.column(j) {
            add(row, &mut rows);
        }
        for child in std::mem::take(&mut children[j]) {
            for at in starts[child as usize]..starts[child as usize + 1] {
                add(rows[at], &mut rows);
            }
        }
        rows[start..].sort_unstable();
        if let Some(&parent) = rows.get(start) {
            children[parent as usize].push(j as u32);
        }
        starts.push(rows.len());
    }
    Ok((starts, rows))
}

/// The place of each vertex in an order.
fn inverse(order: &[u32]) -> Vec<u32> {
    let mut places = vec![0; order.len()];
    order.iter().enumerate().for_each(|(place, &vertex)| places[vertex as usize] = place as u32);
    places
}
