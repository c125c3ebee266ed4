//! How far the router has come with stopping.

use std::sync::atomic::{AtomicBool, Ordering};

/// Looked at by every connection when it waits; the one who sets it wakes them.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    begun: AtomicBool,
    forced: AtomicBool,
}

impl Stop {
    /// Idle connections end, and no answer promises another.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::SeqCst);
    }

    /// Requests that are still under way end now: H24.
    pub(crate) fn force(&self) {
        self.forced.store(true, Ordering::SeqCst);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    pub(crate) fn is_forced(&self) -> bool {
        self.forced.load(Ordering::Relaxed)
    }
}
