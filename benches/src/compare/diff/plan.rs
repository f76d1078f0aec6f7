//! The gradient of a statistic of the plan in the cost matrix, by the implicit function theorem and through a given number of
//! iterations.
//!
//! Implicit, the statistic is <w, P v> with w_i = cos i, v_j = sin j, after a solve that is part of the clock on both sides;
//! unrolled, the transport cost after L iterations. Iterations of ours are steps of conjugate gradients.

use std::sync::Arc;

use ot_core::{Backend, CostMatrix, Epsilon, GeometryBuilder, Histogram, Host, Measure, Problem, Side, Solution};
use ot_cpu::CpuBackend;
use ot_diff::{Gradient, LinearSolver, Linearised, Objective, Output, Unrolled};
use ot_solvers::Sinkhorn;

use super::{
    super::{
        Bench, Failure,
        peers::Solver,
        posed::Posed,
        problem::Arrays,
        recompute::Recomputed,
        row::{Measured, Per, Row},
        timing::time,
    },
    relative,
};

/// Repetitions, of which the median counts.
const REPEATS: usize = 3;

/// The error of the gradient that is asked for.
const TOLERANCE: f64 = 1e-6;

/// Iterations of the unrolled gradient.
const ITERATIONS: usize = 100;

/// The residual of the linear solve whose steps are told.
const RESIDUAL: f64 = 1e-8;

pub(super) fn run(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let sizes: &[usize] = bench.options.pick(&[500], &[1000, 4000]);
    let (threads, budget) = (bench.options.threads, bench.options.budget());
    for &n in sizes {
        product(bench, &Arrays::gaussian_matrix(bench.options.seed, n, n, 1, 1e-2))?;
        for epsilon in [1e-2, 1e-3] {
            let arrays = Arrays::gaussian_matrix(bench.options.seed, n, n, 1, epsilon);
            let implicit = Posing::new(arrays, threads, Kind::Implicit)?;
            let row = implicit.row(bench, "gradient of a statistic of the plan, implicit")?;
            bench.add_beside(&row, &[Solver::OttImplicit], |peers, solver| {
                peers.solve(solver, &implicit, TOLERANCE, REPEATS, budget)
            })?;
        }
    }
    let arrays = Arrays::gaussian_matrix(bench.options.seed, sizes[0], sizes[0], 1, 1e-2);
    let unrolled = Posing::new(arrays, threads, Kind::Unrolled)?;
    let row = unrolled.row(bench, "gradient of 100 iterations, unrolled")?;
    bench.add_beside(&row, &[Solver::OttUnrolled, Solver::PotUnrolled], |peers, solver| {
        peers.double(solver, &unrolled, TOLERANCE, ITERATIONS, budget)
    })
}

/// How a gradient is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Implicit,
    Unrolled,
}

/// A problem that is answered by a gradient in its cost matrix.
struct Posing {
    arrays: Arrays,
    /// The matrix that a caller has, shared without a copy.
    matrix: Arc<Vec<f64>>,
    kind: Kind,
    backend: CpuBackend<f64>,
    exact: Vec<f64>,
}

impl Posing {
    fn new(arrays: Arrays, threads: usize, kind: Kind) -> Result<Self, Failure> {
        let (matrix, backend) = (arrays.matrix()?, CpuBackend::new(threads)?);
        let mut posing = Self { arrays, matrix, kind, backend, exact: Vec::new() };
        posing.exact = match kind {
            Kind::Implicit => posing.implicit(1e-13, LinearSolver::new().tolerance(1e-13))?.0,
            Kind::Unrolled => posing.unrolled()?,
        };
        Ok(posing)
    }

    /// The problem, from arrays on the host.
    fn problem(&self) -> Result<Problem<Host<f64>>, Failure> {
        let (n, m) = self.arrays.shape();
        let (a, b) = (Histogram::new(self.arrays.source.as_slice())?, Histogram::new(self.arrays.target.as_slice())?);
        let cost = CostMatrix::new(Arc::clone(&self.matrix), n, m)?;
        let geometry = self.backend.geometry(a.support(), b.support(), &cost)?;
        Ok(Problem::new(geometry, &a, &b, Epsilon::Absolute(self.arrays.epsilon))?)
    }

    /// The gradient of <w, P v>, and the steps of the linear solve.
    fn implicit(&self, tolerance: f64, solver: LinearSolver) -> Result<(Vec<f64>, usize), Failure> {
        let (n, m) = self.arrays.shape();
        let solution: Solution<Host<f64>> = Sinkhorn::new().tolerance(tolerance).solve(&self.problem()?)?;
        let mut linearised = Linearised::new(&solution)?.with_solver(solver)?;
        let seed: Vec<f64> = (0..n).map(|i| (i as f64).cos()).collect();
        let output = Output::Product { side: Side::Source, values: (0..m).map(|j| (j as f64).sin()).collect() };
        let mut cotangent = linearised.pull_back(&[(&output, &seed)])?;
        Ok((cotangent.matrix()?, cotangent.solve().steps))
    }

    /// The gradient of the transport cost after the iterations, those of OTT-JAX: v first, u last, from u = v = 1.
    fn unrolled(&self) -> Result<Vec<f64>, Failure> {
        let scheme = Unrolled::new(ITERATIONS).first(Side::Target).last(Side::Source);
        let mut run = scheme.run(&self.problem()?)?;
        Ok(run.gradient(Objective::TransportCost)?.matrix()?)
    }

    fn row(&self, bench: &Bench<'_>, case: &str) -> Result<Row, Failure> {
        let solver = LinearSolver::new().tolerance(RESIDUAL);
        let (seconds, (gradient, steps)) = time(REPEATS, || match self.kind {
            Kind::Implicit => self.implicit(TOLERANCE / 10.0, solver),
            Kind::Unrolled => Ok((self.unrolled()?, ITERATIONS)),
        })?;
        let name = match self.kind {
            Kind::Implicit => "Sinkhorn, linearised",
            Kind::Unrolled => "unrolled",
        };
        let measured: Measured = self.judge(&[gradient], 1).measured(name, seconds, Some(steps));
        let row = Row::new("diff", case, self.arrays.shape(), bench.options.threads, Per::Solve, measured);
        Ok(Row { epsilon: Some(self.arrays.epsilon), ..row })
    }
}

impl Posed for Posing {
    fn arrays(&self) -> &Arrays {
        &self.arrays
    }

    fn outputs(&self) -> Vec<(&'static str, usize)> {
        let (n, m) = self.arrays.shape();
        vec![("gradient", n * m)]
    }

    fn judge(&self, outputs: &[Vec<f64>], _threads: usize) -> Recomputed {
        relative(&outputs[0], &self.exact)
    }
}

/// One step of conjugate gradients: the normal product P^T diag(d) P v with the entries of the plan kept, whose limit is one
/// reading of them.
fn product(bench: &mut Bench<'_>, arrays: &Arrays) -> Result<(), Failure> {
    const PRODUCTS: usize = 20;
    let (n, m) = arrays.shape();
    let posing = Posing {
        arrays: arrays.clone(),
        matrix: arrays.matrix()?,
        kind: Kind::Implicit,
        backend: CpuBackend::new(bench.options.threads)?,
        exact: Vec::new(),
    };
    let solution: Solution<Host<f64>> = Sinkhorn::new().solve(&posing.problem()?)?;
    let (problem, backend): (_, &dyn Backend<Host<f64>>) = (solution.problem(), &posing.backend);
    let mut kernel = problem.bind()?;
    let (diagonal, values, mut out) = (backend.filled(1.0, n, 1)?, backend.filled(1.0, m, 1)?, backend.alloc(m, 1)?);
    let plan = problem.view(solution.potentials());
    let (seconds, ()) = time(REPEATS, || {
        for _ in 0..PRODUCTS {
            let product = kernel.plan_product().ok_or("a stored cost has products of plans")?;
            product.normal_product(Side::Target, plan, &diagonal, &values, &mut out)?;
        }
        Ok(())
    })?;
    let bytes = n * m * size_of::<f64>();
    let limit = bytes as f64 / bench.roof.bandwidth(bytes);
    let measured = Measured::seconds("normal product, entries kept", seconds / PRODUCTS as f64);
    let row = Row::new("diff", "step of a linear solve", (n, m), bench.options.threads, Per::Pass, measured);
    bench.add(Row { epsilon: Some(arrays.epsilon), ..row }.with_limit(limit))
}
