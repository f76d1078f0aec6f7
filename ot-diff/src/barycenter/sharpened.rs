//! The system of a barycenter of bounded entropy.
//!
//! At the fixed point p = c (m exp(-s / epsilon))^beta, with beta such that the entropy of p is the bound. Changes of log p that keep
//! mass and entropy are orthogonal in L2(p) to 1 and to log p. With the projection Pi onto their complement and kappa = (beta - 1) / beta,
//!
//! ```text
//! (1 - A_k) dg_k - w = r_k + w_0                                       dl = w_0 + w,   w = Pi w
//! -Pi sum_k lambda_k dg_k + kappa w = Pi sum_k dlambda_k g_k - kappa Pi (epsilon dm / m + log m depsilon)
//! w_0 = (1 - Pi) (l depsilon / epsilon - epsilon dm / m) + epsilon dM / M - epsilon M dH u / |log p|
//! ```
//!
//! where M is the mass of p, H the bound, and u the unit vector along log p less its mean. Constants of w_0 are such that the mean of each r_k + w_0 of a
//! prescribed input is zero. The system is self-adjoint in sum_k lambda_k <h_k, h'_k>_p + <w, w'>_p and quasi-definite: negative on w = Pi sum_k lambda_k h_k,
//! as kappa < 1. With kappa = 0 and without log p in the projection it is that of a barycenter without a bound.

use ot_core::{Backend, Device, Error, Operand, Real, Side};

use super::{
    LinearisedBarycenter,
    system::{complements, weighted_sum},
};
use crate::{
    LinearSolve,
    algebra::{numbers, pairing, sum, update, vector},
    minimal_residual::MinimalResidual,
    space::{Projection, Space},
};

/// What the bound does at a barycenter.
#[derive(Debug)]
pub(super) struct Sharpening<D: Device> {
    /// u, zero in columns where the bound does not bind.
    unit: D::Vector,
    /// kappa.
    kappa: D::Reduced,
    /// epsilon M / |log p|: how much of -u an entropy brings to dl. Zero where the bound does not bind.
    pub(super) of_bound: D::Reduced,
    /// M.
    mass: D::Reduced,
}

/// A solution of the adjoint system.
pub(super) struct Adjoint<D: Device> {
    /// Those of the inputs.
    pub(super) inputs: Vec<D::Vector>,
    /// That of w.
    pub(super) bound: D::Vector,
    /// <c + sum_k lambda_k y_k, u>_p.
    pub(super) along: D::Reduced,
    pub(super) solve: LinearSolve,
}

/// Tuples (h_1, .., h_K, w): those of prescribed inputs without constants, w = Pi w.
struct Admissible<'a, D: Device> {
    backend: &'a dyn Backend<D>,
    /// p.
    weights: &'a D::Vector,
    sharpening: &'a Sharpening<D>,
    is_prescribed: Vec<bool>,
}

impl<D: Device> Projection<D> for Admissible<'_, D> {
    fn project(&self, x: &mut [D::Vector]) -> Result<(), Error> {
        let Self { backend, weights, sharpening, .. } = *self;
        let (inputs, w) = x.split_at_mut(self.is_prescribed.len());
        for (x, _) in inputs.iter_mut().zip(&self.is_prescribed).filter(|(_, is_prescribed)| **is_prescribed) {
            sharpening.remove_mean(backend, weights, x)?;
        }
        sharpening.project(backend, weights, &mut w[0])
    }
}

impl<D: Device> Sharpening<D> {
    /// At a barycenter that is linearised, with the power beta of each column.
    pub(super) fn new(barycenter: &LinearisedBarycenter<D>, powers: &[f64]) -> Result<Self, Error> {
        let (backend, frame) = (barycenter.backend(), &barycenter.terms[0].optimum.frame);
        let (p, shape) = (barycenter.inner_weights(), frame.shape(Side::Target));
        let binds: Vec<f64> = powers.iter().map(|power| f64::from(u8::from(*power > 1.0))).collect();
        let kappa: Vec<f64> = powers.iter().map(|power| ((power - 1.0) / power).max(0.0)).collect();
        let mass = sum(backend, shape, [Operand::Vector(p)], |[p]| p)?;
        let mut unit = vector(backend, shape, [Operand::Vector(p)], |[p]| p.select(p.ln(), 0.0))?;
        let mut sharpening = Self {
            kappa: backend.upload_reduced(&kappa)?,
            of_bound: backend.upload_reduced(&binds)?,
            unit: backend.filled(0.0, shape.0, shape.1)?,
            mass,
        };
        sharpening.remove_mean(backend, p, &mut unit)?;
        let squared = sum(backend, shape, [Operand::Vector(p), Operand::Vector(&unit)], |[p, unit]| p * unit * unit)?;
        let operands = [&squared, &sharpening.of_bound].map(Operand::Reduced);
        let inverse =
            numbers(backend, shape.1, operands, |[squared, binds]| squared.select(binds / squared.sqrt(), 0.0))?;
        update(backend, &mut unit, [Operand::Reduced(&inverse)], |unit, [inverse]| unit * inverse)?;
        let operands =
            [Operand::Reduced(&sharpening.mass), Operand::Reduced(&inverse), Operand::Constant(frame.epsilon())];
        sharpening.of_bound = numbers(backend, shape.1, operands, |[mass, inverse, epsilon]| epsilon * mass * inverse)?;
        sharpening.unit = unit;
        Ok(sharpening)
    }

    /// x <- x - <1, x>_p / M.
    fn remove_mean(&self, backend: &dyn Backend<D>, p: &D::Vector, x: &mut D::Vector) -> Result<(), Error> {
        let total = pairing(backend, backend.shape(x), p, x)?;
        update(backend, x, [&total, &self.mass].map(Operand::Reduced), |x, [total, mass]| {
            x - mass.select(total / mass, 0.0)
        })
    }

    /// <x, u>_p.
    fn along(&self, backend: &dyn Backend<D>, p: &D::Vector, x: &D::Vector) -> Result<D::Reduced, Error> {
        let operands = [p, x, &self.unit].map(Operand::Vector);
        sum(backend, backend.shape(x), operands, |[p, x, unit]| p * x * unit)
    }

    /// x <- Pi x.
    fn project(&self, backend: &dyn Backend<D>, p: &D::Vector, x: &mut D::Vector) -> Result<(), Error> {
        self.remove_mean(backend, p, x)?;
        let along = self.along(backend, p, x)?;
        let operands = [Operand::Vector(&self.unit), Operand::Reduced(&along)];
        update(backend, x, operands, |x, [unit, along]| x - along * unit)
    }

    /// x <- x + factor u.
    pub(super) fn add(&self, backend: &dyn Backend<D>, x: &mut D::Vector, factor: &D::Reduced) -> Result<(), Error> {
        let operands = [Operand::Vector(&self.unit), Operand::Reduced(factor)];
        update(backend, x, operands, |x, [unit, factor]| x + factor * unit)
    }

    /// kappa x.
    pub(super) fn times_kappa(&self, backend: &dyn Backend<D>, x: &D::Vector) -> Result<D::Vector, Error> {
        let operands = [Operand::Vector(x), Operand::Reduced(&self.kappa)];
        vector(backend, backend.shape(x), operands, |[x, kappa]| kappa * x)
    }
}

/// What moves beside the softmins: dm / m, depsilon, dH of each column.
pub(super) struct Moves<'a, D: Device> {
    /// sum_k dlambda_k g_k, of relative weights.
    pub(super) of_parts: &'a D::Vector,
    /// dm / m where p has mass.
    pub(super) reference: &'a D::Vector,
    pub(super) epsilon: f64,
    pub(super) bound: &'a D::Reduced,
}

impl<D: Device> LinearisedBarycenter<D> {
    /// dl, from the changes r_k of the softmins while the g_k rest.
    pub(super) fn sharpened_change(
        &mut self,
        sharpening: &Sharpening<D>,
        explicit: &[D::Vector],
        moves: &Moves<'_, D>,
    ) -> Result<(D::Vector, LinearSolve), Error> {
        let (backend, frame) = (self.backend(), &self.terms[0].optimum.frame);
        let (p, shape) = (self.inner_weights(), frame.shape(Side::Target));
        let [epsilon, moved] = [frame.epsilon(), moves.epsilon].map(Operand::Constant);
        let operands = [&self.logarithm, moves.reference].map(Operand::Vector);
        let own = vector(backend, shape, [operands[0], operands[1], epsilon, moved], |[l, dm, epsilon, moved]| {
            l * (moved / epsilon) - epsilon * dm
        })?;
        let along = sharpening.along(backend, p, &own)?;
        let operands = [&along, &sharpening.of_bound, moves.bound].map(Operand::Reduced);
        let factor = numbers(backend, shape.1, operands, |[along, of_bound, moved]| along - of_bound * moved)?;
        let mut known = backend.filled(0.0, shape.0, shape.1)?;
        sharpening.add(backend, &mut known, &factor)?;
        // Some input prescribes the mass.
        let prescribed = self.prescribed().position(|is_prescribed| is_prescribed).unwrap_or(0);
        let total = pairing(backend, shape, p, &explicit[prescribed])?;
        update(backend, &mut known, [&total, &sharpening.mass].map(Operand::Reduced), |known, [total, mass]| {
            known - mass.select(total / mass, 0.0)
        })?;

        let mut right_hand_side = Vec::with_capacity(explicit.len() + 1);
        for explicit in explicit {
            let operands = [explicit, &known].map(Operand::Vector);
            right_hand_side.push(vector(backend, shape, operands, |[r, known]| r + known)?);
        }
        let [of_parts, dm, m] = [moves.of_parts, moves.reference, frame.weights(Side::Target)].map(Operand::Vector);
        let operands = [of_parts, dm, m, Operand::Reduced(&sharpening.kappa), epsilon, moved, Operand::Vector(p)];
        right_hand_side.push(vector(backend, shape, operands, |[of_parts, dm, m, kappa, epsilon, moved, p]| {
            of_parts - kappa * (epsilon * dm + p.select(moved * m.ln(), 0.0))
        })?);
        let (mut solution, solve) = self.solve_sharpened(sharpening, right_hand_side)?;
        let mut change = solution.pop().unwrap_or(self.backend().copied(&known)?);
        update(self.backend(), &mut change, [Operand::Vector(&known)], |w, [known]| w + known)?;
        Ok((change, solve))
    }

    /// The adjoint of the system for <c, dl>_p.
    pub(super) fn sharpened_adjoint(&mut self, sharpening: &Sharpening<D>, c: &D::Vector) -> Result<Adjoint<D>, Error> {
        let backend = self.backend();
        let shape = backend.shape(c);
        let mut right_hand_side =
            self.terms.iter().map(|_| backend.filled(0.0, shape.0, shape.1)).collect::<Result<Vec<_>, _>>()?;
        right_hand_side.push(backend.copied(c)?);
        let (mut inputs, solve) = self.solve_sharpened(sharpening, right_hand_side)?;
        let backend = self.backend();
        let bound = match inputs.pop() {
            Some(bound) => bound,
            None => backend.filled(0.0, shape.0, shape.1)?,
        };
        // Constants that make the mean of c + sum_k lambda_k y_k zero: what all prescribed inputs gain needs no other place.
        let sum_of_all = |inputs: &[D::Vector]| -> Result<D::Vector, Error> {
            let mut all = self.sum_of_parts(inputs)?;
            update(backend, &mut all, [Operand::Vector(c)], |all, [c]| all + c)?;
            Ok(all)
        };
        let total = pairing(backend, shape, self.inner_weights(), &sum_of_all(&inputs)?)?;
        let prescribed: Vec<bool> = self.prescribed().collect();
        let part = |column: usize| -> f64 {
            self.parts.iter().zip(&prescribed).filter(|(_, is)| **is).map(|(part, _)| part[column]).sum()
        };
        let part = backend.upload_reduced(&(0..shape.1).map(part).collect::<Vec<_>>())?;
        for (y, _) in inputs.iter_mut().zip(&prescribed).filter(|(_, is_prescribed)| **is_prescribed) {
            let operands = [&total, &sharpening.mass, &part].map(Operand::Reduced);
            update(backend, y, operands, |y, [total, mass, part]| {
                y - (mass * part).select(total / (mass * part), 0.0)
            })?;
        }
        let along = sharpening.along(backend, self.inner_weights(), &sum_of_all(&inputs)?)?;
        Ok(Adjoint { inputs, bound, along, solve })
    }

    /// (h, w) of the system above.
    fn solve_sharpened(
        &mut self,
        sharpening: &Sharpening<D>,
        right_hand_side: Vec<D::Vector>,
    ) -> Result<(Vec<D::Vector>, LinearSolve), Error> {
        let is_prescribed: Vec<bool> = self.prescribed().collect();
        let Self { problem, terms, parts_on_device, solver, .. } = self;
        let backend = problem.terms()[0].problem.backend();
        let weights = backend.copied(terms[0].inner_weights())?;
        let columns = problem.columns();
        let mut parts = Vec::with_capacity(terms.len() + 1);
        for part in parts_on_device.iter() {
            parts.push(numbers(backend, columns, [Operand::Reduced(part)], |[part]| part)?);
        }
        parts.push(backend.upload_reduced(&vec![1.0; columns])?);
        let admissible = Admissible { backend, weights: &weights, sharpening, is_prescribed };
        let minimal_residual = MinimalResidual {
            space: Space { backend, weights: &weights, parts: &parts, projection: Some(&admissible) },
            settings: solver,
        };
        let inputs = terms.len();
        minimal_residual.solve(right_hand_side, |x, out| {
            complements(terms, &x[..inputs], &mut out[..inputs])?;
            let (w, mean) = (&x[inputs], weighted_sum(backend, parts_on_device, &x[..inputs])?);
            for out in &mut out[..inputs] {
                update(backend, out, [Operand::Vector(w)], |out, [w]| out - w)?;
            }
            let mut weighed = sharpening.times_kappa(backend, w)?;
            update(backend, &mut weighed, [Operand::Vector(&mean)], |weighed, [mean]| weighed - mean)?;
            out[inputs] = weighed;
            Ok(())
        })
    }
}
