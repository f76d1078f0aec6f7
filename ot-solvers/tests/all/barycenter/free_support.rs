//! Clouds whose points move: what is known, and what never rises.

use std::ops::ControlFlow;

use ot_conformance::Seeded;
use ot_core::{Error, PointCloud, Progress, SqEuclidean, Status};
use ot_solvers::{BuresBarycenter, ExactTransport, FreeSupport, Gaussian, InnerTransport};

use super::support::Cloud;
use crate::support::{assert_close, cpu, largest_difference};

/// Normal points in the plane with uneven weights, around a centre.
fn cloud(random: &mut Seeded, len: usize, centre: [f64; 2]) -> Cloud {
    let points = (0..len).flat_map(|_| centre.map(|c| c + random.normal())).collect::<Vec<_>>();
    PointCloud::new(points, 2, random.weights::<f64>(len, false)).unwrap()
}

fn inputs(seed: u64) -> (Vec<Cloud>, Cloud) {
    let mut random = Seeded::new(seed);
    let inputs = [[0.0, 0.0], [4.0, 1.0], [1.0, 5.0]].map(|centre| cloud(&mut random, 40, centre)).to_vec();
    let start = PointCloud::uniform(cloud(&mut random, 12, [2.0, 2.0]).points().coordinates().to_vec(), 2).unwrap();
    (inputs, start)
}

/// sum_k lambda_k W_2^2, from scratch.
fn objective(inputs: &[Cloud], lambda: &[f64], barycenter: &Cloud) -> f64 {
    let of_input = |input: &Cloud| {
        ExactTransport::new().solve(&cpu(1), barycenter, input, &SqEuclidean).unwrap().certificate().primal
    };
    inputs.iter().zip(lambda).map(|(input, lambda)| lambda * of_input(input)).sum()
}

/// On the line quantile functions are averaged, whatever the start.
#[test]
fn clouds_of_a_line_average_their_quantiles() {
    let of = |points: Vec<f64>| PointCloud::uniform(points, 1).unwrap();
    let inputs = [of(vec![3.0, 0.0, 1.0, 8.0]), of(vec![10.0, 12.0, 11.0, 20.0])];
    let start = of(vec![0.3, 0.2, 0.1, 0.7]);
    let solution = FreeSupport::new().solve(&cpu(1), &[&inputs[0], &inputs[1]], &[3.0, 1.0], &start).unwrap();
    assert!(solution.status().is_converged());
    let mut points = solution.barycenter().points().coordinates().to_vec();
    points.sort_by(f64::total_cmp);
    assert!(largest_difference(&points, &[2.5, 3.5, 5.25, 11.0]) < 1e-12, "{points:?}");
    assert!(solution.residual() < 1e-12 && solution.gap() < 1e-10);
}

#[test]
fn the_objective_never_rises_and_is_what_it_says() {
    let lambda = [0.5, 0.2, 0.3];
    for seed in 0..3 {
        let (inputs, start) = inputs(seed);
        let clouds: Vec<_> = inputs.iter().collect();
        for free in [false, true] {
            let settings = FreeSupport::new().free_weights(free).max_iterations(40);
            let solution = settings.solve(&cpu(2), &clouds, &lambda, &start).unwrap();
            let values = solution.values();
            assert!(values.len() > 2 && values.windows(2).all(|pair| pair[1] <= pair[0]), "{values:?}");
            assert_close(solution.value(), *values.last().unwrap(), 1e-15);
            assert_close(objective(&inputs, &lambda, solution.barycenter()), solution.value(), 1e-10);
            assert_close(solution.barycenter().weights_view().mass(0), 1.0, 1e-12);
            assert!(free || solution.status().is_converged(), "{:?}", solution.status());
        }
        let fixed = FreeSupport::new().solve(&cpu(2), &clouds, &lambda, &start).unwrap();
        let free = FreeSupport::new().free_weights(true).max_iterations(40).solve(&cpu(2), &clouds, &lambda, &start);
        assert!(free.unwrap().value() < fixed.value());
    }
}

/// At a stationary point each atom is the mean of what it is sent to.
#[test]
fn converged_points_are_means() {
    let (inputs, start) = inputs(5);
    let (clouds, lambda) = (inputs.iter().collect::<Vec<_>>(), [0.5, 0.2, 0.3]);
    let solution = FreeSupport::new().tolerance(1e-12).solve(&cpu(2), &clouds, &lambda, &start).unwrap();
    assert!(solution.status().is_converged());
    let barycenter = solution.barycenter();
    let mut means = vec![0.0; 24];
    for (input, lambda) in inputs.iter().zip(lambda) {
        let plan = ExactTransport::new().solve(&cpu(1), barycenter, input, &SqEuclidean).unwrap();
        for entry in plan.plan().entries() {
            for axis in 0..2 {
                let share = entry.mass / barycenter.weights_view().values()[entry.source as usize];
                means[2 * entry.source as usize + axis] +=
                    lambda * share * input.points().point(entry.target as usize)[axis];
            }
        }
    }
    assert!(largest_difference(&means, barycenter.points().coordinates()) < 1e-9);
}

/// One input and free weights: every atom is the mean of the points nearest to it, and weighs what they do.
#[test]
fn one_input_is_k_means() {
    let mut random = Seeded::new(3);
    let centres = [[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]];
    let groups: Vec<Cloud> = centres.map(|centre| cloud(&mut random, 20, centre)).to_vec();
    let points = groups.iter().flat_map(|group| group.points().coordinates().to_vec()).collect::<Vec<_>>();
    let input = PointCloud::new(points, 2, random.weights::<f64>(60, false)).unwrap();
    let start = PointCloud::uniform(vec![1.0, 1.0, 7.0, 1.0, 1.0, 7.0], 2).unwrap();
    let solution = FreeSupport::new().free_weights(true).solve(&cpu(1), &[&input], &[1.0], &start).unwrap();
    assert!(solution.status().is_converged(), "{:?}", solution.status());
    let weights = input.weights_view().values();
    for (group, atoms) in (0..3).map(|group| (group, 20 * group..20 * (group + 1))) {
        let mass: f64 = weights[atoms.clone()].iter().sum();
        assert_close(solution.barycenter().weights_view().values()[group], mass, 1e-12);
        for axis in 0..2 {
            let moment: f64 = atoms.clone().map(|i| weights[i] * input.points().point(i)[axis]).sum();
            assert_close(solution.barycenter().points().point(group)[axis], moment / mass, 1e-9);
        }
    }
}

/// Many points of normal laws have the barycenter of the laws.
#[test]
fn large_clouds_are_near_the_bures_barycenter() {
    let line = |deviation: f64| {
        let mut random = Seeded::new(9);
        let mut points: Vec<f64> = (0..400).map(|_| deviation * random.normal()).collect();
        points.sort_by(f64::total_cmp);
        PointCloud::uniform(points, 1).unwrap()
    };
    let (narrow, wide) = (line(0.5), line(2.0));
    let start = PointCloud::uniform((0..400).map(|i| 0.01 * f64::from(i)).collect::<Vec<_>>(), 1).unwrap();
    let solution = FreeSupport::new().solve(&cpu(2), &[&narrow, &wide], &[0.5, 0.5], &start).unwrap();
    let gaussian = |deviation: f64| Gaussian::new(vec![0.0], vec![deviation * deviation]).unwrap();
    let bures = BuresBarycenter::new().solve(&[gaussian(0.5), gaussian(2.0)], &[0.5, 0.5]).unwrap();
    // The same draws at both scales: deviations average exactly.
    let second = |cloud: &Cloud| cloud.points().coordinates().iter().map(|x| x * x).sum::<f64>() / 400.0;
    let unit = second(&narrow) / 0.25;
    assert_close(second(solution.barycenter()), unit * bures.barycenter().covariance()[0], 1e-9);
}

/// With entropy the objective falls up to the gaps of the transports, and points shrink towards means.
#[test]
fn entropic_inner_solves_blur() {
    let (inputs, start) = inputs(1);
    let (clouds, lambda) = (inputs.iter().collect::<Vec<_>>(), [0.5, 0.2, 0.3]);
    let spread = |cloud: &Cloud| {
        let points = cloud.points();
        let mean = [0, 1].map(|axis| points.coordinates().chunks(2).map(|x| x[axis]).sum::<f64>() / 12.0);
        points.coordinates().chunks(2).map(|x| (x[0] - mean[0]).powi(2) + (x[1] - mean[1]).powi(2)).sum::<f64>()
    };
    let exact = FreeSupport::new().solve(&cpu(2), &clouds, &lambda, &start).unwrap();
    let mut last = spread(exact.barycenter());
    for epsilon in [0.1, 1.0, 30.0] {
        let settings = FreeSupport::new().inner(InnerTransport::Entropic(epsilon)).tolerance(1e-4);
        let solution = settings.solve(&cpu(2), &clouds, &lambda, &start).unwrap();
        let own = spread(solution.barycenter());
        assert!(own < 1.02 * last, "{epsilon} {own} {last}");
        assert!(solution.values().windows(2).all(|pair| pair[1] <= pair[0]));
        last = own;
    }
    assert!(last < 0.05 * spread(exact.barycenter()));
}

#[test]
fn runs_are_watched_and_cancelled() {
    let (inputs, start) = inputs(2);
    let clouds: Vec<_> = inputs.iter().collect();
    let mut seen = Vec::new();
    let mut observer = |progress: &Progress| {
        seen.push(progress.dual.unwrap());
        if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let settings = FreeSupport::new();
    let solution = settings.run(&cpu(1), &clouds, &[1.0; 3], &start).observer(&mut observer).solve().unwrap();
    assert_eq!((solution.status(), solution.iterations(), seen.len()), (Status::Cancelled, 2, 3));
    let limited = settings.max_iterations(1).solve(&cpu(1), &clouds, &[1.0; 3], &start).unwrap();
    assert_eq!(limited.status(), Status::IterationLimit);
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let (inputs, start) = inputs(2);
    let clouds: Vec<_> = inputs.iter().collect();
    let of =
        |clouds: &[&Cloud], weights: &[f64]| FreeSupport::new().solve(&cpu(1), clouds, weights, &start).unwrap_err();
    assert_eq!(of(&[], &[]), Error::EmptyMeasure);
    assert!(matches!(of(&clouds, &[1.0, 1.0]), Error::Length { .. }));
    assert!(matches!(of(&clouds, &[1.0, -1.0, 1.0]), Error::Weight { index: 1, .. }));
    assert!(matches!(of(&clouds, &[0.0; 3]), Error::Mass { .. }));
    let line = PointCloud::uniform(vec![0.0, 1.0], 1).unwrap();
    assert!(matches!(of(&[&line], &[1.0]), Error::DimensionMismatch { .. }));
    let heavy = PointCloud::new(vec![0.0, 0.0], 2, vec![3.0]).unwrap();
    assert!(matches!(of(&[&inputs[0], &heavy], &[1.0, 1.0]), Error::MassMismatch { .. }));
    let settings = FreeSupport::new().inner(InnerTransport::Entropic(0.0));
    assert!(matches!(settings.solve(&cpu(1), &clouds, &[1.0; 3], &start), Err(Error::Epsilon(_))));
    assert!(matches!(
        FreeSupport::new().max_iterations(0).solve(&cpu(1), &clouds, &[1.0; 3], &start),
        Err(Error::Parameter { .. })
    ));
}
