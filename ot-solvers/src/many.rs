//! Many problems at once: all pairs of a list of measures, all pairs between two lists, or a list of pairs.
//!
//! ```
//! use ot_core::{PointCloud, SqEuclidean};
//! use ot_cpu::CpuBackend;
//! use ot_solvers::many::{Method, pairwise};
//!
//! let clouds = [0.0, 1.0, 3.0].map(|x| PointCloud::uniform(vec![x, x + 1.0], 1));
//! let clouds = clouds.into_iter().collect::<Result<Vec<_>, _>>()?;
//! let costs = pairwise(&CpuBackend::<f64>::new(2)?, &clouds, &SqEuclidean, &Method::exact()).solve()?;
//! assert_eq!(costs.value(0, 2), Some(9.0));
//! assert_eq!(costs.distances(2.0), Some(vec![0.0, 1.0, 3.0, 1.0, 0.0, 2.0, 3.0, 2.0, 0.0]));
//! # Ok::<(), ot_core::Error>(())
//! ```
//!
//! | call | problems |
//! |---|---|
//! | [`pairwise`] | all pairs of one list; the cost is taken for symmetric, and each pair is solved once |
//! | [`cross`] | every measure of a list against every one of another |
//! | [`zip`] | the first of a list against the first of another, and so on |
//!
//! A [`Method`] says which problem is solved. Measures may share a support or have one each. What can be done once is done
//! once: the costs of a shared support, the self terms of divergences, sorting on the line and along slices. Pairs are spread
//! over the threads of the backend, each with memory that is kept. How they are cut depends on their number alone, so the bits
//! are those of one thread.

mod batches;
mod divergence;
mod entropic;
mod exact;
mod layout;
mod line;
mod method;
mod shared;
mod table;
mod watch;

use ot_core::{Error, GeometryBuilder, GroundCost, Host, HostBackend, Measure, Observer, Scalar, Side};

use self::{layout::Layout, method::Kind, watch::Watch};
pub use self::{
    method::Method,
    table::{PairPotentials, PairTable, PairValue},
};

/// All pairs of one list, each measure against itself included. The cost is taken for symmetric: of (i, j) and (j, i) one is
/// solved. A matrix that is not symmetric is refused; [`cross`] takes any cost.
pub fn pairwise<'a, T: Scalar, G, M>(
    backend: &'a G,
    measures: &'a [M],
    cost: &'a dyn GroundCost,
    method: &'a Method,
) -> Many<'a, T>
where
    G: GeometryBuilder<Device = Host<T>> + HostBackend<T>,
    M: Measure<T>,
{
    let lists = [views(measures), Vec::new()];
    Many::new(backend, lists, Layout::Symmetric(measures.len()), cost, method)
}

/// Every measure of a list (a row of the table) against every one of another (a column).
pub fn cross<'a, T: Scalar, G, M, N>(
    backend: &'a G,
    measures: &'a [M],
    others: &'a [N],
    cost: &'a dyn GroundCost,
    method: &'a Method,
) -> Many<'a, T>
where
    G: GeometryBuilder<Device = Host<T>> + HostBackend<T>,
    M: Measure<T>,
    N: Measure<T>,
{
    let layout = Layout::Full(measures.len(), others.len());
    Many::new(backend, [views(measures), views(others)], layout, cost, method)
}

/// Pairs (a_k, b_k): a table of one column.
pub fn zip<'a, T: Scalar, G, M, N>(
    backend: &'a G,
    pairs: &'a [(M, N)],
    cost: &'a dyn GroundCost,
    method: &'a Method,
) -> Many<'a, T>
where
    G: GeometryBuilder<Device = Host<T>> + HostBackend<T>,
    M: Measure<T>,
    N: Measure<T>,
{
    let sources = pairs.iter().map(|(source, _)| source as &dyn Measure<T>).collect();
    let targets = pairs.iter().map(|(_, target)| target as &dyn Measure<T>).collect();
    Many::new(backend, [sources, targets], Layout::List(pairs.len()), cost, method)
}

fn views<T: Scalar, M: Measure<T>>(measures: &[M]) -> Vec<&dyn Measure<T>> {
    measures.iter().map(|measure| measure as &dyn Measure<T>).collect()
}

/// Problems to be solved, to which an observer can be given.
pub struct Many<'a, T: Scalar> {
    problems: Problems<'a, T>,
    method: &'a Method,
    observer: Option<&'a mut dyn Observer>,
}

/// The problems, as every thread sees them.
struct Problems<'a, T: Scalar> {
    builder: &'a dyn GeometryBuilder<Device = Host<T>>,
    backend: &'a dyn HostBackend<T>,
    /// Sources and targets; the second is empty where both are one list.
    lists: [Vec<&'a dyn Measure<T>>; 2],
    layout: Layout,
    cost: &'a dyn GroundCost,
    keeps: Keeps,
}

/// What is kept beside the values.
#[derive(Clone, Copy, Debug, Default)]
struct Keeps {
    plans: bool,
    potentials: bool,
}

impl<'a, T: Scalar> Many<'a, T> {
    fn new<G: GeometryBuilder<Device = Host<T>> + HostBackend<T>>(
        backend: &'a G,
        lists: [Vec<&'a dyn Measure<T>>; 2],
        layout: Layout,
        cost: &'a dyn GroundCost,
        method: &'a Method,
    ) -> Self {
        let problems = Problems { builder: backend, backend, lists, layout, cost, keeps: Keeps::default() };
        Self { problems, method, observer: None }
    }

    /// The observer, told after each pair, or each batch of pairs, how many are done; it may cancel. Pairs that are then
    /// left have no value.
    #[must_use]
    pub fn observer(self, observer: &'a mut dyn Observer) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Keeps the plans, of methods that have sparse ones: exact transport and the line.
    #[must_use]
    pub fn keep_plans(mut self) -> Self {
        self.problems.keeps.plans = true;
        self
    }

    /// Keeps the potentials of both sides, of all methods but slices.
    #[must_use]
    pub fn keep_potentials(mut self) -> Self {
        self.problems.keeps.potentials = true;
        self
    }

    /// Solves.
    ///
    /// # Errors
    /// [`Error::EmptyBatch`] without pairs. [`Error::OfMeasure`] names a measure that is none, or a batch, and
    /// [`Error::OfPair`] the first pair that was refused, with the reason: that of the method. [`Error::Disagreement`] for
    /// a matrix that is not symmetric in [`pairwise`]. A solve that does not converge is no error: see
    /// [`PairTable::status`].
    pub fn solve(self) -> Result<PairTable, Error> {
        let Self { problems, method, observer } = self;
        let pairs = problems.layout.pairs();
        if pairs.is_empty() {
            return Err(Error::EmptyBatch);
        }
        problems.check_measures()?;
        if matches!(problems.layout, Layout::Symmetric(_)) {
            shared::check_symmetric(problems.cost)?;
        }
        let watch = Watch::new(observer, pairs.len());
        let results = match method.kind() {
            Kind::Exact(settings) => exact::solve(&problems, settings, &pairs, &watch),
            Kind::Entropic(settings) => entropic::solve(&problems, settings, &pairs, &watch),
            Kind::Divergence(settings) => divergence::solve(&problems, settings, &pairs, &watch),
            Kind::Line => line::solve(&problems, &pairs, &watch),
            Kind::Sliced(settings) => line::solve_slices(&problems, settings, &pairs, &watch),
        }?;
        Ok(PairTable::new(problems.layout, results))
    }
}

impl<'a, T: Scalar> Problems<'a, T> {
    /// The measures of a pair.
    fn pair(&self, (i, j): (usize, usize)) -> [&'a dyn Measure<T>; 2] {
        [self.lists[0][i], self.target(j)]
    }

    fn target(&self, j: usize) -> &'a dyn Measure<T> {
        if matches!(self.layout, Layout::Symmetric(_)) { self.lists[0][j] } else { self.lists[1][j] }
    }

    /// The measures of a side.
    fn side(&self, side: Side) -> &[&'a dyn Measure<T>] {
        match (self.layout, side) {
            (Layout::Symmetric(_), _) | (_, Side::Source) => &self.lists[0],
            (_, Side::Target) => &self.lists[1],
        }
    }

    /// All measures, sources before targets.
    fn measures(&self) -> impl Iterator<Item = &'a dyn Measure<T>> {
        self.lists.iter().flatten().copied()
    }

    /// Where the target of a pair stands among [`measures`](Self::measures).
    fn place_of_target(&self, j: usize) -> usize {
        if matches!(self.layout, Layout::Symmetric(_)) { j } else { self.lists[0].len() + j }
    }

    /// Is each of these a measure of one histogram?
    fn check_measures(&self) -> Result<(), Error> {
        for (place, measure) in self.measures().enumerate() {
            crate::exact::check_histogram(measure).map_err(self.of_measure(place))?;
        }
        Ok(())
    }

    /// A refusal of one of [`measures`](Self::measures).
    fn of_measure(&self, place: usize) -> impl Fn(Error) -> Error {
        let sources = self.lists[0].len();
        let (list, index) = if place < sources { ("the sources", place) } else { ("the targets", place - sources) };
        move |error| Error::OfMeasure { list, index, error: Box::new(error) }
    }
}

/// A refusal of a pair.
fn of_pair((first, second): (usize, usize)) -> impl Fn(Error) -> Error {
    move |error| Error::OfPair { first, second, error: Box::new(error) }
}
