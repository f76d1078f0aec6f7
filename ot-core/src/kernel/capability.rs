//! What some kernels can do beyond the contract of all.
//!
//! Absence is visible before a solve: an accessor of [`PlanOperator`](super::PlanOperator) returns `None`. Nothing is tried
//! to see whether it fails.

use std::fmt::Debug;

use super::PlanView;
use crate::{backend::Device, error::Error, side::Side};

/// Sums of the ground cost itself.
pub trait TransportCost<D: Device>: Debug {
    /// out_k = <P_k, C>, per column. Infinite costs meet P_ij = 0 and count 0.
    ///
    /// # Errors
    /// A failure of the device.
    fn plan_cost(&mut self, plan: PlanView<'_, D>, out: &mut D::Reduced) -> Result<(), Error>;

    /// out_k = sum_ij u_i C_ij v_j for non-negative u (n x columns) and v (m x columns): the cost
    /// of the rank-one plan u v^T. Infinite if a forbidden pair has u_i v_j > 0.
    ///
    /// # Errors
    /// A failure of the device.
    fn rank_one_cost(&mut self, u: &D::Vector, v: &D::Vector, out: &mut D::Reduced) -> Result<(), Error>;
}

/// The factor that multiplies the plan in a derivative:
///
/// ```text
/// w_ij = constant + r_i + s_j + sum_k u_ik v_jk + kappa C_ij
/// ```
///
/// Factors of this form are closed under transposition: the cotangent u of the product P v of a plan with values v meets
/// the plan as sum_k u_ik v_jk.
#[derive(Debug)]
pub struct PairWeight<'a, D: Device> {
    /// The constant.
    pub constant: f64,
    /// r (n x 1, or n x columns of the batch).
    pub source: Option<&'a D::Vector>,
    /// s (m x 1, or m x columns of the batch).
    pub target: Option<&'a D::Vector>,
    /// u (n x c for each column of the batch) and v (m x c for each), laid out like the values of
    /// [`PlanOperator::apply`](super::PlanOperator::apply).
    pub product: Option<(&'a D::Vector, &'a D::Vector)>,
    /// kappa.
    pub cost: f64,
}

impl<D: Device> PairWeight<'_, D> {
    /// The same factor for every pair.
    #[must_use]
    pub fn constant(constant: f64) -> Self {
        Self { constant, source: None, target: None, product: None, cost: 0.0 }
    }
}

impl<D: Device> Copy for PairWeight<'_, D> {}
impl<D: Device> Clone for PairWeight<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

/// The numbers P_ij w_ij. A forbidden pair has P_ij = 0 and counts 0, whatever its factor.
#[derive(Debug)]
pub struct WeightedPlan<'a, D: Device> {
    /// P.
    pub plan: PlanView<'a, D>,
    /// w.
    pub weight: PairWeight<'a, D>,
}

impl<D: Device> Copy for WeightedPlan<'_, D> {}
impl<D: Device> Clone for WeightedPlan<'_, D> {
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
    /// The entries of a cost matrix, row after row: a vector of m x n, of which a column is a row of the matrix.
    Matrix,
    /// The parameters that the formula of the cost names ([`CostParameters`](crate::cost::CostParameters)), as a vector
    /// of p x 1.
    Formula,
    /// The weights of the edges of a [`Graph`](crate::Graph) on which the kernel is a diffusion, as a vector of e x 1.
    EdgeWeights,
    /// The factor lambda of the whole cost, as a vector of 1 x 1. dC_ij / dlambda = C_ij is all that a derivative in
    /// epsilon needs: optimal potentials are homogeneous, f(lambda C, lambda epsilon) = lambda f(C, epsilon).
    Scale,
}

/// A direction in which a parameter of the cost moves.
#[derive(Debug)]
pub struct CostTangent<'a, D: Device> {
    /// The parameter.
    pub parameter: CostParameter,
    /// Its direction, of the [`shape`](CostDerivative::shape) of the parameter: one that all columns of the batch share,
    /// or one for each, side by side.
    pub values: &'a D::Vector,
}

impl<D: Device> Copy for CostTangent<'_, D> {}
impl<D: Device> Clone for CostTangent<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

/// Derivatives of the cost in its parameters theta, under the plan, for all columns of the batch.
///
/// A vector over a parameter has the rows of its [`shape`](Self::shape), and its columns for each column of the batch,
/// side by side: column k of the batch takes columns k c, ..., (k + 1) c - 1.
pub trait CostDerivative<D: Device>: Debug {
    /// Rows and columns of a parameter. `None` if C does not depend on it, or if the derivative is not known.
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)>;

    /// out = sum_ij P_ij w_ij dC_ij/dtheta: from the plan to the parameter.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter without shape.
    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, D>,
        parameter: CostParameter,
        out: &mut D::Vector,
    ) -> Result<(), Error>;

    /// For the atoms i of `side`: out_i = sum_j P_ij w_ij dC_ij, with dC_ij = dC_ij/dtheta . tangent:
    /// from the parameter to the plan. `out` has a row for each atom of the side and the columns of the batch.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter without shape.
    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, D>,
        tangent: CostTangent<'_, D>,
        out: &mut D::Vector,
    ) -> Result<(), Error>;

    /// out = sum_ij P_ij w_ij (d2C_ij / dtheta dtau . tangent), where theta is `parameter` and tau the parameter of the
    /// tangent: the cost's own curvature under the plan, block by block.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter without shape, or a second derivative that is not known.
    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, D>,
        parameter: CostParameter,
        tangent: CostTangent<'_, D>,
        out: &mut D::Vector,
    ) -> Result<(), Error>;

    /// out = sum_ij P_ij dC_ij/dtheta (dC_ij/dtau . tangent), where theta is `parameter` and tau the parameter of the
    /// tangent: products of first derivatives, which second derivatives of a solve need beside the
    /// [`curvature`](Self::curvature).
    /// The default knows none.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a parameter without shape, or a pair of parameters that is not known.
    fn gauss_newton(
        &mut self,
        plan: PlanView<'_, D>,
        parameter: CostParameter,
        tangent: CostTangent<'_, D>,
        out: &mut D::Vector,
    ) -> Result<(), Error> {
        let _ = (plan, parameter, tangent, out);
        Err(Error::MissingCapability("products of first derivatives of the cost"))
    }
}

/// Products with the plan and its transpose, or with the second derivative of the regularizer's conjugate, in one pass.
pub trait PlanProduct<D: Device>: Debug {
    /// out = P^T diag(d) P v for `Side::Target` (v and out over the target, d over the source), P diag(d) P^T v for
    /// `Side::Source`; one column for each column of the batch.
    ///
    /// # Errors
    /// A failure of the device.
    fn normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, D>,
        diagonal: &D::Vector,
        values: &D::Vector,
        out: &mut D::Vector,
    ) -> Result<(), Error>;

    /// [`normal_product`](Self::normal_product) as a linear solve inside of another iteration asks for it, many times with one plan:
    /// entries may be those of single precision, and densities of rows and of columns may miss 1e-3 at a large epsilon and 1e-6 at a
    /// small one (some hundredths of epsilon over the largest cost), so that what matters can be kept from one product to the next. It is
    /// the product of one plan, so that it stays symmetric. By default it is the product itself.
    ///
    /// # Errors
    /// A failure of the device.
    fn inexact_normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, D>,
        diagonal: &D::Vector,
        values: &D::Vector,
        out: &mut D::Vector,
    ) -> Result<(), Error> {
        self.normal_product(side, plan, diagonal, values, out)
    }

    /// Are the entries of a plan kept from one product to the next, so that the second of many costs no exponentials? The default is no.
    fn keeps_entries(&self) -> bool {
        false
    }

    /// For the atoms i of `side`: out_i = sum_j a_i b_j h*''(z_ij) values_j. For entropy this is the plan applied.
    ///
    /// # Errors
    /// A failure of the device.
    fn curvature_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, D>,
        values: &D::Vector,
        out: &mut D::Vector,
    ) -> Result<(), Error>;

    /// Does the kernel tell the plan between [cells](Self::cells)? The default is no.
    fn has_cells(&self) -> bool {
        false
    }

    /// The plan of one column of the batch summed over cells of neighbouring atoms, on the host: what couples parts of the plan
    /// that are far from each other, for solvers that would pass from neighbour to neighbour. By default there are none.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] without cells; [`Error::OutOfMemory`], a failure of the device.
    fn cells(&mut self, plan: PlanView<'_, D>, column: usize) -> Result<PlanCells, Error> {
        let _ = (plan, column);
        Err(Error::MissingCapability("the plan between cells"))
    }
}

/// A plan summed over cells of neighbouring atoms.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanCells {
    /// The cell of each atom, of the source and of the target: whole numbers from 0 on.
    pub of_atoms: [Vec<u32>; 2],
    /// (cell of the source, cell of the target, mass between them), in this order, as accurate as single precision. Masses below
    /// 1e-6 of both cells may be left out.
    pub masses: Vec<(u32, u32, f64)>,
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

/// The pairs to list: those with C_ij - f_i - g_j <= base + s_i + t_j.
#[derive(Copy, Clone, Debug)]
pub struct ArcThreshold<'a> {
    /// The same for all pairs.
    pub base: f64,
    /// s and t, one for each atom: heavy atoms need arcs of larger reduced cost than light ones.
    pub atoms: Option<[&'a [f64]; 2]>,
}

impl ArcThreshold<'_> {
    /// One threshold for all pairs.
    #[must_use]
    pub fn uniform(base: f64) -> Self {
        Self { base, atoms: None }
    }
}

/// The limit epsilon -> 0 of a c-transform, and the arcs that matter there.
pub trait HardTransform<D: Device>: Debug {
    /// For the atoms i of `side`: out_i = min_j (C_ij - potential_j) over the j whose log-weight
    /// is not [`LOG_ZERO`](crate::LOG_ZERO), per column. If wanted, `argument` gets the
    /// minimising j (the smallest of equals; `u32::MAX` where no j is left, and the value is
    /// [`UNREACHABLE`](crate::UNREACHABLE)), column after column, which is a point where the host waits.
    ///
    /// # Errors
    /// A failure of the device.
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &D::Vector,
        log_weights: &D::Vector,
        out: &mut D::Vector,
        argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error>;

    /// All arcs of one column below a threshold, by source and then target. The host waits.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if there are more than `limit`, or a failure of the device.
    fn arcs_below(
        &mut self,
        source_potential: &D::Vector,
        target_potential: &D::Vector,
        column: usize,
        threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error>;
}
