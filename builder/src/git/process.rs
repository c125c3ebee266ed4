//! Starting git: argv, a fixed environment, its own process group, and an end that leaves nothing behind (trust rules R1, G3).

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::GitService;
use super::places::Place;
use crate::config::GitConfig;
use crate::hook::{PendingGuard, SOCKET_ENV, TOKEN_ENV};

/// How long git may take to end by itself once its peer is gone. (Ended by a signal, it leaves its quarantine behind; by itself, it does not.)
const GRACE: Duration = Duration::from_secs(5);

/// Memory of one git process that receives, beside the files it maps. Objects up to the limit of a source pass by it in pieces; what a delta
/// blows up beyond this is no source.
const RECEIVE_MEMORY: u64 = 2 << 30;
/// CPU time of one git process, in seconds: indexing the largest push takes a tenth of it.
const CPU_SECONDS: u64 = 900;
/// From this size on git handles an object in pieces.
const BIG_FILE: &str = "32m";

/// How the protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// A conversation (SSH).
    Stateful,
    /// The list of refs (HTTP GET).
    Advertise,
    /// One request and its answer (HTTP POST).
    Stateless,
}

/// A running git. Dropping it ends the whole process group: git, its index-pack and the hook; and cancels the push.
pub(super) struct GitChild {
    child: Option<Child>,
    group: Option<Pid>,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
    push: Option<PendingGuard>,
    _place: Place,
}

/// A running git in parts that can be used at the same time.
pub(super) struct Parts<'a> {
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: &'a mut ChildStdout,
    pub(super) stderr: &'a mut ChildStderr,
    pub(super) end: End<'a>,
}

/// The part that waits.
pub(super) struct End<'a> {
    child: &'a mut Option<Child>,
    group: &'a mut Option<Pid>,
}

pub(super) fn start(
    config: &GitConfig,
    service: GitService,
    mode: Mode,
    repo: &Path,
    push: Option<PendingGuard>,
    place: Place,
    protocol: Option<&str>,
) -> io::Result<GitChild> {
    if push.is_some() {
        hook_is_there(&config.hooks)?;
    }
    let mut command = git(config, repo);
    // git runs our hook.
    command.envs(landfall_failpoint::environment());
    if let Some(protocol) = protocol.filter(|text| matches!(*text, "version=0" | "version=1" | "version=2")) {
        command.env("GIT_PROTOCOL", protocol);
    }
    command.args(set("transfer.hideRefs", "refs/landfall")).args(set("core.hooksPath", &config.hooks.display().to_string()));
    match service {
        GitService::ReceivePack => {
            if let Some(push) = &push {
                command.env(SOCKET_ENV, &config.hook_socket).env(TOKEN_ENV, push.token());
            }
            let limit = config.max_push_bytes.to_string();
            command
                .args(set("receive.fsckObjects", "true"))
                .args(set("receive.maxInputSize", &limit))
                .args(set("receive.autogc", "false"))
                .args(set("receive.procReceiveRefs", "refs/heads/main"))
                .args(set("receive.procReceiveRefs", "refs/heads/master"))
                // What CI services check out is half a history: enough to build from.
                .args(set("receive.shallowUpdate", "true"))
                .args(set("receive.advertisePushOptions", "false"))
                // The hook refuses this in words; this is the second lock.
                .args(set("receive.denyDeleteCurrent", "refuse"))
                .arg("receive-pack");
        }
        GitService::UploadPack => {
            command.args(set("uploadpack.allowFilter", "false")).args(["upload-pack", "--strict", "--timeout=120"]);
        }
    }
    match mode {
        Mode::Stateful => {}
        Mode::Advertise => drop(command.args(["--stateless-rpc", "--http-backend-info-refs"])),
        Mode::Stateless => drop(command.arg("--stateless-rpc")),
    }
    command.arg("--").arg(repo).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    limit(&child, service);
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    Ok(GitChild { child: Some(child), group, stdin, stdout, stderr, push, _place: place })
}

/// git with nothing of ours or of the machine's in its environment and settings; its command is still to be added.
pub(super) fn git(config: &GitConfig, repo: &Path) -> Command {
    let mut command = Command::new(&config.git);
    command.env_clear().envs([
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/nonexistent"),
        ("LANG", "C.UTF-8"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
    ]);
    command.args(set("safe.directory", &repo.display().to_string())).args(set("credential.helper", "")).args(set("gc.auto", "0"));
    // What is packed takes bounded memory.
    command.args(set("pack.windowMemory", "64m")).args(set("pack.threads", "1")).args(set("core.bigFileThreshold", BIG_FILE));
    command
}

fn set(key: &str, value: &str) -> [String; 2] {
    ["-c".to_owned(), format!("{key}={value}")]
}

/// git takes a push without a word when there is no hook: nothing would be built, and the pusher would be told that all is well.
fn hook_is_there(hooks: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let path = hooks.join("pre-receive");
    let problem = match std::fs::metadata(&path) {
        Err(error) => error.to_string(),
        Ok(found) if !found.is_file() || found.permissions().mode() & 0o111 == 0 => "it is no program".to_owned(),
        Ok(_) => return Ok(()),
    };
    Err(io::Error::other(format!("the hook {} cannot be used: {problem}; install Landfall again", path.display())))
}

/// Before it has read a byte; whatever it starts inherits them. A git that is gone already needs none.
pub(super) fn limit(child: &Child, service: GitService) {
    let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw) else { return };
    let hard = |most| Rlimit { current: Some(most), maximum: Some(most) };
    let mut limits = vec![(Resource::Cpu, CPU_SECONDS), (Resource::Core, 0)];
    if service == GitService::ReceivePack {
        limits.push((Resource::Data, RECEIVE_MEMORY));
    }
    for (resource, most) in limits {
        let _gone = prlimit(Some(pid), resource, hard(most));
    }
}

impl GitChild {
    /// All parts; `None` if an output was taken away before.
    pub(super) fn parts(&mut self) -> Option<Parts<'_>> {
        let Self { child, group, stdin, stdout, stderr, .. } = self;
        Some(Parts { stdin: stdin.take(), stdout: stdout.as_mut()?, stderr: stderr.as_mut()?, end: End { child, group } })
    }

    /// See [`End::wait`].
    pub(super) async fn wait(&mut self) -> io::Result<i32> {
        End { child: &mut self.child, group: &mut self.group }.wait().await
    }
}

impl End<'_> {
    /// Waits for git's own end. Cancel-safe; dropping the [`GitChild`] then ends it.
    pub(super) async fn wait(self) -> io::Result<i32> {
        let Some(child) = self.child else { return Err(io::Error::other("git was already waited for")) };
        let status = child.wait().await?;
        // Reaped: the number may be somebody else's from now on.
        *self.child = None;
        *self.group = None;
        Ok(status.code().unwrap_or(128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0)))
    }
}

impl Drop for GitChild {
    fn drop(&mut self) {
        let (Some(mut child), Some(group)) = (self.child.take(), self.group) else { return };
        drop(self.stdin.take());
        let push = self.push.take();
        if let Some(push) = &push {
            push.cancel();
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // Not reaped yet, so the number is still ours.
            let _ = killpg(group, Signal::SIGKILL);
            return;
        };
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        runtime.spawn(async move {
            let by_itself = async {
                let ((), (), _) = tokio::join!(drain(stdout), drain(stderr), child.wait());
            };
            if tokio::time::timeout(GRACE, by_itself).await.is_err() {
                let _ = killpg(group, Signal::SIGKILL);
                let _ = child.wait().await;
            }
            // Only now is it not under way any more.
            drop(push);
        });
    }
}

/// A closed pipe would end git by a signal.
async fn drain(from: Option<impl tokio::io::AsyncRead + Unpin>) {
    if let Some(mut from) = from {
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
}
