//! One app's loop: look, plan, act, wait.

use std::sync::Arc;
use std::time::Duration;

use landfall_deploy::{Observed, Plan, StopReason, plan};
use landfall_store::{DesiredApp, StoreError};

use super::labels::INSTANCE;
use super::routes::Epoch;
use super::shared::{AppHandle, Shared};
use super::{announce, crashes, desired, perform, purge, status};

/// What one round came to.
enum Round {
    /// Look again at this time at the latest.
    Again(Option<Duration>),
    /// The app is gone and nothing of it is left.
    Over,
}

/// Runs until the app is gone or the server stops.
pub(super) async fn run(shared: Arc<Shared>, handle: Arc<AppHandle>) {
    loop {
        let pause = match round(&shared, &handle).await {
            Ok(Round::Over) => break,
            Ok(Round::Again(at)) => {
                let timer = at.map(|at| at.saturating_sub(shared.clock.now()));
                timer.map_or(shared.config.resync, |timer| timer.min(shared.config.resync))
            }
            Err(error) => {
                tracing::warn!(app.id = %handle.app, error = %error, "the app could not be looked at; trying again");
                Duration::from_secs(1)
            }
        };
        tokio::select! {
            () = shared.cancel.cancelled() => return,
            () = handle.wake.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    shared.routes.forget(handle.app);
    shared.apps().remove(&handle.app);
}

async fn round(shared: &Arc<Shared>, handle: &Arc<AppHandle>) -> Result<Round, StoreError> {
    if !shared.cache.is_live() {
        return Ok(Round::Again(None));
    }
    let Some(app) = shared.store.desired(&shared.system, handle.app).await? else {
        return Ok(orphans(shared, handle).await);
    };
    if app.destroyed_at.is_none() {
        shared.logs.prepare(app.id);
    }
    crashes::recall(shared, handle).await?;
    announce::releases(shared, handle, &app).await?;
    let (observed, plan, status, epoch) = look(shared, handle, &app);
    if status.live
        && let Some(version) = status.target
    {
        let settled = handle.memory().settled(version);
        for dyno in settled {
            crashes::note(shared, handle, dyno);
        }
    }
    handle.status.send_if_modified(|old| std::mem::replace(old, status.clone()) != status);
    if app.destroyed_at.is_some() && plan.steps.is_empty() && observed.containers.is_empty() {
        return purge::app(shared, &app).await.map(|()| Round::Over);
    }
    end_abandoned(shared, handle);
    shared.routes.describe(&app, shared);
    let wake_at = plan.wake_at;
    for step in plan.steps {
        perform::step(shared, handle, &app, step);
    }
    shared.routes.planned(handle.app, epoch);
    Ok(Round::Again(wake_at))
}

fn look(shared: &Shared, handle: &AppHandle, app: &DesiredApp) -> (Observed, Plan, status::AppStatus, Epoch) {
    let desired = desired::desired(app, &shared.config.deploy);
    let containers = shared.cache.of(handle.app);
    let mut memory = handle.memory();
    let (router, epoch) = shared.routes.view(handle.app);
    let observed = memory.observe(&containers, router, &desired, &shared.clock);
    let plan = plan(&desired, &observed, shared.clock.now());
    let status = status::status(&desired, &observed, &memory);
    if status.live {
        memory.rush.live();
    }
    (observed, plan, status, epoch)
}

/// A client is attached through the server. After a restart of the server it is gone for good, so its dyno gets SIGTERM.
fn end_abandoned(shared: &Arc<Shared>, handle: &Arc<AppHandle>) {
    let abandoned = std::mem::take(&mut handle.memory().abandoned);
    for key in abandoned {
        let (shared, handle) = (shared.clone(), handle.clone());
        shared.tasks.clone().spawn(async move {
            handle.stop(&shared, &key, StopReason::Requested, shared.config.deploy.stop_grace).await;
        });
    }
}

/// Containers of this database, marked with an app it does not know: they are nobody's, so they go. Those that do not say whose they are may be
/// of a database that is only not here now: they stay.
async fn orphans(shared: &Shared, handle: &AppHandle) -> Round {
    shared.routes.remove(handle.app);
    for info in shared.cache.of(handle.app) {
        if !info.labels.contains_key(INSTANCE) {
            if shared.cache.first_sight(&info.id) {
                tracing::warn!(
                    container.id = %info.id, app.id = %handle.app,
                    "a container of an app that does not exist does not say whose it is; it is left alone. End it with: landfall down"
                );
            }
            continue;
        }
        tracing::warn!(container.id = %info.id, app.id = %handle.app, "removing a container of an app that does not exist");
        match shared.agent.remove(&info.id).await {
            Ok(()) => shared.cache.forget(&info.id),
            Err(error) => {
                tracing::warn!(container.id = %info.id, error = %error, "it could not be removed; trying again");
                return Round::Again(None);
            }
        }
    }
    Round::Over
}
