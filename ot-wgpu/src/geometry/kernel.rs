//! The Gibbs kernel of costs on a device.

use std::sync::Arc;

use ot_core::{
    Backend, Binding, CostDerivative, Error, GibbsKernel, HardTransform, PlanOperator, PlanProduct, PlanSide, PlanView,
    Side, SoftMin, Sweep, TransportCost, kernel::half_step,
};

use super::{costs::Costs, softmin::Request, sums::Mass};
use crate::{
    backend::{Wgpu, WgpuBackend},
    vector::DeviceVector,
};

/// exp(-C / epsilon), whose entries are computed as they are needed.
#[derive(Debug)]
pub(super) struct WgpuKernel {
    pub(super) backend: WgpuBackend,
    pub(super) costs: Arc<Costs>,
    pub(super) binding: Binding,
}

impl WgpuKernel {
    pub(super) fn new(backend: &WgpuBackend, costs: &Arc<Costs>, epsilon: f64, columns: usize) -> Result<Self, Error> {
        let atoms = Side::BOTH.map(|side| costs.len(side));
        let binding = Binding::new(atoms, columns, epsilon)?;
        Ok(Self { backend: backend.clone(), costs: Arc::clone(costs), binding })
    }

    /// The entries of a plan, seen from a side.
    pub(super) fn mass<'a>(&self, side: Side, plan: PlanView<'a, Wgpu>) -> Mass<'a> {
        let sides = [plan.side(side), plan.side(side.opposite())];
        Mass::Plan {
            potentials: sides.map(|side| side.potential),
            weights: sides.map(|side| side.weights),
            epsilon: self.binding.epsilon(),
        }
    }
}

impl PlanOperator<Wgpu> for WgpuKernel {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        self.binding.rebind(epsilon)
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Wgpu>,
        values: &DeviceVector,
        out: &mut DeviceVector,
    ) -> Result<(), Error> {
        self.product(side, plan, values, out)
    }

    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Wgpu>> {
        Some(self)
    }

    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Wgpu>> {
        Some(self)
    }

    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Wgpu>> {
        Some(self)
    }

    fn plan_product(&mut self) -> Option<&mut dyn PlanProduct<Wgpu>> {
        Some(self)
    }
}

impl GibbsKernel<Wgpu> for WgpuKernel {
    fn softmin(&mut self, request: SoftMin<'_, Wgpu>, out: &mut DeviceVector) -> Result<(), Error> {
        let SoftMin { side, other, shift, active } = request;
        Request { side, epsilon: self.epsilon(), other, shift, active, step: None }.record(&self.costs, out)
    }

    /// Without by-products, the relaxed step of the penalty is the end of the second pass of the softmin.
    fn fused_half_step(
        &mut self,
        backend: &dyn Backend<Wgpu>,
        side: Side,
        sweep: &mut Sweep<'_, Wgpu>,
    ) -> Result<(), Error> {
        if sweep.by_products.is_some() {
            return half_step(self, backend, side, sweep);
        }
        let other = side.opposite();
        let request = Request {
            side,
            epsilon: self.epsilon(),
            other: PlanSide::new(sweep.potentials.side(other), sweep.marginal(other).device_weights()),
            shift: sweep.potentials.side(side),
            active: sweep.active,
            step: Some((sweep.marginal(side).penalty().relaxed_step(), sweep.relaxation)),
        };
        request.record(&self.costs, sweep.potentials.side(side))
    }
}
