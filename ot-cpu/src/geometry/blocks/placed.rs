//! Vectors in the order of a tree of boxes, and back.

use ot_core::{
    CostParameter, CostTangent, Error, Host, PairWeight, PlanSide, PlanView, Side, WeightedPlan, host::HostVector,
};

use super::cost::BlockCost;
use crate::geometry::CpuScalar;

/// Copies numbers to the places of their atoms.
pub(super) fn gather<T: Copy>(order: &[u32], numbers: &[T], out: &mut [T]) {
    for (out, &atom) in out.iter_mut().zip(order) {
        *out = numbers[atom as usize];
    }
}

/// Copies numbers from the places of their atoms.
pub(super) fn scatter<T: Copy>(order: &[u32], numbers: &[T], out: &mut [T]) {
    for (number, &atom) in numbers.iter().zip(order) {
        out[atom as usize] = *number;
    }
}

impl<T: CpuScalar> BlockCost<T> {
    /// A vector over a side, placed.
    pub(super) fn placed(&self, side: Side, vector: &HostVector<T>) -> Result<HostVector<T>, Error> {
        let (rows, columns) = vector.shape();
        let mut out = HostVector::alloc(rows, columns)?;
        for column in 0..columns {
            gather(self.order(side), vector.column(column), out.column_mut(column));
        }
        Ok(out)
    }

    /// A placed vector over a side, where its atoms belong.
    pub(super) fn write_back(&self, side: Side, placed: &HostVector<T>, out: &mut HostVector<T>) {
        for column in 0..placed.shape().1 {
            scatter(self.order(side), placed.column(column), out.column_mut(column));
        }
    }

    /// A plan, placed.
    pub(super) fn placed_plan(&self, plan: PlanView<'_, Host<T>>) -> Result<PlacedPlan<T>, Error> {
        let placed = |side: Side| -> Result<[HostVector<T>; 3], Error> {
            let PlanSide { potential, weights, log_weights } = plan.side(side);
            Ok([self.placed(side, potential)?, self.placed(side, weights)?, self.placed(side, log_weights)?])
        };
        Ok(PlacedPlan { sides: [placed(Side::Source)?, placed(Side::Target)?] })
    }

    /// The weight of each pair, placed.
    pub(super) fn placed_pairs(&self, pairs: WeightedPlan<'_, Host<T>>) -> Result<PlacedPairs<T>, Error> {
        let PairWeight { constant, source, target, product, cost } = pairs.weight;
        let placed =
            |side: Side, vector: Option<&HostVector<T>>| vector.map(|vector| self.placed(side, vector)).transpose();
        Ok(PlacedPairs {
            plan: self.placed_plan(pairs.plan)?,
            constant,
            factors: [placed(Side::Source, source)?, placed(Side::Target, target)?],
            product: [placed(Side::Source, product.map(|(u, _)| u))?, placed(Side::Target, product.map(|(_, v)| v))?],
            cost,
        })
    }

    /// The values of a parameter of the cost, those of points placed.
    pub(super) fn placed_parameter(
        &self,
        tangent: CostTangent<'_, Host<T>>,
    ) -> Result<(CostParameter, HostVector<T>), Error> {
        let values = match tangent.parameter {
            CostParameter::Points(side) => self.placed(side, tangent.values)?,
            _ => tangent.values.clone(),
        };
        Ok((tangent.parameter, values))
    }

    /// The values of a parameter of the cost, where those of points belong.
    pub(super) fn write_parameter(&self, parameter: CostParameter, placed: HostVector<T>, out: &mut HostVector<T>) {
        match parameter {
            CostParameter::Points(side) => self.write_back(side, &placed, out),
            _ => *out = placed,
        }
    }
}

/// Potentials, weights and logarithms of weights of both sides.
pub(super) struct PlacedPlan<T> {
    sides: [[HostVector<T>; 3]; 2],
}

impl<T: CpuScalar> PlacedPlan<T> {
    pub(super) fn view(&self) -> PlanView<'_, Host<T>> {
        let [source, target] =
            self.sides.each_ref().map(|[potential, weights, log_weights]| PlanSide { potential, weights, log_weights });
        PlanView { source, target }
    }
}

/// A plan and the weights of its pairs.
pub(super) struct PlacedPairs<T> {
    plan: PlacedPlan<T>,
    constant: f64,
    factors: [Option<HostVector<T>>; 2],
    product: [Option<HostVector<T>>; 2],
    cost: f64,
}

impl<T: CpuScalar> PlacedPairs<T> {
    pub(super) fn view(&self) -> WeightedPlan<'_, Host<T>> {
        let [source, target] = self.factors.each_ref().map(Option::as_ref);
        let [u, v] = self.product.each_ref().map(Option::as_ref);
        let weight = PairWeight { constant: self.constant, source, target, product: u.zip(v), cost: self.cost };
        WeightedPlan { plan: self.plan.view(), weight }
    }
}
