//! After a restart: take back what lives, finish what a killed agent left half made.

use std::path::Path;
use std::sync::Arc;

use landfall_runtime_wire::shim::{Phase, ShimEvent, ShimRequest};
use landfall_runtime_wire::{ContainerId, ContainerInfo, ContainerState};
use tracing::{info, warn};

use super::launch::{SHIM_ANSWER, discard, now_ms};
use super::record::{self, Record};
use super::{Core, monitor, shim};
use crate::config::AgentConfig;
use crate::disk::remove_tree;
use crate::fault::{Doing as _, Result, blocking};
use crate::{net, uptime_ms};

/// The places in the network of containers that an earlier agent left.
pub(super) fn places(config: &AgentConfig) -> Vec<net::Place> {
    let dirs = std::fs::read_dir(config.run_dir.join("agent/containers")).into_iter().flatten().flatten();
    dirs.filter_map(|dir| Record::read(&dir.path())?.place()).collect()
}

/// Looks at every directory of a container, then at links of none.
pub(super) async fn all(core: &Arc<Core>) -> Result<()> {
    let run = core.config.run_dir.join("agent/containers");
    for id in ids(&run)? {
        let dir = core.config.container_run_dir(id.as_str());
        let Some(record) = Record::read(&dir).filter(|record| !record.build && record.info.ip.is_some()) else {
            throw_away(core, &id).await;
            continue;
        };
        one(core, &id, record).await;
    }
    for id in ids(&core.config.data_dir.join("containers"))? {
        if core.registry.get(&id).is_none() {
            throw_away(core, &id).await;
        }
    }
    let keep = net::host_links(&core.config.bridge, core.registry.records().iter().map(|record| record.info.id.as_str()));
    let bridge = core.config.bridge.clone();
    blocking(move || net::remove_leftovers(&bridge, |link| keep.contains(link))).await
}

async fn one(core: &Arc<Core>, id: &ContainerId, mut record: Record) {
    let dir = core.config.container_run_dir(id.as_str());
    match shim::ask(&shim::socket(&core.config, id), ShimRequest::Status, SHIM_ANSWER).await {
        Ok(ShimEvent::Status { status }) if status.phase == Phase::Created => throw_away(core, id).await,
        Ok(ShimEvent::Status { status }) => {
            enter(&mut record.info, monitor::state(&status), &dir);
            record.info.other_listeners = monitor::others(&status, record.port);
            let port = record.port;
            let lives = !matches!(record.info.state, ContainerState::Exited(_));
            core.registry.adopt(record);
            info!(container.id = %id, "container adopted");
            if lives {
                monitor::spawn(core, id.clone(), port);
            }
        }
        _ => {
            let status = record::exit_status(&dir).unwrap_or(monitor::SHIM_KILLED);
            if let Err(error) = shim::cleanup(&core.config, &dir.join("config.json")).await {
                warn!(container.id = %id, %error, "cannot clean up after a dead shim");
            }
            enter(&mut record.info, ContainerState::Exited(status), &dir);
            core.registry.adopt(record);
        }
    }
}

/// A state that came about while no agent looked: an end has left its time, anything else counts from now.
fn enter(info: &mut ContainerInfo, state: ContainerState, dir: &Path) {
    if info.state != state {
        info.state = state;
        let ended = matches!(state, ContainerState::Exited(_)).then(|| record::ended_at_ms(dir)).flatten();
        (info.changed_at_ms, info.changed_uptime_ms) = (ended.unwrap_or_else(now_ms), uptime_ms());
    }
}

async fn throw_away(core: &Arc<Core>, id: &ContainerId) {
    if let Err(error) = discard(core, id).await {
        warn!(container.id = %id, %error, "cannot remove what is left of a container");
    }
}

/// The containers that have a directory; anything else in there is removed.
fn ids(dir: &Path) -> Result<Vec<ContainerId>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).doing(format!("reading {}", dir.display()))?.flatten() {
        match ContainerId::try_from(entry.file_name().to_string_lossy().into_owned()) {
            Ok(id) => found.push(id),
            Err(_) => remove_tree(&entry.path())?,
        }
    }
    Ok(found)
}
