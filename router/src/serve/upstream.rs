//! A connection to a dyno.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::buffer::Buffer;
use crate::code::Code;

/// A connection to a dyno, between requests or during one.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) stream: TcpStream,
    pub(crate) buffer: Buffer,
    pub(crate) idle_since: Instant,
}

impl Upstream {
    /// # Errors
    /// H19 if nobody answered in time, H21 if the connection was refused or could not be made for another reason.
    pub(crate) async fn connect(addr: SocketAddr, patience: Duration) -> Result<Self, Code> {
        let stream = match timeout(patience, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if error.kind() == io::ErrorKind::TimedOut => return Err(Code::H19),
            Ok(Err(error)) => {
                tracing::debug!(%addr, %error, "cannot connect to a dyno");
                return Err(Code::H21);
            }
            Err(_) => return Err(Code::H19),
        };
        // A head and a body may leave in two writes; the second must not wait for the first one's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%addr, %error, "cannot set TCP_NODELAY");
        }
        Ok(Self { stream, buffer: Buffer::default(), idle_since: Instant::now() })
    }

    /// Whether it can take another request: idle for a short time, not closed, and nothing came that nobody asked for.
    pub(crate) fn is_fresh(&self, max_idle: Duration, now: Instant) -> bool {
        let quiet = || matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        self.buffer.is_empty() && now.saturating_duration_since(self.idle_since) < max_idle && quiet()
    }
}
