//! Gradients in all data of a problem, on the host.

use ot_core::{Backend, CostParameter, Device, Error, KernelOp, Operand, PairWeight, Side, WeightedPlan};

use super::{
    algebra::{self, Sided},
    data::{Data, dot},
    fixed_point::FixedPoint,
};
use crate::support::SIDES;

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
    pub fn of_value<D: Device<Elem = f64>>(
        fixed_point: &FixedPoint<'_, D>,
        kernel: &mut dyn KernelOp<D>,
        data: &Data,
    ) -> Result<Self, Error> {
        let backend = fixed_point.backend();
        let cost = parameters(backend, data, |parameter| fixed_point.value_in_cost(kernel, parameter))?;
        let weights = Sided::try_new(|side| host(backend, &fixed_point.value_in_weights(side)?))?;
        let epsilon = total(backend, &fixed_point.value_in_epsilon(kernel)?)?;
        Ok(Self { cost, weights, epsilon })
    }

    /// Of <u, f> + <v, g>.
    pub fn of_potentials<D: Device<Elem = f64>>(
        fixed_point: &FixedPoint<'_, D>,
        kernel: &mut dyn KernelOp<D>,
        data: &Data,
        cotangent: Sided<&D::Vector>,
    ) -> Result<Self, Error> {
        let backend = fixed_point.backend();
        let pulled = fixed_point.pull_back(kernel, cotangent)?;
        let cost = parameters(backend, data, |parameter| pulled.cost(kernel, parameter))?;
        let weights = Sided::try_new(|side| host(backend, &pulled.weights(kernel, side)?))?;
        let epsilon = total(backend, &pulled.epsilon(kernel)?)?;
        Ok(Self { cost, weights, epsilon })
    }

    /// Of <P, C>, for one column: P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon) depends on potentials and weights,
    /// and on the cost with slope (1 - C_ij / epsilon) P_ij. (Epsilon is left out.)
    pub fn of_transport_cost<D: Device<Elem = f64>>(
        fixed_point: &FixedPoint<'_, D>,
        kernel: &mut dyn KernelOp<D>,
        data: &Data,
    ) -> Result<Self, Error> {
        let (backend, scale) = (fixed_point.backend(), &fixed_point.scale);
        let rows = Sided::try_new(|side| fixed_point.cost_rows(kernel, side, fixed_point.plan(), scale))?;
        let cotangent = fixed_point.over_epsilon(&rows)?;
        let mut gradient = Self::of_potentials(fixed_point, kernel, data, cotangent.as_ref())?;

        let slope = PairWeight { cost: -1.0 / data.epsilon, ..PairWeight::constant(1.0) };
        let pairs = WeightedPlan { plan: fixed_point.plan(), weight: slope };
        gradient.add_cost_sums(fixed_point, kernel, data, pairs)?;
        for side in SIDES {
            let density = fixed_point.cost_rows(kernel, side, fixed_point.conditional(side), scale)?;
            add(&mut gradient.weights[side], &host(backend, &density)?);
        }
        Ok(gradient)
    }

    /// Of sum_ik w_ik T_ik for cotangents w (n x d) of the barycentric projection T(x_i) = sum_j P_ij y_j / sum_j P_ij,
    /// for one column. (Epsilon is left out.)
    ///
    /// ```text
    /// T = Q y,  Q_ij = b_j exp((s_i + g_j - C_ij) / epsilon)      dQ_ij = (Q_ij / epsilon) (dg_j - dC_ij + ds_i) + K_ij db_j
    /// ```
    ///
    /// Rows of Q keep their sum of 1, so that ds_i takes the mean off the factor (w y^T)_ij that meets all others:
    /// h_ij = sum_k w_ik (y_jk - T_ik).
    pub fn of_projection<D: Device<Elem = f64>>(
        fixed_point: &FixedPoint<'_, D>,
        kernel: &mut dyn KernelOp<D>,
        data: &Data,
        cotangent: &D::Vector,
    ) -> Result<Self, Error> {
        let (backend, conditional) = (fixed_point.backend(), fixed_point.conditional(Side::Source));
        let parameters = data.parameters(backend);
        let points = &parameters[1].1;
        let shapes = Sided { source: backend.shape(cotangent), target: backend.shape(points) };
        let product = |kernel: &mut dyn KernelOp<D>, side: Side, plan, values: &D::Vector| {
            let (rows, columns) = (shapes[side].0, backend.shape(values).1);
            let mut out = backend.alloc(rows, columns)?;
            kernel.apply(side, plan, values, &mut out)?;
            Ok::<_, Error>(out)
        };

        // -sum_k w_ik T_ik, the part of h that belongs to the source.
        let projection = product(kernel, Side::Source, conditional, points)?;
        let (w, t) = (host(backend, cotangent)?, host(backend, &projection)?);
        let mut mean = vec![0.0; shapes.source.0];
        w.iter().zip(&t).enumerate().for_each(|(entry, (w, t))| mean[entry % shapes.source.0] -= w * t);
        let mean = backend.upload(&mean, 1)?;

        // sum_i Q_ij h_ij meets g_j, and sum_i K_ij h_ij meets b_j.
        let meets = |kernel: &mut dyn KernelOp<D>, plan| {
            let mut total = host(backend, &product(kernel, Side::Target, plan, &mean)?)?;
            let image = host(backend, &product(kernel, Side::Target, plan, cotangent)?)?;
            let pairs = image.iter().zip(host(backend, points)?).map(|(image, y)| image * y).enumerate();
            pairs.for_each(|(entry, product)| total[entry % shapes.target.0] += product);
            Ok::<_, Error>(total)
        };
        let meets_g: Vec<f64> = meets(kernel, conditional)?.iter().map(|sum| sum / data.epsilon).collect();
        let meets_b = meets(kernel, fixed_point.density(Side::Source))?;

        let [u, v] = [vec![0.0; shapes.source.0], meets_g].map(|values| backend.upload(&values, 1));
        let mut gradient = Self::of_potentials(fixed_point, kernel, data, Sided { source: &u?, target: &v? })?;
        add(&mut gradient.weights.target, &meets_b);
        add(&mut gradient.cost[1], &host(backend, &product(kernel, Side::Target, conditional, cotangent)?)?);

        // -h / epsilon meets dC.
        let over_epsilon = |vector: &D::Vector| {
            let operands = [Operand::Vector(vector), Operand::Constant(-1.0 / data.epsilon)];
            algebra::vector(backend, backend.shape(vector), operands, |[x, factor]| x * factor)
        };
        let (mean, cotangent) = (over_epsilon(&mean)?, over_epsilon(cotangent)?);
        let weight =
            PairWeight { source: Some(&mean), product: Some((&cotangent, points)), ..PairWeight::constant(0.0) };
        gradient.add_cost_sums(fixed_point, kernel, data, WeightedPlan { plan: conditional, weight })?;
        Ok(gradient)
    }

    /// Adds sum_ij P_ij w_ij dC_ij / dtheta for all parameters of the cost.
    fn add_cost_sums<D: Device<Elem = f64>>(
        &mut self,
        fixed_point: &FixedPoint<'_, D>,
        kernel: &mut dyn KernelOp<D>,
        data: &Data,
        pairs: WeightedPlan<'_, D>,
    ) -> Result<(), Error> {
        let sums = |parameter| fixed_point.cost_sums(kernel, pairs, parameter);
        let direct = parameters(fixed_point.backend(), data, sums)?;
        self.cost.iter_mut().zip(&direct).for_each(|(out, direct)| add(out, direct));
        Ok(())
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
pub fn host<D: Device<Elem = f64>>(backend: &dyn Backend<D>, vector: &D::Vector) -> Result<Vec<f64>, Error> {
    Ok(backend.download(&[vector])?.swap_remove(0))
}

/// The sum of numbers over the columns.
pub fn total<D: Device>(backend: &dyn Backend<D>, numbers: &D::Reduced) -> Result<f64, Error> {
    Ok(backend.read(&[numbers])?[0].iter().sum())
}

/// One vector for each parameter of the cost, on the host.
fn parameters<D: Device<Elem = f64>>(
    backend: &dyn Backend<D>,
    data: &Data,
    mut of: impl FnMut(CostParameter) -> Result<D::Vector, Error>,
) -> Result<Vec<Vec<f64>>, Error> {
    data.parameters(backend).iter().map(|(parameter, _)| host(backend, &of(*parameter)?)).collect()
}
