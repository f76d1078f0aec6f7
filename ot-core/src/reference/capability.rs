//! What the reference kernels can do beyond the contract of all: everything, in double loops.

use super::{
    plan::{ReferencePlan, element, has_mass},
    table::{Origin, pair},
};
use crate::{
    cost::{CostParameters, GroundCost},
    error::Error,
    host::{Host, HostReduced, HostVector},
    kernel::{
        PlanView,
        capability::{
            ArcThreshold, CostDerivative, CostParameter, CostTangent, HardTransform, PairWeight, PlanProduct,
            PricedArc, TransportCost, WeightedPlan,
        },
    },
    scalar::{Scalar, UNREACHABLE},
    side::Side,
};

impl<T: Scalar> TransportCost<Host<T>> for ReferencePlan<T> {
    fn plan_cost(&mut self, plan: PlanView<'_, Host<T>>, out: &mut HostReduced) -> Result<(), Error> {
        for (column, total) in out.values_mut().iter_mut().enumerate() {
            let plan = self.column(plan, column);
            *total = self.sum_over_pairs(|i, j, cost| match plan.mass(i, j) {
                0.0 => 0.0,
                mass => mass * cost,
            });
        }
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &HostVector<T>, v: &HostVector<T>, out: &mut HostReduced) -> Result<(), Error> {
        for (column, total) in out.values_mut().iter_mut().enumerate() {
            let (u, v) = (u.column(column), v.column(column));
            *total = self.sum_over_pairs(|i, j, cost| match u[i].to_f64() * v[j].to_f64() {
                0.0 => 0.0,
                mass => mass * cost,
            });
        }
        Ok(())
    }
}

/// A cost between atoms knows no edges.
const NO_EDGES: Error = Error::MissingCapability("derivative in weights of edges");

impl<T: Scalar> CostDerivative<Host<T>> for ReferencePlan<T> {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        match parameter {
            CostParameter::Points(side) => {
                self.differentiable().ok().map(|(origin, _)| (self.table.len(side), origin.dimension))
            }
            CostParameter::Matrix => Some((self.table.len(Side::Target), self.table.len(Side::Source))),
            CostParameter::Formula => self.formula().ok().map(|(_, formula)| (formula.values().len(), 1)),
            CostParameter::Scale => Some((1, 1)),
            CostParameter::EdgeWeights => None,
        }
    }

    fn pull_back(
        &mut self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.for_columns(parameter, out, |column, out| self.pull_back_column(pairs, parameter, column, out))
    }

    fn push_forward(
        &mut self,
        side: Side,
        pairs: WeightedPlan<'_, Host<T>>,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for column in 0..self.binding.columns() {
            let (weighted, change) = (self.pairs(pairs, column), self.change_of_cost(tangent, column)?);
            self.fill(out.column_mut(column), |own| {
                let term = |other: usize| {
                    let (i, j) = pair(side, own, other);
                    match weighted(i, j) {
                        0.0 => 0.0,
                        mass => mass * change(i, j),
                    }
                };
                (0..self.table.len(side.opposite())).map(term).sum()
            });
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
        self.for_columns(parameter, out, |column, out| self.curvature_column(pairs, parameter, tangent, column, out))
    }

    fn gauss_newton(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.for_columns(parameter, out, |column, out| {
            let change = self.change_of_cost(tangent, column)?;
            let pairs = WeightedPlan { plan, weight: PairWeight::constant(1.0) };
            let even = self.pairs(pairs, column);
            self.pull_back_pairs(|i, j| times(even(i, j), || change(i, j)), parameter, out)
        })
    }
}

impl<T: Scalar> PlanProduct<Host<T>> for ReferencePlan<T> {
    fn normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        diagonal: &HostVector<T>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let (own, other) = (self.table.len(side), self.table.len(side.opposite()));
        for column in 0..self.binding.columns() {
            let (plan, diagonal, values) = (self.column(plan, column), diagonal.column(column), values.column(column));
            let product = |k: usize| (0..own).map(|i| plan.of(side, i, k) * values[i].to_f64()).sum::<f64>();
            let middle: Vec<f64> = (0..other).map(|k| diagonal[k].to_f64() * product(k)).collect();
            self.fill(out.column_mut(column), |i| (0..other).map(|k| plan.of(side, i, k) * middle[k]).sum());
        }
        Ok(())
    }

    fn curvature_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for column in 0..self.binding.columns() {
            let (plan, values) = (self.column(plan, column), values.column(column));
            let term = |own: usize, (other, value): (usize, &T)| {
                let (i, j) = pair(side, own, other);
                plan.curvature(i, j) * value.to_f64()
            };
            self.fill(out.column_mut(column), |own| values.iter().enumerate().map(|value| term(own, value)).sum());
        }
        Ok(())
    }
}

impl<T: Scalar> HardTransform<Host<T>> for ReferencePlan<T> {
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        out: &mut HostVector<T>,
        mut argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        let (rows, columns) = out.shape();
        if let Some(argument) = argument.as_deref_mut() {
            argument.clear();
        }
        for column in 0..columns {
            let (potential, log_weights) = (potential.column(column), log_weights.column(column));
            for i in 0..rows {
                let (mut least, mut at) = (f64::INFINITY, u32::MAX);
                for j in (0..potential.len()).filter(|&j| has_mass(log_weights[j])) {
                    let value = self.table.of(side, i, j) - potential[j].to_f64();
                    if value < least {
                        (least, at) = (value, j as u32);
                    }
                }
                out.column_mut(column)[i] = element(if at == u32::MAX { UNREACHABLE } else { least });
                if let Some(argument) = argument.as_deref_mut() {
                    argument.push(at);
                }
            }
        }
        Ok(())
    }

    fn arcs_below(
        &mut self,
        source_potential: &HostVector<T>,
        target_potential: &HostVector<T>,
        column: usize,
        threshold: ArcThreshold<'_>,
        limit: usize,
    ) -> Result<Vec<PricedArc>, Error> {
        let (f, g) = (source_potential.column(column), target_potential.column(column));
        let mut arcs = Vec::new();
        for (i, f) in f.iter().enumerate() {
            for (j, g) in g.iter().enumerate() {
                let cost = self.table.cost(i, j);
                let reduced_cost = cost - f.to_f64() - g.to_f64();
                let of_pair = threshold.base + threshold.atoms.map_or(0.0, |[s, t]| s[i] + t[j]);
                if cost < f64::INFINITY && reduced_cost <= of_pair {
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

impl<T: Scalar> ReferencePlan<T> {
    /// Calls `of_column` with the numbers of a parameter for each column of the batch.
    fn for_columns(
        &self,
        parameter: CostParameter,
        out: &mut HostVector<T>,
        mut of_column: impl FnMut(usize, &mut [T]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let missing = Error::MissingCapability("derivative of the cost in this parameter");
        let (rows, columns) = self.shape(parameter).ok_or(missing)?;
        let pieces = out.values_mut().chunks_exact_mut(rows * columns);
        pieces.enumerate().try_for_each(|(column, out)| of_column(column, out))
    }

    /// The numbers of a tangent for one column of the batch.
    fn tangent_column<'a>(&self, tangent: CostTangent<'a, Host<T>>, column: usize) -> &'a [T] {
        let values = tangent.values.values();
        let (rows, columns) = self.shape(tangent.parameter).unwrap_or((values.len(), 1));
        let len = rows * columns;
        &values[column.min(values.len() / len - 1) * len..][..len]
    }

    /// [`CostDerivative::pull_back`] of one column, into the numbers of the parameter.
    fn pull_back_column(
        &self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        column: usize,
        out: &mut [T],
    ) -> Result<(), Error> {
        self.pull_back_pairs(self.pairs(pairs, column), parameter, out)
    }

    /// out = sum_ij weighted_ij dC_ij/dtheta.
    fn pull_back_pairs(
        &self,
        weighted: impl Fn(usize, usize) -> f64 + Sync,
        parameter: CostParameter,
        out: &mut [T],
    ) -> Result<(), Error> {
        match parameter {
            CostParameter::Points(side) => {
                let (_, cost) = self.differentiable()?;
                self.sum_over_points(side, weighted, out, |_, x, y, slopes| {
                    cost.gradient(x, y, slopes);
                })
            }
            CostParameter::Matrix => {
                let others = self.table.len(Side::Target);
                self.fill(out, |entry| weighted(entry / others, entry % others));
                Ok(())
            }
            CostParameter::Formula => {
                let (_, formula) = self.formula()?;
                self.sum_over_formula(weighted, out, |_, x, y, slopes| formula.gradient(x, y, slopes))
            }
            CostParameter::Scale => {
                let total = self.sum_over_pairs(|i, j, cost| match weighted(i, j) {
                    0.0 => 0.0,
                    mass => mass * cost,
                });
                out[0] = element(total);
                Ok(())
            }
            CostParameter::EdgeWeights => Err(NO_EDGES),
        }
    }

    /// [`CostDerivative::curvature`] of one column, into the numbers of the parameter.
    fn curvature_column(
        &self,
        pairs: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        column: usize,
        out: &mut [T],
    ) -> Result<(), Error> {
        match (parameter, tangent.parameter) {
            (CostParameter::EdgeWeights, _) | (_, CostParameter::EdgeWeights) => Err(NO_EDGES),
            (CostParameter::Points(side), CostParameter::Points(moving)) => {
                let (origin, cost) = self.differentiable()?;
                let (x, y) = origin.pair(0, 0);
                let zeros = vec![0.0; 2 * origin.dimension];
                if !cost.second_derivative(x, y, &zeros, &mut zeros.clone()) {
                    return Err(Error::MissingCapability("second derivative of the cost"));
                }
                let (values, len) = (self.tangent_column(tangent, column), self.table.len(moving));
                self.sum_over_points(side, self.pairs(pairs, column), out, |(i, j), x, y, bent| {
                    let direction = direction(moving, &of_point(values, len, of_side(moving, i, j)));
                    cost.second_derivative(x, y, &direction, bent);
                })
            }
            (CostParameter::Formula | CostParameter::Points(_), CostParameter::Formula | CostParameter::Points(_)) => {
                let (origin, formula) = self.formula()?;
                let values = self.tangent_column(tangent, column);
                let direction = |i: usize, j: usize| match tangent.parameter {
                    CostParameter::Points(moving) => {
                        let point = of_point(values, self.table.len(moving), of_side(moving, i, j));
                        [direction(moving, &point), vec![0.0; formula.values().len()]].concat()
                    }
                    _ => {
                        let zeros = vec![0.0; 2 * origin.dimension];
                        zeros.into_iter().chain(values.iter().map(|value| value.to_f64())).collect()
                    }
                };
                let len = 2 * origin.dimension + formula.values().len();
                let bent = |(i, j), x: &[f64], y: &[f64]| {
                    let mut bent = vec![0.0; len];
                    formula.second_derivative(x, y, &direction(i, j), &mut bent);
                    bent
                };
                let weighted = self.pairs(pairs, column);
                match parameter {
                    CostParameter::Points(side) => self.sum_over_points(side, weighted, out, |pair, x, y, out| {
                        out.copy_from_slice(&bent(pair, x, y)[..out.len()]);
                    }),
                    _ => self.sum_over_formula(weighted, out, |pair, x, y, out| {
                        out.copy_from_slice(&bent(pair, x, y)[2 * origin.dimension..]);
                    }),
                }
            }
            // The scale enters linearly: its mixed blocks are first derivatives.
            (CostParameter::Scale, CostParameter::Points(_) | CostParameter::Matrix | CostParameter::Formula) => {
                let (weighted, change) = (self.pairs(pairs, column), self.change_of_cost(tangent, column)?);
                let total = self.sum_over_pairs(|i, j, _| match weighted(i, j) {
                    0.0 => 0.0,
                    mass => mass * change(i, j),
                });
                out[0] = element(total);
                Ok(())
            }
            (CostParameter::Points(_) | CostParameter::Matrix | CostParameter::Formula, CostParameter::Scale) => {
                self.pull_back_column(pairs, parameter, column, out)?;
                let scale = self.tangent_column(tangent, column)[0].to_f64();
                for value in out.iter_mut() {
                    *value = element(scale * value.to_f64());
                }
                Ok(())
            }
            // The scale, and the entries of a matrix, enter linearly.
            (CostParameter::Scale, CostParameter::Scale) => {
                out[0] = element(0.0);
                Ok(())
            }
            (CostParameter::Matrix, _) | (_, CostParameter::Matrix) => {
                out.fill(element(0.0));
                Ok(())
            }
        }
    }

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

    /// The points and the parameters of the cost between them.
    fn formula(&self) -> Result<(&Origin, CostParameters), Error> {
        let known = self.table.origin().and_then(|origin| {
            let cost = origin.cost.as_deref()?;
            Some((origin, CostParameters::of(cost, origin.dimension)?))
        });
        known.ok_or(Error::MissingCapability("derivative of the cost in the parameters of its formula"))
    }

    /// out = sum_ij weighted_ij slopes_ij, where `slopes((i, j), x_i, y_j, out)` writes a number for each parameter of the
    /// formula.
    fn sum_over_formula(
        &self,
        weighted: impl Fn(usize, usize) -> f64,
        out: &mut [T],
        slopes: impl Fn((usize, usize), &[f64], &[f64], &mut [f64]),
    ) -> Result<(), Error> {
        let origin = self.origin()?;
        let (mut sum, mut slope) = (vec![0.0; out.len()], vec![0.0; out.len()]);
        for i in 0..self.table.len(Side::Source) {
            for j in 0..self.table.len(Side::Target) {
                let mass = weighted(i, j);
                if mass != 0.0 {
                    let (x, y) = origin.pair(i, j);
                    slopes((i, j), x, y, &mut slope);
                    add(&mut sum, mass, &slope);
                }
            }
        }
        out.iter_mut().zip(sum).for_each(|(out, sum)| *out = element(sum));
        Ok(())
    }

    /// P_ij w_ij of a pair (i, j).
    fn pairs<'a>(
        &'a self,
        pairs: WeightedPlan<'a, Host<T>>,
        column: usize,
    ) -> impl Fn(usize, usize) -> f64 + Sync + Copy + 'a {
        let (plan, weight) = (self.column(pairs.plan, column), self.weight(pairs.weight, column));
        move |i, j| match plan.mass(i, j) {
            0.0 => 0.0,
            mass => mass * weight.at(i, j, self.table.cost(i, j)),
        }
    }

    /// The factor of one column.
    fn weight<'a>(&self, weight: PairWeight<'a, Host<T>>, column: usize) -> PairWeightColumn<'a, T> {
        let channels = |vector: &'a HostVector<T>| {
            let (rows, channels) = vector.shape();
            let len = rows * (channels / self.binding.columns());
            &vector.values()[column * len..][..len]
        };
        PairWeightColumn {
            constant: weight.constant,
            source: weight.source.map(|r| r.column(column)),
            target: weight.target.map(|s| s.column(column)),
            product: weight.product.map(|(u, v)| (channels(u), channels(v))),
            len: Side::BOTH.map(|side| self.table.len(side)),
            cost: weight.cost,
        }
    }

    /// out = sum_ij weighted_ij (the half of slopes_ij that belongs to `side`), of the shape of the points of that
    /// side, where `slopes((i, j), x_i, y_j, out)` writes numbers for x_i and then for y_j.
    fn sum_over_points(
        &self,
        side: Side,
        weighted: impl Fn(usize, usize) -> f64,
        out: &mut [T],
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
                out[axis * rows + own] = element(sum);
            }
        }
        Ok(())
    }

    /// (i, j) to dC_ij = dC_ij/dtheta . tangent, of an allowed pair.
    fn change_of_cost<'a>(
        &'a self,
        tangent: CostTangent<'a, Host<T>>,
        column: usize,
    ) -> Result<Box<dyn Fn(usize, usize) -> f64 + Sync + 'a>, Error> {
        let values = self.tangent_column(tangent, column);
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
                let others = self.table.len(Side::Target);
                Ok(Box::new(move |i, j| values[i * others + j].to_f64()))
            }
            CostParameter::Formula => {
                let (origin, formula) = self.formula()?;
                Ok(Box::new(move |i, j| {
                    let (x, y) = origin.pair(i, j);
                    let mut slopes = vec![0.0; values.len()];
                    formula.gradient(x, y, &mut slopes);
                    slopes.iter().zip(values).map(|(slope, change)| slope * change.to_f64()).sum()
                }))
            }
            CostParameter::Scale => {
                let scale = values[0].to_f64();
                Ok(Box::new(move |i, j| scale * self.table.cost(i, j)))
            }
            CostParameter::EdgeWeights => Err(NO_EDGES),
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

/// mass * factor, where a pair without mass has no factor.
fn times(mass: f64, factor: impl FnOnce() -> f64) -> f64 {
    if mass == 0.0 { 0.0 } else { mass * factor() }
}

/// sum += factor * values.
fn add(sum: &mut [f64], factor: f64, values: &[f64]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}
