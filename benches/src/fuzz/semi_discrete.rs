//! Averaged stochastic gradients: a source of samples that are the atoms of a cloud, beside the semi-dual of that cloud and the
//! least cost.

use ot_core::{Error, PointCloud};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{AveragedSgd, PointSampler, Random, SemiDiscreteSolution};

use super::{
    generate::{below, decade, equal_masses, narrow, one_of, percent, rounded, typical_cost},
    instance::{Instance, Points},
    oracle::{sum::sum, transport::least_cost},
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let [n, m] = [1_usize << below(random, 3), 1 + below(random, 5)];
    // Both of mass one: a power of two of equal atoms, and 64ths.
    let numbers = equal_masses::<T>(random, &[m]).swap_remove(0);
    let total = sum(numbers.iter().copied());
    let mut target: Vec<f64> = numbers.iter().map(|number| (64.0 * number / total).floor() / 64.0).collect();
    target[0] += 1.0 - sum(target.iter().copied());
    let mut instance = Instance::between_points::<T>(random, [vec![1.0 / n as f64; n], target]);
    if percent(random, 5) {
        instance.weights[1].iter_mut().for_each(|weight| *weight *= 2.0);
    }
    let Some(Points { coordinates: [x, y], dimension, ground }) = instance.points.clone() else { return };
    let unit = typical_cost(&instance.costs);
    let epsilon = if percent(random, 40) { 0.0 } else { rounded::<T>(unit * decade(random, -2.0, 1.0)) };
    let tolerance = one_of(random, &[0.3, 0.05]);
    let settings = AveragedSgd::new(epsilon)
        .batch(one_of(random, &[1, 7, 64]))
        .tolerance(tolerance)
        .max_samples(one_of(random, &[64, 500]))
        .seed(below(random, 1000) as u64);
    instance.describe::<T>(report);
    report.given("epsilon", epsilon);
    report.given("settings", settings);

    let points = narrow::<T>(&x);
    let solve = |backend: &CpuBackend<T>| -> Result<SemiDiscreteSolution, Error> {
        let sampler = PointSampler::new(dimension, |random: &mut Random, point: &mut [T]| {
            let atom = (random.uniform() * n as f64) as usize;
            point.copy_from_slice(&points[atom * dimension..(atom + 1) * dimension]);
        });
        let target = PointCloud::new(narrow::<T>(&y), dimension, narrow::<T>(&instance.weights[1]))?;
        settings.solve(backend, &sampler, &target, ground.cost()?.as_ref())
    };
    let solution = match solve(&backends[0]) {
        Ok(solution) => solution,
        Err(error) => {
            let mass = sum(instance.weights[1].iter().copied());
            let allowed = match error {
                Error::Epsilon(_) => epsilon > 0.0,
                Error::MassMismatch { .. } => (mass - 1.0).abs() > 0.5,
                _ => instance.leaves_range::<T>() || instance.overflows_as_product(),
            };
            return report.refused(&error, allowed);
        }
    };
    report.status(solution.status());
    let estimate = solution.estimate();
    let (value, spread) = (estimate.semi_dual.value, estimate.semi_dual.standard_error);
    report.numbers("potential", solution.potential());
    report.numbers("estimates", &[value, spread, estimate.chi_squared.value, estimate.chi_squared.standard_error]);
    check::<T>(&instance, epsilon, &solution, report);
    for backend in &backends[1..] {
        let same = solve(backend).is_ok_and(|other| format!("{other:?}") == format!("{solution:?}"));
        report.require(same, || format!("other bits with {} threads", backend.threads()));
    }
}

/// The estimate is about the semi-dual at the potential, which is at most the optimum.
fn check<T: CpuScalar>(instance: &Instance, epsilon: f64, solution: &SemiDiscreteSolution, report: &mut Report) {
    let ([a, b], g) = (&instance.weights, solution.potential());
    let m = b.len();
    let transforms: Vec<f64> = instance.costs.chunks_exact(m).map(|row| softmin(row, g, b, epsilon)).collect();
    let exact = sum(a.iter().zip(&transforms).map(|(a, f)| a * f)) + sum(b.iter().zip(g).map(|(b, g)| b * g));
    let sizes = transforms.iter().chain(g).chain(&instance.costs);
    let size = sizes.filter(|size| size.is_finite()).fold(epsilon, |largest: f64, size| largest.max(size.abs()));
    let slack = 256.0 * T::EPSILON * size + instance.cost_error::<T>() + 1e-300;
    if !slack.is_finite() {
        return;
    }
    // The mean of samples is within eight of its errors, or of that of the population.
    let variance = sum(a.iter().zip(&transforms).map(|(a, f)| {
        let change = (f - (exact - sum(b.iter().zip(g).map(|(b, g)| b * g)))) / size;
        a * change * change
    }));
    let estimate = solution.estimate();
    let spread = size * (variance / estimate.samples as f64).sqrt();
    report.near("the semi-dual", estimate.semi_dual.value, exact, 8.0 * spread + slack);
    if epsilon == 0.0
        && let Some(optimum) = least_cost(a, b, &instance.costs)
    {
        report.at_most("the semi-dual, at most the least cost", exact - optimum.value, slack);
    }
}

/// -epsilon log sum_j b_j exp((g_j - C_j) / epsilon) over the atoms with weight, or the least C_j - g_j.
fn softmin(row: &[f64], g: &[f64], b: &[f64], epsilon: f64) -> f64 {
    let atoms = || row.iter().zip(g).zip(b).filter(|(_, b)| **b > 0.0).map(|((cost, g), b)| (cost - g, *b));
    let least = atoms().map(|(reduced, _)| reduced).fold(f64::INFINITY, f64::min);
    match epsilon {
        0.0 => least,
        epsilon => least - epsilon * sum(atoms().map(|(reduced, b)| b * ((least - reduced) / epsilon).exp())).ln(),
    }
}
