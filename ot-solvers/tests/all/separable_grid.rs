//! A geometry that stores no cost: |x - y|^2 on a grid, axis by axis.
//!
//! ```text
//! exp(-|x - y|^2 / epsilon) = exp(-(x_1 - y_1)^2 / epsilon) exp(-(x_2 - y_2)^2 / epsilon)
//! ```
//!
//! so that a sum over the N = n_1 n_2 nodes is n_2 sums over n_1 nodes after n_1 sums over n_2
//! (Solomon et al. 2015): N (n_1 + n_2) exponentials instead of N^2. Written here by a third party,
//! over any host backend, and solved with as any other geometry.
use std::sync::Arc;

use ot_conformance::{GeometryCase, Seeded, conformance_geometry};
use ot_core::{
    Backend, Binding, CostStatistics, Epsilon, Error, Geometry, GeometryBuilder, GibbsKernel, GroundCost, Host,
    KernelOp, Kl, LOG_ZERO, Measure, PlanOperator, PlanSide, PlanView, PointCloud, Problem, Side, SoftMin, Solution,
    SqEuclidean, Support, TransportCost, UNREACHABLE, WeightsView,
    host::{HostReduced, HostVector},
};
use ot_solvers::Sinkhorn;

use crate::support::{SIDES, cpu, largest_difference};

/// Coordinates of the nodes along each axis; node (k, l) has index k n_2 + l.
#[derive(Clone, Debug, PartialEq)]
struct Grid([Vec<f64>; 2]);

impl Grid {
    fn len(&self) -> usize {
        self.0[0].len() * self.0[1].len()
    }
}

/// Histograms on a grid.
#[derive(Debug)]
struct GridMeasure {
    grid: Grid,
    weights: Vec<f64>,
    columns: usize,
}

impl Measure<f64> for GridMeasure {
    fn support(&self) -> Support<'_, f64> {
        Support::Foreign { kind: "grid", len: Some(self.grid.len()), support: &self.grid }
    }

    fn weights(&self) -> Option<WeightsView<'_, f64>> {
        WeightsView::new(&self.weights, self.columns).ok()
    }
}

/// The nodes of both sides.
#[derive(Debug)]
struct Grids([Grid; 2]);

impl Grids {
    /// For the nodes i of `side`: out_i = sum_j exp(-C_ij / epsilon) C_1^p C_2^q v_j, where C = C_1 + C_2
    /// is the cost axis by axis.
    fn contract(&self, side: Side, epsilon: f64, [p, q]: [i32; 2], values: &[Scaled]) -> Vec<Scaled> {
        let ([own_1, own_2], [other_1, other_2]) = (&self.0[side.index()].0, &self.0[side.opposite().index()].0);
        let line = |power: i32, x: f64, others: &[f64], value: &dyn Fn(usize) -> Scaled| {
            Scaled::sum(others.iter().enumerate().map(|(index, y)| {
                let (cost, value) = ((x - y).powi(2), value(index));
                Scaled { mantissa: cost.powi(power) * value.mantissa, exponent: value.exponent - cost / epsilon }
            }))
        };
        let mut inner = Vec::with_capacity(other_1.len() * own_2.len());
        for values in values.chunks_exact(other_2.len()) {
            inner.extend(own_2.iter().map(|x| line(q, *x, other_2, &|l| values[l])));
        }
        let mut outer = Vec::with_capacity(own_1.len() * own_2.len());
        for x in own_1 {
            outer.extend((0..own_2.len()).map(|l| line(p, *x, other_1, &|k| inner[k * own_2.len() + l])));
        }
        outer
    }

    /// sum_ij u_i C_ij^power v_j.
    fn moment(&self, u: &[f64], v: &[f64], power: usize) -> f64 {
        let v: Vec<Scaled> = v.iter().map(|v| Scaled { mantissa: *v, exponent: 0.0 }).collect();
        let term = |(factor, powers): &(f64, [i32; 2])| {
            let sums = self.contract(Side::Source, f64::INFINITY, *powers, &v);
            factor * u.iter().zip(sums).map(|(u, sum)| u * sum.value()).sum::<f64>()
        };
        BINOMIALS[power - 1].iter().map(term).sum()
    }
}

/// (C_1 + C_2) and (C_1 + C_2)^2, multiplied out.
const BINOMIALS: [&[(f64, [i32; 2])]; 2] =
    [&[(1.0, [1, 0]), (1.0, [0, 1])], &[(1.0, [2, 0]), (2.0, [1, 1]), (1.0, [0, 2])]];

/// The number mantissa exp(exponent): sums neither overflow nor vanish, and signs are kept.
#[derive(Copy, Clone, Debug)]
struct Scaled {
    mantissa: f64,
    exponent: f64,
}

impl Scaled {
    fn sum(terms: impl Iterator<Item = Scaled> + Clone) -> Scaled {
        let exponents = terms.clone().filter(|term| term.mantissa != 0.0).map(|term| term.exponent);
        match exponents.reduce(f64::max) {
            None => Scaled { mantissa: 0.0, exponent: 0.0 },
            Some(exponent) => {
                let mantissa = terms.map(|term| term.mantissa * (term.exponent - exponent).min(0.0).exp()).sum();
                Scaled { mantissa, exponent }
            }
        }
    }

    fn value(self) -> f64 {
        self.mantissa * self.exponent.exp()
    }
}

/// The squared distance between the nodes of two grids.
#[derive(Debug)]
struct GridGeometry {
    backend: Arc<dyn Backend<Host<f64>>>,
    grids: Arc<Grids>,
}

impl GridGeometry {
    fn new(
        backend: impl Backend<Host<f64>> + 'static,
        source: Support<'_, f64>,
        target: Support<'_, f64>,
    ) -> Result<Self, Error> {
        let grid = |support: Support<'_, f64>| {
            let grid = match support {
                Support::Foreign { support, .. } => support.downcast_ref::<Grid>().cloned(),
                _ => None,
            };
            grid.ok_or(Error::UnsupportedSupport { what: "a separable grid", found: support.kind() })
        };
        Ok(Self { backend: Arc::new(backend), grids: Arc::new(Grids([grid(source)?, grid(target)?])) })
    }

    /// The sum over the axes of the squared distance of two coordinates, the nearest or the farthest.
    fn extreme(&self, pick: fn(f64, f64) -> f64) -> Option<f64> {
        let [Grid(x), Grid(y)] = &self.grids.0;
        let along = |axis: usize| {
            let squares = x[axis].iter().flat_map(|x| y[axis].iter().map(move |y| (x - y).powi(2)));
            squares.reduce(pick)
        };
        Some(along(0)? + along(1)?)
    }
}

impl Geometry<Host<f64>> for GridGeometry {
    fn backend(&self) -> Arc<dyn Backend<Host<f64>>> {
        Arc::clone(&self.backend)
    }

    fn len(&self, side: Side) -> usize {
        self.grids.0[side.index()].len()
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<f64>>>, Error> {
        let binding = Binding::new(SIDES.map(|side| self.len(side)), columns, epsilon)?;
        Ok(Box::new(GridKernel { grids: Arc::clone(&self.grids), binding }))
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        Some(2.0 * sigma * sigma)
    }

    fn cost_bound(&self) -> Option<f64> {
        self.extreme(f64::max)
    }

    fn cost_statistics(&self, a: WeightsView<'_, f64>, b: WeightsView<'_, f64>) -> Result<CostStatistics, Error> {
        let [a, b] = [a, b].map(|weights| {
            let total: f64 = (0..weights.columns()).map(|column| weights.mass(column)).sum();
            let node = |index: usize| weights.iter().map(|column| column[index]).sum::<f64>() / total;
            (0..weights.len()).map(node).collect::<Vec<_>>()
        });
        let mean = self.grids.moment(&a, &b, 1);
        Ok(CostStatistics {
            mean,
            deviation: (self.grids.moment(&a, &b, 2) - mean * mean).max(0.0).sqrt(),
            minimum: self.extreme(f64::min).unwrap_or(0.0),
            maximum: self.extreme(f64::max).unwrap_or(0.0),
            forbidden: false,
        })
    }
}

/// The kernel of one solve.
#[derive(Debug)]
struct GridKernel {
    grids: Arc<Grids>,
    binding: Binding,
}

impl GridKernel {
    /// values_j exp(potential_j / epsilon + log_weights_j) in one column.
    fn scaled(&self, of: PlanSide<'_, Host<f64>>, column: usize, values: impl Fn(usize) -> f64) -> Vec<Scaled> {
        let atoms = of.potential.column(column).iter().zip(of.log_weights.column(column)).enumerate();
        let scaled = |(j, (potential, log_weight)): (usize, (&f64, &f64))| Scaled {
            mantissa: values(j),
            exponent: potential / self.epsilon() + log_weight,
        };
        atoms.map(scaled).collect()
    }

    /// sum_j P_ij C_1^p C_2^q values_j in one column of the plan.
    fn under_plan(
        &self,
        side: Side,
        plan: PlanView<'_, Host<f64>>,
        column: usize,
        powers: [i32; 2],
        values: impl Fn(usize) -> f64,
    ) -> impl Iterator<Item = f64> {
        let other = self.scaled(plan.side(side.opposite()), column, values);
        let sums = self.grids.contract(side, self.epsilon(), powers, &other);
        let own = self.scaled(plan.side(side), column, |_| 1.0).into_iter();
        own.zip(sums).map(|(own, sum)| sum.mantissa * (own.exponent + sum.exponent).exp())
    }
}

impl PlanOperator<Host<f64>> for GridKernel {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.binding.rebind(epsilon)
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<f64>>,
        values: &HostVector<f64>,
        out: &mut HostVector<f64>,
    ) -> Result<(), Error> {
        let (_, channels) = values.shape();
        for channel in 0..channels {
            let (column, values) = (channel * self.columns() / channels, values.column(channel));
            let sums = self.under_plan(side, plan, column, [0, 0], |j| values[j]);
            out.column_mut(channel).iter_mut().zip(sums).for_each(|(out, sum)| *out = sum);
        }
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Host<f64>>> {
        Some(self)
    }
}

impl GibbsKernel<Host<f64>> for GridKernel {
    fn softmin(&mut self, request: SoftMin<'_, Host<f64>>, out: &mut HostVector<f64>) -> Result<(), Error> {
        let SoftMin { side, other, active, .. } = request;
        for &column in active.indices() {
            let sums = self.grids.contract(side, self.epsilon(), [0, 0], &self.scaled(other, column, |_| 1.0));
            for (out, sum) in out.column_mut(column).iter_mut().zip(sums) {
                let reachable = sum.exponent > 0.5 * LOG_ZERO;
                let value = if reachable { -self.epsilon() * (sum.mantissa.ln() + sum.exponent) } else { UNREACHABLE };
                *out = value.clamp(-UNREACHABLE, UNREACHABLE);
            }
        }
        Ok(())
    }
}

impl TransportCost<Host<f64>> for GridKernel {
    fn plan_cost(&mut self, plan: PlanView<'_, Host<f64>>, out: &mut HostReduced) -> Result<(), Error> {
        for (column, out) in out.values_mut().iter_mut().enumerate() {
            let along = |powers| self.under_plan(Side::Source, plan, column, powers, |_| 1.0).sum::<f64>();
            *out = along([1, 0]) + along([0, 1]);
        }
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &HostVector<f64>, v: &HostVector<f64>, out: &mut HostReduced) -> Result<(), Error> {
        for (column, out) in out.values_mut().iter_mut().enumerate() {
            *out = self.grids.moment(u.column(column), v.column(column), 1);
        }
        Ok(())
    }
}

/// Nodes 0, 1/count, ... with uneven steps, so that no symmetry hides an exchanged axis.
fn axis(count: usize, from: f64) -> Vec<f64> {
    (0..count).map(|node| from + (node as f64 + 0.3 * (node as f64).sin()) / count as f64).collect()
}

/// A batch of random histograms with zeros on an n_1 x n_2 grid.
fn measure(seed: u64, [rows, columns]: [usize; 2], from: f64, batch: usize) -> GridMeasure {
    let grid = Grid([axis(rows, from), axis(columns, -from)]);
    let mut seeded = Seeded::new(seed);
    let weights = (0..batch).flat_map(|_| seeded.weights::<f64>(rows * columns, true));
    GridMeasure { weights: weights.collect(), grid, columns: batch }
}

/// The same histograms on the nodes as points.
fn as_cloud(measure: &GridMeasure) -> PointCloud<'static, f64> {
    let [first, second] = &measure.grid.0;
    let coordinates: Vec<f64> = first.iter().flat_map(|x| second.iter().flat_map(move |y| [*x, *y])).collect();
    PointCloud::batch(coordinates, 2, measure.weights.clone(), measure.columns).unwrap()
}

/// The same solve on the grid and on the points; `problem` makes it of a geometry and two measures.
fn solve_both(
    source: &GridMeasure,
    target: &GridMeasure,
    problem: impl Fn(
        Arc<dyn Geometry<Host<f64>>>,
        &dyn Measure<f64>,
        &dyn Measure<f64>,
    ) -> Result<Problem<Host<f64>>, Error>,
) -> [Solution<Host<f64>>; 2] {
    let backend = cpu(1);
    let grid = Arc::new(GridGeometry::new(backend.clone(), source.support(), target.support()).unwrap());
    let (x, y) = (as_cloud(source), as_cloud(target));
    let points = backend.geometry(x.support(), y.support(), &SqEuclidean).unwrap();
    let problems = [problem(grid, source, target).unwrap(), problem(points, &x, &y).unwrap()];
    problems.map(|problem| {
        let solution = Sinkhorn::new().tolerance(1e-11).solve(&problem).unwrap();
        assert!(solution.status().is_converged(), "{}: {:?}", solution.status(), solution.certificate());
        solution
    })
}

fn assert_same(grid: &Solution<Host<f64>>, points: &Solution<Host<f64>>) {
    for side in SIDES {
        let difference = largest_difference(&grid.potential(side).unwrap(), &points.potential(side).unwrap());
        assert!(difference < 1e-10, "potentials of the {side} differ by {difference}");
    }
    for (grid, points) in grid.certificates().iter().zip(points.certificates()) {
        let of = |certificate: &ot_core::Certificate| {
            [certificate.dual, certificate.mass, certificate.transport_cost.unwrap(), certificate.gap]
        };
        assert!(largest_difference(&of(grid), &of(points)) < 1e-10, "{grid:?} and {points:?}");
    }
}

#[test]
fn a_batch_solves_like_the_points_at_every_epsilon() {
    let (source, target) = (measure(1, [5, 8], 0.0, 3), measure(2, [7, 4], 0.2, 1));
    for epsilon in [Epsilon::Absolute(0.5), Epsilon::RelativeToMean(0.05), Epsilon::Blur(0.06), Epsilon::default()] {
        let [grid, points] = solve_both(&source, &target, |geometry, a, b| Problem::new(geometry, a, b, epsilon));
        let resolved = [&grid, &points].map(|solution| solution.problem().epsilon());
        assert!((resolved[0] / resolved[1] - 1.0).abs() < 1e-12, "{epsilon:?}: {resolved:?}");
        assert_same(&grid, &points);

        let rows = grid.plan().unwrap().marginal(Side::Source).unwrap();
        assert!(largest_difference(&rows, &source.weights) < 1e-11);
        let columns = grid.plan().unwrap().marginal(Side::Target).unwrap();
        let wanted = target.weights.repeat(3);
        assert!(largest_difference(&columns, &wanted) < 1e-11);
    }
}

#[test]
fn annealing_rebinds_the_grid() {
    let (source, target) = (measure(3, [6, 5], 0.0, 1), measure(4, [5, 6], 0.1, 1));
    let [grid, points] =
        solve_both(&source, &target, |geometry, a, b| Problem::new(geometry, a, b, Epsilon::Absolute(1e-4)));
    // The start is tried at the epsilon of the problem first.
    let largest = grid.history().iter().filter_map(|progress| progress.epsilon).fold(0.0, f64::max);
    assert!(largest > 1e-2, "no annealing: {:?}", grid.history());
    assert_same(&grid, &points);
}

#[test]
fn relaxed_marginals_and_signed_values_agree() {
    let (source, target) = (measure(5, [4, 6], 0.0, 2), measure(6, [3, 7], 0.3, 2));
    let kl = Kl::new(0.7).unwrap();
    let [grid, points] = solve_both(&source, &target, |geometry, a, b| {
        Problem::unbalanced(geometry, a, b, Epsilon::RelativeToMean(0.1), &kl, &kl)
    });
    assert_same(&grid, &points);
    let mut seeded = Seeded::new(7);
    for (side, len) in [(Side::Source, 21), (Side::Target, 24)] {
        let values = seeded.vector::<f64>(2 * 2 * len, -1.0, 1.0);
        let [grid, points] = [&grid, &points].map(|solution| solution.plan().unwrap().apply(side, &values).unwrap());
        assert!(largest_difference(&grid, &points) < 1e-11);
    }
}

#[test]
fn a_grid_is_no_support_of_a_dense_cost() {
    let (grid, cloud) = (measure(8, [3, 3], 0.0, 1), as_cloud(&measure(8, [3, 3], 0.0, 1)));
    let backend = cpu(1);
    let refused = backend.geometry(grid.support(), grid.support(), &SqEuclidean).err();
    assert!(matches!(refused, Some(Error::UnsupportedSupport { found: "grid", .. })), "{refused:?}");
    let refused = GridGeometry::new(backend, grid.support(), cloud.support()).err();
    assert_eq!(refused, Some(Error::UnsupportedSupport { what: "a separable grid", found: "points" }));
}

/// The squared distance between two grids, with the entries that it should have.
fn cases() -> Result<Vec<GeometryCase<Host<f64>>>, Error> {
    let [source, target] = [measure(9, [4, 6], 0.0, 1), measure(10, [5, 3], 0.2, 1)];
    let (x, y) = (as_cloud(&source), as_cloud(&target));
    let mut costs = vec![0.0; 24 * 15];
    for (x, row) in x.points().iter().zip(costs.chunks_exact_mut(15)) {
        SqEuclidean.costs_f64(x, y.points().coordinates(), row);
    }
    let grid = GridGeometry::new(cpu(1), source.support(), target.support())?;
    Ok(vec![GeometryCase::new("separable grid", Arc::new(grid), costs)?])
}

conformance_geometry!(properties, cases());
