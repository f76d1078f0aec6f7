//! What is proven of a plan and potentials, from the input alone.
//!
//! ```text
//! primal  <P, C>            over  P >= 0,  P 1 = a,  P^T 1 = b
//! dual    <a, f> + <b, g>   over  f_i + g_j <= C_ij
//! ```
//!
//! The two values bracket the least cost, and are equal where no mass lies on a pair of positive reduced cost
//! C_ij - f_i - g_j (complementary slackness; Kantorovich 1942). [`certify`] takes what was asked, a plan and two
//! potentials, and computes all of it anew in f64, with compensated sums: nothing that a solver believes enters.

use ot_core::{Error, GroundCost, Measure, PlanEntry, Scalar, Side, cost::check_row};

use super::{
    SparsePlan,
    costs::PairCosts,
    masses::{balanced_weights, single_weights},
    sum::{CompensatedSum, sum_of},
};

/// Rows of one task are a fixed share of all, whatever the threads.
const TASKS: usize = 32;

/// The optimality of a plan and of potentials, measured.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct OptimalityCertificate {
    /// <P, C>; infinite if a forbidden pair has mass.
    pub primal: f64,
    /// <a, f> + <b, g>, a lower bound of the least cost where no reduced cost is negative.
    pub dual: f64,
    /// primal - dual.
    pub gap: f64,
    /// The smallest C_ij - f_i - g_j over all pairs that are not forbidden, those of atoms without weight included.
    /// Infinite if all are forbidden.
    pub smallest_reduced_cost: f64,
    /// The largest |C_ij - f_i - g_j| over the pairs with mass.
    pub largest_complementarity_violation: f64,
    /// sum_i |(P 1)_i - a_i|.
    pub source_residual: f64,
    /// sum_j |(P^T 1)_j - b_j|, where b has been rescaled to the mass of a.
    pub target_residual: f64,
    /// The largest |C_ij| over the pairs that are not forbidden: the unit of the tolerances.
    pub cost_scale: f64,
    /// The mass of a.
    pub mass: f64,
}

impl OptimalityCertificate {
    /// An upper bound of <P, C> minus the least cost: the gap after potentials have been lowered until no reduced
    /// cost is negative.
    #[must_use]
    pub fn suboptimality(&self) -> f64 {
        self.gap + self.mass * (-self.smallest_reduced_cost).max(0.0)
    }

    /// Is the plan feasible and optimal up to `tolerance`? Residuals are relative to the mass, reduced costs to the
    /// largest cost, the gap to the product of both.
    #[must_use]
    pub fn proves(&self, tolerance: f64) -> bool {
        let (of_mass, of_cost) = (tolerance * self.mass, tolerance * self.cost_scale);
        self.source_residual <= of_mass
            && self.target_residual <= of_mass
            && self.smallest_reduced_cost >= -of_cost
            && self.largest_complementarity_violation <= of_cost
            && self.gap.abs() <= of_cost * self.mass
    }
}

/// Measures how far a plan and potentials are from optimal transport between two measures, in f64, from these
/// arguments alone.
///
/// Masses that differ by rounding of the element type only are made equal: the target is rescaled. Costs are
/// evaluated row by row: time O(n m), memory O(n + m).
///
/// ```
/// use ot_core::{CostMatrix, Histogram, PlanEntry};
/// use ot_solvers::{SparsePlan, certify};
///
/// let cost = CostMatrix::new(vec![0.0, 2.0, 2.0, 0.0], 2, 2)?;
/// let (a, b) = (Histogram::new(vec![0.5, 0.5])?, Histogram::new(vec![0.25, 0.75])?);
/// let entry = |source, target, mass| PlanEntry { source, target, mass };
/// let plan = SparsePlan::new(2, 2, vec![entry(0, 0, 0.25), entry(0, 1, 0.25), entry(1, 1, 0.5)])?;
///
/// let certificate = certify::<f64>(&a, &b, &cost, &plan, &[2.0, 0.0], &[-2.0, 0.0])?;
/// assert!(certificate.proves(0.0));
/// assert_eq!((certificate.primal, certificate.dual), (0.5, 0.5));
/// // A wrong dual is refused.
/// assert!(!certify::<f64>(&a, &b, &cost, &plan, &[2.0, 0.1], &[-2.0, 0.0])?.proves(1e-3));
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] for a plan or potentials of another shape, [`Error::Parameter`] for a potential that is not
/// finite, [`Error::MassMismatch`], [`Error::BatchMismatch`] for more than one histogram, [`Error::UnsupportedSupport`]
/// for supports that the cost has no entries of, [`Error::Cost`] for a cost that is NaN or minus infinity.
pub fn certify<T: Scalar>(
    source: &dyn Measure<T>,
    target: &dyn Measure<T>,
    cost: &dyn GroundCost,
    plan: &SparsePlan,
    source_potential: &[f64],
    target_potential: &[f64],
) -> Result<OptimalityCertificate, Error> {
    let costs = PairCosts::new(source.support(), target.support(), cost)?;
    let (a, b) = balanced_weights::<T>(single_weights(source)?, single_weights(target)?)?;
    let serial = |tasks: usize, job: &(dyn Fn(usize) + Sync)| (0..tasks).for_each(job);
    certify_costs(&costs, [&a, &b], plan, [source_potential, target_potential], serial)
}

/// [`certify`] for costs and weights in f64, with workers. The bits do not depend on them.
pub(super) fn certify_costs(
    costs: &PairCosts<'_>,
    [a, b]: [&[f64]; 2],
    plan: &SparsePlan,
    [f, g]: [&[f64]; 2],
    parallel: impl Fn(usize, &(dyn Fn(usize) + Sync)),
) -> Result<OptimalityCertificate, Error> {
    let (n, m) = costs.shape();
    for (what, expected, found) in [
        ("source weights", n, a.len()),
        ("target weights", m, b.len()),
        ("rows of the plan", n, plan.shape().0),
        ("columns of the plan", m, plan.shape().1),
        ("source potential", n, f.len()),
        ("target potential", m, g.len()),
    ] {
        if expected != found {
            return Err(Error::Length { what, expected, found });
        }
    }
    if let Some(&value) = f.iter().chain(g).find(|potential| !potential.is_finite()) {
        return Err(Error::Parameter { name: "potential", value, expected: "a finite number" });
    }

    let pairs = statistics(costs, f, g, parallel)?;
    let mut primal = CompensatedSum::default();
    let mut violation = 0.0_f64;
    for &PlanEntry { source, target, mass } in plan.entries() {
        let (i, j) = (source as usize, target as usize);
        let cost = costs.pair(i, j);
        primal.add(cost * mass);
        violation = violation.max((cost - f[i] - g[j]).abs());
    }
    // An infinite cost leaves no number behind in a compensated sum.
    let primal = if violation < f64::INFINITY { primal.value() } else { f64::INFINITY };
    let dual = sum_of(a.iter().zip(f).chain(b.iter().zip(g)).map(|(weight, potential)| weight * potential));
    Ok(OptimalityCertificate {
        primal,
        dual,
        gap: primal - dual,
        smallest_reduced_cost: pairs.smallest_reduced_cost,
        largest_complementarity_violation: violation,
        source_residual: residual(plan, Side::Source, a),
        target_residual: residual(plan, Side::Target, b),
        cost_scale: pairs.cost_scale,
        mass: sum_of(a.iter().copied()),
    })
}

/// sum_i |(P 1)_i - a_i|, or the same of the columns.
fn residual(plan: &SparsePlan, side: Side, weights: &[f64]) -> f64 {
    let mut differences: Vec<CompensatedSum> = weights.iter().map(|weight| [-weight].into_iter().collect()).collect();
    for entry in plan.entries() {
        let atom = side.of([entry.source, entry.target]);
        differences[atom as usize].add(entry.mass);
    }
    sum_of(differences.into_iter().map(|difference| difference.value().abs()))
}

/// What all pairs tell.
#[derive(Clone, Copy)]
struct Statistics {
    smallest_reduced_cost: f64,
    cost_scale: f64,
}

/// One pass over all costs.
fn statistics(
    costs: &PairCosts<'_>,
    f: &[f64],
    g: &[f64],
    parallel: impl Fn(usize, &(dyn Fn(usize) + Sync)),
) -> Result<Statistics, Error> {
    let (n, m) = costs.shape();
    let rows = n.div_ceil(TASKS).max(1);
    let nothing = Statistics { smallest_reduced_cost: f64::INFINITY, cost_scale: 0.0 };
    let mut found = vec![Ok(nothing); n.div_ceil(rows)];
    ot_core::host::for_each_chunk(parallel, n.div_ceil(rows), found.iter_mut(), |task, found| {
        let mut buffer = vec![0.0; m];
        let mut statistics = nothing;
        for (i, f) in f.iter().enumerate().skip(task * rows).take(rows) {
            let row = costs.row(i, &mut buffer);
            if let Err(error) = check_row(i, row) {
                *found = Err(error);
                return;
            }
            let (least, largest) = row_extremes(row, *f, g);
            statistics.smallest_reduced_cost = statistics.smallest_reduced_cost.min(least);
            statistics.cost_scale = statistics.cost_scale.max(largest);
        }
        *found = Ok(statistics);
    });
    found.into_iter().try_fold(nothing, |all, of_task| {
        let of_task = of_task?;
        Ok(Statistics {
            smallest_reduced_cost: all.smallest_reduced_cost.min(of_task.smallest_reduced_cost),
            cost_scale: all.cost_scale.max(of_task.cost_scale),
        })
    })
}

/// The smallest C_ij - f_i - g_j and the largest finite |C_ij| of a row, without a branch.
fn row_extremes(row: &[f64], f: f64, g: &[f64]) -> (f64, f64) {
    const LANES: usize = 8;
    let and = |(least, largest): (f64, f64), (cost, g): (f64, f64)| {
        let (reduced, size) = (cost - f - g, if cost < f64::INFINITY { cost.abs() } else { 0.0 });
        (if reduced < least { reduced } else { least }, if size > largest { size } else { largest })
    };
    let mut lanes = [(f64::INFINITY, 0.0); LANES];
    let ((costs, other_costs), (potentials, other_potentials)) = (row.as_chunks::<LANES>(), g.as_chunks::<LANES>());
    for (costs, potentials) in costs.iter().zip(potentials) {
        for (lane, pair) in lanes.iter_mut().zip(costs.iter().copied().zip(potentials.iter().copied())) {
            *lane = and(*lane, pair);
        }
    }
    for pair in other_costs.iter().copied().zip(other_potentials.iter().copied()) {
        lanes[0] = and(lanes[0], pair);
    }
    lanes.into_iter().fold((f64::INFINITY, 0.0), |all, lane| (all.0.min(lane.0), f64::max(all.1, lane.1)))
}
