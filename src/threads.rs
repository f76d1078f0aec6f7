//! The front functions, on the threads of this machine.

use std::{marker::PhantomData, sync::OnceLock};

use ot_core::{Error, GroundCost, Measure};
use ot_cpu::{CpuBackend, CpuScalar};
use ot_solvers::{
    Method, PairTable,
    front::{BackendSource, Transport},
    many,
};

/// An element type that the threads of this machine compute with: `f64` or `f32`.
pub trait Threaded: CpuScalar {
    /// A backend of as many threads as can run at once. It is made once in a process, and shared.
    ///
    /// # Errors
    /// Those of [`CpuBackend::with_available_threads`].
    fn this_machine() -> Result<CpuBackend<Self>, Error>;
}

/// A backend for each element type.
macro_rules! threaded {
    ($($element:ty),*) => {$(
        impl Threaded for $element {
            fn this_machine() -> Result<CpuBackend<Self>, Error> {
                static BACKEND: OnceLock<Result<CpuBackend<$element>, Error>> = OnceLock::new();
                BACKEND.get_or_init(CpuBackend::with_available_threads).clone()
            }
        }
    )*};
}

threaded!(f32, f64);

/// Lends the [backend of this machine](Threaded::this_machine).
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine<T>(PhantomData<T>);

impl<T: Threaded> BackendSource for ThisMachine<T> {
    type Builder = CpuBackend<T>;

    fn lend<R>(&self, work: impl FnOnce(&CpuBackend<T>) -> Result<R, Error>) -> Result<R, Error> {
        work(&T::this_machine()?)
    }
}

/// Transport between two measures, on the threads of this machine unless another [backend](Transport::backend) is given:
/// settings, then [`solve`](Transport::solve), [`exact`](Transport::exact) or [`auto`](Transport::auto).
///
/// ```
/// use ot::prelude::*;
///
/// let a = PointCloud::uniform(vec![0.0, 1.0, 2.0], 1)?;
/// let b = PointCloud::new(vec![1.0, 4.0], 1, vec![0.25, 0.75])?;
/// let answer = ot::transport(&a, &b, &Euclidean).auto()?;
/// println!("{}: {:?}", answer.choice(), answer.distance(1.0));
/// assert!((answer.transport_cost().unwrap_or_default() - 2.25).abs() < 1e-12);
///
/// let unbalanced = ot::transport(&a, &b, &Euclidean).epsilon(Epsilon::Absolute(0.1)).penalty(&Kl::new(1.0)?).solve()?;
/// assert!(unbalanced.certificate().mass < 1.0);
/// # Ok::<(), Error>(())
/// ```
#[must_use]
pub fn transport<'a, T: Threaded>(
    source: &'a dyn Measure<T>,
    target: &'a dyn Measure<T>,
    cost: &'a dyn GroundCost,
) -> Transport<'a, ThisMachine<T>> {
    Transport::between(source, target, cost, ThisMachine(PhantomData))
}

/// All pairs of one list, on the threads of this machine: see [`many::pairwise`], which also tells progress and keeps plans.
///
/// ```
/// use ot::prelude::*;
///
/// let cost = CostMatrix::new(vec![0.0, 1.0, 1.0, 0.0], 2, 2)?;
/// let histograms = [0.0, 0.25, 1.0].map(|first| Histogram::new(vec![first, 1.0 - first]));
/// let histograms = histograms.into_iter().collect::<Result<Vec<_>, _>>()?;
/// let table = ot::pairwise(&histograms, &cost, &Method::exact())?;
/// assert_eq!(table.values(), Some(vec![0.0, 0.25, 1.0, 0.25, 0.0, 0.75, 1.0, 0.75, 0.0]));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Those of [`many::Many::solve`].
pub fn pairwise<T: Threaded, M: Measure<T>>(
    measures: &[M],
    cost: &dyn GroundCost,
    method: &Method,
) -> Result<PairTable, Error> {
    many::pairwise(&T::this_machine()?, measures, cost, method).solve()
}

/// Every measure of a list against every one of another, on the threads of this machine: see [`many::cross`].
///
/// ```
/// use ot::prelude::*;
///
/// let line = |x: f64| PointCloud::uniform(vec![x, x + 1.0], 1);
/// let table = ot::cross(&[line(0.0)?], &[line(1.0)?, line(2.0)?], &Euclidean, &Method::line())?;
/// assert_eq!(table.values(), Some(vec![1.0, 2.0]));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Those of [`many::Many::solve`].
pub fn cross<T: Threaded, M: Measure<T>, N: Measure<T>>(
    measures: &[M],
    others: &[N],
    cost: &dyn GroundCost,
    method: &Method,
) -> Result<PairTable, Error> {
    many::cross(&T::this_machine()?, measures, others, cost, method).solve()
}

/// Pairs (a_k, b_k), on the threads of this machine: see [`many::zip`].
///
/// ```
/// use ot::prelude::*;
///
/// let line = |x: f64| PointCloud::uniform(vec![x, x + 1.0], 1);
/// let pairs = [(line(0.0)?, line(1.0)?), (line(0.0)?, line(4.0)?)];
/// assert_eq!(ot::zip(&pairs, &Euclidean, &Method::exact())?.values(), Some(vec![1.0, 4.0]));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Those of [`many::Many::solve`].
pub fn zip<T: Threaded, M: Measure<T>, N: Measure<T>>(
    pairs: &[(M, N)],
    cost: &dyn GroundCost,
    method: &Method,
) -> Result<PairTable, Error> {
    many::zip(&T::this_machine()?, pairs, cost, method).solve()
}
