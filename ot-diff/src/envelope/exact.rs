//! Gradients of transport without regularisation: of a linear programme, of the line, of slices.
//!
//! The optimum min <P, C> is concave in C, convex in (a, b). It is differentiable in the cost where the optimal plan is
//! unique, in the weights where the potentials are unique up to a constant; elsewhere what is returned is one of its
//! super- or subgradients. [`Uniqueness`] says what is proven.

use ot_core::{CostBetween, Error, GroundCost, Measure, PlanEntry, PointCloud, PowerOfDistance, Scalar, Side, Support};
use ot_solvers::{LineTransport, QuantileFunction, SlicedDistance, SparsePlan};

/// A reduced cost below so many roundings of the largest cost is zero.
const TIGHT: f64 = 64.0;

/// What is proven of the optimum.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Uniqueness {
    /// The pairs of reduced cost zero form a forest: no other plan is optimal, and the optimum is differentiable in the
    /// cost.
    pub plan: bool,
    /// The pairs that carry mass connect all atoms with mass: potentials there are unique up to a constant, and the optimum
    /// is differentiable along changes of the weights that keep the mass.
    pub potentials: bool,
}

/// The optimum of a linear programme of transport, its gradient, and whether it is one.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactGradient {
    /// <P, C>.
    pub value: f64,
    /// In the points of source and target, point by point: sum_j P_ij dc(x_i, y_j) / dx_i. None for a cost without known
    /// gradient or atoms without coordinates. The gradient in a cost matrix is the plan.
    pub points: Option<[Vec<f64>; 2]>,
    /// In the weights of source and target: the potentials, up to (c, -c).
    pub weights: [Vec<f64>; 2],
    /// Whether these are gradients, or one of several super- or subgradients.
    pub uniqueness: Uniqueness,
}

/// The gradient at an optimal plan with optimal potentials: those of [`ExactTransport`](ot_solvers::ExactTransport),
/// [`assign`](ot_solvers::assign) or [`LineTransport`]. One pass over all pairs, for the uniqueness.
///
/// ```
/// use ot_core::{PointCloud, Side, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_diff::exact_gradient;
/// use ot_solvers::ExactTransport;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::new(vec![0.0, 1.0], 1, vec![0.25, 0.75])?;
/// let b = PointCloud::new(vec![4.0, 6.0], 1, vec![0.5, 0.5])?;
/// let exact = ExactTransport::new().solve(&backend, &a, &b, &SqEuclidean)?;
/// let potentials = [exact.potential(Side::Source), exact.potential(Side::Target)];
/// let gradient = exact_gradient(exact.plan(), potentials, &a, &b, &SqEuclidean)?;
/// assert!(gradient.uniqueness.plan && gradient.uniqueness.potentials);
/// assert_eq!(gradient.points.expect("points")[0][0], 0.25 * 2.0 * (0.0 - 4.0));
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::Length`] for a plan or potentials of other measures; those of [`CostBetween::new`].
pub fn exact_gradient<T: Scalar>(
    plan: &SparsePlan,
    potentials: [&[f64]; 2],
    source: &dyn Measure<T>,
    target: &dyn Measure<T>,
    cost: &dyn GroundCost,
) -> Result<ExactGradient, Error> {
    let between = CostBetween::new(source.support(), target.support(), cost)?;
    let shape = between.shape();
    let [rows, columns] = [shape.0, shape.1];
    let lengths = [
        ("rows of a plan", rows, plan.shape().0),
        ("columns of a plan", columns, plan.shape().1),
        ("source potential", rows, potentials[0].len()),
        ("target potential", columns, potentials[1].len()),
    ];
    for (what, expected, found) in lengths {
        if expected != found {
            return Err(Error::Length { what, expected, found });
        }
    }
    let (value, uniqueness) = value_and_uniqueness(plan, potentials, &between);
    let weights = potentials.map(<[f64]>::to_vec);
    Ok(ExactGradient { value, points: in_points(plan, &between), weights, uniqueness })
}

/// <P, C>, and what one pass over the pairs proves.
fn value_and_uniqueness<T: Scalar>(
    plan: &SparsePlan,
    [f, g]: [&[f64]; 2],
    between: &CostBetween<'_, T>,
) -> (f64, Uniqueness) {
    let (rows, columns) = between.shape();
    let (mut value, mut largest) = (0.0, 0.0_f64);
    let mut carrying = Forest::new(rows + columns);
    let has_mass = Side::BOTH.map(|side| plan.marginal(side).iter().map(|&mass| mass > 0.0).collect::<Vec<_>>());
    let (mut row, mut entries) = (vec![0.0; columns], plan.entries().iter().peekable());
    let mut tight = Forest::new(rows + columns);
    let mut is_forest = true;
    for i in 0..rows {
        between.row_f64(i, &mut row);
        while let Some(PlanEntry { target, mass, .. }) = entries.next_if(|entry| entry.source as usize == i) {
            value += mass * row[*target as usize];
            carrying.join(i, rows + *target as usize);
        }
        if !has_mass[0][i] {
            continue;
        }
        largest = row.iter().filter(|cost| cost.is_finite()).fold(largest, |a, cost| a.max(cost.abs()));
        let slack = TIGHT * T::EPSILON * (largest + f[i].abs());
        for (j, cost) in row.iter().enumerate() {
            if has_mass[1][j] && cost - f[i] - g[j] <= slack {
                is_forest &= tight.join(i, rows + j);
            }
        }
    }
    let with_mass =
        (0..rows).filter(|&i| has_mass[0][i]).chain((0..columns).filter(|&j| has_mass[1][j]).map(|j| rows + j));
    let mut roots: Vec<usize> = with_mass.map(|atom| carrying.root(atom)).collect();
    roots.sort_unstable();
    roots.dedup();
    (value, Uniqueness { plan: is_forest, potentials: roots.len() == 1 })
}

/// sum_j P_ij dc(x_i, y_j), in the points of either side.
fn in_points<T: Scalar>(plan: &SparsePlan, between: &CostBetween<'_, T>) -> Option<[Vec<f64>; 2]> {
    let points = between.points()?;
    let dimension = points[0].dimension();
    let wide = points.map(|points| points.coordinates().iter().map(|value| value.to_f64()).collect::<Vec<f64>>());
    let mut out = [vec![0.0; wide[0].len()], vec![0.0; wide[1].len()]];
    let mut slopes = vec![0.0; 2 * dimension];
    for &PlanEntry { source, target, mass } in plan.entries() {
        let at = [source, target].map(|atom| atom as usize * dimension);
        let [x, y] = [0, 1].map(|side| &wide[side][at[side]..][..dimension]);
        if !between.cost().gradient(x, y, &mut slopes) {
            return None;
        }
        for (side, out) in out.iter_mut().enumerate() {
            let own = &slopes[side * dimension..][..dimension];
            out[at[side]..][..dimension].iter_mut().zip(own).for_each(|(out, slope)| *out += mass * slope);
        }
    }
    Some(out)
}

/// Sets of atoms that arcs connect.
struct Forest {
    parents: Vec<usize>,
}

impl Forest {
    fn new(atoms: usize) -> Self {
        Self { parents: (0..atoms).collect() }
    }

    fn root(&mut self, mut atom: usize) -> usize {
        while self.parents[atom] != atom {
            self.parents[atom] = self.parents[self.parents[atom]];
            atom = self.parents[atom];
        }
        atom
    }

    /// Joins two sets. False if they were one: the arc closes a cycle.
    fn join(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.root(one), self.root(other));
        self.parents[one] = other;
        one != other
    }
}

/// The mean of W_p^p over the directions of a sliced distance, and its gradient in the points of source and target, point by
/// point. O(directions (n + m) log(n + m)).
///
/// Differentiable where the projections of all points of a side differ, so almost everywhere.
///
/// # Errors
/// [`Error::UnsupportedSupport`] for atoms without coordinates; those of [`QuantileFunction::of`], [`LineTransport::new`]
/// and [`PowerOfDistance::new`].
pub fn sliced_gradient<T: Scalar>(
    distance: &SlicedDistance,
    p: f64,
    source: &dyn Measure<T>,
    target: &dyn Measure<T>,
) -> Result<(f64, [Vec<f64>; 2]), Error> {
    let measures = [source, target];
    let mut clouds = Vec::with_capacity(2);
    for measure in measures {
        let (Support::Points(points), Some(weights)) = (measure.support(), measure.weights()) else {
            let found = measure.support().kind();
            return Err(Error::UnsupportedSupport { what: "slices", found });
        };
        let wide = |values: &[T]| values.iter().map(|value| value.to_f64()).collect::<Vec<f64>>();
        clouds.push((wide(points.coordinates()), points.dimension(), wide(weights.column(0))));
    }
    let dimension = clouds[0].1;
    let cost = PowerOfDistance::new(p)?;
    let mut gradient = [vec![0.0; clouds[0].0.len()], vec![0.0; clouds[1].0.len()]];
    let directions: Vec<&[f64]> = distance.directions().chunks_exact(dimension).collect();
    let share = 1.0 / directions.len().max(1) as f64;
    for direction in &directions {
        let project = |points: &[f64]| -> Vec<f64> {
            let along = |point: &[f64]| point.iter().zip(*direction).map(|(x, axis)| x * axis).sum();
            points.chunks_exact(dimension).map(along).collect()
        };
        let projected = [project(&clouds[0].0), project(&clouds[1].0)];
        let function = |side: usize| -> Result<QuantileFunction, Error> {
            let cloud = PointCloud::new(projected[side].clone(), 1, clouds[side].2.clone())?;
            QuantileFunction::of(&cloud, 0)
        };
        let (a, b) = (function(0)?, function(1)?);
        let plan = LineTransport::new(&a, &b, &cost)?.plan()?;
        for &PlanEntry { source, target, mass } in plan.entries() {
            let at = [source, target].map(|atom| atom as usize);
            let step = projected[0][at[0]] - projected[1][at[1]];
            let slope = if step == 0.0 { 0.0 } else { p * step.abs().powf(p - 1.0) * step.signum() };
            for (side, sign) in [1.0, -1.0].into_iter().enumerate() {
                let own = &mut gradient[side][at[side] * dimension..][..dimension];
                let factor = sign * share * slope * mass;
                own.iter_mut().zip(*direction).for_each(|(out, axis)| *out += factor * axis);
            }
        }
    }
    Ok((distance.power()?, gradient))
}
