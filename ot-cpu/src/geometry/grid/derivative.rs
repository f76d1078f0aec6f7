//! Derivatives of the cost in the points of a side, or in its scale, under the plan.
//!
//! A cost that is a sum over the axes has a gradient whose part on axis k depends on that axis alone. So whatever is summed
//! under the plan is a sum of products of one factor for each axis,
//!
//! ```text
//! sum_j P_ij v_j prod_k phi_k(x_k, y_k)        phi_k = 1, the cost C_k of the axis, its slope, its curvature, or their product
//! ```
//!
//! taken axis by axis, in f64 and with signs: each partial sum is a number times an exponential. Nothing is a difference of
//! sums, so that gradients keep their digits where points are close. Cost: an exponential for each node and each node of a
//! line, axis after axis; O(N) memory.

use ot_core::{
    CostDerivative, CostParameter, CostTangent, Error, Host, HostBackend, LOG_ZERO, PairWeight, PlanOperator, PlanView,
    Side, WeightedPlan,
    cost::AxisPair,
    host::{HostVector, for_each_chunk},
};

use super::kernel::GridKernel;
use crate::geometry::{
    CpuScalar,
    derivative::{for_columns, tangent_column},
    rows::TASKS,
};

/// What is multiplied with the terms of an axis.
#[derive(Clone, Copy, Debug)]
enum Quantity {
    /// C_k.
    Cost,
    /// dC_k in the points of a side.
    Slope(Side),
    /// d2C_k in the points of both sides named.
    Bend(Side, Side),
}

/// A quantity of an axis.
type Factor = (usize, Quantity);

/// The number `mantissa` times exp(`exponent`).
#[derive(Clone, Copy, Debug, Default)]
struct Scaled {
    mantissa: f64,
    exponent: f64,
}

/// All values of a quantity, for the nodes of a side and then those of the other.
fn table(axis: &AxisPair, side: Side, quantity: Quantity) -> Vec<f64> {
    let (own, others) = (axis.len(side), axis.len(side.opposite()));
    let pairs = (0..own).flat_map(|i| (0..others).map(move |j| (i, j)));
    let value = |(i, j): (usize, usize)| match quantity {
        Quantity::Cost => axis.between(side, i, j),
        Quantity::Slope(moving) => axis.slopes(side, i, j)[moving.index()],
        Quantity::Bend(moving, along) => axis.bend(side, i, j, along).unwrap_or_default()[moving.index()],
    };
    pairs.map(value).collect()
}

impl<T: CpuScalar> GridKernel<T> {
    /// sum_j exp(-C_ij / epsilon) prod phi_ij v_j for the nodes i of a side.
    fn contract(&self, side: Side, factors: &[Factor], values: Vec<Scaled>) -> Vec<Scaled> {
        let inverse = 1.0 / self.binding().epsilon();
        let mut entering = values;
        for (k, axis) in self.grids.costs.axes().iter().enumerate() {
            let (own, others) = (axis.len(side), axis.len(side.opposite()));
            let costs = table(axis, side, Quantity::Cost);
            let mut weights: Option<Vec<f64>> = None;
            for (_, quantity) in factors.iter().filter(|(of_axis, _)| *of_axis == k) {
                let next = table(axis, side, *quantity);
                weights = Some(match weights {
                    None => next,
                    Some(weights) => weights.iter().zip(next).map(|(weight, next)| weight * next).collect(),
                });
            }
            // The first axis becomes the last.
            let lines = entering.len() / others;
            let mut leaving = vec![Scaled::default(); lines * own];
            let task = lines.div_ceil(TASKS);
            for_each_chunk(
                |tasks, job| self.backend.parallel(tasks, job),
                lines.div_ceil(task),
                leaving.chunks_mut(task * own),
                |index, out| {
                    for (line, out) in (index * task..).zip(out.chunks_exact_mut(own)) {
                        let inputs: Vec<Scaled> = entering.iter().skip(line).step_by(lines).copied().collect();
                        for (i, out) in out.iter_mut().enumerate() {
                            let costs = &costs[i * others..][..others];
                            let weights = weights.as_ref().map(|weights| &weights[i * others..][..others]);
                            *out = sum_of_line(&inputs, costs, weights, inverse);
                        }
                    }
                },
            );
            entering = leaving;
        }
        entering
    }

    /// For the nodes i of a side: sum_j P_ij w_ij prod phi_ij v_j.
    fn sums(
        &self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        column: usize,
        factors: &[Factor],
        values: Option<&[T]>,
    ) -> Vec<f64> {
        let WeightedPlan { plan, weight } = pairs;
        let inverse = 1.0 / self.binding().epsilon();
        let exponents = |side: Side| {
            let side = plan.side(side);
            let both = side.potential.column(column).iter().zip(side.log_weights.column(column));
            both.map(|(potential, log)| match log.to_f64() {
                log if log <= 0.5 * LOG_ZERO => f64::NEG_INFINITY,
                log => potential.to_f64() * inverse + log,
            })
            .collect::<Vec<f64>>()
        };
        let (own, other) = (exponents(side), exponents(side.opposite()));
        let mut out = vec![0.0; own.len()];
        let mut add = |of_own: Option<&[T]>, of_other: Option<&[T]>, constant: f64, factors: &[Factor]| {
            let at = |numbers: Option<&[T]>, index: usize| numbers.map_or(1.0, |numbers| numbers[index].to_f64());
            let mantissa = |j: usize| at(of_other, j) * at(values, j);
            let scaled = |(j, &exponent): (usize, &f64)| match exponent > f64::NEG_INFINITY {
                true => Scaled { mantissa: mantissa(j), exponent },
                false => Scaled::default(),
            };
            let sums = self.contract(side, factors, other.iter().enumerate().map(scaled).collect());
            for (i, ((out, sum), own)) in out.iter_mut().zip(sums).zip(&own).enumerate() {
                if sum.mantissa != 0.0 && *own > f64::NEG_INFINITY {
                    *out += constant * at(of_own, i) * sum.mantissa * (sum.exponent + own).exp();
                }
            }
        };
        if weight.constant != 0.0 {
            add(None, None, weight.constant, factors);
        }
        let [of_source, of_target] = [weight.source, weight.target].map(|of_side| of_side.map(|v| v.column(column)));
        let [of_own, of_other] = if side == Side::Source { [of_source, of_target] } else { [of_target, of_source] };
        if of_own.is_some() {
            add(of_own, None, 1.0, factors);
        }
        if of_other.is_some() {
            add(None, of_other, 1.0, factors);
        }
        if let Some((u, v)) = weight.product {
            let channels = u.shape().1 / self.binding().columns();
            for channel in column * channels..(column + 1) * channels {
                let (u, v) = (u.column(channel), v.column(channel));
                let (of_own, of_other) = if side == Side::Source { (u, v) } else { (v, u) };
                add(Some(of_own), Some(of_other), 1.0, factors);
            }
        }
        if weight.cost != 0.0 {
            for axis in 0..self.grids.costs.axes().len() {
                add(None, None, weight.cost, &[factors, &[(axis, Quantity::Cost)]].concat());
            }
        }
        out
    }

    /// For the nodes i of `side`: sum_j P_ij w_ij prod phi_ij t_k at the node of the side that moves.
    fn sums_along(
        &self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        column: usize,
        factors: &[Factor],
        (moving, tangent): (Side, &[T]),
    ) -> Vec<f64> {
        if moving != side {
            return self.sums(side, pairs, column, factors, Some(tangent));
        }
        let mut sums = self.sums(side, pairs, column, factors, None);
        sums.iter_mut().zip(tangent).for_each(|(sum, tangent)| *sum *= tangent.to_f64());
        sums
    }

    /// [`CostDerivative::push_forward`] of one column.
    fn changes(
        &self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        column: usize,
        tangent: CostTangent<'_, Host<T>>,
    ) -> Result<Vec<f64>, Error> {
        let values = tangent_column(self.shape(tangent.parameter), tangent, column)?;
        let mut out = vec![0.0; self.len(side)];
        for axis in 0..self.grids.costs.axes().len() {
            let sums = match tangent.parameter {
                CostParameter::Points(moving) => {
                    let along = &values[axis * self.len(moving)..][..self.len(moving)];
                    self.sums_along(side, pairs, column, &[(axis, Quantity::Slope(moving))], (moving, along))
                }
                _ => {
                    let scale = values[0].to_f64();
                    let sums = self.sums(side, pairs, column, &[(axis, Quantity::Cost)], None);
                    sums.into_iter().map(|sum| scale * sum).collect()
                }
            };
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        }
        Ok(out)
    }

    /// [`CostDerivative::pull_back`] of one column.
    fn pull_back_column(
        &self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        column: usize,
        out: &mut [T],
    ) -> Result<(), Error> {
        match parameter {
            CostParameter::Points(side) => {
                for (axis, out) in out.chunks_exact_mut(self.len(side)).enumerate() {
                    write(&self.sums(side, pairs, column, &[(axis, Quantity::Slope(side))], None), out);
                }
            }
            _ => {
                let axes = 0..self.grids.costs.axes().len();
                let of_axis =
                    |axis| self.sums(Side::Source, pairs, column, &[(axis, Quantity::Cost)], None).iter().sum::<f64>();
                out[0] = T::from_f64(axes.map(of_axis).sum());
            }
        }
        Ok(())
    }

    /// [`CostDerivative::curvature`] of one column.
    fn curvature_column(
        &self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        column: usize,
        out: &mut [T],
    ) -> Result<(), Error> {
        let values = tangent_column(self.shape(tangent.parameter), tangent, column)?;
        match (parameter, tangent.parameter) {
            (CostParameter::Points(side), CostParameter::Points(moving)) => {
                if self.grids.costs.axes().iter().any(|axis| axis.bend(Side::Source, 0, 0, Side::Source).is_none()) {
                    return Err(Error::MissingCapability("second derivative of the cost"));
                }
                for (axis, out) in out.chunks_exact_mut(self.len(side)).enumerate() {
                    let along = &values[axis * self.len(moving)..][..self.len(moving)];
                    let factors = [(axis, Quantity::Bend(side, moving))];
                    write(&self.sums_along(side, pairs, column, &factors, (moving, along)), out);
                }
            }
            // The scale enters linearly, and its mixed blocks are first derivatives.
            (CostParameter::Points(_), _) => {
                self.pull_back_column(pairs, parameter, column, out)?;
                out.iter_mut().for_each(|out| *out = *out * values[0]);
            }
            (_, CostParameter::Points(_)) => {
                out[0] = T::from_f64(self.changes(Side::Source, pairs, column, tangent)?.iter().sum());
            }
            _ => out.fill(T::default()),
        }
        Ok(())
    }

    /// [`CostDerivative::gauss_newton`] of one column.
    fn gauss_newton_column(
        &self,
        plan: PlanView<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        column: usize,
        out: &mut [T],
    ) -> Result<(), Error> {
        let values = tangent_column(self.shape(tangent.parameter), tangent, column)?;
        let even = WeightedPlan { plan, weight: PairWeight::constant(1.0) };
        let by_cost = WeightedPlan { plan, weight: PairWeight { cost: 1.0, ..PairWeight::constant(0.0) } };
        match (parameter, tangent.parameter) {
            (CostParameter::Points(side), CostParameter::Points(moving)) => {
                for (axis, out) in out.chunks_exact_mut(self.len(side)).enumerate() {
                    let mut total = vec![0.0; out.len()];
                    for other in 0..self.grids.costs.axes().len() {
                        let along = &values[other * self.len(moving)..][..self.len(moving)];
                        let factors = [(axis, Quantity::Slope(side)), (other, Quantity::Slope(moving))];
                        let sums = self.sums_along(side, even, column, &factors, (moving, along));
                        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
                    }
                    write(&total, out);
                }
            }
            // dC = C along the scale.
            (CostParameter::Points(_), _) => {
                self.pull_back_column(by_cost, parameter, column, out)?;
                out.iter_mut().for_each(|out| *out = *out * values[0]);
            }
            _ => out[0] = T::from_f64(self.changes(Side::Source, by_cost, column, tangent)?.iter().sum()),
        }
        Ok(())
    }
}

impl<T: CpuScalar> CostDerivative<Host<T>> for GridKernel<T> {
    /// The points of the nodes where every axis knows the slope of its cost, and the scale.
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        match parameter {
            CostParameter::Points(side) => {
                let axes = self.grids.costs.axes();
                axes.iter().all(AxisPair::has_slopes).then_some((self.len(side), axes.len()))
            }
            CostParameter::Scale => Some((1, 1)),
            _ => None,
        }
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for_columns(self.shape(parameter), out, |column, out| self.pull_back_column(pairs, parameter, column, out))
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for column in 0..self.binding().columns() {
            write(&self.changes(side, pairs, column, tangent)?, out.column_mut(column));
        }
        Ok(())
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for_columns(self.shape(parameter), out, |column, out| {
            self.curvature_column(pairs, parameter, tangent, column, out)
        })
    }

    fn gauss_newton(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for_columns(self.shape(parameter), out, |column, out| {
            self.gauss_newton_column(plan, parameter, tangent, column, out)
        })
    }
}

/// sum_j exp(-C_j / epsilon) phi_j v_j, from its largest exponent.
fn sum_of_line(inputs: &[Scaled], costs: &[f64], weights: Option<&[f64]>, inverse: f64) -> Scaled {
    let terms = || {
        let with_cost = inputs.iter().zip(costs).enumerate();
        with_cost.filter(|(_, (input, _))| input.mantissa != 0.0).map(|(j, (input, cost))| {
            let weight = weights.map_or(1.0, |weights| weights[j]);
            Scaled { mantissa: weight * input.mantissa, exponent: input.exponent - cost * inverse }
        })
    };
    let top = terms().map(|term| term.exponent).fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return Scaled::default();
    }
    let mantissa = terms().map(|term| term.mantissa * (term.exponent - top).exp()).sum();
    Scaled { mantissa, exponent: top }
}

fn write<T: CpuScalar>(numbers: &[f64], out: &mut [T]) {
    out.iter_mut().zip(numbers).for_each(|(out, &number)| *out = T::from_f64(number));
}
