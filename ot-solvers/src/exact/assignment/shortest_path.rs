//! Shortest augmenting paths.
//!
//! The algorithm of Jonker and Volgenant (1987). Potentials v of columns, and u_i = min_j (C_ij - v_j) implied, are kept such
//! that assigned pairs have reduced cost C_ij - u_i - v_j = 0 and none is negative. First, cheaply:
//!
//! * *column reduction* (square problems): v_j = min_i C_ij, and as many columns as possible are given to their row;
//! * *reduction transfer*: v of the column of an assigned row falls as far as the row allows, which frees others;
//! * *augmenting row reduction*: a free row takes its best column, whose v falls to where the second best is as good, and the
//!   row that had the column is free in its place.
//!
//! Where row reduction leaves many rows free, as it does between points of a plane, an auction finds better potentials first.
//! Then, for each free row left, Dijkstra's algorithm on reduced costs finds the shortest alternating path to a free column.

use ot_core::{Error, cost::check_bound};

use super::scan::{BLOCK, TwoSmallest, largest_size, lower_minima, relax, two_smallest};

/// No row, or no column.
pub(super) const FREE: u32 = u32::MAX;
/// One part in so many of the rows still free after a pass of augmenting row reduction calls for an auction.
const CROWDED: usize = 8;
/// Steps of a pass, for each row: beyond, rows push each other along by less and less, or by rounding only.
const REDUCTION_STEPS: usize = 6;

/// Rows of costs, made as they are asked for: row i, in the buffer or elsewhere.
pub(super) trait Rows {
    /// n and m.
    fn shape(&self) -> (usize, usize);
    /// Row i.
    fn row<'b>(&'b self, i: usize, buffer: &'b mut [f64]) -> &'b [f64];
    /// Refuses a row with entries that are no costs.
    fn check_row(&self, i: usize, row: &[f64]) -> Result<(), Error>;
}

/// An assignment of all rows while it grows, n <= m.
#[derive(Debug)]
pub(super) struct Matching {
    /// The column of each row.
    pub(super) columns: Vec<u32>,
    /// The row of each column.
    pub(super) rows: Vec<u32>,
    /// Potentials of rows, C_ij - v_j of their pairs, once they are told.
    pub(super) u: Vec<f64>,
    /// Potentials of columns; at most 0, and 0 for free columns, where n < m.
    pub(super) v: Vec<f64>,
}

impl Matching {
    /// Assigns all rows at least cost; potentials of rows are left to be told.
    ///
    /// # Errors
    /// [`Error::Cost`] for an entry that is NaN or minus infinity, [`Error::CostOverflow`] for a finite one that n + m times
    /// leaves the range, [`Error::Infeasible`].
    pub(super) fn solve(costs: &impl Rows) -> Result<Self, Error> {
        let (n, m) = costs.shape();
        let mut matching = Self { columns: vec![FREE; n], rows: vec![FREE; m], u: Vec::new(), v: vec![0.0; m] };
        let mut buffer = vec![0.0; m];
        matching.reduce_columns(costs, &mut buffer)?;
        matching.reduce_rows(costs, &mut buffer);
        if n == m && matching.columns.iter().filter(|column| **column == FREE).count() > n / CROWDED {
            matching.auction(costs, &mut buffer);
            matching.reduce_rows(costs, &mut buffer);
        }
        matching.reduce_rows(costs, &mut buffer);
        let mut search = Search::new(&matching.rows);
        for i in 0..n {
            if matching.columns[i] == FREE {
                matching.augment(i, costs, &mut search, &mut buffer)?;
            }
        }
        Ok(matching)
    }

    /// Column reduction and reduction transfer, with a check of all entries.
    fn reduce_columns(&mut self, costs: &impl Rows, buffer: &mut [f64]) -> Result<(), Error> {
        let (n, m) = costs.shape();
        let (mut minima, mut lowest) = (vec![f64::INFINITY; m], vec![FREE; m]);
        let mut largest = 0.0_f64;
        for i in 0..n {
            let row = costs.row(i, buffer);
            costs.check_row(i, row)?;
            largest = largest.max(largest_size(row));
            lower_minima(row, i as u32, &mut minima, &mut lowest);
        }
        // Potentials are sums of the costs along a path.
        check_bound::<f64>(largest * (n + m) as f64)?;
        if n < m {
            // Free columns must keep potential 0.
            return Ok(());
        }
        // A column without finite cost is assigned to no row, and its potential does not matter.
        self.v = minima.into_iter().map(|minimum| if minimum < f64::INFINITY { minimum } else { 0.0 }).collect();
        let mut columns_of = vec![0_u32; n];
        for (j, &i) in lowest.iter().enumerate() {
            if i != FREE {
                columns_of[i as usize] += 1;
                if self.columns[i as usize] == FREE {
                    (self.columns[i as usize], self.rows[j]) = (j as u32, i);
                }
            }
        }
        for i in (0..n).filter(|&i| columns_of[i] == 1) {
            let j = self.columns[i] as usize;
            let smallest = two_smallest(costs.row(i, buffer), &self.v);
            let others = if smallest.column == j { smallest.second } else { smallest.first };
            // The pair's own reduced cost is zero.
            if others < f64::INFINITY && others > 0.0 {
                self.v[j] -= others;
            }
        }
        Ok(())
    }

    /// One pass of augmenting row reduction.
    fn reduce_rows(&mut self, costs: &impl Rows, buffer: &mut [f64]) {
        let mut steps = REDUCTION_STEPS * self.columns.len();
        for start in 0..self.columns.len() {
            if self.columns[start] != FREE {
                continue;
            }
            let mut i = start;
            while steps > 0 {
                steps -= 1;
                let row = costs.row(i, buffer);
                let TwoSmallest { first, column, second } = two_smallest(row, &self.v);
                if second == f64::INFINITY {
                    // A single partner: left to the search.
                    break;
                }
                let lowered = self.v[column] - (second - first);
                let falls = lowered < self.v[column];
                let column = if falls || self.rows[column] == FREE {
                    column
                } else {
                    // As good a column that is free.
                    let ties = row.iter().zip(&self.v).map(|(cost, v)| cost - v == first);
                    let mut free = ties.zip(&self.rows).enumerate().filter(|(_, (ties, row))| *ties && **row == FREE);
                    match free.next() {
                        Some((free, _)) => free,
                        None => break,
                    }
                };
                if falls {
                    self.v[column] = lowered;
                }
                let displaced = std::mem::replace(&mut self.rows[column], i as u32);
                self.columns[i] = column as u32;
                if displaced == FREE {
                    break;
                }
                self.columns[displaced as usize] = FREE;
                i = displaced as usize;
            }
        }
    }

    /// Assigns one more row, along the shortest alternating path to a free column.
    fn augment(
        &mut self,
        start: usize,
        costs: &impl Rows,
        search: &mut Search,
        buffer: &mut [f64],
    ) -> Result<(), Error> {
        search.reset();
        let (mut i, mut h) = (start, 0.0);
        let (end, length) = loop {
            let row = costs.row(i, buffer);
            if let Some(&(j, v, distance)) = search.scanned.last() {
                h = row[j] - v - distance;
            }
            relax(row, &self.v, h, i as u32, &mut search.distances, &mut search.ways, &mut search.minima);
            let Some((j, distance)) = search.nearest(&self.rows) else {
                self.restore(search, 0.0);
                let sources: Vec<u32> =
                    std::iter::once(start as u32).chain(search.scanned.iter().map(|&(j, _, _)| self.rows[j])).collect();
                let (mass, reachable) = (sources.len() as f64, search.scanned.len() as f64);
                return Err(Error::Infeasible { sources, mass, reachable });
            };
            if self.rows[j] == FREE {
                break (j, distance);
            }
            search.scanned.push((j, self.v[j], distance));
            search.distances[j] = f64::INFINITY;
            self.v[j] = f64::NEG_INFINITY;
            i = self.rows[j] as usize;
        };
        self.restore(search, length);
        search.free[end / BLOCK] -= 1;
        let mut j = end;
        loop {
            let i = search.ways[j];
            self.rows[j] = i;
            let before = std::mem::replace(&mut self.columns[i as usize], j as u32);
            if i as usize == start {
                return Ok(());
            }
            j = before as usize;
        }
    }

    /// Gives scanned columns their potentials, lowered by what a path of this length is longer than theirs.
    fn restore(&mut self, search: &Search, length: f64) {
        for &(j, v, distance) in &search.scanned {
            self.v[j] = v - (length - distance).max(0.0);
        }
    }
}

/// Dijkstra's algorithm from one row to the columns.
#[derive(Debug)]
struct Search {
    /// The distance of each column; infinite once it is scanned.
    distances: Vec<f64>,
    /// The row before each column.
    ways: Vec<u32>,
    /// The least distance of each block of columns.
    minima: Vec<f64>,
    /// The number of free columns in each block.
    free: Vec<usize>,
    /// Columns whose distance is final, with their potential and distance.
    scanned: Vec<(usize, f64, f64)>,
}

impl Search {
    fn new(rows: &[u32]) -> Self {
        let m = rows.len();
        Self {
            distances: vec![f64::INFINITY; m],
            ways: vec![FREE; m],
            minima: vec![f64::INFINITY; m.div_ceil(BLOCK)],
            free: rows.chunks(BLOCK).map(|block| block.iter().filter(|row| **row == FREE).count()).collect(),
            scanned: Vec::new(),
        }
    }

    fn reset(&mut self) {
        self.distances.fill(f64::INFINITY);
        self.scanned.clear();
    }

    /// The nearest column that is not scanned, a free one if possible, and its distance.
    fn nearest(&self, rows: &[u32]) -> Option<(usize, f64)> {
        let least = self.minima.iter().copied().fold(f64::INFINITY, f64::min);
        if least == f64::INFINITY {
            return None;
        }
        let mut nearest = None;
        for (block, _) in self.minima.iter().enumerate().filter(|(_, minimum)| **minimum == least) {
            if self.free[block] == 0 && nearest.is_some() {
                continue;
            }
            let start = block * BLOCK;
            for (j, distance) in self.distances.iter().enumerate().skip(start).take(BLOCK) {
                if *distance == least {
                    if rows[j] == FREE {
                        return Some((j, least));
                    }
                    nearest = nearest.or(Some((j, least)));
                }
            }
        }
        nearest
    }
}
