//! Removing everything an agent put into the kernel, its containers included. Images stay.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{StreamExt as _, iter};
use landfall_runtime_wire::shim::ShimRequest;
use tracing::warn;

use super::record::Record;
use super::shim;
use crate::config::AgentConfig;
use crate::disk::remove_tree;
use crate::fault::{Result, blocking};
use crate::net;

/// From SIGTERM to SIGKILL. Less than a deploy gives: this may be a machine that goes off.
const GRACE: Duration = Duration::from_secs(10);
/// How long a dying cgroup may stay busy.
const CGROUP_BUSY: Duration = Duration::from_secs(5);

/// Ends every container of this config and removes bridge, links, rules, cgroups, mounts and run-time files. The agent must not run any
/// more. Nothing there is no error; what cannot be removed is told at the end, after all the rest was.
pub async fn teardown(config: &AgentConfig) -> Result<()> {
    let run = config.run_dir.join("agent/containers");
    let dirs: Vec<PathBuf> = std::fs::read_dir(&run).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    join_all(dirs.iter().map(|dir| end(config, dir))).await;
    // Each of these is a process of its own: a few at a time, so that none is late because there are many.
    let files: Vec<PathBuf> = dirs.iter().map(|dir| dir.join("config.json")).collect();
    let cleaned = iter(&files).map(|file| shim::cleanup(config, file)).buffer_unordered(config.limits.concurrent_starts.max(1));
    let mut first_error = Ok(());
    for error in cleaned.collect::<Vec<_>>().await.into_iter().filter_map(Result::err) {
        warn!(%error, "cannot clean up after a container");
        first_error = first_error.and(Err(error));
    }
    let config = config.clone();
    let rest = blocking(move || {
        let network = net::tear_down(&config);
        let files = remove_tree(&config.data_dir.join("containers")).and(remove_tree(&config.run_dir.join("agent")));
        for name in [config.cgroup_parent.clone(), format!("{}-shims", config.cgroup_parent)] {
            remove_cgroups(&name);
        }
        let _stale = std::fs::remove_file(config.socket());
        network.and(files)
    })
    .await;
    first_error.and(rest)
}

/// Asks a shim to end its container and itself. A build's work is lost anyway, so it gets no time.
async fn end(config: &AgentConfig, dir: &Path) {
    let socket = dir.join("s");
    if !socket.exists() {
        return;
    }
    let build = Record::read(dir).is_none_or(|record| record.build);
    let grace = if build { Duration::ZERO } else { GRACE };
    let stop = ShimRequest::Stop { grace_ms: grace.as_millis() as u64 };
    let _dead_already = shim::ask(&socket, stop, grace + config.limits.create_timeout).await;
    let _dead_already = shim::ask(&socket, ShimRequest::Quit, config.limits.create_timeout).await;
}

/// Removes a cgroup of ours from every hierarchy: the one of v2, or those of v1 below it.
fn remove_cgroups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = if root.join("cgroup.controllers").exists() {
        vec![root.to_path_buf()]
    } else {
        std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    };
    for dir in hierarchies.into_iter().map(|hierarchy| hierarchy.join(name)) {
        let until = std::time::Instant::now() + CGROUP_BUSY;
        while dir.is_dir() && !remove_cgroup(&dir) && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Children first; the kernel's files in it go with the directory.
fn remove_cgroup(dir: &Path) -> bool {
    let children: Vec<PathBuf> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    children.iter().all(|child| remove_cgroup(child)) && std::fs::remove_dir(dir).is_ok()
}
