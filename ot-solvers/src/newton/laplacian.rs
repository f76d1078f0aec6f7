//! Newton's matrix: the Laplacian of the plan's bipartite graph, its rows eliminated.
//!
//! With the plan P, its row sums r and column sums c, and the slopes t, u of the c-transforms in their softmins (1 for a
//! prescribed marginal),
//!
//! ```text
//! (L x)_j = sum_i P_ij (x_j - y_i) + c_j (1 / u_j - 1 + lambda) x_j        y_i = t_i sum_k P_ik x_k / r_i
//! ```
//!
//! Written in differences, all sums are of terms that do not cancel, so that couplings of 1e-20 between clusters keep their
//! digits. What was left out of P enters as e_r e_c^T / |e|, where e_r and e_c are what rows and columns lack: row sums, and so
//! the constants in the kernel of L, stay exact.

use std::ops::Range;

/// What the arcs do not tell.
#[derive(Debug)]
pub(super) struct Curvature {
    /// r.
    pub(super) row_sums: Vec<f64>,
    /// c.
    pub(super) column_sums: Vec<f64>,
    /// t and u.
    pub(super) slopes: [Vec<f64>; 2],
    /// What the Levenberg term multiplies besides c.
    pub(super) held: Vec<f64>,
    /// Does L have constants in its kernel?
    pub(super) has_gauge: bool,
}

/// Entries row by row, in memory that can be used again.
#[derive(Debug, Default)]
pub(super) struct Entries {
    rows: Vec<usize>,
    /// Places behind the last row mean nothing.
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl Entries {
    pub(super) fn new(rows: Vec<usize>, columns: Vec<u32>, values: Vec<f64>) -> Self {
        Self { rows, columns, values }
    }

    /// No rows, and room for so many rows and entries.
    pub(super) fn clear(&mut self, rows: usize, entries: usize) {
        self.rows.clear();
        self.rows.reserve(rows + 1);
        self.rows.push(0);
        self.columns.resize(entries, 0);
        self.values.resize(entries, 0.0);
    }

    /// Adds a row of those of its entries that are kept.
    pub(super) fn push_row<'a>(
        &mut self,
        row: impl Iterator<Item = (&'a u32, &'a f64)>,
        is_kept: impl Fn(usize, f64) -> bool,
    ) {
        let mut len = self.len();
        for (&column, &value) in row {
            // Without a branch: the next entry overwrites one that is not kept.
            (self.columns[len], self.values[len]) = (column, value);
            len += usize::from(is_kept(column as usize, value));
        }
        self.rows.push(len);
    }

    fn len(&self) -> usize {
        self.rows.last().copied().unwrap_or(0)
    }

    fn row(&self, i: usize) -> Range<usize> {
        self.rows[i]..self.rows[i + 1]
    }
}

/// The matrix L of a sparse plan.
#[derive(Debug)]
pub(super) struct PlanLaplacian {
    entries: Entries,
    curvature: Curvature,
    /// What rows and columns lack.
    lacking: [Vec<f64>; 2],
    /// What rows are divided by: their sums, as the arcs and what they lack make them.
    row_sums: Vec<f64>,
}

impl PlanLaplacian {
    pub(super) fn new(entries: Entries, curvature: Curvature) -> Self {
        let [mut of_rows, mut of_columns] = [curvature.row_sums.clone(), curvature.column_sums.clone()];
        let mut row_sums = Vec::with_capacity(of_rows.len());
        for (i, lacking) in of_rows.iter_mut().enumerate() {
            let row = entries.row(i);
            let mut sum = 0.0;
            for (&j, entry) in entries.columns[row.clone()].iter().zip(&entries.values[row]) {
                sum += entry;
                of_columns[j as usize] -= entry;
            }
            *lacking = (*lacking - sum).max(0.0);
            row_sums.push((sum + *lacking).max(f64::MIN_POSITIVE));
        }
        of_columns.iter_mut().for_each(|lacking| *lacking = lacking.max(0.0));
        Self { entries, curvature, lacking: [of_rows, of_columns], row_sums }
    }

    /// Of entries that leave nothing out.
    pub(super) fn complete(entries: Entries, curvature: Curvature) -> Self {
        let lacking = [&curvature.row_sums, &curvature.column_sums].map(|sums| vec![0.0; sums.len()]);
        let row_sums = curvature.row_sums.iter().map(|sum| sum.max(f64::MIN_POSITIVE)).collect();
        Self { entries, curvature, lacking, row_sums }
    }

    /// The memory of the entries.
    pub(super) fn into_entries(self) -> Entries {
        self.entries
    }

    /// Number of rows, and of columns: the order of L.
    pub(super) fn shape(&self) -> [usize; 2] {
        [self.curvature.row_sums.len(), self.curvature.column_sums.len()]
    }

    /// Arcs for each row, in the mean.
    pub(super) fn density(&self) -> f64 {
        self.entries.len() as f64 / self.curvature.row_sums.len().max(1) as f64
    }

    pub(super) fn has_gauge(&self) -> bool {
        self.curvature.has_gauge
    }

    /// c.
    pub(super) fn column_sums(&self) -> &[f64] {
        &self.curvature.column_sums
    }

    /// u.
    pub(super) fn column_slopes(&self) -> &[f64] {
        &self.curvature.slopes[1]
    }

    /// The column and the entry of each arc of a row.
    fn arcs(&self, i: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let row = self.entries.row(i);
        let columns = self.entries.columns[row.clone()].iter().map(|&j| j as usize);
        columns.zip(self.entries.values[row].iter().copied())
    }

    /// The diagonal that does not come from differences, c_j (1 / u_j - 1 + lambda).
    pub(super) fn ground(&self, lambda: f64) -> Vec<f64> {
        let Curvature { column_sums, slopes: [_, of_columns], held, .. } = &self.curvature;
        let of_columns = column_sums.iter().zip(of_columns).zip(held);
        of_columns.map(|((sum, slope), held)| sum * (1.0 / slope - 1.0 + lambda) + lambda * held).collect()
    }

    /// out = L x, for a [diagonal](Self::ground) that does not come from differences.
    pub(super) fn apply(&self, ground: &[f64], x: &[f64], out: &mut [f64]) {
        let [of_rows, of_columns] = &self.lacking;
        let total = of_columns.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mean = dot(of_columns, x) / total;
        for (out, (ground, x)) in out.iter_mut().zip(ground.iter().zip(x)) {
            *out = ground * x;
        }
        let mut lacking = 0.0;
        for (i, (of_row, slope)) in of_rows.iter().zip(&self.curvature.slopes[0]).enumerate() {
            let pushed: f64 = self.arcs(i).map(|(j, entry)| entry * x[j]).sum();
            let y = slope * (pushed + of_row * mean) / self.row_sums[i];
            lacking += of_row * y;
            for (j, entry) in self.arcs(i) {
                out[j] += entry * (x[j] - y);
            }
        }
        let mean = lacking / of_rows.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        for (j, out) in out.iter_mut().enumerate() {
            *out += of_columns[j] * (x[j] - mean);
        }
    }

    /// y_i = t_i sum_k P_ik x_k / r_i, by which row potentials fall where nothing is lacking.
    pub(super) fn means(&self, x: &[f64]) -> Vec<f64> {
        let mean = |i: usize| {
            let pushed: f64 = self.arcs(i).map(|(j, entry)| entry * x[j]).sum();
            self.curvature.slopes[0][i] * pushed / self.row_sums[i]
        };
        (0..self.row_sums.len()).map(mean).collect()
    }

    /// The diagonal of L, without the rank-one part.
    pub(super) fn diagonal(&self, lambda: f64) -> Vec<f64> {
        let mut diagonal = self.ground(lambda);
        diagonal.iter_mut().zip(&self.lacking[1]).for_each(|(diagonal, lacking)| *diagonal += lacking);
        for i in 0..self.curvature.row_sums.len() {
            let (sum, slope) = (self.row_sums[i], self.curvature.slopes[0][i]);
            for (j, entry) in self.arcs(i) {
                diagonal[j] += entry * (1.0 - slope * entry / sum).max(0.0);
            }
        }
        diagonal
    }

    /// The graph whose elimination gives a preconditioner: rows first, then columns; edges of the arcs, and ties to the
    /// ground.
    pub(super) fn graph(&self, lambda: f64) -> (Vec<(u32, u32, f64)>, Vec<f64>) {
        let [n, _] = self.shape();
        let mut edges = Vec::with_capacity(self.entries.len());
        let mut ground = Vec::with_capacity(n + self.curvature.column_sums.len());
        for i in 0..n {
            edges.extend(self.arcs(i).map(|(j, entry)| (i as u32, (n + j) as u32, entry)));
            ground.push(self.lacking[0][i] + self.row_sums[i] * (1.0 / self.curvature.slopes[0][i] - 1.0));
        }
        // A tie of a rounding unit keeps every component from floating.
        let tie = |(ground, sum): (f64, &f64)| ground + f64::EPSILON * sum;
        let of_columns = self.ground(lambda).into_iter().zip(&self.curvature.column_sums).map(tie);
        ground.extend(of_columns.zip(&self.lacking[1]).map(|(ground, lacking)| ground + lacking));
        (edges, ground)
    }
}

/// sum_j x_j y_j.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}
