//! What a solver has told, and who listens.

use std::ops::ControlFlow;

use ot_core::{Observer, Progress};

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
        match self.observer.as_deref_mut() {
            Some(observer) => observer.observe(&progress),
            None => ControlFlow::Continue(()),
        }
    }

    /// All that was told.
    pub(crate) fn into_told(self) -> Vec<Progress> {
        self.told
    }
}
