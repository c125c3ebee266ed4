//! The request's direction: from the client to the dyno.

use std::future::Future;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::buffer::Buffer;
use super::progress::{On, Progress};
use super::rechunk::{As, Rest, rechunk};
use super::relay::Failure;
use super::transport::{Leaving, QuickAck, SHORT};
use crate::budget::BudgetVec;
use crate::code::Code;
use crate::http1::Framing;
use crate::http1::chunked::Chunked;

/// What a client may send ahead while it waits for a response.
const MAX_AHEAD: usize = 16 * 1024;

/// Ends only when something is wrong with the client: afterwards it watches whether the client is still there.
pub(super) async fn feed<R: AsyncRead + QuickAck + Leaving + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    ahead: &mut Buffer,
    to: &mut W,
    rest_of_head: &[u8],
    framing: Framing,
    scratch: &mut BudgetVec,
    progress: &Progress,
) -> Failure {
    let fed = async {
        put(from, to, rest_of_head, progress).await?;
        if framing != Framing::None {
            // From now on it is the client's turn, and its time.
            progress.request_moved();
        }
        match framing {
            Framing::None | Framing::Close => Ok(()),
            Framing::Length(length) => feed_length(from, ahead, to, length, progress).await,
            Framing::Chunked => feed_chunks(from, ahead, to, scratch, progress).await,
        }
    };
    match fed.await {
        Ok(()) => progress.request_ended(true),
        Err(Stop::Dyno) => progress.request_ended(false),
        Err(Stop::Failure(failure)) => return failure,
    }
    loop {
        if !ahead.make_room(MAX_AHEAD) {
            from.left().await;
            return Failure::Code(Code::H27);
        }
        if !matches!(ahead.read(from).await, Ok(1..)) {
            return Failure::Code(Code::H27);
        }
    }
}

/// Why a body was not sent to its end.
enum Stop {
    /// The dyno takes no more; it may still answer.
    Dyno,
    Failure(Failure),
}

async fn put<R: Leaving, W: AsyncWrite + Unpin>(from: &R, to: &mut W, mut bytes: &[u8], progress: &Progress) -> Result<(), Stop> {
    while !bytes.is_empty() {
        progress.request_waits(On::Dyno);
        match unless_left(from, to.write(bytes)).await? {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            _ => return Err(Stop::Dyno),
        }
        progress.request_moved();
    }
    Ok(())
}

/// The future's result, unless the client leaves first. The client is looked at only if there is something to wait for.
async fn unless_left<R: Leaving, F: Future>(from: &R, future: F) -> Result<F::Output, Stop> {
    let (mut future, mut left) = (std::pin::pin!(future), std::pin::pin!(from.left()));
    std::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        left.as_mut().poll(cx).map(|()| Err(Stop::Failure(Failure::Code(Code::H27))))
    })
    .await
}

async fn fill<R: AsyncRead + QuickAck + Unpin>(from: &mut R, ahead: &mut Buffer, progress: &Progress) -> Result<(), Stop> {
    progress.request_waits(On::Client);
    match ahead.read_body(from).await {
        Ok(count @ 1..) => {
            progress.request_moved();
            // The next piece may be held back until this one is acknowledged.
            if count < SHORT {
                from.quick_ack();
            }
            Ok(())
        }
        _ => Err(Stop::Failure(Failure::Code(Code::H27))),
    }
}

async fn feed_length<R: AsyncRead + QuickAck + Leaving + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    ahead: &mut Buffer,
    to: &mut W,
    mut left: u64,
    progress: &Progress,
) -> Result<(), Stop> {
    while left > 0 {
        if ahead.is_empty() {
            fill(from, ahead, progress).await?;
        }
        let count = left.min(ahead.len() as u64) as usize;
        put(from, to, &ahead.bytes()[..count], progress).await?;
        ahead.consume(count);
        left -= count as u64;
    }
    Ok(())
}

async fn feed_chunks<R: AsyncRead + QuickAck + Leaving + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    ahead: &mut Buffer,
    to: &mut W,
    scratch: &mut BudgetVec,
    progress: &Progress,
) -> Result<(), Stop> {
    let mut chunked = Chunked::new();
    loop {
        scratch.clear();
        let (_, rest) = rechunk(&mut chunked, ahead, scratch, As::Chunks).map_err(|_| Stop::Failure(Failure::BadBody))?;
        put(from, to, scratch, progress).await?;
        match rest {
            Rest::Ended => return Ok(()),
            Rest::Waits => {}
            Rest::Missing => fill(from, ahead, progress).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;
    use crate::budget::{Budget, REWRITTEN};
    use crate::config::Limits;

    /// The dyno takes eight bytes and no more. What the client sent is in the socket's buffer, and nobody reads it there.
    #[tokio::test]
    async fn a_client_is_seen_leaving_while_the_dyno_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for framing in [Framing::Length(1 << 20), Framing::Chunked] {
            let mut peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut client, _) = listener.accept().await.unwrap();
            let budget = Budget::new(0);
            let (mut ahead, mut scratch) = (Buffer::new(&budget), BudgetVec::new(REWRITTEN, &budget));
            let progress = Progress::new(&Limits::default());
            let (mut dyno, _end) = tokio::io::duplex(8);
            peer.write_all(b"7000\r\n").await.unwrap();
            peer.write_all(&vec![b'x'; 0x7000]).await.unwrap();

            let (mut reader, _) = client.split();
            let fed = feed(&mut reader, &mut ahead, &mut dyno, b"", framing, &mut scratch, &progress);
            let mut fed = std::pin::pin!(fed);
            let early = timeout(Duration::from_millis(50), &mut fed).await;
            assert!(early.is_err(), "it is still there");
            drop(peer);
            assert_eq!(timeout(Duration::from_secs(5), fed).await.unwrap(), Failure::Code(Code::H27));
        }
    }
}
