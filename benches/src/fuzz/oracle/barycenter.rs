//! Entropic barycenters in f64 by plain iterative Bregman projections on stored tables, and bounds of their objective.

use super::{
    entropic::{Evaluation, Penalty, Problem, Regularizer},
    sum::sum,
};

/// min over p of sum_k lambda_k min_P <P, C> + epsilon KL(P | a_k m^T), over plans of marginals a_k and p.
#[derive(Clone, Debug)]
pub struct Barycenter {
    /// Weights of the inputs, of one mass.
    pub inputs: Vec<Vec<f64>>,
    /// lambda, of sum 1.
    pub lambdas: Vec<f64>,
    /// Weights of the reference m, of the same mass.
    pub reference: Vec<f64>,
    /// Costs between the support of all inputs and that of p, row by row.
    pub costs: Vec<f64>,
    /// The strength of entropy.
    pub epsilon: f64,
}

/// Potentials of one input and of p.
pub type Pair = [Vec<f64>; 2];

impl Barycenter {
    /// The problem of one input against a measure in the place of p.
    fn problem(&self, input: usize, target: &[f64]) -> Problem {
        Problem {
            weights: [self.inputs[input].clone(), target.to_vec()],
            costs: self.costs.clone(),
            epsilon: self.epsilon,
            penalties: [Penalty::Balanced; 2],
            regularizer: Regularizer::Entropy,
        }
    }

    /// Plans of potentials under the reference, known to `unit`.
    #[must_use]
    pub fn plans(&self, potentials: &[Pair], unit: f64) -> Vec<Evaluation> {
        let plan = |(input, [f, g]): (usize, &Pair)| self.problem(input, &self.reference).evaluate([f, g], unit);
        potentials.iter().enumerate().map(plan).collect()
    }

    /// So many projections from potentials of zero: the sum of lambda_k g_k is zero at the end.
    #[must_use]
    pub fn solved(&self, projections: usize) -> Vec<Pair> {
        let start = [vec![0.0; self.inputs[0].len()], vec![0.0; self.reference.len()]];
        let mut potentials = vec![start; self.inputs.len()];
        for _ in 0..projections {
            // A sweep leaves the softmins in the place of the second potentials.
            for (input, pair) in potentials.iter_mut().enumerate() {
                self.problem(input, &self.reference).sweep(pair, 1);
            }
            for atom in 0..self.reference.len() {
                let mean = sum(potentials.iter().zip(&self.lambdas).map(|([_, g], lambda)| lambda * g[atom]));
                potentials.iter_mut().for_each(|[_, g]| g[atom] -= mean);
            }
        }
        potentials
    }

    /// The dual value of potentials of which sum lambda_k g_k is zero, and the size of its terms.
    #[must_use]
    pub fn dual(&self, potentials: &[Pair]) -> [f64; 2] {
        let mass = sum(self.reference.iter().copied());
        let mut terms = Vec::new();
        for (input, plan) in self.plans(potentials, 0.0).iter().enumerate() {
            let lambda = self.lambdas[input];
            terms.extend(self.inputs[input].iter().zip(&potentials[input][0]).map(|(a, f)| lambda * (a * f)));
            terms.push(-lambda * (self.epsilon * plan.mass));
            terms.push(lambda * (self.epsilon * mass) * mass);
        }
        [sum(terms.iter().copied()), terms.iter().map(|term| term.abs()).sum()]
    }

    /// The objective at a measure p, with plans near those of potentials, and the size of its terms; infinite where none is found.
    #[must_use]
    pub fn primal(&self, potentials: &[Pair], p: &[f64]) -> [f64; 2] {
        let mut total = [0.0; 2];
        for (input, plan) in self.plans(potentials, 0.0).into_iter().enumerate() {
            let (value, size) = self.problem(input, p).upper_bound(plan.plan);
            // KL(P | a m^T) is KL(P | a p^T) and that of p to m.
            let logarithms =
                p.iter().zip(&self.reference).filter(|(p, _)| **p > 0.0).map(|(p, m)| p * (p.ln() - m.ln()));
            let relative: Vec<f64> = logarithms.map(|term| self.epsilon * term).collect();
            let lambda = self.lambdas[input];
            if lambda > 0.0 {
                total[0] += lambda * (value + sum(relative.iter().copied()));
                total[1] += lambda * (size + relative.iter().map(|term| term.abs()).sum::<f64>());
            }
        }
        total
    }

    /// The marginal of p that the first plan of some weight has, scaled to the mass of the inputs.
    #[must_use]
    pub fn measure(&self, potentials: &[Pair]) -> Vec<f64> {
        let heaviest =
            (0..self.lambdas.len()).max_by(|&k, &l| self.lambdas[k].total_cmp(&self.lambdas[l])).unwrap_or(0);
        let plan = &self.plans(potentials, 0.0)[heaviest].plan;
        let m = self.reference.len();
        let columns: Vec<f64> = (0..m).map(|j| sum(plan.iter().skip(j).step_by(m).copied())).collect();
        let ratio = sum(self.reference.iter().copied()) / sum(columns.iter().copied());
        columns.iter().map(|column| column * ratio).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both values meet, and between two points of mass the barycenter of epsilon towards 0 is in the middle.
    #[test]
    fn bounds_meet() {
        let costs: Vec<f64> = (0..25).map(|pair| f64::from((pair / 5 - pair % 5) * (pair / 5 - pair % 5))).collect();
        let problem = Barycenter {
            inputs: vec![vec![1.0, 0.0, 0.0, 0.0, 0.0], vec![0.0, 0.0, 0.0, 0.0, 1.0]],
            lambdas: vec![0.5, 0.5],
            reference: vec![0.2; 5],
            costs,
            epsilon: 0.2,
        };
        let potentials = problem.solved(200);
        let p = problem.measure(&potentials);
        let ([dual, _], [primal, _]) = (problem.dual(&potentials), problem.primal(&potentials, &p));
        assert!(primal >= dual - 1e-12 && primal - dual < 1e-9, "{primal} {dual}");
        assert!(p[2] > 0.98 && (p[1] - p[3]).abs() < 1e-12, "{p:?}");
    }
}
