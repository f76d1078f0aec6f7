//! The linear systems: what they cost, what is told of them, and how a start or a preconditioner helps.

use std::sync::Arc;

use ot_conformance::{Counting, ReferenceBackend, Seeded};
use ot_core::{
    Backend, Device, Epsilon, Error, GeometryBuilder, Host, Kl, Measure, Operand, PointCloud, Problem, Program, Side,
    SqEuclidean, Status, host::HostVector,
};
use ot_cpu::CpuBackend;
use ot_diff::{ArcsPreconditioner, Gradient, LinearSolver, Linearised, Output, Preconditioner};
use ot_solvers::{Newton, Sinkhorn};

use crate::data::{Data, noise, solve};

fn backend() -> CpuBackend<f64> {
    CpuBackend::new(2).unwrap()
}

/// A harder system costs more products with the plan and a read for every ten steps, and no memory beside the scratch of a
/// projection.
#[test]
fn the_linear_solve_stays_on_the_device() {
    let [easy, hard] = [1.0, 0.03].map(|epsilon| {
        let data = Data { epsilon, ..Data::clouds(40, 30) };
        let counting = Counting::new(Arc::new(ReferenceBackend::<f64>::default()));
        let problem = data.problem(&ReferenceBackend::<f64>::default());
        let solution = solve(&problem.with_backend(Arc::new(counting.clone())));
        let solver = LinearSolver::new().check_interval(10).tolerance(1e-12);
        let mut linearised = Linearised::new(&solution).unwrap().with_solver(solver).unwrap();
        let tangent = data.moving_points(Side::Source, 61).tangent();
        let before = counting.counts();
        let steps = linearised.push_forward(&tangent).unwrap().solve().steps;
        (counting.counts().since(before), steps)
    });
    for (counts, steps) in [easy, hard] {
        assert!(counts.reads <= 4 + steps / 10, "{counts:?}, {steps} steps");
    }
    assert!(hard.1 >= 2 * easy.1 && hard.1 <= 60, "{easy:?}, {hard:?}");
}

/// The steps to 1e-8 grow as the root of the rate: few at an epsilon of a hundredth of the largest cost.
#[test]
fn few_steps_are_needed() {
    let mut data = Data::clouds(150, 150);
    data.epsilon = 8.0 * 1e-2;
    let solution = solve(&data.problem(&backend()));
    let solver = LinearSolver::new().tolerance(1e-8);
    let mut linearised = Linearised::new(&solution).unwrap().with_solver(solver).unwrap();
    let output = Output::Product { side: Side::Source, values: noise(62, 150) };
    let seed = noise(63, 150);
    let solve = linearised.pull_back(&[(&output, &seed)]).unwrap().solve();
    assert!(solve.steps <= 20 && solve.status == Status::Converged, "{solve:?}");
}

/// A budget that is spent, and a tolerance beyond rounding: told, with the residual that was reached.
#[test]
fn what_is_not_solved_is_told() {
    let data = Data { epsilon: 0.03, ..Data::clouds(30, 30) };
    let solution = solve(&data.problem(&backend()));
    let at = |solver| {
        let mut linearised = Linearised::new(&solution).unwrap().with_solver(solver).unwrap();
        linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap().solve()
    };
    let short = at(LinearSolver::new().max_steps(3));
    assert_eq!((short.status, short.steps), (Status::IterationLimit, 3));
    assert!(short.residual > 1e-10 && short.residual.is_finite());
    let greedy = at(LinearSolver::new().tolerance(1e-30));
    assert_eq!(greedy.status, Status::Stalled);
    assert!(greedy.residual < 1e-10, "{greedy:?}");
}

/// The inverse of the diagonal of the Schur complement, sum_i S_ji T_ij.
#[derive(Debug)]
struct Diagonal(HostVector<f64>);

impl Preconditioner<Host<f64>> for Diagonal {
    fn precondition(
        &mut self,
        backend: &dyn Backend<Host<f64>>,
        residual: &HostVector<f64>,
        out: &mut HostVector<f64>,
    ) -> Result<(), Error> {
        let quotient = Program::record(|[r, diagonal]| [r / (1.0 - diagonal)])?;
        backend.map(&quotient, &[residual, &self.0].map(Operand::Vector), &mut [out])
    }
}

/// A preconditioner changes the path, not the solution; a warm start from the solution itself has nothing left to do.
#[test]
fn preconditioners_and_starts_keep_the_solution() {
    let data = Data { epsilon: 0.1, ..Data::clouds(20, 12) };
    let solution = solve(&data.problem(&backend()));
    let plan = solution.plan().unwrap().to_dense(0).unwrap();
    let (a, b) = (&data.weights[0], &data.weights[1]);
    let diagonal: Vec<f64> = (0..12).map(|j| (0..20).map(|i| plan[i * 12 + j].powi(2) / (a[i] * b[j])).sum()).collect();
    let backend_here = backend();
    let uploaded = Backend::<Host<f64>>::upload(&backend_here, &diagonal, 1).unwrap();
    let solver = LinearSolver::new().tolerance(1e-12).warm(true);
    let gradient = |linearised: &mut Linearised<Host<f64>>| {
        let mut cotangent = linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap();
        (cotangent.points(Side::Source).unwrap(), cotangent.solve())
    };
    let mut plain = Linearised::new(&solution).unwrap().with_solver(solver).unwrap();
    let mut preconditioned = Linearised::new(&solution).unwrap().with_solver(solver).unwrap();
    preconditioned = preconditioned.with_preconditioner(Box::new(Diagonal(uploaded)));
    let (expected, cold) = gradient(&mut plain);
    let (found, other) = gradient(&mut preconditioned);
    assert!(cold.status.is_converged() && other.status.is_converged());
    let worst = expected.iter().zip(&found).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-10, "{worst}");

    assert!(gradient(&mut plain).1.steps <= 1);
    // A problem nearby resembles it.
    let near = solve(&data.moved(&data.moving_points(Side::Source, 64), 1e-6).problem(&backend()));
    let mut next = Linearised::new(&near).unwrap().with_solver(solver).unwrap().warm_from(plain);
    let warm = gradient(&mut next).1;
    assert!(warm.steps < cold.steps && warm.status.is_converged(), "{warm:?} after {cold:?}");
}

/// The factor of the arcs: at most ten steps to 1e-8 at any epsilon where plans are sparse, and the same solution.
#[test]
fn the_factor_of_the_arcs_takes_ten_steps() {
    for (epsilon, penalties) in [(1e-3, false), (1e-4, false), (1e-3, true)] {
        let (a, b) = (cloud(1, 120), cloud(2, 110));
        let backend = backend();
        let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let epsilon = Epsilon::Absolute(epsilon);
        let problem = match penalties {
            false => Problem::new(geometry, &a, &b, epsilon).unwrap(),
            true => {
                let kl = Kl::new(0.5).unwrap();
                Problem::unbalanced(geometry, &a, &b, epsilon, &kl, &kl).unwrap()
            }
        };
        let solution = Newton::new().tolerance(1e-12).solve(&problem).unwrap();
        let gradient = |linearised: Linearised<Host<f64>>| {
            let mut linearised = linearised.with_solver(LinearSolver::new().tolerance(1e-8)).unwrap();
            let mut cotangent = linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap();
            (cotangent.points(Side::Source).unwrap(), cotangent.solve())
        };
        let (expected, plain) = gradient(Linearised::new(&solution).unwrap());
        let preconditioner = ArcsPreconditioner::new(&solution).unwrap();
        let (found, quick) =
            gradient(Linearised::new(&solution).unwrap().with_preconditioner(Box::new(preconditioner)));
        assert!(plain.status.is_converged() && quick.status.is_converged(), "{epsilon:?}: {plain:?} {quick:?}");
        assert!(quick.steps <= 10 && plain.steps > 2 * quick.steps, "{epsilon:?}: {plain:?} {quick:?}");
        let worst = expected.iter().zip(&found).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
        let largest = expected.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        assert!(worst < 1e-4 * largest, "{epsilon:?}: {worst} of {largest}");
    }
}

/// A dense plan has no few arcs.
#[test]
fn a_dense_plan_has_no_factor() {
    let (a, b) = (cloud(3, 300), cloud(4, 300));
    let backend = backend();
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(1.0)).unwrap();
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    assert!(matches!(ArcsPreconditioner::new(&solution), Err(Error::OutOfMemory { .. })));
}

/// Seeded points in the unit square, of uneven weights.
fn cloud(seed: u64, len: usize) -> PointCloud<'static, f64> {
    let mut random = Seeded::new(seed);
    let points = random.vector::<f64>(2 * len, 0.0, 1.0);
    let weights = random.vector::<f64>(len, 0.1, 1.0);
    let total: f64 = weights.iter().sum();
    PointCloud::new(points, 2, weights.into_iter().map(|weight| weight / total).collect::<Vec<_>>()).unwrap()
}

/// Same input, same bits, for any number of threads; and the state may be asked on another thread.
#[test]
fn bits_do_not_depend_on_threads() {
    let data = Data { epsilon: 0.1, ..Data::clouds(70, 50) };
    let gradients = [1, 2, 5].map(|threads| {
        let solution = solve(&data.problem(&CpuBackend::<f64>::new(threads).unwrap()));
        let mut linearised = Linearised::new(&solution).unwrap();
        std::thread::spawn(move || pulled_back(&mut linearised)).join().unwrap()
    });
    assert!(gradients.iter().all(|gradient| gradient == &gradients[0]));
}

fn pulled_back<D: Device<Elem = f64>>(linearised: &mut Linearised<D>) -> Vec<u64> {
    let mut cotangent = linearised.pull_back(&[(&Output::TransportCost, &[1.0])]).unwrap();
    cotangent.points(Side::Target).unwrap().into_iter().map(f64::to_bits).collect()
}
