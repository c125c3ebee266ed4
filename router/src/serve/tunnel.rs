//! After 101: bytes both ways, until both sides are done or nothing moved for too long.

use std::future::Future as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::buffer::Buffer;
use super::deadline::Deadline;
use super::transport::Transport;
use super::upstream::Upstream;
use crate::code::Code;

/// Passes bytes on. `Err` if it had to be cut; the count is of bytes sent to the client.
pub(crate) async fn tunnel<T: Transport>(
    client: &mut T,
    ahead: &mut Buffer,
    upstream: &mut Upstream,
    timer: &mut Deadline,
    idle: Duration,
) -> (u64, Result<(), Code>) {
    let base = Instant::now();
    let moved = AtomicU64::new(0);
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_dyno, mut to_dyno) = upstream.stream.split();
    let there = copy(&mut from_client, ahead, &mut to_dyno, base, &moved, &up);
    let back = copy(&mut from_dyno, &mut upstream.buffer, &mut to_client, base, &moved, &down);
    let (mut there, mut back) = (std::pin::pin!(there), std::pin::pin!(back));
    let (mut there_done, mut back_done) = (false, false);
    let result = std::future::poll_fn(|cx| {
        there_done = there_done || there.as_mut().poll(cx).is_ready();
        back_done = back_done || back.as_mut().poll(cx).is_ready();
        // When the dyno is done there is nothing left to answer with; when the client is, the dyno may still be speaking.
        if back_done {
            return Poll::Ready(Ok(()));
        }
        timer.poll(cx, base + Duration::from_micros(moved.load(Relaxed)) + idle).map(|over| Err(over.code(Code::H15)))
    })
    .await;
    (down.load(Relaxed), result)
}

/// Copies until the end of the stream, which is passed on, or until either side fails.
async fn copy<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    buffer: &mut Buffer,
    to: &mut W,
    base: Instant,
    moved: &AtomicU64,
    total: &AtomicU64,
) {
    loop {
        while !buffer.is_empty() {
            match to.write(buffer.bytes()).await {
                Ok(count) if count > 0 => {
                    buffer.consume(count);
                    total.fetch_add(count as u64, Relaxed);
                }
                _ => return,
            }
            moved.store(base.elapsed().as_micros() as u64, Relaxed);
        }
        if !matches!(buffer.read_body(from).await, Ok(1..)) {
            // The peer learns it, or is gone itself: nothing to do in either case.
            let _ = to.shutdown().await;
            return;
        }
        moved.store(base.elapsed().as_micros() as u64, Relaxed);
    }
}
