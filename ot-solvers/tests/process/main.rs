//! What small exact solves ask of the allocator. Run without the harness, whose threads would be counted too.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test without the harness")]

#[allow(dead_code, reason = "bytes are counted elsewhere")]
#[path = "../../../ot-cpu/tests/process/allocator.rs"]
mod allocator;

use ot_conformance::Seeded;
use ot_core::{CostMatrix, Euclidean, GroundCost, Histogram, Measure, PointCloud, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactTransport, ExactWorkspace};

use self::allocator::calls;

/// Once there was a solve of as many atoms, no solve allocates: matrices and points, with and without zero weights.
fn main() {
    let mut random = Seeded::new(3);
    let (backend, settings) = (CpuBackend::<f64>::new(1).unwrap(), ExactTransport::new());
    let mut workspace = ExactWorkspace::new();
    let mut solve = |a: &dyn Measure<f64>, b: &dyn Measure<f64>, cost: &dyn GroundCost| {
        let before = calls();
        let solution = settings.run(&backend, a, b, cost).solve_in(&mut workspace).unwrap();
        assert!(solution.certificate().proves(1e-12));
        calls() - before
    };

    let matrix = CostMatrix::new(random.vector::<f64>(80 * 80, 0.0, 1.0), 80, 80).unwrap();
    let histograms: Vec<_> = (0..8).map(|k| Histogram::new(random.weights::<f64>(80, k % 2 == 1)).unwrap()).collect();
    let first = solve(&histograms[0], &histograms[2], &matrix);
    let later: usize = (1..8).map(|k| solve(&histograms[k - 1], &histograms[k], &matrix)).sum();
    assert!(first > 10 && later == 0, "a matrix: {first} allocations, then {later}");

    for (dimension, cost) in [(2, &SqEuclidean as &dyn GroundCost), (50, &Euclidean)] {
        let mut cloud = |len: usize| {
            let points = random.vector::<f64>(len * dimension, 0.0, 1.0);
            PointCloud::new(points, dimension, random.weights::<f64>(len, true)).unwrap()
        };
        let clouds: Vec<_> = [80, 80, 40, 70, 80].into_iter().map(&mut cloud).collect();
        let first = solve(&clouds[0], &clouds[1], cost);
        let later: usize = (1..5).map(|k| solve(&clouds[k - 1], &clouds[k], cost)).sum();
        assert!(first > 0 && later == 0, "{dimension} coordinates: {first} allocations, then {later}");
    }
    println!("test small exact solves allocate nothing after the first");
}
