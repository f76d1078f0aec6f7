//! The best constant to move between the two potentials.
//!
//! (f + lambda, g - lambda) has the same plan for every lambda, but not the same dual once a
//! marginal is relaxed. Plain scaling finds the best lambda slowly, with a factor that tends to 1
//! as rho / epsilon grows; with the shift solved for at every iteration, the unbalanced problem
//! converges like the balanced one (Sejourne, Vialard, Peyre 2022).
//!
//! With Kullback-Leibler laws the maximum of the dual over lambda is
//!
//! ```text
//! lambda = (log sum_i a_i exp(-f_i / rho_a) - log sum_j b_j exp(-g_j / rho_b)) / (1/rho_a + 1/rho_b)
//! ```
//!
//! where a prescribed marginal has 1/rho = 0. All of it stays on the device.

use crate::{
    backend::{Backend, Fold, Operand, Side},
    error::Error,
    kernel::Potentials,
    marginal::Marginal,
    problem::Problem,
    program::Program,
    real::Real,
    regularizer::{LawKind, bounded_exp},
};

/// The programs and numbers of the shift for one problem.
#[derive(Debug)]
pub struct Translation<B: Backend> {
    inverse_strengths: [f64; 2],
    largest_exponent: Program,
    mass: Program,
    lambda: Program,
    add: Program,
    subtract: Program,
    largest: [B::Reduced; 2],
    masses: [B::Reduced; 2],
    shift: B::Reduced,
}

impl<B: Backend> Translation<B> {
    /// The shift of a problem; `None` where the dual does not depend on it (both marginals are
    /// prescribed) or no closed form is known (a law that is neither).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(problem: &Problem<B>) -> Result<Option<Self>, Error> {
        let inverse_strength = |side| match problem.marginal(side).regularizer().kind() {
            LawKind::Balanced => Some(0.0),
            LawKind::Kl { rho } => Some(1.0 / rho),
            LawKind::Other => None,
        };
        let (Some(source), Some(target)) = (inverse_strength(Side::Source), inverse_strength(Side::Target)) else {
            return Ok(None);
        };
        if source + target == 0.0 {
            return Ok(None);
        }
        let number = || problem.backend().alloc_reduced(problem.columns());
        Ok(Some(Self {
            inverse_strengths: [source, target],
            largest_exponent: Program::record(|[f, a, inverse]| [a.select(-(f * inverse), Real::constant(-1e30))])?,
            mass: Program::record(|[f, a, inverse, largest]| {
                [a.select(a * bounded_exp(-(f * inverse) - largest), Real::constant(0.0))]
            })?,
            lambda: Program::record(|[largest_a, mass_a, largest_b, mass_b, scale, omega]| {
                let shift = scale * (largest_a - largest_b + (mass_a.ln() - mass_b.ln()));
                [omega.select(shift, Real::constant(0.0))]
            })?,
            add: Program::record(|[f, shift]| [f + shift])?,
            subtract: Program::record(|[g, shift]| [g - shift])?,
            largest: [number()?, number()?],
            masses: [number()?, number()?],
            shift: number()?,
        }))
    }

    /// Moves the best constant between f and g, in the columns whose relaxation is not 0.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn apply(
        &mut self,
        problem: &Problem<B>,
        potentials: &mut Potentials<B>,
        relaxation: &B::Reduced,
    ) -> Result<(), Error> {
        let backend = problem.backend();
        for (index, side) in [Side::Source, Side::Target].into_iter().enumerate() {
            let marginal: &Marginal<B> = problem.marginal(side);
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
        let scale = 1.0 / (self.inverse_strengths[0] + self.inverse_strengths[1]);
        let operands = [
            Operand::Reduced(&self.largest[0]),
            Operand::Reduced(&self.masses[0]),
            Operand::Reduced(&self.largest[1]),
            Operand::Reduced(&self.masses[1]),
            Operand::Constant(scale),
            Operand::Reduced(relaxation),
        ];
        backend.map_reduced(&self.lambda, &operands, &mut [&mut self.shift])?;
        let shift = Operand::Reduced(&self.shift);
        backend.map(&self.add, &[Operand::Output(0), shift], &mut [&mut potentials.source])?;
        backend.map(&self.subtract, &[Operand::Output(0), shift], &mut [&mut potentials.target])
    }
}
