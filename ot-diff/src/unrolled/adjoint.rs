//! One half-step backwards.
//!
//! ```text
//! f = step(s + epsilon log a) - epsilon log a,    s_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon)
//!
//! s' = sigma f'                      a' += (sigma - 1) epsilon f' / a          sigma = step'(s + epsilon log a)
//! q_j = -sum_i s'_i exp((s_i + g_j - C_ij) / epsilon)
//! g' += b q                          b' += epsilon q
//! C'_ij += s'_i b_j exp((s_i + g_j - C_ij) / epsilon)
//! ```
//!
//! where x' is the cotangent of x. For a prescribed marginal sigma is 1.

use ot_core::{Device, Error, Operand};

use super::{anchored::AnchoredKernel, objective::Seeds, trajectory::Path};
use crate::{
    algebra::{Sided, add, scaled, times, update},
    frame::{Frame, HalfStep},
};

/// What the way back tells of each half-step.
pub(super) struct Back<'a, D: Device> {
    pub(super) half: HalfStep<'a, D>,
    /// f'.
    pub(super) potential: &'a D::Vector,
    /// s'.
    pub(super) softmin: &'a D::Vector,
}

/// Walks back from the seeds of an objective, calls `visit` at each half-step, and returns the cotangents of the weights.
pub(super) fn walk_back<D: Device>(
    frame: &Frame<D>,
    kernel: &mut AnchoredKernel<D>,
    path: &Path<D>,
    seeds: &Seeds<D>,
    mut visit: impl FnMut(&mut AnchoredKernel<D>, Back<'_, D>) -> Result<(), Error>,
) -> Result<Sided<D::Vector>, Error> {
    let backend = frame.backend();
    let copies = |of: &Sided<D::Vector>| Sided::try_new(|side| backend.copied(&of[side]));
    let (mut potentials, mut weights) = (copies(&seeds.potentials)?, copies(&seeds.weights)?);
    path.back(frame, kernel, |kernel, step, previous| {
        let (side, other) = (step.side, step.side.opposite());
        let half = path.half(frame, step, previous);
        let potential = std::mem::replace(&mut potentials[side], frame.filled(side, 0.0)?);
        let softmin = match &path.laws[side] {
            None => backend.copied(&potential)?,
            Some(law) => {
                let slope = path.of_law(frame, side, &law.slope, &step.softmin)?;
                let [sigma, f, a] = [&slope, &potential, frame.weights(side)].map(Operand::Vector);
                let operands = [sigma, f, a, Operand::Constant(frame.epsilon())];
                update(backend, &mut weights[side], operands, |out, [sigma, f, a, epsilon]| {
                    out + (sigma - 1.0) * epsilon * f / a
                })?;
                times(backend, &slope, &potential)?
            }
        };
        if previous.is_some() {
            let q = scaled(backend, &kernel.apply(frame, other, frame.density(half), &softmin)?, -1.0)?;
            add(backend, &mut potentials[other], &times(backend, frame.weights(other), &q)?)?;
            add(backend, &mut weights[other], &scaled(backend, &q, frame.epsilon())?)?;
        }
        visit(kernel, Back { half, potential: &potential, softmin: &softmin })
    })?;
    Ok(weights)
}
