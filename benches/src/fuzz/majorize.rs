//! Penalised transport without entropy beside its objective at other plans and its dual at other potentials.

use ot_core::Status;
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{MajorizeMinimize, MassPenalty, UnregularizedPlan};

use super::{
    generate::{below, decade, free_masses, percent, typical_cost},
    instance::{Instance, sizes},
    oracle::sum::sum,
    report::Report,
};
use crate::seeded::Seeded;

/// One case.
pub fn case<T: CpuScalar>(_: &[CpuBackend<T>; 3], random: &mut Seeded, report: &mut Report) {
    let [n, m] = sizes(random);
    let weights = free_masses::<T>(random, n, m);
    let instance = Instance::draw::<T>(random, weights);
    let unit = typical_cost(&instance.costs);
    let rho = |random: &mut Seeded| {
        let strength = if percent(random, 80) { decade(random, -3.0, 2.0) } else { decade(random, -12.0, 12.0) };
        (strength * unit).clamp(1e-300, 1e300)
    };
    let (source, target) = (rho(random), rho(random));
    let penalty = match below(random, 3) {
        0 => MassPenalty::SquaredL2 { source, target },
        _ => MassPenalty::Kl { source, target },
    };
    instance.describe::<T>(report);
    report.given("penalty", penalty);
    let solved = instance.measures::<T>().and_then(|[a, b]| {
        MajorizeMinimize::new(penalty).max_iterations(1000).solve(
            a.as_ref(),
            b.as_ref(),
            instance.cost::<T>()?.as_ref(),
        )
    });
    let solution = match solved {
        Ok(solution) => solution,
        Err(error) => {
            let mass = sum(instance.weights.iter().flatten().copied());
            let penalty = source.max(target) * mass * mass.max(1.0);
            return report
                .refused(&error, instance.leaves_range::<T>() || penalty > 1e300 || instance.overflows_as_product());
        }
    };
    report.status(solution.status);
    report.numbers("plan", &solution.plan);
    report.require(solution.plan.iter().all(|entry| *entry >= 0.0), || "a negative entry".into());
    let UnregularizedPlan { transport_cost, primal, dual, gap, .. } = solution;
    report.numbers("transport cost, primal, dual, gap", &[transport_cost, primal, dual, gap]);
    report.require(solution.status != Status::NotFinite, || "ended at a number that is not finite".into());
    let problem = Penalised { instance: &instance, penalty };
    let (found, size) = problem.objective(&solution.plan);
    if !size.is_finite() {
        return;
    }
    let slack = 1e-9 * size + 1e-300;
    report.near("primal", primal, found, slack);
    if solution.status.is_converged() {
        report.at_most("gap of a converged plan", gap, 1e-6 * primal.abs() * (1.0 + 1e-9) + 1e-300);
    }
    // The dual is below the objective of every plan: the one found, thinned and thickened, none, and one pair alone.
    let scaled = [0.0, 0.5, 0.9, 0.99, 1.01, 1.1]
        .map(|factor| -> Vec<f64> { solution.plan.iter().map(|entry| factor * entry).collect() });
    let alone = (0..n * m).filter(|&pair| instance.costs[pair] < f64::INFINITY).map(|pair| {
        let mut plan = vec![0.0; n * m];
        plan[pair] = instance.weights[0][pair / m].min(instance.weights[1][pair % m]);
        plan
    });
    for plan in scaled.into_iter().chain(alone) {
        let (other, other_size) = problem.objective(&plan);
        if other.is_finite() {
            report.at_most(
                "the dual, at most the objective of a plan",
                dual - other,
                1e-9 * (size + other_size) + 1e-300,
            );
        }
    }
    if solution.status.is_converged() {
        return;
    }
    report.require(primal >= dual - 1e-9 * size, || format!("primal {primal:e} below dual {dual:e}"));
}

/// The problem by its definition.
struct Penalised<'a> {
    instance: &'a Instance,
    penalty: MassPenalty,
}

impl Penalised<'_> {
    /// The objective, and the sum of the sizes of its terms.
    fn objective(&self, plan: &[f64]) -> (f64, f64) {
        let Instance { weights: [a, b], costs, .. } = self.instance;
        let (n, m) = (a.len(), b.len());
        let mut terms: Vec<f64> =
            plan.iter().zip(costs).filter(|(entry, _)| **entry > 0.0).map(|(entry, cost)| entry * cost).collect();
        let rows = (0..n).map(|i| sum((0..m).map(|j| plan[i * m + j])));
        let columns = (0..m).map(|j| sum((0..n).map(|i| plan[i * m + j])));
        let (of_source, of_target) = match self.penalty {
            MassPenalty::Kl { source, target } | MassPenalty::SquaredL2 { source, target } => (source, target),
            _ => return (f64::INFINITY, f64::INFINITY),
        };
        terms.extend(rows.zip(a).map(|(mass, weight)| of_source * self.missed(mass, *weight)));
        terms.extend(columns.zip(b).map(|(mass, weight)| of_target * self.missed(mass, *weight)));
        (sum(terms.iter().copied()), terms.iter().map(|term| term.abs()).sum())
    }

    fn missed(&self, mass: f64, weight: f64) -> f64 {
        match self.penalty {
            MassPenalty::Kl { .. } if weight == 0.0 => {
                if mass > 0.0 {
                    f64::INFINITY
                } else {
                    0.0
                }
            }
            MassPenalty::Kl { .. } if mass == 0.0 => weight,
            MassPenalty::Kl { .. } => {
                let change = (mass - weight) / weight;
                if change.abs() < 1e-4 {
                    weight * change * change * (0.5 - change * (1.0 / 6.0 - change / 12.0))
                } else {
                    mass * (mass / weight).ln() - (mass - weight)
                }
            }
            _ => 0.5 * (mass - weight) * (mass - weight),
        }
    }
}
