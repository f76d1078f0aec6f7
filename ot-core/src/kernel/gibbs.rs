//! Kernels of entropy, whose c-transforms factor through a softmin.
//!
//! The densities of a plan of entropy factor, r_i = exp((f_i - s_i) / epsilon) with the softmin
//! s_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon). One softmin thereby tells the c-transform under any penalty,
//! the density of the marginal, and by how much a rounded plan exceeds the plan.

use std::sync::LazyLock;

use super::{
    ActiveColumns, CTransform, CappedPlan, Entering, KernelOp, PlanOperator, PlanRounding, PlanSide, PlanView,
    RoundedValue, Sweep, capped::capped_softmins, half_step, rounding::entropic_gap,
};
use crate::{
    backend::{Backend, Device, Fold, Operand},
    error::Error,
    penalty::{PenaltyKind, RecordedPenalty, bounded_exp},
    program::{Program, ProgramError},
    real::Real,
    side::Side,
};

/// The question that a softmin answers: for the atoms i of `side`, summing over the atoms j of the other,
///
/// ```text
/// out_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon)
///       = shift_i - epsilon log sum_j b_j exp((shift_i + g_j - C_ij) / epsilon)
/// ```
///
/// with [`UNREACHABLE`](crate::UNREACHABLE), at any epsilon, for an atom that no atom with weight is left for.
#[derive(Debug)]
pub struct SoftMin<'a, D: Device> {
    /// The side that gets values.
    pub side: Side,
    /// Potential, weights and log-weights of the other side. Log-weights of [`LOG_ZERO`](crate::LOG_ZERO) leave an atom
    /// out. Weights may underflow where log-weights do not; a kernel may read either.
    pub other: PlanSide<'a, D>,
    /// A guess of the result: the previous potential of `side`.
    pub shift: &'a D::Vector,
    /// The columns wanted. Others keep what `out` held.
    pub active: &'a ActiveColumns,
}

impl<D: Device> Copy for SoftMin<'_, D> {}
impl<D: Device> Clone for SoftMin<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

/// A kernel of entropy, exp(-C / epsilon): dense, streamed, of low rank, separable on a grid, a diffusion.
///
/// Four methods are required: [`softmin`](Self::softmin) here, and [`binding`](PlanOperator::binding),
/// [`rebind`](PlanOperator::rebind) and [`apply`](PlanOperator::apply) of [`PlanOperator`]. Every Gibbs kernel is a
/// [`KernelOp`].
pub trait GibbsKernel<D: Device>: PlanOperator<D> {
    /// The smoothed minimum of C_ij - g_j; see [`SoftMin`]. Finite for finite input.
    ///
    /// # Errors
    /// A failure of the device.
    fn softmin(&mut self, request: SoftMin<'_, D>, out: &mut D::Vector) -> Result<(), Error>;

    /// The softmins of both sides at one pair of potentials, which are the shifts too. The default is two softmins; a
    /// kernel that makes its entries as it goes answers with one pass.
    ///
    /// # Errors
    /// A failure of the device.
    fn softmins(
        &mut self,
        plan: PlanView<'_, D>,
        active: &ActiveColumns,
        out: [&mut D::Vector; 2],
    ) -> Result<(), Error> {
        for (side, out) in Side::BOTH.into_iter().zip(out) {
            let (shift, other) = (plan.side(side).potential, plan.side(side.opposite()));
            self.softmin(SoftMin { side, other, shift, active }, out)?;
        }
        Ok(())
    }

    /// The softmins of both sides at one pair of potentials, which are the shifts too, and that of the target once every row
    /// whose density exp((f_i - s_i) / epsilon) is above `highest` is scaled down to it; see [`CappedPlan`]. Infinity caps no
    /// row. The default is the softmins of both sides and, if rows may be capped, one more of the target; a kernel that makes its
    /// entries as it goes answers with one pass.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], a failure of the device.
    fn capped_softmins(
        &mut self,
        backend: &dyn Backend<D>,
        plan: PlanView<'_, D>,
        highest: f64,
        active: &ActiveColumns,
        out: CappedPlan<'_, D>,
    ) -> Result<(), Error> {
        capped_softmins(self, backend, plan, highest, active, out)
    }

    /// [`KernelOp::half_step`], for a kernel that has a faster one than the default, by softmins.
    ///
    /// # Errors
    /// A failure of the device.
    fn fused_half_step(&mut self, backend: &dyn Backend<D>, side: Side, sweep: &mut Sweep<'_, D>) -> Result<(), Error> {
        half_step(self, backend, side, sweep)
    }

    /// [`KernelOp::sweep`], for a kernel that fuses both half-steps, which are the default.
    ///
    /// # Errors
    /// A failure of the device.
    fn fused_sweep(&mut self, backend: &dyn Backend<D>, mut sweep: Sweep<'_, D>) -> Result<(), Error> {
        self.fused_half_step(backend, Side::Source, &mut sweep)?;
        self.fused_half_step(backend, Side::Target, &mut sweep)
    }
}

impl<D: Device, K: GibbsKernel<D> + ?Sized> KernelOp<D> for K {
    fn c_transform(
        &mut self,
        backend: &dyn Backend<D>,
        request: CTransform<'_, D>,
        out: &mut D::Vector,
        entering: Option<Entering<'_, D>>,
    ) -> Result<(), Error> {
        let CTransform { side, plan, penalty, active } = request;
        let (own, other, epsilon) = (plan.side(side), plan.side(side.opposite()), self.epsilon());
        self.softmin(SoftMin { side, other, shift: own.potential, active }, out)?;
        if let Some(entering) = entering {
            tell(backend, own, out, epsilon, self.len(side), entering)?;
        }
        step(backend, penalty, epsilon, out)
    }

    fn c_transforms(
        &mut self,
        backend: &dyn Backend<D>,
        penalties: [&RecordedPenalty; 2],
        plan: PlanView<'_, D>,
        active: &ActiveColumns,
        [source, target]: [&mut D::Vector; 2],
        entering: Option<[Entering<'_, D>; 2]>,
    ) -> Result<(), Error> {
        let epsilon = self.epsilon();
        self.softmins(plan, active, [&mut *source, &mut *target])?;
        if let Some([of_source, of_target]) = entering {
            tell(backend, plan.source, source, epsilon, self.len(Side::Source), of_source)?;
            tell(backend, plan.target, target, epsilon, self.len(Side::Target), of_target)?;
        }
        step(backend, penalties[0], epsilon, source)?;
        step(backend, penalties[1], epsilon, target)
    }

    fn density(
        &mut self,
        backend: &dyn Backend<D>,
        side: Side,
        plan: PlanView<'_, D>,
        active: &ActiveColumns,
        out: &mut D::Vector,
        conjugate: Option<&mut D::Reduced>,
    ) -> Result<(), Error> {
        let (own, other, epsilon) = (plan.side(side), plan.side(side.opposite()), self.epsilon());
        self.softmin(SoftMin { side, other, shift: own.potential, active }, out)?;
        density(backend, own, epsilon, out)?;
        match conjugate {
            Some(conjugate) => mass(backend, own.weights, out, self.len(side), conjugate),
            None => Ok(()),
        }
    }

    fn densities(
        &mut self,
        backend: &dyn Backend<D>,
        plan: PlanView<'_, D>,
        active: &ActiveColumns,
        [source, target]: [&mut D::Vector; 2],
        conjugate: &mut D::Reduced,
    ) -> Result<(), Error> {
        let epsilon = self.epsilon();
        self.softmins(plan, active, [&mut *source, &mut *target])?;
        density(backend, plan.source, epsilon, source)?;
        density(backend, plan.target, epsilon, target)?;
        mass(backend, plan.source.weights, source, self.len(Side::Source), conjugate)
    }

    fn capped_densities(
        &mut self,
        backend: &dyn Backend<D>,
        plan: PlanView<'_, D>,
        highest: f64,
        active: &ActiveColumns,
        mut out: CappedPlan<'_, D>,
        conjugate: &mut D::Reduced,
    ) -> Result<(), Error> {
        let epsilon = self.epsilon();
        self.capped_softmins(backend, plan, highest, active, out.reborrow())?;
        density(backend, plan.source, epsilon, out.source)?;
        density(backend, plan.target, epsilon, out.target)?;
        density(backend, plan.target, epsilon, out.capped)?;
        mass(backend, plan.source.weights, out.source, self.len(Side::Source), conjugate)
    }

    fn fenchel_gap(
        &mut self,
        backend: &dyn Backend<D>,
        plan: PlanView<'_, D>,
        rounding: PlanRounding<'_, D>,
        out: RoundedValue<'_, D>,
    ) -> Result<(), Error> {
        entropic_gap(self, backend, plan, rounding, out)
    }

    /// The softmin: a potential at which every row has mass a_i.
    fn conditional_potential(
        &mut self,
        _: &dyn Backend<D>,
        side: Side,
        plan: PlanView<'_, D>,
        out: &mut D::Vector,
    ) -> Result<(), Error> {
        let (shift, other) = (plan.side(side).potential, plan.side(side.opposite()));
        let active = ActiveColumns::all(self.columns());
        self.softmin(SoftMin { side, other, shift, active: &active }, out)
    }

    fn half_step(&mut self, backend: &dyn Backend<D>, side: Side, sweep: &mut Sweep<'_, D>) -> Result<(), Error> {
        self.fused_half_step(backend, side, sweep)
    }

    fn sweep(&mut self, backend: &dyn Backend<D>, sweep: Sweep<'_, D>) -> Result<(), Error> {
        self.fused_sweep(backend, sweep)
    }
}

/// The programs that turn softmins into densities.
struct Programs {
    /// (f, s, epsilon) to exp((f - s) / epsilon).
    density: Program,
    /// The same, kept within the numbers of the element type.
    bounded_density: Program,
    /// (a, r) to a r: nothing for an atom without weight, whose density may be infinite.
    mass: Program,
}

impl Programs {
    /// Recorded at the first use.
    fn get() -> Result<&'static Self, ProgramError> {
        static PROGRAMS: LazyLock<Result<Programs, ProgramError>> = LazyLock::new(|| {
            Ok(Programs {
                density: Program::record(|[f, s, epsilon]| [((f - s) / epsilon).exp()])?,
                bounded_density: Program::record(|[f, s, epsilon]| [bounded_exp((f - s) / epsilon)])?,
                mass: Program::record(|[a, r]| [a.select(a * r, 0.0)])?,
            })
        });
        PROGRAMS.as_ref().map_err(Clone::clone)
    }
}

/// The density in the place of a softmin.
fn density<D: Device>(
    backend: &dyn Backend<D>,
    own: PlanSide<'_, D>,
    epsilon: f64,
    softmin: &mut D::Vector,
) -> Result<(), Error> {
    let operands = [Operand::Vector(own.potential), Operand::Output(0), Operand::Constant(epsilon)];
    backend.map(&Programs::get()?.density, &operands, &mut [softmin])
}

/// What a softmin tells of the entering plan.
fn tell<D: Device>(
    backend: &dyn Backend<D>,
    own: PlanSide<'_, D>,
    softmin: &D::Vector,
    epsilon: f64,
    rows: usize,
    entering: Entering<'_, D>,
) -> Result<(), Error> {
    let operands = [Operand::Vector(own.potential), Operand::Vector(softmin), Operand::Constant(epsilon)];
    backend.map(&Programs::get()?.bounded_density, &operands, &mut [&mut *entering.density])?;
    match entering.conjugate {
        Some(conjugate) => mass(backend, own.weights, entering.density, rows, conjugate),
        None => Ok(()),
    }
}

/// sum_i a_i r_i.
fn mass<D: Device>(
    backend: &dyn Backend<D>,
    weights: &D::Vector,
    density: &D::Vector,
    rows: usize,
    out: &mut D::Reduced,
) -> Result<(), Error> {
    let operands = [Operand::Vector(weights), Operand::Vector(density)];
    backend.reduce(&Programs::get()?.mass, Fold::Sum, rows, &operands, &mut [out])
}

/// The penalty's step in the place of a softmin.
fn step<D: Device>(
    backend: &dyn Backend<D>,
    penalty: &RecordedPenalty,
    epsilon: f64,
    softmin: &mut D::Vector,
) -> Result<(), Error> {
    match penalty.kind() {
        PenaltyKind::Balanced => Ok(()),
        _ => backend.map(penalty.step(), &[Operand::Output(0), Operand::Constant(epsilon)], &mut [softmin]),
    }
}
