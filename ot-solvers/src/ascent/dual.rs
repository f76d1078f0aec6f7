//! The dual as a function of both potentials.

use ot_core::{
    ActiveColumns, Backend, Error, Fold, KernelOp, Marginal, Operand, PlanPrograms, PlanSide, PlanView, Problem,
    Program, Real, Side,
};

use super::ConcaveObjective;

/// D(f, g), of blocks f and g, and its gradients demand(f_i) - r_i and demand(g_j) - s_j. Where a law demands an
/// interval, the nearest of its ends counts, and nothing within.
///
/// Costs one pass over the pairs: softmins of both sides, or marginals.
#[derive(Debug)]
pub struct DualObjective<B: Backend> {
    problem: Problem<B>,
    kernel: Box<dyn KernelOp<B>>,
    pub(super) parts: Parts<B>,
}

impl<B: Backend> DualObjective<B> {
    /// The dual of a problem, with a kernel of its own.
    ///
    /// # Errors
    /// Those of [`Problem::bind`]; [`Error::OutOfMemory`].
    pub fn new(problem: &Problem<B>) -> Result<Self, Error> {
        Ok(Self { kernel: problem.bind()?, parts: Parts::new(problem)?, problem: problem.clone() })
    }

    /// The kernel.
    pub fn kernel(&mut self) -> &mut dyn KernelOp<B> {
        self.kernel.as_mut()
    }
}

impl<B: Backend> ConcaveObjective<B> for DualObjective<B> {
    fn backend(&self) -> &B {
        self.problem.backend()
    }

    fn columns(&self) -> usize {
        self.problem.columns()
    }

    fn weights(&self, block: usize) -> &B::Vector {
        self.problem.marginal(if block == 0 { Side::Source } else { Side::Target }).weights()
    }

    fn evaluate(
        &mut self,
        point: &[B::Vector],
        gradient: &mut [B::Vector],
        value: &mut B::Reduced,
    ) -> Result<(), Error> {
        let Self { problem, kernel, parts } = self;
        let ([f, g], [of_f, of_g]) = (point, gradient) else {
            return Err(Error::Length { what: "blocks of variables", expected: 2, found: point.len() });
        };
        parts.densities(kernel.as_mut(), problem, [f, g], [&mut *of_f, &mut *of_g])?;
        parts.gradient(problem, Side::Source, f, of_f)?;
        parts.gradient(problem, Side::Target, g, of_g)?;
        parts.value(problem, [f, g], value)
    }
}

/// What values and gradients are made of.
#[derive(Debug)]
pub(super) struct Parts<B: Backend> {
    pub(super) active: ActiveColumns,
    conjugate: B::Reduced,
    duals: [B::Reduced; 2],
    /// epsilon h(0) m_a m_b of each column.
    offset: B::Reduced,
    density: Program,
    mass: Program,
    gradients: [Program; 2],
    total: Program,
    sum: Program,
}

impl<B: Backend> Parts<B> {
    pub(super) fn new(problem: &Problem<B>) -> Result<Self, Error> {
        let (backend, columns) = (problem.backend(), problem.columns());
        let empty = PlanPrograms::record(problem.plan_regularizer().as_ref())?.empty();
        let masses = |column| [Side::Source, Side::Target].map(|side| problem.marginal(side).mass(column));
        let offset = |column| masses(column).into_iter().product::<f64>() * empty * problem.epsilon();
        let gradient = |side: Side| {
            let demand = problem.marginal(side).law().demand();
            Program::try_record(|[f, density, epsilon]| {
                let [low, high] = demand.call([f, epsilon])?;
                Ok([density.clamp(low, high) - density])
            })
        };
        Ok(Self {
            active: ActiveColumns::all(columns),
            conjugate: backend.alloc_reduced(columns)?,
            duals: [backend.alloc_reduced(columns)?, backend.alloc_reduced(columns)?],
            offset: backend.upload_reduced(&(0..columns).map(offset).collect::<Vec<_>>())?,
            density: Program::record(|[f, s, epsilon]| [((f - s) / epsilon).clamp(-80.0, 80.0).exp()])?,
            mass: Program::record(|[weight, density]| [weight * density])?,
            gradients: [gradient(Side::Source)?, gradient(Side::Target)?],
            total: Program::record(|[one, other, conjugate, offset, epsilon]| {
                [one + other - epsilon * conjugate + offset]
            })?,
            sum: Program::record(|[one, other]| [one + other])?,
        })
    }

    /// The densities of both marginals, and the conjugate.
    pub(super) fn densities(
        &mut self,
        kernel: &mut dyn KernelOp<B>,
        problem: &Problem<B>,
        [f, g]: [&B::Vector; 2],
        [of_f, of_g]: [&mut B::Vector; 2],
    ) -> Result<(), Error> {
        let (source, target) = (problem.marginal(Side::Source), problem.marginal(Side::Target));
        let plan = PlanView { source: PlanSide::new(f, source), target: PlanSide::new(g, target) };
        if let Some(family) = kernel.family() {
            return family.marginals(plan, &self.active, [of_f, of_g], &mut self.conjugate);
        }
        kernel.softmins(plan, &self.active, [&mut *of_f, &mut *of_g])?;
        self.of_softmin(problem, f, of_f)?;
        self.of_softmin(problem, g, of_g)?;
        self.mass_of(problem, source, of_f)
    }

    /// The density of an entropic marginal in the place of its softmin.
    pub(super) fn of_softmin(&self, problem: &Problem<B>, f: &B::Vector, out: &mut B::Vector) -> Result<(), Error> {
        let operands = [Operand::Vector(f), Operand::Output(0), Operand::Constant(problem.epsilon())];
        problem.backend().map(&self.density, &operands, &mut [out])
    }

    /// The mass of an entropic plan, its conjugate, by the densities of one side.
    pub(super) fn mass_of(
        &mut self,
        problem: &Problem<B>,
        marginal: &Marginal<B>,
        density: &B::Vector,
    ) -> Result<(), Error> {
        let operands = [Operand::Vector(marginal.weights()), Operand::Vector(density)];
        let outputs = &mut [&mut self.conjugate];
        problem.backend().reduce(&self.mass, Fold::Sum, marginal.len(), &operands, outputs)
    }

    /// Where [`densities`](Self::densities) of one side only are asked for, their conjugate.
    pub(super) fn conjugate(&mut self) -> &mut B::Reduced {
        &mut self.conjugate
    }

    /// The gradient in the place of a density.
    pub(super) fn gradient(
        &self,
        problem: &Problem<B>,
        side: Side,
        potential: &B::Vector,
        density: &mut B::Vector,
    ) -> Result<(), Error> {
        let program = &self.gradients[usize::from(side == Side::Target)];
        let operands = [Operand::Vector(potential), Operand::Output(0), Operand::Constant(problem.epsilon())];
        problem.backend().map(program, &operands, &mut [density])
    }

    /// The dual of the laws alone.
    pub(super) fn without_regularizer(
        &mut self,
        problem: &Problem<B>,
        potentials: [&B::Vector; 2],
        value: &mut B::Reduced,
    ) -> Result<(), Error> {
        self.laws(problem, potentials)?;
        let [one, other] = &self.duals;
        problem.backend().map_reduced(&self.sum, &[one, other].map(Operand::Reduced), &mut [value])
    }

    /// The dual, after the densities.
    pub(super) fn value(
        &mut self,
        problem: &Problem<B>,
        potentials: [&B::Vector; 2],
        value: &mut B::Reduced,
    ) -> Result<(), Error> {
        self.laws(problem, potentials)?;
        let [one, other] = &self.duals;
        let [one, other, conjugate, offset] = [one, other, &self.conjugate, &self.offset].map(Operand::Reduced);
        let operands = [one, other, conjugate, offset, Operand::Constant(problem.epsilon())];
        problem.backend().map_reduced(&self.total, &operands, &mut [value])
    }

    /// -sum_i a_i phi*(-f_i) and the same of the target.
    fn laws(&mut self, problem: &Problem<B>, potentials: [&B::Vector; 2]) -> Result<(), Error> {
        for ((side, potential), dual) in [Side::Source, Side::Target].into_iter().zip(potentials).zip(&mut self.duals) {
            let marginal = problem.marginal(side);
            let operands = [Operand::Vector(potential), Operand::Vector(marginal.weights())];
            problem.backend().reduce(marginal.law().dual(), Fold::Sum, marginal.len(), &operands, &mut [dual])?;
        }
        Ok(())
    }
}
