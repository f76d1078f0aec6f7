//! The data of one cost between two supports, on one backend.
//!
//! A [`Geometry`] is immutable and shareable by concurrent solves, and it **knows no epsilon**:
//! [`bind`](Geometry::bind) gives a [`KernelOp`] that owns its scratch and its epsilon.

use std::{fmt::Debug, sync::Arc};

use crate::{
    backend::{Backend, Side},
    error::Error,
    kernel::KernelOp,
    measure::WeightsView,
    plan_regularizer::{PlanKind, PlanRegularizer},
};

/// Statistics of the cost under a x b, where a and b are the sums of the columns of the weights.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct CostSurvey {
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

/// The data of one cost between two supports.
pub trait Geometry<B: Backend>: Debug + Send + Sync {
    /// The backend that holds the data.
    fn backend(&self) -> &B;

    /// Number of atoms of a side.
    fn len(&self, side: Side) -> usize;

    /// The Gibbs kernel of one solve of `columns` columns, at least one.
    ///
    /// # Errors
    /// [`Error::FixedEpsilon`], [`Error::Epsilon`], [`Error::EmptyBatch`], [`Error::OutOfMemory`].
    fn bind(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<B>>, Error>;

    /// The kernel of one solve whose plan another function than entropy regularises. For entropy it is that of
    /// [`bind`](Self::bind); a geometry that has no other refuses all others.
    ///
    /// # Errors
    /// [`Error::MissingCapability`], and those of [`bind`](Self::bind).
    fn bind_family(
        &self,
        regularizer: &Arc<dyn PlanRegularizer>,
        epsilon: f64,
        columns: usize,
    ) -> Result<Box<dyn KernelOp<B>>, Error> {
        match regularizer.kind() {
            PlanKind::Entropy => self.bind(epsilon, columns),
            _ => Err(Error::MissingCapability("kernel of another plan regularizer than entropy")),
        }
    }

    /// The one epsilon of a geometry that cannot anneal (heat, low rank), so that a problem
    /// refuses early.
    fn fixed_epsilon(&self) -> Option<f64> {
        None
    }

    /// The epsilon that a Gaussian blur of width sigma stands for, if the cost has one: sigma^2
    /// for half squared distances, 2 sigma^2 for squared ones, sigma^p for distances to the
    /// power p.
    fn epsilon_of_blur(&self, sigma: f64) -> Option<f64> {
        let _ = sigma;
        None
    }

    /// May some pair be forbidden (infinite cost)?
    fn may_forbid(&self) -> bool {
        false
    }

    /// A bound on the absolute value of the finite costs. Cheap. It starts an annealing, and it is all
    /// that a certificate has to price misplaced mass with where the kernel has no transport cost:
    /// without either, a gap is infinite.
    fn cost_bound(&self) -> Option<f64> {
        None
    }

    /// Statistics of the cost, in one pass over all pairs.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] from a kernel without a cost, [`Error::Stranded`] for an atom
    /// with mass that has no partner with mass at finite cost.
    fn survey(&self, source: WeightsView<'_, B::Elem>, target: WeightsView<'_, B::Elem>) -> Result<CostSurvey, Error>;
}
