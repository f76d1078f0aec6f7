//! The shift between Kullback-Leibler and prescribed marginals, as a formula.
//!
//! ```text
//! lambda = (log sum_i a_i exp(-f_i / rho_a) - log sum_j b_j exp(-g_j / rho_b)) / (1/rho_a + 1/rho_b)
//! ```
//!
//! where a prescribed marginal has 1/rho = 0 (Sejourne, Vialard, Peyre 2022, proposition 2). No shift is best if a
//! measure has no mass: then it is zero.

use crate::{
    backend::{Device, Fold, Operand},
    error::Error,
    kernel::Potentials,
    penalty::{PenaltyKind, bounded_exp},
    problem::Problem,
    program::{Program, recorded},
    real::Real,
    scalar::LOG_ZERO,
    side::Side,
};

/// The programs and numbers of the formula.
#[derive(Debug)]
pub(super) struct ClosedForm<D: Device> {
    inverse_strengths: [f64; 2],
    largest_exponent: Program,
    mass: Program,
    lambda: Program,
    largest: [D::Reduced; 2],
    masses: [D::Reduced; 2],
}

impl<D: Device> ClosedForm<D> {
    /// For a problem whose penalties are of these two kinds, one of them not balanced.
    pub(super) fn new(problem: &Problem<D>) -> Result<Self, Error> {
        let inverse_strengths = Side::BOTH.map(|side| match problem.marginal(side).penalty().kind() {
            PenaltyKind::Kl { rho } => 1.0 / rho,
            _ => 0.0,
        });
        let number = || problem.backend().alloc_reduced(problem.columns());
        Ok(Self {
            inverse_strengths,
            largest_exponent: recorded!(|[f, a, inverse]| [a.select(-(f * inverse), LOG_ZERO)])?.clone(),
            mass: recorded!(|[f, a, inverse, largest]| { [a.select(a * bounded_exp(-(f * inverse) - largest), 0.0)] })?
                .clone(),
            lambda: recorded!(|[largest_a, mass_a, largest_b, mass_b, scale]| {
                let shift = scale * (largest_a - largest_b + (mass_a.ln() - mass_b.ln()));
                [mass_a.select(mass_b.select(shift, 0.0), 0.0)]
            })?
            .clone(),
            largest: [number()?, number()?],
            masses: [number()?, number()?],
        })
    }

    /// The best shift of every column.
    pub(super) fn find(
        &mut self,
        problem: &Problem<D>,
        potentials: &Potentials<D>,
        shift: &mut D::Reduced,
    ) -> Result<(), Error> {
        let backend = problem.backend();
        for (index, side) in Side::BOTH.into_iter().enumerate() {
            let marginal = problem.marginal(side);
            let exponent = [
                Operand::Vector(potentials.side(side)),
                Operand::Vector(marginal.weights()),
                Operand::Constant(self.inverse_strengths[index]),
            ];
            let rows = marginal.len();
            backend.reduce(&self.largest_exponent, Fold::Max, rows, &exponent, &mut [&mut self.largest[index]])?;
            let [f, a, inverse] = exponent;
            let mass = [f, a, inverse, Operand::Reduced(&self.largest[index])];
            backend.reduce(&self.mass, Fold::Sum, rows, &mass, &mut [&mut self.masses[index]])?;
        }
        let operands = [
            Operand::Reduced(&self.largest[0]),
            Operand::Reduced(&self.masses[0]),
            Operand::Reduced(&self.largest[1]),
            Operand::Reduced(&self.masses[1]),
            Operand::Constant(1.0 / (self.inverse_strengths[0] + self.inverse_strengths[1])),
        ];
        backend.map_reduced(&self.lambda, &operands, &mut [shift])
    }
}
