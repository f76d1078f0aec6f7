//! Newton's method for small epsilon, on the arcs that matter.
//!
//! Sinkhorn's iteration is slow where the plan nearly falls apart into clusters: its rate is that of the second eigenvalue of
//! the plan. Newton's method does not feel it. The dual, as a function of the potential g of the target alone, with f
//! the c-transform of g, has the gradient b d(g) - c and the Hessian -L / epsilon, where c = P^T 1, d is the density that the
//! penalty asks for and
//!
//! ```text
//! L x = c x / u - P^T (t / r) P x          r = P 1,  t and u the slopes of the c-transforms in their softmins
//! ```
//!
//! is the Laplacian of the bipartite graph of the plan, rows eliminated. With ghat the c-transform of f a step solves
//!
//! ```text
//! (L + lambda diag(c)) x = (c / u) (ghat - g)          lambda = 0.1 error
//! ```
//!
//! (Brauer, Clason, Lorenz, Wirth 2017; Tang, Shavlovsky, Rahmanian, Tardini, Thekumparampil, Xiao, Ying 2024). At small epsilon few
//! arcs carry the plan. A pass over all pairs lists them (a kernel that cannot, or would list too many, is met by products alone); steps, line searches and linear solves look at them alone; a pass over
//! all pairs verifies, and falls back to Sinkhorn's step where nothing was gained. Epsilon falls by factors of four, potentials
//! follow the tangent of the path.
//!
//! Of regularizers whose densities vanish below some exponent, as squared L2, the arcs that carry mass are all there are, and
//! second derivatives take the place of the plan: see [`Newton`].

mod all_pairs;
mod arcs;
mod by_products;
mod cells;
mod column;
mod direction;
mod elimination;
mod exponential;
mod factor;
mod laplacian;
mod path;
mod restricted;
mod sides;
mod sparse;

use std::sync::Arc;

use ot_core::{
    Certificate, Device, Error, KernelOp, Observer, Potentials, Problem, Side, Solution, Status,
    certificate::certify_with,
};

pub use self::factor::PlanFactor;
pub(crate) use self::{
    all_pairs::{prefers_products, steps_by_products},
    column::{ColumnEnd, Entry},
};
use self::{
    column::{ColumnSolver, column_of},
    direction::LinearWork,
    sides::SmoothPenalty,
};
use crate::{
    entropic::{CUT_SWEEPS, Start, fix_gauge, may_be_infeasible, refuse_violated_cuts, verdict},
    history::History,
    limits::Limits,
};

/// Settings of Newton's method.
///
/// When to use it: epsilon below about 1e-3 of the largest cost, where [`Sinkhorn`](crate::Sinkhorn) takes thousands of iterations; from
/// potentials of [`ExactTransport`](crate::ExactTransport) at any epsilon. For penalties with a derivative (prescribed
/// marginals, Kullback-Leibler, yours), over any kernel that lists [arcs](ot_core::HardTransform). Over one that lists none, or exists
/// at one epsilon only, steps are found by products with the plan, from the error of 1e-2 that Sinkhorn's iteration brings: where a few
/// modes are slow, and the others are not; or where the kernel tells the plan between [cells](ot_core::PlanProduct::cells), which stands
/// for all slow modes, and would list more arcs than are worth it.
///
/// Cost: 20 to 350 iterations of the start, 3 to 21 passes over all pairs, and arithmetic on the arcs (2 to 250 a row), together as much as
/// some hundred iterations. Memory: the arcs.
///
/// Squared L2, and any regularizer whose densities vanish below some exponent (a finite h'(0)), over a kernel that lists arcs: the dual
/// as a function of g has the generalised Hessian -L / epsilon,
///
/// ```text
/// L x = c' x / u - W^T (t / r') W x        W_ij = a_i b_j h*''(z_ij),  r' = W 1,  c' = W^T 1
/// ```
///
/// of which a step solves (L + lambda max(c', mean)) x = epsilon (b d(g) - c) (Lorenz, Manns, Meyer 2021). At epsilon of a thousandth of
/// the largest cost and above [`DualAscent`](crate::DualAscent) is the start and mostly the end: so many pairs carry mass that
/// a list of them saves nothing. Below, it brings an error of 5e-2 at about that epsilon; from there on 2 to 5 listings lead to any
/// smaller epsilon, with two or three steps for each factor of four and as many to ten digits. Costs that tie, and epsilon below 1e-6 of the
/// largest, take tens of listings.
///
/// ```
/// use ot_core::{Epsilon, GeometryBuilder, Measure, PointCloud, Problem, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::Newton;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let points = |shift: f64| (0..64).map(|i| (f64::from(i) * 0.37 + shift).fract()).collect::<Vec<_>>();
/// let (a, b) = (PointCloud::uniform(points(0.0), 1)?, PointCloud::uniform(points(0.2), 1)?);
/// let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean)?;
/// let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(1e-5))?;
/// let solution = Newton::new().tolerance(1e-9).solve(&problem)?;
/// assert!(solution.status().is_converged());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Newton {
    limits: Limits,
    /// The most iterations of the start.
    most_start: usize,
    /// More arcs than this are not solved on: 16 bytes each.
    most_arcs: usize,
}

impl Default for Newton {
    fn default() -> Self {
        Self::new()
    }
}

impl Newton {
    /// Tolerance 1e-6 in f64 and 1e-4 in f32, at most 200 passes for each column.
    #[must_use]
    pub fn new() -> Self {
        Self { limits: Limits::new("max_passes", 200), most_start: 10_000, most_arcs: 1 << 28 }
    }

    /// The marginal error that counts as converged: both sides, L1, relative to the mass,
    /// rounding included (see [`Certificate`]).
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most passes over all pairs for each column, after the start.
    #[must_use]
    pub fn max_passes(self, max_passes: usize) -> Self {
        Self { limits: self.limits.most(max_passes), ..self }
    }

    /// Start and passes together within a number of iterations, at least two.
    pub(crate) fn within(self, iterations: usize) -> Self {
        let most_start = iterations / 2;
        Self { most_start, ..self.max_passes(iterations - most_start) }
    }

    /// The most arcs that are solved on.
    pub(crate) fn most_arcs(self, most_arcs: usize) -> Self {
        Self { most_arcs, ..self }
    }

    /// Solves a problem from potentials of zero.
    ///
    /// # Errors
    /// Those of [`NewtonRun::solve`].
    pub fn solve<D: Device>(&self, problem: &Problem<D>) -> Result<Solution<D>, Error> {
        self.run(problem).solve()
    }

    /// A run to which a start and an observer can be given.
    #[must_use]
    pub fn run<'a, D: Device>(&'a self, problem: &'a Problem<D>) -> NewtonRun<'a, D> {
        NewtonRun { settings: self, problem, start: Start::Zero, observer: None }
    }

    /// The tolerance asked for, or what the backend of a problem can be asked for.
    fn tolerance_on<D: Device>(&self, problem: &Problem<D>) -> f64 {
        self.limits.tolerance_on(problem.backend())
    }
}

/// What a run of [`Newton`] took, over all columns.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewtonReport {
    /// Iterations of Sinkhorn, or of the ascent of the dual, before the first stage.
    pub start_iterations: usize,
    /// Sweeps over all pairs.
    pub sweeps: usize,
    /// Passes that listed arcs.
    pub listings: usize,
    /// Passes of products with the plan, of a kernel that lists no arcs.
    pub products: usize,
    /// Newton's directions, and tangents of the path.
    pub directions: usize,
    /// Products with the matrix in all linear solves.
    pub linear_steps: usize,
    /// Factors made to precondition them.
    pub factors: usize,
}

impl NewtonReport {
    /// Passes over all pairs after the start.
    #[must_use]
    pub fn passes(&self) -> usize {
        self.sweeps + self.listings + self.products
    }

    /// What linear solves took.
    fn count(&mut self, work: &LinearWork) {
        self.directions = work.directions;
        self.linear_steps = work.steps;
        self.factors = work.factors;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.start_iterations += other.start_iterations;
        self.sweeps += other.sweeps;
        self.listings += other.listings;
        self.products += other.products;
        self.directions += other.directions;
        self.linear_steps += other.linear_steps;
        self.factors += other.factors;
    }
}

/// One run of [`Newton`] on one problem.
pub struct NewtonRun<'a, D: Device> {
    settings: &'a Newton,
    problem: &'a Problem<D>,
    start: Start<'a, D>,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, D: Device> NewtonRun<'a, D> {
    /// The potentials to start from. Potentials of a known epsilon are followed from there; those of no known epsilon, as of
    /// an exact solution, by way of ten times the epsilon of the problem; beside squared L2 and its like at once, and they are given up
    /// for the start from zero where a dozen rounds lead nowhere.
    #[must_use]
    pub fn start(self, start: Start<'a, D>) -> Self {
        Self { start, ..self }
    }

    /// The observer of every pass and of the certificate; it may cancel. What was found is then returned without a certificate.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves, column by column.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a regularizer that is neither entropy nor has zeros (h'(0) is infinite), for one with zeros over
    /// a kernel that lists no arcs, for a penalty with kinks;
    /// [`Error::Parameter`] for settings out of range, [`Error::Length`] for a start that does not
    /// fit, [`Error::Infeasible`] with the cut where forbidden pairs keep every plan farther from prescribed marginals than the
    /// tolerance, [`Error::OutOfMemory`], a failure of the device. Not converging is no error but a [`Status`].
    pub fn solve(self) -> Result<Solution<D>, Error> {
        Ok(self.solve_with_report()?.0)
    }

    /// Solves, and tells what it took.
    ///
    /// # Errors
    /// Those of [`solve`](Self::solve).
    pub fn solve_with_report(self) -> Result<(Solution<D>, NewtonReport), Error> {
        let Self { settings, problem, start, observer } = self;
        settings.limits.check()?;
        problem.require_entropy().or_else(|_| sparse::require_zeros(problem.regularizer()))?;
        problem.backend().scope(|| solve(settings, problem, &start, History::new(observer)))
    }
}

/// All columns, and what is proven of them together.
fn solve<D: Device>(
    settings: &Newton,
    problem: &Problem<D>,
    start: &Start<'_, D>,
    mut history: History<'_>,
) -> Result<(Solution<D>, NewtonReport), Error> {
    let (backend, columns) = (problem.backend(), problem.columns());
    let from = start.potentials(problem)?;
    let given = backend.download(&[&from.source, &from.target])?;
    let mut kernel = problem.bind()?;
    let (mut f, mut g, mut statuses, mut report) = (Vec::new(), Vec::new(), Vec::new(), NewtonReport::default());
    for column in 0..columns {
        if statuses.contains(&Status::Cancelled) {
            // What the other columns were given is what they have.
            for (side, found) in [&mut f, &mut g].into_iter().enumerate() {
                let len = given[side].len() / columns;
                found.extend_from_slice(&given[side][column * len..][..len]);
            }
            continue;
        }
        let before = report.start_iterations + report.passes();
        let told = Told { history: &mut history, before };
        let end = solve_column(settings, problem, kernel.as_mut(), column, Entry::of(start), &given, told)?;
        let [source, target] = end.potentials;
        f.extend(source);
        g.extend(target);
        statuses.push(end.status);
        report.add(end.report);
    }
    let mut potentials = Potentials {
        source: backend.upload(&f, columns)?,
        target: backend.upload(&g, columns)?,
        epsilon: problem.epsilon(),
    };
    let iterations = report.start_iterations + report.passes();
    if statuses.contains(&Status::Cancelled) {
        let (potentials, statuses) = (Arc::new(potentials), vec![Status::Cancelled; columns]);
        let solution = Solution::uncertified(problem.clone(), potentials, statuses, iterations, history.into_told());
        return Ok((solution, report));
    }
    kernel.rebind(problem.epsilon())?;
    let failed = |column: &usize| matches!(statuses[*column], Status::Stalled | Status::IterationLimit);
    let failed: Vec<usize> = (0..columns).filter(failed).collect();
    if !failed.is_empty() && may_be_infeasible(problem, kernel.as_mut()) {
        for sweeps in CUT_SWEEPS {
            refuse_violated_cuts(kernel.as_mut(), problem, &failed, settings.tolerance_on(problem), sweeps)?;
        }
    }
    fix_gauge(problem, &mut potentials)?;
    let certificates = certify_with(kernel.as_mut(), problem, &potentials)?;
    let tolerance = settings.tolerance_on(problem);
    let verdict = |(end, told): (Status, &Certificate)| verdict(Some(end), told, tolerance, false).unwrap_or(end);
    let statuses = statuses.into_iter().zip(&certificates).map(verdict).collect();
    history.tell_certificates(iterations, &certificates);
    let (problem, potentials, history) = (problem.clone(), Arc::new(potentials), history.into_told());
    Ok((Solution::new(problem, potentials, statuses, certificates, iterations, history), report))
}

/// Who is told of passes, and how many iterations there were before them.
pub(crate) struct Told<'a, 'b> {
    pub(crate) history: &'a mut History<'b>,
    pub(crate) before: usize,
}

/// One column of a problem, from potentials of all columns on the host. The kernel is that of the problem; a column of a batch
/// binds one of its own.
pub(crate) fn solve_column<D: Device, K: KernelOp<D> + ?Sized>(
    settings: &Newton,
    problem: &Problem<D>,
    kernel: &mut K,
    column: usize,
    entry: Entry,
    given: &[Vec<D::Elem>],
    told: Told<'_, '_>,
) -> Result<ColumnEnd<D::Elem>, Error> {
    let own = Side::BOTH.map(|side| {
        let len = problem.marginal(side).len();
        given[side.index()][column * len..][..len].to_vec()
    });
    if problem.columns() == 1 {
        return ColumnSolver::new(settings, problem, told).solve(kernel, entry, own);
    }
    let single = column_of(problem, column)?;
    ColumnSolver::new(settings, &single, told).solve(single.bind()?.as_mut(), entry, own)
}

/// Is Newton's method for this problem, on a kernel of it?
pub(crate) fn is_for<D: Device, K: KernelOp<D> + ?Sized>(problem: &Problem<D>, kernel: &mut K) -> bool {
    problem.require_entropy().is_ok()
        && problem.geometry().fixed_epsilon().is_none()
        && Side::BOTH.iter().all(|&side| SmoothPenalty::new(problem.marginal(side).penalty()).is_ok())
        && kernel.hard_transform().is_some()
}
