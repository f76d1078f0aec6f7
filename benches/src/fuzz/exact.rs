//! Exact transport beside shortest paths in exact arithmetic.

use ot_core::{Error, PlanEntry, Side};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{ExactSolution, ExactTransport, Guide, certify_optimality};

use super::{
    generate::{masses, one_of, percent},
    instance::{Instance, sizes},
    oracle::{
        sum::sum,
        transport::{Optimum, least_cost},
    },
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let [n, m] = if percent(random, 4) { [40, 35] } else { sizes(random) };
    let drawn = masses::<T>(random, n, m);
    let instance = Instance::draw::<T>(random, [drawn.source, drawn.target]);
    let guide = one_of(random, &[Guide::Automatic, Guide::Minima, Guide::Entropic]);
    instance.describe::<T>(report);
    report.given("guide", guide);
    let small = n.max(m) <= 8;
    let optimum = if small && drawn.exact {
        least_cost(&instance.weights[0], &instance.weights[1], &instance.costs)
    } else {
        None
    };
    let solve = |backend: &CpuBackend<T>| -> Result<ExactSolution, Error> {
        let [source, target] = instance.measures::<T>()?;
        let cost = instance.cost::<T>()?;
        ExactTransport::new().guide(guide).solve(backend, source.as_ref(), target.as_ref(), cost.as_ref())
    };
    match solve(&backends[0]) {
        Err(error) => {
            let unknown = optimum.is_none() && instance.forbids();
            report.refused(&error, unknown || instance.leaves_range::<T>() || instance.overflows_as_product());
        }
        Ok(solution) => {
            report.status(solution.status());
            check(&instance, &solution, optimum.as_ref(), report);
            check_again::<T>(&instance, &solution, report);
            if small && drawn.exact && instance.points.is_none() {
                report.require(optimum.is_some(), || "solved a problem that has no plan".into());
            }
            if percent(random, 20) {
                same_bits(&solution, &backends[1..], solve, report);
            }
        }
    }
}

fn check(instance: &Instance, solution: &ExactSolution, optimum: Option<&Optimum>, report: &mut Report) {
    let ([a, b], m) = ([&instance.weights[0], &instance.weights[1]], instance.weights[1].len());
    let certificate = solution.certificate();
    let numbers = [certificate.primal, certificate.dual, certificate.gap, certificate.smallest_reduced_cost];
    report.numbers("primal, dual, gap, smallest reduced cost", &numbers);
    report.numbers("suboptimality, lower bound", &[certificate.suboptimality(), certificate.lower_bound()]);
    for side in Side::BOTH {
        report.numbers("potential", solution.potential(side));
    }
    let mass = sum(a.iter().copied());
    for (side, weights) in [(Side::Source, a), (Side::Target, b)] {
        let marginal = solution.plan().marginal(side);
        let residual = sum(marginal.iter().zip(weights).map(|(found, weight)| (found - weight).abs()));
        // Masses that rounding alone separates are made equal.
        let difference = (sum(b.iter().copied()) - mass).abs();
        report.at_most("residual", residual, 1e-12 * mass + 2.0 * difference);
    }
    let Some(optimum) = optimum else { return };
    if optimum.size >= f64::MAX / 1e6 {
        return;
    }
    let used = |entry: &PlanEntry| instance.costs[entry.source as usize * m + entry.target as usize].abs();
    let largest = solution.plan().entries().iter().map(used).fold(0.0, f64::max);
    let of_costs = mass * instance.cost_error::<f64>();
    let slack = 1e-9 * optimum.size + 1e-13 * mass * largest + of_costs + 1e-300;
    // Costs of a matrix are the same numbers; formulas are rounded.
    let strict = of_costs + if instance.points.is_some() { 16.0 * f64::EPSILON * optimum.size } else { 0.0 };
    report.at_most("lower than the least cost: primal", optimum.value - certificate.primal, slack);
    report.at_most(
        "lower bound above the least cost",
        certificate.lower_bound() - optimum.value,
        strict + 8.0 * f64::MIN_POSITIVE,
    );
    let suboptimality = certificate.primal - optimum.value;
    report.at_most("above the least cost by more than told", suboptimality - certificate.suboptimality(), slack);
    if solution.status().is_converged() {
        report.near("primal", certificate.primal, optimum.value, slack);
    }
    if certificate.proves(1e-12) {
        report.near("primal proven to 1e-12", certificate.primal, optimum.value, slack);
    }
}

/// The certificate made again from outside is the same one.
fn check_again<T: CpuScalar>(instance: &Instance, solution: &ExactSolution, report: &mut Report) {
    let again = || -> Result<_, Error> {
        let [source, target] = instance.measures::<T>()?;
        let cost = instance.cost::<T>()?;
        let [f, g] = [Side::Source, Side::Target].map(|side| solution.potential(side));
        certify_optimality::<T>(source.as_ref(), target.as_ref(), cost.as_ref(), solution.plan(), f, g)
    };
    match again() {
        Ok(certificate) => report
            .require(format!("{certificate:?}") == format!("{:?}", solution.certificate()), || {
                format!("certified again: {certificate:?}, told {:?}", solution.certificate())
            }),
        Err(error) => report.require(false, || format!("certified again: {error}")),
    }
}

fn same_bits<T: CpuScalar>(
    first: &ExactSolution,
    others: &[CpuBackend<T>],
    solve: impl Fn(&CpuBackend<T>) -> Result<ExactSolution, Error>,
    report: &mut Report,
) {
    let bits = |solution: &ExactSolution| {
        let potentials = Side::BOTH.map(|side| solution.potential(side).to_vec());
        format!("{:?} {potentials:?} {:?}", solution.plan().entries(), solution.certificate())
    };
    for backend in others {
        let same = solve(backend).is_ok_and(|solution| bits(&solution) == bits(first));
        report.require(same, || format!("other bits with {} threads", backend.threads()));
    }
}
