//! The derivative along a tangent, beside the iteration.
//!
//! ```text
//! ds = (T o dC) 1 - epsilon K db + (d epsilon / epsilon) (s + T g - (T o C) 1) - T dg
//! df = sigma ds + (sigma - 1) epsilon da / a + (d step / d epsilon) d epsilon + (d step / d rho) d rho
//! ```

use ot_core::{Device, Error, Operand, PairWeight, Side, WeightedPlan};

use super::{
    Objective, Trajectory,
    anchored::AnchoredKernel,
    trajectory::{Path, Step},
};
use crate::{
    Tangent,
    algebra::{Sided, add, pairing, scaled, update},
    frame::Frame,
    tangent::DeviceTangent,
};

/// ds and df of one half-step.
pub(super) struct Moved<D: Device> {
    pub(super) softmin: D::Vector,
    pub(super) potential: D::Vector,
}

impl<D: Device> Trajectory<D> {
    /// The change of an objective along a tangent, of each column: its value is walked forward once more, with the tangent
    /// beside. Weights may move as they like, also where marginals are prescribed.
    ///
    /// Costs one product with the plan a half-step; where the cost moves, one pass more; where epsilon does, two.
    ///
    /// # Errors
    /// [`Error::Length`] and [`Error::Parameter`] for a tangent that does not fit or is not finite; [`Error::MissingCapability`]
    /// for a parameter that the kernel knows no derivative in; a failure of the device.
    pub fn push_forward(&mut self, objective: Objective, tangent: &Tangent<D::Elem>) -> Result<Vec<f64>, Error> {
        for side in Side::BOTH {
            if tangent.weights[side.index()].is_some() {
                self.check_weights(objective, side)?;
            }
        }
        let tangent = tangent.upload_freely(&self.frame, self.kernel.as_mut())?;
        let seeds = self.seeds(objective)?;
        let Self { frame, kernel, path } = self;
        let backend = frame.backend();
        let mut potentials = Sided::try_new(|side| frame.filled(side, 0.0))?;
        path.forward(frame, kernel, |kernel, step, previous| {
            let moved = moved(frame, kernel, path, &tangent, (step, previous), &potentials)?;
            potentials[step.side] = moved.potential;
            Ok(())
        })?;
        let mut parts = Vec::new();
        for side in Side::BOTH {
            parts.push(pairing(backend, frame.shape(side), &seeds.potentials[side], &potentials[side])?);
            if let Some(weights) = &tangent.weights[side] {
                parts.push(pairing(backend, frame.shape(side), &seeds.weights[side], weights)?);
            }
        }
        if objective == Objective::TransportCost {
            let weight = PairWeight { cost: -1.0 / frame.epsilon(), ..PairWeight::constant(1.0) };
            let pairs = WeightedPlan { plan: path.plan(frame), weight };
            let rows = frame.cost_rows(kernel.as_mut(), Side::Source, pairs, &tangent.cost)?;
            parts.push(pairing(backend, frame.shape(Side::Source), &rows, &frame.filled(Side::Source, 1.0)?)?);
        }
        let read = backend.read(&parts.iter().collect::<Vec<_>>())?;
        let of_column =
            |column: usize| read.iter().map(|part| part[column]).sum::<f64>() + tangent.epsilon * seeds.epsilon[column];
        Ok((0..frame.columns()).map(of_column).collect())
    }
}

/// How a half-step moves, given how potentials moved before.
pub(super) fn moved<D: Device>(
    frame: &Frame<D>,
    kernel: &mut AnchoredKernel<D>,
    path: &Path<D>,
    tangent: &DeviceTangent<D>,
    (step, previous): (&Step<D>, Option<&Step<D>>),
    potentials: &Sided<D::Vector>,
) -> Result<Moved<D>, Error> {
    let (backend, side, other) = (frame.backend(), step.side, step.side.opposite());
    let half = path.half(frame, step, previous);
    // The scaling of 1 at the start has no weights.
    let weights = tangent.weights[other].as_ref().filter(|_| previous.is_some());
    let mut softmin = frame.explicit(kernel.as_mut(), half, &tangent.cost, weights, tangent.epsilon)?;
    if previous.is_some() {
        let response = kernel.apply(frame, side, frame.conditional(half), &potentials[other])?;
        update(backend, &mut softmin, [Operand::Vector(&response)], |ds, [response]| ds - response)?;
    }
    let mut potential = backend.copied(&softmin)?;
    if let Some(law) = &path.laws[side] {
        let slope = path.of_law(frame, side, &law.slope, &step.softmin)?;
        update(backend, &mut potential, [Operand::Vector(&slope)], |ds, [slope]| ds * slope)?;
        if let Some(weights) = &tangent.weights[side] {
            let [sigma, da, a] = [&slope, weights, frame.weights(side)].map(Operand::Vector);
            let operands = [sigma, da, a, Operand::Constant(frame.epsilon())];
            update(backend, &mut potential, operands, |df, [sigma, da, a, epsilon]| {
                df + (sigma - 1.0) * epsilon * da / a
            })?;
        }
        if tangent.epsilon != 0.0 {
            let drift = path.of_law(frame, side, &law.drift, &step.softmin)?;
            add(backend, &mut potential, &scaled(backend, &drift, tangent.epsilon)?)?;
        }
        for (program, &moves) in law.parameters.iter().zip(&tangent.penalties[side]) {
            let drift = path.of_law(frame, side, program, &step.softmin)?;
            add(backend, &mut potential, &scaled(backend, &drift, moves)?)?;
        }
    }
    Ok(Moved { softmin, potential })
}
