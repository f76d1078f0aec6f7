//! The kernel of the iterations, with its entries around a pair of potentials (F, G) at hand.
//!
//! ```text
//! E_ij = exp((F_i + G_j - C_ij) / epsilon)
//! s_i = F_i - epsilon log sum_j E_ij w_j exp((g_j - G_j) / epsilon)
//! P_ij = a_i exp((f_i - F_i) / epsilon) E_ij b_j exp((g_j - G_j) / epsilon)
//! ```
//!
//! so that softmins and products with the plans of all half-steps are products with one matrix, where a kernel
//! [keeps](ot_core::PlanProduct::keeps_entries) the entries of a plan. Potentials too far from the pair, in units of epsilon, are met
//! entry by entry, and become the pair.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, CTransform, Device, Error, Fold, KernelOp, Operand, PlanSide, PlanView, Program, Real,
    RecordedPenalty, Scalar, Side,
};

use crate::{
    algebra::{Sided, times, vector},
    frame::{Frame, view},
};

/// A kernel and the pair of potentials that its entries are kept around.
#[derive(Debug)]
pub(super) struct AnchoredKernel<D: Device> {
    kernel: Box<dyn KernelOp<D>>,
    anchor: Option<Sided<Arc<D::Vector>>>,
}

impl<D: Device> AnchoredKernel<D> {
    pub(super) fn new(kernel: Box<dyn KernelOp<D>>) -> Self {
        Self { kernel, anchor: None }
    }

    /// The kernel by itself.
    pub(super) fn as_mut(&mut self) -> &mut dyn KernelOp<D> {
        self.kernel.as_mut()
    }

    /// The softmin s that `side` gets of the other one, whose potential is given once more, to be kept.
    pub(super) fn softmin(
        &mut self,
        frame: &Frame<D>,
        side: Side,
        other: PlanSide<'_, D>,
        potential: &Arc<D::Vector>,
        prescribed: &RecordedPenalty,
    ) -> Result<Arc<D::Vector>, Error> {
        if let Some(softmin) = self.softmin_by_anchor(frame, side, other)? {
            return Ok(Arc::new(softmin));
        }
        // A guess of zero; another would change rounding alone.
        let (guess, mut softmin) = (frame.filled(side, 0.0)?, frame.unwritten(side)?);
        let plan = view(side, frame.unweighted(side, &guess), other);
        let active = ActiveColumns::all(frame.columns());
        let request = CTransform { side, plan, penalty: prescribed, active: &active };
        self.kernel.c_transform(frame.backend(), request, &mut softmin, None)?;
        let softmin = Arc::new(softmin);
        if self.keeps_entries() {
            let (own, other) = (Arc::clone(&softmin), Arc::clone(potential));
            self.anchor = Some(match side {
                Side::Source => Sided { source: own, target: other },
                Side::Target => Sided { source: other, target: own },
            });
        }
        Ok(softmin)
    }

    /// A new vector: the product of a plan with values of the other side.
    pub(super) fn apply(
        &mut self,
        frame: &Frame<D>,
        side: Side,
        plan: PlanView<'_, D>,
        values: &D::Vector,
    ) -> Result<D::Vector, Error> {
        let backend = frame.backend();
        if self.keeps_entries() && backend.shape(values).1 == frame.columns() {
            let (own, other) = (plan.side(side), plan.side(side.opposite()));
            let scalings = (self.scaling(frame, side, own)?, self.scaling(frame, side.opposite(), other)?);
            if let (Some(own), Some(other)) = scalings
                && let Some(product) = self.product(frame, side, &times(backend, &other, values)?)?
            {
                return times(backend, &own, &product);
            }
        }
        frame.apply(self.kernel.as_mut(), side, plan, values)
    }

    fn keeps_entries(&mut self) -> bool {
        self.kernel.plan_product().is_some_and(|product| product.keeps_entries())
    }

    /// The softmin by the entries at hand, if they are near what it is taken of and what it is.
    fn softmin_by_anchor(
        &mut self,
        frame: &Frame<D>,
        side: Side,
        other: PlanSide<'_, D>,
    ) -> Result<Option<D::Vector>, Error> {
        let Some(scaling) = self.scaling(frame, side.opposite(), other)? else { return Ok(None) };
        let (Some(sums), Some(anchor)) = (self.product(frame, side, &scaling)?, &self.anchor) else { return Ok(None) };
        let operands = [Operand::Vector(&*anchor[side]), Operand::Vector(&sums), Operand::Constant(frame.epsilon())];
        let softmin = vector(frame.backend(), frame.shape(side), operands, |[f, sum, epsilon]| f - epsilon * sum.ln())?;
        Ok(self.is_near(frame, side, &softmin)?.then_some(softmin))
    }

    /// w_j exp((g_j - G_j) / epsilon), if g is near G.
    fn scaling(&self, frame: &Frame<D>, side: Side, of: PlanSide<'_, D>) -> Result<Option<D::Vector>, Error> {
        let Some(anchor) = &self.anchor else { return Ok(None) };
        if !self.is_near(frame, side, of.potential)? {
            return Ok(None);
        }
        let [g, centre, weights] = [of.potential, &*anchor[side], of.weights].map(Operand::Vector);
        let operands = [g, centre, weights, Operand::Constant(frame.epsilon())];
        let scaling = vector(frame.backend(), frame.shape(side), operands, |[g, centre, weights, epsilon]| {
            weights * ((g - centre) / epsilon).exp()
        })?;
        Ok(Some(scaling))
    }

    /// Are potentials so near the pair that no factor of an entry leaves the range?
    fn is_near(&self, frame: &Frame<D>, side: Side, potential: &D::Vector) -> Result<bool, Error> {
        let Some(anchor) = &self.anchor else { return Ok(false) };
        let backend = frame.backend();
        let mut farthest = backend.alloc_reduced(frame.columns())?;
        let distance = Program::record(|[f, centre]| [(f - centre).abs()])?;
        let operands = [potential, &*anchor[side]].map(Operand::Vector);
        backend.reduce(&distance, Fold::Max, frame.len(side), &operands, &mut [&mut farthest])?;
        let limit = frame.epsilon() * D::Elem::MAX.to_f64().ln() / 4.0;
        Ok(backend.read(&[&farthest])?[0].iter().all(|&distance| distance <= limit))
    }

    /// sum_j E_ij values_j for the atoms i of a side.
    fn product(&mut self, frame: &Frame<D>, side: Side, values: &D::Vector) -> Result<Option<D::Vector>, Error> {
        let Some(anchor) = &self.anchor else { return Ok(None) };
        let plan = PlanView {
            source: frame.unweighted(Side::Source, &anchor.source),
            target: frame.unweighted(Side::Target, &anchor.target),
        };
        let Some(product) = self.kernel.plan_product() else { return Ok(None) };
        let mut out = frame.unwritten(side)?;
        product.curvature_product(side, plan, values, &mut out)?;
        Ok(Some(out))
    }
}
