//! One term of a joint problem in the course of an iteration.

use ot_core::{
    ActiveColumns, ByProducts, CTransform, Device, End, Error, JointTerm, KernelOp, Potentials, Problem, Side, Sweep,
};

use crate::entropic::Start;

/// How all terms move in one iteration.
#[derive(Debug)]
pub(super) struct Pace<'a, D: Device> {
    /// omega for each column.
    pub(super) relaxation: &'a D::Reduced,
    /// The columns that move.
    pub(super) active: &'a ActiveColumns,
    /// Are by-products wanted?
    pub(super) at_check: bool,
}

impl<D: Device> Copy for Pace<'_, D> {}
impl<D: Device> Clone for Pace<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

/// The state of one term.
#[derive(Debug)]
pub(super) struct Term<'a, D: Device> {
    problem: &'a Problem<D>,
    ends: [End; 2],
    kernel: Box<dyn KernelOp<D>>,
    pub(super) potentials: Potentials<D>,
    /// The iterate that a checked iteration entered with: what its by-products speak of.
    pub(super) entering: Potentials<D>,
    /// The iterate of the largest dual at this epsilon, column by column.
    pub(super) best: Potentials<D>,
    scratch: Potentials<D>,
    by_products: ByProducts<D>,
    /// The mass of the entering plan, where no sweep tells it.
    mass: D::Reduced,
}

impl<'a, D: Device> Term<'a, D> {
    pub(super) fn new(term: &'a JointTerm<D>, start: &Start<'_, D>) -> Result<Self, Error> {
        let (problem, columns) = (&term.problem, term.problem.columns());
        let backend = problem.backend();
        let atoms = Side::BOTH.map(|side| problem.marginal(side).len());
        let alloc = || -> Result<Potentials<D>, Error> {
            let [source, target] = atoms.map(|len| backend.alloc(len, columns));
            Ok(Potentials { source: source?, target: target?, epsilon: problem.epsilon() })
        };
        let potentials = start.potentials(problem)?;
        let (source, target) = (backend.copied(&potentials.source)?, backend.copied(&potentials.target)?);
        Ok(Self {
            kernel: problem.bind()?,
            entering: alloc()?,
            best: Potentials { source, target, epsilon: problem.epsilon() },
            scratch: alloc()?,
            by_products: ByProducts::alloc(backend, atoms, columns)?,
            mass: backend.alloc_reduced(columns)?,
            ends: term.ends,
            potentials,
            problem,
        })
    }

    pub(super) fn problem(&self) -> &'a Problem<D> {
        self.problem
    }

    /// Binds the kernel to an epsilon.
    pub(super) fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        if self.kernel.epsilon() != epsilon {
            self.kernel.rebind(epsilon)?;
        }
        Ok(())
    }

    /// Names the potentials to the kernel before iterations around them.
    pub(super) fn recenter(&mut self) -> Result<(), Error> {
        self.kernel.recenter(self.problem.view(&self.potentials))
    }

    /// Remembers the iterate that a check speaks of.
    pub(super) fn enter(&mut self) -> Result<(), Error> {
        let backend = self.problem.backend();
        backend.copy(&self.potentials.source, &mut self.entering.source)?;
        backend.copy(&self.potentials.target, &mut self.entering.target)
    }

    /// Makes the iterate the best one.
    pub(super) fn keep(&mut self) -> Result<(), Error> {
        let backend = self.problem.backend();
        backend.copy(&self.potentials.source, &mut self.best.source)?;
        backend.copy(&self.potentials.target, &mut self.best.target)
    }

    /// Has the term no unknown end?
    pub(super) fn is_alone(&self) -> bool {
        self.ends == [End::Given; 2]
    }

    /// The turn of an unknown measure that stands at `side`: the given end of the term first, if it has one.
    pub(super) fn advance(&mut self, side: Side, pace: Pace<'_, D>) -> Result<(), Error> {
        if pace.at_check && !self.is_swept() && self.has_first_turn(side) {
            self.weigh(side.opposite(), pace.active)?;
        }
        let Self { problem, ends, kernel, potentials, scratch, by_products, .. } = self;
        let backend = problem.backend();
        let mut sweep = Sweep {
            source: problem.marginal(Side::Source),
            target: problem.marginal(Side::Target),
            potentials,
            relaxation: pace.relaxation,
            active: pace.active,
            scratch,
            by_products: pace.at_check.then_some(by_products),
        };
        match (side.opposite().of(*ends), side) {
            (End::Given, Side::Target) => kernel.sweep(backend, sweep),
            (End::Given, Side::Source) => {
                kernel.half_step(backend, Side::Target, &mut sweep)?;
                kernel.half_step(backend, Side::Source, &mut sweep)
            }
            (End::Unknown(_), _) => kernel.half_step(backend, side, &mut sweep),
        }
    }

    /// The c-transform of a side, into the scratch space.
    pub(super) fn transform(&mut self, side: Side) -> Result<&D::Vector, Error> {
        let active = ActiveColumns::all(self.problem.columns());
        let penalty = self.problem.marginal(side).penalty();
        let request = CTransform { side, plan: self.problem.view(&self.potentials), penalty, active: &active };
        let out = self.scratch.side_mut(side);
        self.kernel.c_transform(self.problem.backend(), request, out, None)?;
        Ok(out)
    }

    /// Takes over the c-transform of a side.
    pub(super) fn accept(&mut self, side: Side) -> Result<(), Error> {
        self.problem.backend().copy(self.scratch.side(side), self.potentials.side_mut(side))
    }

    /// What a check reads: the residual and the dual of each side, and the mass of the entering plan.
    pub(super) fn numbers(&self) -> [&D::Reduced; 5] {
        let ByProducts { source_residual, target_residual, conjugate, source_dual, target_dual, .. } =
            &self.by_products;
        let mass = if self.is_swept() { conjugate } else { &self.mass };
        [source_residual, target_residual, source_dual, target_dual, mass]
    }

    /// Does a full sweep move the term, the source first?
    fn is_swept(&self) -> bool {
        self.ends[0] == End::Given
    }

    /// Is the turn of the measure at `side` the first that the term has in an iteration?
    fn has_first_turn(&self, side: Side) -> bool {
        match (side.of(self.ends), side.opposite().of(self.ends)) {
            (End::Unknown(own), End::Unknown(other)) => own < other,
            _ => true,
        }
    }

    /// The mass of the plan, from the densities of a side.
    fn weigh(&mut self, side: Side, active: &ActiveColumns) -> Result<(), Error> {
        let plan = self.problem.view(&self.potentials);
        let (backend, out) = (self.problem.backend(), self.scratch.side_mut(side));
        self.kernel.density(backend, side, plan, active, out, Some(&mut self.mass))
    }
}
