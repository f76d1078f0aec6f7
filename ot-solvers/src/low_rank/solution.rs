//! A coupling of low rank, and what is proven of it.

use ot_core::{Error, Progress, Side, Status, host::try_zeros};

use super::Found;

/// A coupling P = Q diag(1/g) R^T of prescribed marginals, as its factors.
#[derive(Clone, Debug)]
pub struct LowRankCoupling {
    /// Q and R.
    factors: [Vec<f64>; 2],
    inner_weights: Vec<f64>,
    transport_cost: f64,
    lower_bound: f64,
    status: Status,
    iterations: usize,
    history: Vec<Progress>,
}

impl LowRankCoupling {
    pub(super) fn new(
        found: Found,
        weights: [&[f64]; 2],
        in_units: impl Fn(f64) -> f64,
        history: Vec<Progress>,
    ) -> Result<Self, Error> {
        let Found { mut coupling, value, least, status, iterations } = found;
        let rank = coupling.rank();
        let mut inner_weights = vec![0.0; rank];
        for (side, (shares, weights)) in coupling.shares.iter_mut().zip(weights).enumerate() {
            for (row, weight) in shares.chunks_exact_mut(rank).zip(weights) {
                row.iter_mut().for_each(|share| *share *= weight);
                if side == 0 {
                    inner_weights.iter_mut().zip(&*row).for_each(|(sum, entry)| *sum += entry);
                }
            }
        }
        let transport_cost = in_units(value);
        if !transport_cost.is_finite() {
            return Err(Error::SumOverflow { what: "the transport cost", element: "f64" });
        }
        // Both bound the same number, up to rounding.
        let lower_bound = in_units(least).min(transport_cost);
        Ok(Self { factors: coupling.shares, inner_weights, transport_cost, lower_bound, status, iterations, history })
    }

    /// r.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.inner_weights.len()
    }

    /// n and m.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        let [n, m] = self.factors.each_ref().map(|factor| factor.len() / self.rank());
        (n, m)
    }

    /// Q (n x r) for the source, R (m x r) for the target, row by row: couplings of a and of b with g.
    #[must_use]
    pub fn factor(&self, side: Side) -> &[f64] {
        &self.factors[side.index()]
    }

    /// g, of r masses.
    #[must_use]
    pub fn inner_weights(&self) -> &[f64] {
        &self.inner_weights
    }

    /// <P, C>: an upper bound of exact transport, up to rounding, since P has the marginals a and b.
    #[must_use]
    pub fn transport_cost(&self) -> f64 {
        self.transport_cost
    }

    /// A lower bound of exact transport. For squared distances that between normal distributions of the same means and covariances
    /// (Gelbrich 1990), less what rounding may add to it, and above 64 coordinates one by means and traces; for other costs the
    /// dual value of a hard c-transform.
    #[must_use]
    pub fn lower_bound(&self) -> f64 {
        self.lower_bound
    }

    /// How far [`transport_cost`](Self::transport_cost) may be above exact transport: the difference of both bounds. It does not
    /// vanish with more iterations: the lower bound does not move.
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.transport_cost - self.lower_bound
    }

    /// Converged (five steps moved the cost by less than the tolerance), out of iterations, stalled, or cancelled. It says nothing of other
    /// stationary points.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// Steps tried.
    #[must_use]
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// What observers were told.
    #[must_use]
    pub fn history(&self) -> &[Progress] {
        &self.history
    }

    /// P v for the source (v has m values), P^T v for the target (v has n), in O((n + m) r).
    ///
    /// # Errors
    /// [`Error::Length`].
    pub fn apply(&self, side: Side, values: &[f64]) -> Result<Vec<f64>, Error> {
        let (rank, other) = (self.rank(), self.factor(side.opposite()));
        if values.len() != other.len() / rank {
            return Err(Error::Length { what: "values", expected: other.len() / rank, found: values.len() });
        }
        let mut means = vec![0.0; rank];
        for (row, value) in other.chunks_exact(rank).zip(values) {
            means.iter_mut().zip(row).for_each(|(mean, entry)| *mean += entry * value);
        }
        means.iter_mut().zip(&self.inner_weights).for_each(|(mean, weight)| {
            *mean = if *weight > 0.0 { *mean / weight } else { 0.0 };
        });
        let product = |row: &[f64]| row.iter().zip(&means).map(|(entry, mean)| entry * mean).sum();
        Ok(self.factor(side).chunks_exact(rank).map(product).collect())
    }

    /// All entries of P, row by row, n x m.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn to_dense(&self) -> Result<Vec<f64>, Error> {
        let (rank, (n, m)) = (self.rank(), self.shape());
        let mut entries = try_zeros(n.saturating_mul(m), "the entries of a plan")?;
        for (out, q) in entries.chunks_exact_mut(m).zip(self.factors[0].chunks_exact(rank)) {
            for (out, r) in out.iter_mut().zip(self.factors[1].chunks_exact(rank)) {
                let terms = q.iter().zip(r).zip(&self.inner_weights);
                // A factor over g is at most one; the product of both need not be a number.
                *out = terms.map(|((q, r), g)| if *g > 0.0 { q / g * r } else { 0.0 }).sum();
            }
        }
        Ok(entries)
    }
}
