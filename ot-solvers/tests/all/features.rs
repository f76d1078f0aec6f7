//! Solvers over kernels of thin factors.

use ot_core::{Epsilon, Geometry, ImpliedCost, PointCloud, Problem, Side, SqEuclidean, UNREACHABLE};
use ot_cpu::FeatureGeometry;
use ot_solvers::{Sinkhorn, SinkhornDivergence, transport};

use crate::support::{cloud, cpu};

const EPSILON: f64 = 0.5;

/// Values move no more than costs do, and certificates say the rest.
#[test]
fn values_are_within_the_error_of_the_cost() {
    let (a, b, backend) = (cloud(1, 30, 0.0, 1.0), cloud(2, 40, 0.2, 1.0), cpu(2));
    let truth = transport(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(EPSILON)).unwrap();
    let gaussian = FeatureGeometry::gaussian(&backend, a.points(), b.points(), EPSILON, 300, 5).unwrap();
    let nystrom = FeatureGeometry::nystrom(&backend, a.points(), b.points(), EPSILON, 40).unwrap();
    for features in [gaussian, nystrom] {
        let problem = Problem::new(features.shared(), &a, &b, features.epsilon()).unwrap();
        let solution = Sinkhorn::new().tolerance(1e-8).solve(&problem).unwrap();
        assert!(solution.status().is_converged(), "{}", solution.status());
        let (error, found, exact) =
            (features.measured_cost_error().unwrap().unwrap(), solution.certificate(), truth.certificate());
        assert!(found.gap < 1e-6 && error < 0.2, "{found} {error}");
        assert!((found.primal - exact.primal).abs() <= error + found.gap + exact.gap);
    }
}

#[test]
fn divergences_of_positive_semi_definite_kernels_are_not_negative() {
    let (a, b, backend) = (cloud(1, 12, 0.0, 1.0), cloud(2, 15, 0.01, 1.0), cpu(1));
    // Few features, so that the cost is far from the squared distance.
    let features = FeatureGeometry::gaussian(&backend, a.points(), b.points(), EPSILON, 8, 5).unwrap();
    let between = |x: &PointCloud<'_, f64>, y: &PointCloud<'_, f64>| {
        SinkhornDivergence::new().between(&features, x, y, &ImpliedCost, features.epsilon()).unwrap()
    };
    assert!(between(&a, &b).value() > 0.0);
    assert!(between(&a, &a).value().abs() < 1e-9);
}

#[test]
fn atoms_without_mass_have_potentials() {
    let (x, y, backend) = (cloud(1, 6, 0.0, 1.0), cloud(2, 5, 0.0, 1.0), cpu(1));
    let without = |points: &PointCloud<'_, f64>| {
        let mut weights = points.weights_view().values().to_vec();
        weights[1] = 0.0;
        PointCloud::new(points.points().coordinates().to_vec(), 2, weights).unwrap().normalized()
    };
    let (a, b) = (without(&x), without(&y));
    let features = FeatureGeometry::gaussian(&backend, a.points(), b.points(), EPSILON, 100, 5).unwrap();
    let problem = Problem::new(features.shared(), &a, &b, features.epsilon()).unwrap();
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    assert!(solution.status().is_converged() && features.len(Side::Source) == 6);
    let f = solution.potential(Side::Source).unwrap();
    assert!(f.iter().all(|f| f.is_finite() && *f < 0.1 * UNREACHABLE));
}
