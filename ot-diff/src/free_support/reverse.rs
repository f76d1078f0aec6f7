//! From the gradient of a function of the points to the data.
//!
//! With z = H^-1 q for the gradient q, the derivative along a tangent is -<z, dG>: as second derivatives commute, Hessian products along z are
//! read in the blocks of the data.

use ot_core::{Device, Error, Scalar, Side};

use super::{FreeSupportTangent, LinearisedFreeSupport, accumulate, dot, narrowed};
use crate::{Gradient, HessianProduct, LinearSolve, Tangent, tangent::check};

/// The gradient of a function of the points of a barycenter in its data, block by block as it is read.
///
/// | block | costs |
/// |---|---|
/// | lambda | nothing more |
/// | an input | a [`HessianProduct`] |
/// | weights, epsilon | one for each input |
#[derive(Debug)]
pub struct FreeSupportCotangent<'a, D: Device> {
    free: &'a mut LinearisedFreeSupport<D>,
    /// z.
    adjoint: Vec<f64>,
    solve: LinearSolve,
}

impl<D: Device> LinearisedFreeSupport<D> {
    /// The gradient in all data of <q, x>, for the gradient q of a function in the points, point by point. Solves one linear system.
    ///
    /// # Errors
    /// [`Error::Length`] for a gradient of another number of points, [`Error::Parameter`] for one that is not finite; a failure of the device.
    pub fn pull_back(&mut self, cotangent: &[D::Elem]) -> Result<FreeSupportCotangent<'_, D>, Error> {
        check("a cotangent of the points of a barycenter", cotangent, self.len())?;
        let cotangent: Vec<f64> = cotangent.iter().map(|q| q.to_f64()).collect();
        let (adjoint, solve) = self.solve(&cotangent)?;
        Ok(FreeSupportCotangent { free: self, adjoint, solve })
    }
}

impl<D: Device> FreeSupportCotangent<'_, D> {
    /// What is known of the linear solve.
    #[must_use]
    pub fn solve(&self) -> LinearSolve {
        self.solve
    }

    /// The gradient in lambda, orthogonal to it, as lambda counts relative to its sum.
    #[must_use]
    pub fn lambda(&self) -> Vec<f64> {
        let LinearisedFreeSupport { slopes, parts, total, .. } = &*self.free;
        let slopes: Vec<f64> = slopes.iter().map(|slope| -dot(&self.adjoint, slope)).collect();
        let mean = dot(&slopes, parts);
        slopes.iter().map(|slope| (slope - mean) / total).collect()
    }

    /// The gradient in the data of one input, the target of its transport: its points and weights (`Side::Target`), its cost. Gradients in
    /// weights are known along changes that keep the mass. Solves one linear system.
    ///
    /// # Errors
    /// [`Error::Parameter`] for an index beyond the last input, a failure of the device.
    pub fn input(&mut self, index: usize) -> Result<HessianProduct<'_, D>, Error> {
        self.free.check_input(index, &Tangent::new())?;
        let moved: Vec<f64> = self.adjoint.iter().map(|z| -self.free.parts[index] * z).collect();
        self.free.terms[index].hessian_vector(&Tangent::new().points(Side::Source, narrowed(&moved)))
    }

    /// The gradient in the weights b of the barycenter, along changes that keep the mass.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn weights(&mut self) -> Result<Vec<D::Elem>, Error> {
        let mut gradient = vec![0.0; self.free.atoms()];
        for index in 0..self.free.inputs() {
            accumulate(&mut gradient, 1.0, &self.input(index)?.weights(Side::Source)?);
        }
        Ok(narrowed(&gradient))
    }

    /// The derivative in epsilon.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn epsilon(&mut self) -> Result<f64, Error> {
        let mut change = vec![0.0; self.adjoint.len()];
        let tangent = Tangent::new().epsilon(1.0);
        for (term, part) in self.free.terms.iter_mut().zip(&self.free.parts) {
            accumulate(&mut change, -part, &term.hessian_vector(&tangent)?.points(Side::Source)?);
        }
        Ok(dot(&self.adjoint, &change))
    }

    /// The derivative along a tangent. Reads the blocks in which it moves.
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::Parameter`] for a tangent of another problem; those of the blocks.
    pub fn along(&mut self, tangent: &FreeSupportTangent<D::Elem>) -> Result<f64, Error> {
        let mut derivative = 0.0;
        if let Some(lambda) = &tangent.lambda {
            check("a tangent of the weights of the inputs", lambda, self.free.inputs())?;
            derivative += dot(&self.lambda(), lambda);
        }
        for (index, of_input) in &tangent.inputs {
            self.free.check_input(*index, of_input)?;
            derivative += self.input(*index)?.along(of_input)?;
        }
        if let Some(weights) = &tangent.weights {
            let gradient = self.weights()?;
            check("a tangent of the weights of the barycenter", weights, gradient.len())?;
            derivative +=
                gradient.iter().zip(weights).map(|(slope, moved)| slope.to_f64() * moved.to_f64()).sum::<f64>();
        }
        if tangent.epsilon != 0.0 {
            derivative += tangent.epsilon * self.epsilon()?;
        }
        Ok(derivative)
    }
}
