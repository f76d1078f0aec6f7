//! The problems on which entropic solvers break, and what ours says of each.
//!
//! A row *holds* if every number of the certificate is finite, the potentials are, the mass of the
//! plan recomputed entry by entry in f64 agrees with what the certificate says, and a solve that
//! calls itself converged has the marginal error it claims under that recomputation.

use std::fmt;

use ot_core::{
    Certificate, CostMatrix, Epsilon, Error, GeometryBuilder, GroundCost, Histogram, Host, LOG_ZERO, Measure,
    PointCloud, Problem, Scalar, Side, Solution, SqEuclidean, Status,
};
use ot_cpu::{CpuBackend, CpuScalar, KeptEntries};
use ot_solvers::{Sinkhorn, Update};

use crate::seeded::Seeded;

/// The multiples of the mean cost at which every case is solved.
pub const EPSILONS: [f64; 7] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e2];

/// One kind of hard input.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is hard about it.
    pub name: &'static str,
    source: Atoms,
    target: Atoms,
    costs: Costs,
    update: Update,
    /// The mean cost that epsilon is relative to, where some costs stand for "never".
    mean: Option<f64>,
    /// Does single precision hold its numbers?
    pub fits_f32: bool,
}

/// Points in the plane and weights.
#[derive(Clone, Debug)]
struct Atoms {
    points: Vec<f64>,
    weights: Vec<f64>,
}

/// Where the cost comes from.
#[derive(Clone, Debug)]
enum Costs {
    SquaredDistance,
    Matrix(Vec<f64>),
}

/// Which kernel answers.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Costs stored.
    Dense,
    /// Costs recomputed from coordinates.
    Streaming,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name of the case.
    pub case: &'static str,
    /// Element type.
    pub element: &'static str,
    /// The kernel.
    pub kernel: Kernel,
    /// Epsilon over the mean cost.
    pub epsilon: f64,
    /// Why the solve ended.
    pub status: Status,
    /// Iterations.
    pub iterations: usize,
    /// What was certified.
    pub certificate: Certificate,
    /// The marginal error recomputed entry by entry in f64.
    pub recomputed_error: f64,
    /// Does the row hold?
    pub holds: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, element, kernel, epsilon, status, iterations, certificate, recomputed_error, holds } = self;
        let kernel = match kernel {
            Kernel::Dense => "dense",
            Kernel::Streaming => "streaming",
        };
        let Certificate { marginal_error, rounding, gap, mass, .. } = certificate;
        let holds = if *holds { "yes" } else { "NO" };
        write!(
            formatter,
            "| {case} | {element} | {kernel} | {epsilon:.0e} | {status} | {iterations} | {marginal_error:.1e} | \
             {recomputed_error:.1e} | {rounding:.1e} | {gap:.1e} | {mass:.6} | {holds} |"
        )
    }
}

/// The head of the table.
pub const TABLE_HEAD: &str = "| case | element | kernel | epsilon / mean | status | iterations | marginal error | \
                              recomputed in f64 | rounding | gap | mass | holds |\n\
                              |---|---|---|---|---|---|---|---|---|---|---|---|";

/// All cases, of about `len` atoms a side.
#[must_use]
pub fn cases(len: usize) -> Vec<Case> {
    let mut random = Seeded::new(2026);
    let mut gaussian = |len: usize, shift: f64| random.draw(2 * len, |random| random.normal() + shift);
    let (x, y) = (gaussian(len, 0.0), gaussian(len - 7, 1.0));
    let mut random = Seeded::new(7);
    let weights = |random: &mut Seeded, len: usize| normalized(random.draw(len, |random| 0.05 + random.uniform()));
    let (a, b) = (weights(&mut random, len), weights(&mut random, len - 7));
    let atoms = |points: &[f64], weights: &[f64]| Atoms { points: points.to_vec(), weights: weights.to_vec() };
    let case = |name, source, target| Case {
        name,
        source,
        target,
        costs: Costs::SquaredDistance,
        update: Update::Alternating,
        mean: None,
        fits_f32: true,
    };
    let plain = case("Gaussian clouds", atoms(&x, &a), atoms(&y, &b));

    let clustered = |points: &[f64]| -> Vec<f64> {
        let cluster = |(index, value): (usize, &f64)| 1e-4 * value + [0.0, 1.0, 5.0][index / 2 % 3];
        points.iter().enumerate().map(cluster).collect()
    };
    let duplicated = |points: &[f64]| -> Vec<f64> { points.iter().map(|value| value.round()).collect() };
    let shifted = |points: &[f64]| -> Vec<f64> { points.iter().map(|value| value + 1e6).collect() };
    let decades = |len: usize, decades: f64| {
        normalized((0..len).map(|i| 10_f64.powf(-decades * i as f64 / len as f64)).collect())
    };
    let times = |factor: f64, values: &[f64]| values.iter().map(|value| factor * value).collect::<Vec<f64>>();
    let holes = |weights: &[f64]| {
        normalized(weights.iter().enumerate().map(|(i, &weight)| if i % 3 == 0 { 0.0 } else { weight }).collect())
    };
    let huge = |scale: f64| -> Costs {
        let entry = |index: usize| {
            let (i, j) = (index / (len - 7), index % (len - 7));
            scale * ((x[2 * i] - y[2 * j]).powi(2) + (x[2 * i + 1] - y[2 * j + 1]).powi(2))
        };
        Costs::Matrix((0..len * (len - 7)).map(entry).collect())
    };
    let banded = || -> Costs {
        let entry = |index: usize| {
            let (i, j) = (index / len, index % len);
            let distance = (i as f64 - j as f64).abs();
            if distance > len as f64 / 4.0 { f64::INFINITY } else { distance / len as f64 }
        };
        Costs::Matrix((0..len * len).map(entry).collect())
    };
    let sentinels = || match huge(1.0) {
        Costs::Matrix(mut costs) => {
            costs.iter_mut().step_by(5).for_each(|cost| *cost = 1e100);
            Costs::Matrix(costs)
        }
        other => other,
    };
    let uniform = |len: usize| vec![1.0 / len as f64; len];
    vec![
        case("clustered", atoms(&clustered(&x), &a), atoms(&clustered(&y), &b)),
        case("duplicated points", atoms(&duplicated(&x), &a), atoms(&duplicated(&y), &b)),
        case("shifted by 1e6", atoms(&shifted(&x), &a), atoms(&shifted(&y), &b)),
        case("weights over 12 decades", atoms(&x, &decades(len, 12.0)), atoms(&y, &decades(len - 7, 12.0))),
        case("weights over 300 decades", atoms(&x, &decades(len, 300.0)), atoms(&y, &decades(len - 7, 300.0))),
        case("masses of 1e12", atoms(&x, &times(1e12, &a)), atoms(&y, &times(1e12, &b))),
        case("masses of 1e-12", atoms(&x, &times(1e-12, &a)), atoms(&y, &times(1e-12, &b))),
        case("points in a unit of 2^40", atoms(&times(2_f64.powi(40), &x), &a), atoms(&times(2_f64.powi(40), &y), &b)),
        Case {
            fits_f32: false,
            ..case(
                "points in a unit of 2^-400",
                atoms(&times(2_f64.powi(-400), &x), &a),
                atoms(&times(2_f64.powi(-400), &y), &b),
            )
        },
        Case {
            costs: sentinels(),
            mean: Some(4.0),
            fits_f32: false,
            ..case("sentinel costs of 1e100", atoms(&x, &a), atoms(&y, &b))
        },
        case("zero weights", atoms(&x, &holes(&a)), atoms(&y, &holes(&b))),
        case("a measure against itself", atoms(&x, &a), atoms(&x, &a)),
        Case { update: Update::Symmetric, ..case("the same, symmetric update", atoms(&x, &a), atoms(&x, &a)) },
        case("1 x 1", atoms(&x[..2], &[1.0]), atoms(&y[..2], &[1.0])),
        case("1 x n", atoms(&x[..2], &[1.0]), atoms(&y, &b)),
        Case { costs: huge(1e149), fits_f32: false, ..plain.clone() },
        Case { costs: banded(), ..case("forbidden pairs", atoms(&x, &uniform(len)), atoms(&x, &uniform(len))) },
        plain,
    ]
    .into_iter()
    .map(|case| match case {
        Case { costs: Costs::Matrix(_), fits_f32: false, mean: None, .. } => Case { name: "costs up to 1e150", ..case },
        case => case,
    })
    .collect()
}

/// Weights of total mass one.
fn normalized(weights: Vec<f64>) -> Vec<f64> {
    let mass: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / mass).collect()
}

impl Case {
    /// Solves the case in one element type on every kernel that it can have.
    ///
    /// # Errors
    /// What the library refuses: none of these cases should be.
    pub fn rows<T: CpuScalar>(&self, epsilon: f64, tolerance: f64, iterations: usize) -> Result<Vec<Row>, Error> {
        let kernels: &[Kernel] = match self.costs {
            Costs::SquaredDistance => &[Kernel::Dense, Kernel::Streaming],
            Costs::Matrix(_) => &[Kernel::Dense],
        };
        kernels.iter().map(|&kernel| self.row::<T>(kernel, epsilon, tolerance, iterations)).collect()
    }

    fn row<T: CpuScalar>(&self, kernel: Kernel, epsilon: f64, tolerance: f64, iterations: usize) -> Result<Row, Error> {
        let limit = if kernel == Kernel::Dense { usize::MAX } else { 0 };
        let backend =
            CpuBackend::<T>::with_available_threads()?.with_dense_limit(limit).with_kept_entries(KeptEntries::Single);
        let narrow = |values: &[f64]| -> Vec<T> { values.iter().map(|&value| T::from_f64(value)).collect() };
        let measure = |atoms: &Atoms| -> Result<Box<dyn Measure<T>>, Error> {
            Ok(match self.costs {
                Costs::SquaredDistance => Box::new(PointCloud::new(narrow(&atoms.points), 2, narrow(&atoms.weights))?),
                Costs::Matrix(_) => Box::new(Histogram::new(narrow(&atoms.weights))?),
            })
        };
        let (source, target) = (measure(&self.source)?, measure(&self.target)?);
        let cost: Box<dyn GroundCost> = match &self.costs {
            Costs::SquaredDistance => Box::new(SqEuclidean),
            Costs::Matrix(costs) => {
                Box::new(CostMatrix::new(narrow(costs), self.source.weights.len(), self.target.weights.len())?)
            }
        };
        let geometry = backend.geometry(source.support(), target.support(), cost.as_ref())?;
        let rule = self.mean.map_or(Epsilon::RelativeToMean(epsilon), |mean| Epsilon::Absolute(epsilon * mean));
        let problem = Problem::new(geometry, &source, &target, rule)?;
        let solution =
            Sinkhorn::new().tolerance(tolerance).max_iterations(iterations).update(self.update).solve(&problem)?;
        let (recomputed_error, mass) = self.recompute(&solution)?;
        let certificate = *solution.certificate();
        let slack = 4.0 * certificate.rounding + 1e-12;
        let honest = !solution.status().is_converged() || recomputed_error <= tolerance + slack;
        let finite = certificate.is_finite() && recomputed_error.is_finite() && !certificate.gap.is_nan();
        Ok(Row {
            case: self.name,
            element: <T as Scalar>::NAME,
            kernel,
            epsilon,
            status: solution.status(),
            iterations: solution.iterations(),
            holds: finite
                && honest
                && (mass - certificate.mass).abs() <= slack * mass.max(1.0)
                && (recomputed_error - certificate.marginal_error).abs() <= slack * recomputed_error.max(1.0),
            certificate,
            recomputed_error,
        })
    }

    /// Marginal error and mass of the plan of a solution, entry by entry in f64, from what the solver
    /// was given in its element type.
    fn recompute<T: CpuScalar>(&self, solution: &Solution<Host<T>>) -> Result<(f64, f64), Error> {
        let wide = |values: Vec<T>| -> Vec<f64> { values.into_iter().map(Scalar::to_f64).collect() };
        let (f, g) = (wide(solution.potential(Side::Source)?), wide(solution.potential(Side::Target)?));
        let weights = |side: Side| -> Result<Vec<f64>, Error> {
            let problem = solution.problem();
            Ok(wide(problem.backend().download(&[problem.marginal(side).weights()])?.swap_remove(0)))
        };
        let (a, b) = (weights(Side::Source)?, weights(Side::Target)?);
        let round = |value: f64| T::from_f64(value).to_f64();
        let cost = |i: usize, j: usize| match &self.costs {
            Costs::SquaredDistance => (0..2)
                .map(|axis| (round(self.source.points[2 * i + axis]) - round(self.target.points[2 * j + axis])).powi(2))
                .sum(),
            Costs::Matrix(costs) => round(costs[i * b.len() + j]),
        };
        let epsilon = solution.potentials().epsilon;
        let (mut rows, mut columns) = (vec![0.0; a.len()], vec![0.0; b.len()]);
        for i in (0..a.len()).filter(|&i| a[i] > 0.0) {
            for j in (0..b.len()).filter(|&j| b[j] > 0.0) {
                let exponent = ((f[i] + g[j] - cost(i, j)) / epsilon).max(LOG_ZERO);
                let entry = a[i] * b[j] * exponent.exp();
                rows[i] += entry;
                columns[j] += entry;
            }
        }
        let residual = |marginal: &[f64], weights: &[f64]| -> f64 {
            marginal.iter().zip(weights).map(|(found, wanted)| (found - wanted).abs()).sum()
        };
        let mass: f64 = a.iter().sum();
        Ok(((residual(&rows, &a) + residual(&columns, &b)) / mass, rows.iter().sum()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_holds() {
        for case in cases(40) {
            for epsilon in EPSILONS {
                let mut rows = case.rows::<f64>(epsilon, 1e-8, 400).unwrap();
                if case.fits_f32 {
                    rows.extend(case.rows::<f32>(epsilon, 1e-3, 400).unwrap());
                }
                for row in rows {
                    assert!(row.holds, "{row}");
                }
            }
        }
    }
}
