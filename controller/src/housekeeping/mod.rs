//! Lets go of what nothing refers to any more, so that a machine can deploy for years: releases nobody can go back to expire, then what only
//! they needed goes: images, config vars, outputs, logs.
//!
//! One code path, woken by an event (something new took the place of something old) and by a timer. What to let go of is decided by
//! `landfall_deploy::expiring` and `landfall_logs::prune`; each sweep looks at what there is, so a killed one is simply made again.

mod files;
mod images;
mod past;

use std::sync::Arc;
use std::time::Duration;

pub use images::ImageHolds;
pub use landfall_deploy::Keep;
use tokio::time::MissedTickBehavior;

use crate::reconcile::Shared;

/// How long a sweep waits after it was called for: a deploy must not share the disk with it, and ten deploys need one sweep.
const SETTLE: Duration = Duration::from_secs(3);

/// How much of the past is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepConfig {
    /// How far back an app can go.
    pub app: Keep,
    /// Builds of an app whose logs (and, if they failed, records) are kept. Default 50.
    pub builds: u32,
    /// Lines of dynos that are gone. Default 7 days and 100 MiB an app.
    pub logs: landfall_logs::Limits,
    /// Entries of the audit log. Default 400 days: a year, and time to look back on it.
    pub audit: Duration,
    /// How often a sweep is made although nothing called for it. Default 1 h.
    pub every: Duration,
}

impl Default for KeepConfig {
    fn default() -> Self {
        Self {
            app: Keep::default(),
            builds: 50,
            // 200 files: a reader opens every one of them.
            logs: landfall_logs::Limits { age: Duration::from_hours(7 * 24), bytes: 100 * 1024 * 1024, files: 200 },
            audit: Duration::from_hours(400 * 24),
            every: Duration::from_hours(1),
        }
    }
}

/// Sweeps until the server stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut timer = tokio::time::interval(shared.config.keep.every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // The timer's first tick comes at once: what an earlier server left behind goes first.
        let called = async {
            tokio::select! {
                _ = timer.tick() => {}
                () = shared.litter.notified() => {}
            }
            tokio::time::sleep(SETTLE).await;
            shared.cache.wait_live().await;
        };
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            () = called => {}
        }
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            () = sweep(&shared) => {}
        }
    }
}

/// One sweep. Each part goes on where another failed.
async fn sweep(shared: &Arc<Shared>) {
    let begun = std::time::Instant::now();
    told(past::expire(shared).await, "releases that nobody can go back to were not expired");
    told(images::collect(shared).await, "unused images were not removed");
    told(files::strays(shared).await, "what destroyed apps left behind was not removed");
    told(files::builds(shared).await, "old builds' logs were not removed");
    told(files::outputs(shared).await, "old release phases' output was not removed");
    told(files::logs(shared).await, "the logs of dynos that are gone were not removed");
    told(files::repositories(shared).await, "repositories were not packed");
    told(past::notes(shared).await, "old notes were not removed");
    tracing::debug!(duration_ms = begun.elapsed().as_millis() as u64, "swept");
}

fn told(result: anyhow::Result<()>, what: &str) {
    if let Err(error) = result {
        tracing::warn!(error = crate::explain(error.as_ref()), "{what}; trying again later");
    }
}
