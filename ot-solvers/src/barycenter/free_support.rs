//! Barycenters of clouds whose points move (Cuturi, Doucet 2014).
//!
//! ```text
//! min over x, b   F(x, b) = sum_k lambda_k W_2^2(a_k, sum_j b_j delta_(x_j))
//! ```
//!
//! For given plans P_k the best points are the means of what each atom is sent to,
//!
//! ```text
//! x_j <- sum_k lambda_k sum_i (P_k)_ji y_ki / b_j          F falls by at least sum_j b_j |x_j - x'_j|^2
//! ```
//!
//! and for given points plans are transport again. So the objective never rises. With one input and free weights this is
//! k-means (Lloyd 1982).

mod inner;
mod weights;

use std::{ops::ControlFlow, sync::Arc};

use ot_core::{
    Backend, Error, GeometryBuilder, Host, HostBackend, Observer, Phase, PointCloud, Progress, Scalar, Solution, Status,
};

use self::{inner::Inner, weights::WeightSearch};
use super::require_mass;
use crate::{history::History, limits::Limits};

/// How the plans between the barycenter and its inputs are found.
#[derive(Copy, Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum InnerTransport {
    /// Exactly, each solve guided by the potentials of the last.
    #[default]
    Exact,
    /// With entropy epsilon KL(P | a b^T), in the units of squared distances. The points shrink towards means.
    Entropic(f64),
}

/// Settings of the barycenter of clouds with free points, for squared distances.
///
/// The problem is not convex: the answer is a stationary point that depends on the start, at which each point is the mean of
/// what it is sent to. With exact transport the plans are vertices, and the iteration ends after finitely many steps.
///
/// Cost: one transport for each input an iteration, and as many for each trial of weights.
///
/// ```
/// use ot_core::PointCloud;
/// use ot_cpu::CpuBackend;
/// use ot_solvers::FreeSupport;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 1.0], 1)?;
/// let b = PointCloud::uniform(vec![4.0, 7.0], 1)?;
/// let start = PointCloud::uniform(vec![2.0, 2.5], 1)?;
/// let solution = FreeSupport::new().solve(&backend, &[&a, &b], &[0.5, 0.5], &start)?;
/// assert!(solution.status().is_converged());
/// // On the line quantiles are averaged.
/// assert_eq!(solution.barycenter().points().coordinates(), [2.0, 4.0]);
/// # Ok::<(), ot_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FreeSupport {
    limits: Limits,
    inner: InnerTransport,
    inner_tolerance: Option<f64>,
    moves_weights: bool,
}

impl Default for FreeSupport {
    fn default() -> Self {
        Self::new()
    }
}

impl FreeSupport {
    /// Exact transport, weights as they are, to a [residual](FreeSupportSolution::residual) of 1e-6, in at most 100 iterations.
    #[must_use]
    pub fn new() -> Self {
        let limits = Limits::new("max_iterations", 100).tolerance(1e-6);
        Self { limits, inner: InnerTransport::Exact, inner_tolerance: None, moves_weights: false }
    }

    /// How plans are found.
    #[must_use]
    pub fn inner(self, inner: InnerTransport) -> Self {
        Self { inner, ..self }
    }

    /// The marginal error of entropic transports, where the default of [`Sinkhorn`](crate::Sinkhorn) is not enough: for derivatives, say.
    #[must_use]
    pub fn inner_tolerance(self, inner_tolerance: f64) -> Self {
        Self { inner_tolerance: Some(inner_tolerance), ..self }
    }

    /// Are the weights b free, too? With one input each atom takes the mass that is nearest to it, which is k-means. With
    /// several they take steps of mirror descent along sum_k lambda_k f_k, the potentials of the barycenter, that lower the
    /// objective.
    #[must_use]
    pub fn free_weights(self, moves_weights: bool) -> Self {
        Self { moves_weights, ..self }
    }

    /// The [residual](FreeSupportSolution::residual) to reach.
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { limits: self.limits.tolerance(tolerance), ..self }
    }

    /// The most iterations.
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { limits: self.limits.most(max_iterations), ..self }
    }

    /// Solves from first points and weights; the latter count relative to their sum.
    ///
    /// # Errors
    /// Those of [`FreeSupportRun::solve`].
    pub fn solve<T: Scalar, G: GeometryBuilder<Device = Host<T>> + HostBackend<T>>(
        &self,
        backend: &G,
        inputs: &[&PointCloud<'_, T>],
        weights: &[f64],
        start: &PointCloud<'_, T>,
    ) -> Result<FreeSupportSolution<T>, Error> {
        self.run(backend, inputs, weights, start).solve()
    }

    /// A run to which an observer can be given.
    #[must_use]
    pub fn run<'a, T: Scalar, G: GeometryBuilder<Device = Host<T>> + HostBackend<T>>(
        &'a self,
        backend: &'a G,
        inputs: &'a [&'a PointCloud<'a, T>],
        weights: &'a [f64],
        start: &'a PointCloud<'a, T>,
    ) -> FreeSupportRun<'a, T, G> {
        FreeSupportRun { settings: self, backend, inputs, weights, start, observer: None }
    }
}

/// One run of [`FreeSupport`].
pub struct FreeSupportRun<'a, T: Scalar, G> {
    settings: &'a FreeSupport,
    backend: &'a G,
    inputs: &'a [&'a PointCloud<'a, T>],
    weights: &'a [f64],
    start: &'a PointCloud<'a, T>,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, T: Scalar, G: GeometryBuilder<Device = Host<T>> + HostBackend<T>> FreeSupportRun<'a, T, G> {
    /// The observer of every iteration; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::EmptyMeasure`] without inputs, [`Error::Length`] for weights of another number, [`Error::Weight`],
    /// [`Error::Mass`], [`Error::MassUnderflow`] for masses near the smallest numbers, [`Error::DimensionMismatch`], [`Error::MassMismatch`] for inputs of different mass,
    /// [`Error::BatchMismatch`] for batches, [`Error::Parameter`] for settings out of range; those of the solver of the plans.
    pub fn solve(self) -> Result<FreeSupportSolution<T>, Error> {
        self.settings.limits.check()?;
        let lambda = self.check()?;
        let backend: &dyn Backend<Host<T>> = self.backend;
        backend.scope(|| self.solve_inside(&lambda))
    }

    /// Checks what is asked, and gives lambda relative to its sum.
    fn check(&self) -> Result<Vec<f64>, Error> {
        if self.inputs.is_empty() {
            return Err(Error::EmptyMeasure);
        }
        if self.weights.len() != self.inputs.len() {
            let (expected, found) = (self.inputs.len(), self.weights.len());
            return Err(Error::Length { what: "weights of the inputs", expected, found });
        }
        ot_core::WeightsView::new(self.weights, 1)?.validate()?;
        if let InnerTransport::Entropic(epsilon) = self.settings.inner
            && !(epsilon.is_finite() && epsilon > 0.0)
        {
            return Err(Error::Epsilon(epsilon));
        }
        let dimension = self.start.points().dimension();
        for input in self.inputs {
            if input.points().dimension() != dimension {
                let (source_dimension, target_dimension) = (dimension, input.points().dimension());
                return Err(Error::DimensionMismatch { source_dimension, target_dimension });
            }
            let (source_columns, target_columns) =
                (self.start.weights_view().columns(), input.weights_view().columns());
            if source_columns != 1 || target_columns != 1 {
                return Err(Error::BatchMismatch { source_columns, target_columns });
            }
            require_mass::<T>(0, input.weights_view().mass(0), input.points().len().max(self.start.points().len()))?;
        }
        let total: f64 = self.weights.iter().sum();
        Ok(self.weights.iter().map(|weight| weight / total).collect())
    }

    fn solve_inside(self, lambda: &[f64]) -> Result<FreeSupportSolution<T>, Error> {
        let Self { settings, backend, inputs, start, observer, .. } = self;
        let (dimension, mass) = (start.points().dimension(), inputs[0].weights_view().mass(0));
        let mut cloud = Cloud {
            points: start.points().coordinates().iter().map(|x| x.to_f64()).collect(),
            weights: start.weights_view().values().iter().map(|b| b.to_f64()).collect(),
            dimension,
        };
        let scale = mass / start.weights_view().mass(0);
        cloud.weights.iter_mut().for_each(|weight| *weight *= scale);

        let FreeSupport { inner: transport, inner_tolerance, .. } = *settings;
        let inner = Inner { backend, inputs, lambda, transport, inner_tolerance };
        let spread = inner.spread();
        let tolerance = settings.limits.tolerance_or(1e-6);
        let mut search = settings.moves_weights.then(WeightSearch::new);
        let mut history = History::new(observer);
        let mut solves = inner.solve(&cloud, None)?;
        let (mut values, mut iterations) = (vec![solves.value], 0);
        let mut residual = solves.residual(&cloud, spread);
        let status = loop {
            let progress = Progress {
                of: Some(settings.limits.most),
                dual: Some(solves.value - solves.gap),
                gap: Some(solves.gap),
                ..Progress::new(Phase::Iterations, iterations)
            };
            let is_cancelled = matches!(history.tell(progress), ControlFlow::Break(()));
            if is_cancelled {
                break Status::Cancelled;
            }
            let rests = search.as_ref().is_none_or(WeightSearch::rests);
            if residual <= tolerance && rests {
                break solves.status;
            }
            if iterations == settings.limits.most {
                break Status::IterationLimit;
            }
            iterations += 1;
            let mut next = solves.moved(&cloud);
            let mut found = inner.solve(&next, Some(&solves))?;
            if let Some(search) = &mut search {
                (next, found) = search.step(&inner, next, found, tolerance)?;
            }
            // Rounding, or inner solves to a tolerance: what does not fall any more has come to rest.
            if found.value > solves.value {
                break if residual <= tolerance { solves.status } else { Status::Stalled };
            }
            values.push(found.value);
            (cloud, solves) = (next, found);
            residual = solves.residual(&cloud, spread);
        };
        Ok(FreeSupportSolution {
            barycenter: cloud.narrowed()?,
            value: solves.value,
            gap: solves.gap,
            residual,
            values,
            status,
            iterations,
            history: history.into_told(),
            transports: solves.transports(),
        })
    }
}

/// Points and weights in f64.
#[derive(Clone, Debug)]
struct Cloud {
    points: Vec<f64>,
    weights: Vec<f64>,
    dimension: usize,
}

impl Cloud {
    fn narrowed<T: Scalar>(&self) -> Result<PointCloud<'static, T>, Error> {
        let narrow = |values: &[f64]| values.iter().map(|value| T::from_f64(*value)).collect::<Vec<_>>();
        PointCloud::new(narrow(&self.points), self.dimension, narrow(&self.weights))
    }
}

/// A barycenter of clouds, and how well it is known.
#[derive(Clone, Debug)]
pub struct FreeSupportSolution<T: Scalar> {
    barycenter: PointCloud<'static, T>,
    value: f64,
    gap: f64,
    residual: f64,
    values: Vec<f64>,
    status: Status,
    iterations: usize,
    history: Vec<Progress>,
    transports: Vec<Arc<Solution<Host<T>>>>,
}

impl<T: Scalar> FreeSupportSolution<T> {
    /// The barycenter.
    #[must_use]
    pub fn barycenter(&self) -> &PointCloud<'static, T> {
        &self.barycenter
    }

    /// sum_k lambda_k of the primal values of the transports to the inputs, with lambda relative to its sum: an upper bound of the
    /// objective at these points and weights, and of its minimum.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.value
    }

    /// By how much the objective at these points and weights may lie below [`value`](Self::value), as the certificates of the
    /// transports tell. It says nothing of other points.
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.gap
    }

    /// How far the points are from the means of what they are sent to: the root of sum_j b_j |x_j - x'_j|^2, relative to the root of
    /// the mean variance of the inputs.
    #[must_use]
    pub fn residual(&self) -> f64 {
        self.residual
    }

    /// The objective at each iterate. It never rises.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Converged, out of iterations, cancelled, or why a transport failed.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// The entropic transports from the barycenter to the inputs, one for each; none where plans are exact.
    #[must_use]
    pub fn transports(&self) -> &[Arc<Solution<Host<T>>>] {
        &self.transports
    }

    /// Iterations done.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// What observers were told.
    #[must_use]
    pub fn history(&self) -> &[Progress] {
        &self.history
    }
}
