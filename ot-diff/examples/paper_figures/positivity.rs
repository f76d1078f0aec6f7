//! Is the loss positive? No theorem says so of the transport cost of the entropic plan; the figure tells what random measures say.

use ot_core::{Error, PointCloud};
use ot_cpu::CpuBackend;
use ot_solvers::Random;

use crate::{arguments::Arguments, loss::loss};

/// Epsilons, evenly over their logarithms from 1e-3 to 1e2.
const EPSILONS: i32 = 16;

/// Atoms of a measure, and the dimension that they are in.
const ATOMS: usize = 12;
const DIMENSION: usize = 2;

/// The losses between random pairs at one epsilon, relative to 2 W(x, y), in ascending order.
#[derive(Debug)]
pub struct Signs {
    pub epsilon: f64,
    pub relative: Vec<f64>,
}

impl Signs {
    /// How many losses are negative beyond the accuracy of their solves.
    pub fn negative(&self) -> usize {
        self.relative.iter().filter(|&&value| value < -1e-6).count()
    }

    /// The value that a share of all lies below.
    pub fn quantile(&self, share: f64) -> f64 {
        self.relative[(share * (self.relative.len() - 1) as f64).round() as usize]
    }
}

/// Pairs of measures on the same random points with random weights, the second between the first and another: near ones, where
/// a loss may turn negative, among them.
pub fn signs(backend: &CpuBackend<f64>, arguments: &Arguments) -> Result<Vec<Signs>, Error> {
    let at = |index: i32| 10_f64.powf(-3.0 + 5.0 * f64::from(index) / f64::from(EPSILONS - 1));
    (0..EPSILONS)
        .map(|index| {
            let epsilon = at(index);
            let mut relative = Vec::new();
            for pair in 0..arguments.pairs {
                let mut random = Random::new(arguments.seed, 1, pair.into());
                let points: Vec<f64> = (0..ATOMS * DIMENSION).map(|_| random.uniform()).collect();
                let share = random.uniform();
                let mut weights = || (0..ATOMS).map(|_| -(1.0 - random.uniform()).ln()).collect::<Vec<_>>();
                let (one, other) = (weights(), weights());
                let mixed: Vec<f64> = one.iter().zip(&other).map(|(one, other)| one + share * (other - one)).collect();
                let cloud = |weights| PointCloud::new(points.clone(), DIMENSION, weights).map(PointCloud::normalized);
                let (value, own) = loss(backend, &cloud(one)?, &cloud(mixed)?, epsilon)?;
                relative.push(value / (value + own));
            }
            relative.sort_by(f64::total_cmp);
            Ok(Signs { epsilon, relative })
        })
        .collect()
}
