//! A kernel of an outsider's own: a Gibbs kernel that exists as a product of thin factors only.

use std::sync::Arc;

use ot_core::{
    Backend, Binding, Error, Geometry, GibbsKernel, Host, KernelOp, LOG_ZERO, PlanOperator, PlanSide, PlanView, Scalar,
    Side, SoftMin, UNREACHABLE, host::HostVector,
};

/// exp(-C / epsilon) = U V^T with positive factors of rank r (Scetbon, Cuturi 2020). A softmin costs
/// (n + m) r, and there is one epsilon and no cost: only the kernel is known.
#[derive(Clone, Debug)]
pub struct LowRankGeometry<T: Scalar> {
    backend: Arc<dyn Backend<Host<T>>>,
    epsilon: f64,
    /// U and V, row-major, n x r and m x r.
    factors: Arc<[Vec<f64>; 2]>,
    rank: usize,
}

impl<T: Scalar> LowRankGeometry<T> {
    /// The geometry of two positive factors.
    pub fn new(backend: Arc<dyn Backend<Host<T>>>, epsilon: f64, factors: [Vec<f64>; 2], rank: usize) -> Self {
        assert!(factors.iter().flatten().all(|entry| *entry > 0.0), "factors are positive");
        Self { backend, epsilon, factors: Arc::new(factors), rank }
    }

    fn factor(&self, side: Side) -> std::slice::ChunksExact<'_, f64> {
        self.factors[side.index()].chunks_exact(self.rank)
    }
}

impl<T: Scalar> Geometry<Host<T>> for LowRankGeometry<T> {
    fn backend(&self) -> Arc<dyn Backend<Host<T>>> {
        Arc::clone(&self.backend)
    }

    fn len(&self, side: Side) -> usize {
        self.factor(side).len()
    }

    fn bind_entropic(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<Host<T>>>, Error> {
        let binding = Binding::new(Side::BOTH.map(|side| self.len(side)), columns, self.epsilon)?;
        let mut kernel = LowRankKernel { geometry: self.clone(), binding };
        kernel.rebind(epsilon)?;
        Ok(Box::new(kernel))
    }

    fn fixed_epsilon(&self) -> Option<f64> {
        Some(self.epsilon)
    }

    /// The kernel is within r min_k (U_ik V_jk) and r max_k (U_ik V_jk). Without this bound the gap
    /// could not be certified.
    fn cost_bound(&self) -> Option<f64> {
        let extreme = |side: Side, pick: fn(f64, f64) -> f64| self.factor(side).flatten().copied().reduce(pick);
        let product = |pick| Some(extreme(Side::Source, pick)? * extreme(Side::Target, pick)? * self.rank as f64);
        let (least, largest) = (product(f64::min)?, product(f64::max)?);
        Some(self.epsilon * least.ln().abs().max(largest.ln().abs()))
    }
}

/// The kernel of one solve.
#[derive(Debug)]
struct LowRankKernel<T: Scalar> {
    geometry: LowRankGeometry<T>,
    binding: Binding,
}

impl<T: Scalar> LowRankKernel<T> {
    /// potential_j / epsilon + log_weights_j in one column.
    fn exponents<'a>(&self, of: PlanSide<'a, Host<T>>, column: usize) -> impl Fn(usize) -> f64 + use<'a, T> {
        let (potential, log_weights) = (of.potential.column(column), of.log_weights.column(column));
        let epsilon = self.geometry.epsilon;
        move |j| potential[j].to_f64() / epsilon + log_weights[j].to_f64()
    }

    /// (K v)_i exp(-top) for v_j = values_j exp(exponents_j), and top.
    fn product(
        &self,
        side: Side,
        exponents: impl Fn(usize) -> f64,
        values: impl Fn(usize) -> f64,
    ) -> (impl Iterator<Item = f64>, f64) {
        let (own, other) = (self.geometry.factor(side), self.geometry.factor(side.opposite()));
        let top = (0..other.len()).map(&exponents).fold(f64::NEG_INFINITY, f64::max);
        let mut thin = vec![0.0; self.geometry.rank];
        for (j, row) in other.enumerate() {
            let value = values(j) * (exponents(j) - top).exp();
            thin.iter_mut().zip(row).for_each(|(sum, entry)| *sum += entry * value);
        }
        (own.map(move |row| row.iter().zip(&thin).map(|(u, t)| u * t).sum()), top)
    }
}

impl<T: Scalar> PlanOperator<Host<T>> for LowRankKernel<T> {
    fn binding(&self) -> &Binding {
        &self.binding
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        let fixed = self.geometry.epsilon;
        if epsilon == fixed { Ok(()) } else { Err(Error::FixedEpsilon { fixed, requested: epsilon }) }
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, Host<T>>,
        values: &HostVector<T>,
        out: &mut HostVector<T>,
    ) -> Result<(), Error> {
        let (_, channels) = values.shape();
        for channel in 0..channels {
            let (column, values) = (channel * self.columns() / channels, values.column(channel));
            let [own, other] = [side, side.opposite()].map(|side| self.exponents(plan.side(side), column));
            let (product, top) = self.product(side, other, |j| values[j].to_f64());
            for (i, (out, sum)) in out.column_mut(channel).iter_mut().zip(product).enumerate() {
                // Signs apart, so that a large exponent never meets a sum of zero.
                *out = T::from_f64(sum.signum() * (own(i) + top + sum.abs().ln()).exp());
            }
        }
        Ok(())
    }
}

impl<T: Scalar> GibbsKernel<Host<T>> for LowRankKernel<T> {
    fn softmin(&mut self, request: SoftMin<'_, Host<T>>, out: &mut HostVector<T>) -> Result<(), Error> {
        for &column in request.active.indices() {
            let (product, top) = self.product(request.side, self.exponents(request.other, column), |_| 1.0);
            for (out, sum) in out.column_mut(column).iter_mut().zip(product) {
                let reachable = top > 0.5 * LOG_ZERO;
                let value = if reachable { -self.geometry.epsilon * (top + sum.ln()) } else { UNREACHABLE };
                *out = T::from_f64(value.clamp(-UNREACHABLE, UNREACHABLE));
            }
        }
        Ok(())
    }
}
