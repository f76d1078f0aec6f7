//! Regularised transport in f64 by its definitions: entry by entry, with compensated sums, on a stored table.

use super::sum::sum;

/// A penalty of a marginal, by the formulas of its definition.
#[derive(Copy, Clone, Debug, PartialEq)]
pub enum Penalty {
    /// The density is 1.
    Balanced,
    /// rho (r log r - r + 1).
    Kl(f64),
    /// rho |r - 1|.
    TotalVariation(f64),
    /// The density is within two bounds.
    Range(f64, f64),
    /// Nothing.
    Free,
}

impl Penalty {
    /// phi(r).
    #[must_use]
    pub fn value(self, density: f64) -> f64 {
        match self {
            Self::Balanced | Self::Range(..) | Self::Free => 0.0,
            Self::Kl(rho) => rho * relative_entropy(density),
            Self::TotalVariation(rho) => rho * (density - 1.0).abs(),
        }
    }

    /// -phi*(-f), which is minus infinity where phi* is infinite.
    #[must_use]
    pub fn gain(self, f: f64) -> f64 {
        match self {
            Self::Balanced => f,
            Self::Kl(rho) => -rho * (-f / rho).exp_m1(),
            Self::TotalVariation(rho) if f < -rho => f64::NEG_INFINITY,
            Self::TotalVariation(rho) => f.min(rho),
            Self::Range(low, high) => (low * f).min(high * f),
            Self::Free if f < 0.0 => f64::NEG_INFINITY,
            Self::Free => 0.0,
        }
    }

    /// The best densities at potential f, which is known to `width`, where a kink may be `near`.
    #[must_use]
    pub fn densities(self, f: f64, width: f64, near: f64) -> [f64; 2] {
        let near = if matches!(self, Self::Kl(_)) { 0.0 } else { near };
        let (below, above) = (f - width - near, f + width + near);
        match self {
            Self::Balanced => [1.0, 1.0],
            // Told as the largest number over 2^16 where it is more.
            Self::Kl(rho) if width == 0.0 => [(-f / rho).exp().min(f64::MAX / 65_536.0); 2],
            Self::Kl(rho) => [(-above / rho).exp(), (-below / rho).exp()],
            Self::TotalVariation(rho) => [
                if above < rho { 1.0 } else { 0.0 },
                if below > rho {
                    0.0
                } else if below > -rho {
                    1.0
                } else {
                    f64::INFINITY
                },
            ],
            Self::Range(low, high) => [if above < 0.0 { high } else { low }, if below > 0.0 { low } else { high }],
            Self::Free => [0.0, if below > 0.0 { 0.0 } else { f64::INFINITY }],
        }
    }

    /// The best potential for a softmin.
    #[must_use]
    pub fn step(self, softmin: f64, epsilon: f64) -> f64 {
        match self {
            Self::Balanced => softmin,
            Self::Kl(rho) => softmin / (1.0 + epsilon / rho),
            Self::TotalVariation(rho) => softmin.clamp(-rho, rho),
            Self::Range(low, high) => {
                let above = (softmin + epsilon * low.ln()).max(0.0);
                if above > 0.0 { above } else { (softmin + epsilon * high.ln()).min(0.0) }
            }
            Self::Free => 0.0,
        }
    }

    /// The densities outside which phi is infinite.
    #[must_use]
    pub fn bounds(self) -> [f64; 2] {
        match self {
            Self::Balanced => [1.0, 1.0],
            Self::Range(low, high) => [low, high],
            Self::Kl(_) | Self::TotalVariation(_) | Self::Free => [0.0, f64::INFINITY],
        }
    }
}

/// r log r - r + 1.
fn relative_entropy(r: f64) -> f64 {
    let change = r - 1.0;
    match r {
        0.0 => 1.0,
        _ if change.abs() < 1e-3 => {
            // change^2 / 2 - change^3 / 6 + change^4 / 12 - change^5 / 20
            change * change * (0.5 - change * (1.0 / 6.0 - change * (1.0 / 12.0 - change / 20.0)))
        }
        _ => r * r.ln() - change,
    }
}

/// The function h of the plan.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Regularizer {
    /// p log p - p + 1.
    Entropy,
    /// p^2 / 2.
    SquaredL2,
}

/// A problem in f64.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Weights of the source and of the target.
    pub weights: [Vec<f64>; 2],
    /// Costs, row by row.
    pub costs: Vec<f64>,
    /// The strength.
    pub epsilon: f64,
    /// Of the source and of the target.
    pub penalties: [Penalty; 2],
    /// Of the plan.
    pub regularizer: Regularizer,
}

/// What potentials say.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The marginal error, two-sided and relative to the mean mass, of potentials known to `unit`.
    pub error: f64,
    /// The same of potentials that are known exactly: near a kink of a penalty it may be another one.
    pub strict_error: f64,
    /// The largest density of a marginal.
    pub largest_density: f64,
    /// Mass of the plan.
    pub mass: f64,
    /// <P, C>.
    pub transport_cost: f64,
    /// <P, |C|>.
    pub cost_size: f64,
    /// What rounding of potentials and costs to `unit` makes of <P, C>: entries with nothing at these potentials may have some
    /// at those nearby.
    pub cost_rounding: f64,
    /// The dual value.
    pub dual: f64,
    /// What the same rounding makes of the dual value.
    pub dual_rounding: f64,
    /// The sum of the sizes of the terms of the dual value.
    pub dual_size: f64,
    /// The largest |f_i| + |g_j| + |C_ij| of a pair that has mass.
    pub largest_potential: f64,
    /// The entries, row by row.
    pub plan: Vec<f64>,
}

impl Problem {
    fn has_mass(&self, i: usize, j: usize) -> bool {
        self.weights[0][i] > 0.0 && self.weights[1][j] > 0.0
    }

    fn shape(&self) -> [usize; 2] {
        [self.weights[0].len(), self.weights[1].len()]
    }

    /// The mean mass of both sides.
    #[must_use]
    pub fn mean_mass(&self) -> f64 {
        0.5 * sum(self.weights[0].iter().copied()) + 0.5 * sum(self.weights[1].iter().copied())
    }

    /// The smaller mass of both sides.
    #[must_use]
    pub fn least_mass(&self) -> f64 {
        sum(self.weights[0].iter().copied()).min(sum(self.weights[1].iter().copied()))
    }

    /// Plan, error and values at potentials that are known to `unit`, relative.
    #[must_use]
    pub fn evaluate(&self, potentials: [&[f64]; 2], unit: f64) -> Evaluation {
        let [n, m] = self.shape();
        let ([a, b], [f, g]) = ([&self.weights[0], &self.weights[1]], potentials);
        let (mut plan, mut conjugate) = (vec![0.0; n * m], vec![0.0; n * m]);
        let mut largest_potential = 0.0_f64;
        let [mut transport_cost, mut cost_size, mut cost_rounding, mut dual_rounding] = [0.0; 4];
        for i in 0..n {
            for j in (0..m).filter(|&j| self.has_mass(i, j)) {
                let cost = self.costs[i * m + j];
                let slack = f[i] + g[j] - cost;
                let entry = self.entry([a[i], b[j]], slack);
                let size = f[i].abs() + g[j].abs() + cost.abs();
                let moved = slack + 8.0 * unit * (self.epsilon + size);
                let of = |slack: f64| match self.regularizer {
                    Regularizer::Entropy => self.paid([a[i], b[j]], slack, self.epsilon),
                    Regularizer::SquaredL2 => 0.5 * self.entry([a[i], b[j]], slack) * slack.max(0.0),
                };
                let conjugate_of_entry = of(slack);
                if cost < f64::INFINITY {
                    let paid = self.paid([a[i], b[j]], slack, cost);
                    transport_cost += paid;
                    cost_size += paid.abs();
                    if unit > 0.0 {
                        cost_rounding += self.paid([a[i], b[j]], moved, cost.abs()) - paid.abs();
                        dual_rounding += of(moved) - conjugate_of_entry;
                    }
                }
                plan[i * m + j] = entry;
                conjugate[i * m + j] = conjugate_of_entry;
                if entry > 0.0 {
                    largest_potential = largest_potential.max(size);
                }
            }
        }
        let marginals = self.marginals(&plan);
        let missed = |side: usize, unit: f64, near: f64| {
            let atoms = self.weights[side].iter().zip(potentials[side]).zip(&marginals[side]);
            sum(atoms.filter(|((weight, _), _)| **weight > 0.0).map(|((&weight, &f), &marginal)| {
                let [low, high] = self.penalties[side].densities(f, unit * f.abs(), near * self.epsilon);
                (weight * low - marginal).max(marginal - weight * high).max(0.0)
            }))
        };
        let gains = |side: usize| {
            let atoms = self.weights[side].iter().zip(potentials[side]).filter(|(weight, _)| **weight > 0.0);
            atoms.map(|(&weight, &f)| weight * self.penalties[side].gain(f)).collect::<Vec<f64>>()
        };
        let gains = [gains(0), gains(1)].concat();
        let conjugate = sum(conjugate);
        let product = match self.regularizer {
            Regularizer::Entropy => {
                let [a, b] = [sum(a.iter().copied()), sum(b.iter().copied())];
                (self.epsilon * a.max(b)) * a.min(b)
            }
            Regularizer::SquaredL2 => 0.0,
        };
        Evaluation {
            error: (missed(0, unit, 2e-9) + missed(1, unit, 2e-9)) / self.mean_mass(),
            strict_error: (missed(0, 0.0, 0.0) + missed(1, 0.0, 0.0)) / self.mean_mass(),
            largest_density: [0, 1]
                .into_iter()
                .flat_map(|side| marginals[side].iter().zip(&self.weights[side]))
                .filter(|(_, weight)| **weight > 0.0)
                .fold(0.0, |largest, (marginal, weight)| largest.max(marginal / weight)),
            mass: sum(plan.iter().copied()),
            transport_cost,
            cost_size,
            cost_rounding,
            dual: sum(gains.iter().copied()) - (conjugate - product),
            dual_rounding,
            dual_size: gains.iter().map(|gain| gain.abs()).sum::<f64>() + conjugate + product,
            largest_potential,
            plan,
        }
    }

    /// The entry between two weights, for f + g - C.
    fn entry(&self, [a, b]: [f64; 2], slack: f64) -> f64 {
        let exponent = slack / self.epsilon;
        match self.regularizer {
            Regularizer::Entropy if (a * b).is_normal() && exponent < 600.0 => a * b * exponent.exp(),
            // The product of tiny weights underflows where the entry need not.
            Regularizer::Entropy => (exponent + (a.ln() + b.ln())).exp(),
            // Weights first: densities between tiny masses are beyond all numbers.
            Regularizer::SquaredL2 => a * (slack.max(0.0) * b / self.epsilon),
        }
    }

    /// The entry times its cost, of which the entry alone may vanish.
    fn paid(&self, weights: [f64; 2], slack: f64, cost: f64) -> f64 {
        let entry = self.entry(weights, slack);
        if entry.is_normal() || cost == 0.0 {
            return entry * cost;
        }
        let log_density = match self.regularizer {
            Regularizer::Entropy => slack / self.epsilon,
            Regularizer::SquaredL2 => slack.max(0.0).ln() - self.epsilon.ln(),
        };
        (log_density + weights[0].ln() + weights[1].ln() + cost.abs().ln()).exp().copysign(cost)
    }

    fn marginals(&self, plan: &[f64]) -> [Vec<f64>; 2] {
        let [n, m] = self.shape();
        let row = |i: usize| sum((0..m).map(|j| plan[i * m + j]));
        let column = |j: usize| sum((0..n).map(|i| plan[i * m + j]));
        [(0..n).map(row).collect(), (0..m).map(column).collect()]
    }

    /// The objective at a plan near this one that both penalties accept, and the size of its terms; infinite where none is
    /// found.
    #[must_use]
    pub fn upper_bound(&self, mut plan: Vec<f64>) -> (f64, f64) {
        let nothing = (f64::INFINITY, f64::INFINITY);
        let [n, m] = self.shape();
        let [source, target] = self.penalties;
        let bounded = |penalty: Penalty| penalty.bounds() != [0.0, f64::INFINITY];
        let rows = self.marginals(&plan)[0].clone();
        if bounded(source) {
            for i in (0..n).filter(|&i| self.weights[0][i] > 0.0) {
                let [low, high] = source.bounds();
                let wanted = rows[i].clamp(low * self.weights[0][i], high * self.weights[0][i]);
                // Down only where the other side is bounded as well: what lacks is added below.
                let factor = if bounded(target) { (wanted / rows[i]).min(1.0) } else { wanted / rows[i] };
                plan[i * m..(i + 1) * m].iter_mut().for_each(|entry| *entry *= factor);
            }
        }
        if bounded(target) {
            let columns = self.marginals(&plan)[1].clone();
            for j in (0..m).filter(|&j| self.weights[1][j] > 0.0) {
                let [low, high] = target.bounds();
                let wanted = columns[j].clamp(low * self.weights[1][j], high * self.weights[1][j]);
                let factor = if bounded(source) { (wanted / columns[j]).min(1.0) } else { wanted / columns[j] };
                (0..n).for_each(|i| plan[i * m + j] *= factor);
            }
        }
        if bounded(source) && bounded(target) {
            if [source, target] != [Penalty::Balanced; 2] {
                return nothing;
            }
            let [rows, columns] = self.marginals(&plan);
            let lack = |side: usize, marginal: &[f64]| -> Vec<f64> {
                self.weights[side].iter().zip(marginal).map(|(weight, mass)| (weight - mass).max(0.0)).collect()
            };
            let (of_rows, of_columns) = (lack(0, &rows), lack(1, &columns));
            let total = sum(of_rows.iter().copied()).max(sum(of_columns.iter().copied()));
            if total > 0.0 {
                for (i, row) in plan.chunks_exact_mut(m).enumerate() {
                    row.iter_mut().zip(&of_columns).for_each(|(entry, lack)| *entry += of_rows[i] * (lack / total));
                }
            }
        }
        if !plan.iter().all(|entry| entry.is_finite()) {
            return nothing;
        }
        let ([a, b], marginals) = ([&self.weights[0], &self.weights[1]], self.marginals(&plan));
        let mut terms = Vec::with_capacity(2 * n * m);
        for (index, &entry) in plan.iter().enumerate() {
            let (i, j) = (index / m, index % m);
            let product = a[i] * b[j];
            // The product alone may vanish.
            let at_zero = (self.epsilon * a[i].max(b[j])) * a[i].min(b[j]);
            if entry > 0.0 {
                terms.push(entry * self.costs[index]);
            }
            match self.regularizer {
                Regularizer::Entropy if entry > 0.0 => {
                    let log = entry.ln() - a[i].ln() - b[j].ln();
                    let value = if log.abs() < 1e-3 && product.is_normal() {
                        self.epsilon * (product * relative_entropy(entry / product))
                    } else {
                        self.epsilon * entry * log - self.epsilon * entry + at_zero
                    };
                    terms.push(value);
                }
                Regularizer::Entropy => terms.push(at_zero),
                Regularizer::SquaredL2 if entry > 0.0 => terms.push(0.5 * self.epsilon * entry * (entry / product)),
                Regularizer::SquaredL2 => {}
            }
        }
        for (side, marginal) in marginals.iter().enumerate() {
            for (&weight, &mass) in self.weights[side].iter().zip(marginal).filter(|(weight, _)| **weight > 0.0) {
                terms.push(weight * self.penalties[side].value(mass / weight));
            }
        }
        let value = sum(terms.iter().copied());
        if value.is_nan() { nothing } else { (value, terms.iter().map(|term| term.abs()).sum()) }
    }

    /// Plain Sinkhorn sweeps from potentials: each raises the dual of entropy.
    pub fn sweep(&self, potentials: &mut [Vec<f64>; 2], sweeps: usize) {
        let [n, m] = self.shape();
        for _ in 0..sweeps {
            for side in 0..2 {
                let (own, other) = if side == 0 { (n, m) } else { (m, n) };
                for atom in 0..own {
                    let exponent = |partner: usize| {
                        let index = if side == 0 { atom * m + partner } else { partner * m + atom };
                        let weight = self.weights[1 - side][partner];
                        (potentials[1 - side][partner] - self.costs[index]) / self.epsilon + weight.ln()
                    };
                    let largest = (0..other).map(exponent).fold(f64::NEG_INFINITY, f64::max);
                    if largest == f64::NEG_INFINITY {
                        continue;
                    }
                    let scaled = sum((0..other).map(|partner| (exponent(partner) - largest).exp()));
                    let softmin = -self.epsilon * (largest + scaled.ln());
                    potentials[side][atom] = self.penalties[side].step(softmin, self.epsilon);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dual never passes the objective, and both meet.
    #[test]
    fn both_objectives_meet() {
        let penalties = [
            Penalty::Balanced,
            Penalty::Kl(0.7),
            Penalty::TotalVariation(0.4),
            Penalty::Range(0.5, 2.0),
            Penalty::Free,
        ];
        for source in penalties {
            for target in penalties {
                let problem = Problem {
                    weights: [vec![0.25, 0.75], vec![0.5, 0.25, 0.25]],
                    costs: vec![0.1, 1.0, 2.0, 0.7, 0.2, 0.4],
                    epsilon: 0.2,
                    penalties: [source, target],
                    regularizer: Regularizer::Entropy,
                };
                let mut potentials = [vec![0.0; 2], vec![0.0; 3]];
                problem.sweep(&mut potentials, 300);
                let found = problem.evaluate([&potentials[0], &potentials[1]], 0.0);
                assert!(found.error < 1e-6, "{source:?} {target:?} {}", found.error);
                let (primal, _) = problem.upper_bound(found.plan.clone());
                assert!(primal >= found.dual - 1e-12, "{source:?} {target:?}");
                assert!(primal == f64::INFINITY || primal - found.dual < 1e-5, "{source:?} {target:?} {primal}");
            }
        }
    }
}
