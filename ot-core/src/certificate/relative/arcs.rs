//! The arcs that carry a plan, for products with it that look at nothing else.

use crate::{
    backend::Device,
    error::Error,
    kernel::{
        KernelOp, PlanView,
        capability::{ArcThreshold, PricedArc},
    },
};

/// What the arcs may lack of the mass, over what a solve may leave.
const LACKING: f64 = 1e-2;
/// More arcs than this part of all pairs, or than this, cost as much as products with all pairs.
const PART: usize = 4;
const MOST: usize = 1 << 22;

/// The arcs of one column of a plan, row by row.
#[derive(Debug)]
pub(super) struct PlanArcs {
    rows: Vec<usize>,
    columns: Vec<u32>,
    entries: Vec<f64>,
}

impl PlanArcs {
    /// All but entries whose sum is far below `left`, of a kernel that lists arcs and a plan that has few.
    ///
    /// # Errors
    /// A failure of the device.
    pub(super) fn of<D: Device, K: KernelOp<D> + ?Sized>(
        kernel: &mut K,
        plan: PlanView<'_, D>,
        column: usize,
        weights: [&[f64]; 2],
        left: f64,
    ) -> Result<Option<Self>, Error> {
        let epsilon = kernel.epsilon();
        let Some(hard) = kernel.hard_transform() else { return Ok(None) };
        // P_ij <= a_i b_j e^-reach beyond it.
        let [a, b] = weights;
        let mass = |weights: &[f64]| weights.iter().sum::<f64>();
        let reach = mass(a).ln() + mass(b).ln() - (LACKING * left).max(f64::MIN_POSITIVE).ln();
        let limit = (a.len().saturating_mul(b.len()) / PART).min(MOST);
        let threshold = ArcThreshold::uniform(epsilon * reach.max(0.0));
        let listed = hard.arcs_below(plan.source.potential, plan.target.potential, column, threshold, limit);
        match listed {
            Ok(listed) => Ok(Some(Self::new(&listed, weights, epsilon))),
            Err(Error::OutOfMemory { .. } | Error::MissingCapability(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(listed: &[PricedArc], [a, b]: [&[f64]; 2], epsilon: f64) -> Self {
        let mut rows = vec![0; a.len() + 1];
        for arc in listed {
            rows[arc.source as usize + 1] += 1;
        }
        for row in 0..a.len() {
            rows[row + 1] += rows[row];
        }
        let entry = |arc: &PricedArc| {
            let (a, b) = (a[arc.source as usize], b[arc.target as usize]);
            // By its logarithm: a product of weights need not be a number where an entry is.
            if a > 0.0 && b > 0.0 { (a.ln() + b.ln() - arc.reduced_cost / epsilon).exp() } else { 0.0 }
        };
        let columns = listed.iter().map(|arc| arc.target).collect();
        Self { rows, columns, entries: listed.iter().map(entry).collect() }
    }

    /// Number of arcs.
    pub(super) fn len(&self) -> usize {
        self.columns.len()
    }

    /// P^T diag(1 / r) P x.
    pub(super) fn normal_product(&self, r: &[f64], x: &[f64]) -> Vec<f64> {
        let mut image = vec![0.0; x.len()];
        for (i, &r) in r.iter().enumerate().filter(|(_, r)| **r > 0.0) {
            let row = self.rows[i]..self.rows[i + 1];
            let arcs = || self.columns[row.clone()].iter().zip(&self.entries[row.clone()]);
            let mean = arcs().map(|(&j, entry)| entry * x[j as usize]).sum::<f64>() / r;
            arcs().for_each(|(&j, entry)| image[j as usize] += entry * mean);
        }
        image
    }
}
