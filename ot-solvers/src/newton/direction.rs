//! Newton's direction: the matrix solved with by preconditioned conjugate gradients (Hestenes, Stiefel 1952).

use super::{
    elimination::{EXACT_DEGREE, Elimination},
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
}

/// Up to so many arcs a row the factor is cheaper than steps without it.
const SPARSE: f64 = 20.0;
/// Steps with the diagonal before the factor is made.
const DIAGONAL_STEPS: usize = 60;
/// Steps with the factor.
const FACTOR_STEPS: usize = 300;

/// x with (L + lambda diag(c)) x = b up to the tolerance. Of a matrix with constants in its kernel <c, x> = 0.
pub(super) fn direction(laplacian: &PlanLaplacian, b: &[f64], forcing: Forcing, work: &mut LinearWork) -> Vec<f64> {
    work.directions += 1;
    if laplacian.density() > SPARSE {
        let diagonal = laplacian.diagonal(forcing.lambda);
        let by_diagonal = |residual: &[f64], out: &mut [f64]| {
            for ((out, residual), diagonal) in out.iter_mut().zip(residual).zip(&diagonal) {
                *out = residual / diagonal.max(f64::MIN_POSITIVE);
            }
        };
        if let Ok(solved) = conjugate_gradients(laplacian, b, forcing, DIAGONAL_STEPS, by_diagonal, work) {
            return solved;
        }
    }
    work.factors += 1;
    let (edges, ground) = laplacian.graph(forcing.lambda);
    let (factor, mut buffer) =
        (Elimination::of(&edges, ground, EXACT_DEGREE), vec![0.0; laplacian.shape().iter().sum()]);
    let rows = laplacian.shape()[0];
    let by_factor = |residual: &[f64], out: &mut [f64]| {
        buffer[..rows].fill(0.0);
        buffer[rows..].copy_from_slice(residual);
        factor.solve(&mut buffer);
        out.copy_from_slice(&buffer[rows..]);
    };
    // A direction that is not accurate is still one of ascent.
    conjugate_gradients(laplacian, b, forcing, FACTOR_STEPS, by_factor, work).unwrap_or_else(|inaccurate| inaccurate)
}

/// The solution, or what was reached.
fn conjugate_gradients(
    laplacian: &PlanLaplacian,
    b: &[f64],
    Forcing { tolerance, lambda }: Forcing,
    steps: usize,
    mut precondition: impl FnMut(&[f64], &mut [f64]),
    work: &mut LinearWork,
) -> Result<Vec<f64>, Vec<f64>> {
    let c = laplacian.column_sums();
    let (total, ground) = (c.iter().sum::<f64>().max(f64::MIN_POSITIVE), laplacian.ground(lambda));
    let project = |residual: &mut [f64]| {
        if laplacian.has_gauge() {
            let mean = residual.iter().sum::<f64>() / total;
            residual.iter_mut().zip(c).for_each(|(residual, c)| *residual -= c * mean);
        }
    };
    let (mut x, mut residual) = (vec![0.0; b.len()], b.to_vec());
    let (mut z, mut image) = (vec![0.0; b.len()], vec![0.0; b.len()]);
    project(&mut residual);
    precondition(&residual, &mut z);
    let (mut p, mut size) = (z.clone(), dot(&residual, &z));
    let goal = tolerance * tolerance * size;
    let mut reached = size <= 0.0;
    for _ in 0..steps {
        if reached {
            break;
        }
        work.steps += 1;
        laplacian.apply(&ground, &p, &mut image);
        let curvature = dot(&p, &image);
        if !(curvature > 0.0 && size.is_finite()) {
            break;
        }
        let length = size / curvature;
        for j in 0..x.len() {
            x[j] += length * p[j];
            residual[j] -= length * image[j];
        }
        project(&mut residual);
        precondition(&residual, &mut z);
        let next = dot(&residual, &z);
        reached = next.abs() <= goal;
        let ratio = next / size;
        p.iter_mut().zip(&z).for_each(|(p, z)| *p = z + ratio * *p);
        size = next;
    }
    if laplacian.has_gauge() {
        let mean = dot(c, &x) / total;
        x.iter_mut().for_each(|x| *x -= mean);
    }
    if reached { Ok(x) } else { Err(x) }
}
