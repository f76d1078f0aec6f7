//! Sums over the entries of a plan, row by row.

use ot_core::{Binding, Error, PlanView, Side};

use super::costs::Costs;
use crate::{backend::Wgpu, vector::DeviceVector};

/// TODO.
#[derive(Debug)]
pub(super) struct Sums<'a> {
    side: Side,
    plan: PlanView<'a, Wgpu>,
    binding: Binding,
}

impl<'a> Sums<'a> {
    pub(super) fn of_plan(side: Side, plan: PlanView<'a, Wgpu>, binding: &Binding) -> Self {
        Self { side, plan, binding: *binding }
    }
    pub(super) fn of_values(&self, costs: &Costs, values: &DeviceVector, out: &DeviceVector) -> Result<(), Error> {
        Err(Error::MissingCapability("x"))
    }
}
