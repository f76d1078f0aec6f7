//! Transport between two measures, from what is asked to what is answered.

use std::{fmt, ops::ControlFlow, sync::Arc};

use ot_core::{
    Device, Elem, Epsilon, Error, Geometry, GeometryBuilder, GroundCost, Host, HostBackend, MarginalPenalty, Measure,
    Observer, Problem, RecordedPenalty, Scalar, Solution, Status, Support,
};

use crate::{
    entropic::{Sinkhorn, Start},
    exact::{ExactSolution, ExactTransport},
};

/// Who lends a backend for a solve: a reference to one, or whoever makes one when it is asked for.
pub trait BackendSource {
    /// The backend, which builds geometries.
    type Builder: GeometryBuilder;

    /// Runs work with the backend.
    ///
    /// # Errors
    /// A backend that cannot be made; what the work returns.
    fn lend<R>(&self, work: impl FnOnce(&Self::Builder) -> Result<R, Error>) -> Result<R, Error>;
}

impl<G: GeometryBuilder> BackendSource for &G {
    type Builder = G;

    fn lend<R>(&self, work: impl FnOnce(&G) -> Result<R, Error>) -> Result<R, Error> {
        work(self)
    }
}

/// The device of a source of backends, and its element type.
type DeviceOf<S> = <<S as BackendSource>::Builder as GeometryBuilder>::Device;
type ElementOf<S> = Elem<<S as BackendSource>::Builder>;

/// Transport between two measures: a question with settings, asked by [`solve`](Self::solve), [`exact`](Self::exact) or
/// [`auto`](Self::auto). What was not set has its default, and no setting costs another its quality: large clouds start from
/// their [clusters](Start::multiscale) whatever the tolerance.
///
/// ```
/// use ot_core::{Epsilon, Kl, PointCloud, SqEuclidean};
/// use ot_cpu::CpuBackend;
/// use ot_solvers::front::Transport;
///
/// let backend = CpuBackend::<f64>::new(1)?;
/// let a = PointCloud::uniform(vec![0.0, 1.0], 1)?;
/// let b = PointCloud::uniform(vec![1.0, 3.0], 1)?;
/// let ask = || Transport::between(&a, &b, &SqEuclidean, &backend);
///
/// assert_eq!(ask().exact()?.distance(2.0), Some(2.5_f64.sqrt()));
/// let entropic = ask().epsilon(Epsilon::Absolute(1.0)).tolerance(1e-9).solve()?;
/// assert!(entropic.status().is_converged() && entropic.transport_cost() > Some(2.5));
/// let unbalanced = ask().epsilon(Epsilon::Absolute(0.1)).penalty(&Kl::new(1.0)?).solve()?;
/// assert!(unbalanced.certificate().mass < 1.0);
/// # Ok::<(), ot_core::Error>(())
/// ```
pub struct Transport<'a, S: BackendSource> {
    backend: S,
    source: &'a dyn Measure<ElementOf<S>>,
    target: &'a dyn Measure<ElementOf<S>>,
    cost: &'a dyn GroundCost,
    epsilon: Option<Epsilon>,
    /// Prescribed marginals if none; what could not be recorded is told by the solve.
    penalties: Option<Result<[RecordedPenalty; 2], Error>>,
    sinkhorn: Sinkhorn,
    start: Option<Start<'a, DeviceOf<S>>>,
    observer: Option<&'a mut dyn Observer>,
}

impl<'a, S: BackendSource> Transport<'a, S> {
    /// Balanced transport on a backend, or on what lends one.
    #[must_use]
    pub fn between(
        source: &'a dyn Measure<ElementOf<S>>,
        target: &'a dyn Measure<ElementOf<S>>,
        cost: &'a dyn GroundCost,
        backend: S,
    ) -> Self {
        Self {
            backend,
            source,
            target,
            cost,
            epsilon: None,
            penalties: None,
            sinkhorn: Sinkhorn::new(),
            start: None,
            observer: None,
        }
    }

    /// The strength of the entropy, [`Epsilon::default`] if it is not set.
    #[must_use]
    pub fn epsilon(self, epsilon: Epsilon) -> Self {
        Self { epsilon: Some(epsilon), ..self }
    }

    /// The marginal error that counts as converged: see [`Sinkhorn::tolerance`].
    #[must_use]
    pub fn tolerance(self, tolerance: f64) -> Self {
        Self { sinkhorn: self.sinkhorn.tolerance(tolerance), ..self }
    }

    /// The most iterations: see [`Sinkhorn::max_iterations`].
    #[must_use]
    pub fn max_iterations(self, max_iterations: usize) -> Self {
        Self { sinkhorn: self.sinkhorn.max_iterations(max_iterations), ..self }
    }

    /// All settings of the iteration at once.
    #[must_use]
    pub fn sinkhorn(self, sinkhorn: Sinkhorn) -> Self {
        Self { sinkhorn, ..self }
    }

    /// One penalty of both marginals, in the place of prescribed ones.
    #[must_use]
    pub fn penalty(self, penalty: &impl MarginalPenalty) -> Self {
        self.penalties(penalty, penalty)
    }

    /// A penalty of each marginal.
    #[must_use]
    pub fn penalties(self, of_source: &impl MarginalPenalty, of_target: &impl MarginalPenalty) -> Self {
        let recorded = || Ok::<_, Error>([of_source.recorded()?, of_target.recorded()?]);
        Self { penalties: Some(recorded()), ..self }
    }

    /// The potentials to start from, in the place of those of clusters: a [warm start](Start::Warm), say.
    #[must_use]
    pub fn start(self, start: Start<'a, DeviceOf<S>>) -> Self {
        Self { start: Some(start), ..self }
    }

    /// The observer of the solve; it may cancel.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Another backend, of the same device.
    #[must_use]
    pub fn backend<G>(self, backend: &'a G) -> Transport<'a, &'a G>
    where
        G: GeometryBuilder<Device = DeviceOf<S>>,
    {
        let Self { source, target, cost, epsilon, penalties, sinkhorn, start, observer, .. } = self;
        Transport { backend, source, target, cost, epsilon, penalties, sinkhorn, start, observer }
    }

    /// Entropic transport.
    ///
    /// # Errors
    /// Those of [`GeometryBuilder::geometry`], [`Problem::unbalanced`], [`Start::multiscale`] and
    /// [`Sinkhorn::solve`](crate::Sinkhorn::solve); [`Error::Program`] for a penalty that cannot be recorded. Not converging is a
    /// [`Status`], and no error.
    pub fn solve(self) -> Result<Solution<DeviceOf<S>>, Error> {
        let Self { backend, source, target, cost, epsilon, penalties, sinkhorn, start, mut observer } = self;
        let (penalties, epsilon) = (penalties.transpose()?, epsilon.unwrap_or_default());
        backend.lend(|builder| {
            let geometry = builder.geometry(source.support(), target.support(), cost)?;
            let problem = match &penalties {
                None => Problem::new(geometry, source, target, epsilon)?,
                Some([of_source, of_target]) => {
                    Problem::unbalanced(geometry, source, target, epsilon, of_source, of_target)?
                }
            };
            let (start, told) = match start {
                Some(start) => (start, ControlFlow::Continue(())),
                None => Start::multiscale_told(builder, &problem, source, target, cost, observer.as_deref_mut())?,
            };
            let run = sinkhorn.run(&problem).start(start).cancelled(told.is_break());
            match observer {
                None => run.solve(),
                Some(observer) => run.observer(observer).solve(),
            }
        })
    }
}

impl<S: BackendSource, T: Scalar> Transport<'_, S>
where
    S::Builder: GeometryBuilder<Device = Host<T>> + HostBackend<T>,
{
    /// Exact transport, with a proof. Epsilon, tolerance and start are those of entropic transport, and not asked.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for penalties; those of [`ExactTransport::solve`].
    pub fn exact(self) -> Result<ExactSolution, Error> {
        let Self { backend, source, target, cost, penalties, observer, .. } = self;
        if penalties.transpose()?.is_some() {
            return Err(Error::MissingCapability("exact transport between penalised marginals: see MajorizeMinimize"));
        }
        let settings = ExactTransport::new();
        backend.lend(|backend| {
            let run = settings.run(backend, source, target, cost);
            match observer {
                None => run.solve(),
                Some(observer) => run.observer(observer).solve(),
            }
        })
    }

    /// What suits the problem, and which it was: see [`Choice`].
    ///
    /// # Errors
    /// Those of [`solve`](Self::solve) or [`exact`](Self::exact).
    pub fn auto(self) -> Result<Answer<T>, Error> {
        let atoms = [self.source, self.target].map(|measure| measure.support().len());
        let choice = match atoms {
            _ if self.epsilon.is_some() || self.start.is_some() => Choice::EntropicAsAsked,
            _ if self.penalties.is_some() => Choice::EntropicForPenalties,
            [Some(n), Some(m)] if n.saturating_add(m) <= MOST_EXACT => Choice::Exact,
            _ => Choice::EntropicForSize,
        };
        let found = match choice {
            Choice::Exact => Found::Exact(Box::new(self.exact()?)),
            Choice::EntropicForSize => Found::Entropic(Box::new(self.epsilon(SMALL).solve()?)),
            Choice::EntropicAsAsked | Choice::EntropicForPenalties => Found::Entropic(Box::new(self.solve()?)),
        };
        Ok(Answer { choice, found })
    }
}

/// Atoms of both sides up to which exact transport costs no more than a small epsilon does: see the page `docs/exact.md`.
const MOST_EXACT: usize = 20_000;

/// The epsilon of larger problems: its transport cost is above the least by a percent or two.
const SMALL: Epsilon = Epsilon::RelativeToMean(0.01);

/// What [`Transport::auto`] has picked, and why.
///
/// Measured between Gaussian clouds of 500 to 5000 points in 2 to 32 dimensions, on two cores: exact transport takes 0.25 to 1.7
/// times what Sinkhorn's iteration takes at an epsilon of 0.001 of the mean cost, and 0.8 to 4.5 times at 0.01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// Exact transport: at most 20 000 atoms in all, and nothing that asks for entropy.
    Exact,
    /// Entropic transport, since an epsilon or a start was given.
    EntropicAsAsked,
    /// Entropic transport, since marginals are penalised; epsilon is the default.
    EntropicForPenalties,
    /// Entropic transport at 0.01 of the mean cost, since there are more than 20 000 atoms.
    EntropicForSize,
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Choice::Exact => "exact transport",
            Choice::EntropicAsAsked => "entropic transport, as epsilon or start ask for",
            Choice::EntropicForPenalties => "entropic transport, since marginals are penalised",
            Choice::EntropicForSize => "entropic transport at 0.01 of the mean cost, for so many atoms",
        })
    }
}

/// What [`Transport::auto`] returns.
#[derive(Clone, Debug)]
pub struct Answer<T: Scalar> {
    choice: Choice,
    found: Found<T>,
}

#[derive(Clone, Debug)]
enum Found<T: Scalar> {
    Exact(Box<ExactSolution>),
    Entropic(Box<Solution<Host<T>>>),
}

impl<T: Scalar> Answer<T> {
    /// What was picked.
    #[must_use]
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// The exact solution, if that was picked.
    #[must_use]
    pub fn exact(&self) -> Option<&ExactSolution> {
        match &self.found {
            Found::Exact(solution) => Some(solution),
            Found::Entropic(_) => None,
        }
    }

    /// The entropic solution, if that was picked.
    #[must_use]
    pub fn entropic(&self) -> Option<&Solution<Host<T>>> {
        match &self.found {
            Found::Exact(_) => None,
            Found::Entropic(solution) => Some(solution),
        }
    }

    /// <P, C>; `None` from a kernel that has no cost.
    #[must_use]
    pub fn transport_cost(&self) -> Option<f64> {
        match &self.found {
            Found::Exact(solution) => Some(solution.transport_cost()),
            Found::Entropic(solution) => solution.transport_cost(),
        }
    }

    /// The p-th root of the transport cost, for the cost |x - y|^p.
    #[must_use]
    pub fn distance(&self, p: f64) -> Option<f64> {
        match &self.found {
            Found::Exact(solution) => solution.distance(p),
            Found::Entropic(solution) => solution.distance(p),
        }
    }

    /// An upper bound of what the objective that was solved for is off by.
    #[must_use]
    pub fn gap(&self) -> f64 {
        match &self.found {
            Found::Exact(solution) => solution.gap(),
            Found::Entropic(solution) => solution.gap(),
        }
    }

    /// Why the solve ended.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.found {
            Found::Exact(solution) => solution.status(),
            Found::Entropic(solution) => solution.status(),
        }
    }
}

/// Balanced entropic transport in one call: [`Transport::solve`] at an epsilon.
///
/// # Errors
/// Those of [`Transport::solve`].
pub fn transport<D: Device>(
    builder: &dyn GeometryBuilder<Device = D>,
    source: &dyn Measure<D::Elem>,
    target: &dyn Measure<D::Elem>,
    cost: &dyn GroundCost,
    epsilon: Epsilon,
) -> Result<Solution<D>, Error> {
    Transport::between(source, target, cost, &Borrowed(builder)).epsilon(epsilon).solve()
}

/// A builder behind a pointer.
#[derive(Debug)]
struct Borrowed<'a, D: Device>(&'a dyn GeometryBuilder<Device = D>);

impl<D: Device> GeometryBuilder for Borrowed<'_, D> {
    type Device = D;

    fn geometry(
        &self,
        source: Support<'_, D::Elem>,
        target: Support<'_, D::Elem>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<D>>, Error> {
        self.0.geometry(source, target, cost)
    }
}
