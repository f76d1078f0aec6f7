//! What a kernel answers whose plan is not regularised by entropy.
//!
//! Entropy has densities of marginals that factor, r = exp((f - softmin) / epsilon): one softmin says what a law makes
//! of a row and how far it is from that. Of the plan of another [`PlanRegularizer`](crate::PlanRegularizer),
//!
//! ```text
//! P_ij = a_i b_j h*'(z_ij)        z_ij = (f_i + g_j - C_ij) / epsilon        r_i = sum_j b_j h*'(z_ij)
//! ```
//!
//! these are different questions, and a [`PlanFamily`] answers them one by one. Its softmin is the response under a
//! balanced law, the smoothed minimum of its regularizer. Everything else of [`KernelOp`](crate::KernelOp) means what
//! it always does.

use std::fmt::Debug;

use crate::{
    backend::{Backend, Fold, Operand, Side},
    error::Error,
    kernel::{ActiveColumns, PlanSide, PlanView, Sweep},
    marginal::Marginal,
    plan_regularizer::PlanPrograms,
    program::Program,
    regularizer::LawPrograms,
};

/// The question for the potentials of a side that are best for given ones of the other:
///
/// ```text
/// out_i = argmax over f of -phi*(-f) - epsilon sum_j b_j h*((f + g_j - C_ij) / epsilon)
/// ```
///
/// with [`UNREACHABLE`](crate::UNREACHABLE) for the softmin of an atom without partners.
#[derive(Debug)]
pub struct Response<'a, B: Backend> {
    /// The side that gets values.
    pub side: Side,
    /// The law of this side.
    pub law: &'a LawPrograms,
    /// Potential of the other side.
    pub potential: &'a B::Vector,
    /// Weights of the other side.
    pub weights: &'a B::Vector,
    /// A guess of the result: the previous potential of this side.
    pub shift: &'a B::Vector,
    /// The columns wanted. Others keep what `out` held.
    pub active: &'a ActiveColumns,
}

/// A plan changed by factors and by mass of its own, as densities:
///
/// ```text
/// p'_ij = x_i p_ij y_j + u_i v_j + s_i t_j
/// ```
#[derive(Debug)]
pub struct RoundedFactors<'a, B: Backend> {
    /// x and y.
    pub scaling: [&'a B::Vector; 2],
    /// u and v, and s and t.
    pub added: [[&'a B::Vector; 2]; 2],
}

impl<B: Backend> Copy for RoundedFactors<'_, B> {}
impl<B: Backend> Clone for RoundedFactors<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

/// A kernel of another plan regularizer than entropy; see [`KernelOp::family`](crate::KernelOp::family).
///
/// As with any kernel, nothing is allocated and nothing waited for.
pub trait PlanFamily<B: Backend>: Debug {
    /// The formulas of the regularizer.
    fn programs(&self) -> &PlanPrograms;

    /// The best potentials of one side; see [`Response`].
    ///
    /// # Errors
    /// A failure of the device.
    fn respond(&mut self, request: Response<'_, B>, out: &mut B::Vector) -> Result<(), Error>;

    /// The densities r_i of one marginal of the plan, and, per column, sum_ij a_i b_j (h*(z_ij) + h(0)).
    ///
    /// # Errors
    /// A failure of the device.
    fn marginal(
        &mut self,
        side: Side,
        plan: PlanView<'_, B>,
        active: &ActiveColumns,
        density: &mut B::Vector,
        conjugate: Option<&mut B::Reduced>,
    ) -> Result<(), Error>;

    /// Both at once: a kernel that makes its entries as it goes answers with one pass.
    ///
    /// # Errors
    /// A failure of the device.
    fn marginals(
        &mut self,
        plan: PlanView<'_, B>,
        active: &ActiveColumns,
        [source, target]: [&mut B::Vector; 2],
        conjugate: &mut B::Reduced,
    ) -> Result<(), Error> {
        self.marginal(Side::Source, plan, active, source, Some(conjugate))?;
        self.marginal(Side::Target, plan, active, target, None)
    }

    /// sum_ij a_i b_j (h(p'_ij) + h*(z_ij) - z_ij p'_ij), per column; infinite for mass on forbidden pairs.
    ///
    /// # Errors
    /// A failure of the device.
    fn excess(
        &mut self,
        plan: PlanView<'_, B>,
        rounded: RoundedFactors<'_, B>,
        out: &mut B::Reduced,
    ) -> Result<(), Error>;
}

/// The body of [`KernelOp::sweep`](crate::KernelOp::sweep) of a [`PlanFamily`]: two responses, each relaxed. By-products cost a
/// pass of each side.
///
/// # Errors
/// A failure of the device.
pub fn two_responses<B: Backend, K: PlanFamily<B> + ?Sized>(
    family: &mut K,
    epsilon: f64,
    backend: &B,
    sweep: Sweep<'_, B>,
) -> Result<(), Error> {
    let Sweep { source, target, potentials, relaxation, active, scratch, mut by_products } = sweep;
    for side in [Side::Source, Side::Target] {
        let (own, other, room) = match side {
            Side::Source => (source, target, &mut scratch.source),
            Side::Target => (target, source, &mut scratch.target),
        };
        if let Some(hints) = by_products.as_deref_mut() {
            let plan = PlanView {
                source: PlanSide::new(&potentials.source, source),
                target: PlanSide::new(&potentials.target, target),
            };
            let (conjugate, residual, dual) = match side {
                Side::Source => (Some(&mut hints.mass), &mut hints.source_residual, &mut hints.source_dual),
                Side::Target => (None, &mut hints.target_residual, &mut hints.target_dual),
            };
            family.marginal(side, plan, active, room, conjugate)?;
            tell(backend, own, plan.side(side), room, epsilon, residual, dual)?;
        }
        let (moving, fixed) = match side {
            Side::Source => (&mut potentials.source, &potentials.target),
            Side::Target => (&mut potentials.target, &potentials.source),
        };
        let (law, weights) = (own.law(), other.weights());
        family.respond(Response { side, law, potential: fixed, weights, shift: moving, active }, room)?;
        let operands = [Operand::Output(0), Operand::Vector(room), Operand::Reduced(relaxation)];
        backend.map(law.relaxed(), &operands, &mut [moving])?;
    }
    Ok(())
}

/// Both responses to the entering potentials, each relaxed: the averaged iteration.
///
/// # Errors
/// A failure of the device.
pub fn simultaneous_responses<B: Backend, K: PlanFamily<B> + ?Sized>(
    family: &mut K,
    epsilon: f64,
    backend: &B,
    sweep: Sweep<'_, B>,
) -> Result<(), Error> {
    let Sweep { source, target, potentials, relaxation, active, scratch, by_products } = sweep;
    let plan = PlanView {
        source: PlanSide::new(&potentials.source, source),
        target: PlanSide::new(&potentials.target, target),
    };
    if let Some(hints) = by_products {
        family.marginals(plan, active, [&mut scratch.source, &mut scratch.target], &mut hints.mass)?;
        let (residual, dual) = (&mut hints.source_residual, &mut hints.source_dual);
        tell(backend, source, plan.source, &scratch.source, epsilon, residual, dual)?;
        let (residual, dual) = (&mut hints.target_residual, &mut hints.target_dual);
        tell(backend, target, plan.target, &scratch.target, epsilon, residual, dual)?;
    }
    for (side, own, out) in [(Side::Source, source, &mut scratch.source), (Side::Target, target, &mut scratch.target)] {
        let (moving, fixed) = (plan.side(side), plan.side(side.opposite()));
        let (potential, weights) = (fixed.potential, fixed.weights);
        family.respond(Response { side, law: own.law(), potential, weights, shift: moving.potential, active }, out)?;
    }
    for (own, stepped, moving) in
        [(source, &scratch.source, &mut potentials.source), (target, &scratch.target, &mut potentials.target)]
    {
        let operands = [Operand::Output(0), Operand::Vector(stepped), Operand::Reduced(relaxation)];
        backend.map(own.law().relaxed(), &operands, &mut [moving])?;
    }
    Ok(())
}

/// Residual and dual of one side, from the densities of its marginal.
fn tell<B: Backend>(
    backend: &B,
    marginal: &Marginal<B>,
    side: PlanSide<'_, B>,
    density: &B::Vector,
    epsilon: f64,
    residual: &mut B::Reduced,
    dual: &mut B::Reduced,
) -> Result<(), Error> {
    let [f, r, a] = [side.potential, density, side.weights].map(Operand::Vector);
    let (law, rows): (&LawPrograms, usize) = (marginal.law(), marginal.len());
    let sum = |program: &Program, operands: &[Operand<'_, B>], out: &mut B::Reduced| {
        backend.reduce(program, Fold::Sum, rows, operands, &mut [out])
    };
    sum(law.residual_of_density(), &[f, r, a, Operand::Constant(epsilon)], residual)?;
    sum(law.dual(), &[f, a], dual)
}
