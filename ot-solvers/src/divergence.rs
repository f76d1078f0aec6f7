//! Sinkhorn divergences: entropic transport as a loss that vanishes when measures agree.
//!
//! ```text
//! S(a, b) = OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2 + epsilon / 2 (mass(a) - mass(b))^2
//! ```
//!
//! where OT is the optimal value of the entropic problem with the same penalty on both marginals (Ramdas, Garcia, Cuturi
//! 2017; Genevay, Peyre, Cuturi 2018; Feydy et al. 2019; unbalanced Sejourne, Feydy, Vialard, Trouve, Peyre
//! 2019). It tends to OT without entropy as epsilon falls, and for prescribed marginals to half the squared maximum mean
//! discrepancy of the kernel -c as epsilon grows.

mod form;
mod identical;
mod outcome;
mod value;
mod variation;

use std::sync::Arc;

use ot_core::{
    Backend, Device, Epsilon, Error, Geometry, GeometryBuilder, GroundCost, MarginalPenalty, Measure, Operand, Problem,
    Program, RecordedPenalty, Side, Solution,
};

pub use self::{form::DivergenceForm, outcome::Divergence};
use self::{identical::are_identical, value::DivergenceValue};
use crate::entropic::{Sinkhorn, Start, Update};

/// A measure against itself: to be solved, or known from an earlier call.
#[derive(Debug)]
pub enum SelfTerm<'a, D: Device> {
    /// To be solved, by symmetric updates.
    Open(&'a Problem<D>),
    /// Solved before, by [`SinkhornDivergence::self_term`]: the measure that a loss keeps fixed.
    Frozen(&'a Solution<D>),
}

impl<D: Device> Copy for SelfTerm<'_, D> {}
impl<D: Device> Clone for SelfTerm<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device> SelfTerm<'_, D> {
    fn problem(&self) -> &Problem<D> {
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
    /// Prescribed marginals if none.
    penalty: Option<RecordedPenalty>,
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
        Self { sinkhorn: Sinkhorn::new(), form: DivergenceForm::Full, penalty: None }
    }

    /// The form.
    #[must_use]
    pub fn form(self, form: DivergenceForm) -> Self {
        Self { form, ..self }
    }

    /// The penalty of all marginals.
    ///
    /// # Errors
    /// [`Error::Program`] for a penalty that cannot be recorded.
    pub fn penalty(self, penalty: &impl MarginalPenalty) -> Result<Self, Error> {
        Ok(Self { penalty: Some(penalty.recorded()?), ..self })
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
    /// Those of [`GeometryBuilder::geometry`], [`Problem::unbalanced`] and [`Sinkhorn::solve`].
    pub fn between<D: Device>(
        &self,
        builder: &dyn GeometryBuilder<Device = D>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
        epsilon: Epsilon,
    ) -> Result<Divergence<D>, Error> {
        let against_itself = |measure, epsilon| {
            let problem = self.problem(builder, measure, measure, cost, epsilon)?;
            let start = symmetric(problem.backend(), Start::multiscale(builder, &problem, measure, measure, cost)?)?;
            self.sinkhorn.clone().update(Update::Symmetric).run(&problem).start(start).solve()
        };
        if are_identical(source, target) {
            let solution = against_itself(source, epsilon)?;
            let values = vec![DivergenceValue::ZERO; solution.problem().columns()];
            return Ok(Divergence::new(self.form, values, solution.clone(), [solution.clone(), solution]));
        }
        let problem = self.problem(builder, source, target, cost, epsilon)?;
        let start = Start::multiscale(builder, &problem, source, target, cost)?;
        let cross = self.sinkhorn.run(&problem).start(start).solve()?;
        let shared = Epsilon::Absolute(problem.epsilon());
        let [source, target] = [source, target].map(|measure| against_itself(measure, shared));
        self.assemble(cross, source?, target?)
    }

    /// The problem between two measures, or between a measure and itself, under the penalty of this divergence.
    ///
    /// # Errors
    /// Those of [`GeometryBuilder::geometry`] and [`Problem::unbalanced`].
    pub fn problem<D: Device>(
        &self,
        builder: &dyn GeometryBuilder<Device = D>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        cost: &dyn GroundCost,
        epsilon: Epsilon,
    ) -> Result<Problem<D>, Error> {
        self.problem_on(builder.geometry(source.support(), target.support(), cost)?, source, target, epsilon)
    }

    /// [`problem`](Self::problem) on a geometry that is there.
    pub(crate) fn problem_on<D: Device>(
        &self,
        geometry: Arc<dyn Geometry<D>>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        epsilon: Epsilon,
    ) -> Result<Problem<D>, Error> {
        match &self.penalty {
            Some(penalty) => Problem::unbalanced(geometry, source, target, epsilon, penalty, penalty),
            None => Problem::new(geometry, source, target, epsilon),
        }
    }

    /// Solves a measure against itself, for use in any number of divergences. Large clouds start from their
    /// [clusters](Start::clusters).
    ///
    /// # Errors
    /// Those of [`Sinkhorn::solve`].
    pub fn self_term<D: Device>(&self, problem: &Problem<D>) -> Result<Solution<D>, Error> {
        let start = symmetric(problem.backend(), Start::clusters(problem)?)?;
        self.sinkhorn.clone().update(Update::Symmetric).run(problem).start(start).solve()
    }

    /// The divergence from its problems: the two measures against each other, and each against itself.
    ///
    /// # Errors
    /// [`Error::Disagreement`] for problems of different atoms, masses, epsilons or penalties,
    /// [`Error::MissingCapability`] for plans that are not entropic; those of [`Sinkhorn::solve`].
    pub fn solve<D: Device>(
        &self,
        cross: &Problem<D>,
        source: SelfTerm<'_, D>,
        target: SelfTerm<'_, D>,
    ) -> Result<Divergence<D>, Error> {
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

    fn assemble<D: Device>(
        &self,
        cross: Solution<D>,
        source: Solution<D>,
        target: Solution<D>,
    ) -> Result<Divergence<D>, Error> {
        let values = DivergenceValue::of_columns(self.form, &cross, [&source, &target])?;
        Ok(Divergence::new(self.form, values, cross, [source, target]))
    }
}

/// The mean of both potentials on either side: between a measure and itself they are one, and symmetric updates keep them so.
fn symmetric<D: Device>(backend: &dyn Backend<D>, start: Start<'static, D>) -> Result<Start<'static, D>, Error> {
    let Start::Clusters { mut potentials, rate } = start else { return Ok(start) };
    let mean = Program::record(|[own, other]| [(own + other) * 0.5])?;
    let operands = [Operand::Output(0), Operand::Vector(&potentials.target)];
    backend.map(&mean, &operands, &mut [&mut potentials.source])?;
    backend.copy(&potentials.source, &mut potentials.target)?;
    Ok(Start::Clusters { potentials, rate })
}

/// The column of a self term that belongs to a column of the cross problem.
fn column_of<D: Device>(problem: &Problem<D>, column: usize) -> usize {
    column.min(problem.columns() - 1)
}

/// Does a self problem speak of one side of the cross problem?
fn check_agreement<D: Device>(cross: &Problem<D>, side: Side, term: &Problem<D>) -> Result<(), Error> {
    let disagreement = |what| Err(Error::Disagreement { what });
    let own = cross.marginal(side);
    for marginal in Side::BOTH.map(|side| term.marginal(side)) {
        if marginal.len() != own.len() {
            return disagreement("the number of atoms");
        }
        // Weights that prescribed marginals rescale agree to rounding.
        let masses = (0..cross.columns()).map(|column| [own.mass(column), marginal.mass(column_of(term, column))]);
        if masses.into_iter().any(|[one, other]| (one - other).abs() > 1e-3 * one) {
            return disagreement("the masses");
        }
        if marginal.penalty().kind() != own.penalty().kind() {
            return disagreement("the penalties");
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
