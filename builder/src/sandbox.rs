//! The port to the place where builds run. The controller adapts the agent's client to it; each method mirrors one call of
//! "Agent client" in `docs/architecture.md`, and each type one of the agent's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use landfall_model::{AppId, BuildId};

/// A file given to the build. `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct BuildFile {
    /// Absolute path inside.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for BuildFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildFile").field("path", &self.path).field("bytes", &self.content.len()).finish_non_exhaustive()
    }
}

/// A layer kept in the store and the path it belongs at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RestoredLayer {
    /// `/layers/<buildpack>/<layer>`.
    pub path: PathBuf,
    /// `sha256:<hex>` of the uncompressed tar it would be.
    pub diff_id: String,
}

/// A program of the installation, seen read-only inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramBind {
    /// Relative to the agent's libexec directory.
    pub from: PathBuf,
    /// Absolute path inside.
    pub to: PathBuf,
}

/// What the build may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxLimits {
    /// Hard memory limit in bytes.
    pub memory_bytes: u64,
    /// Relative CPU weight; 1024 is one dyno's share.
    pub cpu_shares: u64,
    /// Most processes and threads.
    pub pids: u64,
    /// Most bytes written.
    pub disk_bytes: u64,
    /// Ended after this many milliseconds.
    pub wall_ms: u64,
}

/// Everything one build container needs. `Debug` hides the environment.
#[derive(Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// The build; with its app, it makes the container's name and labels.
    pub build: BuildId,
    /// Whose build.
    pub app: AppId,
    /// Digest of the stack's build image.
    pub image: String,
    /// The app's block of user ids.
    pub user_block: u32,
    /// What it may use.
    pub limits: SandboxLimits,
    /// The checked-out source on this machine; never changed.
    pub source_dir: PathBuf,
    /// Where it appears: `/app`.
    pub app_dir: PathBuf,
    /// Cached layers, put back before the start.
    pub restored: Vec<RestoredLayer>,
    /// Files written into the root before the start, owned by the build user.
    pub seed: Vec<BuildFile>,
    /// Files in a tmpfs, never part of a layer.
    pub files: Vec<BuildFile>,
    /// The installation's programs.
    pub binds: Vec<ProgramBind>,
    /// Program and arguments.
    pub args: Vec<String>,
    /// Environment on top of the image's.
    pub env: Vec<(String, String)>,
}

impl std::fmt::Debug for SandboxSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SandboxSpec")
            .field("build", &self.build)
            .field("image", &self.image)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

/// What a running build tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxEvent {
    /// Bytes of its output, in order; not split at lines.
    Output(Vec<u8>),
    /// It ended. Always the last event; a stream that ends without it lost the agent.
    Ended(SandboxEnd),
}

/// How a build's program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxEnd {
    /// Exit code, or 128 + signal.
    pub code: i32,
    /// Ended by the kernel for memory.
    pub oom: bool,
    /// Set when the agent ended it.
    pub killed: Option<Killed>,
}

/// Why the agent ended a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// Over its wall time.
    Time,
    /// Over its disk limit.
    Disk,
    /// More files than an image may have, or nested too deep.
    Tree,
    /// The machine's disk is full.
    HostDisk,
    /// Its supervisor died.
    Shim,
}

/// What of a finished build becomes an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPlan {
    /// Digest of the stack's run image.
    pub base: String,
    /// Directories that become a layer each, in this order.
    pub layers: Vec<ExportLayer>,
    /// The application directory.
    pub app_dir: PathBuf,
    /// Each slice is a list of globs relative to `app_dir`; what it matches becomes a layer of its own.
    pub slices: Vec<Vec<String>>,
    /// Files made by the platform, one layer, owned by root; comes last.
    pub extra: Vec<ExtraEntry>,
    /// The image's config, whole.
    pub config: ImageConfig,
}

/// A directory that becomes a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportLayer {
    /// `/layers/<buildpack>/<layer>`.
    pub path: PathBuf,
    /// The restored layer's diff id: used as it is if the build changed nothing under `path`.
    pub reuse: Option<String>,
    /// Part of the image (`launch`), or only kept in the store (`cache`)?
    pub in_image: bool,
}

/// A file of the platform inside the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraEntry {
    /// Absolute path inside.
    pub path: PathBuf,
    /// What it is.
    pub content: ExtraContent,
}

/// What an [`ExtraEntry`] is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtraContent {
    /// A program of the libexec directory, mode 0755.
    Program {
        /// Relative to the agent's libexec directory.
        from: PathBuf,
    },
    /// These bytes, mode 0644.
    Bytes(Vec<u8>),
    /// A symbolic link.
    Link {
        /// Where it points.
        to: PathBuf,
    },
}

/// The config of the image that is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Environment, in order.
    pub env: Vec<(String, String)>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments if the caller gives none.
    pub cmd: Vec<String>,
    /// Working directory.
    pub working_dir: String,
    /// `uid:gid`.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// The image a build became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Manifest digest.
    pub digest: String,
    /// One for each [`ExportPlan::layers`], in that order.
    pub layers: Vec<ExportedLayer>,
    /// All layers together, the base's too, in bytes.
    pub size_bytes: u64,
    /// The application's own layers (slices and the rest), in bytes.
    pub app_bytes: u64,
}

/// One layer of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportedLayer {
    /// `sha256:<hex>` of the uncompressed tar it would be.
    pub diff_id: String,
    /// Size of that tar in bytes.
    pub size_bytes: u64,
    /// Taken from the cache without reading a byte.
    pub unchanged: bool,
}

/// Why the sandbox could not do it. Not the build's own failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SandboxError {
    /// The agent cannot be reached, or was lost.
    #[error("the agent cannot be reached: {0}")]
    Unreachable(String),
    /// The disk is full.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// A layer of the base image, or of what an earlier build left, is not what its digest says.
    #[error("{0}")]
    Damaged(String),
    /// It refused or failed.
    #[error("{0}")]
    Failed(String),
}

/// Where builds run.
pub trait Sandbox: Send + Sync + 'static {
    /// Starts the build. Dropping the stream ends the container; the root stays until [`Sandbox::discard`].
    fn start(&self, spec: SandboxSpec) -> BoxFuture<'_, Result<BoxStream<'static, SandboxEvent>, SandboxError>>;

    /// One file of the ended build's root; `None` = it is not there.
    fn file<'a>(&'a self, build: BuildId, path: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, SandboxError>>;

    /// Makes the image.
    fn commit(&self, build: BuildId, plan: ExportPlan) -> BoxFuture<'_, Result<Exported, SandboxError>>;

    /// Ends what runs and removes what is left of the build. Idempotent; of an unknown build, no error.
    fn discard(&self, build: BuildId) -> BoxFuture<'_, Result<(), SandboxError>>;
}
