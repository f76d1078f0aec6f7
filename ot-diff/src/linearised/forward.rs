//! From a tangent of the data to the change of every output.

use ot_core::{CostParameter, Device, Error, Operand, PairWeight, PlanView, Scalar, Side, WeightedPlan};

use super::{Linearised, Mode, Output, functional::spread, output::Values, sign};
use crate::{
    LinearSolve, Tangent,
    algebra::{Sided, add, channel, channels_of, host, numbers, pairing, scaled, times, update, vector},
    tangent::DeviceTangent,
};

impl<D: Device> Linearised<D> {
    /// The change of all outputs along a tangent. Solves one linear system.
    ///
    /// # Errors
    /// [`Error::Length`] for a tangent of another problem, [`Error::Parameter`] for one that is not finite or, where both
    /// marginals are prescribed, gives one side more mass than the other; [`Error::MissingCapability`] for a parameter that
    /// the kernel knows no derivative in; a failure of the device.
    pub fn push_forward(&mut self, tangent: &Tangent<D::Elem>) -> Result<Change<'_, D>, Error> {
        let tangent = tangent.upload(&self.optimum.frame, self.kernel.as_mut())?;
        let drift = self.drift(&tangent)?;
        let explicit = self.explicit(&tangent, &drift)?;
        let (mut softmins, solve) = self.solve(explicit, Mode::Forward)?;
        let (frame, backend) = (&self.optimum.frame, self.optimum.frame.backend());
        let mut potentials = Sided::try_new(|side| {
            let operands = [&self.slopes[side], &softmins[side], &drift[side]].map(Operand::Vector);
            vector(backend, frame.shape(side), operands, |[sigma, ds, drift]| sigma * ds + drift)
        })?;
        if frame.problem.is_balanced() {
            let lambda = self.shift_into_gauge(&potentials, &tangent)?;
            for side in Side::BOTH {
                let operands = [Operand::Reduced(&lambda), Operand::Constant(sign(side))];
                for moved in [&mut potentials[side], &mut softmins[side]] {
                    update(backend, moved, operands, |moved, [lambda, sign]| moved + sign * lambda)?;
                }
            }
        }
        let exponents = self.exponents(&potentials, &tangent)?;
        Ok(Change { linearised: self, tangent, potentials, softmins, exponents, solve })
    }

    /// The changes of both softmins along a tangent while the other one rests, and the step between them drifts.
    pub(crate) fn explicit(
        &mut self,
        tangent: &DeviceTangent<D>,
        drift: &Sided<D::Vector>,
    ) -> Result<Sided<D::Vector>, Error> {
        let Self { optimum, kernel, .. } = self;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        backend.scope(|| {
            Sided::try_new(|side| {
                let (half, other) = (optimum.half_step(side), side.opposite());
                let weights = tangent.weights[other].as_ref();
                let mut change = frame.explicit(kernel.as_mut(), half, &tangent.cost, weights, tangent.epsilon)?;
                let response = frame.apply(kernel.as_mut(), side, optimum.conditional(side), &drift[other])?;
                update(backend, &mut change, [Operand::Vector(&response)], |change, [response]| change - response)?;
                Ok(change)
            })
        })
    }

    /// lambda with <a, df> + <da, f> = <b, dg> + <db, g> after (lambda, -lambda) has been added.
    fn shift_into_gauge(&self, change: &Sided<D::Vector>, tangent: &DeviceTangent<D>) -> Result<D::Reduced, Error> {
        let frame = &self.optimum.frame;
        let (backend, columns) = (frame.backend(), frame.columns());
        let moved = Sided::try_new(|side| {
            let implicit = self.weighted(side, &change[side])?;
            let explicit = match &tangent.weights[side] {
                Some(weights) => pairing(backend, frame.shape(side), weights, self.optimum.potential(side))?,
                None => backend.upload_reduced(&vec![0.0; columns])?,
            };
            numbers(backend, columns, [&implicit, &explicit].map(Operand::Reduced), |[implicit, explicit]| {
                implicit + explicit
            })
        })?;
        let masses = Sided::try_new(|side| frame.mass(side))?;
        let operands = [&moved.source, &moved.target, &masses.source, &masses.target].map(Operand::Reduced);
        numbers(backend, columns, operands, |[source, target, a, b]| (target - source) / (a + b))
    }

    /// The change of (f_i + g_j - C_ij) / epsilon, as parts of either side and a direction of the cost.
    fn exponents(&self, potentials: &Sided<D::Vector>, tangent: &DeviceTangent<D>) -> Result<Exponents<D>, Error> {
        let (frame, epsilon) = (&self.optimum.frame, self.optimum.frame.epsilon());
        let backend = frame.backend();
        let relative = tangent.epsilon / epsilon;
        let sides = Sided::try_new(|side| {
            let [df, f] = [&potentials[side], self.optimum.potential(side)].map(Operand::Vector);
            let operands = [df, f, Operand::Constant(relative), Operand::Constant(epsilon)];
            vector(backend, frame.shape(side), operands, |[df, f, relative, epsilon]| (df - relative * f) / epsilon)
        })?;
        let mut cost = Vec::with_capacity(tangent.cost.len() + 1);
        for (parameter, values) in &tangent.cost {
            cost.push((*parameter, scaled(backend, values, 1.0 / epsilon)?));
        }
        if relative != 0.0 {
            cost.push((CostParameter::Scale, backend.filled(-relative / epsilon, 1, 1)?));
        }
        Ok(Exponents { sides, cost })
    }
}

/// dz_ij = x_i + y_j - dC_ij.
#[derive(Debug)]
pub(super) struct Exponents<D: Device> {
    pub(super) sides: Sided<D::Vector>,
    pub(super) cost: Vec<(CostParameter, D::Vector)>,
}

/// How everything that can be read off a solution changes along a tangent.
///
/// | output | costs |
/// |---|---|
/// | a potential | nothing more |
/// | the transport cost | four passes over the pairs, and three for each parameter of the cost that moves |
/// | a marginal, a product, a projection | up to four products with the plan, and for each channel a pass for each parameter of the cost that moves |
#[derive(Debug)]
pub struct Change<'a, D: Device> {
    pub(super) linearised: &'a mut Linearised<D>,
    pub(super) tangent: DeviceTangent<D>,
    /// df and dg.
    pub(super) potentials: Sided<D::Vector>,
    /// ds and dt.
    pub(super) softmins: Sided<D::Vector>,
    pub(super) exponents: Exponents<D>,
    pub(super) solve: LinearSolve,
}

impl<D: Device> Change<'_, D> {
    /// What is known of the linear solve.
    #[must_use]
    pub fn solve(&self) -> LinearSolve {
        self.solve
    }

    /// The change of an output, in its layout. Values and points that the output takes of the plan rest.
    ///
    /// # Errors
    /// Those of [`Linearised::value`], and a failure of the device.
    pub fn of(&mut self, output: &Output<D::Elem>) -> Result<Vec<D::Elem>, Error> {
        match output {
            Output::Potential(side) => host(self.linearised.optimum.frame.backend(), &self.potentials[*side]),
            Output::TransportCost => Ok(self.of_transport_cost()?.into_iter().map(D::Elem::from_f64).collect()),
            Output::Marginal(side) => {
                let frame = &self.linearised.optimum.frame;
                let values = Values { side: *side, vector: frame.filled(side.opposite(), 1.0)?, channels: 1 };
                let change = self.of_product(&values)?;
                host(self.linearised.optimum.frame.backend(), &change)
            }
            Output::Product { .. } | Output::Projection { .. } => {
                let Some(values) = self.linearised.values_of(output)? else { return Ok(Vec::new()) };
                let change = match output {
                    Output::Projection { .. } => self.of_projection(&values)?,
                    _ => self.of_product(&values)?,
                };
                let frame = &self.linearised.optimum.frame;
                frame.laid_out(output, values.side, &host(frame.backend(), &change)?)
            }
        }
    }

    /// d(P v) = x o (P v) + da o (K v) + what the other side and the cost do.
    fn of_product(&mut self, Values { side, vector: values, channels }: &Values<D>) -> Result<D::Vector, Error> {
        let (side, channels) = (*side, *channels);
        let mut total = self.response(side, Given::Plan, values, channels)?;
        let Linearised { optimum, kernel, .. } = &mut *self.linearised;
        let frame = &optimum.frame;
        let own = frame.apply(kernel.as_mut(), side, optimum.plan(), values)?;
        let density = match &self.tangent.weights[side] {
            Some(weights) => {
                let density = frame.apply(kernel.as_mut(), side, optimum.per_weight(side), values)?;
                Some((frame.in_all_columns(side, weights)?, density))
            }
            None => None,
        };
        let of_exponents = spread(self.linearised, &self.exponents.sides[side], &own, channels)?;
        let backend = self.linearised.optimum.frame.backend();
        add(backend, &mut total, &of_exponents)?;
        if let Some((weights, density)) = density {
            add(backend, &mut total, &spread(self.linearised, &weights, &density, channels)?)?;
        }
        Ok(total)
    }

    /// dT = R(y) - T o R(1): rows of the conditional plan keep their sum.
    fn of_projection(&mut self, Values { side, vector: points, channels }: &Values<D>) -> Result<D::Vector, Error> {
        let (side, channels) = (*side, *channels);
        let mut total = self.response(side, Given::Conditional, points, channels)?;
        let ones = self.linearised.optimum.frame.filled(side.opposite(), 1.0)?;
        let rows = self.response(side, Given::Conditional, &ones, 1)?;
        let Linearised { optimum, kernel, .. } = &mut *self.linearised;
        let projection = optimum.frame.apply(kernel.as_mut(), side, optimum.conditional(side), points)?;
        let mean = spread(self.linearised, &rows, &projection, channels)?;
        let backend = self.linearised.optimum.frame.backend();
        update(backend, &mut total, [Operand::Vector(&mean)], |total, [mean]| total - mean)?;
        Ok(total)
    }

    /// R(v)_i = sum_j (R_ij (y_j - dC_ij) + K_ij db_j) v_j, channel by channel.
    fn response(&mut self, side: Side, given: Given, values: &D::Vector, channels: usize) -> Result<D::Vector, Error> {
        let other = side.opposite();
        let moved = spread(self.linearised, &self.exponents.sides[other], values, channels)?;
        let weighed = match &self.tangent.weights[other] {
            Some(weights) => {
                let weights = self.linearised.optimum.frame.in_all_columns(other, weights)?;
                Some(spread(self.linearised, &weights, values, channels)?)
            }
            None => None,
        };
        let Linearised { optimum, kernel, .. } = &mut *self.linearised;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let [plan, density]: [PlanView<'_, D>; 2] = match given {
            Given::Plan => [optimum.plan(), optimum.per_weight(other)],
            Given::Conditional => [optimum.conditional(side), optimum.density(side)],
        };
        let mut total = frame.apply(kernel.as_mut(), side, plan, &moved)?;
        if let Some(weighed) = weighed {
            add(backend, &mut total, &frame.apply(kernel.as_mut(), side, density, &weighed)?)?;
        }
        if !self.exponents.cost.is_empty() {
            for index in 0..channels {
                let factor = channel(backend, values, frame.columns(), index)?;
                let weight = match side {
                    Side::Source => PairWeight { target: Some(&factor), ..PairWeight::constant(0.0) },
                    Side::Target => PairWeight { source: Some(&factor), ..PairWeight::constant(0.0) },
                };
                let pairs = WeightedPlan { plan, weight };
                let rows = frame.cost_rows(kernel.as_mut(), side, pairs, &self.exponents.cost)?;
                let placed = channels_of(backend, &rows, frame.columns(), channels, index)?;
                update(backend, &mut total, [Operand::Vector(&placed)], |total, [rows]| total - rows)?;
            }
        }
        Ok(total)
    }

    /// d<P, C> of each column.
    fn of_transport_cost(&mut self) -> Result<Vec<f64>, Error> {
        let Linearised { optimum, kernel, .. } = &mut *self.linearised;
        let (frame, backend) = (&optimum.frame, optimum.frame.backend());
        let even = |plan| WeightedPlan { plan, weight: PairWeight::constant(1.0) };
        let mut parts: Vec<D::Reduced> = Vec::new();
        for side in Side::BOTH {
            let rows = frame.cost_rows(kernel.as_mut(), side, even(optimum.plan()), frame.scale())?;
            parts.push(pairing(backend, frame.shape(side), &rows, &self.exponents.sides[side])?);
            if let Some(weights) = &self.tangent.weights[side] {
                let rows = frame.cost_rows(kernel.as_mut(), side, even(optimum.per_weight(side)), frame.scale())?;
                parts.push(pairing(backend, frame.shape(side), &rows, weights)?);
            }
        }
        let mut explicit = frame.cost_rows(kernel.as_mut(), Side::Source, even(optimum.plan()), &self.tangent.cost)?;
        let by_cost = PairWeight { cost: 1.0, ..PairWeight::constant(0.0) };
        let pairs = WeightedPlan { plan: optimum.plan(), weight: by_cost };
        let of_exponents = frame.cost_rows(kernel.as_mut(), Side::Source, pairs, &self.exponents.cost)?;
        update(backend, &mut explicit, [Operand::Vector(&of_exponents)], |rows, [exponents]| rows - exponents)?;
        let ones = frame.filled(Side::Source, 1.0)?;
        parts.push(pairing(backend, frame.shape(Side::Source), &times(backend, &ones, &explicit)?, &ones)?);
        let read = backend.read(&parts.iter().collect::<Vec<_>>())?;
        Ok((0..frame.columns()).map(|column| read.iter().map(|part| part[column]).sum()).collect())
    }
}

/// Which plan responds.
#[derive(Copy, Clone, Debug)]
enum Given {
    /// P.
    Plan,
    /// The distributions given the atoms of the side.
    Conditional,
}
