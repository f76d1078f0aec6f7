//! The dual as a function of both potentials.

use ot_core::{
    ActiveColumns, Backend, Device, Error, Fold, KernelOp, Operand, PlanSide, PlanView, Problem, Program, Real, Side,
};

use super::ConcaveObjective;

/// D(f, g), of blocks f and g, and its gradients: at f_i, the distance of the density r_i to the subdifferential of phi*
/// at -f_i, an interval, with the sign of what is missing; and likewise at g_j.
///
/// Costs one pass over the pairs, for the densities of both sides.
#[derive(Debug)]
pub struct DualObjective<D: Device> {
    problem: Problem<D>,
    kernel: Box<dyn KernelOp<D>>,
    pub(super) parts: Parts<D>,
}

impl<D: Device> DualObjective<D> {
    /// The dual of a problem, with a kernel of its own.
    ///
    /// # Errors
    /// Those of [`Problem::bind`]; [`Error::OutOfMemory`].
    pub fn new(problem: &Problem<D>) -> Result<Self, Error> {
        Ok(Self { kernel: problem.bind()?, parts: Parts::new(problem)?, problem: problem.clone() })
    }

    /// The kernel.
    pub fn kernel(&mut self) -> &mut dyn KernelOp<D> {
        self.kernel.as_mut()
    }
}

impl<D: Device> ConcaveObjective<D> for DualObjective<D> {
    fn backend(&self) -> &dyn Backend<D> {
        self.problem.backend()
    }

    fn columns(&self) -> usize {
        self.problem.columns()
    }

    fn weights(&self, block: usize) -> &D::Vector {
        self.problem.marginal(Side::BOTH[block]).weights()
    }

    fn evaluate(
        &mut self,
        point: &[D::Vector],
        gradient: &mut [D::Vector],
        value: &mut D::Reduced,
    ) -> Result<(), Error> {
        let Self { problem, kernel, parts } = self;
        let ([f, g], [of_f, of_g]) = (point, gradient) else {
            return Err(Error::Length { what: "blocks of variables", expected: 2, found: point.len() });
        };
        let densities = [&mut *of_f, &mut *of_g];
        let (plan, conjugate) = (plan(problem, [f, g]), &mut parts.conjugate);
        kernel.densities(problem.backend(), plan, &parts.active, densities, conjugate)?;
        parts.gradient(problem, Side::Source, f, of_f)?;
        parts.gradient(problem, Side::Target, g, of_g)?;
        parts.value(problem, [f, g], value)
    }
}

/// The plan of a pair of potentials.
pub(super) fn plan<'a, D: Device>(problem: &'a Problem<D>, [f, g]: [&'a D::Vector; 2]) -> PlanView<'a, D> {
    let [a, b] = Side::BOTH.map(|side| problem.marginal(side).device_weights());
    PlanView { source: PlanSide::new(f, a), target: PlanSide::new(g, b) }
}

/// What values and gradients are made of.
#[derive(Debug)]
pub(super) struct Parts<D: Device> {
    pub(super) active: ActiveColumns,
    /// sum_ij a_i b_j (h*(z_ij) + h(0)) of the plan at hand.
    pub(super) conjugate: D::Reduced,
    duals: [D::Reduced; 2],
    /// epsilon h(0) m_a m_b of each column.
    offset: D::Reduced,
    gradients: [Program; 2],
    total: Program,
    sum: Program,
}

impl<D: Device> Parts<D> {
    pub(super) fn new(problem: &Problem<D>) -> Result<Self, Error> {
        let (backend, columns) = (problem.backend(), problem.columns());
        let masses = |column| Side::BOTH.map(|side| problem.marginal(side).mass(column));
        let offset = |column| problem.regularizer().value_of_nothing(problem.epsilon(), masses(column));
        let gradient = |side: Side| {
            let subdifferential = problem.marginal(side).penalty().conjugate_subdifferential();
            Program::try_record(|[f, density, epsilon]| {
                let [low, high] = subdifferential.call([f, epsilon])?;
                Ok([density.clamp(low, high) - density])
            })
        };
        Ok(Self {
            active: ActiveColumns::all(columns),
            conjugate: backend.alloc_reduced(columns)?,
            duals: [backend.alloc_reduced(columns)?, backend.alloc_reduced(columns)?],
            offset: backend.upload_reduced(&(0..columns).map(offset).collect::<Vec<_>>())?,
            gradients: [gradient(Side::Source)?, gradient(Side::Target)?],
            total: Program::record(|[one, other, conjugate, offset, epsilon]| {
                [one + other - epsilon * conjugate + offset]
            })?,
            sum: Program::record(|[one, other]| [one + other])?,
        })
    }

    /// The gradient in the place of a density.
    pub(super) fn gradient(
        &self,
        problem: &Problem<D>,
        side: Side,
        potential: &D::Vector,
        density: &mut D::Vector,
    ) -> Result<(), Error> {
        let program = &self.gradients[side.index()];
        let operands = [Operand::Vector(potential), Operand::Output(0), Operand::Constant(problem.epsilon())];
        problem.backend().map(program, &operands, &mut [density])
    }

    /// The dual of the penalties alone.
    pub(super) fn without_regularizer(
        &mut self,
        problem: &Problem<D>,
        potentials: [&D::Vector; 2],
        value: &mut D::Reduced,
    ) -> Result<(), Error> {
        self.penalties(problem, potentials)?;
        let [one, other] = &self.duals;
        problem.backend().map_reduced(&self.sum, &[one, other].map(Operand::Reduced), &mut [value])
    }

    /// The dual, after the densities.
    pub(super) fn value(
        &mut self,
        problem: &Problem<D>,
        potentials: [&D::Vector; 2],
        value: &mut D::Reduced,
    ) -> Result<(), Error> {
        self.penalties(problem, potentials)?;
        let [one, other] = &self.duals;
        let [one, other, conjugate, offset] = [one, other, &self.conjugate, &self.offset].map(Operand::Reduced);
        let operands = [one, other, conjugate, offset, Operand::Constant(problem.epsilon())];
        problem.backend().map_reduced(&self.total, &operands, &mut [value])
    }

    /// -sum_i a_i phi*(-f_i) and the same of the target.
    fn penalties(&mut self, problem: &Problem<D>, potentials: [&D::Vector; 2]) -> Result<(), Error> {
        for ((side, potential), dual) in Side::BOTH.into_iter().zip(potentials).zip(&mut self.duals) {
            let marginal = problem.marginal(side);
            let operands = [Operand::Vector(potential), Operand::Vector(marginal.weights())];
            problem.backend().reduce(marginal.penalty().dual(), Fold::Sum, marginal.len(), &operands, &mut [dual])?;
        }
        Ok(())
    }
}
