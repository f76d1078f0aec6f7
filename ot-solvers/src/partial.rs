//! Partial transport: a given mass moves, the rest stays.
//!
//! ```text
//! min <P, C>   over   P 1 <= a,   P^T 1 <= b,   sum P = mass
//! ```
//!
//! With one more atom on either side that takes what stays, at no cost, this is transport with prescribed marginals
//! (Caffarelli, McCann 2010; Chapel, Alaya, Gasso 2020). The two new atoms are kept apart by a cost at which the entropic plan
//! moves nothing between them.

use ot_core::{
    CostBetween, CostMatrix, Device, Epsilon, Error, Free, GeometryBuilder, GroundCost, Histogram, Measure, Problem,
    Scalar, Side, Solution, power_of_two::times_power_of_two,
};

use crate::{
    entropic::{Sinkhorn, UnregularizedBounds, unregularized_bounds},
    unit::mass_exponent,
};

/// exp(-50) is what the entropy moves between the two new atoms.
const APART: f64 = 50.0;

/// The smallest positive number.
const SMALLEST: f64 = 5e-324;

/// How many roundings a sum of weights may be off by.
const ROUNDINGS: f64 = 64.0;

/// Settings of partial transport.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::PartialTransport;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 1.0], 1)?;
/// let b = PointCloud::uniform(vec![0.1, 9.0], 1)?;
/// // Half of the mass moves, from 0 to 0.1.
/// let half = PartialTransport::new(0.5).solve(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(1e-3))?;
/// assert!((half.bounds()?.upper - 0.5 * 0.01).abs() < 1e-6);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PartialTransport {
    mass: f64,
    sinkhorn: Sinkhorn,
}

impl PartialTransport {
    /// A mass to move, at most that of either measure.
    #[must_use]
    pub fn new(mass: f64) -> Self {
        Self { mass, sinkhorn: Sinkhorn::new() }
    }

    /// How the problem is solved.
    #[must_use]
    pub fn sinkhorn(self, sinkhorn: Sinkhorn) -> Self {
        Self { sinkhorn, ..self }
    }

    /// Solves between two measures of one histogram each; epsilon is resolved between them. All costs are stored.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a mass that is not positive or above that of a measure, [`Error::BatchMismatch`] for batches;
    /// those of [`GeometryBuilder::geometry`], [`Problem::unbalanced`] and [`Sinkhorn::solve`].
    pub fn solve<D: Device>(
        &self,
        builder: &dyn GeometryBuilder<Device = D>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
        epsilon: Epsilon,
    ) -> Result<PartialSolution<D>, Error> {
        let columns = |measure: &dyn Measure<D::Elem>| measure.weights().map_or(1, |weights| weights.columns());
        let (source_columns, target_columns) = (columns(source), columns(target));
        if (source_columns, target_columns) != (1, 1) {
            return Err(Error::BatchMismatch { source_columns, target_columns });
        }
        let unit = mass_exponent([source, target]);
        let [a, b] = [in_units(source, unit)?, in_units(target, unit)?];
        let geometry = builder.geometry(source.support(), target.support(), cost)?;
        let whole = Problem::unbalanced(geometry, &a, &b, epsilon, &Free, &Free)?;
        let [source_mass, target_mass] = Side::BOTH.map(|side| whole.marginal(side).mass(0));
        // Weights that sum to one do so up to rounding.
        let (least, wanted) = (source_mass.min(target_mass), times_power_of_two(self.mass, -unit));
        if !(wanted > 0.0 && wanted <= least * (1.0 + ROUNDINGS * D::Elem::EPSILON)) {
            let expected = "a number > 0, at most the mass of either measure";
            return Err(Error::Parameter { name: "mass to move", value: self.mass, expected });
        }
        let mass = wanted.min(least);
        let a = with_resting_atom(&a, target_mass - mass)?;
        let b = with_resting_atom(&b, source_mass - mass)?;
        let (costs, summary) = CostBetween::new(source.support(), target.support(), cost)?.table_f64()?;
        let costs = with_resting_atoms(&costs, summary.bound(), &whole)?;
        let geometry = builder.geometry(a.support(), b.support(), &costs)?;
        let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(whole.epsilon()))?;
        Ok(PartialSolution { solution: self.sinkhorn.solve(&problem)?, unit })
    }
}

/// The weights of a measure over 2^unit.
fn in_units<T: Scalar>(measure: &dyn Measure<T>, unit: f64) -> Result<Histogram<'static, T>, Error> {
    let support = measure.support().kind();
    let weights = measure.weights().ok_or(Error::UnsupportedSupport { what: "a discrete problem", found: support })?;
    weights.validate()?;
    let divided = |weight: &T| T::from_f64(times_power_of_two(weight.to_f64(), -unit));
    Histogram::new(weights.values().iter().map(divided).collect::<Vec<T>>())
}

/// Weights with one more atom, the last.
fn with_resting_atom<T: Scalar>(weights: &Histogram<'_, T>, rest: f64) -> Result<Histogram<'static, T>, Error> {
    let weights = weights.weights().map(|weights| weights.values().to_vec()).unwrap_or_default();
    Histogram::new([weights, vec![T::from_f64(rest)]].concat())
}

/// Costs with a row and a column of zeros for what stays, and a corner that nothing crosses.
fn with_resting_atoms<D: Device>(
    costs: &[f64],
    largest: f64,
    whole: &Problem<D>,
) -> Result<CostMatrix<'static, f64>, Error> {
    let [rows, columns] = Side::BOTH.map(|side| whole.marginal(side).len());
    let mut extended = Vec::with_capacity((rows + 1) * (columns + 1));
    for row in costs.chunks_exact(columns) {
        extended.extend_from_slice(row);
        extended.push(0.0);
    }
    extended.extend(std::iter::repeat_n(0.0, columns));
    extended.push(2.0 * largest + APART * whole.epsilon());
    CostMatrix::new(extended, rows + 1, columns + 1)
}

/// A partial plan: the solution of the problem with one more atom on either side, the last.
///
/// Masses near an end of the range are divided by a [unit](Self::mass_unit), in which it is solved.
#[derive(Debug)]
pub struct PartialSolution<D: Device> {
    solution: Solution<D>,
    /// The binary logarithm of the unit of mass.
    unit: f64,
}

impl<D: Device> Clone for PartialSolution<D> {
    fn clone(&self) -> Self {
        Self { solution: self.solution.clone(), unit: self.unit }
    }
}

impl<D: Device> PartialSolution<D> {
    /// The unit of mass in which the problem was solved: a power of two, and 1 unless the masses are so large or so small that
    /// their products may leave the range of the element type.
    #[must_use]
    pub fn mass_unit(&self) -> f64 {
        times_power_of_two(1.0, self.unit)
    }

    /// The solution of the problem with what stays, with its status and certificate, masses being over
    /// [`mass_unit`](Self::mass_unit).
    #[must_use]
    pub fn solution(&self) -> &Solution<D> {
        &self.solution
    }

    /// Bounds of the least cost of moving this mass, without entropy.
    ///
    /// # Errors
    /// Those of [`unregularized_bounds`].
    pub fn bounds(&self) -> Result<UnregularizedBounds, Error> {
        let UnregularizedBounds { lower, upper } = unregularized_bounds(&self.solution)?.swap_remove(0);
        // What overflows is no bound; what vanishes may be the smallest number.
        let [least, most] = [lower, upper].map(|bound| times_power_of_two(bound, self.unit));
        let vanished = |bound: f64, of: f64| if of != 0.0 && bound.abs() < f64::MIN_POSITIVE { SMALLEST } else { 0.0 };
        Ok(UnregularizedBounds {
            lower: least.min(f64::MAX) - vanished(least, lower),
            upper: most.max(f64::MIN) + vanished(most, upper),
        })
    }

    /// All entries of what moves, row-major, n x m.
    ///
    /// # Errors
    /// Those of [`Plan::to_dense`](ot_core::Plan::to_dense).
    pub fn to_dense(&self) -> Result<Vec<f64>, Error> {
        let columns = self.solution.problem().marginal(Side::Target).len();
        let entries = self.solution.plan()?.to_dense(0)?;
        let rows = entries.chunks_exact(columns);
        let moving = rows.len() - 1;
        let moved = rows.take(moving).flat_map(|row| &row[..columns - 1]);
        Ok(moved.map(|entry| times_power_of_two(*entry, self.unit)).collect())
    }
}
