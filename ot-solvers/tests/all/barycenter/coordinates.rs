//! Coordinates: their gradient against differences, and weights that are found again.

use ot_core::Error;
use ot_solvers::{BarycentricCoordinates, BregmanProjections, CoordinateLoss};

use super::support::{bump, line, on, problem, shapes, solve, uniform};
use crate::support::{assert_close, cpu, largest_difference};

const LOSSES: [CoordinateLoss; 4] = [
    CoordinateLoss::Squared,
    CoordinateLoss::KullbackLeibler,
    CoordinateLoss::TotalVariation,
    CoordinateLoss::Wasserstein,
];

#[test]
fn gradients_are_differences() {
    let points = line(30, 1.0);
    let problem = problem(&cpu(2), &shapes(&points), &[0.4, 0.3, 0.3], &uniform(&points), 0.1);
    let target = on(&points, |x| 0.2 + bump(0.3, 0.3)(x));
    let target = target.weights_view().values();
    let weights = [0.5, 0.2, 0.3];
    for loss in LOSSES {
        let settings = BarycentricCoordinates::new().loss(loss).unrolled(7);
        let at = |weights: &[f64]| settings.value_and_gradient(&problem, target, weights).unwrap();
        let (_, gradient) = at(&weights);
        let size = gradient.iter().fold(0.0_f64, |size, slope| size.max(slope.abs()));
        for k in 0..3 {
            let step = 1e-5;
            let moved = |by: f64| {
                let mut weights = weights;
                weights[k] += by;
                at(&weights).0
            };
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((gradient[k] - difference).abs() < 2e-5 * size, "{loss:?} {k}: {} {difference}", gradient[k]);
        }
    }
}

#[test]
fn barycenters_find_their_weights() {
    let points = line(40, 1.0);
    let of = |weights: &[f64]| problem(&cpu(2), &shapes(&points), weights, &uniform(&points), 0.05);
    let weights = [0.5, 0.2, 0.3];
    let known = solve(&BregmanProjections::new().tolerance(1e-10), &of(&weights)).measure(0).unwrap();
    for loss in LOSSES {
        let settings = BarycentricCoordinates::new().loss(loss).tolerance(1e-7);
        let found = settings.solve(&of(&[1.0; 3]), &known).unwrap();
        assert_close(found.weights().iter().sum::<f64>(), 1.0, 1e-12);
        let off = largest_difference(found.weights(), &weights);
        assert!(off < 5e-3, "{loss:?} {off} {:?} {:?}", found.weights(), found.status());
        assert!(found.history().len() > 1 && found.iterations() > 0);
    }
    // An input of the base is the barycenter of itself.
    let first = solve(&BregmanProjections::new().tolerance(1e-10), &of(&[1.0, 0.0, 0.0])).measure(0).unwrap();
    let found = BarycentricCoordinates::new().solve(&of(&[1.0; 3]), &first).unwrap();
    assert!(found.weights()[0] > 0.97, "{:?}", found.weights());
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let points = line(20, 1.0);
    let single = problem(&cpu(1), &shapes(&line(40, 1.0)), &[0.4, 0.3, 0.3], &uniform(&points), 0.1);
    let settings = BarycentricCoordinates::new();
    let histogram = vec![0.05; 20];
    assert!(matches!(settings.solve(&single, &histogram[1..]), Err(Error::Length { .. })));
    assert!(matches!(settings.solve(&single, &[-1.0; 20]), Err(Error::Weight { .. })));
    assert!(matches!(settings.clone().unrolled(0).solve(&single, &histogram), Err(Error::Parameter { .. })));
    let transport = settings.clone().loss(CoordinateLoss::Wasserstein);
    assert!(matches!(transport.solve(&single, &histogram), Err(Error::Length { .. })));
    assert!(matches!(settings.value_and_gradient(&single, &histogram, &[1.0]), Err(Error::Length { .. })));
    let batch = problem(&cpu(1), &shapes(&line(40, 1.0)), &[0.4, 0.3, 0.3, 1.0, 0.0, 0.0], &uniform(&points), 0.1);
    assert!(matches!(settings.solve(&batch, &histogram), Err(Error::BatchMismatch { .. })));
}
