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
//! alpha_k = -lambda_k omega_k T_k y_k.

use ot_core::{Device, Error, Operand, Real, Scalar, Side};

use super::{BarycenterTangent, LinearisedBarycenter};
use crate::{
    Cotangent, Gradient, LinearSolve,
    algebra::{Sided, pairing, sum, total, update, vector},
    tangent::check,
};

/// The gradient of a function of a barycenter in its data, block by block as it is read.
///
/// | block | costs |
/// |---|---|
/// | lambda | nothing more |
/// | an input | what a [`Cotangent`] says |
/// | epsilon | six passes for each input |
///
/// Gradients in the weights of prescribed inputs are known along changes that give all of them the same mass: numbers c_k of sum
/// zero may be added, one for each input.
#[derive(Debug)]
pub struct BarycenterCotangent<'a, D: Device> {
    barycenter: &'a mut LinearisedBarycenter<D>,
    /// q.
    seed: D::Vector,
    /// alpha and beta of each term.
    softmins: Vec<Sided<D::Vector>>,
    /// <b, g_k>_p, for each column.
    of_parts: Vec<Vec<f64>>,
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
        let seed = backend.upload(cotangent, columns)?;
        let operands = [Operand::Vector(&seed), Operand::Constant(self.terms[0].optimum.frame.epsilon())];
        let c = vector(backend, (rows, columns), operands, |[q, epsilon]| -(q / epsilon))?;
        let same = self.terms.iter().map(|_| backend.copied(&c)).collect::<Result<Vec<_>, _>>()?;
        let right_hand_side = self.complements(&same)?;
        let (mut y, solve) = self.solve(&right_hand_side)?;
        for z in &mut y {
            update(self.backend(), z, [Operand::Vector(&c)], |z, [c]| c - z)?;
        }
        let images = self.complements(&y)?;
        let b = self.sum_of_parts(&images)?;
        let weighted = vector(
            self.backend(),
            (rows, columns),
            [Operand::Vector(self.inner_weights()), Operand::Vector(&b)],
            |[p, b]| p * b,
        )?;
        let (mut softmins, mut of_parts) = (Vec::with_capacity(y.len()), Vec::with_capacity(y.len()));
        for (term, y) in y.iter().enumerate() {
            softmins.push(self.cotangents(term, y)?);
            let g = self.terms[term].optimum.potential(Side::Target);
            let product = pairing(self.backend(), (rows, columns), &weighted, g)?;
            of_parts.push(self.backend().read(&[&product])?.swap_remove(0));
        }
        Ok(BarycenterCotangent { barycenter: self, seed, softmins, of_parts, solve })
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
        let barycenter = &*self.barycenter;
        let (frame, backend) = (&barycenter.terms[0].optimum.frame, barycenter.backend());
        let [q, p, s] = [&self.seed, barycenter.inner_weights(), &barycenter.mean].map(Operand::Vector);
        let epsilon = Operand::Constant(frame.epsilon());
        let explicit = sum(backend, frame.shape(Side::Target), [q, p, s, epsilon], |[q, p, s, epsilon]| {
            p.select(q * p * (s / epsilon) / epsilon, 0.0)
        })?;
        Ok(derivative + total(backend, &explicit)?)
    }

    /// The gradient in the weights of the reference m, as far as p has mass.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn reference(&mut self) -> Result<Vec<D::Elem>, Error> {
        let barycenter = &*self.barycenter;
        let frame = &barycenter.terms[0].optimum.frame;
        let operands = [&self.seed, barycenter.inner_weights(), frame.weights(Side::Target)].map(Operand::Vector);
        let explicit =
            vector(barycenter.backend(), frame.shape(Side::Target), operands, |[q, p, m]| p.select(q * p / m, 0.0))?;
        let mut gradient = frame.of_histograms(Side::Target, explicit)?;
        for index in 0..self.softmins.len() {
            add(&mut gradient, &self.input(index)?.weights(Side::Target)?);
        }
        Ok(gradient)
    }

    /// The gradient in the points of the support, which all inputs share.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for costs without derivatives in points, a failure of the device.
    pub fn support(&mut self) -> Result<Vec<D::Elem>, Error> {
        let mut gradient = self.input(0)?.points(Side::Target)?;
        for index in 1..self.softmins.len() {
            add(&mut gradient, &self.input(index)?.points(Side::Target)?);
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
