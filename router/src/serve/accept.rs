//! Taking connections: as many as there is room for, and without spinning when there is none.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Shared, connection, reply};

/// How long accepting pauses when descriptors or memory run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Open connections. Touched when one opens or closes, never by requests.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    by_ip: HashMap<IpAddr, usize>,
    wakers: HashMap<u64, Arc<AtomicWaker>>,
    next: u64,
}

/// One connection's entry; dropped with it.
#[derive(Debug)]
pub(crate) struct Admitted {
    shared: Arc<Shared>,
    ip: IpAddr,
    key: u64,
    waker: Arc<AtomicWaker>,
}

impl Admitted {
    /// `None` if there are too many, of this address or in all.
    fn admit(shared: &Arc<Shared>, ip: IpAddr) -> Option<Self> {
        let ip = counted(ip);
        let mut open = shared.admission.lock();
        let of_ip = open.by_ip.get(&ip).copied().unwrap_or(0);
        if open.wakers.len() >= shared.limits.connections || of_ip >= shared.limits.connections_per_ip {
            return None;
        }
        open.by_ip.insert(ip, of_ip + 1);
        open.next += 1;
        let (key, waker) = (open.next, Arc::new(AtomicWaker::new()));
        open.wakers.insert(key, Arc::clone(&waker));
        drop(open);
        Some(Self { shared: Arc::clone(shared), ip, key, waker })
    }

    /// Wakes this task when the router stops, and again when it cannot wait any longer. Look at `Shared::stop` after calling it.
    pub(crate) fn wake_on_stop(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

/// What is counted as one address: a whole /64 of IPv6, as nobody gets less, and IPv4 as such on sockets of both.
fn counted(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) >> 64 << 64).into()),
        ip @ IpAddr::V4(_) => ip,
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.shared.admission.lock();
        open.wakers.remove(&self.key);
        if let Some(count) = open.by_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.by_ip.remove(&self.ip);
            }
        }
    }
}

impl Admission {
    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().wakers.len()
    }

    /// Lets connections see how far the router has come with stopping. A task keeps its waker for life: it stays registered.
    pub(crate) fn wake_all(&self) {
        for registered in self.lock().wakers.values() {
            if let Some(waker) = registered.take() {
                registered.register(&waker);
                waker.wake();
            }
        }
    }
}

/// Accepts until `shutdown`.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: TaskTracker, shutdown: CancellationToken) {
    let port = listener.local_addr().map_or(0, |addr| addr.port());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => match Admitted::admit(&shared, peer.ip().to_canonical()) {
                Some(admitted) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "cannot set TCP_NODELAY");
                    }
                    tasks.spawn(connection::serve(stream, peer, port, admitted, Arc::clone(&shared)));
                }
                None => turn_away(&stream),
            },
            Err(error) if is_the_peers(&error) => tracing::debug!(%error, "a connection ended before it was accepted"),
            Err(error) => {
                // Out of descriptors or memory: the connection stays in the queue, so asking again at once would spin.
                if shared.accept_failures.fetch_add(1, Ordering::Relaxed).is_multiple_of(100) {
                    tracing::warn!(%error, "cannot accept connections; trying again every {PAUSE:?}");
                }
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = shutdown.cancelled() => return,
                }
            }
        }
    }
}

/// Says 503 without waiting for the peer.
fn turn_away(stream: &TcpStream) {
    if let Err(error) = stream.try_write(reply::FULL) {
        tracing::trace!(%error, "cannot tell a client that there are too many");
    }
}

fn is_the_peers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_subscriber_is_one_address() {
        let counted = |ip: &str| counted(ip.parse().unwrap());
        assert_eq!(counted("2001:db8:1:2::3"), counted("2001:db8:1:2:ffff::4"));
        assert_ne!(counted("2001:db8:1:2::3"), counted("2001:db8:1:3::3"));
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
        assert_ne!(counted("192.0.2.1"), counted("192.0.2.2"));
    }
}
