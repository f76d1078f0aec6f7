//! Derivatives of the converged potentials by the implicit function theorem, forward and reverse.
//!
//! Forward, the changes of the softmins solve the linearised fixed point, and df = sigma_a ds. Reverse, with
//! cotangents u of f and v of g, the cotangents alpha of s and beta of t solve the transposed system. Because the
//! system is self-adjoint, that is the forward one again, with another right-hand side:
//!
//! ```text
//! alpha = sigma_a u + omega_a p     p + T sigma_b q = -G sigma_b v       G_ij = exp((s_i + t_j - C_ij) / epsilon)
//! beta  = sigma_b v + omega_b q     q + S sigma_a p = -G^T sigma_a u
//! ```
//!
//! No weight is divided by, so that atoms without mass have derivatives like all others.
//!
//! Where both marginals are prescribed, potentials are those of the gauge <a, f> = <b, g>, which moves with the
//! weights.

use ot_core::{CostParameter, Device, Error, KernelOp, Operand, PairWeight, Side, WeightedPlan};

use super::{
    algebra::{Sided, numbers, pairing, sum, update, vector},
    fixed_point::{FixedPoint, Tangent},
};
use crate::support::SIDES;

impl<'a, D: Device> FixedPoint<'a, D> {
    /// The change of the potentials along a tangent.
    pub fn push_forward<K: KernelOp<D> + ?Sized>(
        &self,
        kernel: &mut K,
        tangent: &Tangent<'_, D>,
    ) -> Result<Sided<D::Vector>, Error> {
        let backend = self.backend();
        let drift = Sided::try_new(|side| {
            let operands = [Operand::Vector(&self.drifts[side]), Operand::Constant(tangent.epsilon)];
            vector(backend, self.shape(side), operands, |[drift, epsilon]| drift * epsilon)
        })?;
        let mut explicit = self.explicit(kernel, tangent)?;
        for side in SIDES {
            let response = self.apply(kernel, side, self.conditional(side), &drift[side.opposite()])?;
            update(backend, &mut explicit[side], [Operand::Vector(&response)], |change, [response]| change - response)?;
        }
        let softmins = self.solve(kernel, explicit)?;
        let change = Sided::try_new(|side| {
            let operands = [&self.slopes[side], &softmins[side], &drift[side]].map(Operand::Vector);
            vector(backend, self.shape(side), operands, |[sigma, ds, drift]| sigma * ds + drift)
        })?;
        self.in_gauge(change, tangent)
    }

    /// Cotangents of the potentials, pulled back to the softmins: what derivatives in all data are read from.
    pub fn pull_back<K: KernelOp<D> + ?Sized>(
        &self,
        kernel: &mut K,
        cotangent: Sided<&D::Vector>,
    ) -> Result<Cotangent<'_, 'a, D>, Error> {
        let backend = self.backend();
        let shift = self.gauge_shift(cotangent)?;
        let potentials = Sided::try_new(|side| {
            let [u, a] = [cotangent[side], self.weights(side)].map(Operand::Vector);
            let operands = [u, a, Operand::Reduced(&shift), Operand::Constant(sign(side))];
            vector(backend, self.shape(side), operands, |[u, a, kappa, sign]| u - sign * kappa * a)
        })?;
        let sloped = Sided::try_new(|side| {
            let operands = [&self.slopes[side], &potentials[side]].map(Operand::Vector);
            vector(backend, self.shape(side), operands, |[sigma, u]| sigma * u)
        })?;
        let right_hand_side = Sided::try_new(|side| {
            let image = self.apply(kernel, side, self.gibbs(), &sloped[side.opposite()])?;
            vector(backend, self.shape(side), [Operand::Vector(&image)], |[image]| -image)
        })?;
        let adjoint = self.solve(kernel, right_hand_side)?;
        let softmins = Sided::try_new(|side| {
            let operands = [&sloped[side], &self.inner_weights[side], &adjoint[side]].map(Operand::Vector);
            vector(backend, self.shape(side), operands, |[u, omega, p]| u + omega * p)
        })?;
        Ok(Cotangent { fixed_point: self, potentials, softmins, shift })
    }

    /// Adds (lambda, -lambda) so that <a, df> + <da, f> = <b, dg> + <db, g>, if there is a gauge.
    fn in_gauge(&self, mut change: Sided<D::Vector>, tangent: &Tangent<'_, D>) -> Result<Sided<D::Vector>, Error> {
        if !self.problem.is_balanced() {
            return Ok(change);
        }
        let (backend, columns) = (self.backend(), self.problem.columns());
        let moved = Sided::try_new(|side| {
            let implicit = self.weighted(side, &change[side])?;
            let explicit = match tangent.weights[side] {
                Some(weights) => pairing(backend, self.shape(side), weights, self.potential(side))?,
                None => backend.upload_reduced(&vec![0.0; columns])?,
            };
            numbers(backend, columns, [&implicit, &explicit].map(Operand::Reduced), |[implicit, explicit]| {
                implicit + explicit
            })
        })?;
        let masses = Sided::try_new(|side| self.mass(side))?;
        let operands = [&moved.source, &moved.target, &masses.source, &masses.target].map(Operand::Reduced);
        let lambda = numbers(backend, columns, operands, |[source, target, a, b]| (target - source) / (a + b))?;
        let lambda = [Operand::Reduced(&lambda)];
        update(backend, &mut change.source, lambda, |df, [lambda]| df + lambda)?;
        update(backend, &mut change.target, lambda, |dg, [lambda]| dg - lambda)?;
        Ok(change)
    }

    /// kappa = (<1, u> - <1, v>) / (<1, a> + <1, b>), the number with which cotangents of the potentials enter the
    /// transpose of [`in_gauge`](Self::in_gauge),
    ///
    /// ```text
    /// u - kappa a,   v + kappa b       and, of the weights,       -kappa f,   kappa g
    /// ```
    ///
    /// Zero if there is no gauge.
    fn gauge_shift(&self, cotangent: Sided<&D::Vector>) -> Result<D::Reduced, Error> {
        let (backend, columns) = (self.backend(), self.problem.columns());
        if !self.problem.is_balanced() {
            return backend.upload_reduced(&vec![0.0; columns]);
        }
        let total = Sided::try_new(|side| sum(backend, self.shape(side), [Operand::Vector(cotangent[side])], |[u]| u))?;
        let masses = Sided::try_new(|side| self.mass(side))?;
        let operands = [&total.source, &total.target, &masses.source, &masses.target].map(Operand::Reduced);
        numbers(backend, columns, operands, |[u, v, a, b]| (u - v) / (a + b))
    }
}

/// A cotangent of the potentials on its way to the data.
#[derive(Debug)]
pub struct Cotangent<'f, 'a, D: Device> {
    fixed_point: &'f FixedPoint<'a, D>,
    /// u and v, of potentials of any gauge.
    potentials: Sided<D::Vector>,
    /// alpha and beta.
    softmins: Sided<D::Vector>,
    /// kappa.
    shift: D::Reduced,
}

impl<D: Device> Cotangent<'_, '_, D> {
    /// The derivative in a parameter of the cost, summed over the columns of the batch:
    ///
    /// ```text
    /// sum_ij (alpha_i T_ij + beta_j S_ji) dC_ij / dtheta
    /// ```
    pub fn cost<K: KernelOp<D> + ?Sized>(&self, kernel: &mut K, parameter: CostParameter) -> Result<D::Vector, Error> {
        let fixed_point = self.fixed_point;
        let mut of = |side: Side, weight| {
            let plan = fixed_point.conditional(side);
            fixed_point.cost_sums(kernel, WeightedPlan { plan, weight }, parameter)
        };
        let alpha = PairWeight { source: Some(&self.softmins.source), ..PairWeight::constant(0.0) };
        let beta = PairWeight { target: Some(&self.softmins.target), ..PairWeight::constant(0.0) };
        let (mut total, of_target) = (of(Side::Source, alpha)?, of(Side::Target, beta)?);
        update(fixed_point.backend(), &mut total, [Operand::Vector(&of_target)], |total, [term]| total + term)?;
        Ok(total)
    }

    /// The derivative in the weights of one side, column by column:
    ///
    /// ```text
    /// -epsilon sum_j beta_j exp((f_i + t_j - C_ij) / epsilon), and what the gauge adds
    /// ```
    ///
    /// If both marginals are prescribed, it is a class modulo constants, returned with mean 0.
    pub fn weights<K: KernelOp<D> + ?Sized>(&self, kernel: &mut K, side: Side) -> Result<D::Vector, Error> {
        let (fixed_point, other) = (self.fixed_point, side.opposite());
        let (backend, epsilon) = (fixed_point.backend(), Operand::Constant(fixed_point.problem.epsilon()));
        let mut out = fixed_point.apply(kernel, side, fixed_point.density(other), &self.softmins[other])?;
        let [potential, kappa] = [Operand::Vector(fixed_point.potential(side)), Operand::Reduced(&self.shift)];
        let operands = [epsilon, potential, kappa, Operand::Constant(sign(side))];
        update(backend, &mut out, operands, |density, [epsilon, f, kappa, sign]| {
            -(epsilon * density) - sign * kappa * f
        })?;
        if fixed_point.problem.is_balanced() {
            fixed_point.centre(side, &mut out)?;
        }
        Ok(out)
    }

    /// The derivative in epsilon, column by column.
    pub fn epsilon<K: KernelOp<D> + ?Sized>(&self, kernel: &mut K) -> Result<D::Reduced, Error> {
        let fixed_point = self.fixed_point;
        let backend = fixed_point.backend();
        let explicit = fixed_point.explicit(kernel, &Tangent { epsilon: 1.0, ..Tangent::default() })?;
        let parts = Sided::try_new(|side| {
            let drift = &fixed_point.drifts[side.opposite()];
            let response = fixed_point.apply(kernel, side, fixed_point.conditional(side), drift)?;
            let [alpha, rho, response] = [&self.softmins[side], &explicit[side], &response].map(Operand::Vector);
            let [u, drift] = [&self.potentials[side], &fixed_point.drifts[side]].map(Operand::Vector);
            sum(
                backend,
                fixed_point.shape(side),
                [alpha, rho, response, u, drift],
                |[alpha, rho, response, u, drift]| alpha * (rho - response) + u * drift,
            )
        })?;
        let operands = [&parts.source, &parts.target].map(Operand::Reduced);
        numbers(backend, fixed_point.problem.columns(), operands, |[source, target]| source + target)
    }
}

impl<D: Device> FixedPoint<'_, D> {
    /// Takes the plain mean out of a class modulo constants.
    pub fn centre(&self, side: Side, class: &mut D::Vector) -> Result<(), Error> {
        let (rows, columns) = self.shape(side);
        let total = sum(self.backend(), (rows, columns), [Operand::Vector(&*class)], |[x]| x)?;
        let operands = [Operand::Reduced(&total), Operand::Constant(rows as f64)];
        update(self.backend(), class, operands, |x, [total, rows]| x - total / rows)
    }
}

/// The sign with which (lambda, -lambda) moves the potential of a side.
fn sign(side: Side) -> f64 {
    match side {
        Side::Source => 1.0,
        Side::Target => -1.0,
    }
}
