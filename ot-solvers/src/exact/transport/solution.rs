//! What an exact solve returns.

use ot_core::{Side, Status};

use super::super::{OptimalityCertificate, SparsePlan};

/// How a solution was found.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SearchReport {
    /// Did entropic potentials guide the search?
    pub guided: bool,
    /// Rounds of the simplex, each followed by a pricing of all pairs.
    pub rounds: usize,
    /// Pivots over all rounds.
    pub pivots: usize,
    /// Arcs that the simplex knew at the end.
    pub candidate_arcs: usize,
    /// Costs evaluated in search of arcs.
    pub arcs_priced: u64,
}

/// An optimal plan, the potentials that prove it, and the proof.
#[derive(Clone, Debug)]
pub struct ExactSolution {
    pub(in super::super) plan: SparsePlan,
    pub(in super::super) potentials: [Vec<f64>; 2],
    pub(in super::super) rest_potentials: Option<[f64; 2]>,
    pub(in super::super) certificate: OptimalityCertificate,
    pub(in super::super) status: Status,
    pub(in super::super) report: SearchReport,
}

impl ExactSolution {
    /// Memory of a solution, to be filled.
    pub(in super::super) fn blank() -> Self {
        Self {
            plan: SparsePlan::blank(),
            potentials: [Vec::new(), Vec::new()],
            rest_potentials: None,
            certificate: OptimalityCertificate::BLANK,
            status: Status::Cancelled,
            report: SearchReport { guided: false, rounds: 0, pivots: 0, candidate_arcs: 0, arcs_priced: 0 },
        }
    }

    /// <P, C>: the least cost, if the solve converged.
    #[must_use]
    pub fn transport_cost(&self) -> f64 {
        self.certificate.primal
    }

    /// W_p for the cost |x - y|^p: the p-th root of the [`transport_cost`](Self::transport_cost). `None` for a negative one.
    #[must_use]
    pub fn distance(&self, p: f64) -> Option<f64> {
        Some(self.transport_cost()).filter(|cost| *cost >= 0.0).map(|cost| cost.powf(p.recip()))
    }

    /// An upper bound of what the transport cost is above the least one, rounding included.
    #[must_use]
    pub fn gap(&self) -> f64 {
        self.certificate.suboptimality().max(0.0)
    }

    /// The plan: at most n + m - 1 entries.
    #[must_use]
    pub fn plan(&self) -> &SparsePlan {
        &self.plan
    }

    /// f or g. Atoms without weight have that of the c-transform.
    #[must_use]
    pub fn potential(&self, side: Side) -> &[f64] {
        &self.potentials[side.index()]
    }

    /// The potentials of the atoms where mass rests, of the source and of the target, if only a part of the mass moves.
    /// With them no pair of f and g, none of f and the rest of the target, and none of the rest of the source and g has a
    /// negative reduced cost, where resting costs nothing.
    #[must_use]
    pub fn rest_potentials(&self) -> Option<[f64; 2]> {
        self.rest_potentials
    }

    /// What is proven, computed from the input, the plan and the potentials.
    #[must_use]
    pub fn certificate(&self) -> &OptimalityCertificate {
        &self.certificate
    }

    /// Why the solve ended. Any other than [`Status::Converged`] leaves a feasible plan, with its true gap.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status
    }

    /// How it was found.
    #[must_use]
    pub fn report(&self) -> &SearchReport {
        &self.report
    }
}
