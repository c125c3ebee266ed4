//! What crosses the control socket, and lies in the table file.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Everything the router serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The sender's number for this state; repeated in acknowledgements and statistics.
    pub generation: u64,
    /// All apps.
    pub apps: Vec<AppRoutes>,
}

/// One app: where it answers and who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRoutes {
    /// Opaque, stable, unique.
    pub id: String,
    /// The app also answers at `<name>.<platform domain>`.
    pub name: String,
    /// Further hosts, lower case, without port. `*.example.com` covers every name below `example.com`, not itself.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The directory of the app's log; request lines go to `router.log` in it. `None`: no request lines.
    #[serde(default)]
    pub log_dir: Option<PathBuf>,
    /// What to do with a request.
    #[serde(default)]
    pub mode: Mode,
    /// The web dynos that take requests.
    #[serde(default)]
    pub backends: Vec<Backend>,
}

/// What to do with an app's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Pass them to a backend. Without any backend, as [`Mode::Booting`].
    #[default]
    Serving,
    /// Answer with the maintenance page (H80).
    Maintenance,
    /// There is no web process: H14.
    NoWeb,
    /// The web processes crashed: H10.
    Crashed,
    /// Let requests wait for a backend: H20 when none appears in time. Backends that are there already are used.
    Booting,
    /// Nothing was deployed yet: H81.
    Blank,
}

/// One web dyno.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// Opaque; unique among all backends of all apps, not used again for another dyno.
    pub id: String,
    /// Where the dyno listens.
    pub addr: SocketAddr,
    /// As log lines name it: `web.1`.
    pub dyno: String,
}

/// One line from the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Repeated in the reply.
    pub id: u64,
    /// What to do.
    #[serde(flatten)]
    pub operation: Operation,
}

/// What the controller can ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Operation {
    /// This is all there is. Always accepted.
    ReplaceTable {
        /// The new state.
        table: Table,
    },
    /// Add an app or replace it. Refused if a later generation is in force for it.
    ReplaceApp {
        /// The sender's number for the state after this change.
        generation: u64,
        /// The app.
        app: AppRoutes,
    },
    /// Forget an app. Fine if it is not there.
    RemoveApp {
        /// The sender's number for the state after this change.
        generation: u64,
        /// [`AppRoutes::id`].
        app: String,
    },
    /// Answer when the last request through this backend ended. Take it out of the table first, or new ones keep coming.
    Drain {
        /// [`Backend::id`]. One that is unknown is drained already.
        backend: String,
        /// Answer after this long in any case.
        deadline_ms: u64,
    },
    /// What happened so far.
    Stats,
    /// Is anybody there?
    Ping,
}

/// One line from the router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Of the request.
    pub id: u64,
    /// The answer.
    #[serde(flatten)]
    pub body: ReplyBody,
}

/// The router's answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyBody {
    /// In force, and on disk unless `persisted` is false (disk full: the router serves on and tries again by itself).
    Applied {
        /// Of the request.
        generation: u64,
        /// Whether a restart would find it.
        persisted: bool,
    },
    /// To [`Operation::Drain`].
    Drained(Drained),
    /// To [`Operation::Stats`].
    Stats(Stats),
    /// To [`Operation::Ping`].
    Pong {
        /// Of the table in force.
        generation: u64,
    },
    /// Refused; nothing changed.
    Refused {
        /// Why, in words.
        reason: String,
    },
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drained {
    /// Requests still under way: 0 unless the deadline passed.
    pub requests: u32,
    /// WebSockets still open. They are not waited for: they live until the dyno ends.
    pub tunnels: u32,
}

/// What happened since the router started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Of the table in force.
    pub generation: u64,
    /// Open connections of clients.
    pub connections: u64,
    /// Requests with a known host.
    pub requests: u64,
    /// Log lines dropped because the disk was too slow (L12).
    pub log_lines_dropped: u64,
    /// Requests that failed for a reason of the platform's own (H99).
    #[serde(default)]
    pub platform_errors: u64,
    /// Idle connections to dynos.
    #[serde(default)]
    pub idle_upstreams: u64,
    /// Bytes that are set aside for open connections and log lines, or taken by large heads: [`crate::Limits::memory`] at most.
    #[serde(default)]
    pub memory: u64,
    /// By app, in the order of their ids.
    pub apps: Vec<AppStats>,
}

/// One app's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStats {
    /// [`AppRoutes::id`].
    pub id: String,
    /// Requests that ended.
    pub requests: u64,
    /// Body bytes sent to clients.
    pub bytes: u64,
    /// Requests that wait for a dyno now.
    pub waiting: u64,
    /// Of the table in force.
    pub backends: Vec<BackendStats>,
}

/// One backend's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendStats {
    /// [`Backend::id`].
    pub id: String,
    /// Requests sent to it.
    pub requests: u64,
    /// Requests under way now.
    pub active: u32,
    /// WebSockets open now.
    pub tunnels: u32,
}
