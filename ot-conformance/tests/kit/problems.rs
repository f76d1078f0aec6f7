//! The named problems, solved by plain sweeps of the reference kernel, have the values they claim.

use ot_conformance::{
    ReferenceBackend,
    problems::{Bures, Diracs, Gaussians, Quantiles, TranslatedCloud, UnbalancedGaussians},
};
use ot_core::{
    ActiveColumns, Backend, Balanced, Epsilon, Error, GeometryBuilder, Host, Kl, MarginalPenalty, Measure, Potentials,
    Problem, Side, SqEuclidean, Support, Sweep,
};

/// What sweeps converge to.
struct Solved {
    source: Vec<f64>,
    target: Vec<f64>,
    transport_cost: f64,
    /// P 1.
    marginal: Vec<f64>,
    /// P y.
    moments: Vec<f64>,
    value: f64,
}

fn solve(
    source: &dyn Measure<f64>,
    target: &dyn Measure<f64>,
    epsilon: f64,
    penalty: &impl MarginalPenalty,
    iterations: usize,
) -> Result<Solved, Error> {
    let backend = ReferenceBackend::<f64>::default();
    let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean)?;
    let problem = Problem::unbalanced(geometry, source, target, Epsilon::Absolute(epsilon), penalty, penalty)?;
    let (n, m) = (problem.marginal(Side::Source).len(), problem.marginal(Side::Target).len());
    let fresh = || -> Result<Potentials<Host<f64>>, Error> {
        Ok(Potentials { source: backend.alloc(n, 1)?, target: backend.alloc(m, 1)?, epsilon })
    };
    let (mut potentials, mut scratch, relaxation) = (fresh()?, fresh()?, backend.upload_reduced(&[1.0])?);
    let (mut kernel, active) = (problem.bind()?, ActiveColumns::all(1));
    for _ in 0..iterations {
        let sweep = Sweep {
            source: problem.marginal(Side::Source),
            target: problem.marginal(Side::Target),
            potentials: &mut potentials,
            relaxation: &relaxation,
            active: &active,
            scratch: &mut scratch,
            by_products: None,
        };
        kernel.sweep(&backend, sweep)?;
    }

    let plan = problem.view(&potentials);
    let mut cost = backend.alloc_reduced(1)?;
    kernel.transport_cost().ok_or(Error::MissingCapability("cost"))?.plan_cost(plan, &mut cost)?;
    let positions: Vec<f64> = match target.support() {
        Support::Points(points) => points.iter().map(|point| point[0]).collect(),
        _ => vec![0.0; m],
    };
    let (channels, mut out) = (backend.upload(&[vec![1.0; m], positions].concat(), 2)?, backend.alloc(n, 2)?);
    kernel.apply(Side::Source, plan, &channels, &mut out)?;
    let sums = backend.download(&[&out])?.swap_remove(0);
    let both = backend.download(&[&potentials.source, &potentials.target])?;

    // The dual value.
    let (a, b) = (source.weights().ok_or(Error::EmptyMeasure)?, target.weights().ok_or(Error::EmptyMeasure)?);
    let dual = |weights: &[f64], potential: &[f64]| -> f64 {
        weights.iter().zip(potential).map(|(weight, f)| -weight * penalty.conjugate(-f)).sum()
    };
    let mass: f64 = sums[..n].iter().sum();
    let value = dual(a.values(), &both[0]) + dual(b.values(), &both[1]) - epsilon * (mass - a.mass(0) * b.mass(0));
    Ok(Solved {
        source: both[0].clone(),
        target: both[1].clone(),
        transport_cost: backend.read(&[&cost])?[0][0],
        marginal: sums[..n].to_vec(),
        moments: sums[n..].to_vec(),
        value,
    })
}

fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "found {found}, expected {expected}");
}

#[test]
fn two_diracs() -> Result<(), Error> {
    let problem = Diracs { masses: [0.7, 1.9], distance: 0.8, strengths: [0.6, 0.6], epsilon: 0.3 };
    let penalty = Kl::new(0.6)?;
    let solved = solve(&problem.source::<f64>()?, &problem.target::<f64>()?, problem.epsilon, &penalty, 200)?;
    let [f, g] = problem.potentials();
    near(solved.source[0], f, 1e-14);
    near(solved.target[0], g, 1e-14);
    near(solved.marginal[0], problem.mass(), 1e-14);
    near(solved.value, problem.value(), 1e-14);

    let problem = Diracs { masses: [1.0, 1.0], ..problem };
    let solved = solve(&problem.source::<f64>()?, &problem.target::<f64>()?, problem.epsilon, &Balanced, 3)?;
    near(solved.value, problem.balanced_value(), 1e-15);
    near(solved.transport_cost, problem.cost(), 1e-15);
    Ok(())
}

#[test]
fn gaussians() -> Result<(), Error> {
    for epsilon in [0.3, 2.0] {
        let problem = Gaussians { means: [0.3, -0.5], deviations: [0.6, 1.1], epsilon };
        let (source, target) = (problem.source::<f64>(161)?, problem.target::<f64>(161)?);
        let solved = solve(&source, &target, epsilon, &Balanced, 150)?;
        near(solved.transport_cost, problem.transport_cost(), 1e-11);
        near(solved.value, problem.value(), 1e-11);
        for (index, x) in source.points().iter().enumerate().filter(|(_, x)| x[0].abs() < 2.0) {
            near(solved.moments[index] / solved.marginal[index], problem.map(x[0]), 1e-9);
        }

        // Janati, Muzellec, Peyre, Cuturi 2020, theorem 1, with epsilon = 2 sigma^2.
        let (sigma, [s, t]) = (epsilon / 2.0, problem.deviations);
        let d = (4.0 * s * s * t * t + sigma * sigma).sqrt();
        let bures = s * s + t * t - d + sigma * (1.0 - (2.0 * sigma).ln()) + sigma * (d + sigma).ln();
        near(problem.value(), 0.64 + bures, 1e-14);
    }
    Ok(())
}

#[test]
fn unbalanced_gaussians() -> Result<(), Error> {
    let problem =
        UnbalancedGaussians { means: [0.2, 1.0], deviations: [0.5, 0.9], masses: [1.4, 0.6], rho: 1.5, epsilon: 0.25 };
    let penalty = Kl::new(problem.rho)?;
    let (source, target) = (problem.source::<f64>(161)?, problem.target::<f64>(161)?);
    let solved = solve(&source, &target, problem.epsilon, &penalty, 200)?;
    near(solved.marginal.iter().sum(), problem.mass(), 1e-11);
    near(solved.value, problem.value(), 1e-11);
    let [[constant, linear, square], _] = problem.potentials();
    for (index, x) in source.points().iter().enumerate().filter(|(_, x)| x[0].abs() < 1.5) {
        near(solved.source[index], constant + linear * x[0] + square * x[0] * x[0], 1e-10);
    }
    Ok(())
}

/// The entropic value tends to the unregularised one from above, within epsilon times the largest
/// entropy, log n.
#[test]
fn quantiles_and_translations() -> Result<(), Error> {
    let epsilon = 2e-3;
    let problem = Quantiles::new(23, 31, 4);
    let solved = solve(&problem.source::<f64>()?, &problem.target::<f64>()?, epsilon, &Balanced, 6000)?;
    let excess = solved.value - problem.cost(2.0);
    assert!((-1e-9..epsilon * 31_f64.ln()).contains(&excess), "{excess}");
    assert!(solved.transport_cost >= problem.cost(2.0) - 1e-6);

    let problem = TranslatedCloud::new(25, &[0.5, -0.25], 9);
    let solved = solve(&problem.source::<f64>()?, &problem.target::<f64>()?, epsilon, &Balanced, 6000)?;
    let excess = solved.value - problem.squared_cost();
    assert!((-1e-9..epsilon * 25_f64.ln()).contains(&excess), "{excess}");
    near(problem.distance_cost(), 0.3125_f64.sqrt(), 1e-15);
    Ok(())
}

#[test]
fn quantiles_by_hand() {
    let problem = Quantiles { source: vec![(2.0, 0.5), (0.0, 0.5)], target: vec![(1.0, 1.0)] };
    near(problem.cost(1.0), 1.0, 1e-15);
    near(problem.cost(3.0), 1.0, 1e-15);
    let problem = Quantiles { source: vec![(0.0, 0.2), (5.0, 0.8)], target: vec![(5.0, 0.9), (-1.0, 0.1)] };
    near(problem.cost(2.0), 0.1 + 0.1 * 25.0, 1e-14);
}

#[test]
fn bures_is_that_of_commuting_axes_and_is_invariant_under_rotation() {
    let (s, t) = ([1.5_f64, 0.3], [0.4_f64, 2.0]);
    let expected = (0..2).map(|axis| (s[axis] - t[axis]).powi(2)).sum::<f64>() + 2.0;
    for angle in [0.0_f64, 0.4, 1.3] {
        let rotated = |deviations: [f64; 2]| {
            let ([c, d], (sin, cos)) = (deviations.map(|value| value * value), angle.sin_cos());
            [cos * cos * c + sin * sin * d, sin * cos * (c - d), sin * sin * c + cos * cos * d]
        };
        let problem = Bures { means: [[0.0, 1.0], [1.0, 0.0]], covariances: [rotated(s), rotated(t)] };
        near(problem.squared_distance(), expected, 1e-13);
    }
    // The same along a line in the plane as on the line, in the limit of no entropy.
    let line = Gaussians { means: [0.0, 1.0], deviations: [0.7, 0.2], epsilon: 1e-12 };
    let plane = Bures { means: [[0.0, 0.0], [1.0, 0.0]], covariances: [[0.49, 0.0, 0.0], [0.04, 0.0, 0.0]] };
    near(plane.squared_distance(), line.transport_cost(), 1e-11);
}
