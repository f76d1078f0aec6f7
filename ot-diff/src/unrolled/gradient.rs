//! The gradient of an objective of a given number of iterations.

use ot_core::{CostParameter, Device, Error, Operand, PairWeight, Side, WeightedPlan};

use super::{Objective, Trajectory, adjoint::walk_back, objective::Seeds, products::Products};
use crate::{
    Gradient,
    algebra::{Sided, add, pairing, sum, total},
};

/// The gradient of an objective of [`Unrolled`](super::Unrolled) iterations (summed over the columns of a batch), by the
/// iterations walked back. No gauge: weights of either side may move as they like.
///
/// | block | costs, beside L iterations again where memory is checkpointed |
/// |---|---|
/// | weights | 2 L products with the plan, once |
/// | points, matrix, parameters | the same, and a pass over the pairs for each 64 half-steps |
/// | epsilon | 6 L passes |
/// | penalties | 2 L products |
#[derive(Debug)]
pub struct UnrolledGradient<'a, D: Device> {
    trajectory: &'a mut Trajectory<D>,
    objective: Objective,
    seeds: Seeds<D>,
    weights: Option<Sided<D::Vector>>,
}

impl<D: Device> Trajectory<D> {
    /// The gradient of an objective, read block by block.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a kernel without derivatives of its cost, of the transport cost; a failure of the
    /// device.
    pub fn gradient(&mut self, objective: Objective) -> Result<UnrolledGradient<'_, D>, Error> {
        let seeds = self.seeds(objective)?;
        Ok(UnrolledGradient { trajectory: self, objective, seeds, weights: None })
    }
}

impl<D: Device> Gradient<D> for UnrolledGradient<'_, D> {
    fn cost(&mut self, parameter: CostParameter) -> Result<Vec<D::Elem>, Error> {
        let Self { trajectory, objective, seeds, weights } = self;
        let Trajectory { frame, kernel, path } = &mut **trajectory;
        let backend = frame.backend();
        backend.scope(|| {
            let mut products = Products::new(frame, parameter);
            let found = walk_back(frame, kernel, path, seeds, |kernel, back| products.add(kernel.as_mut(), &back))?;
            *weights = Some(found);
            products.flush(kernel.as_mut())?;
            // P (1 - C / epsilon) of the transport cost.
            let direct = match objective {
                Objective::TransportCost => PairWeight { cost: -1.0 / frame.epsilon(), ..PairWeight::constant(1.0) },
                Objective::Dual => PairWeight::constant(0.0),
            };
            let pairs = WeightedPlan { plan: path.plan(frame), weight: direct };
            let mut out = frame.cost_sums(kernel.as_mut(), pairs, parameter)?;
            if let Some(sums) = &products.total {
                add(backend, &mut out, sums)?;
            }
            frame.on_host(parameter, out)
        })
    }

    fn weights(&mut self, side: Side) -> Result<Vec<D::Elem>, Error> {
        self.trajectory.check_weights(self.objective, side)?;
        let Trajectory { frame, kernel, path } = &mut *self.trajectory;
        let backend = frame.backend();
        if self.weights.is_none() {
            let seeds = &self.seeds;
            let found = backend.scope(|| walk_back(frame, kernel, path, seeds, |_, _| Ok(())))?;
            self.weights = Some(found);
        }
        match &self.weights {
            Some(weights) => frame.of_histograms(side, backend.copied(&weights[side])?),
            None => Ok(Vec::new()),
        }
    }

    fn epsilon(&mut self) -> Result<f64, Error> {
        let Trajectory { frame, kernel, path } = &mut *self.trajectory;
        let backend = frame.backend();
        let mut derivative: f64 = self.seeds.epsilon.iter().sum();
        walk_back(frame, kernel, path, &self.seeds, |kernel, back| {
            let side = back.half.side;
            let explicit = frame.explicit(kernel.as_mut(), back.half, &[], None, 1.0)?;
            derivative += total(backend, &pairing(backend, frame.shape(side), back.softmin, &explicit)?)?;
            if let Some(law) = &path.laws[side] {
                let drift = path.of_law(frame, side, &law.drift, back.half.softmin)?;
                derivative += total(backend, &pairing(backend, frame.shape(side), back.potential, &drift)?)?;
            }
            Ok(())
        })?;
        Ok(derivative)
    }

    fn penalty(&mut self, side: Side) -> Result<Vec<f64>, Error> {
        let Trajectory { frame, kernel, path } = &mut *self.trajectory;
        let backend = frame.backend();
        let Some(law) = &path.laws[side] else { return Ok(Vec::new()) };
        let mut derivatives = vec![0.0; law.parameters.len()];
        walk_back(frame, kernel, path, &self.seeds, |_, back| {
            if back.half.side != side {
                return Ok(());
            }
            for (derivative, program) in derivatives.iter_mut().zip(&law.parameters) {
                let slope = path.of_law(frame, side, program, back.half.softmin)?;
                let operands = [back.potential, &slope].map(Operand::Vector);
                *derivative += total(backend, &sum(backend, frame.shape(side), operands, |[f, slope]| f * slope)?)?;
            }
            Ok(())
        })?;
        Ok(derivatives)
    }

    fn atoms(&self, side: Side) -> usize {
        self.trajectory.frame.len(side)
    }
}
