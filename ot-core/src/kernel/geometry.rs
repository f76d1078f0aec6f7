//! The data of one cost between two supports, on one backend.
//!
//! A [`Geometry`] is immutable and shareable by concurrent solves, and it **knows no epsilon**:
//! [`bind`](Geometry::bind) gives a [`KernelOp`] that owns its scratch space and its epsilon.

use std::{fmt::Debug, sync::Arc};

use super::KernelOp;
use crate::{
    backend::{Backend, Device},
    cost::GroundCost,
    error::Error,
    measure::{Components, PointsView, Support, WeightsView},
    regularizer::{RecordedRegularizer, RegularizerKind},
    side::Side,
};

/// Statistics of the cost under a x b, where a and b are the sums of the columns of the weights.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct CostStatistics {
    /// <a x b, C> / (mass(a) mass(b)), over the pairs that are not forbidden.
    pub mean: f64,
    /// Standard deviation of C under a x b, over the pairs that are not forbidden.
    pub deviation: f64,
    /// The smallest cost.
    pub minimum: f64,
    /// The largest finite cost.
    pub maximum: f64,
    /// Is any pair forbidden?
    pub forbidden: bool,
}

/// Two clouds of points and the cost between them, as a geometry keeps them, and who makes geometries of such: what coarser
/// problems of the same kind are posed by.
#[derive(Debug)]
pub struct CloudPair<'a, D: Device> {
    /// Makes geometries on the same backend.
    pub builder: &'a dyn GeometryBuilder<Device = D>,
    /// Points of the source.
    pub source: PointsView<'a, D::Elem>,
    /// Points of the target.
    pub target: PointsView<'a, D::Elem>,
    /// The cost.
    pub cost: &'a dyn GroundCost,
}

/// The data of one cost between two supports.
pub trait Geometry<D: Device>: Debug + Send + Sync {
    /// The backend that holds the data.
    fn backend(&self) -> Arc<dyn Backend<D>>;

    /// Number of atoms of a side.
    fn len(&self, side: Side) -> usize;

    /// The Gibbs kernel of one solve of `columns` columns, at least one.
    ///
    /// # Errors
    /// [`Error::FixedEpsilon`], [`Error::Epsilon`], [`Error::EmptyBatch`], [`Error::OutOfMemory`].
    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<D>>, Error>;

    /// The kernel of one solve under a regularizer of the plan. The default knows entropy, and refuses all others.
    ///
    /// # Errors
    /// [`Error::MissingCapability`], and those of [`bind_entropic`](Self::bind_entropic).
    fn bind(
        &self,
        regularizer: &RecordedRegularizer,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<D>>, Error> {
        match regularizer.kind() {
            RegularizerKind::Entropy => self.bind_entropic(epsilon, columns),
            _ => Err(Error::MissingCapability("kernel of another regularizer than entropy")),
        }
    }

    /// The one epsilon of a geometry that cannot anneal (heat, low rank), so that a problem
    /// refuses early. The default is none: any epsilon.
    fn fixed_epsilon(&self) -> Option<f64> {
        None
    }

    /// The epsilon that a Gaussian blur of width sigma stands for, if the cost has one: sigma^2
    /// for half squared distances, 2 sigma^2 for squared ones, sigma^p for distances to the
    /// power p. The default is none.
    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        let _ = sigma;
        None
    }

    /// May some pair be forbidden (infinite cost)? The default is no.
    fn may_forbid(&self) -> bool {
        false
    }

    /// Do columns of a batch gain from each other, however far apart their potentials are? Then solvers make one batch of
    /// problems that share this geometry. A kernel that keeps entries around the potentials of one column says no, and that is the
    /// default.
    fn gains_from_batches(&self) -> bool {
        false
    }

    /// The connected components of a support that both sides share, if mass cannot pass between them: pairs in different
    /// components are all that is forbidden. The default is none.
    fn components(&self) -> Option<&Components> {
        None
    }

    /// A bound on the absolute value of the finite costs, without a pass over the pairs. It starts an annealing, and it
    /// is all that a certificate has to price misplaced mass with where the kernel has no transport cost: without
    /// either, a gap is infinite. The default is none.
    fn cost_bound(&self) -> Option<f64> {
        None
    }

    /// The points and the cost that this geometry was made of, if it keeps them: from their clusters a solver starts. The
    /// default is none.
    fn clouds(&self) -> Option<CloudPair<'_, D>> {
        None
    }

    /// Statistics of the cost, in one pass over all pairs. The default has none: rules of epsilon that ask for them are
    /// refused.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] from a kernel without a cost, [`Error::Stranded`] for an atom
    /// with mass that has no partner with mass at finite cost.
    fn cost_statistics(
        &self,
        source: WeightsView<'_, D::Elem>,
        target: WeightsView<'_, D::Elem>,
    ) -> Result<CostStatistics, Error> {
        let _ = (source, target);
        Err(Error::MissingCapability("statistics of the cost"))
    }
}

/// Makes geometries of supports and a cost: what a backend does beside its operations, and what anybody can do who has a
/// support of their own, by asking a backend for the others.
///
/// ```
/// use std::sync::Arc;
///
/// use ot_core::{Error, Geometry, GeometryBuilder, GroundCost, PointsView, Support, SqEuclidean};
///
/// /// The nodes of a path 0, 1, ..., n - 1, as a support of its own.
/// #[derive(Debug)]
/// struct Path(usize);
///
/// /// Any builder, which learns about paths.
/// #[derive(Debug)]
/// struct WithPaths<G>(G);
///
/// impl<G: GeometryBuilder> GeometryBuilder for WithPaths<G> {
///     type Device = G::Device;
///
///     fn geometry(
///         &self,
///         source: Support<'_, ot_core::Elem<G>>,
///         target: Support<'_, ot_core::Elem<G>>,
///         cost: &dyn GroundCost,
///     ) -> Result<Arc<dyn Geometry<G::Device>>, Error> {
///         let nodes = |support| match support {
///             Support::Foreign { support, .. } => support.downcast_ref::<Path>().map(|path| path.0),
///             _ => None,
///         };
///         let (Some(rows), Some(columns)) = (nodes(source), nodes(target)) else {
///             return self.0.geometry(source, target, cost);
///         };
///         let line = |len: usize| (0..len).map(|i| ot_core::Scalar::from_f64(i as f64)).collect::<Vec<_>>();
///         let (x, y) = (line(rows), line(columns));
///         self.0.geometry(Support::Points(PointsView::new(&x, 1)?), Support::Points(PointsView::new(&y, 1)?), cost)
///     }
/// }
/// # let _ = SqEuclidean;
/// # Ok::<(), Error>(())
/// ```
pub trait GeometryBuilder: Debug + Send + Sync {
    /// The device of the geometries.
    type Device: Device;

    /// The best geometry for one cost between two supports.
    ///
    /// # Errors
    /// [`Error::UnsupportedSupport`], [`Error::DimensionMismatch`], [`Error::Length`],
    /// [`Error::Cost`], [`Error::CostOverflow`], [`Error::OutOfMemory`].
    fn geometry(
        &self,
        source: Support<'_, Elem<Self>>,
        target: Support<'_, Elem<Self>>,
        cost: &dyn GroundCost,
    ) -> Result<Arc<dyn Geometry<Self::Device>>, Error>;
}

/// The element type of a builder's geometries.
pub type Elem<G> = <<G as GeometryBuilder>::Device as Device>::Elem;
