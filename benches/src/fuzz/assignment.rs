//! Assignment beside the list of all permutations.

use ot_core::Side;
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::assign;

use super::{
    generate::below,
    instance::Instance,
    oracle::sum::{largest_exponent, sum, times_power_of_two},
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(_: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let [n, m] = [1 + below(random, 5), 1 + below(random, 6)];
    let instance = Instance::draw::<T>(random, [vec![1.0; n], vec![1.0; m]]);
    instance.describe::<T>(report);
    let found = instance
        .measures::<T>()
        .and_then(|[source, target]| assign(source.support(), target.support(), instance.cost::<T>()?.as_ref()));
    let best = least_total(&instance.costs, n, m);
    match found {
        Err(error) => {
            report.refused(&error, best.is_none() || instance.leaves_range::<T>() || instance.overflows_as_product())
        }
        Ok(assignment) => {
            report.ended("solved");
            report.numbers("potentials", assignment.potential(Side::Source));
            report.numbers("potentials", assignment.potential(Side::Target));
            report.number("total cost", assignment.total_cost());
            report.number("dual", assignment.dual());
            let mut targets: Vec<u32> = assignment.targets().iter().copied().flatten().collect();
            targets.sort_unstable();
            targets.dedup();
            report.require(targets.len() == n.min(m), || format!("no assignment: {:?}", assignment.targets()));
            let Some((total, size)) = best else {
                return report.require(instance.points.is_some(), || "assigned what cannot be".into());
            };
            if size < f64::MAX / 1e3 {
                let slack = 1e-9 * size + n as f64 * instance.cost_error::<f64>() + 1e-320;
                report.near("total cost", assignment.total_cost(), total, slack);
                let potentials = [Side::Source, Side::Target].map(|side| assignment.potential(side)).concat();
                let of_dual: f64 = potentials.iter().map(|f| f.abs()).sum();
                report.near("dual", assignment.dual(), total, slack + 1e-13 * of_dual);
            }
        }
    }
}

/// The least total of an assignment and of the sizes of its costs.
fn least_total(costs: &[f64], n: usize, m: usize) -> Option<(f64, f64)> {
    let exponent = largest_exponent(costs);
    let at = |i: usize, j: usize| {
        let cost = if n <= m { costs[i * m + j] } else { costs[j * m + i] };
        if exponent > 1000 { times_power_of_two(cost, -20) } else { cost }
    };
    let mut best: Option<Vec<f64>> = None;
    let (rows, columns) = (n.min(m), n.max(m));
    extend(&at, columns, &mut vec![], &mut vec![false; columns], rows, &mut best);
    let back = |value: f64| if exponent > 1000 { times_power_of_two(value, 20) } else { value };
    best.map(|terms| (back(sum(terms.iter().copied())), back(terms.iter().map(|term| term.abs()).sum())))
}

/// Tries all partners of the next row.
fn extend(
    at: &impl Fn(usize, usize) -> f64,
    columns: usize,
    terms: &mut Vec<f64>,
    taken: &mut Vec<bool>,
    rows: usize,
    best: &mut Option<Vec<f64>>,
) {
    if terms.len() == rows {
        if best.as_ref().is_none_or(|best| sum(terms.iter().copied()) < sum(best.iter().copied())) {
            *best = Some(terms.clone());
        }
        return;
    }
    for column in 0..columns {
        let cost = at(terms.len(), column);
        if !taken[column] && cost < f64::INFINITY {
            taken[column] = true;
            terms.push(cost);
            extend(at, columns, terms, taken, rows, best);
            terms.pop();
            taken[column] = false;
        }
    }
}
