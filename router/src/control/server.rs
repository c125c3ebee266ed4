//! The router's side of the control socket.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use landfall_failpoint::failpoint;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::types::{AppStats, BackendStats, Drained, Operation, Reply, ReplyBody, Request, Stats};
use crate::persist::TableFile;
use crate::routes::Routes;
use crate::serve::Shared;

/// Connections of controllers at one time; one is in use.
const MAX_CONNECTIONS: usize = 64;
/// Replies that may wait for a controller that does not read.
const MAX_REPLIES: usize = 64;

/// How often a table that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Serves controllers.
#[derive(Debug)]
pub(crate) struct ControlServer {
    shared: Arc<Shared>,
    /// Held while a change is made and written, so that the file follows the table.
    table_file: Arc<Mutex<TableFile>>,
    shutdown: CancellationToken,
}

/// Binds the socket, taking the place of one that nobody serves any more.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Err(error) = std::os::unix::net::UnixStream::connect(path) {
        if error.kind() == io::ErrorKind::ConnectionRefused {
            std::fs::remove_file(path)?;
        }
    } else {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another router serves it"));
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl ControlServer {
    pub(crate) fn new(shared: Arc<Shared>, table_file: TableFile, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { shared, table_file: Arc::new(Mutex::new(table_file)), shutdown })
    }

    /// Accepts controllers until shutdown.
    pub(crate) async fn run(self: Arc<Self>, listener: UnixListener) {
        let tasks = TaskTracker::new();
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = retry.tick() => {
                    self.catch_up().await;
                    continue;
                }
                () = self.shutdown.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) if !is_trusted(&stream) => tracing::warn!("a stranger knocked on the control socket and was refused"),
                Ok((_, _)) if tasks.len() >= MAX_CONNECTIONS => tracing::warn!("too many connections to the control socket"),
                Ok((stream, _)) => {
                    tasks.spawn(Arc::clone(&self).serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn serve(self: Arc<Self>, stream: UnixStream) {
        let (reader, mut writer) = stream.into_split();
        let (replies, mut outgoing) = mpsc::channel::<Reply>(MAX_REPLIES);
        let write = async {
            while let Some(reply) = outgoing.recv().await {
                let mut line = serde_json::to_vec(&reply)?;
                line.push(b'\n');
                writer.write_all(&line).await?;
            }
            io::Result::Ok(())
        };
        let read = async {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            loop {
                line.clear();
                let count = (&mut reader).take(super::MAX_LINE as u64).read_until(b'\n', &mut line).await?;
                if count == 0 || line.last() != Some(&b'\n') {
                    return io::Result::Ok(());
                }
                self.handle(&line, &replies).await;
            }
        };
        tokio::select! {
            result = write => note(result),
            result = read => note(result),
            () = self.shutdown.cancelled() => {}
        }
    }

    async fn handle(self: &Arc<Self>, line: &[u8], replies: &mpsc::Sender<Reply>) {
        let request: Request = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => return send(replies, 0, ReplyBody::Refused { reason: format!("not a request: {error}") }).await,
        };
        let id = request.id;
        let body = match request.operation {
            Operation::Drain { backend, deadline_ms } => {
                let (this, replies) = (Arc::clone(self), replies.clone());
                tokio::spawn(async move {
                    let drained = tokio::select! {
                        drained = this.drain(&backend, deadline_ms) => drained,
                        () = replies.closed() => return,
                    };
                    send(&replies, id, ReplyBody::Drained(drained)).await;
                });
                return;
            }
            Operation::Stats => ReplyBody::Stats(self.stats()),
            Operation::Ping => ReplyBody::Pong { generation: self.shared.routes.generation() },
            change => self.apply(change).await,
        };
        send(replies, id, body).await;
    }

    /// Writes a table that could not be written when it changed.
    async fn catch_up(&self) {
        // Whoever holds it is writing.
        let Ok(mut file) = Arc::clone(&self.table_file).try_lock_owned() else { return };
        if file.is_behind() {
            let shared = Arc::clone(&self.shared);
            let written = tokio::task::spawn_blocking(move || file.catch_up(|| shared.routes.snapshot())).await;
            if let Ok(Ok(())) = written {
                tracing::info!("the route table is on disk again");
            }
        }
    }

    async fn apply(&self, change: Operation) -> ReplyBody {
        let file = Arc::clone(&self.table_file).lock_owned().await;
        let shared = Arc::clone(&self.shared);
        // Not on the threads that serve requests: a table may be large and a disk slow.
        let done = tokio::task::spawn_blocking(move || apply(&shared.routes, file, change)).await;
        done.unwrap_or_else(|_| ReplyBody::Refused { reason: "the router made a mistake; its log says which".to_owned() })
    }

    async fn drain(&self, backend: &str, deadline_ms: u64) -> Drained {
        failpoint("router.drain.asked");
        let Some(backend) = self.shared.routes.backend(backend) else { return Drained { requests: 0, tunnels: 0 } };
        let patience = Duration::from_millis(deadline_ms.min(24 * 3600 * 1000));
        backend.drain(Instant::now() + patience).await
    }

    fn stats(&self) -> Stats {
        let (generation, apps) = self.shared.routes.apps();
        let apps = apps
            .iter()
            .map(|app| AppStats {
                id: app.id.to_string(),
                requests: app.requests.load(Ordering::Relaxed),
                bytes: app.bytes.load(Ordering::Relaxed),
                waiting: app.waiting.load(Ordering::Relaxed) as u64,
                backends: app
                    .state()
                    .backends
                    .iter()
                    .map(|backend| BackendStats {
                        id: backend.id.to_string(),
                        requests: backend.requests.load(Ordering::Relaxed),
                        active: backend.load(),
                        tunnels: backend.tunnels(),
                    })
                    .collect(),
            })
            .collect();
        Stats {
            generation,
            connections: self.shared.admission.count() as u64,
            requests: self.shared.requests.load(Ordering::Relaxed),
            log_lines_dropped: self.shared.log.dropped(),
            platform_errors: self.shared.platform_errors.load(Ordering::Relaxed),
            idle_upstreams: self.shared.pool.count() as u64,
            memory: self.shared.memory() as u64,
            apps,
        }
    }
}

fn apply(routes: &Routes, mut file: OwnedMutexGuard<TableFile>, change: Operation) -> ReplyBody {
    failpoint("router.change.received");
    let (generation, result) = match &change {
        Operation::ReplaceTable { table } => {
            routes.replace_table(table);
            (table.generation, Ok(()))
        }
        Operation::ReplaceApp { generation, app } => (*generation, routes.replace_app(*generation, app)),
        Operation::RemoveApp { generation, app } => (*generation, routes.remove_app(*generation, app)),
        Operation::Drain { .. } | Operation::Stats | Operation::Ping => return ReplyBody::Refused { reason: "not a change".to_owned() },
    };
    if let Err(stale) = result {
        return ReplyBody::Refused { reason: stale.to_string() };
    }
    failpoint("router.change.applied");
    let saved = file.change(&change, || routes.snapshot());
    if let Err(error) = &saved {
        tracing::error!(%error, "cannot write the route table; a restart would bring back an older one");
    }
    failpoint("router.change.persisted");
    ReplyBody::Applied { generation, persisted: saved.is_ok() }
}

/// Our own user, or root.
fn is_trusted(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == rustix::process::geteuid().as_raw())
}

async fn send(replies: &mpsc::Sender<Reply>, id: u64, body: ReplyBody) {
    if replies.send(Reply { id, body }).await.is_err() {
        tracing::debug!("a controller left before it was answered");
    }
}

fn note(result: io::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a controller's connection broke");
    }
}
