//! Steps of the weights that lower the objective.

use ot_core::{Error, GeometryBuilder, Host, HostBackend, Scalar};

use super::{
    Cloud,
    inner::{Inner, Solves},
};

/// The search for better weights at given points.
pub(super) struct WeightSearch {
    /// The length of the next step, in units of one over the range of the slope.
    length: f64,
    rests: bool,
}

/// Halvings of a step before the weights are taken to rest.
const TRIALS: usize = 8;

impl WeightSearch {
    pub(super) fn new() -> Self {
        Self { length: 1.0, rests: false }
    }

    /// Did the last search find nothing better?
    pub(super) fn rests(&self) -> bool {
        self.rests
    }

    /// A step of the weights, and the transports after it. They are those before where no step lowers the objective.
    pub(super) fn step<T: Scalar, G: GeometryBuilder<Device = Host<T>> + HostBackend<T>>(
        &mut self,
        inner: &Inner<'_, T, G>,
        cloud: Cloud,
        solves: Solves<T>,
        tolerance: f64,
    ) -> Result<(Cloud, Solves<T>), Error> {
        if let [input] = inner.inputs {
            let nearest = nearest_masses(&cloud, input);
            self.rests = nearest == cloud.weights;
            let cloud = Cloud { weights: nearest, ..cloud };
            let solves = if self.rests { solves } else { inner.solve(&cloud, Some(&solves))? };
            return Ok((cloud, solves));
        }
        let mass: f64 = cloud.weights.iter().sum();
        let mean = cloud.weights.iter().zip(&solves.slope).map(|(b, f)| b * f).sum::<f64>() / mass;
        let size = |(weight, slope): (&f64, &f64)| if *weight > 0.0 { (slope - mean).abs() } else { 0.0 };
        let range = cloud.weights.iter().zip(&solves.slope).map(size).fold(0.0, f64::max);
        for _ in 0..TRIALS {
            if range.is_nan() || range == 0.0 {
                break;
            }
            let stepped = |(weight, slope): (&f64, &f64)| weight * (-self.length * (slope - mean) / range).exp();
            let mut weights: Vec<f64> = cloud.weights.iter().zip(&solves.slope).map(stepped).collect();
            let total: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight *= mass / total);
            let trial = Cloud { weights, ..cloud.clone() };
            let found = inner.solve(&trial, Some(&solves))?;
            if found.value < solves.value {
                self.rests = solves.value - found.value <= tolerance * tolerance * solves.value.abs();
                self.length = (2.0 * self.length).min(4.0);
                return Ok((trial, found));
            }
            self.length *= 0.5;
        }
        self.rests = true;
        Ok((cloud, solves))
    }
}

/// The mass of the input that is nearest to each atom, the first of those equally near: what k-means gives it.
fn nearest_masses<T: Scalar>(cloud: &Cloud, input: &ot_core::PointCloud<'_, T>) -> Vec<f64> {
    let mut masses = vec![0.0; cloud.weights.len()];
    for (i, weight) in input.weights_view().values().iter().enumerate() {
        let y = input.points().point(i);
        let (mut nearest, mut least) = (0, f64::INFINITY);
        for (j, x) in cloud.points.chunks_exact(cloud.dimension).enumerate() {
            let square: f64 = x.iter().zip(y).map(|(x, y)| (x - y.to_f64()).powi(2)).sum();
            if square < least {
                (nearest, least) = (j, square);
            }
        }
        masses[nearest] += weight.to_f64();
    }
    masses
}
