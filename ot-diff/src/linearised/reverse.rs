//! From cotangents of outputs to the data of a problem.
//!
//! With cotangents u of f and v of g, the cotangents alpha of s and beta of t solve the transposed system. Because the
//! system is self-adjoint, that is the forward one again, with another right-hand side:
//!
//! ```text
//! alpha = sigma_a u + omega_a p     p + T sigma_b q = -G sigma_b v       G_ij = exp((s_i + t_j - C_ij) / epsilon)
//! beta  = sigma_b v + omega_b q     q + S sigma_a p = -G^T sigma_a u
//! ```
//!
//! No weight is divided by, so that atoms without mass have derivatives like all others.

use ot_core::{CostParameter, Device, Error, Operand, Scalar, Side, WeightedPlan};

use super::{
    Linearised, Mode, Output,
    channels::{Channels, factor},
    functional::Functional,
    sign,
};
use crate::{
    Gradient, LinearSolve,
    algebra::{Sided, add, host, numbers, pairing, row_major, scaled, sum, times, total, update, vector},
};

/// An output and a cotangent of it, in its layout.
pub type Seed<'a, T> = (&'a Output<T>, &'a [T]);

impl<D: Device> Linearised<D> {
    /// Cotangents of outputs, pulled back: the gradient of sum_k <cotangent_k, output_k> in all data. Solves one linear
    /// system, whatever the number of outputs.
    ///
    /// The cotangents of the transport costs of a batch must be equal.
    ///
    /// # Errors
    /// [`Error::Length`] for a cotangent that does not fit its output, [`Error::Parameter`] for one that is not finite,
    /// [`Error::Disagreement`] for transport costs of unlike cotangents; those of [`value`](Self::value).
    pub fn pull_back(&mut self, cotangents: &[Seed<'_, D::Elem>]) -> Result<Cotangent<'_, D>, Error> {
        let mut functionals = Vec::with_capacity(cotangents.len());
        let mut potentials = Sided::try_new(|side| self.optimum.frame.filled(side, 0.0))?;
        for (output, cotangent) in cotangents {
            if let Output::Potential(side) = output {
                let seed = self.upload_cotangent(output, cotangent, 1)?;
                add(self.optimum.frame.backend(), &mut potentials[*side], &seed)?;
            }
            functionals.push(self.functional(output, cotangent)?);
        }
        let Self { optimum, kernel, slopes, .. } = self;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        for functional in functionals.iter().flatten() {
            for side in Side::BOTH {
                if let Some(sums) = functional.sums(optimum, kernel.as_mut(), side)? {
                    add(backend, &mut potentials[side], &scaled(backend, &sums, 1.0 / frame.epsilon())?)?;
                }
            }
        }
        let shift = gauge_shift(frame, &potentials)?;
        for side in Side::BOTH {
            let operands =
                [Operand::Vector(frame.weights(side)), Operand::Reduced(&shift), Operand::Constant(sign(side))];
            update(backend, &mut potentials[side], operands, |u, [a, kappa, sign]| u - sign * kappa * a)?;
        }
        let sloped = Sided::try_new(|side| times(backend, &slopes[side], &potentials[side]))?;
        let right_hand_side = Sided::try_new(|side| {
            let mut image = frame.unwritten(side)?;
            optimum.apply_gibbs(kernel.as_mut(), side, &sloped[side.opposite()], &mut image)?;
            scaled(backend, &image, -1.0)
        })?;
        let (adjoint, solve) = self.solve(right_hand_side, Mode::Reverse)?;
        let (frame, backend) = (&self.optimum.frame, self.optimum.frame.backend());
        let softmins = Sided::try_new(|side| {
            let operands = [&sloped[side], &self.inner_weights[side], &adjoint[side]].map(Operand::Vector);
            vector(backend, frame.shape(side), operands, |[u, omega, p]| u + omega * p)
        })?;
        Ok(Cotangent { linearised: self, potentials, softmins, shift, functionals, solve })
    }
}

/// kappa = (<1, u> - <1, v>) / (<1, a> + <1, b>), the number with which cotangents of the potentials enter the
/// transpose of the shift into the gauge,
///
/// ```text
/// u - kappa a,   v + kappa b       and, of the weights,       -kappa f,   kappa g
/// ```
///
/// Zero if there is no gauge.
fn gauge_shift<D: Device>(frame: &crate::frame::Frame<D>, cotangent: &Sided<D::Vector>) -> Result<D::Reduced, Error> {
    let (backend, columns) = (frame.backend(), frame.columns());
    if !frame.problem.is_balanced() {
        return backend.upload_reduced(&vec![0.0; columns]);
    }
    let total = Sided::try_new(|side| sum(backend, frame.shape(side), [Operand::Vector(&cotangent[side])], |[u]| u))?;
    let masses = Sided::try_new(|side| frame.mass(side))?;
    let operands = [&total.source, &total.target, &masses.source, &masses.target].map(Operand::Reduced);
    numbers(backend, columns, operands, |[u, v, a, b]| (u - v) / (a + b))
}

/// A cotangent on its way to the data: the gradient of what was asked, block by block as it is read.
///
/// | block | costs |
/// |---|---|
/// | weights | one product with the plan |
/// | points, matrix, parameters | one pass over the pairs, and one more for each transport cost |
/// | epsilon | six passes |
/// | penalties | one product for each parameter |
///
/// A derivative in the points is that through the cost. Values or points that an output takes of the plan have theirs in
/// [`values`](Self::values).
#[derive(Debug)]
pub struct Cotangent<'a, D: Device> {
    linearised: &'a mut Linearised<D>,
    /// u and v, of potentials of any gauge.
    potentials: Sided<D::Vector>,
    /// alpha and beta.
    softmins: Sided<D::Vector>,
    /// kappa.
    shift: D::Reduced,
    /// What is linear in the plan, output by output.
    functionals: Vec<Option<Functional<D>>>,
    solve: LinearSolve,
}

impl<'a, D: Device> Cotangent<'a, D> {
    /// That of given cotangents of both softmins, as they change while the other one rests.
    pub(crate) fn of_softmins(
        linearised: &'a mut Linearised<D>,
        softmins: Sided<D::Vector>,
        solve: LinearSolve,
    ) -> Result<Self, Error> {
        let frame = &linearised.optimum.frame;
        let potentials = Sided::try_new(|side| frame.filled(side, 0.0))?;
        let shift = frame.backend().upload_reduced(&vec![0.0; frame.columns()])?;
        Ok(Self { linearised, potentials, softmins, shift, functionals: Vec::new(), solve })
    }
}

impl<D: Device> Cotangent<'_, D> {
    /// What is known of the linear solve.
    #[must_use]
    pub fn solve(&self) -> LinearSolve {
        self.solve
    }

    /// The derivative in the values or points that an output takes of the plan ([`Output::Product`],
    /// [`Output::Projection`]), in their layout: add it to the derivative in the points if these are the points of the
    /// problem. Nothing for other outputs, and beyond the last.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn values(&mut self, output: usize) -> Result<Vec<D::Elem>, Error> {
        let Linearised { optimum, kernel, .. } = &mut *self.linearised;
        let Some(Some(functional)) = self.functionals.get(output) else { return Ok(Vec::new()) };
        let (Some(side), Some(values)) = (functional.side_of_values(), functional.in_values(optimum, kernel.as_mut())?)
        else {
            return Ok(Vec::new());
        };
        let values = host(optimum.frame.backend(), &values)?;
        if !functional.is_projection() {
            return Ok(values);
        }
        // All columns of a batch project the same points.
        let (rows, columns) = (optimum.frame.len(side), optimum.frame.columns());
        let dimension = values.len() / (rows * columns);
        let mut shared = vec![0.0; rows * dimension];
        for column in values.chunks_exact(rows * dimension) {
            shared.iter_mut().zip(column).for_each(|(sum, value)| *sum += value.to_f64());
        }
        let shared: Vec<_> = shared.into_iter().map(D::Elem::from_f64).collect();
        Ok(row_major(&shared, rows, dimension))
    }
}

impl<D: Device> Gradient<D> for Cotangent<'_, D> {
    /// sum_ij (alpha_i T_ij + beta_j S_ji) dC_ij / dtheta, and what the outputs have of the cost beside.
    fn cost(&mut self, parameter: CostParameter) -> Result<Vec<D::Elem>, Error> {
        let Linearised { optimum, kernel, .. } = &mut *self.linearised;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let (softmins, functionals) = (&self.softmins, &self.functionals);
        backend.scope(|| {
            let mut channels = Channels::new();
            let of = |vector: &D::Vector| backend.copied(vector);
            channels.push(Sided { source: of(&softmins.source)?, target: of(&optimum.marginals.target)? });
            channels.push(Sided { source: of(&optimum.marginals.source)?, target: of(&softmins.target)? });
            for functional in functionals.iter().flatten() {
                functional.in_cost(optimum, &mut channels)?;
            }
            let product = channels.joined(frame)?;
            let pairs = WeightedPlan { plan: optimum.gibbs(), weight: factor(&product) };
            let mut total = frame.cost_sums(kernel.as_mut(), pairs, parameter)?;
            for functional in functionals.iter().flatten() {
                if let Some(scaled) = functional.in_scaled_cost(optimum, kernel.as_mut(), parameter)? {
                    add(backend, &mut total, &scaled)?;
                }
            }
            frame.on_host(parameter, total)
        })
    }

    /// -epsilon sum_j beta_j exp((f_i + t_j - C_ij) / epsilon), what the gauge adds, and what the outputs have of the weights
    /// beside.
    fn weights(&mut self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let Linearised { optimum, kernel, .. } = &mut *self.linearised;
        let (frame, backend, other) = (&optimum.frame, optimum.frame.backend(), side.opposite());
        let mut out = frame.apply(kernel.as_mut(), side, optimum.density(other), &self.softmins[other])?;
        let [potential, kappa] = [Operand::Vector(optimum.potential(side)), Operand::Reduced(&self.shift)];
        let operands = [Operand::Constant(frame.epsilon()), potential, kappa, Operand::Constant(sign(side))];
        update(backend, &mut out, operands, |density, [epsilon, f, kappa, sign]| {
            -(epsilon * density) - sign * kappa * f
        })?;
        for functional in self.functionals.iter().flatten() {
            if let Some(explicit) = functional.in_weights(optimum, kernel.as_mut(), side)? {
                add(backend, &mut out, &explicit)?;
            }
        }
        frame.of_histograms(side, out)
    }

    fn epsilon(&mut self) -> Result<f64, Error> {
        let Linearised { optimum, kernel, drifts, .. } = &mut *self.linearised;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let mut derivative = 0.0;
        for side in Side::BOTH {
            let explicit = frame.explicit(kernel.as_mut(), optimum.half_step(side), &[], None, 1.0)?;
            let response = frame.apply(kernel.as_mut(), side, optimum.conditional(side), &drifts[side.opposite()])?;
            let [alpha, rho, response] = [&self.softmins[side], &explicit, &response].map(Operand::Vector);
            let [u, drift] = [&self.potentials[side], &drifts[side]].map(Operand::Vector);
            let operands = [alpha, rho, response, u, drift];
            let part = sum(backend, frame.shape(side), operands, |[alpha, rho, response, u, drift]| {
                alpha * (rho - response) + u * drift
            })?;
            derivative += total(backend, &part)?;
        }
        for functional in self.functionals.iter().flatten() {
            derivative += functional.in_epsilon(optimum, kernel.as_mut())?;
        }
        Ok(derivative)
    }

    fn penalty(&mut self, side: Side) -> Result<Vec<f64>, Error> {
        let count = self.linearised.optimum.frame.problem.marginal(side).penalty().parameters().len();
        let mut derivatives = Vec::with_capacity(count);
        for index in 0..count {
            let direction: Vec<f64> = (0..count).map(|other| f64::from(u8::from(other == index))).collect();
            let Some(drift) = self.linearised.penalty_drift(side, &direction)? else { continue };
            let Linearised { optimum, kernel, .. } = &mut *self.linearised;
            let (frame, backend, other) = (&optimum.frame, optimum.frame.backend(), side.opposite());
            let response = frame.apply(kernel.as_mut(), other, optimum.conditional(other), &drift)?;
            let own = pairing(backend, frame.shape(side), &self.potentials[side], &drift)?;
            let across = pairing(backend, frame.shape(other), &self.softmins[other], &response)?;
            derivatives.push(total(backend, &own)? - total(backend, &across)?);
        }
        Ok(derivatives)
    }

    fn atoms(&self, side: Side) -> usize {
        self.linearised.optimum.frame.len(side)
    }
}
