//! Following one container through its shim's events, to its end or the shim's.

use std::sync::Arc;

use landfall_runtime_wire::shim::{Listener, Phase, ShimEvent, ShimRequest, ShimStatus};
use landfall_runtime_wire::{ContainerId, ContainerState, ExitStatus};
use tracing::warn;

use super::{Core, record, shim};

/// How a container ends whose shim was killed: as if by SIGKILL.
pub(super) const SHIM_KILLED: ExitStatus = ExitStatus { code: 137, oom: false };

/// Follows a container in a task of its own.
pub(super) fn spawn(core: &Arc<Core>, id: ContainerId, port: Option<u16>) {
    let core_of_task = core.clone();
    core.tasks.spawn(async move {
        let followed = follow(&core_of_task, &id, port);
        tokio::select! {
            () = core_of_task.shutdown.cancelled() => {}
            status = followed => core_of_task.registry.update(&id, |info| info.state = ContainerState::Exited(status)),
        }
    });
}

async fn follow(core: &Arc<Core>, id: &ContainerId, port: Option<u16>) -> ExitStatus {
    if let Ok(mut stream) = shim::open(&shim::socket(&core.config, id), &ShimRequest::Watch).await {
        while let Ok(Some(event)) = shim::event(&mut stream).await {
            let ShimEvent::Status { status } = event else { continue };
            if let Phase::Exited { status } = status.phase {
                return status;
            }
            core.registry.update(id, |info| {
                info.state = state(&status);
                info.other_listeners = others(&status, port);
            });
            remember(core, id);
        }
    }
    let dir = core.config.container_run_dir(id.as_str());
    if let Some(status) = record::exit_status(&dir) {
        return status;
    }
    warn!(container.id = %id, "the shim died; its container is killed");
    if let Err(error) = shim::cleanup(&core.config, &dir.join("config.json")).await {
        warn!(container.id = %id, %error, "cannot clean up after a dead shim");
    }
    SHIM_KILLED
}

/// For the next agent: since when the container is in its state.
fn remember(core: &Core, id: &ContainerId) {
    let Some(record) = core.registry.get(id) else { return };
    if let Err(error) = record.write(&core.config.container_run_dir(id.as_str())) {
        warn!(container.id = %id, %error, "since when a container is in its state was not written down");
    }
}

pub(super) fn state(status: &ShimStatus) -> ContainerState {
    match status.phase {
        Phase::Created | Phase::Running => ContainerState::Starting,
        Phase::Ready => ContainerState::Ready,
        Phase::Stopping => ContainerState::Stopping,
        Phase::Exited { status } => ContainerState::Exited(status),
    }
}

/// What listens other than the asked port on a reachable address.
pub(super) fn others(status: &ShimStatus, port: Option<u16>) -> Vec<String> {
    let asked = |listener: &&Listener| Some(listener.port) == port && !listener.address.is_loopback();
    let others = status.listeners.iter().filter(|listener| !asked(listener));
    others.map(|listener| std::net::SocketAddr::new(listener.address, listener.port).to_string()).collect()
}
