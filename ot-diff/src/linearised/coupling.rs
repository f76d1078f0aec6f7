//! What the linearised half-steps do to each other, and the Schur complement of one of them.
//!
//! With G_ij = exp((s_i + t_j - C_ij) / epsilon) and the inner weights omega,
//!
//! ```text
//! T sigma_b = G diag(omega_b)      S sigma_a = G^T diag(omega_a)      1 - S sigma_a T sigma_b = 1 - G^T diag(omega_a) G diag(omega_b)
//! ```
//!
//! so that a kernel with a [`PlanProduct`](ot_core::PlanProduct) gives the Schur complement in one pass over the pairs, and may keep
//! the entries of G from one step to the next. Other kernels apply T and S in turn.

use ot_core::{Device, Error, KernelOp, Operand, Program, Side};

use super::Linearised;
use crate::{algebra::Sided, optimum::Optimum};

/// The couplings of a [`Linearised`] problem, with scratch space.
pub(crate) struct Coupling<'a, D: Device> {
    optimum: &'a Optimum<D>,
    kernel: &'a mut dyn KernelOp<D>,
    slopes: &'a Sided<D::Vector>,
    inner_weights: &'a Sided<D::Vector>,
    scratch: Sided<D::Vector>,
    multiply: Program,
    subtract: Program,
}

impl<'a, D: Device> Coupling<'a, D> {
    pub(super) fn new(
        optimum: &'a Optimum<D>,
        kernel: &'a mut dyn KernelOp<D>,
        slopes: &'a Sided<D::Vector>,
        inner_weights: &'a Sided<D::Vector>,
    ) -> Result<Self, Error> {
        Ok(Self {
            scratch: Sided::try_new(|side| optimum.frame.unwritten(side))?,
            multiply: Program::record(|[x, y]| [x * y])?,
            subtract: Program::record(|[x, y]| [x - y])?,
            optimum,
            kernel,
            slopes,
            inner_weights,
        })
    }

    /// out = T sigma_b change for the source, S sigma_a change for the target: the conditional expectation, given the atoms of
    /// `side`, of how the potential of the other side moves.
    pub(crate) fn respond(&mut self, side: Side, change: &D::Vector, out: &mut D::Vector) -> Result<(), Error> {
        let other = side.opposite();
        let is_fused = self.kernel.plan_product().is_some();
        let factor = if is_fused { &self.inner_weights[other] } else { &self.slopes[other] };
        let backend = self.optimum.frame.backend();
        let operands = [factor, change].map(Operand::Vector);
        backend.map(&self.multiply, &operands, &mut [&mut self.scratch[other]])?;
        match is_fused {
            true => self.optimum.apply_gibbs(&mut *self.kernel, side, &self.scratch[other], out),
            false => self.kernel.apply(side, self.optimum.conditional(side), &self.scratch[other], out),
        }
    }

    /// out = S sigma_a T sigma_b change.
    pub(crate) fn respond_twice(&mut self, change: &D::Vector, out: &mut D::Vector) -> Result<(), Error> {
        let Self { optimum, kernel, slopes, inner_weights, scratch, multiply, .. } = self;
        let (backend, Sided { source, target }) = (optimum.frame.backend(), scratch);
        let weigh = |factor: &D::Vector, values, out: &mut D::Vector| {
            backend.map(multiply, &[Operand::Vector(factor), values], &mut [out])
        };
        if let Some(product) = kernel.plan_product() {
            weigh(&inner_weights.target, Operand::Vector(change), target)?;
            return product.normal_product(Side::Target, optimum.gibbs(), &inner_weights.source, target, out);
        }
        weigh(&slopes.target, Operand::Vector(change), target)?;
        kernel.apply(Side::Source, optimum.conditional(Side::Source), target, source)?;
        weigh(&slopes.source, Operand::Output(0), source)?;
        kernel.apply(Side::Target, optimum.conditional(Side::Target), source, out)
    }

    /// out = change - S sigma_a T sigma_b change.
    pub(crate) fn complement(&mut self, change: &D::Vector, out: &mut D::Vector) -> Result<(), Error> {
        self.respond_twice(change, out)?;
        let operands = [Operand::Vector(change), Operand::Output(0)];
        self.optimum.frame.backend().map(&self.subtract, &operands, &mut [out])
    }
}

impl<D: Device> Linearised<D> {
    /// The couplings of both half-steps.
    pub(crate) fn coupling(&mut self) -> Result<Coupling<'_, D>, Error> {
        Coupling::new(&self.optimum, self.kernel.as_mut(), &self.slopes, &self.inner_weights)
    }
}
