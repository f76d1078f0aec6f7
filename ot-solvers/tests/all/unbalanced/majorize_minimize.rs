//! Penalised transport without entropy, against closed forms and the limit of entropic transport.

use ot_conformance::{
    Seeded,
    problems::{Diracs, Quantiles},
};
use ot_core::{CostMatrix, Error, Euclidean, Histogram, Kl, PointCloud, SqEuclidean, Status};
use ot_solvers::{MajorizeMinimize, MassPenalty, Sinkhorn};

use crate::support::{assert_close, cloud, cpu, penalty, problem};

fn kl(source: f64, target: f64) -> MajorizeMinimize {
    MajorizeMinimize::new(MassPenalty::Kl { source, target }).max_iterations(200_000)
}

fn squared(source: f64, target: f64) -> MajorizeMinimize {
    MajorizeMinimize::new(MassPenalty::SquaredL2 { source, target }).max_iterations(200_000)
}

#[test]
fn two_diracs() {
    for (masses, [source, target]) in [([1.0, 2.0], [0.5, 0.8]), ([1e-3, 10.0], [2.0, 0.1])] {
        let diracs = Diracs { masses, distance: 0.3, strengths: [source, target], epsilon: 1e-12 };
        let (a, b) = (diracs.source::<f64>().unwrap(), diracs.target::<f64>().unwrap());
        let found = kl(source, target).tolerance(1e-10).solve(&a, &b, &SqEuclidean).unwrap();
        assert_close(found.plan[0], diracs.mass(), 1e-9);
        assert_close(found.primal, diracs.value(), 1e-9);
        // c + rho_a (p - a) + rho_b (p - b) = 0
        let found = squared(source, target).tolerance(1e-10).solve(&a, &b, &SqEuclidean).unwrap();
        let expected = (source * masses[0] + target * masses[1] - diracs.cost()) / (source + target);
        assert_close(found.plan[0], expected.max(0.0), 1e-9);
    }
}

#[test]
fn what_is_too_dear_does_not_move() {
    let (a, b) = (PointCloud::uniform(vec![0.0], 1).unwrap(), PointCloud::uniform(vec![10.0], 1).unwrap());
    let found = squared(1.0, 1.0).solve(&a, &b, &SqEuclidean).unwrap();
    assert_eq!((found.plan[0], found.transport_cost, found.primal), (0.0, 0.0, 1.0));
    assert_eq!(found.status, Status::Converged);
}

#[test]
fn gaps_close_between_clouds() {
    let (a, b) = (cloud(1, 12, 0.0, 1.0), cloud(2, 14, 0.2, 1.7));
    for solver in [kl(0.5, 0.5), kl(0.1, 2.0), squared(1.0, 1.0), squared(0.5, 20.0)] {
        let found = solver.tolerance(1e-3).solve(&a, &b, &SqEuclidean).unwrap();
        assert_eq!(found.status, Status::Converged, "{solver:?}: {}", found.gap);
        assert!(found.gap >= -1e-12 && found.gap <= 1e-3 * found.primal);
        assert!(found.plan.iter().all(|entry| entry.is_finite() && *entry >= 0.0));
    }
}

#[test]
fn it_is_the_limit_of_entropic_transport() {
    let backend = cpu(1);
    let (a, b) = (cloud(3, 10, 0.0, 1.0), cloud(4, 11, 0.2, 1.4));
    let found = kl(0.5, 0.5).tolerance(1e-4).solve(&a, &b, &SqEuclidean).unwrap();
    let kl = || penalty(Kl::new(0.5).unwrap());
    let entropic = Sinkhorn::new().tolerance(1e-7).max_iterations(100_000);
    let entropic = entropic.solve(&problem(&backend, [&a, &b], 1e-3, [kl(), kl()])).unwrap();
    let value = entropic.certificate().dual;
    assert!((value - found.primal).abs() <= 0.03 * found.primal, "{value} and {}", found.primal);
}

#[test]
fn strong_penalties_prescribe() {
    let line = Quantiles::new(6, 7, 3);
    let (a, b) = (line.source::<f64>().unwrap(), line.target::<f64>().unwrap());
    let found = kl(20.0, 20.0).max_iterations(20_000).solve(&a, &b, &Euclidean).unwrap();
    assert!(found.dual <= line.cost(1.0) && (found.primal - line.cost(1.0)).abs() < 0.05 * line.cost(1.0));
}

#[test]
fn forbidden_pairs_stay_empty() {
    let cost = CostMatrix::new(vec![0.1, f64::INFINITY, 0.3, 0.2], 2, 2).unwrap();
    let (a, b) = (Histogram::new(vec![1.0, 0.0]).unwrap(), Histogram::new(vec![0.5, 0.7]).unwrap());
    for solver in [kl(1.0, 1.0), squared(1.0, 1.0)] {
        let found = solver.solve(&a, &b, &cost).unwrap();
        assert_eq!((found.plan[1], found.plan[2], found.plan[3]), (0.0, 0.0, 0.0));
        assert_eq!(found.status, Status::Converged);
        assert!(found.plan[0] > 0.3);
    }
}

#[test]
fn what_was_asked_wrongly_is_refused() {
    let a = cloud(1, 4, 0.0, 1.0);
    for rho in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(kl(rho, 1.0).solve(&a, &a, &SqEuclidean), Err(Error::Parameter { .. })), "{rho}");
        assert!(matches!(squared(1.0, rho).solve(&a, &a, &SqEuclidean), Err(Error::Parameter { .. })), "{rho}");
    }
    let index = Histogram::new(vec![1.0, 1.0]).unwrap();
    assert!(matches!(kl(1.0, 1.0).solve(&a, &index, &SqEuclidean), Err(Error::UnsupportedSupport { .. })));
    assert!(matches!(kl(1.0, 1.0).tolerance(0.0).solve(&a, &a, &SqEuclidean), Err(Error::Parameter { .. })));
}

fn line(points: &[f64]) -> PointCloud<'static, f64> {
    PointCloud::uniform(points.to_vec(), 1).unwrap()
}

#[test]
fn points_that_are_far_from_all_others() {
    let (a, b) = (line(&[0.0, 0.1, 20.0]), line(&[0.05, 0.2]));
    let found = MajorizeMinimize::new(MassPenalty::Kl { source: 0.5, target: 0.5 }).tolerance(1e-9);
    let found = found.solve(&a, &b, &SqEuclidean).unwrap();
    assert_eq!(found.status, Status::Converged);
    assert!((found.primal - 0.188_579_20).abs() < 1e-8, "{}", found.primal);
    assert!(found.plan.iter().all(|entry| entry.is_finite()));
}

#[test]
fn small_normal_clouds_converge_within_the_limit() {
    for seed in 0..200 {
        let mut random = Seeded::new(seed);
        let [n, m] = [3 + seed as usize % 7, 3 + seed as usize % 5];
        let mut normal = |len: usize| -> Vec<f64> {
            (0..2 * len).map(|_| random.vector::<f64>(12, -0.5, 0.5).iter().sum::<f64>()).collect()
        };
        let (x, y) = (normal(n), normal(m));
        let (a, b) = (PointCloud::uniform(x, 2).unwrap(), PointCloud::uniform(y, 2).unwrap());
        let rho = 10.0_f64.powf(-3.0 + 3.0 * (seed % 10) as f64 / 9.0);
        for penalty in [
            MassPenalty::Kl { source: rho, target: rho },
            MassPenalty::Kl { source: rho, target: 1.0 },
            MassPenalty::SquaredL2 { source: 10.0 * rho, target: 10.0 },
        ] {
            let found = MajorizeMinimize::new(penalty).solve(&a, &b, &SqEuclidean).unwrap();
            assert!(found.plan.iter().all(|entry| entry.is_finite()));
            assert!(found.gap >= -1e-12 * found.primal);
            assert_eq!(found.status, Status::Converged, "{seed} {penalty:?}: {:e} of {:e}", found.gap, found.primal);
        }
    }
}

#[test]
fn ordinary_problems_converge_within_the_limit() {
    let (a, b) = (cloud(1, 50, 0.0, 1.0), cloud(2, 60, 0.2, 1.7));
    for penalty in [
        MassPenalty::Kl { source: 0.5, target: 0.5 },
        MassPenalty::Kl { source: 10.0, target: 10.0 },
        MassPenalty::Kl { source: 1e-3, target: 1.0 },
        MassPenalty::SquaredL2 { source: 10.0, target: 10.0 },
        MassPenalty::SquaredL2 { source: 500.0, target: 10.0 },
    ] {
        let found = MajorizeMinimize::new(penalty).solve(&a, &b, &SqEuclidean).unwrap();
        assert_eq!(found.status, Status::Converged, "{penalty:?}: {:e} of {:e}", found.gap, found.primal);
    }
}

#[test]
fn masses_of_any_size() {
    let of = |mass: f64, penalty: MassPenalty| {
        let (a, b) = (cloud(1, 6, 0.0, mass), cloud(2, 7, 0.2, 3.0 * mass));
        MajorizeMinimize::new(penalty).tolerance(1e-9).solve(&a, &b, &SqEuclidean)
    };
    let kl = MassPenalty::Kl { source: 1e-3, target: 1.0 };
    let once = of(1.0, kl).unwrap();
    assert_eq!(once.status, Status::Converged);
    for mass in [1e-200, 1e-12, 1e16, 1e160, 1e290] {
        let found = of(mass, kl).unwrap();
        assert_eq!(found.status, Status::Converged, "{mass:e}");
        assert_close(found.primal / mass, once.primal, 1e-8);
    }
    let squared = MassPenalty::SquaredL2 { source: 1.0, target: 1.0 };
    assert!(of(1e100, squared).is_ok());
    assert!(matches!(of(1e160, squared), Err(Error::SumOverflow { .. })));
}
