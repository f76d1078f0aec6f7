//! What is asked: a geometry, two measures, epsilon and two laws, checked once.

use std::sync::Arc;

use crate::{
    backend::{Backend, Side},
    epsilon::Epsilon,
    error::Error,
    geometry::Geometry,
    kernel::{KernelOp, PlanSide, PlanView, Potentials},
    marginal::Marginal,
    measure::{Measure, Support, WeightsView},
    plan_regularizer::{Entropy, PlanKind, PlanRegularizer},
    regularizer::{Balanced, LawKind, Regularizer},
    scalar::Scalar,
};

/// Entropic transport between two measures, with a law on each marginal:
///
/// ```text
/// min_P  <P, C> + epsilon KL(P | a b^T) + sum_i a_i phi((P 1)_i / a_i) + sum_j b_j psi((P^T 1)_j / b_j)
/// ```
///
/// KL gives way to another function of the plan by
/// [`with_plan_regularizer`](Self::with_plan_regularizer).
///
/// A batch of columns is as many problems on one geometry; a measure with one histogram serves
/// all columns of the other. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Problem<B: Backend> {
    geometry: Arc<dyn Geometry<B>>,
    source: Arc<Marginal<B>>,
    target: Arc<Marginal<B>>,
    plan_regularizer: Arc<dyn PlanRegularizer>,
    epsilon: f64,
    columns: usize,
}

impl<B: Backend> Problem<B> {
    /// The balanced problem: both marginals are prescribed.
    ///
    /// # Errors
    /// Those of [`relaxed`](Self::relaxed).
    pub fn new(
        geometry: Arc<dyn Geometry<B>>,
        source: &dyn Measure<B::Elem>,
        target: &dyn Measure<B::Elem>,
        epsilon: Epsilon,
    ) -> Result<Self, Error> {
        Self::relaxed(geometry, source, target, epsilon, Arc::new(Balanced), Arc::new(Balanced))
    }

    /// The problem with a law of its own on each side.
    ///
    /// Masses that prescribed marginals force to be equal, and that differ by rounding only, are
    /// made equal: the target is rescaled to the mass of the source.
    ///
    /// # Errors
    /// [`Error::Length`] for measures that do not fit the geometry, [`Error::BatchMismatch`],
    /// [`Error::MassMismatch`], [`Error::Stranded`], [`Error::Epsilon`], [`Error::EpsilonRule`],
    /// [`Error::FixedEpsilon`], [`Error::UnsupportedSupport`] for a measure without atoms.
    pub fn relaxed(
        geometry: Arc<dyn Geometry<B>>,
        source: &dyn Measure<B::Elem>,
        target: &dyn Measure<B::Elem>,
        epsilon: Epsilon,
        source_law: Arc<dyn Regularizer>,
        target_law: Arc<dyn Regularizer>,
    ) -> Result<Self, Error> {
        let a = discrete_weights(geometry.as_ref(), source, Side::Source)?;
        let b = discrete_weights(geometry.as_ref(), target, Side::Target)?;
        let columns = common_columns(a, b)?;

        let survey = if epsilon.needs_survey() || geometry.may_forbid() { Some(geometry.survey(a, b)?) } else { None };
        let epsilon = check_epsilon::<B::Elem>(epsilon.resolve(geometry.as_ref(), survey.as_ref())?)?;
        if let Some(fixed) = geometry.fixed_epsilon().filter(|&fixed| fixed != epsilon) {
            return Err(Error::FixedEpsilon { fixed, requested: epsilon });
        }

        check_masses(a, b, columns, source_law.as_ref(), target_law.as_ref())?;
        let rescaled = equal_masses(a, b, source_law.as_ref(), target_law.as_ref());
        let b = match &rescaled {
            Some(values) => WeightsView::new(values, columns)?,
            None => b,
        };
        let backend = geometry.backend().clone();
        Ok(Self {
            source: Arc::new(Marginal::new(&backend, a, source_law)?),
            target: Arc::new(Marginal::new(&backend, b, target_law)?),
            geometry,
            plan_regularizer: Arc::new(Entropy),
            epsilon,
            columns,
        })
    }

    /// The same problem with another regularizer of the plan in the place of KL:
    ///
    /// ```text
    /// min_P  <P, C> + epsilon sum_ij a_i b_j h(P_ij / (a_i b_j)) + laws
    /// ```
    ///
    /// [`SquaredL2`](crate::SquaredL2) makes plans with exact zeros. Solvers and certificates are the same; that the
    /// geometry has such kernels is seen when one is bound.
    #[must_use]
    pub fn with_plan_regularizer(self, plan_regularizer: Arc<dyn PlanRegularizer>) -> Self {
        Self { plan_regularizer, ..self }
    }

    /// The same problem at another epsilon.
    ///
    /// # Errors
    /// [`Error::Epsilon`], [`Error::FixedEpsilon`].
    pub fn with_epsilon(&self, epsilon: f64) -> Result<Self, Error> {
        let epsilon = check_epsilon::<B::Elem>(epsilon)?;
        match self.geometry.fixed_epsilon() {
            Some(fixed) if fixed != epsilon => Err(Error::FixedEpsilon { fixed, requested: epsilon }),
            _ => Ok(Self { epsilon, ..self.clone() }),
        }
    }

    /// The kernel of this problem.
    ///
    /// # Errors
    /// Those of [`Geometry::bind`] and [`Geometry::bind_family`].
    pub fn bind(&self) -> Result<Box<dyn KernelOp<B>>, Error> {
        match self.plan_regularizer.kind() {
            PlanKind::Entropy => self.geometry.bind(self.epsilon, self.columns),
            _ => self.geometry.bind_family(&self.plan_regularizer, self.epsilon, self.columns),
        }
    }

    /// Refuses a plan that is not entropic, for what holds of entropy alone.
    ///
    /// # Errors
    /// [`Error::MissingCapability`].
    pub fn require_entropy(&self) -> Result<(), Error> {
        match self.plan_regularizer.kind() {
            PlanKind::Entropy => Ok(()),
            _ => Err(Error::MissingCapability("formula for a plan that is not entropic")),
        }
    }

    /// The regularizer of the plan: [`Entropy`] unless another was asked for.
    #[must_use]
    pub fn plan_regularizer(&self) -> &Arc<dyn PlanRegularizer> {
        &self.plan_regularizer
    }

    /// The plan of potentials of this problem, as kernels see it.
    #[must_use]
    pub fn view<'a>(&'a self, potentials: &'a Potentials<B>) -> PlanView<'a, B> {
        PlanView {
            source: PlanSide::new(&potentials.source, &self.source),
            target: PlanSide::new(&potentials.target, &self.target),
        }
    }

    /// The data of the cost.
    #[must_use]
    pub fn geometry(&self) -> &Arc<dyn Geometry<B>> {
        &self.geometry
    }

    /// The backend of the data.
    #[must_use]
    pub fn backend(&self) -> &B {
        self.geometry.backend()
    }

    /// Weights and law of one side.
    #[must_use]
    pub fn marginal(&self, side: Side) -> &Marginal<B> {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
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
        [Side::Source, Side::Target].iter().all(|&side| self.marginal(side).regularizer().kind() == LawKind::Balanced)
    }
}

/// An epsilon that the element type holds, with its reciprocal.
fn check_epsilon<T: Scalar>(epsilon: f64) -> Result<f64, Error> {
    let normal = |value: f64| (T::TINY..=T::MAX).contains(&value);
    if normal(epsilon) && normal(1.0 / epsilon) { Ok(epsilon) } else { Err(Error::Epsilon(epsilon)) }
}

/// The weights of a measure with as many atoms as the geometry has on this side.
fn discrete_weights<'a, B: Backend>(
    geometry: &dyn Geometry<B>,
    measure: &'a dyn Measure<B::Elem>,
    side: Side,
) -> Result<WeightsView<'a, B::Elem>, Error> {
    let support: Support<'_, B::Elem> = measure.support();
    let weights =
        measure.weights().ok_or(Error::UnsupportedSupport { what: "a discrete problem", found: support.kind() })?;
    let what = match side {
        Side::Source => "source weights",
        Side::Target => "target weights",
    };
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

/// The relative difference of two masses that rounding of n + m weights may explain.
fn mass_tolerance<T: Scalar>(source: WeightsView<'_, T>, target: WeightsView<'_, T>) -> f64 {
    T::EPSILON * (64.0 + 8.0 * ((source.len() + target.len()) as f64).sqrt())
}

/// Can a plan have marginals that both laws accept?
fn check_masses<T: Scalar>(
    source: WeightsView<'_, T>,
    target: WeightsView<'_, T>,
    columns: usize,
    source_law: &dyn Regularizer,
    target_law: &dyn Regularizer,
) -> Result<(), Error> {
    let tolerance = mass_tolerance(source, target);
    let ([source_low, source_high], [target_low, target_high]) =
        (source_law.density_bounds(), target_law.density_bounds());
    for column in 0..columns {
        let source_mass = source.mass(column.min(source.columns() - 1));
        let target_mass = target.mass(column.min(target.columns() - 1));
        let slack = 1.0 + tolerance;
        // No density makes mass where there is none.
        let most = |high: f64, mass: f64| if mass > 0.0 { high * mass * slack } else { 0.0 };
        if source_low * source_mass > most(target_high, target_mass)
            || target_low * target_mass > most(source_high, source_mass)
        {
            return Err(Error::MassMismatch { column, source_mass, target_mass, tolerance });
        }
    }
    Ok(())
}

/// Target weights rescaled to the mass of the source, column by column, where both marginals are
/// prescribed and the masses differ in the last digits.
fn equal_masses<T: Scalar>(
    source: WeightsView<'_, T>,
    target: WeightsView<'_, T>,
    source_law: &dyn Regularizer,
    target_law: &dyn Regularizer,
) -> Option<Vec<T>> {
    let prescribed = |law: &dyn Regularizer| law.kind() == LawKind::Balanced;
    let columns = source.columns().max(target.columns());
    let pair = |column: usize| (column.min(source.columns() - 1), column.min(target.columns() - 1));
    let differs = |column: usize| {
        let (of_source, of_target) = pair(column);
        source.mass(of_source) != target.mass(of_target)
    };
    if !(prescribed(source_law) && prescribed(target_law) && (0..columns).any(differs)) {
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
