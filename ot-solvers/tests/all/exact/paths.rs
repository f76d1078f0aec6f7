//! Whatever guides the search, the answer is one; entropic potentials guide clouds of every kind.

use ot_conformance::Seeded;
use ot_core::{CostFunction, Error, GroundCost, Manhattan, Measure, PointCloud, PowerOfDistance, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactTransport, Guide};

use super::support::{assert_proven, cloud, solve};
use crate::support::cpu;

/// Solved both ways: one value, both proven, and nothing but candidates searched where guided.
fn assert_guided(source: &dyn Measure<f64>, target: &dyn Measure<f64>, cost: &dyn GroundCost) -> Result<(), Error> {
    let plain = solve(&ExactTransport::new().guide(Guide::Minima), source, target, cost)?;
    let guided = solve(&ExactTransport::new().guide(Guide::Entropic), source, target, cost)?;
    assert_proven(&plain);
    assert_proven(&guided);
    let (plain, report, guided) = (plain.certificate(), *guided.report(), guided.certificate());
    assert!((plain.primal - guided.primal).abs() <= 1e-13 * plain.absolute_cost);
    assert!(report.guided, "a fallback: {report:?}");
    let atoms = source.support().len().unwrap() + target.support().len().unwrap();
    assert!(report.rounds >= 1 && report.candidate_arcs < 40 * atoms, "{report:?}");
    Ok(())
}

#[test]
fn gaussian_clouds_in_the_plane_and_in_space() -> Result<(), Error> {
    let mut random = Seeded::new(11);
    assert_guided(&cloud(&mut random, 500, 2, 0.0), &cloud(&mut random, 400, 2, 0.5), &SqEuclidean)?;
    assert_guided(&cloud(&mut random, 400, 3, 0.0), &cloud(&mut random, 500, 3, 2.0), &Manhattan)?;
    assert_guided(&cloud(&mut random, 400, 3, 0.0), &cloud(&mut random, 300, 3, 0.1), &PowerOfDistance::new(1.5)?)
}

#[test]
fn clusters_in_space() -> Result<(), Error> {
    let mut random = Seeded::new(12);
    let mut clusters = |clusters: usize| {
        let centres: Vec<f64> = (0..3 * clusters).map(|_| 20.0 * random.normal()).collect();
        let points: Vec<f64> =
            (0..3 * 450).map(|place| centres[(place / 3 % clusters) * 3 + place % 3] + 0.3 * random.normal()).collect();
        PointCloud::new(points, 3, random.weights::<f64>(450, false))
    };
    assert_guided(&clusters(7)?, &clusters(4)?, &SqEuclidean)
}

#[test]
fn grids_with_ties() -> Result<(), Error> {
    let grid = |shift: f64, side: usize| {
        let points: Vec<f64> =
            (0..side * side).flat_map(|k| [(k % side) as f64 + shift, (k / side) as f64 - shift]).collect();
        PointCloud::uniform(points, 2)
    };
    assert_guided(&grid(0.0, 20)?, &grid(3.0, 20)?, &SqEuclidean)?;
    assert_guided(&grid(0.0, 20)?, &grid(0.5, 16)?, &SqEuclidean)?;
    assert_guided(&grid(0.0, 18)?, &grid(1.0, 18)?, &Manhattan)
}

/// A cost of the user's that forbids long ways: guided as well, or refused with a cut.
#[test]
fn a_forbidden_radius() -> Result<(), Error> {
    let mut random = Seeded::new(16);
    let mut cloud =
        |len: usize| PointCloud::uniform((0..2 * len).map(|_| random.uniform(0.0, 1.0)).collect::<Vec<_>>(), 2);
    let (a, b) = (cloud(500)?, cloud(400)?);
    let within = |radius: f64| {
        CostFunction::new(move |x: &[f64], y: &[f64]| {
            let distance = (x[0] - y[0]).hypot(x[1] - y[1]);
            if distance > radius { f64::INFINITY } else { distance }
        })
    };
    assert_guided(&a, &b, &within(0.4))?;
    let refused = ExactTransport::new().solve(&cpu(2), &a, &b, &within(0.05));
    assert!(matches!(refused, Err(Error::Infeasible { mass, reachable, .. }) if mass > reachable));
    Ok(())
}

/// Moving a measure moves all mass by the same way.
#[test]
fn a_translation_is_found() -> Result<(), Error> {
    let cloud = cloud(&mut Seeded::new(13), 800, 2, 0.0);
    let moved: Vec<f64> = cloud.points().coordinates().iter().map(|x| x + 0.75).collect();
    let moved = PointCloud::new(moved, 2, cloud.weights().unwrap().values().to_vec())?;
    let solution = solve(&ExactTransport::new(), &cloud, &moved, &SqEuclidean)?;
    assert_proven(&solution);
    assert!((solution.certificate().primal - 2.0 * 0.75 * 0.75).abs() < 1e-12);
    assert!(solution.plan().entries().iter().all(|entry| entry.source == entry.target));
    Ok(())
}

/// Single precision guides as well; the answer is in double precision all the same.
#[test]
fn single_precision() -> Result<(), Error> {
    let mut random = Seeded::new(14);
    let mut cloud = |centre: f64| {
        let points: Vec<f32> = (0..900).map(|_| (centre + random.normal()) as f32).collect();
        let weights: Vec<f32> = random.weights::<f64>(450, false).into_iter().map(|weight| weight as f32).collect();
        PointCloud::new(points, 2, weights)
    };
    let (a, b) = (cloud(0.0)?, cloud(1.0)?);
    let guided = ExactTransport::new().guide(Guide::Entropic);
    let solution = guided.solve(&CpuBackend::<f32>::new(2)?, &a, &b, &SqEuclidean)?;
    assert_proven(&solution);
    assert!(solution.report().guided);
    Ok(())
}

#[test]
fn threads_do_not_change_a_bit() -> Result<(), Error> {
    let mut random = Seeded::new(15);
    let (a, b) = (cloud(&mut random, 500, 2, 0.0), cloud(&mut random, 450, 2, 0.5));
    let solutions = [1, 2, 7].map(|threads| {
        let guided = ExactTransport::new().guide(Guide::Entropic);
        let solution = guided.solve(&CpuBackend::<f64>::new(threads)?, &a, &b, &SqEuclidean)?;
        Ok::<_, Error>((solution.plan().clone(), *solution.certificate(), *solution.report()))
    });
    let [one, two, seven] = solutions;
    assert_eq!(one, two);
    assert_eq!(two, seven);
    Ok(())
}

/// So many pairs that boxes rule most of them out unseen: a cloud and its translate, whose potentials are affine.
#[test]
fn a_translated_cloud_whatever_the_threads() -> Result<(), Error> {
    const N: usize = 2100;
    let mut random = Seeded::new(18);
    let x: Vec<f64> = (0..2 * N).map(|_| random.normal()).collect();
    let y: Vec<f64> = x.iter().rev().map(|x| x + 5.0).collect();
    let sum = |point: &[f64]| point.iter().sum::<f64>();
    let f: Vec<f64> = x.chunks(2).map(|x| -10.0 * sum(x)).collect();
    // The coordinates are swapped too, under which the sum does not change.
    let y: Vec<f64> = y.chunks(2).flat_map(|y| [y[1], y[0]]).collect();
    let g: Vec<f64> = y.chunks(2).map(|y| 10.0 * sum(y) - 50.0).collect();
    let (a, b) = (PointCloud::uniform(x, 2)?, PointCloud::uniform(y, 2)?);
    let solve = |threads: usize| {
        let backend = CpuBackend::<f64>::new(threads)?;
        ExactTransport::new().run(&backend, &a, &b, &SqEuclidean).start(&f, &g).solve()
    };
    let (one, other) = (solve(1)?, solve(3)?);
    assert_proven(&one);
    assert!((one.transport_cost() - 50.0).abs() < 1e-12);
    // Candidates and every round of pricing would look at all pairs.
    let of_all = (1 + one.report().rounds) * N * N;
    assert!(one.report().arcs_priced < (of_all / 4 * 3) as u64, "{:?}", one.report());
    assert_eq!((one.plan(), one.certificate()), (other.plan(), other.certificate()));
    Ok(())
}
