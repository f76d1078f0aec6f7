//! One solver, whatever it is handed: a boxed kernel or a concrete one, a backend that works at once
//! or one that does nothing until it is read.
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use ot_conformance::{Counting, DeferredBuilder, ReferenceBackend, Seeded};
use ot_core::{
    Backend, Binding, CostStatistics, Device, Epsilon, Error, Geometry, GeometryBuilder, GibbsKernel, GroundCost, Host,
    KernelOp, Kl, Measure, PlanOperator, PlanView, PointCloud, Problem, Progress, RecordedRegularizer, Side, SoftMin,
    Solution, SqEuclidean, Support, TotalVariation, WeightsView, host::HostVector,
};
use ot_cpu::CpuBackend;
use ot_solvers::{Annealing, Relaxation, Sinkhorn, Start, Update};

use crate::support::{SIDES, penalty};

type Reference = ReferenceBackend<f64>;

/// The cost (i - j)^2 / n^2 between the indices below n: the smallest geometry, and its own kernel.
#[derive(Clone, Debug)]
struct Indices {
    binding: Binding,
}

impl Indices {
    fn atoms(&self) -> usize {
        self.binding.len(Side::Source)
    }

    fn cost(&self, i: usize, j: usize) -> f64 {
        ((i as f64 - j as f64) / self.atoms() as f64).powi(2)
    }
}

impl Geometry<Host<f64>> for Indices {
    fn backend(&self) -> Arc<dyn Backend<Host<f64>>> {
        Arc::new(Reference::default())
    }

    fn len(&self, side: Side) -> usize {
        self.binding.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<f64>>>, Error> {
        Ok(Box::new(Self { binding: Binding::new([self.atoms(); 2], columns, epsilon)? }))
    }

    fn cost_bound(&self) -> Option<f64> {
        Some(1.0)
    }
}

impl PlanOperator<Host<f64>> for Indices {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.binding.rebind(epsilon)
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<f64>>,
        values: &HostVector<f64>,
        out: &mut HostVector<f64>,
    ) -> Result<(), Error> {
        let (channels, epsilon) = (values.shape().1, self.binding.epsilon());
        for channel in 0..channels {
            let column = channel * self.binding.columns() / channels;
            let scaling = |side: Side, i: usize| {
                let side = plan.side(side);
                side.weights.column(column)[i] * (side.potential.column(column)[i] / epsilon).exp()
            };
            let values = values.column(channel);
            for (i, out) in out.column_mut(channel).iter_mut().enumerate() {
                let entry = |j: usize| (-self.cost(i, j) / epsilon).exp() * scaling(side.opposite(), j);
                let sum: f64 = (0..self.atoms()).map(|j| entry(j) * values[j]).sum();
                *out = scaling(side, i) * sum;
            }
        }
        Ok(())
    }
}

impl GibbsKernel<Host<f64>> for Indices {
    /// Without a maximum: the exponents of these tests are moderate.
    fn softmin(&mut self, request: SoftMin<'_, Host<f64>>, out: &mut HostVector<f64>) -> Result<(), Error> {
        let SoftMin { other, active, .. } = request;
        let epsilon = self.binding.epsilon();
        for &column in active.indices() {
            let (potential, log_weights) = (other.potential.column(column), other.log_weights.column(column));
            for (i, out) in out.column_mut(column).iter_mut().enumerate() {
                let term = |j: usize| ((potential[j] - self.cost(i, j)) / epsilon + log_weights[j]).exp();
                *out = -epsilon * (0..self.atoms()).map(term).sum::<f64>().ln();
            }
        }
        Ok(())
    }
}

/// A builder whose geometries count the kernels that they bind.
#[derive(Debug)]
struct CountedBindings<'a, D: Device> {
    builder: &'a dyn GeometryBuilder<Device = D>,
    bindings: Arc<AtomicUsize>,
}

/// A geometry that counts the kernels that it binds.
#[derive(Debug)]
struct CountedGeometry<D: Device> {
    geometry: Arc<dyn Geometry<D>>,
    bindings: Arc<AtomicUsize>,
}

impl<D: Device> GeometryBuilder for CountedBindings<'_, D> {
    type Device = D;

    fn geometry(
        &self,
        source: Support<'_, D::Elem>,
        target: Support<'_, D::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<D>>, Error> {
        let geometry = self.builder.geometry(source, target, cost)?;
        Ok(Arc::new(CountedGeometry { geometry, bindings: Arc::clone(&self.bindings) }))
    }
}

impl<D: Device> Geometry<D> for CountedGeometry<D> {
    fn backend(&self) -> Arc<dyn Backend<D>> {
        self.geometry.backend()
    }

    fn len(&self, side: Side) -> usize {
        self.geometry.len(side)
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<D>>, Error> {
        self.bindings.fetch_add(1, Relaxed);
        self.geometry.bind_entropic(epsilon, columns)
    }

    fn bind(
        &self,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<D>>, Error> {
        self.bindings.fetch_add(1, Relaxed);
        self.geometry.bind(regularizer, epsilon, columns)
    }

    fn cost_bound(&self) -> Option<f64> {
        self.geometry.cost_bound()
    }

    fn cost_statistics(
        &self,
        source: WeightsView<'_, D::Elem>,
        target: WeightsView<'_, D::Elem>,
    ) -> Result<CostStatistics, Error> {
        self.geometry.cost_statistics(source, target)
    }
}

/// Potentials to the bit, statuses, iterations and certificates.
fn assert_identical<D: Device<Elem = f64>, E: Device<Elem = f64>>(left: &Solution<D>, right: &Solution<E>) {
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
fn problems<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) -> Vec<(Problem<D>, Sinkhorn)> {
    let problem = |columns: usize, epsilon: Epsilon, rho: Option<f64>| {
        let (source, target) = (cloud(1, 13, columns), cloud(2, 17, 1));
        let geometry = builder.geometry(source.support(), target.support(), &SqEuclidean).unwrap();
        match rho {
            None => Problem::new(geometry, &source, &target, epsilon).unwrap(),
            Some(rho) => {
                let kl = Kl::new(rho).unwrap();
                let other = match columns {
                    1 => penalty(TotalVariation::new(rho).unwrap()),
                    _ => penalty(kl),
                };
                Problem::unbalanced(geometry, &source, &target, epsilon, &kl, &other).unwrap()
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
    let concrete = Indices { binding: Binding::new([19, 19], 2, 1.0).unwrap() };
    let epsilon = Epsilon::Absolute(0.02);
    let problem = Problem::new(Arc::new(concrete.clone()), &source, &target, epsilon).unwrap();
    let sinkhorn = Sinkhorn::new().tolerance(1e-10);

    let boxed = sinkhorn.solve(&problem).unwrap();
    assert!(boxed.status().is_converged(), "{}", boxed.status());
    let mut kernel = concrete;
    let unboxed = sinkhorn.run(&problem).solve_with(&mut kernel).unwrap();
    assert_identical(&boxed, &unboxed);
    assert_eq!(kernel.epsilon(), problem.epsilon());

    // The solution borrows neither the problem nor the kernel: both serve again.
    let warm = Start::Warm(unboxed.potentials());
    let again = sinkhorn.run(&problem).start(warm).solve_with(&mut kernel).unwrap();
    assert!(again.status().is_converged() && again.iterations() <= 10, "{} iterations", again.iterations());
}

/// The same bits, whether operations run at once or wait for a read.
#[test]
fn nothing_is_peeked_at() {
    let (at_once, later) =
        (problems(&Reference::default()), problems(&DeferredBuilder::new(ReferenceBackend::<f64>::default())));
    for ((at_once, sinkhorn), (later, _)) in at_once.iter().zip(&later) {
        let (at_once, later) = (sinkhorn.solve(at_once).unwrap(), sinkhorn.solve(later).unwrap());
        assert_identical(&at_once, &later);
    }
}

#[test]
fn reads_happen_at_checks_and_for_the_certificate() {
    assert_reads_at_checks(&DeferredBuilder::new(ReferenceBackend::<f64>::default()));
    let cpu = CpuBackend::new(2).unwrap();
    assert_reads_at_checks(&cpu);
    assert_reads_at_checks(&cpu.with_dense_limit(0));
}

/// One read at each check, two for the certificate, with or without an observer, who hears of each check and of the certificate.
fn assert_reads_at_checks<D: Device<Elem = f64>>(builder: &dyn GeometryBuilder<Device = D>) {
    let builder = CountedBindings { builder, bindings: Arc::default() };
    for (problem, sinkhorn) in problems(&builder) {
        let backend = Counting::new(problem.geometry().backend());
        let problem = problem.with_backend(Arc::new(backend.clone()));
        let mut observed = 0;
        let mut observer = |_: &Progress| {
            observed += 1;
            ControlFlow::Continue(())
        };
        let before = builder.bindings.load(Relaxed);
        let solution = sinkhorn.run(&problem).observer(&mut observer).solve().unwrap();
        let bindings = builder.bindings.load(Relaxed) - before;
        assert_eq!(observed, solution.history().len());
        assert_eq!((backend.counts().reads, bindings), (observed - 1 + 2, 1), "{}", solution.status());
    }
}

#[test]
fn iterations_allocate_nothing_and_read_only_at_checks() {
    let backend = Counting::new(Arc::new(Reference::default()));
    let (source, target) = (cloud(4, 15, 2), cloud(5, 12, 2));
    let geometry = Reference::default().geometry(source.support(), target.support(), &SqEuclidean).unwrap();
    let (kl, kinked) = (Kl::new(0.5).unwrap(), TotalVariation::new(0.05).unwrap());
    let problems = [
        Problem::new(Arc::clone(&geometry), &source, &target, Epsilon::Absolute(1e-4)).unwrap(),
        Problem::unbalanced(Arc::clone(&geometry), &source, &target, Epsilon::Absolute(1e-4), &kl, &kl).unwrap(),
        Problem::unbalanced(geometry, &source, &target, Epsilon::Absolute(1e-4), &kl, &kinked).unwrap(),
    ];
    let problems = problems.map(|problem| problem.with_backend(Arc::new(backend.clone())));
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
