//! The marginals of a plan, and of the plan whose rows are scaled down to a highest density: what a rounding asks for.
//!
//! ```text
//! r_i = (P 1)_i / a_i        x_i = min(1, h / r_i)        (P^T 1)_j / b_j        (P^T x)_j / b_j
//! ```
//!
//! The sums of a row are known before it is met again for those of the columns. So a kernel that makes its entries as it goes
//! answers all of it in one pass.

use super::{ActiveColumns, GibbsKernel, KernelOp, PlanSide, PlanView, SoftMin};
use crate::{
    backend::{Backend, Device, Operand},
    error::Error,
    program::recorded,
    real::Real,
    scalar::LOG_ZERO,
    side::Side,
};

/// What is told of a plan and of the plan with capped rows: densities from [`KernelOp::capped_densities`], softmins from
/// [`GibbsKernel::capped_softmins`].
#[derive(Debug)]
pub struct CappedPlan<'a, D: Device> {
    /// Of the rows of P.
    pub source: &'a mut D::Vector,
    /// Of the columns of P.
    pub target: &'a mut D::Vector,
    /// log x: never positive, [`LOG_ZERO`] for a row that is taken out.
    pub log_scaling: &'a mut D::Vector,
    /// Of the columns of diag(x) P.
    pub capped: &'a mut D::Vector,
}

impl<D: Device> CappedPlan<'_, D> {
    /// The same places, for a call.
    pub fn reborrow(&mut self) -> CappedPlan<'_, D> {
        CappedPlan {
            source: &mut *self.source,
            target: &mut *self.target,
            log_scaling: &mut *self.log_scaling,
            capped: &mut *self.capped,
        }
    }

    /// No row is capped.
    fn copy_target(self, backend: &dyn Backend<D>) -> Result<(), Error> {
        backend.fill(0.0, self.log_scaling)?;
        backend.copy(self.target, self.capped)
    }
}

/// The default of [`KernelOp::capped_densities`]: the densities of both sides, and those of the columns once more.
pub(super) fn capped_densities<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    backend: &dyn Backend<D>,
    plan: PlanView<'_, D>,
    highest: f64,
    active: &ActiveColumns,
    out: CappedPlan<'_, D>,
    conjugate: &mut D::Reduced,
) -> Result<(), Error> {
    kernel.densities(backend, plan, active, [&mut *out.source, &mut *out.target], conjugate)?;
    if highest == f64::INFINITY {
        return out.copy_target(backend);
    }
    scale_down(backend, out.source, highest, out.log_scaling)?;
    let scaled = ScaledWeights::new(backend, plan.source, out.log_scaling)?;
    kernel.density(backend, Side::Target, scaled.of(Side::Source, plan), active, out.capped, None)
}

/// The default of [`GibbsKernel::capped_softmins`]: the softmins of both sides, and that of the columns once more.
pub(super) fn capped_softmins<D: Device, K: GibbsKernel<D> + ?Sized>(
    kernel: &mut K,
    backend: &dyn Backend<D>,
    plan: PlanView<'_, D>,
    highest: f64,
    active: &ActiveColumns,
    out: CappedPlan<'_, D>,
) -> Result<(), Error> {
    kernel.softmins(plan, active, [&mut *out.source, &mut *out.target])?;
    if highest == f64::INFINITY {
        return out.copy_target(backend);
    }
    let log_scaling = recorded!(|[f, s, epsilon, log_high]| [(log_high - (f - s) / epsilon).clamp(LOG_ZERO, 0.0)])?;
    let [f, s] = [plan.source.potential, &*out.source].map(Operand::Vector);
    let [epsilon, log_high] = [kernel.epsilon(), highest.ln()].map(Operand::Constant);
    backend.map(log_scaling, &[f, s, epsilon, log_high], &mut [&mut *out.log_scaling])?;
    let scaled = ScaledWeights::new(backend, plan.source, out.log_scaling)?;
    let other = scaled.of(Side::Source, plan).source;
    kernel.softmin(SoftMin { side: Side::Target, other, shift: plan.target.potential, active }, out.capped)
}

/// log min(1, highest / density).
pub(crate) fn scale_down<D: Device>(
    backend: &dyn Backend<D>,
    density: &D::Vector,
    highest: f64,
    log_scaling: &mut D::Vector,
) -> Result<(), Error> {
    let program = recorded!(|[density, log_high]| [(log_high - density.ln()).clamp(LOG_ZERO, 0.0)])?;
    let operands = [Operand::Vector(density), Operand::Constant(highest.ln())];
    backend.map(program, &operands, &mut [log_scaling])
}

/// The weights of a side, scaled.
#[derive(Debug)]
pub(crate) struct ScaledWeights<D: Device> {
    weights: D::Vector,
    logarithms: D::Vector,
}

impl<D: Device> ScaledWeights<D> {
    /// The weights of a side times exp(log_scaling), and their logarithms.
    pub(crate) fn new(backend: &dyn Backend<D>, side: PlanSide<'_, D>, log_scaling: &D::Vector) -> Result<Self, Error> {
        let (rows, columns) = backend.shape(log_scaling);
        let (mut weights, mut logarithms) = (backend.alloc(rows, columns)?, backend.alloc(rows, columns)?);
        let scaled_weight = recorded!(|[weight, log]| [weight * log.exp()])?;
        let scaled_logarithm = recorded!(|[log_weight, log]| [log_weight + log])?;
        backend.map(scaled_weight, &[side.weights, log_scaling].map(Operand::Vector), &mut [&mut weights])?;
        backend.map(scaled_logarithm, &[side.log_weights, log_scaling].map(Operand::Vector), &mut [&mut logarithms])?;
        Ok(Self { weights, logarithms })
    }

    /// A plan with these weights on one side.
    pub(crate) fn of<'a>(&'a self, side: Side, plan: PlanView<'a, D>) -> PlanView<'a, D> {
        plan.with_side(side, PlanSide { weights: &self.weights, log_weights: &self.logarithms, ..plan.side(side) })
    }
}
