//! Newton's method beside squares: agreement with the ascent of the dual, and what it never breaks on.

use ot_conformance::Seeded;
use ot_core::{
    Balanced, CostMatrix, Epsilon, Error, GeometryBuilder, Histogram, Host, Kl, Measure, Phase, PointCloud, Problem,
    Progress, Real, Regularizer, RegularizerKind, Side, Solution, SqEuclidean, SquaredL2, Status, TotalVariation,
};
use ot_cpu::CpuBackend;
use ot_solvers::{DualAscent, ExactTransport, Newton, NewtonReport, Start};

use super::support::*;
use crate::support::{Penalty, SIDES, assert_close, backends, cloud, cpu, largest_difference, normalized, penalty};

/// Solved by Newton's method, from nothing or from potentials of zero at the epsilon of the problem.
fn newton(problem: &Problem<Host<f64>>, tolerance: f64, from_zero: bool) -> (Solution<Host<f64>>, NewtonReport) {
    let (solver, [n, m]) = (Newton::new().tolerance(tolerance), SIDES.map(|side| problem.marginal(side).len()));
    let start = match from_zero {
        true => Start::Host { source: vec![0.0; n], target: vec![0.0; m] },
        false => Start::Zero,
    };
    let (solution, report) = solver.run(problem).start(start).solve_with_report().unwrap();
    assert!(solution.status().is_converged(), "{}: {:?} {report:?}", solution.status(), solution.certificate());
    (solution, report)
}

fn ascent(problem: &Problem<Host<f64>>, tolerance: f64) -> Solution<Host<f64>> {
    let solution = DualAscent::new().tolerance(tolerance).max_iterations(20_000).solve(problem).unwrap();
    assert!(solution.status().is_converged(), "{}: {:?}", solution.status(), solution.certificate());
    solution
}

/// Both have one plan, and a small gap around one value.
fn assert_agree(found: &Solution<Host<f64>>, expected: &Solution<Host<f64>>, name: &str) {
    let (one, other) = (found.certificate(), expected.certificate());
    assert!(one.gap >= 0.0 && one.gap < 1e-6, "{name}: {one:?}");
    assert!((one.dual - other.dual).abs() < 1e-7 * (1.0 + other.dual.abs()), "{name}: {} {}", one.dual, other.dual);
    let [found, expected] = [found, expected].map(|solution| solution.plan().unwrap().to_dense(0).unwrap());
    let difference: f64 = found.iter().zip(&expected).map(|(one, other)| (one - other).abs()).sum();
    assert!(difference < 1e-5, "{name}: {difference}");
}

/// A problem of a matrix of costs.
fn of_matrix(cost: Vec<f64>, a: &[f64], b: &[f64], epsilon: f64) -> Problem<Host<f64>> {
    let cost = CostMatrix::new(cost, a.len(), b.len()).unwrap();
    let (a, b) = (Histogram::new(a).unwrap(), Histogram::new(b).unwrap());
    let geometry = cpu(1).geometry(a.support(), b.support(), &cost).unwrap();
    Problem::new(geometry, &a, &b, Epsilon::Absolute(epsilon)).unwrap().with_regularizer(&SquaredL2).unwrap()
}

#[test]
fn newton_and_the_ascent_have_one_plan() {
    let (a, b) = (cloud(1, 40, 0.0, 1.0), cloud(2, 33, 0.3, 1.0));
    let kl = |rho: f64| penalty(Kl::new(rho).unwrap());
    for penalties in [
        [penalty(Balanced), penalty(Balanced)],
        [kl(0.4), kl(0.4)],
        [penalty(Balanced), kl(0.1)],
        [kl(2.0), penalty(Balanced)],
    ] {
        for epsilon in [1.0, 0.1, 0.01, 1e-3, 1e-4] {
            for backend in backends(1) {
                let problem = problem(&backend, [&a, &b], epsilon, penalties.clone(), &SquaredL2);
                let expected = ascent(&problem, 1e-9);
                for from_zero in [false, true] {
                    let (found, report) = newton(&problem, 1e-9, from_zero);
                    assert_agree(&found, &expected, &format!("{penalties:?} {epsilon} {report:?}"));
                }
            }
        }
    }
}

#[test]
fn small_epsilon_is_near_the_exact_cost_in_few_passes() {
    let n = 60;
    let mut random = Seeded::new(3);
    let random_costs = random.vector::<f64>(n * n, 0.0, 1.0);
    let line: Vec<f64> = (0..n * n).map(|pair| ((pair / n) as f64 - (pair % n) as f64).powi(2) / 3481.0).collect();
    let uniform = vec![1.0 / n as f64; n];
    let weighted = normalized(random.vector::<f64>(n, 0.05, 1.0));
    for cost in [random_costs, line] {
        for weights in [&uniform, &weighted] {
            for epsilon in [1e-3, 1e-4, 1e-5, 1e-6] {
                let problem = of_matrix(cost.clone(), weights, &uniform, epsilon);
                let (solution, report) = newton(&problem, 1e-9, false);
                assert!(report.passes() <= 60, "{epsilon} {report:?}");
                let matrix = CostMatrix::new(cost.clone(), n, n).unwrap();
                let (a, b) = (Histogram::new(weights).unwrap(), Histogram::new(&uniform).unwrap());
                let exact = ExactTransport::new().solve(&cpu(1), &a, &b, &matrix).unwrap();
                // The square of the exact plan's densities is at most 1 / min(a, b) of them.
                let least = weights.iter().chain(&uniform).copied().fold(f64::INFINITY, f64::min);
                let highest = exact.certificate().primal + epsilon / (2.0 * least) + 1e-8;
                let found = solution.certificate().transport_cost.unwrap();
                assert!((exact.certificate().primal - 1e-8..=highest).contains(&found), "{epsilon}: {found}");
            }
        }
    }
}

#[test]
fn hard_cases_end_certified() {
    let mut random = Seeded::new(9);
    let n = 30;
    let line: Vec<f64> = (0..n * n).map(|pair| ((pair / n) as f64 - (pair % n) as f64).powi(2) / 841.0).collect();
    let uniform = vec![1.0 / n as f64; n];
    let decades = normalized((0..n).map(|i| 10.0_f64.powf(-12.0 * i as f64 / n as f64)).collect());
    let some_zero = normalized((0..n).map(|i| if i % 3 == 0 { 0.0 } else { random.uniform(0.1, 1.0) }).collect());
    let split: Vec<f64> = line
        .iter()
        .enumerate()
        .map(|(pair, cost)| cost + if (pair / n < n / 2) == (pair % n < n / 2) { 0.0 } else { 1.0 })
        .collect();
    let forbidden: Vec<f64> = line
        .iter()
        .enumerate()
        .map(|(pair, cost)| if (pair / n).abs_diff(pair % n) % 4 == 3 { f64::INFINITY } else { *cost })
        .collect();
    let duplicates: Vec<f64> = (0..n * n).map(|pair| line[(pair / n / 3 * 3) * n + pair % n / 3 * 3]).collect();
    let cases = [
        ("permutation", &line, &uniform, &uniform),
        ("twelve decades", &line, &decades, &uniform),
        ("twelve decades of the target", &line, &uniform, &decades),
        ("both", &line, &decades, &decades),
        ("zeros", &line, &some_zero, &some_zero),
        ("clusters", &split, &uniform, &uniform),
        ("forbidden", &forbidden, &uniform, &uniform),
        ("duplicates", &duplicates, &some_zero, &uniform),
    ];
    for (name, cost, a, b) in cases {
        for epsilon in [1e-1, 1e-2, 1e-3, 1e-4, 1e-5] {
            let problem = of_matrix(cost.clone(), a, b, epsilon);
            for from_zero in [false, true] {
                println!("{name} {epsilon} {from_zero}");
                newton(&problem, 1e-9, from_zero);
            }
        }
    }
    for (a, b) in [(vec![1.0], uniform.clone()), (uniform.clone(), vec![1.0]), (vec![1.0], vec![1.0])] {
        let (solution, _) = newton(&of_matrix(line[..a.len() * b.len()].to_vec(), &a, &b, 1e-4), 1e-9, true);
        let cost: f64 = a.iter().flat_map(|a| b.iter().map(move |b| a * b)).zip(&line).map(|(p, c)| p * c).sum();
        assert_close(solution.certificate().transport_cost.unwrap(), cost, 1e-12);
    }
}

#[test]
fn no_plan_is_an_error_that_names_the_cut() {
    // The first source reaches the first target alone, which has less mass.
    let cost = vec![0.0, f64::INFINITY, 1.0, 0.0];
    let problem = of_matrix(cost, &[0.6, 0.4], &[0.3, 0.7], 1e-4);
    let found = Newton::new().solve(&problem);
    assert!(matches!(found, Err(Error::Infeasible { .. })), "{found:?}");
}

#[test]
fn exact_potentials_and_those_of_another_epsilon_are_starts() {
    let (a, b) = (cloud(4, 60, 0.0, 1.0), cloud(5, 50, 0.2, 1.0));
    let backend = cpu(1);
    let exact = ExactTransport::new().solve(&backend, &a, &b, &SqEuclidean).unwrap();
    let [source, target] = SIDES.map(|side| exact.potential(side).to_vec());
    let solver = Newton::new().tolerance(1e-9);
    let at = |epsilon| balanced(&backend, [&a, &b], epsilon);
    let warm = newton(&at(1e-3), 1e-9, false).0;
    for epsilon in [1e-3, 1e-4, 1e-5] {
        let (problem, expected) = (at(epsilon), newton(&at(epsilon), 1e-9, false).0);
        let start = Start::Host { source: source.clone(), target: target.clone() };
        for start in [start, Start::Warm(warm.potentials())] {
            let (solution, report) = solver.run(&problem).start(start).solve_with_report().unwrap();
            assert!(solution.status().is_converged() && report.start_iterations == 0, "{epsilon}: {report:?}");
            assert!(report.passes() <= 40, "{epsilon}: {report:?}");
            assert_agree(&solution, &expected, &format!("{epsilon}"));
        }
    }
}

#[test]
fn one_bit_pattern_whatever_the_threads_and_a_batch_is_its_columns() {
    let n = 40;
    let mut random = Seeded::new(8);
    let x = random.vector::<f64>(2 * n, 0.0, 1.0);
    let columns: Vec<Vec<f64>> = (0..2).map(|_| normalized(random.vector::<f64>(n, 0.0, 1.0))).collect();
    let source = PointCloud::uniform(x.clone(), 2).unwrap();
    let solve = |threads: usize, columns: &[Vec<f64>]| {
        let batch = PointCloud::batch(x.clone(), 2, columns.concat(), columns.len()).unwrap();
        let geometry = cpu(threads).geometry(source.support(), batch.support(), &SqEuclidean).unwrap();
        let problem = Problem::new(geometry, &source, &batch, Epsilon::Absolute(1e-4)).unwrap();
        let solution = Newton::new().tolerance(1e-10).solve(&problem.with_regularizer(&SquaredL2).unwrap()).unwrap();
        assert!(solution.statuses().iter().all(|status| status.is_converged()));
        SIDES.map(|side| solution.potential(side).unwrap())
    };
    let together = solve(1, &columns);
    assert!(together == solve(2, &columns) && together == solve(5, &columns));
    for (column, own) in columns.iter().enumerate() {
        let alone = solve(1, std::slice::from_ref(own));
        assert!(largest_difference(&together[1][column * n..][..n], &alone[1]) < 1e-9);
    }
}

#[test]
fn single_precision_meets_its_tolerance() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let mut random = Seeded::new(10);
    let mut points = || PointCloud::uniform(random.elements::<f32>(80, 0.0, 1.0), 2).unwrap();
    let (a, b) = (points(), points());
    let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
    for epsilon in [1e-1, 1e-3, 1e-4] {
        let problem = Problem::new(geometry.clone(), &a, &b, Epsilon::Absolute(epsilon)).unwrap();
        let solution = Newton::new().solve(&problem.with_regularizer(&SquaredL2).unwrap()).unwrap();
        let (status, certificate) = (solution.status(), solution.certificate());
        assert!(certificate.marginal_error <= 1e-4, "{epsilon}: {certificate:?}");
        assert!(matches!(status, Status::Converged | Status::PrecisionLimit { .. }), "{epsilon}: {status}");
    }
}

/// Tsallis entropy of order 3/2: h(p) = 2 (p^(3/2) - p), p = ((z + 2) / 3)^2 above z = -2.
#[derive(Clone, Debug)]
struct Tsallis;

impl Regularizer for Tsallis {
    fn value<R: Real>(&self, density: R) -> R {
        2.0 * (density.power(1.5) - density)
    }
    fn conjugate<R: Real>(&self, exponent: R) -> R {
        ((exponent + 2.0) / 3.0).max(0.0).power(3.0)
    }
    fn density<R: Real>(&self, exponent: R) -> R {
        ((exponent + 2.0) / 3.0).max(0.0).power(2.0)
    }
}

/// Entropy by its formulas alone.
#[derive(Clone, Debug)]
struct Unnamed;

impl Regularizer for Unnamed {
    fn kind(&self) -> RegularizerKind {
        RegularizerKind::Other
    }
    fn value<R: Real>(&self, density: R) -> R {
        density * density.ln() - density + 1.0
    }
    fn conjugate<R: Real>(&self, exponent: R) -> R {
        exponent.min(80.0).exp() - 1.0
    }
    fn density<R: Real>(&self, exponent: R) -> R {
        exponent.min(80.0).exp()
    }
}

#[test]
fn a_regularizer_of_ones_own_with_zeros_is_taken() {
    let (a, b) = (cloud(1, 30, 0.0, 1.0), cloud(2, 23, 0.3, 1.0));
    let pair = || -> [Penalty; 2] { [penalty(Balanced), penalty(Balanced)] };
    for epsilon in [0.1, 0.01, 1e-3] {
        let problem = problem(&cpu(1), [&a, &b], epsilon, pair(), &Tsallis);
        let expected = ascent(&problem, 1e-8);
        assert_agree(&newton(&problem, 1e-8, true).0, &expected, &format!("{epsilon}"));
    }
    let without_zeros = problem(&cpu(1), [&a, &b], 0.1, pair(), &Unnamed);
    assert!(matches!(Newton::new().solve(&without_zeros), Err(Error::MissingCapability(_))));
    let kinked = [penalty(TotalVariation::new(0.5).unwrap()), penalty(Balanced)];
    let kinked = problem(&cpu(1), [&a, &b], 0.1, kinked, &SquaredL2);
    assert!(matches!(Newton::new().solve(&kinked), Err(Error::MissingCapability(_))));
}

#[test]
fn an_observer_hears_of_start_and_passes_and_may_cancel() {
    let (a, b) = (cloud(15, 40, 0.0, 1.0), cloud(16, 40, 0.1, 1.0));
    let problem = balanced(&cpu(1), [&a, &b], 1e-4);
    let mut seen = Vec::new();
    let mut observer = |progress: &Progress| {
        seen.push(*progress);
        std::ops::ControlFlow::Continue(())
    };
    let solution = Newton::new().tolerance(1e-9).run(&problem).observer(&mut observer).solve().unwrap();
    assert_eq!(solution.history(), seen);
    for phase in [Phase::Iterations, Phase::NewtonPasses, Phase::Certificate] {
        assert!(seen.iter().any(|progress| progress.phase == phase));
    }
    assert!(seen.windows(2).all(|pair| pair[0].done <= pair[1].done));
    for allowed in [0, 3, seen.len() as i32 - 3] {
        let mut left = allowed;
        let mut observer = |_: &Progress| {
            left -= 1;
            if left < 0 { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
        };
        let solution = Newton::new().tolerance(1e-9).run(&problem).observer(&mut observer).solve().unwrap();
        assert!(!solution.is_certified() && solution.potential(Side::Source).unwrap().iter().all(|f| f.is_finite()));
    }
}
