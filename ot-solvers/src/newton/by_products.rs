//! Newton's step by products with the plan alone: for kernels of one epsilon, and those that list no arcs.
//!
//! Conjugate gradients meet the matrix of Newton's method as
//!
//! ```text
//! L x = c x / u - P^T (t / r) P x
//! ```
//!
//! preconditioned by its first term: one pass over all pairs a step where a kernel has the product of both, else two. What
//! this loses to the form in differences is couplings below rounding, which plans that are not sparse do not have.

use ot_core::{Device, Error, KernelOp, Side};

use super::{
    all_pairs::AllPairs,
    direction::{ConjugateGradients, LinearWork, divide},
    restricted::{FAR, ascend, forcing, towards_transform},
    sides::{Iterate, Sides},
};

/// Steps of one linear solve.
const STEPS: usize = 60;

/// The next iterate: that of Newton's step, or of Sinkhorn's where that gains nothing.
pub(super) fn round<D: Device, K: KernelOp<D> + ?Sized>(
    pairs: &mut AllPairs<'_, D, K>,
    sides: &Sides,
    now: &Iterate,
    work: &mut LinearWork,
) -> Result<Iterate, Error> {
    if now.error <= FAR {
        let step = direction(pairs, sides, now, work)?;
        let next = ascend(sides, pairs.epsilon(), now, &step, |g| pairs.iterate(sides, &now.f, &g))?;
        if let Some(next) = next {
            return Ok(next);
        }
    }
    pairs.iterate(sides, &now.f, &now.transform)
}

/// x with (L + lambda diag(c)) x = (c / u) (ghat - g), about.
fn direction<D: Device, K: KernelOp<D> + ?Sized>(
    pairs: &mut AllPairs<'_, D, K>,
    sides: &Sides,
    now: &Iterate,
    work: &mut LinearWork,
) -> Result<Vec<f64>, Error> {
    work.directions += 1;
    let (epsilon, forcing) = (pairs.epsilon(), forcing(now.error));
    let rows = now.f.iter().zip(&sides.weights[0]).map(|(&f, a)| a * sides.density_of_source(f, epsilon));
    let slopes = sides.slopes(Side::Source, &now.f, epsilon);
    let of_rows: Vec<f64> = rows.zip(slopes).map(|(r, t)| if r > 0.0 { t / r } else { 0.0 }).collect();
    let slopes = sides.slopes(Side::Target, &now.transform, epsilon);
    let diagonal: Vec<f64> = now.marginal.iter().zip(slopes).map(|(c, u)| c * (1.0 / u + forcing.lambda)).collect();

    pairs.write(&now.f, &now.g)?;
    let mut failed = None;
    let apply = |x: &[f64], out: &mut [f64]| match pairs.normal_product(&of_rows, x) {
        Ok(product) => {
            for ((out, product), (x, diagonal)) in out.iter_mut().zip(product).zip(x.iter().zip(&diagonal)) {
                *out = diagonal * x - product;
            }
        }
        // An image of zero ends the gradients.
        Err(error) => {
            out.fill(0.0);
            failed = Some(error);
        }
    };
    let b = towards_transform(sides, epsilon, now);
    let mut gradients = ConjugateGradients::new(&now.marginal, sides.has_gauge(), &b);
    let by_diagonal = |residual: &[f64], out: &mut [f64]| divide(residual, &diagonal, out);
    gradients.run(STEPS, forcing.tolerance, apply, by_diagonal, work);
    match failed {
        Some(error) => Err(error),
        None => Ok(gradients.solution()),
    }
}
