//! What both reference kernels answer from their plan: binding, products and capabilities.

use super::{general::ReferenceKernel, gibbs::ReferenceGibbs};
use crate::{
    error::Error,
    host::{Host, HostVector},
    kernel::{
        Binding, PlanOperator, PlanView,
        capability::{CostDerivative, HardTransform, PlanProduct, TransportCost},
    },
    scalar::Scalar,
    side::Side,
};

/// Implements [`PlanOperator`] for a kernel by its field `plan`.
macro_rules! implement_plan_operator {
    ($kernel:ident) => {
        impl<T: Scalar> PlanOperator<Host<T>> for $kernel<T> {
            fn binding(&self) -> &Binding {
                &self.plan.binding
            }

            fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
                self.plan.binding.rebind(epsilon)
            }

            fn apply(
                &mut self,
                side: Side,
                plan: PlanView<'_, Host<T>>,
                values: &HostVector<T>,
                out: &mut HostVector<T>,
            ) -> Result<(), Error> {
                self.plan.apply(side, plan, values, out);
                Ok(())
            }

            fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<Host<T>>> {
                Some(&mut self.plan)
            }

            fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<Host<T>>> {
                Some(&mut self.plan)
            }

            fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<Host<T>>> {
                Some(&mut self.plan)
            }

            fn plan_product(&mut self) -> Option<&mut dyn PlanProduct<Host<T>>> {
                Some(&mut self.plan)
            }
        }
    };
}

implement_plan_operator!(ReferenceKernel);
implement_plan_operator!(ReferenceGibbs);
