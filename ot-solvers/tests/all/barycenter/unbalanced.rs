//! Barycenters of penalised inputs.

use ot_core::{
    Balanced, Epsilon, Host, JointProblem, Kl, MarginalPenalty, PointCloud, Range, SqEuclidean, TotalVariation,
};
use ot_solvers::{Barycenter, BregmanProjections};

use super::support::{Cloud, l1, line, problem, shapes, solve, uniform};
use crate::support::{Penalty, assert_close, cpu, penalty};

/// Inputs of these masses under one penalty.
fn penalised(
    inputs: &[Cloud],
    masses: &[f64],
    weights: &[f64],
    reference: &Cloud,
    epsilon: f64,
    penalty: &impl MarginalPenalty,
) -> JointProblem<Host<f64>> {
    let backend = cpu(2);
    let clouds: Vec<Cloud> = inputs
        .iter()
        .zip(masses)
        .map(|(input, mass)| {
            let weights: Vec<f64> = input.weights_view().values().iter().map(|weight| mass * weight).collect();
            PointCloud::new(input.points().coordinates().to_vec(), input.points().dimension(), weights).unwrap()
        })
        .collect();
    let mut barycenter = Barycenter::new(&backend, reference, &SqEuclidean, Epsilon::Absolute(epsilon));
    for (cloud, weight) in clouds.iter().zip(weights) {
        barycenter = barycenter.input(cloud, &[*weight], penalty).unwrap();
    }
    barycenter.problem().unwrap()
}

/// All at one point: log p = sum_k lambda_k ((epsilon + rho) log a_k + epsilon log m) / (epsilon + rho).
#[test]
fn masses_at_one_point_have_a_closed_form() {
    let point = uniform(&[0.3]);
    let (masses, weights, epsilon, rho) = ([2.0, 0.5, 1.0], [0.2, 0.5, 0.3], 0.4, 1.5);
    let inputs = vec![point.clone(); 3];
    let problem = penalised(&inputs, &masses, &weights, &point, epsilon, &Kl::new(rho).unwrap());
    let solution = solve(&BregmanProjections::new().tolerance(1e-12), &problem);
    assert!(solution.status().is_converged(), "{:?} {:?}", solution.status(), solution.certificate());
    let m: f64 = masses.iter().zip(weights).map(|(mass, weight)| mass * weight).sum();
    let log_mean: f64 = masses.iter().zip(weights).map(|(mass, weight)| weight * f64::ln(*mass)).sum();
    let expected = (log_mean + epsilon * m.ln() / (epsilon + rho)).exp();
    assert_close(solution.measure(0).unwrap()[0], expected, 1e-10);
    assert!(solution.certificate().gap < 1e-10);
}

#[test]
fn every_penalty_is_solved_and_proven() {
    let points = line(40, 1.0);
    let (inputs, reference) = (shapes(&points), uniform(&points));
    let penalties: [(Penalty, f64); 4] = [
        (penalty(Kl::new(0.1).unwrap()), 1e-8),
        (penalty(Kl::new(10.0).unwrap()), 1e-8),
        (penalty(TotalVariation::new(0.4).unwrap()), 1e-5),
        (penalty(Range::new(0.8, 1.25).unwrap()), 1e-5),
    ];
    for (penalty, tolerance) in penalties {
        let problem = penalised(&inputs, &[1.0, 1.2, 0.9], &[0.4, 0.3, 0.3], &reference, 0.02, &penalty);
        let solution = solve(&BregmanProjections::new().tolerance(tolerance), &problem);
        let certificate = solution.certificate();
        assert!(solution.status().is_converged(), "{penalty:?} {:?} {certificate:?}", solution.status());
        assert!(certificate.gap < 100.0 * tolerance, "{penalty:?} {certificate:?}");
    }
}

/// As rho grows, penalised inputs of one mass have the barycenter of prescribed ones.
#[test]
fn strong_penalties_prescribe() {
    let points = line(40, 1.0);
    let (inputs, reference) = (shapes(&points), uniform(&points));
    let weights = [0.4, 0.3, 0.3];
    let settings = BregmanProjections::new().tolerance(1e-9).max_iterations(50_000);
    let balanced = solve(&settings, &problem(&cpu(2), &inputs, &weights, &reference, 0.02)).measure(0).unwrap();
    let distance = |rho: f64| {
        let problem = penalised(&inputs, &[1.0; 3], &weights, &reference, 0.02, &Kl::new(rho).unwrap());
        let solution = solve(&settings, &problem);
        assert!(solution.status().is_converged(), "{rho} {:?} {:?}", solution.status(), solution.certificate());
        l1(&solution.measure(0).unwrap(), &balanced)
    };
    let (weak, strong) = (distance(1.0), distance(100.0));
    assert!(strong < 0.05 * weak && strong < 2e-2, "{weak} {strong}");
}

/// One prescribed input among penalised ones prescribes the mass of p.
#[test]
fn a_prescribed_input_prescribes_the_mass() {
    let points = line(40, 1.0);
    let [a, b, _] = shapes(&points);
    let reference = uniform(&points);
    let double: Vec<f64> = b.weights_view().values().iter().map(|weight| 2.0 * weight).collect();
    let double = PointCloud::new(points, 1, double).unwrap();
    let backend = cpu(2);
    let problem = Barycenter::new(&backend, &reference, &SqEuclidean, Epsilon::Absolute(0.02))
        .input(&a, &[0.5], &Balanced)
        .unwrap()
        .input(&double, &[0.5], &Kl::new(0.5).unwrap())
        .unwrap()
        .problem()
        .unwrap();
    let solution = solve(&BregmanProjections::new().tolerance(1e-9), &problem);
    assert!(solution.status().is_converged(), "{:?} {:?}", solution.status(), solution.certificate());
    assert_close(solution.measure(0).unwrap().iter().sum::<f64>(), 1.0, 1e-12);
}
