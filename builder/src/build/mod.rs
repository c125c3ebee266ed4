//! A build: source → `detect → restore → build` in a [`Sandbox`] → an image.

mod cache;
mod failure;
mod request;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::BuildConfig;
use crate::push::Lines;
use crate::sandbox::Sandbox;
use crate::turns::Turns;

pub use cache::{CacheRecord, CachedLayer};
pub use failure::BuildFailure;
pub use request::{BuildOutcome, BuildRequest, Process, Source, Stack, UsedBuildpack};

/// Runs builds, a few at a time.
pub struct Builder {
    config: BuildConfig,
    sandbox: Arc<dyn Sandbox>,
    slots: Turns<()>,
}

impl Builder {
    /// A builder over a sandbox.
    pub fn new(config: BuildConfig, sandbox: Arc<dyn Sandbox>) -> Self {
        let slots = Turns::new(config.concurrency);
        Self { config, sandbox, slots }
    }
}
