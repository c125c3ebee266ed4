//! What a pusher sees between "released" and "deployed": the release phase, then dynos coming up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landfall_deploy::ContainerKind;
use landfall_logs::{Cursor, Filter, Reader};
use landfall_model::{DynoState, ReleaseStatus, ReleaseVersion};
use landfall_store::{AppScope, Release, ReleaseRef, StoreError};
use tokio_util::sync::CancellationToken;

use super::job_lines::JobLines;
use crate::reconcile::{AppHandle, AppStatus, Shared, output_dir};
use crate::wait::{AppChanges, NET, News};

/// Failures of dynos of the new release after which nobody waits any longer.
const PATIENCE: usize = 3;
/// Time for routes and health checks beyond the boot timeout.
const SLACK: Duration = Duration::from_secs(30);

/// How a rollout looked when the wait for it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rollout {
    /// Every dyno of it is up and takes requests.
    Live,
    /// A newer release came in between.
    Superseded(ReleaseVersion),
    /// Its dynos do not come up; these releases answer visitors.
    NotUp(Vec<ReleaseVersion>),
    /// The waiter left.
    Left,
}

/// Copies a release phase's output until it has ended; says how it ended.
pub(super) async fn release_phase(
    shared: &Shared,
    scope: &AppScope,
    release: &Release,
    lines: &JobLines,
    cancel: &CancellationToken,
) -> Result<ReleaseStatus, StoreError> {
    lines.step("Running the release phase...");
    let reader = Reader::new(&output_dir(&shared.config, release.app, release.id));
    let mut follow = reader.follow(Cursor::default(), Filter::default());
    let news = News::of(&follow);
    let mut changes = AppChanges::of(shared, release.app);
    loop {
        let status = shared.store.release_get(scope, ReleaseRef::Id(release.id)).await?.status;
        while let Ok(new) = follow.poll()
            && !new.is_empty()
        {
            for line in &new {
                lines.detail(line.text());
            }
        }
        if status != ReleaseStatus::Pending || cancel.is_cancelled() {
            return Ok(status);
        }
        tokio::select! {
            () = news.wait() => {}
            () = changes.next() => {}
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(NET) => {}
        }
    }
}

/// Waits for the dynos of a release, telling what becomes of each.
pub(super) async fn dynos(
    shared: &Shared,
    handle: &Arc<AppHandle>,
    version: ReleaseVersion,
    lines: &JobLines,
    cancel: &CancellationToken,
) -> Rollout {
    let mut status = handle.status();
    let deadline = tokio::time::Instant::now() + shared.config.deploy.boot_timeout + SLACK;
    let mut told = Told::default();
    handle.wake();
    loop {
        let now = status.borrow_and_update().clone();
        told.tell(&now, version, lines);
        if now.target.is_some_and(|target| target > version) {
            return Rollout::Superseded(now.target.unwrap_or(version));
        }
        if now.target == Some(version) && now.live {
            return Rollout::Live;
        }
        if told.failures >= PATIENCE || told.decisive {
            return Rollout::NotUp(now.serving);
        }
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return Rollout::Left },
            () = tokio::time::sleep_until(deadline) => return Rollout::NotUp(now.serving),
            () = cancel.cancelled() => return Rollout::Left,
        }
    }
}

/// What was said already.
#[derive(Default)]
struct Told {
    up: BTreeSet<String>,
    failures: usize,
    decisive: bool,
}

impl Told {
    fn tell(&mut self, status: &AppStatus, version: ReleaseVersion, lines: &JobLines) {
        for dyno in status.dynos.iter().filter(|dyno| dyno.kind == ContainerKind::Dyno && dyno.release == version) {
            if dyno.state == DynoState::Up && self.up.insert(dyno.container.to_string()) {
                match &dyno.note {
                    Some(note) => lines.step(&format!("{} is up ({note})", dyno.name)),
                    None => lines.step(&format!("{} is up", dyno.name)),
                }
            }
        }
        let failures: Vec<_> = status.failures.iter().filter(|failure| failure.release == version).collect();
        for failure in failures.iter().skip(self.failures) {
            failure.lines.iter().for_each(|line| lines.problem(&format!("{}: {line}", failure.dyno)));
        }
        self.failures = self.failures.max(failures.len());
        self.decisive |= failures.iter().any(|failure| failure.decisive);
    }
}
