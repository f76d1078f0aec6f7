//! Rounds by products from starts that are far from the solution.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;

use ot_conformance::Seeded;
use ot_core::{Epsilon, Host, PointCloud, Potentials, Problem, Solution, SqEuclidean};
use ot_cpu::{BlockSparseGeometry, CpuBackend};

use crate::{HandOver, Newton, NewtonReport, Sinkhorn, Start};

/// As many atoms as products ask for.
const LEN: usize = 4200;
const FEW: usize = 40 * LEN;
const EPSILON: f64 = 1.0 / LEN as f64;

/// Two clouds of the plane, the second denser towards the origin.
fn problem() -> Problem<Host<f64>> {
    let mut random = Seeded::new(11);
    let mut cloud = |bent: f64| {
        let coordinate = |_| {
            let x = random.uniform(0.0, 1.0);
            x + bent * (x * x - x)
        };
        PointCloud::uniform((0..2 * LEN).map(coordinate).collect::<Vec<f64>>(), 2).unwrap()
    };
    let (a, b) = (cloud(0.0), cloud(0.5));
    let backend = CpuBackend::new(2).unwrap();
    let geometry = BlockSparseGeometry::new(&backend, a.points(), b.points(), Arc::new(SqEuclidean)).unwrap();
    Problem::new(Arc::new(geometry), &a, &b, Epsilon::Absolute(EPSILON)).unwrap()
}

/// Newton's method from potentials that are moved by so many epsilons over the whole cloud, and by as many from atom to atom.
fn from_moved(near: &Solution<Host<f64>>, [smooth, rough]: [f64; 2]) -> (Solution<Host<f64>>, NewtonReport) {
    let (mut random, last) = (Seeded::new(12), LEN as f64);
    let mut moved = |(i, value): (usize, &f64)| {
        let wave = (6.0 * i as f64 / last).sin();
        value + EPSILON * (smooth * wave + rough * random.uniform(-1.0, 1.0))
    };
    let (potentials, backend) = (near.potentials(), near.problem().backend());
    let target: Vec<f64> = potentials.target.values().iter().enumerate().map(&mut moved).collect();
    let start =
        Potentials { source: potentials.source.clone(), target: backend.upload(&target, 1).unwrap(), epsilon: EPSILON };
    // Neither few arcs nor as many as are allowed hold the plan: products are all there is.
    let newton = Newton::new().tolerance(1e-7).max_passes(400).most_arcs(FEW);
    newton.run(near.problem()).start(Start::Warm(&start)).solve_with_report().unwrap()
}

#[test]
fn poor_starts_end_at_the_solution_in_few_directions() {
    let problem = problem();
    let near = Sinkhorn::new().max_iterations(10).hand_over(HandOver::Never).solve(&problem).unwrap();
    for moved in [[4.0, 0.0], [8.0, 8.0]] {
        let (solution, report) = from_moved(&near, moved);
        let error = solution.certificate().marginal_error;
        assert!(solution.status().is_converged() && error <= 1e-7, "{moved:?}: {error:e}, {report:?}");

        assert!(report.products > 0 && report.directions <= 10, "{moved:?}: {report:?}");
    }
}
