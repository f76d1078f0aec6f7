//! The best constant to move between the two potentials.
//!
//! (f + lambda, g - lambda) has the same plan for every lambda, but not the same dual once a
//! marginal is not prescribed:
//!
//! ```text
//! D(lambda) = -sum_i a_i phi*(-f_i - lambda) - sum_j b_j psi*(-g_j + lambda)
//! D'(lambda) = m_a(lambda) - m_b(lambda)
//! ```
//!
//! where m_a and m_b are the masses that the two penalties ask for, the one falling with lambda and the
//! other rising. Plain scaling finds the lambda of equal masses slowly, with a factor that tends to 1
//! as rho / epsilon grows; with the shift solved for at every iteration, the unbalanced problem
//! converges like the balanced one (Sejourne, Vialard, Peyre 2022). It is a formula for
//! Kullback-Leibler and prescribed marginals, and a monotone equation in one unknown for all others. In either case
//! it stays on the device.

mod closed_form;
mod monotone;

use self::{closed_form::ClosedForm, monotone::MonotoneSolve};
use crate::{
    backend::{Device, Operand},
    error::Error,
    kernel::Potentials,
    penalty::PenaltyKind,
    problem::Problem,
    program::{Program, recorded},
    real::Real,
    side::Side,
};

/// The programs and numbers of the shift for one problem.
#[derive(Debug)]
pub struct Translation<D: Device> {
    method: Method<D>,
    shift: D::Reduced,
    add: Program,
    subtract: Program,
}

/// How the shift is found.
#[derive(Debug)]
enum Method<D: Device> {
    ClosedForm(ClosedForm<D>),
    Monotone(Box<MonotoneSolve<D>>),
}

impl<D: Device> Translation<D> {
    /// The shift of a problem; `None` where the dual does not depend on it: both marginals are prescribed.
    ///
    /// # Errors
    /// A penalty that cannot be recorded, [`Error::OutOfMemory`].
    pub fn new(problem: &Problem<D>) -> Result<Option<Self>, Error> {
        let kinds = Side::BOTH.map(|side| problem.marginal(side).penalty().kind());
        let method = match kinds {
            [PenaltyKind::Balanced, PenaltyKind::Balanced] => return Ok(None),
            [PenaltyKind::Other, _] | [_, PenaltyKind::Other] => {
                Method::Monotone(Box::new(MonotoneSolve::new(problem)?))
            }
            _ => Method::ClosedForm(ClosedForm::new(problem)?),
        };
        Ok(Some(Self {
            method,
            shift: problem.backend().alloc_reduced(problem.columns())?,
            add: recorded!(|[f, shift, omega]| [f + omega.select(shift, 0.0)])?.clone(),
            subtract: recorded!(|[g, shift, omega]| [g - omega.select(shift, 0.0)])?.clone(),
        }))
    }

    /// Moves the best constant between f and g, in the columns whose relaxation is not 0.
    ///
    /// Costs two reductions of each side in closed form. Otherwise three for every step of the solve: many at the
    /// first call, where the way may be long, and two from the sixth call on.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn apply(
        &mut self,
        problem: &Problem<D>,
        potentials: &mut Potentials<D>,
        relaxation: &D::Reduced,
    ) -> Result<(), Error> {
        match &mut self.method {
            Method::ClosedForm(method) => method.find(problem, potentials, &mut self.shift)?,
            Method::Monotone(method) => method.find(problem, potentials, &mut self.shift)?,
        }
        let operands = [Operand::Output(0), Operand::Reduced(&self.shift), Operand::Reduced(relaxation)];
        let backend = problem.backend();
        backend.map(&self.add, &operands, &mut [&mut potentials.source])?;
        backend.map(&self.subtract, &operands, &mut [&mut potentials.target])
    }
}
