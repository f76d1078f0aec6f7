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

use ot_core::{
    Backend, CostSurvey, Epsilon, Error, Geometry, GroundCost, HostBackend, KernelOp, Kl, LOG_ZERO, Measure, PlanSide,
    PlanView, PointCloud, Problem, Scalar, Side, SoftMin, Solution, SqEuclidean, Support, TransportCost, UNREACHABLE,
    WeightsView,
    conformance::{GeometryCase, Seeded},
    conformance_geometry,
};
use ot_solvers::Sinkhorn;

use crate::support::{Cpu, SIDES, cpu, largest_difference};

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

/// The squared distance between the nodes of two grids.
#[derive(Clone, Debug)]
struct GridGeometry<B: HostBackend> {
    backend: B,
    /// Source and target.
    grids: Arc<[Grid; 2]>,
}

impl<B: HostBackend> GridGeometry<B> {
    fn new(backend: &B, source: Support<'_, B::Elem>, target: Support<'_, B::Elem>) -> Result<Self, Error> {
        let grid = |support: Support<'_, B::Elem>| {
            let grid = match support {
                Support::Foreign { support, .. } => support.downcast_ref::<Grid>().cloned(),
                _ => None,
            };
            grid.ok_or(Error::UnsupportedSupport { what: "a separable grid", found: support.kind() })
        };
        Ok(Self { backend: backend.clone(), grids: Arc::new([grid(source)?, grid(target)?]) })
    }

    fn grid(&self, side: Side) -> &Grid {
        &self.grids[side as usize]
    }

    /// For the nodes i of `side`: out_i = sum_j exp(-C_ij / epsilon) C_1^p C_2^q v_j, where C = C_1 + C_2
    /// is the cost axis by axis.
    fn contract(&self, side: Side, epsilon: f64, [p, q]: [i32; 2], values: &[Scaled]) -> Vec<Scaled> {
        let ([own_1, own_2], [other_1, other_2]) = (&self.grid(side).0, &self.grid(side.opposite()).0);
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

impl<B: HostBackend> Geometry<B> for GridGeometry<B> {
    fn backend(&self) -> &B {
        &self.backend
    }

    fn len(&self, side: Side) -> usize {
        self.grid(side).len()
    }

    fn bind(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<B>>, Error> {
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        let mut kernel = GridKernel { geometry: self.clone(), epsilon, columns };
        kernel.rebind(epsilon)?;
        Ok(Box::new(kernel))
    }

    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        Some(2.0 * sigma * sigma)
    }

    fn cost_bound(&self) -> Option<f64> {
        let [x, y] = self.grids.each_ref();
        let farthest = |axis: usize| {
            let distances = x.0[axis].iter().flat_map(|x| y.0[axis].iter().map(move |y| (x - y).abs()));
            distances.fold(0.0, f64::max)
        };
        Some((0..2).map(|axis| farthest(axis).powi(2)).sum())
    }

    fn survey(&self, source: WeightsView<'_, B::Elem>, target: WeightsView<'_, B::Elem>) -> Result<CostSurvey, Error> {
        let [a, b] = [source, target].map(|weights| {
            let total: f64 = (0..weights.columns()).map(|column| weights.mass(column)).sum();
            let node = |index: usize| weights.iter().map(|column| column[index].to_f64()).sum::<f64>() / total;
            (0..weights.len()).map(node).collect::<Vec<_>>()
        });
        let mean = self.moment(&a, &b, 1);
        let [x, y] = self.grids.each_ref();
        let nearest = |axis: usize| {
            let squares = x.0[axis].iter().flat_map(|x| y.0[axis].iter().map(move |y| (x - y).powi(2)));
            squares.fold(f64::INFINITY, f64::min)
        };
        Ok(CostSurvey {
            mean,
            deviation: (self.moment(&a, &b, 2) - mean * mean).max(0.0).sqrt(),
            minimum: nearest(0) + nearest(1),
            maximum: self.cost_bound().unwrap_or(0.0),
            forbidden: false,
        })
    }
}

/// The kernel of one solve.
#[derive(Debug)]
struct GridKernel<B: HostBackend> {
    geometry: GridGeometry<B>,
    epsilon: f64,
    columns: usize,
}

impl<B: HostBackend> GridKernel<B> {
    fn column<'a>(&self, vector: &'a B::Vector, column: usize) -> &'a [B::Elem] {
        let (rows, columns) = self.geometry.backend.shape(vector);
        &self.geometry.backend.slice(vector)[column.min(columns - 1) * rows..][..rows]
    }

    fn column_mut<'a>(&self, vector: &'a mut B::Vector, column: usize) -> &'a mut [B::Elem] {
        let (rows, _) = self.geometry.backend.shape(vector);
        &mut self.geometry.backend.slice_mut(vector)[column * rows..][..rows]
    }

    /// values_j exp(potential_j / epsilon + log_weights_j).
    fn scaled(&self, potential: &[B::Elem], log_weights: &[B::Elem], values: impl Fn(usize) -> f64) -> Vec<Scaled> {
        let exponents = potential.iter().zip(log_weights).map(|(g, log_b)| g.to_f64() / self.epsilon + log_b.to_f64());
        exponents.enumerate().map(|(j, exponent)| Scaled { mantissa: values(j), exponent }).collect()
    }

    /// sum_j P_ij C_1^p C_2^q values_j in one column of the plan.
    fn under_plan(
        &self,
        side: Side,
        plan: PlanView<'_, B>,
        column: usize,
        powers: [i32; 2],
        values: impl Fn(usize) -> f64,
    ) -> impl Iterator<Item = f64> {
        let scaled = |side: Side, values: &dyn Fn(usize) -> f64| {
            let PlanSide { potential, log_weights, .. } = plan.side(side);
            self.scaled(self.column(potential, column), self.column(log_weights, column), values)
        };
        let sums = self.geometry.contract(side, self.epsilon, powers, &scaled(side.opposite(), &values));
        let own = scaled(side, &|_| 1.0).into_iter();
        own.zip(sums).map(|(own, sum)| sum.mantissa * (own.exponent + sum.exponent).exp())
    }
}

impl<B: HostBackend> KernelOp<B> for GridKernel<B> {
    fn len(&self, side: Side) -> usize {
        self.geometry.len(side)
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn epsilon(&self) -> f64 {
        self.epsilon
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        if !(epsilon.is_finite() && epsilon > 0.0) {
            return Err(Error::Epsilon(epsilon));
        }
        self.epsilon = epsilon;
        Ok(())
    }

    fn recenter(&mut self, _: PlanView<'_, B>) -> Result<(), Error> {
        Ok(())
    }

    fn softmin(&mut self, request: SoftMin<'_, B>, out: &mut B::Vector) -> Result<(), Error> {
        let SoftMin { side, potential, log_weights, active, .. } = request;
        for &column in active.indices() {
            let (potential, log_weights) = (self.column(potential, column), self.column(log_weights, column));
            let values = self.scaled(potential, log_weights, |_| 1.0);
            let sums = self.geometry.contract(side, self.epsilon, [0, 0], &values);
            for (out, sum) in self.column_mut(out, column).iter_mut().zip(sums) {
                let reachable = sum.exponent > 0.5 * LOG_ZERO;
                let value = if reachable { -self.epsilon * (sum.mantissa.ln() + sum.exponent) } else { UNREACHABLE };
                *out = B::Elem::from_f64(value.clamp(-UNREACHABLE, UNREACHABLE));
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, B>,
        values: &B::Vector,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        let (_, channels) = self.geometry.backend.shape(values);
        for channel in 0..channels {
            let values = self.column(values, channel);
            let sums = self.under_plan(side, plan, channel * self.columns / channels, [0, 0], |j| values[j].to_f64());
            for (out, sum) in self.column_mut(out, channel).iter_mut().zip(sums) {
                *out = B::Elem::from_f64(sum);
            }
        }
        Ok(())
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<B>> {
        Some(self)
    }
}

impl<B: HostBackend> TransportCost<B> for GridKernel<B> {
    fn plan_cost(&mut self, plan: PlanView<'_, B>, out: &mut B::Reduced) -> Result<(), Error> {
        for (column, out) in self.geometry.backend.reduced_mut(out).iter_mut().enumerate() {
            let along = |powers| self.under_plan(Side::Source, plan, column, powers, |_| 1.0).sum::<f64>();
            *out = along([1, 0]) + along([0, 1]);
        }
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &B::Vector, v: &B::Vector, out: &mut B::Reduced) -> Result<(), Error> {
        for (column, out) in self.geometry.backend.reduced_mut(out).iter_mut().enumerate() {
            let [u, v] =
                [u, v].map(|vector| self.column(vector, column).iter().map(|x| x.to_f64()).collect::<Vec<_>>());
            *out = self.geometry.moment(&u, &v, 1);
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
    problem: impl Fn(Arc<dyn Geometry<Cpu>>, &dyn Measure<f64>, &dyn Measure<f64>) -> Result<Problem<Cpu>, Error>,
) -> [Solution<Cpu>; 2] {
    let backend = cpu(1);
    let grid = Arc::new(GridGeometry::new(&backend, source.support(), target.support()).unwrap());
    let (x, y) = (as_cloud(source), as_cloud(target));
    let points = backend.geometry(x.support(), y.support(), &SqEuclidean).unwrap();
    let problems = [problem(grid, source, target).unwrap(), problem(points, &x, &y).unwrap()];
    problems.map(|problem| {
        let solution = Sinkhorn::new().tolerance(1e-11).solve(&problem).unwrap();
        assert!(solution.status().is_converged(), "{}: {:?}", solution.status(), solution.certificate());
        solution
    })
}

fn assert_same(grid: &Solution<Cpu>, points: &Solution<Cpu>) {
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
    assert!(grid.history()[0].epsilon > 1e-2, "no annealing: {:?}", grid.history()[0]);
    assert_same(&grid, &points);
}

#[test]
fn relaxed_marginals_and_signed_values_agree() {
    let (source, target) = (measure(5, [4, 6], 0.0, 2), measure(6, [3, 7], 0.3, 2));
    let law = || Arc::new(Kl::new(0.7).unwrap());
    let [grid, points] = solve_both(&source, &target, |geometry, a, b| {
        Problem::relaxed(geometry, a, b, Epsilon::RelativeToMean(0.1), law(), law())
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
    let refused = GridGeometry::new(&backend, grid.support(), cloud.support()).err();
    assert_eq!(refused, Some(Error::UnsupportedSupport { what: "a separable grid", found: "points" }));
}

/// The squared distance between two grids, with the entries that it should have.
fn cases() -> Result<Vec<GeometryCase<Cpu>>, Error> {
    let [source, target] = [measure(9, [4, 6], 0.0, 1), measure(10, [5, 3], 0.2, 1)];
    let (x, y) = (as_cloud(&source), as_cloud(&target));
    let mut costs = vec![0.0; 24 * 15];
    for (x, row) in x.points().iter().zip(costs.chunks_exact_mut(15)) {
        SqEuclidean.costs_f64(x, y.points().coordinates(), row);
    }
    let grid = GridGeometry::new(&cpu(1), source.support(), target.support())?;
    Ok(vec![GeometryCase::new("separable grid", Arc::new(grid), costs)?])
}

conformance_geometry!(laws, cases());
