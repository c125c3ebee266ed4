//! Builds run in the agent's build containers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt as _};
use landfall_builder::sandbox::{
    BuildFile, ExportPlan, Exported, ExportedLayer, ExtraContent, Killed, Sandbox, SandboxEnd, SandboxError, SandboxEvent, SandboxSpec,
};
use landfall_model::BuildId;
use landfall_runtime::client::{Agent, BuildOutput, BuildSession, ClientError};
use landfall_runtime_wire::agent::FaultCode;
use landfall_runtime_wire::build as wire;
use landfall_runtime_wire::{ContainerId, FileMount, Limits, UserBlock, image};
use uuid::Uuid;

use crate::housekeeping::ImageHolds;
use crate::reconcile::{INSTANCE, build_container};

/// Longest file read from a finished build.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// A running or finished build: dropping the session discards it, so it is kept until told otherwise.
type Session = Arc<tokio::sync::Mutex<BuildSession>>;

/// The agent as the builder's sandbox.
#[derive(Debug)]
pub struct AgentSandbox {
    agent: Agent,
    holds: ImageHolds,
    instance: Uuid,
    sessions: Arc<Mutex<HashMap<BuildId, Session>>>,
}

impl AgentSandbox {
    /// Over one agent. Whoever runs the build releases its hold once the image it made is recorded, or nobody wants it.
    ///
    /// `instance` marks its containers as this database's.
    pub fn new(agent: Agent, holds: ImageHolds, instance: Uuid) -> Self {
        Self { agent, holds, instance, sessions: Arc::default() }
    }
}

/// Ends the build when its output is dropped before its end.
struct EndsWithStream {
    sessions: Arc<Mutex<HashMap<BuildId, Session>>>,
    build: BuildId,
    finished: bool,
}

impl Drop for EndsWithStream {
    fn drop(&mut self) {
        if !self.finished {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.build);
        }
    }
}

impl Sandbox for AgentSandbox {
    fn start(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<BoxStream<'static, SandboxEvent>, SandboxError>> {
        Box::pin(async move {
            let build = spec.build;
            let session: Session =
                Arc::new(tokio::sync::Mutex::new(self.agent.build(build_spec(spec, self.instance)).await.map_err(refused)?));
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).insert(build, session.clone());
            let guard = EndsWithStream { sessions: self.sessions.clone(), build, finished: false };
            let events = futures_util::stream::unfold(Some((session, guard)), |state| async move {
                let (session, mut guard) = state?;
                let next = session.lock().await.next().await;
                match next {
                    Ok(BuildOutput::Stdout(bytes) | BuildOutput::Stderr(bytes)) => {
                        Some((SandboxEvent::Output(bytes.to_vec()), Some((session, guard))))
                    }
                    Ok(BuildOutput::Finished(outcome)) => {
                        guard.finished = true;
                        Some((SandboxEvent::Ended(end(outcome)), None))
                    }
                    Err(error) => {
                        let why = crate::explain(&error);
                        tracing::warn!(build.id = %guard.build, error = why, "a build container failed");
                        // The stream ends without an end: for the builder the agent is lost. The reason belongs in the build's log.
                        Some((SandboxEvent::Output(format!(" !     {why}\n").into_bytes()), None))
                    }
                }
            });
            Ok(events.boxed())
        })
    }

    fn file<'a>(&'a self, build: BuildId, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, SandboxError>> {
        Box::pin(async move { self.agent.build_file(&build_container(build), path, MAX_FILE).await.map_err(refused) })
    }

    fn commit(&self, build: BuildId, plan: ExportPlan) -> BoxFuture<'_, Result<Exported, SandboxError>> {
        Box::pin(async move {
            self.holds.take(build).await;
            let image = self.agent.build_commit(&build_container(build), export_plan(plan)).await.map_err(refused)?;
            Ok(Exported {
                digest: image.digest,
                layers: image
                    .layers
                    .into_iter()
                    .map(|layer| ExportedLayer {
                        diff_id: layer.layer.diff_id,
                        size_bytes: layer.layer.size_bytes,
                        unchanged: layer.unchanged,
                    })
                    .collect(),
                size_bytes: image.size_bytes,
                app_bytes: image.app.iter().map(|layer| layer.layer.size_bytes).sum(),
            })
        })
    }

    fn discard(&self, build: BuildId) -> BoxFuture<'_, Result<(), SandboxError>> {
        Box::pin(async move {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).remove(&build);
            self.agent.build_discard(&build_container(build)).await.map_err(refused)
        })
    }
}

fn build_spec(spec: SandboxSpec, instance: Uuid) -> wire::BuildSpec {
    let labels: BTreeMap<String, String> =
        [("app", spec.app.to_string()), ("kind", "build".to_owned()), ("build", spec.build.to_string()), (INSTANCE, instance.to_string())]
            .map(|(k, v)| (k.to_owned(), v))
            .into();
    let id: ContainerId = build_container(spec.build);
    wire::BuildSpec {
        id,
        labels,
        image: spec.image,
        user_block: UserBlock(spec.user_block),
        limits: Limits {
            memory_bytes: spec.limits.memory_bytes,
            memory_quota_bytes: None,
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

fn file(file: BuildFile) -> FileMount {
    FileMount { path: file.path, mode: file.mode, content: file.content }
}

fn export_plan(plan: ExportPlan) -> wire::ExportPlan {
    let layers =
        plan.layers.into_iter().map(|layer| wire::ExportLayer { path: layer.path, reuse: layer.reuse, in_image: layer.in_image }).collect();
    let extra = plan.extra.into_iter().map(|entry| wire::ExtraEntry {
        path: entry.path,
        content: match entry.content {
            ExtraContent::Program { from } => wire::ExtraContent::Program { from },
            ExtraContent::Bytes(content) => wire::ExtraContent::Bytes { content, mode: 0o644 },
            ExtraContent::Link { to } => wire::ExtraContent::Link { to },
        },
    });
    wire::ExportPlan {
        base: plan.base,
        layers,
        app: Some(wire::ExportApp { dir: plan.app_dir, slices: plan.slices }),
        extra: extra.collect(),
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

fn end(outcome: wire::BuildOutcome) -> SandboxEnd {
    let killed = outcome.killed.map(|reason| match reason {
        wire::KillReason::Time => Killed::Time,
        wire::KillReason::Disk => Killed::Disk,
        wire::KillReason::Tree => Killed::Tree,
        wire::KillReason::HostDisk => Killed::HostDisk,
        wire::KillReason::Shim => Killed::Shim,
    });
    SandboxEnd { code: outcome.status.code, oom: outcome.status.oom, killed }
}

fn refused(error: ClientError) -> SandboxError {
    let text = crate::explain(&error);
    match error.fault_code() {
        Some(FaultCode::DiskFull) => SandboxError::DiskFull(text),
        Some(FaultCode::Digest) => SandboxError::Damaged(text),
        Some(_) => SandboxError::Failed(text),
        None => SandboxError::Unreachable(text),
    }
}
