//! The linear system of a barycenter without a bound, on tuples of vectors that agree: sum_k lambda_k h_k = 0.

use ot_core::{Backend, Device, Error, Fold, Operand, Program};

use super::LinearisedBarycenter;
use crate::{
    LinearSolve, Linearised,
    algebra::update,
    conjugate_gradient::ConjugateGradient,
    space::{Projection, Space},
};

/// Tuples with sum_k lambda_k h_k = 0, without the constants to which the system is blind.
struct Agreement<'a, D: Device> {
    backend: &'a dyn Backend<D>,
    /// p.
    weights: &'a D::Vector,
    parts: &'a [Vec<f64>],
    parts_on_device: &'a [D::Reduced],
    /// Which inputs are prescribed.
    is_prescribed: Vec<bool>,
}

impl<D: Device> Projection<D> for Agreement<'_, D> {
    /// x_k - sum_l lambda_l x_l, and of prescribed inputs less the constants c_k, the means of x_k up to what makes
    /// sum_k lambda_k c_k = 0.
    fn project(&self, x: &mut [D::Vector]) -> Result<(), Error> {
        let mean = weighted_sum(self.backend, self.parts_on_device, x)?;
        for x in &mut *x {
            update(self.backend, x, [Operand::Vector(&mean)], |x, [mean]| x - mean)?;
        }
        if !self.is_prescribed.contains(&true) {
            return Ok(());
        }
        let (rows, columns) = self.backend.shape(self.weights);
        let total = Program::record(|[p, x]| [p * x])?;
        let mut totals = Vec::with_capacity(x.len());
        for x in &*x {
            let mut out = self.backend.alloc_reduced(columns)?;
            let operands = [self.weights, x].map(Operand::Vector);
            self.backend.reduce(&total, Fold::Sum, rows, &operands, &mut [&mut out])?;
            totals.push(out);
        }
        let mut mass = self.backend.alloc_reduced(columns)?;
        let whole = Program::record(|[p]| [p])?;
        self.backend.reduce(&whole, Fold::Sum, rows, &[Operand::Vector(self.weights)], &mut [&mut mass])?;
        let read = self.backend.read(&totals.iter().chain([&mass]).collect::<Vec<_>>())?;
        let (masses, totals) = (&read[x.len()], &read[..x.len()]);
        let prescribed = || (0..x.len()).filter(|&term| self.is_prescribed[term]);
        let common: Vec<f64> = (0..columns)
            .map(|column| {
                let sum: f64 = prescribed().map(|term| self.parts[term][column] * totals[term][column]).sum();
                let weight: f64 = prescribed().map(|term| self.parts[term][column]).sum();
                if weight > 0.0 { sum / weight } else { 0.0 }
            })
            .collect();
        for (term, x) in x.iter_mut().enumerate().filter(|&(term, _)| self.is_prescribed[term]) {
            let constant = |column: usize| match masses[column] > 0.0 {
                true => (totals[term][column] - common[column]) / masses[column],
                false => 0.0,
            };
            let constants = self.backend.upload_reduced(&(0..columns).map(constant).collect::<Vec<_>>())?;
            update(self.backend, x, [Operand::Reduced(&constants)], |x, [constant]| x - constant)?;
        }
        Ok(())
    }
}

/// sum_k part_k x_k.
pub(super) fn weighted_sum<D: Device>(
    backend: &dyn Backend<D>,
    parts: &[D::Reduced],
    x: &[D::Vector],
) -> Result<D::Vector, Error> {
    let (rows, columns) = backend.shape(&x[0]);
    let mut sum = backend.filled(0.0, rows, columns)?;
    for (x, part) in x.iter().zip(parts) {
        update(backend, &mut sum, [Operand::Vector(x), Operand::Reduced(part)], |sum, [x, part]| sum + part * x)?;
    }
    Ok(sum)
}

impl<D: Device> LinearisedBarycenter<D> {
    pub(super) fn backend(&self) -> &dyn Backend<D> {
        self.problem.terms()[0].problem.backend()
    }

    /// p, the weights of the inner product.
    pub(super) fn inner_weights(&self) -> &D::Vector {
        self.terms[0].inner_weights()
    }

    /// sum_k lambda_k x_k.
    pub(super) fn sum_of_parts(&self, x: &[D::Vector]) -> Result<D::Vector, Error> {
        weighted_sum(self.backend(), &self.parts_on_device, x)
    }

    /// h with sum_k lambda_k h_k = 0 and Pi (1 - A) h = Pi x.
    pub(super) fn solve(&mut self, x: &[D::Vector]) -> Result<(Vec<D::Vector>, LinearSolve), Error> {
        let Self { problem, terms, parts, parts_on_device, solver, .. } = self;
        let backend = problem.terms()[0].problem.backend();
        let weights = backend.copied(terms[0].inner_weights())?;
        let agreement = Agreement {
            backend,
            weights: &weights,
            is_prescribed: problem.terms().iter().map(|term| term.problem.is_balanced()).collect(),
            parts,
            parts_on_device,
        };
        let conjugate_gradient = ConjugateGradient {
            space: Space { backend, weights: &weights, parts: parts_on_device, projection: Some(&agreement) },
            settings: solver,
            preconditioner: None,
        };
        conjugate_gradient.solve(x, None, |h, out| complements(terms, h, out))
    }

    /// (1 - A_k) x_k of each input.
    pub(super) fn complements(&mut self, x: &[D::Vector]) -> Result<Vec<D::Vector>, Error> {
        let mut out = x.iter().map(|x| self.backend().copied(x)).collect::<Result<Vec<_>, _>>()?;
        complements(&mut self.terms, x, &mut out)?;
        Ok(out)
    }
}

/// out_k = (1 - A_k) x_k.
pub(super) fn complements<D: Device>(
    terms: &mut [Linearised<D>],
    x: &[D::Vector],
    out: &mut [D::Vector],
) -> Result<(), Error> {
    for ((term, x), out) in terms.iter_mut().zip(x).zip(out) {
        term.coupling()?.complement(x, out)?;
    }
    Ok(())
}
