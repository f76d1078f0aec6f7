//! The listed arcs, and the problem restricted to them.

use std::ops::Range;

use ot_core::{LOG_ZERO, PricedArc, Side};

use super::{
    exponential::exponentials,
    laplacian::{Curvature, Entries, PlanLaplacian},
    sides::{Iterate, Sides},
};

/// How far arcs are listed at an epsilon: all with P_ij > share a_i or P_ij > share b_j, now and after the potentials have
/// risen by `margin` epsilon.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(super) struct Reach {
    pub(super) epsilon: f64,
    pub(super) share: f64,
    pub(super) margin: f64,
}

impl Reach {
    /// The reduced cost below which all pairs are listed, but for the logarithm of a weight.
    pub(super) fn base(self) -> f64 {
        self.epsilon * (self.margin - self.share.ln())
    }

    /// P_ij > share a_i where C_ij - f_i - g_j < epsilon (log b_j - log share), and the same of b_j: what is added to the
    /// base for the atoms of both sides. One list does for both where weights are nearly alike.
    pub(super) fn of_atoms(self, sides: &Sides) -> Vec<[Vec<f64>; 2]> {
        let zero = |side: Side| vec![0.0; sides.len(side)];
        let scaled = |side: Side| -> Vec<f64> {
            sides.log_weights[side.index()].iter().map(|logarithm| self.epsilon * logarithm).collect()
        };
        let [least, most] = sides.log_range;
        match most - least <= ALIKE {
            true => vec![[vec![self.epsilon * most; sides.len(Side::Source)], zero(Side::Target)]],
            false => {
                vec![[zero(Side::Source), scaled(Side::Target)], [scaled(Side::Source), zero(Side::Target)]]
            }
        }
    }

    /// By how much the sum of two potentials may rise at another epsilon and share until an arc may be missing.
    fn room(self, sides: &Sides, epsilon: f64, share: f64) -> f64 {
        let [least, most] = sides.log_range;
        let logarithm = if most - least <= ALIKE { most } else { least };
        self.base() + epsilon * share.ln() + (self.epsilon - epsilon) * logarithm
    }
}

/// Logarithms of weights within this are treated alike.
const ALIKE: f64 = 6.0;

/// Arcs row by row, with their costs, and the potentials that they were listed at.
#[derive(Debug)]
pub(super) struct Arcs {
    rows: Vec<usize>,
    columns: Vec<u32>,
    costs: Vec<f64>,
    f: Vec<f64>,
    g: Vec<f64>,
    reach: Reach,
}

impl Arcs {
    /// Arcs in the order of their rows.
    pub(super) fn new(listed: &[PricedArc], f: Vec<f64>, g: Vec<f64>, reach: Reach) -> Self {
        let mut rows = vec![0; f.len() + 1];
        for arc in listed {
            rows[arc.source as usize + 1] += 1;
        }
        for row in 0..f.len() {
            rows[row + 1] += rows[row];
        }
        let cost = |arc: &PricedArc| arc.reduced_cost + f[arc.source as usize] + g[arc.target as usize];
        let columns = listed.iter().map(|arc| arc.target).collect();
        Self { rows, columns, costs: listed.iter().map(cost).collect(), f, g, reach }
    }

    /// How far they were listed.
    pub(super) fn reach(&self) -> Reach {
        self.reach
    }

    /// Is every arc of an iterate here whose part of a row or a column is above `share`?
    pub(super) fn cover(&self, sides: &Sides, iterate: &Iterate, epsilon: f64, share: f64) -> bool {
        let rise = |now: &[f64], then: &[f64], weights: &[f64]| {
            let of_mass = now.iter().zip(then).zip(weights).filter(|(_, weight)| **weight > 0.0);
            of_mass.map(|((now, then), _)| now - then).fold(0.0, f64::max)
        };
        let [a, b] = &sides.weights;
        let risen = rise(&iterate.f, &self.f, a) + rise(&iterate.g, &self.g, b);
        risen <= self.reach.room(sides, epsilon, share)
    }

    /// Those that a list of a shorter reach, made at an iterate, would have.
    pub(super) fn within(&self, sides: &Sides, iterate: &Iterate, reach: Reach) -> Self {
        let g = iterate.raised();
        let thresholds = reach.of_atoms(sides);
        let (mut rows, mut columns, mut costs) = (vec![0], Vec::new(), Vec::new());
        for i in 0..self.f.len() {
            for arc in self.row(i) {
                let (j, cost) = (self.columns[arc] as usize, self.costs[arc]);
                let reduced = cost - iterate.f[i] - g[j] - reach.base();
                if thresholds.iter().any(|[of_source, of_target]| reduced <= of_source[i] + of_target[j]) {
                    columns.push(self.columns[arc]);
                    costs.push(cost);
                }
            }
            rows.push(columns.len());
        }
        Self { rows, columns, costs, f: iterate.f.clone(), g, reach }
    }

    fn row(&self, i: usize) -> Range<usize> {
        self.rows[i]..self.rows[i + 1]
    }

    /// The iterate of a potential g, as if there were no other arcs, and its plan, arc by arc.
    pub(super) fn iterate(&self, sides: &Sides, epsilon: f64, g: Vec<f64>, plan: &mut Vec<f64>) -> Iterate {
        let ([a, b], [_, log_b]) = (&sides.weights, &sides.log_weights);
        let shifted: Vec<f64> = g.iter().zip(log_b).map(|(g, log_b)| g / epsilon + log_b).collect();
        let (mut f, mut marginal) = (self.f.clone(), vec![0.0; g.len()]);
        plan.clear();
        plan.resize(self.columns.len(), 0.0);
        let mut largest = Vec::with_capacity(f.len());
        for i in 0..f.len() {
            let (columns, costs, plan) = (&self.columns[self.row(i)], &self.costs[self.row(i)], &mut plan[self.row(i)]);
            let mut of_row = f64::NEG_INFINITY;
            for (entry, (&j, cost)) in plan.iter_mut().zip(columns.iter().zip(costs)) {
                *entry = shifted[j as usize] - cost / epsilon;
                of_row = if *entry > of_row { *entry } else { of_row };
            }
            plan.iter_mut().for_each(|entry| *entry -= of_row);
            largest.push(of_row);
        }
        exponentials(plan);
        for (i, largest) in largest.into_iter().enumerate() {
            let (columns, plan) = (&self.columns[self.row(i)], &mut plan[self.row(i)]);
            if largest <= LOG_ZERO / 2.0 {
                plan.fill(0.0);
                continue;
            }
            let sum: f64 = plan.iter().sum();
            let [potential, density] = sides.best_source(-epsilon * (largest + sum.ln()), epsilon);
            f[i] = potential;
            let factor = a[i] * density / sum;
            for (&j, entry) in columns.iter().zip(plan) {
                *entry *= factor;
                marginal[j as usize] += *entry;
            }
        }
        let transform = (0..g.len()).map(|j| match b[j] > 0.0 {
            // A density beside a subnormal weight is beyond any number, its logarithm is not.
            true => sides.best_target(g[j] - epsilon * (marginal[j].max(f64::MIN_POSITIVE).ln() - b[j].ln()), epsilon),
            false => g[j],
        });
        let transform = transform.collect();
        sides.iterate(epsilon, f, g, transform)
    }

    /// The plan of an iterate that is not one of these arcs alone.
    pub(super) fn plan(&self, sides: &Sides, epsilon: f64, Iterate { f, g, .. }: &Iterate) -> Vec<f64> {
        let [a, b] = &sides.weights;
        let mut plan: Vec<f64> = self.exponents(epsilon, f, g, 0..f.len()).collect();
        exponentials(&mut plan);
        for (i, a) in a.iter().enumerate() {
            for (entry, &j) in plan[self.row(i)].iter_mut().zip(&self.columns[self.row(i)]) {
                *entry *= a * b[j as usize];
            }
        }
        plan
    }

    /// (f_i + g_j - C_ij) / epsilon of the arcs of rows.
    fn exponents<'a>(
        &'a self,
        epsilon: f64,
        f: &'a [f64],
        g: &'a [f64],
        rows: Range<usize>,
    ) -> impl Iterator<Item = f64> + 'a {
        rows.flat_map(move |i| {
            let arcs = self.columns[self.row(i)].iter().zip(&self.costs[self.row(i)]);
            arcs.map(move |(&j, cost)| (f[i] + g[j as usize] - cost) / epsilon)
        })
    }

    /// The matrix of Newton's method at an iterate of this plan, of the arcs whose part of a row or a column is above `share`. What
    /// is left out of rows and columns stays in the matrix as a rank-one plan of the same sums.
    pub(super) fn laplacian(
        &self,
        sides: &Sides,
        epsilon: f64,
        iterate: &Iterate,
        plan: &[f64],
        share: f64,
        mut entries: Entries,
    ) -> PlanLaplacian {
        let [a, b] = &sides.weights;
        let [f, g] = [&iterate.f, &iterate.g];
        let bounds: Vec<f64> = b.iter().map(|b| share * b).collect();
        entries.clear(f.len(), plan.len());
        for (i, a) in a.iter().enumerate() {
            let bound = share * a;
            entries.push_row(self.columns[self.row(i)].iter().zip(&plan[self.row(i)]), |j, entry| {
                entry > bound || entry > bounds[j]
            });
        }
        let row_sums = f.iter().zip(a).map(|(&f, a)| a * sides.density_of_source(f, epsilon)).collect();
        let curvature = Curvature {
            row_sums,
            column_sums: iterate.marginal.clone(),
            slopes: [sides.slopes(Side::Source, f, epsilon), sides.slopes(Side::Target, &iterate.transform, epsilon)],
            held: vec![0.0; g.len()],
            has_gauge: sides.has_gauge(),
        };
        PlanLaplacian::new(entries, curvature)
    }

    /// The derivative of the condition that g is its own transform in epsilon, times c and epsilon, at a plan: with
    /// h_i = sum_j P_ij z_ij / r_i and z_ij = (f_i + g_j - C_ij) / epsilon, sum_i P_ij (z_ij - t_i h_i).
    pub(super) fn slope_in_epsilon(&self, sides: &Sides, epsilon: f64, iterate: &Iterate, plan: &[f64]) -> Vec<f64> {
        let Iterate { f, g, .. } = iterate;
        let slopes = sides.slopes(Side::Source, f, epsilon);
        let mut out = vec![0.0; g.len()];
        for i in 0..f.len() {
            let (columns, plan) = (&self.columns[self.row(i)], &plan[self.row(i)]);
            let exponents = || self.exponents(epsilon, f, g, i..i + 1);
            let sum = plan.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            let mean = slopes[i] * plan.iter().zip(exponents()).map(|(entry, z)| times(*entry, z)).sum::<f64>() / sum;
            for ((&j, entry), z) in columns.iter().zip(plan).zip(exponents()) {
                out[j as usize] += times(*entry, z - mean);
            }
        }
        out
    }
}

/// The product of a mass and an exponent, zero where there is no mass.
fn times(mass: f64, exponent: f64) -> f64 {
    if mass == 0.0 { 0.0 } else { mass * exponent }
}
