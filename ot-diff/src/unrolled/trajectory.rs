//! The iterates, and how they are walked forward and back.

use std::sync::Arc;

use ot_core::{
    Balanced, Device, Dual, Error, Operand, PenaltyKind, PlanSide, PlanView, Problem, Program, Real, RecordedPenalty,
    Scalar, Side,
};

use super::{Unrolled, anchored::AnchoredKernel};
use crate::{
    algebra::{Sided, host, vector},
    frame::{Frame, HalfStep},
};

/// What one half-step leaves: the softmin, and the potential that the penalty makes of it, relative to epsilon log of the
/// weights.
#[derive(Debug)]
pub(super) struct Step<D: Device> {
    pub(super) side: Side,
    pub(super) softmin: Arc<D::Vector>,
    pub(super) potential: Arc<D::Vector>,
}

impl<D: Device> Clone for Step<D> {
    fn clone(&self) -> Self {
        Self { side: self.side, softmin: Arc::clone(&self.softmin), potential: Arc::clone(&self.potential) }
    }
}

/// The step of one side, f(s) = step(s + epsilon log a) - epsilon log a, and its derivatives as programs of
/// (s, log a, epsilon). None for a prescribed marginal, where f = s.
#[derive(Debug)]
pub(super) struct Law {
    value: Program,
    pub(super) slope: Program,
    pub(super) bend: Program,
    /// In epsilon, at a softmin that rests.
    pub(super) drift: Program,
    /// In the parameters of the penalty.
    pub(super) parameters: Vec<Program>,
}

impl Law {
    fn of(penalty: &RecordedPenalty) -> Result<Option<Self>, Error> {
        if penalty.kind() == PenaltyKind::Balanced {
            return Ok(None);
        }
        let step = penalty.step();
        let parameters = (0..penalty.parameters().len()).map(|index| {
            let derivative = penalty.parameter_derivative(index)?.step;
            Ok(Program::try_record(|[s, log, epsilon]| derivative.call::<_, 2, 1>([s + epsilon * log, epsilon]))?)
        });
        Ok(Some(Self {
            parameters: parameters.collect::<Result<_, Error>>()?,
            value: Program::try_record(|[s, log, epsilon]| {
                let [stepped] = step.call([s + epsilon * log, epsilon])?;
                Ok([stepped - epsilon * log])
            })?,
            slope: Program::try_record(|[s, log, epsilon]| {
                let [stepped] = step.call([Dual::variable(s + epsilon * log), Dual::constant(epsilon)])?;
                Ok([stepped.derivative])
            })?,
            bend: Program::try_record(|[s, log, epsilon]| {
                let inner = Dual::variable(s + epsilon * log);
                let twice = Dual::new(inner, Dual::constant(Real::constant(1.0)));
                let [stepped] = step.call([twice, Dual::constant(Dual::constant(epsilon))])?;
                Ok([stepped.derivative.derivative])
            })?,
            drift: Program::try_record(|[s, log, epsilon]| {
                let argument = Dual::new(s + epsilon * log, log);
                let [stepped] = step.call([argument, Dual::variable(epsilon)])?;
                Ok([stepped.derivative - log])
            })?,
        }))
    }
}

/// L iterations that have been done: an owned state that can be kept, sent to another thread and asked again.
#[derive(Debug)]
pub struct Trajectory<D: Device> {
    pub(super) frame: Frame<D>,
    pub(super) kernel: AnchoredKernel<D>,
    pub(super) path: Path<D>,
}

/// The half-steps that are kept, and what makes the others of them.
#[derive(Debug)]
pub(super) struct Path<D: Device> {
    schedule: Vec<Side>,
    stride: usize,
    /// Those of index 0, stride, 2 stride, ..., and the last two.
    kept: Vec<Step<D>>,
    pub(super) last: Vec<Step<D>>,
    pub(super) laws: Sided<Option<Law>>,
    prescribed: RecordedPenalty,
    /// Potentials of a side that has not moved: zero.
    zero: Sided<Arc<D::Vector>>,
    /// The first atom without weight of each side.
    pub(super) weightless: [Option<usize>; 2],
}

impl<D: Device> Trajectory<D> {
    pub(super) fn new(scheme: Unrolled, problem: &Problem<D>) -> Result<Self, Error> {
        let frame = Frame::new(problem.clone())?;
        let mut kernel = AnchoredKernel::new(frame.problem.bind()?);
        let laws = Sided::try_new(|side| Law::of(frame.problem.marginal(side).penalty()))?;
        let mut weightless = [None, None];
        for side in Side::BOTH {
            let weights = host(frame.backend(), frame.weights(side))?;
            weightless[side.index()] = weights.iter().position(|weight| weight.to_f64() == 0.0);
            if laws[side].is_some() && weightless[side.index()].is_some() {
                let name = "a weight of a side whose marginal is not prescribed";
                return Err(Error::Parameter { name, value: 0.0, expected: "a number > 0" });
            }
        }
        let zero = Sided::try_new(|side| Ok(Arc::new(frame.filled(side, 0.0)?)))?;
        let mut path = Path {
            schedule: scheme.half_steps(),
            stride: scheme.stride(),
            kept: Vec::new(),
            last: Vec::new(),
            laws,
            prescribed: RecordedPenalty::new(&Balanced)?,
            zero,
            weightless,
        };
        frame.backend().scope(|| {
            let mut previous = None;
            for index in 0..path.schedule.len() {
                let step = path.step(&frame, &mut kernel, index, previous.as_ref())?;
                if index % path.stride == 0 {
                    path.kept.push(step.clone());
                }
                if index + 2 >= path.schedule.len() {
                    path.last.push(step.clone());
                }
                previous = Some(step);
            }
            Ok::<_, Error>(())
        })?;
        Ok(Self { frame, kernel, path })
    }

    /// The logarithm of the scaling of a side after the last iteration, log u or log v, column after column. -infinity at an
    /// atom without weight; 0 of a side that has not moved.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn log_scaling(&self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let Self { frame, path, .. } = self;
        let own = path.end(frame, side);
        let operands =
            [Operand::Vector(own.potential), Operand::Vector(own.log_weights), Operand::Constant(frame.epsilon())];
        let sums = vector(frame.backend(), frame.shape(side), operands, |[f, log, epsilon]| f / epsilon + log)?;
        let mut scaling = host(frame.backend(), &sums)?;
        let weights = host(frame.backend(), own.weights)?;
        for (index, value) in scaling.iter_mut().enumerate() {
            if weights[index % weights.len()].to_f64() == 0.0 {
                *value = D::Elem::from_f64(f64::NEG_INFINITY);
            }
        }
        Ok(scaling)
    }

    /// The marginal of the plan P_L, column after column. That of the side that moved last is prescribed exactly.
    ///
    /// # Errors
    /// A failure of the device.
    pub fn marginal(&mut self, side: Side) -> Result<Vec<D::Elem>, Error> {
        let Self { frame, kernel, path } = self;
        let ones = frame.filled(side.opposite(), 1.0)?;
        host(frame.backend(), &kernel.apply(frame, side, path.plan(frame), &ones)?)
    }
}

impl<D: Device> Path<D> {
    /// Half-step `index` after the one before it.
    fn step(
        &self,
        frame: &Frame<D>,
        kernel: &mut AnchoredKernel<D>,
        index: usize,
        previous: Option<&Step<D>>,
    ) -> Result<Step<D>, Error> {
        let side = self.schedule[index];
        let other = self.other(frame, side, previous);
        let shared = previous.map_or(&self.zero[side.opposite()], |step| &step.potential);
        let softmin = kernel.softmin(frame, side, other, shared, &self.prescribed)?;
        let potential = match &self.laws[side] {
            None => Arc::clone(&softmin),
            Some(law) => Arc::new(self.of_law(frame, side, &law.value, &softmin)?),
        };
        Ok(Step { side, softmin, potential })
    }

    /// A program of (s, log a, epsilon), at a softmin.
    pub(super) fn of_law(
        &self,
        frame: &Frame<D>,
        side: Side,
        program: &Program,
        softmin: &D::Vector,
    ) -> Result<D::Vector, Error> {
        let log_weights = frame.problem.marginal(side).log_weights();
        let operands = [Operand::Vector(softmin), Operand::Vector(log_weights), Operand::Constant(frame.epsilon())];
        let mut out = frame.unwritten(side)?;
        frame.backend().map(program, &operands, &mut [&mut out])?;
        Ok(out)
    }

    /// The side that a half-step looks at: a scaling of 1 before any.
    fn other<'a>(&'a self, frame: &'a Frame<D>, side: Side, previous: Option<&'a Step<D>>) -> PlanSide<'a, D> {
        match previous {
            Some(step) => frame.weighted(side.opposite(), &step.potential),
            None => frame.unweighted(side.opposite(), &self.zero[side.opposite()]),
        }
    }

    /// A half-step and what it looked at.
    pub(super) fn half<'a>(
        &'a self,
        frame: &'a Frame<D>,
        step: &'a Step<D>,
        previous: Option<&'a Step<D>>,
    ) -> HalfStep<'a, D> {
        HalfStep { side: step.side, softmin: &step.softmin, other: self.other(frame, step.side, previous) }
    }

    /// Has a side moved?
    pub(super) fn has_moved(&self, side: Side) -> bool {
        self.last.iter().any(|step| step.side == side)
    }

    /// A side after the last iteration.
    pub(super) fn end<'a>(&'a self, frame: &'a Frame<D>, side: Side) -> PlanSide<'a, D> {
        match self.last.iter().find(|step| step.side == side) {
            Some(step) => frame.weighted(side, &step.potential),
            None => frame.unweighted(side, &self.zero[side]),
        }
    }

    /// P_L.
    pub(super) fn plan<'a>(&'a self, frame: &'a Frame<D>) -> PlanView<'a, D> {
        PlanView { source: self.end(frame, Side::Source), target: self.end(frame, Side::Target) }
    }

    /// P_L with weights of one on a side.
    pub(super) fn per_weight<'a>(&'a self, frame: &'a Frame<D>, side: Side) -> PlanView<'a, D> {
        let own = frame.unweighted(side, self.end(frame, side).potential);
        self.plan(frame).with_side(side, own)
    }

    /// Visits all half-steps in order, each with the one before.
    pub(super) fn forward(
        &self,
        frame: &Frame<D>,
        kernel: &mut AnchoredKernel<D>,
        mut visit: impl FnMut(&mut AnchoredKernel<D>, &Step<D>, Option<&Step<D>>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut previous: Option<Step<D>> = None;
        for index in 0..self.schedule.len() {
            let step = match index % self.stride {
                0 => self.kept[index / self.stride].clone(),
                _ => self.step(frame, kernel, index, previous.as_ref())?,
            };
            visit(kernel, &step, previous.as_ref())?;
            previous = Some(step);
        }
        Ok(())
    }

    /// Visits all half-steps from the last to the first, each with the one before.
    pub(super) fn back(
        &self,
        frame: &Frame<D>,
        kernel: &mut AnchoredKernel<D>,
        mut visit: impl FnMut(&mut AnchoredKernel<D>, &Step<D>, Option<&Step<D>>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after: Vec<Step<D>> = Vec::new();
        for (block, kept) in self.kept.iter().enumerate().rev() {
            let start = block * self.stride;
            let end = (start + self.stride).min(self.schedule.len());
            let mut steps = vec![kept.clone()];
            for index in start + 1..end {
                steps.push(self.step(frame, kernel, index, steps.last())?);
            }
            // The first half-step of the block after this one looks at the last of this.
            if let Some(first) = after.first() {
                visit(kernel, first, steps.last())?;
            }
            for offset in (1..steps.len()).rev() {
                visit(kernel, &steps[offset], Some(&steps[offset - 1]))?;
            }
            steps.truncate(1);
            after = steps;
        }
        match after.first() {
            Some(first) => visit(kernel, first, None),
            None => Ok(()),
        }
    }
}
