//! The kernel of one solve, met only through c-transforms, densities, bounds and products of its plan.
//!
//! With potentials f (n x columns) and g (m x columns), weights a and b, a cost C and a regularizer h, the plan is
//!
//! ```text
//! P_ij = a_i b_j h*'(z_ij)        z_ij = (f_i + g_j - C_ij) / epsilon
//! ```
//!
//! A kernel knows C, h and one epsilon. It is bound by a [`Geometry`], owns its scratch space and is never asked for its
//! entries. Solvers and certificates see a [`KernelOp`] and do not know which regularizer it has.
//!
//! - A [`PlanOperator`] says what it is bound to, applies the plan to values, and gives access to what only some kernels
//!   can do ([`capability`]).
//! - A [`KernelOp`] adds what depends on the regularizer: the c-transform of a side under a penalty, the densities of the
//!   marginals, a bound on the Fenchel gap of a rounded plan. Sweeps follow from these.
//! - A [`GibbsKernel`] is a kernel of entropy. It implements [`softmin`](GibbsKernel::softmin), of which all of
//!   [`KernelOp`] follows; fused passes are overrides.
//!
//! The contract, in short:
//!
//! 1. Potentials in, potentials out, at any epsilon, accurate to the [precision](crate::backend::Precision) of the
//!    backend. A half-step or a sweep may be off by a thousandth of what it moves, which vanishes as it converges;
//!    c-transforms and densities may not.
//! 2. The previous potential is handed in as a guess, so no running maximum is needed; rows whose guess was too far off
//!    are done again with one.
//! 3. By-products of a sweep are hints about the entering iterate. Convergence is claimed after a certificate only.
//! 4. A batch has columns; inactive columns are not read, and what is written to them means nothing, but for the
//!    potentials of a sweep, which stay as they are.
//! 5. Sweeps may rely on weights that are fixed for the life of a binding, unless the caller recenters. Everything else
//!    takes weights and potentials from the [`PlanView`] as given.
//! 6. Nothing is allocated and nothing is waited for in c-transforms, densities, sweeps and products.

mod binding;
mod c_transform;
pub mod capability;
mod capped;
pub mod geometry;
mod gibbs;
mod operator;
mod rounding;
mod sweep;
mod view;

pub use self::{
    binding::Binding,
    c_transform::{CTransform, Entering},
    capped::CappedPlan,
    geometry::{CloudPair, CostStatistics, Elem, Geometry, GeometryBuilder},
    gibbs::{GibbsKernel, SoftMin},
    operator::PlanOperator,
    rounding::{PlanRounding, RoundedColumn, RoundedFactors, RoundedSide, RoundedValue},
    sweep::{ByProducts, Sweep, half_step, simultaneous_sweep},
    view::{ActiveColumns, DeviceWeights, PlanSide, PlanView, Potentials},
};
pub(crate) use self::{
    capped::{ScaledWeights, scale_down},
    rounding::unit_factors,
};

use crate::{
    backend::{Backend, Device},
    error::Error,
    penalty::RecordedPenalty,
    side::Side,
};

/// What every kernel answers, whatever regularizer its plan has.
pub trait KernelOp<D: Device>: PlanOperator<D> {
    /// The best potential of one side for given potentials of the other, and, if asked, what the plan was before; see
    /// [`CTransform`]. Finite for finite input.
    ///
    /// # Errors
    /// A failure of the device.
    fn c_transform(
        &mut self,
        backend: &dyn Backend<D>,
        request: CTransform<'_, D>,
        out: &mut D::Vector,
        entering: Option<Entering<'_, D>>,
    ) -> Result<(), Error>;

    /// The c-transforms of both sides at one pair of potentials. The default is two c-transforms; a kernel that makes its
    /// entries as it goes answers with one pass.
    ///
    /// # Errors
    /// A failure of the device.
    fn c_transforms(
        &mut self,
        backend: &dyn Backend<D>,
        penalties: [&RecordedPenalty; 2],
        plan: PlanView<'_, D>,
        active: &ActiveColumns,
        out: [&mut D::Vector; 2],
        entering: Option<[Entering<'_, D>; 2]>,
    ) -> Result<(), Error> {
        let entering = entering.map_or([None, None], |sides| sides.map(Some));
        for (((side, penalty), out), entering) in Side::BOTH.into_iter().zip(penalties).zip(out).zip(entering) {
            self.c_transform(backend, CTransform { side, plan, penalty, active }, out, entering)?;
        }
        Ok(())
    }

    /// The densities of one marginal of the plan with respect to its weights,
    ///
    /// ```text
    /// r_i = sum_j b_j h*'(z_ij)
    /// ```
    ///
    /// and, if asked, sum_ij a_i b_j (h*(z_ij) + h(0)) for each column: the mass of the plan if h is entropy. A density
    /// beyond the range of the element type is infinite.
    ///
    /// # Errors
    /// A failure of the device.
    fn density(
        &mut self,
        backend: &dyn Backend<D>,
        side: Side,
        plan: PlanView<'_, D>,
        active: &ActiveColumns,
        out: &mut D::Vector,
        conjugate: Option<&mut D::Reduced>,
    ) -> Result<(), Error>;

    /// The [densities](Self::density) of both marginals. The default is one after the other; a kernel that makes its
    /// entries as it goes answers with one pass.
    ///
    /// # Errors
    /// A failure of the device.
    fn densities(
        &mut self,
        backend: &dyn Backend<D>,
        plan: PlanView<'_, D>,
        active: &ActiveColumns,
        out: [&mut D::Vector; 2],
        conjugate: &mut D::Reduced,
    ) -> Result<(), Error> {
        let [source, target] = out;
        self.density(backend, Side::Source, plan, active, source, Some(conjugate))?;
        self.density(backend, Side::Target, plan, active, target, None)
    }

    /// The [densities](Self::density) of both marginals, and those of the columns once every row whose density is above
    /// `highest` is scaled down to it; see [`CappedPlan`]. Infinity caps no row. The default is densities of both sides and, if
    /// rows may be capped, one more of the target, for which it allocates; a kernel that makes its entries as it goes answers
    /// with one pass.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], a failure of the device.
    fn capped_densities(
        &mut self,
        backend: &dyn Backend<D>,
        plan: PlanView<'_, D>,
        highest: f64,
        active: &ActiveColumns,
        out: CappedPlan<'_, D>,
        conjugate: &mut D::Reduced,
    ) -> Result<(), Error> {
        capped::capped_densities(self, backend, plan, highest, active, out, conjugate)
    }

    /// Upper bounds of the Fenchel gap of a rounded plan P' = a_i b_j p'_ij, and of what of it does not depend on the plan's
    /// mass, for each column:
    ///
    /// ```text
    /// sum_ij a_i b_j (h(p'_ij) + h*(z_ij) - z_ij p'_ij)    <=  gap      KL(P' | P) for entropy
    /// sum_ij a_i b_j (h(p'_ij) - h(0)     - z_ij p'_ij)    <=  value    KL(P' | P) - mass(P) for entropy
    /// ```
    ///
    /// Both are told because they cancel: the gap is small where P' is near P, and the value of P' does not lose its
    /// digits to a P of great mass. Infinite for mass on forbidden pairs, and where no bound is known.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], a failure of the device.
    fn fenchel_gap(
        &mut self,
        backend: &dyn Backend<D>,
        plan: PlanView<'_, D>,
        rounding: PlanRounding<'_, D>,
        out: RoundedValue<'_, D>,
    ) -> Result<(), Error>;

    /// A potential of `side` at which its rows of the plan are those of the plan up to a factor for each row, chosen so
    /// that they are far from the ends of the number range where the kernel knows how: what conditional
    /// distributions are normalised from. The default is the potential itself.
    ///
    /// # Errors
    /// A failure of the device.
    fn conditional_potential(
        &mut self,
        backend: &dyn Backend<D>,
        side: Side,
        plan: PlanView<'_, D>,
        out: &mut D::Vector,
    ) -> Result<(), Error> {
        backend.copy(plan.side(side).potential, out)
    }

    /// One side of an iteration: its potential moves towards its c-transform; see [`Sweep`]. The default is a c-transform
    /// and a relaxed step.
    ///
    /// # Errors
    /// A failure of the device.
    fn half_step(&mut self, backend: &dyn Backend<D>, side: Side, sweep: &mut Sweep<'_, D>) -> Result<(), Error> {
        half_step(self, backend, side, sweep)
    }

    /// One full iteration; see [`Sweep`]. The default is both half-steps, the source first.
    ///
    /// # Errors
    /// A failure of the device.
    fn sweep(&mut self, backend: &dyn Backend<D>, mut sweep: Sweep<'_, D>) -> Result<(), Error> {
        self.half_step(backend, Side::Source, &mut sweep)?;
        self.half_step(backend, Side::Target, &mut sweep)
    }
}
