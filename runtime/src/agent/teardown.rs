//! Removing everything an agent put into the kernel, its containers included. Images stay.

use std::path::{Path, PathBuf};
use std::time::Duration;

use landfall_runtime_wire::shim::ShimRequest;
use tracing::warn;

use super::shim;
use crate::config::AgentConfig;
use crate::disk::remove_tree;
use crate::fault::{Result, blocking};
use crate::net;

/// How long a dying cgroup may stay busy.
const CGROUP_BUSY: Duration = Duration::from_secs(5);

/// Ends every container of this config and removes bridge, links, rules, cgroups, mounts and run-time files. The agent must not run any
/// more. Nothing there is no error; what cannot be removed is told at the end, after all the rest was.
pub async fn teardown(config: &AgentConfig) -> Result<()> {
    let mut first_error = Ok(());
    let run = config.run_dir.join("agent/containers");
    for dir in std::fs::read_dir(&run).into_iter().flatten().flatten() {
        let socket = dir.path().join("s");
        if socket.exists() {
            let _dead_already = shim::ask(&socket, ShimRequest::Stop { grace_ms: 0 }, config.limits.create_timeout).await;
            let _dead_already = shim::ask(&socket, ShimRequest::Quit, config.limits.create_timeout).await;
        }
        if let Err(error) = shim::cleanup(config, &dir.path().join("config.json")).await {
            warn!(%error, "cannot clean up after a container");
            first_error = first_error.and(Err(error));
        }
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

/// Removes a cgroup of ours from every hierarchy.
fn remove_cgroups(name: &str) {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    for dir in hierarchies.chain([root.to_path_buf()]).map(|hierarchy| hierarchy.join(name)) {
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
