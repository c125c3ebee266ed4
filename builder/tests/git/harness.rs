//! One isolated receiver with its clients.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use landfall_builder::git::{AccessError, Denied, GitAccess, GitService, Identity, Receiver, RepoGrant, Unavailable, host_key, http, ssh};
use landfall_builder::push::{Lines, Push, PushHandler, PushRefused};
use landfall_builder::turns::Turns;
use landfall_builder::{GitConfig, hook};
use landfall_model::{AccountId, AppId, AppName, SecretString};
use tokio::net::{TcpListener, UnixListener};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

pub(crate) const TOKEN: &str = "t0ken";
/// Nothing here takes seconds; this is when a test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A push that waits for the test's verdict.
pub(crate) struct Asked {
    pub(crate) push: Push,
    pub(crate) lines: Lines,
    pub(crate) cancel: CancellationToken,
    verdict: oneshot::Sender<Result<(), PushRefused>>,
}

impl Asked {
    pub(crate) fn accept(self) {
        let _ = self.verdict.send(Ok(()));
    }

    pub(crate) fn refuse(self, words: &str) {
        let _ = self.verdict.send(Err(PushRefused::new(words)));
    }
}

struct ControlPlane(mpsc::UnboundedSender<Asked>);

impl PushHandler for ControlPlane {
    fn push(&self, push: Push, lines: Lines, cancel: CancellationToken) -> BoxFuture<'_, Result<(), PushRefused>> {
        let (verdict, wait) = oneshot::channel();
        let _ = self.0.send(Asked { push, lines, cancel: cancel.clone(), verdict });
        async move {
            match cancel.run_until_cancelled(wait).await {
                Some(Ok(result)) => result,
                Some(Err(_)) => panic!("the test dropped a push without a verdict"),
                None => Err(PushRefused::new("cancelled")),
            }
        }
        .boxed()
    }
}

struct Access {
    account: AccountId,
    fingerprint: String,
    apps: Vec<(AppName, AppId)>,
}

impl GitAccess for Access {
    fn by_key<'a>(&'a self, fingerprint: &'a str, address: Option<IpAddr>) -> BoxFuture<'a, Result<Option<Identity>, Unavailable>> {
        let known = fingerprint == self.fingerprint;
        async move { Ok(known.then(|| Identity { account: self.account, label: "ann@example.com".to_owned(), address })) }.boxed()
    }

    fn by_token<'a>(&'a self, token: &'a SecretString, address: Option<IpAddr>) -> BoxFuture<'a, Result<Option<Identity>, Unavailable>> {
        async move {
            match token.expose() {
                TOKEN => Ok(Some(Identity { account: self.account, label: "bob@example.com".to_owned(), address })),
                "database-away" => Err(Unavailable { message: "The database is away. Try again in a minute.".to_owned() }),
                _ => Ok(None),
            }
        }
        .boxed()
    }

    fn repo<'a>(&'a self, _who: &'a Identity, app: &'a AppName, _service: GitService) -> BoxFuture<'a, Result<RepoGrant, AccessError>> {
        async move {
            let found = self.apps.iter().find(|(name, _)| name == app);
            let (name, id) =
                found.ok_or_else(|| Denied { message: format!("There is no app named {app}.\nList yours with: landfall apps") })?;
            Ok(RepoGrant { app: *id, name: name.clone() })
        }
        .boxed()
    }
}

/// How the client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wire {
    Ssh,
    Http,
}

pub(crate) const WIRES: [Wire; 2] = [Wire::Ssh, Wire::Http];

pub(crate) struct Server {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) pushes: mpsc::UnboundedReceiver<Asked>,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) ssh_port: u16,
    pub(crate) http_port: u16,
    pub(crate) blog: AppId,
    pub(crate) stop: DropGuard,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut GitConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("hooks")).unwrap();
        for hook in ["pre-receive", "proc-receive"] {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_landfall-pre-receive"), at("hooks").join(hook)).unwrap();
        }
        let mut config = GitConfig {
            repositories: at("repos"),
            hooks: at("hooks"),
            hook_socket: at("hook.sock"),
            host_key: at("host_key"),
            ..GitConfig::default()
        };
        change(&mut config);
        make_key(&at("key")).await;
        make_key(&at("stranger")).await;
        let public = std::fs::read_to_string(at("key.pub")).unwrap();
        let key = russh::keys::ssh_key::PublicKey::from_openssh(&public).unwrap();
        let (blog, shop) = (AppId::new(), AppId::new());
        let access = Access {
            account: AccountId::new(),
            fingerprint: key.fingerprint(russh::keys::HashAlg::Sha256).to_string(),
            apps: vec![("blog".parse().unwrap(), blog), ("shop".parse().unwrap(), shop)],
        };
        let host = host_key(&config.host_key).unwrap();
        let hooks = UnixListener::bind(&config.hook_socket).unwrap();
        let receiver = Receiver::new(config, Arc::new(access));
        let stop = CancellationToken::new();
        let (asked, pushes) = mpsc::unbounded_channel();
        let (own, token) = (receiver.clone(), stop.clone());
        tokio::spawn(async move { hook::serve(hooks, &own, Arc::new(ControlPlane(asked)), Turns::new(1), token).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ssh_port = listener.local_addr().unwrap().port();
        tokio::spawn(ssh::serve(listener, receiver.clone(), host, stop.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http_port = listener.local_addr().unwrap().port();
        let router = http::router(receiver.clone());
        let token = stop.clone();
        tokio::spawn(async move { token.run_until_cancelled(axum::serve(listener, router).into_future()).await });
        Self { dir, pushes, receiver, ssh_port, http_port, blog, stop: stop.drop_guard() }
    }

    pub(crate) fn url(&self, wire: Wire, path: &str) -> String {
        match wire {
            Wire::Ssh => format!("ssh://git@127.0.0.1:{}/{path}", self.ssh_port),
            Wire::Http => format!("http://x:{TOKEN}@127.0.0.1:{}/{path}", self.http_port),
        }
    }

    /// A client's work tree with one commit on `main` and the remote `landfall`.
    pub(crate) async fn work_tree(&self, wire: Wire, name: &str) -> WorkTree {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        let tree = WorkTree { path, key: self.dir.path().join("key") };
        tree.ok(&["init", "-q", "-b", "main"]).await;
        tree.ok(&["remote", "add", "landfall", &self.url(wire, "blog.git")]).await;
        tree.commit("hello.txt", b"hello\n").await;
        tree
    }

    /// The next push that reaches the control plane.
    pub(crate) async fn asked(&mut self) -> Asked {
        tokio::time::timeout(DEADLINE, self.pushes.recv()).await.expect("no push came").expect("the server runs")
    }

    pub(crate) fn nothing_asked(&mut self) {
        assert!(self.pushes.try_recv().is_err(), "a push reached the control plane");
    }

    /// Waits until git keeps nothing of an unfinished push.
    pub(crate) async fn no_quarantine(&self) {
        let objects = self.receiver.repo_path(self.blog).join("objects");
        let left = || {
            std::fs::read_dir(&objects)
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().starts_with("tmp_objdir"))
        };
        until("the quarantine is gone", || !left()).await;
    }
}

/// Polls with a deadline.
pub(crate) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn make_key(path: &Path) {
    let status = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status().await.unwrap();
    assert!(status.success());
}

pub(crate) struct WorkTree {
    pub(crate) path: PathBuf,
    pub(crate) key: PathBuf,
}

pub(crate) struct Ran {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl WorkTree {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        let ssh = format!("ssh -F /dev/null -i {} {SSH_OPTIONS}", self.key.display());
        command.args(args).current_dir(&self.path).env_clear().envs([
            ("PATH", "/usr/bin:/bin"),
            ("HOME", "/nonexistent"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_AUTHOR_NAME", "Ann"),
            ("GIT_AUTHOR_EMAIL", "ann@example.com"),
            ("GIT_COMMITTER_NAME", "Ann"),
            ("GIT_COMMITTER_EMAIL", "ann@example.com"),
            ("GIT_SSH_COMMAND", &ssh),
        ]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).process_group(0);
        command
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).spawn().unwrap()
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        finish(self.spawn(args)).await
    }

    pub(crate) async fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args).await;
        assert!(ran.ok, "git {args:?} failed: {}", ran.err);
        ran.out
    }

    pub(crate) async fn commit(&self, file: &str, content: &[u8]) -> String {
        std::fs::write(self.path.join(file), content).unwrap();
        self.ok(&["add", "."]).await;
        self.ok(&["commit", "-q", "-m", file]).await;
        self.ok(&["rev-parse", "HEAD"]).await.trim().to_owned()
    }

    /// What the server has under a ref; empty if nothing.
    pub(crate) async fn remote(&self, name: &str) -> String {
        self.ok(&["ls-remote", "landfall", name]).await.split_whitespace().next().unwrap_or_default().to_owned()
    }
}

pub(crate) const SSH_OPTIONS: &str =
    "-o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes -o LogLevel=ERROR";

pub(crate) async fn finish(child: Child) -> Ran {
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.expect("the client hangs").unwrap();
    Ran {
        ok: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
