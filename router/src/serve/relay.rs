//! One request and its response, both streaming, both at once.
//!
//! Back-pressure is the shape of the code: each direction owns one buffer and reads again only after it was written out.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::buffer::Buffer;
use super::deadline::Deadline;
use super::progress::{On, Progress};
use super::transport::Transport;
use super::upstream::Upstream;
use crate::code::Code;
use crate::config::Limits;
use crate::http1::Framing;
use crate::http1::chunked::{BadChunk, Chunked, Piece, put_size};
use crate::http1::head::{HeadError, HeadLimits, HeadScan};
use crate::http1::response::{Asked, BadResponse, Response, read};

/// What a client may send ahead while it waits for a response.
const MAX_AHEAD: usize = 16 * 1024;
/// Body bytes written together with what precedes them.
const TOGETHER: usize = 16 * 1024;
/// Interim (1xx) responses to one request.
const MAX_INTERIM: usize = 32;

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
        timer.poll(cx, progress.due()).map(|()| Err(Failure::Code(progress.timeout_code())))
    })
    .await
}

/// The request's direction. Ends only when something is wrong with the client: afterwards it watches whether the client is still there.
async fn feed<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    ahead: &mut Buffer,
    to: &mut W,
    rest_of_head: &[u8],
    framing: Framing,
    scratch: &mut Vec<u8>,
    progress: &Progress,
) -> Failure {
    let fed = async {
        put(to, rest_of_head, progress).await?;
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
        if !ahead.has_room(MAX_AHEAD) {
            std::future::pending::<()>().await;
        }
        if !matches!(ahead.read(from, MAX_AHEAD).await, Ok(1..)) {
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

async fn fill<R: AsyncRead + Unpin>(from: &mut R, ahead: &mut Buffer, progress: &Progress) -> Result<(), Stop> {
    progress.request_waits(On::Client);
    match ahead.read_body(from).await {
        Ok(1..) => {
            progress.request_moved();
            Ok(())
        }
        _ => Err(Stop::Failure(Failure::Code(Code::H27))),
    }
}

async fn feed_length<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
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

async fn feed_chunks<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    ahead: &mut Buffer,
    to: &mut W,
    scratch: &mut Vec<u8>,
    progress: &Progress,
) -> Result<(), Stop> {
    let mut chunked = Chunked::new();
    loop {
        scratch.clear();
        let (_, ended) = rechunk(&mut chunked, ahead, scratch, As::Chunks).map_err(|_| Stop::Failure(Failure::BadBody))?;
        put(to, scratch, progress).await?;
        if ended {
            return Ok(());
        }
        fill(from, ahead, progress).await?;
    }
}

/// What becomes of decoded content.
#[derive(Clone, Copy, PartialEq, Eq)]
enum As {
    Chunks,
    Plain,
}

/// Takes all whole pieces from `input` and appends their content to `out`, framed anew as asked. Returns how much content it was
/// and whether the body has ended.
fn rechunk(chunked: &mut Chunked, input: &mut Buffer, out: &mut Vec<u8>, form: As) -> Result<(usize, bool), BadChunk> {
    let mut content = 0;
    loop {
        match chunked.next(input.bytes())? {
            Piece::Framing(count) => input.consume(count),
            Piece::Data(count) => {
                put_content(out, &input.bytes()[..count], form);
                input.consume(count);
                content += count;
            }
            Piece::End(count) => {
                input.consume(count);
                if form == As::Chunks {
                    out.extend_from_slice(b"0\r\n\r\n");
                }
                return Ok((content, true));
            }
            Piece::More => return Ok((content, false)),
        }
    }
}

fn put_content(out: &mut Vec<u8>, data: &[u8], form: As) {
    match form {
        As::Chunks if !data.is_empty() => {
            put_size(out, data.len());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
        As::Chunks => {}
        As::Plain => out.extend_from_slice(data),
    }
}

/// The response's direction.
async fn respond<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    buffer: &mut Buffer,
    to: &mut W,
    asked: Asked,
    out: &mut Vec<u8>,
    progress: &Progress,
    limits: &Limits,
) -> Result<Response, Failure> {
    for _ in 0..=MAX_INTERIM {
        out.clear();
        let length = find_head(from, buffer, progress, limits).await?;
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

async fn find_head<R: AsyncRead + Unpin>(
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
        progress.response_waits(On::Dyno);
        match buffer.read(from, limits.response_head + limits.response_header_line).await {
            Ok(1..) => progress.response_moved(),
            _ if progress.heard() => return Err(Failure::Code(Code::H13)),
            _ => return Err(Failure::Silent { sent: true }),
        }
    }
}

/// Writes `out` (the head) and then the body.
async fn pass_body<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    buffer: &mut Buffer,
    to: &mut W,
    response: Response,
    out: &mut Vec<u8>,
    progress: &Progress,
) -> Result<(), Failure> {
    let form = if response.rechunk { As::Chunks } else { As::Plain };
    let mut chunked = Chunked::new();
    let mut left = if let Framing::Length(length) = response.framing { length } else { 0 };
    loop {
        let (mut counted, mut direct) = (0, 0);
        let ended = match response.framing {
            Framing::None => true,
            Framing::Length(_) => {
                let count = left.min(buffer.len() as u64) as usize;
                left -= count as u64;
                if count <= TOGETHER {
                    out.extend_from_slice(&buffer.bytes()[..count]);
                    buffer.consume(count);
                } else {
                    direct = count;
                }
                counted = count;
                left == 0
            }
            Framing::Chunked => {
                let (content, ended) = rechunk(&mut chunked, buffer, out, form).map_err(|_| Failure::Code(Code::H18))?;
                counted = content;
                ended
            }
            Framing::Close => {
                counted = buffer.len();
                put_content(out, buffer.bytes(), form);
                buffer.consume(counted);
                false
            }
        };
        pass(to, out, progress).await?;
        out.clear();
        if direct > 0 {
            pass(to, &buffer.bytes()[..direct], progress).await?;
            buffer.consume(direct);
        }
        progress.sent_to_client(counted);
        if ended {
            return Ok(());
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

/// Whether the part of a chunked body that has already arrived is framed properly: checked before anything is forwarded.
pub(crate) fn is_sound_so_far(bytes: &[u8]) -> bool {
    let (mut chunked, mut rest) = (Chunked::new(), bytes);
    loop {
        match chunked.next(rest) {
            Ok(Piece::Framing(count) | Piece::Data(count)) => rest = &rest[count..],
            Ok(Piece::End(_) | Piece::More) => return true,
            Err(_) => return false,
        }
    }
}
