//! The factor of a plan's arcs, for linear systems with the plan's Laplacian beyond Newton's own.

use ot_core::{Device, Error, Problem, Scalar, Side, Solution};

use super::{
    all_pairs::AllPairs,
    arcs::Reach,
    column::column_of,
    elimination::{Elimination, Fidelity},
    laplacian::Entries,
    sides::Sides,
};

/// The part of a row or a column below which an entry of the plan does not count.
const SHARE: f64 = 1e-4;
/// More arcs for each atom than this are no sparse plan.
const MOST_ARCS: usize = 64;

/// An approximate inverse of Newton's matrix at a solution, column by column,
///
/// ```text
/// L x = c x / u - P^T (t / r) P x          r = P 1,  c = P^T 1,  t and u the slopes of the c-transforms in their softmins
/// ```
///
/// by elimination of the graph of the arcs that carry the plan: those with P_ij above 1e-4 of their row or column.
///
/// When to use it: where plans are sparse, at epsilon below about 1e-3 of the largest cost. It preconditions the systems of implicit
/// derivatives, whose Schur complement is this matrix divided by c. Cost: a sweep and a listing of the arcs, and an elimination
/// of some hundred arcs an atom; then a few operations an arc for each system. The same solution has the same factor, to the bit.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{PlanFactor, transport};
///
/// let points = |shift: f64| (0..40).map(|i| (f64::from(i) * 0.37 + shift).fract()).collect::<Vec<_>>();
/// let (a, b) = (PointCloud::uniform(points(0.0), 1)?, PointCloud::uniform(points(0.2), 1)?);
/// let solution = transport(&CpuBackend::<f64>::new(1)?, &a, &b, &SqEuclidean, Epsilon::Absolute(1e-3))?;
/// let factor = PlanFactor::of(&solution)?;
/// let mut values = vec![0.0; 40];
/// (values[0], values[1]) = (1e-3, -1e-3);
/// factor.solve(0, &mut values);
/// assert!(values[0] > values[1]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PlanFactor {
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    factor: Elimination,
    rows: usize,
    /// c and u.
    sums: Vec<f64>,
    slopes: Vec<f64>,
}

impl PlanFactor {
    /// The factors of all columns of a solution.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for another regularizer than entropy, a penalty with kinks, or a kernel that lists no arcs;
    /// [`Error::OutOfMemory`] where the plan has more than 64 arcs for each atom; a failure of the device.
    pub fn of<D: Device>(solution: &Solution<D>) -> Result<Self, Error> {
        let problem = solution.problem().with_epsilon(solution.potentials().epsilon)?;
        problem.require_entropy()?;
        let potentials = solution.potentials();
        let read = problem.backend().download(&[&potentials.source, &potentials.target])?;
        let of_column = |column: usize| {
            let single = match problem.columns() {
                1 => problem.clone(),
                _ => column_of(&problem, column)?,
            };
            let [f, g] = Side::BOTH.map(|side| {
                let len = problem.marginal(side).len();
                let own = &read[side.index()][column * len..][..len];
                own.iter().map(|value| value.to_f64()).collect::<Vec<_>>()
            });
            Column::of(&single, &f, &g)
        };
        let columns =
            problem.backend().scope(|| (0..problem.columns()).map(of_column).collect::<Result<_, Error>>())?;
        Ok(Self { columns })
    }

    /// values <- x with L x = values, about, of one column.
    pub fn solve(&self, column: usize, values: &mut [f64]) {
        let Column { factor, rows, .. } = &self.columns[column];
        let mut buffer = vec![0.0; rows + values.len()];
        buffer[*rows..].copy_from_slice(values);
        factor.solve(&mut buffer);
        values.copy_from_slice(&buffer[*rows..]);
    }

    /// residual <- M residual with M = diag(1 / u) L^-1 diag(c), about, of one column: an approximate inverse of the Schur complement
    /// of a linearised fixed point, self-adjoint in the weights c u.
    pub fn precondition(&self, column: usize, residual: &mut [f64]) {
        let Column { sums, slopes, .. } = &self.columns[column];
        residual.iter_mut().zip(sums).for_each(|(residual, sum)| *residual *= sum);
        self.solve(column, residual);
        residual.iter_mut().zip(slopes).for_each(|(residual, slope)| *residual /= slope);
    }
}

impl Column {
    fn of<D: Device>(problem: &Problem<D>, f: &[f64], g: &[f64]) -> Result<Self, Error> {
        let (epsilon, sides) = (problem.epsilon(), Sides::of(problem)?);
        let rows = sides.len(Side::Source);
        let mut kernel = problem.bind()?;
        let most = MOST_ARCS * (rows + sides.len(Side::Target));
        let mut pairs = AllPairs::new(problem, kernel.as_mut(), most)?;
        pairs.list_all();
        pairs.rebind(epsilon, f, g)?;
        let now = pairs.iterate(&sides, f, g)?;
        let arcs = pairs.list(&sides, &now, Reach { epsilon, share: SHARE, margin: 0.0 })?;
        let plan = arcs.plan(&sides, epsilon, &now);
        let laplacian = arcs.laplacian(&sides, epsilon, &now, &plan, SHARE, Entries::default());
        let (edges, ground) = laplacian.graph(0.0);
        Ok(Self {
            factor: Elimination::of(&edges, ground, Fidelity::FINEST),
            rows,
            sums: laplacian.column_sums().to_vec(),
            slopes: laplacian.column_slopes().to_vec(),
        })
    }
}
