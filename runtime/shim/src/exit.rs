//! The end of a container: cgroups removed, status on disk; and the same for one whose shim was killed.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use landfall_failpoint::failpoint;
use landfall_runtime_wire::ExitStatus;
use landfall_runtime_wire::shim::ShimConfig;

use crate::cgroup::Cgroups;
use crate::setup;

/// How long an ended process may hold its cgroup.
const PATIENCE: Duration = Duration::from_secs(10);

/// Removes the cgroups and writes the status. What cannot be done here the agent sees: the file is missing, or `cleanup` names the busy cgroup.
pub(crate) fn finish(config: &ShimConfig, cgroups: &Cgroups, status: ExitStatus) {
    setup::engine(config).forget();
    let _ = cgroups.remove(PATIENCE);
    failpoint("shim.ended");
    let _ = write_status(&config.exit_file, status);
    failpoint("shim.recorded");
}

fn write_status(path: &Path, status: ExitStatus) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&serde_json::to_vec(&status)?)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// What a killed shim left: processes and cgroups are found by the cgroup's name; mounts and namespaces went with the processes. Idempotent.
pub(crate) fn cleanup(config: &ShimConfig) -> Result<(), String> {
    let cgroups = Cgroups::find(&config.cgroup_parent.join(config.id.as_str()));
    cgroups.kill();
    cgroups.remove(PATIENCE).map_err(|busy| format!("cgroup {} stays busy; see its cgroup.procs", busy.display()))?;
    if !config.exit_file.exists() {
        write_status(&config.exit_file, ExitStatus { code: 137, oom: false })
            .map_err(|error| format!("{}: {error}", config.exit_file.display()))?;
    }
    match std::fs::remove_file(&config.socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", config.socket.display())),
        _ => Ok(()),
    }
}
