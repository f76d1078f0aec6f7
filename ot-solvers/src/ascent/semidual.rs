//! The semi-dual: the dual as a function of the target potential, the source maximised over.

use ot_core::{Backend, CTransform, Device, Error, KernelOp, Potentials, Problem, Scalar, Side};

use super::{
    ConcaveObjective,
    dual::{Parts, plan},
};

/// S(g) = max over f of D(f, g), of one block g, and its gradient, that of [`DualObjective`](super::DualObjective) in g at f(g)
/// (Cuturi, Peyre 2016).
///
/// Costs two passes over the pairs: one for f, one for the densities of the target.
#[derive(Debug)]
pub struct SemiDualObjective<D: Device> {
    problem: Problem<D>,
    kernel: Box<dyn KernelOp<D>>,
    parts: Parts<D>,
    /// f(g), and the guess of the next.
    source: D::Vector,
    next: D::Vector,
}

impl<D: Device> SemiDualObjective<D> {
    /// The semi-dual of a problem, with a kernel of its own.
    ///
    /// # Errors
    /// Those of [`Problem::bind`]; [`Error::OutOfMemory`].
    pub fn new(problem: &Problem<D>) -> Result<Self, Error> {
        let rows = problem.marginal(Side::Source).len();
        Ok(Self {
            kernel: problem.bind()?,
            parts: Parts::new(problem)?,
            source: problem.backend().filled(0.0, rows, problem.columns())?,
            next: problem.backend().alloc(rows, problem.columns())?,
            problem: problem.clone(),
        })
    }

    /// The kernel.
    pub fn kernel(&mut self) -> &mut dyn KernelOp<D> {
        self.kernel.as_mut()
    }

    /// f(g) at the point evaluated last.
    #[must_use]
    pub fn source_potential(&self) -> &D::Vector {
        &self.source
    }

    /// The potentials at the point evaluated last, taken apart.
    pub(super) fn into_potentials(self, target: D::Vector) -> (Potentials<D>, Box<dyn KernelOp<D>>) {
        (Potentials { source: self.source, target, epsilon: self.problem.epsilon() }, self.kernel)
    }

    /// f <- f(g).
    fn transform(&mut self, g: &D::Vector) -> Result<(), Error> {
        let Self { problem, kernel, parts, source, next } = self;
        let penalty = problem.marginal(Side::Source).penalty();
        let plan = plan(problem, [source, g]);
        let request = CTransform { side: Side::Source, plan, penalty, active: &parts.active };
        kernel.c_transform(problem.backend(), request, next, None)?;
        std::mem::swap(source, next);
        Ok(())
    }
}

impl<D: Device> ConcaveObjective<D> for SemiDualObjective<D> {
    fn backend(&self) -> &dyn Backend<D> {
        self.problem.backend()
    }

    fn columns(&self) -> usize {
        self.problem.columns()
    }

    fn weights(&self, _block: usize) -> &D::Vector {
        self.problem.marginal(Side::Target).weights()
    }

    fn evaluate(
        &mut self,
        point: &[D::Vector],
        gradient: &mut [D::Vector],
        value: &mut D::Reduced,
    ) -> Result<(), Error> {
        let ([g], [of_g]) = (point, gradient) else {
            return Err(Error::Length { what: "blocks of variables", expected: 1, found: point.len() });
        };
        self.transform(g)?;
        let Self { problem, kernel, parts, source: f, .. } = self;
        let (plan, conjugate) = (plan(problem, [f, g]), Some(&mut parts.conjugate));
        kernel.density(problem.backend(), Side::Target, plan, &parts.active, of_g, conjugate)?;
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
/// with a supergradient of it: what the penalty's density at g_j exceeds that of the mass for which j is the minimum. Any outer optimiser of
/// concave functions that are not smooth can climb it; its value bounds the cost of transport from below anywhere.
///
/// Costs one pass over the pairs and one wait, for the minima.
#[derive(Debug)]
pub struct HardSemiDualObjective<D: Device> {
    problem: Problem<D>,
    kernel: Box<dyn KernelOp<D>>,
    parts: Parts<D>,
    source: D::Vector,
    nearest: Vec<u32>,
}

impl<D: Device> HardSemiDualObjective<D> {
    /// The semi-dual of a problem, of which epsilon is not looked at.
    ///
    /// # Errors
    /// Those of [`Problem::bind`]; [`Error::MissingCapability`] for a kernel without hard transforms;
    /// [`Error::OutOfMemory`].
    pub fn new(problem: &Problem<D>) -> Result<Self, Error> {
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
    pub fn source_potential(&self) -> &D::Vector {
        &self.source
    }

    /// The nearest target of each source atom at that point, column after column; `u32::MAX` for an atom without.
    #[must_use]
    pub fn nearest(&self) -> &[u32] {
        &self.nearest
    }
}

impl<D: Device> ConcaveObjective<D> for HardSemiDualObjective<D> {
    fn backend(&self) -> &dyn Backend<D> {
        self.problem.backend()
    }

    fn columns(&self) -> usize {
        self.problem.columns()
    }

    fn weights(&self, _block: usize) -> &D::Vector {
        self.problem.marginal(Side::Target).weights()
    }

    fn evaluate(
        &mut self,
        point: &[D::Vector],
        gradient: &mut [D::Vector],
        value: &mut D::Reduced,
    ) -> Result<(), Error> {
        let ([g], [of_g]) = (point, gradient) else {
            return Err(Error::Length { what: "blocks of variables", expected: 1, found: point.len() });
        };
        let Self { problem, kernel, parts, source, nearest } = self;
        let (backend, columns) = (problem.backend(), problem.columns());
        let (own, other) = (problem.marginal(Side::Target), problem.marginal(Side::Source));
        let hard = kernel.hard_transform().ok_or(Error::MissingCapability("hard c-transform"))?;
        hard.hard_c_transform(Side::Source, g, own.log_weights(), source, Some(nearest))?;

        // The mass that the penalty gives each atom goes to its nearest target.
        let downloaded = backend.download(&[source, other.weights(), own.weights()])?;
        let [f, a, b] = [0, 1, 2].map(|index| &downloaded[index]);
        let (rows, others) = (other.len(), own.len());
        let mut densities = vec![D::Elem::from_f64(0.0); others * columns];
        for column in 0..columns {
            let of_column = |values: &[D::Elem], len: usize, index: usize| {
                values[column.min(values.len() / len - 1) * len + index].to_f64()
            };
            let mut masses = vec![0.0; others];
            for i in 0..rows {
                let (weight, potential) = (of_column(a, rows, i), of_column(f, rows, i));
                let target = nearest[column * rows + i] as usize;
                if weight > 0.0 && target < others {
                    let [low, _] = other.penalty().conjugate_subdifferential().call([potential, problem.epsilon()])?;
                    masses[target] += weight * low;
                }
            }
            for (j, mass) in masses.into_iter().enumerate() {
                let weight = of_column(b, others, j);
                densities[column * others + j] = D::Elem::from_f64(if weight > 0.0 { mass / weight } else { 0.0 });
            }
        }
        backend.write(&densities, of_g)?;
        parts.gradient(problem, Side::Target, g, of_g)?;
        parts.without_regularizer(problem, [source, g], value)
    }
}
