//! Build containers: one per connection, gone with it.

mod finished;
mod prepare;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use landfall_failpoint::failpoint;
use landfall_runtime_wire::ContainerId;
use landfall_runtime_wire::agent::{FaultCode, Reply};
use landfall_runtime_wire::build::{BuildOutcome, BuildSpec, KillReason};
use landfall_runtime_wire::frame::Kind;
use landfall_runtime_wire::shim::{ShimEvent, ShimRequest};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tracing::warn;

use super::launch::{self, Plan};
use super::{Core, attach, monitor, shim};
use crate::disk::{self, Allowance, Meter, Sampler, Usage};
use crate::fault::{Doing as _, Result, fault};
use crate::frames;

pub(super) use finished::{commit, discard, serve_file};
use prepare::prepare;
pub(super) use prepare::relative;

/// The user of builds.
pub(super) const BUILD_USER: u32 = 1000;

/// What is known of a build while its session lasts.
#[derive(Clone, Debug)]
pub(super) struct Build {
    /// Layers below the upper, top first.
    pub(super) lowers: Vec<PathBuf>,
    /// Where the build wrote.
    pub(super) upper: PathBuf,
    /// Directory to mount merged views at.
    pub(super) merged: PathBuf,
    /// Its program ended and nothing of it runs.
    finished: bool,
    /// What a collection must not take.
    images: BTreeSet<String>,
    layers: BTreeSet<String>,
}

/// Every build of this agent.
#[derive(Debug, Default)]
pub(super) struct Builds {
    inner: Mutex<HashMap<ContainerId, Build>>,
}

impl Builds {
    fn change<T>(&self, work: impl FnOnce(&mut HashMap<ContainerId, Build>) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn finished(&self, id: &ContainerId) -> Result<Build> {
        let build =
            self.change(|builds| builds.get(id).cloned()).ok_or_else(|| fault(FaultCode::NotFound, format!("there is no build {id}")))?;
        if build.finished { Ok(build) } else { Err(fault(FaultCode::Conflict, format!("build {id} still runs"))) }
    }

    /// Adds what builds need to what a collection keeps.
    pub(super) fn needs(&self, images: &mut BTreeSet<String>, layers: &mut BTreeSet<String>) {
        self.change(|builds| {
            for build in builds.values() {
                images.extend(build.images.iter().cloned());
                layers.extend(build.layers.iter().cloned());
            }
        });
    }
}

/// Runs a build for one connection; when the connection ends, all of the build is gone.
pub(super) async fn serve(core: &Arc<Core>, mut stream: UnixStream, spec: BuildSpec) -> Result<()> {
    let id = spec.id.clone();
    let limits = spec.limits.clone();
    let reserved = core.store.image(&spec.image).and_then(|image| {
        let mut record = launch::record(id.clone(), spec.labels.clone(), &image.info.digest, None, &limits, true);
        let held = core.registry.reserve(&mut record)?;
        let held = held.ok_or_else(|| fault(FaultCode::Conflict, format!("the id {id} is in use")))?;
        Ok((image, record, held))
    });
    // From here on the id is ours, and so is removing all of it.
    let (image, record, held) = match reserved {
        Ok(reserved) => reserved,
        Err(error) => return refuse(&mut stream, error).await,
    };
    let started = match prepare(core, spec, image).await {
        Ok(plan) => launch_and_join(core, &record, plan).await,
        Err(error) => Err(error),
    };
    drop(held);
    let result = match started {
        Ok(joined) => {
            let (mut from_client, mut to_client) = stream.into_split();
            let served = tokio::select! {
                served = follow(core, &id, joined, &mut to_client, &limits) => served,
                () = hung_up(&mut from_client) => Ok(()),
                () = core.shutdown.cancelled() => Ok(()),
            };
            if served.is_ok() && core.builds.finished(&id).is_ok() {
                tokio::select! {
                    () = hung_up(&mut from_client) => {}
                    () = core.shutdown.cancelled() => {}
                }
            } else if let Err(fault) = served {
                let _gone = frames::write_json(&mut to_client, &Reply::Failed { fault }).await;
            }
            Ok(())
        }
        Err(error) => refuse(&mut stream, error).await,
    };
    if let Err(error) = discard(core, &id).await {
        warn!(container.id = %id, %error, "cannot remove a build");
    }
    result
}

async fn refuse(stream: &mut UnixStream, fault: landfall_runtime_wire::agent::Fault) -> Result<()> {
    frames::write_json(stream, &Reply::Failed { fault }).await.doing("answering")
}

async fn hung_up(client: &mut OwnedReadHalf) {
    let mut nothing = [0; 64];
    while matches!(client.read(&mut nothing).await, Ok(1..)) {}
}

async fn launch_and_join(core: &Arc<Core>, record: &super::record::Record, plan: Plan) -> Result<UnixStream> {
    failpoint("agent.build.prepared");
    launch::launch(core, record, plan).await?;
    let joined = attach::open(core, &record.info.id, &ShimRequest::Attach).await?;
    failpoint("agent.build.running");
    Ok(joined)
}

/// Streams the output and watches the limits, up to the end of the build's program.
async fn follow(
    core: &Arc<Core>,
    id: &ContainerId,
    joined: UnixStream,
    client: &mut OwnedWriteHalf,
    limits: &landfall_runtime_wire::Limits,
) -> Result<()> {
    let (mut from_shim, _open) = joined.into_split();
    let (sender, mut incoming) = tokio::sync::mpsc::channel(64);
    core.tasks.spawn(async move {
        while let Ok(Some(frame)) = frames::read(&mut from_shim).await {
            if sender.send(frame).await.is_err() {
                return;
            }
        }
    });
    let watched = watch_limits(core, id, limits);
    tokio::pin!(watched);
    let mut killed = None;
    let status = loop {
        tokio::select! {
            frame = incoming.recv() => match frame {
                Some((Kind::Json, bytes)) => {
                    if let Ok(ShimEvent::Exited { status }) = frames::parse(&bytes) {
                        break status;
                    }
                }
                Some((kind, bytes)) => frames::write(client, kind, &bytes).await.doing("passing build output on")?,
                None => {
                    killed = killed.or(Some(KillReason::Shim));
                    break monitor::SHIM_KILLED;
                }
            },
            reason = &mut watched, if killed.is_none() => {
                killed = Some(reason);
                let (socket, deadline) = (shim::socket(&core.config, id), core.config.limits.create_timeout);
                core.tasks.spawn(async move { shim::ask(&socket, ShimRequest::Stop { grace_ms: 0 }, deadline).await });
            }
        }
    };
    finish(core, id, BuildOutcome { status, killed }, limits, client).await
}

async fn finish(
    core: &Arc<Core>,
    id: &ContainerId,
    mut outcome: BuildOutcome,
    limits: &landfall_runtime_wire::Limits,
    client: &mut OwnedWriteHalf,
) -> Result<()> {
    // Nothing may run or be mounted while the root is read.
    launch::end(core, id).await?;
    // The watch looks now and then; what is left counts as a whole, holes in files too, because a layer is read whole.
    // A build that found no room itself failed for that reason, whatever it says.
    let full = disk::free(&core.config.data_dir).is_ok_and(|free| free < core.config.limits.disk_reserve);
    if full && outcome.status.code != 0 {
        outcome.killed.get_or_insert(KillReason::HostDisk);
    }
    if let Ok(usage) = measure(core.config.container_data_dir(id.as_str()).join("upper")).await {
        let whole = Usage { bytes: usage.bytes.max(usage.length), ..usage };
        outcome.killed = outcome.killed.or(excess(allowance(core, limits), whole));
    }
    failpoint("agent.build.ended");
    core.registry.update(id, |info| info.state = landfall_runtime_wire::ContainerState::Exited(outcome.status));
    core.builds.change(|builds| {
        if let Some(build) = builds.get_mut(id) {
            build.finished = true;
        }
    });
    frames::write_json(client, &Reply::BuildFinished { outcome }).await.doing("telling how a build ended")
}

/// What a build may leave.
fn allowance(core: &Core, limits: &landfall_runtime_wire::Limits) -> Allowance {
    Allowance { bytes: limits.disk_bytes.unwrap_or(core.config.limits.disk_bytes), files: core.config.limits.build_files }
}

async fn measure(upper: PathBuf) -> std::result::Result<Usage, tokio::task::JoinError> {
    tokio::task::spawn_blocking(move || disk::usage(&upper)).await
}

fn excess(allowance: Allowance, usage: Usage) -> Option<KillReason> {
    if usage.bytes > allowance.bytes {
        return Some(KillReason::Disk);
    }
    allowance.exceeded_by(&usage).then_some(KillReason::Tree)
}

/// Ends when a limit is reached, saying which.
async fn watch_limits(core: &Core, id: &ContainerId, limits: &landfall_runtime_wire::Limits) -> KillReason {
    let upper = core.config.container_data_dir(id.as_str()).join("upper");
    let allowance = allowance(core, limits);
    let over_time = async {
        match limits.wall_ms {
            Some(wall) => tokio::time::sleep(Duration::from_millis(wall)).await,
            None => std::future::pending().await,
        }
    };
    let over_disk = async {
        let (mut sampler, mut meter) = (Sampler::default(), Meter::new(allowance));
        loop {
            tokio::time::sleep(core.config.limits.disk_check).await;
            if disk::free(&upper).is_ok_and(|free| free < core.config.limits.disk_reserve) {
                return KillReason::HostDisk;
            }
            meter.grew(sampler.growth(&upper));
            let at = std::time::Instant::now();
            if !meter.is_due(at) {
                continue;
            }
            let Ok(usage) = measure(upper.clone()).await else { continue };
            if let Some(reason) = excess(allowance, usage) {
                return reason;
            }
            meter.measured(usage, at, at.elapsed());
            // Looking takes at most a tenth of the time.
            tokio::time::sleep(at.elapsed() * 9).await;
        }
    };
    tokio::select! {
        () = over_time => KillReason::Time,
        reason = over_disk => reason,
    }
}
