//! The arrays that both sides are given.

use ot_core::Side;

use crate::seeded::Seeded;

/// A problem, or a batch of them on one cost, as arrays on the host.
///
/// Numbers that one of the sides will hold in single precision are representable there, so that all solve the same.
#[derive(Clone, Debug)]
pub(super) struct Arrays {
    /// Weights a, of mass one.
    pub(super) source: Vec<f64>,
    /// Weights b, of mass one in each column, column after column.
    pub(super) target: Vec<f64>,
    /// Problems in the batch.
    pub(super) columns: usize,
    pub(super) cost: Cost,
    pub(super) epsilon: f64,
    /// Strength of the Kullback-Leibler law of both marginals; none where they are prescribed.
    pub(super) rho: Option<f64>,
}

/// The cost of a problem.
#[derive(Clone, Debug)]
pub(super) enum Cost {
    /// All entries, row after row.
    Matrix(Vec<f64>),
    /// |x - y|^2 / 2 between points, point after point.
    HalfSquares { x: Vec<f64>, y: Vec<f64>, dimension: usize },
}

impl Arrays {
    /// Two Gaussian clouds in the plane, one shifted by one along both axes, with random weights and squared
    /// distances scaled to a largest of one, stored.
    pub(super) fn gaussian_matrix(seed: u64, n: usize, m: usize, columns: usize, epsilon: f64) -> Self {
        let mut random = Seeded::new(seed);
        let x = random.draw(2 * n, Seeded::normal);
        let y = random.draw(2 * m, |random| random.normal() + 1.0);
        let mut cost = Vec::with_capacity(n * m);
        for x in x.chunks_exact(2) {
            cost.extend(y.chunks_exact(2).map(|y| (x[0] - y[0]).powi(2) + (x[1] - y[1]).powi(2)));
        }
        let largest = cost.iter().copied().fold(0.0, f64::max);
        cost.iter_mut().for_each(|cost| *cost /= largest);
        let source = weights(&mut random, n);
        let target = (0..columns).flat_map(|_| weights(&mut random, m)).collect();
        Self { source, target, columns, cost: Cost::Matrix(cost), epsilon, rho: None }
    }

    /// Points drawn from the unit cube, and from a Gaussian of deviation 0.15 around its centre, with random weights,
    /// all in single precision; epsilon is the square of the blur.
    pub(super) fn cube_and_blob(seed: u64, n: usize, m: usize, dimension: usize, blur: f64) -> Self {
        let mut random = Seeded::new(seed);
        let single =
            |values: Vec<f64>| -> Vec<f64> { values.into_iter().map(|value| f64::from(value as f32)).collect() };
        let x = single(random.draw(n * dimension, Seeded::uniform));
        let y = single(random.draw(m * dimension, |random| 0.5 + 0.15 * random.normal()));
        let source = single(weights(&mut random, n));
        let target = single(weights(&mut random, m));
        let cost = Cost::HalfSquares { x, y, dimension };
        Self { source, target, columns: 1, cost, epsilon: blur * blur, rho: None }
    }

    /// The same with marginals that are penalised at strength rho, and a target of another mass.
    pub(super) fn relaxed(mut self, rho: f64, target_mass: f64) -> Self {
        self.target.iter_mut().for_each(|weight| *weight *= target_mass);
        Self { rho: Some(rho), ..self }
    }

    /// One cloud against itself; none for a matrix, which tells nothing of costs within a side.
    pub(super) fn own(&self, side: Side) -> Option<Self> {
        let Cost::HalfSquares { x, y, dimension } = &self.cost else { return None };
        let (weights, points) = match side {
            Side::Source => (&self.source, x),
            Side::Target => (&self.target, y),
        };
        let cost = Cost::HalfSquares { x: points.clone(), y: points.clone(), dimension: *dimension };
        Some(Self { source: weights.clone(), target: weights.clone(), cost, ..*self })
    }

    /// Source and target atoms.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.source.len(), self.target.len() / self.columns)
    }

    /// Coordinates of a point; 2 where only their costs are kept.
    pub(super) fn dimension(&self) -> usize {
        match self.cost {
            Cost::Matrix(_) => 2,
            Cost::HalfSquares { dimension, .. } => dimension,
        }
    }

    /// The costs of row i.
    pub(super) fn cost_row(&self, i: usize, out: &mut [f64]) {
        match &self.cost {
            Cost::Matrix(cost) => out.copy_from_slice(&cost[i * out.len()..][..out.len()]),
            Cost::HalfSquares { x, y, dimension } => {
                let x = &x[i * dimension..][..*dimension];
                for (out, y) in out.iter_mut().zip(y.chunks_exact(*dimension)) {
                    *out = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / 2.0;
                }
            }
        }
    }
}

/// Positive random weights of mass one.
fn weights(random: &mut Seeded, len: usize) -> Vec<f64> {
    let mut weights = random.draw(len, |random| 0.05 + random.uniform());
    let mass: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= mass);
    weights
}
