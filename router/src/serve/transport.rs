//! What a client's connection can do. TLS will be another implementation.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// A client's connection that can be read and written at the same time, without a lock between the halves.
pub(crate) trait Transport: Send + 'static {
    /// `X-Forwarded-Proto`, and `protocol=` in log lines.
    const PROTO: &'static str;
    type Reader<'a>: AsyncRead + Unpin + Send;
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
