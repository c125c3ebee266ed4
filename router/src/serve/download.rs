//! The response's direction: from the dyno to the client.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::buffer::Buffer;
use super::progress::{On, Progress};
use super::rechunk::{As, Rest, chunk, rechunk};
use super::relay::Failure;
use super::transport::{QuickAck, SHORT};
use crate::budget::BudgetVec;
use crate::code::Code;
use crate::config::Limits;
use crate::http1::Framing;
use crate::http1::chunked::Chunked;
use crate::http1::head::{HeadError, HeadLimits, HeadScan};
use crate::http1::response::{Asked, BadResponse, Response, read};
use crate::http1::rewritten;

/// Body bytes written together with what precedes them.
const TOGETHER: usize = 16 * 1024;
/// Interim (1xx) responses to one request.
const MAX_INTERIM: usize = 32;

/// Passes interim responses, then the final one.
pub(super) async fn respond<R: AsyncRead + QuickAck + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    buffer: &mut Buffer,
    to: &mut W,
    asked: Asked,
    out: &mut BudgetVec,
    progress: &Progress,
    limits: &Limits,
) -> Result<Response, Failure> {
    for _ in 0..=MAX_INTERIM {
        out.clear();
        let length = find_head(from, buffer, progress, limits).await?;
        if !out.fit(rewritten(length)) {
            return Err(Failure::Code(Code::H99));
        }
        let response = read(&buffer.bytes()[..length], asked, limits, out).map_err(|bad| {
            Failure::Code(match bad {
                BadResponse::Malformed => Code::H17,
                BadResponse::TooLarge => Code::H25,
            })
        })?;
        buffer.consume(length);
        if response.status >= 200 || response.status == 101 {
            progress.start(response.status);
            pass_body(from, buffer, to, response, out, progress).await?;
            return Ok(response);
        }
        if asked.is_http11 {
            pass(to, out, progress).await?;
        }
    }
    Err(Failure::Code(Code::H17))
}

async fn find_head<R: AsyncRead + QuickAck + Unpin>(
    from: &mut R,
    buffer: &mut Buffer,
    progress: &Progress,
    limits: &Limits,
) -> Result<usize, Failure> {
    let head_limits = HeadLimits {
        first_line: limits.status_line,
        line: limits.response_header_line,
        total: limits.response_head,
        lines: limits.header_count,
    };
    let mut scan = HeadScan::default();
    loop {
        match scan.find(buffer.bytes(), &head_limits) {
            Ok(Some(length)) => return Ok(length),
            Ok(None) => {}
            Err(HeadError::Malformed) => return Err(Failure::Code(Code::H17)),
            Err(HeadError::FirstLine | HeadError::Headers) => return Err(Failure::Code(Code::H25)),
        }
        if !buffer.is_empty() && buffer.len() < SHORT {
            from.quick_ack();
        }
        // It is no fault of the app's: it may send as much.
        if !buffer.make_room(limits.response_head + limits.response_header_line) {
            return Err(Failure::Code(Code::H99));
        }
        progress.response_waits(On::Dyno);
        match buffer.read(from).await {
            Ok(1..) => progress.response_moved(),
            _ if progress.heard() => return Err(Failure::Code(Code::H13)),
            _ => return Err(Failure::Silent { sent: true }),
        }
    }
}

/// Writes `out` (the head) and then the body.
async fn pass_body<R: AsyncRead + QuickAck + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    buffer: &mut Buffer,
    to: &mut W,
    response: Response,
    out: &mut BudgetVec,
    progress: &Progress,
) -> Result<(), Failure> {
    let form = if response.rechunk { As::Chunks } else { As::Plain };
    let mut chunked = Chunked::new();
    let mut left = if let Framing::Length(length) = response.framing { length } else { 0 };
    loop {
        let (mut counted, mut direct) = (0, 0);
        let rest = match response.framing {
            Framing::None => Rest::Ended,
            Framing::Length(_) => {
                let count = left.min(buffer.len() as u64) as usize;
                left -= count as u64;
                if count <= TOGETHER && out.fit(out.len() + count) {
                    out.extend_from_slice(&buffer.bytes()[..count]);
                    buffer.consume(count);
                } else {
                    direct = count;
                }
                counted = count;
                if left == 0 { Rest::Ended } else { Rest::Missing }
            }
            Framing::Chunked => {
                let (content, rest) = rechunk(&mut chunked, buffer, out, form).map_err(|_| Failure::Code(Code::H18))?;
                counted = content;
                rest
            }
            Framing::Close => {
                let (content, rest) = chunk(buffer, out, form);
                counted = content;
                rest
            }
        };
        pass(to, out, progress).await?;
        out.clear();
        // The head is gone; what it took beyond the common size is not needed for a body.
        out.release();
        if direct > 0 {
            pass(to, &buffer.bytes()[..direct], progress).await?;
            buffer.consume(direct);
        }
        progress.sent_to_client(counted);
        match rest {
            Rest::Ended => return Ok(()),
            Rest::Waits => continue,
            Rest::Missing => {}
        }
        if counted < SHORT {
            from.quick_ack();
        }
        progress.response_waits(On::Dyno);
        match buffer.read_body(from).await {
            Ok(1..) => progress.response_moved(),
            Ok(0) if response.framing == Framing::Close => {
                return if response.rechunk { pass(to, b"0\r\n\r\n", progress).await } else { Ok(()) };
            }
            _ => return Err(Failure::Code(Code::H18)),
        }
    }
}

async fn pass<W: AsyncWrite + Unpin>(to: &mut W, mut bytes: &[u8], progress: &Progress) -> Result<(), Failure> {
    while !bytes.is_empty() {
        progress.response_waits(On::Client);
        match to.write(bytes).await {
            Ok(count) if count > 0 => bytes = &bytes[count..],
            _ => return Err(Failure::Code(Code::H27)),
        }
        progress.response_moved();
    }
    Ok(())
}
