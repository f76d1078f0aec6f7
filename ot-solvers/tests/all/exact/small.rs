//! Between few atoms: one answer whatever memory it is found in, and that of the search among thousands.

use ot_conformance::Seeded;
use ot_core::{CostFunction, CostMatrix, Error, Euclidean, Histogram, Measure, PointCloud, Side, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactTransport, ExactWorkspace, Guide};

use super::support::{assert_proven, below, cloud, solve, solve_matrix};
use crate::support::cpu;

/// What is kept from one solve to the next shows in no bit.
#[test]
fn memory_leaves_no_trace() -> Result<(), Error> {
    let mut random = Seeded::new(21);
    let (backend, settings, mut workspace) = (cpu(1), ExactTransport::new(), ExactWorkspace::new());
    for round in 0..40 {
        let (n, m) = (1 + below(&mut random, 40), 1 + below(&mut random, 40));
        let zeros = round % 3 == 0;
        let (a, b) = (random.weights::<f64>(n, zeros), random.weights::<f64>(m, zeros));
        let costs = random.vector::<f64>(n * m, -1.0, 1.0);
        let fresh = solve_matrix(&a, &b, &costs)?;
        assert_proven(&fresh);
        let (a, b, cost) = (Histogram::new(&a)?, Histogram::new(&b)?, CostMatrix::new(&costs, n, m)?);
        let kept = settings.run(&backend, &a, &b, &cost).solve_in(&mut workspace)?;
        assert_eq!((kept.plan(), kept.certificate()), (fresh.plan(), fresh.certificate()));
        assert_eq!(kept.report(), fresh.report());
        for side in Side::BOTH {
            assert_eq!(kept.potential(side), fresh.potential(side));
        }
    }
    Ok(())
}

/// The search among candidates, which zero potentials ask for, finds the same value.
#[test]
fn the_general_search_agrees() -> Result<(), Error> {
    let mut random = Seeded::new(22);
    for (n, m, dimension) in [(7, 90, 1), (60, 60, 2), (150, 40, 3), (33, 34, 17)] {
        let (a, b) = (cloud(&mut random, n, dimension, 0.0), cloud(&mut random, m, dimension, 0.5));
        let small = solve(&ExactTransport::new(), &a, &b, &SqEuclidean)?;
        assert_proven(&small);
        assert_eq!((small.report().rounds, small.report().candidate_arcs), (1, n * m));
        let (backend, zeros) = (cpu(1), vec![0.0; n.max(m)]);
        let settings = ExactTransport::new();
        let general = settings.run(&backend, &a, &b, &SqEuclidean).start(&zeros[..n], &zeros[..m]).solve()?;
        assert_proven(&general);
        let (one, other) = (small.certificate(), general.certificate());
        assert!((one.primal - other.primal).abs() <= 1e-13 * one.absolute_cost, "{one:?} {other:?}");
        let minima = solve(&ExactTransport::new().guide(Guide::Minima), &a, &b, &SqEuclidean)?;
        assert!((minima.certificate().primal - one.primal).abs() <= 1e-13 * one.absolute_cost);
        assert!(minima.report().pivots >= small.report().pivots / 2);
    }
    Ok(())
}

/// Costs and masses of any unit, zero costs, and weights of many decades.
#[test]
fn units_do_not_matter() -> Result<(), Error> {
    let mut random = Seeded::new(23);
    let n = 24;
    let costs = random.vector::<f64>(n * n, 0.0, 1.0);
    let weights = |random: &mut Seeded| -> Vec<f64> {
        let weights: Vec<f64> = (0..n).map(|_| 10_f64.powf(random.uniform(-12.0, 0.0))).collect();
        let mass: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / mass).collect()
    };
    let (a, b) = (weights(&mut random), weights(&mut random));
    let reference = solve_matrix(&a, &b, &costs)?.certificate().primal;
    for unit in [2_f64.powi(-900), 2_f64.powi(-40), 2_f64.powi(900)] {
        let scaled: Vec<f64> = costs.iter().map(|cost| unit * cost).collect();
        let solution = solve_matrix(&a, &b, &scaled)?;
        assert_proven(&solution);
        assert!((solution.certificate().primal / (unit * reference) - 1.0).abs() < 1e-13, "{unit:e}");
    }
    assert_proven(&solve_matrix(&a, &b, &vec![0.0; n * n])?);
    assert_proven(&solve_matrix(&[1.0], &[1.0], &[3.0])?);
    Ok(())
}

/// Single precision is read as it is, and a closure as a cost of indices.
#[test]
fn every_kind_of_cost_is_read() -> Result<(), Error> {
    let mut random = Seeded::new(24);
    for dimension in [1, 2, 9] {
        let mut cloud = |len: usize| {
            let points: Vec<f32> = (0..len * dimension).map(|_| random.normal() as f32).collect();
            PointCloud::uniform(points, dimension)
        };
        let (a, b) = (cloud(30)?, cloud(20)?);
        let single = ExactTransport::new().solve(&CpuBackend::<f32>::new(1)?, &a, &b, &Euclidean)?;
        let wide = |cloud: &PointCloud<'_, f32>| {
            let points: Vec<f64> = cloud.points().coordinates().iter().map(|&x| f64::from(x)).collect();
            PointCloud::uniform(points, dimension)
        };
        let double = solve(&ExactTransport::new(), &wide(&a)?, &wide(&b)?, &Euclidean)?;
        assert_proven(&single);
        assert!((single.certificate().primal / double.certificate().primal - 1.0).abs() < 1e-6);
    }
    let (a, b) = (Histogram::<f64>::uniform(12)?, Histogram::<f64>::uniform(8)?);
    let of_indices = |x: &[f64], y: &[f64]| (x[0] - 1.4 * y[0]).powi(2);
    let closure = CostFunction::new(of_indices).with_dimension(1);
    let entries: Vec<f64> = (0..96).map(|k| of_indices(&[f64::from(k / 8)], &[f64::from(k % 8)])).collect();
    let matrix = CostMatrix::new(entries, 12, 8)?;
    let [one, other] =
        [solve(&ExactTransport::new(), &a, &b, &closure)?, solve(&ExactTransport::new(), &a, &b, &matrix)?];
    assert_eq!(one.certificate(), other.certificate());
    // A point that occurs on both sides has distance zero, whatever its number of coordinates.
    let cloud = cloud(&mut random, 25, 6, 0.0);
    let identity = solve(&ExactTransport::new(), &cloud, &cloud, &Euclidean)?;
    assert_eq!(identity.certificate().primal, 0.0);
    assert_eq!(identity.plan().marginal(Side::Source).len(), cloud.weights().unwrap().len());
    Ok(())
}
