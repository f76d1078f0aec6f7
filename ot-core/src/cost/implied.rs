//! The cost of a kernel that is given, and not made of a cost.

use super::{CostForm, GroundCost};

/// C = -epsilon log K of a given kernel K: a diffusion on a mesh or a graph, say. It is no function of two points, so that
/// only the geometry that holds the kernel can be asked for it.
///
/// It stands where a builder expects a cost, and the builder is that geometry. Any other refuses it: its rows are NaN.
///
/// ```
/// use ot_core::{CostForm, GroundCost, ImpliedCost};
///
/// assert!(matches!(ImpliedCost.form(), CostForm::Implied));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImpliedCost;

impl GroundCost for ImpliedCost {
    fn form(&self) -> CostForm<'_> {
        CostForm::Implied
    }

    fn costs_f64(&self, _: &[f64], _: &[f64], out: &mut [f64]) {
        out.fill(f64::NAN);
    }

    fn costs_f32(&self, _: &[f32], _: &[f32], out: &mut [f32]) {
        out.fill(f32::NAN);
    }
}
