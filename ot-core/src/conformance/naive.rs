//! The formulas of the contract on a matrix of f64, without any backend.

use crate::{backend::Side, scalar::UNREACHABLE};

/// A cost matrix, row-major; infinite where a pair is forbidden.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Naive {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) costs: Vec<f64>,
    scale: f64,
    largest: f64,
}

impl Naive {
    pub(super) fn new(rows: usize, columns: usize, costs: Vec<f64>) -> Self {
        let sizes = || costs.iter().filter(|cost| cost.is_finite()).map(|cost| cost.abs());
        let (sum, largest) = (sizes().sum::<f64>(), sizes().fold(0.0, f64::max));
        let scale = if sum > 0.0 { sum / sizes().count() as f64 } else { 1.0 };
        Self { rows, columns, costs, scale, largest }
    }

    /// C_ij.
    pub(super) fn cost(&self, i: usize, j: usize) -> f64 {
        self.costs[i * self.columns + j]
    }

    /// Atoms of a side.
    pub(super) fn len(&self, side: Side) -> usize {
        match side {
            Side::Source => self.rows,
            Side::Target => self.columns,
        }
    }

    /// (i, j) of atom `own` of a side and atom `other` of the opposite one.
    pub(super) fn pair(side: Side, own: usize, other: usize) -> (usize, usize) {
        match side {
            Side::Source => (own, other),
            Side::Target => (other, own),
        }
    }

    /// All pairs that are not forbidden.
    pub(super) fn allowed(&self) -> impl Iterator<Item = (usize, usize, f64)> + '_ {
        let costs = self.costs.iter().enumerate().filter(|(_, cost)| cost.is_finite());
        costs.map(|(index, &cost)| (index / self.columns, index % self.columns, cost))
    }

    /// The mean of the costs that are not forbidden, in absolute value (1 if all are zero).
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// The largest |C_ij| that is finite.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }

    /// -epsilon log sum_j w_j exp((potential_j - C_ij) / epsilon) for the atoms i of a side.
    pub(super) fn softmin(&self, side: Side, potential: &[f64], weights: &[f64], epsilon: f64) -> Vec<f64> {
        let softmin = |i: usize| {
            let exponents = || {
                (0..potential.len()).filter(|&j| weights[j] > 0.0).filter_map(move |j| {
                    let (row, column) = Self::pair(side, i, j);
                    let cost = self.cost(row, column);
                    cost.is_finite().then(|| (potential[j] - cost) / epsilon + weights[j].ln())
                })
            };
            match exponents().reduce(f64::max) {
                None => UNREACHABLE,
                Some(top) => -epsilon * (top + exponents().map(|exponent| (exponent - top).exp()).sum::<f64>().ln()),
            }
        };
        (0..self.len(side)).map(softmin).collect()
    }

    /// min_j (C_ij - potential_j) over atoms with mass, for the atoms i of a side.
    pub(super) fn hard_min(&self, side: Side, potential: &[f64], weights: &[f64]) -> Vec<f64> {
        let minimum = |i: usize| {
            let values = (0..potential.len()).filter(|&j| weights[j] > 0.0).map(|j| {
                let (row, column) = Self::pair(side, i, j);
                self.cost(row, column) - potential[j]
            });
            values.fold(f64::INFINITY, f64::min).min(UNREACHABLE)
        };
        (0..self.len(side)).map(minimum).collect()
    }

    /// P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon), row-major.
    pub(super) fn plan(&self, [f, g]: [&[f64]; 2], [a, b]: [&[f64]; 2], epsilon: f64) -> Vec<f64> {
        let mut plan = vec![0.0; self.costs.len()];
        for (i, j, cost) in self.allowed() {
            plan[i * self.columns + j] = match a[i] * b[j] {
                0.0 => 0.0,
                weight => weight * ((f[i] + g[j] - cost) / epsilon).exp(),
            };
        }
        plan
    }

    /// Balanced potentials, annealed to epsilon and then iterated a few times: close to optimal, with
    /// the target marginal met exactly.
    pub(super) fn potentials(&self, [a, b]: [&[f64]; 2], epsilon: f64) -> [Vec<f64>; 2] {
        let mut g = vec![0.0; self.columns];
        let mut f = vec![0.0; self.rows];
        let mut stage = (4.0 * self.largest()).max(epsilon);
        loop {
            let last = stage <= epsilon;
            stage = stage.max(epsilon);
            for _ in 0..if last { 8 } else { 2 } {
                f = self.softmin(Side::Source, &g, b, stage);
                g = self.softmin(Side::Target, &f, a, stage);
            }
            if last {
                return [f, g];
            }
            stage /= 5.0;
        }
    }
}
