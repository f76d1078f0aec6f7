//! Transport on the line, by quantiles.
//!
//! For every convex cost of the difference, c(x, y) = h(x - y), and more generally for every cost with
//!
//! ```text
//! c(x, y) + c(x', y') <= c(x, y') + c(x', y)        where x <= x', y <= y'
//! ```
//!
//! (Monge 1781, Hoffman 1963), the coupling that keeps the order is optimal: the lowest mass of one side goes to the lowest
//! of the other. It is found by sorting and one merge.
//!
//! Cumulative masses of both sides that agree within the rounding of their sums are one level, at which no mass crosses:
//! 0.1 + 0.2 is 0.3. That is, for each side, 4 units of rounding of f64 of the whole mass, and 4 units of the element type of
//! the norm of the weights. The marginals of a plan are met up to that.

mod cost;
mod coupled;
mod map;
mod power_sum;
mod quantile;
mod sort;
mod staircase;
mod weights;

use ot_core::{Error, GroundCost, HostBackend, Measure, PlanEntry, Scalar, Support, host::for_each_chunk};

use self::{cost::LineCost, quantile::Sorted};
pub(super) use self::{
    coupled::{Atoms, Coupled},
    power_sum::PowerSum,
    sort::{sort, sort_with_order},
    weights::{ColumnWeights, LineWeights},
};
pub use self::{map::QuantileMap, quantile::QuantileFunction};
use super::SparsePlan;

/// Transport between two distributions on the line, for a convex cost of the difference.
///
/// Costs are those of one coordinate: [`SqEuclidean`](ot_core::SqEuclidean), [`Manhattan`](ot_core::Manhattan),
/// [`PowerOfDistance`](ot_core::PowerOfDistance) from p = 1 on, or any formula or closure for whose convexity the caller
/// stands (the smallest reduced cost of the [potentials](Self::potentials) tells).
///
/// ```
/// use ot_core::{Manhattan, PointCloud, Side};
/// use ot_solvers::exact::{LineTransport, QuantileFunction};
///
/// let a = QuantileFunction::of(&PointCloud::uniform(vec![1.0, 0.0], 1)?, 0)?;
/// let b = QuantileFunction::of(&PointCloud::new(vec![5.0, 2.0, 3.0], 1, vec![0.25, 0.5, 0.25])?, 0)?;
/// let transport = LineTransport::new(&a, &b, &Manhattan)?;
///
/// assert_eq!(transport.transport_cost()?, 2.5);
/// assert_eq!(transport.plan()?.marginal(Side::Target), [0.25, 0.5, 0.25]);
/// let [f, g] = transport.potentials();
/// assert_eq!(0.5 * (f[0] + f[1]) + 0.25 * g[0] + 0.5 * g[1] + 0.25 * g[2], 2.5);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LineTransport<'a> {
    source: &'a QuantileFunction,
    target: &'a QuantileFunction,
    cost: LineCost<'a>,
    scale: f64,
}

impl<'a> LineTransport<'a> {
    /// Transport between two distributions. Weights that differ in total by rounding are scaled to the mass of the source.
    ///
    /// # Errors
    /// [`Error::MassMismatch`]; [`Error::Parameter`] for a power below 1, [`Error::MissingCapability`] for another cost
    /// that is known not to be convex, [`Error::UnsupportedSupport`] for a matrix, [`Error::Length`] for a cost of several
    /// coordinates, [`Error::CostOverflow`], [`Error::Cost`] for a formula or closure that is not finite.
    pub fn new(
        source: &'a QuantileFunction,
        target: &'a QuantileFunction,
        cost: &'a dyn GroundCost,
    ) -> Result<Self, Error> {
        let cost = LineCost::new(cost)?;
        cost.check_range(source.positions(), target.positions())?;
        let transport = Self { source, target, cost, scale: source.scale_to(target)? };
        transport.check_costs()?;
        Ok(transport)
    }

    /// Refuses a cost of unknown form that is not finite along the staircase.
    fn check_costs(&self) -> Result<(), Error> {
        let mut refused = None;
        if let LineCost::Generic(_) = self.cost {
            self.source.staircase(self.target, self.scale, |i, j, _| {
                let value = self.cost.at(self.source.positions()[i], self.target.positions()[j]);
                if !value.is_finite() && refused.is_none() {
                    let (source_index, target_index) =
                        (self.source.order()[i] as usize, self.target.order()[j] as usize);
                    refused = Some(Error::Cost { source_index, target_index, value });
                }
            });
        }
        refused.map_or(Ok(()), Err)
    }

    /// <P, C> of the monotone coupling, the optimum: O(n + m), without a plan.
    ///
    /// # Errors
    /// [`Error::CostOverflow`] for a cost beyond the range of f64.
    pub fn transport_cost(&self) -> Result<f64, Error> {
        self.cost.total(&self.source.coupled(self.target)?)
    }

    /// The monotone coupling, by the indices of the measures: at most n + m - 1 entries.
    ///
    /// # Errors
    /// Those of [`SparsePlan::new`].
    pub fn plan(&self) -> Result<SparsePlan, Error> {
        let (sources, targets) = (self.source.order(), self.target.order());
        let mut entries = Vec::with_capacity(sources.len() + targets.len() - 1);
        self.source.staircase(self.target, self.scale, |i, j, mass| {
            if mass > 0.0 {
                entries.push(PlanEntry { source: sources[i], target: targets[j], mass });
            }
        });
        SparsePlan::new(sources.len(), targets.len(), entries)
    }

    /// Potentials f and g, by the indices of the measures, that prove the coupling optimal: f_i + g_j = C_ij along the
    /// staircase and at most C_ij elsewhere, up to the rounding of costs, for atoms without mass too. Gauge
    /// <a, f> = <b, g>. O(n + m).
    #[must_use]
    pub fn potentials(&self) -> [Vec<f64>; 2] {
        let (sources, targets) = (self.source.order(), self.target.order());
        let (mut f, mut g) = (vec![0.0; sources.len()], vec![0.0; targets.len()]);
        // What rounding has taken from the current potentials, so that it does not add up along the path.
        let (mut f_rest, mut g_rest) = (0.0, 0.0);
        let mut before = None;
        self.source.staircase(self.target, self.scale, |i, j, _| {
            let cost = self.cost.at(self.source.positions()[i], self.target.positions()[j]);
            let (source, target) = (sources[i] as usize, targets[j] as usize);
            match before {
                Some(last_target) if last_target == j => {
                    (f[source], f_rest) = difference(cost, g[target], g_rest);
                }
                _ => (g[target], g_rest) = difference(cost, f[source], f_rest),
            }
            before = Some(j);
        });
        let mean = |function: &QuantileFunction, potential: &[f64]| -> f64 {
            let terms = function.order().iter().zip(function.weights());
            terms.map(|(&index, &weight)| weight / function.mass() * potential[index as usize]).sum()
        };
        let shift = 0.5 * (mean(self.source, &f) - mean(self.target, &g));
        f.iter_mut().for_each(|f| *f -= shift);
        g.iter_mut().for_each(|g| *g += shift);
        [f, g]
    }

    /// The optimal map as a function of points.
    #[must_use]
    pub fn map(&self) -> QuantileMap {
        QuantileMap::new(self.source, self.target, self.scale)
    }
}

/// value - (high + low) as a number and what rounding took from it (Knuth's sum of two numbers).
fn difference(value: f64, high: f64, low: f64) -> (f64, f64) {
    let sum = value - high;
    let part = sum - value;
    let error = (value - (sum - part)) - (high + part);
    let rest = error - low;
    let rounded = sum + rest;
    (rounded, rest - (rounded - sum))
}

/// The transport costs of a batch on the line: of every coordinate axis of two clouds and every column of their weights,
/// axis after axis. (The marginals of a cloud, or columns of a table stored row by row.)
///
/// Runs in parallel over axes, and over the two sides of one: O(k (n + m) log(n + m)) for k columns, with the sorted
/// coordinates kept. The same bits for any number of threads.
///
/// ```
/// use ot_core::{PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::exact::line_costs;
///
/// let backend = CpuBackend::<f32>::new(2)?;
/// let a = PointCloud::uniform(vec![0.0, 5.0, 1.0, 6.0], 2)?;
/// let b = PointCloud::uniform(vec![3.0, 5.0, 4.0, 6.0], 2)?;
/// assert_eq!(line_costs(&backend, &a, &b, &SqEuclidean)?, [9.0, 0.0]);
/// # Ok::<(), ot_core::Error>(())
/// ```
///
/// # Errors
/// Those of [`QuantileFunction::of`] and [`LineTransport::new`]; [`Error::BatchMismatch`] for numbers of columns of which
/// neither is one.
pub fn line_costs<T: Scalar>(
    backend: &dyn HostBackend<T>,
    source: &dyn Measure<T>,
    target: &dyn Measure<T>,
    cost: &dyn GroundCost,
) -> Result<Vec<f64>, Error> {
    let measures = [source, target];
    let dimension = |measure: &dyn Measure<T>| match measure.support() {
        Support::Points(points) => points.dimension(),
        Support::Grid(grid) => grid.dimension(),
        _ => 1,
    };
    let [source_dimension, target_dimension] = measures.map(dimension);
    if source_dimension != target_dimension {
        return Err(Error::DimensionMismatch { source_dimension, target_dimension });
    }
    let [source_columns, target_columns] =
        measures.map(|measure| measure.weights().map_or(1, |weights| weights.columns()));
    let columns = source_columns.max(target_columns);
    if [source_columns, target_columns].iter().any(|&given| given != 1 && given != columns) {
        return Err(Error::BatchMismatch { source_columns, target_columns });
    }

    let sorted = parallel_results(backend, 2 * source_dimension, |task| Sorted::axis(measures[task % 2], task / 2))?;
    parallel_results(backend, source_dimension * columns, |task| {
        let (axis, column) = (task / columns, task % columns);
        let [a, b] = [0, 1].map(|side| {
            let given = if side == 0 { source_columns } else { target_columns };
            QuantileFunction::from_sorted(sorted[2 * axis + side].clone(), measures[side], column.min(given - 1))
        });
        LineTransport::new(&a?, &b?, cost)?.transport_cost()
    })
}

/// The results of tasks that may fail, run by the workers of a backend; the first failure by index, if any.
pub(super) fn parallel_results<T: Scalar, R: Send>(
    backend: &dyn HostBackend<T>,
    tasks: usize,
    job: impl Fn(usize) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let mut results: Vec<Option<Result<R, Error>>> = (0..tasks).map(|_| None).collect();
    let parallel = |tasks: usize, task: &(dyn Fn(usize) + Sync)| backend.parallel(tasks, task);
    for_each_chunk(parallel, tasks, results.iter_mut(), |index, result| *result = Some(job(index)));
    results.into_iter().flatten().collect()
}
