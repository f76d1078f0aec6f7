//! Nine families of problems, each scaled to a largest finite cost of one.

use super::super::problem::{Arrays, Cost};
use crate::seeded::Seeded;

/// A way to draw a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Two uniform clouds in the square, equal weights.
    UniformClouds,
    /// Two mixtures of clusters in the cube, random weights.
    Clusters,
    /// Uniform costs, random weights.
    RandomCosts,
    /// Uniform costs, equal weights.
    RandomCostsEqualWeights,
    /// Uniform clouds of which each point is there four times, equal weights.
    Duplicates,
    /// Distances in the square, random weights.
    Distances,
    /// Squared distances of which a third is forbidden, off the diagonal; equal marginals.
    Forbidden,
    /// Gaussians in 64 dimensions, random weights.
    HighDimension,
    /// Two smooth densities on the pixels of one square.
    Pixels,
}

impl Family {
    pub(super) const ALL: [Self; 9] = [
        Self::UniformClouds,
        Self::Clusters,
        Self::RandomCosts,
        Self::RandomCostsEqualWeights,
        Self::Duplicates,
        Self::Distances,
        Self::Forbidden,
        Self::HighDimension,
        Self::Pixels,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UniformClouds => "uniform clouds, d = 2, equal weights",
            Self::Clusters => "clusters, d = 3",
            Self::RandomCosts => "random costs",
            Self::RandomCostsEqualWeights => "random costs, equal weights",
            Self::Duplicates => "points four times, d = 2, equal weights",
            Self::Distances => "distances, d = 2",
            Self::Forbidden => "a third forbidden, d = 2",
            Self::HighDimension => "Gaussians, d = 64",
            Self::Pixels => "pixels, smooth",
        }
    }

    /// A problem of about n atoms a side.
    pub(super) fn draw(self, seed: u64, n: usize, epsilon: f64) -> Arrays {
        let mut random = Seeded::new(seed);
        let random = &mut random;
        let (cost, source, target) = match self {
            Self::UniformClouds => {
                let [x, y] = [0, 1].map(|_| random.draw(2 * n, Seeded::uniform));
                (squares(&x, &y, 2), equal(n), equal(n))
            }
            Self::Clusters => {
                let (x, y) = (clusters(random, n, 8, 0.05), clusters(random, n, 5, 0.1));
                (squares(&x, &y, 3), weights(random, n), weights(random, n))
            }
            Self::RandomCosts => (random.draw(n * n, Seeded::uniform), weights(random, n), weights(random, n)),
            Self::RandomCostsEqualWeights => (random.draw(n * n, Seeded::uniform), equal(n), equal(n)),
            Self::Duplicates => {
                let [x, y] = [0, 1].map(|_| {
                    let quarter = random.draw(2 * (n / 4), Seeded::uniform);
                    quarter.chunks_exact(2).flat_map(|point| point.repeat(4)).collect::<Vec<f64>>()
                });
                (squares(&x, &y, 2), equal(n / 4 * 4), equal(n / 4 * 4))
            }
            Self::Distances => {
                let [x, y] = [0, 1].map(|_| random.draw(2 * n, Seeded::uniform));
                let distances = squares(&x, &y, 2).into_iter().map(f64::sqrt).collect();
                (distances, weights(random, n), weights(random, n))
            }
            Self::Forbidden => {
                let [x, y] = [0, 1].map(|_| random.draw(2 * n, Seeded::uniform));
                let mut cost = squares(&x, &y, 2);
                for (index, cost) in cost.iter_mut().enumerate() {
                    if index / n != index % n && random.uniform() < 1.0 / 3.0 {
                        *cost = f64::INFINITY;
                    }
                }
                let both = weights(random, n);
                (cost, both.clone(), both)
            }
            Self::HighDimension => {
                let x = random.draw(64 * n, Seeded::normal);
                let y = random.draw(64 * n, |random| 0.3 + 1.2 * random.normal());
                (squares(&x, &y, 64), weights(random, n), weights(random, n))
            }
            Self::Pixels => {
                let side = (n as f64).sqrt() as usize;
                let pixels: Vec<f64> = (0..side * side)
                    .flat_map(|pixel| [pixel / side, pixel % side].map(|index| (index as f64 + 0.5) / side as f64))
                    .collect();
                let density = |blobs: &[([f64; 2], f64)]| {
                    let at = |point: &[f64]| -> f64 {
                        let blob = |(centre, width): &([f64; 2], f64)| {
                            let square = (point[0] - centre[0]).powi(2) + (point[1] - centre[1]).powi(2);
                            (-square / (2.0 * width * width)).exp()
                        };
                        1e-4 + blobs.iter().map(blob).sum::<f64>()
                    };
                    normalized(pixels.chunks_exact(2).map(at).collect())
                };
                let source = density(&[([0.3, 0.3], 0.12), ([0.7, 0.6], 0.08)]);
                (squares(&pixels, &pixels, 2), source, density(&[([0.6, 0.4], 0.15)]))
            }
        };
        let largest = cost.iter().copied().filter(|cost| cost.is_finite()).fold(0.0, f64::max);
        let cost = Cost::Matrix(cost.into_iter().map(|cost| cost / largest).collect());
        Arrays { source, target, columns: 1, cost, epsilon, rho: None }
    }
}

fn squares(x: &[f64], y: &[f64], dimension: usize) -> Vec<f64> {
    let between = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum() };
    x.chunks_exact(dimension).flat_map(|x| y.chunks_exact(dimension).map(move |y| between(x, y))).collect()
}

fn clusters(random: &mut Seeded, n: usize, centres: usize, width: f64) -> Vec<f64> {
    let centres = random.draw(3 * centres, Seeded::uniform);
    let mut points = Vec::with_capacity(3 * n);
    for _ in 0..n {
        let centre = 3 * ((random.uniform() * (centres.len() / 3) as f64) as usize);
        points.extend((0..3).map(|axis| centres[centre + axis] + width * random.normal()));
    }
    points
}

fn weights(random: &mut Seeded, n: usize) -> Vec<f64> {
    normalized(random.draw(n, |random| 0.05 - (1.0 - random.uniform()).ln()))
}

fn equal(n: usize) -> Vec<f64> {
    vec![1.0 / n as f64; n]
}

fn normalized(weights: Vec<f64>) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}
