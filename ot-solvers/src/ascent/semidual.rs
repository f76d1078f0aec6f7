//! The semi-dual: the dual as a function of the target potential, the source maximised over.

use ot_core::{
    Backend, Error, KernelOp, Operand, PlanSide, PlanView, Potentials, Problem, Response, Scalar, Side, SoftMin,
};

use super::{ConcaveObjective, dual::Parts};

/// S(g) = max over f of D(f, g), of one block g, and its gradient demand(g_j) - s_j, where s are the densities of
/// the target marginal of the plan of f(g) and g (Cuturi, Peyre 2016).
///
/// Costs two passes over the pairs: one for f, one for s.
#[derive(Debug)]
pub struct SemiDualObjective<B: Backend> {
    problem: Problem<B>,
    kernel: Box<dyn KernelOp<B>>,
    parts: Parts<B>,
    /// f(g), and the guess of the next.
    source: B::Vector,
    next: B::Vector,
}

impl<B: Backend> SemiDualObjective<B> {
    /// The semi-dual of a problem, with a kernel of its own.
    ///
    /// # Errors
    /// Those of [`Problem::bind`]; [`Error::OutOfMemory`].
    pub fn new(problem: &Problem<B>) -> Result<Self, Error> {
        let rows = problem.marginal(Side::Source).len();
        let zeros = vec![B::Elem::from_f64(0.0); rows * problem.columns()];
        Ok(Self {
            kernel: problem.bind()?,
            parts: Parts::new(problem)?,
            source: problem.backend().upload(&zeros, problem.columns())?,
            next: problem.backend().alloc(rows, problem.columns())?,
            problem: problem.clone(),
        })
    }

    /// The kernel.
    pub fn kernel(&mut self) -> &mut dyn KernelOp<B> {
        self.kernel.as_mut()
    }

    /// f(g) at the point evaluated last.
    #[must_use]
    pub fn source_potential(&self) -> &B::Vector {
        &self.source
    }

    /// The potentials at the point evaluated last, taken apart.
    pub(super) fn into_potentials(self, target: B::Vector) -> (Potentials<B>, Box<dyn KernelOp<B>>) {
        (Potentials { source: self.source, target, epsilon: self.problem.epsilon() }, self.kernel)
    }

    /// f <- f(g).
    fn respond(&mut self, g: &B::Vector) -> Result<(), Error> {
        let Self { problem, kernel, parts, source, next } = self;
        let (own, other, backend) = (problem.marginal(Side::Source), problem.marginal(Side::Target), problem.backend());
        let (side, potential, shift, active) = (Side::Source, g, &*source, &parts.active);
        if let Some(family) = kernel.family() {
            let (law, weights) = (own.law(), other.weights());
            family.respond(Response { side, law, potential, weights, shift, active }, next)?;
        } else {
            kernel.softmin(SoftMin { side, potential, log_weights: other.log_weights(), shift, active }, next)?;
            let operands = [Operand::Output(0), Operand::Constant(problem.epsilon())];
            backend.map(own.law().step(), &operands, &mut [&mut *next])?;
        }
        std::mem::swap(source, next);
        Ok(())
    }
}

impl<B: Backend> ConcaveObjective<B> for SemiDualObjective<B> {
    fn backend(&self) -> &B {
        self.problem.backend()
    }

    fn columns(&self) -> usize {
        self.problem.columns()
    }

    fn weights(&self, _block: usize) -> &B::Vector {
        self.problem.marginal(Side::Target).weights()
    }

    fn evaluate(
        &mut self,
        point: &[B::Vector],
        gradient: &mut [B::Vector],
        value: &mut B::Reduced,
    ) -> Result<(), Error> {
        let ([g], [of_g]) = (point, gradient) else {
            return Err(Error::Length { what: "blocks of variables", expected: 1, found: point.len() });
        };
        self.respond(g)?;
        let Self { problem, kernel, parts, source: f, .. } = self;
        let (own, other) = (problem.marginal(Side::Target), problem.marginal(Side::Source));
        let plan = PlanView { source: PlanSide::new(f, other), target: PlanSide::new(g, own) };
        let active = parts.active.clone();
        if let Some(family) = kernel.family() {
            family.marginal(Side::Target, plan, &active, of_g, Some(parts.conjugate()))?;
        } else {
            let (potential, log_weights) = (&*f, other.log_weights());
            let request = SoftMin { side: Side::Target, potential, log_weights, shift: g, active: &active };
            kernel.softmin(request, of_g)?;
            parts.of_softmin(problem, g, of_g)?;
            parts.mass_of(problem, own, of_g)?;
        }
        parts.gradient(problem, Side::Target, g, of_g)?;
        parts.value(problem, [f, g], value)
    }
}

/// The semi-dual of unregularised transport,
///
/// ```text
/// S(g) = -sum_i a_i phi*(-f_i) - sum_j b_j psi*(-g_j)        f_i = min_j (C_ij - g_j)
/// ```
///
/// with a supergradient of it: demand(g_j) less the mass for which j is the minimum, over b_j. Any outer optimiser of
/// concave functions that are not smooth can climb it; its value bounds the cost of transport from below anywhere.
///
/// Costs one pass over the pairs and one wait, for the minima.
#[derive(Debug)]
pub struct HardSemiDualObjective<B: Backend> {
    problem: Problem<B>,
    kernel: Box<dyn KernelOp<B>>,
    parts: Parts<B>,
    source: B::Vector,
    nearest: Vec<u32>,
}

impl<B: Backend> HardSemiDualObjective<B> {
    /// The semi-dual of a problem, of which epsilon is not looked at.
    ///
    /// # Errors
    /// Those of [`Problem::bind`]; [`Error::MissingCapability`] for a kernel without hard transforms;
    /// [`Error::OutOfMemory`].
    pub fn new(problem: &Problem<B>) -> Result<Self, Error> {
        let mut kernel = problem.bind()?;
        kernel.hard_transform().ok_or(Error::MissingCapability("hard c-transform"))?;
        Ok(Self {
            kernel,
            parts: Parts::new(problem)?,
            source: problem.backend().alloc(problem.marginal(Side::Source).len(), problem.columns())?,
            nearest: Vec::new(),
            problem: problem.clone(),
        })
    }

    /// The c-transform f of the point evaluated last.
    #[must_use]
    pub fn source_potential(&self) -> &B::Vector {
        &self.source
    }

    /// The nearest target of each source atom at that point, column after column; `u32::MAX` for an atom without.
    #[must_use]
    pub fn nearest(&self) -> &[u32] {
        &self.nearest
    }
}

impl<B: Backend> ConcaveObjective<B> for HardSemiDualObjective<B> {
    fn backend(&self) -> &B {
        self.problem.backend()
    }

    fn columns(&self) -> usize {
        self.problem.columns()
    }

    fn weights(&self, _block: usize) -> &B::Vector {
        self.problem.marginal(Side::Target).weights()
    }

    fn evaluate(
        &mut self,
        point: &[B::Vector],
        gradient: &mut [B::Vector],
        value: &mut B::Reduced,
    ) -> Result<(), Error> {
        let ([g], [of_g]) = (point, gradient) else {
            return Err(Error::Length { what: "blocks of variables", expected: 1, found: point.len() });
        };
        let Self { problem, kernel, parts, source, nearest } = self;
        let (backend, columns) = (problem.backend(), problem.columns());
        let (own, other) = (problem.marginal(Side::Target), problem.marginal(Side::Source));
        let hard = kernel.hard_transform().ok_or(Error::MissingCapability("hard c-transform"))?;
        hard.c_transform(Side::Source, g, own.log_weights(), source, Some(nearest))?;

        // What each atom demands goes to its nearest target.
        let downloaded = backend.download(&[source, other.weights(), own.weights()])?;
        let [f, a, b] = [0, 1, 2].map(|index| &downloaded[index]);
        let (rows, others) = (other.len(), own.len());
        let mut densities = vec![B::Elem::from_f64(0.0); others * columns];
        for column in 0..columns {
            let of_column = |values: &[B::Elem], len: usize, index: usize| {
                values[column.min(values.len() / len - 1) * len + index].to_f64()
            };
            let mut masses = vec![0.0; others];
            for i in 0..rows {
                let (weight, potential) = (of_column(a, rows, i), of_column(f, rows, i));
                let target = nearest[column * rows + i] as usize;
                if weight > 0.0 && target < others {
                    let [low, _] = other.law().demand().call([potential, problem.epsilon()])?;
                    masses[target] += weight * low;
                }
            }
            for (j, mass) in masses.into_iter().enumerate() {
                let weight = of_column(b, others, j);
                densities[column * others + j] = B::Elem::from_f64(if weight > 0.0 { mass / weight } else { 0.0 });
            }
        }
        backend.write(&densities, of_g)?;
        parts.gradient(problem, Side::Target, g, of_g)?;
        parts.without_regularizer(problem, [source, g], value)
    }
}
