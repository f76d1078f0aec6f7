//! Newton's step by products with the plan alone: for kernels of one epsilon, and those that list no arcs.
//!
//! Conjugate gradients meet the matrix of Newton's method as
//!
//! ```text
//! L x = c x / u - P^T (t / r) P x
//! ```
//!
//! preconditioned by its first term, and by the [plan between cells](CellCorrection) where a kernel tells it: one pass over all
//! pairs a step where a kernel has the product of both, else two. What this loses to the form in differences is couplings below
//! rounding, which plans that are not sparse do not have.

use ot_core::{Device, Error, KernelOp, Side};

use super::{
    all_pairs::AllPairs,
    cells::CellCorrection,
    direction::{ConjugateGradients, Forcing, LinearWork, divide},
    restricted::{FAR, ascend, towards_transform},
    sides::{Iterate, Sides},
};

/// Steps of one linear solve.
const STEPS: usize = 60;
/// Above this error a plain step is made first: it does as much for atoms that are far off, at a tenth of the price.
const NEAR: f64 = 1e-2;
/// The most that is left of the residual of a linear solve: what a direction takes besides its steps is worth as much as ten of them.
const LOOSE: f64 = 1e-2;
/// The Levenberg term over the error, the least and the most: what varies over the whole cloud is held by about epsilon over the largest
/// cost alone, and a larger term would leave it to hundreds of steps; parts that hardly anything couples ask for one. It grows by this
/// factor after a step that does not halve the error, and falls by it after one that does (Marquardt 1963).
const LEVENBERG: [f64; 2] = [1e-3, 0.1];
const GROWTH: f64 = 10.0;
/// How far below the goal a step may lead.
const BEYOND: f64 = 0.1;

/// What rounds have learnt.
#[derive(Debug)]
pub(super) struct Held {
    /// The Levenberg term over the error.
    levenberg: f64,
}

impl Default for Held {
    fn default() -> Self {
        Self { levenberg: LEVENBERG[0] }
    }
}

impl Held {
    fn learn(&mut self, is_halved: bool) {
        let [least, most] = LEVENBERG;
        let next = if is_halved { self.levenberg / GROWTH } else { self.levenberg * GROWTH };
        self.levenberg = next.clamp(least, most);
    }
}

/// The next iterate: that of Newton's step, or of Sinkhorn's where that gains nothing.
pub(super) fn round<D: Device, K: KernelOp<D> + ?Sized>(
    pairs: &mut AllPairs<'_, D, K>,
    sides: &Sides,
    now: &Iterate,
    goal: f64,
    held: &mut Held,
    work: &mut LinearWork,
) -> Result<Iterate, Error> {
    let (plain, mut now) = (plain_step(pairs, sides, now)?, now);
    if let Some(plain) = &plain {
        if plain.error <= now.error / 2.0 {
            return Ok(plain.clone());
        }
        now = plain;
    }
    if now.error <= FAR {
        // Digits beyond the goal cost passes.
        let tolerance = (BEYOND * goal).max(now.error * now.error) / now.error;
        let forcing = Forcing::new(tolerance.min(LOOSE), held.levenberg * now.error);
        let step = direction(pairs, sides, now, forcing, work)?;
        let next = ascend(sides, pairs.epsilon(), now, &step, |g| pairs.iterate(sides, &now.f, &g))?;
        held.learn(next.as_ref().is_some_and(|next| next.error <= now.error / 2.0));
        if let Some(next) = next {
            return Ok(next);
        }
    }
    pairs.iterate(sides, &now.f, &now.transform)
}

/// Sinkhorn's step from an iterate that is far from the solution.
fn plain_step<D: Device, K: KernelOp<D> + ?Sized>(
    pairs: &mut AllPairs<'_, D, K>,
    sides: &Sides,
    now: &Iterate,
) -> Result<Option<Iterate>, Error> {
    if now.error <= NEAR {
        return Ok(None);
    }
    pairs.iterate(sides, &now.f, &now.transform).map(Some)
}

/// x with (L + lambda diag(c)) x = (c / u) (ghat - g), about.
fn direction<D: Device, K: KernelOp<D> + ?Sized>(
    pairs: &mut AllPairs<'_, D, K>,
    sides: &Sides,
    now: &Iterate,
    forcing: Forcing,
    work: &mut LinearWork,
) -> Result<Vec<f64>, Error> {
    work.directions += 1;
    let epsilon = pairs.epsilon();
    let rows = now.f.iter().zip(&sides.weights[0]).map(|(&f, a)| a * sides.density_of_source(f, epsilon));
    let rows: Vec<f64> = rows.collect();
    let slopes = [(Side::Source, &now.f), (Side::Target, &now.transform)];
    let slopes = slopes.map(|(side, potential)| sides.slopes(side, potential, epsilon));
    let of_rows: Vec<f64> = rows.iter().zip(&slopes[0]).map(|(&r, t)| if r > 0.0 { t / r } else { 0.0 }).collect();
    let diagonal: Vec<f64> = now.marginal.iter().zip(&slopes[1]).map(|(c, u)| c * (1.0 / u + forcing.lambda)).collect();

    pairs.write(&now.f, &now.g)?;
    let cells = pairs.cells()?;
    let correction = |cells| {
        let (sums, slopes) = ([&rows[..], &now.marginal], slopes.each_ref().map(Vec::as_slice));
        CellCorrection::new(cells, sums, slopes, sides.has_gauge(), forcing.lambda)
    };
    let mut correction = cells.as_ref().map(correction);
    work.factors += usize::from(correction.is_some());
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
    let precondition = |residual: &[f64], out: &mut [f64]| {
        divide(residual, &diagonal, out);
        if let Some(correction) = &mut correction {
            correction.add(residual, out);
        }
    };
    gradients.run(STEPS, forcing.tolerance, apply, precondition, work);
    match failed {
        Some(error) => Err(error),
        None => Ok(gradients.solution()),
    }
}

#[cfg(test)]
mod tests;
