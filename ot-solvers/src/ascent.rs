//! Ascent of the dual by its gradient: objectives for any outer optimiser, and one to go with them.
//!
//! The dual of regularised transport is smooth, and so is the semi-dual, where one side has been maximised over:
//!
//! ```text
//! D(f, g) = -sum_i a_i phi*(-f_i) - sum_j b_j psi*(-g_j) - epsilon sum_ij a_i b_j h*((f_i + g_j - C_ij) / epsilon)
//! S(g)    = max over f of D(f, g)
//! ```
//!
//! The gradient in f_i is a_i times what the density r_i of the plan's marginal lacks to the subdifferential of phi* at -f_i:
//! no more than marginals (Cuturi, Peyre 2016; Blondel, Seguy, Rolet 2018). Without a regularizer, f is the c-transform of
//! g and a supergradient of S is a histogram of nearest targets.
//!
//! [`DualObjective`], [`SemiDualObjective`] and [`HardSemiDualObjective`] give values and gradients on the device,
//! one problem for each column; [`Lbfgs`] climbs any [`ConcaveObjective`]; [`DualAscent`] puts them together into a solver
//! beside Sinkhorn's, for any regularizer of the plan.

mod dual;
mod lbfgs;
mod semidual;
mod solver;

use std::fmt::Debug;

use ot_core::{Backend, Device, Error};

pub(crate) use self::solver::climb_towards;
pub use self::{
    dual::DualObjective,
    lbfgs::{Ascended, Lbfgs, Watch},
    semidual::{HardSemiDualObjective, SemiDualObjective},
    solver::{Ascent, DualAscent, DualAscentRun},
};

/// Concave functions of blocks of variables, one for each column of a batch.
///
/// Gradients are those of the inner product <u, v> = sum_k w_k u_k v_k with the weights of the block: of a function of
/// potentials, densities and not masses, so that no atom is slow because it is light.
pub trait ConcaveObjective<D: Device>: Debug {
    /// The backend of the variables.
    fn backend(&self) -> &dyn Backend<D>;

    /// Number of columns.
    fn columns(&self) -> usize;

    /// The weights of a block: one column that serves all, or a column for each.
    fn weights(&self, block: usize) -> &D::Vector;

    /// The values and the gradients at a point, block by block.
    ///
    /// # Errors
    /// A failure of the device.
    fn evaluate(
        &mut self,
        point: &[D::Vector],
        gradient: &mut [D::Vector],
        value: &mut D::Reduced,
    ) -> Result<(), Error>;
}
