//! Iterative Bregman projections: closed forms, laws, and both ends of epsilon.

use ot_core::{CostMatrix, Epsilon, GeometryBuilder, Histogram, Measure, PointCloud, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{
    Annealing, Barycenter, BarycentricCoordinates, BoundedEntropy, BregmanProjections, BuresBarycenter,
    DebiasedBarycenter, Gaussian, Relaxation, barycenter,
};

use super::support::{bump, l1, line, on, problem, shapes, solve, uniform, variance};
use crate::support::{assert_close, backends, cpu, largest_difference};

/// sum_k lambda_k sigma_k^2 / (sqrt(epsilon^2 / 16 + sigma_k^2 S) - epsilon / 4).
fn condition(deviations: [f64; 2], weights: [f64; 2], epsilon: f64, variance: f64) -> f64 {
    let term = |(deviation, weight): (f64, f64)| {
        let square = deviation * deviation;
        weight * square / ((epsilon * epsilon / 16.0 + square * variance).sqrt() - epsilon / 4.0)
    };
    deviations.into_iter().zip(weights).map(term).sum()
}

#[test]
fn normal_laws_have_the_barycenter_of_the_closed_form() {
    let points = line(161, 8.0);
    let (deviations, weights, epsilon) = ([0.7, 1.5], [0.3, 0.7], 1.0);
    let inputs = deviations.map(|deviation| on(&points, bump(0.0, deviation)));
    for backend in backends(2) {
        let problem = problem(&backend, &inputs, &weights, &uniform(&points), epsilon);
        let solution = solve(&BregmanProjections::new().tolerance(1e-10), &problem);
        assert!(solution.status().is_converged(), "{:?} {:?}", solution.status(), solution.certificate());
        assert!(solution.certificate().gap < 1e-9, "{:?}", solution.certificate());
        let found = variance(&points, &solution.measure(0).unwrap());
        assert_close(found, 2.0913, 1e-4);
        assert_close(condition(deviations, weights, epsilon, found), 1.0, 1e-6);
    }
}

/// As epsilon falls the variance tends to that of the barycenter without entropy.
#[test]
fn small_epsilons_tend_to_the_bures_barycenter() {
    let points = line(241, 9.0);
    let inputs = [0.7, 1.5].map(|deviation| on(&points, bump(0.0, deviation)));
    let gaussian = |variance: f64| Gaussian::new(vec![0.0], vec![variance]).unwrap();
    let bures = BuresBarycenter::new().solve(&[gaussian(0.49), gaussian(2.25)], &[0.3, 0.7]).unwrap();
    let exact = bures.barycenter().covariance()[0];
    assert_close(exact, 1.5876, 1e-4);
    let mut last = f64::INFINITY;
    for epsilon in [0.5, 0.1, 0.02] {
        let problem = problem(&cpu(2), &inputs, &[0.3, 0.7], &uniform(&points), epsilon);
        let solution = solve(&BregmanProjections::new().tolerance(1e-8), &problem);
        assert!(solution.status().is_converged());
        let found = variance(&points, &solution.measure(0).unwrap());
        assert_close(condition([0.7, 1.5], [0.3, 0.7], epsilon, found), 1.0, 1e-5);
        // To first order the entropy adds epsilon / 2 to the variance.
        assert!((found - exact).abs() < 0.6 * epsilon && (found - exact).abs() < last, "{epsilon} {found}");
        last = (found - exact).abs();
    }
}

#[test]
fn over_relaxation_changes_the_way_and_not_the_end() {
    let points = line(64, 1.0);
    let step = points[1] - points[0];
    let problem = problem(&cpu(2), &shapes(&points), &[0.5, 0.2, 0.3], &uniform(&points), 2.0 * step * step);
    let settings = BregmanProjections::new().annealing(Annealing::Off).tolerance(1e-6);
    let plain = solve(&settings.clone().relaxation(Relaxation::Off), &problem);
    let relaxed = solve(&settings, &problem);
    assert!(plain.status().is_converged() && relaxed.status().is_converged());
    assert!(l1(&plain.measure(0).unwrap(), &relaxed.measure(0).unwrap()) < 1e-3);
    assert_close(relaxed.certificate().dual, plain.certificate().dual, 1e-7);
    assert!(plain.iterations() >= 6 * relaxed.iterations(), "{} {}", plain.iterations(), relaxed.iterations());
}

/// One input a is blurred: p_j = m_j sum_i a_i K_ij / (K m)_i. So are several that are the same.
#[test]
fn identical_inputs_are_one_input_and_it_is_blurred() {
    let points = line(40, 1.0);
    let (input, epsilon) = (shapes(&points)[1].clone(), 0.02);
    let kernel = |x: f64, y: f64| (-(x - y).powi(2) / epsilon).exp();
    let sums: Vec<f64> = points.iter().map(|x| points.iter().map(|y| kernel(*x, *y)).sum()).collect();
    let weights = input.weights_view();
    let blurred = |y: f64| -> f64 {
        let terms = points.iter().zip(weights.values()).zip(&sums);
        terms.map(|((x, a), sum)| a * kernel(*x, y) / sum).sum()
    };
    let expected: Vec<f64> = points.iter().map(|&y| blurred(y)).collect();
    for (inputs, lambda) in [(vec![input.clone()], vec![3.0]), (vec![input.clone(); 3], vec![0.5, 0.0, 0.25])] {
        let problem = problem(&cpu(1), &inputs, &lambda, &uniform(&points), epsilon);
        let solution = solve(&BregmanProjections::new().tolerance(1e-12), &problem);
        assert!(solution.status().is_converged() && solution.iterations() <= 10, "{}", solution.iterations());
        assert!(l1(&solution.measure(0).unwrap(), &expected) < 1e-11);
    }
}

#[test]
fn inputs_may_come_in_any_order() {
    let points = line(50, 1.0);
    let [a, b, c] = shapes(&points);
    let reference = uniform(&points);
    let settings = BregmanProjections::new().tolerance(1e-10);
    let one =
        solve(&settings, &problem(&cpu(2), &[a.clone(), b.clone(), c.clone()], &[0.5, 0.2, 0.3], &reference, 0.02));
    let other = solve(&settings, &problem(&cpu(2), &[c, a, b], &[0.3, 0.5, 0.2], &reference, 0.02));
    assert!(l1(&one.measure(0).unwrap(), &other.measure(0).unwrap()) < 1e-8);
    assert_close(one.certificate().primal, other.certificate().primal, 1e-9);
}

/// Weights count relative to their sum, and p has the mass of the inputs, each plan the marginal p.
#[test]
fn the_barycenter_has_the_mass_of_the_inputs() {
    let points = line(50, 1.0);
    let heavy = |cloud: &super::support::Cloud| {
        let weights: Vec<f64> = cloud.weights_view().values().iter().map(|weight| 250.0 * weight).collect();
        PointCloud::new(points.clone(), 1, weights).unwrap()
    };
    let shapes = shapes(&points);
    let reference = uniform(&points);
    let settings = BregmanProjections::new().tolerance(1e-10);
    let unit = solve(&settings, &problem(&cpu(2), &shapes, &[0.5, 0.2, 0.3], &reference, 0.02));
    let solution =
        solve(&settings, &problem(&cpu(2), &shapes.each_ref().map(heavy), &[5.0, 2.0, 3.0], &reference, 0.02));
    assert!(solution.status().is_converged());
    let p = solution.measure(0).unwrap();
    assert_close(p.iter().sum::<f64>(), 250.0, 1e-13);
    let scaled: Vec<f64> = unit.measure(0).unwrap().iter().map(|p| 250.0 * p).collect();
    assert!(l1(&p, &scaled) < 250.0 * 1e-7);
    for term in 0..3 {
        let marginal = solution.plan(term).unwrap().marginal(ot_core::Side::Target).unwrap();
        assert!(l1(&marginal, &p) < 250.0 * 1e-9);
    }
}

/// A batch of weights, corners with zeros among them, is as many barycenters.
#[test]
fn batches_are_singles_side_by_side() {
    let points = line(48, 1.0);
    let (inputs, reference) = (shapes(&points), uniform(&points));
    let lambda = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]];
    let settings = BregmanProjections::new().tolerance(1e-10);
    for backend in backends(2) {
        let batch = solve(&settings, &problem(&backend, &inputs, lambda.as_flattened(), &reference, 0.02));
        let found = batch.measure(0).unwrap();
        for (column, lambda) in lambda.iter().enumerate() {
            assert!(batch.statuses()[column].is_converged(), "{:?}", batch.certificates()[column]);
            let single = solve(&settings, &problem(&backend, &inputs, lambda, &reference, 0.02));
            let of_column = &found[column * points.len()..][..points.len()];
            assert!(l1(of_column, &single.measure(0).unwrap()) < 1e-8, "{column}");
            assert_close(batch.certificates()[column].dual, single.certificate().dual, 1e-9);
        }
    }
    // A histogram for each column, and weights that serve all.
    let batched: Vec<f64> = inputs[..2].iter().flat_map(|input| input.weights_view().values().to_vec()).collect();
    let batched = PointCloud::batch(points.clone(), 1, batched, 2).unwrap();
    let inputs_of_batch: [&dyn Measure<f64>; 2] = [&batched, &inputs[2]];
    let two =
        barycenter(&cpu(2), &inputs_of_batch, &[0.4, 0.6], &reference, &SqEuclidean, Epsilon::Absolute(0.02)).unwrap();
    let second = problem(&cpu(2), &inputs[1..], &[0.4, 0.6], &reference, 0.02);
    let second = solve(&BregmanProjections::new(), &second).measure(0).unwrap();
    assert!(l1(&two.measure(0).unwrap()[points.len()..], &second) < 1e-4);
}

#[test]
fn the_bits_do_not_depend_on_the_threads() {
    let points = line(150, 1.0);
    let of_threads = |threads: usize| {
        let problem = problem(&cpu(threads), &shapes(&points), &[0.5, 0.2, 0.3], &uniform(&points), 0.01);
        let solution = solve(&BregmanProjections::new(), &problem);
        (solution.measure(0).unwrap(), solution.iterations(), solution.certificate().primal)
    };
    let one = of_threads(1);
    assert_eq!(one, of_threads(2));
    assert_eq!(one, of_threads(5));
}

/// From epsilons at which the pairs are nearly independent to those of a near-permutation.
#[test]
fn both_ends_of_epsilon_are_right_or_say_what_they_are() {
    let points = line(40, 1.0);
    let (inputs, reference) = (shapes(&points), uniform(&points));
    for epsilon in [1e-5, 1e-3, 1e2, 1e6] {
        let problem = problem(&cpu(2), &inputs, &[0.5, 0.2, 0.3], &reference, epsilon);
        let solution = solve(&BregmanProjections::new().max_iterations(2000), &problem);
        let certificate = solution.certificate();
        let p = solution.measure(0).unwrap();
        assert!(p.iter().all(|p| p.is_finite() && *p >= 0.0) && certificate.is_finite(), "{epsilon}");
        assert_close(p.iter().sum::<f64>(), 1.0, 1e-12);
        if epsilon >= 1e2 {
            // No cost to speak of: p is the reference.
            assert!(solution.status().is_converged() && l1(&p, reference.weights_view().values()) < 2.0 / epsilon);
        }
        assert_eq!(solution.status().is_converged(), certificate.meets(1e-6), "{epsilon} {:?}", solution.status());
    }
}

#[test]
fn single_precision_is_near_double_precision() {
    let points = line(40, 1.0);
    let (inputs, reference) = (shapes(&points), uniform(&points));
    let double = solve(&BregmanProjections::new(), &problem(&cpu(2), &inputs, &[0.5, 0.2, 0.3], &reference, 0.02));
    let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect::<Vec<_>>();
    let clouds = inputs
        .each_ref()
        .map(|input| PointCloud::new(narrow(&points), 1, narrow(input.weights_view().values())).unwrap().normalized());
    let inputs = clouds.each_ref().map(|cloud| cloud as &dyn Measure<f32>);
    let reference = PointCloud::uniform(narrow(&points), 1).unwrap();
    let backend = CpuBackend::<f32>::new(2).unwrap();
    let single =
        barycenter(&backend, &inputs, &[0.5, 0.2, 0.3], &reference, &SqEuclidean, Epsilon::Absolute(0.02)).unwrap();
    assert!(single.status().is_converged(), "{:?} {:?}", single.status(), single.certificate());
    let widened: Vec<f64> = single.measure(0).unwrap().iter().map(|p| f64::from(*p)).collect();
    assert!(l1(&widened, &double.measure(0).unwrap()) < 2e-3);
}

/// A support of its own, and inputs on supports of their own.
#[test]
fn inputs_may_live_on_other_points_than_their_barycenter() {
    let (left, right) = (line(31, 0.9), line(47, 1.0));
    let inputs = [on(&left, bump(-0.3, 0.1)), on(&right, bump(0.3, 0.1))];
    let reference = uniform(&line(60, 1.1));
    let solution =
        solve(&BregmanProjections::new().tolerance(1e-9), &problem(&cpu(2), &inputs, &[0.5, 0.5], &reference, 0.01));
    let p = solution.measure(0).unwrap();
    let mean: f64 = line(60, 1.1).iter().zip(&p).map(|(x, p)| x * p).sum();
    assert!(solution.status().is_converged() && mean.abs() < 1e-3, "{mean}");
    let backend = cpu(2);
    let geometries =
        inputs.each_ref().map(|input| backend.geometry(input.support(), reference.support(), &SqEuclidean).unwrap());
    let same = Barycenter::new(&backend, &reference, &SqEuclidean, Epsilon::Absolute(0.01))
        .input_over(geometries[0].clone(), &inputs[0], &[0.5], &ot_core::Balanced)
        .unwrap()
        .input_over(geometries[1].clone(), &inputs[1], &[0.5], &ot_core::Balanced)
        .unwrap();
    let same = solve(&BregmanProjections::new().tolerance(1e-9), &same.problem().unwrap());
    assert!(largest_difference(&same.measure(0).unwrap(), &p) == 0.0);
}

/// Softmins at atoms outside the reference may be as low as any cost: none of it is mass.
#[test]
fn atoms_outside_the_reference_have_no_mass_whatever_they_cost() {
    let costs = CostMatrix::new(vec![1e31, 0.2, 0.5, 0.3, -1e31, 0.4, 1e31, 0.1, 0.2], 3, 3).unwrap();
    let [a, b] = [[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]].map(|weights| Histogram::new(weights.to_vec()).unwrap());
    let reference = Histogram::new(vec![0.0, 1.0, 3.0]).unwrap();
    for annealing in [Annealing::Automatic, Annealing::Off] {
        let backend = cpu(1);
        let problem = Barycenter::new(&backend, &reference, &costs, Epsilon::Absolute(0.01));
        let problem = problem.inputs(&[&a, &b], &[0.4, 0.6]).unwrap().problem().unwrap();
        for most in [1, 1000] {
            let settings = BregmanProjections::new().annealing(annealing).max_iterations(most);
            let p = settings.solve(&problem).unwrap().measure(0).unwrap();
            assert_eq!(p[0], 0.0);
            assert_close(p[1] + p[2], 1.0, 1e-9);
        }
        let sharp = BoundedEntropy::new().max_iterations(5).solve(&problem).unwrap().measure(0).unwrap();
        assert_eq!(sharp[0], 0.0);
        assert_close(sharp[1] + sharp[2], 1.0, 1e-9);
        let debiased = DebiasedBarycenter::new().max_iterations(5).solve(&problem).unwrap();
        assert_eq!(debiased.measure()[0], 0.0);
        let coordinates = BarycentricCoordinates::new().unrolled(3).max_iterations(1).solve(&problem, &[0.1, 0.4, 0.5]);
        assert_eq!(coordinates.unwrap().barycenter()[0], 0.0);
    }
}
