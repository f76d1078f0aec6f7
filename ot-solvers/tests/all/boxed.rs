//! One solver, whatever it is handed: a boxed kernel or a concrete one, a backend that works at once
//! or one that does nothing until it is read.
use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    Backend, Check, CostSurvey, Epsilon, Error, Geometry, HostBackend, KernelOp, Kl, Measure, PlanView, PointCloud,
    Problem, Scalar, Side, SoftMin, Solution, SqEuclidean, TotalVariation, WeightsView,
    conformance::{Counting, Deferred, ReferenceBackend, Seeded},
};
use ot_cpu::CpuBackend;
use ot_solvers::{Annealing, Relaxation, Sinkhorn, Start, Update};

use crate::support::{Law, SIDES};

type Host = ReferenceBackend<f64>;

/// The cost (i - j)^2 / n^2 between the indices below n: the smallest geometry, and its own kernel.
#[derive(Clone, Debug)]
struct Indices<B> {
    backend: B,
    len: usize,
    epsilon: f64,
    columns: usize,
}

impl<B: HostBackend> Indices<B> {
    fn cost(&self, i: usize, j: usize) -> f64 {
        ((i as f64 - j as f64) / self.len as f64).powi(2)
    }

    fn column<'a>(&self, vector: &'a B::Vector, column: usize) -> &'a [B::Elem] {
        let columns = self.backend.shape(vector).1;
        &self.backend.slice(vector)[column.min(columns - 1) * self.len..][..self.len]
    }

    fn column_mut<'a>(&self, vector: &'a mut B::Vector, column: usize) -> &'a mut [B::Elem] {
        &mut self.backend.slice_mut(vector)[column * self.len..][..self.len]
    }
}

impl<B: HostBackend> Geometry<B> for Indices<B> {
    fn backend(&self) -> &B {
        &self.backend
    }

    fn len(&self, _: Side) -> usize {
        self.len
    }

    fn bind(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<B>>, Error> {
        Ok(Box::new(Self { epsilon, columns, ..self.clone() }))
    }

    fn cost_bound(&self) -> Option<f64> {
        Some(1.0)
    }

    fn survey(&self, _: WeightsView<'_, B::Elem>, _: WeightsView<'_, B::Elem>) -> Result<CostSurvey, Error> {
        Err(Error::MissingCapability("survey"))
    }
}

impl<B: HostBackend> KernelOp<B> for Indices<B> {
    fn len(&self, _: Side) -> usize {
        self.len
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn epsilon(&self) -> f64 {
        self.epsilon
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.epsilon = epsilon;
        Ok(())
    }

    fn recenter(&mut self, _: PlanView<'_, B>) -> Result<(), Error> {
        Ok(())
    }

    /// Without a maximum: the exponents of these tests are moderate.
    fn softmin(&mut self, request: SoftMin<'_, B>, out: &mut B::Vector) -> Result<(), Error> {
        let SoftMin { potential, log_weights, active, .. } = request;
        for &column in active.indices() {
            let (potential, log_weights) = (self.column(potential, column), self.column(log_weights, column));
            for (i, out) in self.column_mut(out, column).iter_mut().enumerate() {
                let term = |j: usize| {
                    ((potential[j].to_f64() - self.cost(i, j)) / self.epsilon + log_weights[j].to_f64()).exp()
                };
                *out = B::Elem::from_f64(-self.epsilon * (0..self.len).map(term).sum::<f64>().ln());
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, B>,
        values: &B::Vector,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        for channel in 0..self.backend.shape(values).1 {
            let column = channel * self.columns / self.backend.shape(values).1;
            let scaling = |side: Side, i: usize| {
                let weight = self.column(plan.side(side).weights, column)[i].to_f64();
                weight * (self.column(plan.side(side).potential, column)[i].to_f64() / self.epsilon).exp()
            };
            let values = self.column(values, channel);
            for (i, out) in self.column_mut(out, channel).iter_mut().enumerate() {
                let entry = |j: usize| (-self.cost(i, j) / self.epsilon).exp() * scaling(side.opposite(), j);
                let sum: f64 = (0..self.len).map(|j| entry(j) * values[j].to_f64()).sum();
                *out = B::Elem::from_f64(scaling(side, i) * sum);
            }
        }
        Ok(())
    }
}

/// Potentials to the bit, statuses, iterations and certificates.
fn assert_identical<B: Backend<Elem = f64>, C: Backend<Elem = f64>>(left: &Solution<B>, right: &Solution<C>) {
    for side in SIDES {
        let bits = |potential: Vec<f64>| potential.into_iter().map(f64::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(left.potential(side).unwrap()), bits(right.potential(side).unwrap()));
    }
    assert_eq!(left.statuses(), right.statuses());
    assert_eq!((left.iterations(), left.history()), (right.iterations(), right.history()));
    assert_eq!(left.certificates(), right.certificates());
}

/// A batch of histograms with zeros on `len` random points of the plane.
fn cloud(seed: u64, len: usize, columns: usize) -> PointCloud<'static, f64> {
    let mut seeded = Seeded::new(seed);
    let points = seeded.vector::<f64>(2 * len, 0.0, 1.0);
    let weights: Vec<f64> = (0..columns).flat_map(|_| seeded.weights::<f64>(len, true)).collect();
    PointCloud::batch(points, 2, weights, columns).unwrap().normalized()
}

/// The problems that solvers are tried on, with their settings: each takes another way through the loop.
fn problems<B: Backend<Elem = f64>>(backend: &B) -> Vec<(Problem<B>, Sinkhorn)> {
    let problem = |columns: usize, epsilon: Epsilon, rho: Option<f64>| {
        let (source, target) = (cloud(1, 13, columns), cloud(2, 17, 1));
        let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean).unwrap();
        match rho {
            None => Problem::new(geometry, &source, &target, epsilon).unwrap(),
            Some(rho) => {
                let law = Arc::new(Kl::new(rho).unwrap());
                let other: Law = match columns {
                    1 => Arc::new(TotalVariation::new(rho).unwrap()),
                    _ => law.clone(),
                };
                Problem::relaxed(geometry, &source, &target, epsilon, law, other).unwrap()
            }
        }
    };
    let sinkhorn = Sinkhorn::new().tolerance(1e-9);
    vec![
        (problem(1, Epsilon::RelativeToMean(0.05), None), sinkhorn.clone()),
        (problem(3, Epsilon::RelativeToMean(0.02), None), sinkhorn.clone().check_interval(7)),
        (problem(2, Epsilon::RelativeToMean(0.05), Some(0.3)), sinkhorn.clone()),
        (problem(1, Epsilon::RelativeToMean(0.05), Some(0.2)), sinkhorn.clone()),
        (problem(1, Epsilon::RelativeToMean(0.02), None), sinkhorn.clone().update(Update::Symmetric)),
        (
            problem(1, Epsilon::RelativeToMean(0.01), None),
            sinkhorn.clone().annealing(Annealing::Geometric { start: Some(1.0), factor: 0.3 }),
        ),
        // Ends where it may not go on, between two checks.
        (problem(3, Epsilon::RelativeToMean(0.005), None), sinkhorn.max_iterations(43)),
    ]
}

#[test]
fn a_box_changes_no_bit() {
    let mut seeded = Seeded::new(3);
    let mut measure = |columns: usize| {
        let weights: Vec<f64> = (0..columns).flat_map(|_| seeded.weights::<f64>(19, true)).collect();
        ot_core::Histogram::batch(weights, columns).unwrap().normalized()
    };
    let (source, target) = (measure(2), measure(1));
    let concrete = Indices { backend: Host::default(), len: 19, epsilon: f64::NAN, columns: 2 };
    let epsilon = Epsilon::Absolute(0.02);
    let problem = Problem::new(Arc::new(concrete.clone()), &source, &target, epsilon).unwrap();
    let sinkhorn = Sinkhorn::new().tolerance(1e-10);

    let boxed = sinkhorn.solve(&problem).unwrap();
    assert!(boxed.status().is_converged(), "{}", boxed.status());
    let mut kernel = concrete;
    let unboxed = sinkhorn.run(&problem).solve_with(&mut kernel).unwrap();
    assert_identical(&boxed, &unboxed);
    assert_eq!(kernel.epsilon, problem.epsilon());

    // The solution borrows neither the problem nor the kernel: both serve again.
    let warm = Start::Warm(unboxed.potentials());
    let again = sinkhorn.run(&problem).start(warm).solve_with(&mut kernel).unwrap();
    assert!(again.status().is_converged() && again.iterations() <= 10, "{} iterations", again.iterations());
}

/// The same bits, whether operations run at once or wait for a read.
#[test]
fn nothing_is_peeked_at() {
    let deferred = Deferred::new(Host::default());
    for ((at_once, sinkhorn), (later, _)) in problems(&Host::default()).iter().zip(&problems(&deferred)) {
        let (at_once, later) = (sinkhorn.solve(at_once).unwrap(), sinkhorn.solve(later).unwrap());
        assert_identical(&at_once, &later);
    }
}

#[test]
fn reads_happen_at_checks_and_for_the_certificate() {
    assert_reads_at_checks(Deferred::new(Host::default()));
    let cpu = CpuBackend::new(2).unwrap();
    assert_reads_at_checks(cpu.clone());
    assert_reads_at_checks(cpu.with_dense_limit(0));
}

/// One read at each check, two for the certificate, with or without an observer.
fn assert_reads_at_checks(backend: impl Backend<Elem = f64>) {
    let backend = Counting::new(backend);
    for (problem, sinkhorn) in problems(&backend) {
        let mut observed = 0;
        let mut observer = |_: &Check| {
            observed += 1;
            ControlFlow::Continue(())
        };
        let before = backend.counts();
        let solution = sinkhorn.run(&problem).observer(&mut observer).solve().unwrap();
        let counts = backend.counts().since(before);
        assert_eq!(observed, solution.history().len());
        assert_eq!((counts.reads, counts.bindings), (observed + 2, 1), "{}", solution.status());
    }
}

#[test]
fn iterations_allocate_nothing_and_read_only_at_checks() {
    let backend = Counting::new(Host::default());
    let (source, target) = (cloud(4, 15, 2), cloud(5, 12, 2));
    let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean).unwrap();
    let law = Arc::new(Kl::new(0.5).unwrap());
    let kinked = Arc::new(TotalVariation::new(0.05).unwrap());
    let problems = [
        Problem::new(Arc::clone(&geometry), &source, &target, Epsilon::Absolute(1e-4)).unwrap(),
        Problem::relaxed(Arc::clone(&geometry), &source, &target, Epsilon::Absolute(1e-4), law.clone(), law.clone())
            .unwrap(),
        Problem::relaxed(geometry, &source, &target, Epsilon::Absolute(1e-4), law, kinked).unwrap(),
    ];
    for (problem, update) in
        problems.iter().flat_map(|problem| [(problem, Update::Alternating), (problem, Update::Symmetric)])
    {
        let run = |max_iterations: usize| {
            let sinkhorn = Sinkhorn::new().tolerance(1e-14).check_interval(10);
            let sinkhorn = sinkhorn.annealing(Annealing::Off).relaxation(Relaxation::Off);
            let before = backend.counts();
            let solution = sinkhorn.update(update).max_iterations(max_iterations).solve(problem).unwrap();
            assert_eq!(solution.iterations(), max_iterations, "{}", solution.status());
            backend.counts().since(before)
        };
        let (short, long) = (run(100), run(400));
        assert_eq!(short.allocations, long.allocations);
        assert_eq!((short.reads, long.reads), (100 / 10 + 2, 400 / 10 + 2));
        let (rare, often) = (short.writes, long.writes);
        assert!(
            (30..=60).contains(&(often - rare)),
            "the relaxation at a check, and which columns are the best so far"
        );
    }
}
