//! What breaks others: scales, ties, degeneracy, extreme weights. Each is certified, or refused with a typed error.

use ot_conformance::Seeded;
use ot_core::{CostMatrix, Error, Histogram, PointCloud, SqEuclidean};
use ot_cpu::CpuBackend;
use ot_solvers::{ExactTransport, Guide};

use super::support::{assert_proven, below, solve, solve_matrix};
use crate::support::normalized;

#[test]
fn costs_of_mixed_scale() -> Result<(), Error> {
    for seed in 0..10 {
        let mut random = Seeded::new(seed);
        let (a, b) = (random.weights::<f64>(40, false), random.weights::<f64>(30, false));
        let costs: Vec<f64> = (0..1200).map(|_| 10_f64.powf(16.0 * random.uniform(0.0, 1.0) - 8.0)).collect();
        assert_proven(&solve_matrix(&a, &b, &costs)?);
    }
    Ok(())
}

#[test]
fn whole_costs_with_massive_ties_are_solved_without_rounding() -> Result<(), Error> {
    for seed in 0..10 {
        let mut random = Seeded::new(seed);
        let n = 64;
        let uniform = vec![1.0 / n as f64; n];
        let costs: Vec<f64> = (0..n * n).map(|_| below(&mut random, 3) as f64).collect();
        let solution = solve_matrix(&uniform, &uniform, &costs)?;
        // A permutation: n entries of the same mass.
        assert!(solution.certificate().proves(1e-15), "{:?}", solution.certificate());
        assert_eq!(solution.plan().entries().len(), n);
        assert!(solution.plan().entries().iter().all(|entry| entry.mass == uniform[0]));
    }
    Ok(())
}

#[test]
fn all_costs_equal() -> Result<(), Error> {
    let mut random = Seeded::new(1);
    for cost in [0.0, 7.0, -1e300] {
        let solution =
            solve_matrix(&random.weights::<f64>(50, false), &random.weights::<f64>(80, false), &vec![cost; 4000])?;
        assert_proven(&solution);
        assert!((solution.certificate().primal - cost).abs() <= 1e-14 * cost.abs());
    }
    Ok(())
}

#[test]
fn duplicated_and_collinear_points() -> Result<(), Error> {
    for guide in [Guide::Minima, Guide::Entropic] {
        let settings = ExactTransport::new().guide(guide);
        let mut random = Seeded::new(2);
        let duplicated: Vec<f64> = (0..500).flat_map(|k| [f64::from(k % 5), f64::from(k % 2)]).collect();
        let one_place = vec![1.5; 600];
        let line: Vec<f64> = (0..400).flat_map(|_| [1.0, 2.0].map(|slope| slope * 0.01).map(|s| s * 7.0)).collect();
        let collinear: Vec<f64> = (0..400).map(|_| random.normal()).flat_map(|t| [t, -3.0 * t]).collect();
        let clouds = [duplicated, one_place, line, collinear].map(|points| {
            let len = points.len() / 2;
            PointCloud::new(points, 2, random.weights::<f64>(len, false))
        });
        let clouds = clouds.into_iter().collect::<Result<Vec<_>, _>>()?;
        for (a, b) in clouds.iter().flat_map(|a| clouds.iter().map(move |b| (a, b))) {
            let solution = solve(&settings, a, b, &SqEuclidean)?;
            assert!(solution.certificate().proves(1e-12), "{:?}", solution.certificate());
        }
    }
    Ok(())
}

#[test]
fn one_heavy_atom_and_weights_of_many_decades() -> Result<(), Error> {
    let mut random = Seeded::new(3);
    let costs: Vec<f64> = (0..60 * 45).map(|_| random.uniform(0.0, 1.0)).collect();
    let mut heavy = vec![1e-9; 60];
    heavy[17] = 1.0;
    let decades = |random: &mut Seeded, len: usize| {
        normalized((0..len).map(|_| 10_f64.powf(-12.0 * random.uniform(0.0, 1.0))).collect())
    };
    for a in [normalized(heavy), decades(&mut random, 60)] {
        let b = decades(&mut random, 45);
        let solution = solve_matrix(&a, &b, &costs)?;
        assert_proven(&solution);
        // The lightest atoms have their mass to all digits too.
        for (side, weights) in [(ot_core::Side::Source, &a), (ot_core::Side::Target, &b)] {
            for (found, weight) in solution.plan().marginal(side).iter().zip(weights) {
                assert!((found - weight).abs() <= 1e-14 * weight, "{found} instead of {weight}");
            }
        }
    }
    Ok(())
}

#[test]
fn one_atom_on_a_side_or_on_both() -> Result<(), Error> {
    let solution = solve_matrix(&[2.0], &[2.0], &[-3.0])?;
    assert!(solution.certificate().proves(0.0));
    assert_eq!(solution.certificate().primal, -6.0);
    let b = [0.5, 0.25, 0.25];
    assert_eq!(solve_matrix(&[1.0], &b, &[1.0, 2.0, 4.0])?.certificate().primal, 2.0);
    assert_eq!(solve_matrix(&b, &[1.0], &[1.0, 2.0, 4.0])?.certificate().primal, 2.0);
    Ok(())
}

/// Weights in f32 sum to one in the sixth digit only.
#[test]
fn single_precision_that_sums_to_one_in_the_sixth_digit() -> Result<(), Error> {
    let mut random = Seeded::new(4);
    let weights = |random: &mut Seeded, len: usize, error: f32| {
        let weights = random.weights::<f64>(len, false).into_iter().map(|weight| weight as f32 * (1.0 + error));
        Histogram::new(weights.collect::<Vec<f32>>())
    };
    let costs: Vec<f32> = (0..300 * 200).map(|_| random.uniform(0.0, 1.0) as f32).collect();
    let (a, b) = (weights(&mut random, 300, 3e-6)?, weights(&mut random, 200, -3e-6)?);
    let cost = CostMatrix::new(&costs, 300, 200)?;
    let solution = ExactTransport::new().solve(&CpuBackend::<f32>::new(1)?, &a, &b, &cost)?;
    assert_proven(&solution);
    Ok(())
}

#[test]
fn what_was_asked_wrongly_is_refused() -> Result<(), Error> {
    assert!(matches!(solve_matrix(&[1.0], &[0.5], &[1.0]), Err(Error::MassMismatch { .. })));
    let (a, b) = (Histogram::new(vec![0.5, 0.5])?, Histogram::new(vec![1.0])?);
    let backend = CpuBackend::<f64>::new(1)?;
    let wrong = CostMatrix::new(vec![1.0; 3], 3, 1)?;
    assert!(matches!(ExactTransport::new().solve(&backend, &a, &b, &wrong), Err(Error::Length { .. })));
    let cost = CostMatrix::new(vec![1.0; 2], 2, 1)?;
    for mass in [0.0, -1.0, 1.5, f64::NAN] {
        let refused = ExactTransport::new().mass(mass).solve(&backend, &a, &b, &cost);
        assert!(matches!(refused, Err(Error::Parameter { .. })), "{mass}");
    }
    assert!(matches!(
        ExactTransport::new().solve(&backend, &a, &b, &SqEuclidean),
        Err(Error::UnsupportedSupport { .. })
    ));
    Ok(())
}

#[test]
fn costs_times_masses_beyond_the_range_are_refused_as_what_they_are() -> Result<(), Error> {
    for (mass, cost) in [(2097152.0, 1.1235582092889473e307), (4.393869566503552e99, 7.280097801645832e300)] {
        let found = solve_matrix(&[mass], &[mass], &[cost]);
        assert!(matches!(found, Err(Error::CostOverflow { .. })), "{mass:e} {cost:e}: {found:?}");
        let part = Histogram::new(vec![mass])?;
        let costs = CostMatrix::new(vec![cost], 1, 1)?;
        let found = ExactTransport::new().mass(0.75 * mass).solve(&CpuBackend::<f64>::new(1)?, &part, &part, &costs);
        assert!(matches!(found, Err(Error::CostOverflow { .. })), "{mass:e} {cost:e}: {found:?}");
    }
    // At any size: proven, or refused for its size.
    let mut random = Seeded::new(21);
    let backend = CpuBackend::<f64>::new(1)?;
    let (mut proven, mut refused) = (0, 0);
    for case in 0..4000 {
        let (n, m) = (1 + below(&mut random, 4), 1 + below(&mut random, 4));
        let mass = 10_f64.powf(random.uniform(-300.0, 300.0));
        let size = 10_f64.powf(random.uniform(290.0, 308.2));
        let costs: Vec<f64> =
            (0..n * m).map(|_| size * ((random.uniform(-1.0, 1.0_f64) * 3.0).round() / 3.0)).collect();
        let [a, b] = [n, m].map(|len| vec![mass / len as f64; len]);
        let (source, target) = (Histogram::new(a)?, Histogram::new(b)?);
        let cost = CostMatrix::new(costs, n, m)?;
        let settings = if case % 2 == 0 { ExactTransport::new() } else { ExactTransport::new().mass(0.5 * mass) };
        match settings.solve(&backend, &source, &target, &cost) {
            Ok(solution) => {
                assert!(solution.certificate().proves(1e-9), "{mass:e} {size:e}: {:?}", solution.certificate());
                proven += 1;
            }
            Err(Error::CostOverflow { .. } | Error::SumOverflow { .. }) => refused += 1,
            Err(other) => panic!("{mass:e} {size:e}: {other}"),
        }
    }
    assert!(proven > 500 && refused > 500, "{proven} {refused}");
    Ok(())
}
