//! The kernel of any regularizer over the reference geometry: row by row, entry by entry.

use super::plan::{PlanColumn, ReferencePlan, element};
use crate::{
    backend::Backend,
    error::Error,
    host::{Host, HostReduced, HostVector},
    kernel::{ActiveColumns, CTransform, Entering, KernelOp, PlanRounding, PlanView, RoundedColumn, RoundedValue},
    regularizer::{RecordedRegularizer, RowDensity, c_transform_of_row},
    scalar::Scalar,
    side::Side,
};

/// A stored cost under any regularizer.
#[derive(Debug)]
pub(super) struct ReferenceKernel<T: Scalar> {
    pub(super) plan: ReferencePlan<T>,
}

impl<T: Scalar> KernelOp<Host<T>> for ReferenceKernel<T> {
    fn c_transform(
        &mut self,
        backend: &dyn Backend<Host<T>>,
        request: CTransform<'_, Host<T>>,
        out: &mut HostVector<T>,
        entering: Option<Entering<'_, Host<T>>>,
    ) -> Result<(), Error> {
        let CTransform { side, plan, penalty, active } = request;
        if let Some(Entering { density, conjugate }) = entering {
            self.density(backend, side, plan, active, density, conjugate)?;
        }
        let (own, other, epsilon) = (plan.side(side), plan.side(side.opposite()), self.plan.binding.epsilon());
        let mut costs = vec![0.0; self.plan.table.len(side.opposite())];
        for &column in active.indices() {
            let (guess, g) = (own.potential.column(column), other.potential.column(column));
            let weights = other.weights.column(column);
            for (i, out) in out.column_mut(column).iter_mut().enumerate() {
                for (j, (cost, g)) in costs.iter_mut().zip(g).enumerate() {
                    *cost = self.plan.table.of(side, i, j) - g.to_f64();
                }
                let mut row = Row { regularizer: &self.plan.regularizer, costs: &costs, weights, epsilon };
                *out = T::from_f64(c_transform_of_row::<T>(penalty, epsilon, guess[i].to_f64(), &mut row));
            }
        }
        Ok(())
    }

    fn density(
        &mut self,
        _: &dyn Backend<Host<T>>,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        active: &ActiveColumns,
        out: &mut HostVector<T>,
        mut conjugate: Option<&mut HostReduced>,
    ) -> Result<(), Error> {
        let regularizer = &self.plan.regularizer;
        for &column in active.indices() {
            let entries = self.plan.column(plan, column);
            let own = plan.side(side).weights.column(column);
            let partners = plan.side(side.opposite()).weights.column(column);
            let mut total = 0.0;
            for (i, out) in out.column_mut(column).iter_mut().enumerate() {
                let mut sums = [0.0; 2];
                for (j, weight) in partners.iter().enumerate() {
                    let exponent = exponent_of(&entries, side, i, j);
                    if weight.to_f64() > 0.0 && exponent > f64::NEG_INFINITY {
                        sums[0] += weight.to_f64() * regularizer.density_at(exponent);
                        sums[1] += weight.to_f64() * regularizer.conjugate_at(exponent);
                    }
                }
                *out = element(sums[0]);
                total += if own[i].to_f64() > 0.0 { own[i].to_f64() * sums[1] } else { 0.0 };
            }
            if let Some(conjugate) = &mut conjugate {
                conjugate.values_mut()[column] = total;
            }
        }
        Ok(())
    }

    fn fenchel_gap(
        &mut self,
        _: &dyn Backend<Host<T>>,
        plan: PlanView<'_, Host<T>>,
        rounding: PlanRounding<'_, Host<T>>,
        out: RoundedValue<'_, Host<T>>,
    ) -> Result<(), Error> {
        let [rows, others] = Side::BOTH.map(|side| self.plan.table.len(side));
        for column in 0..self.plan.binding.columns() {
            let entries = self.plan.column(plan, column);
            let changed = |i: usize, j: usize| match rounding {
                PlanRounding::Scaled { columns, .. } => {
                    scaled_density(&self.plan.regularizer, &columns[column], entries.exponent(i, j), i, j)
                }
                PlanRounding::Relative { source, target } => {
                    let change = target.column(column)[j].to_f64() - source.column(column)[i].to_f64();
                    match entries.exponent(i, j) {
                        f64::NEG_INFINITY => 0.0,
                        exponent => (1.0 + change) * self.plan.regularizer.density_at(exponent),
                    }
                }
            };
            let (mut gap, mut value) = (0.0, 0.0);
            for (i, j) in (0..rows).flat_map(|i| (0..others).map(move |j| (i, j))) {
                let (weight, exponent) = (entries.weight(i, j), entries.exponent(i, j));
                if weight > 0.0 {
                    gap += weight * self.plan.regularizer.fenchel_gap_at(changed(i, j), exponent);
                    value += weight * self.plan.regularizer.rounded_value_at(changed(i, j), exponent);
                }
            }
            (out.gap.values_mut()[column], out.value.values_mut()[column]) = (gap, value);
        }
        Ok(())
    }
}

/// z of atom `own` of a side and atom `other` of the opposite one.
fn exponent_of<T: Scalar>(entries: &PlanColumn<'_, T>, side: Side, own: usize, other: usize) -> f64 {
    match side {
        Side::Source => entries.exponent(own, other),
        Side::Target => entries.exponent(other, own),
    }
}

/// p'_ij = x_i p_ij y_j + u_i v_j + s_i t_j, as a density of atoms with weight.
fn scaled_density(
    regularizer: &RecordedRegularizer,
    RoundedColumn { source, target }: &RoundedColumn,
    exponent: f64,
    i: usize,
    j: usize,
) -> f64 {
    let kept = match exponent {
        f64::NEG_INFINITY => 0.0,
        _ => regularizer.scaled_density_at(exponent, source.log_scaling[i] + target.log_scaling[j]),
    };
    let added: f64 = source.added.iter().zip(&target.added).map(|(u, v)| u[i] * v[j]).sum();
    kept + added / (source.weights[i] * target.weights[j])
}

/// One row: reduced costs C_j - g_j and weights of its partners.
struct Row<'a, T> {
    regularizer: &'a RecordedRegularizer,
    costs: &'a [f64],
    weights: &'a [T],
    epsilon: f64,
}

impl<T: Scalar> Row<'_, T> {
    /// Partners that carry weight, at finite cost.
    fn partners(&self) -> impl Iterator<Item = (f64, f64)> {
        let pairs = self.costs.iter().zip(self.weights).map(|(cost, weight)| (*cost, weight.to_f64()));
        pairs.filter(|&(cost, weight)| weight > 0.0 && cost < f64::INFINITY)
    }
}

impl<T: Scalar> RowDensity for Row<'_, T> {
    fn at(&mut self, potential: f64) -> [f64; 2] {
        self.partners().fold([0.0; 2], |[density, slope], (cost, weight)| {
            let [p, rate] = self.regularizer.density_and_slope_at((potential - cost) / self.epsilon);
            [density + weight * p, slope + weight * rate / self.epsilon]
        })
    }

    fn reach(&mut self, density: f64) -> Option<f64> {
        let mass: f64 = self.partners().map(|(_, weight)| weight).sum();
        let nearest = self.partners().map(|(cost, _)| cost).reduce(f64::min)?;
        Some(nearest + self.epsilon * self.regularizer.slope_at(density / mass))
    }

    fn saturation(&mut self, density: f64) -> Option<f64> {
        let mass: f64 = self.partners().map(|(_, weight)| weight).sum();
        let farthest = self.partners().map(|(cost, _)| cost).reduce(f64::max)?;
        Some(farthest + self.epsilon * self.regularizer.slope_at(density / mass))
    }
}
