//! Accepting connections, and the caps on them.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::{MethodKind, MethodSet, Preferred, SshId, compression, server};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::session::Connection;
use crate::git::Receiver;

/// Serves until `shutdown`; then no connection is taken, and those that run are closed.
pub async fn serve(listener: TcpListener, receiver: Arc<Receiver>, host_key: PrivateKey, shutdown: CancellationToken) {
    let config = receiver.config();
    let ssh = Arc::new(server::Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Landfall")),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(300),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        preferred: Preferred { compression: Cow::Borrowed(&[compression::NONE]), ..Preferred::DEFAULT },
        max_auth_attempts: config.max_auth_tries,
        // A build may be silent for long. Dead peers are found by TCP's own keepalive, which also spares a client that was only stopped (Ctrl-Z).
        inactivity_timeout: None,
        keepalive_interval: None,
        nodelay: true,
        ..server::Config::default()
    });
    let connections = Arc::new(Semaphore::new(config.max_connections));
    let strangers = Arc::new(Semaphore::new(config.max_unauthenticated));
    let tracker = TaskTracker::new();
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: breathe instead of spinning.
                warn!(%error, "accepting an SSH connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (Ok(connection), Ok(stranger)) = (connections.clone().try_acquire_owned(), strangers.clone().try_acquire_owned()) else {
            warn!(%peer, "too many SSH connections; closed this one");
            continue;
        };
        let (receiver, ssh, shutdown) = (receiver.clone(), ssh.clone(), shutdown.clone());
        tracker.spawn(async move {
            if let Err(error) = one(stream, peer.ip(), receiver, ssh, stranger, shutdown).await {
                debug!(%peer, %error, "SSH connection ended");
            }
            drop(connection);
        });
    }
    tracker.close();
    tracker.wait().await;
}

async fn one(
    stream: TcpStream,
    peer: IpAddr,
    receiver: Arc<Receiver>,
    ssh: Arc<server::Config>,
    stranger: tokio::sync::OwnedSemaphorePermit,
    shutdown: CancellationToken,
) -> Result<(), russh::Error> {
    keep_alive(&stream);
    // A second handle on the socket: closing it ends the session whatever state it is in.
    let stream = stream.into_std()?;
    let closer = stream.try_clone()?;
    let stream = TcpStream::from_std(stream)?;
    let grace = receiver.config().login_grace;
    let ended = shutdown.child_token();
    let authenticated = CancellationToken::new();
    let connection = Connection::new(receiver, peer, stranger, authenticated.clone(), ended.clone());
    let _on_return = ended.clone().drop_guard();
    let session = async { server::run_stream(ssh, stream, connection).await?.await };
    tokio::pin!(session);
    let result = tokio::select! {
        result = &mut session => return result,
        () = ended.cancelled() => Ok(()),
        () = late(grace, &authenticated) => Err(russh::Error::ConnectionTimeout),
    };
    let _ = closer.shutdown(std::net::Shutdown::Both);
    // Ends at once now; waited for, so that nothing outlives the server.
    let _ = tokio::time::timeout(Duration::from_secs(5), session).await;
    result
}

/// Ends when the login grace is over and nobody logged in.
async fn late(grace: Duration, authenticated: &CancellationToken) {
    if tokio::time::timeout(grace, authenticated.cancelled()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

fn keep_alive(stream: &TcpStream) {
    use nix::sys::socket::{setsockopt, sockopt};
    // Failure costs only the early notice of a dead peer.
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &30);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &10);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &6);
}
