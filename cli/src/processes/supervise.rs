//! Parent of agent, router and server where there is no systemd: starts them, and starts again what dies. Knows nothing else.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::User;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::leftovers::Note;
use crate::args::ConfigArg;
use crate::config::Config;
use crate::error::{CliError, Result};

/// The three, in starting order.
pub(crate) const ROLES: [Role; 3] = [
    Role { name: "agent", privileged: true, serves: false },
    Role { name: "router", privileged: false, serves: true },
    Role { name: "server", privileged: false, serves: false },
];

/// A process that ran this long before it died is started again at once: whatever killed it, it was not its own start, which takes less than one.
const STEADY: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The server may be finishing a request, the router draining connections.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(15);

/// One of our processes.
#[derive(Clone, Copy)]
pub(crate) struct Role {
    /// Subcommand and name in notes and logs.
    pub(crate) name: &'static str,
    /// Whether it runs as root.
    privileged: bool,
    /// Whether it is handed the socket where requests come in.
    serves: bool,
}

/// Runs until SIGTERM; then stops server, router and agent, in this order.
pub(crate) fn supervise(arg: &ConfigArg) -> Result<ExitCode> {
    let config = Config::load(arg)?;
    let user = user(&config)?;
    for role in ROLES {
        Note::of(&config.run_dir, role.name)
            .stop(STOP_GRACE)
            .map_err(|error| CliError::io(format!("stopping an old {}", role.name), error, "landfall down"))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::io("starting", error, "landfall up"))?;
    runtime.block_on(async {
        let failed = |error| CliError::io("watching for signals", error, "landfall up");
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let tokens = ROLES.map(|_| CancellationToken::new());
        let mut tasks = JoinSet::new();
        let door = Arc::new(door(&config)?);
        for (role, token) in ROLES.into_iter().zip(&tokens) {
            tasks.spawn(keep_running(role, arg.clone(), config.clone(), user.clone(), Arc::clone(&door), token.clone()));
        }
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        for token in tokens.iter().rev() {
            token.cancel();
            tasks.join_next().await;
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// The unprivileged user of the configuration.
pub(crate) fn user(config: &Config) -> Result<User> {
    let advice = format!("useradd --system --home-dir {} --shell /usr/sbin/nologin {}", config.data_dir.display(), config.user);
    match User::from_name(&config.user) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(CliError::new(format!("there is no user \"{}\" on this machine", config.user), advice)),
        Err(error) => Err(CliError::io(format!("looking up the user {}", config.user), error, advice)),
    }
}

/// Where requests come in. It is ours and outlives the router: while that is started anew, requests wait and none is refused.
fn door(config: &Config) -> Result<TcpListener> {
    let advice = format!("ss -ltnp 'sport = :{}' to see who has it", config.router.listen.port());
    TcpListener::bind(config.router.listen).map_err(|error| CliError::io("binding router.listen", error, advice))
}

async fn keep_running(role: Role, arg: ConfigArg, config: Config, user: User, door: Arc<TcpListener>, stop: CancellationToken) {
    let mut pause = FIRST_PAUSE;
    let note = Note::of(&config.run_dir, role.name);
    while !stop.is_cancelled() {
        let started = Instant::now();
        match spawn(role, &arg, &config, &user, &door) {
            Ok(mut child) => {
                if let Some(pid) = child.id() {
                    let _ = note.write(pid);
                }
                tokio::select! {
                    status = child.wait() => {
                        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                        tell(&format!("{} ended ({how}); starting it again", role.name));
                    }
                    () = stop.cancelled() => {
                        end(&mut child, &note).await;
                        return;
                    }
                }
            }
            Err(error) => tell(&format!("{} did not start: {error}", role.name)),
        }
        pause = if started.elapsed() > STEADY { FIRST_PAUSE } else { (pause * 2).min(LONGEST_PAUSE) };
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => {} }
    }
}

/// To our log, which may be on a full disk: then nobody is told, and everything else goes on.
fn tell(line: &str) {
    let _lost = writeln!(std::io::stderr(), "{line}");
}

async fn end(child: &mut Child, note: &Note) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(STOP_GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    note.clear();
}

fn spawn(role: Role, arg: &ConfigArg, config: &Config, user: &User, door: &TcpListener) -> std::io::Result<Child> {
    // Better a process without a log than none, where the disk has no room for one.
    let log = log_file(&config.data_dir, role.name).or_else(|_| OpenOptions::new().write(true).open("/dev/null"))?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg(role.name).arg("--config").arg(&arg.config);
    for pair in &arg.set {
        command.arg("--set").arg(pair);
    }
    // Of its own session: the terminal that started us may close.
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/").process_group(0);
    if !role.privileged && rustix::process::geteuid().is_root() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        command.env("HOME", &config.data_dir).env("USER", &user.name);
    }
    if !role.serves {
        return Command::from(command).spawn();
    }
    command.env_remove("LISTEN_PID").env("LISTEN_FDS", "1").env("LISTEN_FDS_FIRST_FD", door.as_raw_fd().to_string());
    // There is one thread here: nobody else is started between these two, and inherits it.
    rustix::io::fcntl_setfd(door, rustix::io::FdFlags::empty())?;
    let child = Command::from(command).spawn();
    rustix::io::fcntl_setfd(door, rustix::io::FdFlags::CLOEXEC)?;
    child
}

fn log_file(data_dir: &Path, name: &str) -> std::io::Result<std::fs::File> {
    OpenOptions::new().create(true).append(true).open(data_dir.join("log").join(format!("{name}.log")))
}
