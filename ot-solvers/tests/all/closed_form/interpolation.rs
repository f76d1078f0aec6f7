//! Displacement interpolation.

use ot_conformance::Seeded;
use ot_core::{Epsilon, Error, GeometryBuilder, Measure, PlanEntry, PointCloud, Problem, SqEuclidean, Support};
use ot_solvers::{
    Gaussian, Sinkhorn, SparsePlan, barycentric_interpolation, displacement_interpolation, exact::assign,
};

use super::support::{normals, refused, uniforms};
use crate::support::{assert_close, cpu};

#[test]
fn interpolations_of_optimal_plans_are_geodesics() {
    let mut random = Seeded::new(41);
    let (x, y) = (normals(&mut random, 2 * 40), uniforms(&mut random, 2 * 40));
    let [a, b] = [&x, &y].map(|points| PointCloud::uniform(&points[..], 2).unwrap());
    let assignment = assign(Support::Points(a.points()), Support::Points(b.points()), &SqEuclidean).unwrap();
    let plan = assignment.plan(1.0 / 40.0).unwrap();
    let at = |t: f64| displacement_interpolation(&plan, a.points(), b.points(), t).unwrap();
    let squared = |from: &PointCloud<'_, f64>, to: &PointCloud<'_, f64>| {
        assign(Support::Points(from.points()), Support::Points(to.points()), &SqEuclidean).unwrap().total_cost() / 40.0
    };
    let whole = squared(&a, &b);
    assert_eq!(at(0.0), a);
    assert_close(squared(&at(1.0), &b), 0.0, 1e-15);
    assert_close(squared(&at(0.1), &at(0.6)), 0.25 * whole, 1e-12);
    assert_close(squared(&a, &at(0.6)), 0.36 * whole, 1e-12);
}

#[test]
fn entries_become_atoms() {
    let entry = |source, target, mass| PlanEntry { source, target, mass };
    let plan = SparsePlan::new(2, 2, vec![entry(0, 0, 1.0), entry(0, 1, 2.0), entry(1, 1, 3.0)]).unwrap();
    let a = PointCloud::new(vec![0.0_f32, 8.0], 1, vec![3.0, 3.0]).unwrap();
    let b = PointCloud::new(vec![4.0_f32, 12.0], 1, vec![1.0, 5.0]).unwrap();
    let quarter = displacement_interpolation(&plan, a.points(), b.points(), 0.25).unwrap();
    assert_eq!(quarter, PointCloud::new(vec![1.0_f32, 3.0, 9.0], 1, vec![1.0, 2.0, 3.0]).unwrap());
    assert_eq!(refused(displacement_interpolation(&plan, a.points(), b.points(), f64::NAN)), "time");
    let three = PointCloud::uniform(vec![0.0_f32; 3], 1).unwrap();
    let wrong = displacement_interpolation(&plan, a.points(), three.points(), 0.5);
    assert!(matches!(wrong, Err(Error::Length { expected: 2, found: 3, .. })));
}

#[test]
fn operators_are_followed_through_their_means() {
    let backend = cpu(1);
    let mut random = Seeded::new(42);
    let x = normals(&mut random, 2 * 50);
    let y: Vec<f64> = x.iter().map(|x| x + 3.0).collect();
    let weights: Vec<f64> = uniforms(&mut random, 50);
    let a = PointCloud::new(&x[..], 2, &weights[..]).unwrap().normalized();
    let b = PointCloud::new(&y[..], 2, &weights[..]).unwrap().normalized();
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.01)).unwrap();
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    let mut plan = solution.plan().unwrap();
    assert_eq!(barycentric_interpolation(&mut plan, a.points(), b.points(), 0.0).unwrap().points(), a.points());
    // The mean of mu_t is that of the interpolation, to the marginal error of the plan.
    let half = barycentric_interpolation(&mut plan, a.points(), b.points(), 0.5).unwrap();
    let [from, to, between] = [&a, &b, &half].map(|cloud| Gaussian::of(cloud, 0).unwrap());
    for axis in 0..2 {
        assert_close(between.mean()[axis], 0.5 * from.mean()[axis] + 0.5 * to.mean()[axis], 1e-5);
    }
    // Entropy blurs, and means are less spread than what they are means of.
    let ahead = Gaussian::of(&barycentric_interpolation(&mut plan, a.points(), b.points(), 1.0).unwrap(), 0).unwrap();
    assert!(ahead.covariance()[0] < to.covariance()[0] && ahead.wasserstein(&to).unwrap() < 0.1);
    assert!(barycentric_interpolation(&mut plan, b.points(), a.points(), 2.0).is_err());
}
