//! Whole passes over a Gibbs kernel, in pairs a second: through the contract, boxed, as a solver meets them.
//!
//! ```text
//! cargo bench -p benches --bench kernels
//! cargo bench -p benches --bench kernels -- --quick streaming
//! ```

use std::{
    error::Error,
    time::{Duration, Instant},
};

use benches::{compare::roof::shipped_costs, seeded::Seeded};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use ot_core::{
    ActiveColumns, ByProducts, CTransform, Device, Epsilon, GeometryBuilder, GroundCost, HalfSqEuclidean, Host,
    KernelOp, Measure, PointCloud, Potentials, Problem, Side, Sweep, certificate::certify_with,
};
use ot_cpu::{CpuBackend, CpuScalar};

/// Atoms a side of a stored cost.
const STORED: usize = 2000;

/// Atoms a side of a streamed cost.
const STREAMED: usize = 2048;

/// Histograms of a batch, and atoms a side of its cost.
const BATCH: (usize, usize) = (64, 500);

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    both::<f32>(&mut criterion)?;
    both::<f64>(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

/// Passes over costs that are stored, that a batch shares, and that are streamed.
fn both<T: CpuScalar>(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let half_squares = &HalfSqEuclidean;
    let mut group = criterion.benchmark_group("dense");
    Passes::<T>::new(half_squares, usize::MAX, STORED, 2, 1)?.all(&mut group);
    group.finish();

    let (columns, len) = BATCH;
    let mut group = criterion.benchmark_group(format!("dense, {columns} histograms"));
    Passes::<T>::new(half_squares, usize::MAX, len, 2, columns)?.all(&mut group);
    group.finish();

    let mut group = criterion.benchmark_group("streaming");
    Passes::<T>::new(half_squares, 0, STREAMED, 3, 1)?.all(&mut group);
    group.finish();

    let mut group = criterion.benchmark_group("streaming sweep");
    for (name, cost) in shipped_costs()? {
        for dimension in [3, 16] {
            let passes = Passes::<T>::new(cost.as_ref(), 0, STREAMED, dimension, 1)?;
            passes.sweep(&mut group, &format!("{name}, d = {dimension}"), false);
        }
    }
    group.finish();
    Ok(())
}

/// Passes over one cost.
struct Passes<T: CpuScalar> {
    problem: Problem<Host<T>>,
}

impl<T: CpuScalar> Passes<T> {
    /// Two clouds of `len` points in the unit cube, at a tenth of the mean cost, stored up to `dense_limit` entries.
    fn new(
        cost: &dyn GroundCost,
        dense_limit: usize,
        len: usize,
        dimension: usize,
        columns: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let backend = CpuBackend::<T>::with_available_threads()?.with_dense_limit(dense_limit);
        let mut random = Seeded::new(2026);
        let mut draw = |len: usize| -> Vec<T> {
            random.draw(len, |random| 0.1 + random.uniform()).into_iter().map(T::from_f64).collect()
        };
        let source = PointCloud::uniform(draw(len * dimension), dimension)?;
        let mut weights = draw(len * columns);
        for weights in weights.chunks_mut(len) {
            let mass: f64 = weights.iter().map(|weight| weight.to_f64()).sum();
            weights.iter_mut().for_each(|weight| *weight = T::from_f64(weight.to_f64() / mass));
        }
        let target = PointCloud::batch(draw(len * dimension), dimension, weights, columns)?;
        let geometry = backend.geometry(source.support(), target.support(), cost)?;
        Ok(Self { problem: Problem::new(geometry, &source, &target, Epsilon::RelativeToMean(0.1))? })
    }

    fn all(&self, group: &mut BenchmarkGroup<'_, WallTime>) {
        for (side, name) in [(Side::Source, "softmin of rows"), (Side::Target, "softmin of columns")] {
            self.bench(group, name, |bound| bound.softmin(side));
        }
        self.sweep(group, "sweep", false);
        self.sweep(group, "sweep with by-products", true);
        // What a solve does before it iterates: a stored cost is absorbed at the first softmin.
        let problem = &self.problem;
        self.bench(group, "bind and first softmin", |_| Bound::new(problem)?.softmin(Side::Source));
        self.bench(group, "certificate", |bound| {
            certify_with(bound.kernel.as_mut(), problem, &bound.potentials).map(|_| ())
        });
    }

    fn sweep(&self, group: &mut BenchmarkGroup<'_, WallTime>, name: &str, by_products: bool) {
        self.bench(group, name, |bound| bound.sweep(by_products));
    }

    /// Times one pass within the backend's scope, as a solver runs it, after a few iterations.
    fn bench(
        &self,
        group: &mut BenchmarkGroup<'_, WallTime>,
        name: &str,
        pass: impl Fn(&mut Bound<'_, T>) -> Result<(), ot_core::Error> + Sync,
    ) {
        let pairs = self.problem.marginal(Side::Source).len() * self.problem.marginal(Side::Target).len();
        group.throughput(Throughput::Elements((pairs * self.problem.columns()) as u64));
        group.bench_function(BenchmarkId::new(T::NAME, name), |bencher| {
            bencher.iter_custom(|passes| {
                let timed = self.problem.backend().scope(|| {
                    let mut bound = Bound::new(&self.problem)?;
                    for _ in 0..5 {
                        bound.sweep(false)?;
                    }
                    let start = Instant::now();
                    for _ in 0..passes {
                        pass(&mut bound)?;
                    }
                    Ok::<_, ot_core::Error>(start.elapsed())
                });
                timed.unwrap_or_else(|error| panic!("{name}: {error}"))
            });
        });
    }
}

/// A kernel bound for a problem, and what its passes read and write.
struct Bound<'a, T: CpuScalar> {
    problem: &'a Problem<Host<T>>,
    kernel: Box<dyn KernelOp<Host<T>>>,
    potentials: Potentials<Host<T>>,
    scratch: Potentials<Host<T>>,
    by_products: ByProducts<Host<T>>,
    relaxation: <Host<T> as Device>::Reduced,
    active: ActiveColumns,
}

impl<'a, T: CpuScalar> Bound<'a, T> {
    fn new(problem: &'a Problem<Host<T>>) -> Result<Self, ot_core::Error> {
        let (backend, columns) = (problem.backend(), problem.columns());
        let [n, m] = Side::BOTH.map(|side| problem.marginal(side).len());
        let zeros = || -> Result<_, ot_core::Error> {
            let (source, target) = (backend.filled(0.0, n, columns)?, backend.filled(0.0, m, columns)?);
            Ok(Potentials { source, target, epsilon: problem.epsilon() })
        };
        Ok(Self {
            problem,
            kernel: problem.bind()?,
            potentials: zeros()?,
            scratch: zeros()?,
            by_products: ByProducts::alloc(backend, [n, m], columns)?,
            relaxation: backend.upload_reduced(&vec![1.0; columns])?,
            active: ActiveColumns::all(columns),
        })
    }

    /// A softmin of the potential of the other side, which is left as it is: the c-transform of a prescribed marginal.
    fn softmin(&mut self, side: Side) -> Result<(), ot_core::Error> {
        let (plan, penalty) = (self.problem.view(&self.potentials), self.problem.marginal(side).penalty());
        let request = CTransform { side, plan, penalty, active: &self.active };
        self.kernel.c_transform(self.problem.backend(), request, self.scratch.side_mut(side), None)
    }

    /// A full iteration.
    fn sweep(&mut self, by_products: bool) -> Result<(), ot_core::Error> {
        let sweep = Sweep {
            source: self.problem.marginal(Side::Source),
            target: self.problem.marginal(Side::Target),
            potentials: &mut self.potentials,
            relaxation: &self.relaxation,
            active: &self.active,
            scratch: &mut self.scratch,
            by_products: by_products.then_some(&mut self.by_products),
        };
        self.kernel.sweep(self.problem.backend(), sweep)
    }
}
