//! The release phase: its container, and its output, which is kept for `releases:output`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use landfall_deploy::ContainerKey;
use landfall_failpoint::failpoint;
use landfall_logs::{Filter, LogIdentity, Reader, SegmentWriter, SourceFilter};
use landfall_model::{AppId, DynoName, DynoSize, ProcessType, ReleaseId, ReleaseVersion};
use landfall_store::{DesiredApp, Release, ReleaseOutcome};

use super::labels::{Kind, Labels};
use super::memory::{Busy, id_of};
use super::shared::{AppHandle, Shared, not_started};
use super::spec::{Launch, container_spec};
use crate::config::ServerConfig;
use crate::explain;
use crate::wait::before_retry;

/// A release phase that the agent refused to start this often has failed.
const TRIES: u32 = 5;
/// Most lines of a release phase that are copied to the app's log.
const LINES: usize = 10_000;

/// Where a release phase writes.
pub(crate) fn output_dir(config: &ServerConfig, app: AppId, release: ReleaseId) -> PathBuf {
    config.release_output_dir().join(app.to_string()).join(release.to_string())
}

/// Starts it. Its id is made of the release, so that a server that was killed in between finds it instead of running it twice.
pub(super) fn run(shared: &Arc<Shared>, handle: &Arc<AppHandle>, app: &DesiredApp, version: ReleaseVersion) {
    let Some(pending) = app.pending.iter().find(|pending| pending.release.version == version) else { return };
    let Some(launch) = Launch::of(pending, app.user_block) else { return };
    if !handle.memory().busy.insert(Busy::ReleasePhase(version)) {
        return;
    }
    let key = ContainerKey(format!("r-{}", pending.release.id.0.simple()));
    let labels = Labels {
        app: handle.app,
        kind: Kind::Release,
        release: version,
        dyno: DynoName::new(ProcessType::release(), version.0),
        size: DynoSize::default(),
        fingerprint: String::new(),
        generation: 0,
        command: launch.command(&ProcessType::release()),
        attached: false,
    };
    handle.memory().expect(key.clone(), labels.clone(), shared.clock.now());
    let dir = output_dir(&shared.config, handle.app, pending.release.id);
    let (shared, handle, release) = (shared.clone(), handle.clone(), pending.release.clone());
    shared.tasks.clone().spawn(async move {
        let line = format!("Starting process with command `{}`", labels.command);
        shared.logs.platform(handle.app, &labels.dyno.to_string(), &[line]);
        let spec = container_spec(id_of(&key), &launch, &labels, dir.clone(), shared.config.deploy.port);
        let made = crate::app_log::log_dir(&dir).map_err(|error| format!("making {}: {error}", dir.display()));
        let started = match made {
            Ok(()) => {
                failpoint("server.release-phase.before");
                shared.start(spec).await.map_err(|error| (error.fault_code().is_some(), not_started("the release phase", &error)))
            }
            Err(error) => Err((true, format!("R99 (Platform error) -> the release phase could not be started: {error}"))),
        };
        match started {
            Ok(info) => {
                failpoint("server.release-phase.started");
                shared.cache.insert(info);
            }
            Err((refused, error)) => {
                tracing::error!(app.id = %handle.app, release.version = %version, error, "a release phase could not be started");
                let tries = {
                    let mut memory = handle.memory();
                    let tries = memory.refused.entry(version).or_default();
                    *tries += u32::from(refused);
                    *tries
                };
                if tries < TRIES {
                    before_retry(&shared).await;
                } else {
                    give_up(&shared, &release, &dir, &error).await;
                }
                let mut memory = handle.memory();
                memory.starting.remove(&key);
                memory.seen.remove(&key);
            }
        }
        handle.memory().busy.remove(&Busy::ReleasePhase(version));
        handle.wake();
    });
}

/// It cannot be started: the release has failed, and its output says why. What ran before runs on.
async fn give_up(shared: &Shared, release: &Release, dir: &Path, why: &str) {
    let words = format!("Error {why}");
    let told = LogIdentity::new("heroku", &format!("release.{}", release.version.0))
        .map_err(|error| error.to_string())
        .and_then(|identity| SegmentWriter::open(dir, "platform", identity).map_err(|error| explain(&error)))
        .and_then(|mut log| {
            log.append(jiff::Timestamp::now(), words.as_bytes()).and_then(|()| log.flush()).map_err(|error| explain(&error))
        });
    if let Err(error) = told {
        tracing::warn!(app.id = %release.app, error, "why a release failed is not in its output");
    }
    finished(shared, release);
    let failed = shared.store.release_finish(&shared.system.app(release.app), release.id, ReleaseOutcome::Failed).await;
    if let Err(error) = failed {
        tracing::warn!(app.id = %release.app, error = explain(&error), "a failed release was not recorded; trying again");
        before_retry(shared).await;
    }
}

/// Copies its output to the app's log, where people look first. What an earlier server copied before it was killed is not copied again.
pub(super) fn finished(shared: &Shared, release: &Release) {
    let name = format!("release.{}", release.version.0);
    let copied = Filter { source: Some(SourceFilter::App), dyno: Some(name.clone()) };
    let read = || {
        let (lines, _) = Reader::new(&output_dir(&shared.config, release.app, release.id)).last(LINES, &Filter::default())?;
        let (copied, _) = Reader::new(&shared.logs.dir(release.app)).last(LINES, &copied)?;
        Ok::<_, landfall_logs::LogError>((lines, copied.len()))
    };
    match read() {
        Ok((lines, copied)) => {
            let texts: Vec<&str> = lines.iter().skip(copied).map(landfall_logs::Line::text).collect();
            shared.logs.append(release.app, "app", &name, &texts);
        }
        Err(error) => tracing::warn!(app.id = %release.app, error = %error, "a release phase's output could not be read"),
    }
}
