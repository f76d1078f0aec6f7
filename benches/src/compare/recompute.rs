//! What potentials are worth, whoever returned them.
//!
//! ```text
//! P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)
//! error = (|P 1 - a|_1 + |P^T 1 - b|_1) / mass        value = <a, f> + <b, g> - epsilon (mass(P) - mass(a) mass(b))
//! ```
//!
//! With marginals penalised by rho KL, a' = a exp(-f / rho) stands in place of a in the error, which is thereby the residual of
//! the fixed point, and rho <a, 1 - exp(-f / rho)> in place of <a, f> in the value; the same for b and g.
//!
//! Plain `f64` and the exponential of the standard library: nothing of what is measured takes part.

use std::thread;

use super::{problem::Arrays, row::Measured};

/// The error and the value of potentials; the largest error and the mean value of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recomputed {
    /// Two-sided marginal error in L1, relative to the mass.
    pub error: f64,
    /// The dual objective.
    pub value: f64,
}

impl Recomputed {
    /// The measurement of an answer that is worth this.
    pub(super) fn measured(self, name: &str, seconds: f64, iterations: Option<usize>) -> Measured {
        let Self { error, value } = self;
        Measured { iterations, error: Some(error), value: Some(value), ..Measured::seconds(name, seconds) }
    }
}

/// Recomputes from potentials, column after column. Costs n m exponentials a column.
pub(super) fn recompute(arrays: &Arrays, f: &[f64], g: &[f64], threads: usize) -> Recomputed {
    let (n, m) = arrays.shape();
    let mut all = Recomputed { error: 0.0, value: 0.0 };
    for column in 0..arrays.columns {
        let (f, g) = (&f[column * n..][..n], &g[column * m..][..m]);
        let one = of_column(arrays, &arrays.target[column * m..][..m], f, g, threads);
        // A number that is none stays one.
        all.error = if one.error <= all.error { all.error } else { one.error };
        all.value += one.value / arrays.columns as f64;
    }
    all
}

fn of_column(arrays: &Arrays, b: &[f64], f: &[f64], g: &[f64], threads: usize) -> Recomputed {
    let (a, epsilon) = (&arrays.source, arrays.epsilon);
    let (n, m) = (f.len(), g.len());
    let marginals = |first: usize, last: usize| {
        let (mut rows, mut columns, mut costs) = (Vec::new(), vec![0.0; m], vec![0.0; m]);
        for i in first..last {
            arrays.cost_row(i, &mut costs);
            let mut row = 0.0;
            for j in 0..m {
                let entry = a[i] * b[j] * ((f[i] + g[j] - costs[j]) / epsilon).exp();
                row += entry;
                columns[j] += entry;
            }
            rows.push(row);
        }
        (rows, columns)
    };
    let share = n.div_ceil(threads);
    let (rows, columns) = thread::scope(|scope| {
        let run = |first: usize| scope.spawn(move || marginals(first, n.min(first + share)));
        let workers: Vec<_> = (0..n).step_by(share).map(run).collect();
        let (mut rows, mut columns) = (Vec::new(), vec![0.0; m]);
        for worker in workers {
            let Ok((of_rows, of_columns)) = worker.join() else { return (vec![f64::NAN; n], vec![f64::NAN; m]) };
            rows.extend(of_rows);
            columns.iter_mut().zip(of_columns).for_each(|(sum, part)| *sum += part);
        }
        (rows, columns)
    });
    let residual = |found: &[f64], wanted: &[f64]| -> f64 {
        found.iter().zip(wanted).map(|(found, wanted)| (found - wanted).abs()).sum()
    };
    let demand = |weights: &[f64], potential: &[f64]| -> Vec<f64> {
        let factor = |potential: &f64| arrays.rho.map_or(1.0, |rho| (-potential / rho).exp());
        weights.iter().zip(potential).map(|(weight, potential)| weight * factor(potential)).collect()
    };
    let gain = |weights: &[f64], potential: &[f64]| -> f64 {
        let of = |potential: &f64| arrays.rho.map_or(*potential, |rho| -rho * (-potential / rho).exp_m1());
        weights.iter().zip(potential).map(|(weight, potential)| weight * of(potential)).sum()
    };
    let (mass_a, mass_b, mass) = (a.iter().sum::<f64>(), b.iter().sum::<f64>(), rows.iter().sum::<f64>());
    Recomputed {
        error: (residual(&rows, &demand(a, f)) + residual(&columns, &demand(b, g))) / ((mass_a + mass_b) / 2.0),
        value: gain(a, f) + gain(b, g) - epsilon * (mass - mass_a * mass_b),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::problem::Cost, *};

    /// Two atoms a side at cost 1 apart: the optimum is f = g = -(epsilon/2) log((1 + e) / 2), e = exp(-1 / epsilon).
    fn two_atoms(epsilon: f64) -> (Arrays, f64) {
        let cost = Cost::Matrix(vec![0.0, 1.0, 1.0, 0.0]);
        let arrays = Arrays { source: vec![0.5; 2], target: vec![0.5; 2], columns: 1, cost, epsilon, rho: None };
        (arrays, -epsilon / 2.0 * (0.5 * (1.0 + (-1.0 / epsilon).exp())).ln())
    }

    #[test]
    fn optimal_potentials_have_no_error() {
        let (arrays, potential) = two_atoms(0.3);
        for threads in [1, 2, 3] {
            let Recomputed { error, value } = recompute(&arrays, &[potential; 2], &[potential; 2], threads);
            assert!(error < 1e-14, "{error}");
            assert!((value - 2.0 * potential).abs() < 1e-14, "{value}");
        }
    }

    #[test]
    fn penalised_potentials_meet_the_fixed_point() {
        let (epsilon, rho) = (0.3_f64, 0.7);
        // By symmetry f = g, and exp(-f / rho) = exp(2 f / epsilon) (1 + e) / 2.
        let mean = 0.5 * (1.0 + (-1.0 / epsilon).exp());
        let potential = -mean.ln() / (2.0 / epsilon + 1.0 / rho);
        let arrays = Arrays { rho: Some(rho), ..two_atoms(epsilon).0 };
        let Recomputed { error, value } = recompute(&arrays, &[potential; 2], &[potential; 2], 2);
        let mass = (-potential / rho).exp();
        assert!(error < 1e-14, "{error}");
        assert!((value - (2.0 * rho * (1.0 - mass) - epsilon * (mass - 1.0))).abs() < 1e-14, "{value}");
        let nearby = |shift: f64| recompute(&arrays, &[potential + shift; 2], &[potential - shift; 2], 2);
        assert!(nearby(1e-3).value < value && nearby(-1e-3).value < value && nearby(1e-3).error > 1e-4);
    }

    #[test]
    fn others_have_theirs() {
        let (arrays, potential) = two_atoms(0.3);
        // All entries grow by e^(1/3): both sides are off by that share of the mass.
        let Recomputed { error, value } = recompute(&arrays, &[potential + 0.1; 2], &[potential; 2], 1);
        assert!((error - 2.0 * ((1.0_f64 / 3.0).exp() - 1.0)).abs() < 1e-13, "{error}");
        assert!(value < 2.0 * potential, "{value}");
        assert!(recompute(&arrays, &[f64::NAN; 2], &[potential; 2], 1).error.is_nan());
    }
}
