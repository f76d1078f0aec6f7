//! What the kernel of listed pairs can do beyond the contract of all.

use ot_core::{
    ArcThreshold, CostDerivative, CostParameter, CostTangent, Error, HardTransform, Host, PairWeight, PlanOperator,
    PlanProduct, PlanView, PricedArc, Side, TransportCost, UNREACHABLE, WeightedPlan,
    host::{HostReduced, HostVector},
};

use super::kernel::{ArcsKernel, has_mass};
use crate::geometry::CpuScalar;

impl<T: CpuScalar> TransportCost<Host<T>> for ArcsKernel<T> {
    fn plan_cost(&mut self, plan: PlanView<'_, Host<T>>, out: &mut HostReduced) -> Result<(), Error> {
        for (column, total) in out.values_mut().iter_mut().enumerate() {
            let plan = self.column(Side::Source, plan, column);
            *total = (0..plan.arcs.len()).flat_map(|i| plan.of(i)).map(|(_, entry, cost)| times(entry, cost)).sum();
        }
        Ok(())
    }

    fn rank_one_cost(&mut self, u: &HostVector<T>, v: &HostVector<T>, out: &mut HostReduced) -> Result<(), Error> {
        let arcs = &self.arcs[Side::Source.index()];
        for (column, total) in out.values_mut().iter_mut().enumerate() {
            let (u, v) = (u.column(column), v.column(column));
            let with_mass = v.iter().filter(|v| v.to_f64() > 0.0).count();
            *total = 0.0;
            for (i, u) in u.iter().enumerate().filter(|(_, u)| u.to_f64() > 0.0) {
                let own = u.to_f64();
                let mut met = 0;
                for (j, cost) in arcs.of(i).filter(|(j, _)| v[*j].to_f64() > 0.0) {
                    met += 1;
                    *total += times(own * v[j].to_f64(), cost);
                }
                // Some of the plan crosses a pair that is not listed.
                if met < with_mass {
                    *total = f64::INFINITY;
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The product of a mass and a cost, zero where there is no mass.
fn times(mass: f64, cost: f64) -> f64 {
    if mass == 0.0 { 0.0 } else { mass * cost }
}

impl<T: CpuScalar> HardTransform<Host<T>> for ArcsKernel<T> {
    fn hard_c_transform(
        &mut self,
        side: Side,
        potential: &HostVector<T>,
        log_weights: &HostVector<T>,
        out: &mut HostVector<T>,
        mut argument: Option<&mut Vec<u32>>,
    ) -> Result<(), Error> {
        if let Some(argument) = argument.as_deref_mut() {
            argument.clear();
        }
        let arcs = &self.arcs[side.index()];
        for column in 0..self.columns() {
            let (potential, log_weights) = (potential.column(column), log_weights.column(column));
            for (atom, out) in out.column_mut(column).iter_mut().enumerate() {
                let (mut least, mut at) = (f64::INFINITY, u32::MAX);
                for (other, cost) in arcs.of(atom).filter(|(other, _)| has_mass(log_weights[*other])) {
                    let value = cost - potential[other].to_f64();
                    if value < least {
                        (least, at) = (value, other as u32);
                    }
                }
                let value = if at == u32::MAX { UNREACHABLE } else { least };
                *out = T::from_f64(value.clamp(-T::MAX, T::MAX));
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
        let mut listed = Vec::new();
        for (i, f) in f.iter().enumerate() {
            for (j, cost) in self.arcs[0].of(i) {
                let reduced_cost = cost - f.to_f64() - g[j].to_f64();
                let of_pair = threshold.base + threshold.atoms.map_or(0.0, |[s, t]| s[i] + t[j]);
                if reduced_cost <= of_pair {
                    if listed.len() == limit {
                        let bytes = (limit as u64).saturating_add(1).saturating_mul(size_of::<PricedArc>() as u64);
                        return Err(Error::OutOfMemory { what: "the arcs below a reduced cost", bytes });
                    }
                    listed.push(PricedArc { source: i as u32, target: j as u32, reduced_cost });
                }
            }
        }
        Ok(listed)
    }
}

impl<T: CpuScalar> PlanProduct<Host<T>> for ArcsKernel<T> {
    fn normal_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        diagonal: &HostVector<T>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        for column in 0..self.columns() {
            let (own, other) = (self.column(side, plan, column), self.column(side.opposite(), plan, column));
            let (diagonal, values) = (diagonal.column(column), values.column(column));
            let product = |k: usize| other.of(k).map(|(i, entry, _)| entry * values[i].to_f64()).sum::<f64>();
            let middle: Vec<f64> = diagonal.iter().enumerate().map(|(k, d)| d.to_f64() * product(k)).collect();
            self.fill(out.column_mut(column), |i| own.of(i).map(|(k, entry, _)| entry * middle[k]).sum());
        }
        Ok(())
    }

    /// Of entropy h*'' is h*'.
    fn curvature_product(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.apply(side, plan, values, out)
    }
}

impl<T: CpuScalar> ArcsKernel<T> {
    /// The factor of a pair, seen from a side, without kappa C.
    fn factor<'a>(
        &'a self,
        weight: PairWeight<'a, Host<T>>,
        side: Side,
        column: usize,
    ) -> impl Fn(usize, usize) -> f64 + use<'a, T> {
        let at = |vector: Option<&'a HostVector<T>>| vector.map(|vector| vector.column(column));
        let (source, target) = (at(weight.source), at(weight.target));
        let columns = self.columns();
        move |own: usize, other: usize| {
            let (i, j) = side.of([(own, other), (other, own)]);
            let product = weight.product.map_or(0.0, |(u, v)| {
                let channels = u.shape().1 / columns;
                let channels = column * channels..(column + 1) * channels;
                channels.map(|channel| u.column(channel)[i].to_f64() * v.column(channel)[j].to_f64()).sum()
            });
            weight.constant
                + source.map_or(0.0, |values| values[i].to_f64())
                + target.map_or(0.0, |values| values[j].to_f64())
                + product
        }
    }

    fn no_shape() -> Error {
        Error::MissingCapability("derivative of a cost of listed pairs in another parameter than its scale")
    }
}

/// The scale of the cost alone: dC / dlambda = C.
impl<T: CpuScalar> CostDerivative<Host<T>> for ArcsKernel<T> {
    fn shape(&self, parameter: CostParameter) -> Option<(usize, usize)> {
        (parameter == CostParameter::Scale).then_some((1, 1))
    }

    fn pull_back(
        &mut self,
        WeightedPlan { plan, weight }: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.shape(parameter).ok_or_else(Self::no_shape)?;
        for column in 0..self.columns() {
            let (plan, factor) = (self.column(Side::Source, plan, column), self.factor(weight, Side::Source, column));
            let total: f64 = (0..plan.arcs.len())
                .map(|i| {
                    let terms = plan.of(i).filter(|(_, entry, _)| *entry > 0.0);
                    terms.map(|(j, entry, cost)| entry * (factor(i, j) + weight.cost * cost) * cost).sum::<f64>()
                })
                .sum();
            out.column_mut(column)[0] = T::from_f64(total.clamp(-T::MAX, T::MAX));
        }
        Ok(())
    }

    fn push_forward(
        &mut self,
        side: Side,
        WeightedPlan { plan, weight }: WeightedPlan<'_, Host<T>>,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.shape(tangent.parameter).ok_or_else(Self::no_shape)?;
        for column in 0..self.columns() {
            let (plan, factor) = (self.column(side, plan, column), self.factor(weight, side, column));
            let change = tangent.values.column(column)[0].to_f64();
            let sum = |atom: usize| {
                let terms = plan.of(atom).filter(|(_, entry, _)| *entry > 0.0);
                terms
                    .map(|(other, entry, cost)| entry * (factor(atom, other) + weight.cost * cost) * cost * change)
                    .sum()
            };
            self.fill(out.column_mut(column), sum);
        }
        Ok(())
    }

    /// C is linear in its scale.
    fn curvature(
        &mut self,
        _: WeightedPlan<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.shape(parameter).and(self.shape(tangent.parameter)).ok_or_else(Self::no_shape)?;
        out.values_mut().fill(T::default());
        Ok(())
    }

    fn gauss_newton(
        &mut self,
        plan: PlanView<'_, Host<T>>,
        parameter: CostParameter,
        tangent: CostTangent<'_, Host<T>>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        self.shape(parameter).and(self.shape(tangent.parameter)).ok_or_else(Self::no_shape)?;
        for column in 0..self.columns() {
            let plan = self.column(Side::Source, plan, column);
            let change = tangent.values.column(column)[0].to_f64();
            let terms = (0..plan.arcs.len()).flat_map(|i| plan.of(i)).filter(|(_, entry, _)| *entry > 0.0);
            let total: f64 = terms.map(|(_, entry, cost)| entry * cost * cost * change).sum();
            out.column_mut(column)[0] = T::from_f64(total.clamp(-T::MAX, T::MAX));
        }
        Ok(())
    }
}
