//! What connections can do. TLS for clients will be another implementation.

use std::future::Future;

use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// A client's connection that can be read and written at the same time, without a lock between the halves.
pub(crate) trait Transport: Send + 'static {
    /// `X-Forwarded-Proto`, and `protocol=` in log lines.
    const PROTO: &'static str;
    type Reader<'a>: AsyncRead + QuickAck + Leaving + Unpin + Send;
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

/// A connection whose peer is seen leaving while nobody reads what it sent.
pub(crate) trait Leaving {
    /// Ends once the peer has closed its side, or the connection broke. Nothing is read; what came before may still be there.
    fn left(&self) -> impl Future<Output = ()> + Send;
}

impl Leaving for ReadHalf<'_> {
    async fn left(&self) {
        // Bytes that nobody reads make a socket readable all the time. Waiting for urgent data ends when the stream does as well, and
        // urgent data is never told of: the socket is not registered for it.
        if let Err(error) = self.ready(Interest::PRIORITY).await {
            tracing::trace!(%error, "cannot wait for the client");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_peer_that_leaves_is_seen_behind_bytes_that_nobody_reads() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for reset in [false, true] {
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let (reader, _) = stream.split();
            peer.write_all(&[b'x'; 1000]).await.unwrap();
            let early = timeout(Duration::from_millis(50), reader.left()).await;
            assert!(early.is_err(), "it is still there");
            if reset {
                peer.set_zero_linger().unwrap();
            }
            drop(peer);
            timeout(Duration::from_secs(5), reader.left()).await.unwrap();
        }
    }
}
