//! The port to live things: dynos, attachments, builds in progress, output streams. The composition root implements it.
//!
//! What is *remembered* (apps, releases, formation, config) comes from the store; what *runs now* comes through here. Every
//! method takes an app the caller was already authorised for, or a secret that was handed only to such a caller.
//! Methods return boxed futures so that the router can hold one `Arc<dyn Platform>`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use landfall_model::{
    AccountId, AppId, AppName, BuildId, DynoId, DynoName, DynoSize, DynoState, Hostname, ProcessType, ReleaseId, ReleaseVersion,
};
use tokio::sync::mpsc;

/// What every method of [`Platform`] returns.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, PlatformError>>;

/// Bytes of a log or a build, live to its end. Ends when the thing it follows has ended.
pub type OutputStream = BoxStream<'static, std::io::Result<Bytes>>;

/// Why a live operation did not happen. Each text is for the person who asked and ends with what to do next.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// There is no such dyno, build or attachment: 404 `not_found`.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done in the present state: 409 `conflict`.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for makes no sense for this app: 422 `invalid_params`.
    #[error("{0}")]
    Invalid(String),
    /// A limit of this machine or of the configuration is reached: 422 `limit_reached`.
    #[error("{0}")]
    Limit(String),
    /// The agent is away: 503 `service_unavailable`.
    #[error("{0}")]
    Unavailable(String),
    /// There is no room for it: 503 `disk_full`.
    #[error("{0}")]
    DiskFull(String),
    /// Our fault: logged with its chain, shown as 500 `internal_server_error`.
    #[error("live operation failed")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// One dyno as a person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynoView {
    /// This run of it; a restarted `web.1` has a new one.
    pub id: DynoId,
    /// `web.1`, `run.4821`.
    pub name: DynoName,
    /// Its state now.
    pub state: DynoState,
    /// The Procfile line or the command given to `run`.
    pub command: String,
    /// Its size.
    pub size: DynoSize,
    /// The release it runs.
    pub release: (ReleaseId, ReleaseVersion),
    /// When this run was asked for.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// One sentence on why it is in this state ("exited with status 1; next start in 8 s"), if there is something to say.
    pub note: Option<String>,
}

/// A one-off dyno to start.
#[derive(Clone, Debug)]
pub struct RunSpec {
    /// Handed to the app's shell inside the container, as Heroku does; never to a shell of the host.
    pub command: String,
    /// Whether somebody will attach. A detached dyno writes to the app's log instead.
    pub attach: bool,
    /// Whether to give it a PTY (only with `attach`).
    pub tty: bool,
    /// Its size; `None` = the default for one-off dynos.
    pub size: Option<DynoSize>,
    /// Added to (and overriding) the release's config for this dyno only.
    pub env: BTreeMap<String, String>,
    /// First part of its name; `None` = `run`.
    pub process_type: Option<ProcessType>,
    /// First size of the terminal, columns and rows.
    pub window: Option<(u16, u16)>,
    /// Who asked.
    pub user: AccountId,
    /// Their address, for the log line `Starting process with command … by user …`.
    pub user_email: String,
}

/// A command to run inside a dyno that is already up.
#[derive(Clone, Debug)]
pub struct ExecCommand {
    /// Argument vector; empty = a login shell.
    pub args: Vec<String>,
    /// Whether to give it a PTY.
    pub tty: bool,
    /// Added environment.
    pub env: BTreeMap<String, String>,
    /// First size of the terminal, columns and rows.
    pub window: Option<(u16, u16)>,
}

/// A started one-off dyno.
#[derive(Clone, Debug)]
pub struct Started {
    /// The dyno.
    pub dyno: DynoView,
    /// The unguessable name [`Platform::attach`] takes, once; `None` for a detached dyno. The dyno waits a bounded time for it.
    pub attachment: Option<String>,
}

/// To the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachInput {
    /// Bytes for its standard input.
    Stdin(Bytes),
    /// End of input.
    StdinEnd,
    /// The terminal's new size: columns, rows.
    Resize(u16, u16),
    /// A signal by number (2 = SIGINT, 15 = SIGTERM).
    Signal(i32),
}

/// From the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttachOutput {
    /// Its standard output, or its PTY.
    Stdout(Bytes),
    /// Its standard error.
    Stderr(Bytes),
    /// It ended: exit code, or 128 + signal. The last item.
    Exit(i32),
}

/// A duplex to one process. Dropping both ends detaches; an attached one-off dyno then gets SIGHUP.
#[derive(Debug)]
pub struct Attachment {
    /// Bounded; wait for room.
    pub input: mpsc::Sender<AttachInput>,
    /// Bounded; ends after [`AttachOutput::Exit`], or without one when the agent died.
    pub output: mpsc::Receiver<AttachOutput>,
}

/// Which dynos to stop or restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DynoSelector {
    /// Every dyno of the formation.
    All,
    /// All of one process type.
    Type(ProcessType),
    /// One.
    One(DynoName),
}

/// A build of an uploaded tarball.
#[derive(Clone, Debug)]
pub struct TarballBuild {
    /// A gzip or plain tar, on the server's disk. The platform owns the file from now on.
    pub file: PathBuf,
    /// The commit or any words the caller calls this version.
    pub version: Option<String>,
    /// Who asked.
    pub user: AccountId,
    /// From where, for the audit log.
    pub address: Option<IpAddr>,
}

/// What one dyno uses now.
#[derive(Clone, Debug, PartialEq)]
pub struct DynoStats {
    /// Its name.
    pub name: DynoName,
    /// Per cent of one core since the last reading; 200.0 = two cores busy.
    pub cpu_percent: f64,
    /// Resident bytes.
    pub memory_bytes: u64,
    /// Its memory limit in bytes.
    pub memory_limit_bytes: u64,
}

/// Live things. Cancel-safe: dropping a future may leave the operation done or not done, never half-done.
pub trait Platform: Send + Sync + 'static {
    /// Desired state of the app changed (release, formation, maintenance, domains, destroyed): reconcile soon. Never waits.
    fn wake(&self, app: AppId);

    /// The app's dynos, one-off ones included, in name order.
    fn dynos(&self, app: AppId) -> Answer<'_, Vec<DynoView>>;

    /// Starts a one-off dyno of the current release.
    fn run(&self, app: AppId, spec: RunSpec) -> Answer<'_, Started>;

    /// Starts a command in a running dyno. Returns the attachment's secret.
    fn exec(&self, app: AppId, dyno: DynoId, command: ExecCommand) -> Answer<'_, String>;

    /// Takes the attachment a secret stands for. A secret works once; a wrong or used one is [`PlatformError::NotFound`].
    fn attach(&self, secret: String) -> Answer<'_, Attachment>;

    /// Replaces dynos by fresh ones of the same release (a one-off dyno is stopped). Returns once it is under way.
    fn restart(&self, app: AppId, which: DynoSelector) -> Answer<'_, ()>;

    /// Sends SIGTERM, then SIGKILL. Dynos of the formation come back, as on Heroku; one-off dynos do not.
    fn stop(&self, app: AppId, which: DynoSelector) -> Answer<'_, ()>;

    /// Cancels a running build; returns when nothing of it runs. A build that has ended is [`PlatformError::Conflict`].
    fn build_cancel(&self, app: AppId, build: BuildId) -> Answer<'_, ()>;

    /// Queues a build; its row exists in the store when this returns. An app with too many waiting is [`PlatformError::Conflict`], and keeps
    /// its file.
    fn build_from_tarball(&self, app: AppId, build: TarballBuild) -> Answer<'_, BuildId>;

    /// A build's output from its start, live to its end. Also after it ended.
    fn build_output(&self, app: AppId, build: BuildId) -> Answer<'_, OutputStream>;

    /// Output of a release's release phase. `None`: that release had no release phase.
    fn release_output(&self, app: AppId, release: ReleaseId) -> Answer<'_, Option<OutputStream>>;

    /// What the app's dynos use now.
    fn stats(&self, app: AppId) -> Answer<'_, Vec<DynoStats>>;

    /// Names of the stacks on this machine, the default one first.
    fn stacks(&self) -> Answer<'_, Vec<String>>;

    /// `http://127.0.0.1:5000/blog.git`.
    fn git_http_url(&self, app: &AppName) -> String;

    /// `ssh://git@127.0.0.1:2222/blog.git`.
    fn git_ssh_url(&self, app: &AppName) -> String;

    /// The app's own host name under the platform's domain: `blog.localhost`.
    fn app_host(&self, app: &AppName) -> Hostname;

    /// Where a browser reaches a host name: `http://blog.localhost:8080/`.
    fn web_url(&self, host: &Hostname) -> String;
}

/// How long a started attachment waits for its client before the process is told to end.
pub const ATTACH_WAIT: Duration = Duration::from_mins(1);
