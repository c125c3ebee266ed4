//! Starting, serving, stopping.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access_log::AccessLog;
use crate::budget::Budget;
use crate::config::{Listen, RouterConfig};
use crate::control::server::{self, ControlServer};
use crate::error::RouterError;
use crate::pages::Pages;
use crate::persist::{self, TableFile};
use crate::resources;
use crate::routes::Routes;
use crate::routes::idle::Pool;
use crate::serve::Shared;
use crate::serve::accept::{Admission, accept};
use crate::serve::stop::Stop;

/// How often idle connections to dynos are looked over.
const SWEEP: Duration = Duration::from_millis(500);
/// How long requests that are cut have to say so in the log.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Binds and serves until `shutdown`: then stops accepting, lets requests finish, and returns.
pub async fn run(config: RouterConfig, shutdown: CancellationToken) -> Result<(), RouterError> {
    Router::bind(config)?.serve(shutdown).await;
    Ok(())
}

/// A router that has its sockets and its last table, and does not serve yet.
#[derive(Debug)]
pub struct Router {
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    control: UnixListener,
    table_file: TableFile,
    control_socket: PathBuf,
}

impl Router {
    /// Takes the sockets and loads the last table. Call it inside a tokio runtime.
    pub fn bind(mut config: RouterConfig) -> Result<Self, RouterError> {
        let pages = Pages::load(config.pages_dir.as_deref()).map_err(RouterError::Pages)?;
        for path in [&config.table_file, &config.control_socket] {
            make_parent(path)?;
        }
        let (table_file, table) = TableFile::open(config.table_file.clone(), persist::boot())
            .map_err(|source| RouterError::Table { path: config.table_file.clone(), source })?;
        let listeners = std::mem::take(&mut config.listen).into_iter().map(listen).collect::<Result<Vec<_>, _>>()?;
        let control =
            server::bind(&config.control_socket).map_err(|source| RouterError::Control { path: config.control_socket.clone(), source })?;
        let routes = Routes::new(config.platform_domains.clone());
        routes.replace_table(&table);
        let mut limits = config.limits.clone();
        let budget = Budget::new(resources::share_out(&mut limits));
        let log = AccessLog::start(limits.log_queue, limits.log_queue_per_app).map_err(RouterError::Log)?;
        let shared = Arc::new(Shared {
            routes,
            pool: Pool::new(limits.idle_upstreams),
            budget,
            limits,
            pages,
            log,
            admission: Admission::default(),
            requests: AtomicU64::new(0),
            accept_failures: AtomicU64::new(0),
            platform_errors: AtomicU64::new(0),
            stop: Arc::new(Stop::default()),
            started: Instant::now(),
        });
        Ok(Self { shared, listeners, control, table_file, control_socket: config.control_socket })
    }

    /// Where it listens, in the order of the config.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `shutdown`, then drains.
    pub async fn serve(self, shutdown: CancellationToken) {
        let Self { shared, listeners, control, table_file, control_socket } = self;
        let (connections, helpers) = (TaskTracker::new(), TaskTracker::new());
        let acceptors = TaskTracker::new();
        for listener in listeners {
            acceptors.spawn(accept(listener, Arc::clone(&shared), connections.clone(), shutdown.clone()));
        }
        // The controller may speak while requests drain: it asks who is still busy.
        let helpers_stop = CancellationToken::new();
        let controllers = ControlServer::new(Arc::clone(&shared), table_file, helpers_stop.clone());
        helpers.spawn(controllers.run(control));
        helpers.spawn(sweep(Arc::clone(&shared), helpers_stop.clone()));

        shutdown.cancelled().await;
        acceptors.close();
        acceptors.wait().await;
        shared.stop.begin();
        shared.admission.wake_all();
        connections.close();
        if timeout(shared.limits.shutdown, connections.wait()).await.is_err() {
            tracing::warn!(connections = shared.admission.count(), "requests did not finish in time; they are cut");
            shared.stop.force();
            shared.admission.wake_all();
            let _ = timeout(LAST_WORDS, connections.wait()).await;
        }
        helpers_stop.cancel();
        helpers.close();
        helpers.wait().await;
        if let Err(error) = std::fs::remove_file(&control_socket) {
            tracing::debug!(%error, "the control socket was gone already");
        }
        let log = Arc::clone(&shared);
        if tokio::task::spawn_blocking(move || log.log.finish()).await.is_err() {
            tracing::error!("cannot wait for the last request lines");
        }
    }
}

fn listen(listen: Listen) -> Result<TcpListener, RouterError> {
    let (addr, bound) = match listen {
        Listen::Tcp(addr) => (addr.to_string(), std::net::TcpListener::bind(addr)),
        Listen::Handed(listener) => {
            (listener.local_addr().map_or_else(|_| "a handed socket".to_owned(), |addr| addr.to_string()), Ok(listener))
        }
    };
    bound
        .and_then(|listener| {
            listener.set_nonblocking(true)?;
            rustix::net::listen(&listener, 4096)?;
            TcpListener::from_std(listener)
        })
        .map_err(|source| RouterError::Listen { addr, source })
}

fn make_parent(path: &Path) -> Result<(), RouterError> {
    let Some(dir) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(dir).map_err(|source| RouterError::Directory { path: dir.to_owned(), source })
}

async fn sweep(shared: Arc<Shared>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let now = Instant::now();
        shared.pool.sweep(shared.limits.upstream_keep_alive, now);
    }
}
