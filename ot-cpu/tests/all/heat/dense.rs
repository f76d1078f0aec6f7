//! The kernel as a table, by elimination in an arithmetic of twice the digits.

use std::ops::{Add, Div, Mul, Sub};

use ot_core::Graph;

/// An unevaluated sum of two numbers, about 32 digits (Dekker 1971).
#[derive(Clone, Copy, Debug)]
pub(super) struct Double(pub(super) f64, f64);

impl Double {
    pub(super) const ZERO: Self = Self(0.0, 0.0);

    fn renormalised(high: f64, low: f64) -> Self {
        let sum = high + low;
        Self(sum, low - (sum - high))
    }
}

impl From<f64> for Double {
    fn from(value: f64) -> Self {
        Self(value, 0.0)
    }
}

impl Add for Double {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        let part = sum - self.0;
        let rest = (self.0 - (sum - part)) + (other.0 - part);
        Self::renormalised(sum, rest + self.1 + other.1)
    }
}

impl Sub for Double {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + Self(-other.0, -other.1)
    }
}

impl Mul for Double {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let product = self.0 * other.0;
        let rest = self.0.mul_add(other.0, -product);
        Self::renormalised(product, rest + self.0 * other.1 + self.1 * other.0)
    }
}

impl Div for Double {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let first = Self::from(self.0 / other.0);
        let rest = self - first * other;
        let second = Self::from(rest.0 / other.0);
        let rest = rest - second * other;
        first + second + Self::from(rest.0 / other.0)
    }
}

/// The columns of K of some vertices: [(M + (t / k) L)^-1 M]^k M^-1, by elimination within a band of the given order.
pub(super) fn columns(graph: &Graph, time: f64, steps: usize, vertices: &[usize]) -> Vec<Vec<Double>> {
    let n = graph.len();
    let rate = Double::from(time) / Double::from(steps as f64);
    let band = graph.edges().iter().map(|([i, j], _)| i.abs_diff(*j) as usize).max().unwrap_or(0);
    let mut matrix = vec![vec![Double::ZERO; band + 1]; n];
    let masses: Vec<Double> = graph.masses().iter().map(|mass| Double::from(*mass)).collect();
    matrix.iter_mut().zip(&masses).for_each(|(row, mass)| row[0] = *mass);
    for &([i, j], weight) in graph.edges().iter().filter(|([i, j], _)| i != j) {
        let (i, j) = (i.min(j) as usize, i.max(j) as usize);
        let weight = rate * Double::from(weight);
        matrix[i][0] = matrix[i][0] + weight;
        matrix[j][0] = matrix[j][0] + weight;
        matrix[i][j - i] = matrix[i][j - i] - weight;
    }
    // L D L^T: row i of `matrix` holds d_i and l_ji d_i.
    for i in 0..n {
        for j in i + 1..n.min(i + band + 1) {
            let ratio = matrix[i][j - i] / matrix[i][0];
            for k in j..n.min(i + band + 1) {
                matrix[j][k - j] = matrix[j][k - j] - ratio * matrix[i][k - i];
            }
        }
    }
    let solve = |x: &mut Vec<Double>| {
        for i in 0..n {
            for j in i + 1..n.min(i + band + 1) {
                x[j] = x[j] - matrix[i][j - i] / matrix[i][0] * x[i];
            }
        }
        for i in (0..n).rev() {
            let mut sum = x[i];
            for j in i + 1..n.min(i + band + 1) {
                sum = sum - matrix[i][j - i] * x[j];
            }
            x[i] = sum / matrix[i][0];
        }
    };
    let column = |&vertex: &usize| {
        let mut x = vec![Double::ZERO; n];
        x[vertex] = Double::from(1.0);
        for step in 0..steps {
            if step > 0 {
                x.iter_mut().zip(&masses).for_each(|(x, mass)| *x = *x * *mass);
            }
            solve(&mut x);
        }
        x
    };
    vertices.iter().map(column).collect()
}

/// Derivatives of -log K in the weights of edges, edge by edge, row-major: differences in twice the digits. Pairs that
/// exchange nothing have none.
pub(super) fn edge_slopes(graph: &Graph, carriers: usize, time: f64, steps: usize) -> Vec<Vec<f64>> {
    let all: Vec<usize> = (0..carriers).collect();
    let with_weight = |edge: usize, weight: f64| {
        let mut edges = graph.edges().to_vec();
        edges[edge].1 = weight;
        let moved = Graph::new(graph.len(), edges).unwrap().with_masses(graph.masses().to_vec()).unwrap();
        columns(&moved, time, steps, &all)
    };
    let base = columns(graph, time, steps, &all);
    let slopes_of = |edge: usize| {
        let weight = graph.edges()[edge].1;
        // A step that adds to the weight without rounding.
        let step = 2_f64.powi(-30) * weight.max(1e-3).log2().floor().exp2();
        let (one, two) = (with_weight(edge, weight + step), with_weight(edge, weight + 2.0 * step));
        let slope = |i: usize, j: usize| {
            let entry = base[i][j];
            // Of second order, for a weight may be zero and none is negative.
            let change = Double::from(4.0) * one[i][j] - Double::from(3.0) * entry - two[i][j];
            if entry.0 > 0.0 { -(change / Double::from(2.0 * step) / entry).0 } else { 0.0 }
        };
        (0..carriers * carriers).map(|pair| slope(pair / carriers, pair % carriers)).collect()
    };
    (0..graph.edges().len()).map(slopes_of).collect()
}
