//! Chunked bodies, read strictly and framed anew.

use super::buffer::Buffer;
use crate::http1::chunked::{BadChunk, Chunked, Piece, put_size};

/// What becomes of decoded content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    Chunks,
    Plain,
}

/// Takes all whole pieces from `input` and appends their content to `out`, framed anew as asked. Returns how much content it was
/// and whether the body has ended.
pub(super) fn rechunk(chunked: &mut Chunked, input: &mut Buffer, out: &mut Vec<u8>, form: As) -> Result<(usize, bool), BadChunk> {
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

pub(super) fn put_content(out: &mut Vec<u8>, data: &[u8], form: As) {
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
