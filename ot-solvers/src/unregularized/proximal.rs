//! Proximal steps towards a plan without entropy, in logarithms.
//!
//! ```text
//! P <- argmin over P' of  <P', C> + penalties + beta KL(P' | P)          P' = diag(exp(f / beta)) P exp(-C / beta) diag(exp(g / beta))
//! ```
//!
//! (Rockafellar 1976; Xie, Wang, Wang, Zha 2020 for prescribed marginals.) A step is entropic transport with P in the place of
//! a b^T, and is met by one alternating maximisation in f and in g; what is common to all f is set at once (Sejourne, Vialard,
//! Peyre 2022). The plan after any number of steps is
//!
//! ```text
//! P_ij = a_i b_j / mass exp(F_i + G_j - kappa C_ij)
//! ```
//!
//! with the sums F and G of all f / beta and g / beta, and kappa of all 1 / beta: it is never stored, and no product leaves the
//! range. At the fixed point f and g are optimal potentials, whatever beta.

use super::MassPenalty;

/// beta, over the scale of the potentials.
const SHARE: f64 = 0.03;

/// The least beta, over the largest potential: sums of 10^4 potentials over beta keep four digits behind the point.
const LEAST_SHARE: f64 = 1e-8;

/// Logarithm of the densities that rounding leaves of one.
const LEAST: f64 = -36.0;

/// Half of log mass, the larger of both.
fn half_log_mass(weights: [&[f64]; 2]) -> f64 {
    let [source, target] = weights.map(|weights| weights.iter().sum::<f64>());
    0.5 * source.max(target).max(f64::MIN_POSITIVE).ln()
}

/// The costs of the pairs that are not forbidden.
fn finite_costs(costs: &[f64]) -> impl Iterator<Item = f64> {
    costs.iter().copied().filter(|cost| cost.is_finite())
}

/// The iterate and what does not change.
pub(super) struct Proximal<'a> {
    penalty: MassPenalty,
    costs: &'a [f64],
    weights: [&'a [f64]; 2],
    /// beta, where it leaves potentials over it their digits.
    least_beta: f64,
    /// log a - log mass / 2 + F and the same of G.
    logs: [Vec<f64>; 2],
    kappa: f64,
    /// f and g of the step at hand.
    potentials: [Vec<f64>; 2],
}

/// A plan, and what is known of it.
pub(super) struct Values {
    pub(super) plan: Vec<f64>,
    pub(super) transport_cost: f64,
    pub(super) primal: f64,
    pub(super) dual: f64,
}

impl Values {
    /// The better plan with the better dual: the last of equal ones.
    pub(super) fn or_better(self, other: Self) -> Self {
        let dual = self.dual.max(other.dual);
        if other.primal <= self.primal { Self { dual, ..other } } else { Self { dual, ..self } }
    }
}

impl<'a> Proximal<'a> {
    /// From the independent coupling.
    pub(super) fn new(penalty: MassPenalty, costs: &'a [f64], weights: [&'a [f64]; 2]) -> Self {
        let half = half_log_mass(weights);
        let mean = finite_costs(costs).map(f64::abs).sum::<f64>() / finite_costs(costs).count().max(1) as f64;
        let potentials = penalty.strengths().into_iter().zip(weights).map(|(rho, weights)| penalty.unit(rho, weights));
        let scale = if mean > 0.0 { mean.min(potentials.sum()) } else { potentials.sum() };
        // Potentials are below the costs, and so at least as large as those that are negative.
        let scale = finite_costs(costs).fold(scale, |scale, cost| scale.max(-cost));
        let nothing = weights.map(|weights| vec![0.0; weights.len()]);
        let shift = penalty.shift([&nothing[0], &nothing[1]], weights);
        Self {
            penalty,
            costs,
            weights,
            least_beta: SHARE * scale,
            logs: weights.map(|weights| weights.iter().map(|weight| weight.ln() - half).collect()),
            kappa: 0.0,
            potentials: [vec![shift; weights[0].len()], vec![-shift; weights[1].len()]],
        }
    }

    /// One step: both half-steps and the shift between them, from the potentials of the step before, which are those of this one
    /// at the fixed point.
    pub(super) fn step(&mut self) {
        let beta = self.beta();
        self.kappa += 1.0 / beta;
        for (logs, potentials) in self.logs.iter_mut().zip(&self.potentials) {
            logs.iter_mut().zip(potentials).for_each(|(log, potential)| *log += potential / beta);
        }
        let sums = self.row_sums();
        self.maximize(0, beta, &sums);
        let sums = self.column_sums();
        self.maximize(1, beta, &sums);
        let shift = self.penalty.shift([&self.potentials[0], &self.potentials[1]], self.weights);
        for (side, shift) in [shift, -shift].into_iter().enumerate() {
            self.potentials[side].iter_mut().for_each(|potential| *potential += shift);
            self.logs[side].iter_mut().for_each(|log| *log += shift / beta);
        }
    }

    /// The length of the next step.
    fn beta(&self) -> f64 {
        let atoms =
            self.potentials.iter().zip(self.weights).flat_map(|(potentials, weights)| potentials.iter().zip(weights));
        let sizes = atoms.filter(|(_, weight)| **weight > 0.0).map(|(potential, _)| potential.abs());
        sizes.fold(self.least_beta, |beta, size| beta.max(LEAST_SHARE * size))
    }

    /// The best potentials of one side, given the logarithms of the sums of its atoms.
    fn maximize(&mut self, side: usize, beta: f64, sums: &[f64]) {
        let rho = self.penalty.strengths()[side];
        let atoms = self.potentials[side].iter_mut().zip(&mut self.logs[side]).zip(self.weights[side]);
        for (((potential, log), &weight), sum) in atoms.zip(sums) {
            if weight > 0.0 && sum.is_finite() {
                let best = self.penalty.proximal(rho, beta, weight, sum - *potential / beta);
                *log += (best - *potential) / beta;
                *potential = best;
            }
        }
    }

    /// log sum_j P_ij.
    fn row_sums(&self) -> Vec<f64> {
        let [own, other] = &self.logs;
        let exponent = |(cost, log): (&f64, &f64)| log - self.kappa * cost;
        let sum = |(row, log): (&[f64], &f64)| {
            let largest = row.iter().zip(other).map(exponent).fold(f64::NEG_INFINITY, f64::max);
            let terms = row.iter().zip(other).map(|pair| (exponent(pair) - largest).exp());
            if largest > f64::NEG_INFINITY { log + largest + terms.sum::<f64>().ln() } else { f64::NEG_INFINITY }
        };
        self.costs.chunks_exact(other.len()).zip(own).map(sum).collect()
    }

    /// log sum_i P_ij.
    fn column_sums(&self) -> Vec<f64> {
        let [other, own] = &self.logs;
        let rows = || self.costs.chunks_exact(own.len()).zip(other);
        let mut largest = vec![f64::NEG_INFINITY; own.len()];
        for (row, log) in rows() {
            largest.iter_mut().zip(row).for_each(|(largest, cost)| *largest = largest.max(log - self.kappa * cost));
        }
        let mut sums = vec![0.0; own.len()];
        for (row, log) in rows().filter(|(_, log)| **log > f64::NEG_INFINITY) {
            for ((sum, cost), largest) in sums.iter_mut().zip(row).zip(&largest) {
                if *largest > f64::NEG_INFINITY {
                    *sum += (log - self.kappa * cost - largest).exp();
                }
            }
        }
        let sum = |((sum, largest), log): ((&f64, &f64), &f64)| log + largest + f64::ln(*sum);
        sums.iter().zip(&largest).zip(own).map(sum).collect()
    }

    /// The plan with its values, and the dual of the potentials.
    pub(super) fn values(&self) -> Values {
        let [rho_a, rho_b] = self.penalty.strengths();
        let ([a, b], [log_a, log_b]) = (self.weights, &self.logs);
        let columns = b.len();
        let (mut p, mut q, mut transport_cost) = (vec![0.0; a.len()], vec![0.0; columns], 0.0);
        let mut plan = Vec::with_capacity(self.costs.len());
        let log_mass = 2.0 * half_log_mass(self.weights);
        for (((row, log), weight), p) in self.costs.chunks_exact(columns).zip(log_a).zip(a).zip(&mut p) {
            for (((cost, other), b), q) in row.iter().zip(log_b).zip(b).zip(&mut q) {
                // What rounding leaves of the independent coupling is nothing.
                let exponent = log + other - self.kappa * cost;
                let independent = weight.ln() + b.ln() - log_mass;
                let is_something = cost.is_finite() && exponent > independent + LEAST;
                let entry = if is_something { exponent.exp() } else { 0.0 };
                plan.push(entry);
                *p += entry;
                *q += entry;
                transport_cost += if entry > 0.0 { entry * cost } else { 0.0 };
            }
        }
        let value = transport_cost + self.penalty.value(rho_a, &p, a) + self.penalty.value(rho_b, &q, b);
        // Of a plan beyond the range nothing is known.
        let primal = if value.is_nan() { f64::INFINITY } else { value };
        let duals = [0, 1].map(|side| self.dual(side));
        Values { plan, transport_cost, primal, dual: duals[0].max(duals[1]) }
    }

    /// The dual of the potential of one side, c-transformed to the other and back.
    fn dual(&self, side: usize) -> f64 {
        let other = 1 - side;
        let there = self.transformed(side, &self.potentials[side]);
        let back = self.transformed(other, &there);
        let gain = |side: usize, potentials: &[f64]| -> f64 {
            let rho = self.penalty.strengths()[side];
            let atoms = potentials.iter().zip(self.weights[side]).filter(|(_, weight)| **weight > 0.0);
            atoms.map(|(f, weight)| self.penalty.dual(rho, *f, *weight)).sum()
        };
        gain(side, &back) + gain(other, &there)
    }

    /// For the atoms of the opposite side, the least C_ij - f over the atoms of a side that have weight.
    fn transformed(&self, side: usize, potential: &[f64]) -> Vec<f64> {
        let columns = self.weights[1].len();
        let mut least = vec![f64::INFINITY; self.weights[1 - side].len()];
        for (i, row) in self.costs.chunks_exact(columns).enumerate() {
            for (j, cost) in row.iter().enumerate() {
                let (own, other) = if side == 0 { (i, j) } else { (j, i) };
                if self.weights[side][own] > 0.0 {
                    least[other] = f64::min(least[other], cost - potential[own]);
                }
            }
        }
        least
    }
}
