//! Where divergences go as epsilon falls and grows.

use ot_conformance::problems::Quantiles;
use ot_core::{Epsilon, Euclidean, GroundCost, SqEuclidean};
use ot_solvers::{DivergenceForm, Sinkhorn, SinkhornDivergence};

use super::support::discrepancy;
use crate::support::{assert_close, backends, cloud, cpu};

fn settings(form: DivergenceForm) -> SinkhornDivergence {
    SinkhornDivergence::new().form(form).sinkhorn(Sinkhorn::new().tolerance(1e-7).max_iterations(100_000))
}

#[test]
fn small_epsilons_give_transport_without_entropy() {
    let problem = Quantiles::new(12, 15, 1);
    let (a, b) = (problem.source().unwrap(), problem.target::<f64>().unwrap());
    for backend in backends(1) {
        for (cost, exponent) in [(&SqEuclidean as &dyn GroundCost, 2.0), (&Euclidean, 1.0)] {
            let exact = problem.cost(exponent);
            for (form, factor) in
                [(DivergenceForm::Full, 1.0), (DivergenceForm::Sharp, 1.0), (DivergenceForm::Genevay, 2.0)]
            {
                let error = |epsilon| {
                    let found = settings(form).between(&backend, &a, &b, cost, Epsilon::Absolute(epsilon)).unwrap();
                    (found.value() - factor * exact).abs()
                };
                let (coarse, fine) = (error(3e-2), error(1e-3));
                assert!(fine < 0.2 * coarse && fine < 5e-3, "{form:?}: {fine} after {coarse}");
            }
        }
    }
}

#[test]
fn large_epsilons_give_half_the_squared_discrepancy() {
    let (a, b) = (cloud(1, 20, 0.0, 1.0), cloud(2, 25, 0.3, 1.0));
    for backend in backends(1) {
        for (cost, exponent) in [(&SqEuclidean as &dyn GroundCost, 2.0), (&Euclidean, 1.0)] {
            let half = 0.5 * discrepancy(&a, &b, |distance| -distance.powf(exponent));
            for (form, factor) in
                [(DivergenceForm::Full, 1.0), (DivergenceForm::Sharp, 1.0), (DivergenceForm::Genevay, 2.0)]
            {
                let deviation = |epsilon| {
                    let settings = settings(form).sinkhorn(Sinkhorn::new().tolerance(1e-12));
                    let found = settings.between(&backend, &a, &b, cost, Epsilon::Absolute(epsilon)).unwrap();
                    (found.value() - factor * half).abs()
                };
                // The deviation falls as 1 / epsilon.
                let (first, second, third) = (deviation(1e1), deviation(1e2), deviation(1e3));
                for ratio in [second / first, third / second] {
                    assert!((0.07..0.13).contains(&ratio), "{form:?}, exponent {exponent}: {ratio}");
                }
            }
        }
    }
}

#[test]
fn translations_cost_their_square_at_every_epsilon() {
    // For squared distances, S(a, a + t) = |t|^2 whatever epsilon: OT(a, a + t) = OT(a, a) + |t|^2.
    let backend = cpu(1);
    let a = cloud(3, 20, 0.0, 1.0);
    let moved: Vec<f64> = a.points().coordinates().chunks(2).flat_map(|x| [x[0] + 0.5, x[1] - 0.25]).collect();
    let moved = ot_core::PointCloud::new(moved, 2, a.weights_view().values().to_vec()).unwrap();
    for epsilon in [1e-2, 1.0, 1e2] {
        let found =
            settings(DivergenceForm::Full).between(&backend, &a, &moved, &SqEuclidean, Epsilon::Absolute(epsilon));
        assert_close(found.unwrap().value(), 0.3125, 1e-6);
    }
}
