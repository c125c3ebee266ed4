//! A container as the agent sees it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// A container's name on this machine: 1 to 64 of `[a-z0-9-]`. It names the cgroup, the sockets and the directories too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Not a container id.
#[derive(Debug, thiserror::Error)]
#[error("container id {0:?} must be 1 to 64 of a-z, 0-9 and -")]
pub struct BadContainerId(String);

impl TryFrom<String> for ContainerId {
    type Error = BadContainerId;
    fn try_from(text: String) -> Result<Self, BadContainerId> {
        let good = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if good { Ok(Self(text)) } else { Err(BadContainerId(text)) }
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> String {
        id.0
    }
}

impl std::fmt::Display for ContainerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which block of 65,536 host uids and gids the container's users map to. Every app has its own block; block 0 is the agent's own use.
/// Host id of container id 0 = base + block × 65,536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UserBlock(pub u32);

/// What one container may use at most.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Limits {
    /// Hard memory limit, swap included: who needs more is killed by the kernel.
    pub memory_bytes: u64,
    /// Above this much memory that cannot be taken back the container runs on and its log says so (R14); at `memory_bytes` all of it is killed
    /// (R15), not only one process. `None` = no such line, and the kernel kills the one process that needs most.
    #[serde(default)]
    pub memory_quota_bytes: Option<u64>,
    /// Relative weight (cgroup v1 `cpu.shares`, converted for v2). 1024 is one share.
    pub cpu_shares: u64,
    /// At most this many hundredths of one CPU; `None` = the agent's default.
    pub cpu_percent: Option<u32>,
    /// Most processes and threads.
    pub pids: u64,
    /// Most bytes in the writable root, and one file for every 16 KiB of them; `None` = the agent's default.
    pub disk_bytes: Option<u64>,
    /// Killed after this long; `None` = never.
    pub wall_ms: Option<u64>,
}

/// What the container's standard streams are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Stdio {
    /// Output goes to the log target only; input is empty.
    Log,
    /// Pipes, to be attached to. Output before the first attach is kept up to 1 MiB.
    Pipes,
    /// A pseudo-terminal, to be attached to.
    Terminal {
        /// Its first size.
        size: TermSize,
    },
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TermSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

/// Where the shim writes the container's output lines.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LogTarget {
    /// The app's log directory; see `landfall-logs`.
    pub dir: PathBuf,
    /// `app` for a dyno's own output.
    pub source: String,
    /// The dyno's name, `web.1`.
    pub name: String,
}

/// A file given to the container in a read-only tmpfs or bind; never part of an image layer.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileMount {
    /// Absolute path inside.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Content. `Debug` shows its length only.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for FileMount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileMount").field("path", &self.path).field("bytes", &self.content.len()).finish()
    }
}

/// Everything needed to run one container. `Debug` hides environment values.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContainerSpec {
    /// Its name.
    pub id: ContainerId,
    /// The caller's marks, given back by list and watch; they change nothing on the host.
    pub labels: BTreeMap<String, String>,
    /// Image manifest digest, `sha256:<hex>`.
    pub image: String,
    /// Command and arguments. Empty = the image's entrypoint and cmd.
    pub args: Vec<String>,
    /// Environment on top of the image's.
    pub env: Vec<(String, String)>,
    /// Working directory; `None` = the image's.
    pub cwd: Option<PathBuf>,
    /// Host name inside.
    pub hostname: String,
    /// Whose uids.
    pub user_block: UserBlock,
    /// What it may use.
    pub limits: Limits,
    /// The port that means "ready" once a process listens on it. `None` = ready when started.
    pub port: Option<u16>,
    /// Where output lines go.
    pub log: Option<LogTarget>,
    /// Standard streams.
    pub stdio: Stdio,
    /// Extra files (secrets, platform files).
    pub files: Vec<FileMount>,
}

impl std::fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ContainerSpec")
            .field("id", &self.id)
            .field("image", &self.image)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

/// A further process in a running container.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct ExecSpec {
    /// Command and arguments.
    pub args: Vec<String>,
    /// Environment on top of the container's.
    pub env: Vec<(String, String)>,
    /// A terminal, or plain pipes.
    pub terminal: Option<TermSize>,
}

impl std::fmt::Debug for ExecSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSpec").field("args", &self.args).field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

/// How a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExitStatus {
    /// Exit code, or 128 + signal.
    pub code: i32,
    /// Ended by the kernel for memory.
    pub oom: bool,
}

/// Where a container is in its life. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum ContainerState {
    /// Being made or started; its port does not listen yet.
    Starting,
    /// Its process listens on the port (or runs, when no port was given).
    Ready,
    /// Told to stop.
    Stopping,
    /// Ended. The agent forgets it (and removes all of it) when the caller removes it.
    Exited(ExitStatus),
}

/// What the agent tells of one container.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ContainerInfo {
    /// Its name.
    pub id: ContainerId,
    /// The caller's marks.
    pub labels: BTreeMap<String, String>,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Its address on the bridge.
    pub ip: Option<Ipv4Addr>,
    /// Ports its processes listen on, other than the asked one, as `address:port` (for "you listen on the wrong port" advice).
    pub other_listeners: Vec<String>,
    /// Unix time in milliseconds when it was asked for.
    pub started_at_ms: u64,
    /// Unix time in milliseconds when it came into its state.
    #[serde(default)]
    pub changed_at_ms: u64,
    /// When it was asked for, for timers: the machine's uptime then, which nobody sets as they do the clock. No container outlives a boot.
    /// 0 = not known.
    #[serde(default)]
    pub started_uptime_ms: u64,
    /// When it came into its state, likewise.
    #[serde(default)]
    pub changed_uptime_ms: u64,
}

/// A change of one container.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum ContainerEvent {
    /// The whole list; the first event of a watch.
    Snapshot {
        /// Every container.
        containers: Vec<ContainerInfo>,
    },
    /// One container's new condition.
    Changed {
        /// That container.
        container: ContainerInfo,
    },
    /// It is gone, all of it.
    Removed {
        /// Its id.
        id: ContainerId,
    },
}
