//! What connections can do. TLS for clients will be another implementation.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// A client's connection that can be read and written at the same time, without a lock between the halves.
pub(crate) trait Transport: Send + 'static {
    /// `X-Forwarded-Proto`, and `protocol=` in log lines.
    const PROTO: &'static str;
    type Reader<'a>: AsyncRead + QuickAck + Unpin + Send;
    type Writer<'a>: AsyncWrite + Unpin + Send;

    fn split(&mut self) -> (Self::Reader<'_>, Self::Writer<'_>);
}

impl Transport for TcpStream {
    const PROTO: &'static str = "http";
    type Reader<'a> = ReadHalf<'a>;
    type Writer<'a> = WriteHalf<'a>;

    fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        TcpStream::split(self)
    }
}

/// What is shorter came in a segment that was not full: a sender that does not set `TCP_NODELAY` holds its next one back until this one
/// is acknowledged, and the kernel would take 40 ms for that. Many apps write a head and a body this way.
pub(crate) const SHORT: usize = 1400;

/// A connection whose peer can be told at once that its bytes arrived.
pub(crate) trait QuickAck {
    /// Acknowledges what was read. Costs one system call; worth it only when more is expected after something [`SHORT`].
    fn quick_ack(&self);
}

impl QuickAck for ReadHalf<'_> {
    fn quick_ack(&self) {
        let stream: &TcpStream = self.as_ref();
        if let Err(error) = rustix::net::sockopt::set_tcp_quickack(stream, true) {
            tracing::trace!(%error, "cannot acknowledge early");
        }
    }
}
