//! Requests to the agent and its answers: one request a connection, JSON frames; raw frames carry bytes where a request streams.

use std::path::PathBuf;

use crate::build::{BuildOutcome, BuildSpec, CommittedImage, ExportPlan};
use crate::container::{ContainerEvent, ContainerId, ContainerInfo, ContainerSpec, ExecSpec, ExitStatus, TermSize};
use crate::image::{GcReport, ImageInfo, StackInfo};

/// The wire's version. A client and an agent of different versions refuse each other plainly.
pub const VERSION: u32 = 1;

/// The first frame of a connection.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the client.
    pub version: u32,
    /// What it wants.
    pub request: Request,
}

/// What a client may ask for.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// Is somebody there?
    Ping,
    /// Make and start a container; the same id again gives the running one back.
    Start {
        /// All about it.
        spec: Box<ContainerSpec>,
    },
    /// SIGTERM to every process, SIGKILL after the grace; answered when it exited.
    Stop {
        /// Which.
        id: ContainerId,
        /// Milliseconds from SIGTERM to SIGKILL.
        grace_ms: u64,
    },
    /// Forget a container and remove all of it. A running one is killed first.
    Remove {
        /// Which.
        id: ContainerId,
    },
    /// Every container.
    List,
    /// Every container, then each change, as [`Reply::Event`] frames until somebody hangs up.
    Watch,
    /// The container's standard streams.
    Attach {
        /// Which.
        id: ContainerId,
    },
    /// A further process in it, attached.
    Exec {
        /// Which.
        id: ContainerId,
        /// What to run.
        spec: ExecSpec,
    },
    /// What every container uses now.
    Stats,
    /// Run a build container. Its output follows as raw frames, then [`Reply::BuildFinished`]. Hanging up discards the build.
    Build {
        /// All about it.
        spec: Box<BuildSpec>,
    },
    /// One regular file of a finished build's root, as raw [`crate::frame::Kind::Stdout`] frames, then [`Reply::Done`].
    BuildFile {
        /// Which build.
        id: ContainerId,
        /// Absolute path inside; no component may be a link.
        path: PathBuf,
        /// Larger is an error.
        max_bytes: u64,
    },
    /// Make an image of a finished build.
    BuildCommit {
        /// Which build.
        id: ContainerId,
        /// What goes in.
        plan: Box<ExportPlan>,
    },
    /// Drop what is left of a build. Not an error if nothing is.
    BuildDiscard {
        /// Which build.
        id: ContainerId,
    },
    /// Every image.
    Images,
    /// One image with its config.
    Image {
        /// Manifest digest or reference.
        image: String,
    },
    /// Make an image of one layer from a tar file or a directory on this host (root's uid may ask only).
    ImageImport {
        /// Its name in the store, `name:tag`.
        reference: String,
        /// An uncompressed tar, or a directory.
        from: PathBuf,
    },
    /// Write an image as an OCI image layout tar to a path on this host.
    ImageExport {
        /// Manifest digest or reference.
        image: String,
        /// The file to make.
        to: PathBuf,
    },
    /// Remove images and layers that nothing needs. Stacks and images of live containers are always kept.
    ImageGc {
        /// Manifest digests to keep.
        keep_images: Vec<String>,
        /// Diff ids to keep (build caches).
        keep_layers: Vec<String>,
    },
    /// Every stack.
    Stacks,
    /// Make a stack of a Debian suite, unless it is there. [`Reply::Progress`] frames, then [`Reply::Stack`].
    StackCreate {
        /// Its name, `landfall-13`.
        name: String,
        /// The Debian suite, `trixie`.
        suite: String,
    },
}

/// What the agent answers.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// Done, nothing to tell.
    Done,
    /// It failed.
    Failed {
        /// Why.
        fault: Fault,
    },
    /// One container.
    Container {
        /// As it is now.
        container: ContainerInfo,
    },
    /// The container stopped.
    Stopped {
        /// How it ended.
        status: ExitStatus,
    },
    /// Every container.
    Containers {
        /// As they are now.
        containers: Vec<ContainerInfo>,
    },
    /// One step of a watch.
    Event {
        /// What happened.
        event: ContainerEvent,
    },
    /// The streams are joined; raw frames follow both ways.
    Attached,
    /// The attached process ended; nothing follows.
    Exited {
        /// How.
        status: ExitStatus,
    },
    /// What containers use.
    Stats {
        /// One for each running container.
        stats: Vec<ContainerStats>,
    },
    /// The build's program ended.
    BuildFinished {
        /// How.
        outcome: BuildOutcome,
    },
    /// The new image.
    Committed {
        /// Its digests and sizes.
        image: CommittedImage,
    },
    /// Every image.
    Images {
        /// In no special order.
        images: Vec<ImageInfo>,
    },
    /// One image.
    Image {
        /// All about it.
        image: Box<ImageInfo>,
    },
    /// What the collection removed.
    Collected {
        /// Counts and bytes.
        report: GcReport,
    },
    /// A line of progress.
    Progress {
        /// For people.
        line: String,
    },
    /// Every stack.
    Stacks {
        /// By name.
        stacks: Vec<StackInfo>,
    },
    /// The stack.
    Stack {
        /// All about it.
        stack: StackInfo,
    },
}

/// What an attached client may say between raw [`crate::frame::Kind::Stdin`] frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "control")]
pub enum Control {
    /// The terminal has a new size.
    Resize {
        /// That size.
        size: TermSize,
    },
    /// Send a signal to the attached process.
    Signal {
        /// Its number.
        signal: i32,
    },
}

/// What one container uses.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContainerStats {
    /// Which.
    pub id: ContainerId,
    /// CPU time used since its start, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory in use now, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads now.
    pub pids: u64,
}

/// Why a request failed: what, why, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Stable word for programs.
    pub code: FaultCode,
    /// What failed and why, the whole chain.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// The kinds of faults a caller may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultCode {
    /// No such container, build, image, layer, stack or file.
    NotFound,
    /// The id is in use by something else.
    Conflict,
    /// The request makes no sense.
    Invalid,
    /// The peer may not ask this.
    Forbidden,
    /// An image or layer is not what its digest says (R17).
    Digest,
    /// The disk is full.
    DiskFull,
    /// It took longer than its limit.
    TimedOut,
    /// Too much at once; try again.
    Busy,
    /// Anything else.
    Internal,
}
