//! Extensions as third parties write them: each of the modules uses `ot_core` alone. Here they are
//! solved with.
mod backend;
mod cost;
mod low_rank_kernel;
pub mod penalty;
mod regularizer;

use std::sync::Arc;

use ot_conformance::{
    GeometryCase, ReferenceBackend, Seeded, conformance_backend, conformance_cost, conformance_geometry,
    conformance_penalty, conformance_regularizer,
};
use ot_core::{
    Backend, Balanced, CostMatrix, Device, Entropy, Epsilon, Error, Geometry, GeometryBuilder, GroundCost,
    HalfSqEuclidean, Histogram, Host, Kl, MarginalPenalty, Measure, PointCloud, Problem, Range, RecordedRegularizer,
    ReferenceGeometry, Regularizer, Side, Solution, SqEuclidean, SquaredL2, TotalVariation,
};
use ot_solvers::Sinkhorn;

use self::{
    backend::SerialBackend, cost::Charbonnier, low_rank_kernel::LowRankGeometry, penalty::Burg, regularizer::Tsallis,
};
use crate::support::{self, Penalty, SIDES, cloud, cpu, penalty};

/// Numbers in [0, 1).
fn uniform(seed: u64, count: usize) -> Vec<f64> {
    Seeded::new(seed).vector::<f64>(count, 0.0, 1.0)
}

fn solve<D: Device>(problem: &Problem<D>) -> Solution<D> {
    let solution = Sinkhorn::new().tolerance(1e-11).solve(problem).unwrap();
    assert!(solution.status().is_converged(), "{}: {:?}", solution.status(), solution.certificate());
    solution
}

/// Both potentials of a balanced solve between two clouds.
fn potentials<D: Device<Elem = f64>>(
    builder: &dyn GeometryBuilder<Device = D>,
    cost: &dyn GroundCost,
) -> [Vec<f64>; 2] {
    let (source, target) = (cloud(1, 23, 0.0, 1.0), cloud(5, 31, 0.0, 1.0));
    let geometry = builder.geometry(source.support(), target.support(), cost).unwrap();
    let solution = solve(&Problem::new(geometry, &source, &target, Epsilon::RelativeToMean(0.05)).unwrap());
    SIDES.map(|side| solution.potential(side).unwrap())
}

fn largest_difference(left: &[Vec<f64>; 2], right: &[Vec<f64>; 2]) -> f64 {
    support::largest_difference(&left.concat(), &right.concat())
}

mod a_cost {
    use super::*;

    const COST: Charbonnier = Charbonnier { width: 0.3 };

    conformance_cost!(properties, COST);

    fn value(x: &[f64], y: &[f64]) -> f64 {
        let mut value = [f64::NAN];
        COST.costs_f64(x, y, &mut value);
        value[0]
    }

    #[test]
    fn has_the_derivatives_of_its_formula() {
        let step = 1e-5;
        for seed in 0..8 {
            let point = uniform(40 + seed, 6);
            let direction: Vec<f64> = uniform(60 + seed, 6).iter().map(|u| u - 0.5).collect();
            let moved = |t: f64| point.iter().zip(&direction).map(|(z, d)| z + t * d).collect::<Vec<_>>();
            let gradient = |z: &[f64]| {
                let mut gradient = [f64::NAN; 6];
                assert!(COST.gradient(&z[..3], &z[3..], &mut gradient));
                gradient
            };
            let (ahead, behind) = (moved(step), moved(-step));
            let difference = (value(&ahead[..3], &ahead[3..]) - value(&behind[..3], &behind[3..])) / (2.0 * step);
            let slope: f64 = gradient(&point).iter().zip(&direction).map(|(g, d)| g * d).sum();
            assert!((slope - difference).abs() < 1e-9, "{slope} and {difference}");

            let mut curvature = [f64::NAN; 6];
            assert!(COST.second_derivative(&point[..3], &point[3..], &direction, &mut curvature));
            for (axis, curvature) in curvature.into_iter().enumerate() {
                let difference = (gradient(&ahead)[axis] - gradient(&behind)[axis]) / (2.0 * step);
                assert!((curvature - difference).abs() < 1e-8, "{curvature} and {difference}");
            }
        }
    }

    #[test]
    fn is_its_recorded_program() {
        let program = GroundCost::program(&COST, 3).unwrap().unwrap();
        for seed in 0..8 {
            let point = uniform(80 + seed, 6);
            assert_eq!(program.evaluate(&point).unwrap(), [value(&point[..3], &point[3..])]);
        }
    }

    #[test]
    fn solves_on_every_backend() {
        let reference = potentials(&SerialBackend, &COST);
        let cpu = cpu(2);
        let streaming = cpu.clone().with_dense_limit(0);
        assert!(largest_difference(&potentials(&cpu, &COST), &reference) < 1e-11);
        assert!(largest_difference(&potentials(&streaming, &COST), &reference) < 1e-11);
        let by_closure = ot_core::CostFunction::new(|x: &[f64], y: &[f64]| value(x, y));
        assert!(largest_difference(&potentials(&SerialBackend, &by_closure), &reference) < 1e-14);
    }

    /// c = |x - y|^2 / 2 + O(1 / width^2).
    #[test]
    fn tends_to_half_the_square() {
        let wide = potentials(&SerialBackend, &Charbonnier { width: 1e4 });
        let difference = largest_difference(&wide, &potentials(&SerialBackend, &HalfSqEuclidean));
        assert!(difference < 1e-8, "{difference}");
        let narrow = potentials(&SerialBackend, &Charbonnier { width: 1.0 });
        assert!(largest_difference(&narrow, &wide) > 1e-3);
    }
}

mod a_penalty {
    use super::*;

    /// The zero of an increasing function between two bounds.
    fn zero(mut low: f64, mut high: f64, increasing: impl Fn(f64) -> f64) -> f64 {
        for _ in 0..200 {
            let middle = 0.5 * (low + high);
            if increasing(middle) > 0.0 { high = middle } else { low = middle }
        }
        0.5 * (low + high)
    }

    conformance_penalty!(strong_penalty, Burg { rho: 30.0 });
    conformance_penalty!(weak_penalty, Burg { rho: 0.05 });

    #[test]
    fn steps_to_the_argmax_to_rounding() {
        for rho in [1e-3, 0.2, 1.0, 50.0, 1e4] {
            let burg = Burg { rho };
            for epsilon in [1e-3, 0.05, 1.0, 30.0] {
                for s in [-1e5, -70.0, -1.0, -0.3, -1e-3, 0.0, 1e-6, 0.02, 1.0, 9.0, 400.0, 1e5] {
                    let log_density = |f: f64| (1.0 / (1.0 + f / rho).max(1.0 / Burg::CAP)).ln();
                    let optimal = zero(-2e5, 2e5, |f| (f - s) / epsilon - log_density(f));
                    let stepped = burg.step(s, epsilon);
                    let tolerance = 1e-14 * (s.abs() + rho + epsilon);
                    assert!((stepped - optimal).abs() <= tolerance, "{rho} {epsilon} {s}: {stepped}, not {optimal}");
                }
            }
        }
    }

    #[test]
    fn has_the_conjugate_of_its_value() {
        let burg = Burg { rho: 0.7 };
        for potential in [-0.6, -0.2, 0.0, 0.4, 5.0_f64] {
            let [low, high] = burg.conjugate_subdifferential(potential, 0.1);
            assert_eq!(low, high);
            // Fenchel-Young: phi(r) + phi*(q) = q r exactly at the density of the subdifferential.
            let excess = |r: f64| burg.value(r) + burg.conjugate(-potential) + potential * r;
            assert!(excess(low).abs() < 1e-14);
            assert!(excess(1.1 * low) > 1e-4 && excess(0.9 * low) > 1e-4);
        }
    }

    /// Masses a and b a distance apart: the plan is one number m, and the objective
    /// m c + epsilon (m log(m / ab) - m + ab) + a phi(m / a) + b psi(m / b) is minimal where its
    /// derivative is zero.
    #[test]
    fn moves_the_mass_of_two_diracs_that_is_optimal() {
        let (a, b, cost, rho, epsilon) = (0.8, 2.5, 1.7_f64, 0.6, 0.1);
        let source = PointCloud::new(vec![0.0], 1, vec![a]).unwrap();
        let target = PointCloud::new(vec![cost.sqrt()], 1, vec![b]).unwrap();
        let backend = cpu(1);
        let geometry = backend.geometry(source.support(), target.support(), &SqEuclidean).unwrap();
        let (one, other, epsilon_rule) = (Burg { rho }, Burg { rho: 2.0 * rho }, Epsilon::Absolute(epsilon));
        let problem = Problem::unbalanced(geometry, &source, &target, epsilon_rule, &one, &other).unwrap();
        let solution = solve(&problem);

        let slope = |m: f64| cost + epsilon * (m / (a * b)).ln() + rho * (1.0 - a / m) + 2.0 * rho * (1.0 - b / m);
        let mass = zero(1e-9, 10.0, slope);
        let (phi, psi) = (|r: f64| rho * (r - 1.0 - r.ln()), |r: f64| 2.0 * rho * (r - 1.0 - r.ln()));
        let entropy = epsilon * (mass * (mass / (a * b)).ln() - mass + a * b);
        let optimum = mass * cost + entropy + a * phi(mass / a) + b * psi(mass / b);
        let certificate = solution.certificate();
        assert!((certificate.mass - mass).abs() < 1e-10, "{} instead of {mass}", certificate.mass);
        assert!((certificate.dual - optimum).abs() < 1e-10 && certificate.gap < 1e-10, "{certificate:?}");
    }

    /// The objective of the dense plan, written out, meets the dual, written out.
    #[test]
    fn closes_the_gap_beside_any_other_penalty() {
        let (source, target) = (cloud(11, 9, 0.0, 1.0), cloud(13, 12, 0.0, 1.0));
        let heavy = PointCloud::new(
            target.points().coordinates().to_vec(),
            2,
            target.weights_view().values().iter().map(|weight| 1.5 * weight).collect::<Vec<_>>(),
        )
        .unwrap();
        let (rho, epsilon) = (0.4, 0.03);
        let others = [
            penalty(Balanced),
            penalty(Kl::new(0.5).unwrap()),
            penalty(TotalVariation::new(0.5).unwrap()),
            penalty(Burg { rho: 2.0 }),
        ];
        let backend = Arc::new(SerialBackend);
        let reference = ReferenceGeometry::new(backend, source.support(), heavy.support(), &SqEuclidean).unwrap();
        for other in others {
            let (geometry, epsilon_rule) = (Arc::new(reference.clone()), Epsilon::Absolute(epsilon));
            let problem = Problem::unbalanced(geometry, &source, &heavy, epsilon_rule, &Burg { rho }, &other).unwrap();
            let solution = solve(&problem);

            let (a, b) = (source.weights_view().column(0), heavy.weights_view().column(0));
            let plan = solution.plan().unwrap().to_dense(0).unwrap();
            let [f, g] = SIDES.map(|side| solution.potential(side).unwrap());
            let (mut primal, mut dual) = (0.0, 0.0);
            for (i, a) in a.iter().enumerate() {
                let row = &plan[i * b.len()..][..b.len()];
                for (j, (mass, b)) in row.iter().zip(b).enumerate() {
                    let entropy = mass * (mass / (a * b)).ln() - mass + a * b;
                    primal += mass * reference.cost(i, j) + epsilon * entropy;
                    dual -= epsilon * (mass - a * b);
                }
                let density = row.iter().sum::<f64>() / a;
                primal += a * rho * (density - 1.0 - density.ln());
                dual += a * rho * (1.0 + f[i] / rho).ln();
            }
            for (j, b) in b.iter().enumerate() {
                let density = plan.iter().skip(j).step_by(g.len()).sum::<f64>() / b;
                primal += b * MarginalPenalty::value(&other, density);
                dual -= b * MarginalPenalty::conjugate(&other, -g[j]);
            }
            assert!((primal - dual).abs() < 1e-9, "{other:?}: primal {primal}, dual {dual}");
            assert!((dual - solution.certificate().dual).abs() < 1e-12, "{other:?}");
        }
    }
}

mod a_low_rank_kernel {
    use super::*;

    const EPSILON: f64 = 0.4;
    const RANK: usize = 6;

    fn factors() -> [Vec<f64>; 2] {
        let positive = |seed, len| uniform(seed, len * RANK).into_iter().map(|entry| 0.05 + entry).collect();
        [positive(21, 17), positive(22, 25)]
    }

    fn geometry(backend: impl Backend<Host<f64>> + 'static) -> Arc<dyn Geometry<Host<f64>>> {
        Arc::new(LowRankGeometry::new(Arc::new(backend), EPSILON, factors(), RANK))
    }

    /// -epsilon log(U V^T), entry by entry.
    fn costs() -> Vec<f64> {
        let [source, target] = factors();
        let entry = |u: &[f64], v: &[f64]| -EPSILON * u.iter().zip(v).map(|(u, v)| u * v).sum::<f64>().ln();
        source.chunks(RANK).flat_map(|u| target.chunks(RANK).map(move |v| entry(u, v))).collect()
    }

    /// Two histograms against one, with an atom of weight zero.
    fn measures() -> [Histogram<'static, f64>; 2] {
        let mut weights = uniform(23, 2 * 17);
        weights[3] = 0.0;
        let one = Histogram::new(uniform(24, 25)).unwrap().normalized();
        [Histogram::batch(weights, 2).unwrap().normalized(), one]
    }

    #[test]
    fn solves_like_its_explicit_cost() {
        let [source, target] = measures();
        let cost = CostMatrix::new(costs(), 17, 25).unwrap();
        let backend = cpu(2);
        let dense = backend.geometry(source.support(), target.support(), &cost).unwrap();
        let solve = |geometry| {
            let problem = Problem::new(geometry, &source, &target, Epsilon::Absolute(EPSILON)).unwrap();
            let solution = solve(&problem);
            let duals = SIDES.map(|side| solution.potential(side).unwrap());
            let values: Vec<f64> = uniform(25, 2 * 25).iter().map(|value| value - 0.5).collect();
            let applied = solution.plan().unwrap().apply(Side::Source, &values).unwrap();
            let adjoint = solution.plan().unwrap().marginal(Side::Target).unwrap();
            (solution, duals, [applied, adjoint])
        };
        let (thin, thin_duals, thin_plan) = solve(geometry(backend));
        let (dense, dense_duals, dense_plan) = solve(dense);
        assert!(largest_difference(&thin_duals, &dense_duals) < 1e-11);
        assert!(largest_difference(&thin_plan, &dense_plan) < 1e-12);
        for (thin, dense) in thin.certificates().iter().zip(dense.certificates()) {
            assert!(thin.transport_cost.is_none() && dense.transport_cost.is_some());
            assert!((thin.dual - dense.dual).abs() < 1e-12);
            // The bound of the cost alone certifies the primal.
            assert!(thin.gap < 1e-9 && thin.primal >= thin.dual, "{thin:?}");
        }
        let missing = Some(Error::MissingCapability("transport cost"));
        assert_eq!(thin.plan().unwrap().transport_cost().err(), missing);
    }

    fn cases() -> Result<Vec<GeometryCase<Host<f64>>>, Error> {
        Ok(vec![GeometryCase::new("low rank", geometry(SerialBackend), costs())?])
    }

    conformance_geometry!(properties, cases());

    #[test]
    fn refuses_another_epsilon_before_the_solve() {
        let [source, target] = measures();
        let problem = |epsilon| Problem::new(geometry(SerialBackend), &source, &target, epsilon);
        let refused = Error::FixedEpsilon { fixed: EPSILON, requested: 0.2 };
        assert_eq!(problem(Epsilon::Absolute(0.2)).err(), Some(refused.clone()));
        assert!(matches!(problem(Epsilon::RelativeToMean(0.05)), Err(Error::MissingCapability(_))));
        assert!(matches!(problem(Epsilon::Blur(0.3)), Err(Error::EpsilonRule { .. })));
        assert_eq!(problem(Epsilon::Absolute(EPSILON)).unwrap().with_epsilon(0.2).err(), Some(refused));
    }
}

mod a_backend {
    use super::*;

    conformance_backend!(properties, SerialBackend, [Points, Indices]);

    #[test]
    fn solves_like_all_others() {
        let mine = potentials(&SerialBackend, &SqEuclidean);
        assert!(largest_difference(&mine, &potentials(&ReferenceBackend::<f64>::default(), &SqEuclidean)) < 1e-12);
        assert!(largest_difference(&mine, &potentials(&cpu(2), &SqEuclidean)) < 1e-11);
    }

    #[test]
    fn solves_a_batch_like_its_columns() {
        let (source, target) = (cloud(31, 14, 0.0, 1.0), cloud(33, 11, 0.0, 1.0));
        let coordinates = source.points().coordinates().to_vec();
        let weights: Vec<f64> = uniform(35, 3 * 14).iter().map(|weight| weight + 0.05).collect();
        let batch = PointCloud::batch(coordinates.clone(), 2, weights, 3).unwrap().normalized();
        let geometry = SerialBackend.geometry(batch.support(), target.support(), &SqEuclidean).unwrap();
        let problem = |source: &PointCloud<'_, f64>| {
            Problem::new(Arc::clone(&geometry), source, &target, Epsilon::Absolute(0.02)).unwrap()
        };
        let together = solve(&problem(&batch));
        for column in 0..3 {
            let weights = batch.weights_view().column(column).to_vec();
            let alone = solve(&problem(&PointCloud::new(coordinates.clone(), 2, weights).unwrap()));
            for side in SIDES {
                let (all, one) = (together.potential(side).unwrap(), alone.potential(side).unwrap());
                let of_column = &all[column * one.len()..][..one.len()];
                let difference = of_column.iter().zip(&one).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                assert!(difference < 1e-11, "column {column}: {difference}");
            }
        }
    }
}

mod a_plan_regularizer {
    use super::*;

    /// The problem of a regularizer between two clouds.
    fn problem<D: Device<Elem = f64>>(
        builder: &dyn GeometryBuilder<Device = D>,
        regularizer: &impl Regularizer,
        penalties: [Penalty; 2],
        epsilon: f64,
    ) -> Problem<D> {
        let clouds = [&cloud(1, 23, 0.0, 1.0), &cloud(5, 31, 0.0, 1.0)];
        let problem = support::relaxed(builder, clouds, &SqEuclidean, Epsilon::Absolute(epsilon), penalties);
        problem.with_regularizer(regularizer).unwrap()
    }

    fn balanced() -> [Penalty; 2] {
        [penalty(Balanced), penalty(Balanced)]
    }

    conformance_regularizer!(order_three_halves, Tsallis { order: 1.5 });
    conformance_regularizer!(order_two, Tsallis { order: 2.0 });

    /// h'(h*'(z)) = z where there is mass, h + h* = z p there, and the formulas are those of the limits.
    #[test]
    fn is_three_formulas_that_agree() {
        for order in [1.25, 1.5, 2.0] {
            let programs = RecordedRegularizer::new(&Tsallis { order }).unwrap();
            for exponent in [-1.0 / (order - 1.0) - 1.0, -0.5, 0.0, 0.7, 4.0] {
                let [density, slope] = programs.density_and_slope_at(exponent);
                assert_eq!(density == 0.0, exponent <= programs.slope_at_zero());
                if density > 0.0 {
                    assert!((programs.slope_at(density) - exponent).abs() < 1e-12);
                    let difference = programs.density_at(exponent + 1e-6) - programs.density_at(exponent - 1e-6);
                    assert!((difference / 2e-6 - slope).abs() < 1e-7);
                }
                assert!(programs.fenchel_gap_at(density, exponent) < 1e-12, "{order} {exponent}");
                assert!(programs.fenchel_gap_at(density + 0.1, exponent) > 1e-4);
            }
        }
    }

    /// Order 2 is h(p) = p^2 - p: squares of twice the strength, and a constant where the mass is given.
    #[test]
    fn of_order_two_is_squares() {
        let backend = cpu(2);
        let plan = |solution: Solution<Host<f64>>| solution.plan().unwrap().to_dense(0).unwrap();
        let squares = solve(&problem(&backend, &SquaredL2, balanced(), 0.06));
        let tsallis = solve(&problem(&backend, &Tsallis { order: 2.0 }, balanced(), 0.03));
        assert!((squares.certificate().primal - tsallis.certificate().primal - 0.03).abs() < 1e-9);
        for (found, expected) in plan(tsallis).iter().zip(plan(squares)) {
            assert!((found - expected).abs() < 1e-9);
        }
    }

    /// Orders that fall to 1 are entropy.
    #[test]
    fn tends_to_entropy() {
        let backend = cpu(2);
        let primal = |regularizer: RecordedRegularizer| {
            let problem = problem(&backend, &regularizer, balanced(), 0.1);
            // h(p) = (p^q - p) / (q - 1) tends to p log p, which is entropy less 1 - p.
            solve(&problem).certificate().primal
        };
        let entropy = primal(Entropy.recorded().unwrap());
        let [far, near] = [1.1, 1.01].map(|order| (primal(Tsallis { order }.recorded().unwrap()) - entropy).abs());
        assert!(near < 0.15 * far && near < 2e-3, "{far} {near}");
    }

    /// The same plan on every geometry, under every penalty, with zeros and a certificate.
    #[test]
    fn is_solved_with_like_any_other() {
        let penalties = [
            penalty(Balanced),
            penalty(Kl::new(0.5).unwrap()),
            penalty(TotalVariation::new(0.3).unwrap()),
            penalty(Range::new(0.7, 1.2).unwrap()),
            penalty(Burg { rho: 2.0 }),
        ];
        let dense = cpu(2);
        let streaming = cpu(1).with_dense_limit(0);
        for (first, second) in [(0, 0), (1, 1), (1, 2), (3, 4), (4, 0)] {
            let pair = || [penalties[first].clone(), penalties[second].clone()];
            let tsallis = Tsallis { order: 1.5 };
            let solution = solve(&problem(&dense, &tsallis, pair(), 0.02));
            assert!(solution.certificate().gap < 1e-9, "{:?}", solution.certificate());
            let mut plan = solution.plan().unwrap();
            let zeros = plan.to_dense(0).unwrap().iter().filter(|mass| **mass == 0.0).count();
            assert!(zeros > 200 && zeros + plan.nonzeros(0, 23 * 31).unwrap().len() == 23 * 31, "{zeros}");
            let reference = solve(&problem(&SerialBackend, &tsallis, pair(), 0.02));
            let streamed = solve(&problem(&streaming, &tsallis, pair(), 0.02));
            for other in [reference.certificate(), streamed.certificate()] {
                assert!((other.primal - solution.certificate().primal).abs() < 1e-9);
            }
        }
    }

    /// A geometry that has kernels of entropy alone says so, and what holds of entropy alone refuses others.
    #[test]
    fn is_refused_where_there_is_none() {
        let epsilon = Epsilon::Absolute(0.4);
        let factors = [vec![0.5; 3], vec![0.5; 3]];
        let geometry = Arc::new(LowRankGeometry::new(Arc::new(SerialBackend), 0.4, factors, 1));
        let weights = Histogram::new(vec![1.0 / 3.0; 3]).unwrap();
        let problem = Problem::new(geometry, &weights, &weights, epsilon).unwrap();
        assert!(problem.require_entropy().is_ok() && problem.bind().is_ok());
        let problem = problem.with_regularizer(&Tsallis { order: 1.5 }).unwrap();
        assert!(matches!(problem.bind(), Err(Error::MissingCapability(_))));
        assert!(problem.require_entropy().is_err());
    }
}
