//! Certificates of entropic solvers beside the definitions in f64.

use ot_core::{Certificate, Error, Host, Side, Solution};
use ot_cpu::CpuScalar;
use ot_solvers::{UnregularizedBounds, unregularized_bounds};

use super::{
    generate::wide,
    instance::Instance,
    oracle::{
        entropic::{self, Evaluation, Penalty, Regularizer},
        sum::sum,
        transport::least_cost,
    },
    report::Report,
};

/// What was asked of a solver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) penalties: [Penalty; 2],
    pub(super) regularizer: Regularizer,
    pub(super) tolerance: f64,
}

/// Recomputes what the certificate of a column says.
pub(super) fn judge<T: CpuScalar>(
    solution: &Solution<Host<T>>,
    column: usize,
    instance: &Instance,
    Asked { penalties, regularizer, tolerance }: Asked,
    report: &mut Report,
) -> Result<entropic::Problem, Error> {
    let asked = solution.problem();
    let weights = |side: Side| -> Result<Vec<f64>, Error> {
        Ok(of_column(
            &asked.backend().download(&[asked.marginal(side).weights()])?[0],
            asked.marginal(side).len(),
            column,
        ))
    };
    let problem = entropic::Problem {
        weights: [weights(Side::Source)?, weights(Side::Target)?],
        costs: instance.costs.clone(),
        epsilon: solution.potentials().epsilon,
        penalties,
        regularizer,
    };
    let potential = |side: Side| -> Result<Vec<f64>, Error> {
        Ok(of_column(&solution.potential(side)?, asked.marginal(side).len(), column))
    };
    let [f, g] = [potential(Side::Source)?, potential(Side::Target)?];
    report.numbers("potential f", &f);
    report.numbers("potential g", &g);
    let (certificate, status) = (&solution.certificates()[column], solution.statuses()[column]);
    numbers(certificate, report);
    // Between masses near the smallest number entries have no digits to compare, nor has a plan of hardly any mass.
    if problem.least_mass() < 1e9 * T::TINY {
        return Ok(problem);
    }
    let found = problem.evaluate([&f, &g], T::EPSILON);
    if found.mass > 0.0 && found.mass < 1e9 * f64::MIN_POSITIVE {
        return Ok(problem);
    }
    // Densities of squares are known absolutely.
    let per_exponent = match regularizer {
        Regularizer::Entropy => 1.0,
        Regularizer::SquaredL2 => problem.mean_mass().max(1.0),
    };
    let of_costs = per_exponent * instance.cost_error::<T>() / problem.epsilon;
    let rounding = rounding::<T>(&problem, &found).max(certificate.rounding) + of_costs;
    if status.is_converged() {
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
        let of_costs = found.mass * instance.cost_error::<T>();
        let slack = (8.0 * rounding * found.cost_size).max(found.cost_rounding) + of_costs + vanishing + 1e-300;
        report.near("transport cost", cost, found.transport_cost, slack);
    }
    values::<T>(&problem, &found, [f, g], certificate, rounding, report);
    Ok(problem)
}

/// The numbers of a column, where one histogram may serve all.
fn of_column<T: CpuScalar>(values: &[T], len: usize, column: usize) -> Vec<f64> {
    let first = column.min(values.len() / len - 1) * len;
    wide(&values[first..first + len])
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
    let size = primal.abs().min(dual.abs());
    let rounding = if size > 0.0 { 64.0 * (rounding + f64::EPSILON) * size } else { 0.0 };
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
        // Of atoms whose densities are no normal numbers.
        let m = problem.weights[1].len();
        let rows = problem.weights[0].iter().zip(found.plan.chunks_exact(m));
        let without_digits =
            rows.filter(|(weight, row)| sum(row.iter().copied()) < 2.0 * *weight * T::TINY / T::EPSILON);
        let vanished = 2.0 * T::TINY * problem.epsilon * without_digits.map(|(weight, _)| weight).sum::<f64>();
        // Where epsilon is large, entries that vanish count at the smallest number.
        let weights = problem.mean_mass().max(1.0).powi(2) * problem.costs.len() as f64;
        let smallest = 64.0 * T::TINY * problem.epsilon * weights;
        let slack = slack(found.dual_size + found.cost_size).max(found.dual_rounding) + vanished + smallest;
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
pub(super) fn check_bounds<T: CpuScalar>(
    solution: &Solution<Host<T>>,
    column: usize,
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
            let UnregularizedBounds { lower, upper } = bounds[column];
            report.numbers("bounds without entropy", &[lower, upper]);
            let Some(optimum) = optimum.filter(|optimum| optimum.size < f64::MAX / 1e6) else { return };
            let mass = sum(a.iter().copied());
            let slack = 32.0 * T::EPSILON * optimum.size + mass * cost_error + 1e-300;
            report.at_most("lower bound above the least cost", lower - optimum.value, slack);
            report.at_most("upper bound below the least cost", optimum.value - upper, slack);
        }
    }
}
