//! What is debiased: the optimal value, or the transport cost of the entropic plan.

/// The form of a Sinkhorn divergence. P is the optimal entropic plan, and <P, C> its transport cost.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DivergenceForm {
    /// OT(a, b) - OT(a, a) / 2 - OT(b, b) / 2 + epsilon / 2 (mass(a) - mass(b))^2 with the optimal values OT, entropy
    /// included (Feydy et al. 2019). It is positive, convex in either measure and zero between equal ones
    /// wherever exp(-c / epsilon) is a positive definite kernel, and its gradients need no derivative of the solve.
    ///
    /// Limits: transport without entropy, and half the squared discrepancy of the kernel -c.
    #[default]
    Full,
    /// <P_ab, C> - <P_aa, C> / 2 - <P_bb, C> / 2: the cost of plans, without their entropy. Zero between equal measures;
    /// whether it is positive is open.
    ///
    /// Limits as those of [`Full`](Self::Full).
    Sharp,
    /// 2 <P_ab, C> - <P_aa, C> - <P_bb, C>, the double of [`Sharp`](Self::Sharp), as Genevay, Peyre and Cuturi wrote
    /// it (preprint of 2017).
    ///
    /// Limits: twice transport without entropy, and the squared discrepancy.
    Genevay,
}

impl DivergenceForm {
    /// The factor before the term between the two measures.
    pub(super) fn factor(self) -> f64 {
        match self {
            DivergenceForm::Full | DivergenceForm::Sharp => 1.0,
            DivergenceForm::Genevay => 2.0,
        }
    }
}
