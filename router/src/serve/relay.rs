//! One request and its response, both streaming, both at once.
//!
//! Back-pressure is the shape of the code: each direction owns one buffer and reads again only after it was written out.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::buffer::Buffer;
use super::deadline::Deadline;
use super::download::respond;
use super::progress::Progress;
use super::transport::Transport;
use super::upload::feed;
use super::upstream::Upstream;
use crate::budget::{Budget, BudgetVec, REWRITTEN};
use crate::code::Code;
use crate::config::Limits;
use crate::http1::Framing;
use crate::http1::response::{Asked, Response};

/// Why an exchange ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The dyno's connection ended before anything was heard. `sent` is false if it did not even take the first byte.
    Silent {
        sent: bool,
    },
    /// The client's body is not framed properly.
    BadBody,
    Code(Code),
}

/// The scratch space of a client's connection.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) to_client: BudgetVec,
    pub(crate) to_dyno: BudgetVec,
}

impl Scratch {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self { to_client: BudgetVec::new(REWRITTEN, budget), to_dyno: BudgetVec::new(REWRITTEN, budget) }
    }

    pub(crate) fn shrink(&mut self) {
        self.to_client.release();
        self.to_dyno.release();
    }
}

/// Sends `head` and the body that follows it from the client, and passes the response back. The response is complete when this
/// returns `Ok`, except for 101, where the connection is the protocol's from now on.
#[allow(clippy::too_many_arguments)]
pub(crate) async fn relay<T: Transport>(
    client: &mut T,
    ahead: &mut Buffer,
    upstream: &mut Upstream,
    head: &[u8],
    framing: Framing,
    asked: Asked,
    scratch: &mut Scratch,
    timer: &mut Deadline,
    progress: &Progress,
    limits: &Limits,
) -> Result<Response, Failure> {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_dyno, mut to_dyno) = upstream.stream.split();
    let first = to_dyno.write(head).await.map_err(|_| Failure::Silent { sent: false })?;

    let respond = respond(&mut from_dyno, &mut upstream.buffer, &mut to_client, asked, &mut scratch.to_client, progress, limits);
    let feed = feed(&mut from_client, ahead, &mut to_dyno, &head[first..], framing, &mut scratch.to_dyno, progress);
    let (mut respond, mut feed) = (std::pin::pin!(respond), std::pin::pin!(feed));
    std::future::poll_fn(|cx| {
        use std::future::Future as _;
        use std::task::Poll;
        // The request first: a quick answer may be there already, and the connection is kept only if all of the request is known to be sent.
        let fed = feed.as_mut().poll(cx);
        if let Poll::Ready(result) = respond.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if let Poll::Ready(failure) = fed {
            return Poll::Ready(Err(failure));
        }
        timer.poll(cx, progress.due()).map(|over| Err(Failure::Code(over.code(progress.timeout_code()))))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::super::stop::Stop;
    use super::*;

    /// An answer that is there before anybody asked whether the request is sent: on two busy cores one in some hundred is.
    #[tokio::test]
    async fn a_dyno_that_answers_at_once_costs_nobody_the_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let budget = Budget::new(0);
        let mut upstream = Upstream::connect(addr, Duration::from_secs(5), &budget).await.unwrap();
        let (mut dyno, _) = listener.accept().await.unwrap();
        dyno.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
        upstream.buffer.read_body(&mut upstream.stream).await.unwrap();
        let _visitor = TcpStream::connect(addr).await.unwrap();
        let (mut client, _) = listener.accept().await.unwrap();

        let limits = Limits::default();
        let progress = Progress::new(&limits);
        let mut timer = Deadline::new(Instant::now() + Duration::from_secs(5), Arc::new(Stop::default()));
        let asked = Asked { is_head: false, is_http11: true, keep_alive: true, upgrade: false };
        let head = b"GET / HTTP/1.1\r\nHost: app\r\n\r\n";
        let (mut ahead, mut scratch) = (Buffer::new(&budget), Scratch::new(&budget));
        let response =
            relay(&mut client, &mut ahead, &mut upstream, head, Framing::None, asked, &mut scratch, &mut timer, &progress, &limits);
        let response = response.await.unwrap();
        assert!(response.keep_client && progress.is_sent(), "else the connection is closed, though the answer said that it is kept");
    }
}
