//! The Gibbs kernel of one solve, met only through softmins, sweeps and functionals of its plan.
//!
//! With potentials f (n x columns) and g (m x columns), weights a and b and a cost C, the plan is
//!
//! ```text
//! P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon)
//! ```
//!
//! A [`KernelOp`] knows C and one epsilon and answers questions about P. It is bound by a
//! [`Geometry`](crate::Geometry), owns its scratch space and is never asked for its entries.
//!
//! The contract, in short:
//!
//! 1. Potentials in, potentials out, at any epsilon, exact to the element type. A sweep on its way may be off by a
//!    part of what it moves (a thousandth at most), which vanishes as it converges; softmins never are.
//! 2. The previous potential is handed in as a shift, so no running maximum is needed; rows
//!    whose shift was too far off are redone with one.
//! 3. [`sweep`](KernelOp::sweep) does both half-steps and, if asked, the by-products, in as few
//!    passes as the kernel can. The default is [`two_half_steps`].
//! 4. By-products are hints about the entering iterate. Convergence is said after softmins only.
//! 5. A batch of columns from the first day; inactive columns are neither read nor written.
//! 6. Softmin and sweep may rely on weights that are fixed for the life of a binding, unless the
//!    caller recenters. `apply` and the capabilities take weights and potentials from the
//!    [`PlanView`] as given, whatever the binding has seen before.
//! 7. What a kernel can do beyond that is an accessor returning an optional trait object.
//! 8. Nothing is allocated and nothing is waited for in softmin, sweep and apply.

use std::fmt::Debug;

use crate::{
    backend::Fold,
    backend::{Backend, Operand, Side},
    capability::{CostDerivative, HardTransform, PairSum, TransportCost},
    error::Error,
    family::PlanFamily,
    marginal::Marginal,
};

/// The columns of a batch that still move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveColumns {
    active: Vec<bool>,
    indices: Vec<usize>,
}

impl ActiveColumns {
    /// All of `columns` columns.
    #[must_use]
    pub fn all(columns: usize) -> Self {
        Self { active: vec![true; columns], indices: (0..columns).collect() }
    }

    /// Takes a column out. Says whether it was still active.
    pub fn freeze(&mut self, column: usize) -> bool {
        let was_active = std::mem::replace(&mut self.active[column], false);
        self.indices.retain(|&index| index != column);
        was_active
    }

    /// Is the column active?
    #[must_use]
    pub fn contains(&self, column: usize) -> bool {
        self.active[column]
    }

    /// The active columns, ascending.
    #[must_use]
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Number of columns, active or not.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.active.len()
    }

    /// Has every column come to rest?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// Dual potentials f (n x columns) and g (m x columns) and the epsilon they belong to.
#[derive(Debug)]
pub struct Potentials<B: Backend> {
    /// f, one row for each source atom.
    pub source: B::Vector,
    /// g, one row for each target atom.
    pub target: B::Vector,
    /// The epsilon of the kernel that they were computed with.
    pub epsilon: f64,
}

impl<B: Backend> Potentials<B> {
    /// The potential of one side.
    #[must_use]
    pub fn side(&self, side: Side) -> &B::Vector {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

/// The question that a softmin answers, with [`UNREACHABLE`](crate::UNREACHABLE) for an atom that no
/// atom with weight is left for, at any epsilon: for the atoms i of `side`, summing over the atoms j of
/// the other,
///
/// ```text
/// out_i = -epsilon log sum_j exp((potential_j - C_ij) / epsilon + log_weights_j)
///       = shift_i - epsilon log sum_j exp((shift_i + potential_j - C_ij) / epsilon + log_weights_j)
/// ```
#[derive(Debug)]
pub struct SoftMin<'a, B: Backend> {
    /// The side that gets values.
    pub side: Side,
    /// Potential of the other side.
    pub potential: &'a B::Vector,
    /// Log-weights of the other side; [`LOG_ZERO`](crate::LOG_ZERO) leaves an atom out.
    pub log_weights: &'a B::Vector,
    /// A guess of the result: the previous potential of this side.
    pub shift: &'a B::Vector,
    /// The columns wanted. Others keep what `out` held.
    pub active: &'a ActiveColumns,
}

/// One side of a plan: a potential, and weights that stand before the exponential with their logarithms.
/// Each has one column that serves all of the batch, or a column for each.
#[derive(Debug)]
pub struct PlanSide<'a, B: Backend> {
    /// Potential: f or g.
    pub potential: &'a B::Vector,
    /// Weights: a or b, or others (ones turn a plan into conditional laws).
    pub weights: &'a B::Vector,
    /// Logarithms of the weights; [`LOG_ZERO`](crate::LOG_ZERO) where a weight is zero.
    pub log_weights: &'a B::Vector,
}

impl<B: Backend> Copy for PlanSide<'_, B> {}
impl<B: Backend> Clone for PlanSide<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, B: Backend> PlanSide<'a, B> {
    /// The side with the weights of a marginal.
    #[must_use]
    pub fn new(potential: &'a B::Vector, marginal: &'a Marginal<B>) -> Self {
        Self { potential, weights: marginal.weights(), log_weights: marginal.log_weights() }
    }
}

/// A plan seen by a kernel: potentials and weights of both sides.
#[derive(Debug)]
pub struct PlanView<'a, B: Backend> {
    /// f and a.
    pub source: PlanSide<'a, B>,
    /// g and b.
    pub target: PlanSide<'a, B>,
}

impl<B: Backend> Copy for PlanView<'_, B> {}
impl<B: Backend> Clone for PlanView<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, B: Backend> PlanView<'a, B> {
    /// One side.
    #[must_use]
    pub fn side(&self, side: Side) -> PlanSide<'a, B> {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }
}

/// What a sweep can tell for free of the iterate that it enters with: one number per column. Those of
/// inactive columns mean nothing.
#[derive(Debug)]
pub struct ByProducts<B: Backend> {
    /// sum_i |(P 1)_i - a'_i| at the entering (f, g).
    pub source_residual: B::Reduced,
    /// sum_j |(P^T 1)_j - b'_j| at the new f and the entering g.
    pub target_residual: B::Reduced,
    /// Mass of the entering plan; of a plan that another [`PlanRegularizer`](crate::PlanRegularizer) than entropy
    /// makes, sum_ij a_i b_j (h*(z_ij) + h(0)), which is the mass if h is entropy's.
    pub mass: B::Reduced,
    /// -sum_i a_i phi*(-f_i) at the entering f.
    pub source_dual: B::Reduced,
    /// -sum_j b_j psi*(-g_j) at the entering g.
    pub target_dual: B::Reduced,
}

impl<B: Backend> ByProducts<B> {
    /// Room for `columns` columns.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn alloc(backend: &B, columns: usize) -> Result<Self, Error> {
        Ok(Self {
            source_residual: backend.alloc_reduced(columns)?,
            target_residual: backend.alloc_reduced(columns)?,
            mass: backend.alloc_reduced(columns)?,
            source_dual: backend.alloc_reduced(columns)?,
            target_dual: backend.alloc_reduced(columns)?,
        })
    }
}

/// One full iteration on f and g.
///
/// ```text
/// f <- f + omega (step_a(softmin_C(g)) - f)      then      g <- g + omega (step_b(softmin_C^T(f)) - g)
/// ```
///
/// where a step is the one of the side's [`Regularizer`](crate::Regularizer), and omega, the
/// relaxation, is given per column (0 for a column that rests).
#[derive(Debug)]
pub struct Sweep<'a, B: Backend> {
    /// Weights and law of the rows.
    pub source: &'a Marginal<B>,
    /// Weights and law of the columns.
    pub target: &'a Marginal<B>,
    /// f and g, updated in place.
    pub potentials: &'a mut Potentials<B>,
    /// omega per column, in [0, 2).
    pub relaxation: &'a B::Reduced,
    /// The columns that move.
    pub active: &'a ActiveColumns,
    /// Scratch space of the shapes of f and g.
    pub scratch: &'a mut Potentials<B>,
    /// Filled if wanted.
    pub by_products: Option<&'a mut ByProducts<B>>,
}

/// The Gibbs kernel exp(-C / epsilon) of one solve.
pub trait KernelOp<B: Backend>: Debug + Send {
    /// Number of atoms of a side.
    fn len(&self, side: Side) -> usize;

    /// Number of columns of the batch.
    fn columns(&self) -> usize;

    /// The epsilon bound.
    fn epsilon(&self) -> f64;

    /// Binds another epsilon without moving data.
    ///
    /// # Errors
    /// [`Error::FixedEpsilon`] from a kernel that exists at one epsilon only.
    fn rebind(&mut self, epsilon: f64) -> Result<(), Error>;

    /// Names a good centre to absorb and refine around. A hint: results do not depend on it
    /// beyond rounding.
    ///
    /// # Errors
    /// A failure of the device.
    fn recenter(&mut self, plan: PlanView<'_, B>) -> Result<(), Error>;

    /// The smoothed minimum of C_ij - potential_j under log-weights. Finite for finite input.
    ///
    /// # Errors
    /// A failure of the device.
    fn softmin(&mut self, request: SoftMin<'_, B>, out: &mut B::Vector) -> Result<(), Error>;

    /// The softmins of both sides at one pair of potentials, which are the shifts too: `out` for the source and the
    /// target. They say the marginals of the plan. A kernel that makes its entries as it goes answers with one pass.
    ///
    /// # Errors
    /// A failure of the device.
    fn softmins(
        &mut self,
        plan: PlanView<'_, B>,
        active: &ActiveColumns,
        out: [&mut B::Vector; 2],
    ) -> Result<(), Error> {
        for (side, out) in [Side::Source, Side::Target].into_iter().zip(out) {
            let (own, other) = (plan.side(side), plan.side(side.opposite()));
            let (potential, log_weights) = (other.potential, other.log_weights);
            self.softmin(SoftMin { side, potential, log_weights, shift: own.potential, active }, out)?;
        }
        Ok(())
    }

    /// One full iteration; see [`Sweep`].
    ///
    /// # Errors
    /// A failure of the device.
    fn sweep(&mut self, backend: &B, sweep: Sweep<'_, B>) -> Result<(), Error> {
        two_half_steps(self, backend, sweep)
    }

    /// The plan as an operator: for the atoms i of `side`,
    ///
    /// ```text
    /// out_i = sum_j P_ij values_j
    /// ```
    ///
    /// `values` has c columns for each column of the batch (column k of the batch takes
    /// k c, ..., (k + 1) c - 1), and so has `out`. Unlike potentials and weights, no column of
    /// `values` serves several columns of the batch.
    ///
    /// # Errors
    /// A failure of the device.
    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, B>,
        values: &B::Vector,
        out: &mut B::Vector,
    ) -> Result<(), Error>;

    /// <P, C> and other sums of the cost itself. A low-rank or heat kernel has none.
    fn transport_cost(&mut self) -> Option<&mut dyn TransportCost<B>> {
        None
    }

    /// What a kernel answers whose plan is regularised by another function than entropy; `None` for a Gibbs kernel.
    fn family(&mut self) -> Option<&mut dyn PlanFamily<B>> {
        None
    }

    /// sum_j P_ij phi(x_i, y_j).
    fn pair_sum(&mut self) -> Option<&mut dyn PairSum<B>> {
        None
    }

    /// Derivatives of the cost in its own parameters, under the plan.
    fn cost_derivative(&mut self) -> Option<&mut dyn CostDerivative<B>> {
        None
    }

    /// The hard c-transform and the arcs of small reduced cost.
    fn hard_transform(&mut self) -> Option<&mut dyn HardTransform<B>> {
        None
    }
}

/// The body of [`KernelOp::sweep`] that every kernel gets for free: two softmins, each followed
/// by the relaxed step of its side.
///
/// # Errors
/// A failure of the device.
pub fn two_half_steps<B: Backend, K: KernelOp<B> + ?Sized>(
    kernel: &mut K,
    backend: &B,
    sweep: Sweep<'_, B>,
) -> Result<(), Error> {
    let Sweep { source, target, potentials, relaxation, active, scratch, mut by_products } = sweep;
    for side in [Side::Source, Side::Target] {
        let epsilon = Operand::Constant(kernel.epsilon());
        let (own, other, moving, fixed, softmin) = match side {
            Side::Source => (source, target, &mut potentials.source, &potentials.target, &mut scratch.source),
            Side::Target => (target, source, &mut potentials.target, &potentials.source, &mut scratch.target),
        };
        let request = SoftMin { side, potential: fixed, log_weights: other.log_weights(), shift: moving, active };
        kernel.softmin(request, softmin)?;

        if let Some(hints) = by_products.as_deref_mut() {
            let operands =
                [Operand::Vector(&*moving), Operand::Vector(&*softmin), Operand::Vector(own.weights()), epsilon];
            let law = own.law();
            match side {
                Side::Source => {
                    let residual_and_mass = &mut [&mut hints.source_residual, &mut hints.mass];
                    backend.reduce(law.residual_and_mass(), Fold::Sum, own.len(), &operands, residual_and_mass)?;
                    let dual = [Operand::Vector(&*moving), Operand::Vector(own.weights())];
                    backend.reduce(law.dual(), Fold::Sum, own.len(), &dual, &mut [&mut hints.source_dual])?;
                }
                Side::Target => {
                    backend.reduce(
                        law.residual(),
                        Fold::Sum,
                        own.len(),
                        &operands,
                        &mut [&mut hints.target_residual],
                    )?;
                    let dual = [Operand::Vector(&*moving), Operand::Vector(own.weights())];
                    backend.reduce(law.dual(), Fold::Sum, own.len(), &dual, &mut [&mut hints.target_dual])?;
                }
            }
        }

        let operands = [Operand::Output(0), Operand::Vector(&*softmin), Operand::Reduced(relaxation), epsilon];
        backend.map(own.law().relaxed_step(), &operands, &mut [moving])?;
    }
    Ok(())
}
