//! A solved problem: its potentials, and the softmins of both sides there.

use std::sync::Arc;

use ot_core::{
    ActiveColumns, Balanced, CTransform, Certificate, Device, Error, KernelOp, Operand, PlanView, Potentials, Problem,
    Real, RecordedPenalty, Side, Solution, Status, certify,
};

use crate::{
    algebra::{Sided, times, vector},
    frame::{Frame, HalfStep},
};

/// Potentials (f, g) with the softmins (s, t) of each other:
///
/// ```text
/// f = step_a(s),  s_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon)
/// g = step_b(t),  t_j = -epsilon log sum_i a_i exp((f_i - C_ij) / epsilon)
/// ```
#[derive(Debug)]
pub(crate) struct Optimum<D: Device> {
    pub(crate) frame: Frame<D>,
    pub(crate) potentials: Arc<Potentials<D>>,
    /// s and t.
    pub(crate) softmins: Sided<D::Vector>,
    /// P 1 and P^T 1: a_i exp((f_i - s_i) / epsilon), and likewise.
    pub(crate) marginals: Sided<D::Vector>,
    pub(crate) certificates: Vec<Certificate>,
    pub(crate) status: Status,
}

impl<D: Device> Optimum<D> {
    /// That of a solution, and a kernel for it.
    pub(crate) fn new(solution: &Solution<D>) -> Result<(Self, Box<dyn KernelOp<D>>), Error> {
        let (problem, potentials) = (solution.problem(), solution.potentials());
        let certificates = match solution.is_certified() {
            true => solution.certificates().to_vec(),
            false => certify(&problem.with_epsilon(potentials.epsilon)?, potentials)?,
        };
        Self::at(problem, Arc::clone(potentials), certificates, solution.status())
    }

    /// That of a problem at some potentials, and a kernel for it.
    pub(crate) fn at(
        problem: &Problem<D>,
        potentials: Arc<Potentials<D>>,
        certificates: Vec<Certificate>,
        status: Status,
    ) -> Result<(Self, Box<dyn KernelOp<D>>), Error> {
        let frame = Frame::new(problem.with_epsilon(potentials.epsilon)?)?;
        let mut kernel = frame.problem.bind()?;
        let softmins = frame.backend().scope(|| {
            kernel.recenter(frame.problem.view(&potentials))?;
            let active = ActiveColumns::all(frame.columns());
            // Under a prescribed marginal, a c-transform is a softmin.
            let prescribed = RecordedPenalty::new(&Balanced)?;
            Sided::try_new(|side| {
                let mut out = frame.unwritten(side)?;
                let plan = frame.problem.view(&potentials);
                let request = CTransform { side, plan, penalty: &prescribed, active: &active };
                kernel.c_transform(frame.backend(), request, &mut out, None)?;
                Ok(out)
            })
        })?;
        let marginals = Sided::try_new(|side| {
            let [f, s, a] = [potentials.side(side), &softmins[side], frame.weights(side)].map(Operand::Vector);
            let operands = [f, s, a, Operand::Constant(frame.epsilon())];
            vector(frame.backend(), frame.shape(side), operands, |[f, s, a, epsilon]| {
                a.select(a * ((f - s) / epsilon).exp(), 0.0)
            })
        })?;
        Ok((Self { frame, potentials, softmins, marginals, certificates, status }, kernel))
    }

    /// P.
    pub(crate) fn plan(&self) -> PlanView<'_, D> {
        self.frame.problem.view(&self.potentials)
    }

    /// The potential of a side.
    pub(crate) fn potential(&self, side: Side) -> &D::Vector {
        self.potentials.side(side)
    }

    /// The softmin of a side and what it is taken of.
    pub(crate) fn half_step(&self, side: Side) -> HalfStep<'_, D> {
        HalfStep { side, softmin: &self.softmins[side], other: self.plan().side(side.opposite()) }
    }

    /// The distributions of the other side's atoms given those of `side`: T for `Source`, the transpose of S for `Target`.
    pub(crate) fn conditional(&self, side: Side) -> PlanView<'_, D> {
        self.frame.conditional(self.half_step(side))
    }

    /// The densities of [`conditional`](Self::conditional) in the weights: K for `Source`.
    pub(crate) fn density(&self, side: Side) -> PlanView<'_, D> {
        self.frame.density(self.half_step(side))
    }

    /// The plan with weights of one on `side`: its derivative in the weights of that side.
    pub(crate) fn per_weight(&self, side: Side) -> PlanView<'_, D> {
        self.plan().with_side(side, self.frame.unweighted(side, self.potential(side)))
    }

    /// out = G v for the source, G^T v for the target, with G_ij = exp((s_i + t_j - C_ij) / epsilon), whose entries the kernel may keep.
    pub(crate) fn apply_gibbs(
        &self,
        kernel: &mut dyn KernelOp<D>,
        side: Side,
        values: &D::Vector,
        out: &mut D::Vector,
    ) -> Result<(), Error> {
        match kernel.plan_product() {
            Some(product) => product.curvature_product(side, self.gibbs(), values, out),
            None => kernel.apply(side, self.gibbs(), values, out),
        }
    }

    /// A new vector: P v for the source, P^T v for the target. P_ij = (P 1)_i G_ij (P^T 1)_j, so that entries of G that the kernel
    /// keeps serve it, where v has one channel.
    pub(crate) fn apply_plan(
        &self,
        kernel: &mut dyn KernelOp<D>,
        side: Side,
        values: &D::Vector,
    ) -> Result<D::Vector, Error> {
        let (frame, backend) = (&self.frame, self.frame.backend());
        if backend.shape(values).1 > frame.columns() || kernel.plan_product().is_none() {
            return frame.apply(kernel, side, self.plan(), values);
        }
        let mut out = frame.unwritten(side)?;
        self.apply_gibbs(kernel, side, &times(backend, &self.marginals[side.opposite()], values)?, &mut out)?;
        times(backend, &self.marginals[side], &out)
    }

    /// exp((s_i + t_j - C_ij) / epsilon).
    pub(crate) fn gibbs(&self) -> PlanView<'_, D> {
        let of = |side: Side| self.frame.unweighted(side, &self.softmins[side]);
        PlanView { source: of(Side::Source), target: of(Side::Target) }
    }
}
