//! Finite input at the ends of what is legal: no bound may claim more than holds, and no error may be hidden.

use ot_core::{
    Certificate, CostMatrix, Epsilon, Free, GeometryBuilder, Histogram, Host, Kl, Measure, Potentials, Problem, Scalar,
    Side, Solution, Status, TotalVariation, certify,
};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{Relaxation, Sinkhorn, Start, unregularized_bounds};

use crate::support::{Penalty, assert_close, penalty};

/// A problem between histograms, costs row by row.
fn problem<T: CpuScalar>(
    costs: &[f64],
    a: &[f64],
    b: &[f64],
    epsilon: f64,
    [of_source, of_target]: [Penalty; 2],
) -> Problem<Host<T>> {
    let numbers = |values: &[f64]| values.iter().map(|&value| T::from_f64(value)).collect::<Vec<T>>();
    let matrix = CostMatrix::new(numbers(costs), a.len(), b.len()).unwrap();
    let (a, b) = (Histogram::new(numbers(a)).unwrap(), Histogram::new(numbers(b)).unwrap());
    let geometry = CpuBackend::<T>::new(1).unwrap().geometry(a.support(), b.support(), &matrix).unwrap();
    Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(epsilon), &of_source, &of_target).unwrap()
}

fn balanced() -> [Penalty; 2] {
    [penalty(ot_core::Balanced), penalty(ot_core::Balanced)]
}

fn certificate_at<T: CpuScalar>(problem: &Problem<Host<T>>, f: &[f64], g: &[f64]) -> Certificate {
    let upload = |values: &[f64]| {
        let values: Vec<T> = values.iter().map(|&value| T::from_f64(value)).collect();
        problem.backend().upload(&values, 1).unwrap()
    };
    let potentials = Potentials { source: upload(f), target: upload(g), epsilon: problem.epsilon() };
    certify(problem, &potentials).unwrap().swap_remove(0)
}

/// The bounds of a certificate hold about a value.
#[track_caller]
fn assert_bounds(certificate: &Certificate, optimum: f64) {
    let Certificate { primal, dual, gap, .. } = *certificate;
    assert!(dual <= optimum && optimum <= primal, "{optimum} is not within {certificate:?}");
    let rounding = 4.0 * f64::EPSILON * (primal.abs() + dual.abs() + certificate.epsilon);
    assert!(primal - dual <= gap + rounding, "{certificate:?}");
}

#[test]
fn a_plan_of_great_mass_takes_no_digits_from_the_primal() {
    let problem = problem::<f64>(&[0.8, 0.3, 0.5, 0.9], &[0.5, 0.5], &[0.25, 0.75], 0.01, balanced());
    let optimum = Sinkhorn::new().tolerance(1e-12).solve(&problem).unwrap().certificate().dual;
    assert_close(optimum, 0.50216, 1e-5);
    let found = certificate_at(&problem, &[2.0, -2.0], &[2.0, 1.0]);
    assert_bounds(&found, optimum);
    assert!(found.primal < 1.0, "{found:?}");
    assert!(
        (found.dual / -1.178_00e136 - 1.0).abs() < 1e-4 && (found.mass / 1.178_00e138 - 1.0).abs() < 1e-4,
        "{found:?}"
    );
}

/// Costs that no optimal plan uses change nothing, however large.
#[test]
fn sentinel_costs_are_left_alone() {
    let costs = |s: f64| vec![3.0, s, 9.0, 2.0, 4.0, 7.0, s, 6.0, s, 3.5, 2.5, 5.5, s, 7.5, 4.5, s];
    let quarter = [0.25; 4];
    let forbidden = problem::<f64>(&costs(f64::INFINITY), &quarter, &quarter, 0.5, balanced());
    let optimum = Sinkhorn::new().tolerance(1e-11).solve(&forbidden).unwrap();
    assert_close(optimum.certificate().dual, 4.1468, 1e-4);
    for s in [1e12, 1e15, 1e20, 1e25, 1e28, 1e30, 1e40, 1e100, 1e300] {
        let solution = Sinkhorn::new()
            .tolerance(1e-9)
            .solve(&problem::<f64>(&costs(s), &quarter, &quarter, 0.5, balanced()))
            .unwrap();
        assert_eq!(solution.status(), Status::Converged, "{s:e}: {:?}", solution.certificate());
        assert_close(solution.certificate().dual, optimum.certificate().dual, 1e-8);
        assert!(solution.iterations() <= 1000, "{s:e}: {} iterations", solution.iterations());
    }
}

/// The rounding told bounds what f32 makes of the marginals, as the same problem in f64 shows.
#[test]
fn rounding_of_masses_is_counted() {
    let costs: Vec<f64> = [0.8, 0.3, 0.5, 0.9].iter().map(|cost| 40.0 * cost).collect();
    let kl = |rho: f64| penalty(Kl::new(rho).unwrap());
    let cases = [
        (100.0, [penalty(Free), kl(1.0)]),
        (1452.0, [kl(9.35), kl(9.35)]),
        (100.0, [kl(1.0), kl(1.0)]),
        (30.0, [penalty(Free), kl(0.5)]),
    ];
    for (epsilon, penalties) in cases {
        let single = problem::<f32>(&costs, &[250.0, 250.0], &[125.0, 375.0], epsilon, penalties.clone());
        let solution = Sinkhorn::new().solve(&single).unwrap();
        let double = problem::<f64>(&costs, &[250.0, 250.0], &[125.0, 375.0], epsilon, penalties);
        let wide = |side| solution.potential(side).unwrap().iter().map(|value| value.to_f64()).collect::<Vec<f64>>();
        let truth = certificate_at(&double, &wide(ot_core::Side::Source), &wide(ot_core::Side::Target));
        let told = solution.certificate();
        assert!(
            truth.marginal_error <= told.marginal_error + told.rounding,
            "epsilon {epsilon}: {told:?}, in truth {truth:?}"
        );
    }
}

/// Densities of squared L2 are known absolutely, so that their masses are known to the product of the masses.
#[test]
fn rounding_of_squares_grows_with_the_masses() {
    let (a, b) = ([216.0, 0.0], [0.0, 16.0, 64.0, 64.0, 0.0, 16.0, 56.0]);
    let costs: Vec<f64> = (0..14).map(|index| 0.7 + f64::from(index * index % 11) * 0.05).collect();
    for (epsilon, scale) in [(0.5, 1.0), (0.01, 1.0), (30.0, 1.0), (0.5, 1000.0)] {
        let [a, b] = [&a[..], &b[..]].map(|weights| weights.iter().map(|weight| weight * scale).collect::<Vec<_>>());
        let single = problem::<f32>(&costs, &a, &b, epsilon, balanced()).with_regularizer(&ot_core::SquaredL2).unwrap();
        let double = problem::<f64>(&costs, &a, &b, epsilon, balanced()).with_regularizer(&ot_core::SquaredL2).unwrap();
        let solution = Sinkhorn::new().max_iterations(300).solve(&single).unwrap();
        let wide = |side| solution.potential(side).unwrap().iter().map(|value| value.to_f64()).collect::<Vec<f64>>();
        let truth = certificate_at(&double, &wide(ot_core::Side::Source), &wide(ot_core::Side::Target));
        let told = solution.certificate();
        assert!(truth.marginal_error <= told.marginal_error + told.rounding, "{told:?}, in truth {truth:?}");
    }
}

/// Costs that f64 cannot tell apart to an epsilon: no convergence is claimed, and no infinite number is.
#[test]
fn costs_near_the_end_of_the_range_are_costs() {
    let costs: Vec<f64> = [1.0, 1.7, 1.4, 1.1, 2.0, 1.3].iter().map(|cost| cost * 1e31).collect();
    let (a, b) = ([0.2, 0.3, 0.5], [0.6, 0.4]);
    let solution = Sinkhorn::new().solve(&problem::<f64>(&costs, &a, &b, 1.0, balanced())).unwrap();
    let certificate = solution.certificate();
    assert_ne!(solution.status(), Status::Converged, "{certificate:?}");
    assert!(certificate.rounding > 1.0, "{certificate:?}");
    // Epsilon in their unit: as with costs near one, exactly.
    for unit in [1.0, 2_f64.powi(100), 2_f64.powi(900)] {
        let scaled: Vec<f64> = costs.iter().map(|cost| cost / 1e31 * unit).collect();
        let solution =
            Sinkhorn::new().tolerance(1e-9).solve(&problem::<f64>(&scaled, &a, &b, 0.1 * unit, balanced())).unwrap();
        assert_eq!(solution.status(), Status::Converged);
        let plain: Vec<f64> = costs.iter().map(|cost| cost / 1e31).collect();
        let expected = Sinkhorn::new().tolerance(1e-9).solve(&problem::<f64>(&plain, &a, &b, 0.1, balanced())).unwrap();
        assert_eq!(solution.certificate().dual, expected.certificate().dual * unit, "{unit:e}");
    }
}

/// Potentials are multiples of epsilon by logarithms of weights: an epsilon whose potentials leave the range is refused.
#[test]
fn an_epsilon_beyond_its_potentials_is_refused() {
    let costs = [138_421.671_875, 2.126_764_666_490_805_4e37];
    let matrix = CostMatrix::new(costs.map(|cost| cost as f32).to_vec(), 1, 2).unwrap();
    let (a, b) =
        (Histogram::new(vec![1.144_409_2e-5_f32]).unwrap(), Histogram::new(vec![1.144_409_2e-5_f32, 0.0]).unwrap());
    let geometry = CpuBackend::<f32>::new(1).unwrap().geometry(a.support(), b.support(), &matrix).unwrap();
    let found = Problem::new(geometry, &a, &b, Epsilon::Absolute(7.684_781_892_317_978e37));
    assert!(matches!(found, Err(ot_core::Error::Epsilon(_))), "{found:?}");
}

/// Bounds without the regularizer, of potentials beyond any sentinel.
#[test]
fn bounds_of_great_potentials_hold() {
    let costs = [0.0, 2e64, 2e64, 0.0];
    let problem = problem::<f64>(&costs, &[0.65, 0.35], &[0.3, 0.7], 1e62, balanced());
    let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem).unwrap();
    let bounds = unregularized_bounds(&solution).unwrap().swap_remove(0);
    let optimum = 0.7e64;
    assert!(bounds.lower <= optimum * (1.0 + 1e-12) && optimum <= bounds.upper * (1.0 + 1e-12), "{bounds:?}");
    assert!(bounds.lower > 0.0);

    // Potentials below any sentinel, beside an atom without weight.
    let costs = [0.0, 1e64, 3.0, -2e64, 1e64, 0.0, 1.0, -1e64, 0.0];
    let problem = self::problem::<f64>(&costs, &[0.5, 0.25, 0.25], &[0.5, 0.0, 0.5], 1e61, balanced());
    let bounds = unregularized_bounds(&Sinkhorn::new().tolerance(1e-9).solve(&problem).unwrap()).unwrap()[0];
    // Sources 1 and 2 go to targets 0 (-2e64) and 2 or 0: the best is 1 to 0, 0 to 0 and 2, 2 to 2.
    let optimum = 0.25 * -2e64 + 0.25 * 0.0 + 0.25 * 3.0 + 0.25 * 0.0;
    assert!(bounds.lower <= optimum && optimum <= bounds.upper && bounds.gap() < 2e62, "{bounds:?}");
}

/// Masses whose product is below the range of numbers have bounds.
#[test]
fn bounds_of_tiny_masses_are_numbers() {
    for mass in [1e-100, 2.731_325_951_367_263e-158, 1e-200] {
        let (a, b) = ([0.25 * mass, 0.75 * mass], [0.5 * mass, 0.5 * mass]);
        let problem = problem::<f64>(&[0.0, 1.0, 1.0, 0.0], &a, &b, 0.1, balanced());
        let solution = Sinkhorn::new().max_iterations(3).relaxation(Relaxation::Off).solve(&problem).unwrap();
        let bounds = unregularized_bounds(&solution).unwrap()[0];
        let optimum = 0.25 * mass;
        assert!(bounds.lower <= optimum && optimum <= bounds.upper, "{mass:e}: {bounds:?}");
        assert!(bounds.upper <= mass, "{mass:e}: {bounds:?}");
    }
}

#[test]
fn a_tiny_weight_under_a_free_marginal_carries_its_mass() {
    for weight in [1e-143, 1e-100, 1e-300] {
        let penalties = [penalty(Free), penalty(ot_core::Balanced)];
        let problem = problem::<f64>(&[0.0, 1.0, 1.0, 0.0], &[1.0, weight], &[0.5, 0.5], 1e-3, penalties);
        let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem).unwrap();
        let certificate = solution.certificate();
        // With a free source each target takes a softmin over both atoms.
        let optimum: f64 = [[0.0, 1.0], [1.0, 0.0]]
            .map(|costs: [f64; 2]| {
                let exponents = [-costs[0] / 1e-3, weight.ln() - costs[1] / 1e-3];
                let largest = exponents[0].max(exponents[1]);
                let sum: f64 = exponents.iter().map(|exponent| (exponent - largest).exp()).sum();
                -0.5e-3 * (largest + sum.ln())
            })
            .iter()
            .sum::<f64>()
            + 1e-3 * (1.0 + weight)
            - 1e-3;
        assert_eq!(solution.status(), Status::Converged, "{weight:e}: {certificate:?}");
        assert_bounds(certificate, optimum);
        assert!(
            (certificate.mass - 1.0).abs() < 1e-9 && certificate.gap < 1e-6,
            "{weight:e}: {certificate:?}, {optimum}"
        );
    }
}

#[test]
fn weights_near_the_subnormal_numbers_have_a_gap() {
    let exponents = [0.0_f64, -10.0, -300.0, -720.0, -735.0, -744.0];
    let total: f64 = exponents.iter().map(|exponent| exponent.exp()).sum();
    let weights: Vec<f64> = exponents.iter().map(|exponent| exponent.exp() / total).collect();
    let costs: Vec<f64> = (0..36).map(|index| f64::from((index / 6 - index % 6) * (index / 6 - index % 6))).collect();
    let problem = problem::<f64>(&costs, &weights, &weights, 0.05, balanced());
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    assert_eq!(solution.status(), Status::Converged);
    assert!(solution.certificate().gap < 1e-5, "{:?}", solution.certificate());
}

#[test]
fn potentials_outside_the_domain_prove_nothing() {
    let variation = penalty(TotalVariation::new(1.0).unwrap());
    let problem = problem::<f64>(&[0.0], &[1.0], &[2.0], 1.0, [variation, penalty(ot_core::Balanced)]);
    for off in [4e-7, 1e-12] {
        let found = certificate_at(&problem, &[-(1.0 + off)], &[1.0 + off]);
        // The plan is [2]: KL(2 | 2) = 0 and the variation is 1.
        assert!(found.dual <= 1.0 && found.primal >= 1.0, "{off}: {found:?}");
    }
}

/// The gap of a strong penalty is no smaller than its rounding, and not much more.
#[test]
fn a_strong_penalty_is_nearly_balanced() {
    let kl = penalty(Kl::new(1e20).unwrap());
    let problem = problem::<f64>(&[0.8, 0.3, 0.5, 0.9], &[0.5, 0.5], &[0.25, 0.75], 0.1, [kl.clone(), kl]);
    let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem).unwrap();
    let certificate = solution.certificate();
    assert_bounds(certificate, {
        let balanced = self::problem::<f64>(&[0.8, 0.3, 0.5, 0.9], &[0.5, 0.5], &[0.25, 0.75], 0.1, balanced());
        let solution = Sinkhorn::new().tolerance(1e-12).solve(&balanced).unwrap();
        0.5 * (solution.certificate().dual + solution.certificate().primal)
    });
    assert!(solution.status() != Status::Converged || certificate.gap < 1.0, "{certificate:?}");
}

/// Two bumps on a line of 100 bins, squared distances.
fn bumps(epsilon: f64) -> Problem<Host<f64>> {
    let bump = |centre: f64| {
        let values: Vec<f64> = (0..100).map(|i| (-(f64::from(i) - centre).powi(2) / 200.0).exp()).collect();
        crate::support::normalized(values)
    };
    let costs: Vec<f64> = (0..10_000).map(|index| f64::from(index / 100 - index % 100).powi(2)).collect();
    problem::<f64>(&costs, &bump(30.0), &bump(40.0), epsilon, balanced())
}

/// The dual, to rounding.
fn dual(solution: &Solution<Host<f64>>) -> f64 {
    solution.certificate().dual
}

#[test]
fn more_iterations_are_never_worse() {
    for epsilon in [0.1, 0.03] {
        let problem = bumps(epsilon);
        let mut last = f64::NEG_INFINITY;
        for iterations in [30, 100, 300, 1000, 3000] {
            let solution = Sinkhorn::new().tolerance(1e-9).max_iterations(iterations).solve(&problem).unwrap();
            let found = dual(&solution);
            assert!(
                found >= last - 1e-9 * (1.0 + last.abs()),
                "{epsilon}, {iterations} iterations: {found} after {last}"
            );
            last = found;
        }
        // The best iterate, and not that which the annealing left: 1000 plain iterations from there come as near.
        let plain =
            Sinkhorn::new().tolerance(1e-9).max_iterations(1000).relaxation(Relaxation::Off).solve(&problem).unwrap();
        assert!(last >= dual(&plain) - 1e-9);
    }
}

/// One run of 4000 iterations at epsilon 0.01, of which 99.348 is known to be reached, and four restarts of 1000.
#[test]
fn a_long_run_keeps_what_it_has_reached() {
    let problem = bumps(0.01);
    let solver = Sinkhorn::new().tolerance(1e-9);
    assert!(dual(&solver.clone().max_iterations(4000).solve(&problem).unwrap()) >= 99.348);
    let mut last = f64::NEG_INFINITY;
    let mut restarted: Option<Solution<Host<f64>>> = None;
    for _ in 0..4 {
        let run = solver.clone().max_iterations(1000);
        let start = restarted.as_ref().map_or(Start::Zero, |solution| Start::Warm(solution.potentials()));
        let solution = run.run(&problem).start(start).solve().unwrap();
        assert!(dual(&solution) >= last - 1e-9 * last.abs(), "{} after {last}", dual(&solution));
        last = dual(&solution);
        restarted = Some(solution);
    }
    assert!(last >= 99.334, "{last}");
}

#[test]
fn a_blow_up_is_undone() {
    let mean = bumps(1.0).geometry().cost_bound().unwrap() / 6.0;
    let mut worst = 0.0_f64;
    let problem = bumps(3e-5 * mean);
    let mut lowest = f64::INFINITY;
    let mut observer = |progress: &ot_core::Progress| {
        if progress.phase == ot_core::Phase::Iterations {
            worst = worst.max(progress.marginal_error.unwrap_or(0.0));
            lowest = lowest.min(progress.relaxation.unwrap_or(2.0));
        }
        std::ops::ControlFlow::Continue(())
    };
    let solver = Sinkhorn::new().tolerance(1e-6).max_iterations(20_000);
    let solution = solver.run(&problem).observer(&mut observer).solve().unwrap();
    assert!(worst < 1e6, "an error of {worst:e}");
    let first = dual(&Sinkhorn::new().tolerance(1e-6).max_iterations(2000).solve(&problem).unwrap());
    assert!(dual(&solution) >= first - 1e-9);
}

#[test]
fn a_start_that_meets_the_tolerance_is_kept() {
    let costs: Vec<f64> = (0..100).map(|index| f64::from(index / 10 - index % 10).powi(2)).collect();
    let tenth = [0.1; 10];
    let problem = problem::<f64>(&costs, &tenth, &tenth, 0.1, balanced());
    for iterations in [1, 2, 5, 10, 100, 1000, 10_000] {
        let solution = Sinkhorn::new().tolerance(1e-9).max_iterations(iterations).solve(&problem).unwrap();
        assert_eq!(solution.status(), Status::Converged, "{iterations} iterations: {:?}", solution.certificate());
        assert!(solution.iterations() <= 5, "{}", solution.iterations());
    }
}

/// Weights times potentials beyond f32, whose potentials are numbers of f32.
#[test]
fn masses_times_potentials_may_leave_the_range() {
    let third = 37_367_326_965_760.0;
    let costs = [9.999_999_848_243_207e30, 0.458_757_2, 0.305_388_6];
    let problem = problem::<f32>(&costs, &[3.0 * third], &[third; 3], 2.357e29, balanced());
    let solution = Sinkhorn::new().max_iterations(1).tolerance(0.01).solve(&problem).unwrap();
    assert_eq!(solution.status(), Status::Converged, "{:?}", solution.certificate());
}

/// A light atom that a Kullback-Leibler penalty fills e^250 times: the dual counts what that costs.
#[test]
fn a_dual_counts_the_densities_of_light_atoms() {
    let penalties = [penalty(TotalVariation::new(0.27).unwrap()), penalty(Kl::new(2.5e-6).unwrap())];
    let (a, b) = ([0.2, 0.8], [6.7e-110, 1.0]);
    let problem = problem::<f64>(&[0.0, 1.0, 4.0, 1.0], &a, &b, 1e-4, penalties);
    let (f, g) = ([0.02, 0.27], [-6.27e-4, 4e-5]);
    let found = certificate_at(&problem, &f, &g);
    let of_target: f64 = b.iter().zip(g).map(|(b, g): (&f64, f64)| -2.5e-6 * b * (-g / 2.5e-6).exp_m1()).sum();
    let entry = |i: usize, j: usize, cost: f64| a[i] * b[j] * ((f[i] + g[j] - cost) / 1e-4).exp();
    let mass = entry(0, 0, 0.0) + entry(0, 1, 1.0) + entry(1, 0, 4.0) + entry(1, 1, 1.0);
    let dual = a[0] * f[0] + a[1] * f[1] + of_target - 1e-4 * (mass - 1.0);
    assert_close(found.dual, dual, 1e-12);
    // What the penalty asks of the light atom is as much beyond exp(80), and no error.
    let columns = [entry(0, 0, 0.0) + entry(1, 0, 4.0), entry(0, 1, 1.0) + entry(1, 1, 1.0)];
    let asked = [0, 1].map(|j| b[j] * (-g[j] / 2.5e-6).exp());
    assert_close(found.target_residual, (columns[0] - asked[0]).abs() + (columns[1] - asked[1]).abs(), 1e-9);
    assert!(asked[0] > 0.1, "{asked:?}");
}

/// A plan between a light atom and a heavy one under Kullback-Leibler penalties: the density of the light one is e^460 and
/// more, and the solution is found and proven.
#[test]
fn densities_beyond_single_precision_are_met() {
    for weight in [1e-100, 1e-200, 1e-280] {
        let kl = penalty(Kl::new(1e-3).unwrap());
        let problem = problem::<f64>(&[0.0], &[weight], &[1.0], 0.1, [kl.clone(), penalty(ot_core::Balanced)]);
        let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem).unwrap();
        let certificate = solution.certificate();
        assert_eq!(solution.status(), Status::Converged, "{weight:e}: {certificate:?}");
        // The plan is [1]: rho KL(1 | weight) + epsilon KL(1 | weight).
        let optimum = (1e-3 + 0.1) * (-weight.ln() - 1.0 + weight);
        assert!((certificate.mass - 1.0).abs() < 1e-9 && certificate.marginal_error < 1e-9, "{certificate:?}");
        assert!(certificate.dual <= optimum * (1.0 + 1e-12) && certificate.primal >= optimum * (1.0 - 1e-12));
        assert!(certificate.gap < 1e-6 * optimum, "{weight:e}: {certificate:?}, {optimum}");
    }
}

/// Where the conjugate of a penalty is beyond all numbers no dual is claimed.
#[test]
fn conjugates_beyond_the_range_prove_nothing() {
    let kl = penalty(Kl::new(1e-3).unwrap());
    let problem = problem::<f64>(&[0.0], &[1e-300], &[1.0], 0.1, [kl, penalty(ot_core::Balanced)]);
    let found = certificate_at(&problem, &[-0.8], &[0.8]);
    assert_eq!(found.dual, f64::NEG_INFINITY, "{found:?}");
    assert!(found.gap == f64::INFINITY && !found.meets(1e300) && !found.marginal_error.is_nan(), "{found:?}");
}

/// A plan that pays for sentinels is known to the rounding of what they cost.
#[test]
fn bounds_charge_the_largest_cost_for_what_rounding_hides() {
    let s = 4e29;
    let costs = [-0.5, -0.5, -0.5, -0.5, s, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, s, -0.5, s];
    let (a, b) = ([217.0, 248.0], [15.0, 30.0, 30.0, 135.0, 45.0, 75.0, 135.0]);
    let problem = problem::<f64>(&costs, &a, &b, 0.004_782, balanced());
    let bounds = unregularized_bounds(&Sinkhorn::new().max_iterations(300).solve(&problem).unwrap()).unwrap()[0];
    // The fifth target pays from either source, and only it must.
    let optimum = 45.0 * s;
    assert!(bounds.lower <= optimum && optimum <= bounds.upper, "{bounds:?}");
}

#[test]
fn entries_that_vanish_pay_nothing() {
    // In f32 an entry of no mass stands as 2.4e-38: beside a cost of 2e37 it would pay a half.
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let matrix = CostMatrix::new(vec![0.5_f32, 2e37, 2e37, 0.25], 2, 2).unwrap();
    let (half, quarter) = ([0.5_f32, 0.5], [0.25_f32, 0.75]);
    for (weights, expected) in [(half.to_vec(), vec![0.375]), ([half, quarter].concat(), vec![0.375, 0.3125])] {
        let columns = expected.len();
        let a = Histogram::batch(weights, columns).unwrap();
        let geometry = backend.geometry(a.support(), a.support(), &matrix).unwrap();
        let problem = Problem::new(geometry, &a, &a, Epsilon::Absolute(0.1)).unwrap();
        let solution = Sinkhorn::new().tolerance(1e-5).solve(&problem).unwrap();
        for (certificate, expected) in solution.certificates().iter().zip(expected) {
            assert_close(certificate.transport_cost.unwrap(), expected, 1e-5);
        }
    }
}

/// Certificates of a batch at given potentials, column after column.
fn certificates_at<T: CpuScalar>(
    costs: &[f64],
    [a, b]: [&[f64]; 2],
    columns: usize,
    epsilon: f64,
    penalties: [Penalty; 2],
    [f, g]: [&[f64]; 2],
) -> Vec<Certificate> {
    let numbers = |values: &[f64]| values.iter().map(|&value| T::from_f64(value)).collect::<Vec<T>>();
    let matrix = CostMatrix::new(numbers(costs), a.len() / columns, b.len() / columns).unwrap();
    let [a, b] = [a, b].map(|weights| Histogram::batch(numbers(weights), columns).unwrap());
    let geometry = CpuBackend::<T>::new(1).unwrap().geometry(a.support(), b.support(), &matrix).unwrap();
    let [of_source, of_target] = penalties;
    let epsilon = Epsilon::Absolute(epsilon);
    let problem = Problem::unbalanced(geometry, &a, &b, epsilon, &of_source, &of_target).unwrap();
    let [source, target] = [f, g].map(|values| problem.backend().upload(&numbers(values), columns).unwrap());
    certify(&problem, &Potentials { source, target, epsilon: problem.epsilon() }).unwrap()
}

/// Factors of a column around the potentials of another lift entries that vanish, which still pay nothing.
#[test]
fn entries_that_vanish_pay_nothing_far_from_the_first_column() {
    let half = [0.5; 4];
    let potentials = [&[0.0, 0.0, 5.0, 0.0][..], &[0.0, 0.0, -4.5, 0.0]];
    let costs = [0.5, 2e37, 2e37, 0.25];
    let found = certificates_at::<f32>(&costs, [&half, &half], 2, 0.1, balanced(), potentials);
    let light = 0.25 * 0.25 * (-2.5_f64).exp();
    assert_close(found[0].transport_cost.unwrap(), 0.25 * 0.5 * (-5.0_f64).exp() + light, 1e-6);
    assert_close(found[1].transport_cost.unwrap(), 0.25 * 0.5 + light, 1e-6);
}

/// A column of a batch may be made of entries around the potentials of another, hundreds of epsilons away: what that rounds is
/// told.
#[test]
fn rounding_of_shared_entries_is_counted() {
    let costs = [0.3, 0.7, 0.1, 0.9, 0.2, 0.4];
    for mass in [1e-60, 1e-150, 1e-271] {
        let (a, b) = ([0.2, 0.3, 0.5], [0.4, 0.6]);
        let [a, b] = [&a[..], &b].map(|weights| {
            [weights.iter().map(|weight| mass * weight).collect::<Vec<f64>>(), weights.to_vec()].concat()
        });
        let matrix = CostMatrix::new(costs.to_vec(), 3, 2).unwrap();
        let both = [&a, &b].map(|weights| Histogram::batch(weights.clone(), 2).unwrap());
        let geometry = CpuBackend::<f64>::new(1).unwrap().geometry(both[0].support(), both[1].support(), &matrix);
        let problem = Problem::new(geometry.unwrap(), &both[0], &both[1], Epsilon::Absolute(0.137)).unwrap();
        let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem).unwrap();
        let [f, g] = Side::BOTH.map(|side| solution.potential(side).unwrap());
        let alone = certificates_at::<f64>(&costs, [&a[3..], &b[2..]], 1, 0.137, balanced(), [&f[3..], &g[2..]]);
        let (found, expected) = (solution.certificates()[1], alone[0]);
        let difference = (found.mass - expected.mass).abs();
        assert!(difference <= found.rounding && found.rounding >= expected.rounding, "{found:?} {expected:?}");
        // The logarithm of the mass is what the potentials of the columns are apart.
        let shared = f64::EPSILON * (-mass.ln());
        assert!(found.rounding >= 0.5 * shared && found.rounding < 1e-12, "{found:?}");
        assert_eq!(solution.statuses()[1], Status::Converged);
    }
}

/// Densities that single precision holds with few digits, or none, take nothing from the bounds.
#[test]
fn bounds_of_denormal_densities_hold() {
    let (cost, epsilon) = (0.231_750_68, 0.360_029_9);
    for b in [1.397_262_7e-40, 3e-42, 1e-45] {
        let b = f64::from(b as f32);
        let free = [penalty(Free), penalty(Free)];
        let zero = [&[0.0; 2][..], &[0.0; 2]];
        let found = certificates_at::<f32>(&[cost], [&[1.0, 1.0], &[1.0, b]], 2, epsilon, free, zero);
        // The plan is a b exp(-C / epsilon).
        let optimum = epsilon * b * -(-cost / epsilon).exp_m1();
        assert!(found[1].dual <= optimum && optimum <= found[1].primal, "{b:e}: {optimum:e} {:?}", found[1]);
    }
}

/// The price of no plan is a product of both masses and epsilon, whatever two of them make by themselves.
#[test]
fn bounds_hold_where_masses_times_epsilon_vanish() {
    let cases = [(1e-46, 1e200, 1e-300), (1e-160, 1e-170, 1e300), (5e-322, 1e218, 0.3), (1e160, 1e-200, 1e-290)];
    for (a, b, epsilon) in cases {
        let free = [penalty(Free), penalty(Free)];
        let found = certificates_at::<f64>(&[epsilon], [&[a], &[b]], 1, epsilon, free, [&[0.0], &[0.0]])[0];
        // The plan is a b / e.
        let optimum = ot_core::power_of_two::product([a, b, epsilon, -(-1.0_f64).exp_m1()]);
        assert!(
            found.dual <= optimum * (1.0 + 1e-12) && optimum * (1.0 - 1e-12) <= found.primal,
            "{optimum:e} {found:?}"
        );
        // Of a plan whose mass is no number the primal is that of no plan.
        let is_tight = found.primal - found.dual <= 1e-9 * optimum;
        assert!(is_tight || !(a * b).is_normal(), "{optimum:e} {found:?}");
    }
}
