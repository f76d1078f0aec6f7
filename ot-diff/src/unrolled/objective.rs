//! The numbers that iterations end in.

use ot_core::{Device, Error, Operand, PairWeight, Real, Side, WeightedPlan};

use super::{Trajectory, trajectory::Path};
use crate::{
    algebra::{Sided, pairing, scaled, sum, times, vector},
    frame::Frame,
};

/// What the iterations are asked for.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Objective {
    /// <P_L, C>.
    TransportCost,
    /// epsilon (<a, log u> + <b, log v>): after convergence the optimum of <P, C> + epsilon sum P (log P - 1), up to epsilon
    /// times the mass, which is the dual for the entropy -sum P log P. A side that has not moved counts nothing.
    Dual,
}

/// The derivatives of an objective in the potentials and weights of the end, and its explicit one in epsilon.
#[derive(Debug)]
pub(super) struct Seeds<D: Device> {
    pub(super) potentials: Sided<D::Vector>,
    pub(super) weights: Sided<D::Vector>,
    /// Of each column.
    pub(super) epsilon: Vec<f64>,
}

impl<D: Device> Trajectory<D> {
    /// The value of an objective, of each column.
    ///
    /// # Errors
    /// [`Error::MissingCapability`] for a kernel without transport cost; a failure of the device.
    pub fn value(&mut self, objective: Objective) -> Result<Vec<f64>, Error> {
        let Self { frame, kernel, path } = self;
        let backend = frame.backend();
        match objective {
            Objective::TransportCost => {
                let mut out = backend.alloc_reduced(frame.columns())?;
                let transport = kernel.as_mut().transport_cost().ok_or(Error::MissingCapability("transport cost"))?;
                transport.plan_cost(path.plan(frame), &mut out)?;
                Ok(backend.read(&[&out])?.swap_remove(0))
            }
            Objective::Dual => {
                let part = |side: Side| -> Result<D::Reduced, Error> {
                    let own = path.end(frame, side);
                    if !path.has_moved(side) {
                        return backend.upload_reduced(&vec![0.0; frame.columns()]);
                    }
                    let [f, a, log] = [own.potential, own.weights, own.log_weights].map(Operand::Vector);
                    let operands = [f, a, log, Operand::Constant(frame.epsilon())];
                    sum(backend, frame.shape(side), operands, |[f, a, log, epsilon]| {
                        a.select(a * (f + epsilon * log), 0.0)
                    })
                };
                let (source, target) = (part(Side::Source)?, part(Side::Target)?);
                let read = backend.read(&[&source, &target])?;
                Ok(read[0].iter().zip(&read[1]).map(|(source, target)| source + target).collect())
            }
        }
    }

    /// Where the adjoint of an objective starts.
    pub(super) fn seeds(&mut self, objective: Objective) -> Result<Seeds<D>, Error> {
        let Self { frame, kernel, path } = self;
        let backend = frame.backend();
        match objective {
            Objective::Dual => {
                let potentials = Sided::try_new(|side| match path.has_moved(side) {
                    true => frame.in_all_columns(side, frame.weights(side)),
                    false => frame.filled(side, 0.0),
                })?;
                let weights = Sided::try_new(|side| slope_in_weights(frame, path, side))?;
                let mut epsilon = vec![0.0; frame.columns()];
                for side in Side::BOTH.into_iter().filter(|&side| path.has_moved(side)) {
                    let own = path.end(frame, side);
                    let operands = [own.weights, own.log_weights].map(Operand::Vector);
                    let entropy = sum(backend, frame.shape(side), operands, |[a, log]| a.select(a * log, 0.0))?;
                    epsilon.iter_mut().zip(&backend.read(&[&entropy])?[0]).for_each(|(sum, part)| *sum += part);
                }
                Ok(Seeds { potentials, weights, epsilon })
            }
            Objective::TransportCost => {
                let mut exponents = vec![0.0; frame.columns()];
                let mut add = |numbers: &D::Reduced, factor: f64| {
                    let read = backend.read(&[numbers])?;
                    exponents.iter_mut().zip(&read[0]).for_each(|(sum, part)| *sum += factor * part);
                    Ok::<_, Error>(())
                };
                let weights = Sided::try_new(|side| {
                    let pairs = WeightedPlan { plan: path.per_weight(frame, side), weight: PairWeight::constant(1.0) };
                    frame.cost_rows(kernel.as_mut(), side, pairs, frame.scale())
                })?;
                let potentials = Sided::try_new(|side| {
                    let end = path.end(frame, side);
                    let rows = times(backend, end.weights, &weights[side])?;
                    add(&pairing(backend, frame.shape(side), &rows, end.potential)?, 1.0)?;
                    match path.has_moved(side) {
                        true => scaled(backend, &rows, 1.0 / frame.epsilon()),
                        false => frame.filled(side, 0.0),
                    }
                })?;
                let by_cost = PairWeight { cost: 1.0, ..PairWeight::constant(0.0) };
                let pairs = WeightedPlan { plan: path.plan(frame), weight: by_cost };
                let squares = frame.cost_rows(kernel.as_mut(), Side::Source, pairs, frame.scale())?;
                let ones = frame.filled(Side::Source, 1.0)?;
                add(&pairing(backend, frame.shape(Side::Source), &squares, &ones)?, -1.0)?;
                let weights = Sided::try_new(|side| match path.has_moved(side) {
                    true => backend.copied(&weights[side]),
                    false => frame.filled(side, 0.0),
                })?;
                let squared = frame.epsilon() * frame.epsilon();
                Ok(Seeds { potentials, weights, epsilon: exponents.iter().map(|sum| -sum / squared).collect() })
            }
        }
    }

    /// Refuses a derivative in the weights of a side that has none: a log a has no slope at 0.
    pub(super) fn check_weights(&self, objective: Objective, side: Side) -> Result<(), Error> {
        match (objective, self.path.weightless[side.index()]) {
            (Objective::Dual, Some(_)) if self.path.has_moved(side) => Err(Error::Parameter {
                name: "a weight that the dual is differentiated in",
                value: 0.0,
                expected: "a number > 0: a log a has no slope at 0",
            }),
            _ => Ok(()),
        }
    }
}

/// f + epsilon (log a + 1), the slope of the dual in the weights of a side that has moved.
fn slope_in_weights<D: Device>(frame: &Frame<D>, path: &Path<D>, side: Side) -> Result<D::Vector, Error> {
    if !path.has_moved(side) {
        return frame.filled(side, 0.0);
    }
    let own = path.end(frame, side);
    let [f, a, log] = [own.potential, own.weights, own.log_weights].map(Operand::Vector);
    let operands = [f, a, log, Operand::Constant(frame.epsilon())];
    vector(frame.backend(), frame.shape(side), operands, |[f, a, log, epsilon]| {
        a.select(f + epsilon * (log + 1.0), 0.0)
    })
}
