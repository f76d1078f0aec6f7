//! What is asked: a geometry, two measures, epsilon and two penalties, checked once.

pub(crate) mod components;

use std::sync::Arc;

use crate::{
    backend::{Backend, Device},
    epsilon::{Epsilon, check_epsilon},
    error::Error,
    kernel::{Geometry, KernelOp, PlanSide, PlanView, Potentials},
    marginal::Marginal,
    measure::{Measure, Support, WeightsView},
    penalty::{Balanced, MarginalPenalty, PenaltyKind, RecordedPenalty},
    power_of_two::product,
    regularizer::{Entropy, RecordedRegularizer, Regularizer, RegularizerKind},
    scalar::Scalar,
    side::Side,
};

/// Regularised transport between two measures, with a penalty on each marginal:
///
/// ```text
/// min_P  <P, C> + epsilon KL(P | a b^T) + sum_i a_i phi((P 1)_i / a_i) + sum_j b_j psi((P^T 1)_j / b_j)
/// ```
///
/// [`with_regularizer`](Self::with_regularizer) puts another function of the plan in the place of KL.
///
/// A batch of columns is as many problems on one geometry; a measure with one histogram serves
/// all columns of the other. Cloning is cheap.
#[derive(Debug)]
pub struct Problem<D: Device> {
    geometry: Arc<dyn Geometry<D>>,
    backend: Arc<dyn Backend<D>>,
    source: Arc<Marginal<D>>,
    target: Arc<Marginal<D>>,
    regularizer: RecordedRegularizer,
    epsilon: f64,
    columns: usize,
}

impl<D: Device> Problem<D> {
    /// The balanced problem: both marginals are prescribed.
    ///
    /// # Errors
    /// Those of [`unbalanced`](Self::unbalanced).
    pub fn new(
        geometry: Arc<dyn Geometry<D>>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        epsilon: Epsilon,
    ) -> Result<Self, Error> {
        Self::unbalanced(geometry, source, target, epsilon, &Balanced, &Balanced)
    }

    /// The problem with a penalty of its own on each side.
    ///
    /// Masses that prescribed marginals force to be equal, and that differ by rounding only, are
    /// made equal: the target is rescaled to the mass of the source.
    ///
    /// # Errors
    /// [`Error::Length`] for measures that do not fit the geometry, [`Error::BatchMismatch`],
    /// [`Error::MassMismatch`], [`Error::SumOverflow`] for a mass so large that the smallest density of the element type counts
    /// beside one over it, [`Error::Stranded`], [`Error::Epsilon`], [`Error::EpsilonRule`], [`Error::FixedEpsilon`],
    /// [`Error::UnsupportedSupport`] for a measure without atoms, [`Error::Program`] for a penalty that cannot be recorded.
    pub fn unbalanced(
        geometry: Arc<dyn Geometry<D>>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        epsilon: Epsilon,
        source_penalty: &impl MarginalPenalty,
        target_penalty: &impl MarginalPenalty,
    ) -> Result<Self, Error> {
        Self::recorded(geometry, source, target, epsilon, [source_penalty.recorded()?, target_penalty.recorded()?])
    }

    /// The problem with penalties that have been recorded.
    fn recorded(
        geometry: Arc<dyn Geometry<D>>,
        source: &dyn Measure<D::Elem>,
        target: &dyn Measure<D::Elem>,
        epsilon: Epsilon,
        penalties: [RecordedPenalty; 2],
    ) -> Result<Self, Error> {
        let a = discrete_weights(geometry.as_ref(), source, Side::Source)?;
        let b = discrete_weights(geometry.as_ref(), target, Side::Target)?;
        let columns = common_columns(a, b)?;

        let statistics = match epsilon.needs_statistics() || geometry.may_forbid() && geometry.components().is_none() {
            true => Some(geometry.cost_statistics(a, b)?),
            false => None,
        };
        if let Some(components) = geometry.components() {
            components::check_partners(components, [a, b], columns)?;
        }
        let epsilon = check_epsilon::<D::Elem>(epsilon.resolve(geometry.as_ref(), statistics.as_ref())?)?;
        if let Some(fixed) = geometry.fixed_epsilon().filter(|&fixed| fixed != epsilon) {
            return Err(Error::FixedEpsilon { fixed, requested: epsilon });
        }

        let tolerance = mass_tolerance::<D::Elem>(a.len() + b.len());
        for column in 0..columns {
            let masses = [a, b].map(|weights| weights.mass(column.min(weights.columns() - 1)));
            check_masses(column, masses, penalties.each_ref(), tolerance)?;
        }
        for weights in [a, b] {
            check_densities(weights)?;
        }
        let rescaled = equal_masses(a, b, &penalties);
        let b = match &rescaled {
            Some(values) => WeightsView::new(values, columns)?,
            None => b,
        };
        let (backend, [source_penalty, target_penalty]) = (geometry.backend(), penalties);
        Ok(Self {
            source: Arc::new(Marginal::new(backend.as_ref(), a, source_penalty)?),
            target: Arc::new(Marginal::new(backend.as_ref(), b, target_penalty)?),
            geometry,
            backend,
            regularizer: Entropy.recorded()?,
            epsilon,
            columns,
        })
    }

    /// The same problem with another regularizer of the plan in the place of KL:
    ///
    /// ```text
    /// min_P  <P, C> + epsilon sum_ij a_i b_j h(P_ij / (a_i b_j)) + penalties
    /// ```
    ///
    /// [`SquaredL2`](crate::SquaredL2) makes plans with exact zeros. Solvers and certificates are the same; whether the
    /// geometry has such kernels is seen when one is bound.
    ///
    /// # Errors
    /// [`Error::Program`] for a regularizer that cannot be recorded.
    pub fn with_regularizer(self, regularizer: &impl Regularizer) -> Result<Self, Error> {
        Ok(Self { regularizer: regularizer.recorded()?, ..self })
    }

    /// The same problem with other weights on one side, as many as before. Where both marginals are prescribed and the
    /// masses differ by rounding only, these weights are rescaled.
    ///
    /// # Errors
    /// [`Error::Length`], [`Error::BatchMismatch`], [`Error::MassMismatch`], [`Error::OutOfMemory`], a failure of the
    /// device.
    pub fn with_weights(&self, side: Side, weights: WeightsView<'_, D::Elem>) -> Result<Self, Error> {
        let (own, other) = (self.marginal(side), self.marginal(side.opposite()));
        if weights.len() != own.len() {
            let what = side.of(["source weights", "target weights"]);
            return Err(Error::Length { what, expected: own.len(), found: weights.len() });
        }
        if ![1, self.columns].contains(&weights.columns()) {
            let [source_columns, target_columns] =
                side.of([[weights.columns(), self.columns], [self.columns, weights.columns()]]);
            return Err(Error::BatchMismatch { source_columns, target_columns });
        }
        let tolerance = mass_tolerance::<D::Elem>(own.len() + other.len());
        let mass = |column: usize| weights.mass(column.min(weights.columns() - 1));
        let penalties = Side::BOTH.map(|side| self.marginal(side).penalty());
        for column in 0..self.columns {
            let [own, other] = [mass(column), other.mass(column)];
            check_masses(column, side.of([[own, other], [other, own]]), penalties, tolerance)?;
        }
        let rescaled = self.is_balanced().then(|| {
            let scaled = |column: usize| {
                let ratio = other.mass(column) / mass(column);
                let own = weights.column(column.min(weights.columns() - 1)).iter();
                own.map(move |&weight| D::Elem::from_f64(weight.to_f64() * if ratio.is_finite() { ratio } else { 1.0 }))
            };
            (0..self.columns).flat_map(scaled).collect::<Vec<_>>()
        });
        let weights = match &rescaled {
            Some(values) => WeightsView::new(values, self.columns)?,
            None => weights,
        };
        let marginal = Arc::new(Marginal::new(self.backend(), weights, own.penalty().clone())?);
        let mut changed = self.clone();
        *side.of([&mut changed.source, &mut changed.target]) = marginal;
        Ok(changed)
    }

    /// Does another problem differ in nothing but its weights? Both are of entropy, on one geometry, at one epsilon, with the
    /// same penalties and as many columns: what [`side_by_side`](Self::side_by_side) asks for.
    #[must_use]
    pub fn can_stand_beside(&self, other: &Self) -> bool {
        let same_penalty = |side: Side| self.marginal(side).penalty() == other.marginal(side).penalty();
        Arc::ptr_eq(&self.geometry, &other.geometry)
            && [self, other].iter().all(|problem| problem.regularizer.kind() == RegularizerKind::Entropy)
            && (self.epsilon, self.columns) == (other.epsilon, other.columns)
            && Side::BOTH.into_iter().all(same_penalty)
    }

    /// Several problems as one batch: the columns of the first, then those of the second, and so on. Its kernel reads the data
    /// of the cost once for all. Operations go through the backend of the first.
    ///
    /// A side whose problems all have the same single histogram keeps it as the only one. Otherwise weights go through the host.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] for no problems; [`Error::Parameter`] for problems that cannot [stand beside](Self::can_stand_beside)
    /// each other; [`Error::OutOfMemory`], a failure of the device.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use ot_conformance::ReferenceBackend;
    /// use ot_core::{Epsilon, Problem, ReferenceGeometry, PointCloud, PointsView, SqEuclidean, Support};
    ///
    /// let line = [0.0, 1.0, 2.0];
    /// let points = Support::Points(PointsView::new(&line, 1)?);
    /// let geometry = ReferenceGeometry::new(Arc::new(ReferenceBackend::<f64>::default()), points, points, &SqEuclidean)?;
    /// let (geometry, uniform) = (Arc::new(geometry), PointCloud::uniform(&line, 1)?);
    /// let problem = |weights: [f64; 3]| {
    ///     let source = PointCloud::new(&line, 1, weights.to_vec())?.normalized();
    ///     Problem::new(geometry.clone(), &source, &uniform, Epsilon::Absolute(0.5))
    /// };
    /// let (left, right) = (problem([2.0, 1.0, 1.0])?, problem([1.0, 1.0, 2.0])?);
    /// assert!(left.can_stand_beside(&right));
    /// assert_eq!(Problem::side_by_side(&[&left, &right])?.columns(), 2);
    /// # Ok::<(), ot_core::Error>(())
    /// ```
    pub fn side_by_side(problems: &[&Self]) -> Result<Self, Error> {
        let (&first, others) = problems.split_first().ok_or(Error::EmptyBatch)?;
        if others.is_empty() {
            return Ok(first.clone());
        }
        if let Some(index) = others.iter().position(|other| !first.can_stand_beside(other)) {
            return Err(Error::Parameter {
                name: "the index of a problem beside the first",
                value: index as f64 + 1.0,
                expected: "one that differs in weights alone",
            });
        }
        let columns = first.columns * problems.len();
        let beside = |side: Side| -> Result<Arc<Marginal<D>>, Error> {
            let weights: Vec<&D::Vector> = problems.iter().map(|problem| problem.marginal(side).weights()).collect();
            let (backend, own, len) = (first.backend(), first.marginal(side), first.marginal(side).len());
            let weights = backend.download(&weights)?;
            if weights.iter().all(|other| other.len() == len && *other == weights[0]) {
                return Ok(Arc::clone(side.of([&first.source, &first.target])));
            }
            let own_columns = |weights: &Vec<D::Elem>| weights.repeat(first.columns * len / weights.len());
            let all: Vec<D::Elem> = weights.iter().flat_map(own_columns).collect();
            Ok(Arc::new(Marginal::new(backend, WeightsView::new(&all, columns)?, own.penalty().clone())?))
        };
        Ok(Self { source: beside(Side::Source)?, target: beside(Side::Target)?, columns, ..first.clone() })
    }

    /// The same problem, whose operations go through another backend of the same device: one that counts or checks what
    /// is asked of the geometry's own.
    #[must_use]
    pub fn with_backend(self, backend: Arc<dyn Backend<D>>) -> Self {
        Self { backend, ..self }
    }

    /// The mean of the masses of both sides of a column, which marginal errors are relative to; never zero.
    #[must_use]
    pub fn mean_mass(&self, column: usize) -> f64 {
        let [a, b] = Side::BOTH.map(|side| self.marginal(side).mass(column));
        (a / 2.0 + b / 2.0).max(f64::MIN_POSITIVE)
    }

    /// The same problem at another epsilon.
    ///
    /// # Errors
    /// [`Error::Epsilon`], [`Error::FixedEpsilon`].
    pub fn with_epsilon(&self, epsilon: f64) -> Result<Self, Error> {
        let epsilon = check_epsilon::<D::Elem>(epsilon)?;
        match self.geometry.fixed_epsilon() {
            Some(fixed) if fixed != epsilon => Err(Error::FixedEpsilon { fixed, requested: epsilon }),
            _ => Ok(Self { epsilon, ..self.clone() }),
        }
    }

    /// The kernel of this problem.
    ///
    /// # Errors
    /// [`Error::SumOverflow`] for masses whose product f64 does not hold, by itself or times epsilon, where it is a part of the
    /// objective: of entropy, which has a price for no mass. Those of [`Geometry::bind`].
    pub fn bind(&self) -> Result<Box<dyn KernelOp<D>>, Error> {
        let at_zero = self.regularizer.value_at_zero().abs();
        let value = |column: usize| {
            let [a, b] = Side::BOTH.map(|side| self.marginal(side).mass(column));
            product([a, b, self.epsilon.max(1.0), at_zero])
        };
        if at_zero > 0.0 && !(0..self.columns).all(|column| value(column).is_finite()) {
            return Err(Error::SumOverflow { what: "the product of the masses, times epsilon,", element: f64::NAME });
        }
        self.geometry.bind(&self.regularizer, self.epsilon, self.columns)
    }

    /// Refuses a problem whose regularizer is not entropy, for formulas that hold of entropy alone.
    ///
    /// # Errors
    /// [`Error::MissingCapability`].
    pub fn require_entropy(&self) -> Result<(), Error> {
        match self.regularizer.kind() {
            RegularizerKind::Entropy => Ok(()),
            _ => Err(Error::MissingCapability("formula for another regularizer than entropy")),
        }
    }

    /// Refuses prescribed marginals that no plan joins, because a connected component of the support holds different masses
    /// of them. For solvers of balanced problems; the reference of a barycenter is no marginal.
    ///
    /// # Errors
    /// [`Error::ComponentMass`].
    pub fn require_equal_components(&self) -> Result<(), Error> {
        match self.geometry.components() {
            Some(components) if self.is_balanced() && components.count() > 1 => {
                components::check_masses(components, [(self, Side::Source), (self, Side::Target)], self.columns)
            }
            _ => Ok(()),
        }
    }

    /// The regularizer of the plan: [`Entropy`] unless another was asked for.
    #[must_use]
    pub fn regularizer(&self) -> &RecordedRegularizer {
        &self.regularizer
    }

    /// The plan of potentials of this problem, as kernels see it.
    #[must_use]
    pub fn view<'a>(&'a self, potentials: &'a Potentials<D>) -> PlanView<'a, D> {
        PlanView {
            source: PlanSide::new(&potentials.source, self.source.device_weights()),
            target: PlanSide::new(&potentials.target, self.target.device_weights()),
        }
    }

    /// The data of the cost.
    #[must_use]
    pub fn geometry(&self) -> &Arc<dyn Geometry<D>> {
        &self.geometry
    }

    /// The backend that the operations of a solve go through.
    #[must_use]
    pub fn backend(&self) -> &dyn Backend<D> {
        self.backend.as_ref()
    }

    /// Weights and penalty of one side.
    #[must_use]
    pub fn marginal(&self, side: Side) -> &Marginal<D> {
        side.of([&self.source, &self.target])
    }

    /// The epsilon that the rule resolved to.
    #[must_use]
    pub fn epsilon(&self) -> f64 {
        self.epsilon
    }

    /// Number of problems in the batch.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Are both marginals prescribed?
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        Side::BOTH.iter().all(|&side| self.marginal(side).penalty().kind() == PenaltyKind::Balanced)
    }
}

impl<D: Device> Clone for Problem<D> {
    fn clone(&self) -> Self {
        Self {
            geometry: Arc::clone(&self.geometry),
            backend: Arc::clone(&self.backend),
            source: Arc::clone(&self.source),
            target: Arc::clone(&self.target),
            regularizer: self.regularizer.clone(),
            epsilon: self.epsilon,
            columns: self.columns,
        }
    }
}

/// The weights of a measure with as many atoms as the geometry has on this side.
fn discrete_weights<'a, D: Device>(
    geometry: &dyn Geometry<D>,
    measure: &'a dyn Measure<D::Elem>,
    side: Side,
) -> Result<WeightsView<'a, D::Elem>, Error> {
    let support: Support<'_, D::Elem> = measure.support();
    let weights =
        measure.weights().ok_or(Error::UnsupportedSupport { what: "a discrete problem", found: support.kind() })?;
    let what = side.of(["source weights", "target weights"]);
    match (geometry.len(side), weights.len()) {
        (expected, found) if expected == found => Ok(weights),
        (expected, found) => Err(Error::Length { what, expected, found }),
    }
}

/// The number of problems, where a single histogram serves all columns of the other side.
fn common_columns<T: Scalar>(source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> Result<usize, Error> {
    match (source.columns(), target.columns()) {
        (0, _) | (_, 0) => Err(Error::EmptyBatch),
        (1, columns) | (columns, 1) => Ok(columns),
        (source_columns, target_columns) if source_columns == target_columns => Ok(source_columns),
        (source_columns, target_columns) => Err(Error::BatchMismatch { source_columns, target_columns }),
    }
}

/// The relative difference of two masses that rounding of this many weights may explain.
fn mass_tolerance<T: Scalar>(weights: usize) -> f64 {
    T::EPSILON * (64.0 + 8.0 * (weights as f64).sqrt())
}

/// Can a plan have marginals that both penalties accept, between these masses?
fn check_masses(
    column: usize,
    [source_mass, target_mass]: [f64; 2],
    penalties: [&RecordedPenalty; 2],
    tolerance: f64,
) -> Result<(), Error> {
    let [[source_low, source_high], [target_low, target_high]] = penalties.map(RecordedPenalty::density_bounds);
    let slack = 1.0 + tolerance;
    // No density makes mass where there is none.
    let most = |high: f64, mass: f64| if mass > 0.0 { high * mass * slack } else { 0.0 };
    if source_low * source_mass > most(target_high, target_mass)
        || target_low * target_mass > most(source_high, source_mass)
    {
        return Err(Error::MassMismatch { column, source_mass, target_mass, tolerance });
    }
    Ok(())
}

/// Is what underflows of a density nothing beside one over the mass?
fn check_densities<T: Scalar>(weights: WeightsView<'_, T>) -> Result<(), Error> {
    match (0..weights.columns()).all(|column| weights.mass(column) <= T::EPSILON / T::TINY) {
        true => Ok(()),
        false => Err(Error::SumOverflow { what: "a mass over the smallest number", element: T::NAME }),
    }
}

/// Target weights rescaled to the mass of the source, column by column, where both marginals are
/// prescribed and the masses differ in the last digits.
fn equal_masses<T: Scalar>(
    source: WeightsView<'_, T>,
    target: WeightsView<'_, T>,
    penalties: &[RecordedPenalty; 2],
) -> Option<Vec<T>> {
    let prescribed = penalties.iter().all(|penalty| penalty.kind() == PenaltyKind::Balanced);
    let columns = source.columns().max(target.columns());
    let pair = |column: usize| (column.min(source.columns() - 1), column.min(target.columns() - 1));
    let differs = |column: usize| {
        let (of_source, of_target) = pair(column);
        source.mass(of_source) != target.mass(of_target)
    };
    if !(prescribed && (0..columns).any(differs)) {
        return None;
    }
    let mut values = Vec::with_capacity(target.len() * columns);
    for column in 0..columns {
        let (of_source, of_target) = pair(column);
        let ratio = source.mass(of_source) / target.mass(of_target);
        values.extend(target.column(of_target).iter().map(|&weight| T::from_f64(weight.to_f64() * ratio)));
    }
    Some(values)
}
