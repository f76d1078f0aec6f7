use std::sync::Arc;

use ot_conformance::Seeded;
use ot_core::{
    Chebyshev, Cosine, Error, Euclidean, GroundCost, Manhattan, PlanEntry, PointsView, Scalar, SqEuclidean, Support,
};

use super::{
    super::{
        SparsePlan,
        candidates::{Least, candidates_by_boxes},
        certificate::{ProofMemory, certify_costs},
        costs::{CostRows, PairCosts},
    },
    *,
};

/// Clouds in which boxes tell much, and such in which they tell little.
fn clouds(dimension: usize) -> Vec<[Vec<f64>; 2]> {
    let mut random = Seeded::new(18 + dimension as u64);
    let mut cloud = |len: usize, point: &dyn Fn(f64, usize) -> f64| -> Vec<f64> {
        (0..len * dimension).map(|index| point(random.uniform(0.0, 1.0), index / dimension)).collect()
    };
    vec![
        [cloud(70, &|x, _| x), cloud(53, &|x, _| x + 20.0)],
        // Clusters.
        [cloud(49, &|x, point| 1e-3 * x + (point % 4) as f64), cloud(60, &|x, _| 3.0 * x)],
        // Few different points.
        [cloud(50, &|x, _| (3.0 * x).floor()), cloud(40, &|x, _| (4.0 * x).floor())],
        // A line.
        [cloud(50, &|_, point| point as f64), cloud(35, &|_, point| 1.5 * point as f64)],
        [cloud(1, &|x, _| x), cloud(33, &|x, _| 1e6 * x)],
    ]
}

fn costs() -> [Arc<dyn GroundCost>; 5] {
    [Arc::new(SqEuclidean), Arc::new(Euclidean), Arc::new(Manhattan), Arc::new(Chebyshev), Arc::new(Cosine)]
}

/// Potentials that are far from any solution, tight ones, and such that violate a little and much.
fn potentials(costs: &PairCosts<'_>) -> Vec<[Vec<f64>; 2]> {
    let (n, m) = costs.shape();
    let mut random = Seeded::new(7);
    let start: Vec<f64> = (0..m).map(|j| costs.pair(0, j) + random.uniform(0.0, 0.1)).collect();
    let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let f: Vec<f64> = (0..n).map(|i| least(&mut (0..m).map(|j| costs.pair(i, j) - start[j]))).collect();
    let g: Vec<f64> = (0..m).map(|j| least(&mut (0..n).map(|i| costs.pair(i, j) - f[i]))).collect();
    let shifted = |by: f64| f.iter().map(|f| f + by).collect::<Vec<f64>>();
    vec![
        [vec![0.0; n], vec![0.0; m]],
        [f.clone(), g.clone()],
        [shifted(1e-13), g.clone()],
        [shifted(0.2), g.clone()],
        [shifted(-0.5), g],
    ]
}

fn each_case(mut check: impl FnMut(&PairCosts<'_>, &PairBoxes<'_>, [&[f64]; 2])) -> Result<(), Error> {
    fn with<T: Scalar>(
        points: &[Vec<f64>; 2],
        dimension: usize,
        cost: &dyn GroundCost,
        check: &mut impl FnMut(&PairCosts<'_>, &PairBoxes<'_>, [&[f64]; 2]),
    ) -> Result<(), Error> {
        let points = points.each_ref().map(|points| points.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>());
        let [x, y] = points.each_ref().map(|points| PointsView::new(points, dimension));
        let costs = PairCosts::new(Support::Points(x?), Support::Points(y?), cost)?;
        let boxes = costs.boxes_of_any_size().ok_or(Error::EmptyMeasure)?;
        for [f, g] in potentials(&costs) {
            check(&costs, &boxes, [&f, &g]);
        }
        Ok(())
    }
    for dimension in [1, 2, 3, 8] {
        for points in clouds(dimension) {
            for cost in costs().into_iter().take(if dimension == 2 { 5 } else { 1 }) {
                with::<f64>(&points, dimension, cost.as_ref(), &mut check)?;
            }
            with::<f32>(&points, dimension, &SqEuclidean, &mut check)?;
        }
    }
    Ok(())
}

fn serial(tasks: usize, job: &(dyn Fn(usize) + Sync)) {
    (0..tasks).for_each(job);
}

/// Another order of the tasks.
fn backwards(tasks: usize, job: &(dyn Fn(usize) + Sync)) {
    (0..tasks).rev().for_each(job);
}

#[test]
fn no_pair_is_below_the_bound_of_its_boxes() -> Result<(), Error> {
    each_case(|costs, boxes, [f, g]| {
        let tops = [boxes.tops(Side::Source, |i| f[i]), boxes.tops(Side::Target, |j| g[j])];
        for level in [0.0, 0.3] {
            let mut partners = Vec::new();
            for block in 0..boxes.blocks(Side::Source) {
                boxes.partners(block, tops.each_ref(), level, &mut partners);
                for i in boxes.places(Side::Source, block).map(|place| boxes.order(Side::Source)[place] as usize) {
                    for (place, &j) in boxes.order(Side::Target).iter().enumerate() {
                        let reduced = costs.pair(i, j as usize) - f[i] - g[j as usize];
                        assert!(reduced > level || partners.iter().any(|range| range.contains(&place)));
                    }
                }
            }
        }
    })
}

#[test]
fn the_least_of_every_atom_are_those_of_all_pairs() -> Result<(), Error> {
    each_case(|costs, boxes, [f, g]| {
        let (n, m) = costs.shape();
        let reduced = |i: usize, j: usize| costs.pair(i, j) - f[i] - g[j];
        let mut expected = Vec::new();
        let mut least = Least::new(4);
        for i in 0..n {
            least.clear();
            (0..m).for_each(|j| least.offer(reduced(i, j), j as u32));
            expected.extend(least.pairs().map(|(_, j)| (i as u32, j)));
        }
        for j in 0..m {
            least.clear();
            (0..n).for_each(|i| least.offer(reduced(i, j), i as u32));
            expected.extend(least.pairs().map(|(_, i)| (i, j as u32)));
        }
        expected.sort_unstable();
        expected.dedup();
        let (found, priced) = candidates_by_boxes(costs, boxes, [f, g], 4, &serial);
        assert!(priced <= 2 * (n * m) as u64);
        assert!(found.is_sorted_by(|one, other| one.reduced_cost <= other.reduced_cost));
        let mut pairs: Vec<(u32, u32)> = found.iter().map(|arc| (arc.source, arc.target)).collect();
        pairs.sort_unstable();
        assert_eq!(pairs, expected);
        assert_eq!(found, candidates_by_boxes(costs, boxes, [f, g], 4, &backwards).0);
    })
}

/// Costs whose boxes are looked at, or not, however few they are.
struct Looked<'a>(&'a PairCosts<'a>, bool);

impl CostRows for Looked<'_> {
    fn shape(&self) -> (usize, usize) {
        self.0.shape()
    }

    fn are_stored(&self) -> bool {
        false
    }

    fn row<'b>(&'b self, i: usize, buffer: &'b mut [f64]) -> &'b [f64] {
        self.0.row(i, buffer)
    }

    fn check_row(&self, i: usize, row: &[f64]) -> Result<(), Error> {
        self.0.check_row(i, row)
    }

    fn pair(&self, i: usize, j: usize) -> f64 {
        self.0.pair(i, j)
    }

    fn boxes(&self) -> Option<PairBoxes<'_>> {
        self.0.boxes_of_any_size().filter(|_| self.1)
    }
}

#[test]
fn proofs_are_those_of_all_pairs() -> Result<(), Error> {
    let mut random = Seeded::new(3);
    each_case(|costs, _, [f, g]| {
        let (n, m) = costs.shape();
        let a = vec![1.0 / n as f64; n];
        for zeros in [false, true] {
            let b: Vec<f64> =
                (0..m).map(|j| if zeros && j % 3 == 1 { 0.0 } else { random.uniform(0.1, 1.0) }).collect();
            let entries = (0..n).map(|i| PlanEntry { source: i as u32, target: (i % m) as u32, mass: a[i] });
            let certificate = |is_looked: bool| {
                let plan = SparsePlan::new(n, m, entries.clone().collect())?;
                let costs = Looked(costs, is_looked);
                certify_costs(&costs, [&a, &b], &plan, [f, g], &mut ProofMemory::default(), serial)
            };
            assert_eq!(certificate(true).ok(), certificate(false).ok());
        }
    })
}
