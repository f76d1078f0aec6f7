//! The cost of a coupling and its gradients, for squared distances without their table, and for a table.
//!
//! A component k couples the conditional distributions Q_ik / g_k and R_jk / g_k independently, at the mean cost c_k. So
//!
//! ```text
//! F = sum_k g_k c_k,    dF / dQ_ik = sum_j C_ij R_jk / g_k,    dF / dR_jk = sum_i C_ij Q_ik / g_k,    dF / dg_k = -c_k
//! ```
//!
//! and each is a mean of costs, however small g_k is. For squared distances they are those of means alpha, beta and variances of
//! the components on either side,
//!
//! ```text
//! c_k = |alpha_k - beta_k|^2 + var_k(x) + var_k(y),    dF / dQ_ik = |x_i - beta_k|^2 + var_k(y)
//! ```
//!
//! sums of squares, so that nothing cancels.

use super::coupling::{Coupling, Parallel, dot, reciprocal, sums_of_rows, write_rows};

/// A cost, asked at one coupling after the other.
pub(super) trait ComponentCosts {
    /// c, the mean costs of the components of a coupling.
    fn component_costs(&mut self, coupling: &Coupling, parallel: Parallel<'_>) -> Vec<f64>;

    /// The gradients in Q and R at the coupling whose components were last asked for.
    fn gradients(&self, coupling: &Coupling, parallel: Parallel<'_>, out: &mut [Vec<f64>; 2]);

    /// C_ij of all i for one j.
    fn column(&self, j: usize, out: &mut [f64]);

    /// Lowers to the squared distances of all targets to one of them; says whether there are any.
    fn lower_to_squares_from(&self, target: usize, nearest: &mut [f64]) -> bool {
        let _ = (target, nearest);
        false
    }
}

/// Squared distances between points.
pub(super) struct Squares<'a> {
    /// Coordinates of both sides, point after point.
    pub(super) points: [&'a [f64]; 2],
    pub(super) dimension: usize,
    /// a and b.
    pub(super) weights: [&'a [f64]; 2],
    /// alpha and beta, component after component.
    pub(super) means: [Vec<f64>; 2],
    pub(super) variances: [Vec<f64>; 2],
}

impl<'a> Squares<'a> {
    pub(super) fn new(points: [&'a [f64]; 2], dimension: usize, weights: [&'a [f64]; 2]) -> Self {
        Self { points, dimension, weights, means: Default::default(), variances: Default::default() }
    }

    fn point(&self, side: usize, atom: usize) -> &'a [f64] {
        &self.points[side][atom * self.dimension..][..self.dimension]
    }
}

fn square(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum()
}

impl ComponentCosts for Squares<'_> {
    fn component_costs(&mut self, coupling: &Coupling, parallel: Parallel<'_>) -> Vec<f64> {
        let (rank, d) = (coupling.rank(), self.dimension);
        let inverse: Vec<f64> = coupling.masses.iter().map(|mass| reciprocal(*mass)).collect();
        for side in 0..2 {
            let (shares, weights) = (&coupling.shares[side], self.weights[side]);
            let this = &*self;
            let mut means = sums_of_rows(parallel, shares, rank, rank * d, |atom, shares, sums| {
                for (share, sums) in shares.iter().zip(sums.chunks_exact_mut(d)) {
                    let mass = weights[atom] * share;
                    sums.iter_mut().zip(this.point(side, atom)).for_each(|(sum, x)| *sum += mass * x);
                }
            });
            for (mean, inverse) in means.chunks_exact_mut(d).zip(&inverse) {
                mean.iter_mut().for_each(|mean| *mean *= inverse);
            }
            let mut variances = sums_of_rows(parallel, shares, rank, rank, |atom, shares, sums| {
                let point = this.point(side, atom);
                for ((share, sum), mean) in shares.iter().zip(sums).zip(means.chunks_exact(d)) {
                    *sum += weights[atom] * share * square(point, mean);
                }
            });
            variances.iter_mut().zip(&inverse).for_each(|(variance, inverse)| *variance *= inverse);
            (self.means[side], self.variances[side]) = (means, variances);
        }
        let [alpha, beta] = &self.means;
        let variances = self.variances[0].iter().zip(&self.variances[1]);
        let means = alpha.chunks_exact(d).zip(beta.chunks_exact(d));
        means.zip(variances).map(|((alpha, beta), (x, y))| square(alpha, beta) + x + y).collect()
    }

    fn gradients(&self, coupling: &Coupling, parallel: Parallel<'_>, out: &mut [Vec<f64>; 2]) {
        for (side, out) in out.iter_mut().enumerate() {
            let (means, variances) = (&self.means[1 - side], &self.variances[1 - side]);
            write_rows(parallel, out, coupling.rank(), |atom, out| {
                let point = self.point(side, atom);
                for ((out, mean), variance) in out.iter_mut().zip(means.chunks_exact(self.dimension)).zip(variances) {
                    *out = square(point, mean) + variance;
                }
            });
        }
    }

    fn column(&self, j: usize, out: &mut [f64]) {
        let y = self.point(1, j);
        out.iter_mut().enumerate().for_each(|(i, out)| *out = square(self.point(0, i), y));
    }

    fn lower_to_squares_from(&self, target: usize, nearest: &mut [f64]) -> bool {
        let y = self.point(1, target);
        nearest.iter_mut().enumerate().for_each(|(j, nearest)| *nearest = nearest.min(square(self.point(1, j), y)));
        true
    }
}

/// Stored costs, row by row.
pub(super) struct Table<'a> {
    pub(super) costs: &'a [f64],
    /// a and b.
    pub(super) weights: [&'a [f64]; 2],
    /// C R diag(1/g).
    source: Vec<f64>,
}

impl<'a> Table<'a> {
    pub(super) fn new(costs: &'a [f64], weights: [&'a [f64]; 2]) -> Self {
        Self { costs, weights, source: Vec::new() }
    }
}

impl ComponentCosts for Table<'_> {
    fn component_costs(&mut self, coupling: &Coupling, parallel: Parallel<'_>) -> Vec<f64> {
        let (rank, [a, b]) = (coupling.rank(), self.weights);
        let inverse: Vec<f64> = coupling.masses.iter().map(|mass| reciprocal(*mass)).collect();
        let (costs, shares) = (self.costs, &coupling.shares[1]);
        self.source.resize(a.len() * rank, 0.0);
        write_rows(parallel, &mut self.source, rank, |i, out| {
            out.fill(0.0);
            for ((cost, b), shares) in costs[i * b.len()..].iter().zip(b).zip(shares.chunks_exact(rank)) {
                let cost = cost * b;
                out.iter_mut().zip(shares).for_each(|(out, share)| *out += cost * share);
            }
            out.iter_mut().zip(&inverse).for_each(|(out, inverse)| *out *= inverse);
        });
        let source = &self.source;
        let mut sums = sums_of_rows(parallel, &coupling.shares[0], rank, rank, |i, shares, sums| {
            let means = &source[i * rank..][..rank];
            for ((sum, share), mean) in sums.iter_mut().zip(shares).zip(means) {
                *sum += a[i] * share * mean;
            }
        });
        sums.iter_mut().zip(&inverse).for_each(|(sum, inverse)| *sum *= inverse);
        sums
    }

    fn gradients(&self, coupling: &Coupling, parallel: Parallel<'_>, out: &mut [Vec<f64>; 2]) {
        let (rank, [a, b], [source, target]) = (coupling.rank(), self.weights, out);
        let shares = &coupling.shares[0];
        source.copy_from_slice(&self.source);
        write_rows(parallel, target, rank, |j, out| {
            out.fill(0.0);
            for ((i, a), shares) in a.iter().enumerate().zip(shares.chunks_exact(rank)) {
                let cost = self.costs[i * b.len() + j] * a;
                out.iter_mut().zip(shares).for_each(|(out, share)| *out += cost * share);
            }
            out.iter_mut().zip(&coupling.masses).for_each(|(out, mass)| *out *= reciprocal(*mass));
        });
    }

    fn column(&self, j: usize, out: &mut [f64]) {
        out.iter_mut().zip(self.costs.chunks_exact(self.weights[1].len())).for_each(|(out, row)| *out = row[j]);
    }
}

/// F.
pub(super) fn value(coupling: &Coupling, component_costs: &[f64]) -> f64 {
    dot(&coupling.masses, component_costs)
}
