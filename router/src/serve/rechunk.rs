//! Chunked bodies, read strictly and framed anew.

use super::buffer::Buffer;
use crate::budget::{BudgetVec, REWRITTEN};
use crate::http1::chunked::{BadChunk, Chunked, Piece, put_size};

/// More than the framing of one piece, and of the end, takes.
const FRAMING: usize = 32;

/// What becomes of decoded content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    Chunks,
    Plain,
}

/// Why no more was taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// The body has ended.
    Ended,
    /// Something is left that did not fit: pass on what was written, clear it, and ask again.
    Waits,
    /// More has to be read first.
    Missing,
}

/// Takes whole pieces from `input` and appends their content to `out`, framed anew as asked: as much as fits into the memory that is
/// there in any case. Returns how much content it was and what comes next.
pub(super) fn rechunk(chunked: &mut Chunked, input: &mut Buffer, out: &mut BudgetVec, form: As) -> Result<(usize, Rest), BadChunk> {
    let mut content = 0;
    make_room(out, input.len());
    loop {
        let bytes = input.bytes();
        let seen = &bytes[..bytes.len().min(room(out))];
        match chunked.next(seen)? {
            Piece::Framing(count) => input.consume(count),
            Piece::Data(count) => {
                put_content(out, &seen[..count], form);
                input.consume(count);
                content += count;
            }
            Piece::End(count) => {
                input.consume(count);
                if form == As::Chunks {
                    out.extend_from_slice(b"0\r\n\r\n");
                }
                return Ok((content, Rest::Ended));
            }
            Piece::More => return Ok((content, if seen.len() < bytes.len() { Rest::Waits } else { Rest::Missing })),
        }
    }
}

/// The same for a body that ends with its connection: everything in `input` is content.
pub(super) fn chunk(input: &mut Buffer, out: &mut BudgetVec, form: As) -> (usize, Rest) {
    make_room(out, input.len());
    let count = input.len().min(room(out));
    put_content(out, &input.bytes()[..count], form);
    input.consume(count);
    (count, if input.is_empty() { Rest::Missing } else { Rest::Waits })
}

/// As far as memory is set aside for it: this cannot fail.
fn make_room(out: &mut BudgetVec, content: usize) {
    let fits = out.fit((out.len() + content + FRAMING).min(REWRITTEN));
    debug_assert!(fits, "this much is set aside");
}

/// Content that can be appended without growing.
fn room(out: &BudgetVec) -> usize {
    (out.capacity() - out.len()).saturating_sub(FRAMING)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, SMALL};

    /// Through a buffer of this size and back: what comes out, joined, for both forms.
    async fn pass(body: &[u8], size: usize, form: As) -> Vec<u8> {
        let budget = Budget::new(size.saturating_sub(SMALL));
        let (mut input, mut out) = (Buffer::new(&budget), BudgetVec::new(REWRITTEN, &budget));
        let (mut chunked, mut rest, mut sent) = (Chunked::new(), body, Vec::new());
        loop {
            while input.make_room(size) && input.read(&mut rest).await.unwrap() > 0 {}
            let (_, more) = rechunk(&mut chunked, &mut input, &mut out, form).unwrap();
            assert!(out.capacity() <= REWRITTEN, "it never takes more than is set aside");
            sent.extend_from_slice(&out);
            out.clear();
            match more {
                Rest::Ended => return sent,
                Rest::Waits => assert!(!input.is_empty()),
                Rest::Missing => assert!(!rest.is_empty() && input.make_room(SMALL)),
            }
        }
    }

    #[tokio::test]
    async fn bodies_need_no_more_room_than_there_is() {
        let content: Vec<u8> = (0..300_000).map(|at| (at % 251) as u8).collect();
        for chunk in [1, 9, 4095, 8192, 10_240, 200_000] {
            let mut body = Vec::new();
            for part in content.chunks(chunk) {
                body.extend_from_slice(format!("{:x};{}\r\n", part.len(), "e".repeat(part.len() % 200)).as_bytes());
                body.extend_from_slice(part);
                body.extend_from_slice(b"\r\n");
            }
            // The longest line there may be at the end.
            body.extend_from_slice(format!("0\r\nT: {}\r\n\r\n", "t".repeat(4091)).as_bytes());
            for size in [SMALL, 128 * 1024] {
                assert!(pass(&body, size, As::Plain).await == content, "chunks of {chunk} through {size}");
                let again = pass(&body, size, As::Chunks).await;
                assert!(pass(&again, SMALL, As::Plain).await == content, "chunks of {chunk} through {size}");
            }
        }
    }
}
