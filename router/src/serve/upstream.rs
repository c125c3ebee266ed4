//! A connection to a dyno.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::buffer::Buffer;
use crate::budget::Budget;
use crate::code::Code;
use crate::routes::idle::Permit;

/// A connection to a dyno, between requests or during one.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: TcpStream,
    pub(crate) buffer: Buffer,
    pub(crate) idle_since: Instant,
    /// Held while it is idle.
    pub(crate) permit: Option<Permit>,
}

impl Upstream {
    /// # Errors
    /// H19 if nobody answered in time, H21 if the connection was refused, H23 if nobody can ever connect to this address, H99 if this
    /// process has nothing left to connect with.
    pub(crate) async fn connect(addr: SocketAddr, patience: Duration, budget: &Arc<Budget>) -> Result<Box<Self>, Code> {
        let stream = match timeout(patience, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let code = code_of(&error);
                if code == Code::H99 {
                    tracing::error!(%addr, %error, "cannot make a connection to a dyno; raise the limits of this process");
                } else {
                    tracing::debug!(%addr, %error, "cannot connect to a dyno");
                }
                return Err(code);
            }
            Err(_) => return Err(Code::H19),
        };
        // A head and a body may leave in two writes; the second must not wait for the first one's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%addr, %error, "cannot set TCP_NODELAY");
        }
        Ok(Box::new(Self { stream, buffer: Buffer::new(budget), idle_since: Instant::now(), permit: None }))
    }

    /// Whether it can take another request: idle for a short time, not closed, and nothing came that nobody asked for.
    pub(crate) fn is_fresh(&self, max_idle: Duration, now: Instant) -> bool {
        let quiet = || matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.buffer.is_empty() && now.saturating_duration_since(self.idle_since) < max_idle && quiet()
    }
}

fn code_of(error: &io::Error) -> Code {
    use io::ErrorKind as Kind;
    match error.kind() {
        // No answer to the question who has this address: the dyno and its network are gone.
        Kind::TimedOut | Kind::HostUnreachable => Code::H19,
        Kind::InvalidInput | Kind::NetworkUnreachable | Kind::AddrNotAvailable | Kind::PermissionDenied | Kind::Unsupported => Code::H23,
        _ => match rustix::io::Errno::from_io_error(error) {
            Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE | rustix::io::Errno::NOBUFS | rustix::io::Errno::NOMEM) => Code::H99,
            _ => Code::H21,
        },
    }
}
