//! A build container, and the image made of what it left.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::container::{ContainerId, ExitStatus, FileMount, Limits, UserBlock};
use crate::image::{ImageConfig, LayerInfo};

/// Everything needed to run one build. `Debug` hides environment values.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BuildSpec {
    /// Its name; shares the name space of containers.
    pub id: ContainerId,
    /// The caller's marks.
    pub labels: BTreeMap<String, String>,
    /// Manifest digest (or reference) of the image to build in.
    pub image: String,
    /// Whose uids.
    pub user_block: UserBlock,
    /// What it may use; `wall_ms` and `disk_bytes` should be set.
    pub limits: Limits,
    /// A host directory owned by the caller's uid. It appears at [`BuildSpec::app_dir`] owned by 1000:1000; the original is never changed.
    pub source_dir: PathBuf,
    /// Where the source appears: `/app`. One component under the root.
    pub app_dir: PathBuf,
    /// Cached layers put back where they were; they belong to the root before the build starts.
    pub restored: Vec<LayerRef>,
    /// Files written into the root before start, owned by 1000:1000 with their new parents (restored `<layer>.toml`, …).
    pub seed: Vec<FileMount>,
    /// Files in a tmpfs, never in the root: secrets and `/platform`.
    pub files: Vec<FileMount>,
    /// Read-only programs of the installation: `/cnb`.
    pub binds: Vec<LibexecBind>,
    /// Program and arguments. It runs as 1000:1000 in [`BuildSpec::app_dir`].
    pub args: Vec<String>,
    /// Environment on top of the image's; proxies and mirrors are part of it.
    pub env: Vec<(String, String)>,
}

impl std::fmt::Debug for BuildSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildSpec").field("id", &self.id).field("image", &self.image).field("args", &self.args).finish_non_exhaustive()
    }
}

/// A layer of the store and the path it was exported from.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LayerRef {
    /// `/layers/<buildpack>/<layer>`.
    pub path: PathBuf,
    /// `sha256:<hex>`.
    pub diff_id: String,
}

/// A file or directory of the installation's libexec directory, seen read-only inside. Nothing else of the host can be bound.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LibexecBind {
    /// Relative to the agent's libexec directory.
    pub from: PathBuf,
    /// Absolute path inside.
    pub to: PathBuf,
}

/// How a build's program ended. Exactly one of the reasons at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BuildOutcome {
    /// Its exit status.
    pub status: ExitStatus,
    /// Set when the agent ended it.
    pub killed: Option<KillReason>,
}

/// Why the agent ended a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KillReason {
    /// It ran longer than `wall_ms`.
    Time,
    /// It wrote more than `disk_bytes`.
    Disk,
    /// It left more files than an image may have, or directories nested too deep to be walked.
    Tree,
    /// The machine's disk is full.
    HostDisk,
    /// Its shim died.
    Shim,
}

/// What of a finished build becomes an image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExportPlan {
    /// Manifest digest (or reference) of the run image: its layers come first.
    pub base: String,
    /// Directories that become one layer each, in this order.
    pub layers: Vec<ExportLayer>,
    /// The application directory; comes after `layers`.
    pub app: Option<ExportApp>,
    /// Files made by the platform (launcher, process links, metadata); comes last, one layer. Owned by root.
    pub extra: Vec<ExtraEntry>,
    /// The image's config, whole: nothing is taken from the base.
    pub config: ImageConfig,
    /// A name that shall point at the image.
    pub reference: Option<String>,
}

/// A directory that becomes a layer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExportLayer {
    /// `/layers/<buildpack>/<layer>`.
    pub path: PathBuf,
    /// The restored layer's diff id: used as it is, without reading a byte, if the build changed nothing under `path`.
    pub reuse: Option<String>,
    /// Is it part of the image (`launch`), or only kept in the store (`cache`)?
    pub in_image: bool,
}

/// The application directory.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExportApp {
    /// `/app`.
    pub dir: PathBuf,
    /// Each slice is a list of globs relative to `dir` (`*` within a component, `**` across); what it matches first becomes a layer of its own.
    pub slices: Vec<Vec<String>>,
}

/// A file of the platform.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExtraEntry {
    /// Absolute path inside. Missing parents are made with mode 0755.
    pub path: PathBuf,
    /// What it is.
    pub content: ExtraContent,
}

/// What an [`ExtraEntry`] is.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum ExtraContent {
    /// A program of the libexec directory, mode 0755.
    Program {
        /// Relative to the agent's libexec directory.
        from: PathBuf,
    },
    /// These bytes.
    Bytes {
        /// Content.
        content: Vec<u8>,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Where it points.
        to: PathBuf,
    },
}

impl std::fmt::Debug for ExtraContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Program { from } => f.debug_struct("Program").field("from", from).finish(),
            Self::Bytes { content, mode } => f.debug_struct("Bytes").field("bytes", &content.len()).field("mode", mode).finish(),
            Self::Link { to } => f.debug_struct("Link").field("to", to).finish(),
        }
    }
}

/// The image a build became.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CommittedImage {
    /// Manifest digest.
    pub digest: String,
    /// One for each [`ExportPlan::layers`], in that order.
    pub layers: Vec<CommittedLayer>,
    /// The application's layers: slices first, then the rest. Empty slices are left out.
    pub app: Vec<CommittedLayer>,
    /// All layers of the image together, the base's too, as tars.
    pub size_bytes: u64,
}

/// One committed layer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CommittedLayer {
    /// Where it is in the root.
    pub path: PathBuf,
    /// Its name and size.
    pub layer: LayerInfo,
    /// Reused without reading a byte.
    pub unchanged: bool,
}
