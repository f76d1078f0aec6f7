//! Costs between grids, kept axis by axis, beside those between their nodes.

use std::sync::Arc;

use ot_conformance::Seeded;
use ot_core::{
    Axis, CostBetween, CostFormula, Error, Euclidean, Grid, GroundCost, PowerOfDistance, Real, Separable, Side,
    SqEuclidean, Support, WeightsView,
    cost::{AxisCost, GridCosts},
};

/// Two grids of three axes, one of a single node and one on a circle, and a cost of its own for each axis.
fn grids() -> ([Grid<f64>; 2], Separable) {
    let circle = |len: usize| Axis::new(len, 0.1, 0.3).unwrap().with_period(2.0).unwrap();
    let line = |len: usize, origin: f64| Axis::new(len, origin, 0.4).unwrap();
    let source = Grid::new([line(4, 0.0), circle(5), line(1, 0.2)]).unwrap();
    let target = Grid::new([line(3, 0.3), circle(6), line(2, -0.5)]).unwrap();
    let costs: [Arc<dyn GroundCost>; 3] =
        [Arc::new(SqEuclidean), Arc::new(SqEuclidean), Arc::new(PowerOfDistance::new(1.5).unwrap())];
    ([source, target], Separable::new(costs).unwrap())
}

#[test]
fn a_cost_is_the_sum_over_the_axes() {
    let ([source, target], cost) = grids();
    let costs = GridCosts::new(&source, &target, &cost).unwrap();
    let table = CostBetween::new(Support::Grid(&source), Support::Grid(&target), &cost).unwrap().table_f64().unwrap().0;
    let (n, m) = (costs.len(Side::Source), costs.len(Side::Target));
    assert_eq!((n, m), (source.len(), target.len()));
    let strides = Side::BOTH.map(|side| costs.strides(side));
    for (at, expected) in table.iter().enumerate() {
        let (i, j) = (at / m, at % m);
        let along = |k: usize, side: Side, node: usize| node / strides[side.index()][k] % costs.axes()[k].len(side);
        let of_axis = |k: usize| {
            let (own, other) = (along(k, Side::Source, i), along(k, Side::Target, j));
            let cost = costs.axes()[k].between(Side::Source, own, other);
            assert_eq!(cost, costs.axes()[k].between(Side::Target, other, own));
            let [least, largest] = costs.axes()[k].range();
            assert!(least <= cost && cost <= largest && cost.abs() <= costs.axes()[k].bound());
            cost
        };
        let found: f64 = (0..3).map(of_axis).sum();
        assert!((found - expected).abs() <= 1e-14, "{found} {expected}");
        assert!(found <= costs.bound());
    }
    let kept: Vec<bool> = costs.axes().iter().map(|axis| matches!(axis.cost(), AxisCost::Squares(_))).collect();
    assert_eq!(kept, [true, false, false], "squares are a factor on a line, and a table on a circle");
}

#[test]
fn statistics_are_those_over_all_pairs() {
    let ([source, target], cost) = grids();
    let costs = GridCosts::new(&source, &target, &cost).unwrap();
    let table = CostBetween::new(Support::Grid(&source), Support::Grid(&target), &cost).unwrap().table_f64().unwrap().0;
    let mut seeded = Seeded::new(5);
    // Two columns, whose sums count.
    let [a, b] = [source.len(), target.len()].map(|len| seeded.vector::<f64>(2 * len, 0.0, 1.0));
    let [source_view, target_view] = [&a, &b].map(|weights| WeightsView::new(weights, 2).unwrap());
    let found = costs.statistics(source_view, target_view).unwrap();
    let total = |weights: &[f64], node: usize| weights[node] + weights[weights.len() / 2 + node];
    let m = target.len();
    let pairs: Vec<(usize, usize, f64)> = table.iter().enumerate().map(|(at, &cost)| (at / m, at % m, cost)).collect();
    let sum = |term: &dyn Fn(usize, usize, f64) -> f64| pairs.iter().map(|&(i, j, cost)| term(i, j, cost)).sum::<f64>();
    let mass: f64 = sum(&|i, j, _| total(&a, i) * total(&b, j));
    let mean = sum(&|i, j, cost| total(&a, i) * total(&b, j) * cost) / mass;
    let square = sum(&|i, j, cost| total(&a, i) * total(&b, j) * (cost - mean).powi(2)) / mass;
    assert!((found.mean - mean).abs() <= 1e-13 * mean);
    assert!((found.deviation - square.sqrt()).abs() <= 1e-13 * square.sqrt());
    let range = table.iter().fold([f64::INFINITY, 0.0], |[low, high], &cost| [cost.min(low), cost.max(high)]);
    assert!((found.minimum - range[0]).abs() <= 1e-14 && (found.maximum - range[1]).abs() <= 1e-14);

    let (u, v) = (&a[..source.len()], &b[..target.len()]);
    let product: f64 = sum(&|i, j, cost| u[i] * cost * v[j]);
    let found = costs.rank_one(u, v).unwrap();
    assert!((found - product).abs() <= 1e-13 * product.abs());
    assert!(matches!(costs.rank_one(u, u), Err(Error::Length { .. })));
}

/// Not a number between any nodes of a small grid.
#[derive(Clone, Debug)]
struct Nowhere;

impl CostFormula for Nowhere {
    fn cost<R: Real>(&self, x: &[R], y: &[R]) -> R {
        (x[0] - y[0] - 10.0).ln()
    }
}

#[test]
fn what_is_no_sum_over_the_axes_is_refused() {
    let grid = Grid::<f64>::pixels(&[3, 2]).unwrap();
    let refused = |other: &Grid<f64>, cost: &dyn GroundCost| GridCosts::new(&grid, other, cost).unwrap_err();
    assert!(matches!(refused(&grid, &Euclidean), Error::MissingCapability(_)));
    let line = Grid::pixels(&[4]).unwrap();
    assert!(matches!(refused(&line, &SqEuclidean), Error::DimensionMismatch { .. }));
    let circle = Grid::new([Axis::pixels(3).unwrap().with_period(3.0).unwrap(), Axis::pixels(2).unwrap()]).unwrap();
    assert!(matches!(refused(&circle, &SqEuclidean), Error::PeriodMismatch { axis: 0, .. }));
    let costs: [Arc<dyn GroundCost>; 2] = [Arc::new(SqEuclidean), Arc::new(Nowhere)];
    assert!(matches!(refused(&grid, &Separable::new(costs).unwrap()), Error::Cost { .. }));
    let far = Grid::<f64>::new([Axis::new(2, 0.0, 1e200).unwrap(), Axis::pixels(2).unwrap()]).unwrap();
    assert!(matches!(GridCosts::new(&far, &far, &SqEuclidean).unwrap_err(), Error::CostOverflow { .. }));
}
