//! A certificate is recomputed from problem and potentials, and a corruption shows in it.

use std::ops::ControlFlow;

use ot_core::{
    Backend, Balanced, Certificate, CostMatrix, Epsilon, Error, GeometryBuilder, Histogram, Host, Kl, Measure, Phase,
    PointCloud, Potentials, Problem, Progress, RoundedPlan, Side, Solution, SqEuclidean, Status, TotalVariation,
    certify,
};
use ot_solvers::{Annealing, Relaxation, Sinkhorn, Start, unregularized_bounds};

use crate::support::{Penalty, cloud, cpu, penalty};

/// Two clouds of 40 and 30 points in the plane.
fn clouds() -> [PointCloud<'static, f64>; 2] {
    [cloud(12_345, 40, 0.0, 1.0), cloud(12_346, 30, 0.5, 1.0)]
}

fn problem(epsilon: f64, penalty: Option<Penalty>) -> Problem<Host<f64>> {
    let [a, b] = clouds();
    let geometry = cpu(1).geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let epsilon = Epsilon::RelativeToMean(epsilon);
    match penalty {
        Some(penalty) => Problem::unbalanced(geometry, &a, &b, epsilon, &penalty, &penalty).unwrap(),
        None => Problem::new(geometry, &a, &b, epsilon).unwrap(),
    }
}

/// The potentials of a solution, with one number changed.
fn corrupted(solution: &Solution<Host<f64>>, side: Side, index: usize, change: f64) -> Potentials<Host<f64>> {
    let backend = solution.problem().backend();
    let vector = |of: Side| {
        let mut values = solution.potential(of).unwrap();
        if of == side {
            values[index] += change;
        }
        backend.upload(&values, 1).unwrap()
    };
    Potentials { source: vector(Side::Source), target: vector(Side::Target), epsilon: solution.problem().epsilon() }
}

#[test]
fn recomputation_agrees_with_the_solution() {
    let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem(0.01, None)).unwrap();
    assert_eq!(solution.status(), Status::Converged);
    let again = certify(solution.problem(), solution.potentials()).unwrap();
    assert!((again[0].dual - solution.certificate().dual).abs() < 1e-12);
    assert!(again[0].meets(1e-9) && again[0].gap <= 1e-8);
}

#[test]
fn a_corrupted_dual_is_refused() {
    let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem(0.01, None)).unwrap();
    let honest = solution.certificate();
    for (side, index) in [(Side::Source, 0), (Side::Source, 39), (Side::Target, 7)] {
        for change in [1e-3, -1e-3] {
            let forged = certify(solution.problem(), &corrupted(&solution, side, index, change)).unwrap()[0];
            assert!(!forged.meets(1e-6), "{side} {index}: {forged:?}");
            assert!(forged.dual < honest.dual, "a dual above the optimum");
            assert!(forged.gap > 10.0 * honest.gap && forged.primal >= honest.dual);
        }
    }
}

#[test]
fn a_corrupted_plan_is_refused() {
    let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem(0.01, None)).unwrap();
    let mut plan = solution.plan().unwrap();
    let mut entries = plan.to_dense(0).unwrap();
    plan.certify_entries(0, &entries, 1e-8).unwrap();
    let heaviest = (0..entries.len()).max_by(|&i, &j| entries[i].total_cmp(&entries[j])).unwrap();
    entries[heaviest] *= 1.001;
    let refusal = plan.certify_entries(0, &entries, 1e-8).unwrap_err();
    assert!(refusal.to_string().contains("entry"), "{refusal}");
}

#[test]
fn the_gap_bounds_the_distance_to_the_optimum() {
    for penalty in penalties() {
        let exact = Sinkhorn::new().tolerance(1e-11).solve(&problem(0.02, penalty.clone())).unwrap();
        let optimum = exact.certificate().dual;
        for iterations in [1, 3, 10, 30] {
            let settings = Sinkhorn::new().max_iterations(iterations).check_interval(1).tolerance(1e-11);
            let certificate = *settings.solve(&problem(0.02, penalty.clone())).unwrap().certificate();
            let slack = 1e-9 * optimum.abs();
            assert!(certificate.gap >= 0.0 && certificate.gap.is_finite(), "{penalty:?}");
            assert!(certificate.dual <= optimum + slack, "{penalty:?}: {certificate:?} above {optimum}");
            assert!(certificate.primal >= optimum - slack, "{penalty:?}: {certificate:?} below {optimum}");
        }
        assert!(exact.certificate().gap <= 1e-8, "{penalty:?}: {:?}", exact.certificate());
    }
}

fn penalties() -> Vec<Option<Penalty>> {
    vec![None, Some(penalty(Kl::new(0.3).unwrap())), Some(penalty(TotalVariation::new(0.2).unwrap()))]
}

#[test]
fn the_rounded_plan_has_the_exact_marginals() {
    let problem = problem(0.01, None);
    let solution = Sinkhorn::new().max_iterations(5).check_interval(5).solve(&problem).unwrap();
    assert!(solution.certificate().marginal_error > 1e-3);
    let mut kernel = problem.bind().unwrap();
    let rounded = RoundedPlan::round(kernel.as_mut(), &problem, solution.potentials()).unwrap();
    let (entries, [a, b]) = (rounded.to_dense(0).unwrap(), clouds());
    for (i, row) in entries.chunks_exact(30).enumerate() {
        assert!(row.iter().all(|&entry| entry >= 0.0));
        assert!((row.iter().sum::<f64>() - a.weights().unwrap().column(0)[i]).abs() < 1e-15);
    }
    for j in 0..30 {
        let column: f64 = entries.iter().skip(j).step_by(30).sum();
        assert!((column - b.weights().unwrap().column(0)[j]).abs() < 1e-15);
    }
    // Its objective is the primal value of the certificate, or below: that one bounds the divergence.
    let epsilon = problem.epsilon();
    let mut objective = rounded.transport_cost(kernel.as_mut()).unwrap()[0];
    for (index, &entry) in entries.iter().enumerate() {
        let product = a.weights().unwrap().column(0)[index / 30] * b.weights().unwrap().column(0)[index % 30];
        objective += epsilon * (if entry > 0.0 { entry * (entry / product).ln() } else { 0.0 } - entry + product);
    }
    let certificate = solution.certificate();
    assert!(certificate.dual < objective && objective <= certificate.primal + 1e-12, "{objective} {certificate:?}");
}

#[test]
fn potentials_outside_the_domain_of_a_penalty_claim_no_dual() {
    let (a, b) = (Histogram::new(vec![1.0]).unwrap(), Histogram::new(vec![3.0]).unwrap());
    let cost = CostMatrix::new(vec![0.0], 1, 1).unwrap();
    let backend = cpu(1);
    let geometry = backend.geometry(a.support(), b.support(), &cost).unwrap();
    let variation = TotalVariation::new(1.0).unwrap();
    let problem = Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(0.1), &variation, &Balanced).unwrap();
    let vector = |value: f64| backend.upload(&[value], 1).unwrap();
    let far = Potentials { source: vector(-5.0), target: vector(5.0), epsilon: 0.1 };
    let forged = certify(&problem, &far).unwrap()[0];
    assert!(forged.dual == f64::NEG_INFINITY && forged.gap == f64::INFINITY, "{forged:?}");

    // The whole target mass must be reached: |3 - 1| is paid for, and the entropy of mass 3 under 1 x 3.
    let optimum = 2.0 + 0.1 * (3.0 * (3.0_f64 / 3.0).ln() - 3.0 + 3.0);
    let solution = Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap();
    assert!(solution.status().is_converged());
    assert!((solution.certificate().dual - optimum).abs() < 1e-9, "{:?}", solution.certificate());
}

#[test]
fn bounds_enclose_unregularised_transport() {
    // Three atoms on a line: the optimal cost is known by sorting.
    let cost = CostMatrix::new(vec![0.0, 1.0, 4.0, 1.0, 0.0, 1.0, 4.0, 1.0, 0.0], 3, 3).unwrap();
    let (a, b) = (Histogram::new(vec![0.5, 0.3, 0.2]).unwrap(), Histogram::new(vec![0.2, 0.3, 0.5]).unwrap());
    let geometry = cpu(1).geometry(a.support(), b.support(), &cost).unwrap();
    // Monotone coupling: 0.2 stays at 0, 0.3 moves 0 to 1, 0.3 moves 1 to 2, 0.2 stays at 2.
    let optimum = 0.6;
    let mut width = f64::INFINITY;
    for epsilon in [1.0, 0.1, 0.01] {
        let problem = Problem::new(geometry.clone(), &a, &b, Epsilon::Absolute(epsilon)).unwrap();
        let solution = Sinkhorn::new().tolerance(1e-10).solve(&problem).unwrap();
        let bounds = unregularized_bounds(&solution).unwrap()[0];
        assert!(bounds.lower <= optimum + 1e-9 && optimum <= bounds.upper + 1e-9, "{epsilon}: {bounds:?}");
        assert!(bounds.gap() <= width);
        width = bounds.gap();
    }
    assert!(width < 1e-6, "{width}");
}

#[test]
fn cancelling_returns_the_best_iterate_whose_certificate_is_optional() {
    let mut seen = Vec::new();
    let mut stop_at_third = |progress: &Progress| {
        seen.push(*progress);
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let problem = problem(0.005, None);
    let settings = Sinkhorn::new().tolerance(1e-13).check_interval(5).annealing(Annealing::Off);
    let solution = settings.run(&problem).observer(&mut stop_at_third).solve().unwrap();
    assert_eq!((solution.status(), solution.iterations()), (Status::Cancelled, 15));
    assert_eq!(solution.history(), seen);
    assert!(!solution.is_certified() && *solution.certificate() == Certificate::unproven(problem.epsilon()));
    let certificate = certify(&problem, solution.potentials()).unwrap()[0];
    assert!(certificate.is_finite() && certificate.marginal_error <= seen[0].marginal_error.unwrap());
    assert!(certificate.gap.is_finite() && certificate.gap > 0.0);
}

#[test]
fn potentials_that_are_no_numbers_certify_nothing() {
    let problem = problem(0.02, None);
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    let broken = corrupted(&solution, Side::Source, 3, f64::NAN);
    let forged = certify(&problem, &broken).unwrap()[0];
    assert!(!forged.meets(1.0) && forged.marginal_error == f64::INFINITY && forged.dual == f64::NEG_INFINITY);
    assert!(forged.mass.is_finite() && !forged.gap.is_nan() && !forged.primal.is_nan());
    let error = Sinkhorn::new().run(&problem).start(Start::Warm(&broken)).solve().unwrap_err();
    assert!(matches!(error, Error::Parameter { .. }), "{error}");
}

#[test]
fn strong_penalties_keep_the_digits_of_the_dual() {
    let balanced = Sinkhorn::new().tolerance(1e-10).solve(&problem(0.02, None)).unwrap();
    for rho in [1e3, 1e6, 1e9, 1e12, 1e15] {
        let kl = penalty(Kl::new(rho).unwrap());
        let solution = Sinkhorn::new().tolerance(1e-10).solve(&problem(0.02, Some(kl))).unwrap();
        let (relaxed, bound) = (solution.certificate().dual, balanced.certificate().primal);
        assert!(relaxed <= bound + 1e-12, "{rho}: {relaxed} above {bound}");
        assert!(relaxed >= bound - 1e-8 - 1.0 / rho, "{rho}: {relaxed}");
        // A marginal off by 1e-10 costs rho (1e-10)^2 / 2.
        assert!(solution.certificate().gap <= 1e-7 + rho * 1e-20, "{rho}: {:?}", solution.certificate());
    }
}

#[test]
fn what_comes_back_is_the_best_iterate() {
    let settings = Sinkhorn::new().annealing(Annealing::Off).relaxation(Relaxation::Fixed(1.98)).check_interval(1);
    let solution = settings.max_iterations(60).tolerance(1e-12).solve(&problem(0.005, None)).unwrap();
    let checks = || solution.history().iter().filter(|progress| progress.phase != Phase::Certificate);
    let errors = || checks().map(|progress| progress.marginal_error.unwrap());
    let smallest = errors().fold(f64::INFINITY, f64::min);
    assert!(errors().next_back().unwrap() > 2.0 * smallest, "this relaxation should swing");
    assert!(solution.certificate().marginal_error <= 4.0 * smallest, "{smallest}: {:?}", solution.certificate());
}

#[test]
fn projections_are_conditional_means_under_any_penalty() {
    let (a, b) = (PointCloud::uniform(vec![0.0, 1.0, 100.0], 1), PointCloud::uniform(vec![5.0, 6.0, 7.0], 1));
    let (a, b) = (a.unwrap(), b.unwrap());
    let geometry = cpu(1).geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let variation = TotalVariation::new(50.0).unwrap();
    let problem = Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(0.5), &variation, &variation).unwrap();
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    let projected = solution.plan().unwrap().barycentric_projection(Side::Source, b.points().coordinates(), 1).unwrap();
    assert!(projected.iter().all(|y| (5.0..=7.0).contains(y)), "{projected:?}");
    assert!(projected[2] > 6.9, "the atom far to the right looks to the rightmost: {projected:?}");
}
