//! What a pusher sees between "released" and "deployed": the release phase, then dynos coming up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use landfall_deploy::ContainerKind;
use landfall_logs::{Cursor, Filter, Follow, Reader, SourceFilter};
use landfall_model::{DynoState, ReleaseStatus, ReleaseVersion};
use landfall_store::{AppScope, FirstDeploy, Postdeploy, Release, ReleaseRef, StoreError};
use tokio_util::sync::CancellationToken;

use super::job_lines::JobLines;
use crate::reconcile::{AppHandle, AppStatus, Shared, output_dir, postdeploy_dyno};
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
        let more = copy(&mut follow, lines);
        if cancel.is_cancelled() || (status != ReleaseStatus::Pending && !more) {
            return Ok(status);
        }
        if more {
            // One round at a time: a phase that writes without end keeps nobody from their turn.
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = news.wait() => {}
            () = changes.next() => {}
            () = cancel.cancelled() => {}
            () = tokio::time::sleep(NET) => {}
        }
    }
}

/// Copies the lines there are, but no more than one round of them. Whether there were any.
fn copy(follow: &mut Follow, lines: &JobLines) -> bool {
    let new = follow.poll().unwrap_or_default();
    for line in &new {
        lines.detail(line.text());
    }
    !new.is_empty()
}

/// Waits until the app's first deploy is known, and for the end of its postdeploy script, telling what that prints. `None` = not known yet.
pub(super) async fn postdeploy(
    shared: &Shared,
    scope: &AppScope,
    lines: &JobLines,
    cancel: &CancellationToken,
) -> Result<Option<FirstDeploy>, StoreError> {
    let deadline = tokio::time::Instant::now() + SLACK;
    let mut changes = AppChanges::of(shared, scope.app_id());
    let mut output: Option<(Follow, News)> = None;
    loop {
        let first = shared.store.first_deploy(scope).await?;
        if let Some(first) = first.filter(|first| first.postdeploy == Postdeploy::Begun)
            && output.is_none()
        {
            let name = postdeploy_dyno(first.version).to_string();
            let filter = Filter { source: Some(SourceFilter::App), dyno: Some(name) };
            let follow = Reader::new(&shared.logs.dir(scope.app_id())).follow(Cursor::default(), filter);
            let news = News::of(&follow);
            output = Some((follow, news));
        }
        let more = output.as_mut().is_some_and(|(follow, _)| copy(follow, lines));
        let ended = first.is_some_and(|first| first.postdeploy != Postdeploy::Begun);
        if cancel.is_cancelled() || (ended && !more) {
            return Ok(first);
        }
        if more {
            tokio::task::yield_now().await;
            continue;
        }
        let news = async {
            match &output {
                Some((_, news)) => news.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = news => {}
            () = changes.next() => {}
            () = cancel.cancelled() => {}
            () = tokio::time::sleep_until(deadline), if first.is_none() => return Ok(None),
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
