//! Partial transport, exact and entropic, beside the least cost with atoms that take what stays.

use ot_core::{Epsilon, Error, Host, Side};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{ExactTransport, PartialSolution, PartialTransport, Sinkhorn};

use super::{
    generate::{below, decade, masses, percent, typical_cost},
    instance::{Instance, sizes},
    judge::numbers,
    oracle::{
        sum::{ExactSum, sum},
        transport::{Optimum, least_cost},
    },
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let [n, m] = sizes(random);
    let drawn = masses::<T>(random, n, m);
    let mut weights = [drawn.source, drawn.target];
    // More mass on one side.
    if percent(random, 50) {
        let side = below(random, 2);
        weights[side].iter_mut().for_each(|weight| *weight *= 2.0);
    }
    let total = |weights: &[f64]| sum(weights.iter().copied());
    let least = total(&weights[0]).min(total(&weights[1]));
    let mass = match below(random, 6) {
        0 => least,
        1 => least * decade(random, -12.0, 0.0),
        2 => weights[0].iter().copied().find(|weight| *weight > 0.0 && *weight <= least).unwrap_or(least),
        _ => least * 0.125 * (1 + below(random, 7)) as f64,
    };
    // Multiples of the smallest numbers round up.
    let mass = if mass > 0.0 { mass.min(least) } else { least };
    let instance = Instance::draw::<T>(random, weights);
    let epsilon = typical_cost(&instance.costs) * decade(random, -3.0, 0.0);
    instance.describe::<T>(report);
    report.given("mass", mass);
    report.given("epsilon", epsilon);
    let optimum = if drawn.exact { least_partial_cost(&instance, mass) } else { None };
    // What keeps the atoms that take what stays apart costs more than twice the largest cost.
    let largest = instance.costs.iter().fold(epsilon, |largest, cost| largest.max(cost.abs()));
    let too_large = 100.0 * largest > T::LARGEST_COST;
    let allowed = too_large || instance.leaves_range::<T>() || instance.forbids() || !drawn.exact;

    let exact = instance.measures::<T>().and_then(|[source, target]| {
        let cost = instance.cost::<T>()?;
        ExactTransport::new().mass(mass).solve(&backends[0], source.as_ref(), target.as_ref(), cost.as_ref())
    });
    match exact {
        Err(error) => report.refused(&error, allowed || instance.overflows_as_product()),
        Ok(exact) => {
            let certificate = exact.certificate();
            report.status(exact.status());
            report.numbers("exact", &[certificate.primal, certificate.dual, certificate.gap]);
            let moved = sum(exact.plan().entries().iter().map(|entry| entry.mass));
            report.near("mass moved", moved, mass, 1e-12 * least);
            if let Some(optimum) = optimum.as_ref().filter(|optimum| optimum.size < f64::MAX / 1e6) {
                let used = exact.plan().entries().iter();
                let used = used.map(|entry| instance.costs[entry.source as usize * m + entry.target as usize].abs());
                let of_costs = least * instance.cost_error::<f64>();
                let slack = 1e-9 * optimum.size + 1e-13 * least * used.fold(0.0, f64::max) + of_costs + 1e-300;
                report.near("exact cost", certificate.primal, optimum.value, slack);
            }
        }
    }
    let entropic = instance.measures::<T>().and_then(|[source, target]| {
        let cost = instance.cost::<T>()?;
        let solver = PartialTransport::new(mass).sinkhorn(Sinkhorn::new().max_iterations(300));
        solver.solve(&backends[0], source.as_ref(), target.as_ref(), cost.as_ref(), Epsilon::Absolute(epsilon))
    });
    match entropic {
        Err(Error::Epsilon(_)) => {}
        Err(error) => report.require(allowed || instance.entropy_leaves_range::<T>(epsilon), || {
            format!("partial transport refused: {error}")
        }),
        Ok(solution) => {
            if let Err(error) =
                check_entropic(&solution, [mass, least, least * instance.cost_error::<T>()], optimum.as_ref(), report)
            {
                report.require(false, || format!("no bounds: {error}"));
            }
        }
    }
}

fn check_entropic<T: CpuScalar>(
    solution: &PartialSolution<Host<T>>,
    [mass, least, of_costs]: [f64; 3],
    optimum: Option<&Optimum>,
    report: &mut Report,
) -> Result<(), Error> {
    let (inner, bounds) = (solution.solution(), solution.bounds()?);
    numbers(inner.certificate(), report);
    for side in Side::BOTH {
        report.numbers("potential", &super::generate::wide(&inner.potential(side)?));
    }
    let entries = solution.to_dense()?;
    report.numbers("entries", &entries);
    report.numbers("bounds", &[bounds.lower, bounds.upper]);
    if inner.status().is_converged() && mass > 1e9 * T::TINY {
        let whole = solution.mass_unit() * inner.problem().marginal(Side::Source).mass(0);
        let tolerance = if T::EPSILON < 1e-10 { 1e-6 } else { 1e-4 };
        let slack = tolerance * whole + 64.0 * T::EPSILON * least;
        report.near("mass of the entropic plan", sum(entries.iter().copied()), mass, slack);
    }
    if let Some(optimum) = optimum.filter(|optimum| optimum.size < f64::MAX / 1e6) {
        let slack = 64.0 * T::EPSILON * (optimum.size + bounds.lower.abs().min(bounds.upper.abs())) + 1e-300;
        // What the element type makes of the masses that stay.
        let slack = slack + 64.0 * T::EPSILON * least / mass * optimum.size + of_costs;
        report.at_most("lower bound above the least cost", bounds.lower - optimum.value, slack);
        report.at_most("upper bound below the least cost", optimum.value - bounds.upper, slack);
    }
    Ok(())
}

/// The least cost of moving `mass`; `None` where a mass that stays is no number.
fn least_partial_cost(instance: &Instance, mass: f64) -> Option<Optimum> {
    let [a, b] = &instance.weights;
    let rest = |weights: &[f64]| -> Option<f64> {
        let mut rest: ExactSum = weights.iter().copied().collect();
        rest.add(-mass);
        match rest.parts() {
            [] => Some(0.0),
            [rest] if *rest > 0.0 => Some(*rest),
            _ => None,
        }
    };
    let (of_source, of_target) = ([a.as_slice(), &[rest(b)?]].concat(), [b.as_slice(), &[rest(a)?]].concat());
    let mut costs: Vec<f64> =
        instance.costs.chunks_exact(b.len()).flat_map(|row| row.iter().copied().chain([0.0])).collect();
    costs.extend(std::iter::repeat_n(0.0, b.len()));
    costs.push(f64::INFINITY);
    least_cost(&of_source, &of_target, &costs)
}
