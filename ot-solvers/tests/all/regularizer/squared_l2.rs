//! Balanced problems: closed forms, limits, and one answer from every geometry.

use std::sync::Arc;

use ot_conformance::{Deferred, ReferenceBackend, Seeded};
use ot_core::{
    CostMatrix, Epsilon, GeometryBuilder, Histogram, Host, Measure, PointCloud, Problem, Side, Solution, SqEuclidean,
    SquaredL2,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Sinkhorn, SparsePlan, Update};

use super::support::*;
use crate::support::{SIDES, assert_close, cloud, cpu};

/// The balanced problem of squares between histograms.
fn of_matrix(costs: &[f64], a: &Histogram<'_, f64>, b: &Histogram<'_, f64>, epsilon: f64) -> Problem<Host<f64>> {
    let backend = cpu(2);
    let (rows, columns) = (a.weights_view().len(), b.weights_view().len());
    let geometry = backend.geometry(a.support(), b.support(), &CostMatrix::new(costs, rows, columns).unwrap()).unwrap();
    let problem = Problem::new(geometry, a, b, Epsilon::Absolute(epsilon)).unwrap();
    problem.with_regularizer(&SquaredL2).unwrap()
}

#[test]
fn against_one_atom_the_plan_is_given() {
    let a = Histogram::new(vec![0.2, 0.5, 0.3]).unwrap();
    let one = Histogram::new(vec![1.0]).unwrap();
    let costs = [3.0, -1.0, 0.5];
    for epsilon in [1e-6, 0.3, 1e3] {
        let solution = solve(&of_matrix(&costs, &a, &one, epsilon), 1e-9);
        let cost = 0.2 * 3.0 - 0.5 + 0.3 * 0.5;
        assert_close(solution.certificate().transport_cost.unwrap(), cost, 1e-8);
        assert_close(solution.certificate().primal, cost + epsilon / 2.0, 1e-8);
        let solution = solve(&of_matrix(&costs[..1], &one, &one, epsilon), 1e-9);
        assert_close(solution.certificate().primal, 3.0 + epsilon / 2.0, 1e-8);
    }
}

#[test]
fn two_against_two_is_a_formula_with_a_threshold() {
    let half = Histogram::new(vec![0.5, 0.5]).unwrap();
    let c = 1.0;
    for epsilon in [0.1, 0.4, 0.6, 2.0] {
        let solution = solve(&of_matrix(&[0.0, c, c, 0.0], &half, &half, epsilon), 1e-11);
        // Densities 1 + t on the diagonal and 1 - t beside it; from epsilon = c / 2 down, nothing is beside it.
        let t = f64::min(c / (2.0 * epsilon), 1.0);
        let primal = c * (1.0 - t) / 2.0 + epsilon / 2.0 * (1.0 + t * t);
        assert_close(solution.certificate().primal, primal, 1e-9);
        let mut plan = solution.plan().unwrap();
        let dense = plan.to_dense(0).unwrap();
        for (found, expected) in dense.iter().zip([1.0 + t, 1.0 - t, 1.0 - t, 1.0 + t]) {
            assert_close(*found, expected / 4.0, 1e-9);
        }
        if t == 1.0 {
            assert_eq!((dense[1], dense[2]), (0.0, 0.0), "exact zeros");
            assert_eq!(plan.nonzeros(0, 2).unwrap().len(), 2);
        }
    }
}

#[test]
fn a_small_epsilon_is_unregularised_transport() {
    let points = |seed| cloud(seed, 40, 0.0, 1.0).points().coordinates()[..40].to_vec();
    let (mut x, mut y) = (points(3), points(4));
    let backend = cpu(2);
    let [a, b] = [&x, &y].map(|points| PointCloud::uniform(points.clone(), 1).unwrap());
    let problem = balanced(&backend, [&a, &b], 1e-4);
    let solution = solve(&problem, 1e-9);
    x.sort_by(f64::total_cmp);
    y.sort_by(f64::total_cmp);
    let exact = x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / 40.0;
    // The smallest costs of all plans, plus no more than the regularizer of that plan.
    let regularizer = problem.epsilon() / 2.0 * 40.0;
    let found = solution.certificate().transport_cost.unwrap();
    assert!(found >= exact - 1e-9 && found <= exact + regularizer, "{found} for {exact}");
    assert!(solution.plan().unwrap().nonzeros(0, 120).unwrap().len() >= 40);
}

#[test]
fn a_large_epsilon_is_the_product_of_the_marginals() {
    let (a, b) = (cloud(5, 12, 0.0, 1.0), cloud(6, 9, 0.2, 1.0));
    let backend = cpu(1);
    let problem = balanced(&backend, [&a, &b], 1e3);
    let dense = solve(&problem, 1e-11).plan().unwrap().to_dense(0).unwrap();
    let bound = 4.0 * problem.geometry().cost_bound().unwrap() / problem.epsilon();
    for (i, a) in a.weights_view().column(0).iter().enumerate() {
        for (j, b) in b.weights_view().column(0).iter().enumerate() {
            let density = dense[i * 9 + j] / (a * b);
            assert!((density - 1.0).abs() <= bound && density != 1.0, "{density}");
        }
    }
}

/// The plan is unique, whatever computes it.
#[test]
fn every_geometry_has_the_same_plan() {
    let (a, b) = (cloud(7, 37, 0.0, 2.0), cloud(8, 45, 0.3, 2.0));
    let dense = cpu(2);
    let streaming = cpu(3).with_dense_limit(0);
    let plan = |solution: Solution<Host<f64>>| solution.plan().unwrap().to_dense(0).unwrap();
    for epsilon in [0.003, 0.1, 2.0] {
        let expected = plan(solve(&balanced(&dense, [&a, &b], epsilon), 1e-11));
        let agree = |found: Vec<f64>, tolerance: f64| {
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < tolerance, "{found} {expected}");
            }
        };
        agree(plan(solve(&balanced(&streaming, [&a, &b], epsilon), 1e-11)), 1e-10);

        let reference = ReferenceBackend::<f64>::default();
        let geometry = reference.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let waiting = Deferred::new(Arc::new(reference)).wrap(Arc::clone(&geometry));
        let rule = Epsilon::RelativeToMean(epsilon);
        let problem = Problem::new(geometry, &a, &b, rule).unwrap().with_regularizer(&SquaredL2).unwrap();
        let solution = solve(&problem, 1e-11);
        agree(solution.plan().unwrap().to_dense(0).unwrap(), 1e-10);
        let rule = Epsilon::Absolute(problem.epsilon());
        let problem = Problem::new(waiting, &a, &b, rule).unwrap().with_regularizer(&SquaredL2).unwrap();
        let later = solve(&problem, 1e-11);
        assert_eq!(later.certificate().dual, solution.certificate().dual, "nothing is looked at before a read");

        let symmetric = Sinkhorn::new().tolerance(1e-10).update(Update::Symmetric).max_iterations(100_000);
        agree(plan(symmetric.solve(&balanced(&dense, [&a, &b], epsilon)).unwrap()), 1e-9);
    }
}

#[test]
fn single_precision_converges_to_its_own_accuracy() {
    let (a, b) = (cloud(7, 37, 0.0, 1.0), cloud(8, 45, 0.3, 1.0));
    let expected = solve(&balanced(&cpu(1), [&a, &b], 0.05), 1e-10).certificate().primal;
    let narrow = |cloud: &PointCloud<'_, f64>| {
        let points: Vec<f32> = cloud.points().coordinates().iter().map(|x| *x as f32).collect();
        let weights: Vec<f32> = cloud.weights_view().values().iter().map(|w| *w as f32).collect();
        PointCloud::new(points, 2, weights).unwrap()
    };
    let (a, b) = (narrow(&a), narrow(&b));
    for backend in [CpuBackend::<f32>::new(2).unwrap(), CpuBackend::<f32>::new(2).unwrap().with_dense_limit(0)] {
        let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let problem = Problem::new(geometry, &a, &b, Epsilon::RelativeToMean(0.05)).unwrap();
        let solution = solve(&problem.with_regularizer(&SquaredL2).unwrap(), 1e-4);
        assert_close(solution.certificate().primal, expected, 1e-4);
    }
}

#[test]
fn a_batch_is_its_columns() {
    let (a, b) = (cloud(11, 20, 0.0, 1.0), cloud(12, 15, 0.3, 1.0));
    let weights: Vec<f64> =
        [21, 22].iter().flat_map(|&seed| cloud(seed, 20, 0.0, 1.0).weights_view().values().to_vec()).collect();
    let points = a.points().coordinates().to_vec();
    let batch = PointCloud::batch(points.clone(), 2, weights.clone(), 2).unwrap();
    let backend = cpu(2);
    let together = solve(&balanced(&backend, [&batch, &b], 0.02), 1e-10);
    let epsilon = together.problem().epsilon();
    for column in 0..2 {
        let one = PointCloud::new(points.clone(), 2, weights[column * 20..][..20].to_vec()).unwrap();
        let alone = balanced(&backend, [&one, &b], 0.02).with_epsilon(epsilon).unwrap();
        let alone = solve(&alone, 1e-10);
        let (found, expected) = (&together.certificates()[column], alone.certificate());
        assert_close(found.primal, expected.primal, 1e-8);
        let (found, expected) = (together.plan().unwrap().to_dense(column), alone.plan().unwrap().to_dense(0));
        for (found, expected) in found.unwrap().iter().zip(expected.unwrap()) {
            assert_close(*found, expected, 1e-9);
        }
    }
}

/// The certificate against sums over the dense plan, written out.
#[test]
fn the_certificate_is_the_objective_written_out() {
    let (a, b) = (cloud(13, 14, 0.0, 1.0), cloud(14, 17, 0.3, 1.0));
    let backend = cpu(2);
    for iterations in [3, 12, 400] {
        let problem = balanced(&backend, [&a, &b], 0.05);
        let solver = Sinkhorn::new().tolerance(1e-10).max_iterations(iterations);
        let solution = solver.solve(&problem).unwrap();
        let [f, g] = SIDES.map(|side| solution.potential(side).unwrap());
        let (a, b, epsilon) = (a.weights_view().column(0), b.weights_view().column(0), problem.epsilon());
        let (mut dual, mut cost) = (0.0, 0.0);
        let mut residuals = [a.to_vec(), b.to_vec()];
        let plan = solution.plan().unwrap().to_dense(0).unwrap();
        for (i, x) in (0..14).zip(cloud(13, 14, 0.0, 1.0).points().coordinates().chunks(2)) {
            for (j, y) in (0..17).zip(cloud(14, 17, 0.3, 1.0).points().coordinates().chunks(2)) {
                let c = (x[0] - y[0]).powi(2) + (x[1] - y[1]).powi(2);
                let z: f64 = ((f[i] + g[j] - c) / epsilon).max(0.0);
                dual -= epsilon * a[i] * b[j] * z * z / 2.0;
                assert_close(plan[i * 17 + j], a[i] * b[j] * z, 1e-12);
                residuals[0][i] -= a[i] * b[j] * z;
                residuals[1][j] -= a[i] * b[j] * z;
                cost += a[i] * b[j] * z * c;
            }
        }
        dual += f.iter().zip(a).map(|(f, a)| f * a).sum::<f64>() + g.iter().zip(b).map(|(g, b)| g * b).sum::<f64>();
        let certificate = solution.certificate();
        assert_close(certificate.dual, dual, 1e-12);
        assert_close(certificate.transport_cost.unwrap(), cost, 1e-12);
        let error: f64 = residuals.iter().flatten().map(|r| r.abs()).sum();
        assert_close(certificate.marginal_error, error, 1e-11);
        // The gap of the rounded plan, which is feasible, from its entries.
        let mut kernel = problem.bind().unwrap();
        let rounded = ot_core::RoundedPlan::round(kernel.as_mut(), &problem, solution.potentials()).unwrap();
        let rounded = rounded.to_dense(0).unwrap();
        let mut primal = 0.0;
        for (i, x) in (0..14).zip(cloud(13, 14, 0.0, 1.0).points().coordinates().chunks(2)) {
            for (j, y) in (0..17).zip(cloud(14, 17, 0.3, 1.0).points().coordinates().chunks(2)) {
                let c = (x[0] - y[0]).powi(2) + (x[1] - y[1]).powi(2);
                let mass = rounded[i * 17 + j];
                primal += mass * c + epsilon / 2.0 * mass * mass / (a[i] * b[j]);
            }
            assert_close(rounded[i * 17..][..17].iter().sum(), a[i], 1e-12);
        }
        assert_close(certificate.primal, primal, 1e-11);
        assert!(certificate.gap >= 0.0 && (iterations < 400 || certificate.gap < 1e-9), "{certificate:?}");
    }
}

#[test]
fn weights_of_zero_and_forbidden_pairs_carry_nothing() {
    let a = Histogram::new(vec![0.5, 0.0, 0.5]).unwrap();
    let b = Histogram::new(vec![0.25, 0.75, 0.0]).unwrap();
    let infinite = f64::INFINITY;
    let costs = [0.0, 1.0, 0.1, 0.5, 0.2, infinite, infinite, 0.3, 0.0];
    let solution = solve(&of_matrix(&costs, &a, &b, 0.2), 1e-10);
    let mut plan = solution.plan().unwrap();
    let dense = plan.to_dense(0).unwrap();
    // The last row has one partner left, so that all is given.
    for (found, expected) in dense.iter().zip([0.25, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0]) {
        assert_close(*found, expected, 1e-9);
        assert!(expected > 0.0 || *found == 0.0);
    }
    assert_eq!(plan.nonzeros(0, 9).unwrap().len(), 3);
    assert!(solution.certificate().gap < 1e-8);
    for side in SIDES {
        assert!(solution.potential(side).unwrap().iter().all(|f| f.is_finite()));
    }
}

#[test]
fn the_sparse_plan_is_the_plan() {
    let (a, b) = (cloud(15, 50, 0.0, 1.0), cloud(16, 60, 0.2, 1.0));
    let solution = solve(&balanced(&cpu(2), [&a, &b], 0.01), 1e-10);
    let mut plan = solution.plan().unwrap();
    let dense = plan.to_dense(0).unwrap();
    let entries = plan.nonzeros(0, 3000).unwrap();
    assert!(entries.len() < 1000, "{} of 3000", entries.len());
    assert_eq!(entries.len(), dense.iter().filter(|mass| **mass > 0.0).count());
    let sparse = SparsePlan::new(50, 60, entries).unwrap();
    for (found, expected) in sparse.marginal(Side::Source).iter().zip(a.weights_view().column(0)) {
        assert_close(*found, *expected, 1e-9);
    }
    assert_eq!(plan.to_sparse(0, 1e-3, 3000).unwrap().len(), dense.iter().filter(|mass| **mass >= 1e-3).count());
    assert!(plan.nonzeros(0, 10).is_err(), "more than the limit");

    let projected = plan.barycentric_projection(Side::Source, b.points().coordinates(), 2).unwrap();
    for (i, found) in projected.chunks(2).enumerate() {
        let row = &dense[i * 60..][..60];
        let mass: f64 = row.iter().sum();
        for (axis, found) in found.iter().enumerate() {
            let mean: f64 = row.iter().zip(b.points().coordinates().chunks(2)).map(|(p, y)| p * y[axis]).sum();
            assert_close(*found, mean / mass, 1e-9);
        }
    }
}

#[test]
fn threads_change_no_bits() {
    let (a, b) = (cloud(17, 301, 0.0, 1.0), cloud(18, 217, 0.3, 1.0));
    let solved = |threads: usize, limit: usize| {
        let backend = cpu(threads).with_dense_limit(limit);
        let problem = balanced(&backend, [&a, &b], 0.02);
        let iterated = Sinkhorn::new().max_iterations(20).solve(&problem).unwrap();
        let climbed = ot_solvers::DualAscent::new().max_iterations(10).solve(&problem).unwrap();
        let of = |solution: &Solution<Host<f64>>| {
            (solution.potential(Side::Source).unwrap(), *solution.certificate(), solution.plan().unwrap().to_dense(0))
        };
        (of(&iterated), of(&climbed))
    };
    for limit in [0, usize::MAX] {
        let one = solved(1, limit);
        for threads in [2, 7] {
            assert_eq!(one, solved(threads, limit), "{threads}");
        }
    }
}

#[test]
fn tiny_weights_do_no_harm() {
    let mut random = Seeded::new(5);
    for trial in 0..400 {
        let [n, m] = [2 + trial % 5, 2 + trial % 4];
        let spread = [1.0, 10.0, 100.0][trial % 3];
        let (x, y) = (random.vector::<f64>(n, 0.0, spread), random.vector::<f64>(m, 0.0, 1.0));
        let (weights, b) = (random.vector::<f64>(n, 0.1, 1.0), random.vector::<f64>(m, 0.1, 1.0));
        let b = PointCloud::new(y, 1, b).unwrap().normalized();
        let with = |weight: f64| {
            let mut weights = weights.clone();
            weights[trial % n] = weight;
            PointCloud::new(x.clone(), 1, weights).unwrap().normalized()
        };
        // Nearly nothing is as good as nothing.
        let (a, without) = (with([1e-100, 1e-200, 1e-250, 1e-30][trial % 4]), with(0.0));
        let epsilon = [1e-3, 1e-2, 0.1, 1.0][(trial / 3) % 4];
        for turned in [false, true] {
            let dual = |a: &PointCloud<'_, f64>| {
                let clouds = if turned { [&b, a] } else { [a, &b] };
                let problem = balanced(&cpu(1), clouds, epsilon);
                let found = Sinkhorn::new().tolerance(1e-9).max_iterations(20_000).solve(&problem).unwrap();
                assert!(found.status().is_converged(), "{trial}: {} {:?}", found.status(), found.certificate());
                // Epsilon is that of the mean.
                found.certificate().dual / problem.epsilon()
            };
            assert_close(dual(&a), dual(&without), 1e-6);
        }
    }
}
