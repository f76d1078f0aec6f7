//! The model: a mixture of ellipsoids, and how gradients of points become gradients of it.

use ot_solvers::Random;

use crate::iris::DIMENSION;

/// Numbers of one ellipsoid: A_k, row by row, and w_k.
const NUMBERS: usize = DIMENSION * (DIMENSION + 1);

/// x = A_k z + w_k for points z of the unit ball that are drawn once.
#[derive(Clone, Debug)]
pub struct Ellipses {
    /// A_k and w_k, ellipsoid after ellipsoid.
    pub numbers: Vec<f64>,
    /// z, the same for every ellipsoid.
    ball: Vec<f64>,
}

impl Ellipses {
    /// Balls around the centres of clusters, with their mean deviation.
    pub fn around(points: &[f64], clusters: &[usize], count: usize, drawn: usize, seed: u64) -> Self {
        let mut numbers = Vec::with_capacity(count * NUMBERS);
        for cluster in 0..count {
            let own: Vec<&[f64]> = points
                .chunks_exact(DIMENSION)
                .zip(clusters)
                .filter(|(_, of)| **of == cluster)
                .map(|(point, _)| point)
                .collect();
            let size = own.len().max(1) as f64;
            let centre: Vec<f64> =
                (0..DIMENSION).map(|axis| own.iter().map(|point| point[axis]).sum::<f64>() / size).collect();
            let variance = own.iter().map(|point| crate::k_means::square(point, &centre)).sum::<f64>() / size;
            // A coordinate in the unit ball of three dimensions has variance 1/5.
            let radius = (5.0 * variance / DIMENSION as f64).sqrt();
            numbers.extend((0..DIMENSION * DIMENSION).map(|at| if at % (DIMENSION + 1) == 0 { radius } else { 0.0 }));
            numbers.extend(centre);
        }
        Self { numbers, ball: ball(drawn, seed) }
    }

    /// The points of all ellipsoids.
    pub fn points(&self) -> Vec<f64> {
        let image = |of: &[f64], z: &[f64]| -> Vec<f64> {
            let (matrix, centre) = of.split_at(DIMENSION * DIMENSION);
            let row =
                |axis: usize| matrix[axis * DIMENSION..][..DIMENSION].iter().zip(z).map(|(a, z)| a * z).sum::<f64>();
            (0..DIMENSION).map(|axis| row(axis) + centre[axis]).collect()
        };
        let of_ellipsoid = |of| self.ball.chunks_exact(DIMENSION).flat_map(move |z| image(of, z));
        self.numbers.chunks_exact(NUMBERS).flat_map(of_ellipsoid).collect()
    }

    /// The ellipsoid of each point.
    pub fn labels(&self) -> Vec<usize> {
        let drawn = self.ball.len() / DIMENSION;
        (0..self.numbers.len() / NUMBERS).flat_map(|index| vec![index; drawn]).collect()
    }

    /// The gradient in all numbers, from one in the points: dA_k = sum G z^T, dw_k = sum G.
    pub fn pull_back(&self, points: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; self.numbers.len()];
        for (own, points) in gradient.chunks_exact_mut(NUMBERS).zip(points.chunks_exact(self.ball.len())) {
            for (slope, z) in points.chunks_exact(DIMENSION).zip(self.ball.chunks_exact(DIMENSION)) {
                for (axis, slope) in slope.iter().enumerate() {
                    for (out, z) in own[axis * DIMENSION..][..DIMENSION].iter_mut().zip(z) {
                        *out += slope * z;
                    }
                    own[DIMENSION * DIMENSION + axis] += slope;
                }
            }
        }
        gradient
    }
}

/// Points uniform in the unit ball: of the cube around it, those within.
fn ball(count: usize, seed: u64) -> Vec<f64> {
    let (mut random, mut points) = (Random::new(seed, 0, 0), Vec::with_capacity(count * DIMENSION));
    while points.len() < count * DIMENSION {
        let point: [f64; DIMENSION] = std::array::from_fn(|_| 2.0 * random.uniform() - 1.0);
        if point.iter().map(|x| x * x).sum::<f64>() <= 1.0 {
            points.extend(point);
        }
    }
    points
}
