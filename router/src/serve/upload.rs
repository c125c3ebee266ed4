//! The request's direction: from the client to the dyno.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::buffer::Buffer;
use super::progress::{On, Progress};
use super::rechunk::{As, Rest, rechunk};
use super::relay::Failure;
use super::transport::{QuickAck, SHORT};
use crate::budget::BudgetVec;
use crate::code::Code;
use crate::http1::Framing;
use crate::http1::chunked::Chunked;

/// What a client may send ahead while it waits for a response.
const MAX_AHEAD: usize = 16 * 1024;

/// Ends only when something is wrong with the client: afterwards it watches whether the client is still there.
pub(super) async fn feed<R: AsyncRead + QuickAck + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    ahead: &mut Buffer,
    to: &mut W,
    rest_of_head: &[u8],
    framing: Framing,
    scratch: &mut BudgetVec,
    progress: &Progress,
) -> Failure {
    let fed = async {
        put(to, rest_of_head, progress).await?;
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
            std::future::pending::<()>().await;
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

async fn put<W: AsyncWrite + Unpin>(to: &mut W, mut bytes: &[u8], progress: &Progress) -> Result<(), Stop> {
    while !bytes.is_empty() {
        progress.request_waits(On::Dyno);
        match to.write(bytes).await {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            _ => return Err(Stop::Dyno),
        }
        progress.request_moved();
    }
    Ok(())
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

async fn feed_length<R: AsyncRead + QuickAck + Unpin, W: AsyncWrite + Unpin>(
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
        put(to, &ahead.bytes()[..count], progress).await?;
        ahead.consume(count);
        left -= count as u64;
    }
    Ok(())
}

async fn feed_chunks<R: AsyncRead + QuickAck + Unpin, W: AsyncWrite + Unpin>(
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
        put(to, scratch, progress).await?;
        match rest {
            Rest::Ended => return Ok(()),
            Rest::Waits => {}
            Rest::Missing => fill(from, ahead, progress).await?,
        }
    }
}
