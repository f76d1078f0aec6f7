//! Sinkhorn divergences: entropic transport as a loss that vanishes when measures agree.
//!
//! ```text
//! S(a, b) = OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2 + epsilon / 2 (mass(a) - mass(b))^2
//! ```
//!
//! where OT is the optimal value of the entropic problem with the same law on both marginals (Ramdas, Garcia, Cuturi
//! 2017; Genevay, Peyre, Cuturi 2018; Feydy et al. 2019; with relaxed marginals Sejourne, Feydy, Vialard, Trouve, Peyre
//! 2019). It tends to OT without entropy as epsilon falls, and for prescribed marginals to half the squared maximum mean
//! discrepancy of the kernel -c as epsilon grows.

mod form;
mod identical;
mod outcome;
mod value;
mod variation;

use std::sync::Arc;

use ot_core::{
    Backend, Balanced, Epsilon, Error, GroundCost, Measure, Operand, Problem, Program, Regularizer, Side, Solution,
};

pub use self::{form::DivergenceForm, outcome::Divergence};
use self::{identical::are_identical, value::DivergenceValue};
use crate::entropic::{Sinkhorn, Start, Update};

/// A measure against itself: to be solved, or known from an earlier call.
#[derive(Debug)]
pub enum SelfTerm<'a, B: Backend> {
    /// To be solved, by symmetric updates.
    Open(&'a Problem<B>),
    /// Solved before, by [`SinkhornDivergence::self_term`]: the measure that a loss keeps fixed.
    Frozen(&'a Solution<B>),
}

impl<B: Backend> Copy for SelfTerm<'_, B> {}
impl<B: Backend> Clone for SelfTerm<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> SelfTerm<'_, B> {
    fn problem(&self) -> &Problem<B> {
        match self {
            SelfTerm::Open(problem) => problem,
            SelfTerm::Frozen(solution) => solution.problem(),
        }
    }
}

/// Settings of a Sinkhorn divergence.
///
/// ```
/// use ot_core::{Epsilon, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::{SelfTerm, SinkhornDivergence};
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 0.2, 1.0], 1)?;
/// let b = PointCloud::uniform(vec![0.1, 0.7], 1)?;
/// let settings = SinkhornDivergence::new();
/// let divergence = settings.between(&backend, &a, &b, &SqEuclidean, Epsilon::Absolute(0.1))?;
/// assert!(divergence.value() > 0.0 && divergence.status().is_converged());
///
/// // In a loop over a, the self term of b is solved once.
/// let problem = |x, y| settings.problem(&backend, x, y, &SqEuclidean, Epsilon::Absolute(0.1));
/// let frozen = settings.self_term(&problem(&b, &b)?)?;
/// let again = settings.solve(&problem(&a, &b)?, SelfTerm::Open(&problem(&a, &a)?), SelfTerm::Frozen(&frozen))?;
/// assert_eq!(again.value(), divergence.value());
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SinkhornDivergence {
    sinkhorn: Sinkhorn,
    form: DivergenceForm,
    law: Arc<dyn Regularizer>,
}

impl Default for SinkhornDivergence {
    fn default() -> Self {
        Self::new()
    }
}

impl SinkhornDivergence {
    /// The full form, with prescribed marginals and the defaults of [`Sinkhorn`].
    #[must_use]
    pub fn new() -> Self {
        Self { sinkhorn: Sinkhorn::new(), form: DivergenceForm::Full, law: Arc::new(Balanced) }
    }

    /// The form.
    #[must_use]
    pub fn form(self, form: DivergenceForm) -> Self {
        Self { form, ..self }
    }

    /// The law of all marginals.
    #[must_use]
    pub fn law(self, law: Arc<dyn Regularizer>) -> Self {
        Self { law, ..self }
    }

    /// How the three problems are solved; self terms by [symmetric](Update::Symmetric) updates in any case.
    #[must_use]
    pub fn sinkhorn(self, sinkhorn: Sinkhorn) -> Self {
        Self { sinkhorn, ..self }
    }

    /// The divergence between two measures. Epsilon is resolved between the two, and shared by the self terms.
    ///
    /// Large clouds start from their [clusters](Start::multiscale). Identical measures (the same points and weights, bit by
    /// bit) are one problem, and their divergence is zero.
    /// Costs three solves, of which those of the self terms take few iterations.
    ///
    /// # Errors
    /// Those of [`Backend::geometry`], [`Problem::relaxed`] and [`Sinkhorn::solve`].
    pub fn between<B: Backend>(
        &self,
        backend: &B,
        source: &dyn Measure<B::Elem>,
        target: &dyn Measure<B::Elem>,
        cost: &dyn GroundCost,
        epsilon: Epsilon,
    ) -> Result<Divergence<B>, Error> {
        let against_itself = |measure, epsilon| {
            let problem = self.problem(backend, measure, measure, cost, epsilon)?;
            let start = symmetric(backend, Start::multiscale(&problem, measure, measure, cost)?)?;
            self.sinkhorn.clone().update(Update::Symmetric).run(&problem).start(start).solve()
        };
        if are_identical(source, target) {
            let solution = against_itself(source, epsilon)?;
            return self.assemble(solution.clone(), solution.clone(), solution);
        }
        let problem = self.problem(backend, source, target, cost, epsilon)?;
        let start = Start::multiscale(&problem, source, target, cost)?;
        let cross = self.sinkhorn.run(&problem).start(start).solve()?;
        let shared = Epsilon::Absolute(problem.epsilon());
        let [source, target] = [source, target].map(|measure| against_itself(measure, shared));
        self.assemble(cross, source?, target?)
    }

    /// The problem between two measures, or between a measure and itself, under the law of this divergence.
    ///
    /// # Errors
    /// Those of [`Backend::geometry`] and [`Problem::relaxed`].
    pub fn problem<B: Backend>(
        &self,
        backend: &B,
        source: &dyn Measure<B::Elem>,
        target: &dyn Measure<B::Elem>,
        cost: &dyn GroundCost,
        epsilon: Epsilon,
    ) -> Result<Problem<B>, Error> {
        let geometry = backend.geometry(source.support(), target.support(), cost)?;
        Problem::relaxed(geometry, source, target, epsilon, Arc::clone(&self.law), Arc::clone(&self.law))
    }

    /// Solves a measure against itself, for use in any number of divergences.
    ///
    /// # Errors
    /// Those of [`Sinkhorn::solve`].
    pub fn self_term<B: Backend>(&self, problem: &Problem<B>) -> Result<Solution<B>, Error> {
        self.sinkhorn.clone().update(Update::Symmetric).solve(problem)
    }

    /// The divergence from its problems: the two measures against each other, and each against itself.
    ///
    /// # Errors
    /// [`Error::Disagreement`] for problems of different atoms, masses, epsilons or laws,
    /// [`Error::MissingCapability`] for plans that are not entropic; those of [`Sinkhorn::solve`].
    pub fn solve<B: Backend>(
        &self,
        cross: &Problem<B>,
        source: SelfTerm<'_, B>,
        target: SelfTerm<'_, B>,
    ) -> Result<Divergence<B>, Error> {
        cross.require_entropy()?;
        for (side, term) in [(Side::Source, &source), (Side::Target, &target)] {
            term.problem().require_entropy()?;
            check_agreement(cross, side, term.problem())?;
        }
        let [source, target] = [source, target].map(|term| match term {
            SelfTerm::Open(problem) => self.self_term(problem),
            SelfTerm::Frozen(solution) => Ok(solution.clone()),
        });
        self.assemble(self.sinkhorn.solve(cross)?, source?, target?)
    }

    fn assemble<B: Backend>(
        &self,
        cross: Solution<B>,
        source: Solution<B>,
        target: Solution<B>,
    ) -> Result<Divergence<B>, Error> {
        let value = |column| DivergenceValue::new(self.form, &cross, [&source, &target], column);
        let values = (0..cross.problem().columns()).map(value).collect::<Result<_, _>>()?;
        Ok(Divergence::new(self.form, values, cross, [source, target]))
    }
}

/// The mean of both potentials on either side: between a measure and itself they are one, and symmetric updates keep them so.
fn symmetric<B: Backend>(backend: &B, start: Start<'static, B>) -> Result<Start<'static, B>, Error> {
    let Start::Owned(mut potentials) = start else { return Ok(start) };
    let mean = Program::record(|[own, other]| [(own + other) * 0.5])?;
    let operands = [Operand::Output(0), Operand::Vector(&potentials.target)];
    backend.map(&mean, &operands, &mut [&mut potentials.source])?;
    backend.copy(&potentials.source, &mut potentials.target)?;
    Ok(Start::Owned(potentials))
}

/// The column of a self term that belongs to a column of the cross problem.
fn column_of<B: Backend>(problem: &Problem<B>, column: usize) -> usize {
    column.min(problem.columns() - 1)
}

/// Does a self problem speak of one side of the cross problem?
fn check_agreement<B: Backend>(cross: &Problem<B>, side: Side, term: &Problem<B>) -> Result<(), Error> {
    let disagreement = |what| Err(Error::Disagreement { what });
    let own = cross.marginal(side);
    for marginal in [Side::Source, Side::Target].map(|side| term.marginal(side)) {
        if marginal.len() != own.len() {
            return disagreement("the number of atoms");
        }
        // Weights that prescribed marginals rescale agree to rounding.
        let masses = (0..cross.columns()).map(|column| [own.mass(column), marginal.mass(column_of(term, column))]);
        if masses.into_iter().any(|[one, other]| (one - other).abs() > 1e-3 * one) {
            return disagreement("the masses");
        }
        if marginal.regularizer().kind() != own.regularizer().kind() {
            return disagreement("the laws");
        }
    }
    if ![1, cross.columns()].contains(&term.columns()) {
        return disagreement("the number of columns");
    }
    if term.epsilon() != cross.epsilon() {
        return disagreement("epsilon");
    }
    Ok(())
}
