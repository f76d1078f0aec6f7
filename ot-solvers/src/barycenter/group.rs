//! Terms of a joint problem that share a kernel, in the course of an iteration.
//!
//! Their columns are those of one batch, term after term: column c of the term at place k is column k C + c of C each. A kernel
//! that reads its data once for all columns of a batch so reads them once for all terms.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Backend, ByProducts, CTransform, Device, End, Error, JointProblem, KernelOp, Operand, Potentials,
    Problem, Program, Side, Solution, Sweep, WeightsView,
};

use crate::entropic::{Start, choose_columns};

/// The most columns of a group of several terms: more gain nothing from each other.
const MOST_COLUMNS: usize = 64;

/// The state of some terms with the same ends, penalties and geometry.
#[derive(Debug)]
pub(super) struct Group<D: Device> {
    /// The terms side by side.
    pub(super) problem: Problem<D>,
    /// The indices of the terms.
    terms: Vec<usize>,
    ends: [End; 2],
    kernel: Box<dyn KernelOp<D>>,
    pub(super) potentials: Potentials<D>,
    /// The iterate that a checked iteration entered with: what its by-products speak of.
    pub(super) entering: Potentials<D>,
    /// The iterate of the largest dual at this epsilon, column by column.
    best: Potentials<D>,
    pub(super) scratch: Potentials<D>,
    by_products: ByProducts<D>,
    /// The mass of the entering plan, where no sweep tells it.
    mass: D::Reduced,
    /// omega for each column.
    pub(super) relaxation: D::Reduced,
    chosen: D::Reduced,
    /// The columns that move.
    active: ActiveColumns,
}

impl<D: Device> Group<D> {
    /// The groups of a problem, with a start for each term. They are not relaxed, and all columns move.
    pub(super) fn of_problem<'s>(
        problem: &JointProblem<D>,
        start: impl Fn(usize) -> Start<'s, D>,
    ) -> Result<Vec<Self>, Error>
    where
        D: 's,
    {
        let (terms, most) = (problem.terms(), MOST_COLUMNS / problem.columns());
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (index, term) in terms.iter().enumerate() {
            let fits = |group: &&mut Vec<usize>| {
                let first = &terms[group[0]];
                group.len() < most
                    && first.problem.geometry().gains_from_batches()
                    && first.ends == term.ends
                    && first.problem.can_stand_beside(&term.problem)
            };
            match groups.iter_mut().find(fits) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        groups.into_iter().map(|group| Self::new(problem, group, &start)).collect()
    }

    fn new<'s>(
        joint: &JointProblem<D>,
        terms: Vec<usize>,
        start: &impl Fn(usize) -> Start<'s, D>,
    ) -> Result<Self, Error>
    where
        D: 's,
    {
        let problems: Vec<&Problem<D>> = terms.iter().map(|&term| &joint.terms()[term].problem).collect();
        let problem = Problem::side_by_side(&problems)?;
        let (backend, columns) = (problem.backend(), problem.columns());
        let atoms = Side::BOTH.map(|side| problem.marginal(side).len());
        let starts = terms.iter().zip(&problems).map(|(&term, problem)| start(term).potentials(problem));
        let potentials = side_by_side(backend, starts.collect::<Result<_, _>>()?, columns)?;
        let alloc = || -> Result<Potentials<D>, Error> {
            let [source, target] = atoms.map(|len| backend.alloc(len, columns));
            Ok(Potentials { source: source?, target: target?, epsilon: problem.epsilon() })
        };
        let (source, target) = (backend.copied(&potentials.source)?, backend.copied(&potentials.target)?);
        Ok(Self {
            kernel: problem.bind()?,
            entering: alloc()?,
            best: Potentials { source, target, epsilon: problem.epsilon() },
            scratch: alloc()?,
            by_products: ByProducts::alloc(backend, atoms, columns)?,
            mass: backend.alloc_reduced(columns)?,
            relaxation: backend.upload_reduced(&vec![1.0; columns])?,
            chosen: backend.alloc_reduced(columns)?,
            active: ActiveColumns::all(columns),
            ends: joint.terms()[terms[0]].ends,
            potentials,
            terms,
            problem,
        })
    }

    /// The indices of the terms.
    pub(super) fn terms(&self) -> &[usize] {
        &self.terms
    }

    /// What all terms have at their sides.
    pub(super) fn ends(&self) -> [End; 2] {
        self.ends
    }

    /// Columns of each term.
    pub(super) fn columns_of_term(&self) -> usize {
        self.problem.columns() / self.terms.len()
    }

    /// Takes omega for each column of a term, the same for all terms.
    pub(super) fn relax(&mut self, omega: &[f64]) -> Result<(), Error> {
        self.problem.backend().write_reduced(&omega.repeat(self.terms.len()), &mut self.relaxation)
    }

    /// Lets some columns of each term move, and no others.
    pub(super) fn activate(&mut self, active: &ActiveColumns) {
        let columns = active.columns();
        self.active = ActiveColumns::all(self.problem.columns());
        for column in (0..self.problem.columns()).filter(|column| !active.contains(column % columns)) {
            self.active.freeze(column);
        }
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
        copy(self.problem.backend(), &self.potentials, &mut self.entering)
    }

    /// Makes the iterate the best one.
    pub(super) fn keep(&mut self) -> Result<(), Error> {
        copy(self.problem.backend(), &self.potentials, &mut self.best)
    }

    /// Makes the entering iterate of some columns of each term the best one.
    pub(super) fn keep_entering(&mut self, wanted: &[bool]) -> Result<(), Error> {
        let Self { problem, terms, best, entering, chosen, .. } = self;
        if !wanted.contains(&false) {
            // The next check enters with an iterate of its own.
            std::mem::swap(best, entering);
            return Ok(());
        }
        choose_columns(problem.backend(), best, entering, &wanted.repeat(terms.len()), chosen)
    }

    /// Goes back to the best iterate of some columns of each term.
    pub(super) fn go_back(&mut self, wanted: &[bool]) -> Result<(), Error> {
        let Self { problem, terms, potentials, best, chosen, .. } = self;
        choose_columns(problem.backend(), potentials, best, &wanted.repeat(terms.len()), chosen)
    }

    /// Have the terms no unknown end?
    pub(super) fn is_alone(&self) -> bool {
        self.ends == [End::Given; 2]
    }

    /// The turn of an unknown measure that stands at `side`: the given end of the terms first, if they have one.
    pub(super) fn advance(&mut self, side: Side, at_check: bool) -> Result<(), Error> {
        let columns = self.columns_of_term();
        self.step(side, at_check).map_err(|error| error.within_columns(columns))
    }

    fn step(&mut self, side: Side, at_check: bool) -> Result<(), Error> {
        if at_check && !self.is_swept() && self.has_first_turn(side) {
            self.weigh(side.opposite())?;
        }
        let Self { problem, ends, kernel, potentials, scratch, by_products, relaxation, active, .. } = self;
        let backend = problem.backend();
        let mut sweep = Sweep {
            source: problem.marginal(Side::Source),
            target: problem.marginal(Side::Target),
            potentials,
            relaxation,
            active,
            scratch,
            by_products: at_check.then_some(by_products),
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
        let (active, columns) = (ActiveColumns::all(self.problem.columns()), self.columns_of_term());
        let penalty = self.problem.marginal(side).penalty();
        let request = CTransform { side, plan: self.problem.view(&self.potentials), penalty, active: &active };
        let out = self.scratch.side_mut(side);
        let transform = self.kernel.c_transform(self.problem.backend(), request, out, None);
        transform.map_err(|error| error.within_columns(columns))?;
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

    /// Numbers of all columns as those of each term, with its index.
    pub(super) fn by_term<'n>(&'n self, numbers: &'n [f64]) -> impl Iterator<Item = (usize, &'n [f64])> {
        self.terms.iter().copied().zip(numbers.chunks_exact(self.columns_of_term()))
    }

    /// Makes an operand for all columns of a vector with the columns of one term, which [`spread`](Self::spread) then tells: a
    /// single column serves all as it is, others are written once for each term into the scratch space of a side.
    pub(super) fn repeat(&mut self, vector: &D::Vector, side: Side) -> Result<(), Error> {
        if self.columns_of_term() == 1 {
            return Ok(());
        }
        let (columns, backend, out) = (self.columns_of_term(), self.problem.backend(), self.scratch.side_mut(side));
        match self.terms.len() {
            1 => backend.copy(vector, out),
            count => {
                let own = |column: usize| {
                    (0..count * columns).map(move |other| f64::from(u8::from(other % columns == column)))
                };
                backend.mix(vector, &(0..columns).flat_map(own).collect::<Vec<_>>(), out)
            }
        }
    }

    /// A vector of the columns of one term that has been [repeated](Self::repeat).
    pub(super) fn spread<'v>(
        scratch: &'v Potentials<D>,
        vector: &'v D::Vector,
        columns: usize,
        side: Side,
    ) -> &'v D::Vector {
        if columns == 1 { vector } else { scratch.side(side) }
    }

    /// The potentials beside p in the place of the reference m at the target: epsilon log(p / m), a vector with the columns of one
    /// term, is subtracted by the program (g, l) to g - l.
    pub(super) fn beside(&mut self, logarithm: &D::Vector, subtract: &Program) -> Result<Potentials<D>, Error> {
        self.repeat(logarithm, Side::Target)?;
        let columns = self.columns_of_term();
        let Self { problem, potentials, scratch, .. } = self;
        let (backend, logarithm) = (problem.backend(), Self::spread(scratch, logarithm, columns, Side::Target));
        let (source, mut target) = (backend.copied(&potentials.source)?, backend.copied(&potentials.target)?);
        backend.map(subtract, &[Operand::Output(0), Operand::Vector(logarithm)], &mut [&mut target])?;
        Ok(Potentials { source, target, epsilon: potentials.epsilon })
    }

    /// The columns of the term at a place.
    pub(super) fn of_place(&self, vector: &D::Vector, place: usize) -> Result<D::Vector, Error> {
        let (backend, columns) = (self.problem.backend(), self.columns_of_term());
        if self.terms.len() == 1 {
            return backend.copied(vector);
        }
        let mut out = backend.alloc(backend.shape(vector).0, columns)?;
        let is_own = |column: usize| f64::from(u8::from(column / columns == place));
        backend.mix(vector, &sum_of_terms(columns, (0..self.problem.columns()).map(is_own)), &mut out)?;
        Ok(out)
    }

    /// The potentials of each term, in the order of the problem.
    pub(super) fn potentials_of_terms(groups: &[Self]) -> Result<Vec<Potentials<D>>, Error> {
        let mut potentials = Vec::new();
        for group in groups {
            for (place, &term) in group.terms.iter().enumerate() {
                let [source, target] = Side::BOTH.map(|side| group.of_place(group.potentials.side(side), place));
                let epsilon = group.potentials.epsilon;
                potentials.push((term, Potentials { source: source?, target: target?, epsilon }));
            }
        }
        potentials.sort_by_key(|(term, _)| *term);
        Ok(potentials.into_iter().map(|(_, potentials)| potentials).collect())
    }

    /// A solution of all terms with p at their target, as one of each term, with its index.
    pub(super) fn solutions_of_terms(
        &self,
        joint: &JointProblem<D>,
        solution: &Solution<D>,
        p: WeightsView<'_, D::Elem>,
    ) -> Result<Vec<(usize, Solution<D>)>, Error> {
        let (columns, all) = (self.columns_of_term(), solution.potentials());
        let of_place = |(place, &term): (usize, &usize)| {
            let [source, target] = Side::BOTH.map(|side| self.of_place(all.side(side), place));
            let potentials = Potentials { source: source?, target: target?, epsilon: all.epsilon };
            let own = place * columns..(place + 1) * columns;
            let solution = Solution::new(
                joint.terms()[term].problem.with_weights(Side::Target, p)?,
                Arc::new(potentials),
                solution.statuses()[own.clone()].to_vec(),
                solution.certificates()[own].to_vec(),
                solution.iterations(),
                solution.history().to_vec(),
            );
            Ok((term, solution))
        };
        self.terms.iter().enumerate().map(of_place).collect()
    }

    /// Does a full sweep move the terms, the source first?
    fn is_swept(&self) -> bool {
        self.ends[0] == End::Given
    }

    /// Is the turn of the measure at `side` the first that the terms have in an iteration?
    fn has_first_turn(&self, side: Side) -> bool {
        match (side.of(self.ends), side.opposite().of(self.ends)) {
            (End::Unknown(own), End::Unknown(other)) => own < other,
            _ => true,
        }
    }

    /// The mass of the plan, from the densities of a side.
    fn weigh(&mut self, side: Side) -> Result<(), Error> {
        let plan = self.problem.view(&self.potentials);
        let (backend, out) = (self.problem.backend(), self.scratch.side_mut(side));
        self.kernel.density(backend, side, plan, &self.active, out, Some(&mut self.mass))
    }
}

/// The matrix that adds up the columns of all terms, times a weight of each: of C columns for each term it makes C.
pub(super) fn sum_of_terms(columns: usize, weights: impl Iterator<Item = f64>) -> Vec<f64> {
    let row = |(column, weight): (usize, f64)| {
        (0..columns).map(move |other| if other == column % columns { weight } else { 0.0 })
    };
    weights.enumerate().flat_map(row).collect()
}

/// Potentials of several terms as those of one batch.
fn side_by_side<D: Device>(
    backend: &dyn Backend<D>,
    mut potentials: Vec<Potentials<D>>,
    columns: usize,
) -> Result<Potentials<D>, Error> {
    let epsilon = potentials[0].epsilon;
    if potentials.len() == 1 {
        return Ok(potentials.swap_remove(0));
    }
    let of_side = |side: Side| {
        let vectors: Vec<&D::Vector> = potentials.iter().map(|potentials| potentials.side(side)).collect();
        backend.upload(&backend.download(&vectors)?.concat(), columns)
    };
    Ok(Potentials { source: of_side(Side::Source)?, target: of_side(Side::Target)?, epsilon })
}

fn copy<D: Device>(backend: &dyn Backend<D>, from: &Potentials<D>, to: &mut Potentials<D>) -> Result<(), Error> {
    backend.copy(&from.source, &mut to.source)?;
    backend.copy(&from.target, &mut to.target)
}
