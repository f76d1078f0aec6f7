//! The factor column by column, as elimination makes it.

use std::ops::Range;

use ot_core::{Error, host::try_zeros};

use super::ordering::Lower;

/// l_ij >= 0 below the diagonal, rows ascending, and 1 / d_i.
pub(super) struct Columns {
    starts: Vec<usize>,
    rows: Vec<u32>,
    ratios: Vec<f64>,
    inverses: Vec<f64>,
}

impl Columns {
    /// Factors a matrix of an excess of each row and the weights below the diagonal.
    pub(super) fn new(excess: Vec<f64>, lower: &Lower) -> Result<Self, Error> {
        let (starts, rows) = structure(lower)?;
        let ratios = try_zeros(rows.len(), "the factor of a heat kernel")?;
        let mut columns = Self { starts, rows, ratios, inverses: vec![0.0; lower.len()] };
        columns.eliminate(excess, lower);
        match columns.inverses.iter().all(|inverse| inverse.is_finite() && *inverse > 0.0) {
            true => Ok(columns),
            false => Err(Error::SumOverflow { what: "a pivot of the heat kernel", element: "f64" }),
        }
    }

    /// How many columns there are.
    pub(super) fn len(&self) -> usize {
        self.inverses.len()
    }

    /// Entries below the diagonal.
    pub(super) fn nonzeros(&self) -> usize {
        self.rows.len()
    }

    /// The rows of a column below the diagonal.
    pub(super) fn rows(&self, column: usize) -> &[u32] {
        &self.rows[self.range(column)]
    }

    /// Its entries in these rows.
    pub(super) fn ratios(&self, column: usize) -> &[f64] {
        &self.ratios[self.range(column)]
    }

    /// The inverses of the pivots.
    pub(super) fn inverses(&self) -> &[f64] {
        &self.inverses
    }

    fn range(&self, column: usize) -> Range<usize> {
        self.starts[column]..self.starts[column + 1]
    }

    /// Column after column, each from all before it (left-looking).
    fn eliminate(&mut self, mut excess: Vec<f64>, lower: &Lower) {
        let n = self.len();
        // The weights of the column at work, by row.
        let mut weights = vec![0.0; n];
        let mut pivots = vec![0.0; n];
        // Columns whose next row is i, as a list for each i.
        let (mut first, mut next): (Vec<Option<u32>>, Vec<Option<u32>>) = (vec![None; n], vec![None; n]);
        let mut position = self.starts.clone();
        for i in 0..n {
            let own = self.range(i);
            for &(row, weight) in lower.column(i) {
                weights[row as usize] += weight;
            }
            let mut column = first[i];
            while let Some(at_work) = column {
                let j = at_work as usize;
                column = next[j];
                let (at, end) = (position[j], self.starts[j + 1]);
                let ratio = self.ratios[at];
                excess[i] += ratio * excess[j];
                let weight = ratio * pivots[j];
                for (&row, &ratio) in self.rows[at + 1..end].iter().zip(&self.ratios[at + 1..end]) {
                    weights[row as usize] += weight * ratio;
                }
                position[j] = at + 1;
                if at + 1 < end {
                    next[j] = first[self.rows[at + 1] as usize].replace(at_work);
                }
            }
            let pivot = excess[i] + self.rows[own.clone()].iter().map(|&row| weights[row as usize]).sum::<f64>();
            pivots[i] = pivot;
            self.inverses[i] = 1.0 / pivot;
            for at in own.clone() {
                self.ratios[at] = std::mem::take(&mut weights[self.rows[at] as usize]) / pivot;
            }
            if let Some(&row) = self.rows[own].first() {
                next[i] = first[row as usize].replace(i as u32);
            }
        }
    }
}

/// Where the columns of the factor start, and their rows in order.
fn structure(lower: &Lower) -> Result<(Vec<usize>, Vec<u32>), Error> {
    let n = lower.len();
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
