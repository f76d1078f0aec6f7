//! The system of a debiased barycenter.
//!
//! At the optimum, sum_k lambda_k s_k is the softmin s_h of the potential h of the transport of p to itself. With the reference held at p, the
//! conditional expectation B of that transport, and the change r_h of its softmin while h rests,
//!
//! ```text
//! (1 - A_k) dg_k = r_k + dl       (1 + B) dh = r_h + dl       sum_k lambda_k dg_k - dh = -e       e = sum_k dlambda_k g_k
//! ```
//!
//! Without dh and dl,
//!
//! ```text
//! (1 - A_k) dg_k - (1 + B) X = r_k - r_h + (1 + B) e      X = sum_k lambda_k dg_k      dl = (1 + B) (X + e) - r_h
//! ```
//!
//! It is self-adjoint in sum_k lambda_k <h_k, h'_k>_p, non-negative on tuples with X = 0, and negative on equal ones as far as B and the A_k
//! are positive. It is zero on constants c_k with sum_k lambda_k c_k = 0. What B hardly sees, p is free to do: the system is as ill-conditioned as the
//! deconvolution that a debiased barycenter is.

use ot_core::{Backend, Device, Error, Operand, Side};

use super::{
    LinearisedBarycenter,
    system::{complements, weighted_sum},
};
use crate::{
    LinearSolve, Linearised,
    algebra::{pairing, sum, update, vector},
    minimal_residual::MinimalResidual,
    space::{Projection, Space},
};

/// A solution of the adjoint system.
pub(super) struct Adjoint<D: Device> {
    /// Those of the inputs.
    pub(super) inputs: Vec<D::Vector>,
    /// v = c + sum_k lambda_k y_k.
    pub(super) own: D::Vector,
    /// (1 + B) v.
    pub(super) of_parts: D::Vector,
    pub(super) solve: LinearSolve,
}

/// Tuples whose means are equal.
struct EqualMeans<'a, D: Device> {
    backend: &'a dyn Backend<D>,
    /// p.
    weights: &'a D::Vector,
    parts: &'a [Vec<f64>],
}

impl<D: Device> Projection<D> for EqualMeans<'_, D> {
    fn project(&self, x: &mut [D::Vector]) -> Result<(), Error> {
        let Self { backend, weights, parts } = *self;
        let (shape, mut totals) = (backend.shape(weights), Vec::with_capacity(x.len() + 1));
        for x in &*x {
            totals.push(pairing(backend, shape, weights, x)?);
        }
        totals.push(sum(backend, shape, [Operand::Vector(weights)], |[p]| p)?);
        let read = backend.read(&totals.iter().collect::<Vec<_>>())?;
        let (masses, totals) = (&read[x.len()], &read[..x.len()]);
        let mean =
            |column: usize| -> f64 { parts.iter().zip(totals).map(|(part, total)| part[column] * total[column]).sum() };
        let means: Vec<f64> = (0..shape.1).map(mean).collect();
        for (x, totals) in x.iter_mut().zip(totals) {
            let excess = |column: usize| match masses[column] > 0.0 {
                true => (totals[column] - means[column]) / masses[column],
                false => 0.0,
            };
            let excess = backend.upload_reduced(&(0..shape.1).map(excess).collect::<Vec<_>>())?;
            update(backend, x, [Operand::Reduced(&excess)], |x, [excess]| x - excess)?;
        }
        Ok(())
    }
}

/// x + B x.
fn doubled<D: Device>(own: &mut Linearised<D>, x: &D::Vector) -> Result<D::Vector, Error> {
    let mut out = own.optimum.frame.unwritten(Side::Target)?;
    own.coupling()?.respond(Side::Target, x, &mut out)?;
    update(own.optimum.frame.backend(), &mut out, [Operand::Vector(x)], |out, [x]| out + x)?;
    Ok(out)
}

impl<D: Device> LinearisedBarycenter<D> {
    /// dl, from the changes r_k and r_h of the softmins while potentials rest, and e.
    pub(super) fn debiased_change(
        &mut self,
        own: &mut Linearised<D>,
        explicit: &[D::Vector],
        of_own: &D::Vector,
        of_parts: &D::Vector,
    ) -> Result<(D::Vector, LinearSolve), Error> {
        let moved = doubled(own, of_parts)?;
        let (backend, shape) = (self.backend(), self.backend().shape(of_own));
        let mut right_hand_side = Vec::with_capacity(explicit.len());
        for explicit in explicit {
            let operands = [explicit, of_own, &moved].map(Operand::Vector);
            right_hand_side.push(vector(backend, shape, operands, |[r, own, moved]| r - own + moved)?);
        }
        let (solution, solve) = self.solve_debiased(own, right_hand_side)?;
        let mut sum = self.sum_of_parts(&solution)?;
        update(self.backend(), &mut sum, [Operand::Vector(of_parts)], |sum, [of_parts]| sum + of_parts)?;
        let mut change = doubled(own, &sum)?;
        update(self.backend(), &mut change, [Operand::Vector(of_own)], |change, [own]| change - own)?;
        Ok((change, solve))
    }

    /// The adjoint of the system for <c, dl>_p.
    pub(super) fn debiased_adjoint(&mut self, own: &mut Linearised<D>, c: &D::Vector) -> Result<Adjoint<D>, Error> {
        let asked = doubled(own, c)?;
        let right_hand_side =
            self.terms.iter().map(|_| self.backend().copied(&asked)).collect::<Result<Vec<_>, _>>()?;
        let (inputs, solve) = self.solve_debiased(own, right_hand_side)?;
        let mut sum = self.sum_of_parts(&inputs)?;
        update(self.backend(), &mut sum, [Operand::Vector(c)], |sum, [c]| sum + c)?;
        Ok(Adjoint { of_parts: doubled(own, &sum)?, own: sum, inputs, solve })
    }

    /// h of the system above.
    fn solve_debiased(
        &mut self,
        own: &mut Linearised<D>,
        right_hand_side: Vec<D::Vector>,
    ) -> Result<(Vec<D::Vector>, LinearSolve), Error> {
        let Self { problem, terms, parts, parts_on_device, solver, .. } = self;
        let backend = problem.terms()[0].problem.backend();
        let weights = backend.copied(terms[0].inner_weights())?;
        let equal_means = EqualMeans { backend, weights: &weights, parts };
        let minimal_residual = MinimalResidual {
            space: Space { backend, weights: &weights, parts: parts_on_device, projection: Some(&equal_means) },
            settings: solver,
        };
        minimal_residual.solve(right_hand_side, |x, out| {
            complements(terms, x, out)?;
            let own = doubled(own, &weighted_sum(backend, parts_on_device, x)?)?;
            out.iter_mut().try_for_each(|out| update(backend, out, [Operand::Vector(&own)], |out, [own]| out - own))
        })
    }
}
