//! The composition root: opens everything, joins it, serves, and stops in order.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use landfall_api::{ApiConfig, ApiState};
use landfall_builder::git::{self, Receiver};
use landfall_builder::hook;
use landfall_model::Hostname;
use landfall_store::{Store, StoreConfig, StoreError};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::adapters::{Builds, Deploys, StoreGitAccess};
use crate::config::ServerConfig;
use crate::platform::Live;
use crate::reconcile::Supervisor;
use crate::{descriptors, door, first_boot, housekeeping};

/// Runs the server until `shutdown`.
///
/// Every address is bound before anything else happens, so that a taken port is the first thing one hears of. Agent and router may come
/// later: the server waits for them as long as it takes.
///
/// # Errors
///
/// Something that cannot get better by itself: a taken port, a directory that cannot be written, a database that cannot be opened.
pub async fn run(config: ServerConfig, shutdown: CancellationToken) -> anyhow::Result<()> {
    let sample: Result<Hostname, _> = format!("app.{}", config.platform_domain).parse();
    sample.with_context(|| format!("platform_domain \"{}\" cannot be the end of a host name", config.platform_domain))?;
    descriptors::raise();
    let listeners = Listeners::bind(&config)?;
    for dir in
        [&config.data_dir, &config.logs_dir(), &config.release_output_dir(), &config.build_cache_dir(), &config.build_config().builds]
    {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    let store = open_store(&config).await?;
    first_boot::belong_together(&config.data_dir, store.instance())?;
    let mut claim = store.claim(&who()).await.map_err(|error| worded("claiming the database", &error))?;
    first_boot::forget_uploads(&config.data_dir.join("uploads"));
    first_boot::admin_account(&store, &config).await?;

    let tasks = TaskTracker::new();
    let cancel = shutdown.child_token();
    let supervisor = Supervisor::new(store.clone(), config.clone(), cancel.clone(), tasks.clone());
    let builds = Arc::new(Builds::new(supervisor.clone()));
    let interrupted = builds.interrupt_leftovers().await.context("failing the builds an earlier server left behind")?;
    if interrupted > 0 {
        tracing::warn!(builds = interrupted, "builds that an earlier server left behind are failed; push again");
    }
    supervisor.start();
    tasks.spawn(builds.clone().sweep());
    tasks.spawn(housekeeping::run(supervisor.shared().clone()));

    let receiver = Receiver::new(config.git_config(), Arc::new(StoreGitAccess::new(store.clone())));
    let deploys = Arc::new(Deploys::new(store.clone(), builds.clone()));
    serve_git(&config, &receiver, deploys, &builds, listeners.hook, listeners.ssh, &cancel, &tasks)?;

    let platform = Arc::new(Live::new(supervisor.clone(), builds));
    let api_config = ApiConfig::new(
        config.public_url(),
        first_boot::secret_key(&config.data_dir.join("ticket.key"))?,
        config.logs_dir(),
        config.data_dir.join("uploads"),
    );
    let state = ApiState::new(Arc::new(store.clone()), platform, api_config);
    let app = git::http::router(receiver).merge(landfall_api::router(state.clone()));
    tracing::info!(api = %config.api_listen, ssh = ?config.ssh_listen, "the server is ready");

    let stop = cancel.clone();
    let mut lost = None;
    tokio::select! {
        () = door::serve(listen(listeners.api, "the API")?, app, config.door.clone(), stop) => {}
        // Somebody else works on the database now: from here on every deed of ours would cross theirs.
        error = claim.lost() => lost = Some(error),
        // Streams of logs never end by themselves: they get the time everything else gets.
        () = async { cancel.cancelled().await; tokio::time::sleep(config.shutdown).await } => {}
    }
    cancel.cancel();
    tasks.close();
    if tokio::time::timeout(config.shutdown, async { tokio::join!(state.finished(), tasks.wait()) }).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "stopping although something is still under way; the next start goes on from there");
    }
    drop(claim);
    store.close().await;
    if let Some(error) = lost {
        return Err(worded("another server took over", &error));
    }
    let socket = config.git_config().hook_socket;
    if let Err(error) = std::fs::remove_file(&socket) {
        tracing::debug!(socket = %socket.display(), %error, "the socket was gone already");
    }
    Ok(())
}

/// This process, for whoever finds the database taken.
fn who() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("process {} on {}, since {}", std::process::id(), host.trim(), jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ"))
}

fn worded(doing: &str, error: &StoreError) -> anyhow::Error {
    anyhow::anyhow!("{doing}: {}\n{}", crate::explain(error), error.hint())
}

async fn open_store(config: &ServerConfig) -> anyhow::Result<Store> {
    let url = config.store_url.clone().unwrap_or_else(|| format!("sqlite:{}", config.data_dir.join("landfall.db").display()));
    let store = StoreConfig {
        platform_domain: config.platform_domain.clone(),
        api_host: Some(config.public_host()),
        ..StoreConfig::new(url, config.data_dir.join("secret.key"))
    };
    Store::open(store).await.map_err(|error| worded("opening the database", &error))
}

/// Everything the server will listen on. Addresses are taken at once; nobody can connect before there is somebody to answer.
struct Listeners {
    api: TcpSocket,
    ssh: Option<TcpSocket>,
    hook: UnixListener,
}

impl Listeners {
    fn bind(config: &ServerConfig) -> anyhow::Result<Self> {
        let api = bind(config.api_listen, "the API")?;
        let ssh = config.ssh_listen.map(|address| bind(address, "git over SSH")).transpose()?;
        std::fs::create_dir_all(&config.run_dir).with_context(|| format!("making {}", config.run_dir.display()))?;
        let hook = hook_socket(&config.git_config().hook_socket)?;
        Ok(Self { api, ssh, hook })
    }
}

/// Connections waiting to be accepted, at most.
const BACKLOG: u32 = 1024;

fn bind(address: SocketAddr, what: &str) -> anyhow::Result<TcpSocket> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok::<_, std::io::Error>(socket)
    };
    bound().with_context(|| format!("listening on {address} for {what}; is another server running? (landfall down stops it)"))
}

fn listen(socket: TcpSocket, what: &str) -> anyhow::Result<TcpListener> {
    socket.listen(BACKLOG).with_context(|| format!("listening for {what}; is another server running? (landfall down stops it)"))
}

/// A socket file of an earlier server is in the way only if nobody answers on it.
fn hook_socket(path: &Path) -> anyhow::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("another server answers on {}; stop it with: landfall down", path.display());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("replacing {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("listening on {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(|| format!("protecting {}", path.display()))?;
    Ok(listener)
}

#[expect(clippy::too_many_arguments, reason = "the joints of the git receiver, each used once")]
fn serve_git(
    config: &ServerConfig,
    receiver: &Arc<Receiver>,
    deploys: Arc<Deploys>,
    builds: &Arc<Builds>,
    hook: UnixListener,
    ssh: Option<TcpSocket>,
    cancel: &CancellationToken,
    tasks: &TaskTracker,
) -> anyhow::Result<()> {
    let (own, turns, token) = (receiver.clone(), builds.turns().clone(), cancel.clone());
    tasks.spawn(async move { hook::serve(hook, &own, deploys, turns, token).await });
    if let Some(socket) = ssh {
        let listener = listen(socket, "git over SSH")?;
        let key = git::host_key(&config.git_config().host_key).context("the SSH host key")?;
        tasks.spawn(git::ssh::serve(listener, receiver.clone(), key, cancel.clone()));
    }
    Ok(())
}
