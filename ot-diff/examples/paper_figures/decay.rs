//! How the loss between two samples of one law decays with their size.

use ot_core::Error;
use ot_cpu::CpuBackend;
use ot_solvers::Random;

use crate::{
    arguments::Arguments,
    loss::{POWER, cube, loss},
};

/// Dimensions of the cube.
pub const DIMENSIONS: [usize; 3] = [2, 3, 5];

/// The epsilons of the paper.
pub const EPSILONS: [f64; 3] = [0.01, 0.1, 1.0];

/// Mean losses over sizes, for one dimension and epsilon.
#[derive(Debug)]
pub struct Decay {
    pub dimension: usize,
    pub epsilon: f64,
    /// (N, mean loss).
    pub points: Vec<(f64, f64)>,
}

impl Decay {
    /// The slope of log loss over log N, by least squares.
    pub fn exponent(&self) -> f64 {
        let logs: Vec<(f64, f64)> =
            self.points.iter().map(|(n, loss)| (n.ln(), loss.max(f64::MIN_POSITIVE).ln())).collect();
        let count = logs.len() as f64;
        let (x, y) =
            (logs.iter().map(|(x, _)| x).sum::<f64>() / count, logs.iter().map(|(_, y)| y).sum::<f64>() / count);
        let covariance: f64 = logs.iter().map(|(n, loss)| (n - x) * (loss - y)).sum();
        covariance / logs.iter().map(|(n, _)| (n - x) * (n - x)).sum::<f64>()
    }
}

/// The exponent of transport without entropy between two samples of a uniform law, -p / d (Dudley 1969; in the plane up to a
/// logarithm: Ajtai, Komlos, Tusnady 1984).
pub fn of_transport(dimension: usize) -> f64 {
    -POWER / dimension as f64
}

/// The exponent of a squared discrepancy, which the loss becomes for large epsilon.
pub const OF_DISCREPANCY: f64 = -1.0;

/// Sizes spread evenly over their logarithms.
pub fn sizes(arguments: &Arguments) -> Vec<usize> {
    let (low, high) = (f64::from(arguments.smallest).ln(), f64::from(arguments.largest).ln());
    let at =
        |index: u16| (low + (high - low) * f64::from(index) / f64::from(arguments.sizes - 1)).exp().round() as usize;
    (0..arguments.sizes).map(at).collect()
}

/// The decay for all dimensions and epsilons: samples are shared by all epsilons of a dimension.
pub fn decays(backend: &CpuBackend<f64>, arguments: &Arguments) -> Result<Vec<Decay>, Error> {
    let mut decays = Vec::new();
    for dimension in DIMENSIONS {
        for epsilon in EPSILONS {
            let mut points = Vec::new();
            for size in sizes(arguments) {
                let mut total = 0.0;
                for repeat in 0..arguments.repeats {
                    let mut random = Random::new(arguments.seed, (1000 * dimension + size) as u32, repeat.into());
                    let (x, y) = (cube(&mut random, size, dimension)?, cube(&mut random, size, dimension)?);
                    total += loss(backend, &x, &y, epsilon)?.0;
                }
                points.push((size as f64, total / f64::from(arguments.repeats)));
            }
            decays.push(Decay { dimension, epsilon, points });
        }
    }
    Ok(decays)
}
