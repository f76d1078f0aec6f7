//! How many passes over all pairs a solve takes beyond its iterations.

use std::sync::Arc;

use ot_conformance::{CountedGeometry, Passes, Seeded};
use ot_core::{Balanced, CostMatrix, Epsilon, GeometryBuilder, Histogram, Kl, Measure, Problem, SquaredL2};
use ot_solvers::{DualAscent, Newton, Sinkhorn};

use crate::support::{Penalty, cpu, normalized, penalty};

/// A problem of random costs, of which the larger is 1, and its geometry.
fn counted(epsilon: f64, penalties: [Penalty; 2]) -> (Problem<ot_core::Host<f64>>, CountedGeometry<f64>) {
    let (n, mut random) = (60, Seeded::new(91));
    let cost = CostMatrix::new(random.vector::<f64>(n * n, 0.0, 1.0), n, n).unwrap();
    let [a, b] = [0, 1].map(|_| Histogram::new(normalized(random.vector::<f64>(n, 0.5, 1.0))).unwrap());
    let geometry = CountedGeometry::new(cpu(1).geometry(a.support(), b.support(), &cost).unwrap());
    let [of_source, of_target] = penalties;
    let shared = Arc::new(geometry.clone());
    let epsilon = Epsilon::Absolute(epsilon);
    (Problem::unbalanced(shared, &a, &b, epsilon, &of_source, &of_target).unwrap(), geometry)
}

/// Densities with capped rows, those of the rows once more, the cost of the mass that is added, and that of the plan.
const CERTIFICATE: Passes = Passes { sweeps: 0, marginals: 2, gaps: 1, costs: 1, products: 0, hard: 0 };

#[test]
fn a_solve_takes_its_iterations_and_one_certificate() {
    let (problem, geometry) = counted(0.02, [penalty(Balanced), penalty(Balanced)]);
    let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem).unwrap();
    assert!(solution.status().is_converged());
    assert_eq!(geometry.passes(), Passes { sweeps: solution.iterations(), ..CERTIFICATE });
}

/// No mass is too much for a penalty that is finite everywhere, so that no plan is scaled down.
#[test]
fn without_bounds_of_densities_one_pass_tells_them_all() {
    let kl = || penalty(Kl::new(1.0).unwrap());
    let (problem, geometry) = counted(0.02, [kl(), kl()]);
    let solution = Sinkhorn::new().tolerance(1e-9).solve(&problem).unwrap();
    assert!(solution.status().is_converged());
    assert_eq!(geometry.passes(), Passes { sweeps: solution.iterations(), marginals: 1, ..CERTIFICATE });
}

/// Before the certificate one pass tells whether the errors are met.
#[test]
fn newton_sweeps_lists_and_certifies() {
    let (problem, geometry) = counted(1e-3, [penalty(Balanced), penalty(Balanced)]);
    let (solution, report) = Newton::new().tolerance(1e-9).run(&problem).solve_with_report().unwrap();
    assert!(solution.status().is_converged());
    let (sweeps, hard) = (report.start_iterations + report.sweeps, report.listings);
    assert_eq!(geometry.passes(), Passes { sweeps, hard, marginals: 1 + CERTIFICATE.marginals, ..CERTIFICATE });
}

/// What is handed over is certified once, at the end.
#[test]
fn a_hand_over_adds_the_passes_of_newton() {
    let (problem, geometry) = counted(1e-4, [penalty(Balanced), penalty(Balanced)]);
    let (solution, report) = Sinkhorn::new().tolerance(1e-9).run(&problem).solve_with_report().unwrap();
    assert!(solution.status().is_converged());
    let newton = report.newton.unwrap();
    let (sweeps, hard) = (report.iterations + newton.sweeps, newton.listings);
    assert_eq!(geometry.passes(), Passes { sweeps, hard, marginals: 1 + CERTIFICATE.marginals, ..CERTIFICATE });
}

#[test]
fn an_ascent_takes_a_c_transform_its_evaluations_and_one_certificate() {
    let (problem, geometry) = counted(0.02, [penalty(Balanced), penalty(Balanced)]);
    let solution = DualAscent::new().tolerance(1e-7).solve(&problem.with_regularizer(&SquaredL2).unwrap()).unwrap();
    assert!(solution.status().is_converged());
    let Passes { sweeps, marginals, gaps, costs, .. } = geometry.passes();
    // Most steps are taken at their first length.
    assert!(marginals <= 1 + 3 * (solution.iterations() + 1) / 2 + CERTIFICATE.marginals, "{:?}", geometry.passes());
    assert_eq!((sweeps, gaps, costs), (0, 1, 1));
}
