//! Which problem is solved between two measures.

use ot_core::{Epsilon, Error, MarginalPenalty, RecordedPenalty};

use crate::{
    divergence::SinkhornDivergence,
    entropic::Sinkhorn,
    exact::{ExactTransport, SlicedWasserstein},
};

/// What is solved between the measures of each pair, and with which settings.
///
/// | method | value | certified |
/// |---|---|---|
/// | [`exact`](Self::exact) | the least <P, C> | gap, rounding included |
/// | [`entropic`](Self::entropic), [`unbalanced`](Self::unbalanced) | the primal objective; <P, C> is told apart | gap |
/// | [`divergence`](Self::divergence) | S(a, b) | half of the width between its bounds |
/// | [`line`](Self::line) | the least <P, C> of a convex cost on the line | exact up to rounding |
/// | [`sliced`](Self::sliced) | the mean of W_p^p over directions; the cost is not asked | no |
///
/// An epsilon that is a rule is resolved once for all pairs: the mean of what it gives between the measures of the first
/// eight pairs of different measures. So all values are of one problem, and self terms serve all divergences.
#[derive(Clone, Debug)]
pub struct Method(Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Exact(ExactTransport),
    Entropic(Entropic),
    Divergence(Divergence),
    Line,
    Sliced(SlicedWasserstein),
}

/// Settings of entropic transport.
#[derive(Clone, Debug)]
pub(super) struct Entropic {
    pub(super) sinkhorn: Sinkhorn,
    pub(super) epsilon: Epsilon,
    /// Prescribed marginals if none.
    pub(super) penalties: Option<[RecordedPenalty; 2]>,
}

/// Settings of divergences.
#[derive(Clone, Debug)]
pub(super) struct Divergence {
    pub(super) divergence: SinkhornDivergence,
    pub(super) epsilon: Epsilon,
}

impl Method {
    /// Exact transport: each pair with a proof.
    #[must_use]
    pub fn exact() -> Self {
        Self::exact_with(ExactTransport::new())
    }

    /// Exact transport with settings.
    #[must_use]
    pub fn exact_with(settings: ExactTransport) -> Self {
        Self(Kind::Exact(settings))
    }

    /// Entropic transport between prescribed marginals.
    #[must_use]
    pub fn entropic(epsilon: Epsilon) -> Self {
        Self::entropic_with(epsilon, Sinkhorn::new())
    }

    /// Entropic transport with settings.
    #[must_use]
    pub fn entropic_with(epsilon: Epsilon, sinkhorn: Sinkhorn) -> Self {
        Self(Kind::Entropic(Entropic { sinkhorn, epsilon, penalties: None }))
    }

    /// Entropic transport with a penalty of both marginals.
    ///
    /// # Errors
    /// [`Error::Program`] for a penalty that cannot be recorded.
    pub fn unbalanced(epsilon: Epsilon, penalty: &impl MarginalPenalty) -> Result<Self, Error> {
        Self::unbalanced_with(epsilon, penalty, Sinkhorn::new())
    }

    /// Entropic transport with a penalty of both marginals and settings.
    ///
    /// # Errors
    /// [`Error::Program`] for a penalty that cannot be recorded.
    pub fn unbalanced_with(
        epsilon: Epsilon,
        penalty: &impl MarginalPenalty,
        sinkhorn: Sinkhorn,
    ) -> Result<Self, Error> {
        let penalty = penalty.recorded()?;
        let penalties = Some([penalty.clone(), penalty]);
        Ok(Self(Kind::Entropic(Entropic { sinkhorn, epsilon, penalties })))
    }

    /// The Sinkhorn divergence, the self term of each measure solved once.
    #[must_use]
    pub fn divergence(epsilon: Epsilon) -> Self {
        Self::divergence_with(epsilon, SinkhornDivergence::new())
    }

    /// The Sinkhorn divergence with settings.
    #[must_use]
    pub fn divergence_with(epsilon: Epsilon, divergence: SinkhornDivergence) -> Self {
        Self(Kind::Divergence(Divergence { divergence, epsilon }))
    }

    /// Transport on the line for a convex cost of the difference: see [`LineTransport`](crate::LineTransport).
    #[must_use]
    pub fn line() -> Self {
        Self(Kind::Line)
    }

    /// Sliced transport between clouds. Every pair is projected on the same directions.
    #[must_use]
    pub fn sliced(settings: SlicedWasserstein) -> Self {
        Self(Kind::Sliced(settings))
    }

    pub(super) fn kind(&self) -> &Kind {
        &self.0
    }
}
