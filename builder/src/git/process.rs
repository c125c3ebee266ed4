//! Starting git: argv, a fixed environment, its own process group, and an end that leaves nothing behind (trust rules R1, G3).

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::GitService;
use crate::config::GitConfig;
use crate::hook::{PendingGuard, SOCKET_ENV, TOKEN_ENV};

/// How long git may take to remove its quarantine after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

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

/// A running git. Dropping it ends the whole process group: git, its index-pack and the hook.
pub(super) struct GitChild {
    child: Option<Child>,
    group: Option<Pid>,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
    _push: Option<PendingGuard>,
}

pub(super) fn start(
    config: &GitConfig,
    service: GitService,
    mode: Mode,
    repo: &Path,
    push: Option<PendingGuard>,
    protocol: Option<&str>,
) -> io::Result<GitChild> {
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
    if let Some(protocol) = protocol.filter(|text| matches!(*text, "version=0" | "version=1" | "version=2")) {
        command.env("GIT_PROTOCOL", protocol);
    }
    let set = |key: &str, value: &str| ["-c".to_owned(), format!("{key}={value}")];
    command.args(set("safe.directory", &repo.display().to_string())).args(set("credential.helper", "")).args(set("gc.auto", "0"));
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
    let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    Ok(GitChild { child: Some(child), group, stdin, stdout, stderr, _push: push })
}

impl GitChild {
    /// Waits for git's own end. Cancel-safe; dropping `self` then ends it.
    pub(super) async fn wait(&mut self) -> io::Result<i32> {
        let Some(child) = &mut self.child else { return Err(io::Error::other("git was already waited for")) };
        let status = child.wait().await?;
        // Reaped: the number may be somebody else's from now on.
        self.child = None;
        self.group = None;
        Ok(status.code().unwrap_or(128 + std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0)))
    }
}

impl Drop for GitChild {
    fn drop(&mut self) {
        let (Some(mut child), Some(group)) = (self.child.take(), self.group) else { return };
        // Not reaped yet, so the number is still ours. On SIGTERM git removes its quarantine.
        let _ = killpg(group, Signal::SIGTERM);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                    let _ = killpg(group, Signal::SIGKILL);
                    let _ = child.wait().await;
                }
            });
        } else {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
