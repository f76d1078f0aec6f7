//! What is proven of a plan and potentials, from the input alone.
//!
//! ```text
//! primal  <P, C>            over  P >= 0,  P 1 = a,  P^T 1 = b
//! dual    <a, f> + <b, g>   over  f_i + g_j <= C_ij
//! ```
//!
//! The two values bracket the least cost, and are equal where no mass lies on a pair of positive reduced cost
//! C_ij - f_i - g_j (complementary slackness; Kantorovich 1942). [`certify_optimality`] takes what was asked, a plan and two
//! potentials, and computes all of it anew in f64, with compensated sums: nothing that a solver believes enters. What rounding
//! may have done to the numbers summed is told apart.

use std::fmt;

use ot_core::{
    Error, GroundCost, Measure, Scalar, Side,
    cost::check_bound,
    error::short,
    instructions::{Loops, run_widest},
};

use super::{
    SparsePlan,
    boxes::PairBoxes,
    costs::{CostRows, PairCosts},
    masses::{balanced_weights, single_weights},
    sum::{CompensatedSum, ProductSum, sum_of},
};
use crate::unit::power_of_two;

/// Rows of one task are a fixed share of all, whatever the threads.
const TASKS: usize = 32;

/// Units of rounding up to which a proof takes a single reduced cost for none: the search does so up to 64, and the gauge of its
/// potentials adds some.
const ROUNDINGS_OF_PAIR: f64 = 128.0;
/// Units of rounding up to which a proof takes sums for equal.
const ROUNDINGS: f64 = 4.0;

/// The optimality of a plan and of potentials, measured.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct OptimalityCertificate {
    /// <P, C>; infinite if a forbidden pair has mass.
    pub primal: f64,
    /// <a, f> + <b, g>, a lower bound of the least cost where no reduced cost is negative.
    pub dual: f64,
    /// primal - dual.
    pub gap: f64,
    /// <P, |C|>, the unit of the tolerances: costs that the plan does not pay are no part of it.
    pub absolute_cost: f64,
    /// What a unit of rounding of all numbers that were summed comes to: 2^-52 times |C_ij| of the pairs with mass, |f_i| and
    /// |g_j|, by their masses, and, where a source has its smallest reduced cost over the targets with mass below zero or within
    /// rounding of it, times |C_ij| + |f_i| + |g_j| of that pair.
    pub rounding: f64,
    /// sum_i a_i max_j (f_i + g_j - C_ij)^+ over the targets with mass: what the dual loses when potentials of sources are
    /// lowered until no reduced cost is negative. Potentials of targets without mass are lowered at no loss.
    pub infeasibility: f64,
    /// The smallest C_ij - f_i - g_j over all pairs that are not forbidden, those of atoms without weight included.
    /// Infinite if all are forbidden.
    pub smallest_reduced_cost: f64,
    /// The largest f_i + g_j - C_ij over the same pairs, less 128 units of rounding of |C_ij| + |f_i| + |g_j|; zero if none is
    /// left.
    pub largest_violation: f64,
    /// The largest |C_ij - f_i - g_j| over the pairs with mass.
    pub largest_complementarity_violation: f64,
    /// sum_i |(P 1)_i - a_i|.
    pub source_residual: f64,
    /// sum_j |(P^T 1)_j - b_j|, where b has been rescaled to the mass of a.
    pub target_residual: f64,
    /// The mass of a.
    pub mass: f64,
}

impl OptimalityCertificate {
    /// What is proven of nothing.
    pub(super) const BLANK: Self = Self {
        primal: 0.0,
        dual: 0.0,
        gap: 0.0,
        absolute_cost: 0.0,
        rounding: 0.0,
        infeasibility: 0.0,
        smallest_reduced_cost: 0.0,
        largest_violation: 0.0,
        largest_complementarity_violation: 0.0,
        source_residual: 0.0,
        target_residual: 0.0,
        mass: 0.0,
    };

    /// An upper bound of <P, C> minus the least cost, rounding included: the gap after potentials have been lowered until no
    /// reduced cost is negative.
    #[must_use]
    pub fn suboptimality(&self) -> f64 {
        self.gap + self.infeasibility + self.rounding
    }

    /// A lower bound of the least cost, rounding included.
    #[must_use]
    pub fn lower_bound(&self) -> f64 {
        self.dual - self.infeasibility - self.rounding
    }

    /// Is the plan feasible and optimal up to `tolerance`, and up to rounding?
    ///
    /// Residuals are relative to the mass; gap and infeasibility to <P, |C|>, beyond four times the
    /// [`rounding`](Self::rounding); the [largest violation](Self::largest_violation) to the mean of <P, |C|> over the mass. So
    /// no cost that is not paid makes up for a gap, and identical measures, whose cost is zero, are proven.
    #[must_use]
    pub fn proves(&self, tolerance: f64) -> bool {
        let (of_mass, of_cost) = (tolerance * self.mass, tolerance * self.absolute_cost);
        let of_sums = of_cost + ROUNDINGS * self.rounding;
        self.primal.is_finite()
            && self.source_residual <= of_mass
            && self.target_residual <= of_mass
            && self.mass * self.largest_violation <= of_cost
            && self.infeasibility <= of_sums
            && self.gap.abs() <= of_sums
    }
}

impl fmt::Display for OptimalityCertificate {
    /// One line for a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { primal, dual, rounding, source_residual, target_residual, smallest_reduced_cost, .. } = self;
        write!(
            formatter,
            "<P, C> {}, dual {} (at most {:.1e} above the least cost, rounding {rounding:.1e}), marginal residuals \
             {source_residual:.1e} and {target_residual:.1e}, smallest reduced cost {smallest_reduced_cost:.1e}",
            short(*primal),
            short(*dual),
            self.suboptimality().max(0.0)
        )
    }
}

/// Measures how far a plan and potentials are from optimal transport between two measures, in f64, from these
/// arguments alone.
///
/// Masses that differ by rounding of the element type only are made equal: the target is rescaled. Costs are
/// evaluated row by row: time O(n m), memory O(n + m). Between large clouds in few coordinates most pairs are ruled out by the
/// [least cost](GroundCost::least) between boxes around points, with its rounding counted: the numbers are those of all pairs.
///
/// ```
/// use ot_core::{CostMatrix, Histogram, PlanEntry};
/// use ot_solvers::{SparsePlan, certify_optimality};
///
/// let cost = CostMatrix::new(vec![0.0, 2.0, 2.0, 0.0], 2, 2)?;
/// let (a, b) = (Histogram::new(vec![0.5, 0.5])?, Histogram::new(vec![0.25, 0.75])?);
/// let entry = |source, target, mass| PlanEntry { source, target, mass };
/// let plan = SparsePlan::new(2, 2, vec![entry(0, 0, 0.25), entry(0, 1, 0.25), entry(1, 1, 0.5)])?;
///
/// let certificate = certify_optimality::<f64>(&a, &b, &cost, &plan, &[2.0, 0.0], &[-2.0, 0.0])?;
/// assert!(certificate.proves(0.0));
/// assert_eq!((certificate.primal, certificate.dual), (0.5, 0.5));
/// // A wrong dual is refused.
/// assert!(!certify_optimality::<f64>(&a, &b, &cost, &plan, &[2.0, 0.1], &[-2.0, 0.0])?.proves(1e-3));
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] for a plan or potentials of another shape, [`Error::Parameter`] for a potential that is not
/// finite, [`Error::MassMismatch`], [`Error::BatchMismatch`] or [`Error::Length`] for more than one histogram,
/// [`Error::UnsupportedSupport`] for supports that the cost has no entries of, [`Error::Cost`] for a cost that is NaN or
/// minus infinity, [`Error::CostOverflow`] for potentials, or costs times masses, beyond the range.
pub fn certify_optimality<T: Scalar>(
    source: &dyn Measure<T>,
    target: &dyn Measure<T>,
    cost: &dyn GroundCost,
    plan: &SparsePlan,
    source_potential: &[f64],
    target_potential: &[f64],
) -> Result<OptimalityCertificate, Error> {
    let costs = PairCosts::new(source.support(), target.support(), cost)?;
    let (a, b) = balanced_weights::<T>(single_weights(source, target)?)?;
    let serial = |tasks: usize, job: &(dyn Fn(usize) + Sync)| (0..tasks).for_each(job);
    let mut memory = ProofMemory::default();
    certify_costs(&costs, [&a, &b], plan, [source_potential, target_potential], &mut memory, serial)
}

/// Memory of a proof, kept for the next one.
#[derive(Debug, Default)]
pub(super) struct ProofMemory {
    rows: Vec<RowMinima>,
    /// g_j, minus infinity for targets without mass.
    potential: Vec<f64>,
    /// |g_j|.
    sizes: Vec<f64>,
    /// Targets without mass.
    without_mass: Vec<u32>,
    /// C_ij of the entries of the plan.
    paid: Vec<f64>,
    differences: Vec<CompensatedSum>,
}

/// [`certify_optimality`] for costs and weights in f64, with workers. The bits do not depend on them.
pub(super) fn certify_costs(
    costs: &impl CostRows,
    [a, b]: [&[f64]; 2],
    plan: &SparsePlan,
    [f, g]: [&[f64]; 2],
    memory: &mut ProofMemory,
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

    row_minima(costs, [f, g], b, memory, parallel)?;
    let ProofMemory { rows, paid, differences, .. } = memory;
    paid.clear();
    paid.extend(plan.entries().iter().map(|entry| costs.pair(entry.source as usize, entry.target as usize)));
    let sizes = paid.iter().chain(f).chain(g).map(|value| value.abs()).filter(|size| *size < f64::INFINITY);
    let largest = sizes.fold(0.0, f64::max);
    check_bound::<f64>(largest)?;
    let smallest_reduced_cost =
        rows.iter().fold(f64::INFINITY, |least, row| least.min(row.least).min(row.least_without_mass));
    check_bound::<f64>(smallest_reduced_cost.min(0.0))?;
    let mass = sum_of(a.iter().copied());
    let heaviest = plan.entries().iter().fold(mass, |heaviest, entry| heaviest.max(entry.mass));
    let unit = power_of_two(heaviest);

    let entries = || plan.entries().iter().zip(&*paid);
    let violation = entries()
        .map(|(entry, cost)| (cost - f[entry.source as usize] - g[entry.target as usize]).abs())
        .fold(0.0_f64, f64::max);
    // Each sum has a unit of its own: potentials of atoms without mass, and costs that are not paid, take no digits.
    let (primal, absolute_cost) = match violation < f64::INFINITY {
        true => (
            ProductSum::of(entries().map(|(entry, &cost)| [entry.mass, cost])),
            ProductSum::of(entries().map(|(entry, &cost)| [entry.mass, cost.abs()])),
        ),
        false => (ProductSum::INFINITE, ProductSum::INFINITE),
    };
    let gains = || a.iter().zip(f).chain(b.iter().zip(g));
    let dual = ProductSum::of(gains().map(|(&weight, &potential)| [weight, potential]));
    let sizes = ProductSum::of(gains().map(|(&weight, &potential)| [weight, potential.abs()]));
    let of_rows =
        |number: fn(RowMinima) -> f64| ProductSum::of(a.iter().zip(&*rows).map(|(&a, &row)| [a, number(row)]));
    let rounding = absolute_cost.plus(sizes).times(f64::EPSILON).plus(of_rows(RowMinima::rounding));

    Ok(OptimalityCertificate {
        primal: primal.value()?,
        dual: dual.value()?,
        gap: primal.plus(dual.times(-1.0)).value()?,
        absolute_cost: absolute_cost.value()?,
        rounding: rounding.value()?,
        infeasibility: of_rows(RowMinima::violation).value()?,
        smallest_reduced_cost,
        largest_violation: rows.iter().map(RowMinima::largest_violation).fold(0.0, f64::max),
        largest_complementarity_violation: violation,
        source_residual: unit * residual(plan, Side::Source, a, unit, differences),
        target_residual: unit * residual(plan, Side::Target, b, unit, differences),
        mass,
    })
}

/// sum_i |(P 1)_i - a_i|, or the same of the columns, in units of mass.
fn residual(plan: &SparsePlan, side: Side, weights: &[f64], unit: f64, differences: &mut Vec<CompensatedSum>) -> f64 {
    differences.clear();
    differences.extend(weights.iter().map(|weight| [-weight / unit].into_iter().collect::<CompensatedSum>()));
    for entry in plan.entries() {
        let atom = side.of([entry.source, entry.target]);
        differences[atom as usize].add(entry.mass / unit);
    }
    sum_of(differences.iter().map(|difference| difference.value().abs()))
}

/// The smallest reduced costs of a source; infinite if all its pairs are forbidden.
#[derive(Clone, Copy, Debug)]
struct RowMinima {
    /// min C_ij - f_i - g_j over the targets with mass.
    least: f64,
    /// The same, less a unit of rounding of the terms.
    least_rounded: f64,
    /// min C_ij - f_i - g_j over the targets without mass.
    least_without_mass: f64,
    /// The largest f_i + g_j - C_ij over these, less 128 units of rounding of its terms.
    violation_without_mass: f64,
}

impl RowMinima {
    /// Those over no pair.
    const NONE: Self = Self {
        least: f64::INFINITY,
        least_rounded: f64::INFINITY,
        least_without_mass: f64::INFINITY,
        violation_without_mass: f64::NEG_INFINITY,
    };

    /// Those over the pairs of both.
    fn and(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            least_rounded: self.least_rounded.min(other.least_rounded),
            least_without_mass: self.least_without_mass.min(other.least_without_mass),
            violation_without_mass: self.violation_without_mass.max(other.violation_without_mass),
        }
    }

    /// max_j (f_i + g_j - C_ij)^+ over the targets with mass.
    fn violation(self) -> f64 {
        (-self.least).max(0.0)
    }

    /// How much larger rounding may make the violation.
    fn rounding(self) -> f64 {
        (-self.least_rounded).max(0.0) - self.violation()
    }

    /// Over all targets, beyond rounding.
    fn largest_violation(&self) -> f64 {
        (self.violation() - ROUNDINGS_OF_PAIR * self.rounding()).max(self.violation_without_mass)
    }

    /// The same minima, with those over targets without mass.
    fn with(self, without_mass: &[u32], row: &[f64], f: f64, g: &[f64]) -> Self {
        without_mass.iter().fold(self, |minima, &j| {
            let (cost, g) = (row[j as usize], g[j as usize]);
            let reduced = cost - f - g;
            // That of a forbidden pair is minus infinity, less as much.
            let violation = -reduced - ROUNDINGS_OF_PAIR * f64::EPSILON * (cost.abs() + f.abs() + g.abs());
            Self {
                least_without_mass: minima.least_without_mass.min(reduced),
                violation_without_mass: minima.violation_without_mass.max(violation),
                ..minima
            }
        })
    }
}

/// One pass over all costs.
fn row_minima(
    costs: &impl CostRows,
    [f, g]: [&[f64]; 2],
    b: &[f64],
    memory: &mut ProofMemory,
    parallel: impl Fn(usize, &(dyn Fn(usize) + Sync)),
) -> Result<(), Error> {
    let (n, m) = costs.shape();
    let ProofMemory { rows: all, potential, sizes, without_mass, .. } = memory;
    sizes.clear();
    sizes.extend(g.iter().map(|g| g.abs()));
    potential.clear();
    potential.extend(g.iter().zip(b).map(|(g, b)| if *b > 0.0 { *g } else { f64::NEG_INFINITY }));
    without_mass.clear();
    // Memory for all of them: later solves of as many atoms allocate nothing.
    without_mass.reserve(m);
    without_mass.extend((0..).zip(b).filter(|(_, b)| **b <= 0.0).map(|(j, _)| j));
    let (potential, sizes, without_mass) = (&*potential, &*sizes, &*without_mass);
    let of_row =
        |row: &[f64], f: f64| run_widest(MinimaOfRow { row, f, g: potential, sizes }).with(without_mass, row, f, g);
    all.clear();
    if let Some(boxes) = costs.boxes()
        && let Some(found) = minima_by_boxes(&boxes, [f, g], [potential, sizes], b, &parallel)
    {
        *all = found;
        return Ok(());
    }
    if costs.are_stored() {
        for (i, &f) in f.iter().enumerate() {
            let row = costs.row(i, &mut []);
            costs.check_row(i, row)?;
            all.push(of_row(row, f));
        }
        return Ok(());
    }
    let rows = n.div_ceil(TASKS).max(1);
    let mut found: Vec<Result<Vec<RowMinima>, Error>> = (0..n.div_ceil(rows)).map(|_| Ok(Vec::new())).collect();
    ot_core::host::for_each_chunk(parallel, n.div_ceil(rows), found.iter_mut(), |task, found| {
        let mut buffer = vec![0.0; m];
        let minima = (task * rows..n.min((task + 1) * rows)).map(|i| {
            let row = costs.row(i, &mut buffer);
            costs.check_row(i, row)?;
            Ok(of_row(row, f[i]))
        });
        *found = minima.collect();
    });
    for of_task in found {
        all.extend(of_task?);
    }
    Ok(())
}

/// The minima of every row over the pairs that boxes do not rule out; `None` where that leaves the smallest reduced cost of all
/// unknown.
///
/// The reduced costs of those that are ruled out are so far above zero that they are not below it by any rounding. So they
/// change nothing that is told of a row, and the smallest reduced cost only where all others are above a level.
fn minima_by_boxes(
    boxes: &PairBoxes<'_>,
    [f, g]: [&[f64]; 2],
    [potential, sizes]: [&[f64]; 2],
    b: &[f64],
    parallel: impl Fn(usize, &(dyn Fn(usize) + Sync)),
) -> Option<Vec<RowMinima>> {
    let tops = [boxes.tops(Side::Source, |i| f[i]), boxes.tops(Side::Target, |j| g[j])];
    let tops = tops.each_ref();
    // Twice the units of rounding of a pair that a proof counts, and of a cost no larger than both potentials and itself.
    let level = 4.0 * ROUNDINGS_OF_PAIR * f64::EPSILON * (tops[0].largest + tops[1].largest);
    let order = boxes.order(Side::Target);
    let placed = |values: &[f64]| order.iter().map(|&j| values[j as usize]).collect::<Vec<f64>>();
    let (potential, sizes) = (placed(potential), placed(sizes));
    let is_massless: Vec<bool> = order.iter().map(|&j| b[j as usize] <= 0.0).collect();
    let any_massless = is_massless.contains(&true);

    let blocks = boxes.blocks(Side::Source);
    let share = blocks.div_ceil(TASKS).max(1);
    let mut found: Vec<Vec<RowMinima>> = vec![Vec::new(); blocks.div_ceil(share)];
    ot_core::host::for_each_chunk(parallel, found.len(), found.iter_mut(), |task, found| {
        let (mut partners, mut buffer, mut without_mass) = (Vec::new(), Vec::new(), Vec::new());
        for block in task * share..blocks.min((task + 1) * share) {
            boxes.partners(block, tops, level, &mut partners);
            for place in boxes.places(Side::Source, block) {
                let f = tops[0].placed[place];
                let minima = partners.iter().fold(RowMinima::NONE, |minima, range| {
                    buffer.resize(range.len(), 0.0);
                    boxes.costs(place, range.clone(), &mut buffer);
                    let (g, sizes) = (&potential[range.clone()], &sizes[range.clone()]);
                    let of_range = run_widest(MinimaOfRow { row: &buffer, f, g, sizes });
                    if !any_massless {
                        return minima.and(of_range);
                    }
                    without_mass.clear();
                    without_mass.extend((0..).zip(&is_massless[range.clone()]).filter(|(_, is)| **is).map(|(j, _)| j));
                    minima.and(of_range.with(&without_mass, &buffer, f, &tops[1].placed[range.clone()]))
                });
                found.push(minima);
            }
        }
    });
    let mut rows = vec![RowMinima::NONE; f.len()];
    for (row, &i) in found.into_iter().flatten().zip(boxes.order(Side::Source)) {
        rows[i as usize] = row;
    }
    let smallest = rows.iter().map(|row| row.least.min(row.least_without_mass)).fold(f64::INFINITY, f64::min);
    (smallest <= level).then_some(rows)
}

/// The minima of a row, without a branch.
struct MinimaOfRow<'a> {
    row: &'a [f64],
    f: f64,
    /// g_j, minus infinity to leave a target out.
    g: &'a [f64],
    /// |g_j|.
    sizes: &'a [f64],
}

impl Loops for MinimaOfRow<'_> {
    type Output = RowMinima;

    #[inline(always)]
    fn run(self) -> RowMinima {
        const LANES: usize = 8;
        let Self { row, f, g, sizes } = self;
        // A forbidden pair compares as not less: its rounding makes it a NaN.
        let and = |(least, rounded): (f64, f64), cost: f64, g: f64, size: f64| {
            let reduced = cost - f - g;
            let below = reduced - f64::EPSILON * (cost.abs() + size);
            (if reduced < least { reduced } else { least }, if below < rounded { below } else { rounded })
        };
        let (mut least, mut rounded) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
        let ((costs, other_costs), (potentials, other_potentials)) = (row.as_chunks::<LANES>(), g.as_chunks::<LANES>());
        let (wide_sizes, other_sizes) = sizes.as_chunks::<LANES>();
        for ((costs, potentials), sizes) in costs.iter().zip(potentials).zip(wide_sizes) {
            for lane in 0..LANES {
                (least[lane], rounded[lane]) =
                    and((least[lane], rounded[lane]), costs[lane], potentials[lane], sizes[lane]);
            }
        }
        for ((cost, potential), size) in other_costs.iter().zip(other_potentials).zip(other_sizes) {
            (least[0], rounded[0]) = and((least[0], rounded[0]), *cost, *potential, *size);
        }
        let least_of = |lanes: [f64; LANES]| lanes.into_iter().fold(f64::INFINITY, f64::min);
        RowMinima {
            least: least_of(least),
            least_rounded: least_of(rounded) - f64::EPSILON * f.abs(),
            ..RowMinima::NONE
        }
    }
}
