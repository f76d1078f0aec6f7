//! Units do not matter: costs and coordinates times powers of two give the answer times the power, to the bit; and where the
//! answer leaves the range of numbers, an error says so.

use std::cmp::Ordering;

use ot_core::{
    Balanced, Certificate, Cosine, CostMatrix, Epsilon, Error, Euclidean, Free, GeometryBuilder, GroundCost, Histogram,
    Host, Kl, Measure, PointCloud, PowerOfDistance, Problem, Range, Scalar, SqEuclidean, SquaredL2, Status,
    TotalVariation,
};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{
    Barycenter, BregmanProjections, DivergenceForm, ExactTransport, MaximumMeanDiscrepancy, Newton, PartialTransport,
    Sinkhorn, SinkhornDivergence, StochasticAveragedGradient, assign, transport,
};

use crate::support::{Penalty, SIDES, assert_close, backends, penalty};

/// Seeded points and weights, the points times 2^exponent.
fn cloud<T: Scalar>(seed: u64, len: usize, exponent: i32, mass: f64) -> PointCloud<'static, T> {
    let plain = crate::support::cloud(seed, len, 0.1 * seed as f64, mass);
    let scaled = |values: &[f64], exponent: i32| -> Vec<T> {
        values.iter().map(|&value| T::from_f64(T::from_f64(value).to_f64() * 2.0_f64.powi(exponent))).collect()
    };
    let points = scaled(plain.points().coordinates(), exponent);
    PointCloud::new(points, 2, scaled(plain.weights_view().values(), 0)).unwrap()
}

/// Potentials and certificate of one problem.
fn solved<T: CpuScalar>(
    builder: &dyn GeometryBuilder<Device = Host<T>>,
    exponent: i32,
    (cost, degree): (&dyn GroundCost, f64),
    penalties: impl Fn(f64) -> [Penalty; 2],
    is_sparse: bool,
) -> (Vec<f64>, Certificate, usize) {
    let unit = 2.0_f64.powf(degree * f64::from(exponent));
    let (a, b) = (cloud::<T>(1, 8, exponent, 1.0), cloud::<T>(2, 9, exponent, 1.0));
    let geometry = builder.geometry(a.support(), b.support(), cost).unwrap();
    let [source, target] = penalties(unit);
    let problem = Problem::unbalanced(geometry, &a, &b, Epsilon::RelativeToMean(0.03), &source, &target).unwrap();
    let problem = if is_sparse { problem.with_regularizer(&SquaredL2).unwrap() } else { problem };
    let solution = Sinkhorn::new().max_iterations(30).solve(&problem).unwrap();
    let potential = SIDES.iter().flat_map(|&side| solution.potential(side).unwrap());
    let potential = potential.map(|f| f.to_f64() / unit).collect();
    let Certificate { epsilon, transport_cost, primal, dual, gap, .. } = *solution.certificate();
    let certificate = Certificate {
        epsilon: epsilon / unit,
        transport_cost: transport_cost.map(|cost| cost / unit),
        primal: primal / unit,
        dual: dual / unit,
        gap: gap / unit,
        ..*solution.certificate()
    };
    (potential, certificate, solution.iterations())
}

fn penalties_of(unit: f64) -> Vec<[Penalty; 2]> {
    // Strengths are bounded.
    let rho = |rho: f64| (rho * unit).clamp(1e-30, 1e30);
    let kl = |strength: f64| penalty(Kl::new(rho(strength)).unwrap());
    let total = |strength: f64| penalty(TotalVariation::new(rho(strength)).unwrap());
    vec![
        [penalty(Balanced), penalty(Balanced)],
        [kl(0.25), kl(0.5)],
        [kl(0.25), penalty(Balanced)],
        [total(0.25), total(0.5)],
        [penalty(Range::new(0.5, 1.5).unwrap()), kl(0.5)],
        [penalty(Free), penalty(Balanced)],
    ]
}

fn answers_scale<T: CpuScalar>(exponents: &[i32], kinds: &[(usize, bool)]) {
    let half = PowerOfDistance::new(0.5).unwrap();
    let costs: [(&dyn GroundCost, f64); 4] = [(&SqEuclidean, 2.0), (&Euclidean, 1.0), (&half, 0.5), (&Cosine, 0.0)];
    for (limit, cost) in [0, usize::MAX].into_iter().flat_map(|limit| costs.map(|cost| (limit, cost))) {
        let backend = CpuBackend::<T>::new(1).unwrap().with_dense_limit(limit);
        for &(index, is_sparse) in kinds {
            let of = |exponent: i32| {
                solved(&backend, exponent, cost, |unit| penalties_of(unit).swap_remove(index), is_sparse)
            };
            let once = of(0);
            for &exponent in exponents {
                assert_eq!(of(exponent), once, "{cost:?} {index} {is_sparse} {limit} {exponent}");
            }
        }
    }
}

#[test]
fn potentials_and_certificates_have_the_unit_of_the_cost() {
    let kinds = [(0, false), (1, false), (2, false), (3, false), (4, false), (5, false), (0, true), (1, true)];
    answers_scale::<f64>(&[-20, 12], &kinds);
    answers_scale::<f32>(&[-10, 12], &kinds);
}

#[test]
fn prescribed_marginals_have_no_unit_of_their_own() {
    answers_scale::<f64>(&[-460, -300, 300, 460], &[(0, false), (0, true)]);
    answers_scale::<f32>(&[-40, 40], &[(0, false), (0, true)]);
}

/// What a divergence between two clouds tells, in the unit of its cost.
#[derive(Debug, PartialEq)]
struct DivergenceInUnits {
    value: f64,
    bounds: [f64; 2],
    sign: Option<Ordering>,
    status: Status,
    variation: Vec<f64>,
}

/// Divergences of one kind of penalties (none, Kullback-Leibler, total variation), coordinates times 2^exponent.
fn divergence<T: CpuScalar>(
    exponent: i32,
    (cost, degree): (&dyn GroundCost, f64),
    form: DivergenceForm,
    kind: usize,
) -> DivergenceInUnits {
    let unit = 2.0_f64.powf(degree * f64::from(exponent));
    let backend = CpuBackend::<T>::new(1).unwrap();
    let masses = if kind == 0 { [1.0, 1.0] } else { [1.0, 1.25] };
    let (a, b) = (cloud::<T>(1, 8, exponent, masses[0]), cloud::<T>(2, 9, exponent, masses[1]));
    let settings = SinkhornDivergence::new().form(form).sinkhorn(Sinkhorn::new().max_iterations(30));
    let settings = match kind {
        0 => settings,
        1 => settings.penalty(&Kl::new(0.25 * unit).unwrap()).unwrap(),
        _ => settings.penalty(&TotalVariation::new(0.25 * unit).unwrap()).unwrap(),
    };
    let found = settings.between(&backend, &a, &b, cost, Epsilon::RelativeToMean(0.03)).unwrap();
    DivergenceInUnits {
        value: found.value() / unit,
        bounds: found.bounds()[0].map(|bound| bound / unit),
        sign: found.sign(),
        status: found.status(),
        variation: match form {
            DivergenceForm::Full => {
                let variation = found.first_variation(ot_core::Side::Source).unwrap();
                variation.iter().map(|value| value.to_f64() / unit).collect()
            }
            _ => Vec::new(),
        },
    }
}

#[test]
fn divergences_have_the_unit_of_the_cost() {
    fn check<T: CpuScalar>(exponents: &[i32], kinds: &[usize]) {
        let costs: [(&dyn GroundCost, f64); 3] = [(&SqEuclidean, 2.0), (&Euclidean, 1.0), (&Cosine, 0.0)];
        for form in [DivergenceForm::Full, DivergenceForm::Sharp, DivergenceForm::Genevay] {
            for (cost, &kind) in costs.iter().flat_map(|cost| kinds.iter().map(move |kind| (*cost, kind))) {
                let once = divergence::<T>(0, cost, form, kind);
                assert!(once.value.is_finite() && once.value != 0.0, "{once:?}");
                for &exponent in exponents {
                    let found = divergence::<T>(exponent, cost, form, kind);
                    assert_eq!(found, once, "{:?} {form:?} {kind} {exponent}", cost.0);
                }
            }
        }
    }
    check::<f64>(&[-20, 12], &[0, 1, 2]);
    check::<f32>(&[-10, 12], &[0, 1, 2]);
    check::<f64>(&[-300, 300], &[0]);
    check::<f32>(&[-40, 40], &[0]);
}

#[test]
fn discrepancies_have_the_unit_of_their_kernel() {
    fn check<T: CpuScalar>(exponents: &[i32]) {
        let backend = CpuBackend::<T>::new(1).unwrap();
        let of = |exponent: i32, settings: MaximumMeanDiscrepancy| {
            let (a, b) = (cloud::<T>(1, 8, exponent, 1.0), cloud::<T>(2, 9, exponent, 1.0));
            settings.between(&backend, &a, &b).unwrap().squared()
        };
        let gaussian = |exponent: i32| MaximumMeanDiscrepancy::gaussian(0.5 * 2.0_f64.powi(exponent)).unwrap();
        for &exponent in exponents {
            for p in [1.0, 0.5] {
                let energy = MaximumMeanDiscrepancy::energy(p).unwrap();
                let unit = 2.0_f64.powf(p * f64::from(exponent));
                assert_eq!(of(exponent, energy) / unit, of(0, energy), "{p} {exponent}");
            }
            assert_eq!(of(exponent, gaussian(exponent)), of(0, gaussian(0)), "{exponent}");
        }
    }
    check::<f64>(&[-400, -20, 12, 400]);
    check::<f32>(&[-40, -10, 12, 40]);
}

/// Newton's method, averaged gradients, barycenters and partial plans, costs and epsilon in one unit.
#[test]
fn other_solvers_have_the_unit_of_the_cost() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let of = |exponent: i32| -> Vec<f64> {
        let unit = 2.0_f64.powi(2 * exponent);
        let (a, b) = (cloud::<f64>(1, 8, exponent, 1.0), cloud::<f64>(2, 9, exponent, 1.0));
        let epsilon = || Epsilon::RelativeToMean(0.05);
        let potentials = |solution: &ot_core::Solution<Host<f64>>| {
            let [f, g] = SIDES.map(|side| solution.potential(side).unwrap());
            f.into_iter().chain(g).map(|value| value / unit).collect::<Vec<f64>>()
        };
        let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
        let problem = Problem::new(geometry, &a, &b, epsilon()).unwrap();
        let newton = Newton::new().tolerance(1e-9).solve(&problem).unwrap();
        assert!(newton.status().is_converged(), "{exponent}: {}", newton.status());

        let averaged = StochasticAveragedGradient::new().batch(2).max_epochs(20);
        let averaged = averaged.solve(&backend, &a, &b, &SqEuclidean, epsilon()).unwrap();

        let barycenter = Barycenter::new(&backend, &b, &SqEuclidean, epsilon());
        let barycenter = barycenter.inputs(&[&a, &b], &[0.25, 0.75]);
        // Two supports, of which epsilon is the mean.
        let barycenter = BregmanProjections::new().max_iterations(40).solve(&barycenter.unwrap().problem().unwrap());
        let barycenter = barycenter.unwrap();

        let partial = PartialTransport::new(0.5).sinkhorn(Sinkhorn::new().max_iterations(40));
        let partial = partial.solve(&backend, &a, &b, &SqEuclidean, epsilon()).unwrap();
        let bounds = partial.bounds().unwrap();
        [potentials(&newton), potentials(&averaged), barycenter.measure(0).unwrap(), partial.to_dense().unwrap()]
            .concat()
            .into_iter()
            .chain([barycenter.certificate().primal / unit, bounds.lower / unit, bounds.upper / unit])
            .collect()
    };
    let once = of(0);
    for exponent in [-300, -20, 12, 300] {
        assert_eq!(of(exponent), once, "{exponent}");
    }
}

#[test]
fn balanced_potentials_shift_with_the_mass() {
    for backend in backends(1) {
        let of = |mass: f64| {
            let (a, b) = (cloud::<f64>(1, 20, 0, mass), cloud::<f64>(2, 23, 0, mass));
            let geometry = backend.geometry(a.support(), b.support(), &SqEuclidean).unwrap();
            let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.01)).unwrap();
            Sinkhorn::new().tolerance(1e-11).max_iterations(20_000).solve(&problem).unwrap()
        };
        let once = of(1.0);
        for mass in [1e-120, 1e-12, 1e10, 1e16, 1e140] {
            let found = of(mass);
            assert!(found.status().is_converged(), "{mass:e}: {}", found.status());
            let [expected, cost] = [&once, &found].map(|solution| solution.certificate().transport_cost.unwrap());
            assert_close(cost / mass, expected, 1e-9);
            let sum = |solution: &ot_core::Solution<Host<f64>>| {
                let [f, g] = SIDES.map(|side| solution.potential(side).unwrap());
                f[3] + g[5]
            };
            assert_close(sum(&found), sum(&once) - 0.01 * mass.ln(), 1e-9);
            let [plan, plain] = [&found, &once].map(|solution| solution.plan().unwrap().to_dense(0).unwrap());
            let scaled: Vec<f64> = plan.iter().map(|entry| entry / mass).collect();
            assert!(crate::support::largest_difference(&scaled, &plain) < 1e-9);
        }
    }
}

fn line<T: Scalar>(points: &[f64]) -> PointCloud<'static, T> {
    PointCloud::uniform(points.iter().map(|&x| T::from_f64(x)).collect::<Vec<_>>(), 1).unwrap()
}

#[test]
fn distances_are_right_at_the_ends_of_the_range() {
    fn costs<T: CpuScalar>(unit: f64) {
        // From 0 and 1 to 1 and 3: two of three halves.
        let (a, b) = (line::<T>(&[0.0, unit]), line::<T>(&[unit, 3.0 * unit]));
        for limit in [0, usize::MAX] {
            let backend = CpuBackend::<T>::new(1).unwrap().with_dense_limit(limit);
            let exact = ExactTransport::new().solve(&backend, &a, &b, &Euclidean).unwrap();
            assert_close(exact.certificate().primal / unit, 1.5, 1e-6);
            let entropic = transport(&backend, &a, &b, &Euclidean, Epsilon::RelativeToMean(0.01)).unwrap();
            assert!(entropic.status().is_converged());
            assert_close(entropic.certificate().transport_cost.unwrap() / unit, 1.5, 1e-3);
            let energy = MaximumMeanDiscrepancy::energy(1.0).unwrap().between(&backend, &a, &b).unwrap();
            // 2 (1 + 3 + 0 + 2) / 4 - 1 / 2 - 2 / 2
            assert_close(energy.squared() / unit, 1.5, 1e-6);
        }
        let assigned = assign(a.support(), b.support(), &Euclidean).unwrap();
        assert_close(assigned.total_cost() / unit, 3.0, 1e-6);
    }
    for unit in [1e-23, 1e-30, 1e19, 1e30] {
        costs::<f32>(unit);
    }
    for unit in [1e-200, 1e-290, 1e160, 1e300] {
        costs::<f64>(unit);
    }
}

#[test]
fn costs_out_of_range_are_told() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    for (unit, expected) in [(1e160, "reaches"), (1e-170, "only")] {
        let (a, b) = (line::<f64>(&[0.0, unit]), line::<f64>(&[unit, 3.0 * unit]));
        let errors: [Error; 3] = [
            ExactTransport::new().solve(&backend, &a, &b, &SqEuclidean).err().unwrap(),
            transport(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(1.0)).err().unwrap(),
            assign(a.support(), b.support(), &SqEuclidean).err().unwrap(),
        ];
        for error in errors {
            assert!(matches!(error, Error::CostOverflow { .. } | Error::CostUnderflow { .. }), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}

#[test]
fn single_precision_takes_large_masses() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let of = |mass: f32| {
        let cloud = |points: &[f32]| PointCloud::new(points.to_vec(), 1, vec![mass; points.len()]).unwrap();
        transport(&backend, &cloud(&[0.0, 1.0]), &cloud(&[1.0, 3.0]), &SqEuclidean, Epsilon::RelativeToMean(0.05))
    };
    let cost = |mass: f32| of(mass).unwrap().certificate().transport_cost.unwrap() / f64::from(mass);
    for mass in [1e-25, 1e10, 1e25, 1e30] {
        assert_close(cost(mass), cost(1.0), 1e-4);
    }
    assert!(matches!(of(1e36), Err(Error::SumOverflow { element: "f32", .. })));
}

/// Columns of a batch share entries, whose products with small costs are no normal numbers where the masses of the first are
/// large; a single target makes the plan known.
#[test]
fn columns_beside_large_masses_keep_their_costs() {
    fn check<T: CpuScalar>(mass: f64, unit: f64) {
        let backend = CpuBackend::<T>::new(1).unwrap();
        let narrow = |values: &[f64]| values.iter().map(|&value| T::from_f64(value)).collect::<Vec<T>>();
        let (costs, shares) = ([0.2, 0.6, 1.7, 1.0].map(|cost| cost * unit), [0.25, 0.125, 0.5, 0.125]);
        let masses = [mass, 1.0, 1.0 / mass];
        let weights: Vec<f64> = masses.iter().flat_map(|mass| shares.map(|share| share * mass)).collect();
        let source = Histogram::batch(narrow(&weights), 3).unwrap();
        let target = Histogram::batch(narrow(&masses), 3).unwrap();
        let cost = CostMatrix::new(narrow(&costs), 4, 1).unwrap();
        let solution = transport(&backend, &source, &target, &cost, Epsilon::Absolute(4.0 * unit)).unwrap();
        for (certificate, mass) in solution.certificates().iter().zip(masses) {
            let expected: f64 = costs.iter().zip(shares).map(|(cost, share)| cost * share).sum();
            assert_close(
                certificate.transport_cost.unwrap() / (mass * unit),
                expected / unit,
                (1e3 * T::EPSILON).max(1e-6),
            );
        }
    }
    check::<f32>(2_f64.powi(56), 1e-27);
    check::<f64>(2_f64.powi(150), 1e-270);
}

/// An atom of hardly any weight takes a share of the plan where all others are far away: its product with a small cost is no
/// number, its mass is.
#[test]
fn light_atoms_nearby_keep_their_costs() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let unit = 1e-25;
    // Densities e^60 and 1 under weights of which the first is e^-60.
    let (near, far, epsilon) = (2.0 * unit, 8.0 * unit, 0.1 * unit);
    let weights = [(-60.0_f64).exp() as f32, 1.0];
    let source = PointCloud::new(vec![0.0_f32], 1, vec![1.0]).unwrap();
    let target = PointCloud::new(vec![near as f32, far as f32], 1, weights.to_vec()).unwrap();
    for limit in [0, usize::MAX] {
        let backend = backend.clone().with_dense_limit(limit);
        let geometry = backend.geometry(source.support(), target.support(), &Euclidean).unwrap();
        let problem =
            Problem::unbalanced(geometry, &source, &target, Epsilon::Absolute(epsilon), &Balanced, &Free).unwrap();
        let solution = Sinkhorn::new().solve(&problem).unwrap();
        let [first, second] = [(near, weights[0]), (far, weights[1])]
            .map(|(cost, weight)| f64::from(weight) * ((near - cost) / epsilon).exp());
        let expected = (first * near + second * far) / (first + second);
        assert_close(solution.certificate().transport_cost.unwrap() / unit, expected / unit, 1e-4);
    }
}

/// An atom of a subnormal weight draws all mass of the first iterates: its density is beyond any number.
#[test]
fn newton_is_right_beside_subnormal_weights() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let source = Histogram::new(vec![1e-6]).unwrap();
    let target = Histogram::new(vec![1e-6, 5e-310, 1e-250]).unwrap();
    let cost = CostMatrix::new(vec![475.0, 3e-3, 0.0], 1, 3).unwrap();
    let geometry = backend.geometry(source.support(), target.support(), &cost).unwrap();
    let problem = Problem::new(geometry, &source, &target, Epsilon::Absolute(2e-3)).unwrap();
    let solution = Newton::new().solve(&problem).unwrap();
    assert_eq!(solution.status(), Status::Converged, "{}", solution.certificate());
    assert_close(solution.transport_cost().unwrap() / 475e-6, 1.0, 1e-9);
    for side in SIDES {
        assert!(solution.potential(side).unwrap().iter().all(|value| value.is_finite()), "{side}");
    }
}
