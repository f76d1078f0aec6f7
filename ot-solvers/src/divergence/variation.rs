//! First-order changes of the full divergence, in weights and in points.
//!
//! Optimal potentials are critical points of the dual, so that only what stands explicitly in it moves (Danskin):
//!
//! ```text
//! dS / da_i = v(f_ab)_i - v(f_aa)_i        v(f)_i = -phi*(-f_i) - epsilon sum_j b_j exp((f_i + g_j - C_ij) / epsilon)
//! dS / dx_i = sum_j P_ab,ij dc(x_i, y_j)/dx_i - sum_j P_aa,ij dc(x_i, x_j)/dx_i
//! ```
//!
//! For prescribed marginals the first is f_ab - f_aa, up to a constant (Feydy et al. 2019, proposition 2): a derivative
//! along changes of weights that keep the mass.

use ot_core::{ActiveColumns, Device, Error, Operand, Program, Real, Scalar, Side, Solution};

use super::{Divergence, DivergenceForm};
use crate::point_gradients::{combined, pull_back};

impl<D: Device> Divergence<D> {
    /// The derivative in the weights of one side, column after column: the potential whose descent lowers the
    /// divergence. For prescribed marginals it is known up to a constant. Costs two densities.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for the sharp forms, which would need a derivative of the solve; a failure of the
    /// device.
    pub fn first_variation(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        self.check_form()?;
        let cross = variation(self.cross(), side)?;
        let own = variation(self.self_term(side), Side::Source)?;
        let difference =
            |(index, value): (usize, &D::Elem)| D::Elem::from_f64(value.to_f64() - own[index % own.len()].to_f64());
        Ok(cross.iter().enumerate().map(difference).collect())
    }

    /// The gradient in the points of one side, point by point, one column after the other. Costs three passes over the
    /// cost.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for the sharp forms, or a cost without known gradient in its points; a failure of the
    /// device.
    pub fn gradient(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        self.check_form()?;
        let of = |solution: &Solution<D>, side| {
            let problem = solution.problem();
            pull_back(problem, problem.view(solution.potentials()), 1.0, side)
        };
        let (cross, own) = (of(self.cross(), side)?, self.self_term(side));
        let (first, second) = (of(own, Side::Source)?, of(own, Side::Target)?);
        let points = own.problem().marginal(Side::Source).len();
        Ok(combined(points, &cross, [&first, &second], |cross, [first, second]| cross - 0.5 * (first + second)))
    }

    fn check_form(&self) -> Result<(), Error> {
        match self.form() {
            DivergenceForm::Full => Ok(()),
            _ => Err(Error::MissingCapability("first-order change of a sharp divergence")),
        }
    }
}

/// v(f) of one side of a solution, column after column.
fn variation<D: Device>(solution: &Solution<D>, side: Side) -> Result<Vec<D::Elem>, Error> {
    let (problem, potentials) = (solution.problem(), solution.potentials());
    let (backend, columns) = (problem.backend(), problem.columns());
    let own = problem.marginal(side);
    let conjugate = own.penalty().conjugate();
    // Density and price of an atom without weight may be beyond all numbers.
    let highest = <D::Elem as Scalar>::MAX / 8.0;
    let program = Program::try_record(|[f, density, epsilon]| {
        let [price] = conjugate.call([-f])?;
        Ok([-price.min(highest) - (epsilon * density).min(highest)])
    })?;
    let mut kernel = problem.bind()?;
    backend.scope(|| {
        let mut density = backend.alloc(own.len(), columns)?;
        let active = ActiveColumns::all(columns);
        kernel.density(backend, side, problem.view(potentials), &active, &mut density, None)?;
        let f = Operand::Vector(potentials.side(side));
        let operands = [f, Operand::Output(0), Operand::Constant(potentials.epsilon)];
        backend.map(&program, &operands, &mut [&mut density])?;
        Ok(backend.download(&[&density])?.swap_remove(0))
    })
}
