//! Progress over all pairs, from any thread.

use std::{
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use ot_core::{Observer, Phase, Progress};

/// Counts pairs, tells the observer, and remembers that it has cancelled.
pub(super) struct Watch<'a> {
    state: Mutex<(usize, Option<&'a mut dyn Observer>)>,
    of: usize,
    is_cancelled: AtomicBool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(observer: Option<&'a mut dyn Observer>, of: usize) -> Self {
        Self { state: Mutex::new((0, observer)), of, is_cancelled: AtomicBool::new(false) }
    }

    /// Has the observer cancelled?
    pub(super) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }

    /// So many more pairs are done.
    pub(super) fn done(&self, pairs: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += pairs;
        let progress = Progress { of: Some(self.of), ..Progress::new(Phase::Pairs, state.0) };
        let told = state.1.as_deref_mut().map_or(ControlFlow::Continue(()), |observer| observer.observe(&progress));
        if told.is_break() {
            self.is_cancelled.store(true, Ordering::Relaxed);
        }
    }
}
