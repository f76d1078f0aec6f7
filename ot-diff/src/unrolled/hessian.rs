//! The Hessian of an objective in the weights, times a direction: the way back, differentiated along the tangent.
//!
//! With dots for derivatives along (da, db), and x' for the cotangent of x as on the way back,
//!
//! ```text
//! s'. = sigma. f' + sigma f'.            sigma. = step''(s + epsilon log a) (ds + epsilon da / a)
//! a'. += epsilon (sigma. f' / a + (sigma - 1) (f'. / a - f' da / a^2))
//! q.  = -K^T (s'. + s' ds / epsilon) + q dg / epsilon
//! g'. += db q + b q.                     b'. += epsilon q.
//! ```

use ot_core::{Device, Error, KernelOp, Operand, PairWeight, Side, WeightedPlan};

use super::{
    Objective, Trajectory,
    adjoint::walk_back,
    forward::{Moved, moved},
    objective::Seeds,
    trajectory::Path,
};
use crate::{
    Tangent,
    algebra::{Sided, add, scaled, times, update, vector},
    frame::Frame,
    tangent::DeviceTangent,
};

impl<D: Device> Trajectory<D> {
    /// The Hessian of an objective (summed over the columns of a batch) in the weights of both sides, times the direction in
    /// which a tangent moves them: two lists, column after column, of as many histograms as each side has.
    ///
    /// Costs 6 L products with the plan. Keeps 4 vectors of each half-step, whatever the memory of the iterations.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a tangent that moves anything but weights; those of
    /// [`push_forward`](Self::push_forward).
    pub fn hessian_vector(
        &mut self,
        objective: Objective,
        tangent: &Tangent<D::Elem>,
    ) -> Result<[Vec<D::Elem>; 2], Error> {
        let moves_more = !tangent.cost.is_empty()
            || tangent.epsilon != 0.0
            || tangent.penalties.iter().flatten().any(|value| *value != 0.0);
        if moves_more {
            return Err(Error::MissingCapability("Hessian of unrolled iterations in anything but weights"));
        }
        for side in Side::BOTH {
            self.check_weights(objective, side)?;
        }
        let tangent = tangent.upload_freely(&self.frame, self.kernel.as_mut())?;
        let seeds = self.seeds(objective)?;
        let Self { frame, kernel, path } = self;
        let backend = frame.backend();
        let (mut potentials, mut moves) = (Sided::try_new(|side| frame.filled(side, 0.0))?, Vec::new());
        // How potentials had moved before each half-step, and how its softmin moves.
        path.forward(frame, kernel, |kernel, step, previous| {
            let Moved { softmin, potential } = moved(frame, kernel, path, &tangent, (step, previous), &potentials)?;
            moves.push([softmin, backend.copied(&potentials[step.side.opposite()])?]);
            potentials[step.side] = potential;
            Ok(())
        })?;

        let mut second = seeds_along(frame, kernel.as_mut(), path, objective, &seeds, &tangent, &potentials)?;
        let weights = |side: Side| match &tangent.weights[side] {
            Some(weights) => frame.in_all_columns(side, weights),
            None => frame.filled(side, 0.0),
        };
        let weights = Sided::try_new(weights)?;
        let epsilon = Operand::Constant(frame.epsilon());
        walk_back(frame, kernel, path, &seeds, |kernel, back| {
            let (side, other) = (back.half.side, back.half.side.opposite());
            let Some([ds, dg]) = moves.pop() else { return Ok(()) };
            let potential = std::mem::replace(&mut second.potentials[side], frame.filled(side, 0.0)?);
            let mut softmin = backend.copied(&potential)?;
            if let Some(law) = &path.laws[side] {
                let slope = path.of_law(frame, side, &law.slope, back.half.softmin)?;
                let bend = path.of_law(frame, side, &law.bend, back.half.softmin)?;
                let [sigma, bend, ds, da, a, f] =
                    [&slope, &bend, &ds, &weights[side], frame.weights(side), back.potential].map(Operand::Vector);
                update(backend, &mut softmin, [sigma, bend, ds, da, a, f, epsilon], |moved, operands| {
                    let [sigma, bend, ds, da, a, f, epsilon] = operands;
                    bend * (ds + epsilon * da / a) * f + sigma * moved
                })?;
                let operands = [sigma, bend, ds, da, a, f, Operand::Vector(&potential), epsilon];
                update(backend, &mut second.weights[side], operands, |out, operands| {
                    let [sigma, bend, ds, da, a, f, moved, epsilon] = operands;
                    let turned = bend * (ds + epsilon * da / a) * f;
                    out + epsilon * (turned + (sigma - 1.0) * (moved - f * da / a)) / a
                })?;
            }
            // The first half-step looks at a scaling of 1, which has no weights.
            if moves.is_empty() {
                return Ok(());
            }
            let [s, ds_here] = [back.softmin, &ds].map(Operand::Vector);
            update(backend, &mut softmin, [s, ds_here, epsilon], |moved, [s, ds, epsilon]| moved + s * ds / epsilon)?;
            let image = kernel.apply(frame, other, frame.density(back.half), &softmin)?;
            let q = kernel.apply(frame, other, frame.density(back.half), back.softmin)?;
            let [image, q, dg] = [&image, &q, &dg].map(Operand::Vector);
            // q = -K^T s'.
            let turned = vector(backend, frame.shape(other), [image, q, dg, epsilon], |[image, q, dg, epsilon]| {
                -image - q * dg / epsilon
            })?;
            let [db, b] = [&weights[other], frame.weights(other)].map(Operand::Vector);
            let operands = [db, q, b, Operand::Vector(&turned)];
            update(backend, &mut second.potentials[other], operands, |out, [db, q, b, turned]| {
                out - db * q + b * turned
            })?;
            add(backend, &mut second.weights[other], &scaled(backend, &turned, frame.epsilon())?)
        })?;
        let Sided { source, target } = second.weights;
        Ok([frame.of_histograms(Side::Source, source)?, frame.of_histograms(Side::Target, target)?])
    }
}

/// How the seeds of an objective move along a tangent of the weights.
fn seeds_along<D: Device>(
    frame: &Frame<D>,
    kernel: &mut dyn KernelOp<D>,
    path: &Path<D>,
    objective: Objective,
    seeds: &Seeds<D>,
    tangent: &DeviceTangent<D>,
    moved: &Sided<D::Vector>,
) -> Result<Seeds<D>, Error> {
    let backend = frame.backend();
    let mut out = Seeds {
        potentials: Sided::try_new(|side| frame.filled(side, 0.0))?,
        weights: Sided::try_new(|side| frame.filled(side, 0.0))?,
        epsilon: vec![0.0; frame.columns()],
    };
    for side in Side::BOTH.into_iter().filter(|&side| path.has_moved(side)) {
        let other = side.opposite();
        let own = tangent.weights[side].as_ref();
        match objective {
            Objective::Dual => {
                out.weights[side] = backend.copied(&moved[side])?;
                if let Some(own) = own {
                    out.potentials[side] = frame.in_all_columns(side, own)?;
                    let [da, a] = [own, frame.weights(side)].map(Operand::Vector);
                    let operands = [da, a, Operand::Constant(frame.epsilon())];
                    update(backend, &mut out.weights[side], operands, |out, [da, a, epsilon]| out + epsilon * da / a)?;
                }
            }
            Objective::TransportCost => {
                // r_i = sum_j exp(z_ij) b_j C_ij moves with f_i, with g and with b.
                let mut change = times(backend, &moved[side], &seeds.weights[side])?;
                let mut meet = |plan, values: &D::Vector, factor: f64, change: &mut D::Vector| {
                    let weight = match other {
                        Side::Source => PairWeight { source: Some(values), ..PairWeight::constant(0.0) },
                        Side::Target => PairWeight { target: Some(values), ..PairWeight::constant(0.0) },
                    };
                    let rows = frame.cost_rows(kernel, side, WeightedPlan { plan, weight }, frame.scale())?;
                    add(backend, change, &scaled(backend, &rows, factor)?)
                };
                meet(path.per_weight(frame, side), &moved[other], 1.0, &mut change)?;
                change = scaled(backend, &change, 1.0 / frame.epsilon())?;
                if let Some(weights) = tangent.weights[other].as_ref().filter(|_| path.has_moved(other)) {
                    let unweighted = frame.unweighted(other, path.end(frame, other).potential);
                    let plan = path.per_weight(frame, side).with_side(other, unweighted);
                    meet(plan, weights, 1.0, &mut change)?;
                }
                let mut potential = times(backend, frame.weights(side), &change)?;
                if let Some(own) = own {
                    add(backend, &mut potential, &times(backend, own, &seeds.weights[side])?)?;
                }
                out.potentials[side] = scaled(backend, &potential, 1.0 / frame.epsilon())?;
                out.weights[side] = change;
            }
        }
    }
    Ok(out)
}
