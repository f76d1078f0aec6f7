//! The least cost of transport, by shortest augmenting paths in exact arithmetic.
//!
//! Successive shortest paths (Busacker, Gowen 1960) with the fewest arcs among those of one length (Edmonds, Karp 1972), found by
//! Bellman and Ford's rounds. Masses and lengths are sums without rounding, so that no tolerance decides anything: what is
//! returned is optimal for the numbers given. For a dozen atoms.

use std::cmp::Ordering;

use super::sum::{ExactSum, largest_exponent, times_power_of_two};

/// An optimal plan.
#[derive(Clone, Debug)]
pub struct Optimum {
    /// <P, C>, rounded once.
    pub value: f64,
    /// <P, |C|>: the unit of tolerances.
    pub size: f64,
}

/// min <P, C> over P >= 0, P 1 = a, P^T 1 = b, for a and b of exactly one sum; infinite costs forbid pairs. `None` if there
/// is no such plan.
#[must_use]
pub fn least_cost(a: &[f64], b: &[f64], costs: &[f64]) -> Option<Optimum> {
    // Lengths of paths must not overflow; below 2^960 nothing is scaled, and so nothing lost.
    let down = (largest_exponent(costs) - 960).max(0);
    let costs: Vec<f64> = costs.iter().map(|&cost| times_power_of_two(cost, -down)).collect();
    let mut search = Search {
        costs: &costs,
        supply: a.iter().map(|&mass| ExactSum::of(mass)).collect(),
        demand: b.iter().map(|&mass| ExactSum::of(mass)).collect(),
        flows: vec![ExactSum::default(); a.len() * b.len()],
    };
    while search.supply.iter().any(ExactSum::is_positive) {
        search.augment()?;
    }
    search.demand.iter().all(|demand| !demand.is_positive()).then(|| search.optimum(down))
}

/// A partial plan.
struct Search<'a> {
    costs: &'a [f64],
    supply: Vec<ExactSum>,
    demand: Vec<ExactSum>,
    flows: Vec<ExactSum>,
}

/// The shortest known way to an atom.
#[derive(Clone)]
struct Way {
    length: ExactSum,
    /// The atom before it, on the other side.
    before: Option<usize>,
}

impl Search<'_> {
    /// Sends what the shortest path from what is left to what is lacking can carry.
    fn augment(&mut self) -> Option<()> {
        let [sources, targets] = self.ways();
        let lacking = (0..targets.len()).filter(|&j| self.demand[j].is_positive());
        let reached = lacking.filter_map(|j| targets[j].as_ref().map(|way| (j, way)));
        let (end, _) = reached.min_by(|(_, one), (_, other)| one.length.compare(&other.length))?;

        let mut path = Vec::new();
        let mut target = end;
        let start = loop {
            let source = targets[target].as_ref()?.before?;
            path.push((source, target, true));
            match sources[source].as_ref()?.before {
                None => break source,
                Some(before) => {
                    path.push((source, before, false));
                    target = before;
                }
            }
        };
        let m = self.demand.len();
        let mut amount = self.supply[start].clone();
        let undone = path.iter().filter(|(.., forward)| !forward).map(|&(i, j, _)| &self.flows[i * m + j]);
        for limit in undone.chain([&self.demand[end]]) {
            if limit.compare(&amount) == Ordering::Less {
                amount = limit.clone();
            }
        }
        for (i, j, forward) in path {
            let flow = &mut self.flows[i * m + j];
            *flow = if forward { flow.plus(&amount) } else { flow.minus(&amount) };
        }
        self.supply[start] = self.supply[start].minus(&amount);
        self.demand[end] = self.demand[end].minus(&amount);
        Some(())
    }

    /// Shortest ways from what is left to all atoms, of the fewest arcs.
    fn ways(&self) -> [Vec<Option<Way>>; 2] {
        let (n, m) = (self.supply.len(), self.demand.len());
        let start = |supply: &ExactSum| supply.is_positive().then(|| Way { length: ExactSum::default(), before: None });
        let mut sources: Vec<Option<Way>> = self.supply.iter().map(start).collect();
        let mut targets: Vec<Option<Way>> = vec![None; m];
        let improve = |way: &mut Option<Way>, length: ExactSum, before: usize| -> bool {
            let shorter = way.as_ref().is_none_or(|way| length.compare(&way.length) == Ordering::Less);
            if shorter {
                *way = Some(Way { length, before: Some(before) });
            }
            shorter
        };
        for _ in 0..n + m {
            let mut changed = false;
            for (i, source) in sources.iter().enumerate() {
                let Some(source) = source else { continue };
                for (j, target) in targets.iter_mut().enumerate() {
                    let cost = self.costs[i * m + j];
                    if cost < f64::INFINITY {
                        let mut length = source.length.clone();
                        length.add(cost);
                        changed |= improve(target, length, i);
                    }
                }
            }
            for (j, target) in targets.iter().enumerate() {
                let Some(target) = target else { continue };
                for (i, source) in sources.iter_mut().enumerate() {
                    if self.flows[i * m + j].is_positive() {
                        let mut length = target.length.clone();
                        length.add(-self.costs[i * m + j]);
                        changed |= improve(source, length, j);
                    }
                }
            }
            if !changed {
                break;
            }
        }
        [sources, targets]
    }

    /// The values of the plan; costs have been divided by 2^`down`.
    fn optimum(&self, down: i32) -> Optimum {
        let flows: Vec<f64> = self.flows.iter().map(ExactSum::value).collect();
        // Costs that are paid: others may be so much larger that these vanish beside them.
        let paid: Vec<f64> =
            self.costs.iter().zip(&flows).filter(|(_, flow)| **flow > 0.0).map(|(cost, _)| *cost).collect();
        let (of_flows, of_costs) = (largest_exponent(&flows), largest_exponent(&paid));
        let (mut value, mut size) = (ExactSum::default(), ExactSum::default());
        for (flow, &cost) in self.flows.iter().zip(self.costs) {
            for &part in flow.parts() {
                let (part, cost) = (times_power_of_two(part, -of_flows), times_power_of_two(cost, -of_costs));
                value.add_product(part, cost);
                size.add_product(part, cost.abs());
            }
        }
        let [value, size] = [value, size].map(|sum| times_power_of_two(sum.value(), of_flows + of_costs + down));
        Optimum { value, size }
    }
}

#[cfg(test)]
mod tests {
    use microlp::{ComparisonOp, OptimizationDirection, Problem};

    use super::*;
    use crate::seeded::Seeded;

    /// The same programme by a simplex method of others.
    fn by_simplex(a: &[f64], b: &[f64], costs: &[f64]) -> f64 {
        let mut problem = Problem::new(OptimizationDirection::Minimize);
        let entries: Vec<_> = costs.iter().map(|&cost| problem.add_var(cost, (0.0, f64::INFINITY))).collect();
        for (i, &mass) in a.iter().enumerate() {
            let row: Vec<_> = (0..b.len()).map(|j| (entries[i * b.len() + j], 1.0)).collect();
            problem.add_constraint(row, ComparisonOp::Eq, mass);
        }
        for (j, &mass) in b.iter().enumerate() {
            let column: Vec<_> = (0..a.len()).map(|i| (entries[i * b.len() + j], 1.0)).collect();
            problem.add_constraint(column, ComparisonOp::Eq, mass);
        }
        problem.solve().unwrap().objective()
    }

    #[test]
    fn daily_problems_agree_with_a_simplex_method() {
        let mut random = Seeded::new(5);
        for _ in 0..100 {
            let masses = crate::fuzz::generate::masses::<f64>(&mut random, 4, 5);
            let total: f64 = masses.source.iter().sum();
            if !masses.exact || !(1.0..1e6).contains(&total) {
                continue;
            }
            let costs = random.draw(20, |random| random.uniform() - 0.2);
            let expected = by_simplex(&masses.source, &masses.target, &costs);
            let found = least_cost(&masses.source, &masses.target, &costs).unwrap();
            assert!((found.value - expected).abs() <= 1e-9 * total, "{} {expected}", found.value);
        }
    }

    #[test]
    fn forbidden_pairs_and_sentinels() {
        let infinite = f64::INFINITY;
        assert!(least_cost(&[1.0, 1.0], &[2.0, 0.0], &[1.0, 2.0, infinite, 3.0]).is_none());
        let crossed = least_cost(&[1.0, 1.0], &[1.0, 1.0], &[1e300, 2.0, 3.0, infinite]).unwrap();
        assert_eq!((crossed.value, crossed.size), (5.0, 5.0));
        let apart = least_cost(&[1.0, 1e-143], &[1e-143, 1.0], &[0.0, 1.0, 1.0, 0.0]).unwrap();
        assert_eq!(apart.value, 1.0);
    }
}
