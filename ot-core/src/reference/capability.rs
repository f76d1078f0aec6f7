//! What the reference kernel can do beyond the contract of all: everything, in double loops.

use super::{
    kernel::{ReferenceKernel, element, has_mass},
    table::{Origin, pair},
};
use crate::{
    backend::{HostBackend, Side},
    capability::{
        CostDerivative, CostParameter, CostTangent, HardTransform, PairSum, PairWeight, PricedArc, TransportCost,
        WeightedPlan,
    },
    cost::GroundCost,
    error::Error,
    kernel::{KernelOp, PlanView},
    program::Program,
    scalar::{Scalar, UNREACHABLE},
};

impl<B: HostBackend> TransportCost<B> for ReferenceKernel<B> {
    fn plan_cost(&mut self, plan: PlanView<'_, B>, out: &mut B::Reduced) -> Result<(), Error> {
        for (column, total) in self.backend.reduced_mut(out).iter_mut().enumerate() {
            let plan = self.plan(plan, column);
            *total = self.sum_over_pairs(|i, j, cost| match plan.mass(i, j) {
                0.0 => 0.0,
                mass => mass * cost,
            });
        }
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &B::Vector, v: &B::Vector, out: &mut B::Reduced) -> Result<(), Error> {
        for (column, total) in self.backend.reduced_mut(out).iter_mut().enumerate() {
            let (u, v) = (self.column(u, column), self.column(v, column));
            *total = self.sum_over_pairs(|i, j, cost| match u[i].to_f64() * v[j].to_f64() {
                0.0 => 0.0,
                mass => mass * cost,
            });
        }
        Ok(())
    }
}

impl<B: HostBackend> PairSum<B> for ReferenceKernel<B> {
    fn pair_sum(&mut self, side: Side, plan: PlanView<'_, B>, phi: &Program, out: &mut B::Vector) -> Result<(), Error> {
        let origin = self.origin()?;
        let (rows, _) = self.backend.shape(out);
        for column in 0..self.columns() {
            let plan = self.plan(plan, column);
            for own in 0..rows {
                let mut sums = vec![0.0; phi.outputs()];
                for other in 0..self.table.len(side.opposite()) {
                    let (i, j) = pair(side, own, other);
                    let (x, y) = origin.pair(i, j);
                    add(&mut sums, plan.mass(i, j), &phi.evaluate(&[x, y].concat())?);
                }
                for (output, sum) in sums.into_iter().enumerate() {
                    self.column_mut(out, column * phi.outputs() + output)[own] = element(sum);
                }
            }
        }
        Ok(())
    }
}

impl<B: HostBackend> CostDerivative<B> for ReferenceKernel<B> {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        match parameter {
            CostParameter::Points(side) => {
                self.differentiable().ok().map(|(origin, _)| (self.table.len(side), origin.dimension))
            }
            CostParameter::Matrix => Some((self.table.len(Side::Source), self.table.len(Side::Target))),
            CostParameter::Scale => Some((1, 1)),
        }
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, B>,
        parameter: CostParameter,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        let weighted = self.pairs(pairs);
        match parameter {
            CostParameter::Points(side) => {
                let (_, cost) = self.differentiable()?;
                self.sum_over_points(side, weighted, out, |_, x, y, slopes| {
                    cost.gradient(x, y, slopes);
                })
            }
            CostParameter::Matrix => {
                let rows = self.table.len(Side::Source);
                self.fill(self.backend.slice_mut(out), |entry| weighted(entry % rows, entry / rows));
                Ok(())
            }
            CostParameter::Scale => {
                let total = self.sum_over_pairs(|i, j, cost| match weighted(i, j) {
                    0.0 => 0.0,
                    mass => mass * cost,
                });
                self.column_mut(out, pairs.column)[0] = element(total);
                Ok(())
            }
        }
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, B>,
        tangent: CostTangent<'_, B>,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        let (weighted, change) = (self.pairs(pairs), self.change_of_cost(tangent, pairs.column)?);
        self.fill(self.column_mut(out, pairs.column), |own| {
            let term = |other: usize| {
                let (i, j) = pair(side, own, other);
                match weighted(i, j) {
                    0.0 => 0.0,
                    mass => mass * change(i, j),
                }
            };
            (0..self.table.len(side.opposite())).map(term).sum()
        });
        Ok(())
    }

    fn curvature(
        &mut self,
        pairs: WeightedPlan<'_, B>,
        parameter: CostParameter,
        tangent: CostTangent<'_, B>,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        match (parameter, tangent.parameter) {
            (CostParameter::Points(side), CostParameter::Points(moving)) => {
                let (origin, cost) = self.differentiable()?;
                let (x, y) = origin.pair(0, 0);
                let zeros = vec![0.0; 2 * origin.dimension];
                if !cost.second_derivative(x, y, &zeros, &mut zeros.clone()) {
                    return Err(Error::MissingCapability("second derivative of the cost"));
                }
                let (values, len) = (self.backend.slice(tangent.values), self.table.len(moving));
                self.sum_over_points(side, self.pairs(pairs), out, |(i, j), x, y, bent| {
                    let direction = direction(moving, &of_point(values, len, of_side(moving, i, j)));
                    cost.second_derivative(x, y, &direction, bent);
                })
            }
            // The scale enters linearly: its mixed blocks are first derivatives.
            (CostParameter::Scale, CostParameter::Points(_) | CostParameter::Matrix) => {
                let (weighted, change) = (self.pairs(pairs), self.change_of_cost(tangent, pairs.column)?);
                let total = self.sum_over_pairs(|i, j, _| match weighted(i, j) {
                    0.0 => 0.0,
                    mass => mass * change(i, j),
                });
                self.column_mut(out, pairs.column)[0] = element(total);
                Ok(())
            }
            (CostParameter::Points(_) | CostParameter::Matrix, CostParameter::Scale) => {
                self.pull_back(pairs, parameter, out)?;
                let scale = self.column(tangent.values, pairs.column)[0].to_f64();
                for value in self.backend.slice_mut(out) {
                    *value = element(scale * value.to_f64());
                }
                Ok(())
            }
            // The scale, and the entries of a matrix, enter linearly.
            (CostParameter::Scale, CostParameter::Scale) => {
                self.column_mut(out, pairs.column)[0] = element(0.0);
                Ok(())
            }
            (CostParameter::Points(_), CostParameter::Matrix)
            | (CostParameter::Matrix, CostParameter::Points(_) | CostParameter::Matrix) => {
                self.backend.slice_mut(out).fill(element(0.0));
                Ok(())
            }
        }
    }
}

impl<B: HostBackend> HardTransform<B> for ReferenceKernel<B> {
    fn c_transform(
        &mut self,
        side: Side,
        potential: &B::Vector,
        log_weights: &B::Vector,
        out: &mut B::Vector,
        mut argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let (rows, columns) = self.backend.shape(out);
        if let Some(argument) = argument.as_deref_mut() {
            argument.clear();
        }
        for column in 0..columns {
            let (potential, log_weights) = (self.column(potential, column), self.column(log_weights, column));
            for i in 0..rows {
                let (mut least, mut at) = (f64::INFINITY, u32::MAX);
                for j in (0..potential.len()).filter(|&j| has_mass(log_weights[j])) {
                    let value = self.table.of(side, i, j) - potential[j].to_f64();
                    if value < least {
                        (least, at) = (value, j as u32);
                    }
                }
                self.column_mut(out, column)[i] = element(if at == u32::MAX { UNREACHABLE } else { least });
                if let Some(argument) = argument.as_deref_mut() {
                    argument.push(at);
                }
            }
        }
        Ok(())
    }

    fn arcs_below(
        &mut self,
        source_potential: &B::Vector,
        target_potential: &B::Vector,
        column: usize,
        threshold: f64,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let (f, g) = (self.column(source_potential, column), self.column(target_potential, column));
        let mut arcs = Vec::new();
        for (i, f) in f.iter().enumerate() {
            for (j, g) in g.iter().enumerate() {
                let cost = self.table.cost(i, j);
                let reduced_cost = cost - f.to_f64() - g.to_f64();
                if cost < f64::INFINITY && reduced_cost <= threshold {
                    if arcs.len() == limit {
                        let bytes = ((limit as u64).saturating_add(1)).saturating_mul(size_of::<PricedArc>() as u64);
                        return Err(Error::OutOfMemory { what: "the arcs below a reduced cost", bytes });
                    }
                    arcs.push(PricedArc { source: i as u32, target: j as u32, reduced_cost });
                }
            }
        }
        Ok(arcs)
    }
}

impl<B: HostBackend> ReferenceKernel<B> {
    /// sum_ij term(i, j, C_ij), row by row.
    fn sum_over_pairs(&self, term: impl Fn(usize, usize, f64) -> f64) -> f64 {
        let (rows, columns) = (self.table.len(Side::Source), self.table.len(Side::Target));
        let row = |i: usize| (0..columns).map(|j| term(i, j, self.table.cost(i, j))).sum::<f64>();
        (0..rows).map(row).sum()
    }

    /// The points.
    fn origin(&self) -> Result<&Origin, Error> {
        self.table.origin().ok_or(Error::MissingCapability("points"))
    }

    /// The points and a cost between them that knows its gradient.
    fn differentiable(&self) -> Result<(&Origin, &dyn GroundCost), Error> {
        let known = self.table.origin().and_then(|origin| {
            let cost = origin.cost.as_deref()?;
            let (x, y) = origin.pair(0, 0);
            cost.gradient(x, y, &mut vec![0.0; 2 * origin.dimension]).then_some((origin, cost))
        });
        known.ok_or(Error::MissingCapability("derivative of the cost in the points"))
    }

    /// P_ij w_ij of a pair (i, j).
    fn pairs<'a>(&'a self, pairs: WeightedPlan<'a, B>) -> impl Fn(usize, usize) -> f64 + Sync + Copy + 'a {
        let (plan, weight) = (self.plan(pairs.plan, pairs.column), self.weight(pairs.weight, pairs.column));
        move |i, j| match plan.mass(i, j) {
            0.0 => 0.0,
            mass => mass * weight.at(i, j, self.table.cost(i, j)),
        }
    }

    /// The factor of one column.
    fn weight<'a>(&self, weight: PairWeight<'a, B>, column: usize) -> PairWeightColumn<'a, B::Elem> {
        let channels = |vector: &'a B::Vector| {
            let (rows, channels) = self.backend.shape(vector);
            let len = rows * (channels / self.columns());
            &self.backend.slice(vector)[column * len..][..len]
        };
        PairWeightColumn {
            constant: weight.constant,
            source: weight.source.map(|r| self.column(r, column)),
            target: weight.target.map(|s| self.column(s, column)),
            product: weight.product.map(|(u, v)| (channels(u), channels(v))),
            len: [Side::Source, Side::Target].map(|side| self.table.len(side)),
            cost: weight.cost,
        }
    }

    /// out = sum_ij weighted_ij (the half of slopes_ij that belongs to `side`), of the shape of the points of that
    /// side, where `slopes((i, j), x_i, y_j, out)` writes numbers for x_i and then for y_j.
    fn sum_over_points(
        &self,
        side: Side,
        weighted: impl Fn(usize, usize) -> f64,
        out: &mut B::Vector,
        slopes: impl Fn((usize, usize), &[f64], &[f64], &mut [f64]),
    ) -> Result<(), Error> {
        let origin = self.origin()?;
        let rows = self.table.len(side);
        let mut both = vec![0.0; 2 * origin.dimension];
        for own in 0..rows {
            let mut sum = vec![0.0; origin.dimension];
            for other in 0..self.table.len(side.opposite()) {
                let (i, j) = pair(side, own, other);
                let mass = weighted(i, j);
                if mass != 0.0 {
                    let (x, y) = origin.pair(i, j);
                    slopes((i, j), x, y, &mut both);
                    add(&mut sum, mass, half(side, &both));
                }
            }
            for (axis, sum) in sum.into_iter().enumerate() {
                self.backend.slice_mut(out)[axis * rows + own] = element(sum);
            }
        }
        Ok(())
    }

    /// (i, j) to dC_ij = dC_ij/dtheta . tangent, of an allowed pair.
    fn change_of_cost<'a>(
        &'a self,
        tangent: CostTangent<'a, B>,
        column: usize,
    ) -> Result<Box<dyn Fn(usize, usize) -> f64 + Sync + 'a>, Error> {
        let values = self.backend.slice(tangent.values);
        match tangent.parameter {
            CostParameter::Points(side) => {
                let (origin, cost) = self.differentiable()?;
                Ok(Box::new(move |i, j| {
                    let (x, y) = origin.pair(i, j);
                    let mut gradient = vec![0.0; 2 * origin.dimension];
                    cost.gradient(x, y, &mut gradient);
                    let change = of_point(values, self.table.len(side), of_side(side, i, j));
                    half(side, &gradient).iter().zip(&change).map(|(slope, change)| slope * change).sum()
                }))
            }
            CostParameter::Matrix => {
                let rows = self.table.len(Side::Source);
                Ok(Box::new(move |i, j| values[j * rows + i].to_f64()))
            }
            CostParameter::Scale => {
                let scale = self.column(tangent.values, column)[0].to_f64();
                Ok(Box::new(move |i, j| scale * self.table.cost(i, j)))
            }
        }
    }
}

/// One column of [`PairWeight`].
#[derive(Clone, Copy)]
struct PairWeightColumn<'a, T> {
    constant: f64,
    source: Option<&'a [T]>,
    target: Option<&'a [T]>,
    /// The channels of this column, one after the other.
    product: Option<(&'a [T], &'a [T])>,
    /// n and m.
    len: [usize; 2],
    cost: f64,
}

impl<T: Scalar> PairWeightColumn<'_, T> {
    /// w_ij = constant + r_i + s_j + sum_k u_ik v_jk + kappa C_ij.
    fn at(&self, i: usize, j: usize, cost: f64) -> f64 {
        let r = self.source.map_or(0.0, |r| r[i].to_f64());
        let s = self.target.map_or(0.0, |s| s[j].to_f64());
        let product = self.product.map_or(0.0, |(u, v)| {
            let [n, m] = self.len;
            let channels = u.iter().skip(i).step_by(n).zip(v.iter().skip(j).step_by(m));
            channels.map(|(u, v)| u.to_f64() * v.to_f64()).sum()
        });
        self.constant + r + s + product + self.cost * cost
    }
}

/// The index that belongs to a side.
fn of_side(side: Side, i: usize, j: usize) -> usize {
    match side {
        Side::Source => i,
        Side::Target => j,
    }
}

/// The coordinates of one point of a vector of n x d.
fn of_point<T: Scalar>(vector: &[T], rows: usize, own: usize) -> Vec<f64> {
    vector.iter().skip(own).step_by(rows).map(|value| value.to_f64()).collect()
}

/// The half of (x, y) that belongs to a side.
fn half(side: Side, both: &[f64]) -> &[f64] {
    let (x, y) = both.split_at(both.len() / 2);
    match side {
        Side::Source => x,
        Side::Target => y,
    }
}

/// A direction of (x, y) that moves one side only.
fn direction(side: Side, tangent: &[f64]) -> Vec<f64> {
    let rest = vec![0.0; tangent.len()];
    match side {
        Side::Source => [tangent, &rest].concat(),
        Side::Target => [&rest, tangent].concat(),
    }
}

/// sum += factor * values.
fn add(sum: &mut [f64], factor: f64, values: &[f64]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}
