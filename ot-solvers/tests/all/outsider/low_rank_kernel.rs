//! A kernel of an outsider's own: a Gibbs kernel that exists as a product of thin factors only.

use std::sync::Arc;

use ot_core::{
    CostSurvey, Error, Geometry, HostBackend, KernelOp, LOG_ZERO, PlanView, Scalar, Side, SoftMin, UNREACHABLE,
    WeightsView,
};

/// exp(-C / epsilon) = U V^T with positive factors of rank r (Scetbon, Cuturi 2020). A softmin costs
/// (n + m) r, and there is one epsilon and no cost: only the kernel is known.
#[derive(Clone, Debug)]
pub struct LowRankGeometry<B: HostBackend> {
    backend: B,
    epsilon: f64,
    /// U and V, row-major, n x r and m x r.
    factors: Arc<[Vec<f64>; 2]>,
    rank: usize,
}

impl<B: HostBackend> LowRankGeometry<B> {
    /// The geometry of two positive factors.
    pub fn new(backend: &B, epsilon: f64, source: Vec<f64>, target: Vec<f64>, rank: usize) -> Self {
        assert!(source.iter().chain(&target).all(|entry| *entry > 0.0), "factors are positive");
        Self { backend: backend.clone(), epsilon, factors: Arc::new([source, target]), rank }
    }

    fn factor(&self, side: Side) -> std::slice::ChunksExact<'_, f64> {
        self.factors[side as usize].chunks_exact(self.rank)
    }
}

impl<B: HostBackend> Geometry<B> for LowRankGeometry<B> {
    fn backend(&self) -> &B {
        &self.backend
    }

    fn len(&self, side: Side) -> usize {
        self.factor(side).len()
    }

    fn bind(&self, epsilon: f64, columns: usize) -> Result<Box<dyn KernelOp<B>>, Error> {
        if columns == 0 {
            return Err(Error::EmptyBatch);
        }
        let mut kernel = LowRankKernel { geometry: self.clone(), columns };
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

    fn survey(&self, _: WeightsView<'_, B::Elem>, _: WeightsView<'_, B::Elem>) -> Result<CostSurvey, Error> {
        Err(Error::MissingCapability("cost to survey"))
    }
}

/// The kernel of one solve.
#[derive(Debug)]
struct LowRankKernel<B: HostBackend> {
    geometry: LowRankGeometry<B>,
    columns: usize,
}

impl<B: HostBackend> LowRankKernel<B> {
    fn column<'a>(&self, vector: &'a B::Vector, column: usize) -> &'a [B::Elem] {
        let (rows, columns) = self.geometry.backend.shape(vector);
        &self.geometry.backend.slice(vector)[column.min(columns - 1) * rows..][..rows]
    }

    /// (K v)_i exp(-top) for v_j = values_j exp(potential_j / epsilon + log_weights_j), and top.
    fn product(
        &self,
        side: Side,
        potential: &[B::Elem],
        log_weights: &[B::Elem],
        values: impl Fn(usize) -> f64,
    ) -> (impl Iterator<Item = f64>, f64) {
        let LowRankGeometry { epsilon, rank, .. } = self.geometry;
        let exponents = || potential.iter().zip(log_weights).map(|(g, log_b)| g.to_f64() / epsilon + log_b.to_f64());
        let top = exponents().fold(f64::NEG_INFINITY, f64::max);
        let mut thin = vec![0.0; rank];
        for (j, (row, exponent)) in self.geometry.factor(side.opposite()).zip(exponents()).enumerate() {
            let value = values(j) * (exponent - top).exp();
            thin.iter_mut().zip(row).for_each(|(sum, entry)| *sum += entry * value);
        }
        (self.geometry.factor(side).map(move |row| row.iter().zip(&thin).map(|(u, t)| u * t).sum()), top)
    }
}

impl<B: HostBackend> KernelOp<B> for LowRankKernel<B> {
    fn len(&self, side: Side) -> usize {
        self.geometry.len(side)
    }

    fn columns(&self) -> usize {
        self.columns
    }

    fn epsilon(&self) -> f64 {
        self.geometry.epsilon
    }

    fn rebind(&mut self, epsilon: f64) -> Result<(), Error> {
        let fixed = self.geometry.epsilon;
        if epsilon == fixed { Ok(()) } else { Err(Error::FixedEpsilon { fixed, requested: epsilon }) }
    }

    fn recenter(&mut self, _: PlanView<'_, B>) -> Result<(), Error> {
        Ok(())
    }

    fn softmin(&mut self, request: SoftMin<'_, B>, out: &mut B::Vector) -> Result<(), Error> {
        let SoftMin { side, potential, log_weights, active, .. } = request;
        let rows = self.len(side);
        for &column in active.indices() {
            let (potential, log_weights) = (self.column(potential, column), self.column(log_weights, column));
            let (product, top) = self.product(side, potential, log_weights, |_| 1.0);
            let out = &mut self.geometry.backend.slice_mut(out)[column * rows..][..rows];
            for (out, sum) in out.iter_mut().zip(product) {
                let reachable = top > 0.5 * LOG_ZERO;
                let value = if reachable { -self.geometry.epsilon * (top + sum.ln()) } else { UNREACHABLE };
                *out = B::Elem::from_f64(value.clamp(-UNREACHABLE, UNREACHABLE));
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        side: Side,
        plan: PlanView<'_, B>,
        values: &B::Vector,
        out: &mut B::Vector,
    ) -> Result<(), Error> {
        let (rows, (_, channels)) = (self.len(side), self.geometry.backend.shape(values));
        let (own, other) = (plan.side(side), plan.side(side.opposite()));
        for channel in 0..channels {
            let column = channel * self.columns / channels;
            let values = self.column(values, channel);
            let potential = self.column(other.potential, column);
            let log_weights = self.column(other.log_weights, column);
            let (product, top) = self.product(side, potential, log_weights, |j| values[j].to_f64());
            let own_potential = self.column(own.potential, column);
            let own_log_weights = self.column(own.log_weights, column);
            let out = &mut self.geometry.backend.slice_mut(out)[channel * rows..][..rows];
            for (i, (out, sum)) in out.iter_mut().zip(product).enumerate() {
                let exponent = own_potential[i].to_f64() / self.geometry.epsilon + own_log_weights[i].to_f64() + top;
                // Signs apart, so that a large exponent never meets a sum of zero.
                *out = B::Elem::from_f64(sum.signum() * (exponent + sum.abs().ln()).exp());
            }
        }
        Ok(())
    }
}
