//! One iteration on both potentials, and what it tells on the way.

use super::{ActiveColumns, CTransform, Entering, KernelOp, PlanSide, PlanView, Potentials};
use crate::{
    backend::{Backend, Device, Fold, Operand},
    error::Error,
    marginal::Marginal,
    side::Side,
};

/// What a sweep tells of the iterate that it enters with: one number for each column. Those of inactive columns mean
/// nothing.
#[derive(Debug)]
pub struct ByProducts<D: Device> {
    /// sum_i |(P 1)_i - a'_i| at the entering (f, g).
    pub source_residual: D::Reduced,
    /// sum_j |(P^T 1)_j - b'_j| at the new f and the entering g.
    pub target_residual: D::Reduced,
    /// sum_ij a_i b_j (h*(z_ij) + h(0)) of the entering plan: its mass if h is entropy.
    pub conjugate: D::Reduced,
    /// -sum_i a_i phi*(-f_i) at the entering f.
    pub source_dual: D::Reduced,
    /// -sum_j b_j psi*(-g_j) at the entering g.
    pub target_dual: D::Reduced,
    /// Scratch space of the shapes of f and g.
    pub densities: [D::Vector; 2],
}

impl<D: Device> ByProducts<D> {
    /// Allocates those of a kernel of n and m atoms.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn alloc(backend: &dyn Backend<D>, [source, target]: [usize; 2], columns: usize) -> Result<Self, Error> {
        Ok(Self {
            source_residual: backend.alloc_reduced(columns)?,
            target_residual: backend.alloc_reduced(columns)?,
            conjugate: backend.alloc_reduced(columns)?,
            source_dual: backend.alloc_reduced(columns)?,
            target_dual: backend.alloc_reduced(columns)?,
            densities: [backend.alloc(source, columns)?, backend.alloc(target, columns)?],
        })
    }

    /// What a c-transform of one side is to tell. The conjugate is that of the source, which enters first.
    fn entering(&mut self, side: Side) -> Entering<'_, D> {
        let [source, target] = &mut self.densities;
        match side {
            Side::Source => Entering { density: source, conjugate: Some(&mut self.conjugate) },
            Side::Target => Entering { density: target, conjugate: None },
        }
    }

    /// Residual and dual of one side, from the densities of its marginal.
    fn count(
        &mut self,
        backend: &dyn Backend<D>,
        side: Side,
        marginal: &Marginal<D>,
        potential: &D::Vector,
        epsilon: f64,
    ) -> Result<(), Error> {
        let [source, target] = &self.densities;
        let [f, r, a] = [potential, side.of([source, target]), marginal.weights()].map(Operand::Vector);
        let (penalty, rows) = (marginal.penalty(), marginal.len());
        let residual = side.of([&mut self.source_residual, &mut self.target_residual]);
        backend.reduce(penalty.residual(), Fold::Sum, rows, &[f, r, a, Operand::Constant(epsilon)], &mut [residual])?;
        let dual = side.of([&mut self.source_dual, &mut self.target_dual]);
        backend.reduce(penalty.dual(), Fold::Sum, rows, &[f, a], &mut [dual])
    }
}

/// One full iteration on f and g:
///
/// ```text
/// f <- f + omega (c_transform(g) - f)      then      g <- g + omega (c_transform(f) - g)
/// ```
///
/// under the penalties of both sides, where omega, the relaxation, is given for each column (0 for a column that rests).
#[derive(Debug)]
pub struct Sweep<'a, D: Device> {
    /// Weights and penalty of the rows.
    pub source: &'a Marginal<D>,
    /// Weights and penalty of the columns.
    pub target: &'a Marginal<D>,
    /// f and g, updated in place.
    pub potentials: &'a mut Potentials<D>,
    /// omega for each column, in [0, 2).
    pub relaxation: &'a D::Reduced,
    /// The columns that move.
    pub active: &'a ActiveColumns,
    /// Scratch space of the shapes of f and g.
    pub scratch: &'a mut Potentials<D>,
    /// Filled if wanted.
    pub by_products: Option<&'a mut ByProducts<D>>,
}

impl<D: Device> Sweep<'_, D> {
    /// Weights and penalty of one side.
    #[must_use]
    pub fn marginal(&self, side: Side) -> &Marginal<D> {
        side.of([self.source, self.target])
    }

    /// The relaxed step of one side, from its c-transform in the scratch space.
    fn relax(&mut self, backend: &dyn Backend<D>, side: Side) -> Result<(), Error> {
        let step = side.of([self.source, self.target]).penalty().relaxed();
        let operands =
            [Operand::Output(0), Operand::Vector(self.scratch.side(side)), Operand::Reduced(self.relaxation)];
        backend.map(step, &operands, &mut [self.potentials.side_mut(side)])
    }
}

/// The default of [`KernelOp::half_step`]: a c-transform, the by-products of the side, and a relaxed step.
///
/// # Errors
/// A failure of the device.
pub fn half_step<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    backend: &dyn Backend<D>,
    side: Side,
    sweep: &mut Sweep<'_, D>,
) -> Result<(), Error> {
    let (marginal, epsilon) = (side.of([sweep.source, sweep.target]), kernel.epsilon());
    let plan = PlanView {
        source: PlanSide::new(&sweep.potentials.source, sweep.source.device_weights()),
        target: PlanSide::new(&sweep.potentials.target, sweep.target.device_weights()),
    };
    let request = CTransform { side, plan, penalty: marginal.penalty(), active: sweep.active };
    let out = sweep.scratch.side_mut(side);
    match sweep.by_products.as_deref_mut() {
        None => kernel.c_transform(backend, request, out, None)?,
        Some(hints) => {
            kernel.c_transform(backend, request, out, Some(hints.entering(side)))?;
            hints.count(backend, side, marginal, sweep.potentials.side(side), epsilon)?;
        }
    }
    sweep.relax(backend, side)
}

/// The iteration that moves both potentials at once, from the entering pair: with omega = 1/2 the averaged iteration
/// (Knight, Ruiz, Ucar 2014; Feydy 2019), which treats the sides alike.
///
/// # Errors
/// A failure of the device.
pub fn simultaneous_sweep<D: Device, K: KernelOp<D> + ?Sized>(
    kernel: &mut K,
    backend: &dyn Backend<D>,
    mut sweep: Sweep<'_, D>,
) -> Result<(), Error> {
    let plan = PlanView {
        source: PlanSide::new(&sweep.potentials.source, sweep.source.device_weights()),
        target: PlanSide::new(&sweep.potentials.target, sweep.target.device_weights()),
    };
    let (penalties, epsilon) = ([sweep.source.penalty(), sweep.target.penalty()], kernel.epsilon());
    let out = [&mut sweep.scratch.source, &mut sweep.scratch.target];
    match sweep.by_products.as_deref_mut() {
        None => kernel.c_transforms(backend, penalties, plan, sweep.active, out, None)?,
        Some(hints) => {
            let [source, target] = &mut hints.densities;
            let entering = [
                Entering { density: source, conjugate: Some(&mut hints.conjugate) },
                Entering { density: target, conjugate: None },
            ];
            kernel.c_transforms(backend, penalties, plan, sweep.active, out, Some(entering))?;
            for side in Side::BOTH {
                let marginal = side.of([sweep.source, sweep.target]);
                hints.count(backend, side, marginal, sweep.potentials.side(side), epsilon)?;
            }
        }
    }
    Side::BOTH.into_iter().try_for_each(|side| sweep.relax(backend, side))
}
