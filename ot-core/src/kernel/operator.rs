//! The plan as an operator on values.

use std::fmt::Debug;

use super::{
    Binding, PlanView,
    capability::{CostDerivative, HardTransform, PlanProduct, TransportCost},
};
use crate::{backend::Device, error::Error, side::Side};

/// A kernel bound to a shape and an epsilon, as an operator on values, with accessors of what only some kernels can do.
pub trait PlanOperator<D: Device>: Debug + Send {
    /// Shape and epsilon.
    fn binding(&self) -> &Binding;

    /// Binds another epsilon without moving data.
    ///
    /// # Errors
    /// [`Error::Epsilon`]; [`Error::FixedEpsilon`] from a kernel that exists at one epsilon only.
    fn rebind(&mut self, epsilon: f64) -> Result<(), Error>;

    /// The plan applied to values: for the atoms i of `side`,
    ///
    /// ```text
    /// out_i = sum_j P_ij values_j
    /// ```
    ///
    /// `values` has c columns for each column of the batch (column k of the batch takes k c, ..., (k + 1) c - 1), and so
    /// has `out`. Unlike potentials and weights, no column of `values` serves several columns of the batch.
    ///
    /// # Errors
    /// A failure of the device.
    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, D>,
        values: &D::Vector,
        out: &mut D::Vector,
    ) -> Result<(), Error>;

    /// Names potentials near those to come, to absorb and refine around. A hint: results do not depend on it beyond
    /// rounding. The default does nothing.
    ///
    /// # Errors
    /// A failure of the device.
    fn recenter(&mut self, plan: PlanView<'_, D>) -> Result<(), Error> {
        let _ = plan;
        Ok(())
    }

    /// The largest part of the density of an atom that the kernel's c-transforms and densities leave out, because the pairs that
    /// carry it are not looked at: a bound, which certificates add to the rounding. The default is 0, that of a kernel that
    /// looks at all pairs.
    fn left_out(&self) -> f64 {
        0.0
    }

    /// Number of atoms of a side. The default is that of the [binding](Self::binding), as for the two below.
    fn len(&self, side: Side) -> usize {
        self.binding().len(side)
    }

    /// Number of columns of the batch.
    fn columns(&self) -> usize {
        self.binding().columns()
    }

    /// The epsilon.
    fn epsilon(&self) -> f64 {
        self.binding().epsilon()
    }

    /// <P, C> and other sums of the cost itself. A low-rank or heat kernel has none, and that is the default.
    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<D>> {
        None
    }

    /// Derivatives of the cost in its own parameters, under the plan. The default has none.
    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<D>> {
        None
    }

    /// The hard c-transform and the arcs of small reduced cost. The default has none.
    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<D>> {
        None
    }

    /// Products with the plan and its transpose in one pass. The default has none.
    fn plan_product(&mut self) -> Option<&mut dyn PlanProduct<D>> {
        None
    }
}
