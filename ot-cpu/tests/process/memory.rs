//! A streaming solve between 100 000 points a side holds at most 64 MiB above the input, its certificate included.
//!
//! Sweeps of that size take seconds each, so they are proven by parts. What is held before the first sweep is counted
//! at full length. Sweeps, softmins and certificates are run where one side is long and the other short, once for each
//! side: memory of O(n + m) is the sum of a part of each side, and no part is left out.

use ot_conformance::Seeded;
use ot_core::{
    ActiveColumns, Backend, ByProducts, Epsilon, GeometryBuilder, HalfSqEuclidean, Host, KernelOp, Measure, PointCloud,
    Potentials, Problem, Side, Sweep, certificate::certify_with,
};
use ot_cpu::{CpuBackend, CpuScalar};

use super::{
    allocator::{held, peak_of},
    support::softmin,
};

const LONG: usize = 100_000;
const SHORT: usize = 64;
const LIMIT: usize = 64 << 20;
const DIMENSION: usize = 3;

/// A cloud with weights: the input, which is not counted.
fn cloud<T: CpuScalar>(len: usize, seed: u64) -> PointCloud<'static, T> {
    let points: Vec<T> = Seeded::new(seed).elements(len * DIMENSION, 0.0, 1.0);
    PointCloud::uniform(points, DIMENSION).unwrap()
}

/// Sets up a solve as a solver does, its potentials four times, and hands it on.
fn set_up<T: CpuScalar, R: Send>(
    threads: usize,
    source: &PointCloud<'_, T>,
    target: &PointCloud<'_, T>,
    work: impl FnOnce(Solve<'_, T>) -> R + Send,
) -> R {
    let backend = CpuBackend::<T>::new(threads).unwrap().with_dense_limit(0);
    let geometry = backend.geometry(source.support(), target.support(), &HalfSqEuclidean).unwrap();
    let problem = Problem::new(geometry, source, target, Epsilon::Absolute(0.0025)).unwrap();
    let backend: &dyn Backend<Host<T>> = &backend;
    backend.scope(|| {
        let fresh = || {
            let side = |side| {
                let len = problem.marginal(side).len();
                backend.upload(&vec![T::default(); len], 1).unwrap()
            };
            Potentials { source: side(Side::Source), target: side(Side::Target), epsilon: problem.epsilon() }
        };
        let kernel = problem.bind().unwrap();
        let (potentials, scratch, entering, best) = (fresh(), fresh(), fresh(), fresh());
        let by_products = ByProducts::alloc(backend, Side::BOTH.map(|side| problem.marginal(side).len()), 1).unwrap();
        let result = work(Solve { problem: &problem, kernel, potentials, scratch, by_products });
        drop((entering, best));
        result
    })
}

/// A solve about to start.
struct Solve<'a, T: CpuScalar> {
    problem: &'a Problem<Host<T>>,
    kernel: Box<dyn KernelOp<Host<T>>>,
    potentials: Potentials<Host<T>>,
    scratch: Potentials<Host<T>>,
    by_products: ByProducts<Host<T>>,
}

impl<T: CpuScalar> Solve<'_, T> {
    /// Three iterations and softmins of both sides, which hold nothing more, and the certificate.
    fn run(mut self) {
        let (problem, backend) = (self.problem, self.problem.backend());
        let (active, relaxation) = (ActiveColumns::all(1), backend.upload_reduced(&[1.0]).unwrap());
        let before = held();
        for _ in 0..3 {
            let sweep = Sweep {
                source: problem.marginal(Side::Source),
                target: problem.marginal(Side::Target),
                potentials: &mut self.potentials,
                relaxation: &relaxation,
                active: &active,
                scratch: &mut self.scratch,
                by_products: Some(&mut self.by_products),
            };
            self.kernel.sweep(backend, sweep).unwrap();
            for side in Side::BOTH {
                let (plan, out) = (problem.view(&self.potentials), self.scratch.side_mut(side));
                softmin(self.kernel.as_mut(), backend, side, plan, &active, out);
            }
        }
        // Threads register where they first take work from one another: some hundred bytes each.
        assert!(held() < before + 16 * 1024, "passes allocate");
        certify_with(self.kernel.as_mut(), problem, &self.potentials).unwrap();
    }
}

fn check<T: CpuScalar>(threads: usize) {
    let clouds = (cloud::<T>(LONG, 1), cloud::<T>(LONG, 2), cloud::<T>(SHORT, 3), cloud::<T>(SHORT, 4));
    let (long_source, long_target, short_source, short_target) = &clouds;

    let bound = peak_of(|| set_up(threads, long_source, long_target, |_| ()));
    assert!(bound <= LIMIT, "{} with {threads} threads: {bound} bytes before the first sweep", T::NAME);

    let by_sides = [(long_source, short_target), (short_source, long_target)]
        .map(|(source, target)| peak_of(|| set_up(threads, source, target, |solve: Solve<'_, T>| solve.run())));
    let solve: usize = by_sides.iter().sum();
    assert!(solve <= LIMIT, "{} with {threads} threads: {by_sides:?} bytes", T::NAME);
    // A copy of one cloud at least is held: the counter counts.
    assert!(bound > LONG * DIMENSION * size_of::<T>() && solve > bound / 2, "{bound} {solve}");
}

pub fn a_streaming_solve_of_a_hundred_thousand_points_fits_64_mebibytes() {
    for threads in [1, 2] {
        check::<f32>(threads);
        check::<f64>(threads);
    }
}
