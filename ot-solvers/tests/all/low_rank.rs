//! Couplings of low rank: laws of the factors, bounds on either side of exact transport, closed forms, and what is refused.

use std::ops::ControlFlow;

use ot_conformance::Seeded;
use ot_core::{
    CostMatrix, Error, GroundCost, Histogram, Manhattan, Measure, PointCloud, Progress, Side, SqEuclidean, Status,
};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactTransport, LowRankCoupling, LowRankTransport};

use crate::support::{SIDES, assert_close, cloud, cpu, largest_difference};

fn solve(rank: usize, a: &dyn Measure<f64>, b: &dyn Measure<f64>, cost: &dyn GroundCost) -> LowRankCoupling {
    LowRankTransport::new(rank).max_iterations(300).solve(&cpu(2), a, b, cost).unwrap()
}

fn exact(a: &dyn Measure<f64>, b: &dyn Measure<f64>, cost: &dyn GroundCost) -> f64 {
    ExactTransport::new().solve(&cpu(2), a, b, cost).unwrap().transport_cost()
}

/// <P, C> of all entries.
fn cost_of(coupling: &LowRankCoupling, a: &PointCloud<'_, f64>, b: &PointCloud<'_, f64>, cost: &dyn GroundCost) -> f64 {
    let mut row = vec![0.0; b.points().len()];
    let plan = coupling.to_dense().unwrap();
    let rows = a.points().iter().zip(plan.chunks_exact(row.len())).map(|(x, entries)| {
        cost.costs_f64(x, b.points().coordinates(), &mut row);
        row.iter().zip(entries).map(|(cost, entry)| cost * entry).sum::<f64>()
    });
    rows.sum()
}

#[test]
fn rank_one_is_the_product_coupling() {
    let (a, b) = (cloud(1, 7, 0.0, 2.0), cloud(2, 9, 0.5, 2.0));
    let coupling = solve(1, &a, &b, &SqEuclidean);
    let [a, b] = [&a, &b].map(|cloud| cloud.weights_view().values().to_vec());
    let product: Vec<f64> = a.iter().flat_map(|a| b.iter().map(move |b| a * b / 2.0)).collect();
    assert!(largest_difference(&coupling.to_dense().unwrap(), &product) < 1e-15);
    assert!(coupling.status().is_converged());
}

#[test]
fn factors_are_couplings_and_bounds_hold() {
    for (seed, mass) in [(1, 1.0), (5, 3e5), (9, 1e-7)] {
        let (a, b) = (cloud(seed, 14, 0.0, mass), cloud(seed + 1, 11, 0.3, mass));
        let costs: [&dyn GroundCost; 2] = [&SqEuclidean, &Manhattan];
        for (cost, rank) in costs.into_iter().flat_map(|cost| [2, 5].map(|rank| (cost, rank))) {
            let coupling = solve(rank, &a, &b, cost);
            assert_eq!((coupling.rank(), coupling.shape()), (rank, (14, 11)));
            for (side, measure) in SIDES.into_iter().zip([&a, &b]) {
                let weights = measure.weights_view().values();
                let rows = coupling.factor(side).chunks_exact(rank);
                assert!(coupling.factor(side).iter().all(|entry| *entry >= 0.0));
                let sums: Vec<f64> = rows.clone().map(|row| row.iter().sum()).collect();
                assert!(largest_difference(&sums, weights) < 1e-14 * mass);
                let columns: Vec<f64> = (0..rank).map(|k| rows.clone().map(|row| row[k]).sum()).collect();
                assert!(largest_difference(&columns, coupling.inner_weights()) < 1e-14 * mass);
                let ones = vec![1.0; side.opposite().of([14, 11])];
                assert!(largest_difference(&coupling.apply(side, &ones).unwrap(), weights) < 1e-14 * mass);
            }
            let (found, truth) = (coupling.transport_cost(), exact(&a, &b, cost));
            assert!((found - cost_of(&coupling, &a, &b, cost)).abs() < 1e-12 * found);
            assert!(coupling.lower_bound() <= truth * (1.0 + 1e-12) && truth <= found * (1.0 + 1e-12));
            assert!(coupling.gap() == found - coupling.lower_bound());
        }
    }
}

#[test]
fn costs_fall_with_the_rank_towards_exact_transport() {
    let (a, b) = (cloud(3, 12, 0.0, 1.0), cloud(4, 12, 0.1, 1.0));
    for cost in [&SqEuclidean as &dyn GroundCost, &Manhattan] {
        let truth = exact(&a, &b, cost);
        let costs = [1, 2, 4, 12].map(|rank| solve(rank, &a, &b, cost).transport_cost());
        assert!(costs.windows(2).all(|pair| pair[1] < pair[0]), "{costs:?}");
        assert!(costs[3] < 1.1 * truth, "{costs:?} {truth}");
    }
}

#[test]
fn groups_that_move_as_wholes_are_found() {
    let mut seeded = Seeded::new(7);
    let near = |at: [f64; 2], seeded: &mut Seeded| -> Vec<f64> {
        (0..8).flat_map(|_| at.map(|x| x + seeded.vector::<f64>(1, -1e-3, 1e-3)[0])).collect()
    };
    let (from, to) = ([[0.0, 0.0], [5.0, 1.0], [9.0, -2.0]], [[0.0, 2.0], [5.0, 2.0], [9.0, 1.0]]);
    let points = |centres: [[f64; 2]; 3], seeded: &mut Seeded| centres.map(|at| near(at, seeded)).concat();
    let a = PointCloud::uniform(points(from, &mut seeded), 2).unwrap();
    let b = PointCloud::uniform(points(to, &mut seeded), 2).unwrap();
    let coupling = solve(3, &a, &b, &SqEuclidean);
    assert_close(coupling.transport_cost(), (4.0 + 1.0 + 9.0) / 3.0, 1e-3);
    let mut masses = coupling.inner_weights().to_vec();
    masses.sort_by(f64::total_cmp);
    assert!(largest_difference(&masses, &[1.0 / 3.0; 3]) < 1e-6, "{masses:?}");
}

/// Between a cloud and its translate the bound of Gelbrich is attained by exact transport.
#[test]
fn translations_move_the_cost_by_their_square() {
    let (a, b) = (cloud(3, 10, 0.0, 1.0), cloud(4, 13, 0.0, 1.0));
    let mean = |cloud: &PointCloud<'_, f64>, axis: usize| -> f64 {
        let terms = cloud.points().iter().zip(cloud.weights_view().values());
        terms.map(|(point, weight)| weight * point[axis]).sum()
    };
    let moved = |by: f64| {
        let points = b.points().coordinates().iter().map(|x| x + by).collect::<Vec<_>>();
        PointCloud::new(points, 2, b.weights_view().values().to_vec()).unwrap()
    };
    let by = 64.0;
    let [still, far] = [0.0, by].map(|by| solve(4, &a, &moved(by), &SqEuclidean));
    let change: f64 = (0..2).map(|axis| by * by + 2.0 * by * (mean(&b, axis) - mean(&a, axis))).sum();
    assert_close(far.transport_cost() - still.transport_cost(), change, 1e-9);
    assert!(largest_difference(&still.to_dense().unwrap(), &far.to_dense().unwrap()) < 1e-6);

    let translate = {
        let points = a.points().coordinates().iter().map(|x| x + by).collect::<Vec<_>>();
        PointCloud::new(points, 2, a.weights_view().values().to_vec()).unwrap()
    };
    assert_close(solve(4, &a, &translate, &SqEuclidean).lower_bound(), 2.0 * by * by, 1e-9);
}

/// The optimal map from a cloud to an image under a symmetric positive matrix is that matrix: then the lower bound is exact transport.
#[test]
fn the_bound_of_gelbrich_is_attained_by_affine_maps() {
    let a = cloud(3, 40, 0.0, 1.0);
    let image = a.points().iter().flat_map(|x| [2.0 * x[0] + 0.5 * x[1] - 1.0, 0.5 * x[0] + 0.25 * x[1] + 3.0]);
    let b = PointCloud::new(image.collect::<Vec<_>>(), 2, a.weights_view().values().to_vec()).unwrap();
    let (coupling, truth) = (solve(3, &a, &b, &SqEuclidean), exact(&a, &b, &SqEuclidean));
    assert!(coupling.lower_bound() <= truth && coupling.lower_bound() > (1.0 - 1e-5) * truth);
    let same = solve(3, &a, &a, &SqEuclidean);
    assert_eq!(same.lower_bound(), 0.0);
}

#[test]
fn single_precision_is_solved_in_double() {
    let narrow = |seed: u64| PointCloud::uniform(Seeded::new(seed).elements::<f32>(40, 0.0, 1.0), 2).unwrap();
    let wide = |cloud: &PointCloud<'_, f32>| {
        PointCloud::uniform(cloud.points().coordinates().iter().map(|x| f64::from(*x)).collect::<Vec<_>>(), 2).unwrap()
    };
    let (a, b, backend) = (narrow(1), narrow(2), CpuBackend::<f32>::new(1).unwrap());
    let settings = LowRankTransport::new(3).max_iterations(100);
    let found = settings.solve(&backend, &a, &b, &SqEuclidean).unwrap().transport_cost();
    assert_close(found, settings.solve(&cpu(1), &wide(&a), &wide(&b), &SqEuclidean).unwrap().transport_cost(), 1e-5);
}

#[test]
fn scales_of_costs_change_nothing() {
    let (a, b) = (cloud(3, 10, 0.0, 1.0), cloud(4, 13, 0.0, 1.0));
    let scaled = |cloud: &PointCloud<'_, f64>, by: f64| {
        let points = cloud.points().coordinates().iter().map(|x| by * x).collect::<Vec<_>>();
        PointCloud::new(points, 2, cloud.weights_view().values().to_vec()).unwrap()
    };
    let cost = solve(3, &a, &b, &SqEuclidean).transport_cost();
    for exponent in [-200, -20, 40, 300] {
        let by = 2_f64.powi(exponent);
        let found = solve(3, &scaled(&a, by), &scaled(&b, by), &SqEuclidean).transport_cost();
        assert_eq!(found, by * by * cost);
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_for_any_threads() {
    let (a, b) = (cloud(1, 3000, 0.0, 1.0), cloud(2, 2000, 0.2, 1.0));
    let solve = |threads: usize, seed: u64| {
        let settings = LowRankTransport::new(4).seed(seed).max_iterations(3);
        settings.solve(&cpu(threads), &a, &b, &SqEuclidean).unwrap().factor(Side::Source).to_vec()
    };
    let one = solve(1, 0);
    assert!([2, 3].iter().all(|&threads| solve(threads, 0) == one) && solve(1, 1) != one);
}

#[test]
fn atoms_without_mass_take_no_part() {
    let (a, b) = (cloud(1, 6, 0.0, 1.0), cloud(2, 5, 0.0, 1.0));
    let points = [a.points().coordinates(), &[1e3, -1e3]].concat();
    let weights = [a.weights_view().values(), &[0.0]].concat();
    let more = PointCloud::new(points, 2, weights).unwrap();
    let coupling = solve(3, &more, &b, &SqEuclidean);
    assert!(coupling.factor(Side::Source)[18..].iter().all(|entry| *entry == 0.0));
    assert_close(coupling.transport_cost(), solve(3, &a, &b, &SqEuclidean).transport_cost(), 0.05);
    let same = PointCloud::uniform(vec![1.0; 8], 2).unwrap();
    assert_eq!(solve(4, &same, &same, &SqEuclidean).transport_cost(), 0.0);
}

#[test]
fn costs_of_any_sign_and_weights_over_decades() {
    let mut seeded = Seeded::new(11);
    let (n, m) = (9, 7);
    let entries = seeded.vector::<f64>(n * m, -3.0, 1.0);
    let weights = |len: usize| {
        let weights = Histogram::new((0..len).map(|i| 10_f64.powi(-2 * i as i32)).collect::<Vec<_>>()).unwrap();
        weights.normalized()
    };
    let (a, b, cost) = (weights(n), weights(m), CostMatrix::new(entries, n, m).unwrap());
    let (coupling, truth) = (solve(4, &a, &b, &cost), exact(&a, &b, &cost));
    let rounding = 1e-12;
    assert!(coupling.lower_bound() <= truth + rounding && truth <= coupling.transport_cost() + rounding);
    assert!(coupling.transport_cost() <= solve(1, &a, &b, &cost).transport_cost());
}

#[test]
fn costs_never_rise_and_a_break_is_heeded() {
    let (a, b) = (cloud(1, 20, 0.0, 1.0), cloud(2, 25, 0.3, 1.0));
    let settings = LowRankTransport::new(4);
    let mut gaps = Vec::new();
    let mut observer = |progress: &Progress| {
        gaps.extend(progress.gap);
        if progress.done < 12 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let coupling = settings.run(&cpu(1), &a, &b, &SqEuclidean).observer(&mut observer).solve().unwrap();
    assert_eq!((coupling.status(), coupling.iterations()), (Status::Cancelled, 12));
    assert!(gaps.len() == 13 && gaps.windows(2).all(|pair| pair[1] <= pair[0]));
    assert!(coupling.transport_cost() >= exact(&a, &b, &SqEuclidean));
    let limited = settings.max_iterations(2).solve(&cpu(1), &a, &b, &SqEuclidean).unwrap();
    assert_eq!((limited.status(), limited.iterations()), (Status::IterationLimit, 2));
}

#[test]
fn what_is_asked_wrongly_is_refused() {
    let (a, b) = (cloud(1, 6, 0.0, 1.0), cloud(2, 5, 0.0, 1.0));
    let refused = |settings: LowRankTransport, b: &dyn Measure<f64>, cost: &dyn GroundCost| {
        settings.solve(&cpu(1), &a, b, cost).err()
    };
    let named = |error: Option<Error>| match error {
        Some(Error::Parameter { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    for rank in [0, 6] {
        assert_eq!(named(refused(LowRankTransport::new(rank), &b, &SqEuclidean)), "rank");
    }
    let valid = LowRankTransport::new(2);
    assert_eq!(named(refused(valid.tolerance(0.0), &b, &SqEuclidean)), "tolerance");
    assert_eq!(named(refused(valid.max_iterations(0), &b, &SqEuclidean)), "max_iterations");
    assert!(matches!(refused(valid, &cloud(2, 5, 0.0, 2.0), &SqEuclidean), Some(Error::MassMismatch { .. })));
    let line = PointCloud::uniform(vec![0.0, 1.0], 1).unwrap();
    assert!(matches!(refused(valid, &line, &SqEuclidean), Some(Error::DimensionMismatch { .. })));
    let batch = PointCloud::batch(vec![0.0; 4], 2, vec![0.5; 4], 2).unwrap();
    assert!(matches!(refused(valid, &batch, &SqEuclidean), Some(Error::BatchMismatch { .. })));
    let far = PointCloud::uniform(vec![1e200; 4], 2).unwrap();
    assert!(matches!(refused(valid, &far, &SqEuclidean), Some(Error::CostOverflow { .. })));

    let forbidden = CostMatrix::new(vec![0.0, f64::INFINITY, 1.0, 0.0], 2, 2).unwrap();
    let half = Histogram::new(vec![0.5, 0.5]).unwrap();
    let error = valid.solve(&cpu(1), &half, &half, &forbidden).err();
    assert!(matches!(error, Some(Error::MissingCapability(_))), "{error:?}");
}
