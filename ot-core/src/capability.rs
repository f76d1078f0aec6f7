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

/// The factor w_ij = constant + r_i + s_j + kappa C_ij that multiplies the plan in a derivative.
#[derive(Debug)]
pub struct PairWeight<'a, B: Backend> {
    /// The constant.
    pub constant: f64,
    /// r (n x columns).
    pub source: Option<&'a B::Vector>,
    /// s (m x columns).
    pub target: Option<&'a B::Vector>,
    /// kappa.
    pub cost: f64,
}

impl<B: Backend> Copy for PairWeight<'_, B> {}
impl<B: Backend> Clone for PairWeight<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

/// What a ground cost depends on.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CostParameter {
    /// The points of one side, as a vector of n x d (coordinate by coordinate).
    Points(Side),
    /// The entries of a cost matrix, as a vector of n x m.
    Matrix,
}

/// Derivatives of the cost in one of its parameters theta, under the plan. One column at a time: vectors
/// over the atoms may have one column, or those of the batch, of which that one is read and written.
/// Vectors over a parameter have its shape, stored column after column like all vectors.
pub trait CostDerivative<B: Backend>: Debug {
    /// Does C depend on this parameter, and is the derivative known?
    fn depends_on(&self, parameter: CostParameter) -> bool;

    /// out = sum_ij P_ij w_ij dC_ij/dtheta: from the plan to the parameter.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter that C does not depend on.
    fn pull_back(
        &mut self,
        plan: PlanView<'_, B>,
        weight: PairWeight<'_, B>,
        parameter: CostParameter,
        column: usize,
        out: &mut B::Vector,
    ) -> Result<(), Error>;

    /// For the atoms i of `side`: out_i = sum_j P_ij w_ij dC_ij, with dC_ij = dC_ij/dtheta . tangent:
    /// from the parameter to the plan.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter that C does not depend on.
    #[expect(clippy::too_many_arguments, reason = "a plan, its weight, and a parameter with its tangent")]
    fn push_forward(
        &mut self,
        side: Side,
        plan: PlanView<'_, B>,
        weight: PairWeight<'_, B>,
        parameter: CostParameter,
        tangent: &B::Vector,
        column: usize,
        out: &mut B::Vector,
    ) -> Result<(), Error>;

    /// out = sum_ij P_ij (d2C_ij/dtheta2 . tangent): the cost's own curvature under the plan.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter that C does not depend on.
    fn curvature(
        &mut self,
        plan: PlanView<'_, B>,
        parameter: CostParameter,
        tangent: &B::Vector,
        column: usize,
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
