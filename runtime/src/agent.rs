//! The agent process: takes typed requests over its socket, runs shims, keeps what they tell, and cleans up what nobody owns.
//!
//! It can be killed at any line: everything it knows is read back from the containers' run directories and their shims.

mod adopt;
mod attach;
mod builds;
mod cgroup;
mod commit;
mod launch;
mod monitor;
mod record;
mod registry;
mod scrub;
mod serve;
mod shim;
mod spec;
mod stacks;
mod teardown;
mod watch;

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use landfall_runtime_wire::agent::FaultCode;
use tokio::net::UnixListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::AgentConfig;
use crate::disk::{passage_dir, private_dir};
use crate::fault::{Doing as _, Result, blocking, fault, fault_hint};
use crate::store::Store;

pub use teardown::teardown;

/// What every request works with.
#[derive(Debug)]
struct Core {
    config: AgentConfig,
    store: Store,
    registry: registry::Registry,
    builds: builds::Builds,
    starts: Semaphore,
    stacks: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// Passed its self-test; before that no container starts.
    sandbox: tokio::sync::OnceCell<()>,
}

impl Core {
    /// Waits until the sandbox is known to hold. One that failed is tried again when the next container is to start.
    async fn sandbox_holds(&self) -> Result<()> {
        let test = async {
            let tried = shim::self_test(&self.config).await?;
            info!(tried, "the sandbox holds");
            Ok(())
        };
        self.sandbox.get_or_try_init(|| test).await.copied()
    }
}

/// Runs the agent until `shutdown`. Containers outlive it; the next agent with the same config adopts them. Builds do not.
///
/// # Errors
/// When the config is wrong, another agent has the socket, or bridge, rules or store cannot be made.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> Result<()> {
    let problems = config.problems();
    if !problems.is_empty() {
        return Err(fault_hint(FaultCode::Invalid, problems.join("; "), "Correct the [agent] table of landfall.toml"));
    }
    let listener = bind(&config).await?;
    private_dir(&config.data_dir.join("containers"))?;
    // A container's root user must be able to walk to what is bound into it; the data directory is closed to it.
    for dir in ["agent/containers", "agent/ca"] {
        passage_dir(&config.run_dir.join(dir))?;
    }
    let core = Arc::new(Core {
        store: Store::open(config.images_dir())?,
        registry: registry::Registry::new(config.subnet, config.data_dir.join("next-address"), config.limits.watch_backlog),
        builds: builds::Builds::default(),
        starts: Semaphore::new(config.limits.concurrent_starts.max(1)),
        stacks: tokio::sync::Mutex::default(),
        tasks: TaskTracker::new(),
        shutdown: shutdown.clone(),
        sandbox: tokio::sync::OnceCell::new(),
        config,
    });
    let config = core.config.clone();
    blocking(move || crate::net::set_up(&config, &adopt::places(&config))).await?;
    adopt::all(&core).await?;
    core.tasks.spawn(watch::run(core.clone()));
    core.tasks.spawn(scrub::run(core.clone()));
    let core_of_task = core.clone();
    core.tasks.spawn(async move {
        if let Err(error) = core_of_task.sandbox_holds().await {
            tracing::error!(%error, "the sandbox did not pass its self-test");
        }
    });
    info!(socket = %core.config.socket().display(), containers = core.registry.list().len(), "agent ready");
    accept(&core, listener).await;
    core.tasks.close();
    if tokio::time::timeout(std::time::Duration::from_secs(10), core.tasks.wait()).await.is_err() {
        warn!("requests still ran when the agent ended");
    }
    let _gone = std::fs::remove_file(core.config.socket());
    Ok(())
}

async fn accept(core: &Arc<Core>, listener: UnixListener) {
    let slots = Arc::new(Semaphore::new(core.config.limits.connections.max(1)));
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let stream = tokio::select! {
            () = core.shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors: wait for some to come back, do not spin.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let core_of_task = core.clone();
        core.tasks.spawn(async move {
            serve::connection(core_of_task, stream).await;
            drop(slot);
        });
    }
}

/// Listens on the socket. A live agent on it is an error, a dead one's socket is replaced.
async fn bind(config: &AgentConfig) -> Result<UnixListener> {
    let socket = config.socket();
    std::fs::create_dir_all(&config.run_dir).doing(format!("making {}", config.run_dir.display()))?;
    passage_dir(&config.run_dir.join("agent"))?;
    if tokio::net::UnixStream::connect(&socket).await.is_ok() {
        return Err(fault(FaultCode::Conflict, format!("another agent listens on {}", socket.display())));
    }
    let _stale = std::fs::remove_file(&socket);
    let doing = || format!("listening on {}", socket.display());
    let listener = UnixListener::bind(&socket).doing(doing())?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).doing(doing())?;
    std::os::unix::fs::chown(&socket, Some(config.server_uid), None).doing(doing())?;
    Ok(listener)
}
