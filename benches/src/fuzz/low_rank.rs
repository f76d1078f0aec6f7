//! Couplings of low rank beside the least cost in exact arithmetic: a feasible plan, and bounds on both sides.

use ot_core::{Error, Side};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{LowRankCoupling, LowRankTransport};

use super::{
    generate::{below, masses, one_of, percent},
    instance::{Instance, sizes},
    oracle::{sum::sum, transport::least_cost},
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(backends: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let [n, m] = sizes(random);
    let drawn = masses::<T>(random, n, m);
    let instance = Instance::draw::<T>(random, [drawn.source, drawn.target]);
    let atoms = [0, 1].map(|side: usize| instance.weights[side].iter().filter(|weight| **weight > 0.0).count());
    let rank = 1 + below(random, atoms[0].min(atoms[1]));
    let settings = LowRankTransport::new(rank).seed(7).max_iterations(one_of(random, &[1, 10, 100]));
    instance.describe::<T>(report);
    report.given("settings", settings);
    let solve = |backend: &CpuBackend<T>| -> Result<LowRankCoupling, Error> {
        let [source, target] = instance.measures::<T>()?;
        settings.solve(backend, source.as_ref(), target.as_ref(), instance.cost::<T>()?.as_ref())
    };
    match solve(&backends[0]) {
        Err(error) => {
            let unfit = instance.forbids() || instance.leaves_range::<T>() || instance.overflows_as_product();
            report.refused(&error, unfit);
        }
        Ok(coupling) => {
            report.status(coupling.status());
            let bounds = [coupling.lower_bound(), coupling.transport_cost(), coupling.gap()];
            report.numbers("lower bound, transport cost, gap", &bounds);
            check(&instance, &coupling, drawn.exact, report);
            if percent(random, 20) {
                let bits = format!("{coupling:?}");
                for backend in &backends[1..] {
                    let same = solve(backend).is_ok_and(|other| format!("{other:?}") == bits);
                    report.require(same, || format!("other bits with {} threads", backend.threads()));
                }
            }
        }
    }
}

fn check(instance: &Instance, coupling: &LowRankCoupling, is_exact: bool, report: &mut Report) {
    let ([a, b], m) = ([&instance.weights[0], &instance.weights[1]], instance.weights[1].len());
    let mass = sum(a.iter().copied());
    for side in Side::BOTH {
        report.numbers("factor", coupling.factor(side));
        let is_negative = coupling.factor(side).iter().any(|entry| *entry < 0.0);
        report.require(!is_negative, || format!("a negative factor: {:?}", coupling.factor(side)));
    }
    let Ok(plan) = coupling.to_dense() else { return report.require(false, || "no plan".into()) };
    // Between masses that are no normal numbers a share of one has no digits.
    if mass < 1e3 * f64::MIN_POSITIVE / f64::EPSILON {
        return;
    }
    let rows = (0..a.len()).map(|i| (sum(plan[i * m..(i + 1) * m].iter().copied()) - a[i]).abs());
    let columns = (0..m).map(|j| (sum(plan.iter().skip(j).step_by(m).copied()) - b[j]).abs());
    let difference = (sum(b.iter().copied()) - mass).abs();
    report.at_most("residual", sum(rows.chain(columns)), 1e-12 * mass + 2.0 * difference);

    let costs = plan.iter().zip(&instance.costs).map(|(mass, cost)| if *mass > 0.0 { mass * cost } else { 0.0 });
    let (cost, size) = (sum(costs.clone()), sum(costs.map(f64::abs)));
    let largest = instance.costs.iter().fold(0.0_f64, |largest, cost| largest.max(cost.abs()));
    let of_costs = mass * instance.cost_error::<f64>();
    let slack = 1e-10 * size + 1e-12 * mass * largest + of_costs + 1e-300;
    report.near("transport cost", coupling.transport_cost(), cost, slack);
    let least = if is_exact { least_cost(a, b, &instance.costs) } else { None };
    let Some(least) = least.filter(|least| least.size < f64::MAX / 1e6) else { return };
    report.at_most("lower than the least cost", least.value - coupling.transport_cost(), slack);
    report.at_most("lower bound above the least cost", coupling.lower_bound() - least.value, slack);
}
