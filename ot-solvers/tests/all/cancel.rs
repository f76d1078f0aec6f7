//! A cancelled solve returns within one pass, with what it has, and says that nothing is proven of it.

use std::ops::ControlFlow;

use ot_conformance::Seeded;
use ot_core::{
    Certificate, Epsilon, GeometryBuilder, Host, Measure, Phase, PointCloud, Problem, Progress, Side, Solution,
    SqEuclidean, Status, certify,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Annealing, Newton, Sinkhorn, Start, front::Transport};

use crate::support::{cloud, cpu};

/// An observer that cancels when it hears of so many things, and what it has heard.
struct Breaks {
    at: usize,
    heard: Vec<Progress>,
}

impl ot_core::Observer for Breaks {
    fn observe(&mut self, progress: &Progress) -> ControlFlow<()> {
        self.heard.push(*progress);
        if self.heard.len() >= self.at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn uniform(seed: u64, len: usize) -> PointCloud<'static, f64> {
    PointCloud::uniform(Seeded::new(seed).vector::<f64>(2 * len, 0.0, 1.0), 2).unwrap()
}

fn problem(backend: &CpuBackend<f64>, clouds: [&PointCloud<'_, f64>; 2], epsilon: f64) -> Problem<Host<f64>> {
    let [a, b] = clouds;
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    Problem::new(geometry, a, b, Epsilon::Absolute(epsilon)).unwrap()
}

fn assert_uncertified(solution: &Solution<Host<f64>>) {
    assert_eq!(solution.status(), Status::Cancelled);
    assert!(!solution.is_certified() && *solution.certificate() == Certificate::unproven(solution.problem().epsilon()));
    assert!(solution.transport_cost().is_none() && solution.gap() == f64::INFINITY);
    for side in Side::BOTH {
        assert!(solution.potential(side).unwrap().iter().all(|value| value.is_finite()));
    }
}

/// Where passes are long, each of them is a chance to stop: the first ends the solve.
#[test]
fn a_long_pass_is_the_last_one() {
    let (a, b) = (uniform(1, 4096), uniform(2, 4096));
    let problem = problem(&cpu(2).with_dense_limit(0), [&a, &b], 0.05);
    let sinkhorn = Sinkhorn::new().annealing(Annealing::Off).check_interval(1000);
    for at in [1, 2] {
        let mut observer = Breaks { at, heard: Vec::new() };
        let solution = sinkhorn.run(&problem).start(Start::Zero).observer(&mut observer).solve().unwrap();
        assert_uncertified(&solution);
        assert_eq!((solution.iterations(), observer.heard.len()), (at, at));
        assert!(observer.heard.iter().all(|told| told.phase == Phase::Iterations && told.marginal_error.is_none()));
        assert!(solution.history().is_empty());
    }
}

/// A break while a start is made between clusters ends the solve before its first iteration.
#[test]
fn a_start_may_be_the_end() {
    let (a, b) = (uniform(3, 6000), uniform(4, 6000));
    let backend = cpu(2).with_dense_limit(0);
    let problem = problem(&backend, [&a, &b], 0.01);
    for at in [1, 2] {
        let mut observer = Breaks { at, heard: Vec::new() };
        let bare = Sinkhorn::new().run(&problem).observer(&mut observer).solve().unwrap();
        assert_uncertified(&bare);
        assert_eq!(bare.iterations(), 0);
        assert!(observer.heard.iter().all(|told| told.phase == Phase::Start && told.of == Some(2)));
        let mut observer = Breaks { at, heard: Vec::new() };
        let front = Transport::between(&a, &b, &SqEuclidean, &backend).epsilon(Epsilon::Absolute(0.01));
        let front = front.observer(&mut observer).solve().unwrap();
        assert_uncertified(&front);
        assert_eq!((front.iterations(), observer.heard.len()), (0, at));
    }
}

/// Cancelled at any time, annealing and Newton's method included, a certificate is one call away.
#[test]
fn certificates_are_made_on_request() {
    let (a, b) = (cloud(5, 50, 0.0, 1.0), cloud(6, 40, 0.3, 1.0));
    let problem = problem(&cpu(1), [&a, &b], 1e-4);
    for at in [1, 2, 3, 5, 9] {
        let mut observer = Breaks { at, heard: Vec::new() };
        let annealed = Sinkhorn::new().tolerance(1e-10).run(&problem).observer(&mut observer).solve().unwrap();
        assert_uncertified(&annealed);
        let mut observer = Breaks { at, heard: Vec::new() };
        let plain = Sinkhorn::new().tolerance(1e-10).annealing(Annealing::Off);
        let plain = plain.run(&problem).observer(&mut observer).solve().unwrap();
        assert_uncertified(&plain);
        let mut observer = Breaks { at, heard: Vec::new() };
        let newton = Newton::new().tolerance(1e-10).run(&problem).observer(&mut observer).solve().unwrap();
        assert_uncertified(&newton);
        // Potentials that an annealing has left at a larger epsilon need not have a plan of finite mass at that of the problem.
        for cancelled in [plain, newton] {
            let certificate = certify(&problem, cancelled.potentials()).unwrap()[0];
            assert!(certificate.is_finite() && certificate.gap.is_finite() && certificate.transport_cost.is_some());
        }
    }
}

/// A solve that is not cancelled ends with its certificate, which the observer hears last.
#[test]
fn the_certificate_is_told_last() {
    let (a, b) = (cloud(7, 50, 0.0, 1.0), cloud(8, 40, 0.3, 1.0));
    let problem = problem(&cpu(1), [&a, &b], 0.05);
    let mut observer = Breaks { at: usize::MAX, heard: Vec::new() };
    let solution = Sinkhorn::new().run(&problem).observer(&mut observer).solve().unwrap();
    assert!(solution.is_certified() && solution.status().is_converged());
    assert_eq!(solution.history(), observer.heard);
    let last = observer.heard.last().unwrap();
    let certificate = solution.certificate();
    assert_eq!((last.phase, last.done), (Phase::Certificate, solution.iterations()));
    assert_eq!((last.gap, last.dual), (Some(certificate.gap), Some(certificate.dual)));
    assert_eq!(last.marginal_error, Some(certificate.marginal_error));
}
