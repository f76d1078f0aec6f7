//! The arrays that both sides are given.

use std::sync::Arc;

use ot_core::{Error, PointCloud, Scalar, Side};

use super::Failure;
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
    /// Strength of the Kullback-Leibler penalty of both marginals; none where they are prescribed.
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
    pub(super) fn unbalanced(mut self, rho: f64, target_mass: f64) -> Self {
        self.target.iter_mut().for_each(|weight| *weight *= target_mass);
        Self { rho: Some(rho), ..self }
    }

    /// One cloud against itself; a matrix tells nothing of costs within a side.
    pub(super) fn own(&self, side: Side) -> Result<Self, Failure> {
        let (points, dimension) = self.points(side)?;
        let cost = Cost::HalfSquares { x: points.to_vec(), y: points.to_vec(), dimension };
        let weights = self.weights(side);
        Ok(Self { source: weights.to_vec(), target: weights.to_vec(), cost, ..*self })
    }

    /// The weights of one side, column after column.
    pub(super) fn weights(&self, side: Side) -> &[f64] {
        side.of([&self.source, &self.target])
    }

    /// The points of one side, and how many coordinates each has.
    pub(super) fn points(&self, side: Side) -> Result<(&[f64], usize), Failure> {
        match &self.cost {
            Cost::HalfSquares { x, y, dimension } => Ok((side.of([x, y]), *dimension)),
            Cost::Matrix(_) => Err("points were expected".into()),
        }
    }

    /// One side as a cloud.
    pub(super) fn cloud(&self, side: Side) -> Result<PointCloud<'_, f64>, Failure> {
        let (points, dimension) = self.points(side)?;
        Ok(PointCloud::new(points, dimension, self.weights(side))?)
    }

    /// The matrix of costs, copied before the clock runs.
    pub(super) fn matrix(&self) -> Result<Arc<Vec<f64>>, Failure> {
        match &self.cost {
            Cost::Matrix(matrix) => Ok(Arc::new(matrix.clone())),
            Cost::HalfSquares { .. } => Err("a matrix was expected".into()),
        }
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

/// Points and weights of one side in an element type, made before the clock runs.
pub(super) struct Narrowed<T> {
    points: Vec<T>,
    dimension: usize,
    weights: Vec<T>,
}

impl<T: Scalar> Narrowed<T> {
    pub(super) fn new(arrays: &Arrays, side: Side) -> Result<Self, Failure> {
        let (points, dimension) = arrays.points(side)?;
        Ok(Self { points: narrow(points), dimension, weights: narrow(arrays.weights(side)) })
    }

    pub(super) fn cloud(&self) -> Result<PointCloud<'_, T>, Error> {
        PointCloud::new(self.points.as_slice(), self.dimension, self.weights.as_slice())
    }
}

/// Numbers in an element type.
pub(super) fn narrow<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

/// Positive random weights of mass one.
fn weights(random: &mut Seeded, len: usize) -> Vec<f64> {
    let mut weights = random.draw(len, |random| 0.05 + random.uniform());
    let mass: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= mass);
    weights
}
