//! Gradients in all data of a problem, on the host.

use ot_core::{Backend, CostParameter, Error, KernelOp, Side};

use super::{
    algebra::{SIDES, Sided},
    data::{Data, dot},
    fixed_point::{FixedPoint, one},
};

/// The derivatives of one number, summed over the columns of the batch.
#[derive(Clone, Debug)]
pub struct Gradient {
    /// In the parameters of the cost, in the order of [`Data::parameters`].
    pub cost: Vec<Vec<f64>>,
    /// In the weights, column after column.
    pub weights: Sided<Vec<f64>>,
    /// In epsilon.
    pub epsilon: f64,
}

impl Gradient {
    /// Of the optimal value.
    pub fn of_value<B: Backend<Elem = f64>>(
        fixed_point: &FixedPoint<'_, B>,
        kernel: &mut dyn KernelOp<B>,
        data: &Data,
    ) -> Result<Self, Error> {
        let backend = fixed_point.backend();
        let cost = parameters(backend, data, |parameter, shape| fixed_point.value_in_cost(kernel, parameter, shape))?;
        let weights = Sided::try_new(|side| host(backend, &fixed_point.value_in_weights(side)?))?;
        let epsilon = total(backend, &fixed_point.value_in_epsilon(kernel)?)?;
        Ok(Self { cost, weights, epsilon })
    }

    /// Of <u, f> + <v, g>.
    pub fn of_potentials<B: Backend<Elem = f64>>(
        fixed_point: &FixedPoint<'_, B>,
        kernel: &mut dyn KernelOp<B>,
        data: &Data,
        cotangent: Sided<&B::Vector>,
    ) -> Result<Self, Error> {
        let backend = fixed_point.backend();
        let pulled = fixed_point.pull_back(kernel, cotangent)?;
        let cost = parameters(backend, data, |parameter, shape| pulled.cost(kernel, parameter, shape))?;
        let weights = Sided::try_new(|side| host(backend, &pulled.weights(kernel, side)?))?;
        let epsilon = total(backend, &pulled.epsilon(kernel)?)?;
        Ok(Self { cost, weights, epsilon })
    }

    /// Of <P, C>, for one column: P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon) depends on potentials and weights,
    /// and on the cost with slope (1 - C_ij / epsilon) P_ij. (Epsilon is left out.)
    pub fn of_transport_cost<B: Backend<Elem = f64>>(
        fixed_point: &FixedPoint<'_, B>,
        kernel: &mut dyn KernelOp<B>,
        data: &Data,
    ) -> Result<Self, Error> {
        let (backend, scale) = (fixed_point.backend(), data.scale(fixed_point.backend()));
        let rows = Sided::try_new(|side| fixed_point.cost_rows(kernel, side, fixed_point.plan(), &scale))?;
        let cotangent = fixed_point.over_epsilon(&rows)?;
        let mut gradient = Self::of_potentials(fixed_point, kernel, data, cotangent.as_ref())?;

        let slope = ot_core::PairWeight { cost: -1.0 / data.epsilon, ..one() };
        let direct = parameters(backend, data, |parameter, (rows, columns)| {
            let mut out = backend.alloc(rows, columns)?;
            let derivative = kernel.cost_derivative().ok_or(Error::MissingCapability("derivative of the cost"))?;
            derivative.pull_back(fixed_point.plan(), slope, parameter, 0, &mut out)?;
            Ok(out)
        })?;
        gradient.cost.iter_mut().zip(&direct).for_each(|(out, direct)| add(out, direct));
        for side in SIDES {
            let density = fixed_point.cost_rows(kernel, side, fixed_point.conditional(side), &scale)?;
            add(&mut gradient.weights[side], &host(backend, &density)?);
        }
        Ok(gradient)
    }

    /// Its product with a direction.
    pub fn along(&self, direction: &Data) -> f64 {
        // A histogram that serves all columns meets the sum over them.
        let weights = |side: Side| {
            let (weights, gradient) = (&direction.weights[side], &self.weights[side]);
            dot(&weights.repeat(gradient.len() / weights.len()), gradient)
        };
        let cost = direction.cost_pairing(&self.cost);
        cost + weights(Side::Source) + weights(Side::Target) + direction.epsilon * self.epsilon
    }
}

/// x <- x + y
pub fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// A vector on the host.
pub fn host<B: Backend<Elem = f64>>(backend: &B, vector: &B::Vector) -> Result<Vec<f64>, Error> {
    Ok(backend.download(&[vector])?.swap_remove(0))
}

/// The sum of numbers over the columns.
pub fn total<B: Backend>(backend: &B, numbers: &B::Reduced) -> Result<f64, Error> {
    Ok(backend.read(&[numbers])?[0].iter().sum())
}

/// One vector for each parameter of the cost, on the host.
fn parameters<B: Backend<Elem = f64>>(
    backend: &B,
    data: &Data,
    mut of: impl FnMut(CostParameter, (usize, usize)) -> Result<B::Vector, Error>,
) -> Result<Vec<Vec<f64>>, Error> {
    let parameters = data.parameters(backend);
    parameters.iter().map(|(parameter, value)| host(backend, &of(*parameter, backend.shape(value))?)).collect()
}
