//! The data path: from an accepted connection to a log line.

pub(crate) mod accept;
mod buffer;
mod connection;
mod deadline;
mod exchange;
mod progress;
mod relay;
mod reply;
mod transport;
mod tunnel;
pub(crate) mod upstream;

use std::sync::atomic::{AtomicBool, AtomicU64};

use tokio::time::Instant;

use crate::access_log::AccessLog;
use crate::config::Limits;
use crate::pages::Pages;
use crate::routes::Routes;

/// What every connection sees.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) routes: Routes,
    pub(crate) limits: Limits,
    pub(crate) pages: Pages,
    pub(crate) log: AccessLog,
    pub(crate) admission: accept::Admission,
    pub(crate) requests: AtomicU64,
    pub(crate) accept_failures: AtomicU64,
    pub(crate) stopping: AtomicBool,
    pub(crate) started: Instant,
}

impl Shared {
    /// Milliseconds on the router's clock, which never jumps.
    pub(crate) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}
