//! Entropic solvers and their certificates beside the definitions in f64.

use ot_core::{
    Balanced, Certificate, Entropy, Epsilon, Error, Free, GeometryBuilder, Host, Kl, MarginalPenalty, Problem, Range,
    RecordedPenalty, Side, Solution, SquaredL2, TotalVariation,
};
use ot_cpu::{CpuBackend, CpuScalar, KeptEntries};
use ot_solvers::{Annealing, Newton, Relaxation, Sinkhorn, Update, unregularized_bounds};

use super::{
    generate::{below, decade, free_masses, masses, one_of, percent, rounded, typical_cost, wide},
    instance::{Instance, sizes},
    oracle::{
        entropic::{self, Evaluation, Penalty, Regularizer},
        sum::sum,
        transport::least_cost,
    },
    report::Report,
};
use crate::seeded::Seeded;

/// Prescribed marginals, entropy.
pub fn balanced<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    case(backends, random, report, [Penalty::Balanced; 2], Regularizer::Entropy, Method::Sinkhorn);
}

/// Penalties with a derivative, entropy, by Newton's method.
pub fn newton<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let penalties = match percent(random, 60) {
        true => [Penalty::Balanced; 2],
        false => penalties(random),
    };
    case(backends, random, report, penalties, Regularizer::Entropy, Method::Newton);
}

/// Any penalties, entropy.
pub fn unbalanced<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let penalties = penalties(random);
    case(backends, random, report, penalties, Regularizer::Entropy, Method::Sinkhorn);
}

/// Any penalties, plans with zeros.
pub fn squared_l2<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let penalties = if percent(random, 60) { [Penalty::Balanced; 2] } else { penalties(random) };
    case(backends, random, report, penalties, Regularizer::SquaredL2, Method::Sinkhorn);
}

/// Penalties with strengths in units of a cost of one.
fn penalties(random: &mut Seeded) -> [Penalty; 2] {
    let same = percent(random, 50);
    let mut next = || {
        let rho = if percent(random, 80) { decade(random, -2.0, 2.0) } else { decade(random, -12.0, 12.0) };
        let (low, high) = (random.uniform(), 1.0 + 3.0 * random.uniform());
        match below(random, 6) {
            0 => Penalty::Balanced,
            1 | 2 => Penalty::Kl(rho),
            3 => Penalty::TotalVariation(rho),
            4 => Penalty::Range(one_of(random, &[0.0, low, 1.0]), high),
            _ => Penalty::Free,
        }
    };
    let source = next();
    [source, if same { source } else { next() }]
}

/// A penalty in the units of a cost.
fn scaled(penalty: Penalty, unit: f64) -> Penalty {
    let within = |rho: f64| (rho * unit).clamp(1e-30, 1e30);
    match penalty {
        Penalty::Kl(rho) => Penalty::Kl(within(rho)),
        Penalty::TotalVariation(rho) => Penalty::TotalVariation(within(rho)),
        other => other,
    }
}

/// A penalty of the framework.
pub(super) fn recorded(penalty: Penalty) -> Result<RecordedPenalty, Error> {
    match penalty {
        Penalty::Balanced => Balanced.recorded(),
        Penalty::Kl(rho) => Kl::new(rho)?.recorded(),
        Penalty::TotalVariation(rho) => TotalVariation::new(rho)?.recorded(),
        Penalty::Range(low, high) => Range::new(low, high)?.recorded(),
        Penalty::Free => Free.recorded(),
    }
}

fn case<T: CpuScalar>(
    backends: &[CpuBackend<T>; 3],
    random: &mut Seeded,
    report: &mut Report,
    penalties: [Penalty; 2],
    regularizer: Regularizer,
    method: Method,
) {
    let [n, m] = sizes(random);
    let prescribed = penalties.iter().all(|penalty| *penalty == Penalty::Balanced);
    let (weights, exact) = if prescribed || percent(random, 50) {
        let drawn = masses::<T>(random, n, m);
        ([drawn.source, drawn.target], drawn.exact)
    } else {
        (free_masses::<T>(random, n, m), false)
    };
    let instance = Instance::draw::<T>(random, weights);
    let unit = typical_cost(&instance.costs);
    let penalties = penalties.map(|penalty| scaled(penalty, unit));
    let strength = unit * if percent(random, 80) { decade(random, -3.0, 1.0) } else { decade(random, -6.0, 3.0) };
    let epsilon = match below(random, 8) {
        0 => Epsilon::RelativeToMean(decade(random, -3.0, 1.0)),
        1 => Epsilon::default(),
        _ => Epsilon::Absolute(rounded::<T>(strength)),
    };
    let settings = Settings::draw(random, T::EPSILON);
    instance.describe::<T>(report);
    report.given("penalties", penalties);
    report.given("regularizer", regularizer);
    report.given("epsilon", epsilon);
    report.given("settings", &settings);

    let solve = |backend: &CpuBackend<T>| -> Result<Solution<Host<T>>, Error> {
        let backend = settings.backend(backend);
        let [source, target] = instance.measures::<T>()?;
        let geometry = backend.geometry(source.support(), target.support(), instance.cost::<T>()?.as_ref())?;
        let [of_source, of_target] = [recorded(penalties[0])?, recorded(penalties[1])?];
        let problem = Problem::unbalanced(geometry, source.as_ref(), target.as_ref(), epsilon, &of_source, &of_target)?;
        let problem = match regularizer {
            Regularizer::Entropy => problem.with_regularizer(&Entropy)?,
            Regularizer::SquaredL2 => problem.with_regularizer(&SquaredL2)?,
        };
        match method {
            Method::Sinkhorn => settings.sinkhorn().solve(&problem),
            Method::Newton => settings.newton().solve(&problem),
        }
    };
    let solution = match solve(&backends[0]) {
        Ok(solution) => solution,
        Err(error) => {
            let allowed = match error {
                Error::Epsilon(_) => true,
                Error::MassMismatch { .. } => !prescribed,
                Error::Stranded { .. } => instance.forbids(),
                Error::Infeasible { .. } => {
                    let [a, b] = &instance.weights;
                    instance.forbids() && (!exact || least_cost(a, b, &instance.costs).is_none())
                }
                // Of penalties with kinks.
                Error::MissingCapability(_) => method == Method::Newton && !penalties.iter().all(has_derivative),
                _ => instance.leaves_range::<T>() || instance.sums_leave_range::<T>(strength),
            };
            return report.refused(&error, allowed);
        }
    };
    report.status(solution.status());
    match judge(&solution, &instance, penalties, regularizer, settings.tolerance, report) {
        Err(error) => report.require(false, || format!("no potentials: {error}")),
        Ok(problem) => {
            if prescribed && problem.mean_mass() >= 1e9 * T::TINY {
                check_bounds(&solution, &problem, exact, instance.cost_error::<T>(), report);
            }
        }
    }
    if percent(random, 20) {
        let bits = |solution: &Solution<Host<T>>| {
            let potentials = Side::BOTH.map(|side| solution.potential(side));
            format!("{potentials:?} {:?} {:?}", solution.status(), solution.certificates())
        };
        for backend in &backends[1..] {
            let same = solve(backend).is_ok_and(|other| bits(&other) == bits(&solution));
            report.require(same, || format!("other bits with {} threads", backend.threads()));
        }
    }
}

/// Who solves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Sinkhorn,
    Newton,
}

/// Does the c-transform under a penalty have a derivative everywhere, and not only zero?
fn has_derivative(penalty: &Penalty) -> bool {
    matches!(penalty, Penalty::Balanced | Penalty::Kl(_))
}

/// How a problem is solved.
#[derive(Clone, Debug)]
struct Settings {
    tolerance: f64,
    iterations: usize,
    streaming: bool,
    kept: KeptEntries,
    annealing: Annealing,
    relaxation: Relaxation,
    update: Update,
}

impl Settings {
    fn draw(random: &mut Seeded, unit: f64) -> Self {
        Self {
            tolerance: if unit < 1e-10 { one_of(random, &[1e-6, 1e-9, 1e-3]) } else { one_of(random, &[1e-4, 1e-2]) },
            iterations: one_of(random, &[1, 20, 300, 300]),
            streaming: percent(random, 30),
            kept: one_of(random, &[KeptEntries::Automatic, KeptEntries::Single, KeptEntries::Full]),
            annealing: one_of(random, &[Annealing::Automatic, Annealing::Automatic, Annealing::Off]),
            relaxation: one_of(random, &[Relaxation::Adaptive, Relaxation::Adaptive, Relaxation::Off]),
            update: Update::Alternating,
        }
    }

    fn backend<T: CpuScalar>(&self, backend: &CpuBackend<T>) -> CpuBackend<T> {
        let limit = if self.streaming { 0 } else { usize::MAX };
        backend.clone().with_dense_limit(limit).with_kept_entries(self.kept)
    }

    fn newton(&self) -> Newton {
        Newton::new().tolerance(self.tolerance).max_passes(self.iterations)
    }

    fn sinkhorn(&self) -> Sinkhorn {
        Sinkhorn::new()
            .tolerance(self.tolerance)
            .max_iterations(self.iterations)
            .annealing(self.annealing)
            .relaxation(self.relaxation)
            .update(self.update)
    }
}

/// Recomputes what the certificate says.
pub(super) fn judge<T: CpuScalar>(
    solution: &Solution<Host<T>>,
    instance: &Instance,
    penalties: [Penalty; 2],
    regularizer: Regularizer,
    tolerance: f64,
    report: &mut Report,
) -> Result<entropic::Problem, Error> {
    let asked = solution.problem();
    let weights = |side: Side| -> Result<Vec<f64>, Error> {
        Ok(wide(&asked.backend().download(&[asked.marginal(side).weights()])?.swap_remove(0)))
    };
    let problem = entropic::Problem {
        weights: [weights(Side::Source)?, weights(Side::Target)?],
        costs: instance.costs.clone(),
        epsilon: solution.potentials().epsilon,
        penalties,
        regularizer,
    };
    let [f, g] = [wide(&solution.potential(Side::Source)?), wide(&solution.potential(Side::Target)?)];
    report.numbers("potential f", &f);
    report.numbers("potential g", &g);
    let certificate = solution.certificate();
    numbers(certificate, report);
    // Between masses near the smallest number entries have no digits to compare.
    if problem.mean_mass() < 1e9 * T::TINY {
        return Ok(problem);
    }
    let found = problem.evaluate([&f, &g], T::EPSILON);
    // Densities of squares are known absolutely.
    let per_exponent = match regularizer {
        Regularizer::Entropy => 1.0,
        Regularizer::SquaredL2 => problem.mean_mass().max(1.0),
    };
    let of_costs = per_exponent * instance.cost_error::<T>() / problem.epsilon;
    let rounding = rounding::<T>(&problem, &found).max(certificate.rounding) + of_costs;
    if solution.status().is_converged() {
        report.at_most(
            "error of a converged plan",
            found.error,
            tolerance + certificate.rounding + 4.0 * of_costs.exp_m1() + 1e-14,
        );
    }
    // Of entries without digits nothing is claimed.
    if rounding >= 1.0 {
        return Ok(problem);
    }
    let mean = problem.mean_mass();
    let size = rounding * found.mass.max(mean);
    // Densities beyond the element type are infinite.
    let overflows = found.largest_density > 1e-3 * T::MAX || found.mass > 1e-3 * T::MAX;
    let infinite = certificate.marginal_error == f64::INFINITY && overflows;
    if found.error.is_finite() && found.mass.is_finite() && !infinite {
        let slack = 8.0 * size / mean * (1.0 + found.error);
        let errors = [found.error, found.strict_error];
        report.at_most("marginal error", certificate.marginal_error, errors[0].max(errors[1]) + slack);
        report.at_most("minus the marginal error", -certificate.marginal_error, slack - errors[0].min(errors[1]));
        report.near("mass", certificate.mass, found.mass, 8.0 * size);
    }
    if let Some(cost) = certificate.transport_cost
        && found.cost_size.is_finite()
    {
        // Entries too small for the element type may be its smallest one, or none.
        let vanishing = problem.costs.iter().filter(|cost| cost.is_finite()).map(|cost| cost.abs()).sum::<f64>();
        let smallest = 64.0 * T::TINY * T::EPSILON * problem.costs.len() as f64;
        let vanishing = 64.0 * T::TINY * mean * mean * vanishing + smallest;
        let slack = (8.0 * rounding * found.cost_size).max(found.cost_rounding) + vanishing + 1e-300;
        report.near("transport cost", cost, found.transport_cost, slack);
    }
    values::<T>(&problem, &found, [f, g], certificate, rounding, report);
    Ok(problem)
}

/// What rounding makes of a mass, relative to the larger of those of the plan and of the problem.
fn rounding<T: CpuScalar>(problem: &entropic::Problem, found: &Evaluation) -> f64 {
    let of_mass = |weights: &Vec<f64>| sum(weights.iter().copied()).max(f64::MIN_POSITIVE).ln().abs();
    let exponent = found.largest_potential / problem.epsilon + problem.weights.iter().map(of_mass).sum::<f64>();
    T::EPSILON
        * match problem.regularizer {
            Regularizer::Entropy => 8.0 + exponent,
            // Of a density by itself, which the product of the weights multiplies.
            Regularizer::SquaredL2 => 8.0 + exponent * problem.mean_mass().max(1.0),
        }
}

/// No number of a certificate is NaN, nor a gap negative.
pub(super) fn numbers(certificate: &Certificate, report: &mut Report) {
    let Certificate { marginal_error, source_residual, target_residual, mass, primal, dual, gap, rounding, .. } =
        certificate;
    let all = [marginal_error, source_residual, target_residual, mass, primal, dual, gap, rounding].map(|value| *value);
    report.numbers("the certificate", &all);
    report.number("transport cost", certificate.transport_cost.unwrap_or(0.0));
    let rounding = 64.0 * (rounding + f64::EPSILON) * primal.abs().min(dual.abs());
    report.require(*gap >= 0.0 && *primal >= dual - rounding, || {
        format!("gap {gap:e}, primal {primal:e}, dual {dual:e}")
    });
}

/// The values bound the optimum: no dual value of other potentials is above the primal, and no plan below the dual.
fn values<T: CpuScalar>(
    problem: &entropic::Problem,
    found: &Evaluation,
    mut potentials: [Vec<f64>; 2],
    certificate: &Certificate,
    rounding: f64,
    report: &mut Report,
) {
    let slack = |size: f64| 64.0 * (T::EPSILON + rounding) * size + 1e-300;
    if certificate.dual.is_finite() && found.dual.is_finite() {
        let slack = slack(found.dual_size + found.cost_size).max(found.dual_rounding);
        report.near("dual", certificate.dual, found.dual, slack);
    }
    let mut best = vec![found.clone()];
    if problem.regularizer == Regularizer::Entropy {
        if !potentials.iter().flatten().all(|potential| potential.abs() < 1e15 * problem.epsilon) {
            potentials.iter_mut().for_each(|potential| potential.fill(0.0));
        }
        problem.sweep(&mut potentials, 100);
        best.push(problem.evaluate([&potentials[0], &potentials[1]], 0.0));
    }
    for other in best {
        if other.dual.is_finite() && certificate.primal.is_finite() {
            let size = other.dual_size + other.cost_size + certificate.primal.abs();
            report.at_most("a dual value, at most the primal", other.dual - certificate.primal, slack(size));
        }
        let (primal, size) = problem.upper_bound(other.plan);
        if primal.is_finite() && size.is_finite() {
            let dual_size = found.dual_size + found.cost_size;
            let bound = slack(size + if dual_size.is_finite() { dual_size } else { 0.0 });
            report.at_most("the dual, at most the objective of a plan", certificate.dual - primal, bound);
        }
    }
}

/// Bounds of the problem without entropy.
fn check_bounds<T: CpuScalar>(
    solution: &Solution<Host<T>>,
    problem: &entropic::Problem,
    exact: bool,
    cost_error: f64,
    report: &mut Report,
) {
    let [a, b] = &problem.weights;
    let optimum = if exact { least_cost(a, b, &problem.costs) } else { None };
    match unregularized_bounds(solution) {
        Err(error) => report.require(false, || format!("no bounds without entropy: {error}")),
        Ok(bounds) => {
            report.numbers("bounds without entropy", &[bounds[0].lower, bounds[0].upper]);
            let Some(optimum) = optimum else { return };
            let mass = sum(a.iter().copied());
            let slack = 32.0 * T::EPSILON * optimum.size + mass * cost_error + 1e-300;
            report.at_most("lower bound above the least cost", bounds[0].lower - optimum.value, slack);
            report.at_most("upper bound below the least cost", optimum.value - bounds[0].upper, slack);
            if optimum.value - bounds[0].upper > slack {
                report.given(
                    "bounds",
                    (
                        bounds[0],
                        optimum.value,
                        solution.certificate(),
                        solution.potential(Side::Source),
                        solution.potential(Side::Target),
                    ),
                );
            }
        }
    }
}
