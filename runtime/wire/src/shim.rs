//! What the agent and one container's shim say to each other.
//!
//! The agent writes a [`ShimConfig`] as JSON (mode 0600), runs `landfall-shim CONFIG` and waits for that process: it ends with 0 and one
//! line of [`Launched`] JSON on stdout when the container is created (nothing of the app runs yet), or with 1 and the reason on stderr.
//! The shim itself lives on in its own session. The agent then joins the network to `init_pid`'s namespace, connects to the socket
//! and sends [`ShimRequest::Start`]. One request a connection, [`crate::frame`] frames. `landfall-shim cleanup CONFIG` removes what a killed shim left.

use std::path::PathBuf;

use crate::container::{ContainerId, ExecSpec, ExitStatus, FileMount, Limits, LogTarget, Stdio};

/// How many ids a user block holds.
pub const BLOCK_SIZE: u32 = 65_536;

/// Everything a shim needs.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct ShimConfig {
    /// The container's name.
    pub id: ContainerId,
    /// What runs in it.
    pub process: Process,
    /// Host name inside.
    pub hostname: String,
    /// What it may use. `disk_bytes` is the agent's to enforce; `wall_ms` is the shim's.
    pub limits: Limits,
    /// Its standard streams.
    pub stdio: Stdio,
    /// Where its output lines go in [`Stdio::Log`] mode; `None` drops them.
    pub log: Option<LogTarget>,
    /// Output beyond this is not written but counted (L12); as much may wait in memory for a slow disk. `None` = no limit, and a mebibyte may wait.
    #[serde(default)]
    pub log_bytes_per_second: Option<u64>,
    /// The port that means "ready".
    pub port: Option<u16>,
    /// Files given to it on a tmpfs, read-only, owned by the container user.
    pub files: Vec<FileMount>,
    /// How its root is made.
    pub root: RootRecipe,
    /// Host id of container id 0.
    pub user_base: u32,
    /// Cgroup under which `<id>` is made, from the root of each hierarchy: `/landfall`.
    pub cgroup_parent: PathBuf,
    /// Cgroup the shim itself moves to, from the root of each hierarchy; made if missing, never removed by the shim. `None` = stays.
    pub shim_cgroup: Option<PathBuf>,
    /// An existing directory of this container, root only. The shim mounts a private tmpfs on it for bundle and state.
    pub dir: PathBuf,
    /// Where the shim listens; at most 100 bytes, not below `dir`.
    pub socket: PathBuf,
    /// Where the exit status goes when the container ended, as [`ExitStatus`] JSON; not below `dir`.
    pub exit_file: PathBuf,
    /// The static `landfall-init`.
    pub init: PathBuf,
    /// Read-only binds into the container.
    pub binds: Vec<Bind>,
    /// Content of `/etc/hosts`; `None` = the image's.
    pub hosts: Option<String>,
    /// Content of `/etc/resolv.conf`; `None` = the image's.
    pub resolv_conf: Option<String>,
    /// An outside OCI runtime (`crun`, `runc`, `runsc`) instead of the built-in one.
    pub oci_runtime: Option<PathBuf>,
}

/// The container's own process. `Debug` hides environment values.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Process {
    /// Command and arguments; the command is looked up in the container's `PATH`.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Container user; 1000 by default, 0 to 65,535.
    pub uid: u32,
    /// Container group.
    pub gid: u32,
    /// Further groups.
    #[serde(default)]
    pub additional_gids: Vec<u32>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Process").field("args", &self.args).field("cwd", &self.cwd).field("uid", &self.uid).finish_non_exhaustive()
    }
}

/// The overlay that becomes the root.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct RootRecipe {
    /// Layer directories, top first, ids unshifted on disk. At least one.
    pub lowers: Vec<PathBuf>,
    /// Writable directory, ids unshifted on disk; its own owner is the root directory's owner inside, so `0:0`.
    pub upper: PathBuf,
    /// Overlay's work directory, beside `upper` on the same file system.
    pub work: PathBuf,
    /// A tree of another owner, put above all lowers.
    pub source: Option<SourceLower>,
    /// The upper is thrown away afterwards: no syncs.
    pub volatile: bool,
}

/// A directory whose files belong to one host user and appear to belong to one container user.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct SourceLower {
    /// Its content appears at the container's root: holds `workspace/`.
    pub dir: PathBuf,
    /// Owner on disk.
    pub host_uid: u32,
    /// Group on disk.
    pub host_gid: u32,
    /// Owner inside.
    pub container_uid: u32,
    /// Group inside.
    pub container_gid: u32,
}

/// A read-only bind of a host file or directory (no set-id, no devices).
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Bind {
    /// On the host.
    pub source: PathBuf,
    /// Absolute, inside; made if missing.
    pub target: PathBuf,
}

/// What `landfall-shim CONFIG` prints when the container is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Launched {
    /// The shim.
    pub shim_pid: i32,
    /// The container's pid 1, as the host sees it; its network namespace is `/proc/<pid>/ns/net`.
    pub init_pid: i32,
}

/// The first frame on a connection to the shim.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum ShimRequest {
    /// Answered by one [`ShimEvent::Status`].
    Status,
    /// [`ShimEvent::Status`] now and at each change, until somebody hangs up.
    Watch,
    /// The network is ready: run the app. Answered [`ShimEvent::Done`]; a second one changes nothing.
    Start,
    /// SIGTERM to every process, SIGKILL after the grace. Answered [`ShimEvent::Exited`] when all of it is gone.
    Stop {
        /// Milliseconds from SIGTERM to SIGKILL; 0 kills at once.
        grace_ms: u64,
    },
    /// Answered [`ShimEvent::Stats`].
    Stats,
    /// The platform has something to say of the container: lines for its log, or for whoever is attached. Answered [`ShimEvent::Done`].
    Note {
        /// Without newlines.
        lines: Vec<String>,
    },
    /// Join the streams: [`ShimEvent::Attached`], then raw frames both ways (and [`crate::agent::Control`] from the client), at last
    /// [`ShimEvent::Exited`]. Refused in [`Stdio::Log`] mode. Hanging up sends SIGHUP to the users of a terminal and kills
    /// nothing else; an empty stdin frame is the end of input. Output waits for the first client.
    Attach,
    /// A further process, attached as above; hanging up sends it SIGHUP.
    Exec {
        /// What to run.
        spec: ExecSpec,
    },
    /// The exit status was read: the shim removes its socket and ends. Refused while the container lives. Answered [`ShimEvent::Done`].
    Quit,
}

/// What the shim answers.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum ShimEvent {
    /// How the container is now.
    Status {
        /// That.
        status: ShimStatus,
    },
    /// Done, nothing to tell.
    Done,
    /// The streams are joined.
    Attached,
    /// The attached process, or the container, ended; nothing follows.
    Exited {
        /// How.
        status: ExitStatus,
    },
    /// What the container uses.
    Stats {
        /// That.
        stats: ShimStats,
    },
    /// It failed; nothing follows.
    Failed {
        /// What failed, why, what to do.
        message: String,
    },
}

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShimStatus {
    /// Which.
    pub id: ContainerId,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its pid 1 as the host sees it. Meaningless once exited.
    pub init_pid: i32,
    /// What listens in its network namespace, sorted. Watched until the asked port listens on a reachable address.
    pub listeners: Vec<Listener>,
}

/// Where a container is in its life. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Made; waits for [`ShimRequest::Start`].
    Created,
    /// Runs; its port does not listen yet.
    Running,
    /// Runs, and its port listens on an address other than loopback (or no port was asked).
    Ready,
    /// Told to stop.
    Stopping,
    /// Ended; its cgroups are gone.
    Exited {
        /// How.
        status: ExitStatus,
    },
}

/// One listening TCP socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Listener {
    /// Bound address; `0.0.0.0` and `::` mean all.
    pub address: std::net::IpAddr,
    /// Bound port.
    pub port: u16,
}

/// What a container uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShimStats {
    /// CPU time since its start, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory in use, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Processes the kernel killed for memory.
    pub oom_kills: u64,
}
