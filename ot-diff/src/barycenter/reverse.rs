//! From the gradient of a function of a barycenter to its data.
//!
//! With the gradient q of a function in p, c = -q / epsilon and y_k = c - z_k, where z solves the system with the right-hand side
//! (1 - A_k) c, all (1 - A_k) y_k are one vector b, and
//!
//! ```text
//! <q, dp> = <q p, dm / m + s depsilon / epsilon^2> + sum_k lambda_k <y_k, r_k>_p + sum_k dlambda_k <b, g_k>_p
//! ```
//!
//! r_k is a change of two softmins while potentials rest, and their cotangents are beta_k = lambda_k p y_k and
//! alpha_k = -lambda_k omega_k T_k y_k. Other forms of barycenters have other systems for y_k and b ([`sharpened`](super::sharpened),
//! [`debiased`](super::debiased)), and moves of m, epsilon and the bound of their own.

use ot_core::{Device, Error, Operand, Real, Scalar, Side};

use super::{BarycenterTangent, Form, LinearisedBarycenter, debiased};
use crate::{
    Cotangent, Gradient, LinearSolve,
    algebra::{Sided, numbers, pairing, scaled, sum, total, update, vector},
    tangent::check,
};

/// The gradient of a function of a barycenter in its data, block by block as it is read.
///
/// | block | costs |
/// |---|---|
/// | lambda | nothing more |
/// | an input | what a [`Cotangent`] says |
/// | epsilon | six passes for each input |
/// | the bound of entropy | nothing more |
/// | the transport of a debiased barycenter to itself | what a [`Cotangent`] says |
///
/// Gradients in the weights of prescribed inputs are known along changes that give all of them the same mass: numbers c_k of sum
/// zero may be added, one for each input.
#[derive(Debug)]
pub struct BarycenterCotangent<'a, D: Device> {
    barycenter: &'a mut LinearisedBarycenter<D>,
    /// The cotangent of log(p / m) while the softmins rest: q, and less in the direction that a bound of entropy holds.
    seed: D::Vector,
    /// The cotangent of -epsilon log m in the mean that is sharpened: kappa times that of w. None without a bound.
    of_power: Option<D::Vector>,
    /// alpha and beta of each term.
    softmins: Vec<Sided<D::Vector>>,
    /// alpha and beta of the transport of a debiased barycenter to itself.
    own: Option<Sided<D::Vector>>,
    /// The derivative in the bound of entropy, for each column.
    of_bound: Vec<f64>,
    /// <b, g_k>_p, for each column.
    of_parts: Vec<Vec<f64>>,
    solve: LinearSolve,
}

/// A solution of the adjoint system of a barycenter, and what is known beside.
struct Adjoint<D: Device> {
    /// y_k.
    inputs: Vec<D::Vector>,
    /// b.
    of_parts: D::Vector,
    of_power: Option<D::Vector>,
    own: Option<Sided<D::Vector>>,
    of_bound: Vec<f64>,
    solve: LinearSolve,
}

impl<D: Device> LinearisedBarycenter<D> {
    /// The gradient of <q, p> in all data, for the gradient q of a function in the masses p, column after column. Solves one linear
    /// system.
    ///
    /// # Errors
    /// [`Error::Length`] for a gradient of another number of atoms, [`Error::Parameter`] for one that is not finite; a failure of the
    /// device.
    pub fn pull_back(&mut self, cotangent: &[D::Elem]) -> Result<BarycenterCotangent<'_, D>, Error> {
        let (rows, columns) = self.terms[0].optimum.frame.shape(Side::Target);
        check("a cotangent of a barycenter", cotangent, rows * columns)?;
        let backend = self.backend();
        let mut seed = backend.upload(cotangent, columns)?;
        let epsilon = self.terms[0].optimum.frame.epsilon();
        let c = scaled(backend, &seed, 1.0 / epsilon)?;
        let mut form = std::mem::replace(&mut self.form, Form::Mean);
        let adjoint = match &mut form {
            Form::Mean => self.adjoint(&c),
            Form::Sharpened(sharpening) => self.sharpened_adjoint(sharpening, &c).and_then(|adjoint| {
                let backend = self.backend();
                let numbers_of = |operands: [&D::Reduced; 2]| -> Result<Vec<f64>, Error> {
                    let product = numbers(backend, columns, operands.map(Operand::Reduced), |[x, y]| -(x * y))?;
                    Ok(backend.read(&[&product])?.swap_remove(0))
                };
                let along = numbers(
                    backend,
                    columns,
                    [Operand::Reduced(&adjoint.along), Operand::Constant(epsilon)],
                    |[along, epsilon]| -(epsilon * along),
                )?;
                sharpening.add(backend, &mut seed, &along)?;
                Ok(Adjoint {
                    of_power: Some(sharpening.times_kappa(backend, &adjoint.bound)?),
                    of_bound: numbers_of([&adjoint.along, &sharpening.of_bound])?,
                    inputs: adjoint.inputs,
                    of_parts: adjoint.bound,
                    own: None,
                    solve: adjoint.solve,
                })
            }),
            Form::Debiased(own) => self.debiased_adjoint(own, &c).and_then(|adjoint| {
                let (backend, frame) = (self.backend(), &self.terms[0].optimum.frame);
                let operands = [self.inner_weights(), &adjoint.own].map(Operand::Vector);
                let own = Sided {
                    source: frame.filled(Side::Target, 0.0)?,
                    target: vector(backend, (rows, columns), operands, |[p, v]| -(p * v))?,
                };
                let (own, of_bound) = (Some(own), vec![0.0; columns]);
                let debiased::Adjoint { inputs, of_parts, solve, .. } = adjoint;
                Ok(Adjoint { inputs, of_parts, of_power: None, own, of_bound, solve })
            }),
        };
        self.form = form;
        let Adjoint { inputs, of_parts: b, of_power, own, of_bound, solve } = adjoint?;
        let operands = [self.inner_weights(), &b].map(Operand::Vector);
        let weighted = vector(self.backend(), (rows, columns), operands, |[p, b]| p * b)?;
        let (mut softmins, mut of_parts) = (Vec::with_capacity(inputs.len()), Vec::with_capacity(inputs.len()));
        for (term, y) in inputs.iter().enumerate() {
            softmins.push(self.cotangents(term, y)?);
            let g = self.terms[term].optimum.potential(Side::Target);
            let product = pairing(self.backend(), (rows, columns), &weighted, g)?;
            of_parts.push(self.backend().read(&[&product])?.swap_remove(0));
        }
        Ok(BarycenterCotangent { barycenter: self, seed, of_power, softmins, own, of_bound, of_parts, solve })
    }

    /// That of a barycenter without a bound.
    fn adjoint(&mut self, c: &D::Vector) -> Result<Adjoint<D>, Error> {
        let negative = scaled(self.backend(), c, -1.0)?;
        let same = self.terms.iter().map(|_| self.backend().copied(&negative)).collect::<Result<Vec<_>, _>>()?;
        let right_hand_side = self.complements(&same)?;
        let (mut inputs, solve) = self.solve(&right_hand_side)?;
        for z in &mut inputs {
            update(self.backend(), z, [Operand::Vector(&negative)], |z, [c]| c - z)?;
        }
        let images = self.complements(&inputs)?;
        let of_parts = self.sum_of_parts(&images)?;
        let of_bound = vec![0.0; self.problem.columns()];
        Ok(Adjoint { inputs, of_parts, of_power: None, own: None, of_bound, solve })
    }

    /// alpha and beta of a term.
    fn cotangents(&mut self, index: usize, y: &D::Vector) -> Result<Sided<D::Vector>, Error> {
        let (term, part) = (&mut self.terms[index], Operand::Reduced(&self.parts_on_device[index]));
        let mut response = term.optimum.frame.unwritten(Side::Source)?;
        term.coupling()?.respond(Side::Source, y, &mut response)?;
        let (frame, weights) = (&term.optimum.frame, &term.inner_weights);
        let [omega, response] = [&weights.source, &response].map(Operand::Vector);
        let [p, y] = [&weights.target, y].map(Operand::Vector);
        Ok(Sided {
            source: vector(
                frame.backend(),
                frame.shape(Side::Source),
                [part, omega, response],
                |[part, omega, response]| -(part * omega * response),
            )?,
            target: vector(frame.backend(), frame.shape(Side::Target), [part, p, y], |[part, p, y]| part * p * y)?,
        })
    }
}

impl<D: Device> BarycenterCotangent<'_, D> {
    /// What is known of the linear solve.
    #[must_use]
    pub fn solve(&self) -> LinearSolve {
        self.solve
    }

    /// The gradient in the weights lambda of the [terms](ot_core::JointTerm): a number for each input, of each column of a batch, column after column. As lambda counts
    /// relative to its sum, it is orthogonal to lambda.
    #[must_use]
    pub fn lambda(&self) -> Vec<f64> {
        let LinearisedBarycenter { parts, totals, .. } = &*self.barycenter;
        let of_column = |(column, total): (usize, &f64)| {
            let mean: f64 = parts.iter().zip(&self.of_parts).map(|(part, slope)| part[column] * slope[column]).sum();
            self.of_parts.iter().map(|slope| (slope[column] - mean) / total).collect::<Vec<_>>()
        };
        totals.iter().enumerate().flat_map(of_column).collect()
    }

    /// The gradient in the data of one input: its weights and points (`Side::Source`), the points of the support as it sees
    /// them (`Side::Target`), its cost, its penalty. Blocks that all inputs share have methods here: [`epsilon`](Self::epsilon),
    /// [`reference`](Self::reference), [`support`](Self::support).
    ///
    /// # Errors
    /// [`Error::Parameter`] for an index beyond the last input, a failure of the device.
    pub fn input(&mut self, index: usize) -> Result<Cotangent<'_, D>, Error> {
        let Self { barycenter, softmins, solve, .. } = self;
        let (Some(term), Some(softmins)) = (barycenter.terms.get_mut(index), softmins.get(index)) else {
            let (name, expected) = ("the index of an input", "less than the number of inputs");
            return Err(Error::Parameter { name, value: index as f64, expected });
        };
        let backend = term.optimum.frame.backend();
        let softmins = Sided::try_new(|side| backend.copied(&softmins[side]))?;
        Cotangent::of_softmins(term, softmins, *solve)
    }

    /// The derivative in epsilon.
    ///
    /// # Errors
    /// Those of [`Gradient::epsilon`].
    pub fn epsilon(&mut self) -> Result<f64, Error> {
        let mut derivative = 0.0;
        for index in 0..self.softmins.len() {
            derivative += self.input(index)?.epsilon()?;
        }
        if self.own.is_some() {
            derivative += self.own()?.epsilon()?;
        }
        let barycenter = &*self.barycenter;
        let (frame, backend) = (&barycenter.terms[0].optimum.frame, barycenter.backend());
        let shape = frame.shape(Side::Target);
        let [q, p, l] = [&self.seed, barycenter.inner_weights(), &barycenter.logarithm].map(Operand::Vector);
        let epsilon = Operand::Constant(frame.epsilon());
        let explicit = sum(backend, shape, [q, p, l, epsilon], |[q, p, l, epsilon]| {
            p.select(-(q * p * (l / epsilon) / epsilon), 0.0)
        })?;
        derivative += total(backend, &explicit)?;
        if let Some(of_power) = &self.of_power {
            let operands = [p, Operand::Vector(of_power), Operand::Vector(frame.weights(Side::Target))];
            let explicit = sum(backend, shape, operands, |[p, z, m]| p.select(-(p * z * m.ln()), 0.0))?;
            derivative += total(backend, &explicit)?;
        }
        Ok(derivative)
    }

    /// The derivative in the bound of the entropy of a sharpened barycenter, of each column; zero where it does not bind, and for other
    /// barycenters.
    #[must_use]
    pub fn entropy_bound(&self) -> &[f64] {
        &self.of_bound
    }

    /// The gradient in the data of the transport of a debiased barycenter to itself, both of whose sides are the support.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for other barycenters, a failure of the device.
    pub fn own(&mut self) -> Result<Cotangent<'_, D>, Error> {
        let Self { barycenter, own, solve, .. } = self;
        let (Form::Debiased(linearised), Some(softmins)) = (&mut barycenter.form, own) else {
            return Err(Error::MissingCapability("the own transport of a barycenter that is not debiased"));
        };
        let backend = linearised.optimum.frame.backend();
        let softmins = Sided::try_new(|side| backend.copied(&softmins[side]))?;
        Cotangent::of_softmins(linearised, softmins, *solve)
    }

    /// The gradient in the weights of the reference m, as far as p has mass; zero for debiased barycenters, which do not depend on it.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn reference(&mut self) -> Result<Vec<D::Elem>, Error> {
        let barycenter = &*self.barycenter;
        let (frame, backend) = (&barycenter.terms[0].optimum.frame, barycenter.backend());
        if barycenter.is_debiased() {
            let (rows, histograms) =
                backend.shape(barycenter.problem.terms()[0].problem.marginal(Side::Target).weights());
            return Ok(vec![D::Elem::from_f64(0.0); rows * histograms]);
        }
        let operands = [&self.seed, barycenter.inner_weights(), frame.weights(Side::Target)].map(Operand::Vector);
        let shape = frame.shape(Side::Target);
        let mut explicit = vector(backend, shape, operands, |[q, p, m]| p.select(q * p / m, 0.0))?;
        if let Some(of_power) = &self.of_power {
            let [z, p, m] = [of_power, barycenter.inner_weights(), frame.weights(Side::Target)].map(Operand::Vector);
            let operands = [z, p, m, Operand::Constant(frame.epsilon())];
            update(backend, &mut explicit, operands, |explicit, [z, p, m, epsilon]| {
                explicit - p.select(epsilon * z * p / m, 0.0)
            })?;
        }
        let mut gradient = frame.of_histograms(Side::Target, explicit)?;
        for index in 0..self.softmins.len() {
            add(&mut gradient, &self.input(index)?.weights(Side::Target)?);
        }
        Ok(gradient)
    }

    /// The gradient in the points of the support, which all inputs share, and the transport of a debiased barycenter to itself on both sides.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for costs without derivatives in points, a failure of the device.
    pub fn support(&mut self) -> Result<Vec<D::Elem>, Error> {
        let mut gradient = self.input(0)?.points(Side::Target)?;
        for index in 1..self.softmins.len() {
            add(&mut gradient, &self.input(index)?.points(Side::Target)?);
        }
        if self.own.is_some() {
            let mut own = self.own()?;
            for side in Side::BOTH {
                add(&mut gradient, &own.points(side)?);
            }
        }
        Ok(gradient)
    }

    /// The derivative along a tangent. Reads the blocks in which it moves.
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::Parameter`] for a tangent of another problem; those of the blocks.
    pub fn along(&mut self, tangent: &BarycenterTangent<D::Elem>) -> Result<f64, Error> {
        let mut derivative = 0.0;
        if let Some(lambda) = &tangent.lambda {
            let gradient = self.lambda();
            if lambda.is_empty()
                || !gradient.len().is_multiple_of(lambda.len())
                || !lambda.len().is_multiple_of(self.softmins.len())
            {
                let what = "a tangent of the weights of the inputs";
                return Err(Error::Length { what, expected: gradient.len(), found: lambda.len() });
            }
            derivative += gradient.iter().zip(lambda.iter().cycle()).map(|(slope, moved)| slope * moved).sum::<f64>();
        }
        for (index, of_input) in &tangent.inputs {
            derivative += self.input(*index)?.along(of_input)?;
        }
        for own in &tangent.own {
            derivative += self.own()?.along(own)?;
        }
        if let Some(bounds) = &tangent.entropy_bound {
            let columns = self.of_bound.len();
            check("a tangent of the bound of entropy", bounds, if bounds.len() == 1 { 1 } else { columns })?;
            derivative +=
                self.of_bound.iter().zip(bounds.iter().cycle()).map(|(slope, moved)| slope * moved).sum::<f64>();
        }
        if let Some(reference) = &tangent.reference {
            let gradient = self.reference()?;
            check("a tangent of the reference", reference, gradient.len())?;
            derivative +=
                gradient.iter().zip(reference).map(|(slope, moved)| slope.to_f64() * moved.to_f64()).sum::<f64>();
        }
        if tangent.epsilon != 0.0 {
            derivative += tangent.epsilon * self.epsilon()?;
        }
        Ok(derivative)
    }
}

/// sum <- sum + x.
fn add<T: Scalar>(sum: &mut [T], x: &[T]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum = T::from_f64(sum.to_f64() + x.to_f64()));
}
