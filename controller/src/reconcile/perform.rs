//! Performs the plan's steps: quick ones at once, slow ones in a task each, none twice at the same time.

use std::sync::Arc;
use std::time::Duration;

use landfall_deploy::{ContainerKey, Crash, Drain, Health, Probe, ProbeId, ProbeKind, Step, StopReason, Told, remember_crash};
use landfall_failpoint::failpoint;
use landfall_model::chain as explain;
use landfall_model::{DynoId, DynoName, ReleaseStatus, ReleaseVersion};
use landfall_store::{DesiredApp, ReleaseOutcome, ReleaseRef};

use super::labels::{Kind, Labels, container_id};
use super::memory::{Busy, Stopping, id_of};
use super::shared::{AppHandle, Shared, not_started};
use super::spec::{Launch, container_spec};
use super::status::Failure;
use super::{crashes, first_live, health, release_phase};
use crate::wait::before_retry;

/// Starts performing one step.
pub(super) fn step(shared: &Arc<Shared>, handle: &Arc<AppHandle>, app: &DesiredApp, step: Step) {
    match step {
        Step::RunReleasePhase { version } => release_phase::run(shared, handle, app, version),
        Step::FinishRelease { version, status } => finish_release(shared, handle, app, version, status),
        Step::FirstLive { version } => first_live::record(shared, handle, app, version),
        Step::FinishPostdeploy { end } => first_live::finish(shared, handle, app, end),
        Step::Report { key, dyno, told, lines, crash } => {
            failpoint("server.report.before");
            shared.logs.platform(handle.app, &dyno.to_string(), &lines);
            failpoint("server.report.written");
            let mut memory = handle.memory();
            if let Some(seen) = memory.seen.get_mut(&key) {
                seen.told = told;
                if told == Told::Up && seen.health != Health::default() {
                    memory.passed.insert(dyno.clone(), key.clone());
                    crashes::note(shared, handle, dyno.clone());
                }
            }
            if let Some(crash) = crash {
                memory.failed(Failure { release: crash.release, dyno: dyno.clone(), lines, decisive: false });
                remember_crash(memory.crashes.entry(dyno.clone()).or_default(), crash);
                memory.reported.insert(dyno.clone(), key);
                crashes::note(shared, handle, dyno);
            }
            drop(memory);
            handle.wake();
        }
        Step::SetRoutes { mode, backends } => shared.routes.set(handle.app, mode, backends, shared),
        Step::RemoveRoutes => shared.routes.remove(handle.app),
        Step::StartDyno { dyno, release, size, fingerprint, generation } => {
            let labels = Labels {
                app: handle.app,
                kind: Kind::Dyno,
                release,
                dyno,
                size,
                fingerprint,
                generation,
                command: String::new(),
                attached: false,
            };
            start(shared, handle, app, labels);
        }
        Step::CheckHealth { key, id, probe } => check(shared, handle, app, key, id, probe),
        Step::Drain { key } => drain(shared, handle, key),
        Step::StopDyno { key, dyno, reason, grace, crash } => {
            if let Some(crash) = crash {
                remember_crash(handle.memory().crashes.entry(dyno.clone()).or_default(), crash);
                crashes::note(shared, handle, dyno.clone());
            }
            match reason {
                // It may still answer some requests: they go elsewhere first.
                StopReason::Unhealthy { .. } => {
                    handle.leaves(shared, &key, &reason, grace);
                    let (shared, handle) = (shared.clone(), handle.clone());
                    shared.tasks.clone().spawn(async move { handle.stop(&shared, &key, reason, grace).await });
                }
                _ => stop(shared, handle, &key, &dyno, reason, grace),
            }
        }
        Step::RemoveContainer { key } => remove(shared, handle, key),
    }
}

fn start(shared: &Arc<Shared>, handle: &Arc<AppHandle>, app: &DesiredApp, mut labels: Labels) {
    let key = ContainerKey(format!("d-{}", DynoId::new().0.simple()));
    let current = app.current.as_ref().filter(|current| current.release.version == labels.release);
    let launch = current.and_then(|current| Launch::of(current, app.user_block));
    if let Some(launch) = &launch {
        labels.command = launch.command(&labels.dyno.process_type);
    }
    let mut memory = handle.memory();
    memory.expect(key.clone(), labels.clone(), shared.clock.now());
    memory.rush.started(shared.clock.now());
    drop(memory);
    let (shared, handle, user_block) = (shared.clone(), handle.clone(), app.user_block);
    shared.tasks.clone().spawn(async move {
        let result = async {
            let launch = match launch {
                Some(launch) => launch,
                None => older_launch(&shared, &labels, user_block)
                    .await
                    .map_err(|why| NotStarted::Refused(format!("R99 (Platform error) -> the dyno could not be started: {why}")))?,
            };
            labels.command = launch.command(&labels.dyno.process_type);
            let line = format!("Starting process with command `{}`", labels.command);
            shared.logs.platform(handle.app, &labels.dyno.to_string(), &[line]);
            let spec = container_spec(id_of(&key), &launch, &labels, shared.logs.dir(handle.app), shared.config.deploy.port);
            failpoint("server.start.before");
            shared.start(spec).await.map_err(|error| match error.fault_code() {
                Some(_) => NotStarted::Refused(not_started("the dyno", &error)),
                None => NotStarted::AgentLost(explain(&error)),
            })
        };
        match result.await {
            Ok(info) => {
                failpoint("server.start.done");
                shared.cache.insert(info);
            }
            // Something newer took its place while it started: that it did not come to run is as wanted.
            Err(NotStarted::Refused(why)) if !handle.memory().counts_on(&key) => {
                tracing::debug!(app.id = %handle.app, dyno.name = %labels.dyno, error = why, "a dyno was stopped while it started");
                handle.forget(&key);
            }
            Err(NotStarted::Refused(why)) => start_failed(&shared, &handle, &key, &labels, &why),
            Err(NotStarted::AgentLost(why)) => {
                tracing::warn!(app.id = %handle.app, dyno.name = %labels.dyno, error = why, "the agent was lost while a dyno started; looking again");
                before_retry(&shared).await;
                // It may run: then the agent that is back has told of it, and what is known of it stays known.
                if shared.cache.get(&id_of(&key)).is_none() {
                    handle.forget(&key);
                }
            }
        }
        handle.wake();
    });
}

/// Why a dyno was not started.
enum NotStarted {
    /// The agent said no, in the words of [`not_started`]: the next try has a back-off.
    Refused(String),
    /// Nobody knows: if it runs after all, the agent will tell.
    AgentLost(String),
}

/// What an earlier release needs to run once more, when a dyno of it crashed while its successor does not come up.
async fn older_launch(shared: &Shared, labels: &Labels, user_block: u32) -> Result<Launch, String> {
    let scope = shared.system.app(labels.app);
    let reference = ReleaseRef::Version(labels.release);
    let read = async {
        let release = shared.store.release_get(&scope, reference).await?;
        let config = shared.store.release_config(&scope, reference).await?;
        let slug = match release.slug {
            Some(slug) => Some(shared.store.slug_get(&scope, slug).await?),
            None => None,
        };
        Ok::<_, landfall_store::StoreError>((slug, config))
    };
    let (slug, config) = read.await.map_err(|error| explain(&error))?;
    let slug = slug.ok_or_else(|| format!("{} has no code", labels.release))?;
    Ok(Launch { version: labels.release, slug, config, user_block })
}

/// A dyno that could not even be started counts as a crash, so that the next try has a back-off.
fn start_failed(shared: &Arc<Shared>, handle: &Arc<AppHandle>, key: &ContainerKey, labels: &Labels, why: &str) {
    tracing::error!(app.id = %handle.app, dyno.name = %labels.dyno, error = why, "a dyno could not be started");
    let lines = vec![format!("Error {why}"), "State changed from starting to crashed".to_owned()];
    shared.logs.platform(handle.app, &labels.dyno.to_string(), &lines);
    let mut memory = handle.memory();
    memory.starting.remove(key);
    memory.seen.remove(key);
    memory.failed(Failure { release: labels.release, dyno: labels.dyno.clone(), lines, decisive: false });
    let crash = Crash {
        at: shared.clock.now(),
        release: labels.release,
        fingerprint: labels.fingerprint.clone(),
        generation: labels.generation,
        size: labels.size,
        up_for: None,
    };
    let record = memory.crashes.entry(labels.dyno.clone()).or_default();
    // Twice: the immediate first restart is for apps that stumbled, not for a machine that cannot.
    remember_crash(record, crash.clone());
    remember_crash(record, crash);
    drop(memory);
    crashes::note(shared, handle, labels.dyno.clone());
}

fn stop(shared: &Arc<Shared>, handle: &Arc<AppHandle>, key: &ContainerKey, dyno: &DynoName, reason: StopReason, grace: Duration) {
    let lines = reason.lines(grace);
    let mut memory = handle.memory();
    let Some(seen) = memory.seen.get_mut(key) else { return };
    let release = seen.labels.release;
    let stopping = Stopping { since: shared.clock.now(), grace, reason: Some(reason.clone()) };
    match &mut seen.stopping {
        // A second, harder stop keeps the first reason.
        Some(earlier) => *earlier = Stopping { reason: earlier.reason.take().or(Some(reason.clone())), ..stopping },
        None => seen.stopping = Some(stopping),
    }
    if reason.is_failure() {
        memory.failed(Failure { release, dyno: dyno.clone(), lines: lines.clone(), decisive: true });
    }
    if !memory.busy.insert(Busy::Stop(key.clone())) && reason != StopReason::Stuck {
        return;
    }
    drop(memory);
    shared.logs.platform(handle.app, &dyno.to_string(), &lines);
    let (shared, handle, key) = (shared.clone(), handle.clone(), key.clone());
    shared.tasks.clone().spawn(async move {
        failpoint("server.stop.before");
        if let Err(error) = shared.agent.stop(&id_of(&key), grace).await {
            tracing::warn!(app.id = %handle.app, container.id = %key.0, error = %error, "a dyno was not stopped; trying again");
            before_retry(&shared).await;
            let mut memory = handle.memory();
            let exited =
                shared.cache.get(&id_of(&key)).is_none_or(|info| matches!(info.state, landfall_runtime_wire::ContainerState::Exited(_)));
            if let Some(seen) = memory.seen.get_mut(&key).filter(|_| !exited) {
                seen.stopping = None;
            }
        }
        failpoint("server.stop.done");
        handle.memory().busy.remove(&Busy::Stop(key));
        handle.wake();
    });
}

impl AppHandle {
    /// Stops a container that a person (or a lost connection) wants gone: it leaves the routes first, then gets SIGTERM.
    pub(crate) async fn stop(self: &Arc<Self>, shared: &Arc<Shared>, key: &ContainerKey, reason: StopReason, grace: Duration) {
        let Some(dyno) = self.memory().seen.get(key).map(|seen| seen.labels.dyno.clone()) else { return };
        self.leaves(shared, key, &reason, grace);
        shared.routes.wait_unrouted(self.app, key).await;
        stop(shared, self, key, &dyno, reason, grace);
    }

    /// Nobody counts on a container any more.
    fn leaves(&self, shared: &Shared, key: &ContainerKey, reason: &StopReason, grace: Duration) {
        if let Some(seen) = self.memory().seen.get_mut(key) {
            seen.stopping.get_or_insert(Stopping { since: shared.clock.now(), grace, reason: Some(reason.clone()) });
        }
        self.wake();
    }

    /// A container is about to be asked for.
    pub(crate) fn expect(&self, shared: &Shared, key: &ContainerKey, labels: Labels) {
        self.memory().expect(key.clone(), labels, shared.clock.now());
    }

    /// The same for a one-off dyno, which stays while somebody is attached (`held`); `false` = the app runs `most` of them already.
    pub(crate) fn expect_one_off(&self, shared: &Shared, key: &ContainerKey, labels: Labels, held: bool, most: usize) -> bool {
        let mut memory = self.memory();
        if memory.seen.values().filter(|seen| seen.labels.kind == Kind::OneOff).count() >= most {
            return false;
        }
        memory.expect(key.clone(), labels, shared.clock.now());
        if held {
            memory.held.insert(key.clone());
        }
        true
    }

    /// It could not be started.
    pub(crate) fn forget(&self, key: &ContainerKey) {
        let mut memory = self.memory();
        memory.starting.remove(key);
        memory.seen.remove(key);
        memory.held.remove(key);
    }

    /// Nobody is attached any more.
    pub(crate) fn unhold(&self, key: &ContainerKey) {
        self.memory().held.remove(key);
    }
}

fn drain(shared: &Arc<Shared>, handle: &Arc<AppHandle>, key: ContainerKey) {
    let mut memory = handle.memory();
    let now = shared.clock.now();
    let Some(seen) = memory.seen.get_mut(&key) else { return };
    seen.drain = Drain::Asked { since: now };
    if !memory.busy.insert(Busy::Drain(key.clone())) {
        return;
    }
    drop(memory);
    let (shared, handle) = (shared.clone(), handle.clone());
    shared.tasks.clone().spawn(async move {
        failpoint("server.drain.before");
        let answer = shared.routes.client().drain(key.0.clone(), shared.config.deploy.drain_limit).await;
        failpoint("server.drain.done");
        let mut memory = handle.memory();
        if let Some(seen) = memory.seen.get_mut(&key) {
            seen.drain = if answer.is_ok() { Drain::Done } else { Drain::NotAsked };
        }
        memory.busy.remove(&Busy::Drain(key));
        drop(memory);
        handle.wake();
    });
}

fn remove(shared: &Arc<Shared>, handle: &Arc<AppHandle>, key: ContainerKey) {
    if !handle.memory().busy.insert(Busy::Remove(key.clone())) {
        return;
    }
    let (shared, handle) = (shared.clone(), handle.clone());
    shared.tasks.clone().spawn(async move {
        failpoint("server.remove.before");
        match shared.agent.remove(&id_of(&key)).await {
            Ok(()) => {
                failpoint("server.remove.done");
                shared.cache.forget(&id_of(&key));
            }
            Err(error) => {
                tracing::warn!(app.id = %handle.app, container.id = %key.0, error = %error, "an ended container was not removed; trying again");
                before_retry(&shared).await;
            }
        }
        handle.memory().busy.remove(&Busy::Remove(key));
        handle.wake();
    });
}

fn check(shared: &Arc<Shared>, handle: &Arc<AppHandle>, app: &DesiredApp, key: ContainerKey, id: ProbeId, probe: Probe) {
    let Some(ip) = shared.cache.get(&id_of(&key)).and_then(|info| info.ip) else { return };
    if let Some(seen) = handle.memory().seen.get_mut(&key) {
        seen.health.of_mut(id).asked(shared.clock.now());
    }
    let host = format!("{}.{}", app.name, shared.config.platform_domain);
    let (shared, handle) = (shared.clone(), handle.clone());
    shared.tasks.clone().spawn(async move {
        failpoint("server.health.before");
        let address = std::net::SocketAddr::from((ip, shared.config.deploy.port));
        let result = health::check(address, &host, &probe).await;
        failpoint("server.health.done");
        let mut memory = handle.memory();
        if let Some(seen) = memory.seen.get_mut(&key) {
            let probed = seen.health.of_mut(id);
            let before = probed.clone();
            probed.answered(result);
            let told = (id.kind == ProbeKind::Readiness).then(|| health::readiness_line(&probe, &before, probed)).flatten();
            let labels = seen.labels.clone();
            if let Some(line) = told {
                shared.logs.platform(handle.app, &labels.dyno.to_string(), std::slice::from_ref(&line));
                if probed.failures > 0 && !probed.passed {
                    memory.failed(Failure { release: labels.release, dyno: labels.dyno, lines: vec![line], decisive: false });
                }
            }
        }
        drop(memory);
        handle.wake();
    });
}

fn finish_release(shared: &Arc<Shared>, handle: &Arc<AppHandle>, app: &DesiredApp, version: ReleaseVersion, status: ReleaseStatus) {
    let Some(pending) = app.pending.iter().find(|pending| pending.release.version == version) else { return };
    if !handle.memory().busy.insert(Busy::FinishRelease(version)) {
        return;
    }
    let (shared, handle, release) = (shared.clone(), handle.clone(), pending.release.clone());
    shared.tasks.clone().spawn(async move {
        failpoint("server.release-phase.ended");
        release_phase::finished(&shared, &release);
        let outcome = if status == ReleaseStatus::Succeeded { ReleaseOutcome::Succeeded } else { ReleaseOutcome::Failed };
        if let Err(error) = shared.store.release_finish(&shared.system.app(handle.app), release.id, outcome).await {
            tracing::warn!(app.id = %handle.app, release.version = %version, error = %error, "a release phase's end was not recorded; trying again");
            before_retry(&shared).await;
        }
        failpoint("server.release-phase.recorded");
        handle.memory().busy.remove(&Busy::FinishRelease(version));
        handle.wake();
    });
}

/// Makes a container id from a dyno's id.
pub(crate) fn dyno_container(prefix: &str, id: DynoId) -> landfall_runtime_wire::ContainerId {
    container_id(format!("{prefix}-{}", id.0.simple()))
}
