//! Estimates from samples held out have no bias and know their error.

use ot_core::{Epsilon, GeometryBuilder, Measure, PointCloud, Problem, Side, SqEuclidean};
use ot_solvers::{AveragedSgd, Sinkhorn};

use super::support::{atoms_of, cloud};
use crate::support::cpu;

const EPSILON: f64 = 0.1;

/// F and chi^2 of a potential against all atoms of a source, entry by entry.
fn exact(source: &PointCloud<'_, f64>, target: &PointCloud<'_, f64>, g: &[f64]) -> [f64; 2] {
    let (x, y) = (source.points().coordinates(), target.points().coordinates());
    let (a, b) = (source.weights_view(), target.weights_view());
    let mut value: f64 = b.values().iter().zip(g).map(|(b, g)| b * g).sum();
    let mut marginal = vec![0.0; g.len()];
    for (x, a) in x.iter().zip(a.values()) {
        let entry = |j: usize| b.values()[j] * ((g[j] - (x - y[j]).powi(2)) / EPSILON).exp();
        let sum: f64 = (0..g.len()).map(entry).sum();
        value -= a * EPSILON * sum.ln();
        marginal.iter_mut().enumerate().for_each(|(j, mass)| *mass += a * entry(j) / sum);
    }
    [value, marginal.iter().zip(b.values()).map(|(p, b)| (p - b).powi(2) / b).sum()]
}

#[test]
fn intervals_cover_and_means_hit() {
    const DRAWS: usize = 300;
    let backend = cpu(1);
    let (source, target) = (cloud(11, 30, 1), cloud(12, 8, 1));
    let g: Vec<f64> = (0..8).map(|j| 0.05 * f64::from(j % 3)).collect();
    let truth = exact(&source, &target, &g);
    let (mut covered, mut sums) = ([0; 2], [0.0; 2]);
    for seed in 0..DRAWS {
        let solver = AveragedSgd::new(EPSILON).batch(16).seed(seed as u64);
        let sampler = atoms_of(&source);
        let estimate = solver.estimate(&backend, &sampler, &target, &SqEuclidean, &g, 512).unwrap();
        assert_eq!(estimate.samples, 512);
        for (k, found) in [estimate.semi_dual, estimate.chi_squared].into_iter().enumerate() {
            let deviations = (found.value - truth[k]) / found.standard_error;
            covered[k] += usize::from(deviations.abs() < 2.0);
            sums[k] += deviations / (DRAWS as f64).sqrt();
        }
    }
    // About 95 of a hundred within two standard errors, and not all; fewer for a divergence, whose distribution is skewed. The sum of
    // deviations is a standard normal number, near enough.
    assert!((270..=298).contains(&covered[0]) && (255..=298).contains(&covered[1]), "{covered:?}");
    assert!(sums[0].abs() < 4.0, "{sums:?}");
}

/// Where the marginal is right, an estimate of its error is zero on average, and no sum of squares.
#[test]
fn no_error_is_seen_where_there_is_none() {
    const DRAWS: usize = 100;
    let backend = cpu(1);
    let (source, target) = (cloud(21, 30, 1), cloud(22, 8, 1));
    let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &source, &target, Epsilon::Absolute(EPSILON)).unwrap();
    let g = Sinkhorn::new().tolerance(1e-12).solve(&problem).unwrap().potential(Side::Target).unwrap();
    let draw = |seed: usize| {
        let solver = AveragedSgd::new(EPSILON).batch(16).seed(seed as u64);
        let sampler = atoms_of(&source);
        solver.estimate(&backend, &sampler, &target, &SqEuclidean, &g, 512).unwrap().chi_squared.value
    };
    let values: Vec<f64> = (0..DRAWS).map(draw).collect();
    let mean = values.iter().sum::<f64>() / DRAWS as f64;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (DRAWS - 1) as f64).sqrt();
    assert!(mean.abs() < 4.0 * deviation / (DRAWS as f64).sqrt(), "{mean} {deviation}");
    assert!(values.iter().any(|value| *value < 0.0) && deviation < 0.01);
}
