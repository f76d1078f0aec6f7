//! The derivative of the implied cost in the weights of edges: those of a graph, or the cotangent weights of a mesh.
//!
//! ```text
//! K = A^-1 (M A^-1)^(k - 1),   A = M + (t / k) sum_e w_e b_e b_e^T,   b_e = e_i - e_j
//! p^T (dK / dw_e) q = -(t / k) sum_s (b_e^T x_s) (b_e^T y_(k - 1 - s))
//! x_0 = A^-1 p,  x_s = A^-1 M x_(s - 1);   y likewise from q
//! ```
//!
//! so that the derivative under a plan P_ij = p_i K_ij q_j, in all edges, costs as much as two products with K. Differences
//! of neighbours are accurate beside the values themselves.

use ot_core::{
    CostDerivative, CostParameter, CostTangent, Error, Host, PairWeight, PlanSide, Side, WeightedPlan, host::HostVector,
};

use super::{DARK, Diffused, Heat, LogKernel};
use crate::geometry::CpuScalar;

impl Heat {
    /// The ends of all edges, as slots of right-hand sides.
    fn ends(&self) -> impl Iterator<Item = [usize; 2]> + '_ {
        self.graph.edges().iter().map(|(ends, _)| ends.map(|vertex| self.diffusion.slot(vertex)))
    }
}

/// exp(potential / epsilon + log weight) of one column, divided by exp(shift), slot by slot.
struct Factors {
    values: Vec<f64>,
    shift: f64,
}

/// What a pair weight is a sum of: one factor of each side, column by column.
struct Rank<'a, T> {
    source: Option<&'a [T]>,
    target: Option<&'a [T]>,
    factor: f64,
}

impl<'a, T> Rank<'a, T> {
    fn of(&self, side: Side) -> Option<&'a [T]> {
        side.of([self.source, self.target])
    }
}

/// The ranks of a pair weight in one column of the batch.
fn ranks<'a, T: CpuScalar>(
    weight: &PairWeight<'a, Host<T>>,
    column: usize,
    columns: usize,
) -> Result<Vec<Rank<'a, T>>, Error> {
    if weight.cost != 0.0 {
        return Err(Error::MissingCapability("derivative weighted by the cost"));
    }
    let mut ranks = vec![Rank { source: None, target: None, factor: weight.constant }];
    ranks.extend(weight.source.map(|r| Rank { source: Some(r.column(column)), target: None, factor: 1.0 }));
    ranks.extend(weight.target.map(|s| Rank { source: None, target: Some(s.column(column)), factor: 1.0 }));
    if let Some((u, v)) = weight.product {
        let channels = u.shape().1 / columns;
        ranks.extend((0..channels).map(|channel| {
            let index = column * channels + channel;
            Rank { source: Some(u.column(index)), target: Some(v.column(index)), factor: 1.0 }
        }));
    }
    ranks.retain(|rank| rank.factor != 0.0);
    Ok(ranks)
}

impl<T: CpuScalar> LogKernel<Diffused<T>> {
    fn factors(&self, side: PlanSide<'_, Host<T>>, column: usize) -> Factors {
        let (epsilon, diffusion) = (self.binding.epsilon(), &self.operator.heat.diffusion);
        let terms = side.potential.column(column).iter().zip(side.log_weights.column(column));
        let exponents: Vec<f64> = terms
            .map(|(potential, log_weight)| match log_weight.to_f64() {
                log if log <= DARK => f64::NEG_INFINITY,
                log => potential.to_f64() / epsilon + log,
            })
            .collect();
        let shift = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut values = vec![0.0; diffusion.slots()];
        if shift > f64::NEG_INFINITY {
            for (vertex, exponent) in exponents.iter().enumerate() {
                values[diffusion.slot(vertex as u32)] = (exponent - shift).exp();
            }
        }
        Factors { values, shift: if shift > f64::NEG_INFINITY { shift } else { 0.0 } }
    }

    /// Factors times further ones, times exp(half).
    fn weighted(&self, factors: &Factors, further: Option<&[T]>, half: f64) -> Vec<f64> {
        let mut values: Vec<f64> = factors.values.iter().map(|value| value * half.exp()).collect();
        if let Some(further) = further {
            for (vertex, further) in further.iter().enumerate() {
                values[self.operator.heat.diffusion.slot(vertex as u32)] *= further.to_f64();
            }
        }
        values
    }

    fn require_weights(parameter: CostParameter) -> Result<(), Error> {
        match parameter {
            CostParameter::EdgeWeights => Ok(()),
            _ => Err(Error::MissingCapability("derivative of a heat kernel in anything but weights of edges")),
        }
    }
}

/// In the weights of edges, in the order of the graph that the kernel was made of.
impl<T: CpuScalar> CostDerivative<Host<T>> for LogKernel<Diffused<T>> {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        let edges = self.operator.heat.ends().count();
        (parameter == CostParameter::EdgeWeights && edges > 0).then_some((edges, 1))
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        Self::require_weights(parameter)?;
        let (columns, epsilon) = (self.binding.columns(), self.binding.epsilon());
        let ends: Vec<[usize; 2]> = self.operator.heat.ends().collect();
        let diffusion = &self.operator.heat.diffusion;
        for column in 0..columns {
            let [p, q] = [pairs.plan.source, pairs.plan.target].map(|side| self.factors(side, column));
            let half = 0.5 * (p.shift + q.shift);
            let mut sums = vec![0.0; ends.len()];
            for rank in ranks(&pairs.weight, column, columns)? {
                let x = diffusion.trajectory(self.weighted(&p, rank.source, half));
                let y = diffusion.trajectory(self.weighted(&q, rank.target, half));
                for (x, y) in x.iter().zip(y.iter().rev()) {
                    for (sum, &[i, j]) in sums.iter_mut().zip(&ends) {
                        *sum += rank.factor * (x[i] - x[j]) * (y[i] - y[j]);
                    }
                }
            }
            // C = -epsilon log K.
            let factor = epsilon * diffusion.derivative_unit();
            for (out, sum) in out.column_mut(column).iter_mut().zip(sums) {
                *out = T::from_f64(factor * sum);
            }
        }
        Ok(())
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        Self::require_weights(tangent.parameter)?;
        let (columns, epsilon) = (self.binding.columns(), self.binding.epsilon());
        let ends: Vec<[usize; 2]> = self.operator.heat.ends().collect();
        let diffusion = &self.operator.heat.diffusion;
        for column in 0..columns {
            let direction: Vec<f64> = tangent.values.column(column).iter().map(|value| value.to_f64()).collect();
            let own = self.factors(pairs.plan.side(side), column);
            let other = self.factors(pairs.plan.side(side.opposite()), column);
            let half = 0.5 * (own.shift + other.shift);
            let factor = epsilon * diffusion.derivative_unit();
            let mut sums = vec![0.0; diffusion.slots()];
            for rank in ranks(&pairs.weight, column, columns)? {
                let states = diffusion.trajectory(self.weighted(&other, rank.of(side.opposite()), half));
                let change = diffusion.change(&states, |state, change| {
                    for (&[i, j], direction) in ends.iter().zip(&direction) {
                        let flow = direction * (state[i] - state[j]);
                        change[i] += flow;
                        change[j] -= flow;
                    }
                });
                let own = self.weighted(&own, rank.of(side), half);
                let terms = change.iter().zip(&own);
                sums.iter_mut().zip(terms).for_each(|(sum, (change, own))| *sum += rank.factor * factor * change * own);
            }
            for (vertex, out) in out.column_mut(column).iter_mut().enumerate() {
                *out = T::from_f64(sums[diffusion.slot(vertex as u32)]);
            }
        }
        Ok(())
    }

    /// The second derivative of -epsilon log K_ij holds quotients of entries, (dK_ij / dw)^2 / K_ij^2, which no products with
    /// K tell.
    fn curvature(
        &mut self,
        _: WeightedPlan<'_, Host<T>>,
        _: CostParameter,
        _: CostTangent<'_, Host<T>>,
        _: &mut HostVector<T>,
    ) -> Result<(), Error> {
        Err(Error::MissingCapability("second derivative of a heat kernel"))
    }
}
