//! Solves that leave out pairs too far apart to matter: the answers of solves that look at all pairs, with certificates that hold
//! over all pairs, on clouds that are hard on boxes.

use std::{ops::ControlFlow, sync::Arc};

use ot_conformance::Seeded;
use ot_core::{
    Certificate, Epsilon, Error, Euclidean, Geometry, GeometryBuilder, GroundCost, Host, Kl, Measure, PointCloud,
    Problem, Progress, Scalar, Side, SqEuclidean, Status,
};
use ot_cpu::{BlockSparseGeometry, CpuBackend, CpuScalar};
use ot_solvers::{ExactTransport, Sinkhorn, Start};

const LEN: [usize; 2] = [400, 350];

/// A backend that leaves out pairs from so few atoms on.
fn blocks<T: CpuScalar>(threads: usize) -> CpuBackend<T> {
    CpuBackend::new(threads).unwrap().with_dense_limit(0).with_block_limit(64)
}

/// A backend that looks at all pairs.
fn all_pairs<T: CpuScalar>() -> CpuBackend<T> {
    CpuBackend::new(1).unwrap().with_dense_limit(0).with_block_limit(usize::MAX)
}

/// Two clouds, and an epsilon that is small against their extent.
struct Pair<T: Scalar> {
    name: &'static str,
    clouds: [PointCloud<'static, T>; 2],
    epsilon: f64,
}

fn pairs<T: Scalar>() -> Vec<Pair<T>> {
    let mut random = Seeded::new(9);
    let mut draw = |name: &'static str, dimension: usize, epsilon: f64| {
        let clouds = [0, 1].map(|side| {
            let (mut points, mut weights) = (Vec::new(), Vec::new());
            for i in 0..LEN[side] {
                let along = random.uniform(0.0, 1.0);
                let shift = match name {
                    "clusters" => [0.0, 5.0, 20.0][i % 3],
                    "outlier" if i == 3 => 100.0,
                    "apart" => 3.0 * side as f64,
                    _ => 0.0,
                };
                let level = f64::from(random.uniform(0.0, 6.0) as u32);
                points.extend((0..dimension).map(|axis| {
                    T::from_f64(match name {
                        "duplicates" => level + axis as f64,
                        "line" => along * (1 + axis) as f64,
                        _ => shift + random.uniform(0.0, 1.0),
                    })
                }));
                weights.push(match name {
                    "decades" => 10_f64.powf(random.uniform(-12.0, 0.0)),
                    "clusters" => 1.0,
                    _ => random.uniform(0.5, 1.0),
                });
            }
            let mass: f64 = weights.iter().sum();
            let weights: Vec<T> = weights.into_iter().map(|weight| T::from_f64(weight / mass)).collect();
            PointCloud::new(points, dimension, weights).unwrap()
        });
        Pair { name, clouds, epsilon }
    };
    vec![
        draw("plane", 2, 0.01),
        draw("line", 3, 0.01),
        draw("clusters", 2, 0.3),
        draw("outlier", 2, 0.1),
        draw("duplicates", 2, 0.5),
        draw("decades", 2, 0.02),
        draw("apart", 2, 0.05),
        draw("eight axes", 8, 0.2),
        draw("nothing to leave out", 2, 10.0),
    ]
}

impl<T: CpuScalar> Pair<T> {
    fn blocks(&self, backend: &CpuBackend<T>, cost: Arc<dyn GroundCost>) -> BlockSparseGeometry<T> {
        let [x, y] = self.clouds.each_ref().map(PointCloud::points);
        BlockSparseGeometry::new(backend, x, y, cost).unwrap()
    }

    fn problem(&self, geometry: Arc<dyn Geometry<Host<T>>>) -> Problem<Host<T>> {
        Problem::new(geometry, &self.clouds[0], &self.clouds[1], Epsilon::Absolute(self.epsilon)).unwrap()
    }
}

fn near(one: f64, other: f64, tolerance: f64) -> bool {
    (one - other).abs() <= tolerance * (1.0 + other.abs())
}

#[test]
fn answers_are_those_of_all_pairs() {
    for pair in pairs::<f64>() {
        let solve = |geometry: Arc<dyn Geometry<Host<f64>>>| {
            Sinkhorn::new().tolerance(1e-7).max_iterations(600).solve(&pair.problem(geometry)).unwrap()
        };
        let [a, b] = pair.clouds.each_ref().map(Measure::support);
        let found = solve(Arc::new(pair.blocks(&blocks(2), Arc::new(SqEuclidean))));
        let expected = solve(all_pairs().geometry(a, b, &SqEuclidean).unwrap());
        let (mine, theirs) = (found.certificate(), expected.certificate());
        assert_eq!(found.status().is_converged(), expected.status().is_converged(), "{}", pair.name);
        // Far from the solution the best iterates of two runs may differ; their bounds hold for one optimum.
        let crossed = mine.dual <= theirs.primal + 1e-12 && theirs.dual <= mine.primal + 1e-12;
        assert!(crossed, "{}: {mine} {theirs}", pair.name);
        if found.status().is_converged() {
            let is_near = near(mine.dual, theirs.dual, 1e-6) && near(mine.primal, theirs.primal, 1e-5);
            assert!(is_near, "{}: {mine} {theirs}", pair.name);
            let [cost, other] = [mine, theirs].map(|certificate| certificate.transport_cost.unwrap());
            assert!(near(cost, other, 1e-5), "{}: {cost} {other}", pair.name);
        }
        let [few, many] = [&found, &expected].map(|solution| solution.iterations());
        assert!(few <= 2 * many + 20, "{}: {few} iterations beside {many}", pair.name);
    }
}

#[test]
fn passes_between_large_clouds_are_few() {
    // Sinkhorn's iteration alone takes more than a hundred.
    const LEN: usize = 8500;
    let mut random = Seeded::new(3);
    let mut cloud = |bent: f64| {
        let coordinate = |_| {
            let x = random.uniform(0.0, 1.0);
            x + bent * (x * x - x)
        };
        PointCloud::uniform((0..2 * LEN).map(coordinate).collect::<Vec<f64>>(), 2).unwrap()
    };
    let pair = Pair { name: "bent", clouds: [cloud(0.0), cloud(0.6)], epsilon: 4.0 / LEN as f64 };
    let problem = pair.problem(Arc::new(pair.blocks(&blocks(2), Arc::new(SqEuclidean))));
    let sinkhorn = Sinkhorn::new().tolerance(1e-6);
    let (solution, report) = sinkhorn.run(&problem).solve_with_report().unwrap();
    let certificate = solution.certificate();
    assert!(solution.status().is_converged() && certificate.gap < 1e-6, "{certificate}");
    let newton = report.newton.unwrap();
    assert!(solution.iterations() < 90 && newton.products > 0 && newton.linear_steps < 60, "{report:?}");
}

#[test]
fn certificates_hold_over_all_pairs() {
    for pair in pairs::<f64>() {
        for part in [1e-2, 1e-5, 1e-16] {
            let blocks = pair.blocks(&blocks(1), Arc::new(SqEuclidean)).with_left_out(part).unwrap();
            let solution =
                Sinkhorn::new().tolerance(1e-5).max_iterations(60).solve(&pair.problem(Arc::new(blocks))).unwrap();
            let [a, b] = pair.clouds.each_ref().map(Measure::support);
            let problem = pair.problem(all_pairs().geometry(a, b, &SqEuclidean).unwrap());
            let all: Certificate = ot_core::certify(&problem, solution.potentials()).unwrap()[0];
            let told = solution.certificate();
            let slack = told.rounding * (1.0 + 1e-9) + 1e-12;
            let apart = (told.marginal_error - all.marginal_error).abs();
            assert!(apart <= 2.0 * slack, "{} {part}: {told} {all}", pair.name);
            // Bounds of the optimum stay bounds.
            assert!(
                told.dual <= all.primal + 1e-12 && all.dual <= told.primal + 1e-12,
                "{} {part}: {told} {all}",
                pair.name
            );
            assert!(told.dual <= all.dual + 1e-12 * (1.0 + all.dual.abs()), "{} {part}: {told} {all}", pair.name);
            assert!(told.rounding >= part, "{} {part}: {told}", pair.name);
        }
    }
}

#[test]
fn single_precision_and_other_costs() {
    for pair in pairs::<f32>() {
        let solution =
            Sinkhorn::new().solve(&pair.problem(Arc::new(pair.blocks(&blocks(2), Arc::new(Euclidean))))).unwrap();
        let [a, b] = pair.clouds.each_ref().map(Measure::support);
        let all = Sinkhorn::new().solve(&pair.problem(all_pairs().geometry(a, b, &Euclidean).unwrap())).unwrap();
        assert!(solution.certificate().is_finite(), "{}: {}", pair.name, solution.certificate());
        assert!(near(solution.certificate().dual, all.certificate().dual, 1e-3), "{}", pair.name);
    }
}

#[test]
fn bits_are_those_of_any_number_of_threads() {
    let pair = pairs::<f64>().swap_remove(0);
    let solve = |threads: usize| {
        let problem = pair.problem(Arc::new(pair.blocks(&blocks(threads), Arc::new(SqEuclidean))));
        let solution = Sinkhorn::new().max_iterations(15).solve(&problem).unwrap();
        let potentials = [Side::Source, Side::Target].map(|side| solution.potential(side).unwrap());
        (potentials, *solution.certificate())
    };
    let once = solve(1);
    assert!([2, 3, 7].into_iter().all(|threads| solve(threads) == once));
}

#[test]
fn penalties_batches_and_clusters() {
    let pair = pairs::<f64>().swap_remove(2);
    let [a, b] = &pair.clouds;
    let penalty = Kl::new(0.5).unwrap();
    let solve = |backend: &CpuBackend<f64>| {
        let (points, weights) = (a.points().coordinates().to_vec(), a.weights_view().values().to_vec());
        let mut reversed = weights.clone();
        reversed.reverse();
        let batch = PointCloud::batch(points, 2, [weights, reversed].concat(), 2).unwrap();
        let geometry = backend.geometry(batch.support(), b.support(), &SqEuclidean).unwrap();
        let problem = Problem::unbalanced(geometry, &batch, b, Epsilon::Absolute(0.3), &penalty, &penalty).unwrap();
        let start = Start::multiscale(backend, &problem, &batch, b, &SqEuclidean).unwrap();
        Sinkhorn::new().tolerance(1e-8).run(&problem).start(start).solve().unwrap()
    };
    let (found, expected) = (solve(&blocks(1)), solve(&all_pairs()));
    assert!(format!("{:?}", found.problem().geometry()).starts_with("BlockSparse"));
    for (mine, theirs) in found.certificates().iter().zip(expected.certificates()) {
        assert!(near(mine.dual, theirs.dual, 1e-8) && near(mine.primal, theirs.primal, 1e-7), "{mine} {theirs}");
    }
    assert!(found.status().is_converged());
}

#[test]
fn cancelled_at_any_stage() {
    let pair = pairs::<f64>().swap_remove(0);
    for stop in [1, 2, 4] {
        let mut told = 0;
        let mut stop_at = |_: &Progress| {
            told += 1;
            if told >= stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let problem = pair.problem(Arc::new(pair.blocks(&blocks(1), Arc::new(SqEuclidean))));
        let solution = Sinkhorn::new().tolerance(1e-12).run(&problem).observer(&mut stop_at).solve().unwrap();
        assert!(solution.status() == Status::Cancelled && !solution.is_certified());
        assert!(ot_core::certify(&problem, solution.potentials()).unwrap()[0].is_finite());
    }
}

#[test]
fn exact_transport_is_guided_and_priced_by_blocks() -> Result<(), Error> {
    for pair in pairs::<f64>().into_iter().take(6) {
        let [a, b] = &pair.clouds;
        let settings = ExactTransport::new().guide(ot_solvers::exact::Guide::Entropic);
        let [found, expected] =
            [blocks(2), all_pairs()].map(|backend| settings.run(&backend, a, b, &SqEuclidean).solve());
        let (found, expected) = (found?, expected?);
        assert!(near(found.transport_cost(), expected.transport_cost(), 1e-12), "{}", pair.name);
        assert!(found.status().is_converged() && found.gap() <= 1e-9, "{}: {}", pair.name, found.gap());
    }
    Ok(())
}
