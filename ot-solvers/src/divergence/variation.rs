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

use ot_core::{
    ActiveColumns, Backend, CostParameter, Error, Operand, PairWeight, Program, Real, Scalar, Side, SoftMin, Solution,
    WeightedPlan,
};

use super::{Divergence, DivergenceForm, column_of};

impl<B: Backend> Divergence<B> {
    /// The derivative in the weights of one side, column after column: the potential whose descent lowers the
    /// divergence. For prescribed marginals it is known up to a constant. Costs two softmins.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for the sharp forms, which would need a derivative of the solve; a failure of the
    /// device.
    pub fn first_variation(&self, side: Side) -> Result<Vec<B::Elem>, Error> {
        self.check_form()?;
        let cross = variation(self.cross(), side)?;
        let own = variation(self.self_term(side), Side::Source)?;
        let difference =
            |(index, value): (usize, &B::Elem)| B::Elem::from_f64(value.to_f64() - own[index % own.len()].to_f64());
        Ok(cross.iter().enumerate().map(difference).collect())
    }

    /// The gradient in the points of one side under one column of the batch, point by point. Costs three passes over the
    /// cost.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for the sharp forms, or a cost without known gradient in its points; a failure of the
    /// device.
    pub fn gradient(&self, side: Side, column: usize) -> Result<Vec<B::Elem>, Error> {
        self.check_form()?;
        let cross = pull_back(self.cross(), side, column)?;
        let own = self.self_term(side);
        let own_column = column_of(own.problem(), column);
        let [first, second] = [Side::Source, Side::Target].map(|half| pull_back(own, half, own_column));
        let (first, second) = (first?, second?);
        let rows = own.problem().marginal(Side::Source).len();
        let dimension = cross.len() / rows;
        let mut gradient = Vec::with_capacity(cross.len());
        for row in 0..rows {
            for index in (0..dimension).map(|axis| axis * rows + row) {
                gradient.push(B::Elem::from_f64(cross[index] - 0.5 * (first[index] + second[index])));
            }
        }
        Ok(gradient)
    }

    fn check_form(&self) -> Result<(), Error> {
        match self.form() {
            DivergenceForm::Full => Ok(()),
            _ => Err(Error::MissingCapability("first-order change of a sharp divergence")),
        }
    }
}

/// v(f) of one side of a solution, column after column.
fn variation<B: Backend>(solution: &Solution<B>, side: Side) -> Result<Vec<B::Elem>, Error> {
    let (problem, potentials) = (solution.problem(), solution.potentials());
    let (backend, columns) = (problem.backend(), problem.columns());
    let (own, other) = (problem.marginal(side), problem.marginal(side.opposite()));
    let conjugate = own.regularizer().conjugate()?;
    let program = Program::try_record(|[f, s, epsilon]| {
        let [price] = conjugate.call([-f])?;
        let exponent = ((f - s) / epsilon).clamp(-80.0, 80.0);
        Ok([-price - epsilon * exponent.exp()])
    })?;
    let mut kernel = problem.bind()?;
    backend.scope(|| {
        let mut softmin = backend.alloc(own.len(), columns)?;
        let mut out = backend.alloc(own.len(), columns)?;
        let potential = potentials.side(side);
        let request = SoftMin {
            side,
            potential: potentials.side(side.opposite()),
            log_weights: other.log_weights(),
            shift: potential,
            active: &ActiveColumns::all(columns),
        };
        kernel.softmin(request, &mut softmin)?;
        let operands = [Operand::Vector(potential), Operand::Vector(&softmin), Operand::Constant(potentials.epsilon)];
        backend.map(&program, &operands, &mut [&mut out])?;
        Ok(backend.download(&[&out])?.swap_remove(0))
    })
}

/// sum_ij P_ij dC_ij / dpoints of one side, coordinate by coordinate.
fn pull_back<B: Backend>(solution: &Solution<B>, side: Side, column: usize) -> Result<Vec<f64>, Error> {
    let problem = solution.problem();
    let parameter = CostParameter::Points(side);
    let mut kernel = problem.bind()?;
    problem.backend().scope(|| {
        let missing = Error::MissingCapability("derivative of the cost in its points");
        let derivative = kernel.cost_derivative().ok_or(missing.clone())?;
        let (rows, dimension) = derivative.shape(parameter).ok_or(missing)?;
        let mut out = problem.backend().alloc(rows, dimension)?;
        let plan = problem.view(solution.potentials());
        let pairs = WeightedPlan { plan, weight: PairWeight::constant(1.0), column };
        derivative.pull_back(pairs, parameter, &mut out)?;
        let values = problem.backend().download(&[&out])?.swap_remove(0);
        Ok(values.into_iter().map(Scalar::to_f64).collect())
    })
}
