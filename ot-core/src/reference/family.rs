//! Responses and marginals of plans that are not entropic, entry by entry.

use super::kernel::ReferenceKernel;
use crate::{
    backend::{HostBackend, Side},
    error::Error,
    family::{PlanFamily, Response, RoundedFactors},
    kernel::{ActiveColumns, PlanView, SoftMin},
    plan_regularizer::{PlanPrograms, RowDensity, respond},
    regularizer::LawPrograms,
    scalar::Scalar,
};

/// One row: reduced costs C_j - g_j and weights of its partners.
struct Row<'a, T> {
    programs: &'a PlanPrograms,
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
            let [p, rate] = self.programs.response_at((potential - cost) / self.epsilon);
            [density + weight * p, slope + weight * rate / self.epsilon]
        })
    }

    fn reach(&mut self, density: f64) -> Option<f64> {
        let mass: f64 = self.partners().map(|(_, weight)| weight).sum();
        let nearest = self.partners().map(|(cost, _)| cost).reduce(f64::min)?;
        Some(nearest + self.epsilon * self.programs.slope_at(density / mass))
    }
}

impl<B: HostBackend> ReferenceKernel<B> {
    /// The responses to a softmin's question under a law, with `weight(log_weights)` for the weights of the other side.
    pub(super) fn respond_all(
        &self,
        law: &LawPrograms,
        SoftMin { side, potential, log_weights, shift, active }: SoftMin<'_, B>,
        weight: impl Fn(B::Elem) -> B::Elem,
        out: &mut B::Vector,
    ) {
        let mut reduced = vec![0.0; self.table.len(side.opposite())];
        for &column in active.indices() {
            let (potential, shift) = (self.column(potential, column), self.column(shift, column));
            let weights: Vec<B::Elem> = self.column(log_weights, column).iter().map(|&value| weight(value)).collect();
            for (i, out) in self.column_mut(out, column).iter_mut().enumerate() {
                for (j, (cost, g)) in reduced.iter_mut().zip(potential).enumerate() {
                    *cost = self.table.of(side, i, j) - g.to_f64();
                }
                let (programs, costs, epsilon) = (&self.programs, &reduced[..], self.epsilon);
                let mut row = Row { programs, costs, weights: &weights, epsilon };
                *out = B::Elem::from_f64(respond::<B::Elem>(law, epsilon, shift[i].to_f64(), &mut row));
            }
        }
    }
}

impl<B: HostBackend> PlanFamily<B> for ReferenceKernel<B> {
    fn programs(&self) -> &PlanPrograms {
        &self.programs
    }

    fn respond(&mut self, request: Response<'_, B>, out: &mut B::Vector) -> Result<(), Error> {
        let Response { side, law, potential, weights, shift, active } = request;
        let request = SoftMin { side, potential, log_weights: weights, shift, active };
        self.respond_all(law, request, |weight| weight, out);
        Ok(())
    }

    fn marginal(
        &mut self,
        side: Side,
        plan: PlanView<'_, B>,
        active: &ActiveColumns,
        density: &mut B::Vector,
        conjugate: Option<&mut B::Reduced>,
    ) -> Result<(), Error> {
        let programs = &self.programs;
        let (own, other) = (plan.side(side), plan.side(side.opposite()));
        let mut conjugates = vec![0.0; self.backend.shape(density).1];
        for &column in active.indices() {
            let (f, a) = (self.column(own.potential, column), self.column(own.weights, column));
            let (g, b) = (self.column(other.potential, column), self.column(other.weights, column));
            for (i, out) in self.column_mut(density, column).iter_mut().enumerate() {
                let exponent = |j: usize| (f[i].to_f64() + g[j].to_f64() - self.table.of(side, i, j)) / self.epsilon;
                let partners = (0..g.len()).filter(|&j| b[j].to_f64() > 0.0 && exponent(j) > f64::NEG_INFINITY);
                let sums = partners.fold([0.0; 2], |[density, conjugate], j| {
                    let (weight, exponent) = (b[j].to_f64(), exponent(j));
                    let (p, value) = (programs.density_at(exponent), programs.conjugate_at(exponent));
                    [density + weight * p, conjugate + weight * value]
                });
                *out = B::Elem::from_f64(sums[0]);
                conjugates[column] += if a[i].to_f64() > 0.0 { a[i].to_f64() * sums[1] } else { 0.0 };
            }
        }
        if let Some(out) = conjugate {
            let out = self.backend.reduced_mut(out);
            active.indices().iter().for_each(|&column| out[column] = conjugates[column]);
        }
        Ok(())
    }

    fn excess(
        &mut self,
        plan: PlanView<'_, B>,
        rounded: RoundedFactors<'_, B>,
        out: &mut B::Reduced,
    ) -> Result<(), Error> {
        let programs = &self.programs;
        let (rows, others) = (self.table.len(Side::Source), self.table.len(Side::Target));
        for (column, out) in self.backend.reduced_mut(out).iter_mut().enumerate() {
            let [f, a] = [plan.source.potential, plan.source.weights].map(|vector| self.column(vector, column));
            let [g, b] = [plan.target.potential, plan.target.weights].map(|vector| self.column(vector, column));
            let [x, y] = rounded.scaling.map(|vector| self.column(vector, column));
            let [[u, v], [s, t]] = rounded.added.map(|pair| pair.map(|vector| self.column(vector, column)));
            let term = |i: usize, j: usize| {
                let weight = a[i].to_f64() * b[j].to_f64();
                let exponent = (f[i].to_f64() + g[j].to_f64() - self.table.cost(i, j)) / self.epsilon;
                if weight == 0.0 {
                    return 0.0;
                }
                let kept = match exponent > f64::NEG_INFINITY {
                    true => x[i].to_f64() * y[j].to_f64() * programs.density_at(exponent),
                    false => 0.0,
                };
                let density = kept + u[i].to_f64() * v[j].to_f64() + s[i].to_f64() * t[j].to_f64();
                weight * programs.excess_at(density, exponent)
            };
            *out = (0..rows).map(|i| (0..others).map(|j| term(i, j)).sum::<f64>()).sum();
        }
        Ok(())
    }
}
