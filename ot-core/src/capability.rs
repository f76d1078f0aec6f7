//! What some kernels can do beyond the contract of all.
//!
//! Absence is visible before a solve: an accessor of [`KernelOp`](crate::KernelOp) returns
//! `None`. Nothing is tried to see whether it fails.

use std::fmt::Debug;

use crate::{
    backend::{Backend, Side},
    error::Error,
    kernel::PlanView,
    program::Program,
};

/// Sums of the ground cost itself.
pub trait TransportCost<B: Backend>: Debug {
    /// out_k = <P_k, C>, per column. Infinite costs meet P_ij = 0 and count 0.
    ///
    /// # Errors
    /// A failure of the device.
    fn plan_cost(&mut self, plan: PlanView<'_, B>, out: &mut B::Reduced) -> Result<(), Error>;

    /// out_k = sum_ij u_i C_ij v_j for non-negative u (n x columns) and v (m x columns): the cost
    /// of the rank-one plan u v^T. Infinite if a forbidden pair has u_i v_j > 0.
    ///
    /// # Errors
    /// A failure of the device.
    fn rank_one_cost(&mut self, u: &B::Vector, v: &B::Vector, out: &mut B::Reduced) -> Result<(), Error>;
}

/// Sums of a function of pairs under the plan.
pub trait PairSum<B: Backend>: Debug {
    /// For the atoms i of `side`: out_i = sum_j P_ij phi(x_i, y_j), with phi a program of inputs
    /// x_1, ..., x_d, y_1, ..., y_d and c outputs; `out` has c columns for each column of the
    /// batch.
    ///
    /// # Errors
    /// A failure of the device.
    fn pair_sum(&mut self, side: Side, plan: PlanView<'_, B>, phi: &Program, out: &mut B::Vector) -> Result<(), Error>;
}

/// The factor that multiplies the plan in a derivative:
///
/// ```text
/// w_ij = constant + r_i + s_j + sum_k u_ik v_jk + kappa C_ij
/// ```
///
/// Products close the family under transposition: the cotangent u of the product P v of a plan with values v
/// meets the plan as sum_k u_ik v_jk.
#[derive(Debug)]
pub struct PairWeight<'a, B: Backend> {
    /// The constant.
    pub constant: f64,
    /// r (n x 1, or n x columns of the batch).
    pub source: Option<&'a B::Vector>,
    /// s (m x 1, or m x columns of the batch).
    pub target: Option<&'a B::Vector>,
    /// u (n x c for each column of the batch) and v (m x c for each), laid out like the values of
    /// [`KernelOp::apply`](crate::KernelOp::apply).
    pub product: Option<(&'a B::Vector, &'a B::Vector)>,
    /// kappa.
    pub cost: f64,
}

impl<B: Backend> PairWeight<'_, B> {
    /// The same factor for every pair.
    #[must_use]
    pub fn constant(constant: f64) -> Self {
        Self { constant, source: None, target: None, product: None, cost: 0.0 }
    }
}

impl<B: Backend> Copy for PairWeight<'_, B> {}
impl<B: Backend> Clone for PairWeight<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

/// The numbers P_ij w_ij of one column of the batch. (A forbidden pair has P_ij = 0 and counts 0, whatever
/// its factor.)
#[derive(Debug)]
pub struct WeightedPlan<'a, B: Backend> {
    /// P.
    pub plan: PlanView<'a, B>,
    /// w.
    pub weight: PairWeight<'a, B>,
    /// The column.
    pub column: usize,
}

impl<B: Backend> Copy for WeightedPlan<'_, B> {}
impl<B: Backend> Clone for WeightedPlan<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

/// What a ground cost depends on: C_ij(lambda, x, y, M) = lambda (c(x_i, y_j) + M_ij) at lambda = 1.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CostParameter {
    /// The points of one side, as a vector of n x d (coordinate by coordinate).
    Points(Side),
    /// The entries of a cost matrix, as a vector of n x m.
    Matrix,
    /// The factor lambda of the whole cost, as a vector of 1 x 1, or of 1 x columns of the batch, of which that of
    /// the column asked for is read and written. dC_ij / dlambda = C_ij is all that a derivative in epsilon needs:
    /// optimal potentials are homogeneous, f(lambda C, lambda epsilon) = lambda f(C, epsilon).
    Scale,
}

/// A direction in which a parameter of the cost moves.
#[derive(Debug)]
pub struct CostTangent<'a, B: Backend> {
    /// The parameter.
    pub parameter: CostParameter,
    /// Its direction, of the [`shape`](CostDerivative::shape) of the parameter.
    pub values: &'a B::Vector,
}

impl<B: Backend> Copy for CostTangent<'_, B> {}
impl<B: Backend> Clone for CostTangent<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

/// Derivatives of the cost in its parameters theta, under the plan. One column of the batch at a time: vectors
/// over the atoms may have one column, or those of the batch, of which that one is read and written. Vectors over
/// a parameter have its [`shape`](Self::shape), stored column after column like all vectors, and are written wholly.
pub trait CostDerivative<B: Backend>: Debug {
    /// Rows and columns of a vector over this parameter. `None` if C does not depend on it, or if the
    /// derivative is not known.
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)>;

    /// out = sum_ij P_ij w_ij dC_ij/dtheta: from the plan to the parameter, of whose shape `out` is.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter without shape.
    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, B>,
        parameter: CostParameter,
        out: &mut B::Vector,
    ) -> Result<(), Error>;

    /// For the atoms i of `side`: out_i = sum_j P_ij w_ij dC_ij, with dC_ij = dC_ij/dtheta . tangent:
    /// from the parameter to the plan. `out` has a row for each atom of the side.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter without shape.
    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, B>,
        tangent: CostTangent<'_, B>,
        out: &mut B::Vector,
    ) -> Result<(), Error>;

    /// out = sum_ij P_ij w_ij (d2C_ij / dtheta dtau . tangent), where theta is `parameter`, of whose shape `out`
    /// is, and tau the parameter of the tangent: the cost's own curvature under the plan, block by block.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter without shape, or a second derivative that is not known.
    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, B>,
        parameter: CostParameter,
        tangent: CostTangent<'_, B>,
        out: &mut B::Vector,
    ) -> Result<(), Error>;
}

/// A pair of atoms and its reduced cost C_ij - f_i - g_j.
#[derive(Copy, Clone, Debug, PartialEq)]
pub struct PricedArc {
    /// Index of the source atom.
    pub source: u32,
    /// Index of the target atom.
    pub target: u32,
    /// C_ij - f_i - g_j.
    pub reduced_cost: f64,
}

/// The limit epsilon -> 0 of a softmin, and the arcs that matter there.
pub trait HardTransform<B: Backend>: Debug {
    /// For the atoms i of `side`: out_i = min_j (C_ij - potential_j) over the j whose log-weight
    /// is not [`LOG_ZERO`](crate::LOG_ZERO), per column. If wanted, `argument` gets the
    /// minimising j (the smallest of equals; `u32::MAX` where no j is left, and the value is
    /// [`UNREACHABLE`](crate::UNREACHABLE)), column after column, which is a point where the host waits.
    ///
    /// # Errors
    /// A failure of the device.
    fn c_transform(
        &mut self,
        side: Side,
        potential: &B::Vector,
        log_weights: &B::Vector,
        out: &mut B::Vector,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error>;

    /// All arcs of one column with C_ij - f_i - g_j <= threshold, by source and then target. The
    /// host waits.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there are more than `limit`, or a failure of the device.
    fn arcs_below(
        &mut self,
        source_potential: &B::Vector,
        target_potential: &B::Vector,
        column: usize,
        threshold: f64,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error>;
}
