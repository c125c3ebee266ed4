//! Where builds run: the builder's port over the agent's client.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _};
use landfall_builder::sandbox as port;
use landfall_model::BuildId;
use landfall_runtime::client::{Agent, BuildOutput, BuildSession, ClientError};
use landfall_runtime::wire::agent::FaultCode;
use landfall_runtime::wire::{ContainerId, FileMount, Limits, UserBlock, build as wire, image};
use tokio::sync::Mutex as AsyncMutex;

/// Files of a finished build that we read are small reports.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

type SharedSession = Arc<AsyncMutex<BuildSession>>;

/// [`port::Sandbox`] over the agent. A build's session is kept until it is discarded: dropping it removes the build's root.
pub struct AgentSandbox {
    agent: Agent,
    sessions: Mutex<HashMap<BuildId, SharedSession>>,
}

impl AgentSandbox {
    /// Over this agent.
    pub fn new(agent: Agent) -> Self {
        Self { agent, sessions: Mutex::default() }
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<BuildId, SharedSession>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The build container's name.
pub fn container_id(build: BuildId) -> ContainerId {
    ContainerId::try_from(format!("build-{build}")).expect("\"build-\" and a UUID make a container id")
}

fn failed(error: ClientError) -> port::SandboxError {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    match error.fault_code() {
        Some(FaultCode::DiskFull) => port::SandboxError::DiskFull(text),
        Some(_) => port::SandboxError::Failed(text),
        None => port::SandboxError::Unreachable(text),
    }
}

fn file(file: port::BuildFile) -> FileMount {
    FileMount { path: file.path, mode: file.mode, content: file.content }
}

fn spec(spec: port::SandboxSpec) -> wire::BuildSpec {
    wire::BuildSpec {
        id: container_id(spec.build),
        labels: BTreeMap::from([("app".to_owned(), spec.app.to_string()), ("kind".to_owned(), "build".to_owned())]),
        image: spec.image,
        user_block: UserBlock(spec.user_block),
        limits: Limits {
            memory_bytes: spec.limits.memory_bytes,
            cpu_shares: spec.limits.cpu_shares,
            cpu_percent: None,
            pids: spec.limits.pids,
            disk_bytes: Some(spec.limits.disk_bytes),
            wall_ms: Some(spec.limits.wall_ms),
        },
        source_dir: spec.source_dir,
        app_dir: spec.app_dir,
        restored: spec.restored.into_iter().map(|layer| wire::LayerRef { path: layer.path, diff_id: layer.diff_id }).collect(),
        seed: spec.seed.into_iter().map(file).collect(),
        files: spec.files.into_iter().map(file).collect(),
        binds: spec.binds.into_iter().map(|bind| wire::LibexecBind { from: bind.from, to: bind.to }).collect(),
        args: spec.args,
        env: spec.env,
    }
}

fn plan(plan: port::ExportPlan) -> wire::ExportPlan {
    let extra = |entry: port::ExtraEntry| wire::ExtraEntry {
        path: entry.path,
        content: match entry.content {
            port::ExtraContent::Program { from } => wire::ExtraContent::Program { from },
            port::ExtraContent::Bytes(content) => wire::ExtraContent::Bytes { content, mode: 0o644 },
            port::ExtraContent::Link { to } => wire::ExtraContent::Link { to },
        },
    };
    wire::ExportPlan {
        base: plan.base,
        layers: plan.layers.into_iter().map(|layer| wire::ExportLayer { path: layer.path, reuse: layer.reuse, in_image: layer.in_image }).collect(),
        app: Some(wire::ExportApp { dir: plan.app_dir, slices: plan.slices }),
        extra: plan.extra.into_iter().map(extra).collect(),
        config: image::ImageConfig {
            env: plan.config.env,
            entrypoint: plan.config.entrypoint,
            cmd: plan.config.cmd,
            working_dir: Some(plan.config.working_dir),
            user: Some(plan.config.user),
            labels: plan.config.labels,
            exposed_ports: Vec::new(),
        },
        reference: None,
    }
}

fn exported(image: wire::CommittedImage) -> port::Exported {
    let layer = |layer: wire::CommittedLayer| port::ExportedLayer { diff_id: layer.layer.diff_id, size_bytes: layer.layer.size_bytes, unchanged: layer.unchanged };
    port::Exported {
        digest: image.digest,
        app_bytes: image.app.iter().map(|layer| layer.layer.size_bytes).sum(),
        layers: image.layers.into_iter().map(layer).collect(),
        size_bytes: image.size_bytes,
    }
}

fn event(output: BuildOutput) -> port::SandboxEvent {
    match output {
        BuildOutput::Stdout(bytes) | BuildOutput::Stderr(bytes) => port::SandboxEvent::Output(bytes.to_vec()),
        BuildOutput::Finished(outcome) => port::SandboxEvent::Ended(port::SandboxEnd {
            code: outcome.status.code,
            oom: outcome.status.oom,
            killed: outcome.killed.map(|reason| match reason {
                wire::KillReason::Time => port::Killed::Time,
                wire::KillReason::Disk => port::Killed::Disk,
                wire::KillReason::HostDisk => port::Killed::HostDisk,
                wire::KillReason::Shim => port::Killed::Shim,
            }),
        }),
    }
}

/// The session's events up to and including `Ended`; ends early if the agent is lost.
fn events(session: SharedSession) -> BoxStream<'static, port::SandboxEvent> {
    futures_util::stream::unfold(Some(session), |session| async move {
        let session = session?;
        let next = session.lock().await.next().await;
        match next {
            Ok(output @ BuildOutput::Finished(_)) => Some((event(output), None)),
            Ok(output) => Some((event(output), Some(session))),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "lost a build");
                None
            }
        }
    })
    .boxed()
}

impl port::Sandbox for AgentSandbox {
    fn start(&self, wanted: port::SandboxSpec) -> BoxFuture<'_, Result<BoxStream<'static, port::SandboxEvent>, port::SandboxError>> {
        async move {
            let build = wanted.build;
            let session = self.agent.build(spec(wanted)).await.map_err(failed)?;
            let session = Arc::new(AsyncMutex::new(session));
            self.sessions().insert(build, Arc::clone(&session));
            Ok(events(session))
        }
        .boxed()
    }

    fn file<'a>(&'a self, build: BuildId, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, port::SandboxError>> {
        async move { self.agent.build_file(&container_id(build), path, MAX_FILE_BYTES).await.map_err(failed) }.boxed()
    }

    fn commit(&self, build: BuildId, wanted: port::ExportPlan) -> BoxFuture<'_, Result<port::Exported, port::SandboxError>> {
        async move { self.agent.build_commit(&container_id(build), plan(wanted)).await.map(exported).map_err(failed) }.boxed()
    }

    fn discard(&self, build: BuildId) -> BoxFuture<'_, Result<(), port::SandboxError>> {
        async move {
            self.sessions().remove(&build);
            self.agent.build_discard(&container_id(build)).await.map_err(failed)
        }
        .boxed()
    }
}
