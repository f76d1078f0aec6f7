//! Newton's direction: the matrix solved with by preconditioned conjugate gradients (Hestenes, Stiefel 1952).

use ot_core::power_of_two::{binary_exponent, times_power_of_two};

use super::{
    elimination::{Elimination, Fidelity},
    laplacian::{PlanLaplacian, dot},
};

/// What linear solves took.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LinearWork {
    /// Directions found.
    pub(super) directions: usize,
    /// Products with the matrix.
    pub(super) steps: usize,
    /// Factors made.
    pub(super) factors: usize,
}

/// How accurate a direction is, and how far it is held back.
#[derive(Copy, Clone, Debug)]
pub(super) struct Forcing {
    /// Of the residual, in the norm of the preconditioner.
    pub(super) tolerance: f64,
    /// The Levenberg term, relative to the column sums.
    pub(super) lambda: f64,
    /// Up to so many arcs a row the factor is made at once.
    pub(super) sparse: f64,
    /// Steps with the diagonal before the factor is made.
    pub(super) diagonal_steps: usize,
}

impl Forcing {
    /// For plans whose entries differ by decades.
    pub(super) fn new(tolerance: f64, lambda: f64) -> Self {
        Self { tolerance, lambda, sparse: 10.0, diagonal_steps: 60 }
    }
}

/// Steps with the factor.
const FACTOR_STEPS: usize = 300;

/// x with (L + lambda diag(c)) x = b up to the tolerance. Of a matrix with constants in its kernel <c, x> = 0.
pub(super) fn direction(laplacian: &PlanLaplacian, b: &[f64], forcing: Forcing, work: &mut LinearWork) -> Vec<f64> {
    work.directions += 1;
    let (column_sums, ground) = (laplacian.column_sums(), laplacian.ground(forcing.lambda));
    let apply = |x: &[f64], out: &mut [f64]| laplacian.apply(&ground, x, out);
    if laplacian.density() > forcing.sparse {
        let diagonal = laplacian.diagonal(forcing.lambda);
        let mut gradients = ConjugateGradients::new(column_sums, laplacian.has_gauge(), b);
        let by_diagonal = |residual: &[f64], out: &mut [f64]| divide(residual, &diagonal, out);
        if gradients.run(forcing.diagonal_steps, forcing.tolerance, apply, by_diagonal, work) {
            return gradients.solution();
        }
    }
    work.factors += 1;
    let (edges, ground) = laplacian.graph(forcing.lambda);
    let factor = Elimination::of(&edges, ground, Fidelity::COARSE);
    let mut buffer = vec![0.0; laplacian.shape().iter().sum()];
    let rows = laplacian.shape()[0];
    let by_factor = |residual: &[f64], out: &mut [f64]| {
        buffer[..rows].fill(0.0);
        buffer[rows..].copy_from_slice(residual);
        factor.solve(&mut buffer);
        out.copy_from_slice(&buffer[rows..]);
    };
    // A direction that is not accurate is still one of ascent.
    let mut gradients = ConjugateGradients::new(column_sums, laplacian.has_gauge(), b);
    gradients.run(FACTOR_STEPS, forcing.tolerance, apply, by_factor, work);
    gradients.solution()
}

/// out = residual / diagonal.
pub(super) fn divide(residual: &[f64], diagonal: &[f64], out: &mut [f64]) {
    for ((out, residual), diagonal) in out.iter_mut().zip(residual).zip(diagonal) {
        *out = residual / diagonal.max(f64::MIN_POSITIVE);
    }
}

/// Conjugate gradients for a matrix that is met by products, which may have constants in its kernel.
#[derive(Debug)]
pub(super) struct ConjugateGradients<'a> {
    /// c, against which solutions have a mean of zero if the matrix has constants in its kernel.
    column_sums: &'a [f64],
    has_gauge: bool,
    /// The exponent of the power of two that x and the residual are in: squares of residuals would leave the range in units of
    /// tiny costs.
    unit: f64,
    x: Vec<f64>,
    residual: Vec<f64>,
}

impl<'a> ConjugateGradients<'a> {
    /// From a solution of zero.
    pub(super) fn new(column_sums: &'a [f64], has_gauge: bool, b: &[f64]) -> Self {
        let largest = b.iter().fold(0.0_f64, |largest, b| largest.max(b.abs()));
        let unit = if largest > 0.0 && largest.is_finite() { binary_exponent(largest) } else { 0.0 };
        let residual = b.iter().map(|&b| times_power_of_two(b, -unit)).collect();
        let mut gradients = Self { column_sums, has_gauge, unit, x: vec![0.0; b.len()], residual };
        gradients.project();
        gradients
    }

    /// Takes from the residual what no solution has an image of.
    fn project(&mut self) {
        if self.has_gauge {
            let mean = self.residual.iter().sum::<f64>() / self.total();
            self.residual.iter_mut().zip(self.column_sums).for_each(|(residual, c)| *residual -= c * mean);
        }
    }

    fn total(&self) -> f64 {
        self.column_sums.iter().sum::<f64>().max(f64::MIN_POSITIVE)
    }

    /// At most so many steps, until the residual, in the norm of the preconditioner, is that part of the first. Says whether
    /// it is.
    pub(super) fn run(
        &mut self,
        steps: usize,
        tolerance: f64,
        mut apply: impl FnMut(&[f64], &mut [f64]),
        mut precondition: impl FnMut(&[f64], &mut [f64]),
        work: &mut LinearWork,
    ) -> bool {
        let len = self.x.len();
        let (mut z, mut image) = (vec![0.0; len], vec![0.0; len]);
        precondition(&self.residual, &mut z);
        let (mut p, mut size) = (z.clone(), dot(&self.residual, &z));
        let goal = tolerance * tolerance * size;
        let mut reached = size <= 0.0;
        for _ in 0..steps {
            if reached {
                break;
            }
            work.steps += 1;
            apply(&p, &mut image);
            let curvature = dot(&p, &image);
            if !(curvature > 0.0 && size.is_finite()) {
                break;
            }
            let length = size / curvature;
            for j in 0..len {
                self.x[j] += length * p[j];
                self.residual[j] -= length * image[j];
            }
            self.project();
            precondition(&self.residual, &mut z);
            let next = dot(&self.residual, &z);
            reached = next.abs() <= goal;
            let ratio = next / size;
            p.iter_mut().zip(&z).for_each(|(p, z)| *p = z + ratio * *p);
            size = next;
        }
        reached
    }

    /// What was found.
    pub(super) fn solution(mut self) -> Vec<f64> {
        if self.has_gauge {
            let mean = dot(self.column_sums, &self.x) / self.total();
            self.x.iter_mut().for_each(|x| *x -= mean);
        }
        self.x.into_iter().map(|x| times_power_of_two(x, self.unit)).collect()
    }
}
