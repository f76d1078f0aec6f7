//! Solvers over kernels of thin factors.

use ot_core::{
    Epsilon, Geometry, GeometryBuilder, ImpliedCost, Measure, PointCloud, Problem, Side, SqEuclidean, UNREACHABLE,
};
use ot_cpu::FeatureGeometry;
use ot_solvers::{Sinkhorn, SinkhornDivergence, Start, transport};

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

/// A solve of linear time leaves another over all pairs little to do: potentials move no more than costs do.
#[test]
fn potentials_of_features_are_a_start() {
    let (a, b, backend) = (cloud(1, 60, 0.0, 1.0), cloud(2, 50, 0.2, 1.0), cpu(2));
    let features = FeatureGeometry::nystrom(&backend, a.points(), b.points(), EPSILON, 50).unwrap();
    let of_features = Problem::new(features.shared(), &a, &b, features.epsilon()).unwrap();
    let first = Sinkhorn::new().tolerance(1e-8).solve(&of_features).unwrap();

    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, features.epsilon()).unwrap();
    let settings = Sinkhorn::new().tolerance(1e-8).check_interval(1);
    let cold = settings.solve(&problem).unwrap();
    let warm = settings.run(&problem).start(Start::Warm(first.potentials())).solve().unwrap();
    assert!(warm.status().is_converged() && cold.status().is_converged());
    assert!(2 * warm.iterations() <= cold.iterations(), "{} {}", warm.iterations(), cold.iterations());
    let values = [&warm, &cold].map(|solution| solution.certificate().dual);
    assert!((values[0] - values[1]).abs() < 1e-7, "{values:?}");
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
