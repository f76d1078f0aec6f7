//! Derivatives of the divergence against differences of its values.

use ot_core::{Epsilon, Error, Euclidean, GroundCost, Host, Kl, PointCloud, Side, SqEuclidean};
use ot_solvers::{Divergence, DivergenceForm, Sinkhorn, SinkhornDivergence};

use super::support::parts;
use crate::support::{Cpu, SIDES, assert_close, backends, cloud, cpu};

const STEP: f64 = 1e-4;

/// The full divergence, with prescribed marginals or under a Kullback-Leibler penalty.
fn divergence(
    backend: &Cpu,
    clouds: [&PointCloud<'_, f64>; 2],
    cost: &dyn GroundCost,
    rho: Option<f64>,
) -> Divergence<Host<f64>> {
    let settings = SinkhornDivergence::new().sinkhorn(Sinkhorn::new().tolerance(1e-12).max_iterations(100_000));
    let settings = match rho {
        Some(rho) => settings.penalty(&Kl::new(rho).unwrap()).unwrap(),
        None => settings,
    };
    settings.between(backend, clouds[0], clouds[1], cost, Epsilon::Absolute(0.1)).unwrap()
}

#[test]
fn first_variations_are_derivatives_in_weights() {
    for backend in backends(1) {
        for (rho, mass) in [(None, 1.0), (Some(0.5), 1.7)] {
            let (a, b) = (cloud(1, 12, 0.0, 1.0), cloud(2, 14, 0.2, mass));
            let here = divergence(&backend, [&a, &b], &SqEuclidean, rho);
            for side in SIDES {
                let (points, weights) = parts(if side == Side::Source { &a } else { &b });
                // Mass moves from one atom to another; under a penalty it may also come from nowhere.
                let mut direction = vec![0.0; weights.len()];
                direction[3] = 1.0;
                direction[7] = if rho.is_some() { 0.5 } else { -1.0 };
                let at = |step: f64| {
                    let moved: Vec<f64> = weights.iter().zip(&direction).map(|(w, d)| w + step * d).collect();
                    let moved = PointCloud::new(points.clone(), 2, moved).unwrap();
                    let clouds = if side == Side::Source { [&moved, &b] } else { [&a, &moved] };
                    divergence(&backend, clouds, &SqEuclidean, rho).value()
                };
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let variation = here.first_variation(side).unwrap();
                let found: f64 = variation.iter().zip(&direction).map(|(v, d)| v * d).sum();
                assert_close(found, expected, 1e-6);
            }
        }
    }
}

#[test]
fn gradients_are_derivatives_in_points() {
    for backend in backends(1) {
        for (cost, rho) in [(&SqEuclidean as &dyn GroundCost, None), (&SqEuclidean, Some(0.5)), (&Euclidean, None)] {
            let (a, b) = (cloud(3, 9, 0.0, 1.0), cloud(4, 11, 0.2, 1.0));
            let here = divergence(&backend, [&a, &b], cost, rho);
            for side in SIDES {
                let (points, weights) = parts(if side == Side::Source { &a } else { &b });
                let direction: Vec<f64> = (0..points.len()).map(|k| (k as f64).sin()).collect();
                let at = |step: f64| {
                    let moved: Vec<f64> = points.iter().zip(&direction).map(|(x, d)| x + step * d).collect();
                    let moved = PointCloud::new(moved, 2, weights.clone()).unwrap();
                    let clouds = if side == Side::Source { [&moved, &b] } else { [&a, &moved] };
                    divergence(&backend, clouds, cost, rho).value()
                };
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                let gradient = here.gradient(side).unwrap();
                let found: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
                assert_close(found, expected, 1e-6);
            }
        }
    }
}

#[test]
fn at_equal_measures_nothing_changes() {
    let backend = cpu(1);
    let a = cloud(5, 12, 0.0, 1.0);
    let here = divergence(&backend, [&a, &a], &SqEuclidean, Some(0.3));
    assert!(here.first_variation(Side::Source).unwrap().iter().all(|&v| v == 0.0));
    assert!(here.gradient(Side::Target).unwrap().iter().all(|g| g.abs() < 1e-12));
}

#[test]
fn sharp_forms_have_no_derivative_here() {
    let backend = cpu(1);
    let (a, b) = (cloud(6, 5, 0.0, 1.0), cloud(7, 6, 0.0, 1.0));
    let sharp = SinkhornDivergence::new().form(DivergenceForm::Sharp);
    let sharp = sharp.between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap();
    assert!(matches!(sharp.first_variation(Side::Source), Err(Error::MissingCapability(_))));
    assert!(matches!(sharp.gradient(Side::Source), Err(Error::MissingCapability(_))));
}
