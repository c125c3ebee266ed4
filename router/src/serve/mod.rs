//! The data path: from an accepted connection to a log line.

pub(crate) mod accept;
mod buffer;
mod connection;
mod deadline;
mod download;
mod exchange;
mod progress;
mod rechunk;
mod relay;
mod reply;
pub(crate) mod stop;
mod transport;
mod tunnel;
mod upload;
pub(crate) mod upstream;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::time::Instant;

use crate::access_log::AccessLog;
use crate::budget::{Budget, CONNECTION, IDLE};
use crate::config::Limits;
use crate::pages::Pages;
use crate::routes::Routes;
use crate::routes::idle::Pool;
use stop::Stop;

/// What every connection sees.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) routes: Routes,
    pub(crate) pool: Arc<Pool>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) limits: Limits,
    pub(crate) pages: Pages,
    pub(crate) log: AccessLog,
    pub(crate) admission: accept::Admission,
    pub(crate) requests: AtomicU64,
    pub(crate) accept_failures: AtomicU64,
    /// Requests that failed for a reason of the platform's own (H99).
    pub(crate) platform_errors: AtomicU64,
    pub(crate) stop: Arc<Stop>,
    pub(crate) started: Instant,
}

impl Shared {
    /// Milliseconds on the router's clock, which never jumps.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// Bytes of [`Limits::memory`] that are spoken for.
    pub(crate) fn memory(&self) -> usize {
        let set_aside = self.admission.count() * CONNECTION + self.pool.count() * IDLE;
        set_aside + self.log.memory() + self.budget.used()
    }
}
