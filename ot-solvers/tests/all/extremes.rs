//! Masses, costs and strengths at the ends of the range, beside closed forms and laws of scale.

use ot_core::{
    CostMatrix, Epsilon, Error, GeometryBuilder, Histogram, Measure, PlanEntry, PointCloud, Problem, Scalar, Side,
    SqEuclidean, SquaredL2,
};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{
    DivergenceForm, ExactTransport, Gaussian, MajorizeMinimize, MassPenalty, MaximumMeanDiscrepancy, PartialTransport,
    Sinkhorn, SinkhornDivergence, SparsePlan, UnregularizedPlan, certify_optimality, unregularized_bounds,
};

use crate::support::assert_close;

fn numbers<T: Scalar>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::from_f64(value)).collect()
}

fn histogram<T: Scalar>(weights: &[f64]) -> Histogram<'static, T> {
    Histogram::new(numbers::<T>(weights)).unwrap()
}

fn times(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

/// The least total of a permutation of four.
fn least_permutation(costs: &[f64]) -> f64 {
    fn least(costs: &[f64], row: usize, taken: usize) -> f64 {
        let free = (0..4).filter(|j| row < 4 && taken & (1 << j) == 0);
        let rest = free.map(|j| costs[4 * row + j] + least(costs, row + 1, taken | 1 << j));
        if row == 4 { 0.0 } else { rest.fold(f64::INFINITY, f64::min) }
    }
    least(costs, 0, 0)
}

/// Costs that no optimal plan pays take no digits from the others, nor from the proof.
#[test]
fn sentinels_take_no_digits_from_exact_plans() {
    let mut state = 7_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / 2_f64.powi(31)
    };
    let quarter = histogram::<f64>(&[0.25; 4]);
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let mut avoided = 0;
    for sentinel in [1e20, 1e100, 1e300] {
        for _ in 0..120 {
            let costs: Vec<f64> = (0..16).map(|_| if draw() < 0.5 { sentinel } else { draw() }).collect();
            let expected = 0.25 * least_permutation(&costs);
            if expected > 1e10 {
                continue;
            }
            avoided += 1;
            let matrix = CostMatrix::new(costs.clone(), 4, 4).unwrap();
            let solution = ExactTransport::new().solve(&backend, &quarter, &quarter, &matrix).unwrap();
            let certificate = solution.certificate();
            assert_close(certificate.primal, expected, 1e-14);
            assert!(certificate.proves(1e-12), "{costs:?}: {certificate:?}");
            assert!(certificate.suboptimality() <= 1e-9 * expected, "{costs:?}: {certificate:?}");
        }
    }
    assert!(avoided > 100, "{avoided}");
}

/// Costs of 1e-273 beside a target without mass at 1e70: the numbers of the proof span more than f64 does.
#[test]
fn proofs_see_the_smallest_costs_beside_the_largest() {
    let unit = 1e-273;
    let costs = [unit, 3.0 * unit, 1e70, 2.0 * unit, unit, 1e70];
    let (a, b) = (histogram::<f64>(&[0.5, 0.5]), histogram::<f64>(&[0.25, 0.75, 0.0]));
    let matrix = CostMatrix::new(costs.to_vec(), 2, 3).unwrap();
    let solution = ExactTransport::new().solve(&CpuBackend::<f64>::new(1).unwrap(), &a, &b, &matrix).unwrap();
    let certificate = solution.certificate();
    // A quarter at 1, a quarter at 3, and half at 1.
    assert!((certificate.primal / unit - 1.5).abs() < 1e-12, "{certificate:?}");
    assert!((certificate.dual / unit - 1.5).abs() < 1e-12, "{certificate:?}");
    assert!(certificate.proves(1e-12) && certificate.suboptimality() < 1e-9 * unit, "{certificate:?}");

    // A worse plan, and a dual that is too small, are refused beside the same potential of the target without mass.
    let entry = |source, target, mass| PlanEntry { source, target, mass };
    let best = [entry(0, 0, 0.25), entry(0, 1, 0.25), entry(1, 1, 0.5)];
    let worse = [entry(0, 1, 0.5), entry(1, 0, 0.25), entry(1, 1, 0.25)];
    let certify = |entries: &[PlanEntry], f: [f64; 2], g: [f64; 3]| {
        let plan = SparsePlan::new(2, 3, entries.to_vec()).unwrap();
        certify_optimality::<f64>(&a, &b, &matrix, &plan, &f, &g).unwrap()
    };
    let (f, g) = ([unit, -unit], [0.0, 2.0 * unit, 1e70]);
    assert!(certify(&best, f, g).proves(1e-12), "{:?}", certify(&best, f, g));
    assert!(!certify(&worse, f, g).proves(1e-3), "{:?}", certify(&worse, f, g));
    assert!((certify(&worse, f, g).gap / unit - 0.75).abs() < 1e-12);
    assert!(!certify(&best, [unit, -1.1 * unit], g).proves(1e-3));
    // Of a target without mass a potential above its costs is told, and refused, but costs the bound nothing.
    let above = certify(&best, f, [0.0, 2.0 * unit, 2e70]);
    assert!(!above.proves(1e-3) && above.smallest_reduced_cost == -1e70, "{above:?}");
    assert!((above.lower_bound() / unit - 1.5).abs() < 1e-9, "{above:?}");
}

/// A plan between single atoms.
fn of_one_pair(penalty: MassPenalty, cost: f64, a: f64, b: f64) -> Result<UnregularizedPlan, Error> {
    let matrix = CostMatrix::new(vec![cost], 1, 1).unwrap();
    MajorizeMinimize::new(penalty).tolerance(1e-12).solve(&histogram::<f64>(&[a]), &histogram::<f64>(&[b]), &matrix)
}

/// Of one pair the mass has a closed form: rho_a phi'(p / a) + rho_b phi'(p / b) + C = 0.
#[test]
fn penalised_masses_of_one_pair_are_right_in_any_unit() {
    for (unit, of_cost) in [(1.0, 1.0), (1e-200, 1.0), (1e150, 1e-200), (1e-300, 1e200), (1e-100, 1e300), (1e-310, 1e9)]
    {
        for cost in [-0.7, 0.0, 0.9] {
            let (a, b, source, target) = (1.5 * unit, 0.5 * unit, 2.0 * of_cost, 3.0 * of_cost);
            let found = of_one_pair(MassPenalty::Kl { source, target }, cost * of_cost, a, b).unwrap();
            let expected = unit * (0.4 * 1.5_f64.ln() + 0.6 * 0.5_f64.ln() - cost / 5.0).exp();
            assert!((found.plan[0] / expected - 1.0).abs() < 1e-5, "{unit:e} {of_cost:e} {cost}: {found:?}");

            // rho (p - a) is a cost: the strength is one over a mass.
            let (source, target) = (2.0 * of_cost / unit, 3.0 * of_cost / unit);
            if !(1e-300..1e300).contains(&source) {
                continue;
            }
            let found = of_one_pair(MassPenalty::SquaredL2 { source, target }, cost * of_cost, a, b).unwrap();
            let expected = unit * (0.4 * 1.5 + 0.6 * 0.5 - cost / 5.0);
            assert!((found.plan[0] / expected - 1.0).abs() < 1e-5, "{unit:e} {of_cost:e} {cost}: {found:?}");
        }
    }
}

/// Negative costs make mass, of which there may be far more than was given, or more than there are numbers.
#[test]
fn negative_costs_make_mass() {
    let squares = MassPenalty::SquaredL2 { source: 0.5, target: 1.5 };
    let found = of_one_pair(squares, -0.4, 3e-200, 1e-150).unwrap();
    assert!((found.plan[0] / 0.2 - 1.0).abs() < 1e-5, "{found:?}");
    assert!((found.primal / (-0.5 * 0.4 * 0.4 / 2.0) - 1.0).abs() < 1e-5, "{found:?}");

    let entropy = MassPenalty::Kl { source: 1e-3, target: 1e-3 };
    let found = of_one_pair(entropy, -0.5, 1e-100, 1e-100).unwrap();
    assert!((found.plan[0].ln() - 250.0 + 100.0 * 10_f64.ln()).abs() < 1e-3, "{found:?}");
    assert!(matches!(of_one_pair(entropy, -2.0, 1.0, 1.0), Err(Error::SumOverflow { .. })));
}

/// Penalised plans have the units of masses and costs, to the bit.
#[test]
fn penalised_plans_scale_with_their_units() {
    let (costs, a, b) = ([0.1, 0.7, 0.4, 0.9, 0.2, 0.3], [1.0, 0.5], [0.3, 0.8, 0.6]);
    let solve = |mass: f64, cost: f64, penalty: MassPenalty| {
        let matrix = CostMatrix::new(times(&costs, cost), 2, 3).unwrap();
        let (a, b) = (histogram::<f64>(&times(&a, mass)), histogram::<f64>(&times(&b, mass)));
        MajorizeMinimize::new(penalty).solve(&a, &b, &matrix).unwrap()
    };
    let kinds = |mass: f64, cost: f64| {
        [
            MassPenalty::Kl { source: 0.3 * cost, target: 0.5 * cost },
            MassPenalty::SquaredL2 { source: 0.3 * (cost / mass), target: 0.5 * (cost / mass) },
        ]
    };
    let once = kinds(1.0, 1.0).map(|penalty| solve(1.0, 1.0, penalty));
    for [mass, cost] in [[600, 0], [-900, 0], [0, 900], [-500, -400], [400, 500]] {
        let [mass, cost] = [mass, cost].map(|exponent| 2_f64.powi(exponent));
        for (penalty, once) in kinds(mass, cost).into_iter().zip(&once) {
            let found = solve(mass, cost, penalty);
            assert_eq!(times(&found.plan, 1.0 / mass), once.plan, "{mass:e} {cost:e}");
            let [value, expected] = [&found, once].map(|plan| [plan.primal, plan.dual, plan.transport_cost]);
            assert_eq!(value.map(|value| value / mass / cost), expected, "{mass:e} {cost:e}");
        }
    }
}

/// Weak penalties of costs that are far larger, and strong ones of costs that are far smaller.
#[test]
fn penalties_of_any_strength_end_with_numbers() {
    let matrix = CostMatrix::new(vec![3e-9, 1e-9, 2e-9, 5e-9], 2, 2).unwrap();
    let (a, b) = (histogram::<f64>(&[1.0, 2.0]), histogram::<f64>(&[2.0, 3.0]));
    let strong = MassPenalty::Kl { source: 1e9, target: 1e9 };
    let found = MajorizeMinimize::new(strong).max_iterations(300).solve(&a, &b, &matrix).unwrap();
    // The mass is sqrt(3 * 5), whatever the costs.
    assert_close(found.plan.iter().sum(), 15_f64.sqrt(), 1e-6);
    let expected = 1e9 * (3.0 + 5.0 - 2.0 * 15_f64.sqrt());
    assert!((found.primal / expected - 1.0).abs() < 1e-6 && found.dual <= expected * (1.0 + 1e-9), "{found:?}");
    let weak = MassPenalty::Kl { source: 1e-30, target: 1e-30 };
    let found = MajorizeMinimize::new(weak).solve(&a, &b, &matrix).unwrap();
    assert!((found.primal / (1e-30 * 8.0) - 1.0).abs() < 1e-6, "{found:?}");
}

/// The mass that moves, and its least cost, between masses of any size.
#[test]
fn partial_plans_have_the_unit_of_the_masses() {
    fn check<T: CpuScalar>(units: &[f64]) {
        let backend = CpuBackend::<T>::new(1).unwrap();
        let cost = CostMatrix::new(numbers::<T>(&[1.0, 3.0, 2.0, 5.0]), 2, 2).unwrap();
        for &unit in units {
            let (a, b) = (histogram::<T>(&[unit, unit]), histogram::<T>(&[unit, 2.0 * unit]));
            let solution = PartialTransport::new(1.5 * unit)
                .sinkhorn(Sinkhorn::new().max_iterations(5000))
                .solve(&backend, &a, &b, &cost, Epsilon::Absolute(0.01))
                .unwrap();
            // Half a unit at 1, half a one at 2 and half a one at 3.
            let bounds = solution.bounds().unwrap();
            let (lower, upper) = (bounds.lower / unit, bounds.upper / unit);
            assert!(lower <= 3.0 + 1e-4 && upper >= 3.0 - 1e-4 && upper - lower < 0.2, "{unit:e}: {bounds:?}");
            let moved: f64 = solution.to_dense().unwrap().iter().sum();
            assert_close(moved / unit, 1.5, 1e-3);
        }
    }
    check::<f64>(&[1.0, 2_f64.powi(-800), 2_f64.powi(-1000) / 2_f64.powi(30), 2_f64.powi(900)]);
    check::<f32>(&[1.0, 2_f64.powi(-100), 2_f64.powi(-135), 2_f64.powi(100)]);
}

/// Products of tiny masses vanish where entries of the plan do not.
#[test]
fn entries_between_tiny_masses_are_listed() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2).unwrap();
    for unit in [1e-170, 1e-250, 1e150] {
        let (a, b) = (histogram::<f64>(&[unit, 2.0 * unit]), histogram::<f64>(&[2.0 * unit, unit]));
        let geometry = backend.geometry(a.support(), b.support(), &cost).unwrap();
        let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.2)).unwrap();
        let squares = problem.clone().with_regularizer(&SquaredL2).unwrap();
        // Densities of squares between large masses are below the rounding of the exponents.
        for problem in [Some(problem), (unit < 1.0).then_some(squares)].into_iter().flatten() {
            let solution = Sinkhorn::new().solve(&problem).unwrap();
            let mut plan = solution.plan().unwrap();
            let dense = plan.to_dense(0).unwrap();
            let told = solution.certificate().mass;
            assert!((dense.iter().sum::<f64>() / told - 1.0).abs() < 1e-9, "{unit:e}: {dense:?}, {told:e}");
            let listed = plan.to_sparse(0, 1e-3 * unit, 10).unwrap();
            assert!(!listed.is_empty() && listed.iter().all(|entry| entry.mass >= 1e-3 * unit));
            let bounds = unregularized_bounds(&solution).unwrap().swap_remove(0);
            // One unit of the heavier atoms has to move.
            assert!(bounds.lower <= unit * (1.0 + 1e-9) && bounds.upper >= unit * (1.0 - 1e-9), "{unit:e}: {bounds:?}");
        }
    }
}

/// A mass over epsilon may vanish where its product with the cost does not.
#[test]
fn bounds_are_ordered_where_masses_are_tiny_and_costs_large() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let costs = times(&[1.0, 7.0, 2.0, 3.0, 5.0, 4.0], 1e256);
    let cost = CostMatrix::new(costs, 3, 2).unwrap();
    let (a, b) = (histogram::<f64>(&times(&[1.0, 2.0, 3.0], 1e-130)), histogram::<f64>(&times(&[4.0, 2.0], 1e-130)));
    let geometry = backend.geometry(a.support(), b.support(), &cost).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(1e253)).unwrap();
    for iterations in [1, 300] {
        let solution = Sinkhorn::new().max_iterations(iterations).solve(&problem).unwrap();
        let found = solution.certificate();
        // 1 at 1, 2 at 2 or 3, 3 at 5 or 4.
        let least = 1.0 + 2.0 * 2.0 + 5.0 + 2.0 * 4.0;
        let rounding = 1e-9 * least * 1e126;
        assert!(found.primal >= found.dual - rounding && found.primal >= least * 1e126 * 0.99, "{found:?}");
    }
}

/// Sums of masses times potentials are made in f64, whatever the element type holds.
#[test]
fn bounds_of_large_masses_and_costs_are_numbers() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let cost = CostMatrix::new(numbers::<f32>(&[1.8e34, 3.6e34, 3.8e34]), 3, 1).unwrap();
    let (a, b) = (histogram::<f32>(&[23040.0, 12800.0, 2560.0]), histogram::<f32>(&[38400.0]));
    let geometry = backend.geometry(a.support(), b.support(), &cost).unwrap();
    let problem = Problem::new(geometry, &a, &b, Epsilon::RelativeToMean(0.006)).unwrap();
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    let bounds = unregularized_bounds(&solution).unwrap().swap_remove(0);
    let expected = 23040.0 * 1.8e34 + 12800.0 * 3.6e34 + 2560.0 * 3.8e34;
    assert!(bounds.lower <= expected * (1.0 + 1e-6) && bounds.lower > 0.9 * expected, "{bounds:?}");
    assert!(bounds.upper >= expected * (1.0 - 1e-6) && bounds.upper < 1.1 * expected, "{bounds:?}");
}

/// Transport costs are as the masses, and so are their differences and bounds.
#[test]
fn sharp_divergences_scale_with_the_masses() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let of = |mass: f64| {
        let a = PointCloud::new(vec![0.0, 1.0], 1, times(&[0.5, 0.5], mass)).unwrap();
        let b = PointCloud::new(vec![0.5, 3.0], 1, times(&[0.25, 0.75], mass)).unwrap();
        let settings = SinkhornDivergence::new().form(DivergenceForm::Sharp);
        let divergence = settings.between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.1)).unwrap();
        let [lower, upper] = divergence.bounds()[0];
        [lower / mass, divergence.value() / mass, upper / mass]
    };
    let once = of(1.0);
    for mass in [1e-150, 1e-290, 1e140] {
        let [lower, value, upper] = of(mass);
        assert!(
            (value - once[1]).abs() < 1e-4 && lower <= value && value <= upper,
            "{mass:e}: {lower} {value} {upper}"
        );
        assert!(lower <= once[1] && once[1] <= upper && upper - lower < 1.0, "{mass:e}: {lower} {value} {upper}");
    }
}

/// Squares of such spreads are the smallest numbers, whose matrix need not have positive eigenvalues.
#[test]
fn gaussians_of_the_smallest_spreads_are_built() {
    for unit in [1e-159, 1e-161, 1e-163, 1e-200] {
        let points = times(&[3.0, 1.0, -2.0, 0.5, 1.0, -1.0, 0.25, 2.0, -1.5, -0.75], unit);
        let found = Gaussian::of(&PointCloud::uniform(points, 2).unwrap(), 0).unwrap();
        assert!(found.covariance().iter().all(|entry| entry.abs() <= 10.0 * unit * unit));
        assert!(found.wasserstein(&found).unwrap() <= 1e-6 * unit + 1e-161);
    }
}

/// The mass of a plan, and epsilon times it, are told where f32 holds neither.
#[test]
fn certificates_of_tiny_masses_name_their_mass() {
    let backend = CpuBackend::<f32>::new(1).unwrap();
    let cost = CostMatrix::new(numbers::<f32>(&[0.3, 0.1, 0.2, 0.4]), 2, 2).unwrap();
    let unit = 1e-22;
    let (a, b) = (histogram::<f32>(&[unit, 2.0 * unit]), histogram::<f32>(&[unit, unit]));
    let geometry = backend.geometry(a.support(), b.support(), &cost).unwrap();
    let problem =
        Problem::unbalanced(geometry, &a, &b, Epsilon::Absolute(1.0), &ot_core::Free, &ot_core::Free).unwrap();
    let solution = Sinkhorn::new().solve(&problem).unwrap();
    // P = a b^T exp(-C), whose mass is far below the smallest number of f32; the dual is epsilon (m_a m_b - mass).
    let mass = unit * unit * ((-0.3_f64).exp() + (-0.1_f64).exp() + 2.0 * (-0.2_f64).exp() + 2.0 * (-0.4_f64).exp());
    let found = solution.certificate();
    assert!((found.mass / mass - 1.0).abs() < 1e-5, "{found:?}");
    let expected = 6.0 * unit * unit - mass;
    assert!((found.dual / expected - 1.0).abs() < 1e-4 && (found.primal / expected - 1.0).abs() < 1e-4, "{found:?}");
    assert!(solution.potential(Side::Source).unwrap().iter().all(|f| *f == 0.0));
}

/// The product of the masses is a part of the objective of entropy, and of no other value here.
#[test]
fn products_of_masses_are_asked_for_where_they_are_summed() {
    let backend = CpuBackend::<f64>::new(1).unwrap();
    let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2).unwrap();
    for unit in [1e160, 1e250] {
        let (a, b) = (histogram::<f64>(&[unit, 3.0 * unit]), histogram::<f64>(&[2.0 * unit, 2.0 * unit]));
        let geometry = backend.geometry(a.support(), b.support(), &cost).unwrap();
        let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(0.2)).unwrap();
        let refused = Sinkhorn::new().solve(&problem).err();
        assert!(matches!(refused, Some(Error::SumOverflow { element: "f64", .. })), "{refused:?}");
        let squares = problem.with_regularizer(&SquaredL2).unwrap();
        let solution = Sinkhorn::new().max_iterations(50).solve(&squares).unwrap();
        let found = solution.certificate();
        // One unit moves. Densities below the rounding of potentials are told as such, and bounds hold.
        let least = unit;
        assert!(!solution.status().is_converged() || found.marginal_error < 1e-3, "{found:?}");
        assert!(found.dual <= least * (1.0 + 1e-9) && found.primal >= least * (1.0 - 1e-9), "{unit:e}: {found:?}");
    }
    // exp(-|x - y|^2 / (2 sigma^2)) at a distance of sigma, where epsilon times the masses is beyond all numbers.
    let (mass, sigma) = (1e76, 1e80);
    let cloud = |x: f64| PointCloud::new(vec![x], 1, vec![mass]).unwrap();
    let gaussian = MaximumMeanDiscrepancy::gaussian(sigma).unwrap();
    let found = gaussian.between(&backend, &cloud(0.0), &cloud(sigma)).unwrap();
    let expected = 2.0 * (1.0 - (-0.5_f64).exp());
    assert!((found.squared() / mass / mass - expected).abs() < 1e-12, "{}", found.squared());
    let [gradient] = found.gradient(Side::Source).unwrap()[..] else { unreachable!() };
    // d/dx of -2 exp(-(x - y)^2 / (2 sigma^2)) at x - y = -sigma.
    let slope = -2.0 * (-0.5_f64).exp() / sigma;
    assert!((gradient / (slope * mass * mass) - 1.0).abs() < 1e-12, "{gradient:e}");
}

/// Weights times potentials leave f32 at every check of an annealed solve, and the plan does not.
#[test]
fn annealed_solves_pass_by_sums_beyond_single_precision() {
    let (a, b) = ([2.0, 3.0, 5.0], [4.0, 6.0]);
    let costs = [1.0, 1.7, 1.4, 1.1, 2.0, 1.3];
    let solve = |mass: f64, cost: f64| {
        let backend = CpuBackend::<f32>::new(1).unwrap();
        let matrix = CostMatrix::new(numbers::<f32>(&times(&costs, cost)), 3, 2).unwrap();
        let (a, b) = (histogram::<f32>(&times(&a, mass)), histogram::<f32>(&times(&b, mass)));
        let geometry = backend.geometry(a.support(), b.support(), &matrix).unwrap();
        let problem = Problem::new(geometry, &a, &b, Epsilon::Absolute(3e-3 * cost)).unwrap();
        let solution = Sinkhorn::new().tolerance(1e-2).solve(&problem).unwrap();
        assert!(
            solution.status().is_converged(),
            "{mass:e} {cost:e}: {} {}",
            solution.status(),
            solution.certificate()
        );
        solution.certificate().transport_cost.unwrap() / mass / cost
    };
    let once = solve(1.0, 1.0);
    for (mass, cost) in [(1e13, 1e30), (1e13, 1e34), (1e20, 1e30), (1e28, 1e30)] {
        assert!((solve(mass, cost) / once - 1.0).abs() < 2e-2, "{mass:e} {cost:e}");
    }
}
