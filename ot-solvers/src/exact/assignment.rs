//! Assignment: each source to a target of its own, at least total cost.
//!
//! ```text
//! min over injective sigma  sum_i C_(i, sigma(i))
//! max over u, v             sum_i u_i + sum_j v_j     u_i + v_j <= C_ij,   v <= 0 if there are more targets than sources
//! ```
//!
//! This is transport between uniform measures of n atoms each (Birkhoff 1946).

mod auction;
mod large_costs;
mod scan;
mod shortest_path;

use ot_core::{CostForm, Error, GroundCost, MatrixView, PlanEntry, Scalar, Side, Support};

use self::{large_costs::solve, shortest_path::Rows};
use super::{SparsePlan, costs::PairCosts, sum::sum_of};

/// Entries up to which costs between points are stored: 2^26, 512 MiB. Beyond, rows are evaluated again and again.
const STORED_ENTRIES: usize = 1 << 26;

/// An assignment of least cost, and the potentials that prove it. Made by [`assign`].
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    targets: Vec<Option<u32>>,
    shape: (usize, usize),
    potentials: [Vec<f64>; 2],
    total_cost: f64,
}

/// Assigns as many sources to targets of their own as there can be, min(n, m), at least total cost, by shortest augmenting
/// paths (Jonker, Volgenant 1987). Infinite costs forbid pairs; finite ones of any size that no optimal assignment pays cost
/// no digits.
///
/// At most O(k^2 l) for k the smaller and l the larger of n and m, in practice little more than a few dozen passes over the
/// costs. A matrix of f64 with n <= m and contiguous rows is used where it lies; costs between points are stored up to 2^26
/// entries, and evaluated row by row beyond, with O(n + m) memory. With n > m a transposed copy is made.
///
/// ```
/// use ot_core::{CostMatrix, Measure, Histogram, Support};
/// use ot_solvers::exact::assign;
///
/// let cost = CostMatrix::new(vec![4.0, 1.0, 3.0, 2.0, 0.0, 5.0, 3.0, 2.0, 2.0], 3, 3)?;
/// let assignment = assign::<f64>(Support::Indices(3), Support::Indices(3), &cost)?;
/// assert_eq!(assignment.targets(), [Some(1), Some(0), Some(2)]);
/// assert_eq!(assignment.total_cost(), 5.0);
/// assert_eq!(assignment.dual(), 5.0);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Infeasible`] if forbidden pairs leave someone of the smaller side without a partner, naming atoms that have too few
/// (of the targets, where these are fewer); [`Error::Cost`] for a cost that is NaN or minus infinity;
/// [`Error::CostOverflow`] for costs of which a sum of n + m may be beyond the range; [`Error::UnsupportedSupport`], [`Error::DimensionMismatch`], [`Error::Length`], [`Error::Coordinate`],
/// [`Error::EmptyMeasure`] for supports that the cost has no entries of; [`Error::OutOfMemory`].
pub fn assign<T: Scalar>(
    source: Support<'_, T>,
    target: Support<'_, T>,
    cost: &dyn GroundCost,
) -> Result<Assignment, Error> {
    let costs = PairCosts::new(source, target, cost)?;
    let (n, m) = costs.shape();
    let stored = |transposed| StoredRows::new(&costs, transposed);
    if n > m {
        let rows = stored(true)?;
        let matching = solve(&rows)?;
        let mut targets = vec![None; n];
        for (j, i) in matching.columns.into_iter().enumerate() {
            targets[i as usize] = Some(j as u32);
        }
        return Assignment::new(&costs, targets, [matching.v, matching.u]);
    }
    let lies_in_rows = match cost.form() {
        CostForm::Matrix(MatrixView::F64(matrix)) => matrix.row(0).is_some(),
        _ => false,
    };
    let in_place = lies_in_rows || n.saturating_mul(m) > STORED_ENTRIES;
    let matching = if in_place { solve(&costs)? } else { solve(&stored(false)?)? };
    Assignment::new(&costs, matching.columns.into_iter().map(Some).collect(), [matching.u, matching.v])
}

impl Assignment {
    fn new(costs: &PairCosts<'_>, targets: Vec<Option<u32>>, [mut f, mut g]: [Vec<f64>; 2]) -> Result<Self, Error> {
        let pairs = targets.iter().enumerate().filter_map(|(i, j)| j.map(|j| costs.pair(i, j as usize)));
        let total_cost = sum_of(pairs);
        if f.len() == g.len() {
            // The gauge <a, f> = <b, g>; there is none to choose between different numbers.
            let shift = 0.5 * (sum_of(f.iter().copied()) - sum_of(g.iter().copied())) / f.len() as f64;
            f.iter_mut().for_each(|f| *f -= shift);
            g.iter_mut().for_each(|g| *g += shift);
        }
        Ok(Self { targets, shape: costs.shape(), potentials: [f, g], total_cost })
    }

    /// The target of each source; `None` for sources left over where they are more.
    #[must_use]
    pub fn targets(&self) -> &[Option<u32>] {
        &self.targets
    }

    /// The sum of the costs of all pairs.
    #[must_use]
    pub fn total_cost(&self) -> f64 {
        self.total_cost
    }

    /// f of the sources or g of the targets. f_i + g_j <= C_ij, with equality for pairs, up to rounding. The larger side has
    /// potentials of at most 0, and 0 where it is left over; between sides of one size the means are equal.
    #[must_use]
    pub fn potential(&self, side: Side) -> &[f64] {
        &self.potentials[side.index()]
    }

    /// The sum of all potentials: a lower bound of the total cost of every assignment.
    #[must_use]
    pub fn dual(&self) -> f64 {
        let [f, g] = &self.potentials;
        sum_of(f.iter().chain(g).copied())
    }

    /// The pairs as a plan that moves `mass` between each: 1/n for uniform measures of n atoms, between which
    /// [`certify_optimality`](super::certify_optimality) then takes it together with the [potentials](Self::potential).
    ///
    /// # Errors
    /// [`Error::Weight`] for a mass that is negative or not finite.
    pub fn plan(&self, mass: f64) -> Result<SparsePlan, Error> {
        let pairs = self.targets.iter().zip(0..).filter_map(|(target, source)| target.map(|target| (source, target)));
        let entries = pairs.map(|(source, target)| PlanEntry { source, target, mass }).collect();
        SparsePlan::new(self.shape.0, self.shape.1, entries)
    }
}

impl Rows for PairCosts<'_> {
    fn shape(&self) -> (usize, usize) {
        PairCosts::shape(self)
    }

    fn row<'b>(&'b self, i: usize, buffer: &'b mut [f64]) -> &'b [f64] {
        PairCosts::row(self, i, buffer)
    }

    fn check_row(&self, i: usize, row: &[f64]) -> Result<(), Error> {
        PairCosts::check_row(self, i, row)
    }
}

/// A copy of all costs, row after row.
struct StoredRows {
    entries: Vec<f64>,
    columns: usize,
}

impl StoredRows {
    fn new(costs: &PairCosts<'_>, transposed: bool) -> Result<Self, Error> {
        let (n, m) = costs.shape();
        let mut entries = ot_core::host::try_zeros::<f64>(n.saturating_mul(m), "a table of costs")?;
        let mut buffer = vec![0.0; m];
        if !transposed {
            for (i, out) in entries.chunks_exact_mut(m).enumerate() {
                let row = costs.row(i, &mut buffer);
                costs.check_row(i, row)?;
                out.copy_from_slice(row);
            }
            return Ok(Self { entries, columns: m });
        }
        for i in 0..n {
            let row = costs.row(i, &mut buffer);
            costs.check_row(i, row)?;
            for (out, cost) in entries.iter_mut().skip(i).step_by(n).zip(row) {
                *out = *cost;
            }
        }
        Ok(Self { entries, columns: n })
    }
}

impl Rows for StoredRows {
    fn shape(&self) -> (usize, usize) {
        (self.entries.len() / self.columns, self.columns)
    }

    fn row<'b>(&'b self, i: usize, _: &'b mut [f64]) -> &'b [f64] {
        &self.entries[i * self.columns..][..self.columns]
    }

    /// All have been checked.
    fn check_row(&self, _: usize, _: &[f64]) -> Result<(), Error> {
        Ok(())
    }
}
