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
    let problem = Penalised { instance: &instance, penalty };
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
            let beyond = penalty > 1e300 || instance.overflows_as_product() || problem.makes_too_much();
            return report.refused(&error, instance.leaves_range::<T>() || beyond);
        }
    };
    report.status(solution.status);
    report.numbers("plan", &solution.plan);
    report.require(solution.plan.iter().all(|entry| *entry >= 0.0), || "a negative entry".into());
    let UnregularizedPlan { transport_cost, primal, dual, gap, .. } = solution;
    report.numbers("transport cost, primal, dual, gap", &[transport_cost, primal, dual, gap]);
    report.require(solution.status != Status::NotFinite, || "ended at a number that is not finite".into());
    let (found, size) = problem.objective(&solution.plan);
    if !size.is_finite() {
        return;
    }
    let of_costs = sum(solution.plan.iter().copied()) * instance.cost_error::<f64>();
    let slack = 1e-9 * size + problem.rounding_of_entries(&solution.plan) + of_costs + 1e-300;
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
                1e-9 * (size + other_size) + of_costs + 1e-300,
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
        terms.extend(rows.zip(a).map(|(mass, weight)| self.missed(of_source, mass, *weight)));
        terms.extend(columns.zip(b).map(|(mass, weight)| self.missed(of_target, mass, *weight)));
        (sum(terms.iter().copied()), terms.iter().map(|term| term.abs()).sum())
    }

    /// The penalty of one atom.
    fn missed(&self, rho: f64, mass: f64, weight: f64) -> f64 {
        let change = (mass - weight) / weight;
        match self.penalty {
            MassPenalty::Kl { .. } if weight == 0.0 => {
                if mass > 0.0 {
                    f64::INFINITY
                } else {
                    0.0
                }
            }
            MassPenalty::Kl { .. } if mass == 0.0 => rho * weight,
            MassPenalty::Kl { .. } if change.abs() < 1e-4 => {
                rho * weight * change * change * (0.5 - change * (1.0 / 6.0 - change / 12.0))
            }
            MassPenalty::Kl { .. } => rho * mass * (mass / weight).ln() - rho * (mass - weight),
            // The square alone may be out of range.
            _ => 0.5 * (rho * (mass - weight)) * (mass - weight),
        }
    }

    /// What the objective changes by if each entry does by its rounding: large penalties see it, and entries of a plan between
    /// denormal masses are known to the smallest number only.
    fn rounding_of_entries(&self, plan: &[f64]) -> f64 {
        const SMALLEST: f64 = 5e-324;
        let change = |entry: f64| (4.0 * f64::EPSILON * entry).max(SMALLEST);
        let changed: Vec<f64> = plan.iter().map(|&entry| entry + change(entry)).collect();
        let Instance { weights: [a, b], costs, .. } = self.instance;
        let may_have_mass =
            |index: usize| a[index / b.len()] > 0.0 && b[index % b.len()] > 0.0 && costs[index].is_finite();
        let (n, m) = (a.len(), b.len());
        let mut rounding = 0.0;
        for index in (0..plan.len()).filter(|&index| may_have_mass(index)) {
            let row: f64 = (0..m).map(|j| changed[index / m * m + j]).sum();
            let column: f64 = (0..n).map(|i| changed[i * m + index % m]).sum();
            let slopes = self.slope(0, row, a[index / m]) + self.slope(1, column, b[index % m]);
            rounding += change(plan[index]) * (costs[index].abs() + slopes);
        }
        rounding
    }

    /// The size of the derivative of the penalty of one atom.
    fn slope(&self, side: usize, mass: f64, weight: f64) -> f64 {
        match self.penalty {
            MassPenalty::Kl { source, target } => [source, target][side] * (1.0 + (mass / weight).ln().abs()),
            MassPenalty::SquaredL2 { source, target } => [source, target][side] * (mass - weight).abs(),
            _ => f64::INFINITY,
        }
    }

    /// Is there a pair that by itself makes so much mass, since its cost is negative, that mass or value are out of range?
    fn makes_too_much(&self) -> bool {
        let Instance { weights: [a, b], costs, .. } = self.instance;
        let pairs = costs.iter().enumerate().filter(|(_, cost)| **cost < 0.0);
        let mut pairs = pairs.map(|(index, cost)| (a[index / b.len()], b[index % b.len()], *cost));
        pairs.any(|(a, b, cost)| match self.penalty {
            MassPenalty::Kl { source, target } => {
                let share = source / (source + target);
                let log_mass = share * a.ln() + (1.0 - share) * b.ln() - cost / (source + target);
                log_mass > 690.0 || log_mass + (source + target).ln() > 690.0
            }
            MassPenalty::SquaredL2 { source, target } => {
                let mass = -cost / (source + target);
                mass > 1e300 || mass * -cost > 1e300
            }
            _ => false,
        })
    }
}
