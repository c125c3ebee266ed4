//! Watching what running containers use: disks of all, memory of those with a quota. What is found is told in the container's own log.
//!
//! Nobody walks a tree for nothing: see [`crate::disk::Meter`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use landfall_runtime_wire::shim::ShimRequest;
use landfall_runtime_wire::{ContainerId, ContainerState, Limits};
use tracing::{debug, info};

use super::cgroup::Cgroup;
use super::launch::SHIM_ANSWER;
use super::{Core, shim};
use crate::disk::{self, Allowance, DEEPEST, Meter, Sampler, Usage};

/// From this per cent on, an app is warned, once.
const WARN: u64 = 90;
/// Below it a warning may come again.
const CALM: u64 = 80;
/// Looking takes at most a tenth of the time.
const REST: u32 = 9;

/// What the watch knows of one container.
struct Watched {
    allowance: Allowance,
    meter: Meter,
    warned: bool,
}

/// Watches until the agent ends.
pub(super) async fn run(core: Arc<Core>) {
    let (mut sampler, mut watched) = (Sampler::default(), HashMap::new());
    let mut memory_at = Instant::now() + core.config.limits.memory_check;
    let mut pause = core.config.limits.disk_check;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = core.shutdown.cancelled() => return,
        }
        let begun = Instant::now();
        let running = running(&core);
        disks(&core, &running, &mut sampler, &mut watched).await;
        pause = core.config.limits.disk_check.max(begun.elapsed() * REST);
        if Instant::now() >= memory_at {
            memory(&core, &running).await;
            memory_at = Instant::now() + core.config.limits.memory_check;
        }
    }
}

/// Containers whose programs run; builds have a watch of their own.
fn running(core: &Core) -> Vec<(ContainerId, Option<Limits>)> {
    let records = core.registry.records().into_iter().filter(|record| !record.build);
    let lives =
        records.filter(|record| matches!(record.info.state, ContainerState::Ready | ContainerState::Starting | ContainerState::Stopping));
    lives.map(|record| (record.info.id, record.limits)).collect()
}

async fn disks(
    core: &Arc<Core>,
    running: &[(ContainerId, Option<Limits>)],
    sampler: &mut Sampler,
    watched: &mut HashMap<ContainerId, Watched>,
) {
    if running.is_empty() {
        watched.clear();
        return;
    }
    watched.retain(|id, _| running.iter().any(|(other, _)| other == id));
    for (id, limits) in running {
        watched.entry(id.clone()).or_insert_with(|| {
            let bytes = limits.as_ref().and_then(|limits| limits.disk_bytes).unwrap_or(core.config.limits.disk_bytes);
            let allowance = Allowance::of(bytes);
            Watched { allowance, meter: Meter::new(allowance), warned: false }
        });
    }
    let growth = sampler.growth(&core.config.data_dir);
    for (id, watched) in watched {
        watched.meter.grew(growth);
        let at = Instant::now();
        if !watched.meter.is_due(at) {
            continue;
        }
        let Ok(usage) = measure(core, id).await else { continue };
        watched.meter.measured(usage, at, at.elapsed());
        let percent = watched.allowance.percent(&usage);
        if watched.allowance.exceeded_by(&usage) {
            exceeded(core, id, watched.allowance, usage).await;
        } else if percent >= WARN && !watched.warned {
            watched.warned = true;
            note(core, id, vec![format!("Disk is {percent}% full: {}", said(watched.allowance, usage))]).await;
        } else if percent < CALM {
            watched.warned = false;
        }
    }
}

async fn measure(core: &Arc<Core>, id: &ContainerId) -> Result<Usage, tokio::task::JoinError> {
    let (core, id) = (core.clone(), id.clone());
    tokio::task::spawn_blocking(move || {
        let tree = disk::usage(&core.config.container_data_dir(id.as_str()).join("upper"));
        tree + disk::held_open(&Cgroup::of(&core.config.cgroup_parent, id.as_str()).processes())
    })
    .await
}

/// Killed at once: its disk is gone with it, so whatever starts in its place has an empty one.
async fn exceeded(core: &Arc<Core>, id: &ContainerId, allowance: Allowance, usage: Usage) {
    info!(container.id = %id, disk.bytes = usage.bytes, disk.files = usage.files, "a container exceeded its disk");
    let what = if usage.too_deep { format!("directories nested deeper than {DEEPEST}") } else { said(allowance, usage) };
    let lines = vec![
        format!("Process running disk={}M({}%): {what}", usage.bytes >> 20, usage.bytes.saturating_mul(100) / allowance.bytes.max(1)),
        "Error R18 (Disk quota exceeded)".to_owned(),
        "Stopping process with SIGKILL: what it wrote is gone. Keep less on the dyno's disk, or ask the operator for a larger disk_mib"
            .to_owned(),
    ];
    note(core, id, lines).await;
    let stopped = shim::ask(&shim::socket(&core.config, id), ShimRequest::Stop { grace_ms: 0 }, core.config.limits.create_timeout).await;
    if let Err(error) = stopped {
        debug!(container.id = %id, %error, "a container over its disk was not stopped; it is looked at again");
    }
}

fn said(allowance: Allowance, usage: Usage) -> String {
    format!("{} MiB of {} in {} files of {}", usage.bytes >> 20, allowance.bytes >> 20, usage.files, allowance.files)
}

/// R14: over its quota, and runs on.
async fn memory(core: &Arc<Core>, running: &[(ContainerId, Option<Limits>)]) {
    for (id, limits) in running {
        let Some(quota) = limits.as_ref().and_then(|limits| limits.memory_quota_bytes) else { continue };
        let Some(held) = Cgroup::of(&core.config.cgroup_parent, id.as_str()).memory_held().filter(|held| *held > quota) else { continue };
        let per_mille = held.saturating_mul(1000) / quota.max(1);
        let lines = vec![
            format!("Process running mem={}M({}.{}%)", held >> 20, per_mille / 10, per_mille % 10),
            "Error R14 (Memory quota exceeded)".to_owned(),
        ];
        note(core, id, lines).await;
    }
}

async fn note(core: &Core, id: &ContainerId, lines: Vec<String>) {
    // A shim of an earlier Landfall knows no notes; one that just ended needs none.
    let noted: Result<_, _> =
        shim::ask(&shim::socket(&core.config, id), ShimRequest::Note { lines }, SHIM_ANSWER.min(Duration::from_secs(2))).await;
    if let Err(error) = noted {
        debug!(container.id = %id, %error, "a container's log was not told");
    }
}
