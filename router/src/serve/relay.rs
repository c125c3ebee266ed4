//! One request and its response, both streaming, both at once.
//!
//! Back-pressure is the shape of the code: each direction owns one buffer and reads again only after it was written out.

use tokio::io::AsyncWriteExt;

use super::buffer::Buffer;
use super::deadline::Deadline;
use super::download::respond;
use super::progress::Progress;
use super::transport::Transport;
use super::upload::feed;
use super::upstream::Upstream;
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
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) to_client: Vec<u8>,
    pub(crate) to_dyno: Vec<u8>,
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
        if let Poll::Ready(result) = respond.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if let Poll::Ready(failure) = feed.as_mut().poll(cx) {
            return Poll::Ready(Err(failure));
        }
        timer.poll(cx, progress.due()).map(|over| Err(Failure::Code(over.code(progress.timeout_code()))))
    })
    .await
}
