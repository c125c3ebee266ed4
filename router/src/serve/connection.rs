//! One client's connection: heads in, exchanges one after another, and an end that loses nothing that was sent.

use std::future::Future as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::Shared;
use super::accept::Admitted;
use super::buffer::Buffer;
use super::deadline::{Deadline, Over};
use super::exchange::exchange;
use super::relay::Scratch;
use super::reply::{self, Page};
use super::transport::{Leaving as _, Transport};
use crate::code::Code;
use crate::http1::head::{HeadError, HeadLimits, HeadScan};
use crate::http1::request::{Origin, Reject, Request};

/// Empty lines a client may send between requests (RFC 9112, section 2.2).
const MAX_EMPTY_LINES: usize = 4;
/// How much is read and thrown away before a connection is closed, so that the client sees our answer and not a reset.
const LINGER_BYTES: usize = 1024 * 1024;
const LINGER_TIME: Duration = Duration::from_secs(2);

/// What a connection owns, used again for each request.
pub(crate) struct Conn<T> {
    pub(crate) client: T,
    pub(crate) ahead: Buffer,
    pub(crate) request: Request,
    pub(crate) scratch: Scratch,
    pub(crate) timer: Deadline,
    pub(crate) shared: Arc<Shared>,
}

/// What happens to the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Keep,
    /// Close, but let the client read what was sent first.
    Linger,
    Cut,
}

enum Head {
    Complete(usize),
    Bad(u16),
    End,
}

/// Serves a connection until it ends.
pub(crate) async fn serve<T: Transport>(client: T, peer: SocketAddr, local_port: u16, admitted: Admitted, shared: Arc<Shared>) {
    let timer = Deadline::new(Instant::now() + shared.limits.header_timeout, Arc::clone(&shared.stop));
    let register = std::future::poll_fn(|cx| {
        admitted.wake_on_stop(cx.waker());
        Poll::Ready(())
    });
    register.await;
    let budget = &shared.budget;
    let (ahead, request, scratch) = (Buffer::new(budget), Request::new(budget), Scratch::new(budget));
    let mut conn = Conn { client, ahead, request, scratch, timer, shared };
    let peer = peer.ip().to_canonical().to_string();
    let mut first = true;
    let next = loop {
        let length = match conn.next_head(first).await {
            Head::Complete(length) => length,
            Head::Bad(status) => break conn.refuse(status).await,
            Head::End => break Next::Cut,
        };
        first = false;
        let start_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        let origin = Origin { peer: &peer, proto: T::PROTO, port: local_port, start_ms, random: rand::random() };
        if let Err(Reject(status)) = conn.request.read(&conn.ahead.bytes()[..length], &origin, conn.shared.limits.header_name) {
            break conn.refuse(status).await;
        }
        conn.ahead.consume(length);
        conn.ahead.shrink();
        match exchange(&mut conn).await {
            Next::Keep => conn.shrink(),
            next => break next,
        }
    };
    if next == Next::Linger {
        conn.linger().await;
    }
}

impl<T: Transport> Conn<T> {
    /// Waits for a complete head. Between requests the wait is longer, and ends when the router stops.
    async fn next_head(&mut self, first: bool) -> Head {
        let limits = &self.shared.limits;
        let head_limits = HeadLimits {
            first_line: limits.request_line,
            line: limits.header_line,
            total: limits.request_head,
            lines: limits.header_count,
        };
        let mut scan = HeadScan::default();
        let mut due = Instant::now() + if first { limits.header_timeout } else { limits.keep_alive };
        let mut empty_lines = 0;
        let mut waiting_for_first_byte = self.ahead.is_empty();
        loop {
            while self.ahead.bytes().starts_with(b"\r\n") {
                self.ahead.consume(2);
                empty_lines += 1;
                if empty_lines > MAX_EMPTY_LINES {
                    return Head::Bad(400);
                }
            }
            if self.ahead.bytes() != b"\r" {
                match scan.find(self.ahead.bytes(), &head_limits) {
                    Ok(Some(length)) => return Head::Complete(length),
                    Ok(None) => {}
                    Err(HeadError::Malformed) => return Head::Bad(400),
                    Err(HeadError::FirstLine) => return Head::Bad(414),
                    Err(HeadError::Headers) => return Head::Bad(431),
                }
            }
            if !self.ahead.make_room(limits.request_head + limits.header_line) {
                return Head::Bad(503);
            }
            let (mut reader, _) = self.client.split();
            let mut read = std::pin::pin!(self.ahead.read(&mut reader));
            let (timer, shared) = (&mut self.timer, &self.shared);
            let result = std::future::poll_fn(|cx| {
                if let Poll::Ready(result) = read.as_mut().poll(cx) {
                    return Poll::Ready(Some(result));
                }
                if waiting_for_first_byte && shared.stop.has_begun() {
                    return Poll::Ready(None);
                }
                timer.poll(cx, due).map(|_| None)
            })
            .await;
            match result {
                Some(Ok(1..)) => {}
                None if !waiting_for_first_byte && !self.shared.stop.is_forced() => return Head::Bad(408),
                _ => return Head::End,
            }
            if waiting_for_first_byte {
                waiting_for_first_byte = false;
                due = Instant::now() + limits.header_timeout;
            }
        }
    }

    /// Gives memory back that the connection does not need between requests.
    fn shrink(&mut self) {
        self.ahead.shrink();
        self.request.shrink();
        self.scratch.shrink();
    }

    /// Answers what is not a request, or one whose head there is no memory for (503). Nobody's log: whose host it was meant for is not to
    /// be trusted.
    async fn refuse(&mut self, status: u16) -> Next {
        tracing::debug!(status, "request refused");
        // Nobody will look at it, and others may need the memory while this client takes its time to read.
        self.ahead.consume(self.ahead.len());
        self.shrink();
        let code = if status == 503 { Code::H99 } else { Code::H26 };
        if code == Code::H99 {
            self.shared.platform_errors.fetch_add(1, Ordering::Relaxed);
        }
        let body = self.shared.pages.error(code, status);
        self.page(status, &body, false, false).await
    }

    /// Sends a page. The connection is kept only if asked for and nothing of the request is left to read.
    pub(crate) async fn page(&mut self, status: u16, body: &str, is_head: bool, keep_alive: bool) -> Next {
        let keep_alive = keep_alive && !self.shared.stop.has_begun();
        let due = Instant::now() + self.shared.limits.idle;
        let page = Page { status, body, is_head, keep_alive };
        match reply::send(&mut self.client, &mut self.scratch.to_client, &mut self.timer, due, &page).await {
            true if keep_alive => Next::Keep,
            true => Next::Linger,
            false => Next::Cut,
        }
    }

    /// Waits for `future`, unless the client leaves or `due` passes first.
    pub(crate) async fn watched<F: Future>(&mut self, due: Instant, future: F) -> Watched<F::Output> {
        const AHEAD: usize = 16 * 1024;
        let mut future = std::pin::pin!(future);
        loop {
            let (mut reader, _) = self.client.split();
            let has_room = self.ahead.make_room(AHEAD);
            let read = async {
                if has_room {
                    return self.ahead.read(&mut reader).await;
                }
                reader.left().await;
                Ok(0)
            };
            let mut read = std::pin::pin!(read);
            let timer = &mut self.timer;
            let event = std::future::poll_fn(|cx| {
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Some(Watched::Done(output)));
                }
                match read.as_mut().poll(cx) {
                    Poll::Ready(Ok(1..)) => return Poll::Ready(None),
                    Poll::Ready(_) => return Poll::Ready(Some(Watched::ClientLeft)),
                    Poll::Pending => {}
                }
                timer.poll(cx, due).map(|over| Some(Watched::Over(over)))
            })
            .await;
            if let Some(event) = event {
                return event;
            }
        }
    }

    async fn linger(&mut self) {
        let due = Instant::now() + LINGER_TIME;
        let (mut reader, mut writer) = self.client.split();
        let ahead = &mut self.ahead;
        let drain = async {
            writer.shutdown().await?;
            let mut total = 0;
            while total < LINGER_BYTES {
                ahead.consume(ahead.len());
                match ahead.read_body(&mut reader).await? {
                    0 => break,
                    count => total += count,
                }
            }
            std::io::Result::Ok(())
        };
        if let Some(Err(error)) = self.timer.limit(due, drain).await {
            tracing::trace!(%error, "the client closed first");
        }
    }
}

/// How a wait ended.
pub(crate) enum Watched<O> {
    Done(O),
    ClientLeft,
    Over(Over),
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;
    use crate::budget::TASK;
    use crate::serve::upstream::Upstream;

    fn size_of_future<A, B, C, D, E, F: Future>(_: impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// What is set aside for a connection is what it takes: the task, and what the runtime and the list of connections keep for it.
    #[test]
    fn a_task_is_as_small_as_the_budget_says() {
        let task = size_of_future(serve::<TcpStream>) + size_of::<Upstream>();
        let elsewhere = 2048;
        assert!(task + elsewhere <= TASK, "{task}");
    }
}
