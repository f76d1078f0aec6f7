//! The Gibbs kernel of the reference geometry: two-pass log-sum-exp.

use super::plan::{ReferencePlan, has_mass};
use crate::{
    error::Error,
    host::{Host, HostVector},
    kernel::{GibbsKernel, SoftMin},
    scalar::{Scalar, UNREACHABLE},
    side::Side,
};

/// exp(-C / epsilon) of a stored cost.
#[derive(Debug)]
pub(super) struct ReferenceGibbs<T: Scalar> {
    pub(super) plan: ReferencePlan<T>,
}

impl<T: Scalar> ReferenceGibbs<T> {
    /// -epsilon log sum_j exp((g_j - C_ij) / epsilon + log b_j) for atom i of a side.
    fn softmin_at(&self, side: Side, i: usize, potential: &[T], log_weights: &[T]) -> f64 {
        let epsilon = self.plan.binding.epsilon();
        let exponents = || {
            let atoms = potential.iter().zip(log_weights).enumerate();
            let exponents = atoms.filter(|(_, (_, log_weight))| has_mass(**log_weight)).map(|(j, (g, log_weight))| {
                (g.to_f64() - self.plan.table.of(side, i, j)) / epsilon + log_weight.to_f64()
            });
            exponents.filter(|&exponent| exponent > f64::NEG_INFINITY)
        };
        match exponents().reduce(f64::max) {
            None => UNREACHABLE,
            Some(largest) => {
                let sum: f64 = exponents().map(|exponent| (exponent - largest).exp()).sum();
                (-epsilon * (largest + sum.ln())).clamp(-T::LARGEST_COST, T::LARGEST_COST)
            }
        }
    }
}

impl<T: Scalar> GibbsKernel<Host<T>> for ReferenceGibbs<T> {
    /// With an explicit maximum; the shift is not looked at.
    fn softmin(&mut self, request: SoftMin<'_, Host<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        let SoftMin { side, other, active, .. } = request;
        for &column in active.indices() {
            let (potential, log_weights) = (other.potential.column(column), other.log_weights.column(column));
            self.plan.fill(out.column_mut(column), |i| self.softmin_at(side, i, potential, log_weights));
        }
        Ok(())
    }
}
