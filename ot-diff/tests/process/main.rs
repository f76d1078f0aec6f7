//! Gradients in points over streamed costs hold O(n + m) memory, the solve before them included: nowhere a number for each pair.
//!
//! Run without the harness, whose threads would be counted too. Solves stop early: what is held does not depend on how far they got.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests without the harness")]

#[allow(dead_code, reason = "calls are not counted here")]
#[path = "../../../ot-cpu/tests/process/allocator.rs"]
mod allocator;

use ot_conformance::Seeded;
use ot_core::{Epsilon, GeometryBuilder, Host, Measure, PointCloud, Problem, Side, Solution, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, LinearSolver, Linearised, Output, value_and_gradient};
use ot_solvers::{Annealing, Sinkhorn};

use self::allocator::peak_of;

/// Atoms of each side: a byte for each pair would be 9 MB.
const ATOMS: usize = 3000;
const DIMENSION: usize = 3;
/// Bytes for each atom of both sides.
const PER_ATOM: usize = 1024;

fn main() {
    for (name, test) in [
        ("the_gradient_of_the_value", the_gradient_of_the_value as fn()),
        ("the_gradient_through_a_linear_solve", the_gradient_through_a_linear_solve),
    ] {
        println!("test {name}");
        test();
    }
}

/// A cloud: the input, which is not counted.
fn cloud(atoms: usize, seed: u64) -> PointCloud<'static, f64> {
    PointCloud::uniform(Seeded::new(seed).vector::<f64>(atoms * DIMENSION, 0.0, 1.0), DIMENSION).unwrap()
}

fn solve(source: &PointCloud<'_, f64>, target: &PointCloud<'_, f64>) -> Solution<Host<f64>> {
    let backend = CpuBackend::<f64>::new(2).unwrap().with_dense_limit(0);
    let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, source, target, Epsilon::Absolute(0.1)).unwrap();
    Sinkhorn::new().max_iterations(1).annealing(Annealing::Off).solve(&problem).unwrap()
}

#[track_caller]
fn assert_linear(atoms: usize, peak: usize) {
    println!("    {peak} bytes, {} for each atom; {} pairs", peak / (2 * atoms), atoms * atoms);
    assert!(peak <= 2 * atoms * PER_ATOM, "{peak} bytes for {atoms} atoms a side");
}

fn the_gradient_of_the_value() {
    let (source, target) = (cloud(ATOMS, 1), cloud(ATOMS, 2));
    let peak = peak_of(|| {
        let (_, mut gradient) = value_and_gradient(&solve(&source, &target)).unwrap();
        Side::BOTH.map(|side| gradient.points(side).unwrap())
    });
    assert_linear(ATOMS, peak);
}

fn the_gradient_through_a_linear_solve() {
    let atoms = ATOMS / 2;
    let (source, target) = (cloud(atoms, 3), cloud(atoms, 4));
    let peak = peak_of(|| {
        let solver = LinearSolver::new().max_steps(2);
        let mut linearised = Linearised::new(&solve(&source, &target)).unwrap().with_solver(solver).unwrap();
        let mut cotangent = linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap();
        cotangent.points(Side::Source).unwrap()
    });
    assert_linear(atoms, peak);
}
