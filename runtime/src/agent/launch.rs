//! Starting a container: reserve, describe, create, join the network, run. Any failure leaves nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use landfall_failpoint::failpoint;
use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::shim::{BLOCK_SIZE, Bind, Process, RootRecipe, ShimConfig, ShimRequest};
use landfall_runtime_wire::{
    ContainerId, ContainerInfo, ContainerSpec, ContainerState, ExitStatus, FileMount, Limits, LogTarget, Stdio, UserBlock,
};
use tracing::warn;

use super::record::Record;
use super::{Core, cgroup, monitor, shim, spec};
use crate::disk::{passage_dir, private_dir, remove_tree};
use crate::fault::{Doing as _, Result, blocking, fault};
use crate::{net, uptime_ms};

/// Answers of a shim that need no waiting.
pub(super) const SHIM_ANSWER: Duration = Duration::from_secs(5);

/// Everything of one container but its name and address.
pub(super) struct Plan {
    pub(super) hostname: String,
    pub(super) process: Process,
    pub(super) lowers: Vec<PathBuf>,
    /// Their digests.
    pub(super) layers: Vec<String>,
    pub(super) user_block: UserBlock,
    pub(super) limits: Limits,
    pub(super) stdio: Stdio,
    pub(super) log: Option<LogTarget>,
    pub(super) port: Option<u16>,
    pub(super) files: Vec<FileMount>,
    pub(super) binds: Vec<Bind>,
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A fresh record; its address comes with the reservation.
pub(super) fn record(
    id: ContainerId,
    labels: std::collections::BTreeMap<String, String>,
    image: &str,
    port: Option<u16>,
    limits: &Limits,
    build: bool,
) -> Record {
    let (now, uptime) = (now_ms(), uptime_ms());
    let info = ContainerInfo {
        id,
        labels,
        state: ContainerState::Starting,
        ip: None,
        other_listeners: Vec::new(),
        started_at_ms: now,
        changed_at_ms: now,
        started_uptime_ms: uptime,
        changed_uptime_ms: uptime,
    };
    Record { info, image: image.to_owned(), port, build, limits: Some(limits.clone()) }
}

/// Answers a start request. The same id again waits for the first start and gives its container.
pub(super) async fn start(core: Arc<Core>, spec: ContainerSpec) -> Result<ContainerInfo> {
    let id = spec.id.clone();
    let image = core.store.image(&spec.image)?;
    let mut record = record(id.clone(), spec.labels, &image.info.digest, spec.port, &spec.limits, false);
    let Some(_held) = core.registry.reserve(&mut record)? else {
        if let Some(operation) = core.registry.operation(&id) {
            let _first_start = operation.lock().await;
        }
        return Ok(core.registry.known(&id)?.info);
    };
    let described =
        spec::process(&image, spec.args, spec.env, spec.cwd).and_then(|process| Ok((process, spec::certificates(&core, &image)?)));
    let (process, binds) = match described {
        Ok(described) => described,
        Err(error) => {
            core.registry.remove(&id);
            return Err(error);
        }
    };
    let plan = Plan {
        hostname: spec.hostname,
        process,
        lowers: image.lowers,
        layers: image.info.layers.into_iter().map(|layer| layer.diff_id).collect(),
        user_block: spec.user_block,
        limits: spec.limits,
        stdio: spec.stdio,
        log: spec.log,
        port: spec.port,
        files: spec.files,
        binds,
    };
    launch(&core, &record, plan).await
}

/// Makes and runs a reserved container. On failure it is gone, its reservation too.
pub(super) async fn launch(core: &Arc<Core>, record: &Record, plan: Plan) -> Result<ContainerInfo> {
    let id = &record.info.id;
    let result = create(core, record, plan).await;
    if let Err(error) = result {
        discard(core, id).await.unwrap_or_else(|more| warn!(container.id = %id, error = %more, "cannot clean up after a failed start"));
        return Err(error);
    }
    monitor::spawn(core, id.clone(), record.port);
    Ok(core.registry.known(id)?.info)
}

async fn create(core: &Arc<Core>, record: &Record, plan: Plan) -> Result<()> {
    let id = record.info.id.clone();
    let ip = record.info.ip.ok_or_else(|| fault(FaultCode::Internal, "a container without address"))?;
    core.sandbox_holds().await?;
    let _turn = core.starts.acquire().await.map_err(|_| fault(FaultCode::Busy, "the agent is ending"))?;
    let (core_of_work, record_of_work) = (core.clone(), record.clone());
    failpoint("agent.start.reserved");
    tokio::task::spawn_blocking(cgroup::wait_for_moves);
    let (store, layers) = (core.store.clone(), plan.layers.clone());
    let config_file = blocking(move || describe(&core_of_work, &record_of_work, ip, plan)).await?;
    failpoint("agent.start.described");
    // All at once, what takes longest first: each is a process or a thread to wait for, and none needs another.
    let shim = shim::spawn(&core.config, &config_file)?;
    // It is known before the first program of the container runs (rule S12).
    let intact = blocking(move || store.check(&layers));
    let config = core.config.clone();
    let place = net::Place { address: ip, port: record.port };
    let (launched, admitted) = tokio::join!(shim::created(&core.config, shim), blocking(move || net::admit(&config, place)));
    let launched = launched?;
    admitted?;
    failpoint("agent.start.created");
    let (config, id_of_work) = (core.config.clone(), id.clone());
    blocking(move || net::join(&config.bridge, id_of_work.as_str(), launched.init_pid, ip, config.subnet.prefix, config.gateway())).await?;
    failpoint("agent.start.joined");
    intact.await?;
    shim::ask(&shim::socket(&core.config, &id), ShimRequest::Start, SHIM_ANSWER).await?;
    failpoint("agent.start.running");
    Ok(())
}

/// Writes the container's directories and its shim's config.
fn describe(core: &Core, record: &Record, ip: std::net::Ipv4Addr, plan: Plan) -> Result<PathBuf> {
    let config = &core.config;
    let id = &record.info.id;
    let (run, data) = (config.container_run_dir(id.as_str()), config.container_data_dir(id.as_str()));
    passage_dir(&run)?;
    for dir in [&run.join("bundle"), &data] {
        private_dir(dir)?;
    }
    failpoint("agent.start.half-described");
    record.write(&run)?;
    let (upper, work) = (data.join("upper"), data.join("work"));
    for dir in [&upper, &work] {
        std::fs::create_dir_all(dir).doing(format!("making {}", dir.display()))?;
    }
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(&upper, std::fs::Permissions::from_mode(0o755)).doing("preparing a container's root")?;
    let shim_config = ShimConfig {
        id: id.clone(),
        process: plan.process,
        hosts: Some(format!("127.0.0.1 localhost\n::1 localhost\n{ip} {}\n", plan.hostname)),
        hostname: plan.hostname,
        limits: Limits { cpu_percent: plan.limits.cpu_percent.or(Some(config.limits.cpu_percent)), ..plan.limits },
        stdio: plan.stdio,
        log: plan.log,
        log_bytes_per_second: Some(config.limits.log_bytes_per_second),
        port: plan.port,
        files: plan.files,
        root: RootRecipe { lowers: plan.lowers, upper, work, source: None, volatile: true },
        user_base: plan
            .user_block
            .0
            .checked_mul(BLOCK_SIZE)
            .and_then(|offset| offset.checked_add(config.uid_base))
            .filter(|base| base.checked_add(BLOCK_SIZE).is_some())
            .ok_or_else(|| fault(FaultCode::Invalid, format!("user block {} is beyond the last host id", plan.user_block.0)))?,
        cgroup_parent: PathBuf::from("/").join(&config.cgroup_parent),
        shim_cgroup: Some(PathBuf::from("/").join(format!("{}-shims", config.cgroup_parent))),
        dir: run.join("bundle"),
        socket: run.join("s"),
        exit_file: run.join("exit"),
        init: config.libexec_dir.join("landfall-init"),
        binds: plan.binds,
        resolv_conf: Some(net::resolv_conf(config.gateway())),
        oci_runtime: config.oci_runtime.clone(),
    };
    let bytes = serde_json::to_vec(&shim_config).map_err(std::io::Error::from).doing("describing a container")?;
    let file = run.join("config.json");
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&file);
    open.and_then(|mut open| open.write_all(&bytes)).doing("describing a container")?;
    Ok(file)
}

/// Ends a container however it is and removes all of it: processes, cgroups, link, files, reservation.
pub(super) async fn discard(core: &Arc<Core>, id: &ContainerId) -> Result<()> {
    end(core, id).await?;
    failpoint("agent.remove.ended");
    let (run, data) = (core.config.container_run_dir(id.as_str()), core.config.container_data_dir(id.as_str()));
    let (config, link) = (core.config.clone(), net::host_link(&core.config.bridge, id.as_str()));
    let place = core.registry.get(id).and_then(|record| record.place());
    let removed = blocking(move || {
        net::remove_link(&link)?;
        failpoint("agent.remove.link-gone");
        place.map_or(Ok(()), |place| net::dismiss(&config, place))?;
        remove_tree(&data)?;
        failpoint("agent.remove.root-gone");
        remove_tree(&run)
    })
    .await;
    failpoint("agent.remove.done");
    core.registry.remove(id);
    removed
}

/// Kills what runs, lets the shim end, and cleans up after it. The files stay.
pub(super) async fn end(core: &Arc<Core>, id: &ContainerId) -> Result<()> {
    let socket = shim::socket(&core.config, id);
    if socket.exists() {
        let _dead_already = shim::ask(&socket, ShimRequest::Stop { grace_ms: 0 }, core.config.limits.create_timeout).await;
        let _dead_already = shim::ask(&socket, ShimRequest::Quit, SHIM_ANSWER).await;
    }
    shim::cleanup(&core.config, &core.config.container_run_dir(id.as_str()).join("config.json")).await
}

/// Answers a stop request: SIGTERM, SIGKILL after the grace, returns when it exited.
pub(super) async fn stop(core: Arc<Core>, id: ContainerId, grace_ms: u64) -> Result<ExitStatus> {
    core.registry.known(&id)?;
    // A start that is under way comes to its end first: until then there may be nobody who could be told to stop.
    if let Some(operation) = core.registry.operation(&id) {
        drop(operation.lock().await);
    }
    let unknown = || fault(FaultCode::NotFound, format!("there is no container {id}"));
    let mut state = core.registry.state(&id).ok_or_else(unknown)?;
    let exited = |state: &ContainerState| matches!(state, ContainerState::Exited(_));
    if !exited(&state.borrow()) {
        let deadline = Duration::from_millis(grace_ms) + core.config.limits.create_timeout;
        core.registry.update(&id, |info| info.state = ContainerState::Stopping);
        failpoint("agent.stop.before");
        let asked = shim::ask(&shim::socket(&core.config, &id), ShimRequest::Stop { grace_ms }, deadline).await;
        failpoint("agent.stop.done");
        if let Err(error) = asked {
            warn!(container.id = %id, %error, "the shim did not stop its container");
        }
        let late = || fault(FaultCode::TimedOut, format!("container {id} did not end"));
        tokio::time::timeout(core.config.limits.create_timeout, state.wait_for(exited))
            .await
            .map_err(|_| late())?
            .map_err(|_| unknown())?;
    }
    let state = *state.borrow();
    match state {
        ContainerState::Exited(status) => Ok(status),
        _ => Err(unknown()),
    }
}

/// Answers a remove request. Nothing there is no error.
pub(super) async fn remove(core: Arc<Core>, id: ContainerId) -> Result<()> {
    let Some(operation) = core.registry.operation(&id) else { return Ok(()) };
    let _alone = operation.lock().await;
    if core.registry.get(&id).is_none() {
        return Ok(());
    }
    discard(&core, &id).await
}
