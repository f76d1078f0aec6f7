//! What a solver has told, and who listens.

use std::ops::ControlFlow;

use ot_core::{Certificate, Observer, Phase, Progress};

/// The checks of one solve.
#[derive(Default)]
pub(crate) struct History<'a> {
    observer: Option<&'a mut dyn Observer>,
    told: Vec<Progress>,
}

impl<'a> History<'a> {
    pub(crate) fn new(observer: Option<&'a mut dyn Observer>) -> Self {
        Self { observer, told: Vec::new() }
    }

    /// Remembers a check and tells it. A break cancels.
    pub(crate) fn tell(&mut self, progress: Progress) -> ControlFlow<()> {
        self.told.push(progress);
        self.announce(&progress)
    }

    /// Tells what is not remembered. A break cancels.
    pub(crate) fn announce(&mut self, progress: &Progress) -> ControlFlow<()> {
        self.observer.as_deref_mut().map_or(ControlFlow::Continue(()), |observer| observer.observe(progress))
    }

    /// Tells and remembers what is proven at the end.
    pub(crate) fn tell_certificates(&mut self, done: usize, certificates: &[Certificate]) {
        let finite = |number: f64| Some(number).filter(|number| number.is_finite());
        let largest =
            |number: fn(&Certificate) -> f64| finite(certificates.iter().map(number).fold(f64::NEG_INFINITY, f64::max));
        let progress = Progress {
            epsilon: certificates.first().map(|certificate| certificate.epsilon),
            marginal_error: largest(|certificate| certificate.marginal_error),
            dual: finite(certificates.iter().map(|certificate| certificate.dual).fold(f64::INFINITY, f64::min)),
            gap: largest(|certificate| certificate.gap),
            active_columns: 0,
            ..Progress::new(Phase::Certificate, done)
        };
        // There is nothing left to cancel.
        let _ = self.tell(progress);
    }

    /// All that was told.
    pub(crate) fn into_told(self) -> Vec<Progress> {
        self.told
    }
}
